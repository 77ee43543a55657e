/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See note.h. */
#include "daemon/broker/note.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/macro.h"
#include "base/probe.h"
#include "daemon/broker/channel.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/link.h"
#include "daemon/broker/message-id.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"

static struct history_event *note(
	struct broker *broker, struct history_source *source, enum history_kind kind)
{
	struct history_event *event = history_add(&broker->history, source);

	broker->cost += COST_NOTE;
	event->kind = kind;
	event->at_ns = broker->now_ns;
	event->wall_us = broker->wall_us;
	return event;
}

static void note_set_process(struct history_party *party, const struct process *process)
{
	domain_party(process->domain, party);
	party->attached = true;
	party->pid = process->pid;
	memcpy(party->comm, process->comm, sizeof(party->comm));
}

static void note_set_end(struct history_party *party, const struct link_end *end)
{
	if (end->process) {
		note_set_process(party, end->process);
		return;
	}
	party->there = true;
	party->domid = end->domid;
}

static void note_set_text(struct history_event *event, const char *text)
{
	if (text)
		reason_set(event->text, "%s", text);
}

static struct history_event *note_about(const struct process *process, enum history_kind kind)
{
	struct history_event *event = note(process->broker, &process->domain->history, kind);

	note_set_process(&event->who, process);
	return event;
}

/* For the domain, and for all. */
#define COUNT(domain, what) ((domain)->stats.what++, (domain)->broker->stats.what++)

void refusals_forget(struct broker *broker)
{
	struct refusals *refusals, *next;

	HASH_ITER (hh, broker->refusals, refusals, next) {
		HASH_DELETE(hh, broker->refusals, refusals);
		free(refusals);
	}
}

void refusals_move(struct broker *broker, const struct policy *policy)
{
	struct refusals *former = broker->refusals, *refusals, *next;

	broker->refusals_since_us = broker->wall_us;
	broker->refusals = NULL;
	HASH_ITER (hh, former, refusals, next) {
		uint32_t rule = policy_successor(broker->policy, refusals->rule);
		unsigned line = 0;

		HASH_DELETE(hh, former, refusals);
		if (rule) {
			policy_rule_place(policy, rule, &refusals->key.file, &line);
			refusals->key.line = line;
			refusals->rule = rule;
		} else if (refusals->key.file) {
			free(refusals);
			continue;
		}
		HASH_ADD(hh, broker->refusals, key, sizeof(refusals->key), refusals);
		if (!hash_added(&refusals->hh))
			free(refusals);
	}
}

/* Without memory one is left out. */
static void refusals_count(struct broker *broker, const struct policy_verdict *verdict)
{
	struct refusals *refusals, key;

	/* Zeroed whole: it is a hash key. */
	memset(&key, 0, sizeof(key));
	key.key.file = verdict->file;
	key.key.line = verdict->line;
	HASH_FIND(hh, broker->refusals, &key.key, sizeof(key.key), refusals);
	if (!refusals) {
		refusals = calloc(1, sizeof(*refusals));
		if (!refusals)
			return;
		refusals->key = key.key;
		refusals->rule = verdict->rule;
		refusals->since_us =
			broker->refusals_since_us ? broker->refusals_since_us : broker->since_us;
		HASH_ADD(hh, broker->refusals, key, sizeof(refusals->key), refusals);
		if (!hash_added(&refusals->hh)) {
			free(refusals);
			return;
		}
	}
	refusals->n++;
}

/* ---- audit ---------------------------------------------------------------------------------- */

static bool audit_wants(
	const struct broker *broker, const struct policy_verdict *verdict, bool permitted)
{
	if (verdict && verdict->log == POLICY_LOG_YES)
		return true;
	if (verdict && verdict->log == POLICY_LOG_NO)
		return false;
	return broker->audit >= (permitted ? BROKER_AUDIT_ALL : BROKER_AUDIT_REFUSED);
}

/*
 * One record a decision, beside its event. verdict: NULL, if the policy had no part in it. Limits
 * have lines of their own. does: with the blank before the name, if there is one.
 */
static void audit(const struct process *process, const struct history_event *event,
	const struct policy_verdict *verdict, struct broker_line line, const char *does,
	const char *name)
{
	bool permitted = event->error == 0;
	char text[PROCESS_TEXT_SIZE], rule[128];

	if ((!permitted && event->error != EACCES) ||
		!audit_wants(process->broker, verdict, permitted))
		return;
	if (verdict && verdict->allow == permitted) {
		policy_verdict_rule(verdict, rule, sizeof(rule));
		line.rule = rule;
	}
	line.audit = true;
	line.event = event;
	process_describe(process, text, sizeof(text));
	domain_log_line(process->domain, permitted ? LOG_INFO : LOG_NOTICE, &line,
		"%s: %s %s%s (%s)", permitted ? "permitted" : "refused", text, does, name,
		line.rule ? line.rule : event->text);
}

/* ---- events --------------------------------------------------------------------------------- */

const struct history_event *note_process(
	const struct process *process, enum history_kind kind, const char *reason)
{
	struct history_event *event = note_about(process, kind);

	if (kind == HISTORY_ATTACHED)
		COUNT(process->domain, attached);
	else if (kind == HISTORY_DROPPED)
		COUNT(process->domain, dropped);
	note_set_text(event, reason);
	return event;
}

static const struct history_event *note_name(
	const struct process *process, enum history_kind kind, const char *name)
{
	struct history_event *event = note_about(process, kind);

	(void)snprintf(event->name, sizeof(event->name), "%s", name);
	return event;
}

void note_listening(
	const struct process *process, const char *name, const struct policy_verdict *verdict)
{
	audit(process, note_name(process, HISTORY_LISTENING, name), verdict,
		(struct broker_line){.id = MESSAGE_ID_LISTEN_PERMITTED}, "listens as ", name);
}

void note_unlistened(const struct process *process, const char *name)
{
	(void)note_name(process, HISTORY_UNLISTENED, name);
}

const struct history_event *note_domain(
	struct domain *domain, enum history_kind kind, const char *reason)
{
	struct history_event *event = note(domain->broker, &domain->history, kind);

	domain_party(domain, &event->who);
	note_set_text(event, reason);
	return event;
}

/* error: a positive errno. */
static struct history_event *note_failed(const struct process *process, int error,
	const struct policy_verdict *verdict, const char *reason)
{
	bool refused = error == EACCES || error == EDQUOT;
	struct history_event *event =
		note_about(process, refused ? HISTORY_REFUSED : HISTORY_FAILED);

	if (refused)
		COUNT(process->domain, refused);
	else
		COUNT(process->domain, failed);
	event->error = error;
	if (refused && verdict && !verdict->allow) {
		refusals_count(process->broker, verdict);
		policy_verdict_rule(verdict, event->rule, sizeof(event->rule));
	}
	/* The rule is the reason, unless it sets a limit, or its program has decided. */
	if (error == ENOMEM)
		note_set_text(event, "msgd is out of memory");
	else if (error != EACCES || !event->rule[0] || verdict->ask)
		note_set_text(event, reason);
	if (refused)
		PROBE(msgd, refuse, (uint32_t)event->who.domid, event->who.pid, error,
			event->text[0] ? event->text : event->rule);
	return event;
}

void note_listen_failed(const struct process *process, const char *name, int error,
	const struct policy_verdict *verdict, const char *reason)
{
	struct history_event *event = note_failed(process, error, verdict, reason);

	(void)snprintf(event->name, sizeof(event->name), "%s", name);
	audit(process, event, verdict, (struct broker_line){.id = MESSAGE_ID_LISTEN_REFUSED},
		"listens as ", name);
}

void note_attach_refused(const struct process *process, int error, const char *reason)
{
	audit(process, note_failed(process, error, NULL, reason), NULL,
		(struct broker_line){.id = MESSAGE_ID_ATTACH_REFUSED}, "attaches", "");
}

static uint32_t stage_us(uint64_t spent_ns)
{
	return (uint32_t)min_u64(spent_ns / 1000, UINT32_MAX);
}

static void note_set_stages(struct history_event *event, struct broker_request *request)
{
	broker_request_spent(request);
	for (unsigned i = 0; i < CONNECT_STAGES; i++)
		event->us[i] = stage_us(request->spent_ns[i]);
}

void note_connect_failed(struct broker_request *request, int error,
	const struct policy_verdict *verdict, const char *reason)
{
	struct history_event *event = note_failed(request->process, error, verdict, reason);

	event->peer.there = true;
	memcpy(event->peer.domain, request->domain, sizeof(event->peer.domain));
	memcpy(event->name, request->name, sizeof(event->name));
	note_set_stages(event, request);
	audit(request->process, event, verdict,
		(struct broker_line){.id = MESSAGE_ID_CONNECT_REFUSED}, "connects to ",
		request->connect.address);
}

/*
 * by, or the domain that pays for the link, or that of an end: a link may be announced in vain.
 * NULL: it is gone.
 */
static struct domain *link_domain(const struct broker_link *link, struct domain *by)
{
	if (!by)
		by = link->charge.domain;
	for (unsigned i = 0; i < 2 && !by; i++)
		by = link->ends[i].process ? link->ends[i].process->domain : NULL;
	return by;
}

static struct history_source *link_source(const struct broker_link *link, struct domain *by)
{
	by = link_domain(link, by);
	return by ? &by->history : &link->broker->history.gone;
}

/* A link that could not be made is none: its connects count as failed. */
static void link_count_reset(const struct broker_link *link, struct domain *by)
{
	if (link->n_standing == 0)
		return;
	by = link_domain(link, by);
	if (by)
		by->stats.reset++;
	link->broker->stats.reset++;
}

void note_of_link(
	struct history_event *event, const struct broker_link *link, const struct link_end *who)
{
	event->link = link->id.uid;
	note_set_end(&event->who, who);
	note_set_end(&event->peer, &link->ends[who == &link->ends[0]]);
}

void note_of_channel(struct history_event *event, const struct broker_channel *channel,
	const struct link_end *who)
{
	note_of_link(event, channel->link, who);
	event->channel = channel->number;
	memcpy(event->name, channel->tally->key.name, sizeof(event->name));
}

static struct history_event *note_channel(const struct broker_channel *channel,
	enum history_kind kind, struct domain *by, const struct link_end *who)
{
	const struct broker_link *link = channel->link;
	struct history_event *event = note(link->broker, link_source(link, by), kind);

	note_of_channel(event, channel, who);
	return event;
}

void note_connected(struct broker_request *request, const struct broker_channel *channel,
	const struct policy_verdict *verdict)
{
	struct domain *domain = request->process->domain;
	struct history_event *event = note_channel(
		channel, HISTORY_CONNECTED, domain, &channel->link->ends[channel->caller]);

	COUNT(domain, connected);
	note_set_stages(event, request);
	for (unsigned i = 0; i < CONNECT_ACCEPT; i++)
		histogram_add(&domain->broker->latency[i], event->us[i]);
	audit(request->process, event, verdict,
		(struct broker_line){.id = MESSAGE_ID_CONNECT_PERMITTED,
			.transport = transport_name(channel->link->id.transport)},
		"connects to ", request->connect.address);
}

void note_used_ahead(const struct broker_channel *channel)
{
	const struct link_end *caller = &channel->link->ends[channel->caller];
	struct domain *domain = caller->process->domain;

	note_channel(channel, HISTORY_CONNECTED, domain, caller);
	COUNT(domain, connected);
}

void note_accepted(const struct broker_channel *channel)
{
	const struct link_end *holder = &channel->link->ends[!channel->caller];
	struct broker *broker = channel->link->broker;
	uint32_t us = stage_us(broker->now_ns - channel->since_ns);

	note_channel(channel, HISTORY_ACCEPTED, holder->process->domain, holder)
		->us[CONNECT_ACCEPT] = us;
	histogram_add(&broker->latency[CONNECT_ACCEPT], us);
}

void note_channel_reset(const struct broker_channel *channel, const char *reason, const char *rule)
{
	struct history_event *event = note_channel(
		channel, HISTORY_CHANNEL_RESET, NULL, &channel->link->ends[channel->caller]);

	note_set_text(event, reason);
	(void)snprintf(event->rule, sizeof(event->rule), "%s", rule ? rule : "");
}

void note_link(const struct broker_link *link, enum history_kind kind, struct domain *by, int error,
	const char *reason)
{
	struct history_event *event = note(link->broker, link_source(link, by), kind);

	if (kind == HISTORY_LINK_MADE)
		COUNT(link->ends[0].process->domain, links_made);
	else if (error)
		link_count_reset(link, by);
	note_of_link(event, link, &link->ends[0]);
	event->error = error;
	note_set_text(event, reason);
}

static void note_client_log(
	struct broker *broker, const struct history_event *event, const char *reason)
{
	bool refused = event->error && !reason;
	struct broker_line line = {
		.id = refused ? MESSAGE_ID_ADMIN_REFUSED : MESSAGE_ID_ADMIN,
		.audit = true,
		.event = event,
		.reason = reason,
	};

	if (broker->audit != BROKER_AUDIT_NONE)
		broker_log_line(broker, BROKER_LOG_CLIENTS, LOG_NOTICE, &line,
			"%suser %u (pid %u): %s%s%s",
			refused	 ? "refused: "
			: reason ? "failed: "
				 : "",
			event->uid, event->client_pid, event->text, reason ? ": " : "",
			reason ? reason : "");
}

void broker_note_client(struct broker *broker, enum history_kind kind, uint32_t uid, uint32_t pid,
	int error, const char *text, const char *reason)
{
	struct history_event *event = note(broker, &broker->history.clients, kind);

	event->by_client = kind == HISTORY_ADMIN || pid != 0; /* of another PID namespace: 0 */
	event->uid = uid;
	event->client_pid = pid;
	event->error = error;
	note_set_text(event, text);
	if (kind == HISTORY_ADMIN)
		note_client_log(broker, event, reason);
	if (reason)
		reason_set(event->text, "%s: %s", text, reason);
}
