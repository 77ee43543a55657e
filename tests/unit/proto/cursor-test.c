/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The bounds-checked cursors by themselves: decoders check lengths first and never get so far. */
#include "tests/support/cmocka-all.h"

#include <stdlib.h>
#include <string.h>

#include "proto/cursor.h"

/* Exactly as long as it says, so that ASan sees a read past its end. */
static struct byte_reader reader_of(uint8_t **ret_copy, const void *bytes, size_t len)
{
	*ret_copy = malloc(len);
	assert_non_null(*ret_copy);
	memcpy(*ret_copy, bytes, len);
	return (struct byte_reader){.bytes = *ret_copy, .len = len};
}

static void test_reads_in_order(void **state)
{
	uint8_t *copy, bytes[2];
	struct byte_reader reader = reader_of(&copy, "\x01\x02\x03\x04\x05\x06\x07\x00\x00", 9);

	assert_int_equal(reader_uint(&reader, 1), 1);
	assert_int_equal(reader_uint(&reader, 4), 0x05040302);
	reader_bytes(&reader, bytes, 2);
	assert_memory_equal(bytes, "\x06\x07", 2);
	assert_false(reader_done(&reader));
	reader_zeros(&reader, 2);
	assert_true(reader_done(&reader));
	free(copy);
}

/* One byte too many is wrong, and stays wrong for reads that would have fitted. */
static void test_end_is_sticky(void **state)
{
	uint8_t *copy, bytes[4] = {9, 9, 9, 9};
	struct byte_reader reader = reader_of(&copy, "\x01\x02\x03", 3);

	assert_int_equal(reader_uint(&reader, 4), 0);
	assert_int_equal(reader.pos, 0);
	reader_bytes(&reader, bytes, 3);
	assert_memory_equal(bytes, "\0\0\0\x09", 4);
	assert_int_equal(reader_uint(&reader, 1), 0);
	assert_false(reader_done(&reader));
	free(copy);

	reader = reader_of(&copy, "\x01\x02\x03", 3);
	assert_int_equal(reader_uint(&reader, 3), 0x030201);
	assert_true(reader_done(&reader));
	assert_int_equal(reader_uint(&reader, 1), 0);
	assert_false(reader_done(&reader));
	free(copy);
}

static void test_zeros_are_zero(void **state)
{
	static const uint8_t bytes[3][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};

	for (size_t i = 0; i < 3; i++) {
		uint8_t *copy;
		struct byte_reader reader = reader_of(&copy, bytes[i], 3);

		reader_zeros(&reader, 3);
		assert_false(reader_done(&reader));
		free(copy);
	}
}

/* Each write fills its own bytes and no others. */
static void test_writes(void **state)
{
	uint8_t bytes[10];
	struct byte_writer writer = {.bytes = bytes, .size = 9};

	memset(bytes, 0xa5, sizeof(bytes));
	writer_uint(&writer, 0x1122334455U, 4);
	writer_zeros(&writer, 2);
	writer_bytes(&writer, "xyz", 3);
	assert_int_equal(writer.pos, 9);
	assert_memory_equal(bytes, "\x55\x44\x33\x22\0\0xyz\xa5", 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_in_order),
		cmocka_unit_test(test_end_is_sticky),
		cmocka_unit_test(test_zeros_are_zero),
		cmocka_unit_test(test_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
