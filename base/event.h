/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The steps of an event of libevent that its users repeat. */
#ifndef MSGD_BASE_EVENT_H
#define MSGD_BASE_EVENT_H

#include <event2/event.h>
#include <stddef.h>

/* An event that is added: fn runs whenever fd can be read. NULL: out of memory. */
static inline struct event *event_watch(
	struct event_base *base, evutil_socket_t fd, event_callback_fn fn, void *arg)
{
	struct event *event = event_new(base, fd, EV_READ | EV_PERSIST, fn, arg);

	if (!event || event_add(event, NULL) == 0)
		return event;
	event_free(event);
	return NULL;
}

/*
 * Runs an event of evtimer_new once, in the next turn of the loop: by a timer that is due at once.
 * libevent looks for signals, other timers and descriptors before it runs that, and not before it
 * runs what event_active names.
 */
static inline void event_turn_later(struct event *event)
{
	if (event_add(event, &(struct timeval){0}) < 0)
		event_active(event, EV_TIMEOUT, 1); /* out of memory */
}

/* Accepts NULL, which event_free does not. */
static inline void event_drop(struct event *event)
{
	if (event)
		event_free(event);
}

#endif
