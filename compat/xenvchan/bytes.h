/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bytes that wait, first in, first out, up to a limit. Memory is taken as they come. */
#ifndef COMPAT_XENVCHAN_BYTES_H
#define COMPAT_XENVCHAN_BYTES_H

#include <stddef.h>

struct bytes {
	char *data; /* owned */
	size_t size, start, len;
	size_t limit; /* a program may count on it; bytes_space does not look at it */
};

static inline size_t bytes_room(const struct bytes *bytes)
{
	return bytes->len < bytes->limit ? bytes->limit - bytes->len : 0;
}

/* Memory for len more bytes, of which bytes_added then tells. NULL: out of memory. */
void *bytes_space(struct bytes *bytes, size_t len);
void bytes_added(struct bytes *bytes, size_t len);
/* The bytes->len bytes, of which bytes_drop takes len away. */
const void *bytes_first(const struct bytes *bytes);
void bytes_drop(struct bytes *bytes, size_t len);
/* Drops all, and frees the memory. */
void bytes_clear(struct bytes *bytes);

#endif
