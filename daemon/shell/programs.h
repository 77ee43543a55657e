/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The programs that the broker has run: makes a program's environment and text of a question, and
 * an answer of its words. The interface to those programs is msgd.policy(5)'s. Whatever is not an
 * answer is none. Only the server and tests include this header.
 */
#ifndef MSGD_DAEMON_SHELL_PROGRAMS_H
#define MSGD_DAEMON_SHELL_PROGRAMS_H

#include <event2/event.h>

#include "daemon/broker/broker.h"

struct programs;

/* As the broker's entry points; and a line for the log, about what this domain caused. */
struct programs_ops {
	void (*answered)(void *arg, uint64_t id, const struct broker_answer *answer);
	void (*ended)(void *arg, uint64_t id);
	void (*line)(void *arg, uint16_t domid, const char *text);
};

/* Everything is borrowed. -ENOMEM. */
int programs_new(struct event_base *base, const struct programs_ops *ops, void *arg,
	struct programs **ret_programs);
/* Programs that were asked are killed. A helper that starts a domain is left alone. */
void programs_free(struct programs *programs);
/* NULL: there is none. -ENOMEM: the former one stays. */
int programs_set_helper(struct programs *programs, const char *path);

/* As struct broker_ops has them. */
int programs_run(struct programs *programs, uint64_t id, const struct broker_program *program);
void programs_stop(struct programs *programs, uint64_t id);

/*
 * Pure. For tests, and for programs.c. "allow", or "deny" and perhaps a reason, and perhaps
 * cache=N. A NUL follows the output, and may be in it.
 */
void programs_answer_parse(const char *output, size_t len, struct broker_answer *ret_answer);

#endif
