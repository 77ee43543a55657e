/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sends each line of standard input as a message and prints each answer.
 *
 *	cc -o echo-client echo-client.c $(pkg-config --cflags --libs libmsg)
 *	echo-client [DOMAIN/]NAME
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libmsg.h>

static void fail(const char *what)
{
	fprintf(stderr, "echo-client: %s: %s (%s)\n", what, msg_reason(), strerror(errno));
	exit(1);
}

int main(int argc, char **argv)
{
	char line[4096], answer[4096];
	struct msg_sock *sock;
	struct msg_ctx *ctx;

	if (argc != 2) {
		fprintf(stderr, "usage: echo-client [DOMAIN/]NAME\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	ctx = msg_ctx_open(NULL, LIBMSG_ONE_THREAD, -1);
	if (!ctx)
		fail("cannot reach msgd");

	/* Wait for the server if it is not up yet, ten seconds at most. */
	sock = msg_connect(ctx, argv[1], LIBMSG_SEQPACKET, LIBMSG_WAIT_NAME, 10000);
	if (!sock)
		fail(argv[1]);

	while (fgets(line, sizeof(line), stdin)) {
		size_t len = strcspn(line, "\n");
		ssize_t got;

		if (len ==
			0) /* an empty message is legal, but this server takes it as a good-bye */
			continue;
		if (msg_send(sock, line, len, 0) < 0)
			fail("send");
		got = msg_recv(sock, answer, sizeof(answer), 0);
		if (got < 0)
			fail("receive");
		if (got == 0) {
			fprintf(stderr, "echo-client: the server closed the channel\n");
			return 1;
		}
		printf("sent %zu bytes, got back: %.*s\n", len, (int)got, answer);
	}
	msg_close(sock);
	msg_ctx_close(ctx);
	return 0;
}
