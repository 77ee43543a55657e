/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An echo server whose loop is libevent's: msg_ctx_fd is one event among others. SIGTERM and SIGINT
 * end it.
 *
 *	cc -o echo-libevent echo-libevent.c $(pkg-config --cflags --libs libmsg libevent_core)
 *	echo-libevent NAME
 */
#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libmsg.h>

static struct msg_ctx *ctx;
static struct msg_sock *listener;

static void fail(const char *what)
{
	fprintf(stderr, "echo-libevent: %s: %s (%s)\n", what, msg_reason(), strerror(errno));
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

/* Some events: the descriptor is readable, and this is called, until all were handled. */
static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct msg_event events[16];
	int n = msg_ctx_dispatch(ctx, events, 16);

	(void)fd, (void)what, (void)arg;
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

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	(void)number, (void)what;
	(void)event_base_loopbreak(arg);
}

int main(int argc, char **argv)
{
	struct event_base *base = event_base_new();
	struct event *events[3];

	if (argc != 2)
		return fprintf(stderr, "usage: echo-libevent NAME\n"), 2;
	ctx = msg_ctx_open(NULL, LIBMSG_ONE_THREAD, -1);
	if (!ctx)
		fail("cannot reach msgd");
	listener = msg_listen(ctx, argv[1], LIBMSG_SEQPACKET, 1024, LIBMSG_NONBLOCK);
	if (!listener)
		fail(argv[1]);
	if (!base || msg_ctx_fd(ctx) < 0)
		fail("no event loop");
	events[0] = event_new(base, msg_ctx_fd(ctx), EV_READ | EV_PERSIST, on_readable, NULL);
	events[1] = evsignal_new(base, SIGTERM, on_signal, base);
	events[2] = evsignal_new(base, SIGINT, on_signal, base);
	for (int i = 0; i < 3; i++) {
		if (!events[i] || event_add(events[i], NULL) < 0)
			fail("no event");
	}
	printf("listening on %s\n", argv[1]);
	(void)fflush(stdout);

	(void)event_base_dispatch(base);
	for (int i = 0; i < 3; i++)
		event_free(events[i]);
	event_base_free(base);
	msg_ctx_close(ctx); /* and all its sockets */
	return 0;
}
