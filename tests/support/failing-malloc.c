/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See failing-malloc.h. meson.build names each wrapped function to the linker (--wrap). */
#include "tests/support/failing-malloc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local unsigned left; /* allocations until one fails; 0: none is to fail */
static _Thread_local bool failed;

void failing_malloc_set(unsigned n)
{
	left = n;
	failed = false;
}

bool failing_malloc_end(void)
{
	left = 0;
	return failed;
}

static bool fails(void)
{
	if (left == 0 || --left > 0)
		return false;
	failed = true;
	errno = ENOMEM;
	return true;
}

#define WRAP(type, name, parameters, arguments, failure)                                           \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		return fails() ? (failure) : __real_##name arguments;                              \
	}

WRAP(void *, malloc, (size_t size), (size), NULL)
WRAP(void *, calloc, (size_t n, size_t size), (n, size), NULL)
WRAP(void *, realloc, (void *old, size_t size), (old, size), NULL)
WRAP(void *, reallocarray, (void *old, size_t n, size_t size), (old, n, size), NULL)
WRAP(void *, aligned_alloc, (size_t alignment, size_t size), (alignment, size), NULL)
WRAP(int, posix_memalign, (void **ret, size_t alignment, size_t size), (ret, alignment, size),
	ENOMEM)
WRAP(char *, strdup, (const char *text), (text), NULL)
WRAP(char *, strndup, (const char *text, size_t n), (text, n), NULL)
WRAP(FILE *, fmemopen, (void *buffer, size_t size, const char *mode), (buffer, size, mode), NULL)
