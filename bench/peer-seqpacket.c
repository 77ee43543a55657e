/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Unix SOCK_SEQPACKET, the measure for libmsg. */
#include <err.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench/bench.h"

static void pair_prepare(struct pair *pair)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair->socks) < 0)
		err(1, "socketpair");
}

static void end_open(struct end *end)
{
	end->sock = end->pair->socks[end->role];
	(void)close(end->pair->socks[!end->role]);
}

static void end_send(struct end *end, const void *data, size_t len, bool more)
{
	if (send(end->sock, data, len, MSG_NOSIGNAL) != (ssize_t)len)
		err(1, "send");
}

static size_t end_recv(struct end *end, void *data, size_t size)
{
	ssize_t n = recv(end->sock, data, size, 0);

	if (n < 0)
		err(1, "recv");
	return (size_t)n;
}

static void end_close(struct end *end)
{
	(void)close(end->sock);
}

static void end_address(struct end *end, struct sockaddr_un *ret_address)
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

	end_address(end, &address);
	(void)unlink(address.sun_path);
	if (sock < 0 || bind(sock, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(sock, 64) < 0)
		err(1, "%s", address.sun_path);
	end->pair->socks[0] = sock;
}

static void end_connect(struct end *end)
{
	struct sockaddr_un address;

	end_address(end, &address);
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
	.prepare = pair_prepare,
	.open = end_open,
	.send = end_send,
	.recv = end_recv,
	.close = end_close,
	.listen = end_listen,
	.connect = end_connect,
	.accept = end_accept,
	.disconnect = end_close,
};
