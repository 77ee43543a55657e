/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* xen-sim's commands on domains: create, list, destroy, pause and so on, shutdown. */
#include "hv/sim/toolstack/tool.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/macro.h"
#include "base/uuid.h"

/* Returns how many arguments it took: 1 or 2; 0: not an option; -1: a bad one. */
int tool_domain_option(const char *arg, const char *next, struct tool_domain_options *options)
{
	if (strcmp(arg, "--no-argo") == 0) {
		options->create.no_argo = 1;
		return 1;
	}
	if (strcmp(arg, "--no-argo-driver") == 0) {
		options->create.no_argo_driver = 1;
		return 1;
	}
	if (strncmp(arg, "--uuid=", 7) == 0) {
		if (uuid_from_text(arg + 7, options->create.uuid))
			return 1;
		(void)tool_usage("--uuid= wants 32 hexadecimal digits");
		return -1;
	}
	if (strcmp(arg, "--domid") == 0 && next) {
		uint32_t domid;

		if (tool_number(next, 1, HV_DOMID_FIRST_RESERVED - 1, &domid)) {
			options->create.domid = (uint16_t)domid;
			return 2;
		}
		(void)tool_usage("--domid wants a number from 1 to 32751");
		return -1;
	}
	if (strncmp(arg, "--name=", 7) == 0) {
		options->name = arg + 7;
		return 1;
	}
	if (strcmp(arg, "--name") == 0 && next) {
		options->name = next;
		return 2;
	}
	if (arg[0] != '-')
		return 0;
	(void)fprintf(stderr, "xen-sim: no option %s; see xen-sim --help\n", arg);
	return -1;
}

int tool_create(const char *path, int argc, char **argv)
{
	struct tool_domain_options options = {0};
	struct sim_message m = {.header = {.type = SIM_CREATE}}, reply;
	_cleanup_close_ int fd = -1;
	int r;

	for (int i = 1; i < argc;) {
		int took = tool_domain_option(argv[i], i + 1 < argc ? argv[i + 1] : NULL, &options);

		if (took < 0)
			return 2;
		if (took == 0)
			options.name = argv[i];
		i += took ? took : 1;
	}
	if (!options.name || strlen(options.name) >= sizeof(m.create.name))
		return tool_usage("create wants a name");
	m.create = options.create;
	strcpy(m.create.name, options.name); /* its length was checked */
	fd = tool_connect(path, 0);
	if (fd < 0)
		return 1;
	r = sim_request(fd, &m, SIM_MESSAGE_LEN(create), -1, &reply);
	if (r < 0)
		return tool_fail(options.name, r);
	(void)printf("%u\n", reply.domain.domain.domid);
	return 0;
}

static const char *state_name(const struct hv_domain *d)
{
	switch (d->state) {
	case HV_DOMAIN_RUNNING:
		return d->paused ? "paused" : "running";
	case HV_DOMAIN_SUSPENDED:
		return "suspended";
	case HV_DOMAIN_CRASHED:
		return "crashed";
	case HV_DOMAIN_DYING:
		return "dying";
	}
	return "unknown";
}

static json_t *domain_json(const struct sim_domain_info *info)
{
	char uuid[37];

	uuid_to_text(info->domain.uuid, uuid);
	return json_pack("{s:i, s:s, s:s, s:s, s:i, s:b, s:b}", "domid", info->domain.domid, "name",
		info->domain.name, "state", state_name(&info->domain), "uuid", uuid, "processes",
		(int)info->n_processes, "argo", !info->no_argo, "argo_driver",
		!info->no_argo_driver);
}

static void domain_print(const struct sim_domain_info *info)
{
	char uuid[37];

	uuid_to_text(info->domain.uuid, uuid);
	(void)printf("%5u  %-20s  %-9s  %-36s  %9u%s\n", info->domain.domid, info->domain.name,
		state_name(&info->domain), uuid, info->n_processes,
		info->no_argo	       ? "  no Argo"
		: info->no_argo_driver ? "  no driver for Argo"
				       : "");
}

int tool_list(const char *path, int argc, char **argv)
{
	bool as_json = argc == 2 && strcmp(argv[1], "--json") == 0;
	_cleanup_close_ int fd = -1;
	json_t *array = as_json ? json_array() : NULL;
	int r = as_json && !array ? -ENOMEM : 0;

	if (argc > 2 || (argc == 2 && !as_json))
		return tool_usage("list takes --json or nothing");
	fd = tool_connect(path, 0);
	if (fd < 0)
		return 1;
	if (!as_json)
		(void)printf("%5s  %-20s  %-9s  %-36s  %9s\n", "DOMID", "NAME", "STATE", "UUID",
			"PROCESSES");
	for (uint32_t i = 0; r == 0; i++) {
		struct sim_message m = {.header = {.type = SIM_LIST}, .index = i}, reply;

		r = sim_request(fd, &m, SIM_MESSAGE_LEN(index), -1, &reply);
		if (r == 0 && as_json)
			r = json_array_append_new(array, domain_json(&reply.domain)) < 0 ? -ENOMEM
											 : 0;
		else if (r == 0)
			domain_print(&reply.domain);
	}
	if (as_json && r == -ENOENT) {
		(void)json_dumpf(array, stdout, JSON_INDENT(2));
		(void)fputc('\n', stdout);
	}
	json_decref(array);
	return r == -ENOENT ? 0 : tool_fail("list", r);
}

int tool_verb(const char *path, int argc, char **argv)
{
	static const struct {
		const char *name;
		enum sim_message_type type;
	} verbs[] = {
		{"destroy", SIM_DESTROY},
		{"pause", SIM_PAUSE},
		{"unpause", SIM_UNPAUSE},
		{"suspend", SIM_SUSPEND},
		{"resume", SIM_RESUME},
		{"restore", SIM_RESTORE},
		{"crash", SIM_CRASH},
	};
	struct sim_message m = {0}, reply;
	_cleanup_close_ int fd = -1;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strcmp(verbs[i].name, argv[0]) == 0)
			m.header.type = (uint16_t)verbs[i].type;
	if (argc != 2 || strlen(argv[1]) >= sizeof(m.name.domain))
		return tool_usage("one domain is wanted");
	strcpy(m.name.domain, argv[1]); /* its length was checked */
	fd = tool_connect(path, 0);
	if (fd < 0)
		return 1;
	r = sim_request(fd, &m, SIM_MESSAGE_LEN(name), -1, &reply);
	return r < 0 ? tool_fail(argv[1], r) : 0;
}

int tool_shutdown(const char *path, int argc, char **argv)
{
	struct sim_message m = {.header = {.type = SIM_SHUTDOWN}}, reply;
	_cleanup_close_ int fd = -1;
	char byte;
	int r;

	if (argc != 1)
		return tool_usage("shutdown takes nothing");
	fd = tool_connect(path, 0);
	if (fd < 0)
		return 1;
	r = sim_request(fd, &m, sizeof(m.header), -1, &reply);
	if (r < 0)
		return tool_fail("shutdown", r);
	/* Until the socket ends, for then all is gone. */
	while (read(fd, &byte, 1) > 0)
		;
	return 0;
}
