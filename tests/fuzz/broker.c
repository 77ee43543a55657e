/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The broker's state machine: the input chooses what applications, domains and policy do. Some of
 * the applications lie; one that does not must never be dropped for it.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/daemon/world-random.h"

#define STEPS_MAX 4000

static uint32_t next(void *arg)
{
	struct fuzz_input *input = arg;
	uint32_t low = fuzz_u8(input);

	return low | (uint32_t)fuzz_u8(input) << 8;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {.data = data, .left = size};
	struct chaos *chaos = chaos_new(next, &input);

	for (int i = 0; i < STEPS_MAX && input.left; i++)
		chaos_step(chaos); /* checks the invariants, and that no honest one is dropped */
	chaos_free(chaos);	   /* checks that every charge came back */
	return 0;
}
