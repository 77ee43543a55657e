/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames over grant rings (PROTOCOL.md, section 3.2). The other domain can write all of this
 * memory: a header is copied and checked in the copy; payload is copied once, to where it is going.
 */
#include <errno.h>
#include <string.h>

#include "libmsg/private.h"

static int64_t grant_room(struct link *link, uint32_t want)
{
	int64_t space = grant_ring_space(&link->grant.tx, FRAME_HEADER_SIZE + round_up16(want));

	if (space < 0)
		return space;
	return space < (int64_t)FRAME_HEADER_SIZE ? -EAGAIN : space - FRAME_HEADER_SIZE;
}

static int grant_put(struct link *link, struct frame *frame, uint32_t least,
	struct iov_cursor *payload, bool more)
{
	struct grant_ring *tx = &link->grant.tx;
	int64_t space = grant_ring_space(tx, FRAME_HEADER_SIZE + round_up16(frame->len));
	uint32_t off = FRAME_HEADER_SIZE, left;

	if (space < (int64_t)(FRAME_HEADER_SIZE + least))
		return space < 0 ? (int)space : -EAGAIN;
	frame_cut(frame, (uint32_t)space - FRAME_HEADER_SIZE);
	frame_encode(frame, grant_ring_slot(tx));
	left = frame->len;
	while (left) {
		size_t n;
		const void *piece = cursor_next(payload, left, &n);

		grant_ring_write(tx, off, piece, (uint32_t)n);
		off += (uint32_t)n;
		left -= (uint32_t)n;
	}
	tx->own += FRAME_HEADER_SIZE + round_up16(frame->len);
	if (more)
		return 1;
	grant_ring_publish(tx);
	return 0;
}

static int grant_push(struct link *link)
{
	grant_ring_publish(&link->grant.tx);
	return 0;
}

static int grant_peek(struct link *link, struct frame *ret_frame)
{
	struct grant_ring *rx = &link->grant.rx;
	uint8_t head[FRAME_HEADER_SIZE];
	uint32_t size;
	int64_t avail;
	int r;

	avail = grant_ring_avail(rx, FRAME_HEADER_SIZE);
	if (avail <= 0)
		return (int)avail;
	memcpy(head, grant_ring_slot(rx), sizeof(head));
	r = frame_decode(head, ret_frame);
	if (r < 0)
		return r;
	/* Frames are published whole. */
	size = FRAME_HEADER_SIZE + round_up16(ret_frame->len);
	return grant_ring_avail(rx, size) < (int64_t)size ? -EBADMSG : 1;
}

static void grant_read(struct link *link, uint32_t off, void *dst, uint32_t len)
{
	grant_ring_read(&link->grant.rx, FRAME_HEADER_SIZE + off, dst, len);
}

static void grant_next(struct link *link)
{
	uint32_t size = FRAME_HEADER_SIZE + round_up16(link->frame.len);

	link->grant.rx.own += size;
	link->unreleased += size;
}

static void grant_release(struct link *link)
{
	grant_ring_release(&link->grant.rx);
}

static bool grant_pending(struct link *link)
{
	return atomic_load_explicit(link->grant.rx.produced, memory_order_acquire) !=
	       link->grant.rx.own;
}

static const _Atomic uint32_t *grant_watch(struct link *link, uint32_t *ret_seen)
{
	*ret_seen = link->grant.rx.own;
	return link->grant.rx.produced;
}

static void grant_free(struct link *link)
{
	struct hv *hv = link->ctx->hv;

	if (link->grant.map)
		hv->ops->grant_unmap(hv, link->grant.map);
	if (link->grant.share)
		hv->ops->grant_unshare(hv, link->grant.share);
}

const struct ring_ops ring_grant_ops = {
	.transport = TRANSPORT_GRANT,
	.frame_max = FRAME_PAYLOAD_GRANT,
	.room = grant_room,
	.put = grant_put,
	.push = grant_push,
	.peek = grant_peek,
	.read = grant_read,
	.next = grant_next,
	.release = grant_release,
	.pending = grant_pending,
	.watch = grant_watch,
	.free = grant_free,
};
