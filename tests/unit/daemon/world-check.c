/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The broker's invariants, checked from outside of it by walking its objects: charges add up,
 * back pointers agree, no object of a dead process is left.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/broker/channel.h"
#include "daemon/broker/connects.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/former.h"
#include "daemon/broker/link.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/lookup.h"
#include "daemon/broker/process.h"
#include "daemon/broker/quiesce.h"
#include "daemon/broker/request.h"
#include "daemon/broker/state.h"
#include "tests/unit/daemon/world.h"

#define REQUIRE(condition)                                                                         \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: broken invariant: %s\n", __FILE__, __LINE__,       \
				#condition);                                                       \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#define CHECK_DOMAINS 65536

static uint32_t (*sums)[QUOTA_COUNT]; /* by domid */
static uint32_t *extra;		      /* bytes of charges beside those, by domid */
static uint32_t *waiting;	      /* bytes of messages, by the payer's domid */
static uint32_t *watched;	      /* bytes of names that were told, likewise */

static void add(const struct charge *charge)
{
	if (!charge->domain)
		return;
	sums[charge->domain->info.domid][charge->quota]++;
	extra[charge->domain->info.domid] += charge->extra;
}

static void check_outbox(const struct process *process)
{
	const struct outbox_message *out;
	uint32_t own = 0;

	TAILQ_FOREACH (out, &process->outbox, entry) {
		REQUIRE(out->process == process);
		REQUIRE(!out->end || (out->end->unsent == out && out->end->process == process));
		REQUIRE(domain_pair_find(out->pair->domain, process->domain) == out->pair);
		waiting[out->pair->domain->info.domid] += out->bytes;
		if (out->pair->domain == process->domain)
			own += out->bytes;
	}
	REQUIRE(own == process->own_bytes);
}

static void check_domain_bytes(const struct domain *domain)
{
	const struct domain_pair *pair;
	uint32_t bytes = waiting[domain->info.domid] + watched[domain->info.domid] +
			 extra[domain->info.domid] + domain->errands.bytes,
		 in_pairs = domain->own.outbox_bytes;

	for (pair = domain->pairs; pair; pair = pair->hh.next) {
		REQUIRE(pair->domain == domain);
		in_pairs += pair->outbox_bytes;
	}
	REQUIRE(in_pairs == waiting[domain->info.domid]);
	for (int i = 0; i < QUOTA_COUNT; i++)
		bytes += domain->used[i] * quota_bytes((enum quota)i);
	bytes += HASH_COUNT(domain->connects) * CONNECTS_BYTES;
	bytes += HASH_COUNT(domain->formers) * FORMER_BYTES;
	REQUIRE(domain->bytes == bytes);
}

static void check_place(const struct broker_channel *channel, const struct listener *listener)
{
	const struct link_end *ends = channel->link->ends;
	unsigned end = ends[!channel->caller].process == listener->process ? !channel->caller
									   : channel->caller;
	const struct channel_claim *claim = &channel->claims[end];

	REQUIRE(channel->listener == listener);
	REQUIRE(ends[end].process == listener->process && !channel->confirmed[end]);
	if (channel->state == BROKER_CHANNEL_ANNOUNCED)
		REQUIRE(claim->listener == listener->handle && !claim->accepted);
	else
		REQUIRE(end != channel->caller &&
			(channel->state == BROKER_CHANNEL_OFFERED ||
				channel->state == BROKER_CHANNEL_CLOSING));
}

/* Its application was told of all that it may connect to, unless the watch is blocked. */
static void check_watch(const struct watch *watch)
{
	const struct broker *broker = watch->broker;
	const struct watch_told *told;
	const struct listener *listener;
	uint32_t bytes = 0;
	unsigned n = 0;

	REQUIRE(watch->state == WATCH_BLOCKED || watch->state == WATCH_IDLE);
	TAILQ_FOREACH (listener, &broker->names, age_entry)
		n += listener == watch->next;
	REQUIRE(n == (watch->state == WATCH_BLOCKED && watch->next));
	n = 0;
	for (told = watch->told; told; told = told->hh.next) {
		REQUIRE(told->watch == watch && told->listener);
		bytes += told->bytes;
	}
	TAILQ_FOREACH (told, &watch->gone, gone_entry) {
		REQUIRE(told->watch == watch && !told->listener);
		REQUIRE(watch->state == WATCH_BLOCKED);
		bytes += told->bytes;
	}
	REQUIRE(bytes == watch->bytes);
	watched[watch->domain->info.domid] += bytes;
	add(&watch->charge);
	REQUIRE(watch->state == WATCH_BLOCKED || watch->done != broker->recovering);
	if (watch->state == WATCH_BLOCKED)
		return;
	TAILQ_FOREACH (listener, &broker->names, age_entry) {
		const char *domain = listener->process->domain->info.name;
		bool wanted = policy_glob(watch->name_glob, listener->name) &&
			      lookup_permits(watch->process, listener);

		if (wanted && strncmp(watch->domain_glob, "domid:", 6) == 0)
			wanted = watch->domain_glob[6] == '?' &&
				 listener->process->domain->info.domid < 10;
		else if (wanted && watch->domain_glob[0])
			wanted = policy_glob(watch->domain_glob, domain);
		HASH_FIND_PTR(watch->told, &listener, told);
		REQUIRE(wanted == !!told);
		n += wanted;
	}
	REQUIRE(n == HASH_COUNT(watch->told));
}

static void check_process(const struct process *process)
{
	const struct watch *watch;
	const struct listener *listener;
	const struct broker_request *request;
	const struct link_end *end;

	REQUIRE(process->state != PROCESS_GONE && process->state != PROCESS_PARKED);
	REQUIRE(process->peer);
	if (process->state == PROCESS_QUIESCING)
		REQUIRE(!process->ends && !process->listeners && !process->requests &&
			!process->watches && !process->awaited);
	else
		REQUIRE(!domain_is_quiesced(process->domain) || process->state == PROCESS_NEW);
	REQUIRE(process->charge.domain
			? process->charge.domain == process->domain
			: process->state == PROCESS_NEW || process->state == PROCESS_QUIESCING);
	add(&process->charge);
	check_outbox(process);
	for (listener = process->listeners; listener; listener = listener->hh.next) {
		const struct broker_channel *channel;
		uint32_t n = 0;

		REQUIRE(listener->process == process);
		REQUIRE(listener_find(process->domain, listener->name) == listener);
		LIST_FOREACH (channel, &listener->offered, offered) {
			check_place(channel, listener);
			n++;
		}
		REQUIRE(n == listener->n_offered + listener->n_beside);
		REQUIRE(listener->n_beside <= listener->backlog / 2);
		add(&listener->charge);
	}
	for (request = process->requests; request; request = request->hh.next) {
		REQUIRE(request->process == process);
		REQUIRE(request->state == BROKER_REQUEST_HELD ||
			request->state == BROKER_REQUEST_NAME ||
			request->state == BROKER_REQUEST_ASKED ||
			request->state == BROKER_REQUEST_STARTING ||
			request->state == BROKER_REQUEST_LINK);
		REQUIRE(request->state != BROKER_REQUEST_HELD || process->broker->recovering);
		REQUIRE(request->state != BROKER_REQUEST_ASKED || request->asked.errand);
		REQUIRE(request->state != BROKER_REQUEST_STARTING || request->start.errand);
		add(&request->charge);
	}
	for (watch = process->watches; watch; watch = watch->hh.next) {
		REQUIRE(watch->process == process && watch->domain == process->domain);
		check_watch(watch);
	}
	for (end = process->ends; end; end = end->hh.next) {
		REQUIRE(end->process == process);
		REQUIRE(end->charge.domain == (end->link->ends[0].process
							      ? end->link->ends[0].process->domain
							      : process->domain));
		add(&end->charge);
	}
}

static void check_channel_state(const struct broker_channel *channel)
{
	bool announced = channel->state == BROKER_CHANNEL_ANNOUNCED;

	REQUIRE(announced == (channel->link->state == BROKER_LINK_ANNOUNCED));
	REQUIRE(announced || channel->link->state == BROKER_LINK_UP);
	REQUIRE(announced || (channel->state == BROKER_CHANNEL_CLOSING) ==
				     (channel->confirmed[0] || channel->confirmed[1]));
	if (channel->state == BROKER_CHANNEL_OPEN || channel->accepted)
		REQUIRE(!channel->listener);
}

/* A channel that its caller's end has closed is paid for by the listener's domain, or waits. */
static void check_channel_charge(const struct broker_channel *channel)
{
	bool of_caller = channel->charge.quota == QUOTA_CHANNELS;
	unsigned payer = of_caller ? channel->caller : !channel->caller;

	REQUIRE(channel->charge.domain == channel->link->ends[payer].process->domain);
	REQUIRE(of_caller || channel->confirmed[channel->caller]);
	REQUIRE(channel->unpaid ==
		(of_caller && channel->confirmed[channel->caller] && !channel->listener));
}

/* Nobody has spoken of it. */
static void check_ahead(const struct broker_channel *channel)
{
	const struct ahead *ahead = &channel->link->ahead[channel->caller];
	uint32_t i = channel->number - ahead->first;

	REQUIRE(channel->state == BROKER_CHANNEL_OFFERED && !channel->accepted);
	REQUIRE(!channel->confirmed[0] && !channel->confirmed[1] && !channel->captured);
	REQUIRE(i < ahead->n && (ahead->left >> i & 1));
}

static void check_link(const struct broker_link *link)
{
	const struct broker_channel *channel;
	uint32_t n_unpaid = 0, n_standing = 0, n_ahead = 0, n_left = 0;

	REQUIRE(link->state != BROKER_LINK_GONE);
	REQUIRE(link->ends[0].process || link->ends[1].process);
	REQUIRE((link->state == BROKER_LINK_ANNOUNCED) == (link->list != NULL));
	if (link->state != BROKER_LINK_ANNOUNCED)
		REQUIRE(link->ends[0].process && link->ends[1].process && link->charge.domain);
	if (link->state == BROKER_LINK_UP)
		REQUIRE(TAILQ_EMPTY(&link->waiting));
	add(&link->charge);
	for (channel = link->channels; channel; channel = channel->hh.next) {
		REQUIRE(channel->link == link && channel->state != BROKER_CHANNEL_DONE);
		REQUIRE(!(channel->confirmed[0] && channel->confirmed[1]));
		check_channel_state(channel);
		add(&channel->charge);
		n_unpaid += channel->unpaid;
		n_standing += !channel->ahead && channel->state != BROKER_CHANNEL_CLOSING;
		n_ahead += channel->ahead;
		if (channel->ahead)
			check_ahead(channel);
		if (link->state == BROKER_LINK_UP)
			check_channel_charge(channel);
	}
	REQUIRE(n_unpaid == link->n_unpaid);
	REQUIRE(n_standing == link->n_standing);
	for (unsigned i = 0; i < 2; i++) {
		const struct ahead *ahead = &link->ahead[i];

		REQUIRE(ahead->there == (ahead->left != 0));
		n_left += (uint32_t)__builtin_popcountll(ahead->left);
	}
	REQUIRE(n_ahead == link->n_ahead && n_ahead <= n_left);
}

void world_check(const struct world *world)
{
	const struct broker *broker = world->broker;
	const struct domain *domain;
	const struct broker_link *link;
	unsigned n_links = 0, n_channels = 0, n_ahead = 0, n_tallied = 0;
	const struct tally *tally;
	uint64_t bytes = 0;

	if (!sums)
		sums = calloc(CHECK_DOMAINS, sizeof(*sums));
	if (!waiting)
		waiting = calloc(CHECK_DOMAINS, sizeof(*waiting));
	if (!watched)
		watched = calloc(CHECK_DOMAINS, sizeof(*watched));
	if (!extra)
		extra = calloc(CHECK_DOMAINS, sizeof(*extra));
	REQUIRE(sums && waiting && watched && extra && !broker_work_left(broker));
	for (domain = broker->domains; domain; domain = domain->hh.next) {
		memset(sums[domain->info.domid], 0, sizeof(*sums));
		waiting[domain->info.domid] = watched[domain->info.domid] = 0;
		extra[domain->info.domid] = 0;
	}
	for (domain = broker->domains; domain; domain = domain->hh.next) {
		const struct process *process;

		TAILQ_FOREACH (process, &domain->processes, entry) {
			REQUIRE(process->domain == domain);
			check_process(process);
		}
		REQUIRE(domain->n_parted <= broker->limits.quota[QUOTA_PROCESSES]);
		REQUIRE(domain_is_quiesced(domain) || !domain->n_parted);
	}
	for (link = broker->links; link; link = link->hh.next) {
		REQUIRE(link->state != BROKER_LINK_ANNOUNCED);
		check_link(link);
		n_links++;
		n_channels += HASH_COUNT(link->channels) - link->n_ahead;
		n_ahead += link->n_ahead;
	}
	for (link = broker->announced; link; link = link->hh.next) {
		REQUIRE(link->state == BROKER_LINK_ANNOUNCED);
		check_link(link);
		n_channels += HASH_COUNT(link->channels);
	}
	REQUIRE(n_links == HASH_COUNT(broker->links) && n_channels == broker->n_channels);
	for (tally = broker->tallies; tally; tally = tally->hh.next)
		n_tallied += tally->count;
	REQUIRE(n_tallied == n_channels + n_ahead);
	for (domain = broker->domains; domain; domain = domain->hh.next) {
		for (int i = 0; i < QUOTA_COUNT; i++) {
			REQUIRE(domain->used[i] == sums[domain->info.domid][i]);
			REQUIRE(domain->used[i] <= domain->limits.quota[i]);
		}
		check_domain_bytes(domain);
		bytes += domain->bytes;
	}
	/* No work is left, so no domain that has ended pays for anything. */
	REQUIRE(broker_bytes(broker) == bytes);
}

uint32_t world_used(const struct world *world, uint16_t domid)
{
	const struct domain *domain = domain_find(world->broker, domid);
	uint32_t sum = 0;

	for (int i = 0; domain && i < QUOTA_COUNT; i++)
		sum += domain->used[i];
	return sum;
}

uint32_t world_bytes(const struct world *world, uint16_t domid)
{
	const struct domain *domain = domain_find(world->broker, domid);

	return domain ? domain->bytes - HASH_COUNT(domain->connects) * CONNECTS_BYTES -
				HASH_COUNT(domain->formers) * FORMER_BYTES
		      : 0;
}
