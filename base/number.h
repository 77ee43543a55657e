/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers as text. */
#ifndef MSGD_BASE_NUMBER_H
#define MSGD_BASE_NUMBER_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

/* Decimal digits and nothing else. False: text is something else, or over max. */
static inline bool number_from_text(const char *text, uint32_t max, uint32_t *ret_number)
{
	unsigned long long number;
	char *end;

	errno = 0;
	number = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || number > max)
		return false;
	*ret_number = (uint32_t)number;
	return true;
}

#endif
