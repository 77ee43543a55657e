/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The messages from msgd, and what each changes (PROTOCOL.md, section 5). */
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "base/probe.h"
#include "libmsg/control/request.h"

#define BACKLOG_DEAD_LOOKS 16U

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
	if (!request->sock && request->message.type == CONTROL_WATCH && status->error)
		control_watch_refused(control, request->message.watch.watch, status);
	request_done(control, request, status->error, status->reason);
}

/*
 * Channels with the link's domain, of whatever processes, that this application has closed and the
 * other end has not. An end answers CLOSE when it next takes frames in, whatever its application
 * does, and so many of them show that it will not; they use this domain's quota up.
 */
static bool closes_pile_up(struct control *control, struct account *account)
{
	uint64_t now_ns;

	if (account->n_closing <= CLOSES_UNANSWERED) {
		account->unanswered_ns = 0;
		return false;
	}
	now_ns = control->hv->ops->now_ns(control->hv);
	if (!account->unanswered_ns)
		account->unanswered_ns = now_ns;
	return account->n_closing > CLOSES_UNANSWERED_MAX ||
	       now_ns - account->unanswered_ns > CLOSES_UNANSWERED_NS;
}

/* Ends that link of the account which has the most of them: msgd frees their numbers with it. */
static void end_unanswered(struct control *control, const struct account *account)
{
	struct link *most = NULL;

	/* As many as processes have a link to this one. */
	for (struct link *l = control->links->by_end; l; l = l->hh.next) {
		if (l->channels.account == account && link_is_up(l) &&
			(!most || l->channels.n_closing > most->channels.n_closing))
			most = l;
	}
	if (most)
		link_end(most, LINK_VIOLATED, "channels that were closed are never closed there");
}

/* A new channel, on the terms that came before it. NULL: out of memory, and the link ends. */
static struct channel *granted(struct control *control, struct link *link, uint32_t number,
	enum channel_type type, bool listener_end)
{
	const struct control_terms *terms = &control->terms;
	struct channel *channel = channel_new(&link->channels, number, type, listener_end);

	if (channel && terms->end == link->end && terms->channel == number &&
		channel_set_terms(channel, terms) < 0) {
		channel_free(channel);
		channel = NULL;
	}
	if (!channel) /* the other end has the channel, and would wait for it */
		link_end(link, LINK_NO_MEMORY, "out of memory for a channel");
	else
		PROBE(libmsg, channel_open, channel, number, link->uid,
			(uint32_t)link->transport->peer_domid, (uint32_t)listener_end, type);
	return channel;
}

static void handle_connected(struct control *control, const struct control_message *message)
{
	const struct control_connected *connected = &message->connected;
	struct request *request = request_find(control, message->request);
	struct link *link = link_find(control->links, connected->end);
	struct channel *channel;

	if (link && closes_pile_up(control, link->channels.account))
		end_unanswered(control, link->channels.account);
	if (!link || !link_is_up(link) || channel_find(&link->channels, connected->channel)) {
		if (request)
			request_done(control, request, ECONNRESET,
				link && link->state == LINK_ENDING ? link->reason
								   : "the other process went away");
		return;
	}
	channel = granted(control, link, connected->channel,
		request ? (enum channel_type)request->message.connect.type : CHANNEL_SEQPACKET,
		false);
	if (!channel) {
		if (request)
			request_done(control, request, ENOMEM, "out of memory");
		return;
	}
	memcpy(channel->name, connected->name, NAME_SIZE);
	channel->peer = connected->peer;
	control_ahead_given(control, link, request ? &request->message.connect : NULL, connected);
	if (!request || !request->sock) {
		channel_close(channel, CLOSE_NORMAL); /* nobody waits for it any more */
		return;
	}
	sock_set_channel(request->sock, channel);
	control_capture_granted(control, channel);
	request_done(control, request, 0, "");
}

/* Its process is gone, and msgd does not count it any more. */
static bool is_dead(const struct channel *channel)
{
	const struct link *link = channel_link(channel);

	return !link || link->state >= LINK_ENDING;
}

static uint32_t backlog_n_dead(const struct msg_sock *listener, uint16_t domid)
{
	const struct channel *channel;
	uint32_t n = 0;

	TAILQ_FOREACH (channel, &listener->pending, entry_backlog)
		n += is_dead(channel) && channel->peer.domid == domid;
	return n;
}

/*
 * The oldest of the domain that has most of them there: a domain whose processes come and go pushes
 * out its own. Looks at the domains of the oldest few, which bounds the work to a few passes over
 * the backlog. NULL: all live.
 */
static struct channel *backlog_dead(const struct msg_sock *listener)
{
	struct channel *channel, *chosen = NULL;
	uint32_t n, most = 0, looked = 0;

	TAILQ_FOREACH (channel, &listener->pending, entry_backlog) {
		if (!is_dead(channel))
			continue;
		if (looked++ == BACKLOG_DEAD_LOOKS)
			break;
		n = backlog_n_dead(listener, channel->peer.domid);
		if (n > most)
			chosen = channel;
		most = n > most ? n : most;
	}
	return chosen;
}

/*
 * msgd counts the living only. Channels whose process is gone wait here too, with what that process
 * had said. They must neither pile up before a listener that accepts nobody, nor keep the living
 * out: the dead give way.
 */
static bool backlog_has_room(struct msg_sock *listener, bool ahead)
{
	struct channel *dead;

	/* Numbers ahead have places of their own. */
	if (ahead ? listener->n_ahead < listener->backlog / 2
		  : listener->n_pending - listener->n_ahead < listener->backlog)
		return true;
	dead = backlog_dead(listener);
	if (!dead)
		return false;
	backlog_remove(dead);
	channel_close(dead, CLOSE_RESET);
	return true;
}

void control_offer(struct control *control, struct channel *channel)
{
	struct msg_sock *listener = sock_find_listener(control->socks, channel->listener_handle);

	if (!listener || !backlog_has_room(listener, channel->ahead)) {
		channel_close(channel, CLOSE_RESET);
		return;
	}
	channel->agrees = listener->capture;
	backlog_add(listener, channel);
	control_capture_granted(control, channel);
}

static void handle_channel(struct control *control, const struct control_channel *message)
{
	struct link *link = link_find(control->links, message->end);
	struct channel *channel;

	/* A link that is ending resets its channels with its reason, and so this one. */
	if (!link || link->state == LINK_MAKING || channel_find(&link->channels, message->channel))
		return;
	channel = granted(control, link, message->channel, (enum channel_type)message->type, true);
	if (!channel)
		return;
	channel->listener_handle = message->listener;
	memcpy(channel->name, message->name, NAME_SIZE);
	channel->peer = message->peer;
	control_ahead_taken(control, link, message);
	control_offer(control, channel);
}

static void handle_channel_gone(struct control *control, const struct control_channel_id *message)
{
	/*
	 * CHANNEL_GONE says no reason. A msgd that was started again may have had the channel
	 * announced by one end only.
	 */
	static const char ended[] = "policy or the administrator permits the channel no more",
			  unknown[] = "policy or the administrator permits the channel no more, or "
				      "the other end does not know it since msgd was started again";
	struct link *link = link_find(control->links, message->end);
	struct channel *channel = link ? channel_find(&link->channels, message->channel) : NULL;

	if (link && !channel)
		control_ahead_lost(link, message->channel);
	/* One that the other end has closed ends by itself, once this end has answered. */
	if (channel &&
		(channel->state != CHANNEL_OPEN || !channel->rx_closed || channel->tx_closed)) {
		channel_note_gone(channel);
		channel_reset(channel, ECONNRESET, link->epoch == control->epoch ? ended : unknown);
	}
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
		control_welcomed(control, message->welcome.features);
		break;
	case CONTROL_STATUS:
		handle_status(control, message);
		break;
	case CONTROL_CONNECTED:
		handle_connected(control, message);
		control->terms.channel = control->capture.channel = control->ahead.channel = 0;
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
		control->terms.channel = control->capture.channel = control->ahead.channel = 0;
		break;
	case CONTROL_ASK:
		control_answer(control, &message->ask);
		break;
	case CONTROL_CAPTURE:
		control_capture(control, &message->capture);
		break;
	case CONTROL_TERMS:
		control->terms = message->terms;
		break;
	case CONTROL_AHEAD:
		control->ahead = message->ahead;
		break;
	case CONTROL_AHEAD_END:
		control_ahead_end(control, &message->ahead_end);
		break;
	case CONTROL_AHEAD_GONE:
		control_ahead_gone(control, &message->ahead_gone);
		break;
	case CONTROL_QUIESCE:
		control_quiesce(control, message->quiesce.reason);
		break;
	case CONTROL_NAME:
		control_name(control, &message->name);
		break;
	case CONTROL_NAMES_DONE:
		control_names_done(control, &message->names_done);
		break;
	case CONTROL_CHANNEL_GONE:
		handle_channel_gone(control, &message->channel_gone);
		break;
	default:
		/* A message for msgd, from msgd: ignored as an unknown type would be. */
		break;
	}
}
