/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* UUIDs as text. */
#ifndef MSGD_BASE_UUID_H
#define MSGD_BASE_UUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 32 hexadecimal digits, with dashes anywhere. False: text is something else. */
static inline bool uuid_from_text(const char *text, uint8_t ret_uuid[16])
{
	static const char digits[] = "0123456789abcdefABCDEF";
	char hex[33] = "", byte[3] = "";
	size_t n = 0;

	for (; *text; text++) {
		if (*text == '-')
			continue;
		if (n == 32 || !strchr(digits, *text))
			return false;
		hex[n++] = *text;
	}
	for (size_t i = 0; n == 32 && i < 16; i++)
		ret_uuid[i] = (uint8_t)strtoul(memcpy(byte, hex + 2 * i, 2), NULL, 16);
	return n == 32;
}

static inline void uuid_to_text(const uint8_t uuid[16], char ret_text[37])
{
	char *p = ret_text;

	for (int i = 0; i < 16; i++)
		p += sprintf(
			p, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
}

#endif
