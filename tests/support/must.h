/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * must(condition): an assertion for every thread and process of a test, where cmocka's assertions
 * are for the first thread alone. On failure it tells where, the condition and errno, and ends the
 * program.
 */
#ifndef TESTS_SUPPORT_MUST_H
#define TESTS_SUPPORT_MUST_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Called before the program ends, to tell more and to clean up; NULL: nothing is. */
__attribute__((weak)) void (*must_last_words)(void);

static inline _Noreturn __attribute__((unused)) void must_die(
	const char *file, int line, const char *what)
{
	int error = errno;

	(void)fprintf(stderr, "%s:%d: not true: %s\n\t(errno %s)\n", file, line, what,
		error ? strerrorname_np(error) : "0");
	if (must_last_words)
		must_last_words();
	abort();
}

#define must(condition)                                                                            \
	do {                                                                                       \
		if (!(condition))                                                                  \
			must_die(__FILE__, __LINE__, #condition);                                  \
	} while (0)

#endif
