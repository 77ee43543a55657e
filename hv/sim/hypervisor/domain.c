/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Domains come and go (xen/common/domain.c: domain_create, domain_kill, complete_domain_destroy).
 * Death is silent for the peers: their ports turn unbound, their rings for the dead one vanish.
 */
#include "hv/sim/hypervisor/domain.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <xen/sched.h>

#include "hv/sim/hypervisor/argo.h"
#include "hv/sim/hypervisor/evtchn.h"
#include "hv/sim/hypervisor/fifo.h"
#include "hv/sim/hypervisor/grant.h"
#include "hv/sim/hypervisor/kernel.h"
#include "hv/sim/hypervisor/transaction.h"
#include "hv/sim/hypervisor/virq.h"
#include "hv/sim/memory/page.h"

/* The index is free, hence nobody looks at it: no journal is needed before the state is set. */
static int domain_init(
	struct xen *xen, uint32_t index, uint8_t flags, const struct domain_limits *limits)
{
	struct sim_domain *d = domain_at(xen, index);
	uint32_t next_aport = d->next_aport; /* goes on: see aport_free in guest/ring.c */

	memset(d, 0, sizeof(*d));
	d->next_aport = next_aport;
	d->grant_version = 1;
	/* grant_table_init: one frame. The emulated guest kernel has all that there can be. */
	d->n_grant_frames = flags & SIM_DOMAIN_GUEST_KERNEL ? SIM_TABLE_FRAMES : 1;
	d->flags = flags;
	d->n_vcpus = limits->n_vcpus ? limits->n_vcpus : 1;
	d->max_port = limits->max_port ? limits->max_port : SIM_PORT_LIMIT;
	/* evtchn_init: port 0 is reserved, and its bucket is there. */
	d->n_valid_ports = SIM_PORT_BUCKET;
	d->n_ports = 1;
	d->next_port = 1;
	d->ports[0].state = SIM_PORT_RESERVED;
	return flags & SIM_DOMAIN_GUEST_KERNEL ? kernel_start_locked(xen, index) : 0;
}

static uint32_t index_free(const struct sim_segment *seg)
{
	uint32_t index = 0;

	while (index < SIM_MAX_DOMAINS && seg->domains[index].state != SIM_DOMAIN_FREE)
		index++;
	return index;
}

/*
 * Adds the domain's lock to those that are taken with the lock for all, before anybody can find the
 * domain. Only the authority, one thread of it at a time, creates domains.
 */
static void lock_add(struct xen *xen)
{
	struct sim_segment *seg = xen->seg;
	uint32_t index;

	txn_begin(xen);
	index = index_free(seg);
	if (index < SIM_MAX_DOMAINS && index >= atomic_load(&seg->n_domains))
		atomic_store(&seg->n_domains, index + 1);
	txn_abort(xen);
}

int domain_create(struct xen *xen, uint16_t domid, const char *name,
	const uint8_t uuid[HV_UUID_LEN], uint8_t flags, const struct domain_limits *limits,
	uint32_t *ret_index)
{
	struct sim_segment *seg = xen->seg;
	struct sim_domain *d;
	uint32_t index;
	int r;

	lock_add(xen);
	txn_begin(xen);
	index = index_free(seg);
	r = index == SIM_MAX_DOMAINS ? -ENOSPC : seg->domain_index[domid] ? -EADDRINUSE : 0;
	if (r == 0)
		r = domain_init(xen, index, flags, limits);
	if (r < 0) {
		txn_abort(xen);
		return r;
	}
	d = domain_at(xen, index);
	d->domid = domid;
	memcpy(d->uuid, uuid, HV_UUID_LEN);
	(void)snprintf(d->name, sizeof(d->name), "%s", name);
	txn_set(xen, &d->generation, seg->next_generation);
	txn_set(xen, &seg->next_generation, seg->next_generation + 1);
	txn_set(xen, &d->state, SIM_DOMAIN_RUNNING);
	txn_set(xen, &seg->domain_index[domid], index + 1);
	txn_commit(xen);
	*ret_index = index;
	return 0;
}

/* argo_destroy: ends the domain's rings, the rings whose partner it was, and its waiting. */
static void argo_destroy(struct xen *xen, uint32_t index)
{
	struct sim_domain *dead = domain_at(xen, index);

	for (uint32_t i = 0; i < SIM_MAX_RINGS; i++) {
		txn_begin(xen);
		if (dead->rings[i].used)
			argo_remove_locked(xen, index, i);
		txn_set(xen, &dead->n_argo, 0);
		txn_commit(xen);
	}
	for (uint32_t other = 0; other < SIM_MAX_DOMAINS; other++) {
		struct sim_domain *d = domain_at(xen, other);

		if (d->state == SIM_DOMAIN_FREE || other == index)
			continue;
		txn_begin(xen);
		for (uint32_t i = 0; i < SIM_MAX_RINGS; i++) {
			if (!d->rings[i].used)
				continue;
			/* wildcard_rings_pending_remove: in no other ring it can wait */
			argo_waiter_cancel_locked(xen, &d->rings[i], dead->domid);
			if (d->rings[i].partner != dead->domid)
				continue;
			argo_remove_locked(xen, other, i);
			txn_set(xen, &d->n_argo, d->n_argo - 1);
		}
		txn_commit(xen);
	}
}

/* evtchn_destroy; then Domain-0 hears of the death. */
static void ports_destroy(struct xen *xen, uint32_t index)
{
	struct sim_domain *d = domain_at(xen, index);

	for (uint32_t port = 1; port < d->n_valid_ports; port++) {
		if (port_entry(xen, d, port)->state == SIM_PORT_FREE)
			continue;
		txn_begin(xen);
		evtchn_destroy_locked(xen, index, port);
		txn_commit(xen);
	}
	txn_begin(xen);
	fifo_destroy_locked(xen, index);
	virq_dom_exc_locked(xen);
	txn_commit(xen);
}

void domain_kill(struct xen *xen, uint32_t index)
{
	struct sim_domain *d = domain_at(xen, index);

	txn_begin(xen);
	txn_set(xen, &d->state, SIM_DOMAIN_DYING);
	txn_set(xen, &d->flags, d->flags & ~SIM_DOMAIN_ARGO);
	txn_commit(xen);
	argo_destroy(xen, index);
	ports_destroy(xen, index);
}

static void pages_reap(struct xen *xen, uint32_t index)
{
	uint32_t first = 0;
	uint64_t last = 0;

	for (uint32_t page = 1; page <= SIM_POOL_PAGES; page++) {
		uint64_t info = page < SIM_POOL_PAGES ? xen->seg->pages[page] : 0;

		if (first && info != last) {
			txn_begin(xen);
			pages_free_locked(xen, first, page - first);
			txn_commit(xen);
			first = 0;
		}
		if (!first && info && SIM_PAGE_DOMAIN(info) == index) {
			first = page;
			last = info;
		}
	}
}

/* gnttab_release_mappings: those that a dying domain has made by hypercalls. */
static void mappings_release(struct xen *xen, uint32_t domain)
{
	for (uint32_t handle = 0; handle < SIM_MAX_TRACKS; handle++) {
		if (xen->seg->tracks[handle].mapper != domain + 1)
			continue;
		txn_begin(xen);
		(void)grant_unmap_locked(xen, domain, handle);
		txn_commit(xen);
	}
}

bool domain_reap(struct xen *xen, uint32_t index)
{
	struct sim_domain *d = domain_at(xen, index);

	if (d->state != SIM_DOMAIN_DYING)
		return false;
	mappings_release(xen, index);
	/* Looks again: a domain whose last mapping was its own may have gone with it. */
	if (d->state != SIM_DOMAIN_DYING || d->n_pinned)
		return false;
	pages_reap(xen, index);
	txn_begin(xen);
	txn_set(xen, &xen->seg->domain_index[d->domid], 0);
	txn_set(xen, &d->state, SIM_DOMAIN_FREE);
	virq_dom_exc_locked(xen);
	txn_commit(xen);
	return true;
}

void domain_set_state(struct xen *xen, uint32_t index, uint8_t state, uint8_t reason)
{
	txn_begin(xen);
	txn_set(xen, &domain_at(xen, index)->state, state);
	txn_set(xen, &domain_at(xen, index)->shutdown_reason, reason);
	if (state == SIM_DOMAIN_SHUTDOWN)
		virq_dom_exc_locked(xen);
	txn_commit(xen);
}

/* Whether a process holds a port. The guest kernel gives up its own ports by itself. */
static bool ports_held(struct xen *xen, uint32_t index)
{
	struct sim_domain *d = domain_at(xen, index);

	for (uint32_t port = 1; port < d->n_valid_ports; port++) {
		const struct sim_port *p = port_entry(xen, d, port);
		uint16_t owner = p->owner;

		if (p->state != SIM_PORT_FREE && owner != SIM_PORT_KERNEL_OWNER &&
			owner != SIM_PORT_NO_OWNER)
			return true;
	}
	return false;
}

int domain_restore(struct xen *xen, uint32_t index, uint16_t domid)
{
	struct sim_domain *d = domain_at(xen, index);

	if (ports_held(xen, index))
		return -EBUSY;
	argo_destroy(xen, index);
	txn_begin(xen);
	txn_set(xen, &xen->seg->domain_index[d->domid], 0);
	txn_set(xen, &xen->seg->domain_index[domid], index + 1);
	txn_set(xen, &d->domid, domid);
	txn_set(xen, &d->state, SIM_DOMAIN_RUNNING);
	txn_set(xen, &d->shutdown_reason, 0);
	txn_commit(xen);
	return 0;
}

void domain_set_paused(struct xen *xen, uint32_t index, bool paused)
{
	txn_begin(xen);
	txn_set(xen, &domain_at(xen, index)->paused, paused);
	txn_commit(xen);
}

static enum hv_domain_state hv_state(const struct sim_domain *d)
{
	if (d->state == SIM_DOMAIN_DYING)
		return HV_DOMAIN_DYING;
	if (d->state != SIM_DOMAIN_SHUTDOWN)
		return HV_DOMAIN_RUNNING;
	return d->shutdown_reason == SHUTDOWN_suspend ? HV_DOMAIN_SUSPENDED : HV_DOMAIN_CRASHED;
}

void domain_describe(struct xen *xen, uint32_t index, struct hv_domain *ret_domain)
{
	const struct sim_domain *d = domain_at(xen, index);

	*ret_domain = (struct hv_domain){
		.domid = d->domid,
		.state = hv_state(d),
		.paused = d->paused && hv_state(d) == HV_DOMAIN_RUNNING,
		.generation = d->generation,
	};
	memcpy(ret_domain->uuid, d->uuid, sizeof(d->uuid));
	memcpy(ret_domain->name, d->name, sizeof(d->name));
	ret_domain->name[sizeof(ret_domain->name) - 1] = 0;
}

uint32_t domain_list(struct xen *xen, struct hv_domain *ret_domains, size_t n)
{
	uint32_t count = 0;

	txn_begin(xen);
	for (uint32_t i = 0; i < SIM_MAX_DOMAINS; i++) {
		if (domain_at(xen, i)->state == SIM_DOMAIN_FREE)
			continue;
		if (count < n)
			domain_describe(xen, i, &ret_domains[count]);
		count++;
	}
	txn_abort(xen);
	return count;
}
