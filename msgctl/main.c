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
#define EXIT_SHORT     3 /* an answer, but not what was wanted */
#define TIMEOUT_MAX_S  3600

static const struct command commands[] = {
	{"status", status_print, "what msgd serves, and totals"},
	{"domains", domains_print, "the domains, and what each uses"},
	{"names", names_print, "who listens, and where"},
	{"links", links_print, "which applications are linked, over what, and why"},
	{"channels", channels_print, "who talks to whom"},
	{"reload", reload_print, "read configuration and policy again"},
	{"quiesce", quiesce_print, "before DOMAIN is saved or migrated", "DOMAIN", true,
		quiesce_fell_short},
	{"resume", resume_print, "DOMAIN goes on: it was not saved, or runs again", "DOMAIN"},
};

static void usage(FILE *out)
{
	(void)fputs("usage: msgctl [--socket=PATH | --hv=SPEC] [--json] COMMAND\n\n", out);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		(void)fprintf(out, "  %-8s%-7s %s\n", commands[i].name,
			commands[i].argument ? commands[i].argument : "", commands[i].help);
	(void)fputs(
		"\n  --socket=PATH  msgd's admin socket (else $MSGD_SOCKET, else " DEFAULT_SOCKET
		")\n"
		"  --hv=sim:PATH  the msgd that serves this emulator: PATH.msgd\n"
		"  --json         the answer as it came, for programs\n"
		"  --timeout=N    quiesce: wait N seconds for the applications (10)\n"
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

struct call {
	const struct command *command;
	const char *argument;
	long timeout_s; /* -1: not said */
	bool json;
};

static json_t *request_json(const struct call *call)
{
	json_t *request = json_pack("{s:s}", "op", call->command->name);

	if (call->command->argument)
		(void)json_object_set_new(request, "domain", json_string(call->argument));
	if (call->timeout_s >= 0)
		(void)json_object_set_new(
			request, "timeout_ms", json_integer(call->timeout_s * 1000));
	return request;
}

static int run(const struct call *call, const char *socket_path)
{
	const struct command *command = call->command;
	json_t *request = request_json(call), *answer;
	bool fell_short;
	int r = admin_ask(socket_path, request, &answer);

	json_decref(request);
	if (r < 0)
		return EXIT_FAILURE;
	if (call->json) {
		(void)json_dumpf(answer, stdout, JSON_INDENT(2));
		(void)putchar('\n');
	} else {
		command->print(answer);
	}
	fell_short = command->fell_short && command->fell_short(answer);
	json_decref(answer);
	if (fflush(stdout) != 0)
		return EXIT_FAILURE;
	return fell_short ? EXIT_SHORT : EXIT_SUCCESS;
}

/* The command and its argument. */
static int call_parse(struct call *call, int argc, char **argv)
{
	for (size_t i = 0; argc > 0 && i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[0], commands[i].name) == 0)
			call->command = &commands[i];
	}
	if (argc > 0 && !call->command) {
		(void)fprintf(stderr, "msgctl: unknown command '%s'\n", argv[0]);
		return -1;
	}
	if (argc == 0 || argc != (call->command->argument ? 2 : 1))
		return -1;
	if (call->timeout_s >= 0 && !call->command->waits) {
		(void)fprintf(stderr, "msgctl: %s waits for nothing\n", argv[0]);
		return -1;
	}
	call->argument = argv[1];
	return 0;
}

static int timeout_parse(const char *text, long *ret_timeout_s)
{
	char *end;
	long timeout_s = strtol(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || timeout_s > TIMEOUT_MAX_S) {
		(void)fprintf(stderr, "msgctl: --timeout is 0 to %d seconds, not '%s'\n",
			TIMEOUT_MAX_S, text);
		return -1;
	}
	*ret_timeout_s = timeout_s;
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"socket", required_argument, NULL, 's'},
		{"hv", required_argument, NULL, 'h'},
		{"json", no_argument, NULL, 'j'},
		{"timeout", required_argument, NULL, 't'},
		{"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'u'},
		{NULL, 0, NULL, 0},
	};
	const char *env_socket = secure_getenv("MSGD_SOCKET"), *env_hv = secure_getenv("MSG_HV");
	char path[512] = DEFAULT_SOCKET;
	struct call call = {.timeout_s = -1};
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
			call.json = true;
			break;
		case 't':
			if (timeout_parse(optarg, &call.timeout_s) < 0)
				return EXIT_USAGE;
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
	if (call_parse(&call, argc - optind, argv + optind) < 0) {
		usage(stderr);
		return EXIT_USAGE;
	}
	return run(&call, path);
}
