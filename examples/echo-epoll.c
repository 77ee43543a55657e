/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An echo server whose loop is epoll(7): msg_ctx_fd is one descriptor among others. SIGTERM and
 * SIGINT end it.
 *
 *	cc -o echo-epoll echo-epoll.c $(pkg-config --cflags --libs libmsg)
 *	echo-epoll NAME
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include <libmsg.h>

static void fail(const char *what)
{
	fprintf(stderr, "echo-epoll: %s: %s (%s)\n", what, msg_reason(), strerror(errno));
	exit(1);
}

/*
 * Answers one message. It stays with the library until its answer has gone: meanwhile room is the
 * only event. -1: the client is done.
 */
static int serve(struct msg_sock *sock)
{
	static char text[1 << 20]; /* LIBMSG_MAXMSG is no more, by default */
	struct iovec iov = {.iov_base = text, .iov_len = sizeof(text)};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n = msg_recvmsg(sock, &message, MSG_PEEK);

	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	if (n == 0 && !(message.msg_flags & MSG_EOR))
		return -1; /* the end, which an empty message is not */
	if (msg_send(sock, text, (size_t)n, 0) < 0)
		return errno == EAGAIN ? msg_setopt(sock, LIBMSG_EVENTS, POLLOUT) : -1;
	(void)msg_recv(sock, text, 0, 0);
	return msg_setopt(sock, LIBMSG_EVENTS, POLLIN);
}

/* Some events: the descriptor is readable until all were handled. */
static void dispatch(struct msg_ctx *ctx, struct msg_sock *listener)
{
	struct msg_event events[16];
	int n = msg_ctx_dispatch(ctx, events, 16);

	if (n < 0)
		fail("dispatch");
	for (int i = 0; i < n; i++) {
		if (events[i].sock == listener) {
			while (msg_accept(listener, LIBMSG_NONBLOCK))
				;
			if (errno != EAGAIN)
				fail("accept");
		} else if (serve(events[i].sock) < 0) {
			(void)msg_close(events[i].sock);
		}
	}
}

static int signals(void)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static void add(int epoll_fd, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd}; /* level-triggered */

	if (fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		fail("no event loop");
}

int main(int argc, char **argv)
{
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC), signal_fd = signals();
	struct epoll_event event = {0};
	struct msg_sock *listener;
	struct msg_ctx *ctx;

	if (argc != 2)
		return fprintf(stderr, "usage: echo-epoll NAME\n"), 2;
	ctx = msg_ctx_open(NULL, LIBMSG_ONE_THREAD, -1);
	if (!ctx)
		fail("cannot reach msgd");
	listener = msg_listen(ctx, argv[1], LIBMSG_SEQPACKET, 1024, LIBMSG_NONBLOCK);
	if (!listener)
		fail(argv[1]);
	add(epoll_fd, msg_ctx_fd(ctx));
	add(epoll_fd, signal_fd);
	printf("listening on %s\n", argv[1]);
	(void)fflush(stdout);

	while (event.data.fd != signal_fd) {
		if (epoll_wait(epoll_fd, &event, 1, -1) == 1 && event.data.fd != signal_fd)
			dispatch(ctx, listener);
	}
	msg_ctx_close(ctx); /* and all its sockets */
	return 0;
}
