/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Channels: numbers on a link. The broker gives the numbers, and gives one again only after both
 * ends have confirmed the close (PROTOCOL.md 4, 5.3). The listener's ring has CHANNEL before the
 * caller's ring has CONNECTED.
 */
#include "daemon/broker/channel.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/macro.h"
#include "daemon/broker/ahead.h"
#include "daemon/broker/capture.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/link.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/message-id.h"
#include "daemon/broker/note.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"
#include "daemon/broker/terms.h"

void broker_channel_set_state(struct broker_channel *channel, enum broker_channel_state state)
{
	static const unsigned moves[] = {
		[BROKER_CHANNEL_ANNOUNCED] = ENUM_BIT(BROKER_CHANNEL_OFFERED) |
					     ENUM_BIT(BROKER_CHANNEL_OPEN) |
					     ENUM_BIT(BROKER_CHANNEL_DONE),
		[BROKER_CHANNEL_OFFERED] = ENUM_BIT(BROKER_CHANNEL_OPEN) |
					   ENUM_BIT(BROKER_CHANNEL_CLOSING) |
					   ENUM_BIT(BROKER_CHANNEL_DONE),
		[BROKER_CHANNEL_OPEN] =
			ENUM_BIT(BROKER_CHANNEL_CLOSING) | ENUM_BIT(BROKER_CHANNEL_DONE),
		[BROKER_CHANNEL_CLOSING] = ENUM_BIT(BROKER_CHANNEL_DONE),
		[BROKER_CHANNEL_DONE] = 0,
	};

	assert(moves[channel->state] & ENUM_BIT(state));
	if (channel->state < BROKER_CHANNEL_CLOSING && state >= BROKER_CHANNEL_CLOSING)
		channel->link->n_standing--;
	channel->state = state;
}

const char *broker_channel_name(const struct broker_channel *channel)
{
	return channel->whole_name ? channel->whole_name : channel->tally->key.name;
}

static int broker_channel_tally(struct broker_link *link, unsigned caller, const char *name,
	uint32_t max, struct tally **ret_tally)
{
	/* Zeroed whole: it is a hash key. */
	struct tally_key key;

	memset(&key, 0, sizeof(key));
	key.caller = link->ends[caller].domid;
	key.target = link->ends[!caller].domid;
	/* Arguments are the caller's choice: they all count as one name. */
	(void)snprintf(key.name, sizeof(key.name), "%.*s", (int)name_base_len(name), name);
	return tally_take(link->broker, &key, max, ret_tally);
}

/* -ENOMEM */
static int whole_name(const char *name, char **ret_whole_name)
{
	*ret_whole_name = name_has_argument(name) ? strdup(name) : NULL;
	return *ret_whole_name || !name_has_argument(name) ? 0 : -ENOMEM;
}

int broker_channel_rename(struct broker_channel *channel, unsigned caller, const char *name)
{
	struct tally *tally;
	char *whole;
	int r = whole_name(name, &whole);

	if (r == 0)
		r = broker_channel_tally(channel->link, caller, name, 0, &tally);
	if (r < 0) {
		free(whole);
		return r;
	}
	tally_return(channel->tally);
	channel->tally = tally;
	free(channel->whole_name);
	channel->whole_name = whole;
	channel->caller = (uint8_t)caller;
	return 0;
}

int broker_channel_add(struct broker_link *link, uint32_t number, unsigned caller, uint32_t type,
	const char *name, uint32_t max, struct broker_channel **ret_channel)
{
	struct broker_channel *channel = calloc(1, sizeof(*channel));
	int r;

	if (!channel)
		return -ENOMEM;
	r = whole_name(name, &channel->whole_name);
	if (r == 0)
		r = broker_channel_tally(link, caller, name, max, &channel->tally);
	if (r < 0) {
		free(channel->whole_name);
		free(channel);
		return r;
	}
	channel->link = link;
	channel->number = number;
	channel->caller = (uint8_t)caller;
	channel->type = (uint8_t)type;
	channel->state = BROKER_CHANNEL_ANNOUNCED;
	channel->since_ns = link->broker->now_ns;
	HASH_ADD(hh, link->channels, number, sizeof(channel->number), channel);
	if (!hash_added(&channel->hh)) {
		tally_return(channel->tally);
		free(channel->whole_name);
		free(channel);
		return -ENOMEM;
	}
	TAILQ_INSERT_HEAD(&link->by_judgement, channel, judgement_entry);
	link->n_standing++;
	link->broker->n_channels++;
	*ret_channel = channel;
	return 0;
}

int broker_channel_pay_argument(struct broker_channel *channel)
{
	if (!channel->whole_name || channel->charge.extra)
		return 0;
	return charge_more(&channel->charge, NAME_SIZE + OBJECT_OVERHEAD);
}

static void broker_channel_count_place(struct broker_channel *channel, int by)
{
	struct listener *listener = channel->listener;
	uint32_t *n = channel->beside ? &listener->n_beside : &listener->n_offered;

	assert(by > 0 || *n > 0);
	*n += (uint32_t)by;
}

void broker_channel_unoffer(struct broker_channel *channel)
{
	if (!channel->listener)
		return;
	broker_channel_count_place(channel, -1);
	LIST_REMOVE(channel, offered);
	channel->listener = NULL;
}

void broker_channel_take_place(struct broker_channel *channel, struct listener *listener)
{
	assert(!channel->listener);
	channel->listener = listener;
	broker_channel_count_place(channel, 1);
	LIST_INSERT_HEAD(&listener->offered, channel, offered);
}

void broker_channel_offer(struct broker_channel *channel, struct listener *listener)
{
	broker_channel_set_state(channel, BROKER_CHANNEL_OFFERED);
	broker_channel_take_place(channel, listener);
}

static void broker_channel_set_unpaid(struct broker_channel *channel, bool unpaid)
{
	channel->link->n_unpaid += (uint32_t)unpaid - (uint32_t)channel->unpaid;
	channel->unpaid = unpaid;
}

void broker_channel_free(struct broker_channel *channel)
{
	ahead_forget(channel);
	capture_channel_gone(channel);
	broker_channel_unoffer(channel);
	broker_channel_set_unpaid(channel, false);
	broker_channel_set_state(channel, BROKER_CHANNEL_DONE);
	tally_return(channel->tally);
	charge_return(&channel->charge);
	HASH_DELETE(hh, channel->link->channels, channel);
	TAILQ_REMOVE(&channel->link->by_judgement, channel, judgement_entry);
	channel->link->broker->n_channels--;
	channel->link->broker->cost += COST_OBJECT;
	free(channel->whole_name);
	free(channel->counts);
	free(channel);
}

void broker_channel_repay_caller(struct broker_channel *channel)
{
	const struct broker_link *link = channel->link;
	struct charge charge = {.domain = NULL};
	int r;

	if (!channel->confirmed[channel->caller] || channel->charge.quota != QUOTA_CHANNELS ||
		link->state != BROKER_LINK_UP)
		return;
	r = charge_take_rest(
		&charge, link->ends[!channel->caller].process->domain, QUOTA_ANNOUNCED);
	if (r == 0)
		charge_replace(&channel->charge, &charge);
	broker_channel_set_unpaid(channel, r < 0 && !channel->listener);
}

void broker_channel_gone(
	struct broker_channel *channel, unsigned ends, const char *reason, const char *rule)
{
	note_channel_reset(channel, reason, rule);
	for (unsigned i = 0; i < 2; i++) {
		struct link_end *end = &channel->link->ends[i];

		/* An end that has confirmed the close does not know the number any more. */
		if ((ends & ENUM_BIT(i)) && end->process && !channel->confirmed[i])
			process_channel_gone(
				end->process, channel->charge.domain, end->number, channel->number);
	}
	broker_channel_free(channel);
}

static uint32_t broker_channel_next_number(struct broker_link *link)
{
	struct broker_channel *taken;

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

static void broker_channel_send(struct broker_channel *channel, const struct listener *listener)
{
	struct broker_link *link = channel->link;
	const struct link_end *caller = &link->ends[channel->caller];
	const struct link_end *holder = &link->ends[!channel->caller];
	struct control_message message = {.type = CONTROL_CHANNEL};

	message.channel.listener = listener->handle;
	message.channel.end = holder->number;
	message.channel.channel = channel->number;
	message.channel.type = channel->type;
	message.channel.transport = link->id.transport;
	domain_peer(caller->process->domain, &message.channel.peer);
	(void)snprintf(message.channel.name, sizeof(message.channel.name), "%s",
		broker_channel_name(channel));
	outbox_send(holder->process, caller->process->domain, &message, NULL);
}

void broker_channel_set_ahead(struct broker_channel *channel, bool ahead)
{
	int by = (int)channel->ahead - (int)ahead;

	channel->ahead = ahead;
	channel->link->n_standing += (uint32_t)by;
	channel->link->n_ahead -= (uint32_t)by;
	channel->link->broker->n_channels += (uint32_t)by;
}

void broker_channel_is_judged(struct broker_channel *channel)
{
	struct broker_link *link = channel->link;

	channel->generation = link->broker->generation;
	TAILQ_REMOVE(&link->by_judgement, channel, judgement_entry);
	TAILQ_INSERT_TAIL(&link->by_judgement, channel, judgement_entry);
}

int broker_channel_add_ahead(
	const struct broker_channel *like, struct listener *listener, uint32_t number)
{
	struct broker_link *link = like->link;
	struct broker_channel *channel;
	char reason[REASON_SIZE];
	int r;

	if (HASH_COUNT(link->channels) >= LINK_CHANNELS_MAX)
		return -EDQUOT;
	if (broker_channel_next_number(link) != number)
		return -EBUSY;
	r = broker_channel_add(
		link, number, like->caller, like->type, broker_channel_name(like), 0, &channel);
	if (r < 0)
		return r;
	r = charge_take(
		&channel->charge, link->ends[like->caller].process->domain, QUOTA_CHANNELS, reason);
	if (r < 0) {
		broker_channel_free(channel);
		return r;
	}
	broker_channel_is_judged(channel);
	channel->direction = like->direction;
	broker_channel_set_ahead(channel, true);
	channel->beside = true;
	broker_channel_offer(channel, listener);
	return 0;
}

int broker_channel_new(struct broker_link *link, unsigned caller, struct listener *listener,
	const char *name, struct policy_verdict *verdict, bool ahead,
	struct broker_channel **ret_channel, char ret_reason[REASON_SIZE])
{
	struct broker_channel *channel;
	int r;

	if (HASH_COUNT(link->channels) >= LINK_CHANNELS_MAX) {
		reason_set(ret_reason, "%u channels on one link", LINK_CHANNELS_MAX);
		return -EDQUOT;
	}
	r = broker_channel_add(link, broker_channel_next_number(link), caller, listener->type, name,
		verdict->max_channels, &channel);
	if (r == -EDQUOT) {
		struct domain *domain = link->ends[caller].process->domain;
		char rule[128];

		policy_verdict_rule(verdict, rule, sizeof(rule));
		domain_log_line(domain, LOG_NOTICE,
			&(struct broker_line){.id = MESSAGE_ID_LIMIT, .rule = rule},
			"%s(%u): max-channels=%u of policy for %s is reached", domain->info.name,
			domain->info.domid, verdict->max_channels, listener->name);
		reason_set(ret_reason, "max-channels=%u of policy for %s", verdict->max_channels,
			listener->name);
		verdict->allow = false;
	}
	if (r < 0)
		return r;
	r = charge_take(
		&channel->charge, link->ends[caller].process->domain, QUOTA_CHANNELS, ret_reason);
	if (r < 0) {
		broker_channel_free(channel);
		return r;
	}
	broker_channel_is_judged(channel);
	r = broker_channel_pay_argument(channel);
	if (r < 0) {
		reason_set(ret_reason, "limit memory of the caller's domain");
		broker_channel_free(channel);
		return r;
	}
	channel->direction = (uint8_t)verdict->direction;
	broker_channel_offer(channel, listener);
	terms_send(channel, verdict, !caller);
	capture_channel(channel, verdict);
	if (ahead)
		ahead_give(channel, listener, verdict);
	broker_channel_send(channel, listener);
	*ret_channel = channel;
	return 0;
}

/*
 * 0 with NULL: the number was given once, and its channel is gone. -EPROTO: it was never given.
 * While the link is announced, only this end's own announcements say so.
 */
static int broker_channel_find(const struct link_end *end, unsigned index, uint32_t number,
	struct broker_channel **ret_channel)
{
	struct broker_link *link = end->link;

	HASH_FIND(hh, link->channels, &number, sizeof(number), *ret_channel);
	if (link->state == BROKER_LINK_ANNOUNCED) {
		if (*ret_channel && !(*ret_channel)->claims[index].made)
			*ret_channel = NULL;
		return number != 0 && number <= end->last_channel ? 0 : -EPROTO;
	}
	if (*ret_channel)
		return 0;
	if (number != 0 && (link->channels_wrapped || number <= link->last_channel))
		return 0;
	return -EPROTO;
}

/* While ANNOUNCED, only the end whose listener has the place gives it back. */
static void broker_channel_leave(struct broker_channel *channel, unsigned end)
{
	if (channel->listener && channel->listener->process == channel->link->ends[end].process)
		broker_channel_unoffer(channel);
}

static int broker_channel_accepted(struct broker_channel *channel, unsigned end)
{
	struct channel_claim *claim = &channel->claims[end];

	/* Only the listener's end accepts a channel, and only once. */
	if (channel->confirmed[end])
		return -EPROTO;
	if (channel->state == BROKER_CHANNEL_ANNOUNCED) {
		if (!claim->listener || claim->accepted)
			return -EPROTO;
		claim->accepted = true;
		broker_channel_leave(channel, end);
		return 0;
	}
	if (end == channel->caller || channel->accepted)
		return -EPROTO;
	channel->accepted = true;
	note_accepted(channel);
	if (channel->state == BROKER_CHANNEL_OFFERED)
		broker_channel_set_state(channel, BROKER_CHANNEL_OPEN);
	broker_channel_unoffer(channel);
	broker_channel_repay_caller(channel);
	return 0;
}

static int broker_channel_closed(struct broker_channel *channel, unsigned end)
{
	if (channel->confirmed[end])
		return -EPROTO;
	channel->confirmed[end] = true;
	if (channel->confirmed[!end]) {
		broker_channel_free(channel);
		return 0;
	}
	if (channel->state == BROKER_CHANNEL_ANNOUNCED) {
		broker_channel_leave(channel, end);
		return 0; /* settled when the other end has spoken */
	}
	if (end != channel->caller)
		broker_channel_unoffer(channel);
	if (channel->state != BROKER_CHANNEL_CLOSING)
		broker_channel_set_state(channel, BROKER_CHANNEL_CLOSING);
	broker_channel_repay_caller(channel);
	return 0;
}

/* Nobody knows which end lies. Both lose the link, which the honest one is better without. */
static void broker_channel_end_unpaid(struct broker_link *link, const struct process *caller)
{
	char text[PROCESS_TEXT_SIZE];

	if (link->n_unpaid <= CLOSES_UNANSWERED)
		return;
	process_describe(caller, text, sizeof(text));
	domain_log(caller->domain, LOG_NOTICE,
		"link %016llx: %s has closed %u channels that the other end keeps",
		(unsigned long long)link->id.uid, text, link->n_unpaid);
	broker_link_down(link, NULL, caller->domain, ECONNRESET,
		"too many channels that one end has closed");
}

int broker_channel_message(struct process *process, const struct control_message *message)
{
	/* All of them begin with it. */
	const struct control_channel_id *id = &message->channel_closed;
	struct link_end *end;
	struct broker_channel *channel;
	unsigned index;
	bool by_caller;
	int r = process_end(process, id->end, &end);

	if (r < 0 || !end)
		return r;
	index = end == &end->link->ends[0] ? 0 : 1;
	r = broker_channel_find(end, index, id->channel, &channel);
	if (r < 0 || !channel)
		return r;
	ahead_spoken(channel, index == channel->caller);
	if (message->type == CONTROL_CHANNEL_DONE || message->type == CONTROL_CHANNEL_COUNTS)
		counts_note(channel, index, &message->channel_counts.counts,
			message->type == CONTROL_CHANNEL_DONE);
	if (message->type == CONTROL_CHANNEL_COUNTS)
		return 0;
	if (message->type == CONTROL_ACCEPTED)
		return broker_channel_accepted(channel, index);
	by_caller = index == channel->caller;
	r = broker_channel_closed(channel, index);
	if (r == 0 && by_caller)
		broker_channel_end_unpaid(end->link, process);
	return r;
}
