/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Credit for the other end of a channel (PROTOCOL.md, section 4): how much is due, and how the
 * window grows. A frame of the other end is checked against the credit that it was given, so it
 * cannot make this end hold more than that.
 */
#include "libmsg/channel/channel.h"

/* The most credit that is given ahead for the rest of one message. */
#define REST_CREDIT_MAX (256U * 1024U)

/* A reader that keeps up has so much, whatever else was promised: it does not let data lie. */
#define WINDOW_ALWAYS (128U * 1024U)

/*
 * Whether so much more may be promised: a domain gets as much as it leaves to others, so that idle
 * channels of some domains keep nobody else's windows small.
 */
static bool channel_may_promise(const struct channel *channel, uint32_t more)
{
	return channel->account->promised + channel->pool->promised + 2 * (uint64_t)more <=
	       CHANNEL_BUDGET;
}

/*
 * A reader that keeps up is worth more: the window doubles, to two of its messages at least, while
 * the application can promise it.
 */
static void channel_grow(struct channel *channel, uint32_t read)
{
	uint32_t limit = min_u32(channel->rx_max, 2 * max_u32(channel->rx_limit, read));

	if (limit > WINDOW_ALWAYS && limit > channel->rx_limit &&
		!channel_may_promise(channel, limit - channel->rx_limit))
		limit = WINDOW_ALWAYS;
	if (limit <= channel->rx_limit)
		return;
	channel->account->promised += limit - channel->rx_limit;
	channel->pool->promised += limit - channel->rx_limit;
	channel->rx_limit = limit;
}

/*
 * The credit that the window allows: a quarter of it at least, so that it costs few frames. After
 * SHUT_RD no more is kept: messages that came before it, and may lie unread for ever, keep nobody
 * from sending.
 */
static uint32_t credit_by_window(const struct channel *channel)
{
	uint32_t used = channel->rx_window + (channel->rx_ignore ? 0 : channel->rx_held);

	if (used > channel->rx_limit || channel->rx_limit - used < channel->rx_limit / 4)
		return 0;
	return channel->rx_limit - used;
}

/* The credit for the rest of a message under way: it must be able to come, whatever the window. */
static uint32_t credit_by_message(const struct channel *channel)
{
	uint32_t rest, need, least;

	if (channel->direct)
		rest = channel->direct_len - channel->direct_done;
	else if (channel->partial)
		rest = channel->partial->len - channel->partial->done;
	else
		return 0;
	need = min_u32(rest + FRAME_CHARGE * (rest / FRAGMENT_MIN + 2),
		channel->terms ? min_u32(channel->rx_max, REST_CREDIT_MAX) : REST_CREDIT_MAX);
	/* A sender waits until it can send a fragment that is worth it (channel_min_fragment). */
	least = max_u32(need / 2, min_u32(rest, FRAGMENT_MIN));
	return channel->rx_window < least + FRAME_CHARGE ? need + FRAME_CHARGE - channel->rx_window
							 : 0;
}

uint32_t channel_credit(const struct channel *channel)
{
	if (channel->rx_closed || channel->rx_shut)
		return 0;
	return max_u32(credit_by_window(channel), credit_by_message(channel));
}

/*
 * If the other end sleeps for want of credit, all that it sent lies in this end's ring. Once that
 * is taken in, rx_window is the credit that it had left when it fell asleep, and the credit that it
 * was not woken for since. Each frame of data has this looked at again.
 */
bool channel_credit_is_low(const struct channel *channel)
{
	return channel->rx_window < channel->rx_quiet + FRAGMENT_MIN + FRAME_CHARGE;
}

void channel_give(struct channel *channel)
{
	if (!channel->terms || !channel_pace(channel))
		channel_give_now(channel);
}

void channel_give_now(struct channel *channel)
{
	if (channel->tx_closed || channel->credit_due || !channel_credit(channel))
		return;
	channel->credit_due = true;
	channel->credit_late = !channel->tx_open;
	channel_mark_due(channel);
}

void channel_give_back(struct channel *channel, uint32_t read)
{
	if (!channel->set)
		return;
	if (credit_by_window(channel))
		channel_grow(channel, read);
	else if (!channel->partial && !channel->direct)
		return;
	channel_give(channel);
}

void channel_read_done(struct channel *channel, uint32_t cost)
{
	channel->rx_held -= cost;
	channel_give_back(channel, cost);
}
