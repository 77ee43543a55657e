/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Listening, accepting, connecting, shutting down, closing. */
#include <poll.h>
#include <string.h>

#include "libmsg/api/ctx.h"
#include "libmsg/control/request.h"

/* address: of a valid form. */
static int type_check(const struct msg_ctx *ctx, int type, const char *address)
{
	const char *too_old;

	if (type < LIBMSG_SEQPACKET || type > LIBMSG_DGRAM)
		return failure(EPROTONOSUPPORT,
			"channel type %d is none of LIBMSG_SEQPACKET, LIBMSG_STREAM and "
			"LIBMSG_DGRAM",
			type);
	/* Until WELCOME nobody knows: requests_send_again. */
	too_old = ctx->control.state == CONTROL_ATTACHED
			  ? control_too_old(&ctx->control, (uint32_t)type, address)
			  : NULL;
	return too_old ? failure(EPROTONOSUPPORT, "%s", too_old) : 0;
}

_Static_assert((int)LIBMSG_SEQPACKET == (int)CHANNEL_SEQPACKET, "same numbers");
_Static_assert((int)LIBMSG_STREAM == (int)CHANNEL_STREAM, "same numbers");
_Static_assert((int)LIBMSG_DGRAM == (int)CHANNEL_DGRAM, "same numbers");

int channel_missing(struct msg_sock *sock)
{
	if (sock->kind == SOCK_LISTENER)
		return failure(EINVAL, "a listener carries no messages");
	if (sock->kind == SOCK_WATCH)
		return failure(EINVAL, "a watch tells of names, and takes no messages");
	if (sock->state == SOCK_PENDING)
		return failure(ENOTCONN, "not connected yet: wait for POLLOUT");
	sock->error_told |= sock->state == SOCK_FAILED;
	return failure(ENOTCONN, "not connected%s%s", sock->reason[0] ? ": " : "", sock->reason);
}

/* Gives up its request, if one is under way, and frees it. */
static void sock_discard(struct msg_sock *sock)
{
	if (sock->request)
		request_abandon(&sock_ctx(sock)->control, sock->request);
	sock_free(sock);
}

void sock_push(struct msg_sock *sock)
{
	struct link *link = sock->channel ? channel_link(sock->channel) : NULL;

	if (link)
		(void)link_push(link);
}

/* ---- waiting for msgd ------------------------------------------------------------------- */

static bool answer_is_over(void *arg, struct focus *ret_focus)
{
	const struct msg_sock *sock = arg;

	return sock->state != SOCK_PENDING;
}

struct msg_sock *sock_await(struct msg_sock *sock, uint64_t deadline_ns, const char *what,
	const char *name, const char *late)
{
	struct control *control = &sock_ctx(sock)->control;
	struct driver *driver = &sock_ctx(sock)->driver;
	int r;

	sock->awaited = true;
	r = driver_wait(driver, answer_is_over, sock, deadline_ns);
	if (r == -ETIMEDOUT && deadline_ns == DEADLINE_NOW && control_broker_there(control)) {
		(void)failure(ETIMEDOUT, "%s %s: %s", what, name, late);
		sock->given_up = true;
		sock_discard(sock);
		return NULL;
	}
	if (r == -ETIMEDOUT) {
		request_give_up(control, sock->request);
		do {
			r = driver_wait(driver, answer_is_over, sock, UINT64_MAX);
		} while (r == -EINTR); /* the driver ends it soon, if msgd does not */
	}
	if (sock->state == SOCK_OPEN) {
		sock->out_edge = false; /* this return says it; msg_ctx_dispatch need not */
		sock->awaited = false;
		sock_changed(sock); /* all else, it may say now */
		return sock;
	}
	if (sock->state == SOCK_FAILED)
		(void)failure(sock->error, "%s %s: %s", what, name, sock->reason);
	else
		(void)failure(-r, "%s %s: interrupted by a signal", what, name);
	sock_discard(sock);
	return NULL;
}

struct msg_sock *sock_ask(struct msg_sock *sock, const struct control_message *message)
{
	struct control *control = &sock_ctx(sock)->control;

	if (control->state == CONTROL_BROKEN)
		(void)failure(control->error, "msgd cannot be asked: %s", control->reason);
	else if (request_new(control, sock, message))
		return sock;
	else
		(void)failure(ENOMEM, "out of memory");
	sock_free(sock);
	return NULL;
}

/* ---- listening -------------------------------------------------------------------------- */

static int listen_check(
	const struct msg_ctx *ctx, const char *name, int type, int backlog, unsigned flags)
{
	if (!name)
		return failure(EINVAL, "no name is given");
	if (name_check(name) < 0)
		return failure(
			EINVAL, "\"%.80s\" is no name: [A-Za-z0-9_][A-Za-z0-9._+-]{0,62}", name);
	if (type_check(ctx, type, name) < 0 || flags_check(flags, LIBMSG_NONBLOCK) < 0)
		return -1;
	if (backlog < 1 || backlog > (int)BACKLOG_MAX)
		return failure(EINVAL, "a backlog of %d: 1 to %u", backlog, BACKLOG_MAX);
	return 0;
}

/* A msgd that is there answers in no time; one that stands still has this long. */
#define LISTEN_NONBLOCK_MS 1000

/* Of a call that does not block. If not, the application has it from now on. */
static bool listen_is_answered(struct msg_sock *sock)
{
	struct msg_ctx *ctx = sock_ctx(sock);

	sock->awaited = true;
	if (control_broker_there(&ctx->control) &&
		driver_wait(&ctx->driver, answer_is_over, sock,
			driver_deadline(&ctx->driver, LISTEN_NONBLOCK_MS)) == 0)
		return true;
	sock->awaited = false;
	sock_changed(sock);
	return false;
}

static struct msg_sock *listen_locked(
	struct msg_ctx *ctx, const char *name, int type, int backlog, unsigned flags)
{
	struct control_message message = {.type = CONTROL_LISTEN};
	struct msg_sock *sock;

	if (listen_check(ctx, name, type, backlog, flags) < 0)
		return NULL;
	sock = sock_new(&ctx->socks, SOCK_LISTENER, SOCK_PENDING, (enum channel_type)type);
	if (!sock)
		return failure(ENOMEM, "out of memory"), NULL;
	sock->nonblock = flags & LIBMSG_NONBLOCK;
	if (sock_set_name(sock, name, backlog) < 0) {
		sock_free(sock);
		return failure(ENOMEM, "out of memory"), NULL;
	}
	message.listen = (struct control_listen){
		.listener = sock->handle, .type = sock->type, .backlog = (uint32_t)backlog};
	memcpy(message.listen.name, sock->name, NAME_SIZE);
	sock = sock_ask(sock, &message);
	if (!sock)
		return NULL;
	if ((flags & LIBMSG_NONBLOCK) && !listen_is_answered(sock))
		return sock;
	return sock_await(sock, DEADLINE_NEVER, "listen on", name, "");
}

PUBLIC struct msg_sock *msg_listen(
	struct msg_ctx *ctx, const char *name, int type, int backlog, unsigned flags)
{
	return CTX_CALL(ctx, NULL, listen_locked(ctx, name, type, backlog, flags));
}

/* Takes the first channel of the backlog and tells msgd of the free place. */
static struct msg_sock *accept_first(struct msg_sock *listener, unsigned flags)
{
	struct channel *channel = TAILQ_FIRST(&listener->pending);
	struct msg_ctx *ctx = sock_ctx(listener);
	struct msg_sock *sock = sock_new(&ctx->socks, SOCK_CHANNEL, SOCK_OPEN, channel->type);
	struct link *link = channel_link(channel);

	if (!sock)
		return failure(ENOMEM, "out of memory"), NULL;
	sock->nonblock = flags & LIBMSG_NONBLOCK;
	backlog_remove(channel);
	sock_set_channel(sock, channel);
	if (link) {
		struct control_message message = {.type = CONTROL_ACCEPTED,
			.accepted = {.end = link->end, .channel = channel->number}};

		if (channel->ahead)
			control_send_quietly(&ctx->control, &message);
		else
			control_send(&ctx->control, &message);
	}
	if (channel_is_over(channel))
		channel_changed(channel); /* the pass tells msgd that its number is free */
	if (channel_events(channel, 0) & (POLLIN | POLLERR | POLLHUP))
		sock_changed(sock);
	return sock;
}

static bool accept_is_over(void *arg, struct focus *ret_focus)
{
	const struct msg_sock *listener = arg;

	return !TAILQ_EMPTY(&listener->pending) || listener->state == SOCK_FAILED;
}

static struct msg_sock *accept_locked(struct msg_sock *listener, unsigned flags)
{
	struct driver *driver = &sock_ctx(listener)->driver;
	uint64_t deadline_ns;
	int r;

	if (flags_check(flags, LIBMSG_NONBLOCK) < 0)
		return NULL;
	if (listener->kind != SOCK_LISTENER)
		return failure(EINVAL, "not a listener"), NULL;
	deadline_ns =
		listener->nonblock ? DEADLINE_NOW : driver_deadline(driver, listener->rcvtimeo_ms);
	r = sock_wait(listener, "msg_accept", accept_is_over, listener, deadline_ns);
	if (!TAILQ_EMPTY(&listener->pending))
		return accept_first(listener, flags);
	if (listener->state == SOCK_FAILED) {
		listener->error_told = true;
		(void)failure(listener->error, "the name is lost: %s", listener->reason);
	} else if (r == -EINTR)
		(void)failure(EINTR, "interrupted by a signal");
	else
		(void)failure(EAGAIN, "no channel waits to be accepted");
	return NULL;
}

PUBLIC struct msg_sock *msg_accept(struct msg_sock *listener, unsigned flags)
{
	return CTX_CALL(sock_ctx(listener), NULL, accept_locked(listener, flags));
}

/* ---- connecting ------------------------------------------------------------------------- */

static struct msg_sock *connect_locked(
	struct msg_ctx *ctx, const char *address, int type, unsigned flags, int timeout_ms)
{
	struct control_message message = {.type = CONTROL_CONNECT};
	char domain[DOMAIN_NAME_SIZE], name[NAME_SIZE];
	struct channel *channel;
	struct msg_sock *sock;

	if (!address)
		return failure(EINVAL, "no address is given"), NULL;
	if (address_split(address, domain, name) < 0)
		return failure(EINVAL, "\"%.200s\" is no address: [DOMAIN/]NAME", address), NULL;
	if (type_check(ctx, type, address) < 0 ||
		flags_check(flags, LIBMSG_NONBLOCK | LIBMSG_WAIT_NAME) < 0)
		return NULL;
	message.connect.type = (uint32_t)type;
	message.connect.flags = flags & LIBMSG_WAIT_NAME ? CONNECT_WAIT_NAME : 0;
	message.connect.transport = ctx->transport;
	strcpy(message.connect.address, address); /* address_split bounds it */
	sock = sock_new(&ctx->socks, SOCK_CHANNEL, SOCK_PENDING, (enum channel_type)type);
	if (!sock)
		return failure(ENOMEM, "out of memory"), NULL;
	sock->nonblock = flags & LIBMSG_NONBLOCK;
	channel = control_connect_ahead(&ctx->control, &message.connect);
	if (channel) {
		sock_set_channel(sock, channel);
		sock_set_state(sock, SOCK_OPEN);
		sock->out_edge = sock->nonblock;
		sock_changed(sock);
		return sock;
	}
	sock = sock_ask(sock, &message);
	if (!sock)
		return NULL;
	if (!(flags & LIBMSG_NONBLOCK))
		return sock_await(sock, driver_deadline(&ctx->driver, timeout_ms), "connect to",
			address,
			flags & LIBMSG_WAIT_NAME ? "nobody was there in time, or did not answer"
						 : "the listener, or msgd, did not answer in time");
	if (timeout_ms > 0)
		request_set_deadline(
			&ctx->control, sock, driver_deadline(&ctx->driver, timeout_ms));
	return sock;
}

PUBLIC struct msg_sock *msg_connect(
	struct msg_ctx *ctx, const char *address, int type, unsigned flags, int timeout_ms)
{
	return CTX_CALL(ctx, NULL, connect_locked(ctx, address, type, flags, timeout_ms));
}

/* ---- ending ----------------------------------------------------------------------------- */

static uint64_t linger_deadline(const struct msg_sock *sock)
{
	return sock->nonblock ? DEADLINE_NOW
			      : driver_deadline(&sock_ctx(sock)->driver, sock->linger_ms);
}

/* Waits as driver_wait, whatever signals come. False: time was over first. */
static bool linger(struct driver *driver, wait_over_fn *over, void *arg, uint64_t deadline_ns)
{
	int r;

	do {
		r = driver_wait(driver, over, arg, deadline_ns);
	} while (r == -EINTR);
	return r == 0;
}

static bool shutdown_is_over(void *arg, struct focus *ret_focus)
{
	const struct channel *channel = arg;

	return channel->state != CHANNEL_OPEN || channel->rx_closed || channel->error ||
	       (channel->tx_shut_sent && !channel->set->transport->unpushed);
}

/* Nobody may call again to send what found no room. */
static void shutdown_linger(struct msg_sock *sock)
{
	struct channel *channel = sock->channel;

	if (channel->set)
		channel_mark_due(channel);
	sock_sleeps(sock, "msg_shutdown");
	(void)linger(&sock_ctx(sock)->driver, shutdown_is_over, channel, linger_deadline(sock));
	sock_woke(sock);
}

/* A listener gives its name back, a watch ends; a connect that is under way is given up. */
static int shutdown_waiting(struct msg_sock *sock)
{
	struct control *control = &sock_ctx(sock)->control;
	int error = sock->kind == SOCK_CHANNEL ? ECONNABORTED : EINVAL;

	if (sock->request)
		request_abandon(control, sock->request);
	else if (sock->kind == SOCK_WATCH)
		control_unwatch(control, sock->handle);
	else
		(void)request_unlisten(control, sock->handle);
	sock_fail(sock, error, "msg_shutdown has ended it");
	return 0;
}

/* Frames that lie in the ring have arrived: they are read still. */
static void shutdown_reading(struct msg_sock *sock)
{
	struct link *link = channel_link(sock->channel);

	if (link)
		driver_take(&sock_ctx(sock)->driver, link, NULL);
	channel_ignore(sock->channel);
}

/* The cause is told again, and no call is taken for the one that learnt of it. */
static int shutdown_refuse(const struct msg_sock *sock)
{
	const struct channel *channel = sock->channel;
	const char *why = channel && channel->error ? channel_why(channel) : sock->reason;

	return failure(ENOTCONN, "no channel stands%s%s", why[0] ? ": " : "", why);
}

static int shutdown_locked(struct msg_sock *sock, int how)
{
	struct channel *channel = sock->channel;

	if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
		return failure(EINVAL, "%d is none of SHUT_RD, SHUT_WR, SHUT_RDWR", how);
	if (!channel && sock->state != SOCK_FAILED && how != SHUT_WR)
		return shutdown_waiting(sock);
	if (!channel || channel->error || (channel->state != CHANNEL_OPEN && !channel->rx_closed))
		return shutdown_refuse(sock);
	if (how != SHUT_WR)
		shutdown_reading(sock);
	if (how != SHUT_RD)
		channel->tx_shut = true;
	channel_changed(channel); /* calls that sleep end before this one lingers */
	if (how != SHUT_RD)
		shutdown_linger(sock);
	return 0;
}

PUBLIC int msg_shutdown(struct msg_sock *sock, int how)
{
	return CTX_CALL(sock_ctx(sock), -1, shutdown_locked(sock, how));
}

/* Every accepted message is in the ring, or lost with the link. */
static bool flush_is_over(void *arg, struct focus *ret_focus)
{
	const struct channel *channel = arg;
	const struct link *link = channel_link(channel);

	return !link || (STAILQ_EMPTY(&channel->out) && !link->transport->unpushed);
}

struct closed_end {
	struct msg_ctx *ctx;
	uint32_t end, number; /* of the link, of the channel */
};

/* The end of a channel that its application has closed has said CLOSE. */
static bool close_is_over(void *arg, struct focus *ret_focus)
{
	const struct closed_end *closed = arg;
	struct link *link = link_find(&closed->ctx->links, closed->end);
	const struct channel *channel = link ? channel_find(&link->channels, closed->number) : NULL;

	if (!link || !link_is_up(link))
		return true;
	return !link->transport->unpushed && (!channel || channel->state != CHANNEL_CLOSING ||
						     !channel->tx_open || channel->tx_closed);
}

static int close_channel(struct msg_sock *sock)
{
	struct channel *channel = sock->channel;
	struct closed_end closed = {.ctx = sock_ctx(sock), .number = channel->number};
	struct driver *driver = &closed.ctx->driver;
	uint64_t deadline_ns = linger_deadline(sock);
	bool waits, flushed;
	struct link *link;
	int r = 0;

	sock_push(sock);
	waits = !flush_is_over(channel, NULL);
	flushed = linger(driver, flush_is_over, channel, deadline_ns);
	link = channel_link(channel);
	if (link) {
		closed.end = link->end;
		driver_take(driver, link, NULL); /* frames in the ring are unread, too */
	}
	/* A non-blocking socket's rest is sent by later calls. */
	if (!flushed && !sock->nonblock)
		r = failure(ETIMEDOUT, "the peer did not take all that was sent");
	else if (waits && channel->error)
		r = channel_failure(channel);
	sock_close_channel(sock, r < 0 ? CLOSE_RESET : sock_close_reason(sock));
	/* If time is over before CLOSE was sent, nothing is lost: later calls send it. */
	if (flushed && link)
		(void)linger(driver, close_is_over, &closed, deadline_ns);
	return r;
}

struct unlistening {
	const struct control *control;
	uint32_t request;
};

/* The name is free, or nobody is there who could say so. */
static bool unlisten_is_over(void *arg, struct focus *ret_focus)
{
	const struct unlistening *unlistening = arg;

	return unlistening->control->state != CONTROL_ATTACHED ||
	       !control_broker_there(unlistening->control) ||
	       !request_find(unlistening->control, unlistening->request);
}

static void close_listener(struct msg_sock *sock)
{
	struct control *control = &sock_ctx(sock)->control;
	struct unlistening unlistening = {
		.control = control, .request = request_unlisten(control, sock->handle)};

	(void)linger(
		&sock_ctx(sock)->driver, unlisten_is_over, &unlistening, linger_deadline(sock));
}

static int close_locked(struct msg_sock *sock)
{
	int r = 0;

	misuse_check_close(sock);
	if (sock->kind == SOCK_LISTENER && sock->state == SOCK_OPEN)
		close_listener(sock);
	if (sock->kind == SOCK_WATCH && sock->state == SOCK_OPEN)
		control_unwatch(&sock_ctx(sock)->control, sock->handle);
	if (sock->reset)
		sock_close_channel(sock, CLOSE_RESET);
	if (sock->channel)
		r = close_channel(sock);
	sock_discard(sock);
	return r;
}

PUBLIC int msg_close(struct msg_sock *sock)
{
	return sock ? CTX_CALL(sock_ctx(sock), -1, close_locked(sock)) : 0;
}
