/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The reader of Argo rings: messages at every offset, wrapped, and rings that make no sense. The
 * ring is a heap block of its exact size, so that ASan sees a step outside.
 */
#include "tests/support/cmocka-all.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "hv/argo-ring.h"

#define RING_LEN 256U

static struct hv_ring ring_new(uint32_t tx)
{
	struct hv_ring ring = {
		.mem = calloc(1, ARGO_RING_HEADER_LEN + RING_LEN), .ring_len = RING_LEN};

	assert_non_null(ring.mem);
	*argo_ring_tx(&ring) = tx;
	return ring;
}

/* Byte by byte: a second opinion on wrapping. */
static void ring_put(struct hv_ring *ring, uint32_t off, const void *src, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		argo_ring_data(ring)[(off + i) % RING_LEN] = ((const uint8_t *)src)[i];
}

static void message_put(struct hv_ring *ring, uint32_t off, uint32_t len, const uint8_t *payload)
{
	const uint32_t header[4] = {len + 16, 0x1234, 0x0007, 0x6d736764};

	ring_put(ring, off, header, sizeof(header));
	ring_put(ring, off + 16, payload, len);
}

static void test_every_offset(void **state)
{
	uint8_t payload[RING_LEN], out[RING_LEN];
	struct argo_message message = {};

	for (uint32_t i = 0; i < RING_LEN; i++)
		payload[i] = (uint8_t)(i ^ 0x5a);
	for (uint32_t rx = 0; rx < RING_LEN; rx += 16) {
		for (uint32_t len = 0; len <= RING_LEN - 32; len++) {
			uint32_t next = (rx + 16 + round_up16(len)) % RING_LEN;
			struct hv_ring ring = ring_new(next);

			message_put(&ring, rx, len, payload);
			assert_int_equal(argo_ring_peek(&ring, rx, &message), 1);
			assert_int_equal(message.len, len);
			assert_int_equal(message.aport, 0x1234);
			assert_int_equal(message.domid, 7);
			assert_int_equal(message.type, 0x6d736764);
			assert_true(message.data_off < RING_LEN);
			argo_ring_copy(&ring, message.data_off, out, len);
			assert_memory_equal(out, payload, len);
			assert_int_equal(
				argo_ring_advance(&ring, message.data_off, round_up16(len)), next);
			argo_ring_release(&ring, next);
			assert_int_equal(*argo_ring_rx(&ring), next);
			assert_int_equal(argo_ring_peek(&ring, next, &message), 0);
			free(ring.mem);
		}
	}
}

static void test_hostile(void **state)
{
	static const struct {
		uint32_t rx, tx, len; /* len as in the message's header */
		int result;
	} cases[] = {
		{0, 0, 16, 0},
		{0, 16, 16, 1},
		{0, 32, 32, 1},
		{0, 32, 17, 1},
		{0, RING_LEN - 16, RING_LEN - 16, 1},
		{0, RING_LEN, 16, -EBADMSG},
		{0, RING_LEN + 16, 16, -EBADMSG},
		{0, 0xfffffff0, 16, -EBADMSG},
		{0, UINT32_MAX, 16, -EBADMSG},
		{0, 8, 8, -EBADMSG},
		{0, 17, 16, -EBADMSG},
		{0, 32, 0, -EBADMSG},
		{0, 32, 15, -EBADMSG},
		{0, 32, 33, -EBADMSG},
		{0, 32, UINT32_MAX, -EBADMSG},
		{0, 32, 0x80000020, -EBADMSG},
		{240, 0, 16, 1},
		{240, 0, 17, -EBADMSG},
		{240, 16, 32, 1},
		{240, 224, RING_LEN - 16, 1},
		{240, 224, RING_LEN, -EBADMSG},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct hv_ring ring = ring_new(cases[i].tx);
		struct argo_message message = {.len = 0xabcdef};
		int r;

		ring_put(&ring, cases[i].rx, &cases[i].len, 4);
		r = argo_ring_peek(&ring, cases[i].rx, &message);
		if (r != cases[i].result)
			fail_msg("case %zu: %d", i, r);
		assert_int_equal(message.len, r == 1 ? cases[i].len - 16 : 0xabcdef);
		free(ring.mem);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_offset),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
