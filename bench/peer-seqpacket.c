/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Unix SOCK_SEQPACKET, the measure for libmsg. */
#include <err.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench/bench.h"

#define SEQPACKET_MAX 65536U /* a socket's default buffer has room for not much more */

static void pair_prepare(struct pair *pair)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair->socks) < 0)
		err(1, "socketpair");
}

void seqpacket_open(struct end *end)
{
	end->sock = end->pair->socks[end->role];
	(void)close(end->pair->socks[!end->role]);
}

void seqpacket_send(struct end *end, const void *data, size_t len, bool more)
{
	if (send(end->sock, data, len, MSG_NOSIGNAL) != (ssize_t)len)
		err(1, "send");
}

size_t seqpacket_recv(struct end *end, void *data, size_t size)
{
	ssize_t n = recv(end->sock, data, size, 0);

	if (n < 0)
		err(1, "recv");
	return (size_t)n;
}

void seqpacket_close(struct end *end)
{
	(void)close(end->sock);
}

static void end_sendmmsg(struct end *end, struct mmsghdr *messages, unsigned n)
{
	for (unsigned done = 0; done < n;) {
		int sent = sendmmsg(end->sock, messages + done, n - done, MSG_NOSIGNAL);

		if (sent < 0)
			err(1, "sendmmsg");
		done += (unsigned)sent;
	}
}

static unsigned end_recvmmsg(struct end *end, struct mmsghdr *messages, unsigned n)
{
	int got = recvmmsg(end->sock, messages, n, MSG_WAITFORONE, NULL);

	if (got < 0)
		err(1, "recvmmsg");
	return (unsigned)got;
}

void seqpacket_address(struct end *end, struct sockaddr_un *ret_address)
{
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	(void)snprintf(
		ret_address->sun_path, sizeof(ret_address->sun_path), "%s/seq", end->pair->dir);
}

/* The listener is made before the fork, so that the other process finds it. */
static void end_listen(struct end *end)
{
	struct sockaddr_un address;
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	seqpacket_address(end, &address);
	(void)unlink(address.sun_path);
	if (sock < 0 || bind(sock, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(sock, 64) < 0)
		err(1, "%s", address.sun_path);
	end->pair->socks[0] = sock;
}

static void end_connect(struct end *end)
{
	struct sockaddr_un address;

	seqpacket_address(end, &address);
	end->sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (end->sock < 0 || connect(end->sock, (struct sockaddr *)&address, sizeof(address)) < 0)
		err(1, "connect");
}

static void end_accept(struct end *end)
{
	end->sock = accept(end->pair->socks[0], NULL, NULL);
	if (end->sock < 0)
		err(1, "accept");
}

const struct peer peer_seqpacket = {
	.name = "SEQPACKET",
	.len_max = SEQPACKET_MAX,
	.prepare = pair_prepare,
	.open = seqpacket_open,
	.send = seqpacket_send,
	.recv = seqpacket_recv,
	.close = seqpacket_close,
	.listen = end_listen,
	.connect = end_connect,
	.accept = end_accept,
	.disconnect = seqpacket_close,
	.loop = &loop_epoll,
};

const struct peer peer_seqpacket_mmsg = {
	.name = "SEQPACKET, mmsg",
	.len_max = SEQPACKET_MAX,
	.prepare = pair_prepare,
	.open = seqpacket_open,
	.send = seqpacket_send,
	.recv = seqpacket_recv,
	.close = seqpacket_close,
	.sendmmsg = end_sendmmsg,
	.recvmmsg = end_recvmmsg,
};
