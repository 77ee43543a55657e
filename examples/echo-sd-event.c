/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An echo server whose loop is systemd's, sd-event(3): msg_ctx_fd is one source among others.
 * SIGTERM and SIGINT end it.
 *
 *	cc -o echo-sd-event echo-sd-event.c $(pkg-config --cflags --libs libmsg libsystemd)
 *	echo-sd-event NAME
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <systemd/sd-event.h>

#include <libmsg.h>

static struct msg_ctx *ctx;
static struct msg_sock *listener;

static void fail(const char *what)
{
	fprintf(stderr, "echo-sd-event: %s: %s (%s)\n", what, msg_reason(), strerror(errno));
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

static int on_readable(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	(void)source, (void)fd, (void)revents, (void)arg;
	dispatch();
	return 0; /* less would disable the source */
}

static void check(int r)
{
	if (r < 0) {
		fprintf(stderr, "echo-sd-event: no event loop: %s\n", strerror(-r));
		exit(1);
	}
}

int main(int argc, char **argv)
{
	const int block = SD_EVENT_SIGNAL_PROCMASK;
	sd_event *event = NULL;

	if (argc != 2)
		return fprintf(stderr, "usage: echo-sd-event NAME\n"), 2;
	check(sd_event_new(&event));
	ctx = msg_ctx_open(NULL, LIBMSG_ONE_THREAD, -1);
	if (!ctx)
		fail("cannot reach msgd");
	listener = msg_listen(ctx, argv[1], LIBMSG_SEQPACKET, 1024, LIBMSG_NONBLOCK);
	if (!listener || msg_ctx_fd(ctx) < 0)
		fail(argv[1]);
	check(sd_event_add_io(event, NULL, msg_ctx_fd(ctx), EPOLLIN, on_readable, NULL));
	check(sd_event_add_signal(event, NULL, SIGTERM | block, NULL, NULL));
	check(sd_event_add_signal(event, NULL, SIGINT | block, NULL, NULL));
	printf("listening on %s\n", argv[1]);
	(void)fflush(stdout);

	check(sd_event_loop(event)); /* without a function, a signal ends it */
	sd_event_unref(event);	     /* before the descriptor is closed */
	msg_ctx_close(ctx);	     /* and all its sockets */
	return 0;
}
