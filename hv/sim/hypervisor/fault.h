/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The places where deterministic mode (testing/sim.h) reaches into the emulator: failures, each
 * where Xen or the guest's kernel may answer so, and before anything was changed; and interrupts
 * that it holds back. In every other mode struct xen's `choices` is NULL.
 */
#ifndef MSGD_HV_SIM_HYPERVISOR_FAULT_H
#define MSGD_HV_SIM_HYPERVISOR_FAULT_H

#include "hv/sim/memory/xen.h"

enum sim_fault {
	SIM_FAULT_PORT_ENOSPC,	   /* all that take an event channel: none is free */
	SIM_FAULT_PORT_ENOMEM,	   /* the same: no memory for the table's next part */
	SIM_FAULT_RESET_EBUSY,	   /* EVTCHNOP_reset: another one is under way */
	SIM_FAULT_REGISTER_ENOMEM, /* register_ring: the hypervisor has no memory */
	SIM_FAULT_REGISTER_ENOSPC, /* register_ring: the domain's 128 rings are in use */
	SIM_FAULT_REGISTER_EAGAIN, /* register_ring by hypercall: a frame is being migrated */
	SIM_FAULT_SENDV_EAGAIN,	   /* sendv: the ring is full; the wake-up comes a little later */
	SIM_FAULT_SENDV_EBUSY,	   /* sendv to a wildcard ring: it is, and the queue is, too */
	SIM_FAULT_SENDV_ENOMEM,	   /* sendv: it is full, and there is no memory to queue */
	SIM_FAULT_MAP_NO_SPACE,	   /* grant mappings: the table of them is full */
	SIM_FAULT_MAP_EAGAIN,	   /* map_grant_ref by hypercall: the page is paged out */
	SIM_FAULT_COPY_EAGAIN,	   /* GNTTABOP_copy: likewise */
	SIM_FAULT_SHARE_ENOSPC,	   /* grant_share: gntalloc's limit, or the grant table is full */
	SIM_FAULT_PUBLISH_ENOSPC,  /* store_publish: the domain's quota */
	SIM_N_FAULTS,
};

struct xen_choices {
	/* Whether it is to fail in this way, here and now. Within a transaction. */
	bool (*fault)(struct xen *xen, enum sim_fault fault);
	/* A vcpu is interrupted. True: not now; upcall_interrupt is called again later. */
	bool (*hold)(struct xen *xen, uint32_t domain, uint32_t vcpu);
	/* Whether one is held back. */
	bool (*held)(struct xen *xen, uint32_t domain, uint32_t vcpu);
	/* The domain will have read what was pretended to fill its rings. */
	void (*room_later)(struct xen *xen, uint32_t domain);
	/* Around a hypercall of a test program's own. */
	void (*enter)(struct xen *xen);
	void (*leave)(struct xen *xen, uint16_t domid, const char *call, unsigned int cmd, long r);
};

static inline bool xen_fault(struct xen *xen, enum sim_fault fault)
{
	return __builtin_expect(xen->choices != NULL, 0) && xen->choices->fault(xen, fault);
}

/* Around a hypercall; the latter returns r. */
static inline void hypercall_enter(struct xen *xen)
{
	if (xen->choices)
		xen->choices->enter(xen);
}

static inline long hypercall_leave(
	struct xen *xen, uint16_t domid, const char *call, unsigned int cmd, long r)
{
	if (xen->choices)
		xen->choices->leave(xen, domid, call, cmd, r);
	return r;
}

#endif
