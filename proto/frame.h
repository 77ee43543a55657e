/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The 16-byte header of every frame on a link or a control link: PROTOCOL.md, section 4. */
#ifndef MSGD_PROTO_FRAME_H
#define MSGD_PROTO_FRAME_H

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "proto/limits.h"

#define FRAME_HEADER_SIZE 16U
/* The message_type of the Argo messages that carry frames. */
#define FRAME_MESSAGE_TYPE 0x6d736764U

enum frame_type {
	FRAME_DATA = 1, /* arg: the message's length on its first frame, else 0 */
	FRAME_CREDIT,	/* arg: bytes of credit given to the receiver of this frame */
	FRAME_CLOSE,	/* arg: enum close_reason; the sender's last frame on this channel */
	FRAME_SHUTDOWN, /* the sender sends no more data */
	FRAME_LIMIT,	/* arg: bytes of the longest message that the sender takes from now on */
	FRAME_DROPS,	/* arg: datagrams that the sender has dropped since it last said so */
	/* for tests */
	FRAME_TYPE_LIMIT,
};

#define FRAME_FIRST 1U /* a message starts here */
#define FRAME_LAST  2U /* and ends here */

enum close_reason {
	CLOSE_NORMAL = 0, /* closed by the application */
	CLOSE_RESET,	  /* data was thrown away: the other side sees ECONNRESET */
	CLOSE_REASON_LIMIT,
};

struct frame {
	uint32_t channel;
	uint32_t len; /* payload bytes after the header; the next frame starts 16-aligned */
	uint8_t type;
	uint8_t flags;
	uint32_t arg;
};

static inline void frame_encode(const struct frame *frame, uint8_t *ret_bytes)
{
	uint32_t words[4] = {htole32(frame->channel), htole32(frame->len),
		htole32((uint32_t)frame->type | (uint32_t)frame->flags << 8), htole32(frame->arg)};

	memcpy(ret_bytes, words, sizeof(words));
}

/* Leaves it no more than `room` bytes of payload. */
static inline void frame_cut(struct frame *frame, uint32_t room)
{
	if (frame->len <= room)
		return;
	frame->len = room;
	frame->flags &= (uint8_t)~FRAME_LAST;
}

/* "data" and so on; "?" for unknown types. For people. */
const char *frame_type_name(uint8_t type);

/* Whether the header's form is that of a link's frame. */
bool frame_check(const struct frame *frame);

/* frame_decode of any frame. */
int frame_decode_any(const uint8_t bytes[FRAME_HEADER_SIZE], struct frame *ret_frame);

/*
 * Decodes a private copy of a link frame's header. Checks form only: the type, and the length,
 * flags and arg that it allows. -EBADMSG. (Inline for a whole message, which most frames are.)
 */
static inline int frame_decode(const uint8_t bytes[FRAME_HEADER_SIZE], struct frame *ret_frame)
{
	uint32_t words[4], channel, len;

	memcpy(words, bytes, sizeof(words));
	channel = le32toh(words[0]);
	len = le32toh(words[1]);
	if (le32toh(words[2]) != (FRAME_DATA | (FRAME_FIRST | FRAME_LAST) << 8) || !channel ||
		len > FRAME_PAYLOAD_MAX || words[3] != words[1])
		return frame_decode_any(bytes, ret_frame);
	ret_frame->channel = channel;
	ret_frame->len = len;
	ret_frame->type = FRAME_DATA;
	ret_frame->flags = FRAME_FIRST | FRAME_LAST;
	ret_frame->arg = len;
	return 0;
}

/* The same without any check but the reserved bytes: what control frames share. -EBADMSG. */
int frame_decode_raw(const uint8_t bytes[FRAME_HEADER_SIZE], struct frame *ret_frame);

#endif
