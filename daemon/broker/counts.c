/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Counts: see the header. */
#include "daemon/broker/counts.h"

#include <errno.h>
#include <stdlib.h>

#include "base/macro.h"
#include "base/number.h"
#include "daemon/broker/channel.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/link.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"

/* Moves *last on to `now`, never back, and COUNT_MAX at most; returns by how much. */
static uint64_t grown(uint64_t *last, uint64_t now)
{
	uint64_t before = *last;

	*last = max_u64(before, min_u64(now, COUNT_MAX));
	return *last - before;
}

static uint32_t grown_u32(uint32_t *last, uint32_t now)
{
	uint32_t by = now > *last ? now - *last : 0;

	*last += by;
	return by;
}

static void traffic_add(struct traffic *traffic, const struct traffic *more)
{
	traffic->tx_messages = count_sum(traffic->tx_messages, more->tx_messages);
	traffic->tx_bytes = count_sum(traffic->tx_bytes, more->tx_bytes);
	traffic->rx_messages = count_sum(traffic->rx_messages, more->rx_messages);
	traffic->rx_bytes = count_sum(traffic->rx_bytes, more->rx_bytes);
	traffic->drops = count_sum(traffic->drops, more->drops);
	traffic->no_credit = count_sum(traffic->no_credit, more->no_credit);
	traffic->no_room = count_sum(traffic->no_room, more->no_room);
}

/* The counts that both ends have told, with room for them. NULL: its domain cannot pay for that. */
static struct channel_counts *counts_kept(struct broker_channel *channel)
{
	const size_t size = 2 * sizeof(*channel->counts);

	if (channel->counts || charge_more(&channel->charge, size + OBJECT_OVERHEAD) < 0)
		return channel->counts;
	channel->counts = calloc(1, size);
	if (!channel->counts)
		charge_less(&channel->charge, size + OBJECT_OVERHEAD);
	/* The former msgd has counted what an announced channel had carried. */
	for (unsigned i = 0; i < 2 && channel->counts; i++)
		channel->counts[i].known = !channel->claims[i].made;
	return channel->counts;
}

void counts_note(struct broker_channel *channel, unsigned end, const struct control_counts *counts,
	bool is_over)
{
	struct link_end *link_end = &channel->link->ends[end];
	struct channel_counts only = {.known = !channel->claims[end].made};
	struct channel_counts *kept = is_over ? channel->counts : counts_kept(channel);
	struct channel_counts *known = kept ? &kept[end] : &only;
	struct control_counts *last = &known->last;
	struct traffic more = {
		.tx_messages = grown(&last->tx_messages, counts->tx_messages),
		.tx_bytes = grown(&last->tx_bytes, counts->tx_bytes),
		.rx_messages = grown(&last->rx_messages, counts->rx_messages),
		.rx_bytes = grown(&last->rx_bytes, counts->rx_bytes),
		.drops = grown(&last->drops, counts->drops),
		.no_credit = grown_u32(&last->no_credit, counts->no_credit),
		.no_room = grown_u32(&last->no_room, counts->no_room),
	};
	struct listener *listener = NULL;

	last->unread = counts->unread;
	last->unsent = counts->unsent;
	/* Without a place for these, the last ones of the channel will count for all. */
	if (!known->known || (!kept && !is_over)) {
		known->known = true;
		return;
	}
	traffic_add(&link_end->traffic, &more);
	if (end != channel->caller)
		listener = listener_for(link_end->process->domain, broker_channel_name(channel));
	if (listener)
		traffic_add(&listener->traffic, &more);
}

uint32_t counts_next_token(struct broker *broker)
{
	if (++broker->last_token == 0)
		broker->last_token = 1;
	return broker->last_token;
}

void counts_not_asked(struct process *process)
{
	if (process->asked_token)
		process->broker->n_asked--;
	process->asked_token = 0;
}

uint32_t broker_counts_pending(const struct broker *broker)
{
	return broker->n_asked;
}

uint64_t broker_counts_asked_ns(const struct broker *broker)
{
	return broker->asked_ns;
}

/* For the sums of its domain, which has none of it else. */
static void sums_note(struct process *process, const struct control_answer *said)
{
	struct control_answer *last = &process->sums;
	struct domain *domain = process->domain;
	struct traffic more = {
		.tx_messages = grown(&last->tx_messages, said->tx_messages),
		.tx_bytes = grown(&last->tx_bytes, said->tx_bytes),
		.rx_messages = grown(&last->rx_messages, said->rx_messages),
		.rx_bytes = grown(&last->rx_bytes, said->rx_bytes),
		.drops = grown(&last->drops, said->drops),
		.no_credit = grown(&last->no_credit, said->no_credit),
		.no_room = grown(&last->no_room, said->no_room),
	};
	uint64_t notifications = grown(&last->notifications, said->notifications);
	uint64_t hypercalls = grown(&last->hypercalls, said->hypercalls);

	if (process->sums_known) {
		traffic_add(&domain->traffic, &more);
		domain->notifications = count_sum(domain->notifications, notifications);
		domain->hypercalls = count_sum(domain->hypercalls, hypercalls);
	}
	process->sums_known = true;
}

int counts_message(struct process *process, const struct control_message *message)
{
	const struct control_link_counts *counts = &message->link_counts;
	const struct control_answer *answer = &message->answer;
	struct link_end *end;
	int r;

	if (message->type == CONTROL_ANSWER) {
		if (answer->token && answer->token == process->asked_token)
			counts_not_asked(process);
		else if (answer->token && !ping_answered(process, answer->token))
			return -EPROTO;
		sums_note(process, answer);
		process->detaches = answer->token == 0;
		return 0;
	}
	r = process_end(process, counts->end, &end);
	if (r < 0 || !end)
		return r;
	(void)grown(&end->notifications, counts->notifications);
	(void)grown(&end->hypercalls, counts->hypercalls);
	return 0;
}

static bool process_may_be_asked(const struct process *process)
{
	return process->state == PROCESS_READY && (process->features & FEATURE_COUNTS) &&
	       !process->asked_token;
}

void broker_ask_counts(struct broker *broker)
{
	struct control_message ask = {.type = CONTROL_ASK, .ask = {.wants = ASK_COUNTS}};
	struct domain *domain, *next;
	struct process *process;

	if (broker->asked_ns && broker->now_ns - broker->asked_ns < COUNTS_ASK_NS)
		return;
	broker->asked_ns = broker->now_ns;
	HASH_ITER (hh, broker->domains, domain, next) {
		/* DOMAIN_PROCESSES_MAX, as a rule. */
		TAILQ_FOREACH (process, &domain->processes, entry) {
			broker->cost += COST_OBJECT;
			if (!process_may_be_asked(process))
				continue;
			ask.ask.token = counts_next_token(broker);
			/* One whose ring has no room now is asked the next time. */
			if (!outbox_offer(process, &ask))
				continue;
			broker->cost += COST_MESSAGE;
			process->asked_token = ask.ask.token;
			broker->n_asked++;
		}
	}
	broker_settle(broker);
}
