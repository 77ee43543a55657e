/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The frames that a channel sends: messages in fragments, credit, SHUTDOWN, CLOSE (PROTOCOL.md,
 * section 4).
 */
#include "libmsg/channel/capture.h"

#include <stdlib.h>

#include "base/probe.h"

/* ---- the queue of those that are due -------------------------------------------------------- */

void channel_mark_due(struct channel *channel)
{
	struct channel_set *set = channel->set;

	if (channel->due)
		return;
	if (TAILQ_EMPTY(&set->due))
		TAILQ_INSERT_TAIL(&set->pool->due, set, entry_due);
	TAILQ_INSERT_TAIL(&set->due, channel, entry_due);
	channel->due = true;
	set->pool->marked = true;
}

static void channel_unmark_due(struct channel *channel)
{
	struct channel_set *set = channel->set;

	TAILQ_REMOVE(&set->due, channel, entry_due);
	channel->due = false;
	if (TAILQ_EMPTY(&set->due))
		TAILQ_REMOVE(&set->pool->due, set, entry_due);
}

struct channel *channel_next_due(struct channel_set *set)
{
	struct channel *channel = TAILQ_FIRST(&set->due);

	if (channel)
		channel_unmark_due(channel);
	return channel;
}

void channel_unqueue(struct channel *channel)
{
	if (channel->due)
		channel_unmark_due(channel);
	if (channel->blocked)
		channel_unblock(channel);
	channel_unqueue_sender(channel);
}

/* ---- messages --------------------------------------------------------------------------- */

/* Credit that is left for payload of one more frame, or negative: not even for an empty one. */
static int64_t channel_allowance(const struct channel *channel)
{
	return (int64_t)channel->tx_credit - FRAME_CHARGE;
}

bool channel_can_send(const struct channel *channel, uint32_t len, uint32_t *ret_want)
{
	struct transport *transport;
	uint32_t least;

	*ret_want = 0;
	if (!channel_may_send(channel))
		return false;
	transport = channel->set->transport;
	least = channel_min_fragment(channel, len);
	if (channel_allowance(channel) < (int64_t)least)
		return false;
	if (channel_has_turn(channel) && transport->ops->room(transport, least) >= (int64_t)least)
		return true;
	*ret_want = least ? least : 1;
	return false;
}

/* A frame that pays for one of the other end's that costs no credit. */
static void pay_free(struct channel *channel)
{
	if (channel->rx_free < FREE_FRAMES)
		channel->rx_free++;
}

/* A frame of a stream is whole: it is cut to the room before it is put. As transport_ops.put. */
static int stream_frame(struct transport *transport, struct frame *frame, uint32_t least)
{
	int64_t room = transport->ops->room(transport, frame->len);

	if (room < (int64_t)least)
		return room < 0 ? (int)room : -EAGAIN;
	frame->len = (uint32_t)min_u64(frame->len, (uint64_t)room);
	frame->flags = FRAME_FIRST | FRAME_LAST;
	frame->arg = frame->len;
	return 0;
}

/* Sends one more fragment and adds its length to *done. As transport_ops.put. */
static inline __attribute__((always_inline)) int send_fragment(
	struct channel *channel, struct iov_cursor *cursor, uint32_t len, uint32_t *done, bool more)
{
	struct transport *transport = channel->set->transport;
	struct frame frame = {.channel = channel->number, .type = FRAME_DATA};
	uint32_t rest = len - *done, least = channel_min_fragment(channel, rest);
	int64_t allowance = channel_allowance(channel);
	int r;

	if (allowance < (int64_t)least || !channel_has_turn(channel)) {
		*(allowance < (int64_t)least ? &channel->no_credit : &channel->no_room) += 1;
		PROBE(libmsg, blocked, channel, channel->number, least, channel->tx_credit);
		return -EAGAIN;
	}
	/* A datagram is one frame, of which `least` is the whole. */
	frame.len = min_u32(
		min_u32(rest, max_u32(transport->ops->frame_max, least)), (uint32_t)allowance);
	if (channel->type == CHANNEL_STREAM) {
		r = stream_frame(transport, &frame, least);
		if (r < 0)
			return r;
		least = frame.len;
	} else if (*done == 0) {
		frame.flags |= FRAME_FIRST;
		frame.arg = len;
	}
	if (frame.len == rest)
		frame.flags |= FRAME_LAST;
	/* A receiver that is awake may take it; one that sleeps is woken once a message. */
	more = more && frame.len == rest;
	r = channel->capture ? channel_put_captured(channel, &frame, least, cursor, more)
			     : transport_put(transport, &frame, least, cursor, more);
	if (r < 0) {
		channel->no_room++;
		PROBE(libmsg, blocked, channel, channel->number, least, channel->tx_credit);
		return r;
	}
	channel->tx_messages += frame.flags & FRAME_LAST ? 1 : 0;
	channel->tx_bytes += frame.len;
	channel->tx_inside = !(frame.flags & FRAME_LAST);
	channel->tx_credit -= frame.len + FRAME_CHARGE;
	pay_free(channel);
	channel_spend(channel, frame.len);
	*done += frame.len;
	return 0;
}

int channel_send(
	struct channel *channel, struct iov_cursor *cursor, uint32_t len, uint32_t *done, bool more)
{
	int r;

	/* Each fragment has FRAGMENT_MIN bytes or a quarter of the ring, but for the last. */
	do {
		r = send_fragment(channel, cursor, len, done, more);
	} while (r == 0 && *done < len);
	return r;
}

/*
 * 0: all is sent, or credit lacks, of which a CREDIT frame will tell. The queue has the rest of one
 * message, or what a socket that does not block has accepted: no peer makes it longer.
 */
static int flush_messages(struct channel *channel)
{
	struct msg_buf *buf;

	while ((buf = STAILQ_FIRST(&channel->out))) {
		struct iovec iov = {
			.iov_base = buf->data + buf->done, .iov_len = buf->len - buf->done};
		struct iov_cursor cursor;
		uint32_t least;
		int r;

		cursor_init(&cursor, &iov, 1);
		r = channel_send(channel, &cursor, buf->len, &buf->done, false);
		if (r == -EAGAIN) {
			least = channel_min_fragment(channel, buf->len - buf->done);
			if (channel_allowance(channel) >= (int64_t)least)
				return -EAGAIN;
			channel_unqueue_sender(channel);
			return 0;
		}
		if (r < 0)
			return r;
		(void)channel_drop_first(channel);
		channel_changed(channel);
	}
	return 0;
}

int channel_keep(struct channel *channel, struct iov_cursor *cursor, uint32_t len, uint32_t done)
{
	struct msg_buf *buf = malloc(sizeof(*buf) + len);

	if (!buf)
		return -ENOMEM;
	*buf = (struct msg_buf){.size = len, .len = len, .done = done, .cost = len + FRAME_CHARGE};
	cursor_read(cursor, buf->data + done, len - done);
	STAILQ_INSERT_TAIL(&channel->out, buf, entry);
	channel->out_cost += buf->cost;
	channel_mark_due(channel); /* there may be room by now */
	return 0;
}

bool channel_drop_first(struct channel *channel)
{
	struct msg_buf *buf = STAILQ_FIRST(&channel->out);

	if (!buf)
		return false;
	STAILQ_REMOVE_HEAD(&channel->out, entry);
	channel->out_cost -= buf->cost;
	free(buf);
	if (STAILQ_EMPTY(&channel->out))
		channel_unqueue_sender(channel);
	return true;
}

void channel_drop_out(struct channel *channel)
{
	while (channel_drop_first(channel))
		;
}

/* ---- frames beside messages ------------------------------------------------------------- */

static int put_bare(struct channel *channel, enum frame_type type, uint32_t arg)
{
	int r = transport_put_bare(channel->set->transport, channel->number, type, arg);

	if (r == 0 && channel->capture)
		channel_note_bare(channel, type, arg);
	return r;
}

/*
 * An end that has enough credit is not woken for more: it finds the frame before it sleeps, or when
 * it next wakes.
 */
static int put_credit(struct channel *channel, uint32_t bytes)
{
	struct transport *transport = channel->set->transport;
	bool wake = transport->bell_due || channel->credit_late || channel_credit_is_low(channel);
	int r = put_bare(channel, FRAME_CREDIT, bytes);

	if (r < 0)
		return r;
	transport->bell_due = wake;
	pay_free(channel);
	channel->rx_window += bytes;
	if (channel->terms)
		channel_gave(channel, bytes);
	channel->rx_quiet = wake ? 0 : channel->rx_quiet + bytes;
	return 0;
}

static int flush_credit(struct channel *channel)
{
	uint32_t bytes;
	int r;

	if (!channel->credit_due)
		return 0;
	bytes = channel_credit(channel);
	if (bytes) {
		r = put_credit(channel, bytes);
		channel->credit_late |= r == -EAGAIN;
		if (r < 0)
			return r;
	}
	channel->credit_due = channel->credit_late = false;
	return 0;
}

static int flush_limit(struct channel *channel)
{
	int r;

	if (!channel->limit_due || !channel->tx_free)
		return 0;
	r = put_bare(channel, FRAME_LIMIT, channel->maxmsg);
	if (r < 0)
		return r;
	channel->tx_free--;
	channel->limit_due = false;
	channel->maxmsg_told = max_u32(channel->maxmsg_told, channel->maxmsg);
	return 0;
}

/* Of datagrams; the last frame that may be sent is kept for when no other will be. */
static int flush_drops(struct channel *channel)
{
	bool last = channel->tx_shut || channel->rx_closed || channel->state != CHANNEL_OPEN;
	int r;

	if (!channel->drops_due || channel->tx_closed || channel->tx_free < (last ? 1U : 2U))
		return 0;
	r = put_bare(channel, FRAME_DROPS, channel->drops_due);
	if (r < 0)
		return r;
	channel->tx_free--;
	channel->drops_due = 0;
	return 0;
}

void channel_set_maxmsg(struct channel *channel, uint32_t maxmsg)
{
	channel->maxmsg = maxmsg;
	channel->limit_due = true;
	if (channel->set)
		channel_mark_due(channel);
}

static int flush_shutdown(struct channel *channel)
{
	int r;

	if (!channel->tx_shut || channel->tx_shut_sent || channel->tx_inside)
		return 0;
	r = put_bare(channel, FRAME_SHUTDOWN, 0);
	channel->tx_shut_sent = r == 0;
	return r;
}

static int flush_close(struct channel *channel)
{
	/* The peer closed in the middle of a message, whose rest was thrown away. */
	enum close_reason reason = channel->tx_inside ? CLOSE_RESET : channel->close_reason;
	int r;

	if (channel->tx_closed)
		return 0;
	r = put_bare(channel, FRAME_CLOSE, reason);
	if (r < 0)
		return r;
	channel->tx_closed = true;
	channel->pool->wake |= channel->state == CHANNEL_CLOSING; /* for msg_ctx_drain */
	if (channel->rx_closed)
		channel_finish(channel);
	return 0;
}

/* The channel's last frames, once no message is left. */
static int flush_end(struct channel *channel)
{
	/* The other end's CLOSE is answered at once: no application keeps its quota from it. */
	return channel->state == CHANNEL_OPEN && !channel->rx_closed ? flush_shutdown(channel)
								     : flush_close(channel);
}

int channel_flush(struct channel *channel)
{
	bool open = channel->state == CHANNEL_OPEN;
	int r = 0;

	if (!channel->tx_open)
		return 0;
	open = open && !channel->tx_closed;
	if (open)
		r = flush_credit(channel);
	if (r == 0 && open)
		r = flush_limit(channel);
	if (r == 0)
		r = flush_drops(channel);
	if (r < 0 || channel->tx_partial)
		return r;
	r = flush_messages(channel);
	if (r < 0 || !STAILQ_EMPTY(&channel->out))
		return r;
	return flush_end(channel);
}
