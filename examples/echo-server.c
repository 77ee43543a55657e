/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An echo server: many clients in one thread, with an event loop and non-blocking sockets.
 *
 *	cc -o echo-server echo-server.c $(pkg-config --cflags --libs libmsg)
 *	echo-server NAME
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libmsg.h>

/* One client. A message that could not be sent back yet waits here, and nothing more is read. */
struct client {
	struct msg_sock *sock;
	struct msg_buf *waiting; /* NULL: none */
	const void *data;	 /* its bytes, in waiting */
	size_t len;
};

static void fail(const char *what)
{
	fprintf(stderr, "echo-server: %s: %s (%s)\n", what, msg_reason(), strerror(errno));
	exit(1);
}

static void client_add(struct msg_sock *listener)
{
	struct msg_peer peer = {.size = sizeof(peer)};
	struct msg_sock *sock;
	struct client *client;

	while ((sock = msg_accept(listener, LIBMSG_NONBLOCK))) {
		client = malloc(sizeof(*client));
		if (!client)
			fail("no memory");
		client->sock = sock;
		client->waiting = NULL;
		msg_set_userdata(sock, client);
		if (msg_getpeer(sock, &peer) == 0)
			printf("a client in domain %s\n", peer.domain);
	}
	if (errno != EAGAIN)
		fail("accept");
}

/*
 * Echoes until there is no message, or no room for an answer. Then room alone is an event: a client
 * that does not read wakes nobody by what it sends. -1: the client is done.
 */
static int client_serve(struct client *client)
{
	bool waited = client->waiting;

	for (;;) {
		if (!client->waiting) {
			ssize_t n = msg_recv_take(client->sock, 0, &client->data, &client->waiting);

			if (n < 0 && errno == EAGAIN)
				return waited ? msg_setopt(client->sock, LIBMSG_EVENTS, POLLIN) : 0;
			if (!client->waiting)
				return -1; /* lost, or at its end, which an empty message is not */
			client->len = (size_t)n;
		}
		if (msg_send(client->sock, client->data, client->len, 0) < 0)
			return errno == EAGAIN ? msg_setopt(client->sock, LIBMSG_EVENTS, POLLOUT)
					       : -1;
		msg_buf_free(client->waiting);
		client->waiting = NULL;
	}
}

static void client_end(struct client *client)
{
	msg_close(client->sock);
	msg_buf_free(client->waiting);
	free(client);
}

int main(int argc, char **argv)
{
	struct msg_event events[16];
	struct msg_sock *listener;
	struct msg_ctx *ctx;

	if (argc != 2)
		return fprintf(stderr, "usage: echo-server NAME\n"), 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	ctx = msg_ctx_open(NULL, LIBMSG_ONE_THREAD, -1);
	if (!ctx)
		fail("cannot reach msgd");
	listener = msg_listen(ctx, argv[1], LIBMSG_SEQPACKET, 1024, LIBMSG_NONBLOCK);
	if (!listener)
		fail(argv[1]);
	if (msg_ctx_fd(ctx) < 0)
		fail("no event loop");
	printf("listening on %s\n", argv[1]);

	for (;;) {
		struct pollfd pollfd = {.fd = msg_ctx_fd(ctx), .events = POLLIN};
		int n = msg_ctx_dispatch(ctx, events, 16);

		for (int i = 0; i < n; i++) {
			struct client *client = msg_userdata(events[i].sock);

			if (events[i].sock == listener) {
				client_add(listener);
			} else if (client_serve(client) < 0) {
				client_end(client);
			}
		}
		if (n < 0 || (n == 0 && poll(&pollfd, 1, -1) < 0 && errno != EINTR))
			fail("waiting");
	}
}
