/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgd's return (PROTOCOL.md 5.1): applications that were there before announce their links and
 * channels. A link or channel stands again if both ends announce it alike. One end alone is never
 * believed: a link is identified by its uid, both domids and the transport, so an announcement
 * matches only the other domain's announcement for itself, and a lie finds no second half.
 */
#include "daemon/broker/announce.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>

#include "base/macro.h"
#include "daemon/broker/channel.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/link.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/process.h"
#include "daemon/broker/rejudge.h"
#include "daemon/broker/request.h"
#include "daemon/broker/state.h"
#include "daemon/broker/terms.h"

/* Of two times, where 0 is never. */
static uint64_t sooner(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}

void announce_timer(struct broker *broker)
{
	uint64_t at = 0;

	if (!broker->ops)
		return;
	if (broker->recovering)
		at = broker->hold_end_ns;
	else if (broker->announcing)
		at = broker->announce_end_ns;
	at = sooner(at, errands_next_ns(broker));
	at = sooner(at, pings_next_ns(broker));
	at = sooner(at, ahead_next_ns(broker));
	if (at != broker->timer_ns)
		broker->ops->timer(broker->arg, at);
	broker->timer_ns = at;
}

void broker_recover(struct broker *broker, uint32_t n_records)
{
	if (n_records == 0)
		return;
	broker->recovering = broker->announcing = true;
	broker->n_awaited = n_records;
	broker->hold_end_ns = broker->now_ns + RECOVERY_NS;
	broker->announce_end_ns = broker->now_ns + ANNOUNCE_NS;
	announce_timer(broker);
	broker_log(
		broker, LOG_INFO, "%u applications were here before: waiting for them", n_records);
}

/* All links on the list are looked at again. */
static void links_due(struct broker *broker, struct broker_link_list *list)
{
	/* As many as the quotas of links of the domains that announced. */
	while (!TAILQ_EMPTY(list)) {
		broker->cost++;
		broker_link_wait(TAILQ_FIRST(list), &broker->due);
	}
}

/* Lookups wait no longer. Applications that were found may still announce. */
static void recovery_end(struct broker *broker)
{
	broker->recovering = false;
	links_due(broker, &broker->unsettled);
	watch_recovered(broker);
	if (broker->n_awaited)
		broker_log(broker, LOG_NOTICE, "%u applications have not come back in time",
			broker->n_awaited);
}

static void announce_end(struct broker *broker)
{
	struct domain *domain, *next;

	broker->announcing = false;
	links_due(broker, &broker->unsettled);
	HASH_ITER (hh, broker->domains, domain, next)
		links_due(broker, &domain->expected);
}

void announce_tick(struct broker *broker)
{
	if (broker->recovering && broker->now_ns >= broker->hold_end_ns)
		recovery_end(broker);
	if (broker->announcing && broker->now_ns >= broker->announce_end_ns)
		announce_end(broker);
	broker->timer_ns = UINT64_MAX; /* it has run: announce_timer sets it anew */
}

void recovery_one_less(struct broker *broker)
{
	if (broker->n_awaited == 0 || --broker->n_awaited > 0)
		return;
	if (broker->recovering)
		recovery_end(broker);
	if (broker->announcing)
		announce_end(broker);
}

void announce_one_less(struct domain *domain)
{
	if (--domain->n_awaited == 0)
		links_due(domain->broker, &domain->expected);
	recovery_one_less(domain->broker);
}

void announce_domain_gone(struct domain *domain)
{
	links_due(domain->broker, &domain->expected);
}

static int broker_link_announced_new(
	struct broker *broker, const struct link_id *id, struct broker_link **ret_link)
{
	struct broker_link *link =
		broker_link_alloc(broker, BROKER_LINK_ANNOUNCED, "made before msgd's restart");

	if (!link)
		return -ENOMEM;
	link->id = *id;
	link->ends[0].domid = id->creator;
	link->ends[1].domid = id->binder;
	if (broker_link_add(link, &broker->announced) < 0) {
		broker_link_free(link);
		return -ENOMEM;
	}
	broker_link_wait(link, &broker->unsettled);
	*ret_link = link;
	return 0;
}

/* The creator's domain pays for both ends, as for any link; the binder's only until it is known. */
static int announce_charge_link(struct broker_link *link)
{
	struct domain *creator;
	struct charge charge = {.domain = NULL};
	int r;

	if (!link->ends[0].process)
		return 0;
	creator = link->ends[0].process->domain;
	r = link->charge.domain ? 0 : charge_take(&link->charge, creator, QUOTA_LINKS, NULL);
	if (r < 0 || !link->ends[1].process || link->ends[1].charge.domain == creator)
		return r;
	r = charge_take(&charge, creator, QUOTA_ENDS, NULL);
	if (r < 0)
		return r;
	charge_return(&link->ends[1].charge);
	link->ends[1].charge = charge;
	return 0;
}

static int announce_attach(struct broker *broker, struct process *process,
	const struct control_announce_link *announce, const struct link_id *id,
	struct broker_link **ret_link)
{
	struct broker_link *link;
	int r;

	HASH_FIND(hh, broker->announced, id, sizeof(*id), link);
	/* If another application of the domain says that the end is its own, this one is late. */
	if (link && link->ends[announce->role].process)
		return link->ends[announce->role].process == process ? -EPROTO : -EEXIST;
	r = link ? 0 : broker_link_announced_new(broker, id, &link);
	if (r < 0)
		return r;
	r = broker_link_end_attach(
		link, announce->role, process, announce->end, process->domain, NULL);
	if (r == 0)
		r = announce_charge_link(link);
	if (r == 0 && link->ends[0].process && link->ends[1].process)
		r = broker_link_pair_add(link);
	*ret_link = link;
	return r;
}

static const char *announce_refusal(int error)
{
	switch (error) {
	case -ENOMEM:
		return "msgd is out of memory";
	case -EEXIST:
		return "another application has announced this link";
	case -ETIMEDOUT:
		return "msgd waits for announcements no longer";
	case -EPERM:
		return "msgd has not restarted since this application attached";
	default:
		return "limit of links";
	}
}

/* Refused at once; later messages about the end are ignored. */
static void announce_refuse(
	struct process *process, uint32_t end, struct broker_link *link, int error)
{
	int said = error == -ENOMEM ? ENOBUFS : error == -EDQUOT ? EDQUOT : ECONNRESET;

	process_link_down(process, NULL, end, said, announce_refusal(error));
	if (link)
		broker_link_down(link, process, process->domain, ECONNRESET,
			error == -ENOMEM ? "msgd is out of memory"
					 : "the other end is over its limits");
}

static int announce_take_link(struct process *process, const struct control_announce_link *announce)
{
	uint16_t own = process->domain->info.domid;
	/* Zeroed whole: it is a hash key. */
	struct link_id id;
	struct link_end *taken;
	struct broker_link *link = NULL;
	int r = 0;

	memset(&id, 0, sizeof(id));
	id.uid = announce->uid;
	id.transport = announce->transport;
	id.creator = announce->role == 0 ? own : announce->peer_domid;
	id.binder = announce->role == 0 ? announce->peer_domid : own;
	HASH_FIND(hh, process->ends, &announce->end, sizeof(announce->end), taken);
	if (taken || announce->end == 0 || announce->uid == 0 || announce->role > 1)
		return -EPROTO;
	if (announce->end > process->last_end)
		process->last_end = announce->end;
	if (!process->awaited)
		r = -EPERM;
	else if (!process->broker->announcing)
		r = -ETIMEDOUT;
	if (r == 0)
		r = announce_attach(process->broker, process, announce, &id, &link);
	if (r == -EPROTO)
		return r;
	if (r < 0) {
		announce_refuse(process, announce->end, link, r);
		return 0;
	}
	link->ends[announce->role].told = true;
	link->ends[announce->role].announced_state = announce->state;
	return 0;
}

/*
 * The caller's domain pays for the channel. Until the caller's announcement is here, the listener's
 * domain pays.
 */
static int broker_channel_announce_charge(
	struct broker_channel *channel, struct process *process, bool listens)
{
	struct charge charge = {.domain = NULL};
	int r;

	if (channel->charge.domain && (listens || channel->charge.quota == QUOTA_CHANNELS))
		return 0;
	r = charge_take(&charge, process->domain, listens ? QUOTA_ANNOUNCED : QUOTA_CHANNELS, NULL);
	if (r < 0)
		return r;
	charge_replace(&channel->charge, &charge);
	return 0;
}

/* CHANNEL_GONE carries no reason: the log has it. */
static void broker_channel_log_no_memory(struct broker_link *link, uint32_t number)
{
	broker_log_about(link->broker, link->id.creator, LOG_ERR,
		"channel %u of link %016llx: msgd is out of memory", number,
		(unsigned long long)link->id.uid);
}

static int announce_channel_first(struct link_end *end, unsigned index,
	const struct control_announce_channel *announce, struct broker_channel **ret_channel)
{
	struct broker_link *link = end->link;
	bool listens = announce->listener != 0;
	struct broker_channel *channel;
	int r;

	if (HASH_COUNT(link->channels) >= LINK_CHANNELS_MAX)
		return -EDQUOT;
	r = broker_channel_add(link, announce->channel, listens ? !index : index, announce->type,
		announce->name, 0, &channel);
	if (r < 0)
		return r;
	r = broker_channel_announce_charge(channel, end->process, listens);
	if (r == 0)
		r = broker_channel_pay_argument(channel);
	if (r < 0) {
		broker_channel_free(channel);
		return r;
	}
	*ret_channel = channel;
	return 0;
}

/*
 * The other end has spoken before. If the two disagree, nobody can tell who lies: neither gets the
 * channel. Each end's later messages are held against its own words alone.
 */
static void announce_channel_second(struct broker_channel *channel, unsigned index,
	const struct control_announce_channel *announce)
{
	bool listens = announce->listener != 0;
	struct process *process = channel->link->ends[index].process;

	if (channel->type != announce->type || !!channel->claims[!index].listener == listens)
		channel->refused = true;
	else if (broker_channel_announce_charge(channel, process, listens) < 0)
		channel->refused = true;
	/* The listener's announcement counts for the name: policy protects the listener. */
	else if (listens && broker_channel_rename(channel, !index, announce->name) < 0)
		channel->refused = true;
	else if (broker_channel_pay_argument(channel) < 0)
		channel->refused = true;
}

static int announce_channel_claim(struct link_end *end, unsigned index,
	const struct control_announce_channel *announce, struct broker_channel *channel)
{
	int r;

	if (channel) {
		announce_channel_second(channel, index, announce);
	} else {
		r = announce_channel_first(end, index, announce, &channel);
		if (r < 0)
			return r;
	}
	channel->claims[index] = (struct channel_claim){
		.made = true, .accepted = announce->accepted, .listener = announce->listener};
	return 0;
}

/* Of the channel that was announced just before. */
static int announce_take_terms(struct process *process, const struct control_terms *terms)
{
	struct link_end *end;
	struct broker_channel *channel;
	unsigned index;
	int r = process_end(process, terms->end, &end);

	if (r < 0 || !end)
		return r;
	index = end == &end->link->ends[0] ? 0 : 1;
	if (terms->channel == 0 || end->link->state != BROKER_LINK_ANNOUNCED)
		return -EPROTO;
	HASH_FIND(hh, end->link->channels, &terms->channel, sizeof(terms->channel), channel);
	/* There was no room for it: the application is told so already. */
	if (!channel || !channel->claims[index].made)
		return terms->channel <= end->last_channel ? 0 : -EPROTO;
	channel->claims[index].direction =
		(uint8_t)terms_direction_of(terms->direction, channel->claims[index].listener == 0);
	return 0;
}

static int announce_take_channel(
	struct process *process, const struct control_announce_channel *announce)
{
	struct link_end *end;
	struct broker_channel *channel;
	unsigned index;
	int r = process_end(process, announce->end, &end);

	if (r < 0 || !end)
		return r;
	index = end == &end->link->ends[0] ? 0 : 1;
	if (announce->channel == 0 || end->link->state != BROKER_LINK_ANNOUNCED)
		return -EPROTO;
	HASH_FIND(hh, end->link->channels, &announce->channel, sizeof(announce->channel), channel);
	if (channel && channel->claims[index].made)
		return -EEXIST;
	if (announce->channel > end->last_channel)
		end->last_channel = announce->channel;
	r = announce_channel_claim(end, index, announce, channel);
	if (r == 0)
		return 0;
	if (r == -ENOMEM)
		broker_channel_log_no_memory(end->link, announce->channel);
	process_channel_gone(process, NULL, end->number, announce->channel);
	return 0;
}

/* All has been said about the process's links: those that waited for this are looked at. */
static void announce_done(struct process *process)
{
	struct link_end *end;

	process_set_state(process, PROCESS_READY);
	for (end = process->ends; end; end = end->hh.next) {
		process->broker->cost++;
		if (end->link->state == BROKER_LINK_ANNOUNCED)
			broker_link_wait(end->link, &process->broker->due);
	}
	process_not_awaited(process);
}

int announce_message(struct process *process, const struct control_message *message)
{
	if (process->state != PROCESS_ANNOUNCING)
		return -EPROTO;
	switch (message->type) {
	case CONTROL_ANNOUNCE_LINK:
		return announce_take_link(process, &message->announce_link);
	case CONTROL_ANNOUNCE_CHANNEL:
		return announce_take_channel(process, &message->announce_channel);
	case CONTROL_ANNOUNCE_TERMS:
		return announce_take_terms(process, &message->announce_terms);
	default:
		announce_done(process);
		return 0;
	}
}

/* The listener of an end's channel, by its own words; NULL: the name is lost. */
static struct listener *broker_channel_claimed(const struct broker_channel *channel, unsigned end)
{
	struct process *process = channel->link->ends[end].process;
	const struct channel_claim *claim = &channel->claims[end];
	struct listener *listener;

	HASH_FIND(hh, process->listeners, &claim->listener, sizeof(claim->listener), listener);
	return listener;
}

/* Both ends have said all. A channel that one of them does not know, or not so, is no channel. */
static void broker_channel_settle(struct broker_channel *channel)
{
	bool both = channel->claims[0].made && channel->claims[1].made &&
		    channel->claims[0].direction == channel->claims[1].direction;
	struct listener *listener;

	broker_channel_unoffer(channel); /* of one end's words */
	if (!both || channel->refused) {
		broker_channel_gone(channel,
			(channel->claims[0].made ? 1U : 0U) | (channel->claims[1].made ? 2U : 0U),
			both ? "its two ends announced it differently"
			     : "only one end announced it after msgd's restart",
			NULL);
		return;
	}
	channel->direction = channel->claims[0].direction;
	channel->accepted = channel->claims[!channel->caller].accepted;
	listener = broker_channel_claimed(channel, !channel->caller);
	if (channel->accepted || channel->confirmed[!channel->caller] || !listener)
		broker_channel_set_state(channel, BROKER_CHANNEL_OPEN);
	else
		broker_channel_offer(channel, listener);
	if (channel->confirmed[0] || channel->confirmed[1])
		broker_channel_set_state(channel, BROKER_CHANNEL_CLOSING);
	broker_channel_repay_caller(channel);
}

static void broker_link_settle_channels(struct broker_link *link)
{
	struct broker_channel *channel, *next;

	/* A number that either end knew is not given again before it is sure to be forgotten. */
	link->last_channel = max_u32(link->ends[0].last_channel, link->ends[1].last_channel);
	/* As many as the quotas and bytes of two domains hold, LINK_CHANNELS_MAX at most. */
	link->broker->cost += COST_OBJECT * HASH_COUNT(link->channels);
	HASH_ITER (hh, link->channels, channel, next)
		broker_channel_settle(channel);
	rejudge_link(link);
}

static void broker_link_settle(struct broker_link *link)
{
	/* LINK_UP came after LINK_READY: if the creator has seen it, both ends are ready. */
	if (link->ends[0].announced_state != 1) {
		broker_link_down(
			link, NULL, NULL, ECONNRESET, "msgd restarted while the link was made");
		return;
	}
	if (broker_link_settled(link) < 0) {
		broker_link_down(link, NULL, NULL, ENOBUFS, "msgd is out of memory");
		return;
	}
	broker_link_set_state(link, BROKER_LINK_UP);
	/*
	 * The former msgd knew why there was no Argo. This one finds the reason again if it still
	 * holds.
	 */
	if (link->id.transport == TRANSPORT_GRANT &&
		broker_link_argo_missing(link->ends[0].process, link->why) == 0)
		(void)broker_link_argo_missing(link->ends[1].process, link->why);
	while (!TAILQ_EMPTY(&link->waiting))
		broker_request_set_state(TAILQ_FIRST(&link->waiting), BROKER_REQUEST_RETRY, NULL);
	broker_link_settle_channels(link);
}

static void broker_channel_wait(struct broker_channel *channel, unsigned end)
{
	const struct process *process = channel->link->ends[end].process;
	const struct channel_claim *claim = &channel->claims[end];
	struct listener *listener;

	if (!claim->listener || claim->accepted || channel->confirmed[end] ||
		process->state != PROCESS_READY || channel->listener)
		return;
	listener = broker_channel_claimed(channel, end);
	if (listener)
		broker_channel_take_place(channel, listener);
}

/*
 * The link waits for one end. Meanwhile the channels of the other end that wait in a backlog have
 * their places there, by its words: its listener has no room for more.
 */
static void broker_link_wait_for_end(struct broker_link *link, struct broker_link_list *list)
{
	struct broker_channel *channel;

	broker_link_wait(link, list);
	link->broker->cost += 2 * COST_OBJECT * HASH_COUNT(link->channels);
	for (channel = link->channels; channel; channel = channel->hh.next) {
		for (unsigned i = 0; i < 2; i++)
			broker_channel_wait(channel, i);
	}
}

/* Settles the link, or ends it, or has it wait for what may still decide about it. */
static void broker_link_decide(struct broker_link *link)
{
	struct broker *broker = link->broker;
	struct process *creator = link->ends[0].process, *binder = link->ends[1].process;
	bool silent = (creator && creator->state != PROCESS_READY) ||
		      (binder && binder->state != PROCESS_READY);
	struct domain *absent = NULL;

	if (!creator || !binder)
		absent = domain_find(broker, link->ends[creator ? 1 : 0].domid);
	if (creator && binder && !silent)
		broker_link_settle(link);
	else if (broker->recovering || (broker->announcing && silent))
		broker_link_wait_for_end(link, &broker->unsettled);
	else if (silent)
		broker_link_down(link, NULL, NULL, ECONNRESET, "one end has not come back in time");
	/*
	 * An application that was found at start and has said nothing may be busy: it is not taken
	 * for dead before the time is over.
	 */
	else if (broker->announcing && absent && absent->n_awaited)
		broker_link_wait_for_end(link, &absent->expected);
	else
		broker_link_down(link, NULL, NULL, ECONNRESET, "the other end did not come back");
}

bool announce_work(struct broker *broker)
{
	struct broker_link *link = TAILQ_FIRST(&broker->due);

	if (!link)
		return false;
	broker->cost += COST_OBJECT;
	broker_link_decide(link);
	return true;
}
