/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See packet.h. */
#include "msgctl/packet.h"

#include <stdlib.h>
#include <string.h>

#include "msgctl/show.h"
#include "proto/control.h"
#include "proto/cursor.h"

static uint32_t frame_type_of(const char *word)
{
	uint8_t type = FRAME_DATA;

	while (type < FRAME_TYPE_LIMIT && strcmp(word, frame_type_name(type)) != 0)
		type++;
	return type;
}

static uint8_t transport_of(const char *word)
{
	uint32_t kind = TRANSPORT_ANY;

	while (kind < TRANSPORT_LIMIT && strcmp(word, transport_name(kind)) != 0)
		kind++;
	return (uint8_t)kind;
}

static uint8_t channel_type_of(const char *word)
{
	return strcmp(word, "stream") == 0  ? CHANNEL_STREAM
	       : strcmp(word, "dgram") == 0 ? CHANNEL_DGRAM
					    : CHANNEL_SEQPACKET;
}

static uint8_t digit_of(char c)
{
	return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

size_t packet_data(const json_t *row, uint8_t *ret_bytes, size_t size)
{
	const char *text = json_string_value(json_object_get(row, "data"));
	size_t n = text ? strspn(text, "0123456789abcdef") / 2 : 0;

	if (n > size)
		n = size;
	for (size_t i = 0; i < n; i++)
		ret_bytes[i] = (uint8_t)(digit_of(text[2 * i]) << 4 | digit_of(text[2 * i + 1]));
	return n;
}

static void header_encode(const json_t *row, struct byte_writer *writer)
{
	const uint8_t bytes[4] = {PACKET_VERSION, field_true(row, "sent"),
		channel_type_of(field_text(row, "type")),
		transport_of(field_text(row, "transport"))};
	const char *name = field_text(row, "name");

	writer_bytes(writer, bytes, sizeof(bytes));
	writer_uint(writer, (uint64_t)field_number(row, "domid"), 2);
	writer_uint(writer, (uint64_t)field_number(row, "peer_domid"), 2);
	writer_uint(writer, strtoull(field_text(row, "link"), NULL, 16), 8);
	writer_uint(writer, (uint64_t)field_number(row, "credit"), 4);
	writer_zeros(writer, 4);
	memcpy(memset(writer_take(writer, NAME_SIZE), 0, NAME_SIZE), name,
		strnlen(name, NAME_SIZE - 1));
}

size_t packet_encode(const json_t *row, uint8_t *ret_bytes, size_t size, size_t *ret_whole_len)
{
	struct byte_writer writer = {.bytes = ret_bytes, .size = size};
	struct frame frame = {.channel = (uint32_t)field_number(row, "channel"),
		.len = (uint32_t)field_number(row, "len"),
		.type = (uint8_t)frame_type_of(field_text(row, "frame")),
		.flags = (uint8_t)field_number(row, "flags"),
		.arg = (uint32_t)field_number(row, "arg")};

	if (size < PACKET_HEADER_SIZE + FRAME_HEADER_SIZE || !frame_check(&frame))
		return 0;
	header_encode(row, &writer);
	frame_encode(&frame, writer_take(&writer, FRAME_HEADER_SIZE));
	*ret_whole_len = writer.pos + frame.len;
	writer.pos += packet_data(row, ret_bytes + writer.pos, size - writer.pos);
	return writer.pos < *ret_whole_len ? writer.pos : *ret_whole_len;
}
