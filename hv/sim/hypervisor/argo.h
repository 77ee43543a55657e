/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Argo: the rings of a domain, and sending. For hypercalls and the drivers. A ring's memory is a
 * guest's: what is read from it may be anything, and is bounded before it is used.
 */
#ifndef MSGD_HV_SIM_HYPERVISOR_ARGO_H
#define MSGD_HV_SIM_HYPERVISOR_ARGO_H

#include "hv/sim/memory/xen.h"

#define SIM_RING_LEN_MIN 48U
#define SIM_RING_LEN_MAX (16U << 20) /* XEN_ARGO_MAX_RING_SIZE */

/* A frame list of NULL means n_pages from first_page on. */
struct ring_request {
	uint32_t aport;
	uint16_t partner;
	uint32_t len;
	uint32_t n_pages;
	uint32_t first_page;
	const xen_argo_gfn_t *gfns; /* of this process, already read from the guest */
	uint32_t flags;
};

static inline bool domain_has_argo(const struct sim_domain *d)
{
	return d->flags & SIM_DOMAIN_ARGO;
}

int argo_register_locked(struct xen *xen, uint32_t domain, const struct ring_request *request,
	uint32_t *ret_index, bool *ret_commit);
int argo_unregister_locked(struct xen *xen, uint32_t domain, uint32_t aport, uint16_t partner);
void argo_remove_locked(struct xen *xen, uint32_t domain, uint32_t index);
struct sim_ring *argo_find(
	struct xen *xen, uint32_t domain, uint32_t aport, uint16_t partner, uint32_t *ret_index);
struct sim_ring *argo_match(
	struct xen *xen, uint32_t domain, uint32_t aport, uint16_t sender, uint32_t *ret_index);
uint8_t *argo_ring_at(
	struct xen *xen, const struct sim_ring *ring, uint32_t offset, uint32_t *ret_contiguous);
uint32_t argo_payload_space(struct xen *xen, const struct sim_ring *ring);
uint32_t argo_sanitized_rx(struct xen *xen, const struct sim_ring *ring);
int argo_requeue_locked(struct xen *xen, struct sim_ring *ring, uint16_t domid, uint32_t len);
void argo_waiter_cancel_locked(struct xen *xen, struct sim_ring *ring, uint16_t domid);
void argo_check_waiters_locked(struct xen *xen, uint32_t domain);
/*
 * Begins a transaction under the lock of the destination's domain. False: none has begun, for
 * there is no such domain, or in deterministic mode.
 */
bool argo_begin_sendv(struct xen *xen, uint16_t destination, struct xen *ret_txn);
/*
 * argo_sendv_now_locked runs in that transaction and returns the payload's length. EAGAIN: nothing
 * has changed; argo_sendv_locked, which runs under every lock, makes the sender wait for room. The
 * caller commits the latter also when it fails with EAGAIN.
 */
int argo_sendv_now_locked(struct xen *xen, uint32_t domain, const xen_argo_send_addr_t *addr,
	const xen_argo_iov_t *iov, uint32_t n_iov, uint32_t type, bool trusted);
int argo_sendv_locked(struct xen *xen, uint32_t domain, const xen_argo_send_addr_t *addr,
	const xen_argo_iov_t *iov, uint32_t n_iov, uint32_t type, bool trusted);

#endif
