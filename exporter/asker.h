/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The thread that asks msgd and waits for it, one question at a time. All that it touches is its
 * own: the question is lent to it until its answer comes back.
 */
#ifndef MSGD_EXPORTER_ASKER_H
#define MSGD_EXPORTER_ASKER_H

struct asker;
struct body;
struct event_base;
struct question;

/* In the thread. The caller owns the answer. NULL: out of memory. */
typedef struct body *asker_make_fn(void *arg, const struct question *question);
/* In the event loop. The callee owns the body, which may be NULL. */
typedef void asker_done_fn(void *arg, struct body *body);

/* A negative errno. */
int asker_new(struct event_base *base, asker_make_fn *make, void *make_arg, asker_done_fn *done,
	void *done_arg, struct asker **ret_asker);
/* Only when there is no other question. The question is borrowed until done is called. */
void asker_ask(struct asker *asker, const struct question *question);
/* Accepts NULL. Waits for the answer to a question that was asked. */
void asker_free(struct asker *asker);

#endif
