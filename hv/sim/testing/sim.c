/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The emulator within one process: see sim.h. The authority's code, called directly. */
#include "hv/sim/testing/sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/macro.h"
#include "hv/sim/testing/deterministic.h"
#include "hv/sim/hypervisor/domain.h"
#include "hv/sim/hypervisor/transaction.h"
#include "hv/sim/memory/page.h"
#include "hv/sim/memory/slot.h"

/*
 * A kick of slot 0 means that a dying domain may have lost its last mapping. The slot's eventfd is
 * not drained in this mode: its kick flag must never stay set.
 */
static void sim_kick(struct xen *xen, uint32_t slot, uint32_t generation)
{
	struct authority *a = xen->ops_arg;

	if (slot == 0) {
		atomic_store(&slot_at(xen, 0)->flags, 0);
		authority_domains_reap(a);
		atomic_fetch_add(&slot_at(xen, 0)->kick, 4U);
	} else {
		authority_kick(xen, slot, generation);
	}
}

static const struct xen_ops sim_xen_ops = {
	.kick = sim_kick,
	.stuck = NULL,
};

static void sim_unref(struct sim *sim)
{
	if (atomic_fetch_sub(&sim->n_ref, 1) > 1)
		return;
	det_free(sim);
	authority_fini(&sim->authority);
	free(sim);
}

int sim_create(struct sim **ret_sim)
{
	_cleanup_free_ struct sim *sim = calloc(1, sizeof(*sim));
	int r;

	if (!sim)
		return -ENOMEM;
	r = authority_init(&sim->authority);
	if (r < 0)
		return r;
	sim->authority.xen.ops = &sim_xen_ops;
	sim->n_ref = 1;
	*ret_sim = steal_ptr(sim);
	return 0;
}

void sim_free(struct sim *sim)
{
	if (sim)
		sim_unref(sim);
}

/* ---- handles --------------------------------------------------------------------------- */

static int ts_store(struct sim_hv *h, enum sim_message_type type, struct hv_record *record)
{
	if (type == SIM_PUBLISH && xen_fault(&h->xen, SIM_FAULT_PUBLISH_ENOSPC))
		return -ENOSPC;
	return authority_store(h->xen.ops_arg, h->xen.slot, type, record);
}

/* Every eventfd is this process'. */
static void ts_introduce(struct sim_hv *h, uint32_t slot, uint32_t generation)
{
}

/* Once: its domain may die before it. The object stays until its owner closes or kills it. */
static void ts_detach(struct sim_hv *h)
{
	struct sim *sim = sim_of(&h->xen);

	LOCKED(&sim->authority);
	if (sim->handles[h->xen.slot] != h)
		return;
	sim->handles[h->xen.slot] = NULL;
	authority_detach(&sim->authority, h->xen.slot);
}

static void ts_release(struct sim_hv *h)
{
	sim_unref(sim_of(&h->xen));
}

static const struct toolstack_ops sim_toolstack_ops = {
	.store = ts_store,
	.introduce = ts_introduce,
	.detach = ts_detach,
	.release = ts_release,
};

int sim_hv_open(struct sim *sim, uint16_t domid, struct hv **ret_hv)
{
	_cleanup_free_ struct sim_hv *h = calloc(1, sizeof(*h));
	struct authority *a = &sim->authority;
	uint32_t index, slot;
	int r;

	if (!h)
		return -ENOMEM;
	LOCKED(a);
	index = sim_domain_find(&a->xen, domid);
	r = index == DOMAIN_NONE ? -EHOSTUNREACH : authority_attach(a, index, getpid(), &slot);
	if (r < 0)
		return r;
	xen_init(&h->xen, a->xen.seg, slot);
	h->xen.ops = &sim_xen_ops;
	h->xen.ops_arg = a;
	h->memfd = a->memfd;
	h->event_fd = a->event_fds[slot];
	h->toolstack = &sim_toolstack_ops;
	sim_hv_init(h);
	det_attach(sim, &h->xen);
	if (sim->det)
		det_wrap_handle(h);
	sim->handles[slot] = h;
	atomic_fetch_add(&sim->n_ref, 1);
	*ret_hv = &steal_ptr(h)->hv;
	return 0;
}

/* As closing, but that deterministic mode hears nothing: a kernel does the same in either case. */
void sim_hv_kill(struct sim *sim, struct hv *hv)
{
	sim_hv_ops.close(hv);
}

/* ---- domains --------------------------------------------------------------------------- */

int sim_domain_create(struct sim *sim, const struct sim_domain_config *config, uint16_t *ret_domid)
{
	struct domain_config c = {
		.name = config->name,
		.uuid = config->uuid,
		.domid = config->domid,
		.flags = (uint8_t)((config->no_argo ? 0U : SIM_DOMAIN_ARGO) |
				   (config->no_guest_kernel ? 0U : SIM_DOMAIN_GUEST_KERNEL) |
				   (config->fifo ? SIM_DOMAIN_FIFO : 0U) |
				   (config->grant_v1 || !config->no_guest_kernel
						   ? 0U
						   : SIM_DOMAIN_GRANT_V2)),
		.limits = {.n_vcpus = config->n_vcpus, .max_port = config->max_port},
	};
	uint8_t uuid[HV_UUID_LEN];
	uint32_t index;
	int r;

	if (sim->det) {
		sim_random(sim, uuid, sizeof(uuid));
		if (!c.uuid)
			c.uuid = uuid;
		sim->det->no_faults++;
	}
	r = authority_domain_create(&sim->authority, &c, &index);
	if (sim->det)
		sim->det->no_faults--;
	if (r == 0)
		*ret_domid = domain_at(&sim->authority.xen, index)->domid;
	return r;
}

/* ESRCH, or the index of a domain that is not dying. */
static int domain_live(struct sim *sim, uint16_t domid, uint32_t *ret_index)
{
	uint32_t index = sim_domain_find(sim_xen(sim), domid);

	if (index == DOMAIN_NONE || domain_at(sim_xen(sim), index)->state == SIM_DOMAIN_DYING)
		return -ESRCH;
	*ret_index = index;
	return 0;
}

int sim_domain_destroy(struct sim *sim, uint16_t domid)
{
	uint32_t index;
	int r;

	if (domid == 0)
		return -EPERM;
	LOCKED(&sim->authority);
	r = domain_live(sim, domid, &index);
	if (r < 0)
		return r;
	authority_domain_kill(&sim->authority, index);
	for (uint32_t i = 1; i < SIM_MAX_SLOTS; i++)
		if (sim->handles[i] && slot_domain(&sim->authority.xen, i) == index)
			ts_detach(sim->handles[i]);
	if (sim->det) {
		det_trace(sim, "main", "domain %u is destroyed", domid);
		det_tasks_of_domain_end(sim, domid);
	}
	return 0;
}

int sim_domain_pause(struct sim *sim, uint16_t domid, bool paused)
{
	uint32_t index;
	int r = domain_live(sim, domid, &index);

	if (r == 0)
		authority_domain_set_paused(&sim->authority, index, paused);
	return r;
}

int sim_domain_tag(struct sim *sim, uint16_t domid, const char *tags, bool by_guest)
{
	char text[HV_TAGS_MAX] = "";
	uint32_t index;
	int r = domain_live(sim, domid, &index);

	if (r < 0)
		return r;
	if (strlen(tags) >= sizeof(text))
		return -EINVAL;
	strcpy(text, tags);
	return authority_domain_tag(&sim->authority, index, text, by_guest);
}

static int set_state(struct sim *sim, uint16_t domid, uint8_t state, uint8_t reason)
{
	uint32_t index;
	int r = domain_live(sim, domid, &index);

	if (r == 0)
		authority_domain_set_state(&sim->authority, index, state, reason);
	return r;
}

int sim_domain_shutdown(struct sim *sim, uint16_t domid, uint8_t reason)
{
	return set_state(sim, domid, SIM_DOMAIN_SHUTDOWN, reason);
}

int sim_domain_resume(struct sim *sim, uint16_t domid)
{
	return set_state(sim, domid, SIM_DOMAIN_RUNNING, 0);
}

uint16_t sim_domain_by_name(struct sim *sim, const char *name)
{
	uint32_t index = authority_domain_find(&sim->authority, name);

	return index == DOMAIN_NONE ? UINT16_MAX : domain_at(&sim->authority.xen, index)->domid;
}

/* ---- the rest -------------------------------------------------------------------------- */

void sim_clock_virtual(struct sim *sim, uint64_t now_ns)
{
	atomic_store(&sim->authority.xen.seg->now_ns, now_ns);
	atomic_store(&sim->authority.xen.seg->virtual_clock, 1);
}

void sim_clock_advance(struct sim *sim, uint64_t ns)
{
	atomic_fetch_add(&sim->authority.xen.seg->now_ns, ns);
	timers_expire(&sim->authority.xen);
}

struct xen *sim_hv_xen(struct hv *hv)
{
	return &container_of(hv, struct sim_hv, hv)->xen;
}

struct xen *sim_xen(struct sim *sim)
{
	return &sim->authority.xen;
}

int sim_check(struct sim *sim, FILE *out)
{
	return segment_check(&sim->authority.xen, out);
}

int sim_pages_alloc(struct xen *xen, uint16_t domid, uint32_t n, uint64_t *ret_gfn)
{
	uint32_t index, first;
	int r;

	txn_begin(xen);
	index = sim_domain_find(xen, domid);
	r = index == DOMAIN_NONE ? -ESRCH
				 : pages_alloc_locked(xen, index, SIM_PAGE_RAM, 0, n, &first);
	if (txn_end(xen, r) < 0)
		return r;
	pages_zero(xen, first, n);
	*ret_gfn = first;
	return 0;
}

void *sim_page(struct xen *xen, uint64_t gfn)
{
	uint64_t table = gfn - SIM_TABLE_FRAME, status = gfn - SIM_STATUS_FRAME;

	if (status < SIM_MAX_DOMAINS)
		return xen->seg->domains[status].grant_status;
	if (gfn > 0 && gfn < SIM_POOL_PAGES)
		return page_address(xen, (uint32_t)gfn);
	if (gfn < SIM_TABLE_FRAME || table >= SIM_MAX_DOMAINS * SIM_TABLE_FRAMES)
		return NULL;
	return &xen->seg->domains[table / SIM_TABLE_FRAMES]
			.grants[table % SIM_TABLE_FRAMES * SIM_GREFS_FRAME];
}
