/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A position in scattered memory, from which bytes are read, or to which they are written, piece by
 * piece. The caller never asks for more bytes than are left.
 *
 * Included by: libmsg/transport, tests.
 */
#ifndef LIBMSG_TRANSPORT_CURSOR_H
#define LIBMSG_TRANSPORT_CURSOR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct iov_cursor {
	const struct iovec *iov;
	size_t n;
	size_t off; /* in iov[0] */
};

static inline void cursor_init(struct iov_cursor *cursor, const struct iovec *iov, size_t n)
{
	cursor->iov = iov;
	cursor->n = n;
	cursor->off = 0;
}

/* The next len bytes, if they are contiguous; moves on. NULL: they are not, or there are none. */
static inline void *cursor_whole(struct iov_cursor *cursor, size_t len)
{
	size_t off = cursor->off;

	if (!len || cursor->iov->iov_len - off < len)
		return NULL;
	cursor->off = off + len;
	return (uint8_t *)cursor->iov->iov_base + off;
}

/* Copies len bytes to dst and moves on. */
void cursor_read(struct iov_cursor *cursor, void *dst, size_t len);
/* Copies len bytes from src and moves on. */
void cursor_write(struct iov_cursor *cursor, const void *src, size_t len);

/* The next piece, at most len bytes, contiguous; moves on. */
static inline void *cursor_next(struct iov_cursor *cursor, size_t len, size_t *ret_len)
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

#endif
