/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The queue of bytes: in order whatever is added and taken, and small when it is empty. */
#include <string.h>

#include "compat/xenvchan/bytes.h"
#include "tests/support/cmocka-all.h"

static unsigned char byte_at(size_t n)
{
	return (unsigned char)(n * 31 + n / 251);
}

static void add(struct bytes *bytes, size_t *at, size_t len)
{
	unsigned char *space = bytes_space(bytes, len);

	assert_non_null(space);
	for (size_t i = 0; i < len; i++)
		space[i] = byte_at((*at)++);
	bytes_added(bytes, len);
}

static void drop(struct bytes *bytes, size_t *at, size_t len)
{
	const unsigned char *first = bytes_first(bytes);

	for (size_t i = 0; i < len; i++)
		assert_int_equal(first[i], byte_at((*at)++));
	bytes_drop(bytes, len);
}

static void bytes_stay_in_order(void **state)
{
	struct bytes bytes = {.limit = 65536};
	size_t in = 0, out = 0;

	for (size_t i = 0; i < 20000; i++) {
		size_t len = i * 7919 % 997 + 1;

		if (len <= bytes_room(&bytes))
			add(&bytes, &in, len);
		len = i * 104729 % 1009;
		drop(&bytes, &out, len < bytes.len ? len : bytes.len);
		assert_int_equal(bytes.len, in - out);
		assert_true(bytes.size <= 4 * 65536);
	}
	drop(&bytes, &out, bytes.len);
	assert_true(bytes.size <= 4096);
	bytes_clear(&bytes);
	assert_null(bytes.data);
}

static void room_is_what_the_limit_leaves(void **state)
{
	struct bytes bytes = {.limit = 100};
	size_t in = 0;

	assert_int_equal(bytes_room(&bytes), 100);
	add(&bytes, &in, 60);
	assert_int_equal(bytes_room(&bytes), 40);
	add(&bytes, &in, 60);
	assert_int_equal(bytes_room(&bytes), 0);
	bytes_clear(&bytes);
	assert_int_equal(bytes_room(&bytes), 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_stay_in_order),
		cmocka_unit_test(room_is_what_the_limit_leaves),
	};

	return cmocka_run_group_tests_name("bytes", tests, NULL, NULL);
}
