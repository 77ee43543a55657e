/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See note.h. */
#include "daemon/broker/note.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/broker/channel.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/link.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/lookup.h"
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

static void note_set_domain(struct history_party *party, const struct domain *domain)
{
	party->there = party->known = true;
	party->domid = domain->info.domid;
	memcpy(party->uuid, domain->info.uuid, sizeof(party->uuid));
	memcpy(party->domain, domain->info.name, sizeof(party->domain));
}

static void note_set_process(struct history_party *party, const struct process *process)
{
	note_set_domain(party, process->domain);
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

void note_process(const struct process *process, enum history_kind kind, const char *reason)
{
	note_set_text(note_about(process, kind), reason);
}

void note_name(const struct process *process, enum history_kind kind, const char *name)
{
	(void)snprintf(note_about(process, kind)->name, NAME_SIZE, "%s", name);
}

void note_domain(struct domain *domain, enum history_kind kind, const char *reason)
{
	struct history_event *event = note(domain->broker, &domain->history, kind);

	note_set_domain(&event->who, domain);
	note_set_text(event, reason);
}

/* error: a positive errno. */
static struct history_event *note_failed(const struct process *process, int error,
	const struct policy_verdict *verdict, const char *reason)
{
	bool refused = error == EACCES || error == EDQUOT;
	struct history_event *event =
		note_about(process, refused ? HISTORY_REFUSED : HISTORY_FAILED);

	event->error = error;
	event->by_rule = error == EACCES && verdict;
	if (event->by_rule)
		policy_verdict_rule(verdict, event->text, sizeof(event->text));
	else
		note_set_text(event, error == ENOMEM ? "msgd is out of memory" : reason);
	return event;
}

void note_listen_failed(const struct process *process, const char *name, int error,
	const struct policy_verdict *verdict, const char *reason)
{
	struct history_event *event = note_failed(process, error, verdict, reason);

	(void)snprintf(event->name, sizeof(event->name), "%s", name);
}

void note_attach_refused(const struct process *process, int error, const char *reason)
{
	(void)note_failed(process, error, NULL, reason);
}

static void note_set_stages(struct history_event *event, struct broker_request *request)
{
	broker_request_spent(request);
	for (unsigned i = 0; i < CONNECT_STAGES; i++)
		event->us[i] = (uint32_t)(request->spent_ns[i] / 1000);
}

void note_connect_failed(struct broker_request *request, int error,
	const struct policy_verdict *verdict, const char *reason)
{
	struct history_event *event = note_failed(request->process, error, verdict, reason);

	event->peer.there = true;
	memcpy(event->peer.domain, request->domain, sizeof(event->peer.domain));
	memcpy(event->name, request->name, sizeof(event->name));
	note_set_stages(event, request);
}

/* by, or the domain that pays for the link, or that of an end: a link may be announced in vain. */
static struct history_source *link_source(const struct broker_link *link, struct domain *by)
{
	if (!by)
		by = link->charge.domain;
	for (unsigned i = 0; i < 2 && !by; i++)
		by = link->ends[i].process ? link->ends[i].process->domain : NULL;
	return by ? &by->history : &link->broker->history.gone;
}

static struct history_event *note_channel(const struct broker_channel *channel,
	enum history_kind kind, struct domain *by, const struct link_end *who)
{
	const struct broker_link *link = channel->link;
	struct history_event *event = note(link->broker, link_source(link, by), kind);

	event->link = link->id.uid;
	event->channel = channel->number;
	(void)snprintf(event->name, sizeof(event->name), "%s", broker_channel_name(channel));
	note_set_end(&event->who, who);
	note_set_end(&event->peer, &link->ends[who == &link->ends[0]]);
	return event;
}

void note_connected(struct broker_request *request, const struct broker_channel *channel)
{
	note_set_stages(note_channel(channel, HISTORY_CONNECTED, request->process->domain,
				&channel->link->ends[channel->caller]),
		request);
}

void note_accepted(const struct broker_channel *channel)
{
	const struct link_end *holder = &channel->link->ends[!channel->caller];
	uint64_t spent_ns = channel->link->broker->now_ns - channel->since_ns;

	note_channel(channel, HISTORY_ACCEPTED, holder->process->domain, holder)
		->us[CONNECT_ACCEPT] = (uint32_t)(spent_ns / 1000);
}

void note_channel_reset(const struct broker_channel *channel, const char *reason)
{
	note_set_text(note_channel(channel, HISTORY_CHANNEL_RESET, NULL,
			      &channel->link->ends[channel->caller]),
		reason);
}

void note_link(const struct broker_link *link, enum history_kind kind, struct domain *by, int error,
	const char *reason)
{
	struct history_event *event = note(link->broker, link_source(link, by), kind);

	event->link = link->id.uid;
	event->error = error;
	note_set_end(&event->who, &link->ends[0]);
	note_set_end(&event->peer, &link->ends[1]);
	note_set_text(event, reason);
}

void broker_note_client(struct broker *broker, enum history_kind kind, uint32_t uid, uint32_t pid,
	int error, const char *text)
{
	struct history_event *event = note(broker, &broker->history.clients, kind);

	event->by_client = pid != 0;
	event->uid = uid;
	event->client_pid = pid;
	event->error = error;
	note_set_text(event, text);
}
