/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An attached application: its life from HELLO to its end (PROTOCOL.md 5.1, 5.4), and its end
 * numbers. Its pid and comm are its own words: they are shown to people and never trusted.
 */
#include "daemon/broker/process.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>

#include "base/macro.h"
#include "base/probe.h"
#include "daemon/broker/announce.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/link.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/message-id.h"
#include "daemon/broker/note.h"
#include "daemon/broker/quiesce.h"
#include "daemon/broker/request.h"
#include "daemon/broker/state.h"
#include "proto/record.h"

/*
 * The links of a process that are ended with it. More of them are the peers' doing, and end by and
 * by: their peers learn the reason a little later.
 */
#define LINKS_AT_ONCE 32U

void process_set_state(struct process *process, enum process_state state)
{
	static const unsigned moves[] = {
		[PROCESS_NEW] = ENUM_BIT(PROCESS_ANNOUNCING) | ENUM_BIT(PROCESS_READY) |
				ENUM_BIT(PROCESS_QUIESCING) | ENUM_BIT(PROCESS_GONE),
		[PROCESS_ANNOUNCING] = ENUM_BIT(PROCESS_READY) | ENUM_BIT(PROCESS_QUIESCING) |
				       ENUM_BIT(PROCESS_GONE),
		[PROCESS_READY] = ENUM_BIT(PROCESS_QUIESCING) | ENUM_BIT(PROCESS_GONE),
		[PROCESS_QUIESCING] = ENUM_BIT(PROCESS_PARKED) | ENUM_BIT(PROCESS_GONE),
		[PROCESS_PARKED] = ENUM_BIT(PROCESS_GONE),
		[PROCESS_GONE] = 0,
	};

	assert(moves[process->state] & ENUM_BIT(state));
	process->state = state;
}

void process_describe(const struct process *process, char *ret_text, size_t size)
{
	(void)snprintf(ret_text, size, "%s(%u) pid %u (%s)", process->domain->info.name,
		process->domain->info.domid, process->pid, process->comm);
}

const char *process_ending(const struct process *process)
{
	return process->domain->ending;
}

int broker_attach(struct broker *broker, uint16_t domid, uint32_t epoch, void *peer, bool found,
	struct process **ret_process)
{
	struct domain *domain = domain_find(broker, domid);
	struct process *process;

	if (!domain || domain_is_dead(&domain->info))
		return -ESRCH;
	process = calloc(1, sizeof(*process));
	if (!process)
		return -ENOMEM;
	process->broker = broker;
	process->domain = domain;
	process->peer = peer;
	process->epoch = epoch;
	process->serial = ++broker->next_serial;
	process->since_ns = broker->now_ns;
	process->awaited = found;
	domain->n_awaited += found;
	TAILQ_INIT(&process->outbox);
	strcpy(process->comm, "?");
	TAILQ_INSERT_TAIL(&domain->processes, process, entry);
	*ret_process = process;
	return 0;
}

void process_not_awaited(struct process *process)
{
	if (!process->awaited)
		return;
	process->awaited = false;
	announce_one_less(process->domain);
}

void process_strip(struct process *process, const struct process *except, const char *reason)
{
	struct listener *listener, *next_listener;
	struct broker_request *request, *next_request;

	HASH_ITER (hh, process->requests, request, next_request)
		broker_request_free(request);
	watch_end_all(process);
	counts_not_asked(process);
	ping_end(process);
	HASH_ITER (hh, process->listeners, listener, next_listener)
		listener_free(listener);
	for (unsigned n = 0; process->ends && n < LINKS_AT_ONCE; n++)
		broker_link_down(process->ends->link, except, process->domain, ECONNRESET, reason);
}

void process_free(struct process *process, const char *reason)
{
	if (process->state != PROCESS_PARKED)
		quiesce_process_gone(process);
	process_set_state(process, PROCESS_GONE);
	outbox_clear(process);
	process_strip(process, NULL, reason);
	process_not_awaited(process);
	TAILQ_REMOVE(&process->domain->processes, process, entry);
	charge_return(&process->charge);
	free(process->capture);
	process->capture = NULL;
	if (!process->ends) {
		free(process);
		return;
	}
	reason_set(process->gone_reason, "%s", reason);
	process->domain->n_dying++;
	TAILQ_INSERT_TAIL(&process->broker->dying, process, entry);
}

bool process_end_work(struct broker *broker)
{
	struct process *process = TAILQ_FIRST(&broker->dying);

	if (!process)
		return false;
	broker->cost += COST_OBJECT;
	/* The other end may have ended the last one. */
	if (process->ends)
		broker_link_down(process->ends->link, NULL, process->domain, ECONNRESET,
			process->gone_reason);
	if (process->ends)
		return true;
	TAILQ_REMOVE(&broker->dying, process, entry);
	process->domain->n_dying--;
	free(process);
	return true;
}

void process_drop(struct process *process, enum process_drop cause, const char *reason)
{
	static const struct {
		const char *id;
		int priority;
	} kinds[] = {
		[PROCESS_DROP_VIOLATION] = {MESSAGE_ID_DROPPED, LOG_WARNING},
		[PROCESS_DROP_KICK] = {MESSAGE_ID_KICKED, LOG_NOTICE},
		[PROCESS_DROP_DOMAIN] = {MESSAGE_ID_GONE, LOG_INFO},
	};
	struct broker *broker = process->broker;
	struct broker_line line = {.id = kinds[cause].id};
	char text[PROCESS_TEXT_SIZE];

	process_describe(process, text, sizeof(text));
	line.event = note_process(process, HISTORY_DROPPED, reason);
	domain_log_line(
		process->domain, kinds[cause].priority, &line, "%s is dropped: %s", text, reason);
	if (broker->ops)
		broker->ops->drop(broker->arg, process->peer, reason);
	process->peer = NULL;
	process_free(process, reason);
}

uint32_t process_next_end(struct process *process)
{
	struct link_end *taken;

	do {
		if (++process->last_end == 0) {
			process->ends_wrapped = true;
			process->last_end = 1;
		}
		HASH_FIND(hh, process->ends, &process->last_end, sizeof(process->last_end), taken);
	} while (taken);
	return process->last_end;
}

int process_end(struct process *process, uint32_t number, struct link_end **ret_end)
{
	HASH_FIND(hh, process->ends, &number, sizeof(number), *ret_end);
	if (*ret_end)
		return 0;
	/*
	 * The message crossed our LINK_DOWN. A message about a number that was never given did not.
	 */
	if (number != 0 && (process->ends_wrapped || number <= process->last_end))
		return 0;
	return -EPROTO;
}

void process_send(struct process *process, const struct control_message *message)
{
	outbox_send(process, NULL, message, NULL);
}

void process_status(struct process *process, uint32_t request, int error, const char *reason)
{
	struct control_message message = {.type = CONTROL_STATUS, .request = request};

	if (error == ENOMEM)
		reason = "msgd is out of memory";
	message.status.error = error == ENOMEM ? ENOBUFS : (uint32_t)error;
	if (reason)
		reason_set(message.status.reason, "%s", reason);
	process_send(process, &message);
}

void process_link_down(
	struct process *process, struct domain *payer, uint32_t end, int error, const char *reason)
{
	struct control_message message = {.type = CONTROL_LINK_DOWN};

	message.link_down.end = end;
	message.link_down.error = (uint32_t)error;
	reason_set(message.link_down.reason, "%s", reason);
	outbox_send(process, payer, &message, NULL);
}

void process_channel_gone(
	struct process *process, struct domain *payer, uint32_t end, uint32_t channel)
{
	struct control_message message = {.type = CONTROL_CHANNEL_GONE};

	message.channel_gone.end = end;
	message.channel_gone.channel = channel;
	outbox_send(process, payer, &message, NULL);
}

static void process_refuse(struct process *process, uint32_t request, int error, const char *reason)
{
	note_attach_refused(process, error, reason);
	process_status(process, request, error, reason);
	process_not_awaited(process);
}

int process_hello(struct process *process, const struct control_message *message)
{
	const struct control_hello *hello = &message->hello;
	struct control_message welcome = {.type = CONTROL_WELCOME, .request = message->request};
	uint16_t version = (uint16_t)min_u32(hello->version_max, CONTROL_VERSION);
	char reason[REASON_SIZE];

	if (process->state != PROCESS_NEW || message->request == 0)
		return -EPROTO;
	process->pid = hello->pid;
	memcpy(process->comm, hello->comm, sizeof(process->comm));
	process->comm[sizeof(process->comm) - 1] = '\0';
	if (version < hello->version_min || version < CONTROL_VERSION_MIN) {
		process_status(process, message->request, EPROTONOSUPPORT,
			"no protocol version in common with msgd");
		return 0;
	}
	if (domain_is_quiesced(process->domain)) {
		process_quiesce(process);
		return 0;
	}
	if (domain_is_blocked(process->domain)) {
		process_refuse(process, message->request, EACCES, "blocked by the administrator");
		return 0;
	}
	if (charge_take(&process->charge, process->domain, QUOTA_PROCESSES, reason) < 0) {
		process_refuse(process, message->request, EDQUOT, reason);
		return 0;
	}
	(void)note_process(process, HISTORY_ATTACHED, hello->reattach ? "again" : NULL);
	PROBE(msgd, attach, (uint32_t)process->domain->info.domid, process->pid, process->comm);
	process->features = hello->features;
	process->sums_known = !hello->reattach; /* else it carried some of it before */
	welcome.welcome.epoch = process->epoch;
	welcome.welcome.version = version;
	welcome.welcome.domid = process->domain->info.domid;
	welcome.welcome.features = FEATURE_ARGO | FEATURE_ARGO_STRICT | FEATURE_TYPES |
				   FEATURE_WATCH | FEATURE_TERMS | FEATURE_COUNTS |
				   FEATURE_CAPTURE | FEATURE_AHEAD | FEATURE_EXPIRED;
	process_send(process, &welcome);
	if (hello->reattach) {
		process_set_state(process, PROCESS_ANNOUNCING);
		return 0;
	}
	process_set_state(process, PROCESS_READY);
	process_not_awaited(process);
	return 0;
}
