/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Turns of those that send on one link at once. A channel that finds no room in the ring joins a
 * queue, in the order of the bytes that each has sent. The first one may send whenever there is
 * room; all others, in the queue or not, until they have sent so much more than it. The bytes are
 * counted as in start-time fair queueing: one that had nothing to send begins where the last one
 * that was served had begun, so that it neither saves shares up nor owes any. That much is a frame,
 * if the first one has just begun or sends little, and else half a ring, so that threads take turns
 * seldom.
 *
 * So a message waits for no more than one frame of each other channel, whatever the length of
 * theirs, and channels that always have something to send get equal shares.
 *
 * In the queue are senders that sleep, messages whose rest the pass sends, and sockets that wait
 * for POLLOUT. The application of the last ones need not come once it was told of room: they keep
 * their place until it has waited for events again (pool->round). While such a one is the first,
 * and others wait, nobody sleeps (link_await_turn, link_flush): no event tells that it will not
 * come, and there may be room all the while, so that none tells of that.
 */
#include "libmsg/channel/channel.h"

/* The second round from now begins when the application has been told, and may have come. */
#define ROUNDS_TOLD 2U

static void insert_from_first(struct channel_set *set, struct channel *channel)
{
	struct channel *other = TAILQ_FIRST(&set->waiting);

	while (other && other->tx_sent <= channel->tx_sent)
		other = TAILQ_NEXT(other, entry_waiting);
	if (other)
		TAILQ_INSERT_BEFORE(other, channel, entry_waiting);
	else
		TAILQ_INSERT_TAIL(&set->waiting, channel, entry_waiting);
}

static void insert_from_last(struct channel_set *set, struct channel *channel)
{
	struct channel *other = TAILQ_LAST(&set->waiting, channel_list);

	while (other && other->tx_sent > channel->tx_sent)
		other = TAILQ_PREV(other, channel_list, entry_waiting);
	if (other)
		TAILQ_INSERT_AFTER(&set->waiting, other, channel, entry_waiting);
	else
		TAILQ_INSERT_HEAD(&set->waiting, channel, entry_waiting);
}

void channel_queue(struct channel *channel)
{
	struct channel_set *set = channel->set;

	if (channel->waiting)
		return;
	channel->fresh = channel->tx_sent <= set->clock + FRAGMENT_MIN;
	channel->tx_sent = max_u64(channel->tx_sent, set->clock);
	channel->waiting = true;
	/* It has sent as much as those that wait, about, or begins, as the first of them did. */
	if (channel->fresh)
		insert_from_first(set, channel);
	else
		insert_from_last(set, channel);
}

void channel_wake_first(struct channel_set *set)
{
	const struct channel *first = TAILQ_FIRST(&set->waiting);

	if (first)
		set->pool->wake_senders |= channel_bit(first);
}

static void channel_leave_queue(struct channel *channel)
{
	if (!channel->waiting)
		return;
	channel->waiting = channel->told = false;
	TAILQ_REMOVE(&channel->set->waiting, channel, entry_waiting);
	channel_wake_first(channel->set);
}

/*
 * One that has sent nothing since it was last told of room comes before those that have: an
 * application that fills the ring for its first sockets finds the others first the next time.
 */
static void block_in_order(struct channel *channel)
{
	struct channel_set *set = channel->set;

	if (!channel->served && set->first_served) {
		TAILQ_INSERT_BEFORE(set->first_served, channel, entry_blocked);
		return;
	}
	TAILQ_INSERT_TAIL(&set->blocked, channel, entry_blocked);
	if (channel->served && !set->first_served)
		set->first_served = channel;
}

void channel_block(struct channel *channel)
{
	struct channel_set *set = channel->set;

	if (!set)
		return;
	if (channel->room_asked || !STAILQ_EMPTY(&channel->out))
		channel_queue(channel);
	if (channel->blocked)
		return;
	channel->blocked = true;
	block_in_order(channel);
	set->transport->ops->arm_room(set->transport);
}

void channel_ask_room(struct channel *channel)
{
	channel->room_asked = true;
	channel->told = false;
	channel_block(channel);
}

void channel_unblock(struct channel *channel)
{
	struct channel_set *set = channel->set;

	if (set->first_served == channel)
		set->first_served = TAILQ_NEXT(channel, entry_blocked);
	TAILQ_REMOVE(&set->blocked, channel, entry_blocked);
	channel->blocked = channel->room_asked = channel->served = false;
}

/*
 * One that has a message to go on with is tried alone: it leaves what is behind a frame to others.
 * After sockets were told, none is: their applications come first.
 */
enum room_outcome channel_set_room(struct channel_set *set, unsigned most)
{
	enum room_outcome outcome = ROOM_UNUSED;
	struct channel *channel, *next;

	for (channel = TAILQ_FIRST(&set->blocked); channel && most--; channel = next) {
		bool rest = !STAILQ_EMPTY(&channel->out), asked = channel->room_asked;

		next = TAILQ_NEXT(channel, entry_blocked);
		if (rest && (outcome == ROOM_TOLD || !channel_has_turn(channel)))
			continue;
		channel->told = !rest && asked;
		channel->told_round = set->pool->round;
		if (!rest && !asked)
			channel_leave_queue(channel);
		channel_unblock(channel);
		channel_mark_due(channel);
		channel_changed(channel);
		if (rest)
			return ROOM_TRIED;
		if (outcome != ROOM_TOLD)
			outcome = asked ? ROOM_TOLD : ROOM_TRIED;
	}
	return outcome;
}

void channel_unqueue_sender(struct channel *channel)
{
	struct channel_set *set = channel->set;
	struct channel *first;

	if (!channel->waiting)
		return;
	channel_leave_queue(channel);
	first = TAILQ_FIRST(&set->waiting);
	if (first && first->blocked)
		channel_mark_due(first);
}

/* Threads that send on the same channel look again, and join anew. */
void channel_give_up(struct channel *channel)
{
	if (!channel->waiting || channel->tx_partial || !STAILQ_EMPTY(&channel->out))
		return;
	channel_unqueue_sender(channel);
	channel->set->pool->wake = true;
}

/* A socket that was told, and whose application did not come, leaves the queue. */
bool channel_was_told(struct channel_set *set)
{
	struct channel *first;

	while ((first = TAILQ_FIRST(&set->waiting)) && first->told) {
		if (set->pool->round - first->told_round < ROUNDS_TOLD)
			return true;
		channel_unqueue_sender(first);
	}
	return false;
}

bool channel_waits_for_told(struct channel_set *set)
{
	return channel_was_told(set) && (TAILQ_NEXT(TAILQ_FIRST(&set->waiting), entry_waiting) ||
						!TAILQ_EMPTY(&set->blocked));
}

bool channel_is_next(const struct channel *channel)
{
	struct channel_set *set = channel->set;
	const struct channel *first;
	uint32_t ahead;

	(void)channel_was_told(set);
	first = TAILQ_FIRST(&set->waiting);
	if (!first || first == channel)
		return true;
	ahead = first->fresh ? set->transport->ops->frame_max : set->transport->ring_len / 2;
	return channel->tx_sent < first->tx_sent + ahead;
}
