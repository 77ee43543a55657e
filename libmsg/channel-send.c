/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a channel sends: messages in fragments, credit, SHUTDOWN, CLOSE (PROTOCOL.md, section 4). */
#include <errno.h>

#include "libmsg/private.h"

void channel_block(struct channel *channel)
{
	struct link *link = channel->link;

	if (channel->blocked || !link)
		return;
	channel->blocked = true;
	TAILQ_INSERT_TAIL(&link->blocked, channel, entry_blocked);
	link_arm_room(link);
}

/* Credit that is left for payload of one more frame, or -1: not even for an empty one. */
static int64_t channel_allowance(const struct channel *channel)
{
	return (int64_t)channel->tx_credit - FRAME_CHARGE;
}

bool channel_can_send(struct channel *channel, uint32_t len, uint32_t *ret_want)
{
	struct link *link = channel->link;
	uint32_t least;

	*ret_want = 0;
	if (!channel_may_send(channel))
		return false;
	least = link_min_fragment(link, len);
	if (channel_allowance(channel) < (int64_t)least)
		return false;
	if (link->ops->room(link, least) >= (int64_t)least)
		return true;
	*ret_want = least ? least : 1;
	return false;
}

/* Sends one more fragment; its length in ret_len. -EAGAIN: room or credit lacks. */
static int send_fragment(struct channel *channel, struct iov_cursor *cursor, uint32_t len,
	uint32_t done, bool more, uint32_t *ret_len)
{
	struct link *link = channel->link;
	struct frame frame = {.channel = channel->number, .type = FRAME_DATA};
	uint32_t rest = len - done, least = link_min_fragment(link, rest);
	int64_t allowance = channel_allowance(channel);
	int r;

	if (allowance < (int64_t)least)
		return -EAGAIN;
	frame.len = min_u32(min_u32(rest, link->ops->frame_max), (uint32_t)allowance);
	if (done == 0) {
		frame.flags |= FRAME_FIRST;
		frame.arg = len;
	}
	if (frame.len == rest)
		frame.flags |= FRAME_LAST;
	r = link->ops->put(link, &frame, least, cursor, more && frame.len == rest);
	if (r < 0)
		return r;
	link->unpushed = r > 0;
	channel->tx_inside = !(frame.flags & FRAME_LAST);
	/* One that is awake may take it; one that sleeps is woken once a message, by link_push. */
	link->bell_due = true;
	channel->tx_credit -= frame.len + FRAME_CHARGE;
	*ret_len = frame.len;
	return 0;
}

int channel_send(
	struct channel *channel, struct iov_cursor *cursor, uint32_t len, uint32_t *done, bool more)
{
	struct link *link = channel->link;

	do {
		uint32_t n = 0;
		int r = send_fragment(channel, cursor, len, *done, more, &n);

		if (r == -EAGAIN) {
			link_push(link); /* the other side must see it to make room */
			return r;
		}
		if (r < 0) {
			link_put_failed(link, r);
			return -ECONNRESET;
		}
		*done += n;
	} while (*done < len);
	return 0;
}

/* -EAGAIN: room lacks. 0: all is sent, or credit lacks, of which a CREDIT frame will tell. */
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
		if (r == 0) {
			STAILQ_REMOVE_HEAD(&channel->out, entry);
			channel->out_bytes -= buf->len;
			free(buf);
			channel_changed(channel);
			continue;
		}
		if (r != -EAGAIN)
			return r; /* the link is gone, and maybe the channel with it */
		least = link_min_fragment(channel->link, buf->len - buf->done);
		return channel_allowance(channel) < (int64_t)least ? 0 : -EAGAIN;
	}
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
		r = channel_put_credit(channel, bytes, true);
		if (r < 0)
			return r;
	}
	channel->credit_due = false;
	return 0;
}

static int flush_limit(struct channel *channel)
{
	int r;

	if (!channel->limit_due)
		return 0;
	r = link_put_bare(channel->link, channel->number, FRAME_LIMIT, channel->maxmsg);
	if (r < 0)
		return r;
	channel->limit_due = false;
	channel->maxmsg_told = max_u32(channel->maxmsg_told, channel->maxmsg);
	return 0;
}

void channel_set_maxmsg(struct channel *channel, uint32_t maxmsg)
{
	channel->maxmsg = maxmsg;
	channel->limit_due = true;
	if (channel_flush(channel) == -EAGAIN)
		channel_block(channel);
}

static int flush_close(struct channel *channel)
{
	bool closing = channel->state == CHANNEL_CLOSING;
	/* The peer closed in the middle of a message, whose rest was thrown away. */
	enum close_reason reason = channel->tx_inside ? CLOSE_RESET : channel->close_reason;
	int r;

	if (channel->tx_shut && !channel->tx_shut_sent && !closing && !channel->tx_inside) {
		r = link_put_bare(channel->link, channel->number, FRAME_SHUTDOWN, 0);
		if (r < 0)
			return r;
		channel->tx_shut_sent = true;
	}
	if (!closing || channel->tx_closed)
		return 0;
	r = link_put_bare(channel->link, channel->number, FRAME_CLOSE, reason);
	if (r < 0)
		return r;
	channel->tx_closed = true;
	return 0;
}

int channel_flush(struct channel *channel)
{
	struct link *link = channel->link;
	int r;

	if (!link || link->state != LINK_UP || !channel->tx_open)
		return 0;
	r = channel->state == CHANNEL_OPEN ? flush_credit(channel) : 0;
	if (r == 0 && channel->state == CHANNEL_OPEN)
		r = flush_limit(channel);
	if (r == 0 && !channel->tx_partial)
		r = flush_messages(channel);
	if (r == 0 && STAILQ_EMPTY(&channel->out) && !channel->tx_partial)
		r = flush_close(channel);
	if (r == 0 && channel->state == CHANNEL_CLOSING && channel->tx_closed && channel->rx_closed)
		channel_closed(channel);
	link_push(link);
	return r;
}
