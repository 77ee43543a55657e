/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bounds-checked little-endian reading and writing, for decoders of what other domains send. A
 * reader is sticky: after the first fault everything reads as 0 and `bad` stays set, so a decoder
 * checks once, at its end. It never touches a byte outside [bytes, bytes + len).
 */
#ifndef MSGD_PROTO_CURSOR_H
#define MSGD_PROTO_CURSOR_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct byte_reader {
	const uint8_t *bytes; /* borrowed; a private copy, never memory that a peer can write */
	size_t len;
	size_t pos;
	bool bad;
};

struct byte_writer {
	uint8_t *bytes; /* borrowed */
	size_t size;
	size_t pos;
};

/* The next n bytes, or NULL. */
static inline const uint8_t *reader_take(struct byte_reader *reader, size_t n)
{
	const uint8_t *bytes;

	if (reader->bad || n > reader->len - reader->pos) {
		reader->bad = true;
		return NULL;
	}
	bytes = reader->bytes + reader->pos;
	reader->pos += n;
	return bytes;
}

/* An unsigned integer of n <= 8 bytes. */
static inline uint64_t reader_uint(struct byte_reader *reader, size_t n)
{
	const uint8_t *bytes = reader_take(reader, n);
	uint64_t value = 0;

	for (size_t i = 0; bytes && i < n; i++)
		value |= (uint64_t)bytes[i] << (8 * i);
	return value;
}

static inline void reader_bytes(struct byte_reader *reader, void *ret_dst, size_t n)
{
	const uint8_t *bytes = reader_take(reader, n);

	if (bytes)
		memcpy(ret_dst, bytes, n);
	else
		memset(ret_dst, 0, n);
}

/* n bytes that must all be 0. */
static inline void reader_zeros(struct byte_reader *reader, size_t n)
{
	const uint8_t *bytes = reader_take(reader, n);

	for (size_t i = 0; bytes && i < n; i++)
		reader->bad |= bytes[i] != 0;
}

/* True: nothing was wrong, and nothing is left over. */
static inline bool reader_done(const struct byte_reader *reader)
{
	return !reader->bad && reader->pos == reader->len;
}

/* The next n bytes to fill in; the caller sized the buffer. */
static inline uint8_t *writer_take(struct byte_writer *writer, size_t n)
{
	uint8_t *bytes = writer->bytes + writer->pos;

	assert(n <= writer->size - writer->pos);
	writer->pos += n;
	return bytes;
}

static inline void writer_uint(struct byte_writer *writer, uint64_t value, size_t n)
{
	uint8_t *bytes = writer_take(writer, n);

	for (size_t i = 0; i < n; i++)
		bytes[i] = (uint8_t)(value >> (8 * i));
}

static inline void writer_bytes(struct byte_writer *writer, const void *src, size_t n)
{
	memcpy(writer_take(writer, n), src, n);
}

static inline void writer_zeros(struct byte_writer *writer, size_t n)
{
	memset(writer_take(writer, n), 0, n);
}

#endif
