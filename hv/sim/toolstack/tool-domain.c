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
#include "base/uuid.h"

int tool_create(const char *path, int argc, char **argv)
{
	struct tool_options options = {.name = NULL};
	struct sim_message m = {.header = {.type = SIM_CREATE}}, reply;
	_cleanup_close_ int fd = -1;
	int r = tool_options(argc, argv, "ariun", &options);

	if (r < 0)
		return 2;
	if (r != argc || !options.name)
		return tool_usage("create wants a name");
	m.create = options.create;
	strcpy(m.create.name, options.name); /* its length was checked */
	fd = tool_connect(path, 0);
	if (fd < 0)
		return 1;
	r = sim_request(fd, &m, SIM_MESSAGE_LEN(create), -1, &reply);
	if (r < 0)
		return r == -EINVAL ? tool_wrong_name() : tool_fail(options.name, r);
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
	struct tool_options options = {.json = false};
	_cleanup_close_ int fd = -1;
	json_t *array = NULL;
	int r = 0;

	if (tool_options(argc, argv, "j", &options) != argc)
		return 2;
	fd = tool_connect(path, 0);
	if (fd < 0)
		return 1;
	if (options.json)
		array = json_array();
	else
		(void)printf("%5s  %-20s  %-9s  %-36s  %9s\n", "DOMID", "NAME", "STATE", "UUID",
			"PROCESSES");
	for (uint32_t i = 0; r == 0; i++) {
		struct sim_message m = {.header = {.type = SIM_LIST}, .index = i}, reply;

		r = sim_request(fd, &m, SIM_MESSAGE_LEN(index), -1, &reply);
		if (r == 0 && options.json)
			r = json_array_append_new(array, domain_json(&reply.domain)) < 0 ? -ENOMEM
											 : 0;
		else if (r == 0)
			domain_print(&reply.domain);
	}
	if (array && r == -ENOENT) {
		(void)json_dumpf(array, stdout, JSON_INDENT(2));
		(void)fputc('\n', stdout);
	}
	json_decref(array);
	return r == -ENOENT ? 0 : tool_fail("list", r);
}

int tool_verb(const char *path, enum sim_message_type type, int argc, char **argv)
{
	struct sim_message m = {.header = {.type = (uint16_t)type}}, reply;
	_cleanup_close_ int fd = -1;
	int r;

	if (argc != 2 || strlen(argv[1]) >= sizeof(m.name.domain))
		return tool_usage("one domain is wanted");
	strcpy(m.name.domain, argv[1]); /* its length was checked */
	fd = tool_connect(path, 0);
	if (fd < 0)
		return 1;
	r = sim_request(fd, &m, SIM_MESSAGE_LEN(name), -1, &reply);
	return r < 0 ? tool_fail(argv[1], r) : 0;
}

int tool_tag(const char *path, int argc, char **argv)
{
	struct sim_message m = {.header = {.type = SIM_TAG}}, reply;
	struct tool_options options = {.name = NULL};
	int r = tool_options(argc, argv, "gn", &options);
	_cleanup_close_ int fd = -1;
	size_t len = 0;

	if (r < 0)
		return 2;
	if (!options.name)
		return tool_usage("tag wants a domain");
	strcpy(m.tags.name.domain, options.name); /* its length was checked */
	m.tags.by_guest = options.by_guest;
	for (; r < argc; r++) {
		size_t n = strlen(argv[r]) + 1;

		if (len + n > sizeof(m.tags.tags))
			return tool_usage("these are too many tags");
		memcpy(m.tags.tags + len, argv[r], n);
		len += n;
		if (r + 1 < argc)
			m.tags.tags[len - 1] = ' ';
	}
	fd = tool_connect(path, 0);
	if (fd < 0)
		return 1;
	r = sim_request(fd, &m, SIM_MESSAGE_LEN(tags), -1, &reply);
	return r < 0 ? tool_fail(options.name, r) : 0;
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
