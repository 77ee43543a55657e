/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Receiving. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/probe.h"
#include "libmsg/api/ctx.h"

#define RECV_FLAGS                                                                                 \
	(MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC | MSG_WAITALL | MSG_NOSIGNAL | MSG_CMSG_CLOEXEC)

const char *channel_why(const struct channel *channel)
{
	if (channel->why)
		return channel->why;
	return channel->rx_closed ? "the peer reset the channel, or closed it without reading all"
				  : strerrordesc_np(channel->error);
}

int channel_failure(struct channel *channel)
{
	channel->end_taken = channel_end(channel);
	return failure(channel->error, "%s", channel_why(channel));
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
	if (reader->direct && !channel->reader && !channel->partial)
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

/*
 * Waits until something is there, and has it written to the reader's memory if it comes from now
 * on. 1: it is there, or was written (reader.done); 0: the end; -1.
 */
static inline __attribute__((always_inline)) int receive_wait(
	struct msg_sock *sock, struct reader *reader, int flags, uint64_t deadline_ns)
{
	struct channel *channel = sock->channel;
	uint8_t taken = channel->end_taken;
	int r = sock_wait(sock, "msg_recv", receive_is_over, reader, deadline_ns);

	if (reader->done)
		return 1;
	r = receive_queued(channel, reader, r);
	if (flags & MSG_PEEK)
		channel->end_taken = taken;
	else if (r == 0)
		channel->end_taken = channel_end(channel);
	return r;
}

/* A message that is the next thing in the ring, and wanted there, comes with few steps. */
static inline __attribute__((always_inline)) bool receive_at_once(
	struct msg_sock *sock, struct reader *reader)
{
	const struct channel *channel = reader->channel;

	return channel->set && !channel->error && reader->direct &&
	       driver_read_whole(&sock_ctx(sock)->driver, reader);
}

/* ret_flags gets MSG_EOR with a message, MSG_TRUNC if it was cut. */
static inline __attribute__((always_inline)) ssize_t recv_message(struct msg_sock *sock,
	const struct iov_cursor *cursor, size_t size, int flags, uint64_t deadline_ns,
	int *ret_flags)
{
	struct channel *channel = sock->channel;
	/* A message that is peeked at stays in the queue; any other may come straight here. */
	struct reader reader = {
		.channel = channel, .cursor = *cursor, .size = size, .direct = !(flags & MSG_PEEK)};
	struct msg_buf *buf;
	uint32_t len;
	int r = 1;

	if (!receive_at_once(sock, &reader))
		r = receive_wait(sock, &reader, flags, deadline_ns);
	if (r <= 0)
		return r;
	*ret_flags |= MSG_EOR;
	if (reader.done) {
		PROBE(libmsg, recv, channel, channel->number, reader.len);
		return reader.len;
	}
	buf = STAILQ_FIRST(&channel->in);
	len = buf->len;
	cursor_write(&reader.cursor, buf->data, len < size ? len : size);
	if (len > size)
		*ret_flags |= MSG_TRUNC;
	if (!(flags & MSG_PEEK)) {
		PROBE(libmsg, recv, channel, channel->number, len);
		free(take_first(channel));
	}
	return flags & MSG_TRUNC || len < size ? (ssize_t)len : (ssize_t)size;
}

/* As much as is there; with MSG_WAITALL all, unless the end, an error or a signal comes first. */
static ssize_t recv_stream(struct msg_sock *sock, const struct iov_cursor *cursor, size_t size,
	int flags, uint64_t deadline_ns)
{
	struct channel *channel = sock->channel;
	bool peek = flags & MSG_PEEK;
	struct reader reader = {.cursor = *cursor};
	int r, before = kept_errno;
	uint8_t taken = channel->end_taken;
	size_t done = 0;

	do {
		reader = (struct reader){.channel = channel,
			.cursor = reader.cursor,
			.size = size - done,
			.direct = !peek};
		r = receive_wait(sock, &reader, flags, deadline_ns);
		if (r <= 0 && !done)
			return r;
		if (r <= 0) { /* the next call says why no more came */
			kept_errno = before;
			channel->end_taken = taken;
			break;
		}
		done += reader.len;
		done += channel_read_stream(channel, &reader.cursor, size - done, peek);
	} while ((flags & MSG_WAITALL) && !peek && done < size);
	if (!peek)
		PROBE(libmsg, recv, channel, channel->number, done);
	return (ssize_t)done;
}

static ssize_t recv_until(struct msg_sock *sock, const struct iovec *iov, size_t n_iov, size_t size,
	int flags, uint64_t deadline_ns, int *ret_flags)
{
	struct iov_cursor cursor;

	if (message_flags_check(flags, RECV_FLAGS) < 0)
		return -1;
	cursor_init(&cursor, iov, n_iov);
	if (sock->kind == SOCK_WATCH)
		return watch_recv(sock, &cursor, size, flags, deadline_ns, ret_flags);
	if (channel_check(sock) < 0)
		return -1;
	return sock->type == CHANNEL_STREAM
		       ? recv_stream(sock, &cursor, size, flags, deadline_ns)
		       : recv_message(sock, &cursor, size, flags, deadline_ns, ret_flags);
}

PUBLIC ssize_t msg_recv(struct msg_sock *sock, void *data, size_t len, int flags)
{
	struct iovec iov = {.iov_base = data, .iov_len = len};
	int ret_flags = 0;

	return CTX_CALL(sock_ctx(sock), -1,
		recv_until(sock, &iov, 1, len, flags, receive_deadline(sock, flags), &ret_flags));
}

static ssize_t recvmsg_until(
	struct msg_sock *sock, struct msghdr *message, int flags, uint64_t deadline_ns)
{
	size_t len;

	if (message_check(message, &len) < 0)
		return -1;
	message->msg_flags = 0;
	return recv_until(sock, message->msg_iov, message->msg_iovlen, len, flags, deadline_ns,
		&message->msg_flags);
}

PUBLIC ssize_t msg_recvmsg(struct msg_sock *sock, struct msghdr *message, int flags)
{
	return CTX_CALL(sock_ctx(sock), -1,
		recvmsg_until(sock, message, flags, receive_deadline(sock, flags)));
}

/* Until n messages are there, the time is over, or, with MSG_WAITFORONE, until no more is there. */
static int recvmmsg_until(struct msg_sock *sock, struct mmsghdr *messages, unsigned n, int flags,
	uint64_t deadline_ns)
{
	int before = kept_errno;
	uint8_t taken = sock->channel ? sock->channel->end_taken : 0;
	unsigned done;

	for (done = 0; done < min_u32(n, IOV_MAX); done++) {
		struct msghdr *message = &messages[done].msg_hdr;
		ssize_t r = recvmsg_until(sock, message, flags & ~MSG_WAITFORONE, deadline_ns);

		if (r < 0 && !done)
			return -1;
		if (r < 0) { /* the next call says why no more came */
			kept_errno = before;
			if (sock->channel)
				sock->channel->end_taken = taken;
			break;
		}
		messages[done].msg_len = (unsigned)r;
		if (r == 0 && !(message->msg_flags & MSG_EOR))
			break; /* the end */
		if (flags & MSG_WAITFORONE)
			deadline_ns = DEADLINE_NOW;
	}
	return (int)done;
}

static int recvmmsg_locked(
	struct msg_sock *sock, struct mmsghdr *messages, unsigned n, int flags, int timeout_ms)
{
	uint64_t deadline_ns = driver_deadline(&sock_ctx(sock)->driver, timeout_ms);

	return recvmmsg_until(
		sock, messages, n, flags, min_u64(deadline_ns, receive_deadline(sock, flags)));
}

PUBLIC int msg_recvmmsg(
	struct msg_sock *sock, struct mmsghdr *messages, unsigned n, int flags, int timeout_ms)
{
	return CTX_CALL(sock_ctx(sock), -1, recvmmsg_locked(sock, messages, n, flags, timeout_ms));
}

static ssize_t take_locked(
	struct msg_sock *sock, int flags, const void **ret_data, struct msg_buf **ret_buf)
{
	struct channel *channel = sock->channel;
	struct reader reader = {.channel = channel};
	struct msg_buf *buf;
	uint32_t start;
	int r;

	if (message_flags_check(flags, MSG_DONTWAIT) < 0)
		return -1;
	if (sock->kind == SOCK_WATCH)
		return watch_take(sock, receive_deadline(sock, flags), ret_data, ret_buf);
	if (channel_check(sock) < 0)
		return -1;
	r = receive_wait(sock, &reader, flags, receive_deadline(sock, flags));
	if (r == 0)
		*ret_buf = NULL;
	if (r <= 0)
		return r;
	buf = take_first(channel);
	start = sock->type == CHANNEL_STREAM ? buf->done : 0;
	*ret_buf = buf;
	*ret_data = buf->data + start;
	PROBE(libmsg, recv, channel, channel->number, buf->len - start);
	return buf->len - start;
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
