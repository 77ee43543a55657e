/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Percentiles by buckets, against those of the values themselves. */
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "daemon/broker/histogram.h"
#include "tests/unit/daemon/cmocka-all.h"

static void test_edges(void **state)
{
	static const uint32_t values[] = {
		0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 1000, 1023, 1024, UINT32_MAX - 1, UINT32_MAX};
	struct histogram histogram;

	memset(&histogram, 0, sizeof(histogram));
	assert_int_equal(histogram_permille(&histogram, 500), 0);
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		uint64_t got;

		memset(&histogram, 0, sizeof(histogram));
		histogram_add(&histogram, values[i]);
		assert_int_equal(histogram_permille(&histogram, 1), values[i]);
		assert_int_equal(histogram_permille(&histogram, 1000), values[i]);
		/* With a larger one beside it, its bucket's end is shown. */
		histogram_add(&histogram, UINT32_MAX);
		got = histogram_permille(&histogram, 500);
		assert_true(got >= values[i] && got <= values[i] + (uint64_t)values[i] / 4);
	}
}

static int compare(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void test_percentiles(void **state)
{
	static uint32_t values[10000];
	struct histogram histogram;
	uint32_t random = 1;

	memset(&histogram, 0, sizeof(histogram));
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		random = random * 1664525 + 1013904223;
		values[i] = random >> (random % 32);
		histogram_add(&histogram, values[i]);
	}
	qsort(values, ARRAY_SIZE(values), sizeof(values[0]), compare);
	assert_int_equal(histogram.n, ARRAY_SIZE(values));
	for (unsigned permille = 1; permille <= 1000; permille++) {
		uint64_t want = values[ARRAY_SIZE(values) / 1000 * permille - 1];
		uint64_t got = histogram_permille(&histogram, permille);

		assert_true(got >= want && got <= want + want / 4);
	}
}

/* Against a count of the values themselves. */
static void test_below(void **state)
{
	static const uint32_t values[] = {
		0, 0, 1, 2, 3, 4, 7, 8, 1000, 1023, 1024, UINT32_MAX / 2, UINT32_MAX};
	struct histogram histogram;
	uint64_t sum = 0;

	memset(&histogram, 0, sizeof(histogram));
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		histogram_add(&histogram, values[i]);
		sum += values[i];
	}
	assert_int_equal(histogram.sum, sum);
	for (unsigned power = 0; power <= 32; power++) {
		uint64_t want = 0;

		for (size_t i = 0; i < ARRAY_SIZE(values); i++)
			want += values[i] < UINT64_C(1) << power;
		assert_int_equal(histogram_below(&histogram, power), want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_percentiles),
		cmocka_unit_test(test_below),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
