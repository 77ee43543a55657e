/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Copying by grant: gnttab_copy_one of xen/common/grant_table.c. A grant is pinned for the time of
 * the copying only, which is all within the lock.
 */
#include "hv/sim/grant.h"

#include <string.h>

#include "hv/sim/journal.h"

struct copy_end {
	uint32_t domain;
	uint32_t page;
	bool by_ref;
};

/* gnttab_copy_lock_domain */
static int end_find(
	struct xen *xen, uint32_t self, uint16_t domid, bool by_ref, struct copy_end *ret_end)
{
	ret_end->by_ref = by_ref;
	ret_end->domain = domain_find_any(xen, self, domid);
	if (ret_end->domain == DOMAIN_NONE)
		return GNTST_bad_domain;
	return domid == DOMID_SELF || by_ref ? GNTST_okay : GNTST_permission_denied;
}

/* acquire_grant_for_copy */
static int end_acquire(
	struct xen *xen, uint32_t self, struct copy_end *end, uint32_t ref, bool writable)
{
	struct sim_domain *rd = domain_at(xen, end->domain);
	const struct sim_active_grant *active;
	uint16_t mapper = domain_at(xen, self)->domid;
	uint64_t entry;
	bool pinned;

	if (ref >= rd->n_grant_frames * SIM_GREFS_FRAME)
		return GNTST_bad_gntref;
	active = &rd->active[ref];
	entry = rd->grants[ref];
	pinned = active->n_readers || active->n_writers;
	if (pinned && active->domid != mapper)
		return GNTST_general_error;
	end->page = active->frame;
	if (pinned && (!writable || active->n_writers))
		return GNTST_okay;
	if (!pinned && ((ENTRY_FLAGS(entry) & GTF_type_mask) != GTF_permit_access ||
			       ENTRY_DOMID(entry) != mapper))
		return GNTST_general_error;
	if (writable && (ENTRY_FLAGS(entry) & GTF_readonly))
		return GNTST_general_error;
	/* Set and taken back again, as far as nobody sees: it is not set. */
	grant_status_reduce_locked(xen, rd, ref, writable);
	end->page = ENTRY_FRAME(entry);
	if (rd->state == SIM_DOMAIN_DYING || !page_is_owned(xen, end->page, end->domain))
		return GNTST_bad_page;
	return GNTST_okay;
}

/* gnttab_copy_claim_buf */
static int end_claim(
	struct xen *xen, uint32_t self, struct copy_end *end, const void *what, bool writable)
{
	uint64_t frame;
	uint32_t ref;

	if (end->by_ref) {
		memcpy(&ref, what, sizeof(ref));
		return end_acquire(xen, self, end, ref, writable);
	}
	memcpy(&frame, what, sizeof(frame));
	if (!page_is_owned(xen, frame, end->domain))
		return GNTST_bad_page;
	end->page = (uint32_t)frame;
	return GNTST_okay;
}

static int copy_locked(struct xen *xen, uint32_t domain, const gnttab_copy_t *op)
{
	struct copy_end source = {0}, dest = {0};
	int r;

	r = end_find(xen, domain, op->source.domid, op->flags & GNTCOPY_source_gref, &source);
	if (r == GNTST_okay)
		r = end_find(xen, domain, op->dest.domid, op->flags & GNTCOPY_dest_gref, &dest);
	if (r == GNTST_okay)
		r = end_claim(xen, domain, &source, &op->source.u, false);
	if (r == GNTST_okay)
		r = end_claim(xen, domain, &dest, &op->dest.u, true);
	if (r != GNTST_okay)
		return r;
	if (xen_fault(xen, SIM_FAULT_COPY_EAGAIN)) /* get_paged_frame, of either */
		return GNTST_eagain;
	if (op->source.offset + op->len > HV_PAGE_SIZE || op->dest.offset + op->len > HV_PAGE_SIZE)
		return GNTST_bad_copy_arg;
	memmove((uint8_t *)page_address(xen, dest.page) + op->dest.offset,
		(const uint8_t *)page_address(xen, source.page) + op->source.offset, op->len);
	return GNTST_okay;
}

int16_t grant_copy(struct xen *xen, uint32_t domain, const gnttab_copy_t *op)
{
	int r;

	txn_begin(xen);
	r = copy_locked(xen, domain, op);
	txn_commit(xen);
	return (int16_t)r;
}
