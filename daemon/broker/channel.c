/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Channels: numbers on a link, given here, not given again until both ends have confirmed the close
 * (PROTOCOL.md 4, 5.3). The listener's ring has CHANNEL before the caller's has CONNECTED.
 */
#include "daemon/broker/object.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define BIT(n) (1U << (n))

void channel_set_state(struct channel *channel, enum channel_state state)
{
	static const unsigned moves[] = {
		[CHANNEL_ANNOUNCED] = BIT(CHANNEL_OFFERED) | BIT(CHANNEL_OPEN) |
				      BIT(CHANNEL_CLOSING) | BIT(CHANNEL_DONE),
		[CHANNEL_OFFERED] = BIT(CHANNEL_OPEN) | BIT(CHANNEL_CLOSING) | BIT(CHANNEL_DONE),
		[CHANNEL_OPEN] = BIT(CHANNEL_CLOSING) | BIT(CHANNEL_DONE),
		[CHANNEL_CLOSING] = BIT(CHANNEL_DONE),
		[CHANNEL_DONE] = 0,
	};

	assert(moves[channel->state] & BIT(state));
	channel->state = state;
}

int channel_add(struct link *link, uint32_t number, unsigned caller, uint32_t type,
	const char *name, struct channel **ret_channel)
{
	struct channel *channel = calloc(1, sizeof(*channel));

	if (!channel)
		return -ENOMEM;
	channel->link = link;
	channel->number = number;
	channel->caller = caller;
	channel->type = type;
	channel->state = CHANNEL_ANNOUNCED;
	channel->since_ns = link->broker->now_ns;
	(void)snprintf(channel->name, sizeof(channel->name), "%s", name);
	HASH_ADD(hh, link->channels, number, sizeof(channel->number), channel);
	link->broker->n_channels++;
	*ret_channel = channel;
	return 0;
}

/* Ends the place in the backlog, if there is one. */
static void channel_unoffer(struct channel *channel)
{
	if (!channel->listener)
		return;
	assert(channel->listener->n_offered > 0);
	channel->listener->n_offered--;
	LIST_REMOVE(channel, offered);
	channel->listener = NULL;
}

void channel_offer(struct channel *channel, struct listener *listener)
{
	channel_set_state(channel, CHANNEL_OFFERED);
	channel->listener = listener;
	listener->n_offered++;
	LIST_INSERT_HEAD(&listener->offered, channel, offered);
}

void channel_free(struct channel *channel)
{
	channel_unoffer(channel);
	channel_set_state(channel, CHANNEL_DONE);
	tally_return(channel->tally);
	charge_return(&channel->charge);
	HASH_DELETE(hh, channel->link->channels, channel);
	channel->link->broker->n_channels--;
	free(channel);
}

void channel_gone(struct channel *channel, unsigned ends)
{
	struct link *link = channel->link;

	for (unsigned i = 0; i < 2; i++) {
		struct control_message message = {.type = CONTROL_CHANNEL_GONE};

		/* An end that has confirmed does not know it any more. */
		if (!(ends & BIT(i)) || !link->ends[i].process || channel->confirmed[i])
			continue;
		message.channel_gone.end = link->ends[i].number;
		message.channel_gone.channel = channel->number;
		process_send(link->ends[i].process, &message);
	}
	channel_free(channel);
}

static uint32_t channel_next_number(struct link *link)
{
	struct channel *taken;

	do {
		if (++link->last_channel == 0) {
			link->channels_wrapped = true;
			link->last_channel = 1;
		}
		HASH_FIND(
			hh, link->channels, &link->last_channel, sizeof(link->last_channel), taken);
	} while (taken);
	return link->last_channel;
}

static int channel_charge(struct channel *channel, const struct listener *listener,
	const struct policy_verdict *verdict, char ret_reason[REASON_SIZE])
{
	struct link_end *caller = &channel->link->ends[channel->caller];
	struct broker *broker = channel->link->broker;
	struct tally_key key = {
		.caller = caller->domid, .target = channel->link->ends[!channel->caller].domid};
	int r = charge_take(&channel->charge, caller->process->domain, QUOTA_CHANNELS);

	if (r < 0) {
		reason_set(ret_reason, "limit channels=%u of domain %.70s", broker->limits.channels,
			caller->process->domain->info.name);
		return r;
	}
	(void)snprintf(key.name, sizeof(key.name), "%s", listener->name);
	r = tally_take(broker, &key, verdict->max_channels, &channel->tally);
	if (r == -EDQUOT)
		reason_set(ret_reason, "max-channels=%u of policy for %s", verdict->max_channels,
			listener->name);
	return r;
}

static void channel_send(struct channel *channel, const struct listener *listener)
{
	struct link *link = channel->link;
	const struct link_end *caller = &link->ends[channel->caller];
	const struct link_end *holder = &link->ends[!channel->caller];
	struct control_message message = {.type = CONTROL_CHANNEL};

	message.channel.listener = listener->handle;
	message.channel.end = holder->number;
	message.channel.channel = channel->number;
	message.channel.type = channel->type;
	message.channel.transport = link->id.transport;
	domain_peer(caller->process->domain, &message.channel.peer);
	memcpy(message.channel.name, listener->name, sizeof(message.channel.name));
	process_send(holder->process, &message);
}

int channel_new(struct link *link, unsigned caller, struct listener *listener,
	const struct policy_verdict *verdict, struct channel **ret_channel,
	char ret_reason[REASON_SIZE])
{
	struct channel *channel;
	int r;

	if (HASH_COUNT(link->channels) >= LINK_CHANNELS_MAX) {
		reason_set(ret_reason, "%u channels on one link", LINK_CHANNELS_MAX);
		return -EDQUOT;
	}
	r = channel_add(
		link, channel_next_number(link), caller, listener->type, listener->name, &channel);
	if (r < 0)
		return r;
	r = channel_charge(channel, listener, verdict, ret_reason);
	if (r < 0) {
		channel_free(channel);
		return r;
	}
	channel_offer(channel, listener);
	channel_send(channel, listener);
	*ret_channel = channel;
	return 0;
}

/* 0 and NULL: given once, and gone since; -EPROTO: never given. */
static int channel_find(struct link *link, uint32_t number, struct channel **ret_channel)
{
	HASH_FIND(hh, link->channels, &number, sizeof(number), *ret_channel);
	if (*ret_channel)
		return 0;
	if (number != 0 && (link->channels_wrapped || number <= link->last_channel))
		return 0;
	return -EPROTO;
}

static int channel_accepted(struct channel *channel, unsigned end)
{
	/* Only the listener's end accepts, and once. */
	if (end == channel->caller || channel->confirmed[end])
		return -EPROTO;
	if (channel->state == CHANNEL_OFFERED)
		channel_set_state(channel, CHANNEL_OPEN);
	else if (channel->state == CHANNEL_ANNOUNCED)
		channel->accepted = true;
	else if (channel->state != CHANNEL_CLOSING)
		return -EPROTO;
	channel_unoffer(channel);
	return 0;
}

static int channel_closed(struct channel *channel, unsigned end)
{
	if (channel->confirmed[end])
		return -EPROTO;
	channel->confirmed[end] = true;
	if (channel->confirmed[!end]) {
		channel_free(channel);
		return 0;
	}
	if (channel->state == CHANNEL_ANNOUNCED)
		return 0; /* settled when the other end has spoken */
	if (end != channel->caller)
		channel_unoffer(channel);
	if (channel->state != CHANNEL_CLOSING)
		channel_set_state(channel, CHANNEL_CLOSING);
	return 0;
}

int channel_message(struct process *process, const struct control_message *message)
{
	bool accepted = message->type == CONTROL_ACCEPTED;
	uint32_t number = accepted ? message->accepted.channel : message->channel_closed.channel;
	struct link_end *end;
	struct channel *channel;
	unsigned index;
	int r = process_end(
		process, accepted ? message->accepted.end : message->channel_closed.end, &end);

	if (r < 0 || !end)
		return r;
	r = channel_find(end->link, number, &channel);
	if (r < 0 || !channel)
		return r;
	index = end == &end->link->ends[0] ? 0 : 1;
	return accepted ? channel_accepted(channel, index) : channel_closed(channel, index);
}
