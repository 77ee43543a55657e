/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See dial.h. */
#include "msgio/dial.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/event.h"
#include "base/macro.h"
#include "msgio/channel-end.h"
#include "msgio/fd-end.h"

/* No event tells of room in a backlog that was full. */
#define RETRY_MS 50

struct dial {
	struct leaving leaving;
	struct sock_handler handler;
	struct loop *loop;		  /* borrowed */
	const struct io_options *options; /* borrowed */
	dial_fn *fn;
	void *arg;		/* borrowed */
	struct msg_sock *sock;	/* owned; NULL: it is no channel, or handed on */
	int fd;			/* owned; -1: likewise */
	struct event *writable; /* owned */
	struct event *retry;	/* owned */
	struct event *late;	/* owned: time is over, of a socket */
	uint64_t until_ms;	/* UINT64_MAX: for ever */
	bool over;
};

static void dial_free(struct leaving *leaving)
{
	struct dial *dial = container_of(leaving, struct dial, leaving);

	event_drop(dial->writable);
	event_drop(dial->retry);
	event_drop(dial->late);
	msg_close(dial->sock);
	if (dial->fd >= 0)
		(void)close(dial->fd);
	free(dial);
}

/* No event is heard any more; what was not handed on goes. */
static void dial_leave(struct dial *dial)
{
	if (dial->over)
		return;
	dial->over = true;
	if (dial->writable)
		(void)event_del(dial->writable);
	if (dial->retry)
		(void)event_del(dial->retry);
	if (dial->late)
		(void)event_del(dial->late);
	loop_free_later(dial->loop, &dial->leaving);
}

void dial_cancel(struct dial *dial)
{
	if (dial)
		dial_leave(dial);
}

static void dial_fail(struct dial *dial, const char *reason)
{
	if (dial->over)
		return;
	dial_leave(dial);
	dial->fn(dial->arg, NULL, reason);
}

static void dial_done(struct dial *dial, struct end *end)
{
	dial_leave(dial);
	dial->fn(dial->arg, end, end ? NULL : "out of memory");
}

static uint64_t now_ms(void)
{
	return loop_now_ns() / 1000000;
}

/* For msg_connect: 0 is for ever. */
static int time_left(const struct dial *dial)
{
	uint64_t now = now_ms();

	if (dial->until_ms == UINT64_MAX)
		return 0;
	return dial->until_ms > now ? (int)(dial->until_ms - now) : 1;
}

/* The listener is there, and its backlog is full. False: time is over. */
static bool dial_retry(struct dial *dial)
{
	static const struct timeval delay = {.tv_usec = RETRY_MS * 1000};

	return dial->until_ms > now_ms() + RETRY_MS && evtimer_add(dial->retry, &delay) == 0;
}

/* ---- channels ----------------------------------------------------------------------------- */

static void on_sock(struct sock_handler *handler, short revents)
{
	struct dial *dial = container_of(handler, struct dial, handler);
	struct msg_sock *sock = dial->sock;
	int64_t error = 0;

	if (dial->over)
		return;
	(void)msg_getopt(sock, LIBMSG_ERROR, &error);
	if (error == ECONNREFUSED && dial_retry(dial)) {
		dial->sock = NULL;
		msg_close(sock);
	} else if (error) {
		dial_fail(dial, msg_reason());
	} else {
		dial->sock = NULL;
		dial_done(dial, channel_end_new(sock));
	}
}

static const char *start_channel(struct dial *dial)
{
	const struct io_options *options = dial->options;
	unsigned flags = LIBMSG_NONBLOCK | (options->wait ? LIBMSG_WAIT_NAME : 0);
	int timeout_ms = time_left(dial);

	dial->sock =
		msg_connect(dial->loop->ctx, options->to.channel, options->type, flags, timeout_ms);
	if (!dial->sock)
		return msg_reason();
	dial->handler.fn = on_sock;
	msg_set_userdata(dial->sock, &dial->handler);
	return NULL;
}

/* ---- sockets ------------------------------------------------------------------------------ */

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	dial_fail(arg, "no answer in time");
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct dial *dial = arg;
	bool packets = dial->options->type != LIBMSG_STREAM;
	socklen_t len = sizeof(int);
	int error = 0;

	(void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error) {
		dial_fail(dial, strerror(error));
		return;
	}
	event_free(dial->writable); /* before the descriptor is another's */
	dial->writable = NULL;
	dial->fd = -1;
	dial_done(dial, socket_end_new(dial->loop, fd, packets));
}

/* NULL: it goes on. */
static const char *socket_connect(struct dial *dial)
{
	const struct address *to = &dial->options->to;

	if (connect(dial->fd, (const struct sockaddr *)&to->where, to->where_len) == 0 ||
		errno == EINPROGRESS)
		return event_add(dial->writable, NULL) < 0 ? "out of memory" : NULL;
	if (errno != EAGAIN) /* which a Unix socket says whose backlog is full */
		return strerror(errno);
	return dial_retry(dial) ? NULL : "its backlog is full";
}

static int socket_kind(const struct io_options *options)
{
	return options->type == LIBMSG_STREAM ? SOCK_STREAM : SOCK_SEQPACKET;
}

static const char *start_socket(struct dial *dial)
{
	const struct io_options *options = dial->options;
	struct event_base *base = dial->loop->base;
	struct timeval limit = {
		.tv_sec = options->wait_ms / 1000, .tv_usec = options->wait_ms % 1000 * 1000};

	dial->fd = socket(options->to.where.ss_family,
		socket_kind(options) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (dial->fd < 0)
		return strerror(errno);
	dial->writable = event_new(base, dial->fd, EV_WRITE, on_writable, dial);
	dial->late = evtimer_new(base, on_late, dial);
	if (!dial->writable || !dial->late)
		return "out of memory";
	if (options->wait_ms >= 0 && evtimer_add(dial->late, &limit) < 0)
		return "out of memory";
	return socket_connect(dial);
}

/* ---- all ---------------------------------------------------------------------------------- */

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct dial *dial = arg;
	const char *reason = dial->fd < 0 ? start_channel(dial) : socket_connect(dial);

	if (reason)
		dial_fail(dial, reason);
}

static const char *start(struct dial *dial)
{
	const struct io_options *options = dial->options;

	dial->until_ms = options->wait_ms < 0 ? UINT64_MAX : now_ms() + (uint64_t)options->wait_ms;
	dial->retry = evtimer_new(dial->loop->base, on_retry, dial);
	if (!dial->retry)
		return "out of memory";
	return options->to.kind == ADDRESS_CHANNEL ? start_channel(dial) : start_socket(dial);
}

struct dial *dial_start(struct loop *loop, const struct io_options *options, dial_fn *fn, void *arg,
	const char **ret_reason)
{
	struct dial *dial = calloc(1, sizeof(*dial));

	if (!dial) {
		*ret_reason = "out of memory";
		return NULL;
	}
	*dial = (struct dial){.leaving = {.free = dial_free},
		.loop = loop,
		.options = options,
		.fn = fn,
		.arg = arg,
		.fd = -1};
	*ret_reason = start(dial);
	if (!*ret_reason)
		return dial;
	dial_free(&dial->leaving);
	return NULL;
}
