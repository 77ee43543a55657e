/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Questions to msgd and what msgd says (PROTOCOL.md, section 5). A request outlives the msgd that
 * it was sent to: it is sent again, under its number, to the next one.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "libmsg/private.h"

/* HELLO's number; all others are smaller. */
#define REQUEST_HELLO UINT32_MAX

static uint32_t request_next_id(struct msg_ctx *ctx)
{
	struct request *found;

	do {
		ctx->last_request =
			ctx->last_request >= REQUEST_HELLO - 1 ? 1 : ctx->last_request + 1;
		HASH_FIND(hh, ctx->requests, &ctx->last_request, sizeof(ctx->last_request), found);
	} while (found);
	return ctx->last_request;
}

struct request *request_new(
	struct msg_ctx *ctx, struct msg_sock *sock, const struct control_message *message)
{
	struct request *request = calloc(1, sizeof(*request));

	if (!request)
		return NULL;
	request->id = request_next_id(ctx);
	request->sock = sock;
	request->message = *message;
	request->message.request = request->id;
	request->epoch = ctx->control.epoch;
	if (sock)
		sock->request = request;
	HASH_ADD(hh, ctx->requests, id, sizeof(request->id), request);
	control_send(ctx, &request->message);
	return request;
}

void request_free(struct msg_ctx *ctx, struct request *request)
{
	if (request->sock)
		request->sock->request = NULL;
	HASH_DEL(ctx->requests, request);
	free(request);
}

void request_abandon(struct msg_ctx *ctx, struct request *request)
{
	struct control_message cancel = {.type = CONTROL_CANCEL, .request = request->id};
	struct control_message unlisten = {.type = CONTROL_UNLISTEN,
		.unlisten = {.listener = request->message.listen.listener}};

	if (request->done) {
		request_free(ctx, request);
		return;
	}
	/* The answer may be on its way: the request stays until it comes. */
	request->sock->request = NULL;
	request->sock = NULL;
	if (request->message.type == CONTROL_CONNECT)
		control_send(ctx, &cancel);
	else if (request->message.type == CONTROL_LISTEN)
		(void)request_new(ctx, NULL, &unlisten); /* or msgd would keep the name for it */
}

void request_send_again(struct msg_ctx *ctx)
{
	struct request *request, *next;

	HASH_ITER (hh, ctx->requests, request, next) {
		if (request->done || request->epoch == ctx->control.epoch)
			continue;
		if (!request->sock && request->message.type == CONTROL_CONNECT) {
			request_free(ctx, request); /* cancelled, and its msgd is gone */
			continue;
		}
		request->epoch = ctx->control.epoch;
		control_send(ctx, &request->message);
	}
}

int request_wait(struct msg_ctx *ctx, struct request *request, uint64_t deadline_ns)
{
	int r = 0;

	while (!request->done) {
		if (ctx->control.error)
			return -ctx->control.error;
		if (r < 0)
			return r == -ETIMEDOUT && !control_broker_there(ctx) ? -EHOSTDOWN : r;
		r = ctx_wait(ctx, NULL, deadline_ns);
	}
	return 0;
}

static void request_done(
	struct msg_ctx *ctx, struct request *request, uint32_t error, const char *reason)
{
	struct msg_sock *sock = request->sock;

	request->done = true;
	request->error = (int)error;
	(void)snprintf(request->reason, sizeof(request->reason), "%s", reason);
	ctx->kick = true;
	if (!sock) {
		request_free(ctx, request);
		return;
	}
	if (sock->kind == SOCK_CONNECTING && error) {
		sock->kind = SOCK_FAILED;
		sock->error = (int)error;
		memcpy(sock->reason, request->reason, sizeof(sock->reason));
	}
	sock->out_edge = true;
	sock_changed(sock);
}

static struct request *request_find(struct msg_ctx *ctx, uint32_t id)
{
	struct request *request;

	HASH_FIND(hh, ctx->requests, &id, sizeof(id), request);
	return request;
}

static struct msg_sock *listener_find(struct msg_ctx *ctx, uint32_t handle)
{
	struct msg_sock *sock;

	HASH_FIND(hh, ctx->listeners, &handle, sizeof(handle), sock);
	return sock;
}

/* A listener that a returned msgd would not have back. */
static void listener_lost(struct msg_ctx *ctx, uint32_t handle, const struct control_status *status)
{
	struct msg_sock *sock = listener_find(ctx, handle);

	if (!sock)
		return;
	sock->error = (int)status->error;
	memcpy(sock->reason, status->reason, sizeof(sock->reason));
	ctx_log(ctx, LOG_ERR, "listener %s is lost: %s", sock->name, sock->reason);
	sock_changed(sock);
}

static void handle_status(struct msg_ctx *ctx, const struct control_message *message)
{
	const struct control_status *status = &message->status;
	struct request *request;

	if (message->request == REQUEST_HELLO) {
		ctx->control.error = status->error ? (int)status->error : EPROTO;
		memcpy(ctx->control.reason, status->reason, sizeof(ctx->control.reason));
		ctx->kick = true;
		return;
	}
	request = request_find(ctx, message->request);
	if (!request || request->done)
		return;
	if (!request->sock && request->message.type == CONTROL_LISTEN && status->error)
		listener_lost(ctx, request->message.listen.listener, status);
	if (request->message.type == CONTROL_SYNC)
		link_synced(ctx, request->id);
	request_done(ctx, request, status->error, status->reason);
}

static void handle_connected(struct msg_ctx *ctx, const struct control_message *message)
{
	const struct control_connected *connected = &message->connected;
	struct request *request = request_find(ctx, message->request);
	struct link *link = link_find(ctx, connected->end);
	struct channel *channel;

	if (!link || link->state != LINK_UP || channel_find(link, connected->channel)) {
		if (request && !request->done)
			request_done(ctx, request, ECONNRESET, "the other process went away");
		return;
	}
	channel = channel_new(link, connected->channel, false);
	if (!channel) {
		if (request && !request->done)
			request_done(ctx, request, ENOMEM, "out of memory");
		return;
	}
	memcpy(channel->name, connected->name, NAME_SIZE);
	channel->peer = connected->peer;
	if (!request || request->done || !request->sock) {
		channel_close(channel, CLOSE_NORMAL);
		if (request && !request->done)
			request_free(ctx, request);
		return;
	}
	sock_set_channel(request->sock, channel);
	/* The first credit, which lets the other end speak. */
	if (channel_flush(channel) == -EAGAIN)
		channel_block(channel);
	link_push(link);
	request_done(ctx, request, 0, "");
}

static void handle_channel(struct msg_ctx *ctx, const struct control_channel *message)
{
	struct msg_sock *listener = listener_find(ctx, message->listener);
	struct link *link = link_find(ctx, message->end);
	struct channel *channel;

	/* A link that died here is dying at msgd too, and its channels with it. */
	if (!link || link->state == LINK_DEAD || channel_find(link, message->channel))
		return;
	channel = channel_new(link, message->channel, true);
	if (!channel) {
		link_violation(link, "out of memory for a channel");
		return;
	}
	channel->listener_handle = message->listener;
	memcpy(channel->name, message->name, NAME_SIZE);
	channel->peer = message->peer;
	/*
	 * msgd counts the living only. Those whose process is gone wait here too, with what it had
	 * said, and must not pile up before a listener that accepts nobody.
	 */
	if (!listener || listener->n_pending >= listener->backlog) {
		channel_close(channel, CLOSE_RESET);
		return;
	}
	backlog_add(listener, channel);
	ctx->kick = true;
}

static void handle_channel_gone(struct msg_ctx *ctx, const struct control_channel_gone *message)
{
	struct link *link = link_find(ctx, message->end);
	struct channel *channel = link ? channel_find(link, message->channel) : NULL;

	if (!channel)
		return;
	if (channel->state == CHANNEL_CLOSING) {
		channel_free(channel);
	} else if (!channel->rx_closed) {
		if (!channel->why)
			channel->why =
				strdup("msgd ended the channel: it is not permitted any more, "
				       "or the other end does not know it");
		channel_reset(channel, ECONNRESET);
	}
}

static void handle_link_down(struct msg_ctx *ctx, const struct control_link_down *message)
{
	struct link *link = link_find(ctx, message->end);

	if (link)
		link_kill(link, true, message->reason);
}

static void handle_link_up(struct msg_ctx *ctx, const struct control_link_up *message)
{
	struct link *link = link_find(ctx, message->end);

	if (link && link->state == LINK_MAKING && link->role == 0)
		link_up(link, message->aport);
}

void control_handle(struct msg_ctx *ctx, const struct control_message *message)
{
	switch (message->type) {
	case CONTROL_WELCOME:
		ctx->control.welcome = true;
		ctx->kick = true;
		break;
	case CONTROL_STATUS:
		handle_status(ctx, message);
		break;
	case CONTROL_CONNECTED:
		handle_connected(ctx, message);
		break;
	case CONTROL_LINK_CREATE:
		link_create(ctx, &message->link_create);
		break;
	case CONTROL_LINK_BIND:
		link_bind(ctx, &message->link_bind);
		break;
	case CONTROL_LINK_UP:
		handle_link_up(ctx, &message->link_up);
		break;
	case CONTROL_LINK_DOWN:
		handle_link_down(ctx, &message->link_down);
		break;
	case CONTROL_CHANNEL:
		handle_channel(ctx, &message->channel);
		break;
	case CONTROL_QUIESCE:
		control_quiesce(ctx, message->quiesce.reason);
		break;
	case CONTROL_CHANNEL_GONE:
		handle_channel_gone(ctx, &message->channel_gone);
		break;
	default:
		/* A message for msgd, from msgd: ignored as an unknown type would be. */
		break;
	}
}
