/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The robust locks: each a futex word that names its owner (slot and generation), so that whoever
 * waits can find out that the owner is dead. Nothing but journal.c takes them. Must never be held
 * over anything that blocks.
 *
 * There is one for each domain, and one for all. Who has the lock of a domain changes what is
 * marked "domain's" in segment.h, reads whatever it likes, and takes no other lock. Who changes
 * anything else takes the lock for all, then that of every domain. So:
 *
 *  - nobody deadlocks: only the owner of the lock for all waits with a lock in its hands, and those
 *    that it waits for wait for nothing;
 *  - a dead owner's lock is taken over by an owner of the lock for all only, on its way to all of
 *    them, and nobody gets on before it has made whole what the dead have left. Whoever finds a
 *    dead owner of a domain's lock does that first (lock_take_domain);
 *  - of a domain's journal and the one for all, one is empty: as long as the latter is not, its
 *    owner, or whoever recovers, holds every lock. And two domains' journals have nothing in
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

/* "process 12 (name) of domain web is stopped inside the emulator's lock" */
void lock_owner_describe(struct xen *xen, uint32_t slot, char *ret_text, size_t size);

/* True if the process of the slot in that word is dead, or its slot was given to another one. */
bool lock_owner_is_dead(struct xen *xen, uint32_t word);

bool lock_take_domain_slow(struct xen *xen, uint32_t guard);
/* Waits until the lock for all is free, or is another holding. */
void lock_let_pass(struct xen *xen);
void lock_wake(struct xen *xen, uint32_t guard);

/* The owner says that it is another holding of the lock, though the word is the same. */
static inline void lock_count(struct sim_guard *g)
{
	uint32_t n = atomic_load_explicit(&g->n_taken, memory_order_relaxed);

	atomic_store_explicit(&g->n_taken, n + 1, memory_order_relaxed);
}

/*
 * Nobody needs to let the lock for all pass; but with many processes on few CPUs each of the locks
 * that its owner waits for may be held by one that is preempted, and would be again when its turn
 * comes.
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
