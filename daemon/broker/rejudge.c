/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Judging again: see the header. Each object has the generation of the facts by which it was judged
 * last, and the list of its kind is in that order. So a change of the facts costs one addition, and
 * the objects that are still to be judged are the first ones. Until its turn comes, a channel that
 * is not permitted any more stands; new connects are judged by the new facts at once.
 */
#include "daemon/broker/rejudge.h"

#include <errno.h>
#include <syslog.h>

#include "daemon/broker/channel.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/link.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/process.h"
#include "daemon/broker/request.h"
#include "daemon/broker/state.h"

void rejudge_all(struct broker *broker)
{
	broker->generation++;
	broker_request_all_awake(broker);
	watch_all_again(broker);
}

void rejudge_link(struct broker_link *link)
{
	struct broker *broker = link->broker;

	link->generation = 0;
	TAILQ_REMOVE(&broker->links_by_judgement, link, judgement_entry);
	TAILQ_INSERT_HEAD(&broker->links_by_judgement, link, judgement_entry);
}

static bool channel_permitted(
	const struct broker_channel *channel, struct policy_verdict *ret_verdict)
{
	struct broker_link *link = channel->link;
	struct broker *broker = link->broker;
	const struct domain *caller = link->ends[channel->caller].process->domain;
	const struct domain *holder = link->ends[!channel->caller].process->domain;
	struct policy_subject from = domain_subject(caller), to = domain_subject(holder);

	broker->cost += policy_judge(broker->policy, broker_channel_name(channel), &from, &to,
		POLICY_EXACT, ret_verdict);
	return ret_verdict->allow && ret_verdict->direction == channel->direction &&
	       (ret_verdict->transport == TRANSPORT_ANY ||
		       ret_verdict->transport == link->id.transport);
}

/* Both ends of a channel that is not permitted any more are told that it is gone. */
static void channel_judge(struct broker_channel *channel)
{
	struct broker_link *link = channel->link;
	struct domain *caller = link->ends[channel->caller].process->domain;
	const struct domain *holder = link->ends[!channel->caller].process->domain;
	struct policy_verdict verdict;
	char rule[128];

	if (channel_permitted(channel, &verdict)) {
		channel->generation = link->broker->generation;
		TAILQ_REMOVE(&link->by_judgement, channel, judgement_entry);
		TAILQ_INSERT_TAIL(&link->by_judgement, channel, judgement_entry);
		return;
	}
	policy_verdict_rule(&verdict, rule, sizeof(rule));
	domain_log(caller, LOG_NOTICE,
		"channel %u of link %016llx, %s(%u) to %s/%s: no longer permitted (%s)",
		channel->number, (unsigned long long)link->id.uid, caller->info.name,
		caller->info.domid, holder->info.name, broker_channel_name(channel), rule);
	link->denied = true;
	broker_channel_gone(channel, 3, "no longer permitted");
}

/* Its channels are judged. A link none of whose channels is permitted any more ends. */
static void link_judged(struct broker_link *link)
{
	struct broker *broker = link->broker;

	if (link->denied && !link->channels) {
		broker_link_down(link, NULL, NULL, EACCES, "denied by policy");
		return;
	}
	link->denied = false;
	link->generation = broker->generation;
	TAILQ_REMOVE(&broker->links_by_judgement, link, judgement_entry);
	TAILQ_INSERT_TAIL(&broker->links_by_judgement, link, judgement_entry);
}

bool rejudge_known(struct broker *broker)
{
	struct domain *domain = TAILQ_FIRST(&broker->domains_by_known);
	struct policy_subject subject;

	if (!domain || domain->known_generation == broker->generation)
		return false;
	subject = domain_subject(domain);
	broker->cost += policy_known_make(broker->policy, &subject);
	domain->known_generation = broker->generation;
	TAILQ_REMOVE(&broker->domains_by_known, domain, known_entry);
	TAILQ_INSERT_TAIL(&broker->domains_by_known, domain, known_entry);
	return true;
}

bool rejudge_work_left(const struct broker *broker)
{
	const struct listener *listener = TAILQ_FIRST(&broker->names_by_judgement);
	const struct broker_link *link = TAILQ_FIRST(&broker->links_by_judgement);
	const struct domain *domain = TAILQ_FIRST(&broker->domains_by_known);

	return (domain && domain->known_generation != broker->generation) ||
	       (listener && listener->generation != broker->generation) ||
	       (link && link->generation != broker->generation);
}

bool rejudge_work(struct broker *broker)
{
	struct listener *listener = TAILQ_FIRST(&broker->names_by_judgement);
	struct broker_link *link = TAILQ_FIRST(&broker->links_by_judgement);
	struct broker_channel *channel;

	if (rejudge_known(broker))
		return true;
	if (!rejudge_work_left(broker))
		return false;
	broker->cost += COST_OBJECT;
	if (listener && listener->generation != broker->generation) {
		listener_judge(listener);
		return true;
	}
	channel = TAILQ_FIRST(&link->by_judgement);
	/* A link that is only announced is judged when it has come up (rejudge_link). */
	if (link->state == BROKER_LINK_UP && channel && channel->generation != broker->generation)
		channel_judge(channel);
	else
		link_judged(link);
	return true;
}
