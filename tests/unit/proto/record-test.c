/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The record's decoder against everything that a guest may have put into the store instead. */
#include "tests/support/cmocka-all.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "tests/unit/proto/samples.h"

/* Decodes an exact-size heap copy, so that ASan sees a read past its end. */
static int decode_copy(const uint8_t *bytes, size_t len, struct record *ret_record)
{
	uint8_t *copy = malloc(len ? len : 1);
	int r;

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	r = record_decode(copy, len, ret_record);
	free(copy);
	return r;
}

static void test_truncated(void **state)
{
	uint8_t bytes[RECORD_SIZE + 8] = {};
	struct record record, before;

	record_encode(&record_sample, bytes);
	memset(&record, 0x5a, sizeof(record));
	before = record;
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		if (len == RECORD_SIZE)
			continue;
		assert_int_equal(decode_copy(bytes, len, &record), -EBADMSG);
	}
	assert_memory_equal(&record, &before, sizeof(record));
}

static void test_fields(void **state)
{
	static const struct {
		size_t offset, size;
		uint32_t value;
		int result;
	} cases[] = {
		{0, 4, 0x4447534e, -EBADMSG},	      /* magic */
		{0, 4, 0, -EBADMSG},		      /* magic */
		{4, 2, 2, -EPROTONOSUPPORT},	      /* min over max */
		{6, 2, 0, -EPROTONOSUPPORT},	      /* max under min */
		{4, 4, 0x00030002, -EPROTONOSUPPORT}, /* 2 to 3 */
		{4, 4, 0x00000000, -EPROTONOSUPPORT}, /* 0 to 0 */
		{4, 4, 0x00090000, 0},		      /* 0 to 9: has 1 */
		{24, 4, 0, -EBADMSG},		      /* port */
		{28, 1, 1, -EBADMSG},		      /* reserved */
		{31, 1, 0x80, -EBADMSG},	      /* reserved */
		{32, 4, 0x105, -EBADMSG},	      /* a reference twice */
		{48, 4, 0x103, -EBADMSG},	      /* a reference twice */
		{36, 4, 0, 0},			      /* reference 0 is one as any */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t bytes[RECORD_SIZE];
		struct record record;

		record_encode(&record_sample, bytes);
		for (size_t b = 0; b < cases[i].size; b++)
			bytes[cases[i].offset + b] = (uint8_t)(cases[i].value >> (8 * b));
		assert_int_equal(decode_copy(bytes, RECORD_SIZE, &record), cases[i].result);
	}
}

/* A record that decodes has one form: encoding it gives the same bytes back. */
static void test_canonical(void **state)
{
	size_t n_accepted = 0, n_refused = 0;

	for (size_t offset = 0; offset < RECORD_SIZE; offset++) {
		for (unsigned value = 0; value < 256; value++) {
			uint8_t bytes[RECORD_SIZE], again[RECORD_SIZE];
			struct record record;

			record_encode(&record_sample, bytes);
			bytes[offset] = (uint8_t)value;
			if (decode_copy(bytes, RECORD_SIZE, &record) < 0) {
				n_refused++;
				continue;
			}
			record_encode(&record, again);
			assert_memory_equal(bytes, again, RECORD_SIZE);
			n_accepted++;
		}
	}
	assert_true(n_accepted > 0 && n_refused > 0);
}

/* The two kinds are never taken for each other, and the short one is as strict. */
static void test_parked(void **state)
{
	uint8_t bytes[RECORD_SIZE + 8] = {}, whole[RECORD_SIZE], again[RECORD_PARKED_SIZE];
	struct record record, before;

	record_encode(&record_sample, whole);
	memset(&record, 0x5a, sizeof(record));
	before = record;
	assert_int_equal(record_parked_decode(whole, RECORD_SIZE, &record), -EBADMSG);
	assert_int_equal(record_parked_decode(whole, RECORD_PARKED_SIZE, &record), -EBADMSG);
	record_parked_encode(&record_sample, bytes);
	assert_int_equal(decode_copy(bytes, RECORD_SIZE, &record), -EBADMSG);
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		uint8_t *copy = malloc(len ? len : 1);

		assert_non_null(copy);
		memcpy(copy, bytes, len);
		if (len != RECORD_PARKED_SIZE)
			assert_int_equal(record_parked_decode(copy, len, &record), -EBADMSG);
		free(copy);
	}
	assert_memory_equal(&record, &before, sizeof(record));
	for (size_t c = 0; c < RECORD_PARKED_SIZE * 256; c++) {
		uint8_t saved = bytes[c / 256];

		bytes[c / 256] = (uint8_t)c;
		if (record_parked_decode(bytes, RECORD_PARKED_SIZE, &record) == 0) {
			record_parked_encode(&record, again);
			assert_memory_equal(bytes, again, RECORD_PARKED_SIZE);
		}
		bytes[c / 256] = saved;
	}
	bytes[6] = 0;
	assert_int_equal(
		record_parked_decode(bytes, RECORD_PARKED_SIZE, &record), -EPROTONOSUPPORT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_canonical),
		cmocka_unit_test(test_parked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
