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

/* Private memory, charged to the peer's domain. */
static enum channel_outcome buf_new(
	struct channel *channel, uint32_t size, struct msg_buf **ret_buf)
{
	struct msg_buf *buf;

	if (channel->pool->held + msg_buf_charge(size) > CHANNEL_BUDGET ||
		channel->account->held + msg_buf_charge(size) > ACCOUNT_BUDGET) {
		channel->set->breach = "more unread data than this application holds";
		return CHANNEL_OVER_BUDGET;
	}
	buf = malloc(sizeof(*buf) + size);
	if (!buf) {
		channel->set->breach = "out of memory for a message";
		return CHANNEL_NO_MEMORY;
	}
	channel_charge(channel, msg_buf_charge(size));
	*buf = (struct msg_buf){.size = size};
	*ret_buf = buf;
	return CHANNEL_TAKEN;
}

static enum channel_outcome message_begin(struct channel *channel, uint32_t len)
{
	enum channel_outcome outcome;

	if (message_goes_direct(channel, len)) {
		channel->direct_cursor = channel->reader->cursor;
		channel->direct = true;
		channel->direct_len = len;
		channel->direct_done = channel->direct_cost = 0;
		return CHANNEL_TAKEN;
	}
	outcome = buf_new(channel, len, &channel->partial);
	if (outcome == CHANNEL_TAKEN)
		channel->partial->len = len;
	return outcome;
}

/* The reader has got len bytes, for so much credit. */
static void reader_done(struct channel *channel, uint32_t len, uint32_t cost)
{
	channel->reader->len = len;
	channel->reader->done = true;
	channel->reader = NULL;
	channel->direct = false;
	channel->pool->wake = true;
	channel_give_back(channel, cost);
}

/*
 * A reader that wants the latest reading: half of the window is for what comes, so that the other
 * end never lacks credit, as long as this application is in a call of libmsg now and then.
 */
static void drop_oldest(struct channel *channel)
{
	struct msg_buf *buf;

	while (channel->rx_held > channel->rx_limit / 2 &&
		STAILQ_NEXT(STAILQ_FIRST(&channel->in), entry)) {
		buf = channel_take_first(channel);
		channel_count_drops(channel, 1);
		channel_read_done(channel, buf->cost);
		free(buf);
	}
}

static void message_end_private(struct channel *channel)
{
	STAILQ_INSERT_TAIL(&channel->in, channel->partial, entry);
	channel->partial = NULL;
	if (channel->drop_oldest)
		drop_oldest(channel);
	channel_changed(channel);
}

/* Copies a part of the frame's payload, as many pieces as there are in the reader's memory. */
static inline __attribute__((always_inline)) void read_pieces(
	struct transport *transport, struct iov_cursor *to, uint32_t off, uint32_t left)
{
	void *whole = cursor_whole(to, left);

	if (whole) {
		transport->ops->read(transport, off, whole, left);
		return;
	}
	while (left) {
		size_t n;
		void *piece = cursor_next(to, left, &n);

		transport->ops->read(transport, off, piece, (uint32_t)n);
		off += (uint32_t)n;
		left -= (uint32_t)n;
	}
}

static void data_direct(struct channel *channel, const struct frame *frame)
{
	read_pieces(channel->set->transport, &channel->direct_cursor, 0, frame->len);
	channel->direct_done += frame->len;
	channel->direct_cost += frame->len + FRAME_CHARGE;
	if (frame->flags & FRAME_LAST)
		reader_done(channel, channel->direct_len, channel->direct_cost);
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

/* ---- streams ---------------------------------------------------------------------------- */

/* Room for `rest` more bytes behind those that wait. */
static enum channel_outcome stream_room(
	struct channel *channel, uint32_t rest, struct msg_buf **ret_buf)
{
	struct msg_buf *last = channel->in_last;
	enum channel_outcome outcome;

	if (last && last->size - last->len >= rest) {
		*ret_buf = last;
		return CHANNEL_TAKEN;
	}
	outcome = buf_new(channel, max_u32(rest, STREAM_PIECE_MIN), ret_buf);
	if (outcome == CHANNEL_TAKEN) {
		STAILQ_INSERT_TAIL(&channel->in, *ret_buf, entry);
		channel->in_last = *ret_buf;
	}
	return outcome;
}

/* Its bytes go to the reader, as far as they find room there, and wait for the next one. */
static enum channel_outcome data_stream(struct channel *channel, const struct frame *frame)
{
	struct transport *transport = channel->set->transport;
	struct reader *reader = STAILQ_EMPTY(&channel->in) ? channel->reader : NULL;
	uint32_t direct = reader ? (uint32_t)min_u64(frame->len, reader->size) : 0;
	uint32_t rest = frame->len - direct, cost = frame->len + FRAME_CHARGE;
	struct msg_buf *buf = NULL;
	enum channel_outcome outcome;

	if (rest) {
		outcome = stream_room(channel, rest, &buf);
		if (outcome != CHANNEL_TAKEN)
			return outcome;
		transport->ops->read(transport, direct, buf->data + buf->len, rest);
		buf->len += rest;
		buf->cost += cost - direct;
		channel->rx_held += cost - direct;
		cost = direct;
		channel_changed(channel);
	}
	if (direct) {
		read_pieces(transport, &reader->cursor, 0, direct);
		reader_done(channel, direct, cost);
	}
	return CHANNEL_TAKEN;
}

size_t channel_read_stream(struct channel *channel, struct iov_cursor *to, size_t size, bool peek)
{
	struct msg_buf *buf, *next;
	size_t done = 0;

	for (buf = STAILQ_FIRST(&channel->in); buf && done < size; buf = next) {
		size_t n = min_u64(buf->len - buf->done, size - done);

		next = STAILQ_NEXT(buf, entry);
		cursor_write(to, buf->data + buf->done, n);
		done += n;
		if (peek)
			continue;
		buf->done += (uint32_t)n;
		if (buf->done < buf->len)
			break;
		(void)channel_take_first(channel);
		channel_read_done(channel, buf->cost);
		free(buf);
	}
	return done;
}

/* ---- frames that may not come ----------------------------------------------------------- */

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

	if (breach)
		return breach;
	if (channel->type != CHANNEL_SEQPACKET && frame->flags != (FRAME_FIRST | FRAME_LAST))
		return "a fragment where each frame is whole";
	if (channel->type == CHANNEL_STREAM)
		return frame->len ? NULL : "a frame of a stream without bytes";
	if (channel->rx_ignore)
		return NULL;
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
	if (channel->tx_free >= LIMIT_FRAMES)
		return;
	channel->tx_free++;
	if (channel->limit_due || channel->drops_due)
		channel_mark_due(channel);
}

void channel_count_drops(struct channel *channel, uint32_t n)
{
	channel->n_drops += n;
	channel->drops_due =
		n > UINT32_MAX - channel->drops_due ? UINT32_MAX : channel->drops_due + n;
}

/* Memory for the message, or a stream's bytes taken in. */
static enum channel_outcome data_begin(struct channel *channel, const struct frame *frame)
{
	enum channel_outcome outcome;

	if (channel->rx_ignore)
		return CHANNEL_TAKEN;
	if (channel->type == CHANNEL_STREAM)
		return data_stream(channel, frame);
	if (!(frame->flags & FRAME_FIRST))
		return CHANNEL_TAKEN;
	outcome = message_begin(channel, frame->arg);
	if (outcome == CHANNEL_TAKEN || channel->type != CHANNEL_DGRAM)
		return outcome;
	channel_count_drops(channel, 1); /* no memory: it is dropped as where there is no room */
	return CHANNEL_TAKEN;
}

/* A frame of data was taken in, or is about to be. */
static inline __attribute__((always_inline)) void count_data(
	struct channel *channel, const struct frame *frame)
{
	channel->rx_messages += frame->flags & FRAME_LAST ? 1 : 0;
	channel->rx_bytes += frame->len;
	hear(channel);
	if (channel->rx_quiet && channel_credit_is_low(channel)) {
		channel->rx_quiet = 0;
		channel->set->transport->bell_due = true;
	}
}

/* In the state that nearly every message meets; in any other, channel_frame judges. */
static inline __attribute__((always_inline)) bool is_whole_for(
	const struct channel *channel, const struct frame *frame, const struct reader *reader)
{
	return frame->type == FRAME_DATA && frame->flags == (FRAME_FIRST | FRAME_LAST) &&
	       channel->type != CHANNEL_STREAM && frame->len <= reader->size &&
	       frame->len <= channel->maxmsg_told &&
	       frame->len + FRAME_CHARGE <= channel->rx_window && channel->state == CHANNEL_OPEN &&
	       channel->tx_open && !channel->partial && !channel->reader &&
	       STAILQ_EMPTY(&channel->in) && !channel_at_end(channel);
}

bool channel_read_whole(struct channel *channel, const struct frame *frame, struct reader *reader)
{
	if (!is_whole_for(channel, frame, reader))
		return false;
	channel->rx_window -= frame->len + FRAME_CHARGE;
	count_data(channel, frame);
	read_pieces(channel->set->transport, &reader->cursor, 0, frame->len);
	reader->len = frame->len;
	reader->done = true;
	channel_give_back(channel, frame->len + FRAME_CHARGE);
	return true;
}

static enum channel_outcome frame_data(struct channel *channel, const struct frame *frame)
{
	enum channel_outcome outcome;
	const char *breach;

	if (channel->state != CHANNEL_OPEN)
		return frame_data_unread(channel, frame);
	breach = data_breach(channel, frame);
	if (breach)
		return violation(channel, breach);
	channel->rx_window -= frame->len + FRAME_CHARGE;
	outcome = data_begin(channel, frame);
	if (outcome != CHANNEL_TAKEN) {
		channel->rx_window += frame->len + FRAME_CHARGE; /* it still lies in the ring */
		return outcome;
	}
	count_data(channel, frame);
	if (channel->direct)
		data_direct(channel, frame);
	else if (channel->partial)
		data_private(channel, frame);
	else
		channel_give_back(channel, 0); /* a stream's bytes, or nobody takes it */
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
	if (!STAILQ_EMPTY(&channel->out) || channel->drops_due)
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

static enum channel_outcome frame_drops(struct channel *channel, const struct frame *frame)
{
	/* An end that its application gave up may not know its type. */
	if (channel->type != CHANNEL_DGRAM && channel->state == CHANNEL_OPEN)
		return violation(channel, "drops where nothing may be dropped");
	if (!take_free(channel))
		return violation(channel, "more frames about drops than there was data");
	channel->n_drops += frame->arg;
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
		channel_changed(channel);
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
	case FRAME_DROPS:
		return frame_drops(channel, frame);
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
		*buf = (struct msg_buf){.size = channel->direct_len,
			.len = channel->direct_len,
			.done = channel->direct_done,
			.cost = channel->direct_cost};
		from = channel->reader->cursor;
		cursor_read(&from, buf->data, buf->done);
		channel->rx_held += buf->cost;
		channel_charge(channel, msg_buf_charge(buf->size));
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
