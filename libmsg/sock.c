/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sockets: listening, accepting, connecting, closing. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "libmsg/private.h"

#define LINGER_DEFAULT_MS 1000

struct msg_sock *sock_new(struct msg_ctx *ctx, enum sock_kind kind, unsigned flags)
{
	struct msg_sock *sock = calloc(1, sizeof(*sock));

	if (!sock)
		return NULL;
	sock->ctx = ctx;
	sock->kind = kind;
	sock->nonblock = flags & LIBMSG_NONBLOCK;
	sock->linger_ms = LINGER_DEFAULT_MS;
	sock->rcvtimeo_ms = sock->sndtimeo_ms = -1;
	sock->rcvbuf = sock->sndbuf = sock->maxmsg = MESSAGE_MAX_DEFAULT;
	TAILQ_INIT(&sock->pending);
	TAILQ_INSERT_TAIL(&ctx->socks, sock, entry);
	return sock;
}

void sock_free(struct msg_sock *sock)
{
	struct msg_ctx *ctx = sock->ctx;
	struct channel *channel;

	while ((channel = TAILQ_FIRST(&sock->pending))) {
		backlog_remove(channel);
		channel_close(channel, CLOSE_RESET);
	}
	if (sock->handle)
		HASH_DEL(ctx->listeners, sock);
	if (sock->request)
		request_abandon(ctx, sock->request);
	if (sock->ready)
		TAILQ_REMOVE(&ctx->ready, sock, entry_ready);
	TAILQ_REMOVE(&ctx->socks, sock, entry);
	free(sock);
}

void sock_set_channel(struct msg_sock *sock, struct channel *channel)
{
	sock->kind = SOCK_CHANNEL;
	sock->channel = channel;
	channel->sock = sock;
}

void backlog_add(struct msg_sock *listener, struct channel *channel)
{
	channel->listener = listener;
	TAILQ_INSERT_TAIL(&listener->pending, channel, entry_backlog);
	listener->n_pending++;
	sock_changed(listener);
}

void backlog_remove(struct channel *channel)
{
	TAILQ_REMOVE(&channel->listener->pending, channel, entry_backlog);
	channel->listener->n_pending--;
	channel->listener = NULL;
}

short sock_events(struct msg_sock *sock)
{
	switch (sock->kind) {
	case SOCK_LISTENER:
		if (sock->error)
			return POLLIN | POLLERR;
		return TAILQ_EMPTY(&sock->pending) ? 0 : POLLIN;
	case SOCK_CONNECTING:
		return 0;
	case SOCK_FAILED:
		return POLLIN | POLLOUT | POLLERR | POLLHUP;
	case SOCK_CHANNEL:
	default:
		return channel_events(sock->channel);
	}
}

void sock_changed(struct msg_sock *sock)
{
	struct msg_ctx *ctx = sock->ctx;

	ctx->kick = true;
	if (sock->ready)
		return;
	sock->ready = true;
	TAILQ_INSERT_TAIL(&ctx->ready, sock, entry_ready);
	if (ctx->ready_fd >= 0 && !ctx->ready_set) {
		ctx->ready_set = true;
		(void)eventfd_write(ctx->ready_fd, 1);
	}
}

static int type_check(int type)
{
	if (type == LIBMSG_SEQPACKET)
		return 0;
	return failure(EPROTONOSUPPORT, "channel type %d is not supported", type);
}

static int flags_check(unsigned flags, unsigned allowed)
{
	if (flags & ~allowed)
		return failure(EINVAL, "unknown flags 0x%x", flags & ~allowed);
	return 0;
}

static int process_check(const struct msg_ctx *ctx)
{
	if (ctx_same_process(ctx))
		return 0;
	return failure(EBADFD, "the context belongs to the parent process");
}

static uint32_t listener_next_handle(struct msg_ctx *ctx)
{
	struct msg_sock *found;

	do {
		if (++ctx->last_listener == 0)
			ctx->last_listener = 1;
		HASH_FIND(hh, ctx->listeners, &ctx->last_listener, sizeof(uint32_t), found);
	} while (found);
	return ctx->last_listener;
}

static struct msg_sock *listen_locked(
	struct msg_ctx *ctx, const char *name, int backlog, unsigned flags)
{
	struct control_message message = {.type = CONTROL_LISTEN,
		.listen = {.type = CHANNEL_SEQPACKET, .backlog = (uint32_t)backlog}};
	struct msg_sock *sock = sock_new(ctx, SOCK_LISTENER, flags);
	struct request *request;
	int r;

	if (!sock)
		return failure(ENOMEM, "out of memory"), NULL;
	sock->handle = listener_next_handle(ctx);
	sock->backlog = backlog;
	strcpy(sock->name, name); /* name_check bounds it */
	HASH_ADD(hh, ctx->listeners, handle, sizeof(sock->handle), sock);
	message.listen.listener = sock->handle;
	memcpy(message.listen.name, sock->name, NAME_SIZE);
	request = request_new(ctx, sock, &message);
	if (!request)
		return sock_free(sock), failure(ENOMEM, "out of memory"), NULL;
	r = request_wait(ctx, request, DEADLINE_NEVER);
	if (r < 0) {
		sock_free(sock);
		return failure(-r, "waiting for msgd to take the name %s: %s", name,
			       strerrordesc_np(-r)),
		       NULL;
	}
	if (request->error) {
		(void)failure(request->error, "listen on %s: %s", name, request->reason);
		sock_free(sock);
		return NULL;
	}
	request_free(ctx, request);
	return sock;
}

PUBLIC struct msg_sock *msg_listen(
	struct msg_ctx *ctx, const char *name, int type, int backlog, unsigned flags)
{
	struct msg_sock *sock;

	if (process_check(ctx) < 0 || type_check(type) < 0 ||
		flags_check(flags, LIBMSG_NONBLOCK) < 0)
		return NULL;
	if (name_check(name) < 0)
		return failure(EINVAL, "\"%.80s\" is no name: [A-Za-z0-9_][A-Za-z0-9._-]{0,62}",
			       name),
		       NULL;
	if (backlog < 1 || backlog > (int)BACKLOG_MAX)
		return failure(EINVAL, "a backlog of %d: 1 to %u", backlog, BACKLOG_MAX), NULL;
	ctx_lock(ctx);
	sock = listen_locked(ctx, name, backlog, flags);
	ctx_unlock(ctx);
	return sock;
}

/* Takes the first channel of the backlog and tells msgd of the free place. */
static struct msg_sock *accept_first(struct msg_sock *listener, unsigned flags)
{
	struct channel *channel = TAILQ_FIRST(&listener->pending);
	struct msg_ctx *ctx = listener->ctx;
	struct msg_sock *sock = sock_new(ctx, SOCK_CHANNEL, flags);

	if (!sock)
		return failure(ENOMEM, "out of memory"), NULL;
	backlog_remove(channel);
	sock_set_channel(sock, channel);
	if (channel->link) {
		struct control_message message = {.type = CONTROL_ACCEPTED,
			.accepted = {.end = channel->link->end, .channel = channel->number}};

		control_send(ctx, &message);
	}
	if (channel_events(channel) & (POLLIN | POLLERR | POLLHUP))
		sock_changed(sock);
	return sock;
}

PUBLIC struct msg_sock *msg_accept(struct msg_sock *listener, unsigned flags)
{
	struct msg_ctx *ctx = listener->ctx;
	struct msg_sock *sock = NULL;
	uint64_t deadline;
	int r = 0;

	if (process_check(ctx) < 0 || flags_check(flags, LIBMSG_NONBLOCK) < 0)
		return NULL;
	if (listener->kind != SOCK_LISTENER)
		return failure(EINVAL, "not a listener"), NULL;
	ctx_lock(ctx);
	deadline = listener->nonblock ? DEADLINE_NOW : ctx_deadline(ctx, listener->rcvtimeo_ms);
	while (TAILQ_EMPTY(&listener->pending) && !listener->error && r == 0)
		r = ctx_wait(ctx, NULL, deadline);
	if (!TAILQ_EMPTY(&listener->pending))
		sock = accept_first(listener, flags);
	else if (listener->error)
		(void)failure(listener->error, "the name is lost: %s", listener->reason);
	else if (r == -EINTR)
		(void)failure(EINTR, "interrupted by a signal");
	else
		(void)failure(EAGAIN, "no channel waits to be accepted");
	if (!sock && listener->nonblock)
		ctx_look(ctx);
	ctx_unlock(ctx);
	return sock;
}

/* Waits for a blocking connect's answer. The socket is freed on failure. */
static struct msg_sock *connect_wait(struct msg_sock *sock, const char *address, int timeout_ms)
{
	struct msg_ctx *ctx = sock->ctx;
	struct request *request = sock->request;
	int r = request_wait(ctx, request, ctx_deadline(ctx, timeout_ms));

	if (r < 0) {
		(void)failure(-r, "connect to %s: %s", address,
			r != -EHOSTDOWN	      ? strerrordesc_np(-r)
			: ctx->control.parked ? "this domain is quiesced"
					      : "msgd is away");
		sock_free(sock);
		return NULL;
	}
	if (request->error) {
		(void)failure(request->error, "connect to %s: %s", address, request->reason);
		sock_free(sock);
		return NULL;
	}
	request_free(ctx, request);
	sock->out_edge = false; /* this return says it; msg_ctx_dispatch need not */
	return sock;
}

PUBLIC struct msg_sock *msg_connect(
	struct msg_ctx *ctx, const char *address, int type, unsigned flags, int timeout_ms)
{
	struct control_message message = {.type = CONTROL_CONNECT};
	char domain[DOMAIN_NAME_SIZE], name[NAME_SIZE];
	struct msg_sock *sock;

	if (process_check(ctx) < 0 || type_check(type) < 0 ||
		flags_check(flags, LIBMSG_NONBLOCK | LIBMSG_WAIT_NAME) < 0)
		return NULL;
	if (address_split(address, domain, name) < 0)
		return failure(EINVAL, "\"%.200s\" is no address: [DOMAIN/]NAME", address), NULL;
	message.connect.type = CHANNEL_SEQPACKET;
	message.connect.flags = flags & LIBMSG_WAIT_NAME ? CONNECT_WAIT_NAME : 0;
	strcpy(message.connect.address, address); /* address_split bounds it */
	ctx_lock(ctx);
	message.connect.transport = ctx->transport;
	sock = sock_new(ctx, SOCK_CONNECTING, flags);
	if (sock && !request_new(ctx, sock, &message)) {
		sock_free(sock);
		sock = NULL;
	}
	if (!sock)
		(void)failure(ENOMEM, "out of memory");
	else if (!(flags & LIBMSG_NONBLOCK))
		sock = connect_wait(sock, address, timeout_ms);
	ctx_unlock(ctx);
	return sock;
}

/* Nobody may call again to send what found no room: waits for it, up to LINGER. */
static void shutdown_linger(struct msg_sock *sock)
{
	struct channel *channel = sock->channel;
	uint64_t deadline = ctx_deadline(sock->ctx, sock->nonblock ? 0 : sock->linger_ms);
	int r = 0;

	while (r != -ETIMEDOUT && channel->state == CHANNEL_OPEN && !channel->rx_closed &&
		!channel->error && (!channel->tx_shut_sent || channel->link->unpushed))
		r = ctx_wait(sock->ctx, NULL, deadline);
}

PUBLIC int msg_shutdown(struct msg_sock *sock, int how)
{
	struct msg_ctx *ctx = sock->ctx;
	struct channel *channel;
	int r = 0;

	if (process_check(ctx) < 0)
		return -1;
	if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
		return failure(EINVAL, "%d is none of SHUT_RD, SHUT_WR, SHUT_RDWR", how);
	ctx_lock(ctx);
	channel = sock->channel;
	if (!channel || channel->state != CHANNEL_OPEN) {
		r = failure(ENOTCONN, "no channel stands");
	} else {
		if (how != SHUT_WR)
			channel_ignore(channel);
		if (how != SHUT_RD) {
			channel->tx_shut = true;
			if (channel_flush(channel) == -EAGAIN)
				channel_block(channel);
			shutdown_linger(sock);
		}
		channel_changed(channel);
	}
	ctx_unlock(ctx);
	return r;
}

/* CLOSE would find no room. */
static bool close_lacks_room(const struct channel *channel)
{
	struct link *link = channel->link;

	return link && link->state == LINK_UP &&
	       (link->unpushed || link->ops->room(link, 0) == -EAGAIN);
}

/* Waits until what was accepted for sending is in the ring. False: it is not. */
static bool close_linger(struct msg_sock *sock, uint64_t deadline)
{
	struct msg_ctx *ctx = sock->ctx;
	int r = 0;

	while (!STAILQ_EMPTY(&sock->channel->out)) {
		if (r == -ETIMEDOUT)
			return false;
		r = ctx_wait(ctx, NULL, deadline);
	}
	/* If time is over now, nothing is lost: later calls send it. */
	while (r != -ETIMEDOUT && close_lacks_room(sock->channel)) {
		channel_block(sock->channel);
		r = ctx_wait(ctx, NULL, deadline);
	}
	return true;
}

enum close_reason sock_close_reason(struct msg_sock *sock)
{
	const struct channel *channel = sock->channel;
	bool unread;

	if (channel->link)
		link_take(channel->link, NULL); /* what lies in the ring is unread, too */
	unread = !STAILQ_EMPTY(&channel->in) || channel->partial;
	return unread && !channel->rx_closed ? CLOSE_RESET : CLOSE_NORMAL;
}

/* Whether this end of a channel, closed by its application, has not said CLOSE yet. */
static bool close_is_due(struct msg_ctx *ctx, uint32_t end, uint32_t number)
{
	struct link *link = link_find(ctx, end);
	const struct channel *channel = link ? channel_find(link, number) : NULL;

	return link && link->state == LINK_UP &&
	       (link->unpushed || (channel && channel->state == CHANNEL_CLOSING &&
					  channel->tx_open && !channel->tx_closed));
}

static int close_channel(struct msg_sock *sock)
{
	struct channel *channel = sock->channel;
	struct msg_ctx *ctx = sock->ctx;
	uint64_t deadline = ctx_deadline(ctx, sock->nonblock ? 0 : sock->linger_ms);
	uint32_t end = channel->link ? channel->link->end : 0, number = channel->number;
	enum close_reason reason;
	bool flushed;
	int r = 0;

	if (channel->link)
		link_push(channel->link);
	flushed = close_linger(sock, deadline);
	reason = sock_close_reason(sock);
	/* A non-blocking socket's rest is sent by later calls. */
	channel_close(channel, flushed || sock->nonblock ? reason : CLOSE_RESET);
	/* Over argo-strict only sending shows that there is no room. Late, nothing is lost. */
	while (flushed && r != -ETIMEDOUT && close_is_due(ctx, end, number))
		r = ctx_wait(ctx, NULL, deadline);
	if (flushed || sock->nonblock)
		return 0;
	return failure(ETIMEDOUT, "the peer did not take all that was sent");
}

PUBLIC int msg_close(struct msg_sock *sock)
{
	struct msg_ctx *ctx;
	int r = 0;

	if (!sock)
		return 0;
	ctx = sock->ctx;
	if (process_check(ctx) < 0)
		return -1;
	ctx_lock(ctx);
	if (sock->kind == SOCK_LISTENER && !sock->error) {
		struct control_message message = {
			.type = CONTROL_UNLISTEN, .unlisten = {.listener = sock->handle}};

		(void)request_new(ctx, NULL, &message);
	}
	if (sock->channel)
		r = close_channel(sock);
	sock_free(sock);
	ctx_unlock(ctx);
	return r;
}
