/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgctl: looks at and steers a running msgd through its admin socket. It decides nothing itself
 * and keeps no state.
 */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "msgctl/admin-client.h"
#include "msgctl/command.h"

#define DEFAULT_SOCKET "/run/msgd/admin"
#define EXIT_USAGE     2

static const struct command commands[] = {
	{"status", status_print, "what msgd serves, and totals"},
	{"domains", domains_print, "the domains, and what each uses"},
	{"names", names_print, "who listens, and where"},
	{"links", links_print, "which applications are linked, over what, and why"},
	{"channels", channels_print, "who talks to whom"},
	{"reload", reload_print, "read configuration and policy again"},
};

static void usage(FILE *out)
{
	(void)fputs("usage: msgctl [--socket=PATH | --hv=SPEC] [--json] COMMAND\n\n", out);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		(void)fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
	(void)fputs(
		"\n  --socket=PATH  msgd's admin socket (else $MSGD_SOCKET, else " DEFAULT_SOCKET
		")\n"
		"  --hv=sim:PATH  the msgd that serves this emulator: PATH.msgd\n"
		"  --json         the answer as it came, for programs\n"
		"  --version, --help\n",
		out);
}

/* "sim:PATH[#DOMAIN]" is PATH.msgd, as in msgd(8); "xen" the default. */
static bool socket_of_hv(const char *hv, char *ret_path, size_t size)
{
	if (strcmp(hv, "xen") == 0) {
		(void)snprintf(ret_path, size, "%s", DEFAULT_SOCKET);
		return true;
	}
	if (strncmp(hv, "sim:", 4) != 0 || !hv[4] || hv[4] == '#')
		return false;
	(void)snprintf(ret_path, size, "%.*s.msgd", (int)strcspn(hv + 4, "#"), hv + 4);
	return true;
}

static int run(const struct command *command, const char *socket_path, bool json)
{
	json_t *answer;

	if (admin_ask(socket_path, command->name, &answer) < 0)
		return EXIT_FAILURE;
	if (json) {
		(void)json_dumpf(answer, stdout, JSON_INDENT(2));
		(void)putchar('\n');
	} else {
		command->print(answer);
	}
	json_decref(answer);
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run_named(const char *name, const char *socket_path, bool json)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(name, commands[i].name) == 0)
			return run(&commands[i], socket_path, json);
	}
	(void)fprintf(stderr, "msgctl: unknown command '%s'\n", name);
	usage(stderr);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"socket", required_argument, NULL, 's'},
		{"hv", required_argument, NULL, 'h'},
		{"json", no_argument, NULL, 'j'},
		{"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'u'},
		{NULL, 0, NULL, 0},
	};
	const char *env_socket = secure_getenv("MSGD_SOCKET"), *env_hv = secure_getenv("MSG_HV");
	char path[512] = DEFAULT_SOCKET;
	bool json = false;
	int c;

	if (env_socket && *env_socket)
		(void)snprintf(path, sizeof(path), "%s", env_socket);
	else if (env_hv && *env_hv)
		(void)socket_of_hv(env_hv, path, sizeof(path));
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's':
			(void)snprintf(path, sizeof(path), "%s", optarg);
			break;
		case 'h':
			if (!socket_of_hv(optarg, path, sizeof(path))) {
				(void)fprintf(stderr, "msgctl: --hv is xen or sim:PATH, not '%s'\n",
					optarg);
				return EXIT_USAGE;
			}
			break;
		case 'j':
			json = true;
			break;
		case 'v':
			(void)puts("msgctl " MSGD_VERSION);
			return EXIT_SUCCESS;
		case 'u':
			usage(stdout);
			return EXIT_SUCCESS;
		default:
			usage(stderr);
			return EXIT_USAGE;
		}
	}
	if (argc - optind != 1) {
		usage(stderr);
		return EXIT_USAGE;
	}
	return run_named(argv[optind], path, json);
}
