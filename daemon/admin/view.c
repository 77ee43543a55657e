/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The views that msgctl shows, read off the broker's objects. A view must never change an object.
 * Texts that guests chose (comm) are made valid for JSON here.
 */
#include <stdio.h>
#include <string.h>

#include "base/report.h"
#include "base/uuid.h"
#include "daemon/admin/socket.h"
#include "daemon/broker/channel.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/link.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/process.h"
#include "daemon/broker/quiesce.h"
#include "daemon/broker/state.h"

struct view {
	uint64_t now_ns;
	json_t *rows; /* owned until it is handed out */
	size_t from;  /* the first row that is wanted */
	size_t n;     /* rows that were passed, wanted or not */
};

static const char *const type_names[CHANNEL_TYPE_LIMIT] = {
	[CHANNEL_SEQPACKET] = "seqpacket",
	[CHANNEL_STREAM] = "stream",
	[CHANNEL_DGRAM] = "dgram",
};

static const char *const domain_states[] = {
	[BROKER_DOMAIN_RUNNING] = "running",
	[BROKER_DOMAIN_SUSPENDED] = "suspended",
	[BROKER_DOMAIN_CRASHED] = "crashed",
	[BROKER_DOMAIN_DYING] = "dying",
};

static const char *const link_states[] = {
	[BROKER_LINK_CREATING] = "creating",
	[BROKER_LINK_BINDING] = "binding",
	[BROKER_LINK_UP] = "up",
	[BROKER_LINK_ANNOUNCED] = "announced",
	[BROKER_LINK_GONE] = "gone",
};

static const char *const channel_states[] = {
	[BROKER_CHANNEL_ANNOUNCED] = "announced",
	[BROKER_CHANNEL_OFFERED] = "offered",
	[BROKER_CHANNEL_OPEN] = "open",
	[BROKER_CHANNEL_CLOSING] = "closing",
	[BROKER_CHANNEL_DONE] = "done",
};

/*
 * A guest chose comm. The codec has made it printable ASCII, but this function does not rely on
 * that.
 */
static json_t *text_json(const char *text)
{
	json_t *json = json_string(text);

	return json ? json : json_string("?");
}

static json_int_t view_age_s(const struct view *view, uint64_t since_ns)
{
	return view->now_ns > since_ns ? (json_int_t)((view->now_ns - since_ns) / 1000000000) : 0;
}

static bool view_is_full(const struct view *view)
{
	return json_array_size(view->rows) >= ADMIN_ROWS_A_TURN;
}

/* Passes n rows at once, if none of them is wanted. */
static bool view_skips(struct view *view, size_t n)
{
	if (!view_is_full(view) && view->n + n > view->from)
		return false;
	view->n += n;
	return true;
}

/* Takes row over. */
static void view_add(struct view *view, json_t *row)
{
	view->n++;
	(void)json_array_append_new(view->rows, row);
}

static json_t *process_json(const struct process *process, uint16_t domid, uint32_t end)
{
	if (!process)
		return json_pack("{s:n, s:i, s:n, s:n, s:n}", "domain", "domid", (int)domid, "pid",
			"comm", "end");
	return json_pack("{s:o, s:i, s:I, s:o, s:I}", "domain",
		text_json(process->domain->info.name), "domid", (int)domid, "pid",
		(json_int_t)process->pid, "comm", text_json(process->comm), "end", (json_int_t)end);
}

static const char *domain_state_name(const struct domain *domain)
{
	const struct broker_domain_info *info = &domain->info;

	if (info->state == BROKER_DOMAIN_RUNNING && domain_is_quiesced(domain))
		return "quiesced";
	if (info->state == BROKER_DOMAIN_RUNNING && info->paused)
		return "paused";
	return domain_states[info->state];
}

static void view_domains(struct view *view, const struct broker *broker)
{
	const struct domain *domain;

	for (domain = broker->domains; domain; domain = domain->hh.next) {
		char uuid[37];
		json_t *used, *row;

		if (view_skips(view, 1))
			continue;
		used = json_object();
		for (int i = 0; i < QUOTA_COUNT; i++)
			(void)json_object_set_new(
				used, quota_name(i), json_integer(domain->used[i]));
		(void)json_object_set_new(used, "memory", json_integer(domain->bytes));
		uuid_to_text(domain->info.uuid, uuid);
		row = json_pack("{s:i, s:o, s:s, s:s, s:o}", "domid", (int)domain->info.domid,
			"name", text_json(domain->info.name), "uuid", uuid, "state",
			domain_state_name(domain), "used", used);
		view_add(view, row);
	}
}

static void view_names(struct view *view, const struct broker *broker)
{
	const struct domain *domain;
	const struct listener *listener;

	for (domain = broker->domains; domain; domain = domain->hh.next) {
		if (view_skips(view, HASH_CNT(hh_name, domain->listeners)))
			continue;
		for (listener = domain->listeners; listener; listener = listener->hh_name.next) {
			json_t *row;

			if (view_skips(view, 1))
				continue;
			row = json_pack("{s:s, s:s, s:i, s:i, s:b, s:I, s:o}", "name",
				listener->name, "type", type_names[listener->type], "backlog",
				(int)listener->backlog, "offered", (int)listener->n_offered,
				"permitted", listener_permitted(listener), "age_s",
				view_age_s(view, listener->since_ns), "holder",
				process_json(listener->process, domain->info.domid, 0));

			view_add(view, row);
		}
	}
}

static void view_links_of(struct view *view, const struct broker_link *link)
{
	for (; link; link = link->hh.next) {
		char uid[17];
		json_t *row;

		if (view_skips(view, 1))
			continue;
		(void)snprintf(uid, sizeof(uid), "%016llx", (unsigned long long)link->id.uid);
		row = json_pack("{s:s, s:s, s:o, s:s, s:i, s:I, s:o, s:o}", "uid", uid, "transport",
			transport_name(link->id.transport), "reason", text_json(link->why), "state",
			link_states[link->state], "channels", (int)HASH_COUNT(link->channels),
			"age_s", view_age_s(view, link->since_ns), "creator",
			process_json(link->ends[0].process, link->id.creator, link->ends[0].number),
			"binder",
			process_json(link->ends[1].process, link->id.binder, link->ends[1].number));
		view_add(view, row);
	}
}

static void view_links(struct view *view, const struct broker *broker)
{
	view_links_of(view, broker->links);
	view_links_of(view, broker->announced);
}

static void view_channels_of(struct view *view, const struct broker_link *link)
{
	const struct broker_channel *channel;

	for (; link; link = link->hh.next) {
		char uid[17];

		if (view_skips(view, HASH_COUNT(link->channels)))
			continue;
		(void)snprintf(uid, sizeof(uid), "%016llx", (unsigned long long)link->id.uid);
		for (channel = link->channels; channel; channel = channel->hh.next) {
			const struct link_end *from = &link->ends[channel->caller];
			const struct link_end *to = &link->ends[!channel->caller];
			json_t *row;

			if (view_skips(view, 1))
				continue;
			row = json_pack("{s:s, s:I, s:s, s:s, s:s, s:s, s:I, s:o, s:o}", "link",
				uid, "channel", (json_int_t)channel->number, "name",
				broker_channel_name(channel), "type", type_names[channel->type],
				"transport", transport_name(link->id.transport), "state",
				channel_states[channel->state], "age_s",
				view_age_s(view, channel->since_ns), "from",
				process_json(from->process, from->domid, from->number), "to",
				process_json(to->process, to->domid, to->number));

			view_add(view, row);
		}
	}
}

static void view_channels(struct view *view, const struct broker *broker)
{
	view_channels_of(view, broker->links);
	view_channels_of(view, broker->announced);
}

/* As "used" of each domain counts: memory in bytes. */
static json_t *view_limits(const struct broker_limits *limits)
{
	json_t *answer = json_object();

	for (int i = 0; i < QUOTA_COUNT; i++)
		(void)json_object_set_new(answer, quota_name(i), json_integer(limits->quota[i]));
	(void)json_object_set_new(answer, "memory", json_integer(limits->bytes));
	return answer;
}

static json_t *view_report(const struct report *report)
{
	json_t *lines = json_array();

	for (unsigned i = 0; i < report->n; i++)
		(void)json_array_append_new(lines, text_json(report->lines[i]));
	return lines;
}

static json_t *view_status(const struct broker *broker)
{
	const struct broker_stats *stats = &broker->stats;
	const struct domain *domain;
	json_int_t processes = 0, names = 0, requests = 0;

	for (domain = broker->domains; domain; domain = domain->hh.next) {
		processes += domain->used[QUOTA_PROCESSES];
		names += domain->used[QUOTA_NAMES];
		requests += domain->used[QUOTA_REQUESTS];
	}
	return json_pack("{s:s, s:i, s:I, s:I, s:i, s:i, s:I, s:b, s:I,"
			 " s:o, s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}, s:o}",
		"op", "status", "domains", (int)HASH_COUNT(broker->domains), "applications",
		processes, "names", names, "links",
		(int)(HASH_COUNT(broker->links) + HASH_COUNT(broker->announced)), "channels",
		(int)broker->n_channels, "requests_waiting", requests, "recovering",
		broker->recovering, "rules", (json_int_t)policy_rules(broker->policy),
		"policy_errors", view_report(policy_errors(broker->policy)), "counts", "attached",
		(json_int_t)stats->attached, "connected", (json_int_t)stats->connected, "refused",
		(json_int_t)stats->refused, "failed", (json_int_t)stats->failed, "reset",
		(json_int_t)stats->reset, "dropped", (json_int_t)stats->dropped, "links_made",
		(json_int_t)stats->links_made, "lines_left_out", (json_int_t)broker->log.left_out,
		"limits", view_limits(&broker->limits));
}

json_t *admin_view(const struct broker *broker, enum admin_op op, uint64_t now_ns, size_t from)
{
	static void (*const views[ADMIN_OP_COUNT])(
		struct view * view, const struct broker *broker) = {
		[ADMIN_DOMAINS] = view_domains,
		[ADMIN_NAMES] = view_names,
		[ADMIN_LINKS] = view_links,
		[ADMIN_CHANNELS] = view_channels,
	};
	struct view view = {.now_ns = now_ns, .from = from};

	if (op == ADMIN_STATUS)
		return view_status(broker);
	view.rows = json_array();
	if (!view.rows)
		return NULL;
	views[op](&view, broker);
	return json_pack("{s:s, s:o, s:I}", "op", admin_op_name(op), admin_op_name(op), view.rows,
		"all", (json_int_t)view.n);
}

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

static json_t *application_json(uint32_t pid, const char *comm, bool confirmed, const char *reason)
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
		(void)json_array_append_new(rows, application_json(process->pid, process->comm,
							  false, unconfirmed_reason(process)));
	TAILQ_FOREACH (quiesced, &domain->parted, entry)
		(void)json_array_append_new(
			rows, application_json(quiesced->pid, quiesced->comm, quiesced->confirmed,
				      quiesced->confirmed ? "" : "it has ended"));
	return json_pack("{s:s, s:o, s:i, s:b, s:o}", "op", admin_op_name(ADMIN_QUIESCE), "domain",
		text_json(domain->info.name), "domid", (int)domid, "quiesced",
		TAILQ_EMPTY(&domain->processes), "applications", rows);
}
