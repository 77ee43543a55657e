/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How threads wait. One waiting thread, the driver, spins or sleeps in poll and does all that
 * arrives; the others sleep on a futex word that is bumped whenever the driver, or anybody else,
 * changed something that a waiter may want. No thread is ever started.
 *
 * No wake-up is lost. Every waiter looks at its condition, reads wait_seq and says that it waits
 * (n_waiting, spinning) under the lock. A thread that changes a condition does so under the lock
 * and sets pool->wake. Dropping the lock with wake set, while somebody waits, bumps wait_seq before
 * it wakes, so that a waiter that has not slept yet finds another value. The driver is woken
 * through kick_fd, which stays readable until the driver has read it.
 *
 * The lock is not fair: a thread that drops it and takes it again is faster than one that is woken
 * for it. That is cheap where calls are short. After a step of taking frames in (LINK_STEP), a
 * thread that waits for the lock is let in: whoever drops the lock then waits on `entered`. No
 * wake-up is lost there, either: n_entering is counted down under the lock alone, so one that is
 * counted, as seen under the lock, gets the lock after letting_in was set, and then bumps
 * `entered`, whose former value was read under the lock.
 *
 * No thread is cancelled in here, nor in a pass: it would leave `driving` set, or the lock held.
 * The rest of a call has no cancellation point.
 */
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <time.h>

#include "base/cancel.h"
#include "base/cleanup.h"
#include "libmsg/wait/driver.h"

/* For so long, and for a step, a thread that finds what it spins for looks at that link alone. */
#define LOOK_NS 1000000U

int driver_init(struct driver *driver, struct control *control, bool one_thread)
{
	*driver = (struct driver){.hv = control->hv,
		.pool = control->pool,
		.links = control->links,
		.socks = control->socks,
		.control = control,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.one_thread = one_thread,
		.spin_us = -1,
		.n_cpus = get_nprocs()};
	loops_init(driver);
	driver->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (driver->kick_fd < 0)
		return -errno;
	return 0;
}

void driver_fini(struct driver *driver)
{
	close_p(&driver->kick_fd);
	loops_fini(driver);
	(void)pthread_mutex_destroy(&driver->lock);
}

uint64_t driver_deadline(struct driver *driver, int64_t timeout_ms)
{
	if (timeout_ms < 0)
		return DEADLINE_NEVER;
	if (timeout_ms == 0)
		return DEADLINE_NOW;
	return driver->hv->ops->now_ns(driver->hv) + (uint64_t)timeout_ms * 1000000U;
}

static int futex(_Atomic uint32_t *word, int op, uint32_t value, const struct timespec *timeout,
	uint32_t bits)
{
	return (int)syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, timeout, NULL, bits);
}

/* The time from now until then; NULL: for ever. */
static struct timespec *time_until(
	struct driver *driver, uint64_t deadline_ns, struct timespec *buffer)
{
	uint64_t now, ns;

	if (deadline_ns == DEADLINE_NEVER)
		return NULL;
	now = driver->hv->ops->now_ns(driver->hv);
	ns = deadline_ns > now ? deadline_ns - now : 0;
	buffer->tv_sec = (time_t)(ns / 1000000000U);
	buffer->tv_nsec = (long)(ns % 1000000000U);
	return buffer;
}

/* ---- the lock --------------------------------------------------------------------------- */

/*
 * Returns the value of wait_seq with which the lock was dropped. was_asleep: the driver slept
 * before; a driver that falls asleep now needs no waking for what it changed itself.
 */
static uint32_t unlock(struct driver *driver, bool was_asleep)
{
	struct pool *pool = driver->pool;
	uint32_t bits = pool->wake ? FUTEX_BITSET_MATCH_ANY : pool->wake_senders;
	bool hand_over = driver->hand_over && driver->n_waiting;
	bool wake_waiters = bits && driver->n_waiting;
	bool wake_driver = was_asleep && (pool->wake || (bits & driver->bits));
	uint32_t seq = atomic_load_explicit(&driver->wait_seq, memory_order_relaxed);

	/* Only under the lock: this need not be one atomic operation. */
	if (wake_waiters || hand_over || (driver->spinning && (pool->wake || bits & driver->bits)))
		atomic_store_explicit(&driver->wait_seq, ++seq, memory_order_release);
	pool->wake = driver->hand_over = false;
	pool->wake_senders = 0;
	if (!driver->one_thread)
		(void)pthread_mutex_unlock(&driver->lock);
	if (wake_waiters)
		(void)futex(&driver->wait_seq, FUTEX_WAKE_BITSET, INT32_MAX, NULL, bits);
	if (hand_over)
		(void)futex(&driver->wait_seq, FUTEX_WAKE, 1, NULL, 0);
	if (wake_driver)
		(void)eventfd_write(driver->kick_fd, 1);
	return seq;
}

void driver_lock_slowly(struct driver *driver)
{
	(void)atomic_fetch_add(&driver->n_entering, 1);
	(void)pthread_mutex_lock(&driver->lock);
	(void)atomic_fetch_sub(&driver->n_entering, 1);
	driver->spent = 0;
	if (!driver->letting_in)
		return;
	driver->letting_in = false;
	(void)atomic_fetch_add(&driver->entered, 1);
	(void)futex(&driver->entered, FUTEX_WAKE, INT32_MAX, NULL, 0);
}

/* Drops the lock. After so much work one that waits for it gets it before this returns. */
static void unlock_fairly(struct driver *driver, int32_t spent)
{
	uint32_t seq = atomic_load(&driver->entered);
	bool let_in = driver->spent >= spent && atomic_load(&driver->n_entering);

	if (driver->spent >= spent)
		driver->spent = 0;
	driver->letting_in |= let_in;
	(void)unlock(driver, driver->asleep);
	while (let_in && atomic_load(&driver->entered) == seq)
		(void)futex(&driver->entered, FUTEX_WAIT, seq, NULL, 0);
}

/* The same, for a thread that goes on. True: anything may have changed. */
static bool let_others_in(struct driver *driver)
{
	if (!driver_is_overdue(driver))
		return false;
	unlock_fairly(driver, LINK_STEP);
	driver_lock(driver);
	return true;
}

uint32_t driver_unlock_to_wait(struct driver *driver)
{
	return unlock(driver, driver->asleep);
}

void driver_unlock_slowly(struct driver *driver)
{
	WITHOUT_CANCEL;

	if (driver->pool->marked)
		driver_pass(driver);
	unlock_fairly(driver, LINK_TURN);
}

/* ---- waiting ---------------------------------------------------------------------------- */

/* FUTEX_WAIT_BITSET takes a time, where others take a duration. */
static void time_from_now(struct timespec *timeout)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	timeout->tv_sec += now.tv_sec;
	timeout->tv_nsec += now.tv_nsec;
	if (timeout->tv_nsec >= 1000000000) {
		timeout->tv_nsec -= 1000000000;
		timeout->tv_sec++;
	}
}

/* Waits for the driver, or for anybody's change. bits: of a sender; see pool->wake_senders. */
static int wait_for_driver(struct driver *driver, uint32_t bits, uint64_t deadline_ns)
{
	struct timespec buffer, *timeout = time_until(driver, deadline_ns, &buffer);
	uint32_t seq;
	int r, error;

	if (timeout)
		time_from_now(timeout);
	driver->n_waiting++;
	seq = driver_unlock_to_wait(driver);
	r = futex(&driver->wait_seq, FUTEX_WAIT_BITSET, seq, timeout, bits ? bits : 1U << 31);
	error = errno;
	driver_lock(driver);
	driver->n_waiting--;
	return r < 0 && error == EINTR ? -EINTR : 0;
}

static int sleep_in_poll(struct driver *driver, uint64_t deadline_ns)
{
	struct pollfd fds[2] = {{.fd = driver->hv->ops->fd(driver->hv), .events = POLLIN},
		{.fd = driver->kick_fd, .events = POLLIN}};
	uint64_t until = min_u64(driver_retry_time(driver), deadline_ns);
	struct timespec buffer, *timeout = time_until(driver, until, &buffer);
	int r, error;

	driver->asleep = true;
	(void)unlock(driver, false);
	r = ppoll(fds, 2, timeout, NULL);
	error = errno;
	driver_lock(driver);
	driver->asleep = false;
	if (r < 0)
		return -error;
	if (fds[1].revents) {
		eventfd_t count;

		(void)eventfd_read(driver->kick_fd, &count);
	}
	return 0;
}

/* The driver's turn. */
static int drive_turn(struct driver *driver, const struct focus *focus, uint64_t deadline_ns)
{
	struct hv *hv = driver->hv;
	bool may = driver_may_spin(driver, focus);
	uint64_t began = may ? hv->ops->now_ns(hv) : 0;
	int r = 0;

	driver->pool->round++;

	if (may && driver_spin(driver, focus, began, deadline_ns)) {
		if (began - driver->looked_ns < LOOK_NS && driver->unlooked < LINK_STEP) {
			driver_take(driver, focus->link, focus->channel);
			return 0;
		}
	} else if (focus->want && link_want_room(focus->link, focus->want)) {
		return 0;
	} else if (!driver_arm(driver)) {
		r = sleep_in_poll(driver, deadline_ns);
		if (may)
			driver_slept(driver, hv->ops->now_ns(hv) - began);
	}
	driver->looked_ns = began;
	driver_drive(driver, focus);
	return r;
}

static int wait_turn(struct driver *driver, const struct focus *focus, uint64_t deadline_ns)
{
	int r;

	if (driver->driving) {
		if (focus->want && link_want_room(focus->link, focus->want))
			return 0;
		r = wait_for_driver(driver, focus->bits, deadline_ns);
	} else {
		driver->driving = true;
		driver->bits = focus->bits;
		r = drive_turn(driver, focus, deadline_ns);
		driver->driving = false;
	}
	if (r == 0 && deadline_ns != DEADLINE_NEVER &&
		driver->hv->ops->now_ns(driver->hv) >= deadline_ns)
		r = -ETIMEDOUT;
	return r;
}

/*
 * Before each look, and after it, others are let in: one step for each time. Others may wait for
 * links of which events tell.
 */
static bool is_over_again(
	struct driver *driver, wait_over_fn *over, void *arg, struct focus *ret_focus)
{
	(void)let_others_in(driver);
	if (driver->n_waiting && driver->unlooked >= LINK_STEP)
		return wait_is_over(driver, over, arg, ret_focus);
	if (wait_is_over_now(driver, over, arg, ret_focus))
		return true;
	return let_others_in(driver) && wait_is_over(driver, over, arg, ret_focus);
}

int driver_wait_on(struct driver *driver, wait_over_fn *over, void *arg, uint64_t deadline_ns)
{
	WITHOUT_CANCEL;
	struct focus focus;
	int r = 0;

	if (deadline_ns == DEADLINE_NOW) {
		driver_look(driver);
		return wait_is_over(driver, over, arg, &focus) ? 0 : -ETIMEDOUT;
	}
	if (wait_is_over(driver, over, arg, &focus))
		return 0;
	do {
		r = wait_turn(driver, &focus, deadline_ns);
		if (is_over_again(driver, over, arg, &focus)) {
			r = 0;
			break;
		}
	} while (r == 0);
	driver->hand_over = !driver->driving;
	if (driver->has_loop)
		driver_look(driver); /* msg_ctx_fd must tell of what is left and comes next */
	return r;
}
