/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The interrupt half of an emulated guest kernel. For publish.c, which runs it after a commit, and
 * for tests. A handler must only change what it can change twice: after a crash it runs again.
 */
#ifndef MSGD_HV_SIM_HYPERVISOR_UPCALL_H
#define MSGD_HV_SIM_HYPERVISOR_UPCALL_H

#include "hv/sim/memory/slot.h"

/*
 * Calls `handle` for what is pending and not masked, on the vcpu whose upcall flag is set; a port
 * whose handler leaves it pending is not looked at again before the next upcall.
 */
typedef void (*upcall_handler)(struct xen *xen, uint32_t domain, uint32_t port, void *arg);
void guest_upcall(struct xen *xen, uint32_t domain, uint32_t vcpu, upcall_handler fn, void *arg);
/* The emulated kernel's own, after a commit. */
void upcall_interrupt(struct xen *xen, uint32_t domain, uint32_t vcpu, struct kick_set *kicks);

/* The interrupt handler of VIRQ_ARGO. */
void upcall_virq_argo(struct xen *xen, uint32_t domain, struct kick_set *kicks);
/* The handler tells an owner of unread bytes, and of room where it got EAGAIN last. */
bool ring_has_data(struct xen *xen, const struct sim_ring *ring);
bool ring_has_room(struct xen *xen, uint32_t domain, const struct sim_ring *ring);

#endif
