/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CONNECT from its arrival to its answer (PROTOCOL.md 5.3), and LISTENs that wait for the end of
 * recovery. A request that must wait is an object on one list, by its state. A change that may let
 * it go on puts it on its domain's list of those to be tried again, and it is judged anew from the
 * start: the facts may have changed since it came.
 *
 * A change must never look at each request that waits: a guest causes changes as often as it likes,
 * and others wait. Requests that wait for a name are found by its domain and name. The domains that
 * have something to try take turns, so that no domain's requests stand behind another's.
 */
#include "daemon/broker/request.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>

#include "base/macro.h"
#include "base/probe.h"
#include "daemon/broker/channel.h"
#include "daemon/broker/connects.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/link.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/lookup.h"
#include "daemon/broker/note.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"
#include "daemon/broker/terms.h"

/* ---- the domains that have something to try -------------------------------------------------- */

static void domain_has_work(struct domain *domain)
{
	if (domain->working)
		return;
	domain->working = true;
	TAILQ_INSERT_TAIL(&domain->broker->working, domain, work_entry);
}

static void domain_has_no_work(struct domain *domain)
{
	if (!domain->working)
		return;
	domain->working = false;
	TAILQ_REMOVE(&domain->broker->working, domain, work_entry);
}

void domain_forget_work(struct domain *domain)
{
	assert(!domain->waiting && TAILQ_EMPTY(&domain->retry) && TAILQ_EMPTY(&domain->awake));
	domain_has_no_work(domain);
}

/* ---- waiting for a name ---------------------------------------------------------------------- */

#define WAITERS_KEY_SIZE ADDRESS_SIZE

/* "DOMAIN/NAME" with DOMAIN in one form (lookup_canonical), or "/NAME": of any domain. */
static void waiters_key(char ret_key[WAITERS_KEY_SIZE], const char *domain, const char *name)
{
	/* Both were checked: they fit. The listener of the base is one for each argument. */
	(void)snprintf(
		ret_key, WAITERS_KEY_SIZE, "%s/%.*s", domain, (int)name_base_len(name), name);
}

static struct waiters *waiters_new(struct domain *domain, const char *key)
{
	struct waiters *waiters = calloc(1, sizeof(*waiters) + strlen(key) + 1);

	if (!waiters)
		return NULL;
	waiters->domain = domain;
	waiters->generation = domain->broker->generation;
	strcpy(waiters->key, key);
	TAILQ_INIT(&waiters->requests);
	HASH_ADD_KEYPTR(hh, domain->waiting, waiters->key, strlen(key), waiters);
	if (!hash_added(&waiters->hh)) {
		free(waiters);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&domain->unheard, waiters, entry);
	return waiters;
}

/* A name has come, or a fact has changed. CONNECTs that wait from now on are other waiters. */
static void waiters_awake(struct waiters *waiters)
{
	struct domain *domain = waiters->domain;

	HASH_DELETE(hh, domain->waiting, waiters);
	TAILQ_REMOVE(&domain->unheard, waiters, entry);
	waiters->awake = true;
	TAILQ_INSERT_TAIL(&domain->awake, waiters, entry);
	domain_has_work(domain);
}

/* The request is off the list; the last one ends the waiters. */
static void waiters_leave(struct broker_request *request)
{
	struct waiters *waiters = request->waiters;
	struct domain *domain = waiters->domain;

	request->waiters = NULL;
	if (!TAILQ_EMPTY(&waiters->requests))
		return;
	if (waiters->awake) {
		TAILQ_REMOVE(&domain->awake, waiters, entry);
	} else {
		HASH_DELETE(hh, domain->waiting, waiters);
		TAILQ_REMOVE(&domain->unheard, waiters, entry);
	}
	free(waiters);
}

/*
 * The request waits for its name in the domain to which it goes, or is answered: no memory. state:
 * NAME or STARTING. Where a redirect may come to lead elsewhere, a generation begins
 * (rejudge_domains_changed).
 */
static void broker_request_wait(
	struct broker_request *request, enum broker_request_state state, const char *goes_to)
{
	struct domain *domain = request->process->domain;
	char target[DOMAIN_NAME_SIZE] = "", key[WAITERS_KEY_SIZE];

	if (goes_to[0])
		(void)lookup_canonical(goes_to, target); /* it was looked up */
	waiters_key(key, target, request->name);
	HASH_FIND_STR(domain->waiting, key, request->waiters);
	if (!request->waiters)
		request->waiters = waiters_new(domain, key);
	if (request->waiters)
		broker_request_set_state(request, state, NULL);
	else
		broker_request_finish(request, ENOMEM, NULL);
}

/* The waiters of every domain for this address. */
static void address_appeared(struct broker *broker, const char *target, const char *name)
{
	char key[WAITERS_KEY_SIZE];
	struct domain *domain, *next;
	unsigned hash;
	size_t len;

	waiters_key(key, target, name);
	len = strlen(key);
	HASH_VALUE(key, len, hash); /* once for all domains */
	broker->cost += HASH_COUNT(broker->domains);
	HASH_ITER (hh, broker->domains, domain, next) {
		struct waiters *waiters;

		HASH_FIND_BYHASHVALUE(hh, domain->waiting, key, len, hash, waiters);
		if (waiters)
			waiters_awake(waiters);
	}
}

void broker_request_name_appeared(struct domain *domain, const char *name)
{
	struct broker *broker = domain->broker;
	char target[DOMAIN_NAME_SIZE];

	address_appeared(broker, "", name);
	address_appeared(broker, domain->info.name, name);
	lookup_canonical_domid(domain->info.domid, target);
	address_appeared(broker, target, name);
	lookup_canonical_uuid(domain->info.uuid, target);
	address_appeared(broker, target, name);
}

void broker_request_all_awake(struct broker *broker)
{
	struct domain *domain, *next;

	/* Their generation is over: domain_next_request finds them. */
	HASH_ITER (hh, broker->domains, domain, next) {
		if (!TAILQ_EMPTY(&domain->unheard))
			domain_has_work(domain);
	}
}

/* ---- the request ----------------------------------------------------------------------------- */

void broker_request_spent(struct broker_request *request)
{
	static const enum connect_stage stages[] = {
		[BROKER_REQUEST_NEW] = CONNECT_QUEUE,
		[BROKER_REQUEST_HELD] = CONNECT_QUEUE,
		[BROKER_REQUEST_NAME] = CONNECT_NAME,
		[BROKER_REQUEST_ASKED] = CONNECT_LOOKUP,
		[BROKER_REQUEST_STARTING] = CONNECT_NAME,
		[BROKER_REQUEST_LINK] = CONNECT_LINK,
		[BROKER_REQUEST_RETRY] = CONNECT_QUEUE,
	};
	uint64_t now = request->process->broker->now_ns;

	request->spent_ns[stages[request->state]] += now - request->state_ns;
	request->state_ns = now;
}

void broker_request_set_state(
	struct broker_request *request, enum broker_request_state state, struct broker_link *link)
{
	enum {
		RETRY = ENUM_BIT(BROKER_REQUEST_RETRY),
		TRIED = ENUM_BIT(BROKER_REQUEST_NAME) | ENUM_BIT(BROKER_REQUEST_ASKED) |
			ENUM_BIT(BROKER_REQUEST_STARTING) | ENUM_BIT(BROKER_REQUEST_LINK),
		DONE = ENUM_BIT(BROKER_REQUEST_DONE),
	};
	static const unsigned moves[] = {
		[BROKER_REQUEST_NEW] = ENUM_BIT(BROKER_REQUEST_HELD) | TRIED | DONE,
		[BROKER_REQUEST_HELD] = TRIED | DONE,
		[BROKER_REQUEST_NAME] = RETRY | DONE,
		[BROKER_REQUEST_ASKED] = RETRY | DONE,
		[BROKER_REQUEST_STARTING] = RETRY | DONE,
		[BROKER_REQUEST_LINK] = RETRY | DONE,
		[BROKER_REQUEST_RETRY] = TRIED | DONE,
		[BROKER_REQUEST_DONE] = 0,
	};
	struct domain *domain = request->process->domain;
	struct broker_request_list *const lists[] = {
		[BROKER_REQUEST_HELD] = &domain->retry,
		[BROKER_REQUEST_NAME] = request->waiters ? &request->waiters->requests : NULL,
		[BROKER_REQUEST_ASKED] = NULL, /* on its errand's */
		[BROKER_REQUEST_STARTING] = request->waiters ? &request->waiters->requests : NULL,
		[BROKER_REQUEST_LINK] = link ? &link->waiting : NULL,
		[BROKER_REQUEST_RETRY] = &domain->retry,
		[BROKER_REQUEST_DONE] = NULL,
	};

	assert(moves[request->state] & ENUM_BIT(state));
	broker_request_spent(request);
	assert((state == BROKER_REQUEST_LINK) == !!link);
	if (request->list)
		TAILQ_REMOVE(request->list, request, entry);
	if (request->state == BROKER_REQUEST_NAME || request->state == BROKER_REQUEST_STARTING)
		waiters_leave(request);
	request->state = state;
	PROBE(msgd, connect_stage, request, state);
	request->list = lists[state];
	if (request->list)
		TAILQ_INSERT_TAIL(request->list, request, entry);
	if (request->list == &domain->retry)
		domain_has_work(domain);
}

void broker_request_free(struct broker_request *request)
{
	broker_request_set_state(request, BROKER_REQUEST_DONE, NULL);
	errand_leave_all(request);
	HASH_DELETE(hh, request->process->requests, request);
	if (request->is_listen)
		HASH_DELETE(hh_listen, request->process->held_listens, request);
	charge_return(&request->charge);
	request->process->broker->cost += COST_OBJECT;
	free(request);
}

void broker_request_finish(struct broker_request *request, int error, const char *reason)
{
	PROBE(msgd, connect_done, request, error);
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
		request->state_ns = process->broker->now_ns;
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
	request->listen = *listen;
	/* Several may say the same handle: the first to be tried will have it. */
	HASH_ADD(hh_listen, process->held_listens, listen.listener, sizeof(listen->listener),
		request);
	request->is_listen = hash_added(&request->hh_listen);
	if (request->is_listen)
		broker_request_set_state(request, BROKER_REQUEST_HELD, NULL);
	else
		broker_request_finish(request, ENOMEM, NULL);
	return 0;
}

bool broker_request_unhold_listen(struct process *process, uint32_t handle)
{
	struct broker_request *request;

	HASH_FIND(hh_listen, process->held_listens, &handle, sizeof(handle), request);
	if (!request)
		return false;
	broker_request_finish(request, ECANCELED, "unlistened");
	return true;
}

/*
 * Until recovery is over, and while links are due that both ends announced: what waits in a backlog
 * counts only once its link is settled, and the listener has no room for more.
 */
static bool requests_held(const struct broker *broker)
{
	return broker->recovering || !TAILQ_EMPTY(&broker->due);
}

static void broker_request_try_connect(struct broker_request *request);

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
	PROBE(msgd, connect_begin, request, (uint32_t)process->domain->info.domid, process->pid,
		request->connect.address);
	if (requests_held(process->broker))
		broker_request_set_state(request, BROKER_REQUEST_HELD, NULL);
	else
		broker_request_try_connect(request);
	return 0;
}

/* Says for what it waited, as its caller may know: libmsg says so when time is over. */
static void request_why(const struct broker_request *request, char ret_reason[REASON_SIZE])
{
	struct lookup lookup = {
		.caller = request->process, .domain = request->domain, .name = request->name};

	if (request->state == BROKER_REQUEST_NAME && lookup_address(&lookup) < 0)
		memcpy(ret_reason, lookup.reason, REASON_SIZE);
	else if (request->state == BROKER_REQUEST_LINK &&
		 container_of(request->list, struct broker_link, waiting)->state ==
			 BROKER_LINK_BINDING)
		reason_set(ret_reason,
			"the process that listens on %s does not take the link: it "
			"stands still, or calls nothing of libmsg",
			request->name);
	else if (request->state == BROKER_REQUEST_ASKED)
		reason_set(ret_reason, "policy asks a program, which has not answered yet");
	else if (request->state == BROKER_REQUEST_STARTING)
		reason_set(ret_reason, "the domain is being started");
	else if (request->state == BROKER_REQUEST_LINK)
		reason_set(ret_reason, "this process did not make its end of the link");
	else
		reason_set(ret_reason, "msgd had not come to it");
}

int broker_request_cancel(struct process *process, uint32_t id, int error)
{
	struct broker_request *request;
	char reason[REASON_SIZE];

	HASH_FIND(hh, process->requests, &id, sizeof(id), request);
	if (!request)
		return 0; /* it was answered, and the answer crossed the CANCEL */
	request_why(request, reason);
	if (!request->is_listen)
		note_connect_failed(request, error, NULL, reason);
	broker_request_finish(request, error, reason);
	return 0;
}

static void broker_request_refuse(
	struct broker_request *request, int error, const struct lookup *lookup)
{
	if (error == -EACCES && !lookup->verdict.allow)
		policy_hit(request->process->broker->policy, &lookup->verdict);
	note_connect_failed(request, -error, &lookup->verdict, lookup->reason);
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
 * back once does not try Argo again for each channel, nor waits for a link with which another one
 * tries it. Links of argo-strict are only for a demand.
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
	*ret_link =
		broker_link_find(caller, holder, request->demanded ? transport : TRANSPORT_ARGO);
	if (!request->demanded &&
		(!*ret_link || (request->no_argo && (*ret_link)->state != BROKER_LINK_UP)))
		*ret_link = broker_link_find(caller, holder, TRANSPORT_GRANT);
	if (*ret_link)
		return 0;
	r = transport_choose(request, lookup, &transport, why);
	if (r < 0) {
		memcpy(lookup->reason, why, REASON_SIZE);
		return r;
	}
	r = broker_link_new(
		caller, holder, transport, why, request->prepaid, ret_link, lookup->reason);
	request->prepaid = false;
	return r;
}

static void broker_request_connected(
	struct broker_request *request, struct broker_link *link, struct lookup *lookup)
{
	struct process *process = request->process;
	struct control_message message = {.type = CONTROL_CONNECTED, .request = request->id};
	struct broker_channel *channel;
	/* If the process connects to itself, the caller's end is the creator's. */
	unsigned caller = link->ends[0].process == process ? 0 : 1;
	/* A name alone may come to be another domain's, or several ones', without a change of
	 * facts. */
	int r = broker_channel_new(link, caller, lookup->listener, request->name, &lookup->verdict,
		request->domain[0], &channel, lookup->reason);

	if (r < 0) {
		broker_request_refuse(request, r, lookup);
		return;
	}
	message.connected.end = link->ends[caller].number;
	message.connected.channel = channel->number;
	message.connected.transport = link->id.transport;
	domain_peer(lookup->listener->process->domain, &message.connected.peer);
	memcpy(message.connected.name, request->name, sizeof(message.connected.name));
	terms_send(channel, &lookup->verdict, caller);
	capture_connected(channel);
	ahead_connected(channel);
	policy_hit(process->broker->policy, &lookup->verdict);
	note_connected(request, channel, &lookup->verdict);
	process_send(process, &message);
	PROBE(msgd, connect_done, request, 0);
	broker_request_free(request);
}

/* The checks after the name, in the order of PROTOCOL.md 5.3. */
static int listener_check(const struct broker_request *request, struct lookup *lookup)
{
	const struct listener *listener = lookup->listener;
	int r;

	if (domain_is_blocked(listener->process->domain) ||
		name_is_blocked(listener->process->domain, listener->name))
		return lookup_blocked(lookup);
	if (listener->drained) {
		reason_set(
			lookup->reason, "%s is drained: it takes no new connect", listener->name);
		return -ECONNREFUSED;
	}
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
	r = terms_check(request->process, &lookup->verdict, request->name, lookup->reason);
	if (r == 0)
		r = terms_check(listener->process, &lookup->verdict, request->name, lookup->reason);
	return r;
}

/* However often it is tried, a request counts once as a connect by its rule. */
static int broker_request_count(struct broker_request *request, struct lookup *lookup)
{
	int r;

	if (request->counted == lookup->verdict.id)
		return 0;
	r = connects_take(request->process->domain, &lookup->verdict, lookup->reason);
	if (r == 0)
		request->counted = lookup->verdict.id;
	return r;
}

/*
 * Bounds the connects of the caller's domain, and the programs that are run for them: there the
 * name need not have been found.
 */
static int broker_request_admit(struct broker_request *request, struct lookup *lookup, int found)
{
	const struct policy_verdict *verdict = &lookup->verdict;

	if (found < 0 && !(verdict->allow && (verdict->ask || verdict->start)))
		return 0;
	if (domain_is_blocked(request->process->domain))
		return lookup_blocked(lookup);
	return broker_request_count(request, lookup);
}

static void broker_request_try_connect(struct broker_request *request)
{
	struct lookup lookup = {
		.caller = request->process, .domain = request->domain, .name = request->name};
	struct broker_link *link;
	uint64_t before = request->process->broker->cost;
	int found = lookup_address(&lookup);
	int r = broker_request_admit(request, &lookup, found);

	PROBE(msgd, connect_decision, request, found, (uint32_t)lookup.verdict.allow,
		lookup.verdict.file, lookup.verdict.line);
	if (r == 0)
		r = errand_try(request, &lookup, found);
	request->spent_ns[CONNECT_LOOKUP] +=
		(request->process->broker->cost - before) * COST_UNIT_NS;
	if (r == ERRAND_ASKED) {
		broker_request_set_state(request, BROKER_REQUEST_ASKED, NULL);
		return;
	}
	if (r == ERRAND_STARTING) {
		broker_request_wait(request, BROKER_REQUEST_STARTING, lookup.goes_to);
		return;
	}
	/* A domain that is not up yet has no names yet, so WAIT_NAME covers it, too. */
	if (!request->start.errand && (r == -ENOENT || r == -EHOSTUNREACH) &&
		(request->connect.flags & CONNECT_WAIT_NAME)) {
		broker_request_wait(request, BROKER_REQUEST_NAME, lookup.goes_to);
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

/* ---- the domains' turns --------------------------------------------------------------------- */

static struct broker_request *domain_next_request(struct domain *domain)
{
	struct waiters *waiters = TAILQ_FIRST(&domain->unheard);

	if (!TAILQ_EMPTY(&domain->retry))
		return TAILQ_FIRST(&domain->retry);
	/* The oldest are first. */
	if (TAILQ_EMPTY(&domain->awake) && waiters &&
		waiters->generation != domain->broker->generation)
		waiters_awake(waiters);
	waiters = TAILQ_FIRST(&domain->awake);
	return waiters ? TAILQ_FIRST(&waiters->requests) : NULL;
}

static void broker_request_try(struct broker_request *request)
{
	struct domain *domain = request->process->domain;
	struct broker *broker = domain->broker;
	uint64_t before = broker->cost;

	broker->cost += COST_REQUEST;
	if (request->state == BROKER_REQUEST_NAME || request->state == BROKER_REQUEST_STARTING)
		broker_request_set_state(request, BROKER_REQUEST_RETRY, NULL);
	if (request->is_listen)
		broker_request_try_listen(request);
	else
		broker_request_try_connect(request);
	domain->credit -= (int64_t)(broker->cost - before);
}

bool broker_request_work(struct broker *broker)
{
	struct domain *domain;

	while (!requests_held(broker) && (domain = TAILQ_FIRST(&broker->working))) {
		struct broker_request *request = domain_next_request(domain);

		if (!request) {
			domain_has_no_work(domain);
			continue;
		}
		if (domain->credit > 0) {
			broker_request_try(request);
			return true;
		}
		domain->credit += TURN_COST_DOMAIN;
		TAILQ_REMOVE(&broker->working, domain, work_entry);
		TAILQ_INSERT_TAIL(&broker->working, domain, work_entry);
	}
	return false;
}

bool broker_request_work_left(const struct broker *broker)
{
	return !requests_held(broker) && !TAILQ_EMPTY(&broker->working);
}
