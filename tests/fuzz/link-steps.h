/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The steps that the harnesses of links share, whatever the transport: frames that the other side
 * sends, messages of msgd, and calls of this side's application.
 */
#ifndef TESTS_FUZZ_LINK_STEPS_H
#define TESTS_FUZZ_LINK_STEPS_H

#include "tests/fuzz/fuzz.h"
#include "tests/support/link-pair.h"

#define MINE  1 /* this side listens; the other is the fuzzer's */
#define THEIR 0

/* A step of an input: its first byte. */
enum link_step {
	STEP_FRAME, /* a frame with a header that decodes more often than not */
	STEP_RAW,   /* any bytes */
	STEP_OWN_1, /* of these two each harness has its own */
	STEP_OWN_2,
	STEP_RECV,
	STEP_TAKE,
	STEP_SEND,
	STEP_SHUTDOWN,
	STEP_CLOSE,
	STEP_CHANNEL, /* msgd grants one more channel */
	STEP_ANSWER,  /* msgd answers */
	STEP_SHARED_LIMIT,
};

/* The first byte says of which type the channel is, at both ends. */
void link_begin(struct pair *pair, struct fuzz_input *input);
/* Does a step that is shared. */
void link_step(struct pair *pair, enum link_step step, struct fuzz_input *input);
/* After each step: takes in what came, sends what waits, and holds no more than it may. */
void link_settle(struct pair *pair);

#endif
