/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames in and out of a link (PROTOCOL.md, sections 3 and 4). Nothing here blocks. Bytes that
 * another domain wrote lead to an outcome at worst, on which the driver acts.
 */
#include "libmsg/channel/capture.h"
#include "libmsg/link/link.h"

#include "base/probe.h"

/* The channel of the frame just peeked at, which was not the last frame's. NULL: not known. */
static struct channel *find_channel(struct link *link)
{
	struct channel *channel = channel_find(&link->channels, link->transport->frame.channel);

	link->channels.last = channel;
	if (channel && link->state == LINK_SYNCED)
		link_set_state(link, LINK_UP);
	return channel;
}

/* Moves past a frame; the room goes back when it is worth it. */
static void next_frame(struct transport *transport)
{
	transport->ops->next(transport);
	if (transport->unreleased >= transport->ring_fifth)
		transport_give_back(transport, false);
}

static enum link_outcome outcome_of(enum channel_outcome outcome)
{
	switch (outcome) {
	case CHANNEL_OVER_BUDGET:
		return LINK_OVER_BUDGET;
	case CHANNEL_NO_MEMORY:
		return LINK_OUT_OF_MEMORY;
	case CHANNEL_TAKEN: /* not asked for */
	case CHANNEL_VIOLATION:
	default:
		return LINK_VIOLATION;
	}
}

/* A frame's part of a turn (LINK_TURN). */
static int32_t frame_cost(const struct frame *frame)
{
	if (frame->type != FRAME_DATA)
		return TURN_COST_BARE;
	return TURN_COST_DATA + (int32_t)frame->len + TURN_COST_LEN(frame->arg);
}

/* A frame that is there, unless the turn is over. 0: none is. Messages of strangers cost, too. */
static int peek(struct link *link)
{
	int r;

	while ((r = link->transport->ops->peek(link->transport)) == TRANSPORT_DROPPED) {
		link->turn -= TURN_COST_BARE;
		if (link->turn <= link->pause)
			break;
	}
	return r;
}

/* A peer that goes on writing does not decide how long this takes: the turn does. */
enum link_outcome link_receive(struct link *link, struct channel *until)
{
	struct transport *transport = link->transport;
	struct channel_set *set = &link->channels;
	bool read = until && until->reader;

	for (;;) {
		struct channel *channel = set->last;
		enum channel_outcome outcome;
		int r = peek(link);

		if (r == 0)
			return LINK_EMPTY;
		if (r < 0) {
			set->breach = "a frame that makes no sense";
			return LINK_VIOLATION;
		}
		if (link->turn <= link->pause)
			return link->turn <= 0 ? LINK_TURN_OVER : LINK_STEP_OVER;
		if (!channel || channel->number != transport->frame.channel)
			channel = find_channel(link);
		if (!channel)
			return LINK_UNKNOWN;
		outcome = channel_frame(channel, &transport->frame);
		if (outcome != CHANNEL_TAKEN)
			return outcome_of(outcome);
		PROBE(libmsg, frame_rx, transport, transport->frame.channel, transport->frame.type,
			transport->frame.len, transport->frame.arg);
		if (channel->capture)
			channel_note_received(channel, &transport->frame);
		link->turn -= frame_cost(&transport->frame);
		next_frame(transport);
		if (until && (!STAILQ_EMPTY(&until->in) || (read && !until->reader)))
			return LINK_SERVED;
		if (!TAILQ_EMPTY(&set->due))
			return LINK_DUE;
	}
}

bool link_read_whole(struct link *link, struct reader *reader, int32_t *ret_cost)
{
	struct transport *transport = link->transport;
	struct channel *channel = reader->channel;

	if (link->state != LINK_UP || channel->capture || transport->ops->peek(transport) != 1 ||
		transport->frame.channel != channel->number ||
		!channel_read_whole(channel, &transport->frame, reader))
		return false;
	PROBE(libmsg, frame_rx, transport, transport->frame.channel, transport->frame.type,
		transport->frame.len, transport->frame.arg);
	*ret_cost = frame_cost(&transport->frame);
	next_frame(transport);
	return true;
}

void link_skip(struct link *link)
{
	link->turn -= TURN_COST_BARE;
	link->n_skipped++;
	next_frame(link->transport);
	if (link->state == LINK_SYNCED)
		link_set_state(link, LINK_UP);
}

void link_check(struct link *link, int r)
{
	struct links *links = link->links;

	if (r == -EBADMSG)
		link_end(link, LINK_VIOLATED, "a counter that makes no sense");
	else if (r == -ENOBUFS)
		link_end(link, LINK_NO_MEMORY, "no memory to send messages");
	else if (r < 0 && r != -EAGAIN)
		link_end(link, LINK_PEER_GONE, "the other process's ring is gone");
	if (link->transport->retry_ns && !link->retrying && link_is_up(link)) {
		link->retrying = true;
		TAILQ_INSERT_TAIL(&links->retrying, link, entry_retrying);
		links->pool->marked = true;
		pool_rearm(links->pool);
	}
}

/* Of those that are due now: a peer makes one channel due by a frame, the application many. */
static void flush_marked(struct link *link)
{
	struct channel *channel;

	while ((channel = channel_next_due(&link->channels))) {
		int r = link_is_up(link) ? channel_flush(channel) : 0;

		if (r == -EAGAIN)
			channel_block(channel);
		else if (r < 0)
			link_check(link, r);
	}
	(void)link_push(link);
}

bool link_want_room(struct link *link, uint32_t want)
{
	struct transport *transport = link->transport;

	if (!link_is_up(link))
		return true;
	transport->ops->arm_room(transport);
	return transport->ops->room(transport, want) >= (int64_t)want;
}

/*
 * The event for the blocked may have been asked for after the room had come: hence one more look. A
 * peer that makes room bit by bit has them looked at ROOM_ROUNDS times, then others are served.
 */
void link_flush(struct link *link)
{
	enum room_outcome outcome = ROOM_TRIED;

	if (channel_waits_for_told(&link->channels))
		link_look(link);
	flush_marked(link);
	for (unsigned i = 0; outcome != ROOM_UNUSED && !TAILQ_EMPTY(&link->channels.blocked) &&
			     link_is_up(link) && link_want_room(link, link->channels.fragment_min);
		i++) {
		if (i == ROOM_ROUNDS || channel_was_told(&link->channels)) {
			link_look(link);
			return;
		}
		outcome = channel_set_room(&link->channels, ROOM_BATCH);
		flush_marked(link);
	}
}

void link_await_turn(const struct channel *channel)
{
	struct link *link = channel_link(channel);

	if (!link || !channel_waits_for_told(channel->set))
		return;
	link_look(link);
	pool_rearm(link->links->pool); /* the thread that polls for all may sleep */
}

void link_ask_room(struct channel *channel, uint32_t len)
{
	uint32_t want;

	if (channel_can_send(channel, len, &want) || !want)
		return;
	channel_ask_room(channel);
	link_await_turn(channel);
}

void link_room(struct link *link)
{
	link->links->pool->wake |= link->transport->unpushed;
	channel_wake_first(&link->channels);
	link_flush(link);
}

uint64_t links_retry_time(const struct links *links)
{
	uint64_t first = UINT64_MAX;
	const struct link *link;

	TAILQ_FOREACH (link, &links->retrying, entry_retrying)
		first = min_u64(first, link->transport->retry_ns);
	return first;
}

void links_retry(struct links *links, uint64_t now_ns)
{
	struct link *link, *next;

	for (link = TAILQ_FIRST(&links->retrying); link; link = next) {
		next = TAILQ_NEXT(link, entry_retrying);
		if (link->transport->retry_ns > now_ns)
			continue;
		TAILQ_REMOVE(&links->retrying, link, entry_retrying);
		link->retrying = false;
		link->transport->retry_ns = 0;
		if (link_is_up(link))
			link_room(link);
	}
}
