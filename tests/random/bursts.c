/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Limits that are met only if somebody means to: ports, rings, waiters, pins, grant handles,
 * memory. Each of these is a run of ordinary steps that ends where it began.
 */
#include "tests/random/random.h"

#include <errno.h>

#define N_FULL 20U /* how often each call meets what is full */

static void burst_ports(struct run *run)
{
	uint32_t self = run->live[1 + pick(run, run->n_live - 1)];
	struct m_domain *d = &run->m->domains[self];
	uint16_t remote = some_domid(run);

	for (uint32_t i = 0; i <= d->max_port; i++)
		do_alloc_unbound(run, self, DOMID_SELF, remote);
	for (uint32_t i = 0; i < N_FULL; i++) {
		uint32_t virq = pick(run, MODEL_VIRQS);

		while (d->virq_port[0][virq])
			virq = (virq + 1) % MODEL_VIRQS;
		do_alloc_unbound(run, self, DOMID_SELF, remote);
		do_bind_interdomain(run, self, remote, pick(run, 64)); /* ENOSPC comes first */
		do_bind_virq(run, self, virq, 0);
		do_bind_ipi(run, self, 0);
		if (sim_pirq_assign(run->xen, d->domid, N_FULL) == 0)
			d->pirqs[N_FULL].assigned = true;
		do_bind_pirq(run, self, N_FULL, 0);
		do_status(run, self, DOMID_SELF, pick(run, MODEL_PORTS));
	}
	for (uint32_t port = 1; port < d->n_valid; port++)
		if (d->ports[port].state == EVTCHNSTAT_unbound && chance(run, 980))
			do_close(run, self, port);
}

/* The event array up to its end; the last pages are one, and are no port's. */
static void burst_array(struct run *run)
{
	uint32_t self = some_fifo(run, true), next;
	struct m_domain *d = &run->m->domains[self];

	if (self == MODEL_NONE || d->n_fifo_pages < MODEL_FIFO_PAGES)
		return;
	while (d->n_arrays < MODEL_ARRAY_PAGES) {
		next = MODEL_VCPUS + d->n_arrays;
		next = next < MODEL_FIFO_PAGES ? next : MODEL_FIFO_PAGES - 1;
		guest_page_zero(run, d->fifo_pages[next]);
		do_expand_array(run, self, d->fifo_pages[next]);
	}
	for (uint32_t i = 0; i < 4 * N_FULL; i++)
		do_expand_array(run, self, d->fifo_pages[i % MODEL_FIFO_PAGES]);
}

static void burst_rings(struct run *run)
{
	uint32_t self = some_argo(run, true), aport = 5000;
	struct m_domain *d = &run->m->domains[self];
	uint16_t partner = run->m->domains[some_argo(run, true)].domid;
	xen_argo_gfn_t gfn = d->pages[0];

	for (uint32_t i = 0; i < MODEL_RINGS; i++)
		do_register(run, self, aport + i, partner, 4032, &gfn, 1, 0);
	for (uint32_t i = 0; i < N_FULL; i++)
		do_register(run, self, aport + pick(run, 200), partner, 4032, &gfn, 1, 0);
	for (uint32_t i = MODEL_RINGS; i-- > 0;)
		do_unregister(run, self, aport + (i * 37) % MODEL_RINGS, partner);
	for (uint32_t i = 0; i < MODEL_RINGS; i++) /* rings that others leaked stay */
		if (d->rings[i].used && d->rings[i].aport >= aport)
			do_unregister(run, self, d->rings[i].aport, d->rings[i].partner);
}

/* A wildcard ring that everybody wants room in. */
static void burst_waiters(struct run *run)
{
	uint32_t self = some_argo(run, true), aport = 6000 + pick(run, 8);
	struct m_domain *d = &run->m->domains[self];
	xen_argo_gfn_t gfn = d->pages[pick(run, d->n_pages)];
	uint32_t from = pick(run, 64);

	guest_word(run, (uint32_t)gfn, 0, 0);
	guest_word(run, (uint32_t)gfn, 4, 0);
	do_register(run, self, aport, XEN_ARGO_DOMID_ANY, 512, &gfn, 1, 0);
	do_send(run, some_argo(run, true), d->domid, aport, 400);
	for (uint32_t i = 0; i < 2 * run->n_live; i++)
		if (chance(run, 650))
			do_send(run, run->live[(from + i) % run->n_live], d->domid, aport,
				100 + pick(run, 300));
		else
			do_notify_one(run, run->live[(from + i) % run->n_live], d->domid, aport,
				100 + pick(run, 300));
	if (chance(run, 500)) /* a place that is given up by death */
		domain_end(run, run->live[1 + pick(run, run->n_live - 1)]);
	if (d->life != M_ALIVE)
		return;
	for (uint32_t i = 0; i < 8; i++)
		do_send(run, some_live(run), d->domid, aport, 100 + pick(run, 300));
	guest_word(run, (uint32_t)gfn, 0, pick(run, 2) ? 416 : 256);
	do_notify_one(run, self, d->domid, aport, 10);
	do_unregister(run, self, aport, XEN_ARGO_DOMID_ANY);
}

static void burst_pins(struct run *run)
{
	uint32_t granter = some_live(run), self = some_live(run), ref = 40, n = 0;
	struct m_domain *d = &run->m->domains[granter];
	uint32_t flags = GNTMAP_host_map | (chance(run, 500) ? GNTMAP_readonly : 0U);

	guest_grants(run, granter, ref,
		grant_entry(GTF_permit_access, run->m->domains[self].domid, d->pages[0]));
	while (n++ < MODEL_PINS + N_FULL)
		do_map(run, self, d->domid, ref, flags);
	do_map(run, self, d->domid, ref, flags ^ GNTMAP_readonly);
	for (uint32_t i = 0; i < 4; i++)
		do_copy_from(run, self, d->domid, ref);
	for (uint32_t handle = 0; handle < MODEL_HANDLES; handle++)
		if (run->m->handles[handle].mapper == self &&
			run->m->handles[handle].granter == granter &&
			run->m->handles[handle].ref == ref)
			do_unmap(run, self, handle);
}

/* The mapper's death gives them back. */
static void burst_handles(struct run *run)
{
	uint32_t granter = 0, self = run->live[1 + pick(run, run->n_live - 1)];
	struct m_domain *d = &run->m->domains[granter];

	for (uint32_t i = 0; run->m->n_handles < MODEL_HANDLES; i++) {
		uint32_t ref = 64 + i / MODEL_PINS;

		if (i % MODEL_PINS == 0)
			guest_grants(run, granter, ref,
				grant_entry(GTF_permit_access, run->m->domains[self].domid,
					d->pages[0]));
		do_map(run, self, d->domid, ref, GNTMAP_host_map);
	}
	for (uint32_t i = 0; i < 300; i++)
		do_map(run, some_live(run), some_domid(run), 8 + pick(run, 24),
			GNTMAP_host_map | GNTMAP_readonly);
	domain_end(run, self);
}

/* A domain with so many ports that there is a page to be had for the next one; MODEL_NONE. */
static uint32_t ports_make(struct run *run)
{
	uint32_t index, tries = 0;

	while (!domain_make(run, true, MODEL_PAGES, MODEL_PORTS - 1, &index))
		if (tries++ == 8)
			return MODEL_NONE;
	do_init_control(run, index, 0, run->m->domains[index].fifo_pages[0], 0);
	for (uint32_t i = 1; i < MODEL_2L_PORTS; i++)
		do_alloc_unbound(run, index, DOMID_SELF, 0);
	return index;
}

/* Somebody has all the memory: a ring of frames that are not contiguous needs some. */
static void burst_memory(struct run *run)
{
	uint32_t hog, self = some_argo(run, true);
	struct m_domain *d = &run->m->domains[self];
	uint16_t partner = run->m->domains[some_argo(run, true)].domid;
	xen_argo_gfn_t gfns[2] = {d->pages[0], d->pages[0]};
	uint64_t gfn;

	uint32_t many = ports_make(run);

	if (!domain_make(run, true, 0, 0, &hog))
		return;
	for (uint32_t n = MODEL_GFNS / 2; n > 0; n /= 2)
		while (sim_pages_alloc(run->xen, run->m->domains[hog].domid, n, &gfn) == 0)
			;
	run->m->no_memory = true;
	for (uint32_t i = 0; i < 300; i++)
		do_register(run, self, 7000 + pick(run, 8), partner, 8128, gfns, 2, 0);
	for (uint32_t i = 0; i < 300 && many != MODEL_NONE; i++)
		do_alloc_unbound(run, many, DOMID_SELF, partner);
	run->m->no_memory = false;
	domain_end(run, hog);
	if (many != MODEL_NONE)
		domain_end(run, many);
}

void burst(struct run *run)
{
	uint32_t what = pick(run, 10000);

	if (what < 800)
		burst_ports(run);
	else if (what < 1000)
		burst_array(run);
	else if (what < 2500)
		burst_rings(run);
	else if (what < 8500)
		burst_waiters(run);
	else if (what < 9690)
		burst_pins(run);
	else if (what < 9790)
		burst_handles(run);
	else
		burst_memory(run);
}
