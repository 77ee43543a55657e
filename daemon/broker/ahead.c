/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See ahead.h. Two things must not come of it. A connect must not be permitted by facts that have
 * changed: AHEAD_END is in the caller's ring before whoever changed them is answered, the caller
 * reads its ring before it uses a number, and one that does not is judged as a channel that stands,
 * as soon as the listener's end speaks of it. And no end may make the other one pay for long: the
 * caller alone says that a number is not used, and the broker believes it against the listener.
 */
#include "daemon/broker/ahead.h"

#include "base/macro.h"
#include "daemon/broker/channel.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/link.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/note.h"
#include "daemon/broker/process.h"
#include "daemon/broker/rejudge.h"
#include "daemon/broker/state.h"

_Static_assert(AHEAD_MAX <= 64, "a bit for each");

static struct ahead *channel_ahead(const struct broker_channel *channel)
{
	return &channel->link->ahead[channel->caller];
}

static void ahead_over(struct ahead *ahead)
{
	if (!ahead->there)
		return;
	TAILQ_REMOVE(&ahead->link->broker->aheads, ahead, entry);
	ahead->there = false;
	ahead->left = 0;
}

/* ---- giving ---------------------------------------------------------------------------------- */

/* Nothing is to be counted, asked or written down for each connect by itself, nor ends it. */
static bool verdict_is_plain(const struct broker *broker, const struct policy_verdict *verdict)
{
	return broker->audit != BROKER_AUDIT_ALL && verdict->log != POLICY_LOG_YES &&
	       verdict->direction == POLICY_BOTH_WAYS && !verdict->target && !verdict->ask &&
	       !verdict->max_channels && !verdict->max_connects.n && !verdict->max_rate &&
	       !verdict->max_buffer;
}

/* Twice as many as the last time, while one connect follows the other. 0: none. */
static uint32_t ahead_wanted(struct ahead *ahead, const struct listener *listener)
{
	uint64_t now = ahead->link->broker->now_ns;
	uint32_t n;

	if (ahead->listener != listener->handle || now - ahead->connect_ns > AHEAD_CONNECT_NS)
		ahead->n_connects = 0;
	ahead->listener = listener->handle;
	ahead->connect_ns = now;
	n = ahead->n_connects++;
	/* A listener that does not keep up is to be asked: its backlog is what it said. */
	if (n < AHEAD_CONNECTS || listener->backlog < AHEAD_BACKLOG_MIN ||
		listener->n_offered - 1 > listener->backlog / 8)
		return 0;
	/* Others connect to it as well. */
	return min_u32(8U << min_u32(n - AHEAD_CONNECTS, 3),
		(listener->backlog / 2 - listener->n_beside + 1) / 2);
}

static bool ends_know_it(const struct broker_link *link)
{
	const uint64_t features = FEATURE_AHEAD | FEATURE_COUNTS;

	return (link->ends[0].process->features & features) == features &&
	       (link->ends[1].process->features & features) == features;
}

static void ahead_tell(const struct ahead *ahead, const struct broker_channel *channel, unsigned to)
{
	const struct broker_link *link = channel->link;
	struct control_message message = {.type = CONTROL_AHEAD,
		.ahead = {.end = link->ends[to].number,
			.channel = channel->number,
			.first = ahead->first,
			.n = ahead->n}};

	outbox_send(link->ends[to].process, link->ends[channel->caller].process->domain, &message,
		NULL);
}

void ahead_give(struct broker_channel *channel, struct listener *listener,
	const struct policy_verdict *verdict)
{
	struct broker_link *link = channel->link;
	struct broker *broker = link->broker;
	struct ahead *ahead = channel_ahead(channel);
	uint32_t n;

	if (ahead->there || !ends_know_it(link) || !verdict_is_plain(broker, verdict) ||
		channel->whole_name || channel->captured)
		return;
	ahead->link = link;
	n = ahead_wanted(ahead, listener);
	ahead->first = channel->number + 1;
	ahead->n = 0;
	while (ahead->n < n &&
		broker_channel_add_ahead(channel, listener, ahead->first + ahead->n) == 0)
		ahead->n++;
	if (ahead->n == 0)
		return;
	broker->cost += ahead->n * COST_OBJECT;
	ahead->there = true;
	ahead->told = ahead->ending = false;
	ahead->left = UINT64_MAX >> (AHEAD_MAX - ahead->n);
	ahead->generation = broker->generation;
	ahead->rule = verdict->rule;
	ahead->used_ns = broker->now_ns;
	if (TAILQ_EMPTY(&broker->aheads))
		broker->ahead_look_ns = broker->now_ns + AHEAD_LOOK_NS;
	TAILQ_INSERT_TAIL(&broker->aheads, ahead, entry);
	ahead_tell(ahead, channel, !channel->caller);
}

void ahead_connected(const struct broker_channel *channel)
{
	struct ahead *ahead = channel_ahead(channel);

	if (!ahead->there || ahead->told)
		return;
	ahead->told = true;
	ahead_tell(ahead, channel, channel->caller);
}

/* ---- use ------------------------------------------------------------------------------------- */

/* The connecting end needs to be asked about it no more. */
static void number_settled(const struct broker_channel *channel)
{
	struct ahead *ahead = channel_ahead(channel);
	uint32_t i = channel->number - ahead->first;

	if (!ahead->there || i >= ahead->n)
		return;
	ahead->left &= ~(UINT64_C(1) << i);
	if (!ahead->left)
		ahead_over(ahead);
}

void ahead_forget(struct broker_channel *channel)
{
	if (channel->ahead)
		broker_channel_set_ahead(channel, false);
	number_settled(channel);
}

/* It is used, and counts as a channel from now on. */
static void number_used(struct broker_channel *channel)
{
	struct ahead *ahead = channel_ahead(channel);
	struct broker *broker = channel->link->broker;

	broker_channel_set_ahead(channel, false);
	ahead->used_ns = broker->now_ns;
	channel->since_ns = broker->now_ns;
	note_used_ahead(channel);
	/* A capture wants to know about it what a judgement says. */
	if (ahead->generation == broker->generation && !broker->captures.n)
		policy_hit(broker->policy, &(struct policy_verdict){.rule = ahead->rule});
	else
		rejudge_channel(channel);
}

void ahead_spoken(struct broker_channel *channel, bool by_caller)
{
	if (channel->ahead)
		number_used(channel);
	if (by_caller)
		number_settled(channel);
}

/* ---- the end --------------------------------------------------------------------------------- */

void ahead_end(struct ahead *ahead)
{
	struct control_message message = {.type = CONTROL_AHEAD_END};
	const struct link_end *end;

	if (!ahead->there || ahead->ending)
		return;
	end = &ahead->link->ends[ahead == &ahead->link->ahead[1]];
	ahead->ending = true;
	message.ahead_end.end = end->number;
	message.ahead_end.first = ahead->first;
	process_send(end->process, &message);
}

void ahead_end_all(struct broker *broker)
{
	struct ahead *ahead;

	/* Two for each link at most, each of which holds a channel of its domain's quota. */
	TAILQ_FOREACH (ahead, &broker->aheads, entry) {
		broker->cost += COST_OBJECT;
		ahead_end(ahead);
	}
}

void ahead_link_gone(struct broker_link *link)
{
	ahead_over(&link->ahead[0]);
	ahead_over(&link->ahead[1]);
}

/*
 * The caller's word about one of its numbers. True: it is no channel any more. If the listener's
 * end has spoken of it, one of the two lies; that end resets it by the AHEAD_GONE that follows.
 */
static bool number_given_back(struct broker_link *link, unsigned caller, uint32_t number)
{
	struct broker_channel *channel;

	HASH_FIND(hh, link->channels, &number, sizeof(number), channel);
	if (!channel || channel->caller != caller)
		return false;
	broker_channel_free(channel);
	return true;
}

static void numbers_are_used(struct broker_link *link, const struct ahead *ahead)
{
	for (uint32_t i = 0; i < ahead->n; i++) {
		uint32_t number = ahead->first + i;
		struct broker_channel *channel;

		HASH_FIND(hh, link->channels, &number, sizeof(number), channel);
		if (channel && channel->ahead)
			number_used(channel);
	}
}

int ahead_message(struct process *process, const struct control_message *message)
{
	const struct control_ahead_rest *rest = &message->ahead_rest;
	struct control_message gone = {.type = CONTROL_AHEAD_GONE};
	struct broker_link *link;
	struct ahead *ahead;
	struct link_end *end;
	unsigned caller;
	uint64_t left;
	int r = process_end(process, rest->end, &end);

	if (r < 0 || !end)
		return r;
	link = end->link;
	caller = end == &link->ends[0] ? 0 : 1;
	ahead = &link->ahead[caller];
	/* The caller has spoken of all of them, or they are freed. */
	if (!ahead->there || ahead->first != rest->first)
		return 0;
	process->broker->cost += ahead->n * COST_OBJECT;
	left = ahead->left;
	gone.ahead_gone.end = link->ends[!caller].number;
	gone.ahead_gone.first = ahead->first;
	for (uint32_t i = 0; i < ahead->n; i++) {
		uint64_t bit = UINT64_C(1) << i;

		if ((rest->rest & left & bit) && number_given_back(link, caller, ahead->first + i))
			gone.ahead_gone.rest |= bit;
	}
	numbers_are_used(link, ahead);
	ahead_over(ahead);
	outbox_send(link->ends[!caller].process, process->domain, &gone, NULL);
	return 0;
}

/* ---- time ------------------------------------------------------------------------------------ */

void ahead_tick(struct broker *broker)
{
	struct ahead *ahead;

	if (TAILQ_EMPTY(&broker->aheads) || broker->now_ns < broker->ahead_look_ns)
		return;
	broker->ahead_look_ns = broker->now_ns + AHEAD_LOOK_NS;
	TAILQ_FOREACH (ahead, &broker->aheads, entry) {
		broker->cost += COST_OBJECT;
		for (unsigned i = 0; i < 2; i++)
			broker->ops->look(broker->arg, ahead->link->ends[i].process->peer);
		if (broker->now_ns - ahead->used_ns > AHEAD_IDLE_NS)
			ahead_end(ahead);
	}
}

uint64_t ahead_next_ns(const struct broker *broker)
{
	return TAILQ_EMPTY(&broker->aheads) ? 0 : broker->ahead_look_ns;
}
