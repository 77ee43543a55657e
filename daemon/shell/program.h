/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One program that msgd runs: a process group of its own, with nothing of msgd's but its rights, a
 * text to read, and bounds on its time and on its words. It must never make msgd wait. It knows no
 * broker.
 */
#ifndef MSGD_DAEMON_SHELL_PROGRAM_H
#define MSGD_DAEMON_SHELL_PROGRAM_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct program;

struct program_end {
	bool late;	    /* its time was over before it ended */
	bool flooded;	    /* it printed more than PROGRAM_OUTPUT_MAX */
	int status;	    /* as of waitpid(2); not if late */
	const char *output; /* borrowed: what it printed, NUL-terminated */
	size_t len;	    /* of that */
};

/* Called from the loop. */
struct program_ops {
	/* A line of its standard error, of printable characters. */
	void (*line)(void *arg, const char *text);
	/* Once: it has ended, or its time is over and it is told to end. */
	void (*end)(void *arg, const struct program_end *end);
	/* The last call: it is gone, and freed when this returns. */
	void (*gone)(void *arg);
};

struct program_plan {
	char *const *argv;    /* argv[0]: an absolute path */
	char *const *environ; /* all of it */
	const char *input;    /* less than PIPE_BUF */
	uint32_t timeout_s;
	/* More output than PROGRAM_OUTPUT_MAX ends it, and its end is that of its group. */
	bool strict;
};

/*
 * Everything but ops and arg is borrowed for the call. An errno of the program's start, as -ENOENT;
 * -EMFILE and others for lack of something; no call of ops then.
 */
int program_new(struct event_base *base, const struct program_plan *plan,
	const struct program_ops *ops, void *arg, struct program **ret_program);
/* SIGTERM, and SIGKILL after PROGRAM_GRACE_S. */
void program_stop(struct program *program);
/* msgd ends: nothing is called any more. kill: the program ends as well, by SIGKILL. */
void program_free(struct program *program, bool kill);

/* Makes each character that is not printable ASCII a '?', and a tab a blank. */
void program_make_printable(char *text);

#endif
