/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Copying by grant: gnttab_copy_one of xen/common/grant_table.c. A grant is pinned for the time of
 * the copying only, which is all within the locks.
 */
#include "hv/sim/hypervisor/grant-table.h"

#include <string.h>

#include "hv/sim/hypervisor/evtchn.h"
#include "hv/sim/hypervisor/fault.h"
#include "hv/sim/hypervisor/transaction.h"
#include "hv/sim/memory/page.h"

struct copy_end {
	uint32_t domain;
	bool by_ref;
	uint32_t page;
	uint32_t from, to; /* bytes of it that may be copied */
};

/* gnttab_copy_lock_domain, in the order that Debian's 4.17.7 has; only SELF may go by frame. */
static int end_find(
	struct xen *xen, uint32_t self, uint16_t domid, bool by_ref, struct copy_end *ret_end)
{
	ret_end->by_ref = by_ref;
	ret_end->domain = domain_find_any(xen, self, domid);
	if (ret_end->domain == DOMAIN_NONE)
		return GNTST_bad_domain;
	return domid == DOMID_SELF || by_ref ? GNTST_okay : GNTST_permission_denied;
}

static int end_acquire(struct xen *xen, uint16_t mapper, struct copy_end *end, uint32_t ref,
	bool writable, bool transitive);

/* Version 2 has grants that stand for others. */
static bool type_is_copied(const struct sim_domain *rd, const struct grant_entry *entry)
{
	uint16_t type = entry->flags & GTF_type_mask;

	return type == GTF_permit_access || (rd->grant_version == 2 && type == GTF_transitive);
}

/*
 * acquire_grant_for_copy, of a grant that stands for another domain's. Behind a grant that is
 * mapped it would be tried again and again, as the entry and the mapping do not agree: refused.
 */
static int transitive_acquire(struct xen *xen, struct copy_end *end, uint32_t ref, bool writable)
{
	struct sim_domain *rd = domain_at(xen, end->domain);
	struct grant_entry entry = grant_entry_read(rd, ref);
	uint32_t next = sim_domain_find(xen, entry.trans_domid);

	if (entry.trans_domid == rd->domid || next == DOMAIN_NONE || rd->active[ref].n_readers ||
		rd->active[ref].n_writers)
		return GNTST_general_error;
	end->domain = next;
	return end_acquire(xen, rd->domid, end, entry.trans_ref, writable, false);
}

/*
 * acquire_grant_for_copy. Of a grant that is pinned for such a use already, the entry does not
 * count; where only its writing is new, the entry's frame is looked at, and the pinned one copied.
 */
static int end_acquire(struct xen *xen, uint16_t mapper, struct copy_end *end, uint32_t ref,
	bool writable, bool transitive)
{
	struct sim_domain *rd = domain_at(xen, end->domain);
	const struct sim_active_grant *active;
	struct grant_entry entry;
	bool pinned;
	int r;

	if (ref >= grant_n_entries(rd))
		return GNTST_bad_gntref;
	active = &rd->active[ref];
	entry = grant_entry_read(rd, ref);
	pinned = active->n_readers || active->n_writers;
	if (pinned && (active->domid != mapper ||
			      grant_pins_overflow(
				      active, GNTMAP_host_map | (writable ? 0U : GNTMAP_readonly))))
		return GNTST_general_error;
	end->page = pinned ? active->frame : (uint32_t)entry.frame;
	if (pinned && (!writable || active->n_writers))
		return rd->state == SIM_DOMAIN_DYING ? GNTST_bad_domain : GNTST_okay;
	if (!pinned && (!type_is_copied(rd, &entry) || entry.domid != mapper))
		return GNTST_general_error;
	if (writable && (entry.flags & GTF_readonly))
		return GNTST_general_error;
	/* In use, and out of it when the copying is done: nobody sees what is between. */
	grant_status_set_locked(xen, rd, ref, writable);
	if (rd->grant_version == 2 && (entry.flags & GTF_type_mask) == GTF_transitive)
		r = transitive ? transitive_acquire(xen, end, ref, writable) : GNTST_general_error;
	else if (rd->state == SIM_DOMAIN_DYING || !page_is_owned(xen, entry.frame, end->domain))
		r = GNTST_bad_page;
	else
		r = GNTST_okay;
	if (!pinned && rd->grant_version == 2 &&
		(entry.flags & (GTF_type_mask | GTF_sub_page)) ==
			(GTF_permit_access | GTF_sub_page)) {
		end->from = entry.page_off;
		end->to = (uint32_t)entry.page_off + entry.length;
	}
	grant_status_reduce_locked(xen, rd, ref, writable);
	return r;
}

/* gnttab_copy_claim_buf */
static int end_claim(
	struct xen *xen, uint32_t self, struct copy_end *end, const void *what, bool writable)
{
	uint64_t frame;
	uint32_t ref;

	end->from = 0;
	end->to = HV_PAGE_SIZE;
	if (end->by_ref) {
		memcpy(&ref, what, sizeof(ref));
		return end_acquire(xen, domain_at(xen, self)->domid, end, ref, writable, true);
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
	if (op->source.offset < source.from || op->source.offset + op->len > source.to ||
		op->dest.offset < dest.from || op->dest.offset + op->len > dest.to)
		return GNTST_general_error;
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
