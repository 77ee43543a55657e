/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A clock's time as one number. */
#ifndef MSGD_BASE_CLOCK_H
#define MSGD_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_us(clockid_t clock)
{
	struct timespec now;

	(void)clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static inline uint64_t monotonic_us(void)
{
	return clock_us(CLOCK_MONOTONIC);
}

static inline uint64_t monotonic_ms(void)
{
	return monotonic_us() / 1000;
}

#endif
