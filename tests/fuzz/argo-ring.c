/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An Argo ring full of anything (on the emulator any process can write it): reading it from a good
 * rx never leaves it, and ends.
 */
#include "hv/argo-ring.h"
#include "tests/fuzz/fuzz.h"

#define RING_LEN 128U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {.data = data, .left = size};
	struct hv_ring ring = {
		.mem = malloc(ARGO_RING_HEADER_LEN + RING_LEN), .ring_len = RING_LEN};
	uint32_t rx = fuzz_u8(&input) % (RING_LEN / 16) * 16;
	struct argo_message message;
	uint8_t payload[RING_LEN];
	unsigned n = 0;

	FUZZ_CHECK(ring.mem);
	memset(ring.mem, 0, ARGO_RING_HEADER_LEN);
	*argo_ring_tx(&ring) = fuzz_u32(&input);
	fuzz_bytes(&input, argo_ring_data(&ring), RING_LEN);
	while (argo_ring_peek(&ring, rx, &message) == 1) {
		FUZZ_CHECK(message.len <= RING_LEN && message.data_off < RING_LEN);
		argo_ring_copy(&ring, message.data_off, payload, message.len);
		rx = argo_ring_advance(&ring, message.data_off, round_up16(message.len));
		FUZZ_CHECK(rx < RING_LEN && rx % 16 == 0);
		argo_ring_release(&ring, rx);
		FUZZ_CHECK(++n <= RING_LEN / 16); /* it never passes tx */
	}
	free(ring.mem);
	return 0;
}
