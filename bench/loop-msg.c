/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Many channels of one context of libmsg, under msg_ctx_dispatch: one descriptor for all. */
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "bench/bench.h"
#include "libmsg/libmsg.h"

#define TIMEOUT_MS 30000

static void loop_open(struct end *end)
{
	end->ctx = bench_context(end->pair->hv, end->role ? "left" : "right", LIBMSG_ONE_THREAD,
		end->pair->transport, TIMEOUT_MS);
	end->sock = msg_ctx_fd(end->ctx);
	if (end->sock < 0)
		bench_fail("descriptor");
	if (end->role == 0)
		return;
	end->listener = msg_listen(end->ctx, strchr(end->pair->address, '/') + 1, LIBMSG_SEQPACKET,
		4096, LIBMSG_NONBLOCK);
	if (!end->listener)
		bench_fail("listen");
}

static void loop_connect(struct end *end, struct channel *channel)
{
	channel->sock = msg_connect(end->ctx, end->pair->address, LIBMSG_SEQPACKET,
		LIBMSG_NONBLOCK | LIBMSG_WAIT_NAME, TIMEOUT_MS);
	if (!channel->sock)
		bench_fail("connect");
	msg_set_userdata(channel->sock, channel);
}

/* Sends block, receives do not: MSG_DONTWAIT. */
static bool loop_accept(struct end *end, struct channel *channel)
{
	channel->sock = msg_accept(end->listener, 0);
	if (!channel->sock && errno != EAGAIN)
		bench_fail("accept");
	if (channel->sock)
		msg_set_userdata(channel->sock, channel);
	return channel->sock;
}

/* From here on sends block. */
static void connect_done(struct msg_sock *sock)
{
	int64_t error = 0;

	if (msg_getopt(sock, LIBMSG_ERROR, &error) < 0 || error ||
		msg_setopt(sock, LIBMSG_NONBLOCK_OPT, 0) < 0) {
		errno = (int)error;
		bench_fail("connect");
	}
}

static unsigned loop_wait(struct end *end, struct loop_ready ready[static LOOP_READY_MAX])
{
	struct pollfd fd = {.fd = end->sock, .events = POLLIN};
	struct msg_event events[LOOP_READY_MAX];
	int n;

	while ((n = msg_ctx_dispatch(end->ctx, events, LOOP_READY_MAX)) == 0) {
		if (poll(&fd, 1, -1) < 0)
			err(1, "poll");
	}
	if (n < 0)
		bench_fail("dispatch");
	for (int i = 0; i < n; i++) {
		struct msg_sock *sock = events[i].sock;
		enum loop_event event = sock == end->listener ? LOOP_ACCEPT : LOOP_READABLE;

		if (event != LOOP_ACCEPT && events[i].revents & POLLOUT) {
			connect_done(sock);
			event = LOOP_CONNECTED;
		}
		ready[i] = (struct loop_ready){event, msg_userdata(sock)};
	}
	return (unsigned)n;
}

static void loop_send(struct channel *channel, const void *data, size_t len)
{
	if (msg_send(channel->sock, data, len, 0) != (ssize_t)len)
		bench_fail("send");
}

static size_t loop_recv(struct channel *channel, void *data, size_t size)
{
	ssize_t n = msg_recv(channel->sock, data, size, MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN)
		bench_fail("recv");
	return n < 0 ? 0 : (size_t)n;
}

static void loop_close_channel(struct end *end, struct channel *channel)
{
	if (msg_close(channel->sock) < 0)
		bench_fail("close");
}

static void loop_close(struct end *end)
{
	msg_ctx_close(end->ctx);
}

const struct loop loop_msg = {
	.open = loop_open,
	.connect = loop_connect,
	.accept = loop_accept,
	.wait = loop_wait,
	.send = loop_send,
	.recv = loop_recv,
	.drains = true,
	.close_channel = loop_close_channel,
	.close = loop_close,
	.connects_max = 256,
};
