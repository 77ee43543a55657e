/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See channel-end.h. */
#include "msgio/channel-end.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/macro.h"
#include "msgio/loop.h"

/* As libmsg's reasons. */
#define REASON_SIZE 128U

/*
 * A stream's bytes that lie unread, at most: a default ring of Argo, or two of grants. More brings
 * no speed, and a thousand connections that stand still take a third of a GiB.
 */
#define STREAM_WINDOW (256 << 10)

struct channel_end {
	struct sock_handler handler;
	struct end end;
	struct msg_sock *sock; /* owned */
	short interest;
	char reason[REASON_SIZE];
};

static struct channel_end *channel_end_of(struct end *end)
{
	return container_of(end, struct channel_end, end);
}

/* errno of a call that failed; the reason of a loss is kept. */
static int failed(struct channel_end *channel)
{
	int error = errno;

	if (error != EAGAIN && error != EPIPE && !channel->reason[0])
		(void)snprintf(channel->reason, sizeof(channel->reason), "%s", msg_reason());
	return -error;
}

static void set_gone(struct channel_end *channel, short revents)
{
	if (revents & POLLERR)
		channel->end.gone = -ECONNRESET;
	else if (revents & POLLHUP)
		channel->end.gone = -EPIPE;
}

/* The receive that took the end may have taken in the peer's close, of which no event tells. */
static int taken_end(struct channel_end *channel)
{
	struct msg_pollfd fd = {.sock = channel->sock};

	if (msg_poll(&fd, 1, 0) > 0)
		set_gone(channel, fd.revents);
	return TAKE_END;
}

static void release_buf(void *owner)
{
	msg_buf_free(owner);
}

static int channel_take(struct end *end, struct piece *ret_piece)
{
	struct channel_end *channel = channel_end_of(end);
	struct msg_buf *buf;
	const void *data;
	ssize_t n = msg_recv_take(channel->sock, MSG_DONTWAIT, &data, &buf);

	if (n < 0)
		return failed(channel);
	if (!buf)
		return taken_end(channel);
	*ret_piece = (struct piece){
		.data = data, .len = (size_t)n, .owner = buf, .release = release_buf};
	return TAKE_PIECE;
}

static ssize_t channel_give(struct end *end, const char *data, size_t len)
{
	struct channel_end *channel = channel_end_of(end);
	ssize_t n = msg_send(channel->sock, data, len, MSG_DONTWAIT);

	return n < 0 ? failed(channel) : n;
}

/* If the channel is lost, a receive says so. */
static int channel_finish(struct end *end)
{
	(void)msg_shutdown(channel_end_of(end)->sock, SHUT_WR);
	return 0;
}

static void channel_wait(struct end *end, bool in, bool out)
{
	struct channel_end *channel = channel_end_of(end);
	short interest = (short)((in ? POLLIN : 0) | (out ? POLLOUT : 0));

	if (interest != channel->interest)
		(void)msg_setopt(channel->sock, LIBMSG_EVENTS, interest);
	channel->interest = interest;
}

/* Messages that lay there before are a window's at most. One that is unread makes a reset. */
static void channel_ignore(struct end *end)
{
	struct msg_sock *sock = channel_end_of(end)->sock;
	struct msg_buf *buf;
	const void *data;

	(void)msg_shutdown(sock, SHUT_RD);
	while (msg_recv_take(sock, MSG_DONTWAIT, &data, &buf) >= 0 && buf)
		msg_buf_free(buf);
}

static int channel_close(struct end *end, bool reset)
{
	struct channel_end *channel = channel_end_of(end);
	int r;

	if (reset)
		(void)msg_setopt(channel->sock, LIBMSG_RESET, 1);
	r = msg_close(channel->sock) < 0 ? -errno : 0;
	free(channel);
	return r;
}

static const struct end_ops channel_ops = {
	.take = channel_take,
	.give = channel_give,
	.finish = channel_finish,
	.wait = channel_wait,
	.ignore = channel_ignore,
	.close = channel_close,
};

static void on_channel(struct sock_handler *handler, short revents)
{
	struct channel_end *channel = container_of(handler, struct channel_end, handler);

	set_gone(channel, revents);
	if (channel->end.ready)
		channel->end.ready(channel->end.arg);
}

struct end *channel_end_new(struct msg_sock *sock)
{
	struct channel_end *channel = calloc(1, sizeof(*channel));
	int64_t type;

	if (!channel) {
		(void)msg_setopt(sock, LIBMSG_RESET, 1);
		(void)msg_close(sock);
		return NULL;
	}
	channel->handler.fn = on_channel;
	channel->end.ops = &channel_ops;
	channel->sock = sock;
	channel->interest = POLLIN;
	msg_set_userdata(sock, &channel->handler);
	channel_wait(&channel->end, false, false);
	if (msg_getopt(sock, LIBMSG_TYPE, &type) == 0 && type == LIBMSG_STREAM)
		(void)msg_setopt(sock, LIBMSG_RCVBUF, STREAM_WINDOW);
	return &channel->end;
}

void channel_end_linger(struct end *end)
{
	struct channel_end *channel = channel_end_of(end);

	(void)msg_setopt(channel->sock, LIBMSG_NONBLOCK_OPT, 0);
	(void)msg_setopt(channel->sock, LIBMSG_LINGER, -1);
}

int64_t channel_end_drops(struct end *end)
{
	int64_t drops = 0;

	(void)msg_getopt(channel_end_of(end)->sock, LIBMSG_DROPS, &drops);
	return drops;
}

const char *channel_end_reason(struct end *end)
{
	struct channel_end *channel = channel_end_of(end);

	if (end->ops != &channel_ops)
		return "";
	if (end->gone && msg_flush(channel->sock) < 0) /* an event alone told of the loss */
		(void)failed(channel);
	return channel->reason;
}
