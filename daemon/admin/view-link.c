/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lists of links and of channels. */
#include "daemon/admin/rows.h"
#include "daemon/admin/words.h"
#include "daemon/broker/channel.h"
#include "daemon/broker/link.h"
#include "daemon/broker/state.h"

/* Of an end, which is as it says itself: so the two need not agree. */
static json_t *link_end_traffic_json(const struct link_end *end)
{
	json_t *json = traffic_json(&end->traffic);

	(void)json_object_set_new(
		json, "notifications", json_integer((json_int_t)end->notifications));
	(void)json_object_set_new(json, "hypercalls", json_integer((json_int_t)end->hypercalls));
	return json;
}

/* null: it has told nothing of this channel. */
static json_t *channel_end_traffic_json(const struct broker_channel *channel, unsigned end)
{
	const struct control_counts *last = channel->counts ? &channel->counts[end].last : NULL;
	json_t *json;

	if (!last)
		return json_null();
	json = traffic_json(&(struct traffic){.tx_messages = last->tx_messages,
		.tx_bytes = last->tx_bytes,
		.rx_messages = last->rx_messages,
		.rx_bytes = last->rx_bytes,
		.drops = last->drops,
		.no_credit = last->no_credit,
		.no_room = last->no_room});
	(void)json_object_set_new(json, "unread", json_integer(last->unread));
	(void)json_object_set_new(json, "unsent", json_integer(last->unsent));
	return json;
}

static json_t *link_json(const struct rows *rows, const struct broker_link *link)
{
	return json_pack("{s:o, s:s, s:o, s:s, s:i, s:I, s:o, s:o, s:o, s:o}", "uid",
		uid_json(link->id.uid), "transport", transport_name(link->id.transport), "reason",
		text_json(link->why), "state", link_state_word(link), "channels",
		(int)(HASH_COUNT(link->channels) - link->n_ahead), "age_s",
		rows_age_s(rows, link->since_ns), "creator", end_json(&link->ends[0]), "binder",
		end_json(&link->ends[1]), "creator_traffic", link_end_traffic_json(&link->ends[0]),
		"binder_traffic", link_end_traffic_json(&link->ends[1]));
}

static void links_view_of(struct rows *rows, const struct broker_link *link)
{
	for (; link; link = link->hh.next) {
		if (rows_skip(rows, 1))
			continue;
		if (rows_lack_link(rows, link) || rows_lack_state(rows, link_state_word(link)))
			rows_pass(rows, 1);
		else
			rows_add(rows, link_json(rows, link));
	}
}

void links_view(struct rows *rows)
{
	links_view_of(rows, rows->broker->links);
	links_view_of(rows, rows->broker->announced);
}

static json_t *channel_json(const struct rows *rows, const struct broker_channel *channel)
{
	const struct broker_link *link = channel->link;

	return json_pack("{s:o, s:I, s:s, s:s, s:s, s:s, s:I, s:o, s:o, s:s, s:o, s:o}", "link",
		uid_json(link->id.uid), "channel", (json_int_t)channel->number, "name",
		broker_channel_name(channel), "type", channel_type_word(channel->type), "transport",
		transport_name(link->id.transport), "state", channel_state_word(channel), "age_s",
		rows_age_s(rows, channel->since_ns), "from", end_json(&link->ends[channel->caller]),
		"to", end_json(&link->ends[!channel->caller]), "direction",
		channel_direction_word(channel), "from_traffic",
		channel_end_traffic_json(channel, channel->caller), "to_traffic",
		channel_end_traffic_json(channel, !channel->caller));
}

static bool channel_is_other(const struct rows *rows, const struct broker_channel *channel)
{
	const struct admin_request *request = rows->request;

	if (admin_request_has(request, ADMIN_KEY_CHANNEL) && channel->number != request->channel)
		return true;
	return rows_lack_name(rows, broker_channel_name(channel)) ||
	       rows_lack_state(rows, channel_state_word(channel));
}

static void channels_view_of_link(struct rows *rows, const struct broker_link *link)
{
	const struct broker_channel *channel;

	for (channel = link->channels; channel; channel = channel->hh.next) {
		if (rows_skip(rows, 1))
			continue;
		if (channel->ahead || channel_is_other(rows, channel))
			rows_pass(rows, 1);
		else
			rows_add(rows, channel_json(rows, channel));
	}
}

static void channels_view_of(struct rows *rows, const struct broker_link *link)
{
	for (; link; link = link->hh.next) {
		size_t n = HASH_COUNT(link->channels);

		if (rows_skip(rows, n))
			continue;
		if (rows_lack_link(rows, link))
			rows_pass(rows, n);
		else
			channels_view_of_link(rows, link);
	}
}

void channels_view(struct rows *rows)
{
	channels_view_of(rows, rows->broker->links);
	channels_view_of(rows, rows->broker->announced);
}
