/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef TESTS_SUPPORT_NUMBER_H
#define TESTS_SUPPORT_NUMBER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* An option's value. Ends the program where it is no number. */
static inline uint64_t number(const char *text)
{
	char *end;
	uint64_t n = strtoull(text, &end, 0);

	if (end == text || *end) {
		(void)fprintf(stderr, "not a number: %s\n", text);
		exit(2);
	}
	return n;
}

#endif
