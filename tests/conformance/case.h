/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A case is one line of a table: a name, what it needs of the world, a function. It runs in a
 * process of its own with a world of its own; a check that fails prints where and ends it.
 */
#ifndef CONFORMANCE_CASE_H
#define CONFORMANCE_CASE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macro.h"
#include "tests/conformance/actor.h"
#include "tests/conformance/world.h"

struct test_case {
	const char *name;
	unsigned int needs; /* enum world_can */
	void (*fn)(void);
};

struct test_group {
	const char *name;
	const struct test_case *cases;
	size_t n_cases;
};

extern const struct test_group evtchn_group, argo_group, argo_watch_group, argo_stress_group,
	grant_group, notify_group, parcel_group, store_group, domain_group, death_group, fd_group,
	limits_group, open_group;

__attribute__((noreturn, format(printf, 3, 4))) void case_fail(
	const char *file, int line, const char *format, ...);
void check_int(const char *file, int line, const char *what, int64_t got, int64_t want);

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			case_fail(__FILE__, __LINE__, "not true: %s", #cond);                      \
	} while (0)

/* got == want; prints both, and errno names for negative ones. */
#define CHECK_INT(got, want) check_int(__FILE__, __LINE__, #got, (int64_t)(got), (int64_t)(want))
#define CHECK_OK(got)	     CHECK_INT(got, 0)

/* The event must come within the world's time; it must not come, after the world has settled. */
#define CHECK_EVENT(actor, type, id)  CHECK_INT(actor_take(actor, type, id, the_world->wait_ms), 1)
#define CHECK_QUIET(actor, type, id)  CHECK_INT(actor_take(actor, type, id, the_world->settle_ms), 0)
#define CHECK_PORT(actor, port)	      CHECK_EVENT(actor, HV_EVENT_PORT, port)
#define CHECK_PORT_QUIET(actor, port) CHECK_QUIET(actor, HV_EVENT_PORT, port)
#define CHECK_RING(actor, ring)	      CHECK_EVENT(actor, HV_EVENT_RING, ring)
#define CHECK_RING_QUIET(actor, ring) CHECK_QUIET(actor, HV_EVENT_RING, ring)

/*
 * Repeats expr until it is `want`, or the world's time is over: for states that change without
 * any event (a dying process lets go of a port).
 */
#define CHECK_SOON(expr, want)                                                                     \
	do {                                                                                       \
		int64_t _until = case_now_ms() + the_world->wait_ms, _got;                         \
		while ((_got = (expr)) != (want) && case_now_ms() < _until)                        \
			case_pause();                                                              \
		check_int(__FILE__, __LINE__, #expr " (in time)", _got, want);                     \
	} while (0)

/* Two milliseconds. */
void case_pause(void);
int64_t case_now_ms(void);

#endif
