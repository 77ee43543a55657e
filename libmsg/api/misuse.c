/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libmsg/api/misuse.h"

#include <stdio.h>
#include <stdlib.h>

/* A socket, its words for a person: an address tells little. */
static void sock_describe(const struct msg_sock *sock, char *text, size_t size)
{
	const struct channel *channel = sock->channel;

	if (sock->kind == SOCK_LISTENER)
		(void)snprintf(text, size, "the listener \"%s\"", sock->name);
	else if (sock->kind == SOCK_WATCH)
		(void)snprintf(text, size, "the watch \"%s\"", sock->pattern);
	else if (channel)
		(void)snprintf(text, size, "the channel \"%s\" with domain %s", channel->name,
			channel->peer.domain);
	else
		(void)snprintf(text, size, "a connect that is not done");
}

static _Noreturn void misuse(const char *call, const char *object, const char *meanwhile)
{
	(void)fprintf(stderr,
		"libmsg: %s of %s while another thread is in %s: see \"On closing\" in libmsg.h\n",
		call, object, meanwhile);
	abort();
}

static void check_not_closing(const struct msg_sock *sock, const char *call)
{
	char text[ADDRESS_SIZE + 64];

	if (!MISUSE_IS_CAUGHT || !sock->closing)
		return;
	sock_describe(sock, text, sizeof(text));
	misuse(call, text, "msg_close of it");
}

void sock_sleeps(struct msg_sock *sock, const char *call)
{
	check_not_closing(sock, call);
	sock->n_asleep++;
	sock->asleep_in = call;
}

void misuse_check_close(struct msg_sock *sock)
{
	char text[ADDRESS_SIZE + 64];

	check_not_closing(sock, "msg_close");
	sock->closing = true;
	if (!MISUSE_IS_CAUGHT || !sock->n_asleep)
		return;
	sock_describe(sock, text, sizeof(text));
	misuse("msg_close", text, sock->asleep_in);
}

void misuse_check_ctx_close(const struct driver *driver)
{
	if (MISUSE_IS_CAUGHT && (driver->n_waiting || driver->driving))
		misuse("msg_ctx_close", "a context", "a call of it");
}
