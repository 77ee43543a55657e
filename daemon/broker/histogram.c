/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See histogram.h. A bucket's number is the place of the highest bit, and the two bits below it. */
#include "daemon/broker/histogram.h"

#include "base/macro.h"

static unsigned bucket_of(uint32_t value)
{
	unsigned high;

	if (value < 4)
		return value;
	high = 31U - (unsigned)__builtin_clz(value);
	return 4 * (high - 1) + (value >> (high - 2) & 3U);
}

static uint64_t bucket_max(unsigned bucket)
{
	unsigned high = bucket / 4 + 1;

	if (bucket < 4)
		return bucket;
	return ((UINT64_C(4) + bucket % 4 + 1) << (high - 2)) - 1;
}

void histogram_add(struct histogram *histogram, uint32_t value)
{
	histogram->n++;
	histogram->sum += value;
	histogram->max = max_u64(histogram->max, value);
	histogram->buckets[bucket_of(value)]++;
}

uint64_t histogram_permille(const struct histogram *histogram, unsigned permille)
{
	uint64_t wanted = (histogram->n * permille + 999) / 1000, n = 0;

	if (!histogram->n)
		return 0;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		n += histogram->buckets[i];
		if (n >= wanted)
			return min_u64(bucket_max(i), histogram->max);
	}
	return histogram->max;
}

uint64_t histogram_below(const struct histogram *histogram, unsigned power)
{
	unsigned end = power < 32 ? bucket_of(UINT32_C(1) << power) : HISTOGRAM_BUCKETS;
	uint64_t n = 0;

	for (unsigned i = 0; i < end; i++)
		n += histogram->buckets[i];
	return n;
}
