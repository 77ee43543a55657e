/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Walks scattered memory. The caller never asks for more than is left. */
#include <string.h>

#include "libmsg/private.h"

void cursor_init(struct iov_cursor *cursor, const struct iovec *iov, size_t n)
{
	*cursor = (struct iov_cursor){.iov = iov, .n = n};
}

void *cursor_next(struct iov_cursor *cursor, size_t len, size_t *ret_len)
{
	size_t left;
	void *piece;

	while (cursor->off == cursor->iov->iov_len && cursor->n > 1) {
		cursor->iov++;
		cursor->n--;
		cursor->off = 0;
	}
	left = cursor->iov->iov_len - cursor->off;
	piece = (uint8_t *)cursor->iov->iov_base + cursor->off;
	*ret_len = left < len ? left : len;
	cursor->off += *ret_len;
	return piece;
}

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
