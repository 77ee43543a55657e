/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Moves bytes between a program, two queues and a channel. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "compat/xenvchan/stream.h"

/* Received at once: more than that would take memory for nothing. */
#define PIECE 16384U
/* The least and the most that LIBMSG_RCVBUF takes, as far as it matters here. */
#define RCVBUF_MIN 8192U
#define RCVBUF_MAX (1U << 20)

int stream_init(struct stream *stream, size_t in_limit, size_t out_limit)
{
	*stream = (struct stream){.in.limit = in_limit, .out.limit = out_limit};
	stream->fd = eventfd(0, EFD_CLOEXEC);
	return stream->fd < 0 ? -errno : 0;
}

void stream_signal(const struct stream *stream)
{
	if (stream->fd >= 0)
		(void)eventfd_write(stream->fd, 1);
}

/* While there is no room for bytes, the thread must not be woken by those that lie there. */
static void stream_arm(struct stream *stream)
{
	bool armed = stream->sock && !stream->over && bytes_room(&stream->in);

	if (armed == stream->armed || !stream->sock)
		return;
	stream->armed = armed;
	(void)msg_setopt(stream->sock, LIBMSG_EVENTS, armed ? POLLIN : 0);
}

static void stream_end(struct stream *stream)
{
	if (stream->over)
		return;
	stream->over = true;
	stream_signal(stream);
}

/* Returns what msg_recv(3) says: 0, too, is the end. */
static ssize_t pull_piece(struct stream *stream, size_t len)
{
	void *space = bytes_space(&stream->in, len);
	ssize_t n;

	if (!space) {
		errno = ENOMEM;
		return -1;
	}
	n = msg_recv(stream->sock, space, len, MSG_DONTWAIT);
	if (n > 0)
		bytes_added(&stream->in, (size_t)n);
	return n;
}

/* Takes in up to len bytes. */
static void pull(struct stream *stream, size_t len)
{
	ssize_t n = 1;

	while (n > 0 && len) {
		n = pull_piece(stream, len < PIECE ? len : PIECE);
		if (n > 0)
			len -= (size_t)n;
	}
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		stream_end(stream);
}

static void pull_in(struct stream *stream)
{
	if (stream->sock && !stream->over)
		pull(stream, bytes_room(&stream->in));
	stream_arm(stream);
}

/* An event, if more bytes lie ready than before. */
static void news_check(struct stream *stream, size_t before)
{
	if (stream->in.len <= before)
		return;
	stream->unseen = true;
	stream_signal(stream);
}

/*
 * The end of a peer is seen at once, also if there is no room for all that it has sent, which
 * LIBMSG_RCVBUF bounds.
 */
static void peer_ends(struct stream *stream)
{
	size_t before = stream->in.len;

	pull(stream, SIZE_MAX);
	stream_end(stream);
	stream_arm(stream);
	news_check(stream, before);
}

/*
 * Sends what it can of len bytes; returns how many. The thread hears of a close, if that is why; of
 * a loss no event tells again.
 */
static size_t send_now(struct stream *stream, const void *data, size_t len)
{
	ssize_t n;

	if (!stream->sock || stream->over || !len)
		return 0;
	n = msg_send(stream->sock, data, len, MSG_DONTWAIT);
	if (n < 0 && errno == ECONNRESET)
		peer_ends(stream);
	return n > 0 ? (size_t)n : 0;
}

static size_t flush(struct stream *stream)
{
	size_t n = send_now(stream, bytes_first(&stream->out), stream->out.len);

	if (n)
		bytes_drop(&stream->out, n);
	return n;
}

void stream_attach(struct stream *stream, struct msg_sock *sock, struct watcher *watcher)
{
	size_t len = stream->in.limit;

	stream->sock = sock;
	stream->over = false;
	stream->armed = true; /* as a new socket is */
	len = len < RCVBUF_MIN ? RCVBUF_MIN : len > RCVBUF_MAX ? RCVBUF_MAX : len;
	(void)msg_setopt(sock, LIBMSG_NONBLOCK_OPT, 1);
	(void)msg_setopt(sock, LIBMSG_RCVBUF, (int64_t)len);
	msg_set_userdata(sock, watcher);
	(void)flush(stream);
	stream_signal(stream);
}

void stream_detach(struct stream *stream)
{
	char thrown_away[PIECE];
	size_t n = RCVBUF_MAX / PIECE; /* a peer that sends on and on is no reason to stay */

	/* Unread bytes would make the peer see a reset, where it may have more to read. */
	while (stream->sock && !stream->over && n-- &&
		msg_recv(stream->sock, thrown_away, sizeof(thrown_away), MSG_DONTWAIT) > 0)
		;
	(void)msg_close(stream->sock);
	stream->sock = NULL;
	stream->over = stream->armed = false;
}

void stream_destroy(struct stream *stream)
{
	stream_detach(stream);
	bytes_clear(&stream->in);
	bytes_clear(&stream->out);
	if (stream->fd >= 0)
		(void)close(stream->fd);
	stream->fd = -1;
}

void stream_events(struct stream *stream, short revents)
{
	size_t before = stream->in.len;

	if (flush(stream))
		stream_signal(stream);
	pull_in(stream);
	if ((revents & (POLLHUP | POLLERR)) && !stream->over)
		peer_ends(stream);
	news_check(stream, before);
}

void stream_look(struct stream *stream)
{
	stream->unseen = false;
	pull_in(stream);
}

static size_t take(struct stream *stream, void *data, size_t len)
{
	if (len > stream->in.len)
		len = stream->in.len;
	if (len) {
		memcpy(data, bytes_first(&stream->in), len);
		bytes_drop(&stream->in, len);
	}
	return len;
}

/* There is room again. The bytes that fill it are news to a program that reads no further. */
static void refill(struct stream *stream)
{
	size_t before = stream->in.len;

	pull_in(stream);
	news_check(stream, before);
}

size_t stream_read(struct stream *stream, void *data, size_t len)
{
	size_t n;

	stream->unseen = false;
	if (stream->in.len < len)
		pull_in(stream);
	n = take(stream, data, len);
	if (n && !stream->armed)
		refill(stream);
	return n;
}

size_t stream_write(struct stream *stream, const void *data, size_t len)
{
	size_t sent = 0, kept;
	void *space;

	if (stream->out.len)
		(void)flush(stream);
	if (!stream->out.len)
		sent = send_now(stream, data, len);
	kept = len - sent;
	if (kept > bytes_room(&stream->out))
		kept = bytes_room(&stream->out);
	if (!kept || stream->over)
		return sent;
	space = bytes_space(&stream->out, kept);
	if (!space) {
		stream_end(stream); /* a part of it may be on its way */
		return sent;
	}
	memcpy(space, (const char *)data + sent, kept);
	bytes_added(&stream->out, kept);
	return sent + kept;
}
