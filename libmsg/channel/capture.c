/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames for msgd: see the header. */
#include "libmsg/channel/capture.h"

#include <stdlib.h>

static const struct rate capture_rate = {.each_ns = CAPTURE_FRAME_NS, .burst = CAPTURE_BURST};

int channel_capture(struct channel *channel, const struct control_capture *said)
{
	struct pool *pool = channel->pool;

	if (!said->wants) {
		channel_capture_end(channel);
		return 0;
	}
	if (!pool->capture)
		pool->capture = calloc(1, sizeof(*pool->capture));
	if (!pool->capture)
		return -ENOMEM;
	if (!channel->capture) {
		channel->capture = malloc(sizeof(*channel->capture));
		if (!channel->capture)
			return -ENOMEM;
		pool->capture->n_channels++;
	}
	*channel->capture = *said;
	return 0;
}

void channel_capture_end(struct channel *channel)
{
	struct pool *pool = channel->pool;

	if (!channel->capture)
		return;
	free(channel->capture);
	channel->capture = NULL;
	pool->capture->n_channels--;
	pool->marked = true; /* the pass frees what nobody needs any more */
}

/* ---- the queue ------------------------------------------------------------------------------ */

static struct control_message *queue_add(struct capture *capture, enum control_type type)
{
	struct control_message *message =
		&capture->queue[(capture->first + capture->n++) % CAPTURE_BURST];

	memset(message, 0, sizeof(*message));
	message->type = (uint8_t)type;
	return message;
}

/* Whether so many messages may be said now, and one of those that were lost before. */
static bool queue_admits(struct capture *capture, unsigned n_messages, uint64_t now_ns)
{
	n_messages += capture->n_lost != 0;
	if (capture->n + n_messages > CAPTURE_BURST ||
		allowance_wait(&capture->spent, &capture_rate, now_ns) != 0)
		return false;
	allowance_pay(&capture->spent, n_messages * CAPTURE_FRAME_NS, now_ns);
	if (capture->n_lost)
		queue_add(capture, CONTROL_CAPTURE_LOST)->capture_lost.n = capture->n_lost;
	capture->n_lost = 0;
	return true;
}

struct control_message *capture_first(const struct pool *pool)
{
	struct capture *capture = pool->capture;

	return capture && capture->n ? &capture->queue[capture->first] : NULL;
}

void capture_sent(struct pool *pool)
{
	struct capture *capture = pool->capture;

	capture->first = (capture->first + 1) % CAPTURE_BURST;
	capture->n--;
}

bool capture_settle(struct pool *pool, uint64_t now_ns)
{
	struct capture *capture = pool->capture;

	if (!capture || capture->n)
		return false;
	if (!capture->n_channels)
		capture_drop(pool);
	else if (capture->n_lost)
		return queue_admits(capture, 0, now_ns);
	return false;
}

uint32_t capture_give_up(struct pool *pool)
{
	const struct control_message *message;
	uint64_t n = 0;

	while ((message = capture_first(pool))) {
		if (message->type == CONTROL_CAPTURED)
			n++;
		else if (message->type == CONTROL_CAPTURE_LOST)
			n += message->capture_lost.n;
		capture_sent(pool);
	}
	if (pool->capture)
		n += pool->capture->n_lost;
	capture_drop(pool);
	return (uint32_t)min_u64(n, UINT32_MAX);
}

void capture_drop(struct pool *pool)
{
	if (pool->capture && pool->capture->n_channels) {
		pool->capture->n = pool->capture->n_lost = 0;
		return;
	}
	free(pool->capture);
	pool->capture = NULL;
}

/* ---- frames --------------------------------------------------------------------------------- */

/* The payload that may be given out: by msgd's word, and by this end's own. */
static uint32_t payload_len(const struct channel *channel, const struct frame *frame)
{
	const struct control_capture *said = channel->capture;

	return channel->agrees && (said->wants & CAPTURE_AGREED)
		       ? min_u32(frame->len, said->snaplen)
		       : 0;
}

/* from: where a sent frame's payload was taken; NULL: it lies in the ring. */
static void note_payload(struct channel *channel, uint32_t len, struct iov_cursor *from)
{
	struct transport *transport = channel->set->transport;

	for (uint32_t off = 0; off < len; off += CAPTURE_PIECE) {
		struct control_captured_bytes *piece =
			&queue_add(channel->pool->capture, CONTROL_CAPTURED_BYTES)->captured_bytes;

		piece->n = min_u32(len - off, CAPTURE_PIECE);
		if (from)
			cursor_read(from, piece->bytes, piece->n);
		else
			transport->ops->read(transport, off, piece->bytes, piece->n);
	}
}

static void note_frame(
	struct channel *channel, const struct frame *frame, bool sent, struct iov_cursor *from)
{
	struct capture *capture = channel->pool->capture;
	struct hv *hv = channel->set->transport->hv;
	uint32_t len = payload_len(channel, frame),
		 n_pieces = (len + CAPTURE_PIECE - 1) / CAPTURE_PIECE;
	uint64_t now_ns = hv->ops->now_ns(hv);

	channel->pool->marked = true;
	if (!queue_admits(capture, 1 + n_pieces, now_ns)) {
		capture->n_lost += capture->n_lost < UINT32_MAX;
		return;
	}
	queue_add(capture, CONTROL_CAPTURED)->captured =
		(struct control_captured){.end = channel->capture->end,
			.channel = channel->number,
			.time_ns = now_ns,
			.credit = sent ? channel->tx_credit : channel->rx_window,
			.len = frame->len,
			.arg = frame->arg,
			.frame_type = frame->type,
			.flags = frame->flags,
			.sent = sent,
			.n_payload = len};
	note_payload(channel, len, from);
}

int channel_put_captured(struct channel *channel, struct frame *frame, uint32_t least,
	struct iov_cursor *payload, bool more)
{
	struct iov_cursor from = *payload;
	int r = transport_put(channel->set->transport, frame, least, payload, more);

	if (r < 0)
		return r;
	channel->tx_credit -= frame->len + FRAME_CHARGE; /* it is paid for behind this frame */
	note_frame(channel, frame, true, &from);
	channel->tx_credit += frame->len + FRAME_CHARGE;
	return 0;
}

void channel_note_bare(struct channel *channel, enum frame_type type, uint32_t arg)
{
	const struct frame frame = {.channel = channel->number, .type = (uint8_t)type, .arg = arg};

	note_frame(channel, &frame, true, NULL);
}

void channel_note_received(struct channel *channel, const struct frame *frame)
{
	note_frame(channel, frame, false, NULL);
}
