/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The slow paths of the lock: waiting, and finding out that its owner is dead. */
#include "hv/sim/lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/macro.h"
#include "hv/sim/journal.h"
#include "hv/sim/process.h"

#define SPINS 200 /* about as long as a small sendv holds the lock */

/* What the authority says of the owner: it sees every death first. */
static bool slot_is_gone(struct xen *xen, uint32_t word)
{
	uint32_t slot = (word & 0xffffU) - 1U;

	return slot >= SIM_MAX_SLOTS || /* never written by us: nobody will release it */
	       (atomic_load(&xen->seg->slots[slot].generation) & 0x7fffU) !=
		       (word >> 16 & 0x7fffU) ||
	       atomic_load(&xen->seg->slots[slot].state) != SIM_SLOT_LIVE;
}

/*
 * A main thread that ended before its siblings is shown as a zombie as well: /proc cannot tell
 * that apart here, and a program that does so must not use the emulator (xen-sim(8)).
 */
bool lock_owner_is_dead(struct xen *xen, uint32_t word)
{
	uint32_t slot = (word & 0xffffU) - 1U;
	struct sim_slot *s;
	uint64_t start;

	if (slot_is_gone(xen, word))
		return true;
	s = &xen->seg->slots[slot];
	if (atomic_load(&s->pid) == getpid())
		return false;
	start = process_start_time(atomic_load(&s->pid));
	return start == 0 || start != atomic_load(&s->start_time);
}

static void futex_wait_ms(_Atomic uint32_t *word, uint32_t expected, uint32_t ms)
{
	struct timespec timeout = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000L};

	(void)syscall(SYS_futex, word, FUTEX_WAIT, expected, &timeout, NULL, 0);
}

void lock_wake(struct xen *xen)
{
	(void)syscall(SYS_futex, &xen->seg->lock.word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000U + (uint64_t)ts.tv_nsec / 1000000U;
}

/* Takes the lock from a dead owner. The sleepers' bit stays, for there may be some. */
static bool take_over(struct xen *xen, uint32_t word)
{
	return atomic_compare_exchange_strong_explicit(&xen->seg->lock.word, &word,
		xen->lock_word | LOCK_SLEEPERS, memory_order_acquire, memory_order_relaxed);
}

static bool lock_spin(struct xen *xen)
{
	for (int i = 0; i < SPINS; i++) {
		uint32_t word = atomic_load_explicit(&xen->seg->lock.word, memory_order_relaxed);

		if (word == 0 &&
			atomic_compare_exchange_weak_explicit(&xen->seg->lock.word, &word,
				xen->lock_word, memory_order_acquire, memory_order_relaxed))
			return true;
		cpu_relax();
	}
	return false;
}

/* How long one and the same holding of the lock has been waited for. */
struct wait {
	uint32_t word, n_taken;
	uint64_t looked_ms;
	uint32_t waited_ms;
};

/*
 * The owner is alive and holds the lock still. An owner that lets go and takes the lock again is
 * told by n_taken. A round counts for two at most: when this process did not run either, as in a
 * virtual machine that was stopped as a whole, that is not the owner's fault.
 */
static void wait_count(struct xen *xen, struct wait *w, uint32_t word)
{
	uint32_t n_taken = atomic_load_explicit(&xen->seg->lock.n_taken, memory_order_relaxed);
	uint32_t before_ms = w->waited_ms;
	uint64_t now = now_ms();

	if (w->word != word || w->n_taken != n_taken) {
		*w = (struct wait){.word = word, .n_taken = n_taken, .looked_ms = now};
		return;
	}
	w->waited_ms += min_u32((uint32_t)(now - w->looked_ms), 2 * LOCK_ROUND_MS);
	w->looked_ms = now;
	if (xen->ops && xen->ops->stuck)
		xen->ops->stuck(xen, (word & 0xffffU) - 1U, before_ms, w->waited_ms);
}

/*
 * Whoever slept takes the lock with the sleepers' bit set, since there may be others: at worst one
 * needless wake-up at the release.
 */
enum lock_result lock_take_slow(struct xen *xen)
{
	_Atomic uint32_t *lock = &xen->seg->lock.word;
	struct wait wait = {0};

	if (lock_spin(xen))
		return LOCK_TAKEN;
	for (;;) {
		uint32_t word = atomic_load_explicit(lock, memory_order_relaxed);

		if (word == 0) {
			if (atomic_compare_exchange_strong_explicit(lock, &word,
				    xen->lock_word | LOCK_SLEEPERS, memory_order_acquire,
				    memory_order_relaxed))
				return LOCK_TAKEN;
			continue;
		}
		if (!(word & LOCK_SLEEPERS)) {
			if (!atomic_compare_exchange_strong(lock, &word, word | LOCK_SLEEPERS))
				continue;
			word |= LOCK_SLEEPERS;
		}
		if (!slot_is_gone(xen, word)) {
			futex_wait_ms(lock, word, LOCK_ROUND_MS);
			if (atomic_load_explicit(lock, memory_order_relaxed) != word)
				continue;
		}
		if (lock_owner_is_dead(xen, word)) {
			if (take_over(xen, word))
				return LOCK_OWNER_DIED;
			continue;
		}
		wait_count(xen, &wait, word);
	}
}
