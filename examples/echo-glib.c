/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An echo server whose loop is GLib's: msg_ctx_fd is one source among others. SIGTERM and SIGINT
 * end it.
 *
 *	cc -o echo-glib echo-glib.c $(pkg-config --cflags --libs libmsg glib-2.0)
 *	echo-glib NAME
 */
#include <errno.h>
#include <glib-unix.h>
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
	fprintf(stderr, "echo-glib: %s: %s (%s)\n", what, msg_reason(), strerror(errno));
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

static gboolean on_readable(gint fd, GIOCondition condition, gpointer arg)
{
	(void)fd, (void)condition, (void)arg;
	dispatch();
	return G_SOURCE_CONTINUE;
}

static gboolean on_signal(gpointer loop)
{
	g_main_loop_quit(loop);
	return G_SOURCE_CONTINUE;
}

int main(int argc, char **argv)
{
	GMainLoop *loop = g_main_loop_new(NULL, FALSE);
	guint source;

	if (argc != 2)
		return fprintf(stderr, "usage: echo-glib NAME\n"), 2;
	ctx = msg_ctx_open(NULL, LIBMSG_ONE_THREAD, -1);
	if (!ctx)
		fail("cannot reach msgd");
	listener = msg_listen(ctx, argv[1], LIBMSG_SEQPACKET, 1024, LIBMSG_NONBLOCK);
	if (!listener || msg_ctx_fd(ctx) < 0)
		fail(argv[1]);
	source = g_unix_fd_add(msg_ctx_fd(ctx), G_IO_IN, on_readable, NULL);
	(void)g_unix_signal_add(SIGTERM, on_signal, loop);
	(void)g_unix_signal_add(SIGINT, on_signal, loop);
	printf("listening on %s\n", argv[1]);
	(void)fflush(stdout);

	g_main_loop_run(loop);
	(void)g_source_remove(source); /* before the descriptor is closed */
	msg_ctx_close(ctx);	       /* and all its sockets */
	g_main_loop_unref(loop);
	return 0;
}
