/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sendv (xen/common/argo.c): the one hypercall on the data path. Nothing here allocates or calls
 * the system, and nothing is visible to the receiver before tx_ptr is published at the commit.
 */
#include <errno.h>

#include "base/macro.h"
#include "hv/sim/hypervisor/access.h"
#include "hv/sim/hypervisor/argo.h"
#include "hv/sim/hypervisor/fault.h"
#include "hv/sim/hypervisor/virq.h"
#include "hv/sim/memory/journal.h"

#define MESSAGE_MAX ((16U << 20) - 32U) /* MAX_ARGO_MESSAGE_SIZE */

/* iov_count */
static int iov_sum(const xen_argo_iov_t *iov, uint32_t n, uint32_t *ret_len)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (iov[i].pad || iov[i].iov_len > MESSAGE_MAX)
			return -EINVAL;
		sum += iov[i].iov_len;
		if (sum > MESSAGE_MAX)
			return -EMSGSIZE;
	}
	*ret_len = sum;
	return 0;
}

/* Copies into the ring at *at, which wraps at the ring's length. src NULL ends nowhere. */
static int ring_write(struct xen *xen, const struct sim_ring *ring, uint32_t *at, const void *src,
	uint32_t len, bool trusted)
{
	while (len > 0) {
		uint32_t chunk = min_u32(len, ring->len - *at), contiguous;
		uint8_t *dst = argo_ring_at(
			xen, ring, *at + (uint32_t)sizeof(xen_argo_ring_t), &contiguous);

		chunk = min_u32(chunk, contiguous);
		if (guest_read(xen, dst, src, chunk, trusted) < 0)
			return -EFAULT;
		src = (const uint8_t *)src + chunk;
		len -= chunk;
		*at += chunk;
		if (*at == ring->len)
			*at = 0;
	}
	return 0;
}

/* ringbuf_insert */
static int ring_insert(struct xen *xen, uint32_t domain, uint32_t index, uint32_t sender_aport,
	uint16_t sender, const xen_argo_iov_t *iov, uint32_t n, uint32_t type, uint32_t len,
	bool trusted)
{
	struct sim_ring *ring = &domain_at(xen, domain)->rings[index];
	struct xen_argo_ring_message_header header = {.len = len + 16,
		.source = {.aport = sender_aport, .domain_id = sender},
		.message_type = type};
	uint32_t at = ring->tx_ptr, rx, space;

	if (ring->len <= 16 + round_up16(len))
		return -EMSGSIZE;
	rx = argo_sanitized_rx(xen, ring);
	space = rx == at ? ring->len : rx > at ? rx - at : ring->len - at + rx;
	if (round_up16(len) + 16 >= space)
		return -EAGAIN;
	(void)ring_write(xen, ring, &at, &header, sizeof(header), true);
	for (uint32_t i = 0; i < n; i++)
		if (ring_write(xen, ring, &at, iov[i].iov_hnd, iov[i].iov_len, trusted) < 0)
			return -EFAULT;
	at = round_up16(at);
	txn_set(xen, &ring->tx_ptr, at >= ring->len ? at - ring->len : at);
	txn_redo(xen, SIM_REDO_TX_PTR, domain, index, 0);
	return 0;
}

/*
 * Deterministic mode refuses as if a message that nobody sees lay in the ring, and were read a
 * little later. The checks that Xen makes before it looks for room come first here, too.
 */
static int send_refused(
	struct xen *xen, uint32_t target, struct sim_ring *ring, uint16_t sender, uint32_t len)
{
	int r;

	if (ring->len <= 16 + round_up16(len))
		return 0;
	if (ring->partner == XEN_ARGO_DOMID_ANY && xen_fault(xen, SIM_FAULT_SENDV_EBUSY))
		return -EBUSY;
	if (xen_fault(xen, SIM_FAULT_SENDV_ENOMEM))
		return -ENOMEM;
	if (!xen_fault(xen, SIM_FAULT_SENDV_EAGAIN))
		return 0;
	r = argo_requeue_locked(xen, ring, sender, len);
	if (r < 0)
		return r;
	xen->choices->room_later(xen, target);
	return -EAGAIN;
}

/* The checks up to the ring, which is in ret_index of domain ret_target. */
static int sendv_check(struct xen *xen, uint32_t domain, const xen_argo_send_addr_t *addr,
	const xen_argo_iov_t *iov, uint32_t n_iov, uint32_t *ret_target, uint32_t *ret_index,
	uint32_t *ret_len)
{
	uint16_t self = domain_at(xen, domain)->domid;

	if (addr->src.pad || addr->dst.pad)
		return -EINVAL;
	if (addr->src.domain_id != XEN_ARGO_DOMID_ANY && addr->src.domain_id != self)
		return -EPERM;
	*ret_target = sim_domain_find(xen, addr->dst.domain_id);
	if (*ret_target == DOMAIN_NONE)
		return -ESRCH;
	if (!domain_has_argo(domain_at(xen, domain)))
		return -ENODEV;
	if (!domain_has_argo(domain_at(xen, *ret_target)))
		return -ECONNREFUSED;
	if (!argo_match(xen, *ret_target, addr->dst.aport, self, ret_index))
		return -ECONNREFUSED;
	return iov_sum(iov, n_iov, ret_len);
}

int argo_sendv_now_locked(struct xen *xen, uint32_t domain, const xen_argo_send_addr_t *addr,
	const xen_argo_iov_t *iov, uint32_t n_iov, uint32_t type, bool trusted)
{
	uint32_t target, index, len;
	int r = sendv_check(xen, domain, addr, iov, n_iov, &target, &index, &len);

	if (r == 0)
		r = ring_insert(xen, target, index, addr->src.aport, domain_at(xen, domain)->domid,
			iov, n_iov, type, len, trusted);
	if (r < 0)
		return r;
	virq_argo_locked(xen, target);
	return (int)len;
}

int argo_sendv_locked(struct xen *xen, uint32_t domain, const xen_argo_send_addr_t *addr,
	const xen_argo_iov_t *iov, uint32_t n_iov, uint32_t type, bool trusted)
{
	uint32_t target, index, len;
	int r = 0;

	if (xen->choices) {
		r = sendv_check(xen, domain, addr, iov, n_iov, &target, &index, &len);
		if (r == 0)
			r = send_refused(xen, target, &domain_at(xen, target)->rings[index],
				domain_at(xen, domain)->domid, len);
		if (r < 0)
			return r;
	}
	r = argo_sendv_now_locked(xen, domain, addr, iov, n_iov, type, trusted);
	if (r != -EAGAIN)
		return r;
	(void)sendv_check(xen, domain, addr, iov, n_iov, &target, &index, &len);
	r = argo_requeue_locked(
		xen, &domain_at(xen, target)->rings[index], domain_at(xen, domain)->domid, len);
	if (r < 0)
		return r;
	/*
	 * The receiver gives room without a lock and then looks for waiters without one
	 * (guest_ring_consumed): either it saw this one, or its room is seen here. The waiter stays
	 * queued: a needless wake-up at worst.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	return argo_sendv_now_locked(xen, domain, addr, iov, n_iov, type, trusted);
}
