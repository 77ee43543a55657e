/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Raising a port inside a transaction; publish.c does the rest. For hypercalls and drivers. */
#ifndef MSGD_HV_SIM_HYPERVISOR_EVENT_H
#define MSGD_HV_SIM_HYPERVISOR_EVENT_H

#include "hv/sim/memory/xen.h"

static inline bool bit_test(const _Atomic uint64_t *words, uint32_t bit)
{
	return atomic_load(&words[bit / 64]) >> bit % 64 & 1;
}

void port_raise_locked(struct xen *xen, uint32_t domain, uint32_t port);
void port_unmask_locked(struct xen *xen, uint32_t domain, uint32_t port);
/* The port's state is about to be free; unmask: so is its mask bit, which is the guest kernel's. */
void port_closed_locked(struct xen *xen, uint32_t domain, uint32_t port, bool unmask);

#endif
