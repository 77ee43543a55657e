/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Makes one allocation fail, so that a test can try every one of a call:
 *
 *	for (unsigned n = 1;; n++) {
 *		... prepare ...
 *		failing_malloc_set(n);
 *		... the call ...
 *		hit = failing_malloc_end();
 *		... an error, nothing leaked, all still usable ...
 *		if (!hit)
 *			break;
 *	}
 *
 * The wrappers stand in for malloc and its relatives in the objects and static libraries of a
 * program that links failing_malloc_dep; shared libraries keep their own. Each thread counts for
 * itself.
 */
#ifndef TESTS_SUPPORT_FAILING_MALLOC_H
#define TESTS_SUPPORT_FAILING_MALLOC_H

#include <stdbool.h>

/* The n-th allocation of this thread from now on fails, once; 0: none fails. */
void failing_malloc_set(unsigned n);
/* No allocation fails any more. True: one has failed since failing_malloc_set. */
bool failing_malloc_end(void);

#endif
