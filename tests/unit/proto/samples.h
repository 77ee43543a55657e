/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The meaning of PROTOCOL.md's golden bytes, written down by hand from its text. */
#ifndef TESTS_UNIT_PROTO_SAMPLES_H
#define TESTS_UNIT_PROTO_SAMPLES_H

#include "proto/control.h"
#include "proto/frame.h"
#include "proto/record.h"

struct control_sample {
	const char *name;
	struct control_message message;
};

struct frame_sample {
	const char *name;
	struct frame frame;
};

extern const struct control_sample control_samples[];
extern const size_t n_control_samples;
extern const struct frame_sample frame_samples[];
extern const size_t n_frame_samples;
extern const struct record record_sample;

#endif
