/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sockets as objects: their states, backlogs and the list of those that are ready. */
#include "libmsg/socket/sock.h"

#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libmsg/socket/names.h"

#define LINGER_DEFAULT_MS 1000

void socks_init(struct socks *socks, struct msg_ctx *ctx, struct pool *pool)
{
	*socks = (struct socks){.ctx = ctx, .pool = pool};
	TAILQ_INIT(&socks->all);
	TAILQ_INIT(&socks->timed);
	for (int i = 0; i < N_LOOPS; i++)
		TAILQ_INIT(&socks->ready[i]);
}

struct msg_sock *sock_new(
	struct socks *socks, enum sock_kind kind, enum sock_state state, enum channel_type type)
{
	struct msg_sock *sock = calloc(1, sizeof(*sock));

	if (!sock)
		return NULL;
	sock->socks = socks;
	sock->kind = kind;
	sock->type = type;
	sock->state = state;
	sock->linger_ms = LINGER_DEFAULT_MS;
	sock->deadline_ns = UINT64_MAX;
	sock->interest = POLLIN;
	sock->rcvtimeo_ms = sock->sndtimeo_ms = -1;
	sock->rcvbuf = sock->sndbuf = sock->maxmsg = MESSAGE_MAX_DEFAULT;
	TAILQ_INIT(&sock->pending);
	TAILQ_INSERT_TAIL(&socks->all, sock, entry);
	return sock;
}

void sock_free(struct msg_sock *sock)
{
	struct socks *socks = sock->socks;
	struct channel *channel;

	assert(!sock->request && !sock->channel);
	/* As many as its backlog, of which the application has chosen the length. */
	while ((channel = TAILQ_FIRST(&sock->pending))) {
		backlog_remove(channel);
		channel_close(channel, CLOSE_RESET);
	}
	if (sock->handle && sock->kind == SOCK_LISTENER)
		HASH_DEL(socks->listeners, sock);
	else if (sock->handle)
		HASH_DEL(socks->watches, sock);
	names_free(sock->names);
	if (sock->ready)
		TAILQ_REMOVE(&socks->ready[sock->loop], sock, entry_ready);
	TAILQ_REMOVE(&socks->all, sock, entry);
	if (socks->refused == sock)
		socks->refused = NULL;
	free(sock);
}

/* The one place where the state changes. */
void sock_set_state(struct msg_sock *sock, enum sock_state state)
{
	static const uint8_t legal[] = {
		[SOCK_PENDING] = 1U << SOCK_OPEN | 1U << SOCK_FAILED,
		[SOCK_OPEN] = 1U << SOCK_FAILED,
		[SOCK_FAILED] = 0,
	};

	assert(legal[sock->state] & 1U << state);
	sock->state = state;
	sock_changed(sock);
}

void sock_fail(struct msg_sock *sock, int error, const char *reason)
{
	if (sock->state == SOCK_FAILED)
		return;
	sock->error = error;
	(void)snprintf(sock->reason, sizeof(sock->reason), "%s", reason);
	sock_set_state(sock, SOCK_FAILED);
}

/* Most calls give the same time, so that each deadline is later than those before it. */
void sock_set_deadline(struct msg_sock *sock, uint64_t deadline_ns)
{
	struct sock_list *timed = &sock->socks->timed;
	struct msg_sock *before;

	if (sock->deadline_ns != UINT64_MAX)
		TAILQ_REMOVE(timed, sock, entry_timed);
	sock->deadline_ns = deadline_ns;
	if (deadline_ns == UINT64_MAX)
		return;
	before = TAILQ_LAST(timed, sock_list);
	while (before && before->deadline_ns > deadline_ns)
		before = TAILQ_PREV(before, sock_list, entry_timed);
	if (before)
		TAILQ_INSERT_AFTER(timed, before, sock, entry_timed);
	else
		TAILQ_INSERT_HEAD(timed, sock, entry_timed);
}

/* For POLLOUT also if it has no room: the event that is asked for comes once. */
static bool poll_is_to_look(const struct msg_sock *sock)
{
	return sock->n_polls && (sock->n_polls_out || sock_events(sock, POLLIN));
}

void sock_changed(struct msg_sock *sock)
{
	struct socks *socks = sock->socks;

	socks->pool->wake = true;
	socks->n_polled += poll_is_to_look(sock);
	if (sock->ready)
		return;
	sock->ready = true;
	TAILQ_INSERT_TAIL(&socks->ready[sock->loop], sock, entry_ready);
	socks->pool->marked = true; /* the event loop's descriptor is to tell */
}

void sock_set_loop(struct msg_sock *sock, enum sock_loop loop)
{
	if (sock->ready)
		TAILQ_REMOVE(&sock->socks->ready[sock->loop], sock, entry_ready);
	sock->ready = false;
	sock->loop = loop;
	sock_changed(sock);
}

bool sock_has_news(const struct msg_sock *sock)
{
	char text[NAMES_TEXT_SIZE];
	size_t len;

	return sock->names && names_first(sock->names, text, &len) == 0;
}

short sock_events(const struct msg_sock *sock, short asked)
{
	if (sock->channel)
		return channel_events(sock->channel, asked);
	if (sock->state == SOCK_FAILED)
		return sock->kind == SOCK_CHANNEL ? POLLIN | POLLOUT | POLLERR | POLLHUP
						  : POLLIN | POLLERR;
	if (sock->kind == SOCK_WATCH)
		return sock_has_news(sock) ? POLLIN : 0;
	if (sock->kind != SOCK_LISTENER || sock->state != SOCK_OPEN)
		return 0;
	return (TAILQ_EMPTY(&sock->pending) ? 0 : POLLIN) | (asked & POLLOUT);
}

/* ---- listeners -------------------------------------------------------------------------- */

struct msg_sock *sock_find_listener(const struct socks *socks, uint32_t handle)
{
	struct msg_sock *sock;

	HASH_FIND(hh, socks->listeners, &handle, sizeof(handle), sock);
	return sock;
}

struct msg_sock *sock_find_watch(const struct socks *socks, uint32_t handle)
{
	struct msg_sock *sock;

	HASH_FIND(hh, socks->watches, &handle, sizeof(handle), sock);
	return sock;
}

static uint32_t next_handle(struct socks *socks)
{
	do {
		if (++socks->last_handle == 0)
			socks->last_handle = 1;
	} while (sock_find_listener(socks, socks->last_handle) ||
		 sock_find_watch(socks, socks->last_handle));
	return socks->last_handle;
}

int sock_set_pattern(struct msg_sock *watch, const char *pattern)
{
	struct socks *socks = watch->socks;

	watch->names = names_new();
	if (!watch->names)
		return -ENOMEM;
	(void)snprintf(watch->pattern, sizeof(watch->pattern), "%s", pattern);
	watch->handle = next_handle(socks);
	HASH_ADD(hh, socks->watches, handle, sizeof(watch->handle), watch);
	if (hash_added(&watch->hh))
		return 0;
	watch->handle = 0;
	return -ENOMEM;
}

int sock_set_name(struct msg_sock *listener, const char *name, int backlog)
{
	struct socks *socks = listener->socks;

	listener->handle = next_handle(socks);
	listener->backlog = backlog;
	(void)snprintf(listener->name, sizeof(listener->name), "%s", name);
	HASH_ADD(hh, socks->listeners, handle, sizeof(listener->handle), listener);
	if (hash_added(&listener->hh))
		return 0;
	listener->handle = 0;
	return -ENOMEM;
}

void backlog_add(struct msg_sock *listener, struct channel *channel)
{
	channel->listener = listener;
	TAILQ_INSERT_TAIL(&listener->pending, channel, entry_backlog);
	listener->n_ahead += channel->ahead;
	listener->n_pending++;
	sock_changed(listener);
}

void backlog_remove(struct channel *channel)
{
	TAILQ_REMOVE(&channel->listener->pending, channel, entry_backlog);
	channel->listener->n_ahead -= channel->ahead;
	channel->listener->n_pending--;
	channel->listener = NULL;
}

/* ---- ends of channels ------------------------------------------------------------------- */

void sock_set_channel(struct msg_sock *sock, struct channel *channel)
{
	sock->channel = channel;
	channel->sock = sock;
	if (channel->listener_handle)
		sock->capture = channel->agrees;
	else
		channel->agrees = sock->capture;
	sock->rcvbuf = channel_cut_buffer(channel, sock->rcvbuf);
}

enum close_reason sock_close_reason(const struct msg_sock *sock)
{
	const struct channel *channel = sock->channel;
	bool unread =
		channel->type != CHANNEL_DGRAM && (!STAILQ_EMPTY(&channel->in) || channel->partial);

	return unread && !channel->rx_closed ? CLOSE_RESET : CLOSE_NORMAL;
}

void sock_close_channel(struct msg_sock *sock, enum close_reason reason)
{
	struct channel *channel = sock->channel;

	sock->channel = NULL;
	if (channel)
		channel_close(channel, reason);
}
