/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ZeroMQ: a PAIR socket at each end, over a Unix socket (ipc), with its defaults. */
#include <err.h>
#include <stdio.h>
#include <zmq.h>

#include "bench/bench.h"

static _Noreturn void fail(const char *what)
{
	errx(1, "ZeroMQ, %s: %s", what, zmq_strerror(zmq_errno()));
}

static void end_open(struct end *end)
{
	char url[256];

	(void)snprintf(url, sizeof(url), "ipc://%s/zeromq", end->pair->dir);
	end->ctx = zmq_ctx_new();
	end->channel = end->ctx ? zmq_socket(end->ctx, ZMQ_PAIR) : NULL;
	if (!end->channel)
		fail("socket");
	if ((end->role ? zmq_bind(end->channel, url) : zmq_connect(end->channel, url)) < 0)
		fail(url);
}

static void end_send(struct end *end, const void *data, size_t len, bool more)
{
	if (zmq_send(end->channel, data, len, 0) != (int)len)
		fail("send");
}

static size_t end_recv(struct end *end, void *data, size_t size)
{
	int n = zmq_recv(end->channel, data, size, 0);

	if (n < 0)
		fail("recv");
	return (size_t)n;
}

/* Closing the context waits until everything has gone. */
static void end_close(struct end *end)
{
	(void)zmq_close(end->channel);
	(void)zmq_ctx_term(end->ctx);
}

const struct peer peer_zeromq = {
	.name = "ZeroMQ",
	.open = end_open,
	.send = end_send,
	.recv = end_recv,
	.close = end_close,
};
