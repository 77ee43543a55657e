/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names: which process holds which name of a domain. PROTOCOL.md 5.2. A name has one holder in a
 * domain, ever.
 */
#include "daemon/broker/listener.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>

#include "daemon/broker/ahead.h"
#include "daemon/broker/channel.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/former.h"
#include "daemon/broker/link.h"
#include "daemon/broker/message-id.h"
#include "daemon/broker/note.h"
#include "daemon/broker/process.h"
#include "daemon/broker/request.h"
#include "daemon/broker/state.h"

struct listener *listener_find(struct domain *domain, const char *name)
{
	struct listener *listener;

	HASH_FIND(hh_name, domain->listeners, name, strlen(name), listener);
	return listener;
}

void name_keys(const char *name, struct name_key ret_keys[2])
{
	size_t len = strlen(name), base = name_base_len(name);

	ret_keys[0] = (struct name_key){.name = name, .len = len};
	ret_keys[1] = (struct name_key){.name = name, .len = base < len ? base : 0};
	for (unsigned i = 0; i < 2; i++)
		HASH_VALUE(name, ret_keys[i].len, ret_keys[i].hash);
}

struct listener *listener_by_keys(struct domain *domain, const struct name_key keys[2])
{
	struct listener *listener = NULL;

	for (unsigned i = 0; i < 2 && !listener && keys[i].len; i++)
		HASH_FIND_BYHASHVALUE(hh_name, domain->listeners, keys[i].name, keys[i].len,
			keys[i].hash, listener);
	return listener;
}

bool listener_would_be_permitted(const struct listener *listener, const struct policy *policy,
	struct policy_verdict *ret_verdict)
{
	const struct process *process = listener->process;
	struct policy_subject holder = domain_subject(process->domain);

	process->broker->cost +=
		policy_judge(policy, listener->name, NULL, &holder, POLICY_EXACT, ret_verdict);
	return ret_verdict->allow;
}

/* By the policy in force, as it is now. */
static bool listener_is_permitted(const struct listener *listener)
{
	struct policy_verdict verdict;

	return listener_would_be_permitted(listener, listener->process->broker->policy, &verdict);
}

bool listener_permitted(const struct listener *listener)
{
	const struct process *process = listener->process;

	/* The loss of a name begins no generation: it ends nothing that stands. */
	if (process->domain->name_known && listener->generation == process->broker->generation)
		return listener->permitted;
	return listener_is_permitted(listener);
}

static void listener_log_revoked(const struct listener *listener)
{
	struct history_event event = {.kind = HISTORY_KINDS};
	struct domain *domain = listener->process->domain;

	domain_party(domain, &event.who);
	memcpy(event.name, listener->name, sizeof(event.name));
	domain_log_line(domain, LOG_NOTICE,
		&(struct broker_line){.id = MESSAGE_ID_NAME_REVOKED, .event = &event},
		"%s/%s: no longer permitted, and not found any more", domain->info.name,
		listener->name);
}

void listener_judge(struct listener *listener)
{
	struct domain *domain = listener->process->domain;
	struct broker *broker = domain->broker;
	bool was_permitted = listener->permitted;

	listener->permitted = listener_is_permitted(listener);
	broker->judged.names += was_permitted && !listener->permitted;
	listener->generation = broker->generation;
	TAILQ_REMOVE(&broker->names_by_judgement, listener, judgement_entry);
	TAILQ_INSERT_TAIL(&broker->names_by_judgement, listener, judgement_entry);
	if (!listener->permitted)
		listener_log_revoked(listener);
}

/* 0, or a negative errno for the answer, with its reason. */
static int listen_check(struct process *process, const struct control_listen *listen,
	struct policy_verdict *ret_verdict, char ret_reason[REASON_SIZE])
{
	struct policy_subject holder = domain_subject(process->domain);

	if (name_check(listen->name) < 0) {
		reason_set(ret_reason, "not a valid name");
		return -EINVAL;
	}
	process->broker->cost += policy_judge(
		process->broker->policy, listen->name, NULL, &holder, POLICY_EXACT, ret_verdict);
	policy_hit(process->broker->policy, ret_verdict);
	if (!ret_verdict->allow) {
		reason_set(ret_reason, "denied by policy");
		return -EACCES;
	}
	if (domain_is_blocked(process->domain) || name_is_blocked(process->domain, listen->name)) {
		reason_set(ret_reason, "blocked by the administrator");
		return -EACCES;
	}
	if (listener_find(process->domain, listen->name)) {
		reason_set(ret_reason, "%s is taken in domain %s", listen->name,
			process->domain->info.name);
		return -EADDRINUSE;
	}
	if (listen->backlog > process->domain->limits.backlog) {
		domain_log_line(process->domain, LOG_NOTICE,
			&(struct broker_line){.id = MESSAGE_ID_LIMIT},
			"%s(%u): %u is over the limit backlog=%u", process->domain->info.name,
			process->domain->info.domid, listen->backlog,
			process->domain->limits.backlog);
		reason_set(ret_reason, "backlog %u is over the limit backlog=%u", listen->backlog,
			process->domain->limits.backlog);
		return -EINVAL;
	}
	return 0;
}

static int listener_create(
	struct process *process, const struct control_listen *listen, char ret_reason[REASON_SIZE])
{
	struct listener *listener = calloc(1, sizeof(*listener));
	int r;

	if (!listener)
		return -ENOMEM;
	r = charge_take(&listener->charge, process->domain, QUOTA_NAMES, ret_reason);
	if (r < 0) {
		free(listener);
		return r;
	}
	listener->process = process;
	listener->handle = listen->listener;
	listener->type = listen->type;
	listener->backlog = listen->backlog;
	listener->since_ns = process->broker->now_ns;
	memcpy(listener->name, listen->name, sizeof(listener->name));
	LIST_INIT(&listener->offered);
	HASH_ADD(hh, process->listeners, handle, sizeof(listener->handle), listener);
	if (hash_added(&listener->hh))
		HASH_ADD_KEYPTR(hh_name, process->domain->listeners, listener->name,
			strlen(listener->name), listener);
	if (!hash_added(&listener->hh_name)) {
		if (hash_added(&listener->hh))
			HASH_DELETE(hh, process->listeners, listener);
		charge_return(&listener->charge);
		free(listener);
		return -ENOMEM;
	}
	/* listen_check has just judged it. */
	former_take(listener);
	listener->permitted = true;
	listener->generation = process->broker->generation;
	TAILQ_INSERT_TAIL(&process->broker->names_by_judgement, listener, judgement_entry);
	broker_request_name_appeared(process->domain, listener->name);
	watch_name_came(listener);
	return 0;
}

static bool listener_is(const struct listener *listener, const struct control_listen *listen)
{
	return listener->type == listen->type && listener->backlog == listen->backlog &&
	       strcmp(listener->name, listen->name) == 0;
}

int listener_new(struct process *process, uint32_t request, const struct control_listen *listen)
{
	struct listener *listener;
	struct policy_verdict verdict;
	char reason[REASON_SIZE] = "";
	int r;

	HASH_FIND(hh, process->listeners, &listen->listener, sizeof(listen->listener), listener);
	if (listener) {
		/*
		 * The application sends LISTEN again after msgd's return, and has announced the
		 * name meanwhile: both have the effect of one.
		 */
		if (!listener_is(listener, listen))
			return -EPROTO;
		process_status(process, request, 0, NULL);
		return 0;
	}
	r = listen_check(process, listen, &verdict, reason);
	if (r == 0)
		r = listener_create(process, listen, reason);
	if (r == 0)
		note_listening(process, listen->name, &verdict);
	else
		note_listen_failed(process, listen->name, -r, &verdict, reason);
	process_status(process, request, -r, reason);
	return 0;
}

void listener_free(struct listener *listener)
{
	struct broker_channel *channel;

	while ((channel = LIST_FIRST(&listener->offered))) {
		LIST_REMOVE(channel, offered);
		channel->listener = NULL;
		if (channel->ahead)
			ahead_end(&channel->link->ahead[channel->caller]);
		broker_channel_repay_caller(channel);
	}
	listener->process->broker->cost += COST_OBJECT;
	watch_name_gone(listener);
	former_keep(listener);
	TAILQ_REMOVE(&listener->process->broker->names_by_judgement, listener, judgement_entry);
	HASH_DELETE(hh_name, listener->process->domain->listeners, listener);
	HASH_DELETE(hh, listener->process->listeners, listener);
	charge_return(&listener->charge);
	free(listener);
}

static int listener_unlisten(struct process *process, uint32_t request, uint32_t handle)
{
	struct listener *listener;

	HASH_FIND(hh, process->listeners, &handle, sizeof(handle), listener);
	if (!listener) {
		/* Else a LISTEN that still waits would come to life later. */
		bool held = broker_request_unhold_listen(process, handle);

		process_status(
			process, request, held ? 0 : ENOENT, held ? NULL : "no such listener");
		return 0;
	}
	note_unlistened(process, listener->name);
	listener_free(listener);
	process_status(process, request, 0, NULL);
	return 0;
}

int listener_message(struct process *process, const struct control_message *message)
{
	if (message->request == 0)
		return -EPROTO;
	if (message->type == CONTROL_UNLISTEN)
		return listener_unlisten(process, message->request, message->unlisten.listener);
	/* A name that another application holds may still be on its way. PROTOCOL.md 5.1. */
	if (process->broker->recovering && process->state != PROCESS_ANNOUNCING)
		return broker_request_hold_listen(process, message->request, &message->listen);
	return listener_new(process, message->request, &message->listen);
}
