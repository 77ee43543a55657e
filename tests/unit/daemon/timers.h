/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libevent's timers in a test: they run when the test says so. Linked with event_add, event_del and
 * event_free wrapped. Events without a delay are libevent's own.
 */
#ifndef MSGD_TESTS_UNIT_DAEMON_TIMERS_H
#define MSGD_TESTS_UNIT_DAEMON_TIMERS_H

#include <event2/event.h>
#include <stdbool.h>
#include <sys/time.h>

#define TIMERS_MAX 1024U

struct timer {
	struct event *event; /* borrowed */
	struct timeval delay;
	short events; /* EV_PERSIST: event_active does not end it */
};

extern struct timer timers[TIMERS_MAX];
extern unsigned n_timers;

/* The test's own: whether this event_add fails. */
bool timers_break(void);
void timer_forget(const struct event *event);

#endif
