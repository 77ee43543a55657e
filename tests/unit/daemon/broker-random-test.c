/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Random life, by seeds: `daemon-broker-random-test [SEED [STEPS]]` repeats one. Invariants are
 * checked after each step, and at the end everything that was charged has come back.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/macro.h"
#include "tests/unit/daemon/world-random.h"

#define SEEDS 40
#define STEPS 30000

static uint32_t next(void *arg)
{
	uint64_t *state = arg;

	/* xorshift64*: small, repeatable, good enough to choose. */
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (uint32_t)(*state * UINT64_C(0x2545f4914f6cdd1d) >> 32);
}

static void run(uint64_t seed, unsigned long steps, struct chaos_counts *total)
{
	uint64_t state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	struct chaos *chaos = chaos_new(next, &state);
	const unsigned long *counts;
	unsigned long *sum = (unsigned long *)total;

	for (unsigned long i = 0; i < steps; i++)
		chaos_step(chaos);
	counts = (const unsigned long *)chaos_counts(chaos);
	for (size_t i = 0; i < sizeof(*total) / sizeof(*sum); i++)
		sum[i] += counts[i];
	chaos_free(chaos);
}

int main(int argc, char **argv)
{
	unsigned long steps = argc > 2 ? strtoul(argv[2], NULL, 0) : STEPS;
	struct chaos_counts total = {0};
	unsigned long *sum = (unsigned long *)&total;

	if (argc > 1) {
		run(strtoul(argv[1], NULL, 0), steps, &total);
	} else {
		for (uint64_t seed = 1; seed <= SEEDS; seed++) {
			/* Seen when it aborts. */
			fprintf(stderr, "\rseed %lu ", (unsigned long)seed);
			run(seed, steps, &total);
		}
	}
	printf("connected %lu, links up %lu, fallbacks %lu, dropped %lu, channels gone %lu, "
	       "deaths %lu, restarts %lu, links down %lu, refused %lu, cancelled %lu, quota %lu, "
	       "parked %lu, claims %lu, names %lu, programs %lu, "
	       "ahead %lu\n",
		total.connected, total.links_up, total.fallbacks, total.dropped, total.gone,
		total.deaths, total.restarts, total.down, total.refused, total.cancelled,
		total.quota, total.parked, total.claims, total.names, total.programs, total.ahead);
	if (argc > 1)
		return 0;
	/* A random test that does not get anywhere tests nothing. */
	for (size_t i = 0; i < sizeof(total) / sizeof(*sum); i++) {
		if (sum[i] < 100) {
			printf("count %zu is only %lu\n", i, sum[i]);
			return 1;
		}
	}
	return 0;
}
