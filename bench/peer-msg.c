/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libmsg, each end in a domain of its own: left listens, right connects. One context a process, as
 * in a program; a listener's name is kept until the process ends.
 */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/bench.h"
#include "libmsg/libmsg.h"

#define TIMEOUT_MS 10000

static void context_open(struct end *end, unsigned flags)
{
	end->ctx = bench_context(end->pair->hv, end->role ? "left" : "right", flags,
		end->pair->transport, TIMEOUT_MS);
}

static void end_listen_with(struct end *end, unsigned flags)
{
	context_open(end, flags);
	if (end->role == 0)
		return;
	end->listener =
		msg_listen(end->ctx, strchr(end->pair->address, '/') + 1, LIBMSG_SEQPACKET, 64, 0);
	if (!end->listener)
		bench_fail("listen");
}

static void end_listen(struct end *end)
{
	end_listen_with(end, LIBMSG_ONE_THREAD);
}

static void end_connect(struct end *end)
{
	end->channel = msg_connect(
		end->ctx, end->pair->address, LIBMSG_SEQPACKET, LIBMSG_WAIT_NAME, TIMEOUT_MS);
	if (!end->channel)
		bench_fail("connect");
}

static void end_accept(struct end *end)
{
	end->channel = msg_accept(end->listener, 0);
	if (!end->channel)
		bench_fail("accept");
}

static void end_open_with(struct end *end, unsigned flags)
{
	int64_t transport = 0;

	end_listen_with(end, flags);
	if (end->role)
		end_accept(end);
	else
		end_connect(end);
	if (msg_setopt(end->channel, LIBMSG_SPIN, end->pair->spin_us) < 0)
		bench_fail("spin");
	if (end->pair->rcvbuf && msg_setopt(end->channel, LIBMSG_RCVBUF, end->pair->rcvbuf) < 0)
		bench_fail("rcvbuf");
	if (msg_getopt(end->channel, LIBMSG_TRANSPORT, &transport) < 0 ||
		transport != end->pair->transport)
		errx(1, "another transport than asked for: %d", (int)transport);
}

static void end_open(struct end *end)
{
	end_open_with(end, LIBMSG_ONE_THREAD);
}

static void end_send(struct end *end, const void *data, size_t len, bool more)
{
	if (msg_send(end->channel, data, len, more ? MSG_MORE : 0) != (ssize_t)len)
		bench_fail("send");
}

static size_t end_recv(struct end *end, void *data, size_t size)
{
	ssize_t n = msg_recv(end->channel, data, size, 0);

	if (n < 0)
		bench_fail("recv");
	return (size_t)n;
}

static void end_sendmmsg(struct end *end, struct mmsghdr *messages, unsigned n)
{
	if (msg_sendmmsg(end->channel, messages, n, 0) != (int)n)
		bench_fail("sendmmsg");
}

static unsigned end_recvmmsg(struct end *end, struct mmsghdr *messages, unsigned n)
{
	int got = msg_recvmmsg(end->channel, messages, n, MSG_WAITFORONE, -1);

	if (got <= 0)
		bench_fail("recvmmsg");
	return (unsigned)got;
}

static void end_disconnect(struct end *end)
{
	if (msg_close(end->channel) < 0)
		bench_fail("close");
}

static void end_close(struct end *end)
{
	end_disconnect(end);
	msg_ctx_close(end->ctx);
}

/* ---- a descriptor at either end: msg_sock_fd ------------------------------------------------ */

static void fd_open(struct end *end)
{
	end_open_with(end, 0);
	end->sock = msg_sock_fd(end->channel);
	if (end->sock < 0)
		bench_fail("fd");
}

static void fd_send(struct end *end, const void *data, size_t len, bool more)
{
	if (send(end->sock, data, len, MSG_NOSIGNAL) != (ssize_t)len)
		err(1, "send");
}

static size_t fd_recv(struct end *end, void *data, size_t size)
{
	ssize_t n = recv(end->sock, data, size, 0);

	if (n < 0)
		err(1, "recv");
	return (size_t)n;
}

/* Everything has come and gone when the other end's end has come. */
static void fd_close(struct end *end)
{
	char byte;

	(void)shutdown(end->sock, SHUT_WR);
	(void)recv(end->sock, &byte, 1, 0);
	(void)close(end->sock);
	msg_ctx_close(end->ctx);
}

#define OPERATIONS                                                                                 \
	.open = end_open, .send = end_send, .recv = end_recv, .sendmmsg = end_sendmmsg,            \
	.recvmmsg = end_recvmmsg, .loop = &loop_msg, .close = end_close, .listen = end_listen,     \
	.connect = end_connect, .accept = end_accept, .disconnect = end_disconnect

const struct peer peer_argo = {.name = "argo", .transport = LIBMSG_TRANSPORT_ARGO, OPERATIONS};
const struct peer peer_strict = {
	.name = "argo-strict", .transport = LIBMSG_TRANSPORT_ARGO_STRICT, OPERATIONS};
const struct peer peer_grant = {.name = "grant", .transport = LIBMSG_TRANSPORT_GRANT, OPERATIONS};

#define FD_OPERATIONS .open = fd_open, .send = fd_send, .recv = fd_recv, .close = fd_close

const struct peer peer_argo_fd = {
	.name = "argo fd", .transport = LIBMSG_TRANSPORT_ARGO, FD_OPERATIONS};
const struct peer peer_grant_fd = {
	.name = "grant fd", .transport = LIBMSG_TRANSPORT_GRANT, FD_OPERATIONS};
