/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Makes one set of options from the command line, msgd.conf and the defaults. It touches only those
 * files.
 */
#include "daemon/options.h"

#include <argp.h>
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/number.h"
#include "base/report.h"

#define DEFAULT_CONFIG "/etc/msgd/msgd.conf"
#define DEFAULT_POLICY "/etc/msgd/policy.d"
#define DEFAULT_ADMIN  "/run/msgd/admin"
#define DEFAULT_ATTACH "/run/msgd/attach"
#define DEFAULT_LOCK   "/run/msgd/lock"

enum { OPTION_HV = 256, OPTION_CONFIG, OPTION_POLICY, OPTION_ADMIN, OPTION_ATTACH };

static const struct argp_option table[] = {
	{"hv", OPTION_HV, "SPEC", 0,
		"xen, or sim:PATH for the emulator, started if it is not there"},
	{"config", OPTION_CONFIG, "FILE", 0, "in the place of " DEFAULT_CONFIG},
	{"policy", OPTION_POLICY, "PATH", 0,
		"a policy file, or a directory of *.policy; may be repeated"},
	{"admin", OPTION_ADMIN, "SOCKET", 0, "where msgctl finds msgd (sim:PATH: PATH.msgd)"},
	{"attach", OPTION_ATTACH, "SOCKET", 0,
		"where unprivileged applications of this domain publish themselves (sim:PATH: "
		"PATH.attach)"},
	{0},
};

static error_t on_option(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case OPTION_HV:
		options->hv = arg;
		return 0;
	case OPTION_CONFIG:
		options->config = arg;
		return 0;
	case OPTION_ADMIN:
		options->admin = arg;
		return 0;
	case OPTION_ATTACH:
		options->attach = arg;
		return 0;
	case OPTION_POLICY:
		if (options->n_policy == CONFIG_POLICY_MAX)
			argp_error(state, "too many --policy");
		options->policy[options->n_policy++] = arg;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "unexpected argument '%s'", arg);
		return EINVAL;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

void options_parse(int argc, char **argv, struct options *ret_options)
{
	static const struct argp argp = {
		table, on_option, .doc = "See msgd(8), msgd.conf(5), msgd.policy(5)."};

	*ret_options = (struct options){.hv = NULL};
	argp_program_version = "msgd " MSGD_VERSION;
	argp_err_exit_status = EXIT_USAGE;
	(void)argp_parse(&argp, argc, argv, 0, NULL, ret_options);
}

bool hv_spec_sim_path(const char *spec, char *ret_path, size_t size)
{
	size_t len = strncmp(spec, "sim:", 4) == 0 ? strcspn(spec + 4, "#") : 0;

	if (len == 0 || len >= size)
		return false;
	memcpy(ret_path, spec + 4, len);
	ret_path[len] = '\0';
	return true;
}

/* On the emulator nothing in /etc counts: a newcomer's msgd must not depend on the machine's. */
static int load_config(const struct options *options, struct config *config, struct report *report)
{
	const char *path = options->config;

	if (!path && (!options->hv || strcmp(options->hv, "xen") == 0) &&
		access(DEFAULT_CONFIG, F_OK) == 0)
		path = DEFAULT_CONFIG;
	if (!path)
		return 0;
	return config_load(config, path, report);
}

static int load_policy(
	const struct options *options, struct settings *settings, bool sim, struct report *report)
{
	static const char *const default_paths[] = {DEFAULT_POLICY};
	const char *const *paths = default_paths;
	size_t n = 0;

	if (options->n_policy) {
		paths = options->policy;
		n = options->n_policy;
	} else if (settings->config.n_policy) {
		paths = (const char *const *)settings->config.policy;
		n = settings->config.n_policy;
	} else if (!sim && access(DEFAULT_POLICY, F_OK) == 0) {
		n = 1;
	}
	settings->policy_missing = n == 0;
	return policy_load(paths, n, &settings->policy, report);
}

/* A group's name or number. */
static int set_operators(
	const struct options *options, struct settings *settings, struct report *report)
{
	const char *name = settings->config.operators;
	const struct group *group;
	uint32_t gid;

	settings->operators = (gid_t)-1;
	if (!name)
		return 0;
	if (number_from_text(name, UINT32_MAX - 1, &gid)) {
		settings->operators = gid;
		return 0;
	}
	group = getgrnam(name);
	if (!group) {
		report_add(report, "%.120s: operators: there is no group '%.60s'",
			options->config ? options->config : DEFAULT_CONFIG, name);
		return -EINVAL;
	}
	settings->operators = group->gr_gid;
	return 0;
}

static int set_paths(const struct options *options, struct settings *settings, bool *ret_sim,
	struct report *report)
{
	const char *env = secure_getenv("MSG_HV");
	const char *hv = options->hv	       ? options->hv
			 : settings->config.hv ? settings->config.hv
			 : env && *env	       ? env
					       : "xen";
	const char *from = options->hv		 ? "--hv"
			   : settings->config.hv ? "msgd.conf"
			   : env && *env	 ? "MSG_HV"
						 : "the default";
	const char *admin = options->admin ? options->admin : settings->config.admin;
	const char *attach = options->attach ? options->attach : settings->config.attach;
	char path[400];

	*ret_sim = hv_spec_sim_path(hv, path, sizeof(path));
	if (!*ret_sim && strncmp(hv, "sim:", 4) == 0) {
		report_add(report, "'%.100s': a bad path", hv);
		return -EINVAL;
	}
	(void)snprintf(settings->hv, sizeof(settings->hv), "%s", hv);
	settings->hv_from = from;
	if (*ret_sim) {
		(void)snprintf(settings->admin, sizeof(settings->admin), "%s.msgd", path);
		(void)snprintf(settings->attach, sizeof(settings->attach), "%s.attach", path);
		(void)snprintf(settings->lock, sizeof(settings->lock), "%s.msgd.lock", path);
	} else {
		strcpy(settings->admin, DEFAULT_ADMIN);
		strcpy(settings->attach, DEFAULT_ATTACH);
		strcpy(settings->lock, DEFAULT_LOCK);
	}
	if (admin)
		(void)snprintf(settings->admin, sizeof(settings->admin), "%s", admin);
	if (attach)
		(void)snprintf(settings->attach, sizeof(settings->attach), "%s", attach);
	return 0;
}

int settings_load(
	const struct options *options, struct settings *ret_settings, struct report *report)
{
	struct settings settings = {.policy = NULL};
	bool sim;
	int r;

	config_init(&settings.config);
	r = load_config(options, &settings.config, report);
	if (r == 0)
		r = set_operators(options, &settings, report);
	if (r == 0)
		r = set_paths(options, &settings, &sim, report);
	if (r == 0)
		r = load_policy(options, &settings, sim, report);
	if (r < 0) {
		settings_fini(&settings);
		return r;
	}
	*ret_settings = settings;
	return r;
}

void settings_fini(struct settings *settings)
{
	config_fini(&settings->config);
	policy_free(settings->policy);
	settings->policy = NULL;
}
