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
	if (channel->pool->held + len > CHANNEL_BUDGET) {
		channel->set->breach = "more unread data than this application holds";
		return CHANNEL_OVER_BUDGET;
	}
	channel->partial = malloc(sizeof(*channel->partial) + len);
	if (!channel->partial) {
		channel->set->breach = "out of memory for a message";
		return CHANNEL_NO_MEMORY;
	}
	channel->pool->held += len;
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

/* NULL: the frame may come now. Else what is wrong with it. */
static const char *data_breach(const struct channel *channel, const struct frame *frame)
{
	uint32_t rest;

	if (channel->rx_shut)
		return "data after the channel's end";
	if (frame->len + FRAME_CHARGE > channel->rx_window)
		return "more data than the credit given";
	if (channel->rx_ignore)
		return NULL;
	if (frame->flags & FRAME_FIRST) {
		if (channel->direct || channel->partial)
			return "a message inside a message";
		if (frame->arg > channel->maxmsg_told)
			return "a message longer than this end takes";
		return NULL; /* frame_decode has compared its own two lengths */
	}
	if (channel->direct) {
		rest = channel->direct_len - channel->direct_done;
	} else if (channel->partial) {
		rest = channel->partial->len - channel->partial->done;
	} else {
		return "a message without a start";
	}
	if (frame->len > rest || ((frame->flags & FRAME_LAST) && frame->len < rest))
		return "fragments that do not add up to the message";
	return NULL;
}

static enum channel_outcome frame_data(struct channel *channel, const struct frame *frame)
{
	const char *breach;

	if (channel->state != CHANNEL_OPEN)
		return CHANNEL_TAKEN; /* nobody will read it */
	breach = data_breach(channel, frame);
	if (breach)
		return violation(channel, breach);
	if ((frame->flags & FRAME_FIRST) && !channel->rx_ignore) {
		enum channel_outcome outcome = message_begin(channel, frame->arg);

		if (outcome != CHANNEL_TAKEN)
			return outcome;
	}
	channel->rx_window -= frame->len + FRAME_CHARGE;
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

static enum channel_outcome frame_credit(struct channel *channel, const struct frame *frame)
{
	if (channel->tx_credit + (uint64_t)frame->arg > CREDIT_BALANCE_MAX)
		return violation(channel, "credit beyond reason");
	channel->tx_credit += frame->arg;
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
	else
		channel_mark_due(channel);
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
	if (channel->tx_closed && frame->type != FRAME_CLOSE)
		return CHANNEL_TAKEN; /* sent before our CLOSE arrived there */
	switch (frame->type) {
	case FRAME_DATA:
		return frame_data(channel, frame);
	case FRAME_CREDIT:
		return frame_credit(channel, frame);
	case FRAME_SHUTDOWN:
		return frame_shutdown(channel);
	case FRAME_LIMIT:
		channel->tx_maxmsg = frame->arg;
		return CHANNEL_TAKEN;
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
		channel->pool->held += buf->len;
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
