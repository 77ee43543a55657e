/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The list of applications, and what each holds. */
#include "base/macro.h"
#include "daemon/admin/rows.h"
#include "daemon/admin/words.h"
#include "daemon/broker/channel.h"
#include "daemon/broker/link.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"

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
	held->channels += HASH_COUNT(link->channels) - link->n_ahead;
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
		{FEATURE_TERMS, "terms"},
		{FEATURE_COUNTS, "counts"},
		{FEATURE_CAPTURE, "capture"},
		{FEATURE_AHEAD, "ahead"},
	};
	json_t *array = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (process->features & names[i].bit)
			(void)json_array_append_new(array, json_string(names[i].name));
	}
	return array;
}

/* Of all that it has carried, as it has said. */
static json_t *sums_json(const struct control_answer *sums)
{
	json_t *json = traffic_json(&(struct traffic){.tx_messages = sums->tx_messages,
		.tx_bytes = sums->tx_bytes,
		.rx_messages = sums->rx_messages,
		.rx_bytes = sums->rx_bytes,
		.drops = sums->drops,
		.no_credit = sums->no_credit,
		.no_room = sums->no_room});

	(void)json_object_set_new(
		json, "notifications", json_integer((json_int_t)sums->notifications));
	(void)json_object_set_new(json, "hypercalls", json_integer((json_int_t)sums->hypercalls));
	return json;
}

static json_t *application_json(struct rows *rows, const struct process *process)
{
	const struct domain *domain = process->domain;
	struct held held = process_held(rows, process);

	return json_pack("{s:o, s:i, s:I, s:o, s:s, s:I, s:o, s:I, s:I, s:I, s:I, s:I,"
			 " s:I, s:I, s:I, s:I, s:I, s:o}",
		"domain", text_json(domain->info.name), "domid", (int)domain->info.domid, "pid",
		(json_int_t)process->pid, "comm", text_json(process->comm), "state",
		process_state_word(process), "age_s", rows_age_s(rows, process->since_ns),
		"features", features_json(process), "names",
		(json_int_t)HASH_COUNT(process->listeners), "requests",
		(json_int_t)HASH_COUNT(process->requests), "watches",
		(json_int_t)HASH_COUNT(process->watches), "links", held.links, "channels",
		held.channels, "ports", held.ports, "rings", held.rings, "granted_pages",
		held.granted_pages, "mapped_pages", held.mapped_pages, "domain_memory",
		(json_int_t)domain->bytes, "traffic", sums_json(&process->sums));
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
