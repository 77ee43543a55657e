/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See asker.h. */
#include "msgio/asker.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/event.h"
#include "base/macro.h"
#include "base/uuid.h"
#include "msgio/options/ask.h"

/* The least that the kernel takes: the answers of two channels, with their descriptors. */
#define ANSWERS_SNDBUF 1
/* Channels that are accepted before other events are looked at. */
#define ACCEPTS_A_TURN 16

struct asker {
	struct leaving leaving;
	struct sock_handler handler;
	struct loop *loop; /* borrowed */
	asker_fn *fn;
	void *arg;		/* borrowed */
	int fd;			/* owned */
	struct event *readable; /* owned */
	struct event *writable; /* owned */
	struct event *late;	/* owned: the time for the line is over */
	struct msg_sock *sock;	/* owned: a connect, or a listener; or NULL */
	bool listens;
	bool over;
	size_t len;
	char line[ASK_LINE_MAX + 1]; /* with its end */
};

/* ---- its end ------------------------------------------------------------------------------ */

static void asker_free(struct leaving *leaving)
{
	struct asker *asker = container_of(leaving, struct asker, leaving);

	event_drop(asker->readable);
	event_drop(asker->writable);
	event_drop(asker->late);
	if (asker->sock && asker->listens)
		(void)msg_setopt(asker->sock, LIBMSG_NONBLOCK_OPT, 0); /* its name is to be free */
	msg_close(asker->sock);
	(void)close(asker->fd);
	free(asker);
}

void asker_end(struct asker *asker)
{
	if (asker->over)
		return;
	asker->over = true;
	(void)event_del(asker->readable);
	(void)event_del(asker->writable);
	(void)event_del(asker->late);
	loop_free_later(asker->loop, &asker->leaving);
}

static void leave(struct asker *asker)
{
	if (asker->over)
		return;
	asker_end(asker);
	asker->fn(asker->arg, asker);
}

/* ---- answers ------------------------------------------------------------------------------ */

/* One line, with a descriptor unless that is -1. False: it did not go. */
static bool say(const struct asker *asker, const char *text, int fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.header = {.cmsg_level = SOL_SOCKET,
			     .cmsg_type = SCM_RIGHTS,
			     .cmsg_len = CMSG_LEN(sizeof(int))}};
	struct iovec iov[2] = {
		{.iov_base = (char *)text, .iov_len = strlen(text)},
		{.iov_base = (char[]){'\n'}, .iov_len = 1},
	};
	struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2};

	if (fd >= 0) {
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
	}
	return sendmsg(asker->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) ==
	       (ssize_t)(iov[0].iov_len + 1);
}

static bool say_json(const struct asker *asker, json_t *object, int fd)
{
	_cleanup_free_ char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

	json_decref(object);
	return text && say(asker, text, fd);
}

/* A reason that is no text is left out. */
static void refuse(struct asker *asker, int error, const char *reason)
{
	const char *name = strerrorname_np(error);

	(void)say_json(asker,
		json_pack("{s:s, s:o}", "error", name ? name : "EIO", "reason",
			json_string(reason) ?: json_null()),
		-1);
	leave(asker);
}

static json_t *peer_json(struct msg_sock *sock)
{
	struct msg_peer peer = {.size = sizeof(peer)};
	char uuid[37];

	if (msg_getpeer(sock, &peer) < 0)
		return NULL;
	uuid_to_text(peer.uuid, uuid);
	return json_pack("{s:{s:o, s:i, s:s}}", "peer", "domain",
		json_string(peer.domain) ?: json_null(), "domid", (int)peer.domid, "uuid", uuid);
}

/* Gives the channel away. False: it could not be said; errno: the descriptor could not be had. */
static bool give(struct asker *asker, struct msg_sock *sock, int *ret_error)
{
	json_t *peer = peer_json(sock);
	int fd = msg_sock_fd(sock);
	bool given;

	*ret_error = fd < 0 ? errno : 0;
	if (fd < 0) {
		json_decref(peer);
		return false;
	}
	given = say_json(asker, peer, fd);
	(void)close(fd); /* one that was not given is the end of its channel */
	return given;
}

/* ---- connecting --------------------------------------------------------------------------- */

static void on_connect(struct sock_handler *handler, short revents)
{
	struct asker *asker = container_of(handler, struct asker, handler);
	struct msg_sock *sock = asker->sock;
	int64_t error = 0;
	int failure;

	if (asker->over)
		return;
	(void)msg_getopt(sock, LIBMSG_ERROR, &error);
	if (error) {
		refuse(asker, (int)error, msg_reason());
		return;
	}
	(void)give(asker, sock, &failure);
	if (failure) {
		refuse(asker, failure, msg_reason());
		return;
	}
	asker->sock = NULL; /* libmsg's */
	leave(asker);
}

static void start_connect(struct asker *asker, const struct ask *ask)
{
	unsigned flags = LIBMSG_NONBLOCK | (ask->wait ? LIBMSG_WAIT_NAME : 0);

	(void)msg_ctx_set_transport(asker->loop->ctx, ask->transport);
	asker->sock = msg_connect(asker->loop->ctx, ask->address, ask->type, flags,
		ask->wait_ms < 0 ? 0 : ask->wait_ms);
	if (!asker->sock) {
		refuse(asker, errno, msg_reason());
		return;
	}
	asker->handler.fn = on_connect;
	msg_set_userdata(asker->sock, &asker->handler);
}

/* ---- listening ---------------------------------------------------------------------------- */

static bool has_room(const struct asker *asker)
{
	struct pollfd fd = {.fd = asker->fd, .events = POLLOUT};

	return poll(&fd, 1, 0) == 1 && (fd.revents & POLLOUT);
}

/* The next channels wait: for the program to take those that it has. */
static void await_room(struct asker *asker)
{
	(void)msg_setopt(asker->sock, LIBMSG_EVENTS, 0);
	if (event_add(asker->writable, NULL) < 0)
		leave(asker);
}

static void accept_one(struct asker *asker, struct msg_sock *sock)
{
	int failure;

	if (give(asker, sock, &failure))
		return;
	if (failure) {
		loop_log(asker->loop, "a channel is refused: %s", msg_reason());
		(void)msg_setopt(sock, LIBMSG_RESET, 1);
		(void)msg_close(sock);
	} else {
		leave(asker);
	}
}

static void on_listener(struct sock_handler *handler, short revents)
{
	struct asker *asker = container_of(handler, struct asker, handler);

	for (int i = 0; i < ACCEPTS_A_TURN && !asker->over; i++) {
		struct msg_sock *sock;

		if (!has_room(asker)) {
			await_room(asker);
			return;
		}
		sock = msg_accept(asker->sock, LIBMSG_NONBLOCK);
		if (sock) {
			accept_one(asker, sock);
			continue;
		}
		if (errno != EAGAIN && errno != ENOMEM)
			refuse(asker, errno, msg_reason());
		return;
	}
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct asker *asker = arg;

	if (asker->over || !asker->listens)
		return;
	(void)msg_setopt(asker->sock, LIBMSG_EVENTS, POLLIN);
	on_listener(&asker->handler, POLLIN);
}

static void on_name(struct sock_handler *handler, short revents);

/* msgd has answered: the name is this listener's, or is not to be had. */
static void listener_answered(struct asker *asker)
{
	int64_t error = 0;

	(void)msg_getopt(asker->sock, LIBMSG_ERROR, &error);
	if (error) {
		refuse(asker, (int)error, msg_reason());
		return;
	}
	asker->handler.fn = on_listener;
	if (say_json(asker, json_pack("{s:b}", "listening", 1), -1))
		on_listener(&asker->handler, POLLIN);
	else
		leave(asker);
}

static void on_name(struct sock_handler *handler, short revents)
{
	struct asker *asker = container_of(handler, struct asker, handler);

	if (!asker->over && (revents & (POLLOUT | POLLERR)))
		listener_answered(asker);
}

static void start_listen(struct asker *asker, const struct ask *ask)
{
	const int size = ANSWERS_SNDBUF;
	struct msg_pollfd answer = {.events = POLLOUT};

	loop_free_now(asker->loop); /* one that has left may have had the name */
	(void)setsockopt(asker->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	asker->listens = true;
	asker->sock = msg_listen(
		asker->loop->ctx, ask->address, ask->type, ask->backlog, LIBMSG_NONBLOCK);
	if (!asker->sock) {
		refuse(asker, errno, msg_reason());
		return;
	}
	asker->handler.fn = on_name;
	msg_set_userdata(asker->sock, &asker->handler);
	answer.sock = asker->sock;
	if (msg_poll(&answer, 1, 0) == 1 && (answer.revents & (POLLOUT | POLLERR)))
		listener_answered(asker); /* it was quicker than the call */
}

/* ---- the line ----------------------------------------------------------------------------- */

/* It has all that it came with: more is a mistake, and nothing the program's end. */
static void take_line(struct asker *asker, const char *end)
{
	size_t len = (size_t)(end - asker->line);
	char error[ASK_ERROR_SIZE];
	struct ask ask;

	(void)event_del(asker->late);
	if (len + 1 < asker->len)
		refuse(asker, EINVAL, "more than one line");
	else if (ask_parse(asker->line, len, &ask, error) < 0)
		refuse(asker, EINVAL, error);
	else if (ask.listens)
		start_listen(asker, &ask);
	else
		start_connect(asker, &ask);
}

/* Descriptors that come with the bytes are dropped by the kernel: there is no room for them. */
static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct asker *asker = arg;
	bool asked = asker->sock;
	ssize_t n = recv(fd, asker->line + asker->len, sizeof(asker->line) - asker->len, 0);
	const char *end;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || asked) {
		leave(asker);
		return;
	}
	end = memchr(asker->line + asker->len, '\n', (size_t)n);
	asker->len += (size_t)n;
	if (end)
		take_line(asker, end);
	else if (asker->len == sizeof(asker->line))
		refuse(asker, EMSGSIZE, "the line is too long");
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	refuse(arg, ETIMEDOUT, "no line in time");
}

struct asker *asker_new(struct loop *loop, int fd, asker_fn *fn, void *arg)
{
	static const struct timeval limit = {.tv_sec = ASK_TIME_S};
	struct asker *asker = calloc(1, sizeof(*asker));

	if (!asker) {
		(void)close(fd);
		return NULL;
	}
	*asker = (struct asker){
		.leaving = {.free = asker_free}, .loop = loop, .fn = fn, .arg = arg, .fd = fd};
	asker->readable = event_watch(loop->base, fd, on_readable, asker);
	asker->writable = event_new(loop->base, fd, EV_WRITE, on_writable, asker);
	asker->late = evtimer_new(loop->base, on_late, asker);
	if (asker->readable && asker->writable && asker->late &&
		evtimer_add(asker->late, &limit) == 0)
		return asker;
	asker_free(&asker->leaving);
	return NULL;
}
