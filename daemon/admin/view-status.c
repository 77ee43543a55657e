/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How many objects there are, and counters. */
#include "base/report.h"
#include "daemon/admin/rows.h"
#include "daemon/admin/view.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/link.h"
#include "daemon/broker/state.h"

json_t *quotas_json(const uint32_t quota[], uint32_t bytes)
{
	json_t *answer = json_object();

	for (int i = 0; i < QUOTA_COUNT; i++)
		(void)json_object_set_new(answer, quota_name(i), json_integer(quota[i]));
	(void)json_object_set_new(answer, "memory", json_integer(bytes));
	return answer;
}

json_t *report_json(const struct report *report)
{
	json_t *lines = json_array();

	for (unsigned i = 0; i < report->n; i++)
		(void)json_array_append_new(lines, text_json(report->lines[i]));
	return lines;
}

json_t *admin_view_status(const struct broker *broker)
{
	const struct domain *domain;
	json_int_t processes = 0, names = 0, requests = 0;
	json_t *counts;

	for (domain = broker->domains; domain; domain = domain->hh.next) {
		processes += domain->used[QUOTA_PROCESSES];
		names += domain->used[QUOTA_NAMES];
		requests += domain->used[QUOTA_REQUESTS];
	}
	counts = counts_json(&broker->stats);
	(void)json_object_set_new(
		counts, "lines_left_out", json_integer((json_int_t)broker->log.left_out));
	return json_pack("{s:s, s:i, s:I, s:I, s:i, s:i, s:I, s:b, s:I, s:I, s:o, s:o, s:o}", "op",
		"status", "domains", (int)HASH_COUNT(broker->domains), "applications", processes,
		"names", names, "links",
		(int)(HASH_COUNT(broker->links) + HASH_COUNT(broker->announced)), "channels",
		(int)broker->n_channels, "requests_waiting", requests, "recovering",
		broker->recovering, "since_us", (json_int_t)broker->since_us, "rules",
		(json_int_t)policy_rules(broker->policy), "policy_errors",
		report_json(policy_errors(broker->policy)), "counts", counts, "limits",
		quotas_json(broker->limits.quota, broker->limits.bytes));
}
