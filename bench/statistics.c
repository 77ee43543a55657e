/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"

static int double_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The mean of the k-th and the l-th value, from the least up. */
static double between(const double *values, int n, int k, int l)
{
	double sorted[ROUNDS_MAX];

	memcpy(sorted, values, (size_t)n * sizeof(*values));
	qsort(sorted, (size_t)n, sizeof(*sorted), double_compare);
	return (sorted[k] + sorted[l]) / 2;
}

double median(const double *values, int n)
{
	return between(values, n, (n - 1) / 2, n / 2);
}

double least(const double *values, int n)
{
	return between(values, n, 0, 0);
}

double most(const double *values, int n)
{
	return between(values, n, n - 1, n - 1);
}
