/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See asker.h. */
#include "msgio/asker.h"

#include <errno.h>
#include <jansson.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/event.h"
#include "base/macro.h"
#include "base/uuid.h"
#include "msgio/options/ask.h"
#include "msgio/options/words.h"

/* Of the program's end of a channel: as msg_sock_fd(3) has it, and for messages it must be. */
#define CHANNEL_SNDBUF 212992

struct asker {
	struct leaving leaving;
	struct sock_handler handler;
	struct loop *loop; /* borrowed */
	asker_fn *fn;
	void *arg;		/* borrowed */
	int fd;			/* owned */
	struct event *door;	/* owned: edge-triggered: for the line, and answers that are read */
	struct event *late;	/* owned: the time for the line is over, or for msgd to answer */
	struct msg_sock *sock;	/* owned: a connect, or a listener; or NULL */
	struct msg_sock *given; /* owned: a channel whose answer was not read yet; or NULL */
	int given_fd;		/* owned: of its pair, the end that libmsg is to serve; -1 */
	struct sock_handler given_handler;
	bool asked;
	bool listens;
	bool over;
	size_t len;
	char line[ASK_LINE_MAX + 1]; /* with its end */
};

/* ---- its end ------------------------------------------------------------------------------ */

/* To its peer it was cut. Accepts NULL. */
static void sock_cut(struct msg_sock *sock)
{
	if (sock)
		(void)msg_setopt(sock, LIBMSG_RESET, 1);
	(void)msg_close(sock);
}

/* To the program it was cut as well, should that have the descriptor. */
static void given_drop(struct asker *asker)
{
	if (!asker->given)
		return;
	sock_cut(asker->given);
	asker->given = NULL;
	(void)close(steal_fd(&asker->given_fd));
}

static void asker_free(struct leaving *leaving)
{
	struct asker *asker = container_of(leaving, struct asker, leaving);

	event_drop(asker->door);
	event_drop(asker->late);
	given_drop(asker);
	sock_cut(asker->sock); /* nobody has it */
	(void)close(asker->fd);
	free(asker);
}

void asker_end(struct asker *asker)
{
	if (asker->over)
		return;
	asker->over = true;
	(void)event_del(asker->door);
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

/* ---- channels ----------------------------------------------------------------------------- */

/* As msg_sock_serve(3) wants it: fds[1] is the program's. */
static int pair_open(struct msg_sock *sock, int fds[2])
{
	const int size = CHANNEL_SNDBUF;
	int64_t type = 0;

	(void)msg_getopt(sock, LIBMSG_TYPE, &type);
	if (socketpair(AF_UNIX,
		    (type == LIBMSG_STREAM ? SOCK_STREAM : SOCK_SEQPACKET) | SOCK_CLOEXEC, 0,
		    fds) < 0)
		return -errno;
	(void)setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (send(fds[1], "", 1, 0) == 1)
		return 0;
	(void)close(fds[0]);
	(void)close(fds[1]);
	return -ENOBUFS;
}

/* A loss is noted, so that it is told once; the program finds it. */
static void on_given(struct sock_handler *handler, short revents)
{
	(void)msg_flush(container_of(handler, struct asker, given_handler)->given);
}

/*
 * Offers the channel, which is the asker's then, and keeps what comes meanwhile. -errno: the
 * descriptor could not be had, and the channel is the caller's still.
 */
static int give(struct asker *asker, struct msg_sock *sock)
{
	int fds[2], r = pair_open(sock, fds);

	if (r < 0)
		return r;
	asker->given = sock;
	asker->given_fd = fds[0];
	asker->given_handler.fn = on_given;
	msg_set_userdata(sock, &asker->given_handler);
	(void)msg_setopt(sock, LIBMSG_EVENTS, 0);
	if (!say_json(asker, peer_json(sock), fds[1]))
		leave(asker);
	(void)close(fds[1]);
	return 0;
}

/* The program has read the answer, and with it has the channel. */
static void given_taken(struct asker *asker)
{
	if (msg_sock_serve(asker->given, asker->given_fd) < 0) {
		loop_log(asker->loop, "a channel is cut: %s", msg_reason());
		given_drop(asker);
	}
	asker->given = NULL;
	asker->given_fd = -1;
}

/* While it frees the last of what was unread the kernel counts a byte of it still. */
static bool answers_are_read(const struct asker *asker)
{
	int unread;

	return ioctl(asker->fd, SIOCOUTQ, &unread) == 0 && unread <= 1;
}

/* ---- connecting --------------------------------------------------------------------------- */

static void on_connect(struct sock_handler *handler, short revents)
{
	struct asker *asker = container_of(handler, struct asker, handler);
	struct msg_sock *sock = asker->sock;
	int64_t error = 0;
	int r;

	if (asker->over)
		return;
	(void)msg_getopt(sock, LIBMSG_ERROR, &error);
	if (error) {
		refuse(asker, (int)error, msg_reason());
		return;
	}
	r = give(asker, sock);
	if (r < 0)
		refuse(asker, -r, strerror(-r));
	else
		asker->sock = NULL;
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

static void refuse_channel(struct asker *asker, struct msg_sock *sock, int error)
{
	loop_log(asker->loop, "a channel is refused: %s", strerror(error));
	sock_cut(sock);
}

/* The next channels wait: for the program to take the one that it is offered. */
static void accept_one(struct asker *asker)
{
	struct msg_sock *sock = msg_accept(asker->sock, LIBMSG_NONBLOCK);
	int r;

	if (!sock) {
		if (errno != EAGAIN && errno != ENOMEM)
			refuse(asker, errno, msg_reason());
		return;
	}
	r = give(asker, sock);
	if (r < 0)
		refuse_channel(asker, sock, -r);
	else
		(void)msg_setopt(asker->sock, LIBMSG_EVENTS, 0);
}

static void on_listener(struct sock_handler *handler, short revents)
{
	struct asker *asker = container_of(handler, struct asker, handler);

	if (!asker->over && !asker->given)
		accept_one(asker);
}

static void on_name(struct sock_handler *handler, short revents);

/* msgd has answered: the name is this listener's, or is not to be had. */
static void listener_answered(struct asker *asker)
{
	int64_t error = 0;

	(void)event_del(asker->late);
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
	static const struct timeval limit = {.tv_sec = ANSWER_MS / 1000};
	struct msg_pollfd answer = {.events = POLLOUT};

	loop_free_now(asker->loop); /* one that has left may have had the name */
	asker->listens = true;
	asker->sock = msg_listen(
		asker->loop->ctx, ask->address, ask->type, ask->backlog, LIBMSG_NONBLOCK);
	if (!asker->sock) {
		refuse(asker, errno, msg_reason());
		return;
	}
	asker->handler.fn = on_name;
	msg_set_userdata(asker->sock, &asker->handler);
	(void)evtimer_add(asker->late, &limit);
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
	asker->asked = true;
	if (len + 1 < asker->len)
		refuse(asker, EINVAL, "more than one line");
	else if (ask_parse(asker->line, len, &ask, error) < 0)
		refuse(asker, EINVAL, error);
	else if (ask.listens)
		start_listen(asker, &ask);
	else
		start_connect(asker, &ask);
}

static void take_bytes(struct asker *asker, size_t n)
{
	const char *end = memchr(asker->line + asker->len, '\n', n);

	asker->len += n;
	if (end)
		take_line(asker, end);
	else if (asker->len == sizeof(asker->line))
		refuse(asker, EMSGSIZE, "the line is too long");
}

/* ---- the door ----------------------------------------------------------------------------- */

/*
 * The program has closed its end, or shut it down. If it has closed it and something was unread,
 * the kernel says so instead, or now.
 */
static void door_closed(struct asker *asker)
{
	char byte;

	if (asker->given && answers_are_read(asker) &&
		recv(asker->fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) == 0)
		given_taken(asker);
	leave(asker);
}

static void answer_read(struct asker *asker)
{
	given_taken(asker);
	if (!asker->listens) {
		leave(asker);
		return;
	}
	(void)msg_setopt(asker->sock, LIBMSG_EVENTS, POLLIN);
	accept_one(asker);
}

/*
 * Descriptors that come with the bytes are dropped by the kernel: there is no room for them. False:
 * there is no more.
 */
static bool look_at_door(struct asker *asker)
{
	/* First: when the program has closed its end, nothing of it tells what was read. */
	bool read = asker->given && answers_are_read(asker);
	char more;
	ssize_t n = asker->asked ? recv(asker->fd, &more, sizeof(more), 0)
				 : recv(asker->fd, asker->line + asker->len,
					   sizeof(asker->line) - asker->len, 0);

	if (n < 0 && errno == EINTR)
		return true;
	if (n < 0 && errno == EAGAIN) {
		if (read)
			answer_read(asker);
		return false;
	}
	if (n == 0)
		door_closed(asker);
	else if (n < 0 || asker->asked)
		leave(asker);
	else
		take_bytes(asker, (size_t)n);
	return !asker->over;
}

static void on_door(evutil_socket_t fd, short what, void *arg)
{
	struct asker *asker = arg;

	while (!asker->over && look_at_door(asker))
		;
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	struct asker *asker = arg;

	if (asker->asked)
		refuse(asker, EHOSTDOWN, "msgd did not answer in time");
	else
		refuse(asker, ETIMEDOUT, "no line in time");
}

struct asker *asker_new(struct loop *loop, int fd, asker_fn *fn, void *arg)
{
	static const struct timeval limit = {.tv_sec = ASK_TIME_S};
	struct asker *asker = calloc(1, sizeof(*asker));

	if (!asker) {
		(void)close(fd);
		return NULL;
	}
	*asker = (struct asker){.leaving = {.free = asker_free},
		.loop = loop,
		.fn = fn,
		.arg = arg,
		.fd = fd,
		.given_fd = -1};
	asker->door =
		event_new(loop->base, fd, EV_READ | EV_WRITE | EV_ET | EV_PERSIST, on_door, asker);
	asker->late = evtimer_new(loop->base, on_late, asker);
	if (asker->door && asker->late && event_add(asker->door, NULL) == 0 &&
		evtimer_add(asker->late, &limit) == 0)
		return asker;
	asker_free(&asker->leaving);
	return NULL;
}
