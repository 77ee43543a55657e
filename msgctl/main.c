/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgctl: looks at and steers a running msgd through its admin socket, and checks policy files
 * without it. It decides nothing itself and keeps no state.
 */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "base/number.h"
#include "msgctl/command.h"

#define DEFAULT_SOCKET "/run/msgd/admin"
#define EXIT_USAGE     2
#define EXIT_SHORT     3 /* an answer, but not what was wanted */
#define TIMEOUT_MAX_S  3600
#define WORDS_MAX      64
/* quiesce waits so long by default: msgd's ADMIN_TIMEOUT_MS. */
#define TIMEOUT_MS 10000U
/* For msgd to answer what needs no waiting: a turn of its loop takes milliseconds. */
#define ANSWER_MS 5000U

static const char doc[] = "Looks at and steers a running msgd. COMMAND is one of:\n\n"
			  "  status          what msgd serves, and totals\n"
			  "  domains         the domains, and what each uses\n"
			  "  names           who listens, and where\n"
			  "  links           which applications are linked, over what, and why\n"
			  "  channels        who talks to whom\n"
			  "  reload          read configuration and policy again\n"
			  "  quiesce DOMAIN  before DOMAIN is saved or migrated\n"
			  "  resume DOMAIN   DOMAIN goes on: it was not saved, or runs again\n"
			  "  policy check [FILE|DIR ...]\n"
			  "                  errors and warnings of policy files, without msgd\n";

struct command {
	const char *name;	      /* also the admin protocol's op */
	const struct column *columns; /* of its rows; or NULL: it prints sentences */
	void (*print)(const json_t *answer);
	bool domain; /* its argument, sent as "domain" */
	bool waits;  /* --timeout is for it */
	bool local;  /* "check" and paths are its arguments, and msgd is not asked */
};

static const struct command commands[] = {
	{"status", .print = status_print},
	{"domains", domains_columns},
	{"names", names_columns},
	{"links", links_columns},
	{"channels", channels_columns},
	{"reload", .print = reload_print},
	{"quiesce", .print = quiesce_print, .domain = true, .waits = true},
	{"resume", .print = resume_print, .domain = true},
	{"policy", .local = true},
};

struct call {
	char socket[512];
	const char *from; /* static: by whose word */
	const struct command *command;
	json_t *request; /* owned */
	uint32_t timeout_ms;
	const char *words[WORDS_MAX]; /* borrowed from argv: after a command that is local */
	size_t n_words;
	bool json;
};

/* "sim:PATH[#DOMAIN]" is PATH.msgd, as in msgd(8); "xen" the default. */
static bool socket_of_hv(struct call *call, const char *hv)
{
	bool xen = strcmp(hv, "xen") == 0;

	if (!xen && (strncmp(hv, "sim:", 4) != 0 || !hv[4] || hv[4] == '#'))
		return false;
	if (xen)
		strcpy(call->socket, DEFAULT_SOCKET);
	else
		(void)snprintf(call->socket, sizeof(call->socket), "%.*s.msgd",
			(int)strcspn(hv + 4, "#"), hv + 4);
	return true;
}

static void request_set(struct call *call, const char *key, json_t *value)
{
	if (json_object_set_new(call->request, key, value) == 0)
		return;
	(void)fputs("msgctl: out of memory, or a text that is not UTF-8\n", stderr);
	exit(EXIT_FAILURE);
}

static void set_timeout(struct call *call, const char *text, const struct argp_state *state)
{
	uint32_t timeout_s = 0;

	if (!number_from_text(text, TIMEOUT_MAX_S, &timeout_s))
		argp_error(state, "--timeout is 0 to %d seconds, not '%s'", TIMEOUT_MAX_S, text);
	call->timeout_ms = timeout_s * 1000;
	request_set(call, "timeout_ms", json_integer((json_int_t)timeout_s * 1000));
}

static void set_command(struct call *call, const char *name, const struct argp_state *state)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(name, commands[i].name) == 0)
			call->command = &commands[i];
	}
	if (!call->command)
		argp_error(state, "unknown command '%s'", name);
	request_set(call, "op", json_string(name));
}

static void check(const struct call *call, const struct argp_state *state)
{
	if (!call->command)
		argp_usage(state);
	if (call->command->local && (call->n_words == 0 || strcmp(call->words[0], "check") != 0))
		argp_error(state, "policy check [FILE|DIR ...]");
	if (call->command->domain && !json_object_get(call->request, "domain"))
		argp_error(state, "an argument is missing: %s DOMAIN", call->command->name);
	if (!call->command->waits && json_object_get(call->request, "timeout_ms"))
		argp_error(state, "%s waits for nothing", call->command->name);
}

enum { OPTION_SOCKET = 256, OPTION_HV, OPTION_JSON, OPTION_TIMEOUT };

static const struct argp_option options[] = {
	{"socket", OPTION_SOCKET, "PATH", 0,
		"msgd's admin socket (else $MSGD_SOCKET, else " DEFAULT_SOCKET ")"},
	{"hv", OPTION_HV, "SPEC", 0,
		"the msgd that serves this hypervisor: xen, or sim:PATH for the emulator, whose "
		"msgd is at PATH.msgd"},
	{"json", OPTION_JSON, NULL, 0, "the answer as it came, for programs"},
	{"timeout", OPTION_TIMEOUT, "SECONDS", 0,
		"quiesce: how long to wait for the applications (10)"},
	{0},
};

static error_t on_option(int key, char *arg, struct argp_state *state)
{
	struct call *call = state->input;

	switch (key) {
	case OPTION_SOCKET:
		(void)snprintf(call->socket, sizeof(call->socket), "%s", arg);
		call->from = "--socket";
		return 0;
	case OPTION_HV:
		if (!socket_of_hv(call, arg))
			argp_error(state, "--hv is xen or sim:PATH, not '%s'", arg);
		call->from = "--hv";
		return 0;
	case OPTION_JSON:
		call->json = true;
		return 0;
	case OPTION_TIMEOUT:
		set_timeout(call, arg, state);
		return 0;
	case ARGP_KEY_ARG:
		if (!call->command)
			set_command(call, arg, state);
		else if (call->command->local && call->n_words < WORDS_MAX)
			call->words[call->n_words++] = arg;
		else if (call->command->domain && state->arg_num == 1)
			request_set(call, "domain", json_string(arg));
		else
			argp_error(state, "'%s' is one argument too many", arg);
		return 0;
	case ARGP_KEY_END:
		check(call, state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void show(const struct command *command, const json_t *answer)
{
	long long left_out = field_number(answer, "left_out");

	if (command->print)
		command->print(answer);
	else
		table_print(command->columns, json_object_get(answer, command->name));
	if (left_out)
		(void)printf("... and %lld more\n", left_out);
}

static int run(const struct call *call)
{
	uint32_t wait_ms = call->command->waits ? call->timeout_ms : 0;
	json_t *answer = admin_ask(call->socket, call->from, call->request, wait_ms + ANSWER_MS);
	int status = EXIT_SUCCESS;

	if (!answer)
		return EXIT_FAILURE;
	if (call->json) {
		(void)json_dumpf(answer, stdout, JSON_INDENT(2));
		(void)putchar('\n');
	} else {
		show(call->command, answer);
	}
	if (call->command->waits && !field_true(answer, "quiesced"))
		status = EXIT_SHORT;
	json_decref(answer);
	return fflush(stdout) == 0 ? status : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {options, on_option, "COMMAND [ARGUMENT ...]", doc};
	const char *env_socket = secure_getenv("MSGD_SOCKET"), *env_hv = secure_getenv("MSG_HV");
	struct call call = {.socket = DEFAULT_SOCKET,
		.from = "the default",
		.request = json_object(),
		.timeout_ms = TIMEOUT_MS};
	int status;

	if (env_socket && *env_socket) {
		(void)snprintf(call.socket, sizeof(call.socket), "%s", env_socket);
		call.from = "of MSGD_SOCKET";
	} else if (env_hv && *env_hv && socket_of_hv(&call, env_hv)) {
		call.from = "of MSG_HV";
	}
	argp_program_version = "msgctl " MSGD_VERSION;
	argp_err_exit_status = EXIT_USAGE;
	(void)argp_parse(&argp, argc, argv, 0, NULL, &call);
	status = call.command->local ? policy_check(call.words + 1, call.n_words - 1, call.json)
				     : run(&call);
	json_decref(call.request);
	return status;
}
