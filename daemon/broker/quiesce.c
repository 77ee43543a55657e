/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Quiescing (PROTOCOL.md 5.5): before a domain is saved, its applications give back all that they
 * hold of the hypervisor, and confirm. There is no time limit here: an application that is in no
 * libmsg call cannot answer, and the administrator decides how long to wait. Confirmations are kept
 * for the report, as many as the domain may have applications.
 */
#include "daemon/broker/quiesce.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>

#include "base/macro.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/message-id.h"
#include "daemon/broker/note.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"

static void domain_set_quiesce(struct domain *domain, enum domain_quiesce quiesce)
{
	static const unsigned moves[] = {
		[DOMAIN_SERVED] = ENUM_BIT(DOMAIN_QUIESCED) | ENUM_BIT(DOMAIN_SUSPENDED),
		[DOMAIN_QUIESCED] = ENUM_BIT(DOMAIN_SUSPENDED) | ENUM_BIT(DOMAIN_SERVED),
		[DOMAIN_SUSPENDED] = ENUM_BIT(DOMAIN_SERVED),
	};

	assert(moves[domain->quiesce] & ENUM_BIT(quiesce));
	domain->quiesce = quiesce;
}

bool domain_is_quiesced(const struct domain *domain)
{
	return domain->quiesce != DOMAIN_SERVED;
}

/* From DOMAIN_SERVED. */
static void domain_quiesce(struct domain *domain)
{
	domain_set_quiesce(domain,
		domain->info.state == BROKER_DOMAIN_SUSPENDED ? DOMAIN_SUSPENDED : DOMAIN_QUIESCED);
}

static void quiesced_free(struct domain *domain, struct quiesced *quiesced)
{
	TAILQ_REMOVE(&domain->parted, quiesced, entry);
	domain->n_parted--;
	free(quiesced);
}

void domain_forget_quiesced(struct domain *domain)
{
	struct quiesced *quiesced;

	while ((quiesced = TAILQ_FIRST(&domain->parted)))
		quiesced_free(domain, quiesced);
}

void domain_report_changed(const struct domain *domain)
{
	struct broker *broker = domain->broker;

	if (broker->ops)
		broker->ops->quiesced(broker->arg, domain->info.domid);
}

static void quiesced_remember(const struct process *process, bool confirmed)
{
	struct domain *domain = process->domain;
	struct quiesced *quiesced = calloc(1, sizeof(*quiesced));

	if (!quiesced) {
		domain_log(domain, LOG_ERR,
			"%s(%u): out of memory, the report of quiescing lacks pid %u",
			domain->info.name, domain->info.domid, process->pid);
		return;
	}
	quiesced->confirmed = confirmed;
	quiesced->pid = process->pid;
	memcpy(quiesced->comm, process->comm, sizeof(quiesced->comm));
	TAILQ_INSERT_TAIL(&domain->parted, quiesced, entry);
	if (++domain->n_parted > domain->limits.quota[QUOTA_PROCESSES])
		quiesced_free(domain, TAILQ_FIRST(&domain->parted));
}

void process_quiesce(struct process *process)
{
	struct control_message message = {.type = CONTROL_QUIESCE};

	if (process->state == PROCESS_QUIESCING)
		return;
	reason_set(message.quiesce.reason,
		"domain %.80s is quiesced: it is to be saved or migrated",
		process->domain->info.name);
	/* The peers are told first: they know the reason when they see the application let go. */
	process_strip(process, process, message.quiesce.reason);
	if (process->ends) {
		process->broker->quiesce_due = true; /* the rest of them first */
		return;
	}
	process_set_state(process, PROCESS_QUIESCING);
	process_not_awaited(process);
	process_send(process, &message);
}

void quiesce_process_gone(struct process *process)
{
	if (!domain_is_quiesced(process->domain))
		return;
	quiesced_remember(process, false);
	domain_report_changed(process->domain);
}

int broker_quiesce(struct broker *broker, uint16_t domid)
{
	struct domain *domain = domain_find(broker, domid);
	struct broker_line line = {.id = MESSAGE_ID_QUIESCED};

	if (!domain || domain_is_dead(&domain->info))
		return -ESRCH;
	/* Domain 0 runs msgd: if it were saved, nobody could restore it. */
	if (domid == 0)
		return -EPERM;
	if (!domain_is_quiesced(domain)) {
		line.event = note_domain(domain, HISTORY_QUIESCED, NULL);
		broker_log_line(broker, BROKER_LOG_CLIENTS, LOG_NOTICE, &line, "%s(%u) is quiesced",
			domain->info.name, domid);
		domain_quiesce(domain);
	}
	broker->quiesce_due = true;
	broker_settle(broker);
	return 0;
}

/* A process of a quiesced domain that has not been told. NULL: there is none. */
static struct process *domain_untold(const struct domain *domain)
{
	struct process *process;

	TAILQ_FOREACH (process, &domain->processes, entry) {
		domain->broker->cost++;
		if (process->state != PROCESS_QUIESCING)
			return process;
	}
	return NULL;
}

static struct process *quiesce_next(struct broker *broker)
{
	const struct domain *domain;
	struct process *process = NULL;

	for (domain = broker->domains; domain && !process; domain = domain->hh.next) {
		broker->cost++;
		if (domain_is_quiesced(domain))
			process = domain_untold(domain);
	}
	return process;
}

bool quiesce_is_due(const struct process *process)
{
	return process->broker->quiesce_due && process->state != PROCESS_NEW &&
	       domain_is_quiesced(process->domain);
}

void quiesce_work(struct broker *broker)
{
	struct process *process = broker->quiesce_due ? quiesce_next(broker) : NULL;

	broker->quiesce_due = process;
	if (process)
		process_quiesce(process);
}

static void domain_resume(struct domain *domain, const char *why)
{
	struct broker *broker = domain->broker;
	struct broker_line line = {.id = MESSAGE_ID_RESUMED};
	struct process *process;

	/* Of some the names and links may be gone already: all are told. */
	while (broker->quiesce_due && (process = domain_untold(domain)))
		process_quiesce(process);
	line.event = note_domain(domain, HISTORY_RESUMED, why);
	domain_log_line(domain, LOG_NOTICE, &line, "%s(%u) is quiesced no more: %s",
		domain->info.name, domain->info.domid, why);
	domain_set_quiesce(domain, DOMAIN_SERVED);
	domain_forget_quiesced(domain);
	broker->ops->resumed(broker->arg, domain->info.domid);
	domain_report_changed(domain);
}

int broker_resume(struct broker *broker, uint16_t domid)
{
	struct domain *domain = domain_find(broker, domid);

	if (!domain)
		return -ESRCH;
	if (!domain_is_quiesced(domain))
		return -EALREADY;
	domain_resume(domain, "msgctl");
	return 0;
}

void domain_state_changed(struct domain *domain)
{
	if (domain->quiesce == DOMAIN_QUIESCED && domain->info.state == BROKER_DOMAIN_SUSPENDED)
		domain_set_quiesce(domain, DOMAIN_SUSPENDED);
	else if (domain->quiesce == DOMAIN_SUSPENDED && domain->info.state == BROKER_DOMAIN_RUNNING)
		domain_resume(domain, "it runs again");
}

bool broker_is_quiesced(struct broker *broker, uint16_t domid)
{
	const struct domain *domain = domain_find(broker, domid);

	return domain && domain_is_quiesced(domain);
}

bool broker_quiesce_pending(struct broker *broker, uint16_t domid)
{
	const struct domain *domain = domain_find(broker, domid);

	return domain && domain_is_quiesced(domain) && !TAILQ_EMPTY(&domain->processes);
}

bool broker_resume_expected(const struct broker *broker)
{
	const struct domain *domain;

	for (domain = broker->domains; domain; domain = domain->hh.next) {
		if (domain->quiesce == DOMAIN_SUSPENDED)
			return true;
	}
	return false;
}

bool broker_is_quiescing(const struct process *process)
{
	return process->state == PROCESS_QUIESCING;
}

void broker_parked(struct process *process)
{
	struct broker *broker = process->broker;
	struct domain *domain = process->domain;
	struct broker_line line = {.id = MESSAGE_ID_GONE};
	char text[PROCESS_TEXT_SIZE];

	assert(process->state == PROCESS_QUIESCING);
	process_describe(process, text, sizeof(text));
	process_set_state(process, PROCESS_PARKED);
	if (domain_is_quiesced(domain))
		quiesced_remember(process, true);
	if (process->charge.domain)
		line.event = note_process(process, HISTORY_DETACHED, "its domain is quiesced");
	domain_log_line(domain, LOG_INFO, &line, "%s has given everything back", text);
	process_free(process, "its domain is quiesced");
	if (domain_is_quiesced(domain))
		domain_report_changed(domain);
	broker_settle(broker);
}

void broker_parked_found(struct broker *broker, uint16_t domid)
{
	struct domain *domain = domain_find(broker, domid);

	if (!domain || domain_is_quiesced(domain) || domid == 0)
		return;
	domain_quiesce(domain);
	domain_log(domain, LOG_NOTICE,
		"%s(%u) was quiesced before msgd's restart: 'msgctl resume' ends it, if it runs",
		domain->info.name, domid);
}
