/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How often a number was how large, in fixed memory. Each power of two has four buckets, so a
 * percentile is at most a quarter too high. Pure.
 */
#ifndef MSGD_DAEMON_BROKER_HISTOGRAM_H
#define MSGD_DAEMON_BROKER_HISTOGRAM_H

#include <stdint.h>

/* Up to 2^32 - 1: microseconds of an hour. */
#define HISTOGRAM_BUCKETS (4U * 31U)

struct histogram {
	uint64_t n, max, sum;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint32_t value);
/*
 * The largest value of the bucket in which so many of a thousand lie in it or below; never more
 * than the largest value that there was. 0: there is none.
 */
uint64_t histogram_permille(const struct histogram *histogram, unsigned permille);
/* How many are smaller than 2 to this power, which is 32 at most. */
uint64_t histogram_below(const struct histogram *histogram, unsigned power);

#endif
