/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Counts of links and channels, for a msgd that asks (PROTOCOL.md, section 5.8). */
#include "libmsg/control/control.h"

static void tell_channel(struct control *control, uint8_t type, struct channel *channel)
{
	struct control_message message = {.type = type,
		.channel_counts = {.end = channel_link(channel)->end, .channel = channel->number}};

	channel_counts(channel, &message.channel_counts.counts);
	channel->counts_told = channel_counted(channel);
	if (channel->ahead && type == CONTROL_CHANNEL_DONE)
		control_send_quietly(control, &message);
	else
		control_send(control, &message);
}

static void tell_link(struct control *control, const struct link *link)
{
	struct control_message message = {.type = CONTROL_LINK_COUNTS,
		.link_counts = {.end = link->end,
			.notifications = link->transport->n_notifications,
			.hypercalls = link->transport->n_hypercalls}};

	control_send(control, &message);
}

/* As many as this process has: msgd asks again when it has read the answer. */
static void tell_all(struct control *control)
{
	struct link *link;

	for (link = control->links->by_end; link; link = link->hh.next) {
		if (!link_is_up(link))
			continue;
		tell_link(control, link);
		for (struct channel *c = link->channels.by_number; c; c = c->hh.next) {
			if (c->counts_told != channel_counted(c))
				tell_channel(control, CONTROL_CHANNEL_COUNTS, c);
		}
	}
}

static void tell_sums(struct control *control, uint32_t token)
{
	struct control_message message = {.type = CONTROL_ANSWER, .answer = control->pool->carried};
	const struct link *link;

	message.answer.token = token;
	for (link = control->links->by_end; link; link = link->hh.next) {
		message.answer.notifications += link->transport->n_notifications;
		message.answer.hypercalls += link->transport->n_hypercalls;
		for (struct channel *c = link->channels.by_number; c; c = c->hh.next)
			channel_add_counts(c, &message.answer);
	}
	control_send(control, &message);
}

void control_answer(struct control *control, const struct control_ask *ask)
{
	if (ask->wants & ASK_COUNTS)
		tell_all(control);
	tell_sums(control, ask->token);
}

void control_tell_last(struct control *control)
{
	if (control->broker_features & FEATURE_COUNTS)
		tell_sums(control, 0);
}

void control_channel_done(struct control *control, struct channel *channel)
{
	struct control_message message = {.type = CONTROL_CHANNEL_CLOSED,
		.channel_closed = {.end = channel_link(channel)->end, .channel = channel->number}};

	/* msgd knows the channel of its last frames until this. */
	control_capture_publish(control);
	if (control->broker_features & FEATURE_COUNTS)
		tell_channel(control, CONTROL_CHANNEL_DONE, channel);
	else
		control_send(control, &message);
}
