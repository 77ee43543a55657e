/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Messages of one byte on thousands of channels, which the victim accepts and does not read.
 *
 *	hoard victim NAME COUNTER   reads only what comes from other domains than "hostile"
 *	hoard attack ADDRESS N      N channels, each filled for as long as there is credit
 *
 * The victim counts in COUNTER the messages that it reads.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libmsg/libmsg.h"

static _Noreturn void fail(const char *what)
{
	printf("error: %s: %s: %s\n", what, strerrorname_np(errno), msg_reason());
	exit(1);
}

static void on_log(void *arg, int priority, const char *line)
{
	printf("log %d: %s\n", priority, line);
}

static bool is_hostile(struct msg_sock *sock)
{
	struct msg_peer peer = {.size = sizeof(peer)};

	return msg_getpeer(sock, &peer) < 0 || strcmp(peer.domain, "hostile") == 0;
}

static void count(int counter)
{
	static uint64_t n;

	n++;
	if (n % 64 == 0 && pwrite(counter, &n, sizeof(n), 0) < 0)
		fail("counter");
}

/* Until it is killed. Hostile channels stay open and unread; nobody remembers them. */
static _Noreturn void victim(struct msg_ctx *ctx, const char *name, const char *counter_path)
{
	struct msg_sock *listener = msg_listen(ctx, name, LIBMSG_SEQPACKET, 4096, LIBMSG_NONBLOCK);
	int counter = open(counter_path, O_WRONLY | O_CLOEXEC);
	struct msg_pollfd fds[2] = {{.sock = listener, .events = POLLIN}, {.events = POLLIN}};
	static char bytes[65536];

	if (!listener || counter < 0)
		fail("listen");
	msg_ctx_set_log(ctx, on_log, NULL);
	printf("pid %d\nlistening\n", getpid());
	for (;;) {
		struct msg_sock *sock;

		if (msg_poll(fds, 2, -1) < 0)
			fail("poll");
		sock = msg_accept(listener, LIBMSG_NONBLOCK);
		if (sock && !fds[1].sock && !is_hostile(sock))
			fds[1].sock = sock;
		for (int i = 0; fds[1].sock && i < 64; i++) {
			if (msg_recv(fds[1].sock, bytes, sizeof(bytes), 0) > 0)
				count(counter);
			else if (errno != EAGAIN)
				fail("receive");
			else
				break;
		}
	}
}

/* A new channel's credit is good for so many messages of one byte. */
#define N_MESSAGES (8192 / 33)

static void fill(struct msg_sock *sock)
{
	struct msg_pollfd fd = {.sock = sock, .events = POLLOUT};
	int n = 0;

	(void)msg_setopt(sock, LIBMSG_NONBLOCK_OPT, 1);
	while (n < N_MESSAGES) {
		if (msg_send(sock, "x", 1, 0) == 1)
			n++;
		else if (errno != EAGAIN || msg_poll(&fd, 1, 1000) < 1)
			return;
	}
}

static void attack(struct msg_ctx *ctx, const char *address, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct msg_sock *sock =
			msg_connect(ctx, address, LIBMSG_SEQPACKET, LIBMSG_WAIT_NAME, 15000);

		if (sock)
			fill(sock);
	}
	printf("done\n");
}

int main(int argc, char **argv)
{
	struct msg_ctx *ctx = msg_ctx_open(NULL, 0, 15000);

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!ctx || argc != 4)
		fail("context");
	if (strcmp(argv[1], "victim") == 0)
		victim(ctx, argv[2], argv[3]);
	attack(ctx, argv[2], (unsigned)strtoul(argv[3], NULL, 10));
	(void)pause();
}
