/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How often something may happen, counted in time: each costs so many nanoseconds, and time pays
 * for it. So in any span of time there are no more than the burst and what the span pays for.
 */
#ifndef MSGD_BASE_ALLOWANCE_H
#define MSGD_BASE_ALLOWANCE_H

#include <stdbool.h>
#include <stdint.h>

struct rate {
	uint64_t each_ns; /* one costs so much */
	uint32_t burst;	  /* so many may happen at once */
};

/* All zero: nothing is spent. */
struct allowance {
	uint64_t due_ns; /* when all so far are paid for */
};

/* In nanoseconds. */
static inline uint64_t allowance_spent(const struct allowance *allowance, uint64_t now_ns)
{
	return allowance->due_ns > now_ns ? allowance->due_ns - now_ns : 0;
}

/* In how many nanoseconds there is room for one more. 0: now. */
static inline uint64_t allowance_wait(
	const struct allowance *allowance, const struct rate *rate, uint64_t now_ns)
{
	uint64_t spent = allowance_spent(allowance, now_ns),
		 most = (rate->burst - 1) * rate->each_ns;

	return spent > most ? spent - most : 0;
}

static inline void allowance_pay(struct allowance *allowance, uint64_t cost_ns, uint64_t now_ns)
{
	allowance->due_ns = now_ns + allowance_spent(allowance, now_ns) + cost_ns;
}

#endif
