/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See capture.h. Texts that guests chose are made valid for JSON here. */
#include "daemon/admin/capture.h"

#include <errno.h>
#include <stdlib.h>

#include "base/macro.h"
#include "daemon/admin/request.h"
#include "daemon/admin/rows.h"
#include "daemon/admin/steer.h"
#include "daemon/admin/view.h"
#include "daemon/admin/words.h"
#include "daemon/broker/capture.h"
#include "daemon/shell/server.h"

/* ---- rows ----------------------------------------------------------------------------------- */

static json_t *data_json(const struct capture_item *item)
{
	static const char digits[] = "0123456789abcdef";
	char text[2 * CAPTURE_SNAPLEN_MAX];

	for (uint32_t i = 0; i < item->n_data; i++) {
		text[2 * i] = digits[item->data[i] >> 4];
		text[2 * i + 1] = digits[item->data[i] & 15];
	}
	return json_stringn(text, 2 * item->n_data);
}

/* The members that a frame and a channel have in common. */
static json_t *channel_json(const struct capture_item *item)
{
	return json_pack("{s:o, s:I, s:o, s:s, s:s}", "link", uid_json(item->about.link), "channel",
		(json_int_t)item->about.channel, "name", text_json(item->about.name), "type",
		channel_type_word(item->about.type), "transport",
		transport_name(item->about.transport));
}

static json_t *frame_row(const struct capture_item *item)
{
	const struct capture_party *party = &item->about.parties[item->end];
	const struct control_captured *frame = &item->frame;
	json_t *row = channel_json(item);

	(void)json_object_set_new(row, "time_ns", json_integer((json_int_t)item->time_ns));
	(void)json_object_set_new(row, "end", json_integer(item->end));
	(void)json_object_set_new(row, "domid", json_integer(party->domid));
	(void)json_object_set_new(row, "domain", text_json(party->domain));
	(void)json_object_set_new(
		row, "peer_domid", json_integer(item->about.parties[!item->end].domid));
	(void)json_object_set_new(row, "sent", json_boolean(frame->sent));
	(void)json_object_set_new(row, "frame", json_string(frame_type_name(frame->frame_type)));
	(void)json_object_set_new(row, "flags", json_integer(frame->flags));
	(void)json_object_set_new(row, "len", json_integer(frame->len));
	(void)json_object_set_new(row, "arg", json_integer(frame->arg));
	(void)json_object_set_new(row, "credit", json_integer(frame->credit));
	if (item->n_data)
		(void)json_object_set_new(row, "data", data_json(item));
	return row;
}

static json_t *party_json(const struct capture_party *party)
{
	return json_pack("{s:o, s:i, s:I, s:o, s:b, s:b}", "domain", text_json(party->domain),
		"domid", party->domid, "pid", (json_int_t)party->pid, "comm",
		text_json(party->comm), "captured", party->told, "agrees",
		party->consent == CONSENT_YES);
}

static json_t *channel_row(const struct capture_item *item)
{
	json_t *row = channel_json(item);

	(void)json_object_set_new(
		row, "capture", json_string(policy_capture_word(item->about.permits)));
	(void)json_object_set_new(row, "rule", text_json(item->about.rule));
	(void)json_object_set_new(
		row, "headers", json_boolean(item->about.permits != POLICY_CAPTURE_NO));
	(void)json_object_set_new(row, "payload", json_boolean(item->payload));
	(void)json_object_set_new(row, "ends",
		json_pack("[o, o]", party_json(&item->about.parties[0]),
			party_json(&item->about.parties[1])));
	return row;
}

static json_t *item_json(const struct capture_item *item)
{
	switch (item->kind) {
	case CAPTURE_FRAME:
		return frame_row(item);
	case CAPTURE_CHANNEL:
		return channel_row(item);
	case CAPTURE_MISSED:
		return json_pack("{s:I}", "missed", (json_int_t)item->n_missed);
	case CAPTURE_ENDED:
		return json_pack("{s:s}", "ended", item->text);
	}
	return NULL;
}

/* ---- the clients ---------------------------------------------------------------------------- */

/* client: NULL for a place that is free. NULL: there is none. */
static struct capture_place *find(
	struct admin_captures *captures, const struct admin_client *client)
{
	for (size_t i = 0; i < ARRAY_SIZE(captures->places); i++) {
		if (captures->places[i].client == client)
			return &captures->places[i];
	}
	return NULL;
}

static json_t *refusal(const char *text)
{
	return json_pack("{s:s}", "error", text);
}

static json_t *begin(struct admin_captures *captures, struct server *server,
	const struct admin_request *request, const struct admin_client *client)
{
	struct broker_target target = {
		.link = request->link, .channel = request->channel, .name = request->name};
	bool by_link = admin_request_has(request, ADMIN_KEY_LINK);
	struct capture_place *place = find(captures, NULL);
	int r = 0;

	if (by_link == admin_request_has(request, ADMIN_KEY_DOMAIN) ||
		(by_link ? admin_request_has(request, ADMIN_KEY_NAME)
			 : admin_request_has(request, ADMIN_KEY_CHANNEL)))
		return refusal("a capture is of a link, perhaps with a channel, or of a domain, "
			       "perhaps with a name");
	if (!place)
		return steer_refusal(-EUSERS);
	if (!by_link)
		r = broker_find_domain(server_broker(server), request->domain, &target.domid);
	if (r == 0)
		r = server_capture(
			server, &target, request->payload, request->snaplen, &place->capture);
	if (r < 0)
		return steer_refusal(r);
	place->client = client;
	return NULL;
}

json_t *capture_answer(struct admin_captures *captures, struct server *server,
	const struct admin_request *request, const struct admin_client *client)
{
	json_t *answer = request->from == 0 ? begin(captures, server, request, client) : NULL;
	const struct capture_place *place = find(captures, client);
	struct rows rows = {.request = request, .full = true, .next = request->from + 1};
	struct capture_item *item;

	if (answer || !place)
		return answer;
	rows.rows = json_array();
	while (json_array_size(rows.rows) < ADMIN_EVENTS_A_TURN &&
		(item = capture_take(place->capture))) {
		(void)json_array_append_new(rows.rows, item_json(item));
		free(item);
	}
	rows.n = rows.next + capture_has(place->capture);
	answer = rows_answer(&rows);
	/* A client without an answer follows nothing, and nobody would tell of its end. */
	if (!answer)
		capture_gone(captures, server, client);
	return answer;
}

void capture_gone(
	struct admin_captures *captures, struct server *server, const struct admin_client *client)
{
	struct capture_place *place = find(captures, client);

	if (!place)
		return;
	place->client = NULL;
	server_end_capture(server, place->capture);
}
