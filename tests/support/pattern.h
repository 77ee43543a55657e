/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bytes that follow from a number, for tests that must know a message again. */
#ifndef TESTS_SUPPORT_PATTERN_H
#define TESTS_SUPPORT_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The i-th eight bytes (splitmix64). */
static inline uint64_t pattern_word(uint64_t seed, size_t i)
{
	uint64_t x = (seed + 1) * 0x9e3779b97f4a7c15U + i * 0xbf58476d1ce4e5b9U;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
	x = (x ^ x >> 27) * 0x94d049bb133111ebU;
	return x ^ x >> 31;
}

static inline void pattern_fill(void *data, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i += 8) {
		uint64_t word = pattern_word(seed, i / 8);

		memcpy((uint8_t *)data + i, &word, len - i < 8 ? len - i : 8);
	}
}

static inline bool pattern_is(const void *data, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i += 8) {
		uint64_t word = pattern_word(seed, i / 8);

		if (memcmp((const uint8_t *)data + i, &word, len - i < 8 ? len - i : 8) != 0)
			return false;
	}
	return true;
}

#endif
