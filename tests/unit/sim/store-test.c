/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rendezvous store: coalescing, removals, quotas. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "hv/sim/toolstack/store.h"

static struct sim_store *make(void)
{
	struct sim_store *store = malloc(sizeof(*store));

	assert_non_null(store);
	store_init(store);
	return store;
}

static void drop(struct sim_store *store)
{
	store_clear(store);
	free(store);
}

static void test_coalesce(void **state)
{
	struct sim_store *s = make();
	struct hv_record r;

	assert_int_equal(store_publish(s, 1, 1, "k", "1", 1), 0);
	store_watch(s, 5);
	assert_int_equal(store_next(s, 5, &r), 1); /* first the records that are present */
	assert_int_equal(store_next(s, 5, &r), 0);
	assert_int_equal(store_publish(s, 1, 1, "k", "2", 1), 0);
	assert_int_equal(store_publish(s, 1, 1, "other", "3", 1), 0);
	assert_int_equal(store_publish(s, 1, 1, "k", "44", 2), 0);
	assert_int_equal(store_next(s, 5, &r), 1);
	assert_string_equal(r.key, "other");
	assert_int_equal(store_next(s, 5, &r), 1);
	assert_string_equal(r.key, "k");
	assert_int_equal(r.len, 2);
	assert_int_equal(r.domid, 1);
	assert_int_equal(store_next(s, 5, &r), 0);
	drop(s);
}

static void test_removed(void **state)
{
	struct sim_store *s = make();
	struct hv_record r;

	assert_int_equal(store_publish(s, 1, 1, "gone", "1", 1), 0);
	assert_int_equal(store_remove(s, 1, 1, "gone"), 0);
	assert_true(TAILQ_EMPTY(&s->records)); /* nobody wants to know */
	assert_int_equal(store_remove(s, 1, 1, "gone"), -ENOENT);
	store_watch(s, 5);
	store_watch(s, 6);
	assert_int_equal(store_publish(s, 1, 1, "k", "1", 1), 0);
	assert_int_equal(store_remove(s, 1, 1, "k"), 0);
	assert_int_equal(store_next(s, 5, &r), 1);
	assert_int_equal(r.len, 0);
	assert_int_equal(store_next(s, 5, &r), 0);
	assert_false(TAILQ_EMPTY(&s->records)); /* 6 has not seen it */
	assert_int_equal(store_next(s, 6, &r), 1);
	assert_true(TAILQ_EMPTY(&s->records));
	assert_int_equal(store_publish(s, 1, 1, "a", "1", 1), 0);
	assert_int_equal(store_publish(s, 1, 2, "b", "1", 1), 0);
	assert_int_equal(store_publish(s, 1, 1, "c", "1", 1), 0);
	assert_true(store_remove_domain(s, 1));
	assert_false(store_remove_domain(s, 1));
	assert_int_equal(store_next(s, 5, &r), 1);
	assert_string_equal(r.key, "b");
	assert_int_equal(store_next(s, 5, &r), 1);
	assert_string_equal(r.key, "a");
	assert_int_equal(r.len, 0);
	assert_int_equal(store_next(s, 5, &r), 1);
	assert_int_equal(store_next(s, 5, &r), 0);
	store_unwatch(s, 6);
	drop(s);
}

/* A record that was removed and not seen yet counts: a guest cannot make the store grow by that. */
static void test_quota(void **state)
{
	struct sim_store *s = make();
	char key[HV_STORE_KEY_MAX];
	struct hv_record r;

	store_watch(s, 5);
	for (unsigned int i = 0; i < SIM_STORE_QUOTA; i++) {
		(void)snprintf(key, sizeof(key), "k%u", i);
		assert_int_equal(store_publish(s, 1, 1, key, "x", 1), 0);
		assert_int_equal(store_remove(s, 1, 1, key), 0);
	}
	assert_int_equal(store_publish(s, 1, 1, "more", "x", 1), -ENOSPC);
	assert_int_equal(store_publish(s, 1, 2, "more", "x", 1), 0);
	assert_int_equal(store_publish(s, 1, 1, "k7", "x", 1), 0); /* it is there */
	while (store_next(s, 5, &r) == 1)
		;
	assert_int_equal(store_publish(s, 1, 1, "more", "x", 1), 0);
	drop(s);
}

static void test_names(void **state)
{
	static const char *const bad[] = {"", "a/b", "a b", "a_b", "..", "\xc3\xa4",
		"0123456789012345678901234567890123456789"};
	struct sim_store *s = make();
	char value[HV_STORE_VALUE_MAX + 1] = {0};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(store_publish(s, 1, 1, bad[i], "x", 1), -EINVAL);
	assert_int_equal(store_publish(s, 1, 1, "k", value, sizeof(value)), -EINVAL);
	assert_int_equal(store_publish(s, 1, 1, "k", value, 0), -EINVAL);
	assert_int_equal(store_publish(s, 1, 1, "k", value, HV_STORE_VALUE_MAX), 0);
	assert_int_equal(
		store_publish(s, 1, 1, "Az09-5678901234567890123456789012345678", "x", 1), 0);
	drop(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_coalesce),
		cmocka_unit_test(test_removed),
		cmocka_unit_test(test_quota),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests_name("sim-store", tests, NULL, NULL);
}
