/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The robust locks. A lock is a futex word that names its owner (slot and generation), so that a
 * process that waits can find out that the owner is dead. Only transaction.c takes locks. A lock
 * must never be held over anything that blocks.
 *
 * Each domain has a lock, and there is one lock for all. The owner of a domain's lock changes what
 * is marked "domain's" in segment.h, reads everything, and takes no other lock. To change anything
 * else a process takes the lock for all, then every domain's. So:
 *
 *  - Nobody deadlocks: only the owner of the lock for all waits while it holds a lock, and the
 *    owners that it waits for wait for nothing.
 *  - Only an owner of the lock for all takes over a dead owner's lock, on its way to all of them.
 *    It makes whole what the dead have left before anybody gets on. A process that finds a dead
 *    owner of a domain's lock takes the lock for all first (txn_begin_domain).
 *  - Of a domain's journal and the journal for all, one is empty: while the latter is not, its
 *    owner, or the process that recovers, holds every lock. Two domains' journals have nothing in
 *    common. So the order in which journals are recovered does not matter.
 *
 * tests/model/locks.pml has that model-checked.
 */
#ifndef MSGD_HV_SIM_MEMORY_LOCK_H
#define MSGD_HV_SIM_MEMORY_LOCK_H

#include "hv/sim/memory/xen.h"

#define LOCK_SLOT     0x7fffU	 /* slot + 1 */
#define LOCK_WITH_ALL (1U << 15) /* a domain's, and its owner has the lock for all as well */
#define LOCK_SLEEPERS (1U << 31) /* in between: the slot's generation */

/*
 * An owner that lives, but does not run, for it is stopped or in a debugger, stops everybody. The
 * others cannot pass it over: continued, it would go on writing where it was. So xen-sim names it
 * and then kills it, which the journal makes good (docs/decisions/0005). The others stand still for
 * LOCK_LIMIT_MS (or xen-sim's --stopped-limit) and half a second at most: the first of them tells
 * xen-sim, which believes nobody and waits for the lock itself.
 */
#define LOCK_FIRST_MS  2U    /* a sleep; then the owner is looked at, if it is alive: a dead */
#define LOCK_ROUND_MS  50U   /* one is found soon. Each sleep is twice the last, up to this */
#define LOCK_TELL_MS   150U  /* xen-sim is told. Seldom: preempted owners run again sooner */
#define LOCK_REPORT_MS 400U  /* xen-sim has waited, and names it: within a second in all */
#define LOCK_LIMIT_MS  3000U /* and kills it: a breakpoint hit by mistake can be left in time */

/* The word that a slot writes. */
static inline uint32_t lock_word_of(uint32_t slot, uint32_t generation)
{
	return (slot + 1U) | (generation & 0x7fffU) << 16;
}

/* "process 12 (name) of domain web is stopped inside the emulator's lock" */
void lock_owner_describe(struct xen *xen, uint32_t slot, char *ret_text, size_t size);

/* True if the process of the slot in that word is dead, or its slot was given to another one. */
bool lock_owner_is_dead(struct xen *xen, uint32_t word);

bool lock_take_domain_slow(struct xen *xen, uint32_t guard);
/* Waits until the lock for all is free, or is another holding. */
void lock_let_pass(struct xen *xen);
void lock_wake(struct xen *xen, uint32_t guard);

/* The owner tells this holding of the lock from its last, which had the same word. */
static inline void lock_count(struct sim_guard *g)
{
	uint32_t n = atomic_load_explicit(&g->n_taken, memory_order_relaxed);

	atomic_store_explicit(&g->n_taken, n + 1, memory_order_relaxed);
}

/*
 * False: a dead owner has the lock; the caller recovers and tries again. A process need not let the
 * owner of the lock for all pass. But with many processes on few CPUs, preempted processes may hold
 * the locks that this owner waits for, and would hold them again when its turn comes.
 */
static inline bool lock_take_domain(struct xen *xen, uint32_t guard)
{
	struct sim_guard *g = &xen->seg->guards[guard];
	uint32_t word = 0;

	if (__builtin_expect(atomic_load_explicit(&xen->seg->guards[SIM_GUARD_ALL].word,
				     memory_order_relaxed) != 0,
		    0))
		lock_let_pass(xen);
	if (__builtin_expect(!atomic_compare_exchange_strong_explicit(&g->word, &word,
				     xen->lock_word, memory_order_acquire, memory_order_relaxed),
		    0) &&
		!lock_take_domain_slow(xen, guard))
		return false;
	lock_count(g);
	return true;
}

static inline void lock_release(struct xen *xen, uint32_t guard)
{
	if (__builtin_expect(atomic_exchange_explicit(
				     &xen->seg->guards[guard].word, 0, memory_order_release) &
				     LOCK_SLEEPERS,
		    0))
		lock_wake(xen, guard);
}

/* True: somebody died in one of them; the state is to be recovered first. */
bool lock_take_all(struct xen *xen);
void lock_release_all(struct xen *xen);

#endif
