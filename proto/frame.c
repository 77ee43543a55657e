/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The form of a link frame's header: PROTOCOL.md, section 4. Whether the channel exists, and
 * whether its state and credit allow the frame, is for the link to judge.
 */
#include "proto/frame.h"

static inline __attribute__((always_inline)) bool data_check(const struct frame *frame)
{
	if ((frame->flags & ~(FRAME_FIRST | FRAME_LAST)) || frame->len > FRAME_PAYLOAD_MAX)
		return false;
	if (!(frame->flags & FRAME_FIRST))
		return frame->arg == 0;
	if (frame->arg > MESSAGE_MAX || frame->arg < frame->len)
		return false;
	return !(frame->flags & FRAME_LAST) || frame->arg == frame->len;
}

static inline __attribute__((always_inline)) bool form_check(const struct frame *frame)
{
	if (frame->channel == 0)
		return false;
	if (frame->type == FRAME_DATA)
		return data_check(frame);
	if (frame->flags || frame->len)
		return false;
	switch (frame->type) {
	case FRAME_CREDIT:
		return frame->arg >= 1 && frame->arg <= CREDIT_GRANT_MAX;
	case FRAME_DROPS:
		return frame->arg >= 1;
	case FRAME_CLOSE:
		return frame->arg < CLOSE_REASON_LIMIT;
	case FRAME_SHUTDOWN:
		return frame->arg == 0;
	case FRAME_LIMIT:
		return frame->arg >= 1 && frame->arg <= MESSAGE_MAX;
	default:
		return false;
	}
}

bool frame_check(const struct frame *frame)
{
	return form_check(frame);
}

const char *frame_type_name(uint8_t type)
{
	static const char *const names[FRAME_TYPE_LIMIT] = {
		[FRAME_DATA] = "data",
		[FRAME_CREDIT] = "credit",
		[FRAME_CLOSE] = "close",
		[FRAME_SHUTDOWN] = "shutdown",
		[FRAME_LIMIT] = "limit",
		[FRAME_DROPS] = "drops",
	};

	return type < FRAME_TYPE_LIMIT && names[type] ? names[type] : "?";
}

int frame_decode_raw(const uint8_t bytes[FRAME_HEADER_SIZE], struct frame *ret_frame)
{
	uint32_t words[4], kind;

	memcpy(words, bytes, sizeof(words));
	kind = le32toh(words[2]);
	if (kind >> 16) /* reserved */
		return -EBADMSG;
	*ret_frame = (struct frame){
		.channel = le32toh(words[0]),
		.len = le32toh(words[1]),
		.type = kind & 0xff,
		.flags = kind >> 8,
		.arg = le32toh(words[3]),
	};
	return 0;
}

int frame_decode_any(const uint8_t bytes[FRAME_HEADER_SIZE], struct frame *ret_frame)
{
	struct frame frame;
	int r = frame_decode_raw(bytes, &frame);

	if (r < 0)
		return r;
	if (!form_check(&frame))
		return -EBADMSG;
	*ret_frame = frame;
	return 0;
}
