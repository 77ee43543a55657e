/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Walks scattered memory. The caller never asks for more than is left. */
#include <string.h>

#include "libmsg/private.h"

void cursor_read(struct iov_cursor *cursor, void *dst, size_t len)
{
	while (len) {
		size_t n;
		const void *piece = cursor_next(cursor, len, &n);

		memcpy(dst, piece, n);
		dst = (uint8_t *)dst + n;
		len -= n;
	}
}

void cursor_write(struct iov_cursor *cursor, const void *src, size_t len)
{
	while (len) {
		size_t n;
		void *piece = cursor_next(cursor, len, &n);

		memcpy(piece, src, n);
		src = (const uint8_t *)src + n;
		len -= n;
	}
}
