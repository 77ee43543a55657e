/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgio's one thread: libevent with the context of libmsg in it, and the log.
 *
 * Within a turn libmsg may report several sockets, and the two ends of one connection may be among
 * them: so nothing is freed in a callback. It is put aside by loop_free_later, and answers no
 * event any more.
 */
#ifndef MSGD_MSGIO_LOOP_H
#define MSGD_MSGIO_LOOP_H

#include <event2/event.h>
#include <sys/queue.h>

#include "base/log-limit.h"
#include "libmsg/libmsg.h"

/* The userdata of each socket of the context. */
struct sock_handler {
	void (*fn)(struct sock_handler *handler, short revents);
};

/* In a structure that is freed in the next turn. */
struct leaving {
	SLIST_ENTRY(leaving) entry;
	void (*free)(struct leaving *leaving);
};

struct loop {
	struct event_base *base; /* owned */
	struct msg_ctx *ctx;	 /* owned; NULL: no channel is wanted */
	struct event *ctx_event; /* owned */
	struct event *free_event;
	SLIST_HEAD(, leaving) leaving; /* owned */
	struct log_limiter log;
	struct log_source log_source;
	bool ends;
	int result; /* of the program, once the loop ends */
};

/*
 * any_fd: descriptors may be of any kind, also files, and are few. 0; else an exit status, and why
 * is in the log.
 */
int loop_init(struct loop *loop, bool any_fd);
/* As msg_ctx_open, in the loop. Likewise. */
int loop_open_ctx(struct loop *loop, const char *hv, unsigned flags, int timeout_ms);
/* All events but its own are freed before that. */
void loop_fini(struct loop *loop);

void loop_run(struct loop *loop);
/* The loop ends at the end of this turn. The first result counts. */
void loop_end(struct loop *loop, int result);

void loop_free_later(struct loop *loop, struct leaving *leaving);
/* Outside of the callbacks of those that leave. */
void loop_free_now(struct loop *loop);

/* Of CLOCK_MONOTONIC. */
uint64_t loop_now_ns(void);

/* A line about a connection: so many of them are written. */
__attribute__((format(printf, 2, 3))) void loop_log(struct loop *loop, const char *format, ...);

#endif
