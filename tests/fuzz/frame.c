/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Link frames, one header after the other: a decoded frame has one form and section 4's bounds. */
#include "proto/frame.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (; size >= FRAME_HEADER_SIZE; data += FRAME_HEADER_SIZE, size -= FRAME_HEADER_SIZE) {
		uint8_t bytes[FRAME_HEADER_SIZE];
		struct frame frame;

		if (frame_decode(data, &frame) < 0)
			continue;
		frame_encode(&frame, bytes);
		FUZZ_CHECK(memcmp(bytes, data, FRAME_HEADER_SIZE) == 0);
		FUZZ_CHECK(frame.channel != 0 && frame.len <= FRAME_PAYLOAD_MAX);
		if (frame.type == FRAME_DATA && (frame.flags & FRAME_FIRST))
			FUZZ_CHECK(frame.len <= frame.arg && frame.arg <= MESSAGE_MAX);
		if (frame.type != FRAME_DATA)
			FUZZ_CHECK(frame.len == 0 && frame.flags == 0);
	}
	return 0;
}
