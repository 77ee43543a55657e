/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The slow paths of the lock: waiting, and finding out that its owner is dead. */
#include "hv/sim/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/macro.h"
#include "hv/sim/journal.h"

#define SPINS	      200 /* about as long as a small sendv holds the lock */
#define WAIT_ROUND_MS 50  /* then the owner is looked at */

/* Field 22 of /proc/PID/stat, or 0 if there is no such process, or it is a zombie. */
uint64_t process_start_time(int32_t pid)
{
	_cleanup_close_ int fd = -1;
	char path[32], text[512], *p;
	unsigned long long start = 0;
	char state = 0;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return 0;
	text[n] = 0;
	p = strrchr(text, ')'); /* the command's name may hold anything */
	if (!p)
		return 0;
	if (sscanf(p + 1,
		    " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d "
		    "%llu",
		    &state, &start) != 2)
		return 0;
	return state == 'Z' || state == 'X' || state == 'x' ? 0 : start;
}

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

/*
 * Whoever slept takes the lock with the sleepers' bit set, since there may be others: at worst one
 * needless wake-up at the release.
 */
enum lock_result lock_take_slow(struct xen *xen)
{
	_Atomic uint32_t *lock = &xen->seg->lock.word;
	uint32_t last = 0;
	uint64_t since = 0;

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
			futex_wait_ms(lock, word, WAIT_ROUND_MS);
			if (atomic_load_explicit(lock, memory_order_relaxed) != word)
				continue;
		}
		if (lock_owner_is_dead(xen, word)) {
			if (take_over(xen, word))
				return LOCK_OWNER_DIED;
			continue;
		}
		if (last != word) {
			last = word;
			since = now_ms();
		} else if (xen->ops && xen->ops->stuck) {
			xen->ops->stuck(xen, (word & 0xffffU) - 1U, (uint32_t)(now_ms() - since));
		}
	}
}
