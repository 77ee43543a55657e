/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rendezvous record, and the one of a quiesced application: what decodes has one form. */
#include "proto/record.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct record record;
	uint8_t bytes[RECORD_SIZE];

	if (record_decode(data, size, &record) == 0) {
		record_encode(&record, bytes);
		FUZZ_CHECK(size == RECORD_SIZE && memcmp(bytes, data, size) == 0);
		FUZZ_CHECK(record_parked_decode(data, size, &record) < 0);
	} else if (record_parked_decode(data, size, &record) == 0) {
		record_parked_encode(&record, bytes);
		FUZZ_CHECK(size == RECORD_PARKED_SIZE && memcmp(bytes, data, size) == 0);
	}
	return 0;
}
