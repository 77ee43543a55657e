/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* send and recv: the public data path. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "libmsg/private.h"

#define SEND_FLAGS (MSG_DONTWAIT | MSG_NOSIGNAL | MSG_EOR | MSG_MORE)
#define RECV_FLAGS (MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC | MSG_CMSG_CLOEXEC)

/* Why this socket can carry nothing now; 0: it can. */
static int sock_check(struct msg_sock *sock, int flags, int allowed)
{
	if (!ctx_same_process(sock->ctx))
		return failure(EBADFD, "the context belongs to the parent process");
	if (flags & ~allowed)
		return failure(EINVAL, "unsupported flags 0x%x", (unsigned)(flags & ~allowed));
	return 0;
}

static int channel_check(struct msg_sock *sock)
{
	if (sock->kind == SOCK_CHANNEL)
		return 0;
	if (sock->kind == SOCK_LISTENER)
		return failure(EINVAL, "a listener carries no messages");
	return failure(ENOTCONN, "not connected%s%s", sock->reason[0] ? ": " : "", sock->reason);
}

/* ---- sending ---------------------------------------------------------------------------- */

static int channel_failure(const struct channel *channel)
{
	return failure(channel->error, "%s",
		channel->why ? channel->why : "the other process or the link is gone");
}

static int send_state(const struct channel *channel)
{
	if (channel->error)
		return channel_failure(channel);
	if (channel->tx_shut)
		return failure(EPIPE, "this end was shut down for sending");
	if (channel->rx_closed)
		return failure(EPIPE, "the peer closed the channel");
	return 0;
}

/* Keeps the rest of a message that is partly sent: it was accepted whole. */
static int send_keep_rest(
	struct channel *channel, struct iov_cursor *cursor, uint32_t len, uint32_t done)
{
	struct msg_buf *buf = malloc(sizeof(*buf) + len);

	if (!buf)
		return -ENOMEM;
	*buf = (struct msg_buf){.len = len, .done = done};
	cursor_read(cursor, buf->data + done, len - done);
	STAILQ_INSERT_TAIL(&channel->out, buf, entry);
	channel->out_bytes += len;
	channel_block(channel);
	return 0;
}

/*
 * What MSG_MORE kept back may have taken this message with it and then lack room: it waits as the
 * message alone would have. When time is over nothing is lost: later calls send it.
 */
static void send_pushed(struct msg_sock *sock, uint64_t deadline)
{
	struct channel *channel = sock->channel;
	int r = deadline == DEADLINE_NOW ? -ETIMEDOUT : 0;

	if (channel->link)
		link_push(channel->link);
	while (r == 0 && channel->link && channel->link->state == LINK_UP &&
		channel->link->unpushed) {
		struct hot hot = {.link = channel->link, .want = 1};

		r = ctx_wait(sock->ctx, &hot, deadline);
		if (channel->link)
			link_push(channel->link);
	}
}

/* Sends the rest of a message whose first fragments are out: there is no way back. */
static int send_rest(struct msg_sock *sock, struct iov_cursor *cursor, uint32_t len, uint32_t done,
	uint64_t deadline)
{
	struct channel *channel = sock->channel;
	struct link *link = channel->link;
	int r = -EAGAIN, waited = deadline == DEADLINE_NOW ? -ETIMEDOUT : 0;

	channel->tx_partial = true;
	while (r == -EAGAIN && waited == 0) {
		uint32_t least = link_min_fragment(link, len - done);
		struct hot hot = {.link = link, .want = least ? least : 1};

		if (channel->tx_credit < least + FRAME_CHARGE)
			hot.want = 0;
		waited = ctx_wait(sock->ctx, &hot, deadline);
		if (channel->state == CHANNEL_DEAD || channel->rx_closed)
			break;
		r = channel_send(channel, cursor, len, &done, false);
	}
	channel->tx_partial = false;
	channel_changed(channel); /* other senders may go on */
	if (send_state(channel) < 0)
		return -1;
	if (r == -EAGAIN && send_keep_rest(channel, cursor, len, done) < 0) {
		channel_reset(channel, ENOMEM);
		return failure(
			ENOMEM, "out of memory in the middle of a message: the channel is lost");
	}
	send_pushed(sock, r == 0 ? deadline : DEADLINE_NOW);
	return 0;
}

static int send_length_check(const struct msg_sock *sock, size_t len)
{
	if (len > sock->sndbuf)
		return failure(EMSGSIZE, "%zu bytes: LIBMSG_SNDBUF is %u", len, sock->sndbuf);
	if (len > sock->channel->tx_maxmsg)
		return failure(
			EMSGSIZE, "%zu bytes: the peer takes %u", len, sock->channel->tx_maxmsg);
	return 0;
}

/* EAGAIN is about to be said: an event loop is owed POLLOUT. */
static void send_owe_pollout(struct msg_sock *sock, uint32_t len)
{
	uint32_t want;

	sock->out_edge = true;
	if (channel_can_send(sock->channel, len, &want))
		sock_changed(sock);
	else if (want)
		channel_block(sock->channel);
}

/* Lacks room or credit: waits, or says EAGAIN. 0: try again. */
static int send_wait(struct msg_sock *sock, uint32_t len, uint64_t deadline)
{
	struct channel *channel = sock->channel;
	struct hot hot = {.link = channel->link};
	uint32_t want;
	int r;

	if (channel_can_send(channel, len, &want))
		return 0;
	hot.want = want;
	if (deadline == DEADLINE_NOW) {
		send_owe_pollout(sock, len);
		ctx_look(sock->ctx);
		r = -ETIMEDOUT;
	} else {
		r = ctx_wait(sock->ctx, hot.link ? &hot : NULL, deadline);
	}
	if (r == 0 || channel->error || channel_can_send(channel, len, &want))
		return 0;
	if (r == -EINTR)
		return failure(EINTR, "interrupted by a signal");
	return failure(EAGAIN, "no room at the receiver");
}

/*
 * Whether credit would cut this message, or what `more` gathers from here on, into more frames and
 * hypercalls than it takes. CREDIT frames wake nobody who has enough: some may be there unread.
 */
static bool send_lacks_credit(const struct channel *channel, size_t len, bool more)
{
	const struct link *link = channel->link;
	uint32_t whole = min_u32((uint32_t)len, link->ops->frame_max);

	/* Taking frames in lets out what is kept back: better before anything is. */
	if (more && !link->unpushed)
		whole = max_u32(whole, link->ring_len / 2);
	return channel->tx_credit < whole + FRAME_CHARGE;
}

static ssize_t send_locked(
	struct msg_sock *sock, const struct iovec *iov, size_t n_iov, size_t len, int flags)
{
	struct channel *channel;
	bool more = sock->cork || (flags & MSG_MORE);
	uint64_t deadline = DEADLINE_NOW;
	struct iov_cursor cursor;
	bool tried = false;

	if (channel_check(sock) < 0 || send_length_check(sock, len) < 0)
		return -1;
	channel = sock->channel;
	cursor_init(&cursor, iov, n_iov);
	for (;;) {
		uint32_t done = 0;
		int r = -EAGAIN;

		if (channel_may_send(channel) && send_lacks_credit(channel, len, more))
			link_take(channel->link, NULL);
		if (send_state(channel) < 0)
			return -1;
		if (channel_may_send(channel))
			r = channel_send(channel, &cursor, (uint32_t)len, &done, more);
		if (r == 0 && !more)
			link_push(channel->link);
		if (r == 0 && (more || !channel->link->unpushed))
			return (ssize_t)len;
		if (r == -ECONNRESET)
			continue; /* send_state names it */
		if (!tried && !sock->nonblock && !(flags & MSG_DONTWAIT))
			deadline = ctx_deadline(sock->ctx, sock->sndtimeo_ms);
		if (r == 0) {
			send_pushed(sock, deadline);
			return (ssize_t)len;
		}
		if (done)
			return send_rest(sock, &cursor, (uint32_t)len, done, deadline) < 0
				       ? -1
				       : (ssize_t)len;
		if (tried && deadline == DEADLINE_NOW) {
			/* Refused once more, although there was room. */
			send_owe_pollout(sock, (uint32_t)len);
			return failure(EAGAIN, "no room at the receiver");
		}
		tried = true;
		if (send_wait(sock, (uint32_t)len, deadline) < 0)
			return -1;
	}
}

PUBLIC ssize_t msg_send(struct msg_sock *sock, const void *data, size_t len, int flags)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
	ssize_t r;

	if (sock_check(sock, flags, SEND_FLAGS) < 0)
		return -1;
	ctx_lock(sock->ctx);
	r = send_locked(sock, &iov, 1, len, flags);
	ctx_unlock(sock->ctx);
	return r;
}

static int message_check(const struct msghdr *message, size_t *ret_len)
{
	size_t len = 0;

	if (message->msg_name || message->msg_namelen || message->msg_control ||
		message->msg_controllen)
		return failure(EINVAL, "msg_name and msg_control must be empty");
	if (message->msg_iovlen > IOV_MAX)
		return failure(EINVAL, "%zu segments: %d at most", message->msg_iovlen, IOV_MAX);
	for (size_t i = 0; i < message->msg_iovlen; i++) {
		if (message->msg_iov[i].iov_len > SSIZE_MAX - len)
			return failure(EINVAL, "more bytes than ssize_t counts");
		len += message->msg_iov[i].iov_len;
	}
	*ret_len = len;
	return 0;
}

PUBLIC ssize_t msg_sendmsg(struct msg_sock *sock, const struct msghdr *message, int flags)
{
	size_t len;
	ssize_t r;

	if (sock_check(sock, flags, SEND_FLAGS) < 0 || message_check(message, &len) < 0)
		return -1;
	ctx_lock(sock->ctx);
	r = send_locked(sock, message->msg_iov, message->msg_iovlen, len, flags);
	ctx_unlock(sock->ctx);
	return r;
}

PUBLIC int msg_flush(struct msg_sock *sock)
{
	int r;

	if (sock_check(sock, 0, 0) < 0)
		return -1;
	ctx_lock(sock->ctx);
	r = channel_check(sock);
	if (r == 0 && sock->channel->link)
		link_push(sock->channel->link);
	ctx_unlock(sock->ctx);
	return r;
}

/* ---- receiving ---------------------------------------------------------------------------- */

/* Whether the channel has nothing more to give: 0 at its end, -1 if it broke, 1 if it goes on. */
static int receive_end(const struct channel *channel)
{
	if (channel->error)
		return channel_failure(channel);
	return channel->rx_closed || channel->rx_shut || channel->rx_ignore ? 0 : 1;
}

/* Waits for more. 0: look again. */
static int receive_wait(struct msg_sock *sock, uint64_t deadline)
{
	struct hot hot = {.link = sock->channel->link, .channel = sock->channel};
	int r;

	if (deadline == DEADLINE_NOW) {
		ctx_look(sock->ctx);
		return -ETIMEDOUT;
	}
	r = ctx_wait(sock->ctx, hot.link ? &hot : NULL, deadline);
	return r;
}

/*
 * Waits until a message is at the head of the queue, or was written to the reader's memory (reader
 * not NULL). 1: so it is; 0: the end; -1.
 */
static int receive_message(struct msg_sock *sock, struct reader *reader, uint64_t deadline)
{
	struct channel *channel = sock->channel;
	int r = 0, end;

	for (;;) {
		if (reader && reader->done)
			return 1;
		if (!STAILQ_EMPTY(&channel->in))
			break;
		end = receive_end(channel);
		if (end <= 0) {
			if (channel->reader == reader)
				channel->reader = NULL;
			return end;
		}
		if (reader && !channel->reader && !channel->partial)
			channel->reader = reader;
		if (channel->link)
			link_take(channel->link, channel);
		if ((reader && reader->done) || !STAILQ_EMPTY(&channel->in) ||
			receive_end(channel) <= 0)
			continue;
		if (r < 0)
			break;
		r = receive_wait(sock, deadline);
	}
	if (reader && channel->reader == reader && channel_leave_reader(channel) < 0) {
		channel->reader = NULL;
		channel_reset(channel, ENOMEM);
	}
	if (!STAILQ_EMPTY(&channel->in))
		return 1;
	if (r == -EINTR)
		return failure(EINTR, "interrupted by a signal");
	return failure(EAGAIN, "no message");
}

static void buf_consume(struct channel *channel)
{
	struct msg_buf *buf = STAILQ_FIRST(&channel->in);

	STAILQ_REMOVE_HEAD(&channel->in, entry);
	if (channel->link)
		channel->ctx->held -= buf->len;
	channel_read_done(channel, buf->cost);
	if (channel->link)
		link_push(channel->link);
}

static uint64_t receive_deadline(struct msg_sock *sock, int flags)
{
	if (sock->nonblock || (flags & MSG_DONTWAIT))
		return DEADLINE_NOW;
	return sock->rcvtimeo_ms < 0 ? DEADLINE_NEVER : ctx_deadline(sock->ctx, sock->rcvtimeo_ms);
}

/* ret_flags gets MSG_EOR with a message, MSG_TRUNC if it was cut. */
static ssize_t recv_locked(struct msg_sock *sock, const struct iovec *iov, size_t n_iov,
	size_t size, int flags, int *ret_flags)
{
	struct reader reader = {.iov = iov, .n_iov = n_iov, .size = size};
	struct channel *channel;
	struct iov_cursor cursor;
	struct msg_buf *buf;
	uint32_t len;
	int r;

	if (channel_check(sock) < 0)
		return -1;
	channel = sock->channel;
	r = receive_message(sock, flags & MSG_PEEK ? NULL : &reader, receive_deadline(sock, flags));
	channel->rx_end_read |= r == 0 && !(flags & MSG_PEEK);
	if (r <= 0)
		return r;
	*ret_flags |= MSG_EOR;
	if (reader.done)
		return reader.len;
	buf = STAILQ_FIRST(&channel->in);
	len = buf->len;
	cursor_init(&cursor, iov, n_iov);
	cursor_write(&cursor, buf->data, len < size ? len : size);
	if (len > size)
		*ret_flags |= MSG_TRUNC;
	if (!(flags & MSG_PEEK)) {
		buf_consume(channel);
		free(buf);
	}
	return flags & MSG_TRUNC || len < size ? (ssize_t)len : (ssize_t)size;
}

PUBLIC ssize_t msg_recv(struct msg_sock *sock, void *data, size_t len, int flags)
{
	struct iovec iov = {.iov_base = data, .iov_len = len};
	int ret_flags = 0;
	ssize_t r;

	if (sock_check(sock, flags, RECV_FLAGS) < 0)
		return -1;
	ctx_lock(sock->ctx);
	r = recv_locked(sock, &iov, 1, len, flags, &ret_flags);
	ctx_unlock(sock->ctx);
	return r;
}

PUBLIC ssize_t msg_recvmsg(struct msg_sock *sock, struct msghdr *message, int flags)
{
	size_t len;
	ssize_t r;

	if (sock_check(sock, flags, RECV_FLAGS) < 0 || message_check(message, &len) < 0)
		return -1;
	ctx_lock(sock->ctx);
	message->msg_flags = 0;
	r = recv_locked(
		sock, message->msg_iov, message->msg_iovlen, len, flags, &message->msg_flags);
	ctx_unlock(sock->ctx);
	return r;
}

PUBLIC ssize_t msg_recv_take(
	struct msg_sock *sock, int flags, const void **ret_data, struct msg_buf **ret_buf)
{
	struct msg_buf *buf;
	ssize_t r;

	if (sock_check(sock, flags, MSG_DONTWAIT) < 0)
		return -1;
	ctx_lock(sock->ctx);
	r = channel_check(sock);
	if (r == 0)
		r = receive_message(sock, NULL, receive_deadline(sock, flags));
	if (r == 0) {
		*ret_buf = NULL;
		sock->channel->rx_end_read = true;
	}
	if (r > 0) {
		buf = STAILQ_FIRST(&sock->channel->in);
		buf_consume(sock->channel);
		*ret_data = buf->data;
		*ret_buf = buf;
		r = buf->len;
	}
	ctx_unlock(sock->ctx);
	return r;
}

PUBLIC void msg_buf_free(struct msg_buf *buf)
{
	free(buf);
}
