/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Waiting for several sockets: msg_poll, and msg_ctx_fd with msg_ctx_dispatch for event loops. */
#include <poll.h>

#include "libmsg/api/ctx.h"

#define ALWAYS_EVENTS (POLLHUP | POLLERR)

static int fd_locked(struct msg_ctx *ctx)
{
	int r = driver_fd(&ctx->driver, LOOP_OWN);

	return r < 0 ? failure(-r, "no descriptor for event loops: %s", strerrordesc_np(-r)) : r;
}

PUBLIC int msg_ctx_fd(struct msg_ctx *ctx)
{
	return CTX_CALL(ctx, -1, fd_locked(ctx));
}

/*
 * An end of which a call has told is no event any more: who goes on sending, or does something else
 * first, is not to be woken for it again and again. A close that follows a half-close is told once.
 */
static short hide_end(struct channel *channel, short events)
{
	uint8_t end = channel_end(channel), taken = channel->end_taken;

	if (end & ~taken) {
		if (taken & END_OF_DATA)
			channel->end_taken = end;
		return events;
	}
	return events & (STAILQ_EMPTY(&channel->in) ? POLLOUT : POLLOUT | POLLIN);
}

/* An application that does not want to read hears of an end once, of messages not at all. */
static short hide_input(struct msg_sock *sock, short events)
{
	if (!(events & ALWAYS_EVENTS) || sock->end_told)
		return events & POLLOUT;
	sock->end_told = true;
	return events & (ALWAYS_EVENTS | POLLOUT);
}

static short dispatch_events(struct msg_sock *sock)
{
	bool out = sock->out_edge || sock->interest & POLLOUT;
	short asked = out ? POLLIN | POLLOUT : POLLIN, events = sock_events(sock, asked);

	/* An event loop beside the call that makes it: the call may yet fail, and free it. */
	if (sock->awaited)
		return 0;
	/*
	 * link_flush has taken it for served. Of room that came before it is blocked, or between
	 * these looks, nothing tells.
	 */
	if (out && !(events & POLLOUT)) {
		if (sock->channel)
			link_ask_room(sock->channel, FRAGMENT_MIN);
		events = sock_events(sock, asked);
	}
	if (sock->channel)
		events = hide_end(sock->channel, events);
	else if (sock->error_told)
		events = sock_has_news(sock) ? POLLIN : 0;
	if (!(sock->interest & POLLIN))
		events = hide_input(sock, events);
	if (!out)
		events &= (short)~POLLOUT; /* of a connect that failed */
	return events;
}

/*
 * The first socket whose send found no room comes first, and those before it, which had found some,
 * come last: the room is shared by turns, though all are reported each time.
 */
static void rotate_ready(struct socks *socks, enum sock_loop loop)
{
	struct sock_list *ready = &socks->ready[loop];
	struct msg_sock *first = socks->refused, *sock;

	if (!first || first->loop != loop)
		return;
	socks->refused = NULL;
	if (!first->ready)
		return;
	/* As many as were reported, and may have sent, before. */
	while ((sock = TAILQ_FIRST(ready)) != first) {
		TAILQ_REMOVE(ready, sock, entry_ready);
		TAILQ_INSERT_TAIL(ready, sock, entry_ready);
	}
}

/* Level-triggered: what stays ready goes to the end of the list, and is reported again. */
static int dispatch_ready(
	struct socks *socks, enum sock_loop loop, struct msg_event *ret_events, int n)
{
	struct sock_list *ready = &socks->ready[loop];
	struct msg_sock *sock, *last, *next;
	int count = 0;

	rotate_ready(socks, loop);
	last = TAILQ_LAST(ready, sock_list);
	for (sock = TAILQ_FIRST(ready); sock && count < n; sock = next) {
		short events = dispatch_events(sock);

		next = sock == last ? NULL : TAILQ_NEXT(sock, entry_ready);
		TAILQ_REMOVE(ready, sock, entry_ready);
		if (!events) {
			sock->ready = false;
			continue;
		}
		TAILQ_INSERT_TAIL(ready, sock, entry_ready);
		if (events & POLLOUT)
			sock->out_edge = false;
		ret_events[count++] = (struct msg_event){.sock = sock, .revents = events};
	}
	return count;
}

static int dispatch_locked(
	struct msg_ctx *ctx, enum sock_loop loop, struct msg_event *ret_events, int n)
{
	int count;

	if (n < 1)
		return failure(EINVAL, "room for %d events", n);
	driver_look(&ctx->driver);
	count = dispatch_ready(&ctx->socks, loop, ret_events, n);
	if (ctx->driver.has_loop)
		driver_update_fds(&ctx->driver);
	return count;
}

int ctx_dispatch(struct msg_ctx *ctx, enum sock_loop loop, struct msg_event *ret_events, int n)
{
	return CTX_CALL(ctx, -1, dispatch_locked(ctx, loop, ret_events, n));
}

PUBLIC int msg_ctx_dispatch(struct msg_ctx *ctx, struct msg_event *ret_events, int n)
{
	return ctx_dispatch(ctx, LOOP_OWN, ret_events, n);
}

static int poll_scan(struct msg_pollfd *fds, size_t n)
{
	int count = 0;

	for (size_t i = 0; i < n; i++) {
		fds[i].revents = 0;
		if (!fds[i].sock)
			continue;
		fds[i].revents = (short)(sock_events(fds[i].sock, fds[i].events) &
					 (fds[i].events | ALWAYS_EVENTS | POLLRDHUP));
		if (!(fds[i].events & POLLIN))
			fds[i].revents &= (short)~POLLRDHUP;
		count += fds[i].revents != 0;
	}
	return count;
}

/*
 * The link to look at: the only one that is waited for. *ret_asked: room is waited for, and where
 * there was none an event for it was asked for.
 */
static struct link *poll_link(struct msg_pollfd *fds, size_t n, bool *ret_asked)
{
	struct link *only = NULL;
	bool several = false;

	for (size_t i = 0; i < n; i++) {
		struct channel *channel = fds[i].sock ? fds[i].sock->channel : NULL;
		struct link *link = channel ? channel_link(channel) : NULL;

		if (!link)
			continue;
		if (fds[i].events & POLLOUT) {
			link_ask_room(channel, FRAGMENT_MIN);
			*ret_asked = true;
		}
		several |= only && only != link;
		only = link;
	}
	return several ? NULL : only;
}

struct polling {
	struct msg_pollfd *fds;
	size_t n;
	int count;
	const struct socks *socks;
	uint64_t n_polled; /* socks->n_polled at the last look, which found no event ... */
	struct link *link; /* ... and this link */
};

static void poll_look(struct polling *polling)
{
	bool asked = false;

	polling->n_polled = polling->socks->n_polled;
	polling->count = poll_scan(polling->fds, polling->n);
	if (polling->count)
		return;
	polling->link = poll_link(polling->fds, polling->n, &asked);
	/* Room that came before the event was asked for, or was not, is told of by nobody else. */
	if (asked)
		polling->count = poll_scan(polling->fds, polling->n);
}

/*
 * Looks at all entries again only when one of them has changed, and not for what others receive. A
 * link that ends changes each of its channels, before it is freed.
 */
static bool poll_is_over(void *arg, struct focus *ret_focus)
{
	struct polling *polling = arg;

	if (polling->n_polled != polling->socks->n_polled)
		poll_look(polling);
	ret_focus->link = polling->link;
	return polling->count > 0;
}

/* Every entry has all that it asks for. */
static bool poll_is_whole(const struct polling *polling)
{
	for (size_t i = 0; i < polling->n; i++) {
		const struct msg_pollfd *fd = &polling->fds[i];

		if (fd->sock && (fd->events & (POLLIN | POLLOUT) & ~fd->revents))
			return false;
	}
	return true;
}

/*
 * Whether nothing is to be waited for. Where some of what is asked for is known to be there, the
 * rest may have come: a program that always has room to send hears of messages and ends, too.
 */
static bool poll_found(struct driver *driver, struct polling *polling)
{
	struct focus focus;

	if (!wait_is_over_now(driver, poll_is_over, polling, &focus))
		return false;
	if (poll_is_whole(polling))
		return true;
	driver_look(driver);
	polling->n_polled = polling->socks->n_polled - 1;
	return wait_is_over(driver, poll_is_over, polling, &focus);
}

/* As sock_wait, for all of the sockets. */
static int poll_wait(struct driver *driver, struct polling *polling, uint64_t deadline_ns)
{
	int r;

	if (poll_found(driver, polling))
		return 0;
	for (size_t i = 0; i < polling->n; i++) {
		if (polling->fds[i].sock)
			sock_sleeps(polling->fds[i].sock, "msg_poll");
	}
	r = driver_wait_on(driver, poll_is_over, polling, deadline_ns);
	for (size_t i = 0; i < polling->n; i++) {
		if (polling->fds[i].sock)
			sock_woke(polling->fds[i].sock);
	}
	return r;
}

/* Changes of the sockets count for this poll from now on; or no more. */
static void poll_count(struct msg_pollfd *fds, size_t n, bool begin)
{
	uint32_t one = begin ? 1 : -1U;

	for (size_t i = 0; i < n; i++) {
		if (!fds[i].sock)
			continue;
		fds[i].sock->n_polls += one;
		if (fds[i].events & POLLOUT)
			fds[i].sock->n_polls_out += one;
	}
}

static int poll_locked(struct msg_ctx *ctx, struct msg_pollfd *fds, size_t n, int timeout_ms)
{
	/* The first look is always due. */
	struct polling polling = {
		.fds = fds, .n = n, .socks = &ctx->socks, .n_polled = ctx->socks.n_polled - 1};
	int r;

	for (size_t i = 0; i < n; i++) {
		if (fds[i].sock && sock_ctx(fds[i].sock) != ctx)
			return failure(EINVAL, "sockets of several contexts");
	}
	poll_count(fds, n, true);
	r = poll_wait(&ctx->driver, &polling, driver_deadline(&ctx->driver, timeout_ms));
	poll_count(fds, n, false);
	if (r == -EINTR)
		return failure(EINTR, "interrupted by a signal");
	return polling.count;
}

PUBLIC int msg_poll(struct msg_pollfd *fds, size_t n, int timeout_ms)
{
	struct msg_ctx *ctx = NULL;

	for (size_t i = 0; i < n && !ctx; i++)
		ctx = fds[i].sock ? sock_ctx(fds[i].sock) : NULL;
	if (!ctx)
		return failure(EINVAL, "no socket to poll");
	return CTX_CALL(ctx, -1, poll_locked(ctx, fds, n, timeout_ms));
}
