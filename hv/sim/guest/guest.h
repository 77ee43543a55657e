/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The emulated guest kernel: what /dev/xen/evtchn, gntalloc, gntdev and the Argo driver do for
 * processes. Here everything a process holds belongs to its slot, so that slot_release gives it
 * back whatever way the process ended. Each function is one transaction of its own, except for the
 * *_locked ones, and returns a negative errno of the driver's or of Xen's.
 */
#ifndef MSGD_HV_SIM_GUEST_GUEST_H
#define MSGD_HV_SIM_GUEST_GUEST_H

#include "hv/sim/memory/xen.h"

static inline struct sim_slot *slot_at(const struct xen *xen, uint32_t slot)
{
	return &xen->seg->slots[slot];
}

static inline uint32_t slot_domain(const struct xen *xen, uint32_t slot)
{
	return atomic_load_explicit(&slot_at(xen, slot)->domain, memory_order_relaxed);
}

/*
 * Begins a transaction of the handle's process. ENODEV: that is dead, in the authority's eyes, and
 * nothing has begun.
 */
int guest_begin(struct xen *xen);
/* The same under the lock of its domain alone (txn_begin_domain). */
int guest_begin_own(struct xen *xen, struct xen *ret_txn);
/*
 * Under any lock, and as long as it is held: before the authority gives back what a dead one had,
 * it takes them all.
 */
bool guest_is_live(struct xen *xen);

/* guest-slot.c: telling a slot's owner. Bits first, then kick_slot: see there. */
void slot_set_port(struct xen *xen, uint32_t slot, uint32_t port);
void slot_set_ring(struct xen *xen, uint32_t slot, uint32_t ring);
void slot_set_flags(struct xen *xen, uint32_t slot, uint32_t flags);
void kick_slot(struct xen *xen, uint32_t slot);
/* For a slot's next owner, whose eventfd is new. Not while it is live. */
void slot_kick_reset(struct sim_slot *s);
bool slot_has_events(struct xen *xen, uint32_t slot);
/* The owner's: drains the eventfd if nothing is left, without losing a wake-up. */
void slot_quiesce(struct xen *xen, int event_fd);
void slots_kick_unseen(struct xen *xen);

/* Gives back everything that the slot holds, in hv.h's order. May be run again. */
void slot_release(struct xen *xen, uint32_t slot);

/* guest-port.c: /dev/xen/evtchn */
int guest_port_alloc(struct xen *xen, uint16_t remote, uint32_t *ret_port);
int guest_port_bind(struct xen *xen, uint16_t remote, uint32_t remote_port, uint32_t *ret_port);
int guest_port_close(struct xen *xen, uint32_t port);
int guest_port_send(struct xen *xen, uint32_t port);
int guest_port_unmask(struct xen *xen, const uint32_t *ports, size_t n);
bool guest_port_is_mine(struct xen *xen, uint32_t slot, uint32_t port);
/* The slot that holds the other end, or that allocated the port; 0: unknown. */
uint32_t guest_port_peer(struct xen *xen, uint16_t remote, uint32_t port, uint32_t *ret_generation);
void guest_ports_release(struct xen *xen, uint32_t slot);

/*
 * guest-upcall.c: the guest's half of the event ABI. Calls `handle` for what is pending and not
 * masked, on the vcpu whose upcall flag is set; a port whose handler leaves it pending is not
 * looked at again before the next upcall.
 */
typedef void (*upcall_handler)(struct xen *xen, uint32_t domain, uint32_t port, void *arg);
void guest_upcall(
	struct xen *xen, uint32_t domain, uint32_t vcpu, upcall_handler handle, void *arg);
/* Gives a FIFO domain's event array the pages that the port needs. ENOMEM. */
int guest_array_expand_locked(struct xen *xen, uint32_t domain, uint32_t port);
/* The kernel boots: switches to FIFO, if it uses that, and binds VIRQ_ARGO. ENOMEM, ENOSPC. */
int guest_kernel_start_locked(struct xen *xen, uint32_t domain);
/*
 * Its event channels were reset (EVTCHNOP_reset, as in a soft reset): the next kernel boots, in the
 * memory of the last one. One that ran on would be deaf.
 */
void guest_kernel_restart_locked(struct xen *xen, uint32_t domain);
/* The emulated kernel's own, after a commit. */
void guest_interrupt(struct xen *xen, uint32_t domain, uint32_t vcpu, struct kick_set *kicks);

/* Unmap-notify of both drivers. notify->page is set by the caller. */
int notify_arm_locked(struct xen *xen, uint32_t domain, uint32_t slot, struct sim_notify *dst,
	const struct hv_unmap_notify *notify, uint32_t page);
void notify_fire_locked(struct xen *xen, uint32_t domain, struct sim_notify *notify);

/* guest-ring.c: the Argo driver */
int guest_ring_register(struct xen *xen, uint32_t aport, uint16_t partner, uint32_t len,
	uint32_t *ret_index, uint32_t *ret_aport, uint32_t *ret_first_page);
int guest_ring_unregister(struct xen *xen, uint32_t index, uint32_t first_page, uint32_t n_pages);
int guest_ring_watch(struct xen *xen, uint32_t index, bool on);
int guest_ring_send(struct xen *xen, uint32_t index, const xen_argo_send_addr_t *addr,
	const xen_argo_iov_t *iov, uint32_t n_iov, uint32_t message_type);
int guest_ring_consumed(struct xen *xen);
/* The interrupt handler of VIRQ_ARGO. */
void guest_virq_argo(struct xen *xen, uint32_t domain, struct kick_set *kicks);
void guest_rings_release(struct xen *xen, uint32_t slot);

/* guest-grant.c: gntalloc and gntdev. The handles are indexes of seg->shares and seg->maps. */
int guest_share(struct xen *xen, uint16_t remote, uint32_t n, const struct hv_unmap_notify *notify,
	uint32_t *ret_refs, uint32_t *ret_first_page, uint32_t *ret_share);
void guest_unshare(struct xen *xen, uint32_t share);
int guest_map(struct xen *xen, uint16_t granter, const uint32_t *refs, uint32_t n, bool writable,
	const struct hv_unmap_notify *notify, uint32_t *ret_pages, uint32_t *ret_map);
void guest_unmap(struct xen *xen, uint32_t map);
void guest_grants_release(struct xen *xen, uint32_t slot);
/* A mapping of a withdrawn page of gntalloc's is gone: frees the page with the last one. */
void guest_page_unpinned_locked(struct xen *xen, uint32_t page);

#endif
