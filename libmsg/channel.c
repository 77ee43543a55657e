/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A channel's birth and end, and what it receives (PROTOCOL.md, section 4). Sending is in
 * channel-send.c. What the other end claims is checked against the credit that it was given, so it
 * can make us hold no more than that.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "libmsg/private.h"

/* The most credit that is given ahead for the rest of one message. */
#define REST_CREDIT_MAX (256U * 1024U)

struct channel *channel_find(struct link *link, uint32_t number)
{
	struct channel *channel;

	HASH_FIND(hh, link->channels, &number, sizeof(number), channel);
	return channel;
}

struct channel *channel_new(struct link *link, uint32_t number, bool listener_end)
{
	struct channel *channel = calloc(1, sizeof(*channel));

	if (!channel)
		return NULL;
	channel->link = link;
	channel->ctx = link->ctx;
	channel->number = number;
	channel->state = CHANNEL_OPEN;
	STAILQ_INIT(&channel->in);
	STAILQ_INIT(&channel->out);
	channel->transport = link->transport;
	channel->rx_max = MESSAGE_MAX_DEFAULT;
	channel->maxmsg = channel->maxmsg_told = channel->tx_maxmsg = MESSAGE_MAX_DEFAULT;
	channel->tx_credit = channel->rx_window = CREDIT_INITIAL;
	/*
	 * The end that connected says something at once: it doubles the credit. The other end keeps
	 * silent until then: only then is it certain that the number is known there.
	 */
	channel->tx_open = channel->credit_due = !listener_end;
	channel->rx_limit = listener_end ? CREDIT_INITIAL : 2 * CREDIT_INITIAL;
	link->ctx->promised += channel->rx_limit;
	HASH_ADD(hh, link->channels, number, sizeof(channel->number), channel);
	return channel;
}

static void buf_queue_free(struct buf_queue *queue)
{
	struct msg_buf *buf;

	while ((buf = STAILQ_FIRST(queue))) {
		STAILQ_REMOVE_HEAD(queue, entry);
		free(buf);
	}
}

/* What it holds in private memory, and what it was told to expect there. */
static uint64_t channel_held(const struct channel *channel)
{
	uint64_t held = channel->partial ? channel->partial->len : 0;
	const struct msg_buf *buf;

	STAILQ_FOREACH (buf, &channel->in, entry)
		held += buf->len;
	return held;
}

/*
 * Takes it out of its link's tables; what it received stays readable, and counts no more: it cannot
 * grow, and an application that wants it gone closes the socket.
 */
static void channel_unlink(struct channel *channel)
{
	struct link *link = channel->link;

	if (!link)
		return;
	channel->ctx->held -= channel_held(channel);
	if (channel->blocked)
		TAILQ_REMOVE(&link->blocked, channel, entry_blocked);
	channel->blocked = false;
	if (link->last == channel)
		link->last = NULL;
	HASH_DEL(link->channels, channel);
	channel->link = NULL;
	channel->ctx->promised -= channel->rx_limit;
}

static void channel_drop_partial(struct channel *channel)
{
	if (channel->partial && channel->link)
		channel->ctx->held -= channel->partial->len;
	free(channel->partial);
	channel->partial = NULL;
	channel->direct = false;
}

void channel_free(struct channel *channel)
{
	channel_unlink(channel);
	if (channel->listener)
		backlog_remove(channel);
	if (channel->sock)
		channel->sock->channel = NULL;
	channel_drop_partial(channel);
	buf_queue_free(&channel->in);
	buf_queue_free(&channel->out);
	free(channel->why);
	free(channel);
}

void channel_changed(struct channel *channel)
{
	channel->ctx->kick = true;
	if (channel->sock)
		sock_changed(channel->sock);
}

/* Both ends have said CLOSE: the number is free here. */
void channel_closed(struct channel *channel)
{
	struct control_message message = {.type = CONTROL_CHANNEL_CLOSED,
		.channel_closed = {.end = channel->link->end, .channel = channel->number}};

	control_send(channel->ctx, &message);
	channel_free(channel);
}

void channel_close(struct channel *channel, enum close_reason reason)
{
	if (channel->sock) {
		channel->sock->channel = NULL;
		channel->sock = NULL;
	}
	if (channel->state == CHANNEL_DEAD) {
		channel_free(channel);
		return;
	}
	channel->state = CHANNEL_CLOSING;
	channel->close_reason = reason;
	if (reason == CLOSE_RESET)
		buf_queue_free(&channel->out);
	if (channel_flush(channel) == -EAGAIN)
		channel_block(channel);
}

void channel_reset(struct channel *channel, int error)
{
	channel_unlink(channel);
	channel_drop_partial(channel);
	buf_queue_free(&channel->out);
	if (channel->state == CHANNEL_CLOSING) {
		channel_free(channel);
		return;
	}
	channel->state = CHANNEL_DEAD;
	if (!channel->rx_closed && !channel->error)
		channel->error = error;
	channel_changed(channel);
}

/* ---- credit ------------------------------------------------------------------------- */

/*
 * A reader that keeps up is worth more: the window doubles, to two of its messages at least, while
 * the context can promise it.
 */
static void channel_grow(struct channel *channel, uint32_t read)
{
	uint32_t limit = min_u32(channel->rx_max, 2 * max_u32(channel->rx_limit, read));
	struct msg_ctx *ctx = channel->ctx;

	if (limit <= channel->rx_limit ||
		ctx->promised + limit - channel->rx_limit > CONTEXT_BUDGET / 2)
		return;
	ctx->promised += limit - channel->rx_limit;
	channel->rx_limit = limit;
}

/* What the window allows: a quarter of it at least, so that it costs few frames. */
static uint32_t credit_by_window(const struct channel *channel)
{
	uint32_t used = channel->rx_window + channel->rx_held;

	if (used > channel->rx_limit || channel->rx_limit - used < channel->rx_limit / 4)
		return 0;
	return channel->rx_limit - used;
}

/* What the rest of a message under way needs: it must be able to come, whatever the window is. */
static uint32_t credit_by_message(const struct channel *channel)
{
	uint32_t rest, need, least;

	if (channel->direct)
		rest = channel->direct_len - channel->direct_done;
	else if (channel->partial)
		rest = channel->partial->len - channel->partial->done;
	else
		return 0;
	need = min_u32(rest + FRAME_CHARGE * (rest / FRAGMENT_MIN + 2), REST_CREDIT_MAX);
	/* A sender waits until it can send a fragment that is worth it (link_min_fragment). */
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
 * Whether the other end may be asleep for want of credit. If it is, all that it sent lies in our
 * ring, so once that is taken in, rx_window is what it had left when it fell asleep, and what it
 * was not told of since: frame_data looks again with every frame.
 */
static bool credit_is_low(const struct channel *channel)
{
	return channel->rx_window < channel->rx_untold + FRAGMENT_MIN + FRAME_CHARGE;
}

int channel_put_credit(struct channel *channel, uint32_t bytes, bool wake)
{
	struct link *link = channel->link;
	bool bell_due = link->bell_due || wake;
	int r = link_put_bare(link, channel->number, FRAME_CREDIT, bytes);

	if (r < 0)
		return r;
	link->bell_due = bell_due;
	channel->rx_window += bytes;
	channel->rx_untold = bell_due ? 0 : channel->rx_untold + bytes;
	return 0;
}

/*
 * Gives what credit is due, now or when there is room for the frame. An end that has enough is not
 * woken for more: it finds the frame before it sleeps, or when it next wakes.
 */
static void channel_give(struct channel *channel)
{
	uint32_t bytes = channel_credit(channel);

	if (!bytes || !channel->link || channel->tx_closed || channel->credit_due)
		return;
	if (channel->tx_open && channel_put_credit(channel, bytes, credit_is_low(channel)) == 0)
		return;
	channel->credit_due = true;
	channel_block(channel);
}

/* What was read goes back, and more. */
static void channel_give_back(struct channel *channel, uint32_t read)
{
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

/* ---- frames ------------------------------------------------------------------------- */

/*
 * Whether the context's budget has room for len bytes more. Where it has not, the link that holds
 * most pays with its life, so that no peer can cost others their links.
 */
static bool budget_claim(struct channel *channel, uint32_t len)
{
	struct msg_ctx *ctx = channel->ctx;
	struct link *most = channel->link;
	uint64_t most_held = 0;

	if (ctx->held + len <= CONTEXT_BUDGET)
		return true;
	for (struct link *link = ctx->links; link; link = link->hh.next) {
		uint64_t held = link == channel->link ? len : 0;

		for (const struct channel *c = link->channels; c; c = c->hh.next)
			held += channel_held(c);
		if (held > most_held) {
			most = link;
			most_held = held;
		}
	}
	if (most == channel->link)
		return false;
	link_violation(most, "more unread data than this application holds");
	return true;
}

static int message_begin(struct channel *channel, uint32_t len, const char **ret_reason)
{
	struct reader *reader = channel->reader;
	struct msg_ctx *ctx = channel->ctx;

	if (len > channel->maxmsg_told) {
		*ret_reason = "a message longer than this end takes";
		return -EMSGSIZE;
	}
	if (reader && STAILQ_EMPTY(&channel->in) && len <= reader->size) {
		cursor_init(&channel->direct_cursor, reader->iov, reader->n_iov);
		channel->direct = true;
		channel->direct_len = len;
		channel->direct_done = channel->direct_cost = 0;
		return 0;
	}
	if (!budget_claim(channel, len)) {
		*ret_reason = "more unread data than this application holds";
		return -ENOBUFS;
	}
	channel->partial = malloc(sizeof(*channel->partial) + len);
	if (!channel->partial) {
		*ret_reason = "out of memory for a message";
		return -ENOMEM;
	}
	ctx->held += len;
	*channel->partial = (struct msg_buf){.len = len};
	return 0;
}

static void message_end_direct(struct channel *channel)
{
	channel->reader->len = channel->direct_len;
	channel->reader->done = true;
	channel->reader = NULL;
	channel->direct = false;
	channel->ctx->kick = true;
	channel_give_back(channel, channel->direct_cost);
}

static void message_end_private(struct channel *channel)
{
	struct msg_buf *whole = steal_ptr(channel->partial);

	STAILQ_INSERT_TAIL(&channel->in, whole, entry);
	channel_changed(channel);
}

static int data_direct(struct channel *channel, const struct frame *frame)
{
	uint32_t left = frame->len, off = 0;

	if (frame->len > channel->direct_len - channel->direct_done)
		return -EBADMSG;
	while (left) {
		size_t n;
		void *piece = cursor_next(&channel->direct_cursor, left, &n);

		channel->link->ops->read(channel->link, off, piece, (uint32_t)n);
		off += (uint32_t)n;
		left -= (uint32_t)n;
	}
	channel->direct_done += frame->len;
	channel->direct_cost += frame->len + FRAME_CHARGE;
	if (!(frame->flags & FRAME_LAST)) {
		channel_give(channel);
		return 0;
	}
	if (channel->direct_done != channel->direct_len)
		return -EBADMSG;
	message_end_direct(channel);
	return 0;
}

static int data_private(struct channel *channel, const struct frame *frame)
{
	struct msg_buf *buf = channel->partial;

	if (frame->len > buf->len - buf->done)
		return -EBADMSG;
	channel->link->ops->read(channel->link, 0, buf->data + buf->done, frame->len);
	buf->done += frame->len;
	buf->cost += frame->len + FRAME_CHARGE;
	channel->rx_held += frame->len + FRAME_CHARGE;
	if (!(frame->flags & FRAME_LAST)) {
		channel_give(channel);
		return 0;
	}
	if (buf->done != buf->len)
		return -EBADMSG;
	message_end_private(channel);
	return 0;
}

static int frame_data(struct channel *channel, const struct frame *frame, const char **ret_reason)
{
	uint32_t cost = frame->len + FRAME_CHARGE;
	bool under_way = channel->direct || channel->partial;
	int r;

	if (channel->state != CHANNEL_OPEN)
		return 0; /* nobody will read it */
	if (channel->rx_shut) {
		*ret_reason = "data after the channel's end";
		return -EBADMSG;
	}
	if (cost > channel->rx_window) {
		*ret_reason = "more data than the credit given";
		return -EBADMSG;
	}
	channel->rx_window -= cost;
	if (channel->rx_untold && credit_is_low(channel)) {
		channel->rx_untold = 0;
		channel->link->bell_due = true;
	}
	if (channel->rx_ignore) {
		channel_give_back(channel, 0);
		return 0;
	}
	if (under_way == !!(frame->flags & FRAME_FIRST)) {
		*ret_reason =
			under_way ? "a message inside a message" : "a message without a start";
		return -EBADMSG;
	}
	if (!under_way) {
		r = message_begin(channel, frame->arg, ret_reason);
		if (r < 0)
			return r;
	}
	*ret_reason = "fragments that do not add up to the message";
	return channel->direct ? data_direct(channel, frame) : data_private(channel, frame);
}

static int frame_credit(struct channel *channel, const struct frame *frame, const char **ret_reason)
{
	int r;

	if (channel->tx_credit + (uint64_t)frame->arg > CREDIT_BALANCE_MAX) {
		*ret_reason = "credit beyond reason";
		return -EBADMSG;
	}
	channel->tx_credit += frame->arg;
	r = channel_flush(channel);
	if (r == -EAGAIN)
		channel_block(channel);
	else if (r == 0)
		channel_changed(channel);
	return 0;
}

/* Once closed here, the rest of a message has been dropped: it is not missing. */
static bool inside_message(const struct channel *channel)
{
	return channel->state == CHANNEL_OPEN && (channel->direct || channel->partial);
}

static int frame_shutdown(struct channel *channel, const char **ret_reason)
{
	if (channel->rx_shut || inside_message(channel)) {
		*ret_reason = "a shutdown inside a message or after the end";
		return -EBADMSG;
	}
	channel->rx_shut = true;
	channel_changed(channel);
	return 0;
}

static int frame_close(struct channel *channel, const struct frame *frame, const char **ret_reason)
{
	if (frame->arg == CLOSE_NORMAL && inside_message(channel)) {
		*ret_reason = "a close inside a message";
		return -EBADMSG;
	}
	channel_drop_partial(channel);
	channel->rx_closed = true;
	if (frame->arg == CLOSE_RESET && !channel->error)
		channel->error = ECONNRESET;
	buf_queue_free(&channel->out);
	channel->out_bytes = 0;
	if (channel->state != CHANNEL_CLOSING)
		channel_changed(channel);
	else if (channel->tx_closed)
		channel_closed(channel);
	else if (channel_flush(channel) == -EAGAIN)
		channel_block(channel);
	return 0;
}

int channel_frame(struct channel *channel, const struct frame *frame, const char **ret_reason)
{
	if (channel->rx_closed) {
		*ret_reason = "a frame after the channel's close";
		return -EBADMSG;
	}
	if (!channel->tx_open) {
		/* The end that connected knows the number: this end may send now. */
		channel->tx_open = true;
		if (channel_flush(channel) == -EAGAIN)
			channel_block(channel);
	}
	if (channel->tx_closed && frame->type != FRAME_CLOSE)
		return 0; /* sent before our CLOSE arrived there */
	switch (frame->type) {
	case FRAME_DATA:
		return frame_data(channel, frame, ret_reason);
	case FRAME_CREDIT:
		return frame_credit(channel, frame, ret_reason);
	case FRAME_SHUTDOWN:
		return frame_shutdown(channel, ret_reason);
	case FRAME_LIMIT:
		channel->tx_maxmsg = frame->arg;
		return 0;
	case FRAME_CLOSE:
		return frame_close(channel, frame, ret_reason);
	default:
		return -EBADMSG;
	}
}

int channel_leave_reader(struct channel *channel)
{
	struct msg_buf *buf;
	struct iov_cursor from;

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
		channel->ctx->held += buf->len;
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

short channel_events(struct channel *channel)
{
	bool end = channel->rx_closed || channel->rx_shut || channel->rx_ignore;
	short events = 0;
	uint32_t want;

	if (!STAILQ_EMPTY(&channel->in) || end || channel->error)
		events |= POLLIN;
	if (channel->error || channel->rx_closed || channel_can_send(channel, FRAGMENT_MIN, &want))
		events |= POLLOUT;
	if (channel->rx_closed || channel->rx_shut)
		events |= POLLRDHUP;
	if (channel->rx_closed || channel->error)
		events |= POLLHUP;
	if (channel->error)
		events |= POLLERR;
	return events;
}
