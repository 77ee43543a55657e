/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Counters, refusals by each rule, and the time that connects take. */
#include "daemon/admin/rows.h"
#include "daemon/admin/view.h"
#include "daemon/admin/words.h"
#include "daemon/broker/note.h"
#include "daemon/broker/state.h"

json_t *counts_json(const struct broker_stats *stats)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "attached",
		(json_int_t)stats->attached, "connected", (json_int_t)stats->connected, "refused",
		(json_int_t)stats->refused, "failed", (json_int_t)stats->failed, "reset",
		(json_int_t)stats->reset, "dropped", (json_int_t)stats->dropped, "links_made",
		(json_int_t)stats->links_made);
}

void refusals_view(struct rows *rows)
{
	const struct refusals *refusals;

	for (refusals = rows->broker->refusals; refusals; refusals = refusals->hh.next) {
		if (rows_skip(rows, 1))
			continue;
		rows_add(rows, json_pack("{s:o, s:I, s:I}", "rule",
				       rule_json(refusals->key.file, refusals->key.line), "refused",
				       (json_int_t)refusals->n, "since_us",
				       (json_int_t)refusals->since_us));
	}
}

static json_t *histogram_json(const struct histogram *histogram)
{
	json_t *below = json_array();
	uint64_t n = 0;

	for (unsigned power = 0; power <= 32 && n < histogram->n; power++) {
		n = histogram_below(histogram, power);
		(void)json_array_append_new(below, json_integer((json_int_t)n));
	}
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "n", (json_int_t)histogram->n,
		"p50", (json_int_t)histogram_permille(histogram, 500), "p90",
		(json_int_t)histogram_permille(histogram, 900), "p99",
		(json_int_t)histogram_permille(histogram, 990), "max", (json_int_t)histogram->max,
		"sum", (json_int_t)histogram->sum, "below", below);
}

json_t *admin_view_latency(const struct broker *broker)
{
	json_t *stages = json_object();

	for (unsigned i = 0; i < CONNECT_STAGES; i++)
		(void)json_object_set_new(
			stages, connect_stage_word(i), histogram_json(&broker->latency[i]));
	return json_pack("{s:s, s:o}", "op", admin_op_name(ADMIN_LATENCY), "us", stages);
}
