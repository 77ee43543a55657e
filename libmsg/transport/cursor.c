/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copies between scattered memory and contiguous memory. */
#include "libmsg/transport/cursor.h"

#include <string.h>

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
