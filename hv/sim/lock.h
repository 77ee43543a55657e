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

/* What a slot writes into the word. */
static inline uint32_t lock_word_of(uint32_t slot, uint32_t generation)
{
	return (slot + 1U) | (generation & 0x7fffU) << 16;
}

enum lock_result lock_take_slow(struct xen *xen);
void lock_wake(struct xen *xen);

static inline enum lock_result lock_take(struct xen *xen)
{
	uint32_t free = 0;

	if (__builtin_expect(atomic_compare_exchange_strong_explicit(&xen->seg->lock.word, &free,
				     xen->lock_word, memory_order_acquire, memory_order_relaxed),
		    1))
		return LOCK_TAKEN;
	return lock_take_slow(xen);
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
