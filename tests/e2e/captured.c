/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The ends of channels that are captured.
 *
 *	captured serve NAME AGREES          sends each message back
 *	captured call ADDRESS AGREES        does what it is told on standard input:
 *	    send TEXT      sends it, and waits for its return
 *	    many N LEN     the same N times, with LEN bytes each
 *	    agrees AGREES  changes its mind
 *
 * AGREES, 0 or 1, is LIBMSG_CAPTURE. Each command is answered by its line.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libmsg/libmsg.h"

#define TIMEOUT_MS 30000
#define CLIENTS	   64

static char text[65536], answer[65536];

static _Noreturn void fail(const char *what)
{
	printf("error %s: %s: %s\n", strerrorname_np(errno), what, msg_reason());
	exit(3);
}

static void agree(struct msg_sock *sock, const char *agrees)
{
	if (msg_setopt(sock, LIBMSG_CAPTURE, atoi(agrees)) < 0)
		fail("LIBMSG_CAPTURE");
}

static void serve_one(struct msg_sock *sock)
{
	ssize_t n;

	while ((n = msg_recv(sock, answer, sizeof(answer), 0)) > 0) {
		if (msg_send(sock, answer, (size_t)n, 0) != n)
			break;
	}
	msg_close(sock);
}

static int serve(struct msg_ctx *ctx, const char *name, const char *agrees)
{
	struct msg_sock *listener = msg_listen(ctx, name, LIBMSG_SEQPACKET, CLIENTS, 0), *sock;

	if (!listener)
		fail(name);
	agree(listener, agrees);
	printf("listens\n");
	while ((sock = msg_accept(listener, 0)))
		serve_one(sock);
	fail("accept");
}

static void send_one(struct msg_sock *sock, size_t len)
{
	if (msg_send(sock, text, len, 0) != (ssize_t)len)
		fail("send");
	if (msg_recv(sock, answer, sizeof(answer), 0) != (ssize_t)len ||
		memcmp(text, answer, len) != 0)
		fail("receive");
}

static void obey(struct msg_sock *sock, char *line)
{
	unsigned n;
	size_t len;

	if (sscanf(line, "many %u %zu", &n, &len) == 2 && len <= sizeof(text)) {
		memset(text, 'm', len);
		while (n--)
			send_one(sock, len);
	} else if (strncmp(line, "send ", 5) == 0) {
		len = strlen(line + 5);
		memcpy(text, line + 5, len);
		send_one(sock, len);
	} else if (strncmp(line, "agrees ", 7) == 0) {
		agree(sock, line + 7);
	} else {
		errno = EINVAL;
		fail(line);
	}
	printf("%s\n", line);
}

/*
 * The next command. Until it comes the application is in calls of libmsg, as one that serves is: so
 * that msgd hears all of what was captured.
 */
static char *command(struct msg_sock *sock, char *line, int size)
{
	struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};

	while (poll(&in, 1, 0) == 0) {
		struct msg_pollfd wait = {.sock = sock};

		if (msg_poll(&wait, 1, 100) < 0)
			fail("msg_poll");
	}
	return fgets(line, size, stdin);
}

static int call(struct msg_ctx *ctx, const char *address, const char *agrees)
{
	struct msg_sock *sock =
		msg_connect(ctx, address, LIBMSG_SEQPACKET, LIBMSG_WAIT_NAME, TIMEOUT_MS);
	char line[200];

	if (!sock)
		fail(address);
	agree(sock, agrees);
	printf("connected\n");
	while (command(sock, line, sizeof(line))) {
		line[strcspn(line, "\n")] = '\0';
		if (strcmp(line, "close") == 0)
			break;
		obey(sock, line);
	}
	/* The other end closes first, and this one answers. */
	if (msg_shutdown(sock, SHUT_WR) < 0 || msg_recv(sock, answer, sizeof(answer), 0) != 0)
		fail("shutdown");
	msg_close(sock);
	msg_ctx_close(ctx);
	printf("closed\n");
	return 0;
}

int main(int argc, char **argv)
{
	struct msg_ctx *ctx;

	(void)setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	(void)setvbuf(stdin, NULL, _IONBF, 0); /* nothing waits where poll does not see it */
	printf("pid %d\n", getpid());
	if (argc != 4)
		return 2;
	ctx = msg_ctx_open(NULL, 0, TIMEOUT_MS);
	if (!ctx)
		fail("msgd");
	if (strcmp(argv[1], "serve") == 0)
		return serve(ctx, argv[2], argv[3]);
	return call(ctx, argv[2], argv[3]);
}
