/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Addresses of a hypercall's caller. EFAULT: not mapped; of a trusted one not checked. */
#ifndef MSGD_HV_SIM_HYPERVISOR_ACCESS_H
#define MSGD_HV_SIM_HYPERVISOR_ACCESS_H

#include "hv/sim/memory/xen.h"

int guest_read(struct xen *xen, void *dst, const void *src, size_t len, bool trusted);
int guest_write(struct xen *xen, void *dst, const void *src, size_t len);

#endif
