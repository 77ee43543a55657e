/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How threads wait. One waiting thread, the driver, spins or sleeps in poll and does all that
 * arrives; the others sleep on a futex word that is bumped whenever the driver, or anybody else,
 * changed something that a waiter may want. No thread is ever started.
 *
 * No wake-up is lost: every waiter looks at its condition, reads wait_seq and says that it waits
 * (n_waiting, spinning) under the lock; whoever changes a condition does so under the lock and sets
 * ctx->kick; dropping the lock with kick set, while somebody waits, bumps wait_seq before it wakes,
 * so a waiter that has not slept yet finds another value.
 * The driver is woken through kick_fd, which stays readable until the driver has read it.
 */
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>

#include "libmsg/private.h"

/* Events taken from the hypervisor at once. */
#define EVENT_BATCH 64
/*
 * A spin lasts as long as recent sleeps did, about: what falling asleep and being woken costs
 * differs by a factor of ten between machines, and he who spins that long loses no more than he
 * would by sleeping at once. This bounds it.
 */
#define SPIN_MAX_NS 500000U
/* Where the score starts and ends; below 0, only every SPIN_PROBE-th wait spins. */
#define SPIN_SCORE_MAX 8
#define SPIN_PROBE     32

static int futex(_Atomic uint32_t *word, int op, uint32_t value, const struct timespec *timeout)
{
	return (int)syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, timeout, NULL, 0);
}

static void timespec_from_ns(struct timespec *ret_ts, uint64_t ns)
{
	ret_ts->tv_sec = (time_t)(ns / 1000000000U);
	ret_ts->tv_nsec = (long)(ns % 1000000000U);
}

/* falls_asleep: this thread is the driver. What it has changed itself is no reason to wake it. */
static void unlock(struct msg_ctx *ctx, bool falls_asleep)
{
	bool wake_waiters = ctx->kick && ctx->n_waiting;
	bool wake_driver = ctx->kick && ctx->driver_asleep;

	if (falls_asleep)
		ctx->driver_asleep = true;
	/* Only under the lock: this need not be one atomic operation. */
	if (wake_waiters || (ctx->kick && ctx->spinning))
		atomic_store_explicit(&ctx->wait_seq,
			atomic_load_explicit(&ctx->wait_seq, memory_order_relaxed) + 1,
			memory_order_release);
	ctx->kick = false;
	if (!ctx->one_thread)
		(void)pthread_mutex_unlock(&ctx->lock);
	if (wake_waiters)
		(void)futex(&ctx->wait_seq, FUTEX_WAKE, INT32_MAX, NULL);
	if (wake_driver)
		(void)eventfd_write(ctx->kick_fd, 1);
}

/* Within a call, around waiting: errno is of no interest. */
static void lock_again(struct msg_ctx *ctx)
{
	if (!ctx->one_thread)
		(void)pthread_mutex_lock(&ctx->lock);
}

void ctx_unlock_waking(struct msg_ctx *ctx)
{
	unlock(ctx, false);
}

/* Waits for the driver, or for anybody's change. */
static int wait_for_driver(struct msg_ctx *ctx, uint64_t deadline_ns)
{
	uint32_t seq = atomic_load(&ctx->wait_seq);
	struct timespec ts, *timeout = NULL;
	int r, error;

	if (deadline_ns != DEADLINE_NEVER) {
		uint64_t now = ctx->hv->ops->now_ns(ctx->hv);

		if (now >= deadline_ns)
			return -ETIMEDOUT;
		timespec_from_ns(&ts, deadline_ns - now);
		timeout = &ts;
	}
	ctx->n_waiting++;
	unlock(ctx, false);
	r = futex(&ctx->wait_seq, FUTEX_WAIT, seq, timeout);
	error = errno;
	lock_again(ctx);
	ctx->n_waiting--;
	return r < 0 && error == EINTR ? -EINTR : 0;
}

/*
 * Whether the answer is worth spinning for: never on the CPU that the peer needs to answer. Where
 * physical CPUs are known, that is the one that it ran on last. Where they are not, a peer in our
 * own domain may need our only CPU; one in another domain has its own, for all that we know.
 */
static bool spin_may(struct msg_ctx *ctx, struct link *link)
{
	struct hv *hv = ctx->hv;
	int cpu = hv->ops->cpu(hv);
	uint32_t peer_cpu;

	if (link->state != LINK_UP || link->sync || ctx->spin_us == 0)
		return false;
	if (link->page)
		atomic_store_explicit(&link->me->cpu, (uint32_t)(cpu + 1), memory_order_relaxed);
	if (ctx->n_cpus < 2 && (cpu >= 0 || link->peer_domid == hv->ops->domid(hv)))
		return false;
	if (!link->page)
		return true;
	peer_cpu = atomic_load_explicit(&link->them->cpu, memory_order_relaxed);
	return cpu < 0 || peer_cpu != (uint32_t)cpu + 1;
}

/* How long; 0: not at all. Only recent success justifies it. */
static uint64_t spin_time(struct msg_ctx *ctx)
{
	if (ctx->spin_us > 0)
		return (uint64_t)ctx->spin_us * 1000U;
	if (ctx->spin_score >= 0)
		return ctx->spin_ns;
	if (--ctx->spin_score > -SPIN_PROBE)
		return 0;
	ctx->spin_score = -1;
	return ctx->spin_ns;
}

static void spin_done(struct msg_ctx *ctx, bool found)
{
	if (found && ctx->spin_score < SPIN_SCORE_MAX)
		ctx->spin_score++;
	else if (!found)
		ctx->spin_score--;
}

/* A moving average over the last eight, about. */
static void sleep_done(struct msg_ctx *ctx, uint64_t ns)
{
	ctx->spin_ns = (7 * ctx->spin_ns + (uint32_t)min_u64(ns, SPIN_MAX_NS)) / 8;
}

/*
 * Whether the word changed in time. (After more time it may have: then this thread was not running,
 * and the peer perhaps on the CPU that it wanted.) Without the lock: ctx->spinning keeps the link
 * from its grave.
 */
static bool spin_on(
	struct msg_ctx *ctx, const _Atomic uint32_t *word, uint32_t seen, uint64_t until_ns)
{
	bool first = true;

	do {
		for (int i = 0; i < 64; i++) {
			if (atomic_load_explicit(word, memory_order_acquire) != seen)
				return first || ctx->hv->ops->now_ns(ctx->hv) < until_ns;
			cpu_relax();
		}
		first = false;
	} while (ctx->hv->ops->now_ns(ctx->hv) < until_ns);
	return false;
}

static bool drive_spin(struct msg_ctx *ctx, const struct hot *hot, uint64_t until_ns)
{
	const _Atomic uint32_t *word;
	uint32_t seen, seq;
	bool found;

	if (hot->want) {
		word = &hot->link->them->consumed;
		seen = atomic_load_explicit(word, memory_order_acquire);
		if (hot->link->ops->room(hot->link, hot->want) >= (int64_t)hot->want)
			return true;
	} else {
		word = hot->link->ops->watch(hot->link, &seen);
	}
	/* Another thread that does not wait may take in what we spin for, and find nobody asleep.
	 */
	seq = atomic_load(&ctx->wait_seq) + ctx->kick;
	ctx->spinning = true;
	unlock(ctx, false);
	found = spin_on(ctx, word, seen, until_ns);
	lock_again(ctx);
	ctx->spinning = false;
	found = found || atomic_load(&ctx->wait_seq) != seq;
	spin_done(ctx, found);
	return found;
}

static uint64_t link_retry_time(const struct link *link)
{
	if (link->state != LINK_UP || link->transport == TRANSPORT_GRANT || !link->argo.retry_ns)
		return DEADLINE_NEVER;
	return link->argo.retry_ns;
}

uint64_t ctx_retry_time(struct msg_ctx *ctx)
{
	uint64_t first = DEADLINE_NEVER;

	for (struct link *link = ctx->links; link; link = link->hh.next)
		first = min_u64(first, link_retry_time(link));
	return first;
}

static int drive_sleep(struct msg_ctx *ctx, uint64_t deadline_ns)
{
	struct pollfd fds[2] = {{.fd = ctx->hv->ops->fd(ctx->hv), .events = POLLIN},
		{.fd = ctx->kick_fd, .events = POLLIN}};
	uint64_t retry = ctx_retry_time(ctx), until = retry < deadline_ns ? retry : deadline_ns;
	struct timespec ts, *timeout = NULL;
	int r, error;

	if (until != DEADLINE_NEVER) {
		uint64_t now = ctx->hv->ops->now_ns(ctx->hv);

		timespec_from_ns(&ts, until > now ? until - now : 0);
		timeout = &ts;
	}
	unlock(ctx, true);
	r = ppoll(fds, 2, timeout, NULL);
	error = errno;
	lock_again(ctx);
	ctx->driver_asleep = false;
	if (r < 0)
		return error == EINTR ? -EINTR : -error;
	if (fds[1].revents) {
		eventfd_t count;

		(void)eventfd_read(ctx->kick_fd, &count);
	}
	return r == 0 && until == deadline_ns ? -ETIMEDOUT : 0;
}

/* A reader that has got its message comes back for the next one: it then needs no copy. */
static void take(struct link *link, const struct hot *hot)
{
	link_take(link, hot && hot->link == link ? hot->channel : NULL);
}

static void drive_port(struct msg_ctx *ctx, uint32_t port, const struct hot *hot)
{
	struct link *link;
	bool alive;

	if (port == ctx->control.port) {
		control_disarmed(ctx);
		control_take(ctx);
		return;
	}
	link = link_find_port(ctx, port);
	if (!link)
		return;
	link_set_armed(link, false);
	if (link->state != LINK_UP)
		return;
	/* Before: all that a dying peer had published is taken in. */
	alive = atomic_load_explicit(&link->them->alive, memory_order_acquire);
	take(link, alive ? hot : NULL);
	if (link->state == LINK_UP)
		link_flush(link);
	if (link->state == LINK_UP && !alive) {
		control_take(ctx); /* msgd may have said why */
		link_kill(link, true,
			ctx->control.quiesce ? ctx->control.reason : "the other process is gone");
	}
}

/* argo-strict: frames, or room, or both, for which ctx_drive looks at all that are not armed. */
static void drive_ring(struct msg_ctx *ctx, const struct hv_ring *ring)
{
	struct link *link = link_find_ring(ctx, ring);

	if (link)
		link_set_armed(link, false);
}

/*
 * Links that the hypervisor refused for lack of room, although the peer's counter claimed some:
 * what is blocked is tried again, and so does whoever waits in a send.
 */
static void retry_links(struct msg_ctx *ctx)
{
	uint64_t first = ctx_retry_time(ctx), now;
	struct link *link, *next;

	if (first == DEADLINE_NEVER)
		return;
	now = ctx->hv->ops->now_ns(ctx->hv);
	HASH_ITER (hh, ctx->links, link, next) {
		if (link_retry_time(link) > now)
			continue;
		link->argo.retry_ns = 0;
		link_flush(link);
	}
}

void ctx_drive(struct msg_ctx *ctx, const struct hot *hot)
{
	struct hv_event events[EVENT_BATCH];
	struct link *link, *next;
	int n;

	do {
		uint32_t ports[EVENT_BATCH];
		size_t n_ports = 0;

		n = ctx->hv->ops->poll_events(ctx->hv, events, EVENT_BATCH);
		for (int i = 0; i < n; i++) {
			if (events[i].type == HV_EVENT_PORT)
				ports[n_ports++] = events[i].port;
			else if (events[i].type == HV_EVENT_RING)
				drive_ring(ctx, events[i].ring);
			else if (events[i].type == HV_EVENT_STORE)
				control_store_changed(ctx);
		}
		/* First unmask, then look: an event that comes while we look raises again. */
		if (n_ports)
			(void)ctx->hv->ops->evtchn_unmask(ctx->hv, ports, n_ports);
		for (size_t i = 0; i < n_ports; i++)
			drive_port(ctx, ports[i], hot);
	} while (n == EVENT_BATCH);
	for (link = TAILQ_FIRST(&ctx->unarmed); link; link = next) {
		next = TAILQ_NEXT(link, unarmed);
		if (link->state == LINK_UP && link->gone)
			link_lost(link);
		if (link->state == LINK_UP) {
			take(link, hot);
			if (link->state == LINK_UP) {
				link_look_for_room(link);
				link_flush(link);
			}
		}
	}
	if (!ctx->control.armed)
		control_take(ctx);
	retry_links(ctx);
	link_bury(ctx);
	control_settle(ctx);
}

bool ctx_arm(struct msg_ctx *ctx)
{
	struct link *link, *next;
	bool more = control_arm(ctx);
	int r;

	for (link = TAILQ_FIRST(&ctx->unarmed); link; link = next) {
		next = TAILQ_NEXT(link, unarmed);
		if (link->state != LINK_UP)
			continue;
		r = link_arm(link);
		link->gone |= r < 0;
		if (r)
			more = true;
		else
			link_set_armed(link, true);
	}
	return more;
}

/* The driver's turn, if no spin was enough. */
static int drive_wait(struct msg_ctx *ctx, const struct hot *hot, uint64_t deadline_ns)
{
	struct hv *hv = ctx->hv;
	uint64_t began = 0, spin = 0;
	/* In argo-strict no word of memory tells of room. */
	bool may = hot && (hot->link->page || !hot->want) && spin_may(ctx, hot->link);
	int r = 0;

	if (may) {
		began = hv->ops->now_ns(hv);
		spin = spin_time(ctx);
	}
	if (spin && drive_spin(ctx, hot, min_u64(began + spin, deadline_ns))) {
		take(hot->link, hot);
		return 0;
	}
	if (hot && hot->want && hot->link->state == LINK_UP && link_want_room(hot->link, hot->want))
		return 0;
	if (!ctx_arm(ctx)) {
		r = drive_sleep(ctx, deadline_ns);
		if (may)
			sleep_done(ctx, hv->ops->now_ns(hv) - began);
	}
	ctx_drive(ctx, hot);
	return r;
}

int ctx_wait(struct msg_ctx *ctx, const struct hot *hot, uint64_t deadline_ns)
{
	int r;

	if (deadline_ns == DEADLINE_NOW) {
		ctx_drive(ctx, NULL);
		return -ETIMEDOUT;
	}
	if (ctx->driving) {
		if (hot && hot->want && link_want_room(hot->link, hot->want))
			return 0;
		return wait_for_driver(ctx, deadline_ns);
	}
	ctx->driving = true;
	r = drive_wait(ctx, hot, deadline_ns);
	ctx->driving = false;
	link_bury(ctx);
	control_settle(ctx); /* what it had to put off while this thread spun */
	if (ctx->epoll_fd >= 0)
		ctx_look(ctx); /* msg_ctx_fd must tell of what is left and of what comes next */
	/* Somebody else must drive, or has got what it waits for. */
	ctx->kick = true;
	return r;
}
