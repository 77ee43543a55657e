/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames over Argo rings, for both transports that have them (PROTOCOL.md 3.3, 3.4). The hypervisor
 * copies, so that a message in the receive ring does not change while it is read. How much room the
 * peer's ring has is said by the doorbell page where there is one; over argo-strict the hypervisor
 * is asked by sending, and its EAGAIN is the only word about room (argo-strict.c).
 */
#include "libmsg/transport/argo.h"

#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "hv/argo-ring.h"

/* Before asking a full ring again. The peer's counter claims room, so it is soon. */
#define ARGO_RETRY_NS 1000000U

/* ---- life --------------------------------------------------------------------------------- */

void argo_close(struct transport *transport)
{
	struct argo_end *end = argo_of(transport);

	free(end->stage);
	if (end->ring)
		(void)transport->hv->ops->argo_unregister(transport->hv, end->ring);
	paged_release(&end->paged);
}

int argo_register_ring(struct argo_end *end)
{
	struct transport *t = &end->paged.base;

	return t->hv->ops->argo_register(t->hv, 0, t->peer_domid, t->ring_len, &end->ring);
}

int argo_set_peer(struct argo_end *end, uint32_t peer_aport)
{
	struct hv *hv = end->paged.base.hv;

	end->peer_aport = peer_aport;
	return hv->ops->argo_peer(hv, end->ring, peer_aport);
}

int argo_up(struct transport *transport, uint32_t peer_aport)
{
	return argo_set_peer(argo_of(transport), peer_aport);
}

/* ---- frames out --------------------------------------------------------------------------- */

static uint32_t argo_charge(uint32_t payload)
{
	return ARGO_MESSAGE_HEADER_LEN + round_up16(payload);
}

/* Bytes of payload that one more Argo message may have. */
static int64_t argo_free_bytes(struct transport *transport, uint32_t want)
{
	struct argo_end *argo = argo_of(transport);
	uint32_t limit = transport->ring_len - ARGO_MESSAGE_HEADER_LEN; /* one slot stays free */
	uint32_t used = argo->produced - argo->peer_consumed;

	if (!argo->paged.page)
		return argo->full ? -EAGAIN : (int64_t)(limit - ARGO_MESSAGE_HEADER_LEN);
	if (used + argo_charge(want) > limit) {
		uint32_t consumed =
			atomic_load_explicit(&argo->paged.them->consumed, memory_order_acquire);

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
	uint32_t ring_len = argo->paged.base.ring_len;

	return max_u32(ring_len / 2, min_u32(ring_len, FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX));
}

int64_t argo_room(struct transport *transport, uint32_t want)
{
	struct argo_end *argo = argo_of(transport);
	uint32_t before = argo->staged + FRAME_HEADER_SIZE;
	int64_t room;

	if (transport->retry_ns && transport->hv->ops->now_ns(transport->hv) < transport->retry_ns)
		return -EAGAIN;
	room = argo_free_bytes(transport, before + round_up16(want));
	if (room < 0)
		return room;
	return room < (int64_t)before ? -EAGAIN : room - before;
}

static void argo_retry_later(struct transport *transport)
{
	transport->retry_ns = transport->hv->ops->now_ns(transport->hv) + ARGO_RETRY_NS;
}

static int argo_sendv(struct transport *transport, const struct iovec *iov, size_t n, uint32_t len)
{
	struct argo_end *argo = argo_of(transport);
	struct hv *hv = transport->hv;
	int r;

	if (argo->full)
		return -EAGAIN;
	transport->n_hypercalls++;
	r = hv->ops->argo_sendv(hv, argo->ring, iov, n, FRAME_MESSAGE_TYPE);
	if (r == -EAGAIN && !argo->paged.page) {
		argo->full = true;
		return -EAGAIN;
	}
	if (r == -EAGAIN || r == -EBUSY || r == -ENOMEM) {
		argo_retry_later(transport);
		return -EAGAIN;
	}
	if (r < 0)
		return r;
	argo->produced += argo_charge(len);
	if (transport->retry_ns)
		transport->retry_ns = 1; /* at once: others may be blocked still */
	return 0;
}

int argo_push(struct transport *transport)
{
	struct argo_end *argo = argo_of(transport);
	struct iovec iov = {.iov_base = argo->stage, .iov_len = argo->staged};
	int r;

	if (!argo->staged)
		return 0;
	r = argo_sendv(transport, &iov, 1, argo->staged);
	if (r < 0)
		return r;
	argo->staged = 0;
	return 0;
}

/* Frames that go together in one message are gathered first. The stage has room. */
static int argo_stage(
	struct transport *transport, const struct frame *frame, struct iov_cursor *payload)
{
	struct argo_end *argo = argo_of(transport);
	uint8_t *at;

	if (!argo->stage) {
		argo->stage = malloc(stage_size(argo));
		if (!argo->stage) {
			argo_retry_later(transport);
			return -EAGAIN;
		}
	}
	at = argo->stage + argo->staged;
	frame_encode(frame, at);
	cursor_read(payload, at + FRAME_HEADER_SIZE, frame->len);
	memset(at + FRAME_HEADER_SIZE + frame->len, 0, round_up16(frame->len) - frame->len);
	argo->staged += FRAME_HEADER_SIZE + round_up16(frame->len);
	return 0;
}

/* A frame alone goes from the caller's memory to the ring without a copy in between. */
static int argo_put_direct(
	struct transport *transport, const struct frame *frame, struct iov_cursor *payload)
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
		r = argo_stage(transport, frame, payload);
		return r < 0 ? r : argo_push(transport) < 0;
	}
	r = argo_sendv(transport, iov, n, FRAME_HEADER_SIZE + frame->len);
	if (r < 0)
		*payload = start;
	return r;
}

int argo_put(struct transport *transport, struct frame *frame, uint32_t least,
	struct iov_cursor *payload, bool more)
{
	struct argo_end *argo = argo_of(transport);
	uint32_t size = FRAME_HEADER_SIZE + round_up16(frame->len);
	int64_t room;
	int r;

	if (argo->staged && argo->staged + size > stage_size(argo)) {
		r = argo_push(transport);
		if (r < 0)
			return r;
	}
	room = argo_room(transport, frame->len);
	if (room < (int64_t)least)
		return room < 0 ? (int)room : -EAGAIN;
	frame_cut(frame, (uint32_t)room);
	if (!argo->staged && !more)
		return argo_put_direct(transport, frame, payload);
	r = argo_stage(transport, frame, payload);
	if (r < 0)
		return r;
	return more || argo_push(transport) < 0; /* refused: it stays staged until the next push */
}

/* ---- frames in ---------------------------------------------------------------------------- */

static bool is_from_peer(const struct argo_end *argo, const struct argo_message *message)
{
	return message->domid == argo->paged.base.peer_domid &&
	       message->aport == argo->peer_aport && message->type == FRAME_MESSAGE_TYPE &&
	       message->len;
}

/* A stranger's message: it is dropped, and `consumed` does not count it. */
static void argo_drop(struct transport *transport, const struct argo_message *message)
{
	struct argo_end *argo = argo_of(transport);

	argo->rx = argo_ring_advance(argo->ring, argo->rx, argo_charge(message->len));
	argo_ring_release(argo->ring, argo->rx);
	/* Over argo-strict each sender may wait for that room too. */
	if (!argo->paged.page)
		transport->untold += argo_charge(message->len);
}

/* Finds the next message from the introduced source. As peek. */
static int argo_next_message(struct transport *transport)
{
	struct argo_end *argo = argo_of(transport);
	struct argo_message message;
	int r = argo_ring_peek(argo->ring, argo->rx, &message);

	if (r <= 0)
		return r;
	if (!is_from_peer(argo, &message)) {
		argo_drop(transport, &message);
		return TRANSPORT_DROPPED;
	}
	argo->message_len = message.len;
	argo->message_off = message.data_off;
	argo->inner = 0;
	return 1;
}

int argo_peek(struct transport *transport)
{
	struct argo_end *argo = argo_of(transport);
	uint8_t head[FRAME_HEADER_SIZE];
	int r;

	if (!argo->message_len) {
		r = argo_next_message(transport);
		if (r != 1)
			return r;
	}
	if (argo->message_len - argo->inner < FRAME_HEADER_SIZE)
		return -EBADMSG;
	argo_ring_copy(argo->ring, argo_ring_advance(argo->ring, argo->message_off, argo->inner),
		head, sizeof(head));
	r = frame_decode(head, &transport->frame);
	if (r < 0)
		return r;
	return transport->frame.len > argo->message_len - argo->inner - FRAME_HEADER_SIZE ? -EBADMSG
											  : 1;
}

void argo_read(struct transport *transport, uint32_t off, void *dst, uint32_t len)
{
	struct argo_end *argo = argo_of(transport);
	uint32_t at = argo->inner + FRAME_HEADER_SIZE + off;

	argo_ring_copy(argo->ring, argo_ring_advance(argo->ring, argo->message_off, at), dst, len);
}

void argo_next(struct transport *transport)
{
	struct argo_end *argo = argo_of(transport);

	argo->inner += FRAME_HEADER_SIZE + round_up16(transport->frame.len);
	if (argo->inner < argo->message_len)
		return;
	argo->rx = argo_ring_advance(argo->ring, argo->rx, argo_charge(argo->message_len));
	argo->consumed += argo_charge(argo->message_len);
	transport->unreleased += argo_charge(argo->message_len);
	argo->message_len = 0;
}

/* rx_ptr before `consumed`: a sender that sees the room claimed is not refused it. */
void argo_release(struct transport *transport)
{
	struct argo_end *argo = argo_of(transport);

	argo_ring_release(argo->ring, argo->rx);
	if (argo->paged.page)
		atomic_store_explicit(
			&argo->paged.me->consumed, argo->consumed, memory_order_release);
}

bool argo_pending(struct transport *transport)
{
	struct argo_end *argo = argo_of(transport);

	return argo->message_len ||
	       atomic_load_explicit(argo_ring_tx(argo->ring), memory_order_acquire) != argo->rx;
}

const _Atomic uint32_t *argo_watch(struct transport *transport, uint32_t *ret_seen)
{
	*ret_seen = argo_of(transport)->rx;
	return argo_ring_tx(argo_of(transport)->ring);
}
