/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The slow paths of the locks: waiting, and finding out that an owner is dead. */
#include "hv/sim/memory/lock.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/macro.h"
#include "hv/sim/memory/proc.h"
#include "hv/sim/memory/slot.h"

#define SPINS 200 /* about as long as a small sendv holds a lock */

static _Atomic uint32_t *word_at(struct xen *xen, uint32_t guard)
{
	return &xen->seg->guards[guard].word;
}

static uint32_t word_load(struct xen *xen, uint32_t guard)
{
	return atomic_load_explicit(word_at(xen, guard), memory_order_relaxed);
}

static uint32_t n_taken_load(struct xen *xen, uint32_t guard)
{
	return atomic_load_explicit(&xen->seg->guards[guard].n_taken, memory_order_relaxed);
}

/* Whether the authority says that the owner is gone: it sees every death first. */
static bool slot_is_gone(struct xen *xen, uint32_t word)
{
	uint32_t slot = (word & LOCK_SLOT) - 1U;

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
	uint32_t slot = (word & LOCK_SLOT) - 1U;
	struct sim_slot *s;
	uint64_t start;

	if (slot_is_gone(xen, word))
		return true;
	s = &xen->seg->slots[slot];
	if (atomic_load(&s->pid) == getpid())
		return false;
	start = proc_start_time(atomic_load(&s->pid));
	return start == 0 || start != atomic_load(&s->start_time);
}

static void futex_wait_ms(_Atomic uint32_t *word, uint32_t expected, uint32_t ms)
{
	struct timespec timeout = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000L};

	(void)syscall(SYS_futex, word, FUTEX_WAIT, expected, &timeout, NULL, 0);
}

/* Of those that sleep for a domain's lock, the first takes it, and wakes the next. */
void lock_wake(struct xen *xen, uint32_t guard)
{
	int n = guard == SIM_GUARD_ALL ? INT_MAX : 1;

	(void)syscall(SYS_futex, word_at(xen, guard), FUTEX_WAKE, n, NULL, NULL, 0);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000U + (uint64_t)ts.tv_nsec / 1000000U;
}

/* How long one and the same holding of a lock has been in the way, to one that waits. */
struct lock_wait {
	uint32_t round_ms; /* of the last sleep */
	uint32_t guard, word, n_taken;
	uint64_t looked_ms;
	uint32_t waited_ms;
};

/*
 * An owner of the lock for all that waits for a domain's is not in the way itself: whoever has
 * that one is. But if nobody has, it is the owner for all, which does not take what is free.
 */
static uint32_t guard_in_the_way(struct xen *xen, uint32_t guard)
{
	uint32_t next;

	if (guard != SIM_GUARD_ALL && !(word_load(xen, guard) & LOCK_WITH_ALL))
		return guard;
	next = atomic_load_explicit(&xen->seg->waits_for, memory_order_relaxed);
	if (next > 0 && next < SIM_GUARDS && word_load(xen, next) &&
		!(word_load(xen, next) & LOCK_WITH_ALL))
		return next;
	return SIM_GUARD_ALL;
}

/*
 * Some owner is alive and holds its lock still. An owner that lets go and takes the lock again is
 * told by n_taken. A round counts for two at most: when this process did not run either, as in a
 * virtual machine that was stopped as a whole, that is not the owner's fault.
 */
static void wait_count(struct xen *xen, struct lock_wait *w, uint32_t guard)
{
	uint32_t before_ms = w->waited_ms, word, n_taken;
	uint64_t now = now_ms();

	guard = guard_in_the_way(xen, guard);
	n_taken = n_taken_load(xen, guard);
	word = word_load(xen, guard) & ~LOCK_SLEEPERS;
	if (!word || w->guard != guard || w->word != word || w->n_taken != n_taken) {
		*w = (struct lock_wait){.round_ms = w->round_ms,
			.guard = guard,
			.word = word,
			.n_taken = n_taken,
			.looked_ms = now};
		return;
	}
	w->waited_ms += min_u32((uint32_t)(now - w->looked_ms), 2 * LOCK_ROUND_MS);
	w->looked_ms = now;
	if (xen->ops && xen->ops->stuck)
		xen->ops->stuck(xen, (word & LOCK_SLOT) - 1U, before_ms, w->waited_ms);
}

void lock_owner_describe(struct xen *xen, uint32_t slot, char *ret_text, size_t size)
{
	int32_t pid = atomic_load(&slot_at(xen, slot)->pid);
	struct proc_stat process, tracer;
	char how[128];

	if (!proc_look(pid, &process))
		process = (struct proc_stat){.name = "?", .state = '?'};
	if (process.tracer && proc_look(process.tracer, &tracer))
		(void)snprintf(how, sizeof(how), "is stopped by process %d (%s)", process.tracer,
			tracer.name);
	else if (process.state == 'T')
		(void)snprintf(how, sizeof(how), "is stopped");
	else
		(void)snprintf(how, sizeof(how), "does not move (state %c)", process.state);
	(void)snprintf(ret_text, size, "process %d (%s) of domain %s %s inside the emulator's lock",
		pid, process.name, domain_at(xen, slot_domain(xen, slot))->name, how);
}

static bool lock_try(struct xen *xen, uint32_t guard, uint32_t mine)
{
	uint32_t free = 0;

	return atomic_compare_exchange_strong_explicit(
		word_at(xen, guard), &free, mine, memory_order_acquire, memory_order_relaxed);
}

static bool lock_spin(struct xen *xen, uint32_t guard, uint32_t mine)
{
	for (int i = 0; i < SPINS; i++) {
		if (word_load(xen, guard) == 0 && lock_try(xen, guard, mine))
			return true;
		cpu_relax();
	}
	return false;
}

/*
 * Sleeps until the lock looks another way than `word`. True: it does not, and its owner is dead,
 * which the authority has said, or /proc.
 */
static bool sleep_on(struct xen *xen, uint32_t guard, uint32_t word, struct lock_wait *wait)
{
	if (!(word & LOCK_SLEEPERS)) {
		if (!atomic_compare_exchange_strong(
			    word_at(xen, guard), &word, word | LOCK_SLEEPERS))
			return false;
		word |= LOCK_SLEEPERS;
	}
	if (!slot_is_gone(xen, word)) {
		wait->round_ms =
			wait->round_ms ? min_u32(2 * wait->round_ms, LOCK_ROUND_MS) : LOCK_FIRST_MS;
		futex_wait_ms(word_at(xen, guard), word, wait->round_ms);
		if (word_load(xen, guard) != word)
			return false;
	}
	if (lock_owner_is_dead(xen, word))
		return true;
	wait_count(xen, wait, guard);
	return false;
}

/*
 * Takes the lock, or returns the word of its dead owner. A process that has slept takes the lock
 * with the sleepers' bit set, since others may sleep: at worst one needless wake-up at the release.
 */
static uint32_t lock_take_slow(struct xen *xen, uint32_t guard, uint32_t mine)
{
	struct lock_wait wait = {0};

	if (lock_spin(xen, guard, mine))
		return 0;
	for (;;) {
		uint32_t word = word_load(xen, guard);

		if (word == 0) {
			if (lock_try(xen, guard, mine | LOCK_SLEEPERS))
				return 0;
		} else if (sleep_on(xen, guard, word, &wait)) {
			return word | LOCK_SLEEPERS;
		}
	}
}

bool lock_take_domain_slow(struct xen *xen, uint32_t guard)
{
	return lock_take_slow(xen, guard, xen->lock_word) == 0;
}

void lock_let_pass(struct xen *xen)
{
	uint32_t n_taken = n_taken_load(xen, SIM_GUARD_ALL), word;
	struct lock_wait wait = {0};

	for (int i = 0; i < SPINS; i++) {
		if (word_load(xen, SIM_GUARD_ALL) == 0)
			return;
		cpu_relax();
	}
	while ((word = word_load(xen, SIM_GUARD_ALL)) != 0 &&
		n_taken_load(xen, SIM_GUARD_ALL) == n_taken)
		if (sleep_on(xen, SIM_GUARD_ALL, word, &wait))
			return; /* its owner is dead; the domain's lock shows where it died */
}

/* Takes it from a dead owner, too: returns that one's word. */
static uint32_t take_or_take_over(struct xen *xen, uint32_t guard, uint32_t mine)
{
	uint32_t dead;

	if (__builtin_expect(lock_try(xen, guard, mine), 1))
		return 0;
	if (guard != SIM_GUARD_ALL)
		atomic_store_explicit(&xen->seg->waits_for, guard, memory_order_relaxed);
	do
		dead = lock_take_slow(xen, guard, mine);
	while (dead &&
		!atomic_compare_exchange_strong_explicit(word_at(xen, guard), &(uint32_t){dead},
			mine | LOCK_SLEEPERS, memory_order_acquire, memory_order_relaxed));
	/* Also a dead one's. */
	atomic_store_explicit(&xen->seg->waits_for, 0, memory_order_relaxed);
	return dead;
}

static void died_count(struct sim_recovered *recovered)
{
	atomic_fetch_add_explicit(&recovered->n_recovered, 1, memory_order_relaxed);
}

bool lock_take_all(struct xen *xen)
{
	struct sim_segment *seg = xen->seg;
	bool died = false;
	uint32_t dead, n;

	if (take_or_take_over(xen, SIM_GUARD_ALL, xen->lock_word)) {
		died_count(&seg->recovered_all);
		died = true;
	}
	lock_count(&seg->guards[SIM_GUARD_ALL]);
	n = atomic_load_explicit(&seg->n_domains, memory_order_relaxed);
	for (uint32_t i = 0; i < n; i++) {
		xen_step(xen);
		dead = take_or_take_over(xen, SIM_GUARD_DOMAIN(i), xen->lock_word | LOCK_WITH_ALL);
		if (!dead)
			continue;
		died = true;
		if (!(dead & LOCK_WITH_ALL))
			died_count(&seg->recovered_domain);
	}
	return died;
}

/* Of a domain that was added meanwhile (domain_create), nobody has the lock: that is harmless. */
void lock_release_all(struct xen *xen)
{
	uint32_t n = atomic_load_explicit(&xen->seg->n_domains, memory_order_relaxed);

	for (uint32_t i = n; i-- > 0;) {
		lock_release(xen, SIM_GUARD_DOMAIN(i));
		xen_step(xen);
	}
	lock_release(xen, SIM_GUARD_ALL);
}
