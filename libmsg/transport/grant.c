/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames over grant rings (PROTOCOL.md 3.2). The other domain can write all of this memory: a
 * header is copied and checked in the copy; payload is copied once, to its destination.
 */
#include "libmsg/transport/grant.h"

#include <string.h>

#include "base/macro.h"
#include "proto/limits.h"

_Static_assert(LINK_REFS_OFFSET >= sizeof(struct doorbell_head) &&
		       LINK_REFS_OFFSET + LINK_REFS_MAX * sizeof(uint32_t) <= HV_PAGE_SIZE,
	"one page lists the references, behind its head");

static struct grant_end *grant_of(struct transport *transport)
{
	return container_of(transport, struct grant_end, paged.base);
}

/* ---- life --------------------------------------------------------------------------------- */

void grant_rings_init(struct grant_end *end, uint8_t *creator_ring, uint8_t *binder_ring)
{
	struct paged *paged = &end->paged;
	bool creator = paged->base.role == 0;

	end->tx = (struct grant_ring){.data = creator ? creator_ring : binder_ring,
		.len = paged->base.ring_len,
		.produced = &paged->me->produced,
		.consumed = &paged->them->consumed};
	end->rx = (struct grant_ring){.data = creator ? binder_ring : creator_ring,
		.len = paged->base.ring_len,
		.produced = &paged->them->produced,
		.consumed = &paged->me->consumed};
}

static void grant_close(struct transport *transport)
{
	struct grant_end *end = grant_of(transport);

	/* Before the page: its notification tells the creator that nothing is mapped any more. */
	if (end->map)
		transport->hv->ops->grant_unmap(transport->hv, end->map);
	paged_release(&end->paged);
}

static bool ring_pages_are_legal(uint32_t pages)
{
	return pages >= LINK_RING_PAGES_MIN && pages <= LINK_RING_PAGES_MAX &&
	       (pages & (pages - 1)) == 0;
}

static int grant_make(struct transport *transport, const struct control_link_create *request,
	struct control_link_offer *ret_offer)
{
	struct grant_end *end = grant_of(transport);
	struct link_memory *memory;
	uint8_t *rings;
	int r;

	if (!ring_pages_are_legal(request->ring_pages))
		return -EINVAL;
	r = paged_share(&end->paged, request->uid, request->ring_pages, ret_offer);
	if (r < 0)
		return r;
	memory = end->paged.memory;
	memcpy(memory->rest + LINK_REFS_OFFSET, memory->rest_refs + 1,
		2 * request->ring_pages * sizeof(uint32_t));
	ret_offer->refs_ref = memory->rest_refs[0];
	rings = memory->rest + HV_PAGE_SIZE;
	grant_rings_init(end, rings, rings + transport->ring_len);
	return 0;
}

/* refs, for LINK_REFS_MAX, gets the references of the rings. */
static int grant_check(struct paged *paged, const struct control_link_bind *request, uint32_t *refs)
{
	uint32_t n = 2 * request->ring_pages;
	const uint8_t *page;
	int r;

	r = paged_check(paged, request, &request->doorbell_ref, 1, LINK_PAGE_DOORBELL, &page);
	if (r == 0)
		r = paged_check(paged, request, &request->refs_ref, 1, LINK_PAGE_REFS, &page);
	if (r < 0)
		return r;
	memcpy(refs, page + LINK_REFS_OFFSET, n * sizeof(refs[0])); /* once: they may change */
	return paged_check(paged, request, refs, n, LINK_PAGE_RING, &page);
}

static int grant_map_rings(struct grant_end *end, const uint32_t *refs)
{
	struct transport *t = &end->paged.base;
	void *addr;
	int r;

	r = t->hv->ops->grant_map(t->hv, t->peer_domid, refs, 2 * (t->ring_len / HV_PAGE_SIZE),
		true, NULL, &addr, &end->map);
	if (r < 0)
		return paged_used_up(t, r, NO_MAPPING);
	grant_rings_init(end, addr, (uint8_t *)addr + t->ring_len);
	return 0;
}

static int grant_bind(struct transport *transport, const struct control_link_bind *request,
	struct control_link_ready *ret_ready)
{
	struct grant_end *end = grant_of(transport);
	uint32_t refs[LINK_REFS_MAX];
	int r;

	if (!ring_pages_are_legal(request->ring_pages))
		return -EINVAL;
	r = grant_check(&end->paged, request, refs);
	if (r == 0)
		r = paged_map(&end->paged, request);
	if (r == 0)
		r = grant_map_rings(end, refs);
	if (r == 0)
		paged_bound(&end->paged);
	return r;
}

static int grant_up(struct transport *transport, uint32_t peer_aport)
{
	return 0;
}

/* ---- frames ------------------------------------------------------------------------------- */

static int64_t grant_room(struct transport *transport, uint32_t want)
{
	int64_t space =
		grant_ring_space(&grant_of(transport)->tx, FRAME_HEADER_SIZE + round_up16(want));

	if (space < 0)
		return space;
	return space < (int64_t)FRAME_HEADER_SIZE ? -EAGAIN : space - FRAME_HEADER_SIZE;
}

static void write_pieces(struct grant_ring *tx, struct iov_cursor *payload, uint32_t left)
{
	uint32_t off = FRAME_HEADER_SIZE;

	while (left) {
		size_t n;
		const void *piece = cursor_next(payload, left, &n);

		grant_ring_write(tx, off, piece, (uint32_t)n);
		off += (uint32_t)n;
		left -= (uint32_t)n;
	}
}

static int grant_put(struct transport *transport, struct frame *frame, uint32_t least,
	struct iov_cursor *payload, bool more)
{
	struct grant_ring *tx = &grant_of(transport)->tx;
	int64_t space = grant_ring_space(tx, FRAME_HEADER_SIZE + round_up16(frame->len));
	const void *piece;

	if (space < (int64_t)(FRAME_HEADER_SIZE + least))
		return space < 0 ? (int)space : -EAGAIN;
	frame_cut(frame, (uint32_t)space - FRAME_HEADER_SIZE);
	frame_encode(frame, grant_ring_slot(tx));
	piece = cursor_whole(payload, frame->len);
	if (piece)
		grant_ring_write(tx, FRAME_HEADER_SIZE, piece, frame->len);
	else
		write_pieces(tx, payload, frame->len);
	tx->own += FRAME_HEADER_SIZE + round_up16(frame->len);
	if (more)
		return 1;
	grant_ring_publish(tx);
	return 0;
}

static int grant_push(struct transport *transport)
{
	grant_ring_publish(&grant_of(transport)->tx);
	return 0;
}

static int grant_peek(struct transport *transport)
{
	struct grant_ring *rx = &grant_of(transport)->rx;
	uint8_t head[FRAME_HEADER_SIZE];
	uint32_t size;
	int64_t avail;
	int r;

	avail = grant_ring_avail(rx, FRAME_HEADER_SIZE);
	if (avail <= 0)
		return (int)avail;
	memcpy(head, grant_ring_slot(rx), sizeof(head));
	r = frame_decode(head, &transport->frame);
	if (r < 0)
		return r;
	/* Frames are published whole. */
	size = FRAME_HEADER_SIZE + round_up16(transport->frame.len);
	return grant_ring_avail(rx, size) < (int64_t)size ? -EBADMSG : 1;
}

static void grant_read(struct transport *transport, uint32_t off, void *dst, uint32_t len)
{
	grant_ring_read(&grant_of(transport)->rx, FRAME_HEADER_SIZE + off, dst, len);
}

static void grant_next(struct transport *transport)
{
	uint32_t size = FRAME_HEADER_SIZE + round_up16(transport->frame.len);

	grant_of(transport)->rx.own += size;
	transport->unreleased += size;
}

static void grant_release(struct transport *transport)
{
	grant_ring_release(&grant_of(transport)->rx);
}

static bool grant_pending(struct transport *transport)
{
	return atomic_load_explicit(grant_of(transport)->rx.produced, memory_order_acquire) !=
	       grant_of(transport)->rx.own;
}

static const _Atomic uint32_t *grant_watch(struct transport *transport, uint32_t *ret_seen)
{
	*ret_seen = grant_of(transport)->rx.own;
	return grant_of(transport)->rx.produced;
}

const struct transport_ops transport_grant = {
	.kind = TRANSPORT_GRANT,
	.frame_max = FRAME_PAYLOAD_GRANT,
	.size = sizeof(struct grant_end),
	.make = grant_make,
	.bind = grant_bind,
	.up = grant_up,
	.close = grant_close,
	.room = grant_room,
	.put = grant_put,
	.push = grant_push,
	.peek = grant_peek,
	.read = grant_read,
	.next = grant_next,
	.release = grant_release,
	.pending = grant_pending,
	.watch = grant_watch,
	PAGED_OPS,
};
