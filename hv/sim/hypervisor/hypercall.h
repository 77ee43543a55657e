/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The three hypercalls. For tests and benchmarks, which are guest kernels themselves. */
#ifndef MSGD_HV_SIM_HYPERVISOR_HYPERCALL_H
#define MSGD_HV_SIM_HYPERVISOR_HYPERCALL_H

#include "hv/sim/memory/xen.h"

/*
 * The hypercalls, as domain `domid`: Xen's structures, checks and return values. A pointer that is
 * not mapped gives -EFAULT. The caller casts the result of sendv to int, as on Xen. Implemented are
 * every event channel operation; register_ring, unregister_ring, sendv, notify; every grant table
 * operation, of both versions. The rest gives -ENOSYS (Argo: -EOPNOTSUPP).
 */
int evtchn_op(struct xen *xen, uint16_t domid, int cmd, void *arg);
long argo_op(struct xen *xen, uint16_t domid, unsigned int cmd, void *arg1, void *arg2,
	unsigned long arg3, unsigned long arg4);
int grant_table_op(struct xen *xen, uint16_t domid, unsigned int cmd, void *uop, unsigned int n);

#endif
