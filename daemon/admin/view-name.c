/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The list of names. */
#include "daemon/admin/rows.h"
#include "daemon/admin/words.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"

static json_t *name_json(const struct rows *rows, const struct listener *listener)
{
	return json_pack("{s:s, s:s, s:s, s:i, s:i, s:b, s:I, s:o, s:I, s:o}", "name",
		listener->name, "type", channel_type_word(listener->type), "state",
		listener_state_word(listener), "backlog", (int)listener->backlog, "offered",
		(int)listener->n_offered, "permitted", listener_permitted(listener), "age_s",
		rows_age_s(rows, listener->since_ns), "holder",
		process_json(listener->process, listener->process->domain->info.domid, 0),
		"since_us", (json_int_t)listener->counted_us, "traffic",
		traffic_json(&listener->traffic));
}

static void names_view_of(struct rows *rows, const struct domain *domain)
{
	const struct listener *listener;

	for (listener = domain->listeners; listener; listener = listener->hh_name.next) {
		if (rows_skip(rows, 1))
			continue;
		if (rows_lack_name(rows, listener->name) ||
			rows_lack_state(rows, listener_state_word(listener)))
			rows_pass(rows, 1);
		else
			rows_add(rows, name_json(rows, listener));
	}
}

void names_view(struct rows *rows)
{
	const struct domain *domain;

	for (domain = rows->broker->domains; domain; domain = domain->hh.next) {
		size_t n = HASH_CNT(hh_name, domain->listeners);

		if (rows_skip(rows, n))
			continue;
		if (rows_lack_domain(rows, domain))
			rows_pass(rows, n);
		else
			names_view_of(rows, domain);
	}
}
