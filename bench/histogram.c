/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Times by their logarithm, for percentiles far out without a memory for each time. */
#include "bench/bench.h"

#define SUB_BITS 5 /* bins of one power of two: 32 */
#define SUB	 (1U << SUB_BITS)

/* Below SUB, each nanosecond has a bin of its own. */
static unsigned bin_of(uint64_t ns)
{
	unsigned shift, bin;

	if (ns < SUB)
		return (unsigned)ns;
	shift = 63U - (unsigned)__builtin_clzll(ns) - SUB_BITS;
	bin = shift * SUB + (unsigned)(ns >> shift);
	return bin < HISTOGRAM_BINS ? bin : HISTOGRAM_BINS - 1;
}

/* The bin's middle. */
static double ns_of(unsigned bin)
{
	unsigned shift = bin < 2 * SUB ? 0 : bin / SUB - 1;

	return ((double)(bin - shift * SUB) + (shift ? 0.5 : 0)) * (double)(1ULL << shift);
}

void histogram_add(struct histogram *histogram, uint64_t ns)
{
	histogram->n++;
	histogram->bins[bin_of(ns)]++;
	if (histogram->max_ns < ns)
		histogram->max_ns = ns;
}

void histogram_merge(struct histogram *histogram, const struct histogram *other)
{
	histogram->n += other->n;
	for (unsigned i = 0; i < HISTOGRAM_BINS; i++)
		histogram->bins[i] += other->bins[i];
	if (histogram->max_ns < other->max_ns)
		histogram->max_ns = other->max_ns;
}

double histogram_ns(const struct histogram *histogram, double part)
{
	double beyond = (double)histogram->n * (1 - part);
	uint64_t above = 0;

	if (beyond < 5)
		return -1;
	for (unsigned bin = HISTOGRAM_BINS; bin-- > 0;) {
		above += histogram->bins[bin];
		if ((double)above >= beyond)
			return ns_of(bin);
	}
	return 0;
}
