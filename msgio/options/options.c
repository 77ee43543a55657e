/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See options.h. */
#include "msgio/options/options.h"

#include <argp.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "base/number.h"
#include "libmsg/libmsg.h"
#include "msgio/options/words.h"

/* Each has two descriptors at most, and 128 KiB under way. */
#define CONNECTIONS_DEFAULT 1024U
/* Programs take memory and time of a processor: few machines want more at once. */
#define PROGRAMS_DEFAULT 64U
/* Most programs listen after milliseconds; this one has a busy machine, and a database to open. */
#define START_LIMIT_DEFAULT_S 10U
#define CONNECTIONS_MAX	      65536U
#define MODE_DEFAULT	      0600U
#define MODE_MAX	      0777U

static const char doc[] =
	"Connects channels between Xen domains with programs. COMMAND is one of:\n\n"
	"  connect [DOMAIN/]NAME            with standard input and output\n"
	"  listen NAME                      the same, of the first that connects\n"
	"  exec NAME -- PROGRAM [ARG...]    a program for each that connects\n"
	"  activate NAME -- PROGRAM [ARG...]  one program, started by the first connection\n"
	"  forward FROM TO                  a connection to TO for each to FROM\n"
	"  serve PATH                       descriptors for programs that ask there\n\n"
	"FROM: listen:NAME, unix-listen:PATH, tcp-listen:HOST:PORT, vsock-listen:PORT\n"
	"TO: connect:[DOMAIN/]NAME, unix-connect:PATH, tcp-connect:HOST:PORT, "
	"vsock-connect:PORT\n\nSee msgio(1).";

struct word {
	const char *text;
	int value;
};

static const struct word commands[] = {
	{"connect", COMMAND_CONNECT},
	{"listen", COMMAND_LISTEN},
	{"exec", COMMAND_EXEC},
	{"activate", COMMAND_ACTIVATE},
	{"forward", COMMAND_FORWARD},
	{"serve", COMMAND_SERVE},
	{NULL, COMMAND_NONE},
};

static const struct word types[] = {
	{"stream", LIBMSG_STREAM},
	{"seqpacket", LIBMSG_SEQPACKET},
	{"dgram", LIBMSG_DGRAM},
	{NULL, 0},
};

static const struct word transports[] = {
	{"any", LIBMSG_TRANSPORT_ANY},
	{"argo", LIBMSG_TRANSPORT_ARGO},
	{"argo-strict", LIBMSG_TRANSPORT_ARGO_STRICT},
	{"grant", LIBMSG_TRANSPORT_GRANT},
	{NULL, -1},
};

/* The value of the last word if there is no such word. */
static int word_value(const struct word *word, const char *text)
{
	while (word->text && strcmp(word->text, text) != 0)
		word++;
	return word->value;
}

int word_type(const char *text)
{
	return word_value(types, text);
}

int word_transport(const char *text)
{
	return word_value(transports, text);
}

enum {
	OPTION_HV = 256,
	OPTION_TYPE,
	OPTION_WAIT,
	OPTION_TRANSPORT,
	OPTION_MAX,
	OPTION_TIME_LIMIT,
	OPTION_START_LIMIT,
	OPTION_IDLE,
	OPTION_MODE,
};

static const struct argp_option table[] = {
	{"hv", OPTION_HV, "SPEC", 0, "xen, or sim:PATH[#DOMAIN] for the emulator"},
	{"type", OPTION_TYPE, "TYPE", 0, "stream (the default), seqpacket or dgram"},
	{"wait", OPTION_WAIT, "SECONDS", OPTION_ARG_OPTIONAL,
		"wait for msgd, a domain or a name that is not there yet"},
	{"transport", OPTION_TRANSPORT, "TRANSPORT", 0,
		"demand argo, argo-strict or grant where a channel is connected"},
	{"max-connections", OPTION_MAX, "N", 0, "at once (exec: 64, others: 1024)"},
	{"time-limit", OPTION_TIME_LIMIT, "SECONDS", 0, "exec: how long a program may run"},
	{"start-limit", OPTION_START_LIMIT, "SECONDS", 0,
		"activate: how long the program may take to take a connection (10)"},
	{"idle", OPTION_IDLE, "SECONDS", 0,
		"activate: end the program when it has had no connection for so long"},
	{"mode", OPTION_MODE, "MODE", 0, "permissions of the socket file (0600)"},
	{0},
};

/* ---- single words ------------------------------------------------------------------------- */

static uint32_t number(
	const struct argp_state *state, const char *option, const char *text, uint32_t max)
{
	uint32_t value = 0;

	if (!number_from_text(text, max, &value) || value == 0)
		argp_error(state, "%s is 1 to %u, not '%s'", option, max, text);
	return value;
}

static void set_wait(struct io_options *options, const char *text, const struct argp_state *state)
{
	options->wait = true;
	options->wait_ms = text ? (int)number(state, "--wait", text, SECONDS_MAX) * 1000 : -1;
}

static void set_type(struct io_options *options, const char *text, const struct argp_state *state)
{
	options->type = word_value(types, text);
	if (!options->type)
		argp_error(state, "--type is stream, seqpacket or dgram, not '%s'", text);
}

static void set_transport(
	struct io_options *options, const char *text, const struct argp_state *state)
{
	options->transport = word_value(transports, text);
	if (options->transport < 0)
		argp_error(state, "--transport is any, argo, argo-strict or grant, not '%s'", text);
}

static void set_mode(struct io_options *options, const char *text, const struct argp_state *state)
{
	char *end;
	unsigned long mode = strtoul(text, &end, 8);

	if (*text < '0' || *text > '7' || *end || mode > MODE_MAX)
		argp_error(state, "--mode is octal, 0 to 0777, not '%s'", text);
	options->mode = (uint32_t)mode;
}

/* ---- arguments ---------------------------------------------------------------------------- */

static void set_side(
	struct io_options *options, const char *text, bool listens, const struct argp_state *state)
{
	struct address *side = listens ? &options->from : &options->to;
	char error[ADDRESS_ERROR_SIZE];
	int r;

	if (options->command == COMMAND_FORWARD)
		r = address_parse(text, side, error);
	else if (options->command == COMMAND_SERVE)
		r = address_parse_path(text, side, error);
	else
		r = address_parse_channel(text, listens, side, error);

	if (r < 0)
		argp_error(state, "%s", error);
	if (side->listens != listens)
		argp_error(state,
			"'%s' %s: a forward goes from where msgio listens to where it "
			"connects",
			text, listens ? "connects" : "listens");
}

static bool has_program(const struct io_options *options)
{
	return options->command == COMMAND_EXEC || options->command == COMMAND_ACTIVATE;
}

static void set_argument(struct io_options *options, char *text, struct argp_state *state)
{
	if (options->command == COMMAND_NONE) {
		options->command = (enum command)word_value(commands, text);
		if (options->command == COMMAND_NONE)
			argp_error(state, "unknown command '%s'", text);
	} else if (state->arg_num == 1) {
		set_side(options, text, options->command != COMMAND_CONNECT, state);
	} else if (state->arg_num == 2 && options->command == COMMAND_FORWARD) {
		set_side(options, text, false, state);
	} else if (has_program(options)) {
		/* The program's own options are not looked at. */
		options->program = &state->argv[state->next - 1];
		state->next = state->argc;
	} else {
		argp_error(state, "'%s' is one argument too many", text);
	}
}

/* ---- all together ------------------------------------------------------------------------- */

static bool has(const struct io_options *options, enum address_kind kind)
{
	return options->command == COMMAND_FORWARD &&
	       (options->from.kind == kind || options->to.kind == kind);
}

static bool connects_channel(const struct io_options *options)
{
	return options->command == COMMAND_CONNECT ||
	       (options->command == COMMAND_FORWARD && options->to.kind == ADDRESS_CHANNEL);
}

static void check_options(struct io_options *options, const struct argp_state *state)
{
	bool serves = options->command == COMMAND_SERVE;
	bool many = has_program(options) || options->command == COMMAND_FORWARD || serves;

	if (serves &&
		(options->type != LIBMSG_STREAM || options->transport != LIBMSG_TRANSPORT_ANY))
		argp_error(state, "programs that ask at the socket say type and transport");
	if (options->type != LIBMSG_STREAM &&
		(has(options, ADDRESS_TCP) || has(options, ADDRESS_VSOCK)))
		argp_error(state, "TCP and VSOCK carry streams alone, and no messages");
	if (options->transport != LIBMSG_TRANSPORT_ANY && !connects_channel(options))
		argp_error(state, "--transport is for channels that msgio connects; for a name "
				  "that it listens on, policy says the transport");
	if (options->time_limit_s && options->command != COMMAND_EXEC)
		argp_error(state, "--time-limit is for exec");
	if ((options->start_limit_s || options->idle_s) && options->command != COMMAND_ACTIVATE)
		argp_error(state, "--start-limit and --idle are for activate");
	if (options->max_connections && !many)
		argp_error(state, "--max-connections is for exec, activate, forward and serve");
	if (options->mode && !serves &&
		!(has(options, ADDRESS_UNIX) && address_path(&options->from)))
		argp_error(state, "--mode is for the socket file of unix-listen:PATH and serve");
}

static void check(struct io_options *options, const struct argp_state *state)
{
	static const struct {
		unsigned n_words; /* at least */
		const char *form;
	} forms[] = {[COMMAND_CONNECT] = {2, "connect [DOMAIN/]NAME"},
		[COMMAND_LISTEN] = {2, "listen NAME"},
		[COMMAND_EXEC] = {3, "exec NAME -- PROGRAM [ARG...]"},
		[COMMAND_ACTIVATE] = {3, "activate NAME -- PROGRAM [ARG...]"},
		[COMMAND_FORWARD] = {3, "forward FROM TO"},
		[COMMAND_SERVE] = {2, "serve PATH"}};

	if (options->command == COMMAND_NONE)
		argp_usage(state);
	if (state->arg_num < forms[options->command].n_words)
		argp_error(state, "an argument is missing: %s", forms[options->command].form);
	check_options(options, state);
	if (!options->max_connections)
		options->max_connections =
			options->command == COMMAND_EXEC ? PROGRAMS_DEFAULT : CONNECTIONS_DEFAULT;
	if (!options->start_limit_s)
		options->start_limit_s = START_LIMIT_DEFAULT_S;
	if (!options->mode)
		options->mode = MODE_DEFAULT;
}

static error_t on_option(int key, char *arg, struct argp_state *state)
{
	struct io_options *options = state->input;

	switch (key) {
	case OPTION_HV:
		options->hv = arg;
		return 0;
	case OPTION_TYPE:
		set_type(options, arg, state);
		return 0;
	case OPTION_WAIT:
		set_wait(options, arg, state);
		return 0;
	case OPTION_TRANSPORT:
		set_transport(options, arg, state);
		return 0;
	case OPTION_MAX:
		options->max_connections = number(state, "--max-connections", arg, CONNECTIONS_MAX);
		return 0;
	case OPTION_TIME_LIMIT:
		options->time_limit_s = number(state, "--time-limit", arg, SECONDS_MAX);
		return 0;
	case OPTION_START_LIMIT:
		options->start_limit_s = number(state, "--start-limit", arg, SECONDS_MAX);
		return 0;
	case OPTION_IDLE:
		options->idle_s = number(state, "--idle", arg, SECONDS_MAX);
		return 0;
	case OPTION_MODE:
		set_mode(options, arg, state);
		return 0;
	case ARGP_KEY_ARG:
		set_argument(options, arg, state);
		return 0;
	case ARGP_KEY_END:
		check(options, state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

void io_options_parse(int argc, char **argv, struct io_options *ret_options)
{
	static const struct argp argp = {
		table, on_option, "COMMAND ARGUMENT...", doc, NULL, NULL, NULL};

	*ret_options = (struct io_options){.type = LIBMSG_STREAM, .wait_ms = ANSWER_MS};
	argp_program_version = "msgio " MSGD_VERSION;
	argp_err_exit_status = STATUS_USAGE;
	(void)argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, ret_options);
}
