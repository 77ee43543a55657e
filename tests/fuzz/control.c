/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A control frame, header and body. A message that decodes has one encoding, and no printed text of
 * it can move a terminal's cursor. The header's length need not be the body's: the ring's reader
 * cuts.
 */
#include <errno.h>

#include "proto/control.h"
#include "tests/fuzz/fuzz.h"

static void text_check(const char *text, size_t size)
{
	FUZZ_CHECK(memchr(text, '\0', size));
	for (; *text; text++)
		FUZZ_CHECK(*text >= 0x20 && *text <= 0x7e);
}

static void texts_check(const struct control_message *message)
{
	switch (message->type) {
	case CONTROL_HELLO:
		text_check(message->hello.comm, COMM_SIZE);
		break;
	case CONTROL_CONNECT:
		text_check(message->connect.address, ADDRESS_SIZE);
		break;
	case CONTROL_LINK_FAILED:
		text_check(message->link_failed.reason, REASON_SIZE);
		break;
	case CONTROL_LISTEN:
		FUZZ_CHECK(name_check(message->listen.name) == 0);
		break;
	case CONTROL_QUIESCE:
		text_check(message->quiesce.reason, REASON_SIZE);
		break;
	case CONTROL_WATCH:
		text_check(message->watch.pattern, ADDRESS_SIZE);
		break;
	case CONTROL_NAME:
		text_check(message->name.address, ADDRESS_SIZE);
		break;
	case CONTROL_NAMES_DONE:
		text_check(message->names_done.reason, REASON_SIZE);
		break;
	case CONTROL_CHANNEL:
		text_check(message->channel.peer.domain, DOMAIN_NAME_SIZE);
		FUZZ_CHECK(name_check(message->channel.name) == 0);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct control_message message;
	uint8_t bytes[CONTROL_MESSAGE_MAX], header[FRAME_HEADER_SIZE];
	struct frame frame;
	size_t len;
	int r;

	if (size < FRAME_HEADER_SIZE || control_frame_decode(data, &frame) < 0)
		return 0;
	frame_encode(&frame, header);
	FUZZ_CHECK(memcmp(header, data, FRAME_HEADER_SIZE) == 0);
	data += FRAME_HEADER_SIZE;
	size -= FRAME_HEADER_SIZE;
	r = control_decode(frame.type, frame.arg, data, size, &message);
	if (r == -EOPNOTSUPP)
		FUZZ_CHECK(message.type == frame.type && message.request == frame.arg);
	if (r < 0)
		return 0;
	texts_check(&message);
	len = control_encode(&message, bytes);
	FUZZ_CHECK(len == size && (len == 0 || memcmp(bytes, data, len) == 0));
	return 0;
}
