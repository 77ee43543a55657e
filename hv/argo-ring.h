/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading an Argo ring in place (xen/include/public/argo.h, struct xen_argo_ring and struct
 * xen_argo_ring_message_header; hv/sim asserts that the offsets agree). Only the hypervisor writes
 * the ring, but every length is checked all the same: on the emulator any process can.
 */
#ifndef MSGD_HV_ARGO_RING_H
#define MSGD_HV_ARGO_RING_H

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "base/macro.h"
#include "hv/hv.h"

#define ARGO_RING_HEADER_LEN	64U
#define ARGO_MESSAGE_HEADER_LEN 16U
#define ARGO_RING_LEN_MIN	48U
#define ARGO_RING_LEN_MAX	0xffffc0U
#define ARGO_MAX_IOV		8U

struct argo_message {
	uint32_t len; /* payload bytes */
	uint32_t aport;
	uint16_t domid;
	uint32_t type;
	uint32_t data_off; /* where in the ring the payload starts; it may wrap */
};

static inline _Atomic uint32_t *argo_ring_rx(const struct hv_ring *ring)
{
	return (_Atomic uint32_t *)ring->mem;
}

static inline _Atomic uint32_t *argo_ring_tx(const struct hv_ring *ring)
{
	return (_Atomic uint32_t *)ring->mem + 1;
}

static inline uint8_t *argo_ring_data(const struct hv_ring *ring)
{
	return (uint8_t *)ring->mem + ARGO_RING_HEADER_LEN;
}

/*
 * Describes the message at offset rx, which the caller keeps privately. Returns 1, or 0 when the
 * ring is empty, or -EBADMSG when the ring makes no sense. The acquire pairs with the
 * hypervisor's release of tx_ptr, so that the message's bytes are seen.
 */
static inline int argo_ring_peek(
	const struct hv_ring *ring, uint32_t rx, struct argo_message *ret_message)
{
	uint32_t tx = atomic_load_explicit(argo_ring_tx(ring), memory_order_acquire);
	uint32_t used, len;
	const uint8_t *h;

	if (tx == rx)
		return 0;
	if (tx >= ring->ring_len || (tx & 15))
		return -EBADMSG;
	used = tx > rx ? tx - rx : ring->ring_len - rx + tx;
	h = argo_ring_data(ring) + rx; /* slots are 16 bytes: a header never wraps */
	memcpy(&len, h, 4);
	if (len < ARGO_MESSAGE_HEADER_LEN || len > used)
		return -EBADMSG;
	ret_message->len = len - ARGO_MESSAGE_HEADER_LEN;
	memcpy(&ret_message->aport, h + 4, 4);
	memcpy(&ret_message->domid, h + 8, 2);
	memcpy(&ret_message->type, h + 12, 4);
	ret_message->data_off = rx + ARGO_MESSAGE_HEADER_LEN;
	if (ret_message->data_off == ring->ring_len)
		ret_message->data_off = 0;
	return 1;
}

/* Copies len bytes from ring offset off, which wraps. */
static inline void argo_ring_copy(const struct hv_ring *ring, uint32_t off, void *dst, uint32_t len)
{
	uint32_t first = min_u32(len, ring->ring_len - off);

	memcpy(dst, argo_ring_data(ring) + off, first);
	if (len > first)
		memcpy((uint8_t *)dst + first, argo_ring_data(ring), len - first);
}

static inline uint32_t argo_ring_advance(const struct hv_ring *ring, uint32_t off, uint32_t len)
{
	off += len;
	return off >= ring->ring_len ? off - ring->ring_len : off;
}

/* Gives the slots before rx back; argo_consumed tells senders that wait. */
static inline void argo_ring_release(const struct hv_ring *ring, uint32_t rx)
{
	atomic_store_explicit(argo_ring_rx(ring), rx, memory_order_release);
}

#endif
