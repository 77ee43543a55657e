/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rendezvous record: what decodes has one form. */
#include "proto/record.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct record record;
	uint8_t bytes[RECORD_SIZE];

	if (record_decode(data, size, &record) < 0)
		return 0;
	record_encode(&record, bytes);
	FUZZ_CHECK(size == RECORD_SIZE && memcmp(bytes, data, size) == 0);
	return 0;
}
