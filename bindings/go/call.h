/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The calls of libmsg in a form for cgo. errno and msg_reason() belong to a thread, which a
 * goroutine may leave between two calls of C: each call here returns them with its result. None of
 * them blocks but call_open and call_close, and, while msgd does not answer, call_listen and
 * call_watch.
 */
#ifndef BINDINGS_GO_CALL_H
#define BINDINGS_GO_CALL_H

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <libmsg.h>

struct call {
	void *object; /* a context or a socket */
	ssize_t n;
	int flags;
	int error;    /* 0: it succeeded */
	char *reason; /* to be freed; NULL if it succeeded, or with EAGAIN, which is no news */
};

static inline struct call call_result(ssize_t n, void *object)
{
	struct call call = {.n = n, .object = object};

	if (n >= 0)
		return call;
	call.error = errno;
	if (call.error != EAGAIN)
		call.reason = strdup(msg_reason());
	return call;
}

static inline struct call call_open(const char *hv, int timeout_ms)
{
	struct msg_ctx *ctx = msg_ctx_open(hv, 0, timeout_ms);

	return call_result(ctx ? 0 : -1, ctx);
}

static inline struct call call_object(struct msg_sock *sock)
{
	return call_result(sock ? 0 : -1, sock);
}

static inline struct call call_listen(struct msg_ctx *ctx, const char *name, int type, int backlog)
{
	return call_object(msg_listen(ctx, name, type, backlog, LIBMSG_NONBLOCK));
}

static inline struct call call_accept(struct msg_sock *listener)
{
	return call_object(msg_accept(listener, LIBMSG_NONBLOCK));
}

static inline struct call call_connect(
	struct msg_ctx *ctx, const char *address, int type, unsigned flags)
{
	return call_object(msg_connect(ctx, address, type, flags | LIBMSG_NONBLOCK, 0));
}

static inline struct call call_watch(struct msg_ctx *ctx, const char *pattern)
{
	struct msg_sock *sock = msg_watch(ctx, pattern);

	if (sock)
		(void)msg_setopt(sock, LIBMSG_NONBLOCK_OPT, 1);
	return call_object(sock);
}

/* n: whether a listener has its name. */
static inline struct call call_listens(struct msg_sock *listener)
{
	struct msg_pollfd fd = {.sock = listener, .events = POLLOUT};

	return call_result(msg_poll(&fd, 1, 0), NULL);
}

/* Fails if a listen or a connect has failed. */
static inline struct call call_check(struct msg_sock *sock)
{
	int64_t error = 0;

	if (msg_getopt(sock, LIBMSG_ERROR, &error) < 0 || !error)
		return call_result(error ? -1 : 0, NULL);
	errno = (int)error;
	return call_result(-1, NULL);
}

static inline struct call call_send(struct msg_sock *sock, const void *data, size_t len)
{
	return call_result(msg_send(sock, data, len, MSG_DONTWAIT), NULL);
}

static inline struct call call_recv(struct msg_sock *sock, void *data, size_t len)
{
	struct iovec iov = {.iov_base = data, .iov_len = len};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	struct call call = call_result(msg_recvmsg(sock, &message, MSG_DONTWAIT), NULL);

	call.flags = message.msg_flags;
	return call;
}

/* object: a msg_buf; NULL: the end. *ret_data: its bytes. */
static inline struct call call_take(struct msg_sock *sock, const void **ret_data)
{
	struct msg_buf *buf = NULL;
	ssize_t n = msg_recv_take(sock, MSG_DONTWAIT, ret_data, &buf);

	return call_result(n, buf);
}

static inline struct call call_shutdown(struct msg_sock *sock, int how)
{
	return call_result(msg_shutdown(sock, how), NULL);
}

static inline struct call call_setopt(struct msg_sock *sock, int option, int64_t value)
{
	return call_result(msg_setopt(sock, option, value), NULL);
}

static inline struct call call_getopt(struct msg_sock *sock, int option)
{
	int64_t value = 0;
	int r = msg_getopt(sock, option, &value);

	return call_result(r < 0 ? r : (ssize_t)value, NULL);
}

static inline struct call call_set_transport(struct msg_ctx *ctx, int transport)
{
	return call_result(msg_ctx_set_transport(ctx, transport), NULL);
}

static inline struct call call_peer(struct msg_sock *sock, struct msg_peer *ret_peer)
{
	ret_peer->size = sizeof(*ret_peer);
	return call_result(msg_getpeer(sock, ret_peer), NULL);
}

/* lingers: waits until what was sent has left, for LIBMSG_LINGER at most. */
static inline struct call call_close(struct msg_sock *sock, int lingers)
{
	(void)msg_setopt(sock, LIBMSG_NONBLOCK_OPT, !lingers);
	return call_result(msg_close(sock), NULL);
}

/*
 * As msg_ctx_dispatch. The runtime hears of a descriptor when it becomes readable, and not while it
 * is: flags is 1 while the context's descriptor is readable, and then this is to be called again.
 */
static inline struct call call_dispatch(struct msg_ctx *ctx, struct msg_event *ret_events, int n)
{
	struct call call = call_result(msg_ctx_dispatch(ctx, ret_events, n), NULL);
	struct pollfd fd = {.fd = msg_ctx_fd(ctx), .events = POLLIN};

	call.flags = call.n > 0 || poll(&fd, 1, 0) > 0;
	return call;
}

#endif
