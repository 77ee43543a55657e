/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Scope-bound cleanup, so that every early return frees what it must. Nothing here allocates,
 * logs or fails.
 */
#ifndef MSGD_BASE_CLEANUP_H
#define MSGD_BASE_CLEANUP_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))

/* Defines fn##_p(T **), the cleanup function for a pointer that fn(T *) frees. */
#define DEFINE_CLEANUP(type, fn)                                                                   \
	static inline __attribute__((unused)) void fn##_p(type *p)                                 \
	{                                                                                          \
		if (*p)                                                                            \
			fn(*p);                                                                    \
	}

static inline void free_p(void *p)
{
	free(*(void **)p);
}

static inline void close_p(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

static inline void fclose_p(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

static inline void closedir_p(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

#define _cleanup_free_	   _cleanup_(free_p)
#define _cleanup_close_	   _cleanup_(close_p)
#define _cleanup_fclose_   _cleanup_(fclose_p)
#define _cleanup_closedir_ _cleanup_(closedir_p)

/* Hands the pointer out and disarms its cleanup. */
#define steal_ptr(p)                                                                               \
	({                                                                                         \
		__typeof__(p) _stolen = (p);                                                       \
		(p) = NULL;                                                                        \
		_stolen;                                                                           \
	})

static inline int steal_fd(int *fd)
{
	int stolen = *fd;

	*fd = -1;
	return stolen;
}

#endif
