/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Waiting for several sockets: msg_poll, and msg_ctx_fd with msg_ctx_dispatch for event loops. */
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include "libmsg/private.h"

/* How often a call that must not block looks again before it leaves the rest to the next call. */
#define LOOK_ROUNDS 4

#define ALWAYS_EVENTS (POLLHUP | POLLERR)

/* The descriptor is readable while a socket is on the ready list, or something is left to be done.
 */
static void ready_update(struct msg_ctx *ctx, bool more)
{
	bool ready = more || !TAILQ_EMPTY(&ctx->ready);
	eventfd_t count;

	if (ctx->ready_fd < 0 || ready == ctx->ready_set)
		return;
	ctx->ready_set = ready;
	if (ready)
		(void)eventfd_write(ctx->ready_fd, 1);
	else
		(void)eventfd_read(ctx->ready_fd, &count);
}

void ctx_retry_later(struct msg_ctx *ctx, uint64_t retry_ns)
{
	struct itimerspec spec = {0};
	uint64_t now, wait;

	if (retry_ns == DEADLINE_NEVER)
		return;
	if (ctx->driver_asleep)
		ctx->kick = true; /* it does not know of it yet */
	if (ctx->timer_fd < 0 || (ctx->timer_ns && ctx->timer_ns <= retry_ns))
		return;
	now = ctx->hv->ops->now_ns(ctx->hv);
	wait = retry_ns > now ? retry_ns - now : 1;
	spec.it_value.tv_sec = (time_t)(wait / 1000000000U);
	spec.it_value.tv_nsec = (long)(wait % 1000000000U);
	(void)timerfd_settime(ctx->timer_fd, 0, &spec, NULL);
	ctx->timer_ns = retry_ns;
}

/* What it was for is looked at now; it is set again for what is left. */
static void retry_timer_clear(struct msg_ctx *ctx)
{
	const struct itimerspec off = {0};

	if (!ctx->timer_ns || ctx->timer_ns > ctx->hv->ops->now_ns(ctx->hv))
		return;
	(void)timerfd_settime(ctx->timer_fd, 0, &off, NULL);
	ctx->timer_ns = 0;
}

void ctx_look(struct msg_ctx *ctx)
{
	bool more = true;

	retry_timer_clear(ctx);
	for (int i = 0; more && i < LOOK_ROUNDS; i++) {
		ctx_drive(ctx, NULL);
		/* Without an event loop that will sleep, nothing needs to be armed. */
		more = ctx->epoll_fd >= 0 && ctx_arm(ctx);
	}
	if (ctx->timer_fd >= 0)
		ctx_retry_later(ctx, ctx_retry_time(ctx));
	ready_update(ctx, more);
}

static int epoll_add(int epoll_fd, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int fd_open(struct msg_ctx *ctx)
{
	_cleanup_close_ int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	_cleanup_close_ int ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	_cleanup_close_ int timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	int r;

	if (epoll_fd < 0 || ready_fd < 0 || timer_fd < 0)
		return -errno;
	r = epoll_add(epoll_fd, ready_fd);
	if (r == 0)
		r = epoll_add(epoll_fd, timer_fd);
	if (r == 0)
		r = epoll_add(epoll_fd, ctx->hv->ops->fd(ctx->hv));
	if (r < 0)
		return r;
	ctx->epoll_fd = steal_fd(&epoll_fd);
	ctx->ready_fd = steal_fd(&ready_fd);
	ctx->timer_fd = steal_fd(&timer_fd);
	ctx_look(ctx);
	return 0;
}

PUBLIC int msg_ctx_fd(struct msg_ctx *ctx)
{
	int r = 0;

	if (!ctx_same_process(ctx))
		return failure(EBADFD, "the context belongs to the parent process");
	ctx_lock(ctx);
	if (ctx->epoll_fd < 0)
		r = fd_open(ctx);
	if (r == 0)
		r = ctx->epoll_fd;
	ctx_unlock(ctx);
	return r < 0 ? failure(-r, "no descriptor for event loops") : r;
}

/* Owed POLLOUT, and room in the link is all that it waits for. */
static bool waits_for_room(struct msg_sock *sock)
{
	uint32_t want;

	return sock->out_edge && sock->channel &&
	       !channel_can_send(sock->channel, FRAGMENT_MIN, &want) && want;
}

static short dispatch_events(struct msg_sock *sock)
{
	short events = sock_events(sock);

	/* link_flush has taken it for served; room that came before it is blocked tells nobody. */
	if (!(events & POLLOUT) && waits_for_room(sock)) {
		channel_block(sock->channel);
		events = sock_events(sock);
	}
	/* An end that was read: who goes on sending is not to be woken for it again and again. */
	if (sock->channel && sock->channel->rx_end_read && !(events & ALWAYS_EVENTS))
		events &= (short)~(POLLIN | POLLRDHUP);
	if (!sock->out_edge)
		events &= (short)~POLLOUT;
	return events;
}

/* Level-triggered: what stays ready goes to the end of the list, and is reported again. */
static int dispatch_ready(struct msg_ctx *ctx, struct msg_event *ret_events, int n)
{
	struct msg_sock *sock, *last = TAILQ_LAST(&ctx->ready, sock_list), *next;
	int count = 0;

	for (sock = TAILQ_FIRST(&ctx->ready); sock && count < n; sock = next) {
		short events = dispatch_events(sock);

		next = sock == last ? NULL : TAILQ_NEXT(sock, entry_ready);
		TAILQ_REMOVE(&ctx->ready, sock, entry_ready);
		if (!events) {
			sock->ready = false;
			continue;
		}
		TAILQ_INSERT_TAIL(&ctx->ready, sock, entry_ready);
		if (events & POLLOUT)
			sock->out_edge = false;
		ret_events[count++] = (struct msg_event){.sock = sock, .revents = events};
	}
	return count;
}

PUBLIC int msg_ctx_dispatch(struct msg_ctx *ctx, struct msg_event *ret_events, int n)
{
	int count;

	if (!ctx_same_process(ctx))
		return failure(EBADFD, "the context belongs to the parent process");
	if (n < 1)
		return failure(EINVAL, "room for %d events", n);
	ctx_lock(ctx);
	ctx_look(ctx);
	count = dispatch_ready(ctx, ret_events, n);
	ready_update(ctx, false);
	ctx_unlock(ctx);
	return count;
}

static int poll_scan(struct msg_pollfd *fds, size_t n)
{
	int count = 0;

	for (size_t i = 0; i < n; i++) {
		fds[i].revents = 0;
		if (!fds[i].sock)
			continue;
		fds[i].revents = (short)(sock_events(fds[i].sock) &
					 (fds[i].events | ALWAYS_EVENTS | POLLRDHUP));
		if (!(fds[i].events & POLLIN))
			fds[i].revents &= (short)~POLLRDHUP;
		count += fds[i].revents != 0;
	}
	return count;
}

/* The link to spin on: the only one that is waited for. */
static struct link *poll_hot(struct msg_pollfd *fds, size_t n)
{
	struct link *link = NULL;

	for (size_t i = 0; i < n; i++) {
		struct channel *channel = fds[i].sock ? fds[i].sock->channel : NULL;
		uint32_t want;

		if (!channel || !channel->link)
			continue;
		if ((fds[i].events & POLLOUT) && !channel_can_send(channel, FRAGMENT_MIN, &want) &&
			want)
			channel_block(channel); /* an event comes when there is room */
		if (link && link != channel->link)
			return NULL;
		link = channel->link;
	}
	return link;
}

static int poll_locked(struct msg_ctx *ctx, struct msg_pollfd *fds, size_t n, int timeout_ms)
{
	uint64_t deadline = ctx_deadline(ctx, timeout_ms);
	int count, r = 0;

	for (;;) {
		struct hot hot = {0};

		count = poll_scan(fds, n);
		if (count || r == -ETIMEDOUT)
			return count;
		if (r < 0)
			return failure(EINTR, "interrupted by a signal");
		hot.link = poll_hot(fds, n);
		if (hot.link)
			link_take(hot.link, NULL);
		count = poll_scan(fds, n);
		if (count)
			return count;
		hot.link = poll_hot(fds, n); /* it may be gone */
		r = ctx_wait(ctx, hot.link ? &hot : NULL, deadline);
	}
}

PUBLIC int msg_poll(struct msg_pollfd *fds, size_t n, int timeout_ms)
{
	struct msg_ctx *ctx = NULL;
	int r;

	for (size_t i = 0; i < n; i++) {
		if (!fds[i].sock)
			continue;
		if (ctx && fds[i].sock->ctx != ctx)
			return failure(EINVAL, "sockets of several contexts");
		ctx = fds[i].sock->ctx;
	}
	if (!ctx)
		return failure(EINVAL, "no socket to poll");
	if (!ctx_same_process(ctx))
		return failure(EBADFD, "the context belongs to the parent process");
	ctx_lock(ctx);
	r = poll_locked(ctx, fds, n, timeout_ms);
	if (ctx->epoll_fd >= 0)
		ctx_look(ctx);
	ctx_unlock(ctx);
	return r;
}
