/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which things have series of their own, and the sum of the others. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "base/number.h"
#include "exporter/series.h"
#include "tests/support/cmocka-all.h"

struct thing {
	const char *labels;
	uint32_t domid;
	uint64_t value;
	uint64_t since_us;
};

static struct series series;

/* Ends with one without labels. */
static void look(const struct thing *things, size_t max, uint64_t now_us)
{
	struct series_row *rows;
	size_t n = 0;

	while (things[n].labels)
		n++;
	rows = calloc(n + 1, sizeof(*rows));
	for (size_t i = 0; i < n; i++) {
		rows[i] = (struct series_row){.labels = strdup(things[i].labels),
			.domid = things[i].domid,
			.weight = things[i].value,
			.since_us = things[i].since_us,
			.born_us = things[i].since_us};
		rows[i].values[0] = things[i].value;
		rows[i].values[SERIES_VALUES - 1] = 2 * things[i].value;
	}
	series_look(&series, rows, n, max, now_us);
}
#define LOOK(max, now_us, ...) look((const struct thing[]){__VA_ARGS__, {NULL}}, max, now_us)

/* The labels of those with series of their own, one character each. */
static void assert_own(const char *want)
{
	char got[32] = "";

	for (size_t i = 0; i < series.n_own; i++)
		(void)strncat(got, series.rows[i].labels, 1);
	assert_string_equal(got, want);
}

static void assert_others(uint64_t want)
{
	assert_int_equal(series.others[0], want);
	assert_int_equal(series.others[SERIES_VALUES - 1], 2 * want);
}

static int begin(void **state)
{
	memset(&series, 0, sizeof(series));
	return 0;
}

static int end(void **state)
{
	series_fini(&series);
	return 0;
}

/* A domain that has, or says that it has, most of all keeps no other from its part. */
static void test_fair(void **state)
{
	LOOK(4, 1, {"a", 1, 1000000}, {"b", 1, UINT64_MAX / 4}, {"c", 1, 2000000}, {"d", 2, 5},
		{"e", 3, 0}, {"f", 2, 6});
	assert_own("bfec"); /* the first of each, then the second of the first */
	LOOK(100, 2, {"a", 1, 1}, {"b", 1, 2});
	assert_own("ba");
	LOOK(0, 3, {"a", 1, 1}, {"b", 1, 2});
	assert_own("");
	LOOK(5, 4, {NULL});
	assert_own("");
}

static void test_same_weight(void **state)
{
	LOOK(2, 1, {"c", 1, 0}, {"a", 1, 0}, {"b", 1, 0});
	assert_own("ab"); /* and so at each look */
}

/* Whichever they are, the sum never goes back. */
static void test_others(void **state)
{
	LOOK(1, 10, {"a", 1, 100, 1}, {"b", 1, 50, 1});
	assert_own("a");
	assert_others(0); /* it counts from now on */
	LOOK(1, 20, {"a", 1, 110, 1}, {"b", 1, 70, 1});
	assert_others(20);
	/* They change places. */
	LOOK(1, 30, {"a", 1, 120, 1}, {"b", 1, 500, 1});
	assert_own("b");
	assert_others(30);
	LOOK(1, 40, {"a", 1, 120, 1}, {"b", 1, 600, 1});
	assert_others(30);
	LOOK(1, 50, {"a", 1, 1000, 1}, {"b", 1, 605, 1});
	assert_own("a");
	assert_others(35);
	/* It goes. */
	LOOK(1, 60, {"a", 1, 1001, 1});
	assert_others(35);
	/* A new one, and one that begins anew. */
	LOOK(1, 70, {"a", 1, 1001, 1}, {"c", 1, 7, 65}, {"b", 1, 3, 66});
	assert_others(45);
	LOOK(1, 80, {"a", 1, 1001, 1}, {"c", 1, 5, 79}, {"b", 1, 4, 66});
	assert_others(51);
	LOOK(1, 90, {"a", 1, 1001, 1}, {"c", 1, 5, 79}, {"b", 1, 10, 85});
	assert_others(61);
}

/* However much things say that they have, it stays where it is. */
static void test_most(void **state)
{
	for (uint64_t i = 1; i <= 9; i++) {
		uint64_t before = series.others[0];

		LOOK(1, 10 * i, {"a", 1, COUNT_MAX, 1}, {"b", 1, COUNT_MAX / 4 * 3, 10 * i - 1});
		assert_true(series.others[0] >= before);
	}
	assert_int_equal(series.others[0], COUNT_MAX);
}

/* msgd makes long lists in parts. */
static void test_parts(void **state)
{
	LOOK(1, 10, {"a", 1, 100, 1}, {"b", 1, 50, 1}, {"b", 1, 50, 1}, {"c", 1, 5, 1});
	assert_int_equal(series.n_rows, 3);
	LOOK(1, 20, {"a", 1, 100, 1}, {"c", 1, 5, 1});
	/* It was not seen for a while: nobody knows by how much it grew. */
	LOOK(1, 30, {"a", 1, 100, 1}, {"b", 1, 60, 1}, {"c", 1, 6, 1}, {"a", 1, 100, 1});
	assert_int_equal(series.n_rows, 3);
	assert_others(1);
	LOOK(1, 40, {"a", 1, 100, 1}, {"b", 1, 62, 1}, {"c", 1, 6, 1});
	assert_others(3);
}

/* Against sums that are kept for each thing by itself. */
static void test_random(void **state)
{
	enum { THINGS = 40 };
	struct thing things[THINGS + 1] = {{0}};
	char names[THINGS][4];
	uint64_t others, last[SERIES_VALUES] = {0};
	unsigned seed = 1;

	for (unsigned i = 0; i < THINGS; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "%u", i);
		things[i] = (struct thing){names[i], i % 3, 0, 1};
	}
	look(things, 7, 10);
	for (unsigned round = 0; round < 500; round++) {
		uint64_t grew[THINGS];

		others = series.others[0];
		for (unsigned i = 0; i < THINGS; i++) {
			grew[i] = rand_r(&seed) % 3 ? 0 : (uint64_t)rand_r(&seed) % 1000;
			things[i].value += grew[i];
		}
		look(things, 7, 11 + round);
		assert_int_equal(series.n_own, 7);
		for (unsigned i = 0; i < THINGS; i++) {
			bool own = false;

			for (size_t k = 0; k < series.n_own; k++)
				own = own || strcmp(series.rows[k].labels, names[i]) == 0;
			others += own ? 0 : grew[i];
		}
		assert_int_equal(series.others[0], others);
		assert_true(series.others[0] >= last[0]);
		last[0] = series.others[0];
	}
	assert_true(last[0] > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_fair, begin, end),
		cmocka_unit_test_setup_teardown(test_same_weight, begin, end),
		cmocka_unit_test_setup_teardown(test_others, begin, end),
		cmocka_unit_test_setup_teardown(test_most, begin, end),
		cmocka_unit_test_setup_teardown(test_parts, begin, end),
		cmocka_unit_test_setup_teardown(test_random, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
