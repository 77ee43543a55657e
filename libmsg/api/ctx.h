/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The context behind struct msg_ctx, and the one way into it: every public call that has a context
 * or a socket enters by ctx_enter and leaves by ctx_leave. Only the functions of libmsg/api speak
 * -1 and errno.
 *
 * Included by: libmsg/api, tests.
 */
#ifndef LIBMSG_API_CTX_H
#define LIBMSG_API_CTX_H

#include "libmsg/api/misuse.h"
#include "libmsg/api/reason.h"
#include "libmsg/libmsg.h"
#include "libmsg/wait/driver.h"

#define PUBLIC __attribute__((visibility("default")))

struct msg_ctx {
	struct hv *hv;			/* owned */
	volatile uint8_t *same_process; /* a page that reads 0 in a forked child; owned */
	enum transport_kind transport;	/* demanded of connects */
	struct pool pool;
	struct links links;
	struct socks socks;
	struct control control;
	struct driver driver;
	struct fds *fds; /* owned; NULL: msg_sock_fd was never called */
};

/* Sets up all parts around an open hypervisor. -errno. For msg_ctx_open, and for tests. */
int ctx_init(struct msg_ctx *ctx, struct hv *hv, unsigned flags);
/* Closes the sockets, ends the links, frees the requests. For ctx.c, and for tests. */
void ctx_clear(struct msg_ctx *ctx);

/* The lock, and errno as the caller had it. -1: this is a forked child, and EBADFD. */
static inline int ctx_enter(struct msg_ctx *ctx)
{
	if (!*ctx->same_process)
		return failure(EBADFD, "the context belongs to the parent process");
	kept_errno = errno;
	driver_lock(&ctx->driver);
	return 0;
}

/* Acts on what the call has marked, and drops the lock. errno is failure's, or as before. */
static inline void ctx_leave(struct msg_ctx *ctx)
{
	driver_unlock(&ctx->driver);
	errno = kept_errno;
}

/* A public call: enters, evaluates `call`, leaves. Its value, or `failed` in a forked child. */
#define CTX_CALL(ctx, failed, call)                                                                \
	({                                                                                         \
		struct msg_ctx *ctx_ = (ctx);                                                      \
		__typeof__(call) ret_ = (failed);                                                  \
                                                                                                   \
		if (ctx_enter(ctx_) == 0) {                                                        \
			ret_ = (call);                                                             \
			ctx_leave(ctx_);                                                           \
		}                                                                                  \
		ret_;                                                                              \
	})

static inline struct msg_ctx *sock_ctx(const struct msg_sock *sock)
{
	return sock->socks->ctx;
}

/* Waits as driver_wait, in a call on a socket. call: static, its name. */
static inline __attribute__((always_inline)) int sock_wait(struct msg_sock *sock, const char *call,
	wait_over_fn *over, void *arg, uint64_t deadline_ns)
{
	struct driver *driver = &sock_ctx(sock)->driver;
	struct focus focus;
	int r;

	if (wait_is_over_now(driver, over, arg, &focus))
		return 0;
	sock_sleeps(sock, call);
	r = driver_wait_on(driver, over, arg, deadline_ns);
	sock_woke(sock);
	return r;
}

/* "LIBMSG_CORK"; NULL: there is no such option. */
const char *option_name(int option);
/* Names one of these flags, which the call does not take; -1, EINVAL. */
int flags_refuse(unsigned flags);
int message_flags_refuse(unsigned flags);

/* 0; -1, EINVAL: of LIBMSG_NONBLOCK and so on. */
static inline int flags_check(unsigned flags, unsigned allowed)
{
	return flags & ~allowed ? flags_refuse(flags & ~allowed) : 0;
}

/* 0; -1, EINVAL: of MSG_DONTWAIT and so on. */
static inline int message_flags_check(int flags, int allowed)
{
	return flags & ~allowed ? message_flags_refuse((unsigned)(flags & ~allowed)) : 0;
}

/* A socket that asks msgd. NULL: it cannot; the socket is freed. */
struct msg_sock *sock_ask(struct msg_sock *sock, const struct control_message *message);
/*
 * Waits until msgd has answered, or has said what it waits for when time is over. Frees a socket
 * that failed, and says why; what, and late if no time was given: for that.
 */
struct msg_sock *sock_await(struct msg_sock *sock, uint64_t deadline_ns, const char *what,
	const char *name, const char *late);

/* A receive of a watch, whose flags were looked at. */
ssize_t watch_recv(struct msg_sock *sock, struct iov_cursor *cursor, size_t size, int flags,
	uint64_t deadline_ns, int *ret_flags);
ssize_t watch_take(struct msg_sock *sock, uint64_t deadline_ns, const void **ret_data,
	struct msg_buf **ret_buf);

/* 0, and how many bytes the segments have. -1, EINVAL: a message that libmsg does not carry. */
int message_check(const struct msghdr *message, size_t *ret_len);

/* Why the channel broke. */
const char *channel_why(const struct channel *channel);
/* Says it, and the error counts as told; -1. */
int channel_failure(struct channel *channel);
/* Says why a socket without a channel carries nothing; -1. */
int channel_missing(struct msg_sock *sock);

/* 0; -1: no channel stands, or ever did. */
static inline int channel_check(struct msg_sock *sock)
{
	return sock->channel ? 0 : channel_missing(sock);
}

/* msg_ctx_dispatch of the sockets of one loop. */
int ctx_dispatch(struct msg_ctx *ctx, enum sock_loop loop, struct msg_event *ret_events, int n);

/* Shows the peer what MSG_MORE and LIBMSG_CORK have held back. */
void sock_push(struct msg_sock *sock);

#endif
