/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A grant ring: a byte ring of frames in memory that the other domain can write. PROTOCOL.md,
 * section 3.2. Each side keeps its own index privately and reads the other's once per refresh; an
 * index that makes no sense is -EBADMSG and resets the link. Bytes are copied out once and
 * checked in the copy.
 */
#ifndef MSGD_PROTO_GRANT_RING_H
#define MSGD_PROTO_GRANT_RING_H

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "base/macro.h"

struct grant_ring {
	uint8_t *data;		    /* borrowed: the ring's mapped pages */
	uint32_t len;		    /* bytes, a power of two */
	_Atomic uint32_t *produced; /* borrowed: the sender's counter in the doorbell page */
	_Atomic uint32_t *consumed; /* borrowed: the receiver's */
	uint32_t own;		    /* this side's counter, published or ahead of it */
	uint32_t peer;		    /* the other side's, as last read and checked */
};

/* Sender: bytes free, reading the receiver's counter when fewer than `want` are known of. */
static inline int64_t grant_ring_space(struct grant_ring *ring, uint32_t want)
{
	uint32_t used = ring->own - ring->peer;

	if (ring->len - used < want) {
		uint32_t peer = atomic_load_explicit(ring->consumed, memory_order_acquire);

		/* It may only move forward, by whole slots, and never past what was published. */
		if (ring->own - peer > used || (peer & 15))
			return -EBADMSG;
		ring->peer = peer;
		used = ring->own - peer;
	}
	return ring->len - used;
}

/* Receiver: bytes there to read, reading the sender's counter when fewer than `want` are known. */
static inline int64_t grant_ring_avail(struct grant_ring *ring, uint32_t want)
{
	uint32_t avail = ring->peer - ring->own;

	if (avail < want) {
		uint32_t peer = atomic_load_explicit(ring->produced, memory_order_acquire);

		if (peer - ring->own > ring->len || peer - ring->own < avail || (peer & 15))
			return -EBADMSG;
		ring->peer = peer;
		avail = peer - ring->own;
	}
	return avail;
}

/* Where the next frame's header is or goes: counters are multiples of 16, so it does not wrap. */
static inline uint8_t *grant_ring_slot(const struct grant_ring *ring)
{
	return ring->data + (ring->own & (ring->len - 1));
}

/* Copies into the ring at the sender's counter + off, wrapping. */
static inline void grant_ring_write(
	struct grant_ring *ring, uint32_t off, const void *src, uint32_t len)
{
	uint32_t pos = (ring->own + off) & (ring->len - 1);
	uint32_t first = min_u32(len, ring->len - pos);

	memcpy(ring->data + pos, src, first);
	if (len > first)
		memcpy(ring->data, (const uint8_t *)src + first, len - first);
}

/* Copies out of the ring at the receiver's counter + off, wrapping. */
static inline void grant_ring_read(
	const struct grant_ring *ring, uint32_t off, void *dst, uint32_t len)
{
	uint32_t pos = (ring->own + off) & (ring->len - 1);
	uint32_t first = min_u32(len, ring->len - pos);

	memcpy(dst, ring->data + pos, first);
	if (len > first)
		memcpy((uint8_t *)dst + first, ring->data, len - first);
}

/* Sender: everything written before own is the receiver's. Release pairs with avail's acquire. */
static inline void grant_ring_publish(struct grant_ring *ring)
{
	atomic_store_explicit(ring->produced, ring->own, memory_order_release);
}

/* Receiver: everything before own is the sender's again. */
static inline void grant_ring_release(struct grant_ring *ring)
{
	atomic_store_explicit(ring->consumed, ring->own, memory_order_release);
}

#endif
