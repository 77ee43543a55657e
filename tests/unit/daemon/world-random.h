/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Random life of a broker: applications come, talk by the protocol or not, die; domains come and
 * go; policy changes; msgd restarts. Every choice comes from one function, so that a seed (unit
 * test) or a fuzzer's input decides all.
 */
#ifndef TESTS_UNIT_DAEMON_WORLD_RANDOM_H
#define TESTS_UNIT_DAEMON_WORLD_RANDOM_H

#include "tests/unit/daemon/world.h"

struct chaos;

/* next: any number. Limits are small, so that they are reached. */
struct chaos *chaos_new(uint32_t (*next)(void *arg), void *arg);
/* One event, then world_check. */
void chaos_step(struct chaos *chaos);
void chaos_free(struct chaos *chaos);

/* How often things happened, to see that the test reaches them. */
struct chaos_counts {
	unsigned long connected, links_up, fallbacks, dropped, gone, deaths, restarts, down,
		refused, cancelled, quota, parked, claims, names, programs, ahead;
};
const struct chaos_counts *chaos_counts(const struct chaos *chaos);

#endif
