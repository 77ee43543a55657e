/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rendezvous record's codec: PROTOCOL.md, section 2. The record is what a stranger wrote into
 * the store: nothing in it is believed before the control page says the same.
 */
#include "proto/record.h"

#include <errno.h>

#include "proto/cursor.h"

_Static_assert(RECORD_SIZE == 52, "PROTOCOL.md 2");

void record_encode(const struct record *record, uint8_t ret_bytes[RECORD_SIZE])
{
	struct writer writer = {.bytes = ret_bytes, .size = RECORD_SIZE};

	writer_uint(&writer, RECORD_MAGIC, 4);
	writer_uint(&writer, record->version_min, 2);
	writer_uint(&writer, record->version_max, 2);
	writer_bytes(&writer, record->nonce, NONCE_SIZE);
	writer_uint(&writer, record->port, 4);
	writer_zeros(&writer, 4);
	for (size_t i = 0; i < CONTROL_PAGES; i++)
		writer_uint(&writer, record->refs[i], 4);
	assert(writer.pos == RECORD_SIZE);
}

static bool refs_distinct(const uint32_t *refs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < i; j++) {
			if (refs[i] == refs[j])
				return false;
		}
	}
	return true;
}

int record_decode(const void *bytes, size_t len, struct record *ret_record)
{
	struct reader reader = {.bytes = bytes, .len = len};
	struct record record = {};
	uint32_t magic;

	magic = (uint32_t)reader_uint(&reader, 4);
	record.version_min = (uint16_t)reader_uint(&reader, 2);
	record.version_max = (uint16_t)reader_uint(&reader, 2);
	reader_bytes(&reader, record.nonce, NONCE_SIZE);
	record.port = (uint32_t)reader_uint(&reader, 4);
	reader_zeros(&reader, 4);
	for (size_t i = 0; i < CONTROL_PAGES; i++)
		record.refs[i] = (uint32_t)reader_uint(&reader, 4);

	if (!reader_done(&reader) || magic != RECORD_MAGIC || record.port == 0 ||
		!refs_distinct(record.refs, CONTROL_PAGES))
		return -EBADMSG;
	if (record.version_min > record.version_max || record.version_min > CONTROL_VERSION ||
		record.version_max < CONTROL_VERSION_MIN)
		return -EPROTONOSUPPORT;
	*ret_record = record;
	return 0;
}
