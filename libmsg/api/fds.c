/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Real descriptors: msg_sock_fd. One thread for all of a context, which the first call of it
 * starts, moves the bytes (pump.h). It is an event loop like any application's, with a list of
 * ready sockets of its own, so that msg_ctx_dispatch tells the application nothing of these.
 *
 * The thread alone runs pumps, and frees them. Calls of msg_sock_fd only add some (to `all`, under
 * the lock). No event is lost: the local sockets are watched edge-triggered, a pump that was
 * added has its first edge at once, and a pump whose turn was over runs again before the thread
 * sleeps; for the channels msg_ctx_dispatch's rules hold.
 */
#include "libmsg/api/fds.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <time.h>

#include "base/cancel.h"
#include "base/cleanup.h"
#include "libmsg/api/ctx.h"
#include "libmsg/api/pump.h"

#define EVENT_BATCH 64
#define TICK_NS	    UINT64_C(1000000000)

struct served {
	struct pump pump;
	bool due; /* in fds->due */
	TAILQ_ENTRY(served) entry;
	TAILQ_ENTRY(served) entry_due;
	TAILQ_ENTRY(served) entry_process;
};

TAILQ_HEAD(served_list, served);

struct fds {
	struct msg_ctx *ctx; /* borrowed */
	int epoll_fd;	     /* owned */
	int wake_fd;	     /* owned: eventfd: `ends` or `drains` was set */
	pthread_t thread;
	char *scratch;	  /* owned: PUMP_SCRATCH bytes of the thread */
	bool stopped;	  /* of the thread */
	uint64_t tick_ns; /* of the thread: when pump_tick is due; UINT64_MAX: never */
	pthread_mutex_t lock;
	pthread_cond_t moved;	/* on CLOCK_MONOTONIC; while `drains`: n_moved has grown */
	struct served_list all; /* owned; under the lock, with the next three */
	bool ends;		/* the thread has to end */
	unsigned drains;	/* calls of fds_drain */
	bool asked;		/* one of them has begun since the thread took the last wake */
	uint64_t n_moved;	/* times that less was left for them, or nothing */
	uint64_t left;		/* of pump_left, the last time */
	bool busy;		/* something was left to do, the last time */
	struct served_list due; /* borrowed; of the thread */
};

/* ---- fork --------------------------------------------------------------------------------- */

/*
 * A forked child must not hold this process's ends of the local sockets: the programs would not
 * hear of their closing. All of the process, whatever their contexts; under process_lock, which is
 * the last to be taken.
 */
static struct served_list process_list = TAILQ_HEAD_INITIALIZER(process_list);
static pthread_mutex_t process_lock = PTHREAD_MUTEX_INITIALIZER;

static void before_fork(void)
{
	(void)pthread_mutex_lock(&process_lock);
}

static void after_fork(void)
{
	(void)pthread_mutex_unlock(&process_lock);
}

static void after_fork_in_child(void)
{
	struct served *served;

	TAILQ_FOREACH (served, &process_list, entry_process)
		(void)close(served->pump.fd);
	TAILQ_INIT(&process_list);
	(void)pthread_mutex_unlock(&process_lock);
}

/*
 * When the library is loaded: of handlers before a fork the first that was registered is the last
 * to run. An application's handler may take a lock with which it calls libmsg.
 */
__attribute__((constructor)) static void watch_forks(void)
{
	(void)pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

/* ---- the thread --------------------------------------------------------------------------- */

static void mark_due(struct fds *fds, struct served *served)
{
	if (!served->due)
		TAILQ_INSERT_TAIL(&fds->due, served, entry_due);
	served->due = true;
}

/*
 * It is none of the thread's any more. The set lets go of the local socket first: a child that was
 * cloned, not forked, may hold it, too, and would keep its events coming. It is closed under the
 * lock: a child that is forked in between would close another file of that number.
 */
static void leave(struct fds *fds, struct served *served)
{
	(void)pthread_mutex_lock(&fds->lock);
	TAILQ_REMOVE(&fds->all, served, entry);
	(void)pthread_mutex_unlock(&fds->lock);
	(void)epoll_ctl(fds->epoll_fd, EPOLL_CTL_DEL, served->pump.fd, NULL);
	(void)pthread_mutex_lock(&process_lock);
	TAILQ_REMOVE(&process_list, served, entry_process);
	close_p(&served->pump.fd);
	(void)pthread_mutex_unlock(&process_lock);
}

static void end(struct fds *fds, struct served *served, enum pump_outcome outcome)
{
	pump_fini(&served->pump, outcome, fds->scratch);
	leave(fds, served);
	free(served);
}

/* Each one that is due has a turn. */
static void run_due(struct fds *fds)
{
	struct served *served, *next, *last = TAILQ_LAST(&fds->due, served_list);

	for (served = TAILQ_FIRST(&fds->due); served; served = next) {
		enum pump_outcome outcome = pump_run(&served->pump, fds->scratch);

		next = served == last ? NULL : TAILQ_NEXT(served, entry_due);
		TAILQ_REMOVE(&fds->due, served, entry_due);
		served->due = false;
		if (outcome == PUMP_GOES_ON)
			mark_due(fds, served);
		else if (outcome != PUMP_WAITS)
			end(fds, served, outcome);
	}
}

static void take_channel_events(struct fds *fds)
{
	struct msg_event events[EVENT_BATCH];
	int n = ctx_dispatch(fds->ctx, LOOP_FDS, events, EVENT_BATCH);

	for (int i = 0; i < n; i++)
		mark_due(fds, msg_userdata(events[i].sock));
}

static void take_wake(struct fds *fds)
{
	eventfd_t ignored;

	(void)eventfd_read(fds->wake_fd, &ignored);
	(void)pthread_mutex_lock(&fds->lock);
	fds->stopped = fds->ends;
	fds->asked = false;
	(void)pthread_mutex_unlock(&fds->lock);
}

/*
 * Only less that is left counts as a move. Nothing is said before the wake was taken: what the
 * program did before it drained is among the events that came with it, or before it, and has been
 * looked at then. more: there are others.
 */
static void tell_drains(struct fds *fds, bool more)
{
	struct served *served;
	uint64_t left = 0;

	(void)pthread_mutex_lock(&fds->lock);
	if (fds->drains && !fds->asked) {
		TAILQ_FOREACH (served, &fds->all, entry)
			left += pump_left(&served->pump);
		fds->busy = more || left || !TAILQ_EMPTY(&fds->due);
		if (!fds->busy || left < fds->left) {
			fds->n_moved++;
			(void)pthread_cond_broadcast(&fds->moved);
		}
		fds->left = left;
	}
	(void)pthread_mutex_unlock(&fds->lock);
}

static void take_event(struct fds *fds, const struct epoll_event *event)
{
	if (event->data.ptr == fds) {
		take_channel_events(fds);
	} else if (event->data.ptr == &fds->wake_fd) {
		take_wake(fds);
	} else {
		struct served *served = event->data.ptr;

		served->pump.seen |= event->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
		mark_due(fds, served);
	}
}

static uint64_t now_ns(const struct fds *fds)
{
	return fds->ctx->hv->ops->now_ns(fds->ctx->hv);
}

static void tick(struct fds *fds)
{
	unsigned quietest = UINT_MAX;
	struct served *served;

	(void)pthread_mutex_lock(&fds->lock);
	TAILQ_FOREACH (served, &fds->all, entry) {
		unsigned quiet = pump_tick(&served->pump);

		quietest = quiet && quiet < quietest ? quiet : quietest;
	}
	(void)pthread_mutex_unlock(&fds->lock);
	if (quietest == UINT_MAX)
		fds->tick_ns = UINT64_MAX;
	else
		fds->tick_ns = now_ns(fds) + TICK_NS * (quietest < PUMP_TICKS ? 1 : PUMP_TICKS);
}

static int sleep_ms(const struct fds *fds)
{
	uint64_t now;

	if (!TAILQ_EMPTY(&fds->due))
		return 0;
	if (fds->tick_ns == UINT64_MAX)
		return -1;
	now = now_ns(fds);
	return fds->tick_ns > now ? (int)((fds->tick_ns - now) / 1000000) + 1 : 0;
}

static void *fds_main(void *arg)
{
	struct fds *fds = arg;

	while (!fds->stopped) {
		struct epoll_event events[EVENT_BATCH];
		int n = epoll_wait(fds->epoll_fd, events, EVENT_BATCH, sleep_ms(fds));

		for (int i = 0; i < n; i++)
			take_event(fds, &events[i]);
		run_due(fds);
		tell_drains(fds, n == EVENT_BATCH);
		if (n > 0)
			fds->tick_ns = min_u64(fds->tick_ns, now_ns(fds) + TICK_NS);
		if (now_ns(fds) >= fds->tick_ns)
			tick(fds);
	}
	return NULL;
}

/* ---- its life ----------------------------------------------------------------------------- */

/* Signals are for the application's threads. */
static int start_thread(struct fds *fds)
{
	sigset_t all, before;
	int r;

	(void)sigfillset(&all);
	r = pthread_sigmask(SIG_SETMASK, &all, &before);
	if (r)
		return -r;
	r = pthread_create(&fds->thread, NULL, fds_main, fds);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

static int watch(struct fds *fds, int fd, uint32_t events, void *ptr)
{
	struct epoll_event event = {.events = events, .data.ptr = ptr};

	if (epoll_ctl(fds->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0)
		return 0;
	return errno == ENOSPC ? -EMFILE : -errno;
}

static void fds_release(struct fds *fds)
{
	close_p(&fds->epoll_fd);
	close_p(&fds->wake_fd);
	free(fds->scratch);
	(void)pthread_mutex_destroy(&fds->lock);
	(void)pthread_cond_destroy(&fds->moved);
	free(fds);
}
DEFINE_CLEANUP(struct fds *, fds_release)

static void cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(cond, &attr);
	(void)pthread_condattr_destroy(&attr);
}

static int fds_new(struct msg_ctx *ctx, struct fds **ret_fds)
{
	_cleanup_(fds_release_p) struct fds *fds = calloc(1, sizeof(*fds));
	int loop_fd, r;

	if (!fds)
		return -ENOMEM;
	*fds = (struct fds){.ctx = ctx, .epoll_fd = -1, .wake_fd = -1, .tick_ns = UINT64_MAX};
	(void)pthread_mutex_init(&fds->lock, NULL);
	cond_init(&fds->moved);
	TAILQ_INIT(&fds->all);
	TAILQ_INIT(&fds->due);
	fds->scratch = malloc(PUMP_SCRATCH);
	if (!fds->scratch)
		return -ENOMEM;
	fds->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	fds->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fds->epoll_fd < 0 || fds->wake_fd < 0)
		return -errno;
	loop_fd = driver_fd(&ctx->driver, LOOP_FDS);
	if (loop_fd < 0)
		return loop_fd;
	r = watch(fds, loop_fd, EPOLLIN, fds);
	if (r == 0)
		r = watch(fds, fds->wake_fd, EPOLLIN, &fds->wake_fd);
	if (r == 0)
		r = start_thread(fds);
	if (r < 0)
		return r;
	*ret_fds = steal_ptr(fds);
	return 0;
}

void fds_free(struct fds *fds)
{
	struct served *served;

	if (!fds)
		return;
	(void)pthread_mutex_lock(&fds->lock);
	fds->ends = true;
	(void)pthread_mutex_unlock(&fds->lock);
	(void)eventfd_write(fds->wake_fd, 1);
	(void)pthread_join(fds->thread, NULL);
	while ((served = TAILQ_FIRST(&fds->all)))
		end(fds, served, PUMP_CUT);
	fds_release(fds);
}

/* Sleeps until the thread has sent something. False: the time is over. */
static bool await_move(struct fds *fds, int timeout_ms)
{
	uint64_t before = fds->n_moved;
	struct timespec until;
	int r = 0;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += timeout_ms % 1000 * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	while (fds->n_moved == before && r == 0)
		r = timeout_ms < 0 ? pthread_cond_wait(&fds->moved, &fds->lock)
				   : pthread_cond_timedwait(&fds->moved, &fds->lock, &until);
	return fds->n_moved != before;
}

static int fds_drain(struct fds *fds, int timeout_ms)
{
	bool moves = true;

	if (!fds)
		return 0;
	(void)pthread_mutex_lock(&fds->lock);
	fds->drains++;
	fds->asked = fds->busy = true;
	fds->left = UINT64_MAX;
	(void)eventfd_write(fds->wake_fd, 1);
	while (fds->busy && moves)
		moves = await_move(fds, timeout_ms);
	fds->drains--;
	(void)pthread_mutex_unlock(&fds->lock);
	return moves ? 0 : -ETIMEDOUT;
}

/* No link has frames left to send, nor channels whose program has left. */
static bool ends_are_sent(void *arg, struct focus *ret_focus)
{
	const struct msg_ctx *ctx = arg;

	for (struct link *link = ctx->links.by_end; link; link = link->hh.next) {
		if (!link_is_up(link))
			continue;
		if (channel_set_is_closing(&link->channels))
			return false;
		if (link_push(link)) {
			*ret_focus = (struct focus){.link = link, .want = 1};
			return false;
		}
	}
	return true;
}

static int await_ends(struct msg_ctx *ctx, int timeout_ms)
{
	int r;

	do {
		r = driver_wait(&ctx->driver, ends_are_sent, ctx,
			driver_deadline(&ctx->driver, timeout_ms));
	} while (r == -EINTR);
	return r;
}

/* Without the context's lock, for which the thread waits. */
PUBLIC int msg_ctx_drain(struct msg_ctx *ctx, int timeout_ms)
{
	struct fds *fds;

	WITHOUT_CANCEL;

	if (ctx_enter(ctx) < 0)
		return -1;
	fds = ctx->fds;
	ctx_leave(ctx);
	if (fds_drain(fds, timeout_ms) < 0 || CTX_CALL(ctx, -1, await_ends(ctx, timeout_ms)) < 0)
		return failure(
			ETIMEDOUT, "nothing has moved for %d ms, and not all was sent", timeout_ms);
	return 0;
}

/* ---- msg_sock_fd -------------------------------------------------------------------------- */

static int fd_check(const struct msg_ctx *ctx, struct msg_sock *sock)
{
	if (ctx->driver.one_thread)
		return failure(EINVAL, "a context of LIBMSG_ONE_THREAD has no thread to serve it");
	if (channel_check(sock) < 0)
		return -1;
	if (sock->type == CHANNEL_DGRAM)
		return failure(EOPNOTSUPP, "no local socket drops and ends as a LIBMSG_DGRAM does");
	return 0;
}

/* given: what the program has the other end of; -1: nothing yet. */
static int served_open(struct msg_ctx *ctx, struct served *served, struct msg_sock *sock, int given)
{
	bool messages = sock->type == CHANNEL_SEQPACKET;
	int fd = given, r;

	(void)pthread_mutex_lock(&process_lock);
	r = given < 0 ? pump_open(&served->pump, messages, &fd)
		      : pump_adopt(&served->pump, messages, given);
	if (r == 0)
		TAILQ_INSERT_TAIL(&process_list, served, entry_process);
	(void)pthread_mutex_unlock(&process_lock);
	if (r < 0)
		return r;
	served->pump.sock = sock;
	(void)pthread_mutex_lock(&ctx->fds->lock);
	TAILQ_INSERT_TAIL(&ctx->fds->all, served, entry);
	(void)pthread_mutex_unlock(&ctx->fds->lock);
	return fd;
}

/* From now on the socket is the thread's, which waits for the context's lock. */
static void hand_over(struct served *served, struct msg_sock *sock)
{
	sock->userdata = served;
	sock->nonblock = true;
	sock->cork = false;
	sock->interest = POLLIN;
	if (sock->type == CHANNEL_SEQPACKET && sock->maxmsg > PUMP_MESSAGE_MAX) {
		sock->maxmsg = PUMP_MESSAGE_MAX;
		channel_set_maxmsg(sock->channel, sock->maxmsg);
	}
	sock_push(sock);
	sock_set_loop(sock, LOOP_FDS);
}

/* The program's descriptor, or the given one. -errno: nothing has happened. */
static int serve(struct msg_ctx *ctx, struct msg_sock *sock, int given)
{
	_cleanup_free_ struct served *served = calloc(1, sizeof(*served));
	int fd, r = served ? 0 : -ENOMEM;

	if (r == 0 && !ctx->fds)
		r = fds_new(ctx, &ctx->fds);
	if (r < 0)
		return r;
	fd = served_open(ctx, served, sock, given);
	if (fd < 0)
		return fd;
	r = watch(ctx->fds, served->pump.fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, served);
	if (r < 0) {
		leave(ctx->fds, served); /* which the thread has not seen */
		if (given < 0)
			(void)close(fd);
		return r;
	}
	if (given >= 0)
		(void)close(given); /* there is a duplicate */
	hand_over(steal_ptr(served), sock);
	return fd;
}

static int fd_of_sock(struct msg_ctx *ctx, struct msg_sock *sock, int given)
{
	int fd;

	if (fd_check(ctx, sock) < 0)
		return -1;
	fd = serve(ctx, sock, given);
	if (fd == -EINVAL)
		return failure(EINVAL,
			"%d is no end of a pair of the channel's type with a byte unread", given);
	return fd < 0 ? failure(-fd, "no descriptor for a channel: %s", strerrordesc_np(-fd)) : fd;
}

PUBLIC int msg_sock_fd(struct msg_sock *sock)
{
	WITHOUT_CANCEL;

	return CTX_CALL(sock_ctx(sock), -1, fd_of_sock(sock_ctx(sock), sock, -1));
}

static int serve_fd(struct msg_ctx *ctx, struct msg_sock *sock, int fd)
{
	if (fd < 0)
		return failure(EINVAL, "%d is no descriptor", fd);
	return fd_of_sock(ctx, sock, fd) < 0 ? -1 : 0;
}

PUBLIC int msg_sock_serve(struct msg_sock *sock, int fd)
{
	WITHOUT_CANCEL;

	return CTX_CALL(sock_ctx(sock), -1, serve_fd(sock_ctx(sock), sock, fd));
}
