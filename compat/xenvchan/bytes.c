/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A queue of bytes in one piece, so that one call sends or receives all of it. */
#include <stdlib.h>
#include <string.h>

#include "compat/xenvchan/bytes.h"

/* An empty queue keeps no more: a process may have thousands. */
#define KEPT_SIZE 4096U

void *bytes_space(struct bytes *bytes, size_t len)
{
	size_t need = bytes->len + len, size = bytes->size ? bytes->size : KEPT_SIZE;
	char *data;

	if (bytes->start + need <= bytes->size)
		return bytes->data + bytes->start + bytes->len;
	/* Moved only if that gains a half, so that each byte is moved a few times at most. */
	if (need <= bytes->size && bytes->start >= bytes->size / 2) {
		memmove(bytes->data, bytes->data + bytes->start, bytes->len);
		bytes->start = 0;
		return bytes->data + bytes->len;
	}
	while (size < bytes->start + need)
		size *= 2;
	data = realloc(bytes->data, size);
	if (!data)
		return NULL;
	bytes->data = data;
	bytes->size = size;
	return data + bytes->start + bytes->len;
}

void bytes_added(struct bytes *bytes, size_t len)
{
	bytes->len += len;
}

const void *bytes_first(const struct bytes *bytes)
{
	return bytes->data + bytes->start;
}

void bytes_drop(struct bytes *bytes, size_t len)
{
	bytes->start += len;
	bytes->len -= len;
	if (bytes->len)
		return;
	bytes->start = 0;
	if (bytes->size > KEPT_SIZE)
		bytes_clear(bytes);
}

void bytes_clear(struct bytes *bytes)
{
	free(bytes->data);
	bytes->data = NULL;
	bytes->size = bytes->start = bytes->len = 0;
}
