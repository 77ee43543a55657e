/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The frame header's form: which lengths, flags and args each type allows, at their edges. */
#include "tests/support/cmocka-all.h"

#include <errno.h>
#include <string.h>

#include "base/macro.h"
#include "tests/unit/proto/samples.h"

#define WHOLE (FRAME_FIRST | FRAME_LAST)

static const struct {
	struct frame frame;
	int result;
} form_cases[] = {
	/* channel, len, type, flags, arg */
	{{1, 0, FRAME_DATA, WHOLE, 0}, 0},
	{{0, 0, FRAME_DATA, WHOLE, 0}, -EBADMSG},
	{{UINT32_MAX, 0, FRAME_DATA, WHOLE, 0}, 0},
	{{1, FRAME_PAYLOAD_MAX, FRAME_DATA, WHOLE, FRAME_PAYLOAD_MAX}, 0},
	{{1, FRAME_PAYLOAD_MAX + 1, FRAME_DATA, WHOLE, FRAME_PAYLOAD_MAX + 1}, -EBADMSG},
	{{1, UINT32_MAX, FRAME_DATA, FRAME_FIRST, UINT32_MAX}, -EBADMSG},
	{{1, 5, FRAME_DATA, WHOLE, 4}, -EBADMSG},
	{{1, 5, FRAME_DATA, WHOLE, 6}, -EBADMSG},
	{{1, 5, FRAME_DATA, FRAME_FIRST, 6}, 0},
	{{1, 5, FRAME_DATA, FRAME_FIRST, 4}, -EBADMSG},
	{{1, 5, FRAME_DATA, FRAME_FIRST, MESSAGE_MAX}, 0},
	{{1, 5, FRAME_DATA, FRAME_FIRST, MESSAGE_MAX + 1}, -EBADMSG},
	{{1, 5, FRAME_DATA, 0, 0}, 0},
	{{1, 5, FRAME_DATA, 0, 5}, -EBADMSG},
	{{1, 5, FRAME_DATA, FRAME_LAST, 0}, 0},
	{{1, 5, FRAME_DATA, FRAME_LAST, 1}, -EBADMSG},
	{{1, 5, FRAME_DATA, 4, 0}, -EBADMSG},
	{{1, 5, FRAME_DATA, 0x80 | WHOLE, 5}, -EBADMSG},
	{{1, 0, FRAME_CREDIT, 0, 1}, 0},
	{{1, 0, FRAME_CREDIT, 0, 0}, -EBADMSG},
	{{1, 0, FRAME_CREDIT, 0, CREDIT_GRANT_MAX}, 0},
	{{1, 0, FRAME_CREDIT, 0, CREDIT_GRANT_MAX + 1}, -EBADMSG},
	{{1, 1, FRAME_CREDIT, 0, 1}, -EBADMSG},
	{{1, 0, FRAME_CREDIT, FRAME_FIRST, 1}, -EBADMSG},
	{{0, 0, FRAME_CREDIT, 0, 1}, -EBADMSG},
	{{1, 0, FRAME_CLOSE, 0, CLOSE_NORMAL}, 0},
	{{1, 0, FRAME_CLOSE, 0, CLOSE_RESET}, 0},
	{{1, 0, FRAME_CLOSE, 0, CLOSE_REASON_LIMIT}, -EBADMSG},
	{{1, 1, FRAME_CLOSE, 0, 0}, -EBADMSG},
	{{1, 0, FRAME_CLOSE, FRAME_LAST, 0}, -EBADMSG},
	{{1, 0, FRAME_SHUTDOWN, 0, 0}, 0},
	{{1, 0, FRAME_SHUTDOWN, 0, 1}, -EBADMSG},
	{{1, 1, FRAME_SHUTDOWN, 0, 0}, -EBADMSG},
	{{1, 0, FRAME_SHUTDOWN, FRAME_LAST, 0}, -EBADMSG},
	{{1, 0, FRAME_LIMIT, 0, MESSAGE_MAX}, 0},
	{{1, 0, FRAME_LIMIT, 0, 0}, -EBADMSG},
	{{1, 0, FRAME_LIMIT, 0, MESSAGE_MAX + 1}, -EBADMSG},
	{{1, 1, FRAME_LIMIT, 0, 1}, -EBADMSG},
	{{1, 0, FRAME_DROPS, 0, UINT32_MAX}, 0},
	{{1, 0, FRAME_DROPS, 0, 0}, -EBADMSG},
	{{1, 1, FRAME_DROPS, 0, 1}, -EBADMSG},
	{{1, 0, FRAME_DROPS, FRAME_LAST, 1}, -EBADMSG},
	{{1, 0, 0, 0, 0}, -EBADMSG},
	{{1, 0, FRAME_TYPE_LIMIT, 0, 0}, -EBADMSG},
	{{1, 0, 255, 0, 0}, -EBADMSG},
};

static void test_form(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(form_cases); i++) {
		uint8_t bytes[FRAME_HEADER_SIZE];
		struct frame frame;
		int r;

		frame_encode(&form_cases[i].frame, bytes);
		r = frame_decode(bytes, &frame);
		if (r != form_cases[i].result)
			fail_msg("case %zu: %d", i, r);
	}
}

static void test_reserved(void **state)
{
	for (size_t i = 0; i < n_frame_samples; i++) {
		for (size_t offset = 10; offset < 12; offset++) {
			uint8_t bytes[FRAME_HEADER_SIZE];
			struct frame frame;

			frame_encode(&frame_samples[i].frame, bytes);
			bytes[offset] = 1;
			assert_int_equal(frame_decode(bytes, &frame), -EBADMSG);
			assert_int_equal(control_frame_decode(bytes, &frame), -EBADMSG);
		}
	}
}

static void test_control_frame(void **state)
{
	static const struct {
		struct frame frame;
		int result;
	} cases[] = {
		{{0, 0, CONTROL_CANCEL, 0, 1}, 0},
		{{0, CONTROL_MESSAGE_MAX, 200, 0, UINT32_MAX}, 0}, /* unknown: for control_decode */
		{{0, CONTROL_MESSAGE_MAX + 1, CONTROL_HELLO, 0, 1}, -EBADMSG},
		{{0, UINT32_MAX, CONTROL_HELLO, 0, 1}, -EBADMSG},
		{{1, 0, CONTROL_CANCEL, 0, 1}, -EBADMSG},
		{{0x80000000, 0, CONTROL_CANCEL, 0, 1}, -EBADMSG},
		{{0, 0, CONTROL_CANCEL, FRAME_FIRST, 1}, -EBADMSG},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t bytes[FRAME_HEADER_SIZE];
		struct frame frame = {.channel = 77};

		frame_encode(&cases[i].frame, bytes);
		assert_int_equal(control_frame_decode(bytes, &frame), cases[i].result);
		assert_int_equal(frame.channel, cases[i].result ? 77 : 0);
	}
}

/* A header that decodes has one form; one that does not leaves the output alone. */
static void test_canonical(void **state)
{
	size_t n_accepted = 0;

	for (size_t i = 0; i < n_frame_samples * FRAME_HEADER_SIZE * 256; i++) {
		size_t offset = i / 256 % FRAME_HEADER_SIZE;
		uint8_t bytes[FRAME_HEADER_SIZE], again[FRAME_HEADER_SIZE];
		struct frame frame = {.channel = 0xabcdef01};

		frame_encode(&frame_samples[i / 256 / FRAME_HEADER_SIZE].frame, bytes);
		bytes[offset] = (uint8_t)i;
		if (frame_decode(bytes, &frame) < 0) {
			assert_int_equal(frame.channel, 0xabcdef01);
			continue;
		}
		frame_encode(&frame, again);
		assert_memory_equal(bytes, again, FRAME_HEADER_SIZE);
		n_accepted++;
	}
	assert_true(n_accepted > n_frame_samples * FRAME_HEADER_SIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_form),
		cmocka_unit_test(test_reserved),
		cmocka_unit_test(test_control_frame),
		cmocka_unit_test(test_canonical),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
