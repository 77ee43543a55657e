/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An echo server whose loop is io_uring(7), by liburing: msg_ctx_fd is polled like any other
 * descriptor. SIGTERM and SIGINT end it.
 *
 *	cc -o echo-io-uring echo-io-uring.c $(pkg-config --cflags --libs libmsg liburing)
 *	echo-io-uring NAME
 */
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>

#include <libmsg.h>

static void fail(const char *what)
{
	fprintf(stderr, "echo-io-uring: %s: %s (%s)\n", what, msg_reason(), strerror(errno));
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

/* Each poll tells once; one that begins while the descriptor is readable tells at once. */
static void poll_once(struct io_uring *ring, int fd)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	io_uring_prep_poll_add(sqe, fd, POLLIN);
	sqe->user_data = (unsigned)fd;
}

/* The descriptor of which a poll told. */
static int wait_for(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	int r, fd;

	do {
		r = io_uring_submit_and_wait(ring, 1);
	} while (r == -EINTR);
	if (r < 0 || io_uring_peek_cqe(ring, &cqe) < 0)
		return -1;
	fd = cqe->res < 0 ? -1 : (int)cqe->user_data;
	io_uring_cqe_seen(ring, cqe);
	return fd;
}

int main(int argc, char **argv)
{
	struct msg_sock *listener;
	struct io_uring ring;
	struct msg_ctx *ctx;
	int fd, r;

	if (argc != 2)
		return fprintf(stderr, "usage: echo-io-uring NAME\n"), 2;
	r = io_uring_queue_init(8, &ring, 0);
	if (r < 0)
		return fprintf(stderr, "echo-io-uring: no io_uring: %s\n", strerror(-r)), 1;
	ctx = msg_ctx_open(NULL, LIBMSG_ONE_THREAD, -1);
	if (!ctx)
		fail("cannot reach msgd");
	listener = msg_listen(ctx, argv[1], LIBMSG_SEQPACKET, 1024, LIBMSG_NONBLOCK);
	if (!listener || msg_ctx_fd(ctx) < 0)
		fail(argv[1]);
	poll_once(&ring, signals());
	poll_once(&ring, msg_ctx_fd(ctx));
	printf("listening on %s\n", argv[1]);
	(void)fflush(stdout);

	while ((fd = wait_for(&ring)) == msg_ctx_fd(ctx)) {
		dispatch(ctx, listener);
		poll_once(&ring, fd);
	}
	msg_ctx_close(ctx); /* and all its sockets */
	io_uring_queue_exit(&ring);
	return fd < 0;
}
