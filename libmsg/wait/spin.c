/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Spinning before sleeping: a thread looks at one word of memory for about as long as falling
 * asleep and being woken would take. It does so without the lock; driver->spinning keeps the memory
 * of links that end meanwhile.
 */
#include <stdatomic.h>

#include "libmsg/wait/driver.h"

/*
 * A spin lasts about as long as recent sleeps did. Falling asleep and being woken costs ten times
 * as much on one machine as on another, and a thread that spins for that long loses no more than it
 * would have by sleeping at once. This is the bound.
 */
#define SPIN_MAX_NS 500000U
/* Where the score starts and ends; below 0, only every SPIN_PROBE-th wait spins. */
#define SPIN_SCORE_MAX 8
#define SPIN_PROBE     32
/*
 * The clock is looked at once in a microsecond or so. If two looks are so far apart, this thread
 * did not run: somebody else needs its CPU, and spinning takes it from others - from the very peer
 * that it waits for, or from those that wait for the same. Then no spin begins for a while, twice
 * as long each time if it was so again soon after the last while.
 */
#define SPIN_AWAY_NS	  100000U
#define SPIN_PAUSE_MIN_NS 100000000U
#define SPIN_PAUSE_MAX_NS 800000000U

/*
 * An answer is never worth spinning for on the CPU that the peer needs to answer. Where physical
 * CPUs are known, that is the one that the peer ran on last. Where they are not, a peer in this
 * domain may need its only CPU; one in another domain has its own, for all that is known.
 */
bool driver_may_spin(struct driver *driver, const struct focus *focus)
{
	struct link *link = focus->link;
	struct hv *hv = driver->hv;
	uint32_t peer_cpu;
	int cpu;

	if (!link || driver->spin_us == 0 || !link_is_up(link) || link->state == LINK_SYNCING)
		return false;
	cpu = hv->ops->cpu(hv);
	peer_cpu = link->transport->ops->exchange_cpu(link->transport, (uint32_t)(cpu + 1));
	if (driver->n_cpus < 2 && (cpu >= 0 || link->transport->peer_domid == hv->ops->domid(hv)))
		return false;
	return cpu < 0 || peer_cpu != (uint32_t)cpu + 1;
}

/* How long; 0: not at all. Only recent success justifies it, and a CPU that nobody else needs. */
static uint64_t spin_time(struct driver *driver, uint64_t now_ns)
{
	if (driver->spin_us > 0)
		return (uint64_t)driver->spin_us * 1000U;
	if (now_ns < driver->spin_from_ns)
		return 0;
	if (driver->spin_score >= 0)
		return driver->spin_ns;
	if (--driver->spin_score > -SPIN_PROBE)
		return 0;
	driver->spin_score = -1;
	return driver->spin_ns;
}

static void spin_done(struct driver *driver, bool found)
{
	if (found && driver->spin_score < SPIN_SCORE_MAX)
		driver->spin_score++;
	else if (!found)
		driver->spin_score--;
}

/* A moving average over the last eight, about. */
void driver_slept(struct driver *driver, uint64_t ns)
{
	driver->spin_ns = (7 * driver->spin_ns + (uint32_t)min_u64(ns, SPIN_MAX_NS)) / 8;
}

/* Looks at the clock; see SPIN_AWAY_NS. */
static uint64_t spin_now(struct driver *driver, uint64_t before_ns)
{
	uint64_t now_ns = driver->hv->ops->now_ns(driver->hv);
	bool again = now_ns < driver->spin_from_ns + driver->spin_pause_ns;

	if (now_ns - before_ns >= SPIN_AWAY_NS) {
		driver->spin_pause_ns =
			again ? min_u32(2 * driver->spin_pause_ns, SPIN_PAUSE_MAX_NS)
			      : SPIN_PAUSE_MIN_NS;
		driver->spin_from_ns = now_ns + driver->spin_pause_ns;
	}
	return now_ns;
}

/*
 * Whether the word changed in time. If it changed later, this thread was not running meanwhile, and
 * the peer perhaps ran on the CPU that this thread wanted.
 */
static bool spin_on(struct driver *driver, const _Atomic uint32_t *word, uint32_t seen,
	uint64_t now_ns, uint64_t until_ns)
{
	bool first = true;

	do {
		for (int i = 0; i < 64; i++) {
			if (atomic_load_explicit(word, memory_order_acquire) != seen)
				return first || spin_now(driver, now_ns) < until_ns;
			cpu_relax();
		}
		first = false;
		now_ns = spin_now(driver, now_ns);
	} while (now_ns < until_ns);
	return false;
}

bool driver_spin(
	struct driver *driver, const struct focus *focus, uint64_t now_ns, uint64_t deadline_ns)
{
	struct transport *transport = focus->link->transport;
	const _Atomic uint32_t *word;
	uint64_t until_ns = spin_time(driver, now_ns);
	uint32_t seen, seq;
	bool found;

	if (!until_ns)
		return false;
	if (focus->want) {
		word = transport->ops->watch_room(transport, &seen);
		if (!word)
			return false;
		if (transport->ops->room(transport, focus->want) >= (int64_t)focus->want)
			return true;
	} else {
		word = transport->ops->watch(transport, &seen);
	}
	until_ns = min_u64(now_ns + until_ns, deadline_ns);
	driver->spinning = true;
	seq = driver_unlock_to_wait(driver);
	found = spin_on(driver, word, seen, now_ns, until_ns);
	driver_lock(driver);
	driver->spinning = false;
	/* Another thread may have taken in what this one spins for, and found nobody asleep. */
	found = found || atomic_load(&driver->wait_seq) != seq;
	spin_done(driver, found);
	/* Links that ended meanwhile can be freed now. */
	driver->pool->marked |= !TAILQ_EMPTY(&driver->links->grave);
	return found;
}
