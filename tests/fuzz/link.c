/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A link over grants whose other side writes any frame, counter and hint at any time, while this
 * side's application sends, receives, shuts down and closes: it survives, and holds no more than
 * the credit that it gave.
 */
#include "tests/fuzz/link-steps.h"

#define RING_PAGES   4U
#define STEP_COUNTER STEP_OWN_1 /* any counter */
#define STEP_HINT    STEP_OWN_2 /* any byte of the doorbell page's other half */

static void scribble(struct pair *pair, struct fuzz_input *input)
{
	uint8_t *half = (uint8_t *)&pair->page->end[THEIR];

	half[fuzz_u16(input) % sizeof(pair->page->end[0])] = fuzz_u8(input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {.data = data, .left = size};
	struct pair *pair = pair_new(RING_PAGES);

	link_begin(pair, &input);
	while (input.left) {
		enum link_step step = fuzz_u8(&input) % STEP_SHARED_LIMIT;

		if (step == STEP_COUNTER)
			atomic_store(&pair->page->end[THEIR].produced, fuzz_u32(&input));
		else if (step == STEP_HINT)
			scribble(pair, &input);
		else
			link_step(pair, step, &input);
		link_settle(pair);
	}
	pair_free(pair);
	return 0;
}
