/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers as text, and sums of numbers that others say. */
#ifndef MSGD_BASE_NUMBER_H
#define MSGD_BASE_NUMBER_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

/* Decimal digits and nothing else. False: text is something else, or over max. */
static inline bool number64_from_text(const char *text, uint64_t max, uint64_t *ret_number)
{
	unsigned long long number;
	char *end;

	errno = 0;
	number = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || number > max)
		return false;
	*ret_number = number;
	return true;
}

static inline bool number_from_text(const char *text, uint32_t max, uint32_t *ret_number)
{
	uint64_t number;

	if (!number64_from_text(text, max, &number))
		return false;
	*ret_number = (uint32_t)number;
	return true;
}

/* The most that a count is. JSON's readers have signed numbers. */
#define COUNT_MAX ((uint64_t)INT64_MAX)

/* Counts are what others say: their sum stops at the most, and never goes back. */
static inline uint64_t count_sum(uint64_t a, uint64_t b)
{
	return a >= COUNT_MAX || b >= COUNT_MAX - a ? COUNT_MAX : a + b;
}

#endif
