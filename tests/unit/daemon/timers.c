/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See timers.h. */
#include "tests/unit/daemon/timers.h"

#include "tests/unit/daemon/cmocka-all.h"

struct timer timers[TIMERS_MAX];
unsigned n_timers;

void timer_forget(const struct event *event)
{
	for (unsigned i = 0; i < n_timers; i++)
		if (timers[i].event == event)
			timers[i--] = timers[--n_timers];
}

int __real_event_add(struct event *event, const struct timeval *timeout);
int __wrap_event_add(struct event *event, const struct timeval *timeout);
int __wrap_event_add(struct event *event, const struct timeval *timeout)
{
	if (timers_break())
		return -1;
	if (!timeout || (timeout->tv_sec == 0 && timeout->tv_usec == 0))
		return __real_event_add(event, timeout);
	timer_forget(event);
	assert_true(n_timers < TIMERS_MAX);
	timers[n_timers++] = (struct timer){
		.event = event, .delay = *timeout, .events = event_get_events(event)};
	return 0;
}

int __real_event_del(struct event *event);
int __wrap_event_del(struct event *event);
int __wrap_event_del(struct event *event)
{
	timer_forget(event);
	return __real_event_del(event);
}

void __real_event_free(struct event *event);
void __wrap_event_free(struct event *event);
void __wrap_event_free(struct event *event)
{
	timer_forget(event);
	__real_event_free(event);
}
