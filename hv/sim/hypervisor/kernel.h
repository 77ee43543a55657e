/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The emulated guest kernel as it boots: a part of the transaction that makes a domain, and of the
 * one that resets its event channels. For domain.c, evtchn-op.c and the drivers; guest/ has all
 * that a process asks of its kernel.
 */
#ifndef MSGD_HV_SIM_HYPERVISOR_KERNEL_H
#define MSGD_HV_SIM_HYPERVISOR_KERNEL_H

#include "hv/sim/memory/xen.h"

/* Gives a FIFO domain's event array the pages that the port needs. ENOMEM. */
int kernel_array_expand_locked(struct xen *xen, uint32_t domain, uint32_t port);
/* The kernel boots: switches to FIFO, if it uses that, and binds VIRQ_ARGO. ENOMEM, ENOSPC. */
int kernel_start_locked(struct xen *xen, uint32_t domain);
/*
 * The next kernel boots, in the memory of the last one, after EVTCHNOP_reset, as in a soft reset. A
 * kernel that ran on would get no events.
 */
void kernel_restart_locked(struct xen *xen, uint32_t domain);

#endif
