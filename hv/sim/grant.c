/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Grant tables, version 1 entries: xen/common/grant_table.c. A mapping here is a pin and a handle;
 * who has the pages in its address space is the guest kernel's business.
 */
#include "hv/sim/sim.h"

#include <errno.h>

#include "hv/sim/guest.h"
#include "hv/sim/journal.h"

/* struct grant_entry_v1, as the one word that the table holds. */
#define ENTRY_FLAGS(e) ((uint16_t)(e))
#define ENTRY_DOMID(e) ((uint16_t)((e) >> 16))
#define ENTRY_FRAME(e) ((uint32_t)((e) >> 32))

#define PINS_MAX 128U /* of one kind: GNTPIN_incr2oflow_mask, with counters of 8 bits */

static_assert(SIM_POOL_PAGES <= 1U << 16, "sim_active_grant.frame");

static void entry_set(struct xen *xen, uint64_t *entry, uint64_t value)
{
	if (*entry != value)
		txn_set(xen, entry, value);
}

/*
 * _set_status_v1 and get_paged_frame, for an entry that is not pinned for such a use yet. The
 * entry is the granter's to write at any time: what counts while it is pinned is what was seen
 * when it was.
 */
static int entry_pin(
	struct xen *xen, uint32_t granter, uint32_t ref, uint16_t mapper, bool writable)
{
	uint64_t in_use = GTF_reading | (writable ? GTF_writing : 0U);
	struct sim_domain *rd = domain_at(xen, granter);
	uint64_t entry = rd->grants[ref];
	struct sim_active_grant *active = &rd->active[ref];
	bool pinned = active->n_readers || active->n_writers;

	if (!pinned &&
		((ENTRY_FLAGS(entry) & (GTF_type_mask | GTF_sub_page)) != GTF_permit_access ||
			ENTRY_DOMID(entry) != mapper))
		return GNTST_general_error;
	if (writable && (ENTRY_FLAGS(entry) & GTF_readonly))
		return GNTST_general_error;
	if (!pinned && (rd->state == SIM_DOMAIN_DYING ||
			       !page_is_owned(xen, ENTRY_FRAME(entry), granter))) {
		entry_set(xen, &rd->grants[ref], entry & ~in_use); /* reduce_status_for_pin */
		return GNTST_bad_page;
	}
	entry_set(xen, &rd->grants[ref], entry | in_use);
	if (!pinned) {
		txn_set(xen, &active->domid, mapper);
		txn_set(xen, &active->frame, (uint16_t)ENTRY_FRAME(entry));
	}
	return GNTST_okay;
}

/* Where it fails, all that it may have changed is the entry, as in Xen. */
int grant_map_locked(struct xen *xen, uint32_t domain, uint16_t granter, uint32_t ref,
	uint32_t flags, uint32_t *ret_handle, uint32_t *ret_page)
{
	uint16_t self = domain_at(xen, domain)->domid;
	bool writable = !(flags & GNTMAP_readonly);
	struct sim_active_grant *active;
	struct sim_track *track;
	uint32_t target, index;
	struct sim_domain *rd;
	int r;

	if (!(flags & (GNTMAP_device_map | GNTMAP_host_map)))
		return GNTST_bad_gntref;
	target = domain_find(xen, granter);
	if (target == DOMAIN_NONE)
		return GNTST_bad_domain;
	rd = domain_at(xen, target);
	if (!xen->seg->free_track)
		return GNTST_no_space;
	if (ref >= SIM_MAX_GREFS)
		return GNTST_bad_gntref;
	active = &rd->active[ref];
	if ((active->n_readers || active->n_writers) &&
		(active->domid != self ||
			(writable ? active->n_writers : active->n_readers) >= PINS_MAX))
		return GNTST_general_error;
	if (!(active->n_readers || active->n_writers) || (writable && !active->n_writers)) {
		r = entry_pin(xen, target, ref, self, writable);
		if (r != GNTST_okay)
			return r;
	}
	if (writable)
		txn_set(xen, &active->n_writers, active->n_writers + 1);
	else
		txn_set(xen, &active->n_readers, active->n_readers + 1);
	txn_set(xen, &rd->n_pinned, rd->n_pinned + 1);

	index = xen->seg->free_track - 1;
	track = &xen->seg->tracks[index];
	txn_set(xen, &xen->seg->free_track, track->next);
	txn_set(xen, &track->mapper, domain + 1);
	txn_set(xen, &track->granter, target);
	txn_set(xen, &track->ref, ref);
	txn_set(xen, &track->flags, flags);
	txn_set(xen, &track->next, 0);
	*ret_handle = index;
	*ret_page = active->frame;
	return GNTST_okay;
}

int grant_unmap_locked(struct xen *xen, uint32_t domain, uint32_t handle)
{
	struct sim_segment *seg = xen->seg;
	struct sim_active_grant *active;
	struct sim_track *track;
	struct sim_domain *rd;
	uint64_t unused = 0;
	uint32_t ref;

	if (handle >= SIM_MAX_TRACKS || seg->tracks[handle].mapper != domain + 1)
		return GNTST_bad_handle;
	track = &seg->tracks[handle];
	rd = domain_at(xen, track->granter);
	ref = track->ref;
	active = &rd->active[ref];
	if (track->flags & GNTMAP_readonly)
		txn_set(xen, &active->n_readers, active->n_readers - 1);
	else
		txn_set(xen, &active->n_writers, active->n_writers - 1);
	txn_set(xen, &rd->n_pinned, rd->n_pinned - 1);
	/* reduce_status_for_pin */
	if (!(track->flags & GNTMAP_readonly) && !active->n_writers)
		unused |= GTF_writing;
	if (!active->n_writers && !active->n_readers)
		unused |= GTF_reading;
	entry_set(xen, &rd->grants[ref], rd->grants[ref] & ~unused);
	if (!active->n_writers && !active->n_readers)
		guest_page_unpinned_locked(xen, active->frame);
	if (rd->state == SIM_DOMAIN_DYING && rd->n_pinned == 0)
		txn_redo(xen, SIM_REDO_ZOMBIE, track->granter, 0, 0);
	txn_set(xen, &track->mapper, 0);
	txn_set(xen, &track->next, seg->free_track);
	txn_set(xen, &seg->free_track, handle + 1);
	return GNTST_okay;
}

void grant_mappings_release(struct xen *xen, uint32_t domain)
{
	for (uint32_t handle = 0; handle < SIM_MAX_TRACKS; handle++) {
		if (xen->seg->tracks[handle].mapper != domain + 1)
			continue;
		txn_begin(xen);
		(void)grant_unmap_locked(xen, domain, handle);
		txn_commit(xen);
	}
}

static int op_map(struct xen *xen, uint16_t domid, gnttab_map_grant_ref_t *op)
{
	uint32_t domain, handle = 0, page = 0;

	txn_begin(xen);
	domain = domain_find(xen, domid);
	op->status = (int16_t)(domain == DOMAIN_NONE ? GNTST_bad_domain
						     : grant_map_locked(xen, domain, op->dom,
							       op->ref, op->flags, &handle, &page));
	txn_commit(xen);
	if (op->status != GNTST_okay)
		return 0;
	op->handle = handle;
	op->dev_bus_addr = (uint64_t)page * HV_PAGE_SIZE;
	return 0;
}

static int op_unmap(struct xen *xen, uint16_t domid, gnttab_unmap_grant_ref_t *op)
{
	uint32_t domain;

	txn_begin(xen);
	domain = domain_find(xen, domid);
	op->status = (int16_t)(domain == DOMAIN_NONE ? GNTST_bad_domain
						     : grant_unmap_locked(xen, domain, op->handle));
	txn_commit(xen);
	return 0;
}

static int op_query_size(struct xen *xen, uint16_t domid, gnttab_query_size_t *op)
{
	uint16_t target = op->dom == DOMID_SELF ? domid : op->dom;

	if (domain_find(xen, target) == DOMAIN_NONE)
		op->status = GNTST_bad_domain;
	else if (target != domid && domid != 0)
		op->status = GNTST_permission_denied;
	else
		op->status = GNTST_okay;
	if (op->status == GNTST_okay)
		op->nr_frames = op->max_nr_frames = SIM_MAX_GREFS * 8 / HV_PAGE_SIZE;
	return 0;
}

/* do_grant_table_op: each element has its own status; what fails as a whole is the copying. */
int grant_table_op(struct xen *xen, uint16_t domid, unsigned int cmd, void *uop, unsigned int count)
{
	union {
		gnttab_map_grant_ref_t map;
		gnttab_unmap_grant_ref_t unmap;
		gnttab_query_size_t query;
	} op;
	size_t size;

	if ((int)count < 0)
		return -EINVAL;
	if (cmd == GNTTABOP_map_grant_ref)
		size = sizeof(op.map);
	else if (cmd == GNTTABOP_unmap_grant_ref)
		size = sizeof(op.unmap);
	else if (cmd == GNTTABOP_query_size)
		size = sizeof(op.query);
	else
		return -ENOSYS;
	if (cmd == GNTTABOP_query_size && count != 1)
		return -EINVAL;
	for (unsigned int i = 0; i < count; i++) {
		void *p = (void *)((uintptr_t)uop + i * size);

		if (guest_read(xen, &op, p, size, false) < 0)
			return -EFAULT;
		if (cmd == GNTTABOP_map_grant_ref)
			(void)op_map(xen, domid, &op.map);
		else if (cmd == GNTTABOP_unmap_grant_ref)
			(void)op_unmap(xen, domid, &op.unmap);
		else
			(void)op_query_size(xen, domid, &op.query);
		if (guest_write(xen, p, &op, size) < 0)
			return -EFAULT;
	}
	return 0;
}
