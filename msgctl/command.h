/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* msgctl's commands: what each takes, what it asks msgd, and how its answer is shown. */
#ifndef MSGD_MSGCTL_COMMAND_H
#define MSGD_MSGCTL_COMMAND_H

#include <stdbool.h>

#include "msgctl/table.h"

#define EXIT_USAGE 2
#define EXIT_SHORT 3 /* an answer, but not what was wanted */

/* For msgd to answer what needs no waiting: a turn of its loop takes milliseconds. */
#define ANSWER_MS 5000U

/* The options that are not for every command: each is a key of the request. */
enum command_option {
	OPTION_DOMAIN,
	OPTION_NAME,
	OPTION_TRANSPORT,
	OPTION_STATE,
	OPTION_KIND,
	OPTION_N,
	OPTION_SINCE,
	OPTION_TIMEOUT,
	OPTION_LISTEN,
	OPTION_ALL,
	OPTION_DRY_RUN,
	OPTION_PINGS,
	OPTION_INTERVAL,
	OPTION_SORT,
	OPTION_BATCH,
	OPTION_PAYLOAD,
	OPTION_SNAPLEN,
	OPTION_WRITE,
	OPTION_SECONDS,
	OPTION_FIELDS,
	OPTION_COUNT,
};

/* Prints the errors and warnings of policy files and directories. As struct command's local. */
int policy_check(char *const *args, unsigned n_args, bool json);
/* As struct command's print, of the rules in force. */
void policy_graph_print(const json_t *answer);

struct part;

/* Of a command with a course of its own: which msgd, and the arguments and options. */
struct command_call {
	const char *socket, *from; /* borrowed, as for admin_ask */
	const json_t *request;	   /* borrowed; beside the keys of msgd's it has others */
	bool json;
};

struct command {
	const char *name, *args; /* a word or two; args: for people; "": none */
	const char *help;
	unsigned n_args_min, n_args_max;
	/* Puts the arguments into the request. NULL; or what is wrong with them. */
	const char *(*set)(json_t *request, char *const *args, unsigned n_args);
	unsigned options;	      /* that it takes, as bits */
	const char *op;		      /* of the request; NULL: the command's name */
	const struct column *columns; /* of the rows under op; or NULL: */
	void (*print)(const json_t *answer);
	void (*print_all)(const json_t *answer); /* the same, with --all */
	/* The exit status for an answer; NULL: 0. */
	int (*status)(const json_t *answer);
	/* Not NULL: the answer is made of these, by the arguments. */
	const struct part *(*parts)(char *const *args);
	/* Not NULL: the answer has many lines, until the user ends it. */
	void (*follow)(const json_t *object);
	/* Not NULL: it asks msgd as often as it likes. Returns the exit status. */
	int (*run)(const struct command_call *call);
	/* Not NULL: msgd is not asked. Returns the exit status. */
	int (*local)(char *const *args, unsigned n_args, bool json);
	bool counts; /* the applications are asked for their counts before */
	bool waits;  /* msgd answers when --timeout is over, at the latest */
	bool stays;  /* it is asked again while msgd is away, until --timeout is over */
	/* After what is wrong with the arguments: another command that may be meant, or NULL. */
	const char *instead;
};

extern const struct command commands[];

/* NULL: there is none. */
const struct command *command_find(const char *name);
/* Whether the word begins commands of two. */
bool command_begins(const char *word);
const char *command_op(const struct command *command);

#endif
