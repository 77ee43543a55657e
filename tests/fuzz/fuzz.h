/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The parts that every fuzz harness shares. A harness is one file that defines
 * LLVMFuzzerTestOneInput, one line in meson.build and a directory corpus/NAME; README.md tells
 * more.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Returns 0. Must not keep state: each input is judged alone. Visible, since replay.c calls it. */
__attribute__((visibility("default"))) int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property of the code under test, checked in every build. */
#define FUZZ_CHECK(condition)                                                                      \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: property broken: %s\n", __FILE__, __LINE__,        \
				#condition);                                                       \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* For harnesses that drive a state machine: choices taken from the input, 0 when it is used up. */
struct fuzz_input {
	const uint8_t *data; /* borrowed */
	size_t left;
};

static inline size_t fuzz_bytes(struct fuzz_input *input, void *ret_dst, size_t n)
{
	size_t got = n < input->left ? n : input->left;

	if (n)
		memset(ret_dst, 0, n);
	if (got)
		memcpy(ret_dst, input->data, got);
	input->data += got;
	input->left -= got;
	return got;
}

static inline uint8_t fuzz_u8(struct fuzz_input *input)
{
	uint8_t value;

	fuzz_bytes(input, &value, sizeof(value));
	return value;
}

static inline uint16_t fuzz_u16(struct fuzz_input *input)
{
	uint8_t bytes[2];

	fuzz_bytes(input, bytes, sizeof(bytes));
	return (uint16_t)(bytes[0] | bytes[1] << 8);
}

static inline uint32_t fuzz_u32(struct fuzz_input *input)
{
	uint32_t low = fuzz_u16(input);

	return low | (uint32_t)fuzz_u16(input) << 16;
}

/* The rest of the input as a string; the caller frees it. */
static inline char *fuzz_string(struct fuzz_input *input)
{
	size_t len = input->left;
	char *string = malloc(len + 1);

	FUZZ_CHECK(string);
	fuzz_bytes(input, string, len);
	string[len] = '\0';
	return string;
}

#endif
