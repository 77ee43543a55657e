/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lists of domains, of their limits and counters, and of what is blocked. */
#include "base/uuid.h"
#include "daemon/admin/rows.h"
#include "daemon/admin/words.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/state.h"

static json_t *tags_json(const struct policy_tags *tags)
{
	json_t *json = json_array();

	for (unsigned i = 0; i < tags->n; i++)
		(void)json_array_append_new(json, text_json(tags->names[i]));
	return json;
}

static json_t *domain_json(const struct domain *domain)
{
	char uuid[37];

	uuid_to_text(domain->info.uuid, uuid);
	return json_pack("{s:i, s:o, s:s, s:s, s:b, s:o, s:o, s:o}", "domid",
		(int)domain->info.domid, "name", text_json(domain->info.name), "uuid", uuid,
		"state", domain_state_word(domain), "blocked", domain_is_blocked(domain), "used",
		quotas_json(domain->used, domain->bytes), "traffic", traffic_json(&domain->traffic),
		"tags", tags_json(&domain->tags));
}

/* A row for each domain, by make. Of these lists only that of domains is narrowed by a state. */
static void domains_view_by(struct rows *rows, json_t *(*make)(const struct domain *domain))
{
	const struct domain *domain;

	for (domain = rows->broker->domains; domain; domain = domain->hh.next) {
		if (rows_skip(rows, 1))
			continue;
		if (rows_lack_domain(rows, domain) ||
			rows_lack_state(rows, domain_state_word(domain)))
			rows_pass(rows, 1);
		else
			rows_add(rows, make(domain));
	}
}

void domains_view(struct rows *rows)
{
	domains_view_by(rows, domain_json);
}

static json_t *domain_limits_json(const struct domain *domain)
{
	const struct broker_limits *limits = &domain->limits;

	return json_pack("{s:i, s:o, s:b, s:o, s:o, s:I, s:I, s:I}", "domid",
		(int)domain->info.domid, "domain", text_json(domain->info.name), "own",
		domain->limits_own, "limits", quotas_json(limits->quota, limits->bytes), "used",
		quotas_json(domain->used, domain->bytes), "backlog", (json_int_t)limits->backlog,
		"ring_pages", (json_int_t)limits->ring_pages, "argo_ring_pages",
		(json_int_t)limits->argo_ring_pages);
}

void limits_view(struct rows *rows)
{
	domains_view_by(rows, domain_limits_json);
}

static json_t *domain_counts_json(const struct domain *domain)
{
	json_t *json = counts_json(&domain->stats);

	(void)json_object_set_new(json, "domain", text_json(domain->info.name));
	(void)json_object_set_new(json, "domid", json_integer(domain->info.domid));
	(void)json_object_set_new(json, "memory", json_integer(domain->bytes));
	(void)json_object_set_new(json, "since_us", json_integer((json_int_t)domain->since_us));
	(void)json_object_set_new(json, "traffic", traffic_json(&domain->traffic));
	(void)json_object_set_new(
		json, "notifications", json_integer((json_int_t)domain->notifications));
	(void)json_object_set_new(json, "hypercalls", json_integer((json_int_t)domain->hypercalls));
	return json;
}

void counts_view(struct rows *rows)
{
	domains_view_by(rows, domain_counts_json);
}

void blocks_view(struct rows *rows)
{
	const struct block *block;

	LIST_FOREACH (block, &rows->broker->blocks, entry) {
		char uuid[37];

		if (rows_skip(rows, 1))
			continue;
		uuid_to_text(block->uuid, uuid);
		rows_add(rows, json_pack("{s:o, s:s, s:s}", "domain", text_json(block->domain),
				       "uuid", uuid, "name", block->name));
	}
}
