/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An echo server whose loop is libuv's: msg_ctx_fd is one handle among others. SIGTERM and SIGINT
 * end it.
 *
 *	cc -o echo-libuv echo-libuv.c $(pkg-config --cflags --libs libmsg libuv)
 *	echo-libuv NAME
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include <libmsg.h>

static struct msg_ctx *ctx;
static struct msg_sock *listener;

static void fail(const char *what)
{
	fprintf(stderr, "echo-libuv: %s: %s (%s)\n", what, msg_reason(), strerror(errno));
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
static void dispatch(void)
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

static void check(int r)
{
	if (r < 0) {
		fprintf(stderr, "echo-libuv: no event loop: %s\n", uv_strerror(r));
		exit(1);
	}
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
	(void)handle, (void)events;
	check(status);
	dispatch();
}

static void on_signal(uv_signal_t *handle, int number)
{
	(void)number;
	uv_stop(handle->loop);
}

static void close_handle(uv_handle_t *handle, void *arg)
{
	(void)arg;
	uv_close(handle, NULL);
}

int main(int argc, char **argv)
{
	uv_loop_t *loop = uv_default_loop();
	uv_signal_t terminate, interrupt;
	uv_poll_t readable;

	if (argc != 2)
		return fprintf(stderr, "usage: echo-libuv NAME\n"), 2;
	ctx = msg_ctx_open(NULL, LIBMSG_ONE_THREAD, -1);
	if (!ctx)
		fail("cannot reach msgd");
	listener = msg_listen(ctx, argv[1], LIBMSG_SEQPACKET, 1024, LIBMSG_NONBLOCK);
	if (!listener || msg_ctx_fd(ctx) < 0)
		fail(argv[1]);
	check(uv_poll_init(loop, &readable, msg_ctx_fd(ctx)));
	check(uv_poll_start(&readable, UV_READABLE, on_readable));
	check(uv_signal_init(loop, &terminate));
	check(uv_signal_start(&terminate, on_signal, SIGTERM));
	check(uv_signal_init(loop, &interrupt));
	check(uv_signal_start(&interrupt, on_signal, SIGINT));
	printf("listening on %s\n", argv[1]);
	(void)fflush(stdout);

	(void)uv_run(loop, UV_RUN_DEFAULT);
	uv_walk(loop, close_handle, NULL);
	(void)uv_run(loop, UV_RUN_DEFAULT); /* until they are closed: before the descriptor is */
	(void)uv_loop_close(loop);
	msg_ctx_close(ctx); /* and all its sockets */
	return 0;
}
