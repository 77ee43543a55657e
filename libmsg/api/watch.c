/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Watching for names, and receiving them. */
#include <stdlib.h>
#include <string.h>

#include "libmsg/api/ctx.h"
#include "libmsg/control/request.h"
#include "libmsg/socket/names.h"

static struct msg_sock *watch_locked(struct msg_ctx *ctx, const char *addr_glob)
{
	struct control *control = &ctx->control;
	char domain[DOMAIN_NAME_SIZE], name[NAME_SIZE];
	struct control_message message;
	struct msg_sock *sock;

	if (!addr_glob)
		return failure(EINVAL, "no pattern is given"), NULL;
	if (pattern_split(addr_glob, domain, name) < 0)
		return failure(EINVAL,
			       "\"%.180s\" is no pattern: [DOMAIN/]NAME, in which * and ? may be",
			       addr_glob),
		       NULL;
	if (control->state == CONTROL_ATTACHED && !control_can_watch(control))
		return failure(EPROTONOSUPPORT, "%s", CONTROL_TOO_OLD_TO_WATCH), NULL;
	sock = sock_new(&ctx->socks, SOCK_WATCH, SOCK_PENDING, CHANNEL_SEQPACKET);
	if (sock && sock_set_pattern(sock, addr_glob) < 0) {
		sock_free(sock);
		sock = NULL;
	}
	if (!sock)
		return failure(ENOMEM, "out of memory"), NULL;
	message = control_watch_message(sock);
	sock = sock_ask(sock, &message);
	return sock ? sock_await(sock, DEADLINE_NEVER, "watch", addr_glob, "") : NULL;
}

PUBLIC struct msg_sock *msg_watch(struct msg_ctx *ctx, const char *addr_glob)
{
	return CTX_CALL(ctx, NULL, watch_locked(ctx, addr_glob));
}

struct watching {
	struct msg_sock *sock;
	char text[NAMES_TEXT_SIZE];
	size_t len;
};

static bool news_is_over(void *arg, struct focus *ret_focus)
{
	struct watching *watching = arg;

	return names_first(watching->sock->names, watching->text, &watching->len) == 0 ||
	       watching->sock->state == SOCK_FAILED;
}

/* 0: the text of the next message; -1. The news before the end of a watch is received. */
static int watch_wait(struct watching *watching, uint64_t deadline_ns)
{
	struct msg_sock *sock = watching->sock;
	int r = sock_wait(sock, "msg_recv", news_is_over, watching, deadline_ns);

	if (names_first(sock->names, watching->text, &watching->len) == 0)
		return 0;
	if (sock->state == SOCK_FAILED) {
		sock->error_told = true;
		return failure(sock->error, "the watch has ended: %s", sock->reason);
	}
	if (r == -EINTR)
		return failure(EINTR, "interrupted by a signal");
	return failure(EAGAIN, "no name has come or gone");
}

ssize_t watch_recv(struct msg_sock *sock, struct iov_cursor *cursor, size_t size, int flags,
	uint64_t deadline_ns, int *ret_flags)
{
	struct watching watching = {.sock = sock};
	bool told = sock->error_told;
	size_t len;

	if (watch_wait(&watching, deadline_ns) < 0) {
		if (flags & MSG_PEEK)
			sock->error_told = told;
		return -1;
	}
	len = watching.len;
	cursor_write(cursor, watching.text, len < size ? len : size);
	*ret_flags |= len > size ? MSG_EOR | MSG_TRUNC : MSG_EOR;
	if (!(flags & MSG_PEEK))
		names_take_first(sock->names);
	return flags & MSG_TRUNC || len < size ? (ssize_t)len : (ssize_t)size;
}

ssize_t watch_take(struct msg_sock *sock, uint64_t deadline_ns, const void **ret_data,
	struct msg_buf **ret_buf)
{
	struct watching watching = {.sock = sock};
	struct msg_buf *buf;

	if (watch_wait(&watching, deadline_ns) < 0)
		return -1;
	buf = malloc(sizeof(*buf) + watching.len);
	if (!buf)
		return failure(ENOMEM, "out of memory");
	memcpy(buf->data, watching.text, watching.len);
	names_take_first(sock->names);
	*ret_buf = buf;
	*ret_data = buf->data;
	return (ssize_t)watching.len;
}
