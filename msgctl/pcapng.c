/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See pcapng.h. A block is put together in memory: its length stands at its beginning. */
#include "msgctl/pcapng.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

/* The longest packet, and the texts beside it. */
#define BLOCK_MAX (PCAPNG_PACKET_MAX + 2048U)
#define TEXT_MAX  500U

enum block {
	BLOCK_INTERFACE = 1,
	BLOCK_STATISTICS = 5,
	BLOCK_PACKET = 6,
	BLOCK_SECTION = 0x0a0d0d0a,
};

enum option {
	OPTION_END = 0,
	OPTION_COMMENT = 1,
	OPTION_APPLICATION = 4, /* of a section */
	OPTION_NAME = 2,	/* of an interface, as the next two */
	OPTION_DESCRIPTION = 3,
	OPTION_RESOLUTION = 9,
	OPTION_FLAGS = 2, /* of a packet, as the next */
	OPTION_DROPPED = 4,
	OPTION_BEGIN = 2, /* of statistics, as the next three */
	OPTION_LAST = 3,
	OPTION_RECEIVED = 4,
	OPTION_NOT_RECEIVED = 5,
};

#define BYTE_ORDER_MAGIC 0x1a2b3c4dU
#define RESOLUTION_NS	 9 /* 10 to the power of -9 s */
#define FLAG_INBOUND	 1U
#define FLAG_OUTBOUND	 2U

/* The bytes between the two lengths of a block. */
struct writer {
	FILE *out;
	enum block type;
	size_t len;
	uint8_t bytes[BLOCK_MAX];
};

/* Padded to 32 bits. */
static void put(struct writer *writer, const void *bytes, size_t len)
{
	size_t padded = (len + 3) & ~(size_t)3;

	assert(padded <= sizeof(writer->bytes) - writer->len);
	if (len)
		memcpy(writer->bytes + writer->len, bytes, len);
	memset(writer->bytes + writer->len + len, 0, padded - len);
	writer->len += padded;
}

static void put_u32(struct writer *writer, uint32_t value)
{
	uint32_t wire = htole32(value);

	put(writer, &wire, sizeof(wire));
}

/* 16 bits each. */
static void put_pair(struct writer *writer, uint32_t first, uint32_t second)
{
	put_u32(writer, first | second << 16);
}

static void put_option(struct writer *writer, enum option option, const void *bytes, size_t len)
{
	put_pair(writer, option, (uint32_t)len);
	put(writer, bytes, len);
}

/* A text that is longer is cut. */
static void put_text(struct writer *writer, enum option option, const char *text)
{
	if (text && *text)
		put_option(writer, option, text, strnlen(text, TEXT_MAX));
}

static void put_option_u64(struct writer *writer, enum option option, uint64_t value)
{
	uint64_t wire = htole64(value);

	put_option(writer, option, &wire, sizeof(wire));
}

/* The higher half comes first. */
static void put_time(struct writer *writer, uint64_t time_ns)
{
	put_u32(writer, (uint32_t)(time_ns >> 32));
	put_u32(writer, (uint32_t)time_ns);
}

static void put_time_option(struct writer *writer, enum option option, uint64_t time_ns)
{
	put_pair(writer, option, sizeof(time_ns));
	put_time(writer, time_ns);
}

static void begin(struct writer *writer, FILE *out, enum block type)
{
	writer->out = out;
	writer->type = type;
	writer->len = 0;
}

/* type, length, the bytes, length */
static void end(struct writer *writer)
{
	uint32_t head[2];

	put_pair(writer, OPTION_END, 0);
	head[0] = htole32(writer->type);
	head[1] = htole32((uint32_t)(sizeof(head) + writer->len + sizeof(head[1])));
	(void)fwrite(head, 1, sizeof(head), writer->out);
	(void)fwrite(writer->bytes, 1, writer->len, writer->out);
	(void)fwrite(&head[1], 1, sizeof(head[1]), writer->out);
}

void pcapng_section(FILE *out, const char *application)
{
	struct writer writer;

	begin(&writer, out, BLOCK_SECTION);
	put_u32(&writer, BYTE_ORDER_MAGIC);
	put_pair(&writer, 1, 0);      /* version */
	put_u32(&writer, UINT32_MAX); /* the section's length is not known */
	put_u32(&writer, UINT32_MAX);
	put_text(&writer, OPTION_APPLICATION, application);
	end(&writer);
}

void pcapng_interface(FILE *out, const char *name, const char *description, uint32_t snaplen)
{
	const uint8_t resolution = RESOLUTION_NS;
	struct writer writer;

	begin(&writer, out, BLOCK_INTERFACE);
	put_pair(&writer, PCAPNG_LINKTYPE, 0);
	put_u32(&writer, snaplen);
	put_text(&writer, OPTION_NAME, name);
	put_text(&writer, OPTION_DESCRIPTION, description);
	put_option(&writer, OPTION_RESOLUTION, &resolution, sizeof(resolution));
	end(&writer);
}

void pcapng_packet(FILE *out, const struct pcapng_packet *packet)
{
	uint32_t flags = htole32(packet->sent ? FLAG_OUTBOUND : FLAG_INBOUND);
	struct writer writer;

	begin(&writer, out, BLOCK_PACKET);
	put_u32(&writer, packet->interface);
	put_time(&writer, packet->time_ns);
	put_u32(&writer, (uint32_t)packet->len);
	put_u32(&writer, (uint32_t)packet->whole_len);
	put(&writer, packet->bytes, packet->len);
	put_text(&writer, OPTION_COMMENT, packet->comment);
	put_option(&writer, OPTION_FLAGS, &flags, sizeof(flags));
	if (packet->n_dropped)
		put_option_u64(&writer, OPTION_DROPPED, packet->n_dropped);
	end(&writer);
}

void pcapng_counts(FILE *out, const struct pcapng_counts *counts)
{
	struct writer writer;

	begin(&writer, out, BLOCK_STATISTICS);
	put_u32(&writer, counts->interface);
	put_time(&writer, counts->end_ns);
	put_time_option(&writer, OPTION_BEGIN, counts->begin_ns);
	put_time_option(&writer, OPTION_LAST, counts->end_ns);
	put_option_u64(&writer, OPTION_RECEIVED, counts->n_packets);
	put_option_u64(&writer, OPTION_NOT_RECEIVED, counts->n_dropped);
	end(&writer);
}
