/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CONNECT from its arrival to its answer (PROTOCOL.md 5.3), and LISTENs that wait for the end of
 * recovery. A request that must wait is an object on one list, by its state. A change that may let
 * it go on puts it on the retry list, and it is judged anew from the start: the facts may have
 * changed since it came.
 */
#include "daemon/broker/request.h"

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
#include "daemon/broker/lookup.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"

void broker_request_set_state(
	struct broker_request *request, enum broker_request_state state, struct broker_link *link)
{
	enum {
		RETRY = ENUM_BIT(BROKER_REQUEST_RETRY),
		DONE = ENUM_BIT(BROKER_REQUEST_DONE),
	};
	static const unsigned moves[] = {
		[BROKER_REQUEST_NEW] = ENUM_BIT(BROKER_REQUEST_HELD) | RETRY | DONE,
		[BROKER_REQUEST_HELD] = RETRY | DONE,
		[BROKER_REQUEST_NAME] = RETRY | DONE,
		[BROKER_REQUEST_LINK] = RETRY | DONE,
		[BROKER_REQUEST_RETRY] =
			ENUM_BIT(BROKER_REQUEST_NAME) | ENUM_BIT(BROKER_REQUEST_LINK) | DONE,
		[BROKER_REQUEST_DONE] = 0,
	};
	struct broker *broker = request->process->broker;
	struct broker_request_list *const lists[] = {
		[BROKER_REQUEST_HELD] = &broker->held,
		[BROKER_REQUEST_NAME] = &broker->waiting,
		[BROKER_REQUEST_LINK] = link ? &link->waiting : NULL,
		[BROKER_REQUEST_RETRY] = &broker->retry,
		[BROKER_REQUEST_DONE] = NULL,
	};

	assert(moves[request->state] & ENUM_BIT(state));
	assert((state == BROKER_REQUEST_LINK) == !!link);
	if (request->list)
		TAILQ_REMOVE(request->list, request, entry);
	request->state = state;
	request->list = lists[state];
	if (request->list)
		TAILQ_INSERT_TAIL(request->list, request, entry);
}

void broker_request_free(struct broker_request *request)
{
	broker_request_set_state(request, BROKER_REQUEST_DONE, NULL);
	HASH_DELETE(hh, request->process->requests, request);
	charge_return(&request->charge);
	free(request);
}

void broker_request_finish(struct broker_request *request, int error, const char *reason)
{
	process_status(request->process, request->id, error, reason);
	broker_request_free(request);
}

/* -EPROTO: the id is in use; positive: answered with STATUS. */
static int broker_request_new(
	struct process *process, uint32_t id, struct broker_request **ret_request)
{
	struct broker_request *request;
	char reason[REASON_SIZE];
	int r = -ENOMEM;

	HASH_FIND(hh, process->requests, &id, sizeof(id), request);
	if (id == 0 || request)
		return -EPROTO;
	request = calloc(1, sizeof(*request));
	if (request)
		r = charge_take(&request->charge, process->domain, QUOTA_REQUESTS, reason);
	if (r == 0) {
		request->process = process;
		request->id = id;
		HASH_ADD(hh, process->requests, id, sizeof(request->id), request);
		*ret_request = request;
		if (hash_added(&request->hh))
			return 0;
		charge_return(&request->charge);
		r = -ENOMEM;
	}
	free(request);
	process_status(process, id, -r, reason);
	return 1;
}

int broker_request_hold_listen(
	struct process *process, uint32_t id, const struct control_listen *listen)
{
	struct broker_request *request;
	int r = broker_request_new(process, id, &request);

	if (r != 0)
		return r < 0 ? r : 0;
	request->is_listen = true;
	request->listen = *listen;
	broker_request_set_state(request, BROKER_REQUEST_HELD, NULL);
	return 0;
}

int broker_request_connect(struct process *process, const struct control_message *message)
{
	struct broker_request *request;
	int r;

	if (process->state != PROCESS_READY)
		return -EPROTO;
	r = broker_request_new(process, message->request, &request);
	if (r != 0)
		return r < 0 ? r : 0;
	request->connect = message->connect;
	if (address_split(request->connect.address, request->domain, request->name) < 0) {
		broker_request_finish(request, EINVAL, "not a valid address");
		return 0;
	}
	broker_request_set_state(request,
		process->broker->recovering ? BROKER_REQUEST_HELD : BROKER_REQUEST_RETRY, NULL);
	return 0;
}

int broker_request_cancel(struct process *process, uint32_t id)
{
	struct broker_request *request;

	HASH_FIND(hh, process->requests, &id, sizeof(id), request);
	if (request)
		broker_request_finish(request, ECANCELED, "cancelled");
	return 0; /* else it was answered, and the answer crossed the CANCEL */
}

void broker_request_name_appeared(struct broker *broker, const char *name)
{
	struct broker_request *request, *next;

	for (request = TAILQ_FIRST(&broker->waiting); request; request = next) {
		next = TAILQ_NEXT(request, entry);
		if (strcmp(request->name, name) == 0)
			broker_request_set_state(request, BROKER_REQUEST_RETRY, NULL);
	}
}

static void broker_request_refuse(
	struct broker_request *request, int error, const struct lookup *lookup)
{
	if (error == -EACCES)
		process_log_verdict(request->process, &lookup->verdict, "connects to",
			request->connect.address);
	else
		request->process->broker->stats.failed++;
	broker_request_finish(request, -error, lookup->reason);
}

/* Argo is used only where both processes said that it works for them. */
static int argo_check(const struct broker_request *request, const struct lookup *lookup,
	uint32_t transport, char ret_reason[REASON_SIZE])
{
	const struct process *both[] = {request->process, lookup->listener->process};
	int r = 0;

	if (request->no_argo) {
		reason_set(ret_reason, "%s", request->why);
		return -EOPNOTSUPP;
	}
	for (size_t i = 0; i < ARRAY_SIZE(both) && r == 0; i++) {
		r = broker_link_argo_missing(both[i], ret_reason);
		if (r == 0 && transport == TRANSPORT_ARGO_STRICT &&
			!(both[i]->features & FEATURE_ARGO_STRICT)) {
			reason_set(ret_reason, "an older libmsg in %.80s: it has no argo-strict",
				both[i]->domain->info.name);
			r = -EOPNOTSUPP;
		}
	}
	return r;
}

/* The transport that the caller or policy demands, or ANY. */
static int transport_demanded(
	const struct broker_request *request, struct lookup *lookup, uint32_t *ret_transport)
{
	uint32_t caller = request->connect.transport, policy = lookup->verdict.transport;

	if (policy != TRANSPORT_ANY && caller != TRANSPORT_ANY && policy != caller) {
		reason_set(lookup->reason, "policy says %s", transport_name(policy));
		return -EOPNOTSUPP;
	}
	*ret_transport = policy != TRANSPORT_ANY ? policy : caller;
	return 0;
}

/* The transport of a new link, and why. -EOPNOTSUPP: a demand cannot be met, and why not. */
static int transport_choose(const struct broker_request *request, const struct lookup *lookup,
	uint32_t *transport, char ret_why[REASON_SIZE])
{
	uint32_t demanded = *transport;
	int r = 0;

	if (demanded != TRANSPORT_GRANT)
		r = argo_check(request, lookup, demanded, ret_why);
	if (demanded == TRANSPORT_ANY) {
		*transport = r < 0 ? TRANSPORT_GRANT : TRANSPORT_ARGO;
		if (r == 0)
			reason_set(ret_why, "both sides have Argo");
		return 0;
	}
	if (r == 0)
		reason_set(ret_why, "%s says %s",
			lookup->verdict.transport == TRANSPORT_ANY ? "the caller" : "policy",
			transport_name(demanded));
	return r;
}

/*
 * The link to use: one that is there, else a new one. A demand takes only its own kind. Without a
 * demand Argo is preferred among the links that are there, then grants: a pair that had to fall
 * back once does not try Argo again for each channel. Links of argo-strict are only for a demand.
 */
static int broker_request_link(
	struct broker_request *request, struct lookup *lookup, struct broker_link **ret_link)
{
	struct process *caller = request->process, *holder = lookup->listener->process;
	uint32_t transport;
	char why[REASON_SIZE];
	int r = transport_demanded(request, lookup, &transport);

	if (r < 0)
		return r;
	request->demanded = transport != TRANSPORT_ANY;
	if (request->demanded)
		*ret_link = broker_link_find(caller, holder, transport);
	else if (!(*ret_link = broker_link_find(caller, holder, TRANSPORT_ARGO)))
		*ret_link = broker_link_find(caller, holder, TRANSPORT_GRANT);
	if (*ret_link)
		return 0;
	r = transport_choose(request, lookup, &transport, why);
	if (r < 0) {
		memcpy(lookup->reason, why, REASON_SIZE);
		return r;
	}
	return broker_link_new(caller, holder, transport, why, ret_link, lookup->reason);
}

static void broker_request_connected(
	struct broker_request *request, struct broker_link *link, struct lookup *lookup)
{
	struct process *process = request->process;
	struct control_message message = {.type = CONTROL_CONNECTED, .request = request->id};
	struct broker_channel *channel;
	/* If the process connects to itself, the caller's end is the creator's. */
	unsigned caller = link->ends[0].process == process ? 0 : 1;
	int r = broker_channel_new(
		link, caller, lookup->listener, &lookup->verdict, &channel, lookup->reason);

	if (r < 0) {
		broker_request_refuse(request, r, lookup);
		return;
	}
	message.connected.end = link->ends[caller].number;
	message.connected.channel = channel->number;
	message.connected.transport = link->id.transport;
	domain_peer(lookup->listener->process->domain, &message.connected.peer);
	memcpy(message.connected.name, lookup->listener->name, sizeof(message.connected.name));
	process->broker->stats.connected++;
	process_log_verdict(process, &lookup->verdict, "connects to", request->connect.address);
	process_send(process, &message);
	broker_request_free(request);
}

/* The checks after the name, in the order of PROTOCOL.md 5.3. */
static int listener_check(const struct broker_request *request, struct lookup *lookup)
{
	const struct listener *listener = lookup->listener;

	if (listener->type != request->connect.type) {
		reason_set(lookup->reason, "%s is of another type", listener->name);
		return -EPROTOTYPE;
	}
	if (listener->n_offered >= listener->backlog) {
		reason_set(lookup->reason, "the backlog of %s is full (%u)", listener->name,
			listener->backlog);
		return -ECONNREFUSED;
	}
	/* Only its own requests may add to the outbox of an application that does not read. */
	if (listener->process != request->process &&
		outbox_congested(listener->process, request->process->domain)) {
		reason_set(lookup->reason, "the listener of %s does not read", listener->name);
		return -ECONNREFUSED;
	}
	return 0;
}

static void broker_request_try_connect(struct broker_request *request)
{
	struct lookup lookup = {
		.caller = request->process, .domain = request->domain, .name = request->name};
	struct broker_link *link;
	int r = lookup_address(&lookup);

	/* A domain that is not up yet has no names yet, so WAIT_NAME covers it, too. */
	if ((r == -ENOENT || r == -EHOSTUNREACH) && (request->connect.flags & CONNECT_WAIT_NAME)) {
		broker_request_set_state(request, BROKER_REQUEST_NAME, NULL);
		return;
	}
	if (r == 0)
		r = listener_check(request, &lookup);
	if (r == 0)
		r = broker_request_link(request, &lookup, &link);
	if (r < 0)
		broker_request_refuse(request, r, &lookup);
	else if (link->state == BROKER_LINK_UP)
		broker_request_connected(request, link, &lookup);
	else
		broker_request_set_state(request, BROKER_REQUEST_LINK, link);
}

static void broker_request_try_listen(struct broker_request *request)
{
	struct process *process = request->process;
	struct control_listen listen = request->listen;
	uint32_t id = request->id;

	broker_request_free(request);
	/* The handle was free when the LISTEN was held; another LISTEN may have taken it since. */
	if (listener_new(process, id, &listen) < 0)
		process_status(process, id, EINVAL, "the listener's handle is in use");
}

void broker_request_settle(struct broker *broker)
{
	struct broker_request *request;

	while ((request = TAILQ_FIRST(&broker->retry))) {
		if (request->is_listen)
			broker_request_try_listen(request);
		else
			broker_request_try_connect(request);
	}
}
