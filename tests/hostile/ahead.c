/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A caller that keeps the numbers that msgd gives it ahead (PROTOCOL.md 5.10): it uses one now and
 * then, so that msgd does not ask for them. At the first SIGUSR1 it ceases to read what msgd says;
 * at the second it uses one more; at the third it gives back the rest, and at the fourth it uses
 * one of that. All else is libmsg's.
 *
 *	ahead keep ADDRESS LEAST      the attacker; it keeps so many at least
 *	ahead serve NAME BACKLOG      tells what comes, and how each channel ends
 *	ahead call ADDRESS BURST N    N times so many channels at once, a message on each
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libmsg/api/ctx.h"

#define BURST_MAX 64

static volatile sig_atomic_t told;

static void on_signal(int number)
{
	told = 1;
}

static _Noreturn void fail(const char *what, unsigned n)
{
	printf("error: %s %u: %s: %s\n", what, n, strerrorname_np(errno), msg_reason());
	exit(1);
}

static void dispatch(struct msg_ctx *ctx, int ms)
{
	struct pollfd fd = {.fd = msg_ctx_fd(ctx), .events = POLLIN};
	struct msg_event events[16];

	(void)poll(&fd, 1, ms);
	(void)msg_ctx_dispatch(ctx, events, 16);
}

/* ---- the attacker --------------------------------------------------------------------------- */

static struct msg_sock *connect_to(struct msg_ctx *ctx, const char *address)
{
	return msg_connect(ctx, address, LIBMSG_SEQPACKET, LIBMSG_WAIT_NAME, 30000);
}

static void talk_once(struct msg_ctx *ctx, const char *address)
{
	struct msg_sock *sock = connect_to(ctx, address);
	char answer[16];

	if (!sock && errno == EACCES) {
		printf("denied\n");
		for (;;)
			dispatch(ctx, 1000);
	}
	if (!sock || msg_send(sock, "kept", 4, 0) < 0 || msg_recv(sock, answer, 16, 0) < 0)
		fail("talk", 0);
	(void)msg_close(sock);
}

/* The frames of a channel that begins, of a number that this end has or has not. */
static void use_raw(struct link *link, uint32_t number)
{
	struct transport *transport = link->transport;
	struct frame credit = {.channel = number, .type = FRAME_CREDIT, .arg = 1000};
	struct frame data = {.channel = number,
		.type = FRAME_DATA,
		.flags = FRAME_FIRST | FRAME_LAST,
		.len = 3,
		.arg = 3};
	struct iovec iov = {.iov_base = (char[]){"raw"}, .iov_len = 3};
	struct iov_cursor cursor;

	cursor_init(&cursor, &iov, 0);
	(void)transport->ops->put(transport, &credit, 0, &cursor, false);
	cursor_init(&cursor, &iov, 1);
	(void)transport->ops->put(transport, &data, 3, &cursor, false);
	(void)transport->ops->push(transport);
	(void)transport->hv->ops->evtchn_send(transport->hv, transport->port);
}

/* Until the next signal. */
static void wait_told(void)
{
	told = 0;
	while (!told)
		(void)poll(NULL, 0, 20);
}

static int kept(const struct msg_ctx *ctx)
{
	return ctx->links.given ? __builtin_popcountll(ctx->links.given->left) : 0;
}

static _Noreturn void keep(struct msg_ctx *ctx, const char *address, int least)
{
	struct link *link;
	uint32_t number;

	while (!told) {
		while (kept(ctx) < least)
			talk_once(ctx, address);
		printf("keeps %d\n", kept(ctx));
		dispatch(ctx, 300);
		if (!told && kept(ctx) > least)
			talk_once(ctx, address);
	}
	printf("deaf\n");
	wait_told();
	link = ctx->links.given->link;
	number = ctx->links.given->first + (uint32_t)__builtin_ctzll(ctx->links.given->left);
	if (!link_ahead_use(ctx->links.given, number))
		fail("use", number);
	use_raw(link, number);
	printf("used %u\n", number);
	wait_told();
	while (ctx->links.given)
		dispatch(ctx, 100);
	printf("gave back\n");
	wait_told();
	use_raw(link, number + 1);
	while (ctx->links.by_end)
		dispatch(ctx, 100);
	printf("the link ended\n");
	for (;;)
		dispatch(ctx, 1000);
}

/* ---- the others ----------------------------------------------------------------------------- */

static void serve_one(struct msg_sock *sock)
{
	struct msg_peer peer = {.size = sizeof(peer)};
	char text[16];
	ssize_t n;

	(void)msg_getpeer(sock, &peer);
	for (;;) {
		n = msg_recv(sock, text, sizeof(text), MSG_DONTWAIT);
		if (n > 0) {
			printf("%s said %.*s\n", peer.domain, (int)n, text);
			(void)msg_send(sock, text, (size_t)n, MSG_DONTWAIT);
			continue;
		}
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			printf("%s: %s: %s\n", peer.domain, strerrorname_np(errno), msg_reason());
		(void)msg_close(sock);
		return;
	}
}

static int serve(struct msg_ctx *ctx, const char *name, int backlog)
{
	struct msg_sock *listener = msg_listen(ctx, name, LIBMSG_SEQPACKET, backlog, 0);
	struct pollfd fd = {.fd = msg_ctx_fd(ctx), .events = POLLIN};

	if (!listener || msg_setopt(listener, LIBMSG_NONBLOCK_OPT, 1) < 0)
		fail("listen", 0);
	printf("listening\n");
	for (;;) {
		struct msg_event events[16];
		struct msg_sock *sock;
		int n;

		(void)poll(&fd, 1, -1);
		n = msg_ctx_dispatch(ctx, events, 16);
		for (int i = 0; i < n; i++) {
			if (events[i].sock != listener) {
				serve_one(events[i].sock);
				continue;
			}
			while ((sock = msg_accept(listener, LIBMSG_NONBLOCK)))
				serve_one(sock);
		}
	}
}

static void burst(struct msg_ctx *ctx, const char *address, unsigned n)
{
	struct msg_sock *socks[BURST_MAX];
	char answer[16];

	for (unsigned i = 0; i < n; i++) {
		socks[i] = msg_connect(
			ctx, address, LIBMSG_SEQPACKET, LIBMSG_WAIT_NAME | LIBMSG_NONBLOCK, 30000);
		if (!socks[i])
			fail("connect", i);
	}
	for (unsigned i = 0; i < n; i++) {
		struct msg_pollfd fd = {.sock = socks[i], .events = POLLOUT};

		(void)msg_setopt(socks[i], LIBMSG_NONBLOCK_OPT, 0);
		if (msg_poll(&fd, 1, 30000) != 1 || msg_send(socks[i], "honest", 6, 0) < 0 ||
			msg_recv(socks[i], answer, sizeof(answer), 0) != 6)
			fail("talk", i);
		(void)msg_close(socks[i]);
	}
}

static int call(struct msg_ctx *ctx, const char *address, unsigned n, unsigned times)
{
	for (unsigned i = 0; i < times; i++)
		burst(ctx, address, n);
	msg_ctx_close(ctx);
	printf("done\n");
	return 0;
}

int main(int argc, char **argv)
{
	struct msg_ctx *ctx;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("pid %d\n", (int)getpid());
	(void)signal(SIGUSR1, on_signal);
	ctx = msg_ctx_open(NULL, 0, 30000);
	if (!ctx)
		fail("context", 0);
	if (argc == 4 && strcmp(argv[1], "keep") == 0)
		keep(ctx, argv[2], atoi(argv[3]));
	if (argc == 4 && strcmp(argv[1], "serve") == 0)
		return serve(ctx, argv[2], atoi(argv[3]));
	if (argc == 5 && strcmp(argv[1], "call") == 0)
		return call(ctx, argv[2], min_u32((uint32_t)atoi(argv[3]), BURST_MAX),
			(unsigned)atoi(argv[4]));
	fail("usage", 0);
}
