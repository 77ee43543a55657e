/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The handful of arithmetic and pointer idioms that every part uses. */
#ifndef MSGD_BASE_MACRO_H
#define MSGD_BASE_MACRO_H

#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* For sets of an enum's values, as in tables of legal moves. */
#define ENUM_BIT(n) (1U << (n))

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static inline uint32_t max_u32(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

/* Rounds up to a multiple of 16, the slot of Argo rings and of link frames. The caller bounds n. */
static inline uint32_t round_up16(uint32_t n)
{
	return (n + 15U) & ~15U;
}

/* A pause between two looks at memory that another CPU writes. */
static inline void cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#endif
