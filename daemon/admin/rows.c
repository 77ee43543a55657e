/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See rows.h. */
#include "daemon/admin/rows.h"

#include <stdio.h>
#include <string.h>

#include "daemon/admin/view.h"
#include "daemon/broker/link.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"
#include "daemon/policy/policy.h"

static bool rows_has_room(const struct rows *rows)
{
	size_t n = json_array_size(rows->rows);

	return n < ADMIN_ROWS_A_TURN && rows->request->n_rows + n < ADMIN_ROWS_MAX &&
	       rows->n_looked < ADMIN_LOOKS_A_TURN;
}

bool rows_skip(struct rows *rows, size_t n)
{
	uint64_t from = rows->request->from;

	if (!rows->full && rows->n + n > from) {
		if (rows_has_room(rows))
			return false;
		rows->full = true;
		rows->next = rows->n > from ? rows->n : from;
	}
	rows->n += n;
	return true;
}

void rows_pass(struct rows *rows, size_t n)
{
	rows->n += n;
	rows->n_looked++;
}

void rows_add(struct rows *rows, json_t *row)
{
	rows_pass(rows, 1);
	(void)json_array_append_new(rows->rows, row);
}

/* A look is ten units of cost. */
void rows_spend(struct rows *rows, uint64_t cost)
{
	rows->n_looked += cost / 10;
}

static bool rows_have(const struct rows *rows, enum admin_key key)
{
	return admin_request_has(rows->request, key);
}

bool rows_lack_domain(const struct rows *rows, const struct domain *domain)
{
	const struct broker_domain_info *info = &domain->info;

	return rows_have(rows, ADMIN_KEY_DOMAIN) &&
	       !domain_address_is(&rows->domain, info->name, info->uuid, info->domid);
}

bool rows_lack_name(const struct rows *rows, const char *name)
{
	return rows_have(rows, ADMIN_KEY_NAME) && !policy_glob(rows->request->name, name);
}

bool rows_lack_state(const struct rows *rows, const char *state)
{
	return rows_have(rows, ADMIN_KEY_STATE) && strcmp(rows->request->state, state) != 0;
}

/* An application that has not come back is known by its domid, and so is its domain. */
static bool rows_lack_end(const struct rows *rows, const struct link_end *end)
{
	struct domain *domain;
	uint16_t domid = end->domid;

	if (rows_have(rows, ADMIN_KEY_PID) &&
		(!end->process || end->process->pid != rows->request->pid))
		return true;
	if (end->process)
		return rows_lack_domain(rows, end->process->domain);
	if (!rows_have(rows, ADMIN_KEY_DOMAIN))
		return false;
	HASH_FIND(hh, rows->broker->domains, &domid, sizeof(domid), domain);
	return domain ? rows_lack_domain(rows, domain) : rows->domain.fact.domid != domid;
}

bool rows_lack_link(const struct rows *rows, const struct broker_link *link)
{
	const struct admin_request *request = rows->request;

	if (rows_have(rows, ADMIN_KEY_LINK) && link->id.uid != request->link)
		return true;
	if (rows_have(rows, ADMIN_KEY_TRANSPORT) && link->id.transport != request->transport)
		return true;
	return rows_lack_end(rows, &link->ends[0]) && rows_lack_end(rows, &link->ends[1]);
}

json_int_t rows_age_s(const struct rows *rows, uint64_t since_ns)
{
	return rows->now_ns > since_ns ? (json_int_t)((rows->now_ns - since_ns) / 1000000000) : 0;
}

json_t *text_json(const char *text)
{
	json_t *json = json_string(text);

	return json ? json : json_string("?");
}

json_t *uid_json(uint64_t uid)
{
	char text[17];

	(void)snprintf(text, sizeof(text), "%016llx", (unsigned long long)uid);
	return json_string(text);
}

json_t *process_json(const struct process *process, uint16_t domid, uint32_t end)
{
	if (!process)
		return json_pack("{s:n, s:i, s:n, s:n, s:n}", "domain", "domid", (int)domid, "pid",
			"comm", "end");
	return json_pack("{s:o, s:i, s:I, s:o, s:I}", "domain",
		text_json(process->domain->info.name), "domid", (int)domid, "pid",
		(json_int_t)process->pid, "comm", text_json(process->comm), "end", (json_int_t)end);
}

json_t *end_json(const struct link_end *end)
{
	return process_json(end->process, end->domid, end->number);
}

json_t *traffic_json(const struct traffic *traffic)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "tx_messages",
		(json_int_t)traffic->tx_messages, "tx_bytes", (json_int_t)traffic->tx_bytes,
		"rx_messages", (json_int_t)traffic->rx_messages, "rx_bytes",
		(json_int_t)traffic->rx_bytes, "drops", (json_int_t)traffic->drops, "no_credit",
		(json_int_t)traffic->no_credit, "no_room", (json_int_t)traffic->no_room);
}

json_t *rows_answer(struct rows *rows)
{
	const char *name = admin_op_name(rows->request->op);
	json_t *answer;

	if (rows->error) {
		json_decref(rows->rows);
		json_decref(rows->end);
		return json_pack("{s:s}", "error", rows->error);
	}
	answer = json_pack("{s:s, s:o, s:I, s:I, s:o*}", "op", name, name, rows->rows, "next",
		(json_int_t)(rows->full ? rows->next : rows->n), "all", (json_int_t)rows->n, "end",
		rows->end);
	if (rows->of)
		(void)json_object_set_new(answer, "of", json_integer((json_int_t)rows->of));
	return answer;
}

bool admin_view_goes_on(const json_t *answer, const struct admin_request *request)
{
	const json_t *rows = json_object_get(answer, admin_op_name(request->op));
	uint64_t next = (uint64_t)json_integer_value(json_object_get(answer, "next"));
	uint64_t all = (uint64_t)json_integer_value(json_object_get(answer, "all"));

	return next > request->from && next < all &&
	       request->n_rows + json_array_size(rows) < ADMIN_ROWS_MAX;
}

json_t *admin_view(
	const struct broker *broker, const struct admin_request *request, uint64_t now_ns)
{
	static void (*const views[ADMIN_OP_COUNT])(struct rows * rows) = {
		[ADMIN_DOMAINS] = domains_view,
		[ADMIN_APPLICATIONS] = applications_view,
		[ADMIN_NAMES] = names_view,
		[ADMIN_LINKS] = links_view,
		[ADMIN_CHANNELS] = channels_view,
		[ADMIN_HISTORY] = events_view,
		[ADMIN_MONITOR] = events_view,
		[ADMIN_COUNTS] = counts_view,
		[ADMIN_REFUSALS] = refusals_view,
		[ADMIN_LIMITS] = limits_view,
		[ADMIN_BLOCKS] = blocks_view,
		[ADMIN_POLICY_TEST] = policy_test_view,
		[ADMIN_POLICY_LIST] = policy_list_view,
	};
	struct rows rows = {.broker = broker, .request = request, .now_ns = now_ns};

	rows.rows = json_array();
	if (!rows.rows)
		return NULL;
	(void)domain_address_parse(request->domain, &rows.domain); /* the request was checked */
	views[request->op](&rows);
	return rows_answer(&rows);
}
