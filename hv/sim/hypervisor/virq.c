/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Virtual interrupts (xen/common/event_channel.c): the port that a virq is bound to is raised. */
#include "hv/sim/hypervisor/virq.h"

#include "hv/sim/hypervisor/event.h"
#include "hv/sim/hypervisor/evtchn.h"

/* For those that x86 has. */
bool virq_is_global(uint32_t virq)
{
	return virq != VIRQ_TIMER && virq != VIRQ_DEBUG && virq != VIRQ_XENOPROF &&
	       virq != VIRQ_XENPMU;
}

/* send_guest_vcpu_virq, send_guest_global_virq */
void virq_raise_locked(struct xen *xen, uint32_t domain, uint32_t vcpu, uint32_t virq)
{
	struct sim_domain *d = domain_at(xen, domain);
	uint32_t port = d->vcpus[virq_is_global(virq) ? 0 : vcpu].virq_port[virq];

	if (port)
		port_raise_locked(xen, domain, port);
}

void virq_argo_locked(struct xen *xen, uint32_t domain)
{
	struct sim_domain *d = domain_at(xen, domain);
	uint32_t port = d->vcpus[0].virq_port[VIRQ_ARGO];

	/* The driver has its interrupt off while nobody polls. */
	if (port && (port_entry(xen, d, port)->owner != SIM_PORT_KERNEL_OWNER ||
			    (d->ring_watch[0] | d->ring_watch[1])))
		port_raise_locked(xen, domain, port);
}

/* send_global_virq: Domain-0 is the hardware domain. */
void virq_dom_exc_locked(struct xen *xen)
{
	uint32_t domain = sim_domain_find(xen, 0);

	if (domain != DOMAIN_NONE)
		virq_raise_locked(xen, domain, 0, VIRQ_DOM_EXC);
}
