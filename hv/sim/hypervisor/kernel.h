/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The emulated guest kernel as it boots. Boots are part of the transactions that make a domain and
 * that reset its event channels: for domain.c, evtchn-op.c and the drivers. What a process asks of
 * its kernel is in guest/.
 */
#ifndef MSGD_HV_SIM_HYPERVISOR_KERNEL_H
#define MSGD_HV_SIM_HYPERVISOR_KERNEL_H

#include "hv/sim/memory/xen.h"

/* Gives a FIFO domain's event array the pages that the port needs. ENOMEM. */
int kernel_array_expand_locked(struct xen *xen, uint32_t domain, uint32_t port);
/* The kernel boots: switches to FIFO, if it uses that, and binds VIRQ_ARGO. ENOMEM, ENOSPC. */
int kernel_start_locked(struct xen *xen, uint32_t domain);
/*
 * Its event channels were reset (EVTCHNOP_reset, as in a soft reset): the next kernel boots, in the
 * memory of the last one. One that ran on would be deaf.
 */
void kernel_restart_locked(struct xen *xen, uint32_t domain);

#endif
