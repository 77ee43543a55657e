/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The FIFO event ABI, besides 2-level. For the hypervisor's own files. */
#ifndef MSGD_HV_SIM_HYPERVISOR_FIFO_H
#define MSGD_HV_SIM_HYPERVISOR_FIFO_H

#include "hv/sim/memory/xen.h"

/* The port's event word, which the guest changes as well, any time; NULL: there is none yet. */
_Atomic uint32_t *fifo_word(const struct xen *xen, const struct sim_domain *d, uint32_t port);
/* NULL: the vcpu has none. */
struct evtchn_fifo_control_block *fifo_control(
	const struct xen *xen, const struct sim_domain *d, uint32_t vcpu);
void fifo_raise_locked(struct xen *xen, uint32_t domain, uint32_t port);
void fifo_unmask_locked(struct xen *xen, uint32_t domain, uint32_t port);
/* The rest of raising, after the commit: puts the port on its queue. */
void fifo_link(struct xen *xen, const struct sim_redo *redo);
int fifo_init_control_locked(struct xen *xen, uint32_t domain, evtchn_init_control_t *init);
int fifo_expand_array_locked(struct xen *xen, uint32_t domain, uint64_t gfn);
/* Xen writes to that page: it is a control block's, or the event array's. */
bool fifo_has_page(const struct sim_domain *d, uint32_t page);
/* Back to 2-level; every port is closed. */
void fifo_destroy_locked(struct xen *xen, uint32_t domain);

#endif
