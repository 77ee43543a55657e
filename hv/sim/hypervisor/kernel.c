/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See kernel.h. */
#include "hv/sim/hypervisor/kernel.h"

#include "hv/sim/hypervisor/argo.h"
#include "hv/sim/hypervisor/evtchn.h"
#include "hv/sim/hypervisor/fifo.h"
#include "hv/sim/memory/journal.h"
#include "hv/sim/memory/page.h"

/* A zeroed page of the domain's own: no port is masked. Nobody sees it before the commit. */
static int kernel_page(struct xen *xen, uint32_t domain, uint32_t *ret_page)
{
	int r = pages_alloc_locked(xen, domain, SIM_PAGE_RAM, 0, 1, ret_page);

	if (r == 0)
		pages_zero(xen, *ret_page, 1);
	return r;
}

int kernel_array_expand_locked(struct xen *xen, uint32_t domain, uint32_t port)
{
	struct sim_domain *d = domain_at(xen, domain);
	uint32_t page;
	int r = 0;

	while (r == 0 && d->fifo && port >= d->n_words) {
		r = kernel_page(xen, domain, &page);
		if (r == 0)
			r = fifo_expand_array_locked(xen, domain, page);
	}
	return r;
}

static int fifo_init_locked(struct xen *xen, uint32_t domain)
{
	struct sim_domain *d = domain_at(xen, domain);
	uint32_t page;
	int r = 0;

	for (uint32_t vcpu = 0; vcpu < d->n_vcpus && r == 0; vcpu++) {
		evtchn_init_control_t init = {.vcpu = vcpu};

		r = kernel_page(xen, domain, &page);
		init.control_gfn = page;
		if (r == 0)
			r = fifo_init_control_locked(xen, domain, &init);
	}
	return r < 0 ? r : kernel_array_expand_locked(xen, domain, 0);
}

static int virq_argo_bind_locked(struct xen *xen, uint32_t domain)
{
	struct sim_domain *d = domain_at(xen, domain);
	uint32_t port;
	int r;

	if (!domain_has_argo(d))
		return 0;
	r = evtchn_bind_virq_locked(xen, domain, VIRQ_ARGO, 0, &port);
	if (r == 0)
		txn_set(xen, &port_entry(xen, d, port)->owner, SIM_PORT_KERNEL_OWNER);
	return r;
}

int kernel_start_locked(struct xen *xen, uint32_t domain)
{
	int r = 0;

	if (domain_at(xen, domain)->flags & SIM_DOMAIN_FIFO)
		r = fifo_init_locked(xen, domain);
	return r < 0 ? r : virq_argo_bind_locked(xen, domain);
}

/*
 * evtchn_fifo_resume in drivers/xen/events/events_fifo.c. The pages were accepted before, and ports
 * are free: nothing can fail. Zeroing the pages before the commit harms nobody, for no port is
 * left.
 */
void kernel_restart_locked(struct xen *xen, uint32_t domain)
{
	uint32_t pages[SIM_MAX_PORTS / SIM_WORDS_PAGE], n = 0;
	evtchn_init_control_t init[SIM_MAX_VCPUS] = {0};
	struct sim_domain *d = domain_at(xen, domain);

	if (d->fifo && (d->flags & SIM_DOMAIN_FIFO)) {
		for (uint32_t vcpu = 0; vcpu < d->n_vcpus; vcpu++) {
			init[vcpu].vcpu = vcpu;
			init[vcpu].control_gfn = d->vcpus[vcpu].control_page;
			pages_zero(xen, d->vcpus[vcpu].control_page, 1);
		}
		for (; n < d->n_words / SIM_WORDS_PAGE; n++) {
			pages[n] = d->array_page[n];
			pages_zero(xen, pages[n], 1);
		}
		fifo_destroy_locked(xen, domain);
		for (uint32_t vcpu = 0; vcpu < d->n_vcpus; vcpu++)
			(void)fifo_init_control_locked(xen, domain, &init[vcpu]);
		for (uint32_t i = 0; i < n; i++)
			(void)fifo_expand_array_locked(xen, domain, pages[i]);
	}
	(void)virq_argo_bind_locked(xen, domain);
}
