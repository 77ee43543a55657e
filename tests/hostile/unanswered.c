/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A listener that accepts, and never says CLOSE: its transport's put drops that frame. All else is
 * libmsg's.
 *
 *	unanswered listen NAME          the attacker
 *	unanswered call ADDRESS N       connects and closes N times; how often it had to try anew
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libmsg/api/ctx.h"

static _Noreturn void fail(const char *what, unsigned n)
{
	printf("error: %s %u: %s: %s\n", what, n, strerrorname_np(errno), msg_reason());
	exit(1);
}

static const struct transport_ops *real_ops;
static struct transport_ops mute_ops;

static int mute_put(struct transport *transport, struct frame *frame, uint32_t least,
	struct iov_cursor *payload, bool more)
{
	return frame->type == FRAME_CLOSE ? 0
					  : real_ops->put(transport, frame, least, payload, more);
}

static int attack(struct msg_ctx *ctx, const char *name)
{
	struct msg_sock *listener = msg_listen(ctx, name, LIBMSG_SEQPACKET, 4096, 0);

	if (!listener)
		fail("listen", 0);
	printf("listening\n");
	for (unsigned n = 0;; n++) {
		struct msg_sock *sock = msg_accept(listener, LIBMSG_NONBLOCK);
		struct transport *transport;

		if (!sock)
			fail("accept", n);
		if (!sock->channel->set) {
			(void)msg_close(sock);
			continue;
		}
		transport = sock->channel->set->transport;
		if (transport->ops != &mute_ops) {
			real_ops = transport->ops;
			mute_ops = *real_ops;
			mute_ops.put = mute_put;
			transport->ops = &mute_ops;
		}
	}
}

static int call(struct msg_ctx *ctx, const char *address, unsigned n)
{
	unsigned again = 0, full = 0;

	for (unsigned i = 0; i < n; i++) {
		struct msg_sock *sock =
			msg_connect(ctx, address, LIBMSG_SEQPACKET, LIBMSG_WAIT_NAME, 15000);

		if (!sock && errno == ECONNREFUSED && ++full < 1000000) {
			i--; /* the backlog is full: the attacker has to accept first */
			(void)sched_yield();
			continue;
		}
		if (!sock && errno != ECONNRESET)
			fail("connect", i);
		if (sock)
			(void)msg_close(sock);
		else if (++again > n / 10)
			fail("connect again", i);
	}
	msg_ctx_close(ctx);
	printf("done, %u again\n", again);
	return 0;
}

int main(int argc, char **argv)
{
	struct msg_ctx *ctx = msg_ctx_open(NULL, 0, 15000);

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!ctx)
		fail("context", 0);
	if (argc == 3 && strcmp(argv[1], "listen") == 0)
		return attack(ctx, argv[2]);
	if (argc == 4 && strcmp(argv[1], "call") == 0)
		return call(ctx, argv[2], (unsigned)strtoul(argv[3], NULL, 10));
	fail("usage", 0);
}
