/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lists of links and of channels. */
#include "daemon/admin/rows.h"
#include "daemon/admin/words.h"
#include "daemon/broker/channel.h"
#include "daemon/broker/link.h"
#include "daemon/broker/state.h"

static json_t *link_json(const struct rows *rows, const struct broker_link *link)
{
	return json_pack("{s:o, s:s, s:o, s:s, s:i, s:I, s:o, s:o}", "uid", uid_json(link->id.uid),
		"transport", transport_name(link->id.transport), "reason", text_json(link->why),
		"state", link_state_word(link), "channels", (int)HASH_COUNT(link->channels),
		"age_s", rows_age_s(rows, link->since_ns), "creator", end_json(&link->ends[0]),
		"binder", end_json(&link->ends[1]));
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

	return json_pack("{s:o, s:I, s:s, s:s, s:s, s:s, s:I, s:o, s:o}", "link",
		uid_json(link->id.uid), "channel", (json_int_t)channel->number, "name",
		broker_channel_name(channel), "type", channel_type_word(channel->type), "transport",
		transport_name(link->id.transport), "state", channel_state_word(channel), "age_s",
		rows_age_s(rows, channel->since_ns), "from", end_json(&link->ends[channel->caller]),
		"to", end_json(&link->ends[!channel->caller]));
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
		if (channel_is_other(rows, channel))
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
