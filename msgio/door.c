/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See door.h. */
#include "msgio/door.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/accept.h"
#include "base/listen.h"
#include "base/log.h"
#include "base/macro.h"
#include "msgio/channel-end.h"
#include "msgio/fd-end.h"

/* Connections that wait to be accepted: as msgio(1) says. A burst fills more than a handful. */
#define BACKLOG_MIN 64U
/* Connections that are accepted before other events are looked at. */
#define ACCEPTS_A_TURN 16

struct door {
	struct sock_handler handler;
	struct loop *loop;		  /* borrowed */
	const struct io_options *options; /* borrowed */
	door_fn *fn;
	void *arg;		   /* borrowed */
	struct msg_sock *listener; /* owned; NULL: it is no channel */
	int fd;			   /* owned; -1: likewise */
	struct acceptor *acceptor; /* owned; NULL: closed, or no socket */
	bool open, is_file;
};

static int backlog(const struct io_options *options)
{
	return (int)max_u32(BACKLOG_MIN, min_u32(options->max_connections, BACKLOG_MAX));
}

/* ---- channels ----------------------------------------------------------------------------- */

static void take_channel(struct door *door, struct msg_sock *sock)
{
	struct msg_peer peer = {.size = sizeof(peer)};
	struct end *end;

	(void)msg_getpeer(sock, &peer);
	end = channel_end_new(sock);
	if (end)
		door->fn(door->arg, end, &peer);
	else
		loop_log(door->loop, "a connection from %s: out of memory", peer.domain);
}

static void on_listener(struct sock_handler *handler, short revents)
{
	struct door *door = container_of(handler, struct door, handler);
	struct msg_sock *sock = NULL;

	for (unsigned n = 0; door->open && n < ACCEPTS_A_TURN; n++) {
		sock = msg_accept(door->listener, LIBMSG_NONBLOCK);
		if (!sock)
			break;
		take_channel(door, sock);
	}
	if (!door->open || sock || errno == EAGAIN || errno == ENOMEM)
		return;
	log_error("%s: %s (%s)", door->options->from.channel, msg_reason(), strerror(errno));
	loop_end(door->loop, STATUS_NO_CONNECTION);
}

static int listen_channel(struct door *door)
{
	const struct io_options *options = door->options;

	door->listener = msg_listen(door->loop->ctx, options->from.channel, options->type,
		backlog(options), LIBMSG_NONBLOCK);
	if (!door->listener) {
		log_error("%s (%s)", msg_reason(), strerror(errno)); /* libmsg says which name */
		return STATUS_NO_CONNECTION;
	}
	door->handler.fn = on_listener;
	msg_set_userdata(door->listener, &door->handler);
	return 0;
}

/* ---- sockets ------------------------------------------------------------------------------ */

static int bind_socket(const struct io_options *options, int type, int *ret_fd)
{
	const struct address *from = &options->from;
	int one = 1, fd, r;

	if (address_path(from))
		return unix_listen(
			address_path(from), type, (mode_t)options->mode, backlog(options), ret_fd);
	fd = socket(from->where.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (from->kind == ADDRESS_TCP)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (const struct sockaddr *)&from->where, from->where_len) == 0 &&
		listen(fd, backlog(options)) == 0) {
		*ret_fd = fd;
		return 0;
	}
	r = -errno;
	(void)close(fd);
	return r;
}

/* With the port that it got. */
static void describe(const struct door *door, char ret_text[ADDRESS_TEXT_SIZE])
{
	struct address from = door->options->from;
	socklen_t len = sizeof(from.where);

	if (from.kind == ADDRESS_TCP && door->fd >= 0)
		(void)getsockname(door->fd, (struct sockaddr *)&from.where, &len);
	address_describe(&from, ret_text);
}

static void on_accept(void *arg, int fd)
{
	struct door *door = arg;
	struct end *end = NULL;

	if (fd >= 0)
		end = socket_end_new(door->loop, fd, door->options->type != LIBMSG_STREAM);
	if (end)
		door->fn(door->arg, end, NULL);
	else
		loop_log(door->loop, "connections are refused: %s",
			fd < 0 ? strerror(-fd) : "out of memory");
}

static int listen_socket(struct door *door)
{
	int type = door->options->type == LIBMSG_STREAM ? SOCK_STREAM : SOCK_SEQPACKET;
	int r = bind_socket(door->options, type, &door->fd);
	char text[ADDRESS_TEXT_SIZE];

	if (r < 0) {
		describe(door, text);
		log_error("%s: %s%s", text, strerror(-r),
			r == -EADDRNOTAVAIL && door->options->from.kind == ADDRESS_VSOCK
				? " (is vsock_loopback loaded?)"
				: "");
		return STATUS_FAILURE;
	}
	door->is_file = address_path(&door->options->from);
	return 0;
}

/* ---- all ---------------------------------------------------------------------------------- */

void door_set_open(struct door *door, bool open)
{
	if (open == door->open)
		return;
	door->open = open;
	if (door->listener) {
		(void)msg_setopt(door->listener, LIBMSG_EVENTS, open ? POLLIN : 0);
		return;
	}
	acceptor_free(door->acceptor);
	door->acceptor = open ? acceptor_new(door->loop->base, door->fd, on_accept, door) : NULL;
	if (open && !door->acceptor)
		loop_log(door->loop, "nothing is accepted any more: out of memory");
}

struct door *door_new(struct loop *loop, const struct io_options *options, door_fn *fn, void *arg,
	int *ret_status)
{
	struct door *door = malloc(sizeof(*door));
	char text[ADDRESS_TEXT_SIZE];

	*ret_status = STATUS_FAILURE;
	if (!door) {
		log_error("out of memory");
		return NULL;
	}
	*door = (struct door){.loop = loop, .options = options, .fn = fn, .arg = arg, .fd = -1};
	*ret_status =
		options->from.kind == ADDRESS_CHANNEL ? listen_channel(door) : listen_socket(door);
	if (*ret_status) {
		door_free(door);
		return NULL;
	}
	door->open = door->listener; /* as msg_listen gives it */
	door_set_open(door, true);
	describe(door, text);
	log_notice("listens on %s", text);
	return door;
}

void door_free(struct door *door)
{
	if (!door)
		return;
	acceptor_free(door->acceptor);
	msg_close(door->listener);
	if (door->is_file)
		(void)unlink(address_path(&door->options->from));
	if (door->fd >= 0)
		(void)close(door->fd);
	free(door);
}
