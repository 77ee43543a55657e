/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames over Argo rings (PROTOCOL.md, section 3.3): the hypervisor copies, so what lies in the
 * receive ring does not change under us. The doorbell page says how much room the peer's ring has;
 * a stranger in the peer's domain can make that claim false, and then the hypervisor says EAGAIN.
 * argo-strict (3.4) has no such page: there the hypervisor is asked by sending, and its EAGAIN is
 * the only word about room (link-bell.c).
 */
#include <errno.h>
#include <string.h>

#include "hv/argo-ring.h"
#include "libmsg/private.h"

/* Before asking a full ring again. The peer's counter claims room, so it is soon. */
#define ARGO_RETRY_NS 1000000U

static uint32_t argo_charge(uint32_t payload)
{
	return ARGO_MESSAGE_HEADER_LEN + round_up16(payload);
}

/* Bytes of payload that one more Argo message may have. */
static int64_t argo_free_bytes(struct link *link, uint32_t want)
{
	struct argo_end *argo = &link->argo;
	uint32_t limit = argo->peer_len - ARGO_MESSAGE_HEADER_LEN; /* one slot stays free */
	uint32_t used = argo->produced - argo->peer_consumed;

	if (!link->page)
		return argo->full ? -EAGAIN : (int64_t)(limit - ARGO_MESSAGE_HEADER_LEN);
	if (used + argo_charge(want) > limit) {
		uint32_t consumed =
			atomic_load_explicit(&link->them->consumed, memory_order_acquire);

		if (argo->produced - consumed > used)
			return -EBADMSG;
		argo->peer_consumed = consumed;
		used = argo->produced - consumed;
	}
	if (used + ARGO_MESSAGE_HEADER_LEN > limit)
		return -EAGAIN;
	return limit - used - ARGO_MESSAGE_HEADER_LEN;
}

/*
 * Bytes that `more` may keep back: half of the peer's ring, so that one batch is read while the
 * next is gathered; a frame in any case.
 */
static uint32_t stage_size(const struct argo_end *argo)
{
	uint32_t frame = min_u32(argo->peer_len, FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX);

	return max_u32(argo->peer_len / 2, frame);
}

static int64_t argo_room(struct link *link, uint32_t want)
{
	struct argo_end *argo = &link->argo;
	uint32_t before = argo->staged + FRAME_HEADER_SIZE;
	int64_t room;

	if (argo->retry_ns && link->ctx->hv->ops->now_ns(link->ctx->hv) < argo->retry_ns)
		return -EAGAIN;
	room = argo_free_bytes(link, before + round_up16(want));
	if (room < 0)
		return room;
	return room < (int64_t)before ? -EAGAIN : room - before;
}

static int argo_sendv(struct link *link, const struct iovec *iov, size_t n, uint32_t len)
{
	struct hv *hv = link->ctx->hv;
	int r;

	if (link->argo.full)
		return -EAGAIN;
	r = hv->ops->argo_sendv(hv, link->argo.ring, iov, n, FRAME_MESSAGE_TYPE);
	if (r == -EAGAIN && !link->page) {
		link->argo.full = true;
		return -EAGAIN;
	}
	if (r == -EAGAIN || r == -EBUSY || r == -ENOMEM) {
		link->argo.retry_ns = hv->ops->now_ns(hv) + ARGO_RETRY_NS;
		ctx_retry_later(link->ctx, link->argo.retry_ns);
		return -EAGAIN;
	}
	if (r < 0)
		return r;
	link->argo.produced += argo_charge(len);
	if (link->argo.retry_ns)
		link->argo.retry_ns = 1; /* at once: others may be blocked still */
	return 0;
}

static int argo_push(struct link *link)
{
	struct argo_end *argo = &link->argo;
	struct iovec iov = {.iov_base = argo->stage, .iov_len = argo->staged};
	int r;

	if (!argo->staged)
		return 0;
	r = argo_sendv(link, &iov, 1, argo->staged);
	if (r < 0)
		return r;
	argo->staged = 0;
	return 0;
}

/* Frames that go together in one message are gathered first. The stage has room. */
static int argo_stage(struct link *link, const struct frame *frame, struct iov_cursor *payload)
{
	struct argo_end *argo = &link->argo;
	uint8_t *at;

	if (!argo->stage) {
		argo->stage = malloc(stage_size(argo));
		if (!argo->stage)
			return -EAGAIN;
	}
	at = argo->stage + argo->staged;
	frame_encode(frame, at);
	cursor_read(payload, at + FRAME_HEADER_SIZE, frame->len);
	memset(at + FRAME_HEADER_SIZE + frame->len, 0, round_up16(frame->len) - frame->len);
	argo->staged += FRAME_HEADER_SIZE + round_up16(frame->len);
	return 0;
}

/* A frame alone goes from the caller's memory to the ring without a copy in between. */
static int argo_put_direct(struct link *link, const struct frame *frame, struct iov_cursor *payload)
{
	struct iovec iov[ARGO_MAX_IOV];
	struct iov_cursor start = *payload;
	uint8_t head[FRAME_HEADER_SIZE];
	uint32_t left = frame->len;
	size_t n = 1;
	int r;

	frame_encode(frame, head);
	iov[0] = (struct iovec){.iov_base = head, .iov_len = sizeof(head)};
	while (left && n < ARGO_MAX_IOV) {
		size_t len;

		iov[n].iov_base = cursor_next(payload, left, &len);
		iov[n++].iov_len = len;
		left -= (uint32_t)len;
	}
	if (left) { /* too scattered for one call */
		*payload = start;
		r = argo_stage(link, frame, payload);
		return r < 0 ? r : argo_push(link) < 0;
	}
	r = argo_sendv(link, iov, n, FRAME_HEADER_SIZE + frame->len);
	if (r < 0)
		*payload = start;
	return r;
}

static int argo_put(struct link *link, struct frame *frame, uint32_t least,
	struct iov_cursor *payload, bool more)
{
	struct argo_end *argo = &link->argo;
	uint32_t size = FRAME_HEADER_SIZE + round_up16(frame->len);
	int64_t room;
	int r;

	if (argo->staged && argo->staged + size > stage_size(argo)) {
		r = argo_push(link);
		if (r < 0)
			return r;
	}
	room = argo_room(link, frame->len);
	if (room < (int64_t)least)
		return room < 0 ? (int)room : -EAGAIN;
	frame_cut(frame, (uint32_t)room);
	if (!argo->staged && !more)
		return argo_put_direct(link, frame, payload);
	r = argo_stage(link, frame, payload);
	if (r < 0)
		return r;
	return more || argo_push(link) < 0; /* refused: it stays staged until the next push */
}

/* Finds the next message from the introduced source; strangers' are dropped, uncounted. */
static int argo_next_message(struct link *link)
{
	struct argo_end *argo = &link->argo;
	struct argo_message message;
	int r;

	while ((r = argo_ring_peek(argo->ring, argo->rx, &message)) > 0) {
		if (message.domid == link->peer_domid && message.aport == argo->peer_aport &&
			message.type == FRAME_MESSAGE_TYPE && message.len)
			break;
		argo->rx = argo_ring_advance(argo->ring, argo->rx, argo_charge(message.len));
		argo_ring_release(argo->ring, argo->rx);
		/* Of argo-strict's senders each may wait for that room too. */
		if (!link->page)
			link->untold += argo_charge(message.len);
	}
	if (r <= 0)
		return r;
	argo->message_len = message.len;
	argo->message_off = message.data_off;
	argo->inner = 0;
	return 1;
}

static int argo_peek(struct link *link, struct frame *ret_frame)
{
	struct argo_end *argo = &link->argo;
	uint8_t head[FRAME_HEADER_SIZE];
	int r;

	if (!argo->message_len) {
		r = argo_next_message(link);
		if (r <= 0)
			return r;
	}
	if (argo->message_len - argo->inner < FRAME_HEADER_SIZE)
		return -EBADMSG;
	argo_ring_copy(argo->ring, argo_ring_advance(argo->ring, argo->message_off, argo->inner),
		head, sizeof(head));
	r = frame_decode(head, ret_frame);
	if (r < 0)
		return r;
	return ret_frame->len > argo->message_len - argo->inner - FRAME_HEADER_SIZE ? -EBADMSG : 1;
}

static void argo_read(struct link *link, uint32_t off, void *dst, uint32_t len)
{
	struct argo_end *argo = &link->argo;
	uint32_t at = argo->inner + FRAME_HEADER_SIZE + off;

	argo_ring_copy(argo->ring, argo_ring_advance(argo->ring, argo->message_off, at), dst, len);
}

static void argo_next(struct link *link)
{
	struct argo_end *argo = &link->argo;

	argo->inner += FRAME_HEADER_SIZE + round_up16(link->frame.len);
	if (argo->inner < argo->message_len)
		return;
	argo->rx = argo_ring_advance(argo->ring, argo->rx, argo_charge(argo->message_len));
	argo->consumed += argo_charge(argo->message_len);
	link->unreleased += argo_charge(argo->message_len);
	argo->message_len = 0;
}

/* rx_ptr before `consumed`: a sender that sees the room claimed is not refused it. */
static void argo_release(struct link *link)
{
	struct argo_end *argo = &link->argo;

	argo_ring_release(argo->ring, argo->rx);
	if (link->page)
		atomic_store_explicit(&link->me->consumed, argo->consumed, memory_order_release);
}

static bool argo_pending(struct link *link)
{
	struct argo_end *argo = &link->argo;

	return argo->message_len ||
	       atomic_load_explicit(argo_ring_tx(argo->ring), memory_order_acquire) != argo->rx;
}

static const _Atomic uint32_t *argo_watch(struct link *link, uint32_t *ret_seen)
{
	*ret_seen = link->argo.rx;
	return argo_ring_tx(link->argo.ring);
}

static void argo_free(struct link *link)
{
	struct hv *hv = link->ctx->hv;

	free(link->argo.stage);
	(void)hv->ops->argo_unregister(hv, link->argo.ring);
}

const struct ring_ops ring_argo_ops = {
	.transport = TRANSPORT_ARGO,
	.frame_max = FRAME_PAYLOAD_MAX,
	.room = argo_room,
	.put = argo_put,
	.push = argo_push,
	.peek = argo_peek,
	.read = argo_read,
	.next = argo_next,
	.release = argo_release,
	.pending = argo_pending,
	.watch = argo_watch,
	.free = argo_free,
};
