/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgctl: looks at and steers a running msgd through its admin socket, and checks policy files
 * without it. It decides nothing itself and keeps no state.
 */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "base/number.h"
#include "msgctl/admin-client.h"
#include "msgctl/admin-exchange.h"
#include "msgctl/arguments.h"
#include "msgctl/command.h"
#include "msgctl/complain.h"
#include "msgctl/fields.h"
#include "msgctl/parts.h"
#include "msgctl/show.h"
#include "msgctl/usage.h"

#define ARGS_MAX      64U
#define HELP_COLUMN   26
#define COMMAND_SIZE  80 /* of an unknown one, for people */
#define OPTION_SIZE   16 /* with its dashes */
#define TIMEOUT_MAX_S 3600
/* The default of --timeout: msgd's ADMIN_TIMEOUT_MS. */
#define TIMEOUT_MS 10000U

struct call {
	char socket[ADMIN_PATH_SIZE];
	const char *from; /* static: by whose word */
	const char *word; /* borrowed: the first one of the command's two, or NULL */
	const struct command *command;
	char *args[ARGS_MAX]; /* borrowed */
	unsigned n_args;
	unsigned options;   /* that were given, as bits */
	json_t *request;    /* owned */
	const char *fields; /* borrowed: --fields, or NULL */
	uint32_t timeout_ms;
	bool json, all;
};

/* ---- options -------------------------------------------------------------------------------- */

enum { OPTION_SOCKET = 256, OPTION_HV, OPTION_JSON, OPTION_KEYS };

static const struct argp_option options[] = {
	{"socket", OPTION_SOCKET, "PATH", 0,
		"msgd's admin socket (else $MSGD_SOCKET, else " ADMIN_DEFAULT_SOCKET ")"},
	{"hv", OPTION_HV, "SPEC", 0,
		"the msgd that serves this hypervisor: xen, or sim:PATH for the emulator, whose "
		"msgd is at PATH.msgd"},
	{"json", OPTION_JSON, NULL, 0, "the answer as it came, for programs"},
	{"domain", OPTION_KEYS + OPTION_DOMAIN, "DOMAIN", 0,
		"only what is of this domain: its name, domid:N or uuid:U"},
	{"name", OPTION_KEYS + OPTION_NAME, "GLOB", 0, "only what is of names like this"},
	{"transport", OPTION_KEYS + OPTION_TRANSPORT, "KIND", 0,
		"only links of argo, argo-strict or grant"},
	{"state", OPTION_KEYS + OPTION_STATE, "WORD", 0,
		"only what is in this state, as in the list"},
	{"kind", OPTION_KEYS + OPTION_KIND, "WORD", 0, "only events of this kind"},
	{NULL, 'n', "N", 0, "the last N events; for top, N lists", 0},
	{"n", OPTION_KEYS + OPTION_N, "N", OPTION_HIDDEN, NULL},
	{"since", OPTION_KEYS + OPTION_SINCE, "SERIAL", 0, "the events after this one"},
	{"sort", OPTION_KEYS + OPTION_SORT, "COLUMN", 0, "sort top's rows by this column"},
	{"batch", OPTION_KEYS + OPTION_BATCH, NULL, 0, "top as tables, one after the other"},
	{"listen", OPTION_KEYS + OPTION_LISTEN, NULL, 0,
		"whether the domain may listen, and not connect"},
	{"all", OPTION_KEYS + OPTION_ALL, NULL, 0,
		"the rules for other names as well, that were passed over"},
	{"dry-run", OPTION_KEYS + OPTION_DRY_RUN, NULL, 0,
		"change nothing: say what would end, or what is wrong"},
	{"timeout", OPTION_KEYS + OPTION_TIMEOUT, "SECONDS", 0,
		"how long to wait (10; for each answer to ping 1)"},
	{NULL, 'c', "N", 0, "ping N times, or capture N frames", 0},
	{"count", OPTION_KEYS + OPTION_PINGS, "N", OPTION_HIDDEN, NULL},
	{"interval", OPTION_KEYS + OPTION_INTERVAL, "SECONDS", 0,
		"from one ping to the next, or one list of top: 0.1 to 3600"},
	{NULL, 'i', "SECONDS", 0, "the same"},
	{"payload", OPTION_KEYS + OPTION_PAYLOAD, NULL, 0,
		"capture the beginning of frames' payload as well, where policy and both ends "
		"agree"},
	{"snaplen", OPTION_KEYS + OPTION_SNAPLEN, "BYTES", 0, "how much of it (256)"},
	{NULL, 'w', "FILE", 0, "capture into a file, as pcapng; -: to standard output"},
	{"write", OPTION_KEYS + OPTION_WRITE, "FILE", OPTION_HIDDEN, NULL},
	{"fields", OPTION_KEYS + OPTION_FIELDS, "NAME,...", 0,
		"of a list only these, as JSON calls them, for scripts: a tab between two, no "
		"heads"},
	{"seconds", OPTION_KEYS + OPTION_SECONDS, "S", 0, "capture for so long"},
	{0},
};

static const char *option_name(unsigned option)
{
	const struct argp_option *o = options;

	while (o->key != OPTION_KEYS + (int)option)
		o++;
	return o->name;
}

/* As people say it: -n, --domain. */
static const char *option_text(unsigned option, char ret_text[OPTION_SIZE])
{
	static const char letters[OPTION_COUNT] = {
		[OPTION_N] = 'n', [OPTION_PINGS] = 'c', [OPTION_WRITE] = 'w'};

	if (letters[option])
		(void)snprintf(ret_text, OPTION_SIZE, "-%c", letters[option]);
	else
		(void)snprintf(ret_text, OPTION_SIZE, "--%s", option_name(option));
	return ret_text;
}

static void set_timeout(struct call *call, const char *text, const struct argp_state *state)
{
	uint32_t timeout_s = 0;

	if (!number_from_text(text, TIMEOUT_MAX_S, &timeout_s))
		argp_error(state, "--timeout is 0 to %d seconds, not '%s'", TIMEOUT_MAX_S, text);
	call->timeout_ms = timeout_s * 1000;
	(void)json_object_set_new(
		call->request, "timeout_ms", json_integer((json_int_t)timeout_s * 1000));
}

static void set_number(
	struct call *call, unsigned option, const char *text, const struct argp_state *state)
{
	char name[OPTION_SIZE];
	uint64_t number = 0;

	if (!number64_from_text(text, INT64_MAX, &number))
		argp_error(state, "%s is a number, not '%s'", option_text(option, name), text);
	(void)json_object_set_new(
		call->request, option_name(option), json_integer((json_int_t)number));
}

static void set_interval(struct call *call, const char *text, const struct argp_state *state)
{
	double seconds;

	if (!interval_from_text(text, &seconds))
		argp_error(state, "--interval is 0.1 to 3600 seconds, not '%s'", text);
	(void)json_object_set_new(call->request, "interval", json_real(seconds));
}

static void set_option(
	struct call *call, unsigned option, const char *text, const struct argp_state *state)
{
	char name[OPTION_SIZE];

	call->options |= ENUM_BIT(option);
	if (option == OPTION_FIELDS)
		call->fields = text;
	else if (option == OPTION_ALL)
		call->all = true;
	else if (option == OPTION_TIMEOUT)
		set_timeout(call, text, state);
	else if (option == OPTION_LISTEN || option == OPTION_BATCH || option == OPTION_PAYLOAD)
		(void)json_object_set_new(call->request, option_name(option), json_true());
	else if (option == OPTION_DRY_RUN)
		(void)json_object_set_new(call->request, "op", json_string("reload-dry-run"));
	else if (option == OPTION_INTERVAL)
		set_interval(call, text, state);
	else if (option == OPTION_N || option == OPTION_SINCE || option == OPTION_PINGS ||
		 option == OPTION_SNAPLEN || option == OPTION_SECONDS)
		set_number(call, option, text, state);
	else if (json_object_set_new(call->request, option_name(option), json_string(text)) < 0)
		argp_error(state, "%s is not UTF-8", option_text(option, name));
}

/* ---- the command ---------------------------------------------------------------------------- */

static void set_command(struct call *call, const char *word, const struct argp_state *state)
{
	char name[COMMAND_SIZE];

	if (!call->word && strcmp(word, "help") == 0)
		argp_state_help(state, stdout, ARGP_HELP_STD_HELP); /* ends */
	(void)snprintf(name, sizeof(name), "%s%s%s", call->word ? call->word : "",
		call->word ? " " : "", word);
	call->command = command_find(name);
	if (!call->command && !call->word && command_begins(word))
		call->word = word;
	else if (!call->command)
		argp_error(state, "unknown command '%s'", name);
}

static const char *instead(const struct command *command)
{
	return command->instead ? command->instead : "";
}

static void set_argument(struct call *call, char *arg, const struct argp_state *state)
{
	if (!call->command) {
		set_command(call, arg, state);
	} else if (call->n_args < call->command->n_args_max) {
		call->args[call->n_args++] = arg;
	} else {
		argp_error(state, "%s takes no '%s'%s", call->command->name, arg,
			instead(call->command));
	}
}

static const char *call_op(const struct call *call)
{
	return json_string_value(json_object_get(call->request, "op"));
}

static void check(struct call *call, const struct argp_state *state)
{
	const struct command *command = call->command;
	char name[OPTION_SIZE];
	const char *error;

	if (!command) {
		if (call->word)
			argp_error(state, "%s wants a second word: see --help", call->word);
		argp_error(state, "no command");
		return;
	}
	for (unsigned i = 0; i < OPTION_COUNT; i++) {
		if (call->options & ~command->options & ENUM_BIT(i))
			argp_error(state, "%s takes no %s%s", command->name, option_text(i, name),
				instead(command));
	}
	if (call->n_args < command->n_args_min)
		argp_error(state, "%s wants %s%s", command->name, command->args, instead(command));
	if (call->json && call->fields)
		argp_error(state, "--fields is not for --json");
	error = command->set ? command->set(call->request, call->args, call->n_args) : NULL;
	if (error)
		argp_error(state, "%s: %s%s", command->name, error, instead(command));
	if (!json_object_get(call->request, "op"))
		(void)json_object_set_new(call->request, "op", json_string(command_op(command)));
	if (call->fields && strcmp(call_op(call), "set-limit") == 0)
		argp_error(state, "quota set takes no --fields%s", instead(command));
}

static error_t on_option(int key, char *arg, struct argp_state *state)
{
	struct call *call = state->input;

	switch (key) {
	case OPTION_SOCKET:
		(void)snprintf(call->socket, sizeof(call->socket), "%s", arg);
		call->from = "--socket";
		return 0;
	case OPTION_HV:
		if (!admin_socket_of_hv(arg, call->socket))
			argp_error(state, "--hv is xen or sim:PATH, not '%s'", arg);
		call->from = "--hv";
		return 0;
	case 'n':
		set_option(call, OPTION_N, arg, state);
		return 0;
	case 'w':
		set_option(call, OPTION_WRITE, arg, state);
		return 0;
	case 'c':
		set_option(call, OPTION_PINGS, arg, state);
		return 0;
	case 'i':
		set_option(call, OPTION_INTERVAL, arg, state);
		return 0;
	case OPTION_JSON:
		call->json = true;
		return 0;
	case ARGP_KEY_ARG:
		set_argument(call, arg, state);
		return 0;
	case ARGP_KEY_END:
		check(call, state);
		return 0;
	default:
		if (key < OPTION_KEYS || key >= OPTION_KEYS + OPTION_COUNT)
			return ARGP_ERR_UNKNOWN;
		set_option(call, (unsigned)key - OPTION_KEYS, arg, state);
		return 0;
	}
}

/* The list of commands stands before that of options. */
static char *on_help(int key, const char *text, void *input)
{
	char *help = NULL;
	size_t size;
	FILE *out;

	if (key != ARGP_KEY_HELP_PRE_DOC)
		return (char *)text;
	out = open_memstream(&help, &size);
	if (!out)
		return NULL;
	(void)fputs("Looks at and steers a running msgd. COMMAND is one of:\n\n", out);
	for (const struct command *command = commands; command->name; command++) {
		int len = fprintf(out, "  %s %s", command->name, command->args);

		if (len >= HELP_COLUMN)
			len = fprintf(out, "\n") - 1;
		(void)fprintf(out, "%*s%s\n", HELP_COLUMN - len, "", command->help);
	}
	return fclose(out) == 0 ? help : NULL;
}

/* ---- the answer ----------------------------------------------------------------------------- */

static void show(const struct call *call, const json_t *answer)
{
	const struct command *command = call->command;
	long long left_out = field_number(answer, "left_out");

	if (call->all)
		command->print_all(answer);
	else if (command->print)
		command->print(answer);
	else
		table_print(command->columns, json_object_get(answer, command_op(command)));
	if (left_out)
		(void)printf("... and %lld more\n", left_out);
}

static void print_json(const json_t *answer)
{
	(void)json_dumpf(answer, stdout, JSON_INDENT(2));
	(void)putchar('\n');
}

/* False: nobody gets it. */
static bool on_object(void *arg, const json_t *object)
{
	const struct call *call = arg;

	if (call->json)
		object_print(object);
	else
		call->command->follow(object);
	return !ferror(stdout);
}

/* Until msgd ends, or the user does. */
static int follow(struct call *call)
{
	(void)setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	return admin_follow(call->socket, call->from, call->request, on_object, call);
}

/* A list without a row. */
static bool is_empty(const json_t *answer)
{
	const json_t *rows = json_object_get(answer, field_text(answer, "op"));

	return json_is_array(rows) && json_array_size(rows) == 0;
}

/*
 * Whether a list has no rows since its domain is not there. True after a line on stderr, with the
 * exit status: of that, or of the question. History is of domains that are gone as well.
 */
static bool lacks_domain(const struct call *call, int *ret_status)
{
	const char *domain = json_string_value(json_object_get(call->request, "domain"));
	bool events = call->command->options & ENUM_BIT(OPTION_KIND);
	json_t *request, *answer;
	bool lacks;

	if (!domain || events)
		return false;
	request = json_pack("{s:s, s:s}", "op", "domains", "domain", domain);
	answer = admin_ask(call->socket, call->from, request, ANSWER_MS, ret_status);
	lacks = !answer || is_empty(answer);
	if (answer && lacks) {
		complain(EXIT_FAILURE, -ESRCH, "no such domain: %s", domain);
		*ret_status = EXIT_FAILURE;
	}
	json_decref(request);
	json_decref(answer);
	return lacks;
}

/* Its parts, one after the other. The first says whether there is such a thing. */
static int run_parts(const struct call *call)
{
	const struct part *part = call->command->parts(call->args);
	json_t *all = json_pack("{s:s}", "op", call->command->name);
	bool first = true, failed = false;
	int status = EXIT_FAILURE;

	for (; part->op && !failed; part++, first = false) {
		json_t *request = part_request(part, call->request);
		json_t *answer = admin_ask(call->socket, call->from, request, ANSWER_MS, &status);
		json_t *rows = json_object_get(answer, part->op);

		json_decref(request);
		failed = !answer || (first && json_array_size(rows) == 0 &&
					    (call->n_args || lacks_domain(call, &status)));
		if (failed && answer && call->n_args) {
			complain(EXIT_FAILURE, -ENOENT, "no such %s: %s", call->args[0],
				call->args[1]);
		} else if (failed) {
			/* It was said why. */
		} else if (!call->json) {
			(void)fputs(first ? "" : "\n", stdout);
			part_print(part, answer);
		} else {
			(void)json_object_set(
				all, part->op, rows ? rows : json_object_get(answer, "us"));
		}
		json_decref(answer);
	}
	if (call->json && !failed)
		print_json(all);
	json_decref(all);
	return failed ? status : EXIT_SUCCESS;
}

/*
 * The lists that follow have the counts of now, unless this msgd is older than the counts. False:
 * msgd could not be asked.
 */
static bool refresh(const struct call *call)
{
	json_t *request = json_pack("{s:s}", "op", "refresh");
	bool told = admin_tell(call->socket, call->from, request, ANSWER_MS);

	json_decref(request);
	return told;
}

static void on_away(const char *socket_path)
{
	(void)fprintf(stderr, "msgctl: no msgd on %s: waiting for it\n", socket_path);
}

static json_t *ask(const struct call *call, int *ret_status)
{
	uint32_t wait_ms = call->command->waits ? call->timeout_ms : 0;

	if (call->command->stays)
		return admin_wait(call->socket, call->from, call->request, wait_ms,
			call->json ? NULL : on_away, ret_status);
	return admin_ask(call->socket, call->from, call->request, wait_ms + ANSWER_MS, ret_status);
}

/* Rows for scripts. */
static int show_fields(const struct call *call, const json_t *answer)
{
	long long left_out = field_number(answer, "left_out");

	if (left_out)
		(void)fprintf(stderr, "... and %lld more\n", left_out);
	return fields_print(call->fields, json_object_get(answer, call_op(call)));
}

static int run(const struct call *call)
{
	const struct command *command = call->command;
	int status;
	json_t *answer = ask(call, &status);

	if (!answer)
		return status;
	if (is_empty(answer) && lacks_domain(call, &status)) {
		json_decref(answer);
		return status;
	}
	status = command->status ? command->status(answer) : EXIT_SUCCESS;
	if (call->json)
		print_json(answer);
	else if (call->fields)
		status = show_fields(call, answer);
	else
		show(call, answer);
	json_decref(answer);
	return status;
}

static int run_command(struct call *call)
{
	const struct command *command = call->command;

	if (command->local)
		return command->local(call->args, call->n_args, call->json);
	if (command->run)
		return command->run(&(struct command_call){.socket = call->socket,
			.from = call->from,
			.request = call->request,
			.json = call->json});
	if (command->counts && !refresh(call))
		return EXIT_FAILURE;
	if (command->follow)
		return follow(call);
	return command->parts ? run_parts(call) : run(call);
}

/* A full disk is an error, whatever msgd has answered; one error is said already. */
static int output_end(int status)
{
	int r = fflush(stdout) == 0 ? 0 : -errno;

	if ((r == 0 && !ferror(stdout)) || status == EXIT_FAILURE || status == EXIT_USAGE)
		return status;
	complain(EXIT_FAILURE, r < 0 ? r : -EIO, "standard output: %s",
		r < 0 ? strerror(-r) : "not all could be written");
	return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {options, on_option, "COMMAND [ARGUMENTS]",
		"See msgctl(8).", .help_filter = on_help};
	struct call call = {.request = json_object(), .timeout_ms = TIMEOUT_MS};
	int status;

	call.from = admin_socket_of_environment(call.socket);
	argp_program_version = "msgctl " MSGD_VERSION;
	argp_err_exit_status = EXIT_USAGE;
	usage_begin(argv);
	(void)argp_parse(&argp, argc, argv, 0, NULL, &call);
	usage_good();
	status = output_end(run_command(&call));
	json_decref(call.request);
	return status;
}
