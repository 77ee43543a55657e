/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The messages from msgd, and what each changes (PROTOCOL.md, section 5). */
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "libmsg/control/request.h"

/* A name that a returned msgd would not have back. */
static void announced_listener_refused(
	struct control *control, uint32_t handle, const struct control_status *status)
{
	struct msg_sock *sock = sock_find_listener(control->socks, handle);

	if (!sock)
		return;
	control_log(control, LOG_ERR, "listener %s is lost: %s", sock->name, status->reason);
	sock_fail(sock, (int)status->error, status->reason);
}

static void sync_answered(struct control *control, uint32_t request)
{
	struct link *link;

	for (link = control->links->by_end; link; link = link->hh.next) {
		if (link->state == LINK_SYNCING && link->sync == request)
			link_synced(link);
	}
}

static void handle_status(struct control *control, const struct control_message *message)
{
	const struct control_status *status = &message->status;
	struct request *request;

	if (message->request == REQUEST_HELLO) {
		control_break(control, status->error ? (int)status->error : EPROTO, status->reason);
		return;
	}
	request = request_find(control, message->request);
	if (!request)
		return;
	if (request->message.type == CONTROL_SYNC)
		sync_answered(control, request->id);
	if (!request->sock && request->message.type == CONTROL_LISTEN && status->error)
		announced_listener_refused(control, request->message.listen.listener, status);
	request_done(control, request, status->error, status->reason);
}

static void handle_connected(struct control *control, const struct control_message *message)
{
	const struct control_connected *connected = &message->connected;
	struct request *request = request_find(control, message->request);
	struct link *link = link_find(control->links, connected->end);
	struct channel *channel;

	if (!link || !link_is_up(link) || channel_find(&link->channels, connected->channel)) {
		if (request)
			request_done(control, request, ECONNRESET, "the other process went away");
		return;
	}
	channel = channel_new(&link->channels, connected->channel, false);
	if (!channel) {
		/* The other end has the channel, and would wait for it. */
		link_end(link, LINK_NO_MEMORY, "out of memory for a channel");
		if (request)
			request_done(control, request, ENOMEM, "out of memory");
		return;
	}
	memcpy(channel->name, connected->name, NAME_SIZE);
	channel->peer = connected->peer;
	if (!request || !request->sock) {
		channel_close(channel, CLOSE_NORMAL); /* nobody waits for it any more */
		return;
	}
	sock_set_channel(request->sock, channel);
	request_done(control, request, 0, "");
}

static void handle_channel(struct control *control, const struct control_channel *message)
{
	struct msg_sock *listener = sock_find_listener(control->socks, message->listener);
	struct link *link = link_find(control->links, message->end);
	struct channel *channel;

	/* A link that is ending resets its channels with its reason, and so this one. */
	if (!link || link->state == LINK_MAKING || channel_find(&link->channels, message->channel))
		return;
	channel = channel_new(&link->channels, message->channel, true);
	if (!channel) {
		link_end(link, LINK_NO_MEMORY, "out of memory for a channel");
		return;
	}
	channel->listener_handle = message->listener;
	memcpy(channel->name, message->name, NAME_SIZE);
	channel->peer = message->peer;
	/*
	 * msgd counts the living only. Channels whose process is gone wait here too, with what that
	 * process had said, and must not pile up before a listener that accepts nobody.
	 */
	if (!listener || listener->n_pending >= listener->backlog)
		channel_close(channel, CLOSE_RESET);
	else
		backlog_add(listener, channel);
}

static void handle_channel_gone(struct control *control, const struct control_channel_id *message)
{
	static const char why[] = "msgd ended the channel: it is not permitted any more, or the "
				  "other end does not know it";
	struct link *link = link_find(control->links, message->end);
	struct channel *channel = link ? channel_find(&link->channels, message->channel) : NULL;

	if (channel && (channel->state != CHANNEL_OPEN || !channel->rx_closed))
		channel_reset(channel, ECONNRESET, why);
}

static void handle_link_up(struct control *control, const struct control_link_ready *message)
{
	struct link *link = link_find(control->links, message->end);

	if (link && link->state == LINK_MAKING)
		link_up(link, message->aport);
}

static void handle_link_down(struct control *control, const struct control_link_error *message)
{
	struct link *link = link_find(control->links, message->end);

	if (link)
		link_end(link, LINK_ENDED_BY_MSGD, message->reason);
}

void control_handle(struct control *control, const struct control_message *message)
{
	struct control_message answer;

	switch (message->type) {
	case CONTROL_WELCOME:
		if (control->state == CONTROL_ATTACHING)
			control_set_state(control, CONTROL_ATTACHED);
		break;
	case CONTROL_STATUS:
		handle_status(control, message);
		break;
	case CONTROL_CONNECTED:
		handle_connected(control, message);
		break;
	case CONTROL_LINK_CREATE:
		link_create(control->links, control->epoch, &message->link_create, &answer);
		control_send(control, &answer);
		break;
	case CONTROL_LINK_BIND:
		link_bind(control->links, control->epoch, &message->link_bind, &answer);
		control_send(control, &answer);
		break;
	case CONTROL_LINK_UP:
		handle_link_up(control, &message->link_up);
		break;
	case CONTROL_LINK_DOWN:
		handle_link_down(control, &message->link_down);
		break;
	case CONTROL_CHANNEL:
		handle_channel(control, &message->channel);
		break;
	case CONTROL_QUIESCE:
		control_quiesce(control, message->quiesce.reason);
		break;
	case CONTROL_CHANNEL_GONE:
		handle_channel_gone(control, &message->channel_gone);
		break;
	default:
		/* A message for msgd, from msgd: ignored as an unknown type would be. */
		break;
	}
}
