/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Cancellation of threads (pthread_cancel) put off. A thread that is cancelled inside a library
 * leaves locks held, and what it was about to change half changed.
 */
#ifndef MSGD_BASE_CANCEL_H
#define MSGD_BASE_CANCEL_H

#include <pthread.h>

static inline int cancel_off(void)
{
	int before;

	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
	return before;
}

static inline void cancel_restore(const int *before)
{
	int ignored;

	(void)pthread_setcancelstate(*before, &ignored);
}

/* Declares that the calling thread is not cancelled until the scope ends. */
#define WITHOUT_CANCEL                                                                             \
	__attribute__((cleanup(cancel_restore), unused)) const int cancel_before_ = cancel_off()

#endif
