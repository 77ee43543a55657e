/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Grant tables: xen/common/grant_table.c. A mapping here is a pin and a handle;
 * who has the pages in its address space is the guest kernel's business. The hypercall, and what
 * keeps no pin, is in grant-op.c.
 */
#include "hv/sim/hypervisor/grant-table.h"

#include "hv/sim/memory/journal.h"
#include "hv/sim/memory/page.h"

#define PINS_MAX 128U /* of one kind: GNTPIN_incr2oflow_mask, with counters of 8 bits */

static_assert(SIM_POOL_PAGES <= 1U << 16, "sim_active_grant.frame");

/* Parts of a mapping: each of them is a pin. */
#define PARTS (GNTMAP_host_map | GNTMAP_device_map)

/*
 * _set_status and get_paged_frame, for an entry that is not pinned for such a use yet. The
 * entry is the granter's to write at any time: what counts while it is pinned is what was seen
 * when it was.
 */
static int entry_pin(struct xen *xen, uint32_t granter, uint32_t ref, uint16_t self, bool writable)
{
	struct sim_domain *rd = domain_at(xen, granter);
	struct grant_entry entry = grant_entry_read(rd, ref);
	struct sim_active_grant *active = &rd->active[ref];
	bool pinned = active->n_readers || active->n_writers;

	if (!pinned && ((entry.flags & (GTF_type_mask | GTF_sub_page)) != GTF_permit_access ||
			       entry.domid != self))
		return GNTST_general_error;
	if (writable && (entry.flags & GTF_readonly))
		return GNTST_general_error;
	if (!pinned &&
		(rd->state == SIM_DOMAIN_DYING || !page_is_owned(xen, entry.frame, granter))) {
		grant_status_reduce_locked(xen, rd, ref, writable);
		return GNTST_bad_page;
	}
	grant_status_set_locked(xen, rd, ref, writable);
	if (!pinned) {
		txn_set(xen, &active->domid, self);
		txn_set(xen, &active->frame, (uint16_t)entry.frame);
	}
	return GNTST_okay;
}

bool grant_pins_overflow(const struct sim_active_grant *a, uint32_t flags)
{
	uint32_t n = flags & GNTMAP_readonly ? a->n_readers : a->n_writers;
	uint32_t n_device = flags & GNTMAP_readonly ? a->n_device_readers : a->n_device_writers;

	return ((flags & GNTMAP_device_map) && n_device >= PINS_MAX) ||
	       ((flags & GNTMAP_host_map) && n - n_device >= PINS_MAX);
}

/* The parts that flags name become pins, or (by: -1) are no more. */
static void pins_count(struct xen *xen, struct sim_domain *rd, uint32_t ref, uint32_t flags, int by)
{
	int n_device = flags & GNTMAP_device_map ? by : 0;
	int n = n_device + (flags & GNTMAP_host_map ? by : 0);
	struct sim_active_grant *active = &rd->active[ref];

	if (flags & GNTMAP_readonly) {
		txn_set(xen, &active->n_readers, active->n_readers + n);
		txn_set(xen, &active->n_device_readers, active->n_device_readers + n_device);
	} else {
		txn_set(xen, &active->n_writers, active->n_writers + n);
		txn_set(xen, &active->n_device_writers, active->n_device_writers + n_device);
	}
	txn_set(xen, &rd->n_pinned, rd->n_pinned + (uint32_t)n);
}

/* A mapping that fails may have changed the entry, and nothing else, as in Xen. */
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

	if (!(flags & PARTS))
		return GNTST_bad_gntref;
	target = sim_domain_find(xen, granter);
	if (target == DOMAIN_NONE)
		return GNTST_bad_domain;
	rd = domain_at(xen, target);
	if (!xen->seg->free_track)
		return GNTST_no_space;
	if (ref >= grant_n_entries(rd))
		return GNTST_bad_gntref;
	active = &rd->active[ref];
	if ((active->n_readers || active->n_writers) &&
		(active->domid != self || grant_pins_overflow(active, flags)))
		return GNTST_general_error;
	if (!(active->n_readers || active->n_writers) || (writable && !active->n_writers)) {
		r = entry_pin(xen, target, ref, self, writable);
		if (r != GNTST_okay)
			return r;
	}
	pins_count(xen, rd, ref, flags, 1);

	index = xen->seg->free_track - 1;
	track = &xen->seg->tracks[index];
	txn_set(xen, &xen->seg->free_track, track->next);
	txn_set(xen, &track->mapper, domain + 1);
	txn_set(xen, &track->granter, target);
	txn_set(xen, &track->ref, ref);
	txn_set(xen, &track->flags, flags);
	txn_set(xen, &track->host_addr, 0);
	txn_set(xen, &track->next, 0);
	*ret_handle = index;
	*ret_page = active->frame;
	return GNTST_okay;
}

struct sim_track *grant_track(struct xen *xen, uint32_t domain, uint32_t handle)
{
	if (handle >= SIM_MAX_TRACKS || xen->seg->tracks[handle].mapper != domain + 1)
		return NULL;
	return &xen->seg->tracks[handle];
}

void grant_status_set_locked(struct xen *xen, struct sim_domain *d, uint32_t ref, bool writable)
{
	grant_status_change_locked(
		xen, d, ref, (uint16_t)(GTF_reading | (writable ? GTF_writing : 0U)), 0);
}

void grant_status_reduce_locked(struct xen *xen, struct sim_domain *d, uint32_t ref, bool writable)
{
	const struct sim_active_grant *active = &d->active[ref];
	uint16_t unused = 0;

	if (writable && !active->n_writers)
		unused |= GTF_writing;
	if (!active->n_writers && !active->n_readers)
		unused |= GTF_reading;
	grant_status_change_locked(xen, d, ref, 0, unused);
}

void grant_page_free_locked(struct xen *xen, uint32_t page)
{
	uint64_t info = xen->seg->pages[page];

	txn_set(xen, &domain_at(xen, SIM_PAGE_DOMAIN(info))->grants[SIM_PAGE_TAG(info)], 0);
	pages_free_locked(xen, page, 1);
}

/* A page that gntalloc has withdrawn is freed with its last mapping. */
static void page_unpinned_locked(struct xen *xen, uint32_t page)
{
	uint64_t info = xen->seg->pages[page];

	if (SIM_PAGE_TYPE(info) == SIM_PAGE_SHARE && (SIM_PAGE_FLAGS(info) & SIM_PAGE_WITHDRAWN))
		grant_page_free_locked(xen, page);
}

void grant_unmap_parts_locked(struct xen *xen, uint32_t handle, uint32_t parts)
{
	struct sim_segment *seg = xen->seg;
	struct sim_track *track = &seg->tracks[handle];
	struct sim_domain *rd = domain_at(xen, track->granter);
	uint32_t readonly = track->flags & GNTMAP_readonly;
	struct sim_active_grant *active = &rd->active[track->ref];

	if (!parts)
		return;
	pins_count(xen, rd, track->ref, parts | readonly, -1);
	grant_status_reduce_locked(xen, rd, track->ref, !readonly);
	if (!active->n_writers && !active->n_readers)
		page_unpinned_locked(xen, active->frame);
	if (rd->state == SIM_DOMAIN_DYING && rd->n_pinned == 0)
		txn_redo(xen, SIM_REDO_AUTHORITY, track->granter, SIM_SLOT_DOMAINS, 0);
	txn_set(xen, &track->flags, track->flags & ~parts);
	if (track->flags & PARTS)
		return;
	txn_set(xen, &track->mapper, 0);
	txn_set(xen, &track->next, seg->free_track);
	txn_set(xen, &seg->free_track, handle + 1);
}

int grant_unmap_locked(struct xen *xen, uint32_t domain, uint32_t handle)
{
	struct sim_track *track = grant_track(xen, domain, handle);

	if (!track)
		return GNTST_bad_handle;
	grant_unmap_parts_locked(xen, handle, track->flags & PARTS);
	return GNTST_okay;
}
