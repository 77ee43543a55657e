/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The report on a quiesced domain. */
#include "daemon/admin/rows.h"
#include "daemon/admin/view.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/process.h"
#include "daemon/broker/quiesce.h"

/* Why an application that is still there has not confirmed. */
static const char *unconfirmed_reason(const struct process *process)
{
	const struct broker_domain_info *info = &process->domain->info;

	if (info->state != BROKER_DOMAIN_RUNNING || info->paused)
		return "its domain does not run";
	if (process->pid == 0 && process->state != PROCESS_READY)
		return "it has attached and said nothing yet";
	return "it has not answered: it is in no call of libmsg, or stopped, or busy";
}

static json_t *confirmation_json(uint32_t pid, const char *comm, bool confirmed, const char *reason)
{
	return json_pack("{s:I, s:o, s:b, s:s}", "pid", (json_int_t)pid, "comm", text_json(comm),
		"confirmed", confirmed, "reason", reason);
}

json_t *admin_view_quiesced(struct broker *broker, uint16_t domid)
{
	const struct domain *domain = domain_find(broker, domid);
	const struct quiesced *quiesced;
	const struct process *process;
	json_t *rows;

	if (!domain || !domain_is_quiesced(domain) || domain_is_dead(&domain->info))
		return NULL;
	rows = json_array();
	if (!rows)
		return NULL;
	TAILQ_FOREACH (process, &domain->processes, entry)
		(void)json_array_append_new(rows, confirmation_json(process->pid, process->comm,
							  false, unconfirmed_reason(process)));
	TAILQ_FOREACH (quiesced, &domain->parted, entry)
		(void)json_array_append_new(
			rows, confirmation_json(quiesced->pid, quiesced->comm, quiesced->confirmed,
				      quiesced->confirmed ? "" : "it has ended"));
	return json_pack("{s:s, s:o, s:i, s:b, s:o}", "op", admin_op_name(ADMIN_QUIESCE), "domain",
		text_json(domain->info.name), "domid", (int)domid, "quiesced",
		TAILQ_EMPTY(&domain->processes), "applications", rows);
}
