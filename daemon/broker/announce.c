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

#include "daemon/broker/channel.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/link.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/process.h"
#include "daemon/broker/request.h"
#include "daemon/broker/state.h"

void broker_recover(struct broker *broker, uint32_t n_records)
{
	if (n_records == 0)
		return;
	broker->recovering = true;
	broker->n_awaited = n_records;
	broker->ops->timer(broker->arg, broker->now_ns + RECOVERY_NS);
	broker_log(
		broker, LOG_INFO, "%u applications were here before: waiting for them", n_records);
}

void recovery_end(struct broker *broker)
{
	broker->recovering = false;
	broker->settle = true;
	if (broker->ops)
		broker->ops->timer(broker->arg, 0);
	if (broker->n_awaited)
		broker_log(broker, LOG_NOTICE, "%u applications have not come back in time",
			broker->n_awaited);
	while (!TAILQ_EMPTY(&broker->held))
		broker_request_set_state(TAILQ_FIRST(&broker->held), BROKER_REQUEST_RETRY, NULL);
}

void recovery_one_less(struct broker *broker)
{
	if (broker->n_awaited == 0)
		return;
	if (--broker->n_awaited == 0 && broker->recovering)
		recovery_end(broker);
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
	if (broker_link_add(link) < 0) {
		broker_link_free(link);
		return -ENOMEM;
	}
	broker->n_unsettled++;
	*ret_link = link;
	return 0;
}

static int announce_take_link(struct process *process, const struct control_announce_link *announce)
{
	struct broker *broker = process->broker;
	uint16_t own = process->domain->info.domid;
	/* Zeroed whole: it is a hash key. */
	struct link_id id;
	struct link_end *taken;
	struct broker_link *link;
	int r;

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
	HASH_FIND(hh, broker->links, &id, sizeof(id), link);
	if (link && (link->state != BROKER_LINK_ANNOUNCED || link->ends[announce->role].process))
		return -EEXIST;
	r = link ? 0 : broker_link_announced_new(broker, &id, &link);
	if (r == 0)
		r = broker_link_end_attach(link, announce->role, process, announce->end);
	if (r == 0 && announce->role == 0)
		r = charge_take(&link->charge, process->domain, QUOTA_LINKS, NULL);
	if (r == 0 && link->ends[0].process && link->ends[1].process)
		r = broker_link_pair_add(link);
	if (r < 0) {
		/* The link is refused at once, and later messages about it are ignored. */
		process_link_down(process, announce->end, r == -ENOMEM ? ENOBUFS : EDQUOT,
			r == -ENOMEM ? "msgd is out of memory" : "limit of links");
		if (link)
			broker_link_down(link, process, ECONNRESET,
				r == -ENOMEM ? "msgd is out of memory"
					     : "the other end is over its limits");
		return 0;
	}
	link->ends[announce->role].told = true;
	link->ends[announce->role].announced_state = announce->state;
	return 0;
}

/*
 * The caller's domain pays for the channel. Until the caller's announcement is here, the listener's
 * domain pays, from a larger quota.
 */
static int broker_channel_announce_charge(
	struct broker_channel *channel, struct process *process, unsigned index)
{
	bool caller = channel->caller == index;

	if (channel->charge.domain && !caller)
		return 0;
	charge_return(&channel->charge);
	return charge_take(
		&channel->charge, process->domain, caller ? QUOTA_CHANNELS : QUOTA_ANNOUNCED, NULL);
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
	struct broker_channel *channel;
	int r;

	if (HASH_COUNT(link->channels) >= LINK_CHANNELS_MAX)
		return -EDQUOT;
	r = broker_channel_add(link, announce->channel, announce->listener ? !index : index,
		announce->type, announce->name, &channel);
	if (r < 0)
		return r;
	r = broker_channel_announce_charge(channel, end->process, index);
	if (r < 0) {
		broker_channel_free(channel);
		return r;
	}
	*ret_channel = channel;
	return 0;
}

static int announce_take_channel(
	struct process *process, const struct control_announce_channel *announce)
{
	struct link_end *end;
	struct broker_channel *channel;
	struct broker_link *link;
	unsigned index;
	int r = process_end(process, announce->end, &end);

	if (r < 0 || !end)
		return r;
	link = end->link;
	index = end == &link->ends[0] ? 0 : 1;
	if (announce->channel == 0 || link->state != BROKER_LINK_ANNOUNCED)
		return -EPROTO;
	if (announce->channel > link->last_channel)
		link->last_channel = announce->channel;
	HASH_FIND(hh, link->channels, &announce->channel, sizeof(announce->channel), channel);
	if (channel && channel->announced[index])
		return -EEXIST;
	if (!channel) {
		r = announce_channel_first(end, index, announce, &channel);
		if (r < 0) {
			if (r == -ENOMEM)
				broker_channel_log_no_memory(link, announce->channel);
			process_channel_gone(process, end->number, announce->channel);
			return 0;
		}
	} else {
		/* The two ends disagree, and nobody can tell who lies: neither gets it. */
		if (channel->type != announce->type ||
			channel->caller != (announce->listener ? !index : index))
			channel->refused = true;
		if (broker_channel_announce_charge(channel, process, index) < 0)
			channel->refused = true;
	}
	channel->announced[index] = true;
	if (announce->listener) {
		/* The listener's announcement counts here: policy protects the listener. */
		channel->handle = announce->listener;
		channel->accepted = announce->accepted;
		(void)snprintf(channel->name, sizeof(channel->name), "%s", announce->name);
	}
	return 0;
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
	default:
		process_set_state(process, PROCESS_READY);
		process_not_awaited(process);
		process->broker->settle = true;
		return 0;
	}
}

/* False: policy does not permit the channel any more, and both ends were told that it is gone. */
static bool broker_channel_judge(struct broker_channel *channel)
{
	struct broker_link *link = channel->link;
	struct broker *broker = link->broker;
	const struct domain *caller = link->ends[channel->caller].process->domain;
	const struct domain *holder = link->ends[!channel->caller].process->domain;
	struct policy_subject from = domain_subject(caller), to = domain_subject(holder);
	struct policy_verdict verdict;
	char rule[128];

	policy_judge(broker->policy, channel->name, &from, &to, POLICY_EXACT, &verdict);
	if (verdict.allow &&
		(verdict.transport == TRANSPORT_ANY || verdict.transport == link->id.transport))
		return true;
	policy_verdict_rule(&verdict, rule, sizeof(rule));
	broker_log_about(broker, caller->info.domid, LOG_NOTICE,
		"channel %u of link %016llx, %s(%u) to %s/%s: no longer permitted (%s)",
		channel->number, (unsigned long long)link->id.uid, caller->info.name,
		caller->info.domid, holder->info.name, channel->name, rule);
	broker_channel_gone(channel, 3);
	return false;
}

static void broker_channel_settle(struct broker_channel *channel)
{
	struct broker_link *link = channel->link;
	struct process *holder = link->ends[!channel->caller].process;
	struct tally_key key = {
		.caller = link->ends[channel->caller].domid,
		.target = link->ends[!channel->caller].domid,
	};
	struct listener *listener;

	if (!channel->announced[0] || !channel->announced[1] || channel->refused) {
		broker_channel_gone(channel,
			(channel->announced[0] ? 1U : 0U) | (channel->announced[1] ? 2U : 0U));
		return;
	}
	memcpy(key.name, channel->name, sizeof(key.name));
	if (tally_take(link->broker, &key, 0, &channel->tally) < 0) {
		broker_channel_log_no_memory(link, channel->number);
		broker_channel_gone(channel, 3);
		return;
	}
	HASH_FIND(hh, holder->listeners, &channel->handle, sizeof(channel->handle), listener);
	if (channel->accepted || channel->confirmed[!channel->caller] || !listener)
		broker_channel_set_state(channel, BROKER_CHANNEL_OPEN);
	else
		broker_channel_offer(channel, listener);
	if (channel->confirmed[0] || channel->confirmed[1])
		broker_channel_set_state(channel, BROKER_CHANNEL_CLOSING);
}

static void broker_link_judge(struct broker_link *link)
{
	struct broker_channel *channel, *next;
	unsigned n = 0, n_left = 0;

	HASH_ITER (hh, link->channels, channel, next) {
		n++;
		if (broker_channel_judge(channel))
			n_left++;
	}
	if (n > 0 && n_left == 0)
		broker_link_down(link, NULL, EACCES, "denied by policy");
}

static void broker_link_settle(struct broker_link *link)
{
	struct broker_channel *channel, *next;

	/* LINK_UP came after LINK_READY: if the creator has seen it, both ends are ready. */
	if (link->ends[0].announced_state != 1) {
		broker_link_down(link, NULL, ECONNRESET, "msgd restarted while the link was made");
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
	HASH_ITER (hh, link->channels, channel, next)
		broker_channel_settle(channel);
	while (!TAILQ_EMPTY(&link->waiting))
		broker_request_set_state(TAILQ_FIRST(&link->waiting), BROKER_REQUEST_RETRY, NULL);
	broker_link_judge(link);
}

/* Whether a process of this domain may still announce the other end of a link. */
static bool domain_may_announce(struct broker *broker, uint16_t domid)
{
	const struct domain *domain = domain_find(broker, domid);
	const struct process *process;

	if (!domain)
		return false;
	TAILQ_FOREACH (process, &domain->processes, entry) {
		if (process->awaited || process->state == PROCESS_ANNOUNCING)
			return true;
	}
	return false;
}

void announce_settle(struct broker *broker)
{
	struct broker_link *link, *next;

	broker->settle = false;
	if (broker->n_unsettled == 0)
		return;
	HASH_ITER (hh, broker->links, link, next) {
		struct process *creator = link->ends[0].process, *binder = link->ends[1].process;
		unsigned absent = creator ? 1 : 0;

		if (link->state != BROKER_LINK_ANNOUNCED)
			continue;
		if ((creator && creator->state != PROCESS_READY) ||
			(binder && binder->state != PROCESS_READY))
			continue;
		if (creator && binder) {
			broker_link_settle(link);
			continue;
		}
		/*
		 * An application that was found at start and has said nothing may be busy: it is
		 * not taken for dead, however long it takes.
		 */
		if (broker->recovering || domain_may_announce(broker, link->ends[absent].domid))
			continue;
		broker_link_down(link, NULL, ECONNRESET, "the other end did not come back");
	}
}

void announce_judge(struct broker *broker)
{
	struct listener *listener, *next_listener;
	struct domain *domain, *next_domain;
	struct broker_link *link, *next;

	HASH_ITER (hh, broker->links, link, next) {
		if (link->state == BROKER_LINK_UP)
			broker_link_judge(link);
	}
	HASH_ITER (hh, broker->domains, domain, next_domain) {
		HASH_ITER (hh_name, domain->listeners, listener, next_listener) {
			if (!listener_permitted(listener))
				domain_log(domain, LOG_NOTICE,
					"%s/%s: no longer permitted, and not found any more",
					domain->info.name, listener->name);
		}
	}
}
