/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Judging again: see the header. Each object has the generation of the facts by which it was judged
 * last, and the list of its kind is in that order. So a change of the facts costs one addition, and
 * the objects that are still to be judged are the first ones. Until its turn comes, a channel that
 * is not permitted any more stands; new connects are judged by the new facts at once.
 */
#include "daemon/broker/rejudge.h"

#include <errno.h>
#include <stdlib.h>
#include <syslog.h>

#include "base/cleanup.h"
#include "daemon/broker/channel.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/link.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/lookup.h"
#include "daemon/broker/message-id.h"
#include "daemon/broker/note.h"
#include "daemon/broker/process.h"
#include "daemon/broker/request.h"
#include "daemon/broker/state.h"

void rejudge_all(struct broker *broker)
{
	broker->generation++;
	ahead_end_all(broker);
	broker_request_all_awake(broker);
	watch_all_again(broker);
}

bool rejudge_conditions(struct broker *broker, struct policy *policy)
{
	struct domain *domain, *next;

	policy_conditions_begin(policy);
	HASH_ITER (hh, broker->domains, domain, next) {
		struct policy_subject subject = domain_subject(domain);

		if (domain->info.state == BROKER_DOMAIN_RUNNING)
			broker->cost += policy_conditions_domain(policy, &subject);
	}
	return policy_conditions_end(policy);
}

/*
 * With redirects, an address that leads elsewhere by rules on a fact of the domain that it names
 * may not do so before that domain is there, nor after.
 */
void rejudge_domains_changed(struct broker *broker)
{
	bool changed = rejudge_conditions(broker, broker->policy);

	if (changed || policy_has_redirects(broker->policy))
		rejudge_all(broker);
}

void rejudge_link(struct broker_link *link)
{
	struct broker *broker = link->broker;

	link->generation = 0;
	TAILQ_REMOVE(&broker->links_by_judgement, link, judgement_entry);
	TAILQ_INSERT_HEAD(&broker->links_by_judgement, link, judgement_entry);
}

void rejudge_channel(struct broker_channel *channel)
{
	struct broker_link *link = channel->link;

	channel->generation = 0;
	TAILQ_REMOVE(&link->by_judgement, channel, judgement_entry);
	TAILQ_INSERT_HEAD(&link->by_judgement, channel, judgement_entry);
	rejudge_link(link);
}

/* Whether a connect with this verdict could make the channel as it is. */
static bool channel_fits(const struct policy_verdict *verdict, const void *arg)
{
	const struct broker_channel *channel = arg;

	return verdict->allow && verdict->direction == channel->direction &&
	       (verdict->transport == TRANSPORT_ANY ||
		       verdict->transport == channel->link->id.transport);
}

/* Whether it can have come by a redirect: its address is not known any more. */
static bool channel_redirected(const struct broker_channel *channel, const struct policy *policy,
	const struct policy_named *named, const struct policy_subject *from,
	const struct policy_subject *to, struct policy_verdict *verdict)
{
	struct broker *broker = channel->link->broker;
	_cleanup_free_ struct policy_subject *subjects = NULL;
	struct domain *domain, *next;
	size_t n = 0;

	if (!policy_has_redirects(policy))
		return false;
	broker->cost += HASH_COUNT(broker->domains);
	subjects = calloc(HASH_COUNT(broker->domains), sizeof(*subjects));
	if (!subjects)
		return false;
	HASH_ITER (hh, broker->domains, domain, next)
		if (!domain_is_dead(&domain->info))
			subjects[n++] = domain_subject(domain);
	return policy_redirects(policy,
		&(struct policy_redirection){.named = named,
			.caller = from,
			.holder = to,
			.domains = subjects,
			.n_domains = n,
			.fits = channel_fits,
			.arg = channel},
		&broker->cost, verdict);
}

bool rejudge_would_permit(const struct broker_channel *channel, const struct policy *policy,
	struct policy_verdict *ret_verdict)
{
	struct broker_link *link = channel->link;
	struct broker *broker = link->broker;
	const struct domain *caller = link->ends[channel->caller].process->domain;
	const struct domain *holder = link->ends[!channel->caller].process->domain;
	struct policy_subject from = domain_subject(caller), to = domain_subject(holder);
	struct policy_named named;

	broker->cost += policy_find(policy, broker_channel_name(channel), true, &named);
	broker->cost += policy_judge_named(policy, &named, &from, &to, POLICY_EXACT, ret_verdict);
	return (channel_fits(ret_verdict, channel) && lookup_stays(ret_verdict, holder)) ||
	       channel_redirected(channel, policy, &named, &from, &to, ret_verdict);
}

/* Both ends of a channel that is not permitted any more are told that it is gone. */
static void channel_judge(struct broker_channel *channel)
{
	struct broker_link *link = channel->link;
	struct domain *caller = link->ends[channel->caller].process->domain;
	const struct domain *holder = link->ends[!channel->caller].process->domain;
	struct history_event event = {.kind = HISTORY_KINDS};
	struct policy_verdict verdict;
	char rule[128];
	struct broker_line line = {.id = MESSAGE_ID_CHANNEL_REVOKED,
		.event = &event,
		.rule = rule,
		.transport = transport_name(link->id.transport)};

	/* It was asked back, and is judged if it is used all the same. */
	if (channel->ahead || rejudge_would_permit(channel, link->broker->policy, &verdict)) {
		if (!channel->ahead)
			capture_judged(channel, &verdict);
		broker_channel_is_judged(channel);
		return;
	}
	policy_verdict_rule(&verdict, rule, sizeof(rule));
	note_of_channel(&event, channel, &link->ends[channel->caller]);
	domain_log_line(caller, LOG_NOTICE, &line,
		"channel %u of link %016llx, %s(%u) to %s/%s: no longer permitted (%s)",
		channel->number, (unsigned long long)link->id.uid, caller->info.name,
		caller->info.domid, holder->info.name, broker_channel_name(channel), rule);
	link->denied = true;
	link->broker->judged.channels++;
	broker_channel_gone(channel, 3, "no longer permitted", rule);
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
