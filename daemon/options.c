/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Makes one set of options from the command line, msgd.conf and the defaults. It touches only those
 * files.
 */
#include "daemon/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define DEFAULT_CONFIG "/etc/msgd/msgd.conf"
#define DEFAULT_POLICY "/etc/msgd/policy.d"
#define DEFAULT_ADMIN  "/run/msgd/admin"
#define DEFAULT_ATTACH "/run/msgd/attach"
#define DEFAULT_LOCK   "/run/msgd/lock"

static void usage(FILE *out)
{
	(void)fputs(
		"usage: msgd [--hv=SPEC] [--config=FILE] [--policy=PATH]... [--admin=SOCKET]\n"
		"            [--attach=SOCKET]\n"
		"\n"
		"  --hv=SPEC       xen, or sim:PATH for the emulator, started if it is not there\n"
		"  --config=FILE   in the place of " DEFAULT_CONFIG "\n"
		"  --policy=PATH   a policy file, or a directory of *.policy; may be repeated\n"
		"  --admin=SOCKET  where msgctl finds msgd (sim:PATH: PATH.msgd)\n"
		"  --attach=SOCKET where unprivileged applications of this domain publish "
		"themselves\n"
		"                  (sim:PATH: PATH.attach)\n"
		"  --version, --help\n"
		"\n"
		"See msgd(8), msgd.conf(5), msgd.policy(5).\n",
		out);
}

int options_parse(int argc, char **argv, struct options *ret_options)
{
	static const struct option table[] = {
		{"hv", required_argument, NULL, 'h'},
		{"config", required_argument, NULL, 'c'},
		{"policy", required_argument, NULL, 'p'},
		{"admin", required_argument, NULL, 'a'},
		{"attach", required_argument, NULL, 't'},
		{"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, '?' + 1},
		{NULL, 0, NULL, 0},
	};
	struct options options = {.hv = NULL};
	int c;

	while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (c) {
		case 'h':
			options.hv = optarg;
			break;
		case 'c':
			options.config = optarg;
			break;
		case 'a':
			options.admin = optarg;
			break;
		case 't':
			options.attach = optarg;
			break;
		case 'p':
			if (options.n_policy == CONFIG_POLICY_MAX) {
				(void)fputs("msgd: too many --policy\n", stderr);
				return 3;
			}
			options.policy[options.n_policy++] = optarg;
			break;
		case 'v':
			(void)puts("msgd " MSGD_VERSION);
			return 1;
		case '?' + 1:
			usage(stdout);
			return 1;
		default:
			usage(stderr);
			return 3;
		}
	}
	if (optind < argc) {
		(void)fprintf(stderr, "msgd: unexpected argument '%s'\n", argv[optind]);
		usage(stderr);
		return 3;
	}
	*ret_options = options;
	return 0;
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
static int load_config(
	const struct options *options, struct config *config, char ret_error[OPTIONS_ERROR_SIZE])
{
	char error[CONFIG_ERROR_SIZE] = "";
	int r;

	if (options->config) {
		r = config_load(config, options->config, error);
	} else {
		if ((options->hv && strcmp(options->hv, "xen") != 0) ||
			access(DEFAULT_CONFIG, F_OK) < 0)
			return 0;
		r = config_load(config, DEFAULT_CONFIG, error);
	}
	if (r < 0)
		(void)snprintf(
			ret_error, OPTIONS_ERROR_SIZE, "%s", error[0] ? error : strerror(-r));
	return r;
}

static int load_policy(const struct options *options, struct settings *settings, bool sim,
	char ret_error[OPTIONS_ERROR_SIZE])
{
	const char *paths[CONFIG_POLICY_MAX];
	char error[POLICY_ERROR_SIZE] = "";
	size_t n = 0;
	int r;

	if (options->n_policy) {
		for (; n < options->n_policy; n++)
			paths[n] = options->policy[n];
	} else if (settings->config.n_policy) {
		for (; n < settings->config.n_policy; n++)
			paths[n] = settings->config.policy[n];
	} else if (!sim && access(DEFAULT_POLICY, F_OK) == 0) {
		paths[n++] = DEFAULT_POLICY;
	}
	settings->policy_missing = n == 0;
	r = policy_load(paths, n, &settings->policy, error);
	if (r < 0)
		(void)snprintf(ret_error, OPTIONS_ERROR_SIZE, "policy: %s", error);
	return r;
}

static int set_paths(const struct options *options, struct settings *settings, bool *ret_sim,
	char ret_error[OPTIONS_ERROR_SIZE])
{
	const char *env = secure_getenv("MSG_HV");
	const char *hv = options->hv	       ? options->hv
			 : settings->config.hv ? settings->config.hv
			 : env && *env	       ? env
					       : "xen";
	const char *admin = options->admin ? options->admin : settings->config.admin;
	const char *attach = options->attach ? options->attach : settings->config.attach;
	char path[400];

	*ret_sim = hv_spec_sim_path(hv, path, sizeof(path));
	if (!*ret_sim && strncmp(hv, "sim:", 4) == 0) {
		(void)snprintf(ret_error, OPTIONS_ERROR_SIZE, "'%.100s': a bad path", hv);
		return -EINVAL;
	}
	(void)snprintf(settings->hv, sizeof(settings->hv), "%s", hv);
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

int settings_load(const struct options *options, struct settings *ret_settings,
	char ret_error[OPTIONS_ERROR_SIZE])
{
	struct settings settings = {.policy = NULL};
	bool sim;
	int r;

	config_init(&settings.config);
	r = load_config(options, &settings.config, ret_error);
	if (r == 0)
		r = set_paths(options, &settings, &sim, ret_error);
	if (r == 0)
		r = load_policy(options, &settings, sim, ret_error);
	if (r < 0) {
		settings_fini(&settings);
		return r;
	}
	*ret_settings = settings;
	return 0;
}

void settings_fini(struct settings *settings)
{
	config_fini(&settings->config);
	policy_free(settings->policy);
	settings->policy = NULL;
}
