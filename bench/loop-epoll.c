/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Many Unix SOCK_SEQPACKET sockets under epoll, level-triggered: the measure for libmsg's contexts.
 * One message is received for each event, since a recv that finds nothing is a system call.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench/bench.h"

/* Connects that LOOP_CONNECTED has still to follow: a Unix socket's is done at once. */
static struct channel *connected[LOOP_READY_MAX];
static unsigned n_connected;

static void watch(struct end *end, int fd, struct channel *channel)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = channel};

	if (epoll_ctl(end->sock, EPOLL_CTL_ADD, fd, &event) < 0)
		err(1, "epoll_ctl");
}

/* The listener was made before the fork: peer_seqpacket.listen. */
static void loop_open(struct end *end)
{
	end->sock = epoll_create1(EPOLL_CLOEXEC);
	if (end->sock < 0)
		err(1, "epoll");
	if (end->role == 0)
		return;
	if (fcntl(end->pair->socks[0], F_SETFL, O_NONBLOCK) < 0)
		err(1, "listener");
	watch(end, end->pair->socks[0], NULL);
}

static void loop_connect(struct end *end, struct channel *channel)
{
	struct sockaddr_un address;

	seqpacket_address(end, &address);
	channel->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (channel->fd < 0 ||
		connect(channel->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		err(1, "connect");
	watch(end, channel->fd, channel);
	connected[n_connected++] = channel;
}

static bool loop_accept(struct end *end, struct channel *channel)
{
	channel->fd = accept4(end->pair->socks[0], NULL, NULL, SOCK_CLOEXEC);
	if (channel->fd < 0 && errno != EAGAIN)
		err(1, "accept");
	if (channel->fd < 0)
		return false;
	watch(end, channel->fd, channel);
	return true;
}

static unsigned loop_wait(struct end *end, struct loop_ready ready[static LOOP_READY_MAX])
{
	struct epoll_event events[LOOP_READY_MAX];
	unsigned n = 0;
	int got;

	while (n_connected > 0)
		ready[n++] = (struct loop_ready){LOOP_CONNECTED, connected[--n_connected]};
	if (n > 0)
		return n;
	got = epoll_wait(end->sock, events, LOOP_READY_MAX, -1);
	if (got < 0)
		err(1, "epoll_wait");
	for (; n < (unsigned)got; n++) {
		struct channel *channel = events[n].data.ptr;

		ready[n] = (struct loop_ready){channel ? LOOP_READABLE : LOOP_ACCEPT, channel};
	}
	return n;
}

static void loop_send(struct channel *channel, const void *data, size_t len)
{
	if (send(channel->fd, data, len, MSG_NOSIGNAL) != (ssize_t)len)
		err(1, "send");
}

static size_t loop_recv(struct channel *channel, void *data, size_t size)
{
	ssize_t n = recv(channel->fd, data, size, MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN)
		err(1, "recv");
	return n < 0 ? 0 : (size_t)n;
}

static void loop_close_channel(struct end *end, struct channel *channel)
{
	(void)close(channel->fd);
}

static void loop_close(struct end *end)
{
	(void)close(end->sock);
}

const struct loop loop_epoll = {
	.open = loop_open,
	.connect = loop_connect,
	.accept = loop_accept,
	.wait = loop_wait,
	.send = loop_send,
	.recv = loop_recv,
	.close_channel = loop_close_channel,
	.close = loop_close,
	.connects_max = LOOP_READY_MAX,
};
