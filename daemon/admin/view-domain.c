/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lists of domains, of applications, and of names. */
#include "base/macro.h"
#include "base/uuid.h"
#include "daemon/admin/rows.h"
#include "daemon/admin/words.h"
#include "daemon/broker/channel.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/link.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"

static json_t *used_json(const struct domain *domain)
{
	json_t *used = json_object();

	for (int i = 0; i < QUOTA_COUNT; i++)
		(void)json_object_set_new(used, quota_name(i), json_integer(domain->used[i]));
	(void)json_object_set_new(used, "memory", json_integer(domain->bytes));
	return used;
}

static json_t *domain_json(const struct domain *domain)
{
	char uuid[37];

	uuid_to_text(domain->info.uuid, uuid);
	return json_pack("{s:i, s:o, s:s, s:s, s:b, s:o}", "domid", (int)domain->info.domid, "name",
		text_json(domain->info.name), "uuid", uuid, "state", domain_state_word(domain),
		"blocked", domain_is_blocked(domain), "used", used_json(domain));
}

void domains_view(struct rows *rows)
{
	const struct domain *domain;

	for (domain = rows->broker->domains; domain; domain = domain->hh.next) {
		if (rows_skip(rows, 1))
			continue;
		if (rows_lack_domain(rows, domain) ||
			rows_lack_state(rows, domain_state_word(domain)))
			rows_pass(rows, 1);
		else
			rows_add(rows, domain_json(domain));
	}
}

static json_t *domain_limits_json(const struct domain *domain)
{
	return json_pack("{s:i, s:o, s:b, s:o, s:o}", "domid", (int)domain->info.domid, "domain",
		text_json(domain->info.name), "own", domain->limits != NULL, "limits",
		limits_json(domain_limits(domain)), "used", used_json(domain));
}

void limits_view(struct rows *rows)
{
	const struct domain *domain;

	for (domain = rows->broker->domains; domain; domain = domain->hh.next) {
		if (rows_skip(rows, 1))
			continue;
		if (rows_lack_domain(rows, domain))
			rows_pass(rows, 1);
		else
			rows_add(rows, domain_limits_json(domain));
	}
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

/* ---- applications --------------------------------------------------------------------------- */

/* An application's part of the hypervisor's things: of its control link, and of its links. */
struct held {
	json_int_t links, channels, ports, rings, granted_pages, mapped_pages;
};

/* PROTOCOL.md 3.5: the creator shares a page for the doorbell, one of references, and the rings. */
static void held_add(struct held *held, const struct link_end *end)
{
	const struct broker_link *link = end->link;
	bool creator = end == &link->ends[0];
	json_int_t pages = link->id.transport == TRANSPORT_ARGO	   ? 1
			   : link->id.transport == TRANSPORT_GRANT ? 2 + 2 * link->ring_pages
								   : 0;

	held->links++;
	held->channels += HASH_COUNT(link->channels);
	held->ports += link->id.transport != TRANSPORT_ARGO_STRICT;
	held->rings += link->id.transport != TRANSPORT_GRANT;
	held->granted_pages += creator ? pages : 0;
	held->mapped_pages += creator ? 0 : pages;
}

static struct held process_held(struct rows *rows, const struct process *process)
{
	struct held held = {.ports = 1, .granted_pages = CONTROL_PAGES};
	const struct link_end *end;

	for (end = process->ends; end; end = end->hh.next) {
		held_add(&held, end);
		rows->n_looked++;
	}
	return held;
}

static json_t *features_json(const struct process *process)
{
	static const struct {
		uint64_t bit;
		const char *name;
	} names[] = {
		{FEATURE_ARGO, "argo"},
		{FEATURE_ARGO_STRICT, "argo-strict"},
		{FEATURE_NO_HYPERVISOR_ARGO, "no-hypervisor-argo"},
		{FEATURE_NO_ARGO_DRIVER, "no-argo-driver"},
		{FEATURE_TYPES, "types"},
		{FEATURE_WATCH, "watch"},
	};
	json_t *array = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (process->features & names[i].bit)
			(void)json_array_append_new(array, json_string(names[i].name));
	}
	return array;
}

static json_t *application_json(struct rows *rows, const struct process *process)
{
	const struct domain *domain = process->domain;
	struct held held = process_held(rows, process);

	return json_pack("{s:o, s:i, s:I, s:o, s:s, s:I, s:o, s:I, s:I, s:I, s:I, s:I,"
			 " s:I, s:I, s:I, s:I, s:I}",
		"domain", text_json(domain->info.name), "domid", (int)domain->info.domid, "pid",
		(json_int_t)process->pid, "comm", text_json(process->comm), "state",
		process_state_word(process), "age_s", rows_age_s(rows, process->since_ns),
		"features", features_json(process), "names",
		(json_int_t)HASH_COUNT(process->listeners), "requests",
		(json_int_t)HASH_COUNT(process->requests), "watches",
		(json_int_t)HASH_COUNT(process->watches), "links", held.links, "channels",
		held.channels, "ports", held.ports, "rings", held.rings, "granted_pages",
		held.granted_pages, "mapped_pages", held.mapped_pages, "domain_memory",
		(json_int_t)domain->bytes);
}

void applications_view(struct rows *rows)
{
	const struct admin_request *request = rows->request;
	const struct domain *domain;
	const struct process *process;

	for (domain = rows->broker->domains; domain; domain = domain->hh.next) {
		TAILQ_FOREACH (process, &domain->processes, entry) {
			if (rows_skip(rows, 1))
				continue;
			if (rows_lack_domain(rows, domain) ||
				rows_lack_state(rows, process_state_word(process)) ||
				(admin_request_has(request, ADMIN_KEY_PID) &&
					process->pid != request->pid))
				rows_pass(rows, 1);
			else
				rows_add(rows, application_json(rows, process));
		}
	}
}

/* ---- names ---------------------------------------------------------------------------------- */

static json_t *name_json(const struct rows *rows, const struct listener *listener)
{
	return json_pack("{s:s, s:s, s:s, s:i, s:i, s:b, s:I, s:o}", "name", listener->name, "type",
		channel_type_word(listener->type), "state", listener_state_word(listener),
		"backlog", (int)listener->backlog, "offered", (int)listener->n_offered, "permitted",
		listener_permitted(listener), "age_s", rows_age_s(rows, listener->since_ns),
		"holder",
		process_json(listener->process, listener->process->domain->info.domid, 0));
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
