/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The robust lock: a futex word that names its owner (slot and generation), so that whoever waits
 * can find out that the owner is dead and take the lock over. One for the whole segment now;
 * nothing but journal.c takes it, so that it can be split there. Must never be held over anything
 * that blocks.
 */
#ifndef MSGD_HV_SIM_LOCK_H
#define MSGD_HV_SIM_LOCK_H

#include "hv/sim/xen.h"

enum lock_result {
	LOCK_TAKEN = 0,
	LOCK_OWNER_DIED, /* taken, and the state is to be recovered first */
};

#define LOCK_SLEEPERS (1U << 31)

/*
 * An owner that lives, but does not run, for it is stopped or in a debugger, stops everybody. It
 * cannot be passed over: it would go on writing where it was. So it is named, and then killed,
 * which the journal makes good (docs/decisions/0005). The longest that the others stand still is
 * LOCK_LIMIT_MS (or xen-sim's --stopped-limit) and half a second, since the first of them tells
 * xen-sim, and that waits for itself, not to believe anybody:
 */
#define LOCK_ROUND_MS  50U   /* a sleep; then the owner is looked at, if it is alive */
#define LOCK_TELL_MS   150U  /* xen-sim is told. Seldom: preempted owners run again sooner */
#define LOCK_REPORT_MS 400U  /* xen-sim has waited, and names it: within a second in all */
#define LOCK_LIMIT_MS  3000U /* and kills it: a breakpoint hit by mistake can be left in time */

/* What a slot writes into the word. */
static inline uint32_t lock_word_of(uint32_t slot, uint32_t generation)
{
	return (slot + 1U) | (generation & 0x7fffU) << 16;
}

enum lock_result lock_take_slow(struct xen *xen);
void lock_wake(struct xen *xen);

/* The owner says that it is another holding of the lock, though the word is the same. */
static inline void lock_count(struct xen *xen)
{
	_Atomic uint32_t *n = &xen->seg->lock.n_taken;

	atomic_store_explicit(
		n, atomic_load_explicit(n, memory_order_relaxed) + 1, memory_order_relaxed);
}

static inline enum lock_result lock_take(struct xen *xen)
{
	enum lock_result result = LOCK_TAKEN;
	uint32_t free = 0;

	if (__builtin_expect(!atomic_compare_exchange_strong_explicit(&xen->seg->lock.word, &free,
				     xen->lock_word, memory_order_acquire, memory_order_relaxed),
		    0))
		result = lock_take_slow(xen);
	lock_count(xen);
	return result;
}

static inline void lock_release(struct xen *xen)
{
	if (__builtin_expect(
		    atomic_exchange_explicit(&xen->seg->lock.word, 0, memory_order_release) &
			    LOCK_SLEEPERS,
		    0))
		lock_wake(xen);
}

#endif
