/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Virtual interrupts, raised inside a transaction. For hypercalls and the life of domains. */
#ifndef MSGD_HV_SIM_HYPERVISOR_VIRQ_H
#define MSGD_HV_SIM_HYPERVISOR_VIRQ_H

#include "hv/sim/memory/xen.h"

bool virq_is_global(uint32_t virq);
void virq_raise_locked(struct xen *xen, uint32_t domain, uint32_t vcpu, uint32_t virq);
void virq_argo_locked(struct xen *xen, uint32_t domain);
/* VIRQ_DOM_EXC of Domain-0, if it is bound: some domain has shut down, or is gone. */
void virq_dom_exc_locked(struct xen *xen);

#endif
