/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * uthash in its mode in which a failed allocation is not the end of the program: HASH_ADD then
 * leaves the table as it was, and hash_added says so. Nothing else includes <uthash.h>.
 */
#ifndef MSGD_BASE_HASH_H
#define MSGD_BASE_HASH_H

#include <stdbool.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* After HASH_ADD: whether the element with this handle is in the table. False: out of memory. */
static inline bool hash_added(const UT_hash_handle *handle)
{
	return handle->tbl != NULL;
}

#endif
