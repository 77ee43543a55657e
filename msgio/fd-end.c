/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See fd-end.h. */
#include "msgio/fd-end.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/event.h"
#include "base/macro.h"
#include "proto/limits.h"

/* The most that one read takes of a stream, and the longest datagram. */
#define PIECE_MAX 65536U

static struct fd_end *fd_end_of(struct end *end)
{
	return container_of(end, struct fd_end, end);
}

static size_t piece_size(int type)
{
	return type == LIBMSG_SEQPACKET ? MESSAGE_MAX_DEFAULT : PIECE_MAX;
}

/* ---- events ------------------------------------------------------------------------------- */

static void tell(struct fd_end *fds)
{
	if (fds->end.ready)
		fds->end.ready(fds->end.arg);
	fds->readable = false;
}

static void on_in(evutil_socket_t fd, short what, void *arg)
{
	struct fd_end *fds = arg;

	fds->readable = true;
	tell(fds);
}

static void on_out(evutil_socket_t fd, short what, void *arg)
{
	tell(arg);
}

static void event_want(struct event *event, bool wanted)
{
	if (event && wanted)
		(void)event_add(event, NULL);
	else if (event)
		(void)event_del(event);
}

void fd_end_wait(struct end *end, bool in, bool out)
{
	struct fd_end *fds = fd_end_of(end);

	event_want(fds->in_event, in);
	event_want(fds->out_event, out && fds->out_fd >= 0);
}

/* ---- taking ------------------------------------------------------------------------------- */

/* How long the packet is that comes next; a stream has none. */
static ssize_t next_size(const struct fd_end *fds)
{
	if (!fds->packets)
		return (ssize_t)fds->size;
	return recv(fds->in_fd, NULL, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
}

/* -ENODATA: the end. An empty packet has credentials, which the end has not. */
static ssize_t take_packet(const struct fd_end *fds, char *data, size_t size)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct iovec iov = {.iov_base = data, .iov_len = size};
	struct msghdr message = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(fds->in_fd, &message, MSG_DONTWAIT);

	if (n == 0 && message.msg_controllen == 0)
		return -ENODATA;
	return n < 0 ? -errno : n;
}

static ssize_t take_bytes(const struct fd_end *fds, char *data, size_t size)
{
	ssize_t n = read(fds->in_fd, data, size);

	if (n == 0)
		return -ENODATA;
	return n < 0 ? -errno : n;
}

int fd_end_take(struct end *end, struct piece *ret_piece)
{
	struct fd_end *fds = fd_end_of(end);
	_cleanup_free_ char *data = NULL;
	ssize_t size, n;

	/* One read for one event: a descriptor that is another's as well may block. */
	if (!fds->readable)
		return -EAGAIN;
	fds->readable = false;
	size = next_size(fds);
	if (size < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	data = malloc(size ? (size_t)size : 1);
	if (!data)
		return -ENOMEM;
	n = fds->packets ? take_packet(fds, data, (size_t)size)
			 : take_bytes(fds, data, (size_t)size);
	if (n == -ENODATA)
		return TAKE_END;
	if (n < 0)
		return n == -EINTR ? -EAGAIN : (int)n;
	*ret_piece = (struct piece){.data = data, .len = (size_t)n, .release = free};
	ret_piece->owner = steal_ptr(data);
	return TAKE_PIECE;
}

/* ---- giving ------------------------------------------------------------------------------- */

/* To a pipe that would block: a page at most, for which there is room. */
static ssize_t write_some(const struct fd_end *fds, const char *data, size_t len)
{
	struct pollfd poll_fd = {.fd = fds->out_fd, .events = POLLOUT};

	if (fds->is_socket)
		return send(fds->out_fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (!fds->may_block)
		return write(fds->out_fd, data, len);
	if (poll(&poll_fd, 1, 0) < 1) {
		errno = EAGAIN;
		return -1;
	}
	return write(fds->out_fd, data, len < PIPE_BUF ? len : PIPE_BUF);
}

/* A Unix socket says EPIPE where its peer takes no more, and where it is lost: then it hung up. */
static int give_error(const struct fd_end *fds, int error)
{
	struct pollfd poll_fd = {.fd = fds->out_fd};

	if (error == EINTR || error == EWOULDBLOCK)
		return -EAGAIN;
	if (error == EPIPE && fds->is_socket && poll(&poll_fd, 1, 0) > 0 &&
		(poll_fd.revents & POLLHUP))
		return -ECONNRESET;
	return -error;
}

/* An empty message would be the end to whoever reads it. */
ssize_t fd_end_give(struct end *end, const char *data, size_t len)
{
	const struct fd_end *fds = fd_end_of(end);
	ssize_t n = len ? write_some(fds, data, len) : 0;

	return n < 0 ? give_error(fds, errno) : n;
}

static void close_out(struct fd_end *fds)
{
	event_drop(fds->out_event);
	fds->out_event = NULL;
	close_p(&fds->out_fd);
	fds->out_fd = -1;
}

int fd_end_finish(struct end *end)
{
	struct fd_end *fds = fd_end_of(end);
	int fd;

	if (fds->is_socket) /* of a socket that is lost, a read says so */
		return (void)shutdown(fds->out_fd, SHUT_WR), 0;
	(void)event_del(fds->out_event);
	fd = steal_fd(&fds->out_fd);
	return close(fd) < 0 ? -errno : 0;
}

/* ---- life --------------------------------------------------------------------------------- */

int fd_end_init(struct fd_end *fds, struct loop *loop, int in_fd, int out_fd, int type)
{
	*fds = (struct fd_end){.in_fd = in_fd, .out_fd = out_fd, .size = piece_size(type)};
	fds->in_event = event_new(loop->base, in_fd, EV_READ | EV_PERSIST, on_in, fds);
	fds->out_event = event_new(loop->base, out_fd, EV_WRITE | EV_PERSIST, on_out, fds);
	return fds->in_event && fds->out_event ? 0 : -ENOMEM;
}

void fd_end_fini(struct fd_end *fds)
{
	bool same = fds->in_fd == fds->out_fd;

	event_drop(fds->in_event);
	fds->in_event = NULL;
	close_out(fds);
	if (!same)
		close_p(&fds->in_fd);
	fds->in_fd = -1;
}

/* ---- sockets ------------------------------------------------------------------------------ */

/* TCP then says RST. Other sockets have no such word. */
static int socket_close(struct end *end, bool reset)
{
	struct fd_end *fds = fd_end_of(end);
	const struct linger none = {.l_onoff = 1};

	if (reset)
		(void)setsockopt(fds->out_fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	fd_end_fini(fds);
	free(fds);
	return 0;
}

static const struct end_ops socket_ops = {
	.take = fd_end_take,
	.give = fd_end_give,
	.finish = fd_end_finish,
	.wait = fd_end_wait,
	.close = socket_close,
};

int socket_end_init(struct fd_end *fds, struct loop *loop, int fd, bool packets)
{
	const int on = 1;
	int r = fd_end_init(fds, loop, fd, fd, LIBMSG_STREAM);

	fds->is_socket = true;
	fds->packets = packets;
	if (packets)
		(void)setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
	return r;
}

struct end *socket_end_new(struct loop *loop, int fd, bool packets)
{
	struct fd_end *fds = malloc(sizeof(*fds));

	if (!fds) {
		(void)close(fd);
		return NULL;
	}
	if (socket_end_init(fds, loop, fd, packets) < 0) {
		fd_end_fini(fds);
		free(fds);
		return NULL;
	}
	fds->end.ops = &socket_ops;
	return &fds->end;
}
