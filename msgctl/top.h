/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgctl top: the domains, applications, names, links or channels with the most traffic, live.
 *
 * Included by: msgctl.
 */
#ifndef MSGD_MSGCTL_TOP_H
#define MSGD_MSGCTL_TOP_H

#include <jansson.h>

#include "msgctl/top-fetch.h"
#include "msgctl/top-keys.h"

struct command_call;

/* As struct command's set: the view, which may be absent, and --sort. */
const char *top_arguments(json_t *request, char *const *args, unsigned n_args);
/* Returns the exit status. */
int top_run(const struct command_call *call);

/* A course of top: which msgd is asked, and what is shown at first. */
struct top_course {
	const struct command_call *call; /* borrowed */
	struct top_state state;
	struct top_data data;
	long long n; /* lists to show; 0: without an end */
	int status;  /* that the last failure leads to */
};

/* The next list. Returns as top_data_take, where there is none after a line on stderr. */
int top_course_fetch(struct top_course *course);
/* On a terminal; the first list is there. Returns the exit status. */
int top_screen(struct top_course *course);
/* Tables, or objects, on standard output. Returns the exit status. */
int top_batch(struct top_course *course);

#endif
