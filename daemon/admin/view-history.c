/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Events of the history, for history and for monitor. Their place in a list is their serial. */
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "base/uuid.h"
#include "daemon/admin/rows.h"
#include "daemon/admin/view.h"
#include "daemon/admin/words.h"
#include "daemon/broker/state.h"

static bool party_is(const struct rows *rows, const struct history_party *party)
{
	const struct admin_request *request = rows->request;
	/* An address may say a domain by its domid or its uuid. */
	bool said = strcmp(party->domain, request->domain) == 0;

	if (!party->there)
		return false;
	if (admin_request_has(request, ADMIN_KEY_PID) &&
		(!party->attached || party->pid != request->pid))
		return false;
	if (!admin_request_has(request, ADMIN_KEY_DOMAIN))
		return true;
	return said || (party->known && domain_address_is(&rows->domain, party->domain, party->uuid,
						party->domid));
}

static bool event_is_wanted(const struct rows *rows, const struct history_event *event)
{
	const struct admin_request *request = rows->request;
	unsigned has = request->has;

	if ((has & ENUM_BIT(ADMIN_KEY_KIND)) && event->kind != request->kind)
		return false;
	if ((has & ENUM_BIT(ADMIN_KEY_LINK)) && event->link != request->link)
		return false;
	if ((has & ENUM_BIT(ADMIN_KEY_CHANNEL)) && event->channel != request->channel)
		return false;
	if (rows_lack_name(rows, event->name))
		return false;
	return !(has & (ENUM_BIT(ADMIN_KEY_DOMAIN) | ENUM_BIT(ADMIN_KEY_PID))) ||
	       party_is(rows, &event->who) || party_is(rows, &event->peer);
}

/* ---- one event ------------------------------------------------------------------------------ */

static json_t *party_json(const struct history_party *party)
{
	json_t *json = json_object();
	char uuid[37];

	if (party->domain[0])
		(void)json_object_set_new(json, "domain", text_json(party->domain));
	if (party->known) {
		uuid_to_text(party->uuid, uuid);
		(void)json_object_set_new(json, "domid", json_integer(party->domid));
		(void)json_object_set_new(json, "uuid", json_string(uuid));
	}
	if (party->attached) {
		(void)json_object_set_new(json, "pid", json_integer(party->pid));
		(void)json_object_set_new(json, "comm", text_json(party->comm));
	}
	return json;
}

static json_t *stages_json(const struct history_event *event)
{
	json_t *json = json_object();

	for (unsigned i = 0; i < CONNECT_STAGES; i++) {
		if ((event->kind == HISTORY_ACCEPTED) == (i == CONNECT_ACCEPT))
			(void)json_object_set_new(
				json, connect_stage_word(i), json_integer(event->us[i]));
	}
	return json;
}

static bool event_has_stages(const struct history_event *event)
{
	return event->kind == HISTORY_CONNECTED || event->kind == HISTORY_ACCEPTED ||
	       ((event->kind == HISTORY_REFUSED || event->kind == HISTORY_FAILED) &&
		       event->peer.there);
}

static json_t *event_json(const struct history_event *event)
{
	json_t *json = json_pack("{s:I, s:I, s:I, s:s}", "serial", (json_int_t)event->serial,
		"time_us", (json_int_t)event->wall_us, "monotonic_us",
		(json_int_t)(event->at_ns / 1000), "kind", history_kind_word(event->kind));

	if (event->who.there)
		(void)json_object_set_new(json, "who", party_json(&event->who));
	if (event->peer.there)
		(void)json_object_set_new(json, "peer", party_json(&event->peer));
	if (event->by_client) {
		(void)json_object_set_new(json, "uid", json_integer(event->uid));
		(void)json_object_set_new(json, "pid", json_integer(event->client_pid));
	}
	if (event->name[0])
		(void)json_object_set_new(json, "name", text_json(event->name));
	if (event->link)
		(void)json_object_set_new(json, "link", uid_json(event->link));
	if (event->channel)
		(void)json_object_set_new(json, "channel", json_integer(event->channel));
	if (event->error)
		(void)json_object_set_new(
			json, "error", json_string(strerrorname_np(event->error)));
	if (event->text[0])
		(void)json_object_set_new(json, "reason", text_json(event->text));
	if (event->rule[0])
		(void)json_object_set_new(json, "rule", text_json(event->rule));
	if (event_has_stages(event))
		(void)json_object_set_new(json, "us", stages_json(event));
	return json;
}

/* ---- the answers ---------------------------------------------------------------------------- */

/* The serial with which the answer begins. */
static uint64_t history_begin(const struct rows *rows, const struct history *history)
{
	const struct admin_request *request = rows->request;
	const struct history_event *event;
	uint64_t begin = history->last_serial + 1;
	uint32_t n = 0;

	if (request->from)
		return request->from;
	if (admin_request_has(request, ADMIN_KEY_SINCE))
		return request->since + 1;
	if (request->op == ADMIN_MONITOR && !admin_request_has(request, ADMIN_KEY_N))
		return begin;
	TAILQ_FOREACH_REVERSE(event, &history->events, history_events, entry)
	{
		if (admin_request_has(request, ADMIN_KEY_N) && n >= request->n)
			break;
		n += event_is_wanted(rows, event);
		begin = event->serial;
	}
	return begin;
}

/* Events that had to make room, or came before this client read on. */
static void history_add_missed(struct rows *rows, uint64_t missed)
{
	bool knows = rows->request->from || admin_request_has(rows->request, ADMIN_KEY_SINCE);

	if (missed && knows && rows->request->op == ADMIN_MONITOR)
		(void)json_array_append_new(
			rows->rows, json_pack("{s:I}", "missed", (json_int_t)missed));
}

void events_view(struct rows *rows)
{
	const struct history *history = &rows->broker->history;
	size_t max = rows->request->op == ADMIN_MONITOR ? ADMIN_EVENTS_A_TURN : ADMIN_ROWS_A_TURN;
	const struct history_event *event;
	uint64_t next = history_begin(rows, history);

	for (event = history_from(history, next); event && json_array_size(rows->rows) < max;
		event = TAILQ_NEXT(event, entry)) {
		history_add_missed(rows, event->serial - next);
		if (event_is_wanted(rows, event))
			(void)json_array_append_new(rows->rows, event_json(event));
		next = event->serial + 1;
	}
	rows->full = true;
	rows->next = next;
	rows->n = history->last_serial + 1;
}
