/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Looks, beside a program that uses libmsg, whether the events that it is told are true: a socket
 * is never readable with nothing to read, nor silent with something; msg_ctx_fd likewise. It stands
 * between the program and the library, by the linker's --wrap (level_checker_dep) or by LD_PRELOAD
 * (level-preload.c), and ends the program at the first untruth, with a line that begins with
 * "level-checker:".
 *
 * It peeks at messages, at a few sockets in each call: a program may call as often as it likes. A
 * look by which another thread may have taken something meanwhile decides nothing. A listener's
 * channels and a socket's room cannot be peeked at: that they were reported is a promise, which the
 * next accept or small send of the program puts to the test, if nothing came in between.
 */
#ifndef TESTS_SUPPORT_LEVEL_CHECKER_H
#define TESTS_SUPPORT_LEVEL_CHECKER_H

#include <sys/socket.h>

#include "libmsg/libmsg.h"

/* After so many calls in a row that had nothing to report, the descriptor must be silent. */
#define LEVEL_CHECKER_PATIENCE 20000U

/* FUNCTION(returned type, name, parameters, arguments): those that are looked at. */
#define LEVEL_CHECKER_FUNCTIONS(FUNCTION)                                                          \
	FUNCTION(void, msg_ctx_close, (struct msg_ctx * ctx), (ctx))                               \
	FUNCTION(int, msg_ctx_fd, (struct msg_ctx * ctx), (ctx))                                   \
	FUNCTION(int, msg_ctx_dispatch, (struct msg_ctx * ctx, struct msg_event * events, int n),  \
		(ctx, events, n))                                                                  \
	FUNCTION(struct msg_sock *, msg_listen,                                                    \
		(struct msg_ctx * ctx, const char *name, int type, int backlog, unsigned flags),   \
		(ctx, name, type, backlog, flags))                                                 \
	FUNCTION(struct msg_sock *, msg_accept, (struct msg_sock * sock, unsigned flags),          \
		(sock, flags))                                                                     \
	FUNCTION(struct msg_sock *, msg_connect,                                                   \
		(struct msg_ctx * ctx, const char *address, int type, unsigned flags,              \
			int timeout_ms),                                                           \
		(ctx, address, type, flags, timeout_ms))                                           \
	FUNCTION(struct msg_sock *, msg_watch, (struct msg_ctx * ctx, const char *glob),           \
		(ctx, glob))                                                                       \
	FUNCTION(int, msg_shutdown, (struct msg_sock * sock, int how), (sock, how))                \
	FUNCTION(int, msg_close, (struct msg_sock * sock), (sock))                                 \
	FUNCTION(int, msg_sock_fd, (struct msg_sock * sock), (sock))                               \
	FUNCTION(int, msg_sock_serve, (struct msg_sock * sock, int fd), (sock, fd))                \
	FUNCTION(ssize_t, msg_send,                                                                \
		(struct msg_sock * sock, const void *data, size_t len, int flags),                 \
		(sock, data, len, flags))                                                          \
	FUNCTION(ssize_t, msg_sendmsg,                                                             \
		(struct msg_sock * sock, const struct msghdr *message, int flags),                 \
		(sock, message, flags))                                                            \
	FUNCTION(int, msg_sendmmsg,                                                                \
		(struct msg_sock * sock, struct mmsghdr * messages, unsigned n, int flags),        \
		(sock, messages, n, flags))                                                        \
	FUNCTION(ssize_t, msg_recv, (struct msg_sock * sock, void *data, size_t len, int flags),   \
		(sock, data, len, flags))                                                          \
	FUNCTION(ssize_t, msg_recvmsg,                                                             \
		(struct msg_sock * sock, struct msghdr * message, int flags),                      \
		(sock, message, flags))                                                            \
	FUNCTION(int, msg_recvmmsg,                                                                \
		(struct msg_sock * sock, struct mmsghdr * messages, unsigned n, int flags,         \
			int timeout_ms),                                                           \
		(sock, messages, n, flags, timeout_ms))                                            \
	FUNCTION(ssize_t, msg_recv_take,                                                           \
		(struct msg_sock * sock, int flags, const void **ret_data,                         \
			struct msg_buf **ret_buf),                                                 \
		(sock, flags, ret_data, ret_buf))                                                  \
	FUNCTION(int, msg_poll, (struct msg_pollfd * fds, size_t n, int timeout_ms),               \
		(fds, n, timeout_ms))

/* The library's own, and the one that the program gets. */
#define LEVEL_CHECKER_DECLARE(type, name, parameters, arguments)                                   \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;

LEVEL_CHECKER_FUNCTIONS(LEVEL_CHECKER_DECLARE)

#endif
