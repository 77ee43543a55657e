/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Links: made between two applications by PROTOCOL.md 5.3, ended by 5.4. Making a link has no time
 * limit: a quiet application is never taken for dead, and the caller has its own limit and CANCEL.
 * A message about an end number that was given once and is gone crossed our LINK_DOWN and is
 * ignored. A message about a number that was never given is a violation.
 */
#include "daemon/broker/link.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/macro.h"
#include "base/probe.h"
#include "daemon/broker/channel.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/message-id.h"
#include "daemon/broker/note.h"
#include "daemon/broker/process.h"
#include "daemon/broker/request.h"
#include "daemon/broker/state.h"

/* The largest errno of asm-generic (EHWPOISON). A larger number is no errno. */
#define ERRNO_MAX 133

void broker_link_set_state(struct broker_link *link, enum broker_link_state state)
{
	static const unsigned moves[] = {
		[BROKER_LINK_CREATING] = ENUM_BIT(BROKER_LINK_BINDING) | ENUM_BIT(BROKER_LINK_GONE),
		[BROKER_LINK_BINDING] = ENUM_BIT(BROKER_LINK_UP) | ENUM_BIT(BROKER_LINK_GONE),
		[BROKER_LINK_UP] = ENUM_BIT(BROKER_LINK_GONE),
		[BROKER_LINK_ANNOUNCED] = ENUM_BIT(BROKER_LINK_UP) | ENUM_BIT(BROKER_LINK_GONE),
		[BROKER_LINK_GONE] = 0,
	};

	assert(moves[link->state] & ENUM_BIT(state));
	broker_link_wait(link, NULL);
	link->state = state;
}

static struct link_pair broker_link_pair_of(
	const struct process *a, const struct process *b, uint32_t transport)
{
	return (struct link_pair){
		.low = a->serial < b->serial ? a->serial : b->serial,
		.high = a->serial < b->serial ? b->serial : a->serial,
		.transport = transport,
	};
}

struct broker_link *broker_link_find(struct process *a, struct process *b, uint32_t transport)
{
	struct link_pair pair = broker_link_pair_of(a, b, transport);
	struct broker_link *link;

	HASH_FIND(hh_pair, a->broker->pairs, &pair, sizeof(pair), link);
	return link;
}

struct broker_link *broker_link_by_uid(struct broker *broker, uint64_t uid)
{
	struct broker_link *tables[] = {broker->links, broker->announced};

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		for (struct broker_link *link = tables[i]; link; link = link->hh.next) {
			broker->cost++;
			if (link->id.uid == uid)
				return link;
		}
	}
	return NULL;
}

/*
 * The table of pairs has one link for a pair and a transport, the one to choose. A second link that
 * was announced is not in it.
 */
int broker_link_pair_add(struct broker_link *link)
{
	struct broker *broker = link->broker;
	struct broker_link *other;

	link->pair = broker_link_pair_of(
		link->ends[0].process, link->ends[1].process, link->id.transport);
	HASH_FIND(hh_pair, broker->pairs, &link->pair, sizeof(link->pair), other);
	if (other)
		return 0;
	HASH_ADD(hh_pair, broker->pairs, pair, sizeof(link->pair), link);
	link->paired = hash_added(&link->hh_pair);
	return link->paired ? 0 : -ENOMEM;
}

int broker_link_end_attach(struct broker_link *link, unsigned index, struct process *process,
	uint32_t number, struct domain *payer, char ret_reason[REASON_SIZE])
{
	struct link_end *end = &link->ends[index];
	int r = charge_take(&end->charge, payer, QUOTA_ENDS, ret_reason);

	if (r < 0)
		return r;
	end->number = number;
	HASH_ADD(hh, process->ends, number, sizeof(end->number), end);
	if (!hash_added(&end->hh)) {
		charge_return(&end->charge);
		return -ENOMEM;
	}
	end->process = process;
	end->domid = process->domain->info.domid;
	return 0;
}

static void broker_link_end_detach(struct link_end *end)
{
	if (!end->process)
		return;
	(void)outbox_unsend(end);
	HASH_DELETE(hh, end->process->ends, end);
	charge_return(&end->charge);
	end->process = NULL;
}

void broker_link_free(struct broker_link *link)
{
	struct broker *broker = link->broker;

	assert(TAILQ_EMPTY(&link->waiting));
	capture_link_gone(link);
	ahead_link_gone(link);
	broker_link_wait(link, NULL);
	broker_link_end_detach(&link->ends[0]);
	broker_link_end_detach(&link->ends[1]);
	charge_return(&link->charge);
	if (link->paired)
		HASH_DELETE(hh_pair, link->broker->pairs, link);
	if (link->table)
		HASH_DELETE(hh, *link->table, link);
	TAILQ_REMOVE(&broker->links_by_judgement, link, judgement_entry);
	broker->cost += COST_OBJECT;
	if (link->channels)
		TAILQ_INSERT_TAIL(&broker->buried, link, judgement_entry);
	else
		free(link);
}

bool broker_link_bury(struct broker *broker)
{
	struct broker_link *link = TAILQ_FIRST(&broker->buried);

	if (!link)
		return false;
	broker_channel_free(link->channels);
	if (link->channels)
		return true;
	TAILQ_REMOVE(&broker->buried, link, judgement_entry);
	free(link);
	return true;
}

/* For the price of the next link between the two domains. */
static void broker_link_was_made(const struct broker_link *link, bool made)
{
	struct domain_pair *pair =
		domain_pair_find(link->ends[0].process->domain, link->ends[1].process->domain);

	if (pair && made)
		domain_pair_link_made(pair);
	else if (pair)
		domain_pair_link_failed(pair);
}

/* No channel is lost: none stands, or an application detaches. */
static bool broker_link_in_order(const struct broker_link *link)
{
	for (unsigned i = 0; i < 2; i++) {
		if (link->ends[i].process && link->ends[i].process->detaches)
			return true;
	}
	return link->n_standing == 0;
}

void broker_link_down(struct broker_link *link, const struct process *except, struct domain *by,
	int error, const char *reason)
{
	bool making = link->state == BROKER_LINK_CREATING || link->state == BROKER_LINK_BINDING;
	bool orderly = !making && error == ECONNRESET && broker_link_in_order(link);

	if (making)
		broker_link_was_made(link, false);
	note_link(link, HISTORY_LINK_DOWN, by, orderly ? 0 : error, reason);
	PROBE(msgd, reset, link->id.uid, (uint32_t)link->ends[0].domid,
		(uint32_t)link->ends[1].domid, error, reason);
	broker_link_set_state(link, BROKER_LINK_GONE);
	for (unsigned i = 0; i < 2; i++) {
		struct link_end *end = &link->ends[i];

		/* An application that has not heard of it yet will not: both messages cancel. */
		if (end->process && !outbox_unsend(end) && end->process != except && end->told)
			process_link_down(
				end->process, link->charge.domain, end->number, error, reason);
	}
	while (!TAILQ_EMPTY(&link->waiting))
		broker_request_set_state(TAILQ_FIRST(&link->waiting), BROKER_REQUEST_RETRY, NULL);
	broker_link_free(link);
}

/* LINK_CREATE or, with the creator's offer, LINK_BIND, which begins as LINK_CREATE does. */
static void broker_link_tell(struct broker_link *link, unsigned index)
{
	struct link_end *end = &link->ends[index];
	bool grant = link->id.transport == TRANSPORT_GRANT;
	struct control_message message = {
		.type = index == 0 ? CONTROL_LINK_CREATE : CONTROL_LINK_BIND,
		.link_bind = {.end = end->number,
			.uid = link->id.uid,
			.peer_domid = link->ends[!index].domid,
			.transport = link->id.transport,
			.ring_pages = grant ? link->ring_pages : 0,
			.ring_len = grant ? 0 : LINK_ARGO_RING_LEN(link->ring_pages),
			.port = link->offer.port,
			.aport = link->offer.aport,
			.doorbell_ref = link->offer.doorbell_ref,
			.refs_ref = link->offer.refs_ref},
	};

	end->told = true;
	outbox_send(end->process, link->charge.domain, &message, end);
}

static void broker_link_new_id(struct broker_link *link, uint32_t transport)
{
	struct broker *broker = link->broker;
	struct broker_link *taken;

	link->id.creator = link->ends[0].domid;
	link->id.binder = link->ends[1].domid;
	link->id.transport = transport;
	do {
		link->id.uid = ++broker->next_uid;
		HASH_FIND(hh, broker->links, &link->id, sizeof(link->id), taken);
	} while (taken || link->id.uid == 0);
}

int broker_link_add(struct broker_link *link, struct broker_link **table)
{
	HASH_ADD(hh, *table, id, sizeof(link->id), link);
	link->table = hash_added(&link->hh) ? table : NULL;
	return link->table ? 0 : -ENOMEM;
}

int broker_link_settled(struct broker_link *link)
{
	assert(link->table == &link->broker->announced);
	HASH_DELETE(hh, link->broker->announced, link);
	return broker_link_add(link, &link->broker->links);
}

void broker_link_wait(struct broker_link *link, struct broker_link_list *list)
{
	if (link->list)
		TAILQ_REMOVE(link->list, link, entry);
	link->list = list;
	if (list)
		TAILQ_INSERT_TAIL(list, link, entry);
}

struct broker_link *broker_link_alloc(
	struct broker *broker, enum broker_link_state state, const char *why)
{
	struct broker_link *link = calloc(1, sizeof(*link));

	if (!link)
		return NULL;
	link->broker = broker;
	link->state = state;
	link->since_ns = broker->now_ns;
	link->ends[0].link = link->ends[1].link = link;
	TAILQ_INIT(&link->waiting);
	TAILQ_INIT(&link->by_judgement);
	link->generation = broker->generation;
	TAILQ_INSERT_TAIL(&broker->links_by_judgement, link, judgement_entry);
	(void)snprintf(link->why, sizeof(link->why), "%s", why);
	return link;
}

int broker_link_new(struct process *creator, struct process *binder, uint32_t transport,
	const char *why, bool prepaid, struct broker_link **ret_link, char ret_reason[REASON_SIZE])
{
	struct broker *broker = creator->broker;
	const struct broker_limits *limits = &creator->domain->limits;
	struct domain_pair *pair = domain_pair_get(creator->domain, binder->domain);
	struct broker_link *link =
		pair ? broker_link_alloc(broker, BROKER_LINK_CREATING, why) : NULL;
	int r;

	if (!link)
		return -ENOMEM;
	link->ring_pages =
		transport == TRANSPORT_GRANT ? limits->ring_pages : limits->argo_ring_pages;
	r = charge_take(&link->charge, creator->domain, QUOTA_LINKS, ret_reason);
	if (r == 0)
		r = broker_link_end_attach(
			link, 0, creator, process_next_end(creator), creator->domain, ret_reason);
	if (r == 0)
		r = broker_link_end_attach(
			link, 1, binder, process_next_end(binder), creator->domain, ret_reason);
	if (r == 0 && !prepaid)
		r = domain_pair_may_link(pair, ret_reason);
	if (r == 0) {
		broker_link_new_id(link, transport);
		r = broker_link_add(link, &broker->links);
	}
	if (r == 0)
		r = broker_link_pair_add(link);
	if (r < 0) {
		broker_link_free(link);
		return r;
	}
	broker_link_tell(link, 0);
	*ret_link = link;
	return 0;
}

static int broker_link_offer(struct link_end *end, const struct control_link_offer *offer)
{
	struct broker_link *link = end->link;

	if (link->state == BROKER_LINK_ANNOUNCED)
		return 0; /* the answer to the LINK_CREATE of an earlier msgd */
	if (link->state != BROKER_LINK_CREATING || end != &link->ends[0])
		return -EPROTO;
	if ((link->id.transport == TRANSPORT_GRANT) != (offer->aport == 0) ||
		(link->id.transport == TRANSPORT_ARGO_STRICT) != (offer->port == 0))
		return -EPROTO;
	link->offer = *offer;
	broker_link_set_state(link, BROKER_LINK_BINDING);
	broker_link_tell(link, 1);
	return 0;
}

static int broker_link_ready(struct link_end *end, const struct control_link_ready *ready)
{
	struct broker_link *link = end->link;
	struct control_message message = {.type = CONTROL_LINK_UP};

	if (link->state == BROKER_LINK_ANNOUNCED)
		return 0; /* likewise */
	if (link->state != BROKER_LINK_BINDING || end != &link->ends[1])
		return -EPROTO;
	if ((link->id.transport == TRANSPORT_GRANT) != (ready->aport == 0))
		return -EPROTO;
	broker_link_set_state(link, BROKER_LINK_UP);
	note_link(link, HISTORY_LINK_MADE, NULL, 0, link->why);
	broker_link_was_made(link, true);
	message.link_up.end = link->ends[0].number;
	message.link_up.aport = ready->aport;
	outbox_send(link->ends[0].process, link->charge.domain, &message, NULL);
	while (!TAILQ_EMPTY(&link->waiting))
		broker_request_set_state(TAILQ_FIRST(&link->waiting), BROKER_REQUEST_RETRY, NULL);
	return 0;
}

/*
 * The libmsg API's errors for "out of ports, grants or rings" and "no such transport here". A
 * number that is no errno becomes EPROTO.
 */
static int broker_link_error(uint32_t error)
{
	if (error == 0 || error > ERRNO_MAX)
		return EPROTO;
	if (error == ENOSPC || error == ENOMEM || error == EMFILE || error == ENFILE)
		return ENOBUFS;
	return error == ENODEV ? EOPNOTSUPP : (int)error;
}

/*
 * The same for the other end, whose application did not cause the error. A peer chooses among what
 * the failing of a link can mean, and cannot say "denied by policy" or "try again" in msgd's place.
 */
static int broker_link_error_of_peer(uint32_t said)
{
	int error = broker_link_error(said);

	return error == ENOBUFS || error == EOPNOTSUPP || error == ECONNRESET ? error : EPROTO;
}

/* A peer's words, as such. */
static void broker_link_quote(
	const struct process *process, const char *words, char ret_reason[REASON_SIZE])
{
	reason_set(ret_reason, "%.40s says: %.80s", process->domain->info.name, words);
}

int broker_link_argo_missing(const struct process *process, char ret_reason[REASON_SIZE])
{
	const char *name = process->domain->info.name;

	if (process->features & FEATURE_ARGO)
		return 0;
	if (process->features & FEATURE_NO_HYPERVISOR_ARGO)
		reason_set(ret_reason, "no Argo in the hypervisor");
	else if (process->features & FEATURE_NO_ARGO_DRIVER)
		reason_set(ret_reason, "no driver in %.80s", name);
	else
		reason_set(ret_reason, "no Argo in %.80s", name);
	return -EOPNOTSUPP;
}

/*
 * The link could not be made. Requests that may do without Argo try again; the others are answered.
 * process: the end that could not.
 */
static void broker_link_failed_making(
	struct broker_link *link, uint32_t said, const char *reason, const struct process *process)
{
	bool argo = link->id.transport != TRANSPORT_GRANT;
	struct broker_request *request, *next;
	char why[REASON_SIZE];

	if (argo && said == ENOSPC)
		reason_set(why, "%u rings in use in %.80s", ARGO_RINGS_MAX,
			process->domain->info.name);
	else if (argo)
		reason_set(why, "Argo failed in %.40s: %.70s", process->domain->info.name, reason);
	else
		broker_link_quote(process, reason, why);
	for (request = TAILQ_FIRST(&link->waiting); request; request = next) {
		bool own = request->process == process;

		next = TAILQ_NEXT(request, entry);
		if (argo && !request->demanded && !request->no_argo) {
			request->no_argo = request->prepaid = true;
			memcpy(request->why, why, sizeof(request->why));
			continue; /* broker_link_down has it tried again */
		}
		note_connect_failed(request, broker_link_error(said), NULL, why);
		/* The caller's own descriptors are for the caller to mend. */
		broker_request_finish(request,
			own && said == EMFILE ? EMFILE
			: own		      ? broker_link_error(said)
					      : broker_link_error_of_peer(said),
			own && !argo ? reason : why);
	}
	broker_link_down(link, process, process->domain, ECONNRESET, why);
}

static int broker_link_failed(struct link_end *end, const struct control_link_error *failed)
{
	struct broker_link *link = end->link;
	struct process *process = end->process;
	int error = broker_link_error(failed->error);
	struct history_event event = {.kind = HISTORY_KINDS};
	struct broker_line line = {.id = MESSAGE_ID_LINK_FAILED,
		.event = &event,
		.transport = transport_name(link->id.transport)};
	char text[PROCESS_TEXT_SIZE], reason[REASON_SIZE], quoted[REASON_SIZE];

	/* The reason is copied and shown; the sender chose it. */
	reason_set(reason, "%s", failed->reason[0] ? failed->reason : strerrordesc_np(error));
	process_describe(process, text, sizeof(text));
	note_of_link(&event, link, end);
	event.error = error;
	memcpy(event.text, reason, sizeof(event.text));
	domain_log_line(process->domain, LOG_NOTICE, &line, "link %016llx: %s says: %s (%s)",
		(unsigned long long)link->id.uid, text, reason, strerrorname_np(error));
	if (link->state == BROKER_LINK_CREATING || link->state == BROKER_LINK_BINDING) {
		broker_link_failed_making(link, failed->error, reason, process);
		return 0;
	}
	broker_link_quote(process, reason, quoted);
	broker_link_down(link, process, process->domain, ECONNRESET, quoted);
	return 0;
}

int broker_link_message(struct process *process, const struct control_message *message)
{
	struct link_end *end;
	/* Each of the three messages begins with its end. */
	int r = process_end(process, message->link_ready.end, &end);

	if (r < 0 || !end)
		return r;
	switch (message->type) {
	case CONTROL_LINK_OFFER:
		return broker_link_offer(end, &message->link_offer);
	case CONTROL_LINK_READY:
		return broker_link_ready(end, &message->link_ready);
	default:
		return broker_link_failed(end, &message->link_failed);
	}
}
