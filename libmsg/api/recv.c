/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Receiving. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "libmsg/api/ctx.h"

#define RECV_FLAGS (MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC | MSG_CMSG_CLOEXEC)

int channel_failure(const struct channel *channel)
{
	const char *why = channel->rx_closed ? "the peer closed the channel without reading all"
					     : strerrordesc_np(channel->error);

	return failure(channel->error, "%s", channel->why ? channel->why : why);
}

int message_check(const struct msghdr *message, size_t *ret_len)
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

/* The message is there, whole, or none will come. */
static bool receive_is_over(void *arg, struct focus *ret_focus)
{
	struct reader *reader = arg;
	struct channel *channel = reader->channel;

	if (reader->done || !STAILQ_EMPTY(&channel->in) || channel->error ||
		channel_at_end(channel))
		return true;
	if (reader->iov && !channel->reader && !channel->partial)
		channel->reader = reader;
	ret_focus->link = channel_link(channel);
	ret_focus->channel = channel;
	return false;
}

static uint64_t receive_deadline(const struct msg_sock *sock, int flags)
{
	if (sock->nonblock || (flags & MSG_DONTWAIT))
		return DEADLINE_NOW;
	return sock->rcvtimeo_ms < 0 ? DEADLINE_NEVER
				     : driver_deadline(&sock_ctx(sock)->driver, sock->rcvtimeo_ms);
}

/* No message was written to the reader's memory: 1: one is in the queue; 0: the end; -1. */
static int receive_queued(struct channel *channel, struct reader *reader, int waited)
{
	if (channel->reader == reader && channel_leave_reader(channel) < 0)
		channel_fail(channel, ENOMEM,
			"out of memory in the middle of a message: the channel is lost");
	if (!STAILQ_EMPTY(&channel->in))
		return 1;
	if (channel->error)
		return channel_failure(channel);
	if (channel_at_end(channel))
		return 0;
	if (waited == -EINTR)
		return failure(EINTR, "interrupted by a signal");
	return failure(EAGAIN, "no message");
}

/* Takes the message at the head of the queue; its credit goes back. */
static struct msg_buf *take_first(struct channel *channel)
{
	struct msg_buf *buf = channel_take_first(channel);

	channel_read_done(channel, buf->cost);
	return buf;
}

/* ret_flags gets MSG_EOR with a message, MSG_TRUNC if it was cut. */
static ssize_t recv_locked(struct msg_sock *sock, const struct iovec *iov, size_t n_iov,
	size_t size, int flags, int *ret_flags)
{
	struct channel *channel = sock->channel;
	struct reader reader = {.channel = channel, .n_iov = n_iov, .size = size};
	struct iov_cursor cursor;
	struct msg_buf *buf;
	uint32_t len;
	int r;

	if (flags_check((unsigned)flags, RECV_FLAGS) < 0 || channel_check(sock) < 0)
		return -1;
	/* A message that is peeked at stays in the queue; any other may come straight here. */
	reader.iov = flags & MSG_PEEK ? NULL : iov;
	r = driver_wait(
		&sock_ctx(sock)->driver, receive_is_over, &reader, receive_deadline(sock, flags));
	if (reader.done) {
		*ret_flags |= MSG_EOR;
		return reader.len;
	}
	r = receive_queued(channel, &reader, r);
	channel->rx_end_read |= r == 0 && !(flags & MSG_PEEK);
	if (r <= 0)
		return r;
	*ret_flags |= MSG_EOR;
	buf = STAILQ_FIRST(&channel->in);
	len = buf->len;
	cursor_init(&cursor, iov, n_iov);
	cursor_write(&cursor, buf->data, len < size ? len : size);
	if (len > size)
		*ret_flags |= MSG_TRUNC;
	if (!(flags & MSG_PEEK))
		free(take_first(channel));
	return flags & MSG_TRUNC || len < size ? (ssize_t)len : (ssize_t)size;
}

PUBLIC ssize_t msg_recv(struct msg_sock *sock, void *data, size_t len, int flags)
{
	struct iovec iov = {.iov_base = data, .iov_len = len};
	int ret_flags = 0;

	return CTX_CALL(sock_ctx(sock), -1, recv_locked(sock, &iov, 1, len, flags, &ret_flags));
}

static ssize_t recvmsg_locked(struct msg_sock *sock, struct msghdr *message, int flags)
{
	size_t len;

	if (message_check(message, &len) < 0)
		return -1;
	message->msg_flags = 0;
	return recv_locked(
		sock, message->msg_iov, message->msg_iovlen, len, flags, &message->msg_flags);
}

PUBLIC ssize_t msg_recvmsg(struct msg_sock *sock, struct msghdr *message, int flags)
{
	return CTX_CALL(sock_ctx(sock), -1, recvmsg_locked(sock, message, flags));
}

static ssize_t take_locked(
	struct msg_sock *sock, int flags, const void **ret_data, struct msg_buf **ret_buf)
{
	struct reader reader = {.channel = sock->channel};
	int r;

	if (flags_check((unsigned)flags, MSG_DONTWAIT) < 0 || channel_check(sock) < 0)
		return -1;
	r = driver_wait(
		&sock_ctx(sock)->driver, receive_is_over, &reader, receive_deadline(sock, flags));
	r = receive_queued(sock->channel, &reader, r);
	if (r == 0) {
		*ret_buf = NULL;
		sock->channel->rx_end_read = true;
	}
	if (r <= 0)
		return r;
	*ret_buf = take_first(sock->channel);
	*ret_data = (*ret_buf)->data;
	return (*ret_buf)->len;
}

PUBLIC ssize_t msg_recv_take(
	struct msg_sock *sock, int flags, const void **ret_data, struct msg_buf **ret_buf)
{
	return CTX_CALL(sock_ctx(sock), -1, take_locked(sock, flags, ret_data, ret_buf));
}

PUBLIC void msg_buf_free(struct msg_buf *buf)
{
	free(buf);
}
