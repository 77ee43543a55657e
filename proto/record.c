/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rendezvous record's codec: PROTOCOL.md, section 2. The record is what a stranger wrote into
 * the store: nothing in it is believed before the control page says the same.
 */
#include "proto/record.h"

#include <errno.h>

#include "proto/cursor.h"

_Static_assert(RECORD_SIZE == 52, "PROTOCOL.md 2");
_Static_assert(RECORD_PARKED_SIZE == 8 + NONCE_SIZE, "PROTOCOL.md 2");

/* Both kinds of record begin so. */
static void head_encode(struct byte_writer *writer, uint32_t magic, const struct record *record)
{
	writer_uint(writer, magic, 4);
	writer_uint(writer, record->version_min, 2);
	writer_uint(writer, record->version_max, 2);
	writer_bytes(writer, record->nonce, NONCE_SIZE);
}

static uint32_t head_decode(struct byte_reader *reader, struct record *record)
{
	uint32_t magic = (uint32_t)reader_uint(reader, 4);

	record->version_min = (uint16_t)reader_uint(reader, 2);
	record->version_max = (uint16_t)reader_uint(reader, 2);
	reader_bytes(reader, record->nonce, NONCE_SIZE);
	return magic;
}

static bool version_in_common(const struct record *record)
{
	return record->version_min <= record->version_max &&
	       record->version_min <= CONTROL_VERSION && record->version_max >= CONTROL_VERSION_MIN;
}

void record_encode(const struct record *record, uint8_t ret_bytes[RECORD_SIZE])
{
	struct byte_writer writer = {.bytes = ret_bytes, .size = RECORD_SIZE};

	head_encode(&writer, RECORD_MAGIC, record);
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
	struct byte_reader reader = {.bytes = bytes, .len = len};
	struct record record = {};
	uint32_t magic = head_decode(&reader, &record);

	record.port = (uint32_t)reader_uint(&reader, 4);
	reader_zeros(&reader, 4);
	for (size_t i = 0; i < CONTROL_PAGES; i++)
		record.refs[i] = (uint32_t)reader_uint(&reader, 4);

	if (!reader_done(&reader) || magic != RECORD_MAGIC || record.port == 0 ||
		!refs_distinct(record.refs, CONTROL_PAGES))
		return -EBADMSG;
	if (!version_in_common(&record))
		return -EPROTONOSUPPORT;
	*ret_record = record;
	return 0;
}

void record_parked_encode(const struct record *record, uint8_t ret_bytes[RECORD_PARKED_SIZE])
{
	struct byte_writer writer = {.bytes = ret_bytes, .size = RECORD_PARKED_SIZE};

	head_encode(&writer, RECORD_PARKED_MAGIC, record);
	assert(writer.pos == RECORD_PARKED_SIZE);
}

int record_parked_decode(const void *bytes, size_t len, struct record *ret_record)
{
	struct byte_reader reader = {.bytes = bytes, .len = len};
	struct record record = {};

	if (head_decode(&reader, &record) != RECORD_PARKED_MAGIC || !reader_done(&reader))
		return -EBADMSG;
	if (!version_in_common(&record))
		return -EPROTONOSUPPORT;
	*ret_record = record;
	return 0;
}
