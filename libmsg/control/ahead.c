/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Numbers of channels that msgd gives ahead (PROTOCOL.md 5.10): a connect that uses one is over at
 * once, and the listener's end learns of it by the first frame.
 */
#include <string.h>

#include "libmsg/control/control.h"

static void tell_rest(struct control *control, uint32_t end, uint32_t first, uint64_t rest)
{
	struct control_message message = {.type = CONTROL_AHEAD_REST,
		.ahead_rest = {.end = end, .first = first, .rest = rest}};

	control_send(control, &message);
}

/* Whether the last AHEAD was about this channel. */
static bool was_said(struct control *control, uint32_t end, uint32_t number)
{
	return control->ahead.channel == number && control->ahead.end == end;
}

void control_ahead_given(struct control *control, struct link *link,
	const struct control_connect *connect, const struct control_connected *connected)
{
	if (!was_said(control, link->end, connected->channel))
		return;
	if (!connect || link_ahead_give(link, &control->ahead, connect, connected) < 0)
		tell_rest(control, link->end, control->ahead.first, UINT64_MAX);
}

void control_ahead_taken(
	struct control *control, struct link *link, const struct control_channel *channel)
{
	/* The other end has them, and would wait for an answer. */
	if (was_said(control, link->end, channel->channel) &&
		link_ahead_take(link, &control->ahead, channel) < 0)
		link_end(link, LINK_NO_MEMORY, "out of memory for channels to come");
}

void control_ahead_end(struct control *control, const struct control_ahead_end *message)
{
	struct link *link = link_find(control->links, message->end);
	struct link_ahead *ahead = link ? link->given : NULL;
	uint64_t rest = 0;

	if (!link || !link_is_up(link))
		return;
	if (ahead && ahead->first == message->first) {
		rest = ahead->left;
		link_ahead_free(ahead);
	}
	tell_rest(control, message->end, message->first, rest);
}

/* Of a number that the other end has used and given back it was not true. */
static void number_gone(struct link *link, uint32_t number)
{
	struct channel *channel = channel_find(&link->channels, number);

	if (!channel)
		return;
	channel_note_gone(channel);
	channel_reset(channel, ECONNRESET, "the other end has told msgd that there is no channel");
}

void control_ahead_gone(struct control *control, const struct control_ahead_rest *message)
{
	struct link *link = link_find(control->links, message->end);

	if (!link)
		return;
	for (uint32_t i = 0; i < AHEAD_MAX; i++) {
		if (message->rest >> i & 1)
			number_gone(link, message->first + i);
	}
	if (!link->taken || link->taken->first != message->first)
		return;
	link->taken->left &= ~message->rest;
	/* Of those that stay, the first frames are on their way. */
	if (!link->taken->left)
		link_ahead_free(link->taken);
}

void control_ahead_lost(struct link *link, uint32_t number)
{
	if (link_ahead_has(link->given, number))
		link_ahead_remove(link->given, number);
	if (link_ahead_has(link->taken, number))
		link_ahead_remove(link->taken, number);
}

struct channel *control_connect_ahead(
	struct control *control, const struct control_connect *connect)
{
	struct link_ahead *ahead;

	if (!control->links->given)
		return NULL;
	/* msgd says what has changed before it tells anybody else. */
	control_take(control);
	if (control->state != CONTROL_ATTACHED || !control_broker_there(control))
		return NULL;
	ahead = link_ahead_find(control->links, connect);
	return ahead ? link_ahead_use(ahead, ahead->first + (uint32_t)__builtin_ctzll(ahead->left))
		     : NULL;
}

bool control_ahead_came(struct control *control, struct link *link, uint32_t number)
{
	struct channel *channel;

	if (!link_ahead_has(link->taken, number))
		return false;
	channel = link_ahead_use(link->taken, number);
	if (channel)
		control_offer(control, channel);
	else
		link_end(link, LINK_NO_MEMORY, "out of memory for a channel");
	return channel;
}

void control_ahead_forget(struct control *control)
{
	struct link *link;

	if (!control->links->n_ahead)
		return;
	for (link = control->links->by_end; link; link = link->hh.next) {
		link_ahead_free(link->given);
		link_ahead_free(link->taken);
	}
}
