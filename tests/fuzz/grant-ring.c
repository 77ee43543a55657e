/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A grant ring whose other side writes any counter at any time: whatever space or avail answer can
 * be used without a step outside the ring.
 */
#include <stdbool.h>

#include "proto/grant-ring.h"
#include "tests/fuzz/fuzz.h"

#define RING_LEN 128U

enum step { STEP_HOSTILE, STEP_HOSTILE_NEAR, STEP_USE, STEP_LIMIT };

static void ring_use(struct grant_ring *ring, bool sender, uint32_t want)
{
	uint8_t bytes[RING_LEN] = {};
	int64_t n = sender ? grant_ring_space(ring, want) : grant_ring_avail(ring, want);

	if (n < 0)
		return;
	FUZZ_CHECK(n <= RING_LEN && n % 16 == 0);
	if (want > n)
		return;
	if (sender)
		grant_ring_write(ring, 0, bytes, want);
	else
		grant_ring_read(ring, 0, bytes, want);
	ring->own += round_up16(want);
	if (sender)
		grant_ring_publish(ring);
	else
		grant_ring_release(ring);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {.data = data, .left = size};
	bool sender = fuzz_u8(&input) & 1;
	uint32_t start = fuzz_u32(&input) & ~15U;
	_Atomic uint32_t produced = start, consumed = start;
	_Atomic uint32_t *hostile = sender ? &consumed : &produced;
	struct grant_ring ring = {.data = malloc(RING_LEN),
		.len = RING_LEN,
		.produced = &produced,
		.consumed = &consumed,
		.own = start,
		.peer = start};

	FUZZ_CHECK(ring.data);
	memset(ring.data, 0, RING_LEN);
	while (input.left) {
		switch (fuzz_u8(&input) % STEP_LIMIT) {
		case STEP_HOSTILE:
			*hostile = fuzz_u32(&input);
			break;
		case STEP_HOSTILE_NEAR:
			*hostile = *hostile + 16U * fuzz_u8(&input);
			break;
		case STEP_USE:
			ring_use(&ring, sender, 1 + fuzz_u8(&input) % RING_LEN);
			break;
		}
	}
	free(ring.data);
	return 0;
}
