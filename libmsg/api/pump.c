/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One channel, and the local socket that stands for it: see pump.h. */
#include "libmsg/api/pump.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/macro.h"
#include "libmsg/api/ctx.h"
#include "libmsg/api/sock-diag.h"

/* Reads of each side in one turn: other pumps of the thread wait for so long. */
#define TURN_READS 4

/* Room for a writer, and how the end that is served tells what comes. */
static int end_prepare(int fd, int type)
{
	const int size = PUMP_SNDBUF, on = 1;

	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	/* An end has no credentials, an empty message has. Urgent bytes are bytes as any other. */
	return setsockopt(fd, SOL_SOCKET, type == SOCK_SEQPACKET ? SO_PASSCRED : SO_OOBINLINE, &on,
		       sizeof(on)) < 0
		       ? -errno
		       : 0;
}

static int local_pair(int type, int fds[2])
{
	const int size = PUMP_SNDBUF;

	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	(void)setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	/* The first thing that stays unread. */
	if (send(fds[1], "", 1, 0) != 1)
		return -errno;
	return end_prepare(fds[0], type);
}

static void pump_init(struct pump *pump, int fd, bool messages, ino_t program, int sndbuf)
{
	*pump = (struct pump){.fd = fd,
		.messages = messages,
		.hears = true,
		.program = program,
		.sndbuf = sndbuf,
		.keeps = true,
		.kept = 1};
}

int pump_open(struct pump *pump, bool messages, int *ret_fd)
{
	_cleanup_close_ int fd = -1, program_fd = -1;
	int fds[2] = {-1, -1};
	int r = local_pair(messages ? SOCK_SEQPACKET : SOCK_STREAM, fds);
	int sndbuf;
	socklen_t len = sizeof(sndbuf);
	struct stat status;

	fd = fds[0];
	program_fd = fds[1];
	if (r < 0)
		return r;
	if (fstat(program_fd, &status) < 0 ||
		getsockopt(program_fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, &len) < 0)
		return -errno;
	pump_init(pump, steal_fd(&fd), messages, status.st_ino, sndbuf);
	*ret_fd = steal_fd(&program_fd);
	return 0;
}

static bool has_option(int fd, int option, int wanted)
{
	int value;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &len) == 0 && value == wanted;
}

/* Something stands for the beginning: a byte, or a message of one. */
static bool has_beginning(int fd)
{
	char bytes[2];
	int n = 0;

	return ioctl(fd, FIONREAD, &n) == 0 && n > 0 &&
	       (has_option(fd, SO_TYPE, SOCK_STREAM) ||
		       recv(fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT) == 1);
}

int pump_adopt(struct pump *pump, bool messages, int given)
{
	int type = messages ? SOCK_SEQPACKET : SOCK_STREAM, sndbuf = 0, r;
	_cleanup_close_ int fd = -1;
	ino_t program = 0;
	struct stat status;

	if (!has_option(given, SO_DOMAIN, AF_UNIX) || !has_option(given, SO_TYPE, type) ||
		!has_beginning(given))
		return -EINVAL;
	fd = fcntl(given, F_DUPFD_CLOEXEC, 0);
	if (fd < 0 || fstat(fd, &status) < 0)
		return -errno;
	r = end_prepare(fd, type);
	if (r < 0)
		return r;
	/* Where the kernel does not tell, it does not tell of a smaller SO_SNDBUF, either. */
	if (sock_diag_peer(status.st_ino, &program) == 0)
		sndbuf = sock_diag_sndbuf(program);
	pump_init(pump, steal_fd(&fd), messages, program, sndbuf);
	return 0;
}

/* ---- from the channel to the program ------------------------------------------------------ */

static void drop_rest(struct pump *pump)
{
	free(pump->rest);
	pump->rest = NULL;
}

static enum pump_outcome keep_rest(struct pump *pump, const char *data, size_t len)
{
	pump->rest = malloc(len ? len : 1);
	if (!pump->rest)
		return PUMP_CUT;
	memcpy(pump->rest, data, len);
	pump->rest_len = len;
	pump->rest_at = 0;
	return PUMP_WAITS;
}

/*
 * The program does not read any more what came for it. If it has closed its end, the peer hears of
 * that when the other direction has ended; if it has shut it down, what comes is thrown away.
 */
static void stop_serving_program(struct pump *pump)
{
	struct pollfd poll_fd = {.fd = pump->fd};

	drop_rest(pump);
	pump->program_served = true;
	pump->lost = poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLHUP);
	(void)msg_shutdown(pump->sock, SHUT_RD);
}

/* Passes on as much as there is room for, *ret_n bytes. PUMP_WAITS: not all of it. */
static enum pump_outcome give(struct pump *pump, const char *data, size_t len, size_t *ret_n)
{
	ssize_t n = send(pump->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	*ret_n = n < 0 ? 0 : (size_t)n;
	if (n == (ssize_t)len)
		return PUMP_GOES_ON;
	if (n >= 0 || errno == EAGAIN)
		return PUMP_WAITS;
	if (errno != EPIPE)
		return PUMP_CUT;
	stop_serving_program(pump);
	return PUMP_WAITS;
}

static enum pump_outcome give_rest(struct pump *pump)
{
	size_t n;
	enum pump_outcome outcome =
		give(pump, pump->rest + pump->rest_at, pump->rest_len - pump->rest_at, &n);

	pump->rest_at += n;
	if (outcome == PUMP_GOES_ON)
		drop_rest(pump);
	return outcome;
}

static enum pump_outcome give_new(struct pump *pump, const char *data, size_t len)
{
	size_t n;
	enum pump_outcome outcome = give(pump, data, len, &n);

	return outcome == PUMP_WAITS && !pump->program_served ? keep_rest(pump, data + n, len - n)
							      : outcome;
}

static enum pump_outcome serve_program(struct pump *pump, char *scratch)
{
	struct iovec iov = {.iov_base = scratch, .iov_len = PUMP_SCRATCH};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (pump->rest)
		return give_rest(pump);
	n = msg_recvmsg(pump->sock, &message, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN ? PUMP_WAITS : PUMP_CUT;
	if (message.msg_flags & MSG_TRUNC)
		return PUMP_CUT; /* longer than any local socket takes */
	if (n > 0 || (message.msg_flags & MSG_EOR))
		return give_new(pump, scratch, (size_t)n);
	(void)shutdown(pump->fd, SHUT_WR);
	pump->program_served = true;
	return PUMP_WAITS;
}

/* ---- from the program to the channel ------------------------------------------------------ */

/* Bytes in the queue, wherever a look stops. */
static size_t unread(const struct pump *pump)
{
	int n = 0;

	return ioctl(pump->fd, FIONREAD, &n) == 0 && n > 0 ? (size_t)n : 0;
}

/*
 * Looks at what follows the kept bytes. Returns its length, and *ret_data in scratch. -EAGAIN:
 * nothing. -ENODATA: the end.
 */
static ssize_t look_at_bytes(struct pump *pump, char *scratch, const char **ret_data)
{
	ssize_t n = recv(pump->fd, scratch, PUMP_SCRATCH, MSG_PEEK | MSG_DONTWAIT);

	/*
	 * No look goes on behind a piece that descriptors came with, nor behind an urgent byte: the
	 * kept one is let go. (The descriptors are dropped: they do not cross.)
	 */
	if (n > 0 && (size_t)n <= pump->kept && unread(pump) > pump->kept) {
		(void)recv(pump->fd, scratch, pump->kept, MSG_DONTWAIT);
		pump->kept = 0;
		n = recv(pump->fd, scratch, PUMP_SCRATCH, MSG_PEEK | MSG_DONTWAIT);
	}
	if (n < 0 && errno != EAGAIN)
		return -errno;
	if (n > (ssize_t)pump->kept) {
		*ret_data = scratch + pump->kept;
		return n - (ssize_t)pump->kept;
	}
	/* The kernel told of the end before these bytes were read: nothing came since. */
	return pump->seen & (EPOLLRDHUP | EPOLLHUP) ? -ENODATA : -EAGAIN;
}

/*
 * The same of messages. SO_PEEK_OFF passes over the kept one; over an empty one since it was looked
 * at before (which is why empty_waits remembers one that is to be looked at again).
 */
static ssize_t look_at_message(struct pump *pump, char *scratch, const char **ret_data)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct iovec iov = {.iov_base = scratch, .iov_len = PUMP_SCRATCH};
	struct msghdr message = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	int offset = (int)pump->kept;
	ssize_t n;

	*ret_data = scratch;
	if (pump->empty_waits)
		return 0;
	if (setsockopt(pump->fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset)) < 0)
		return -errno;
	n = recvmsg(pump->fd, &message, MSG_PEEK | MSG_DONTWAIT);
	if (n < 0)
		return -errno;
	if (n > (ssize_t)PUMP_MESSAGE_MAX)
		return -EMSGSIZE;
	if (n == 0 && message.msg_controllen == 0)
		return -ENODATA;
	pump->empty_waits = n == 0;
	return n;
}

static ssize_t look_at(struct pump *pump, char *scratch, const char **ret_data)
{
	return pump->messages ? look_at_message(pump, scratch, ret_data)
			      : look_at_bytes(pump, scratch, ret_data);
}

/* len bytes that were looked at have gone to the peer: they are kept now, and what was is not. */
static void took(struct pump *pump, char *scratch, size_t len)
{
	size_t stays = !pump->keeps ? 0 : pump->messages ? len : 1;

	/* Of messages it takes out the one that was kept, or this one. */
	(void)recv(pump->fd, scratch, pump->messages ? 1 : pump->kept + len - stays, MSG_DONTWAIT);
	pump->kept = stays;
	pump->empty_waits = false;
	pump->quiet = 0;
}

/*
 * The peer does not read any more; or the channel is lost, which the other direction finds, too, if
 * it is looked at once more: no event tells again of what a call has told.
 */
static enum pump_outcome stop_serving_peer(struct pump *pump, int error)
{
	pump->peer_served = true;
	(void)shutdown(pump->fd, SHUT_RD);
	if (error == EPIPE || (error == ECONNRESET && !pump->program_served))
		return PUMP_WAITS;
	return PUMP_CUT;
}

static enum pump_outcome serve_peer(struct pump *pump, char *scratch)
{
	const char *data = NULL;
	ssize_t n = look_at(pump, scratch, &data), sent;

	if (n == -EAGAIN)
		return PUMP_WAITS;
	if (n == -ENODATA) {
		(void)msg_shutdown(pump->sock, SHUT_WR);
		pump->peer_served = true;
		return PUMP_WAITS;
	}
	if (n < 0)
		return PUMP_CUT;
	sent = msg_send(pump->sock, data, (size_t)n, MSG_DONTWAIT);
	if (sent < 0)
		return errno == EAGAIN ? PUMP_WAITS : stop_serving_peer(pump, errno);
	took(pump, scratch, (size_t)sent);
	return PUMP_GOES_ON;
}

/* ---- both --------------------------------------------------------------------------------- */

/* The peer has closed its end: nothing goes there any more. */
static bool peer_is_gone(struct pump *pump)
{
	struct msg_pollfd poll = {.sock = pump->sock};

	return msg_poll(&poll, 1, 0) > 0 && (poll.revents & POLLHUP);
}

typedef enum pump_outcome serve_fn(struct pump *pump, char *scratch);

static enum pump_outcome serve(
	struct pump *pump, char *scratch, serve_fn *fn, const bool *is_served)
{
	enum pump_outcome outcome = PUMP_GOES_ON;

	for (int i = 0; i < TURN_READS && outcome == PUMP_GOES_ON && !*is_served; i++)
		outcome = fn(pump, scratch);
	return *is_served && outcome == PUMP_GOES_ON ? PUMP_WAITS : outcome;
}

enum pump_outcome pump_run(struct pump *pump, char *scratch)
{
	enum pump_outcome to_program, to_peer;
	bool was_served = pump->peer_served, hears;

	/* The program has closed its end with something unread: so it is for the peer. */
	if (pump->seen & EPOLLERR)
		return PUMP_CUT;
	to_program = serve(pump, scratch, serve_program, &pump->program_served);
	to_peer = serve(pump, scratch, serve_peer, &pump->peer_served);
	if (to_program == PUMP_CUT || to_peer == PUMP_CUT)
		return PUMP_CUT;
	if (pump->program_served && !pump->peer_served && peer_is_gone(pump))
		(void)stop_serving_peer(pump, EPIPE);
	if (pump->peer_served && (pump->program_served || pump->seen & EPOLLHUP))
		return pump->lost || pump->rest ? PUMP_CUT : PUMP_ENDED;
	hears = !pump->program_served && !pump->rest;
	if (hears != pump->hears)
		(void)msg_setopt(pump->sock, LIBMSG_EVENTS, hears ? POLLIN : 0);
	pump->hears = hears;
	return to_program == PUMP_GOES_ON || to_peer == PUMP_GOES_ON ||
			       pump->peer_served != was_served
		       ? PUMP_GOES_ON
		       : PUMP_WAITS;
}

size_t pump_left(const struct pump *pump)
{
	size_t n = pump->peer_served ? 0 : unread(pump);

	n -= n < pump->kept ? n : pump->kept;
	return n + (!pump->peer_served && pump->seen & (EPOLLRDHUP | EPOLLHUP));
}

unsigned pump_tick(struct pump *pump)
{
	char byte;
	int size;

	if (!pump->keeps)
		return 0;
	if (pump->quiet < PUMP_TICKS)
		pump->quiet++;
	if (pump->quiet & (pump->quiet - 1))
		return pump->quiet;
	size = sock_diag_sndbuf(pump->program);
	if (size < 0 || size >= pump->sndbuf)
		return pump->quiet;
	(void)recv(pump->fd, &byte, 1, MSG_DONTWAIT);
	pump->keeps = false;
	pump->kept = 0;
	return 0;
}

/* Takes out what was kept, unless the program has written what the peer does not get. */
static void let_go(struct pump *pump, char *scratch)
{
	const char *data;

	/* First: the program writes nothing any more that would be lost without an error. */
	(void)shutdown(pump->fd, SHUT_RD);
	if (look_at(pump, scratch, &data) < 0 && pump->keeps)
		(void)recv(pump->fd, scratch, 1, MSG_DONTWAIT);
}

void pump_fini(struct pump *pump, enum pump_outcome outcome, char *scratch)
{
	if (outcome == PUMP_ENDED)
		let_go(pump, scratch);
	else
		(void)msg_setopt(pump->sock, LIBMSG_RESET, 1);
	(void)msg_close(pump->sock);
	drop_rest(pump);
}
