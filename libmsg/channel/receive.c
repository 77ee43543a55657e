/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames that a channel takes in (PROTOCOL.md, section 4). Each is checked before anything changes,
 * and the checks name what is wrong. A violation is returned; its link decides what becomes of it.
 */
#include "libmsg/channel/channel.h"

#include <stdlib.h>

static enum channel_outcome violation(struct channel *channel, const char *breach)
{
	channel->set->breach = breach;
	return CHANNEL_VIOLATION;
}

/* Where the payload of the next message goes is known from its first frame. */
static bool message_goes_direct(const struct channel *channel, uint32_t len)
{
	return channel->reader && STAILQ_EMPTY(&channel->in) && len <= channel->reader->size;
}

static enum channel_outcome message_begin(struct channel *channel, uint32_t len)
{
	if (message_goes_direct(channel, len)) {
		cursor_init(&channel->direct_cursor, channel->reader->iov, channel->reader->n_iov);
		channel->direct = true;
		channel->direct_len = len;
		channel->direct_done = channel->direct_cost = 0;
		return CHANNEL_TAKEN;
	}
	if (channel->pool->held + msg_buf_charge(len) > CHANNEL_BUDGET ||
		channel->account->held + msg_buf_charge(len) > ACCOUNT_BUDGET) {
		channel->set->breach = "more unread data than this application holds";
		return CHANNEL_OVER_BUDGET;
	}
	channel->partial = malloc(sizeof(*channel->partial) + len);
	if (!channel->partial) {
		channel->set->breach = "out of memory for a message";
		return CHANNEL_NO_MEMORY;
	}
	channel_charge(channel, msg_buf_charge(len));
	*channel->partial = (struct msg_buf){.len = len};
	return CHANNEL_TAKEN;
}

static void message_end_direct(struct channel *channel)
{
	channel->reader->len = channel->direct_len;
	channel->reader->done = true;
	channel->reader = NULL;
	channel->direct = false;
	channel->pool->wake = true;
	channel_give_back(channel, channel->direct_cost);
}

static void message_end_private(struct channel *channel)
{
	STAILQ_INSERT_TAIL(&channel->in, channel->partial, entry);
	channel->partial = NULL;
	channel_changed(channel);
}

static void data_direct(struct channel *channel, const struct frame *frame)
{
	struct transport *transport = channel->set->transport;
	uint32_t left = frame->len, off = 0;

	/* As many pieces as the reader's memory has. */
	while (left) {
		size_t n;
		void *piece = cursor_next(&channel->direct_cursor, left, &n);

		transport->ops->read(transport, off, piece, (uint32_t)n);
		off += (uint32_t)n;
		left -= (uint32_t)n;
	}
	channel->direct_done += frame->len;
	channel->direct_cost += frame->len + FRAME_CHARGE;
	if (frame->flags & FRAME_LAST)
		message_end_direct(channel);
	else
		channel_give(channel);
}

static void data_private(struct channel *channel, const struct frame *frame)
{
	struct transport *transport = channel->set->transport;
	struct msg_buf *buf = channel->partial;

	transport->ops->read(transport, 0, buf->data + buf->done, frame->len);
	buf->done += frame->len;
	buf->cost += frame->len + FRAME_CHARGE;
	channel->rx_held += frame->len + FRAME_CHARGE;
	if (frame->flags & FRAME_LAST)
		message_end_private(channel);
	else
		channel_give(channel);
}

/*
 * Whether a message of len bytes, of which `done` have come at a cost of `cost`, comes in more
 * fragments than it needs. The credit for a message under way is given ahead: it must not pay for
 * fragments without end.
 */
static bool is_shredded(const struct channel *channel, uint32_t len, uint32_t done, uint32_t cost)
{
	uint32_t n_fragments = (cost - done) / FRAME_CHARGE;

	return n_fragments > len / channel->set->fragment_min + FRAGMENTS_SPARE;
}

static const char *fragment_breach(const struct channel *channel, const struct frame *frame)
{
	uint32_t len, done, cost, rest;

	if (channel->direct) {
		len = channel->direct_len;
		done = channel->direct_done;
		cost = channel->direct_cost;
	} else if (channel->partial) {
		len = channel->partial->len;
		done = channel->partial->done;
		cost = channel->partial->cost;
	} else {
		return "a message without a start";
	}
	rest = len - done;
	if (frame->len > rest || ((frame->flags & FRAME_LAST) && frame->len < rest))
		return "fragments that do not add up to the message";
	if (is_shredded(channel, len, done, cost))
		return "a message in more fragments than it needs";
	return NULL;
}

/* The rule that data breaks which nobody will read; NULL: none. */
static const char *unread_data_breach(const struct channel *channel, const struct frame *frame)
{
	if (channel->rx_shut)
		return "data after the channel's end";
	if (frame->len + FRAME_CHARGE > channel->rx_window)
		return "more data than the credit given";
	return NULL;
}

/* NULL: the frame may come now. Else what is wrong with it. */
static const char *data_breach(const struct channel *channel, const struct frame *frame)
{
	const char *breach = unread_data_breach(channel, frame);

	if (breach || channel->rx_ignore)
		return breach;
	if (frame->flags & FRAME_FIRST) {
		if (channel->direct || channel->partial)
			return "a message inside a message";
		if (frame->arg > channel->maxmsg_told)
			return "a message longer than this end takes";
		return NULL; /* frame_decode has compared its own two lengths */
	}
	return fragment_breach(channel, frame);
}

/* Data for an end that its application has closed: it is dropped, and costs the credit given. */
static enum channel_outcome frame_data_unread(struct channel *channel, const struct frame *frame)
{
	const char *breach = unread_data_breach(channel, frame);

	if (breach)
		return violation(channel, breach);
	channel->rx_window -= frame->len + FRAME_CHARGE;
	return CHANNEL_TAKEN;
}

/* The other end has said something that cost it something: this end may send LIMIT again. */
static void hear(struct channel *channel)
{
	if (channel->tx_limits >= LIMIT_FRAMES)
		return;
	channel->tx_limits++;
	if (channel->limit_due)
		channel_mark_due(channel);
}

static enum channel_outcome frame_data(struct channel *channel, const struct frame *frame)
{
	const char *breach;

	if (channel->state != CHANNEL_OPEN)
		return frame_data_unread(channel, frame);
	breach = data_breach(channel, frame);
	if (breach)
		return violation(channel, breach);
	if ((frame->flags & FRAME_FIRST) && !channel->rx_ignore) {
		enum channel_outcome outcome = message_begin(channel, frame->arg);

		if (outcome != CHANNEL_TAKEN)
			return outcome;
	}
	channel->rx_window -= frame->len + FRAME_CHARGE;
	hear(channel);
	if (channel->rx_quiet && channel_credit_is_low(channel)) {
		channel->rx_quiet = 0;
		channel->set->transport->bell_due = true;
	}
	if (channel->rx_ignore)
		channel_give_back(channel, 0);
	else if (channel->direct)
		data_direct(channel, frame);
	else
		data_private(channel, frame);
	return CHANNEL_TAKEN;
}

/* A frame that costs no credit; the frames that this end sends pay for it. */
static bool take_free(struct channel *channel)
{
	if (!channel->rx_free)
		return false;
	channel->rx_free--;
	return true;
}

static enum channel_outcome frame_credit(struct channel *channel, const struct frame *frame)
{
	if (channel->tx_credit + (uint64_t)frame->arg > CREDIT_BALANCE_MAX)
		return violation(channel, "credit beyond reason");
	if (!take_free(channel))
		return violation(channel, "more frames of credit than there was data");
	channel->tx_credit += frame->arg;
	hear(channel);
	if (channel->tx_closed)
		return CHANNEL_TAKEN; /* this end has nothing left to send */
	if (STAILQ_EMPTY(&channel->out))
		channel_changed(channel);
	else
		channel_mark_due(channel);
	return CHANNEL_TAKEN;
}

/* Once closed here, the rest of a message has been dropped: it is not missing. */
static bool inside_message(const struct channel *channel)
{
	return channel->state == CHANNEL_OPEN && (channel->direct || channel->partial);
}

static enum channel_outcome frame_limit(struct channel *channel, const struct frame *frame)
{
	if (!take_free(channel))
		return violation(channel, "more limits than there was data");
	channel->tx_maxmsg = frame->arg;
	return CHANNEL_TAKEN;
}

static enum channel_outcome frame_shutdown(struct channel *channel)
{
	if (channel->rx_shut || inside_message(channel))
		return violation(channel, "a shutdown inside a message or after the end");
	channel->rx_shut = true;
	channel_changed(channel);
	return CHANNEL_TAKEN;
}

static enum channel_outcome frame_close(struct channel *channel, const struct frame *frame)
{
	if (frame->arg == CLOSE_NORMAL && inside_message(channel))
		return violation(channel, "a close inside a message");
	channel_drop_partial(channel);
	channel->rx_closed = true;
	if (frame->arg == CLOSE_RESET && !channel->error)
		channel->error = ECONNRESET;
	channel_drop_out(channel);
	if (channel->state == CHANNEL_OPEN)
		channel_changed(channel);
	else if (channel->tx_closed)
		channel_finish(channel);
	if (!channel->tx_closed)
		channel_mark_due(channel); /* the answer waits for no application */
	return CHANNEL_TAKEN;
}

enum channel_outcome channel_frame(struct channel *channel, const struct frame *frame)
{
	if (channel->rx_closed)
		return violation(channel, "a frame after the channel's close");
	if (!channel->tx_open) {
		/* The end that connected knows the number: this end may send now. */
		channel->tx_open = true;
		channel_mark_due(channel);
	}
	switch (frame->type) {
	case FRAME_DATA:
		return frame_data(channel, frame);
	case FRAME_CREDIT:
		return frame_credit(channel, frame);
	case FRAME_SHUTDOWN:
		return frame_shutdown(channel);
	case FRAME_LIMIT:
		return frame_limit(channel, frame);
	case FRAME_CLOSE:
		return frame_close(channel, frame);
	default:
		return violation(channel, "a frame of an unknown type");
	}
}

int channel_leave_reader(struct channel *channel)
{
	struct iov_cursor from;
	struct msg_buf *buf;

	if (channel->direct) {
		buf = malloc(sizeof(*buf) + channel->direct_len);
		if (!buf)
			return -ENOMEM;
		*buf = (struct msg_buf){.len = channel->direct_len,
			.done = channel->direct_done,
			.cost = channel->direct_cost};
		cursor_init(&from, channel->reader->iov, channel->reader->n_iov);
		cursor_read(&from, buf->data, buf->done);
		channel->rx_held += buf->cost;
		channel_charge(channel, msg_buf_charge(buf->len));
		channel->partial = buf;
		channel->direct = false;
	}
	channel->reader = NULL;
	return 0;
}

void channel_ignore(struct channel *channel)
{
	channel->rx_ignore = true;
	channel->reader = NULL; /* its thread finds the end */
	if (channel->partial)
		channel->rx_held -= channel->partial->cost;
	channel_drop_partial(channel);
	channel_give_back(channel, 0);
}
