/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Giving a page away: gnttab_transfer of xen/common/grant_table.c. The emulator does not know a
 * guest's page tables: it takes a page for used if a grant, a ring of the hypervisor's or FIFO has
 * it.
 */
#include "hv/sim/hypervisor/grant-table.h"

#include "hv/sim/hypervisor/fifo.h"
#include "hv/sim/memory/journal.h"
#include "hv/sim/memory/page.h"

static bool page_is_in_ring(struct xen *xen, const struct sim_ring *ring, uint32_t page)
{
	const uint32_t *list;

	if (!ring->used || !ring->len)
		return false;
	if (ring->first_page)
		return page >= ring->first_page && page < ring->first_page + ring->n_pages;
	list = page_address(xen, ring->frame_list);
	for (uint32_t i = 0; i < ring->n_pages; i++)
		if (list[i] == page)
			return true;
	return false;
}

static bool page_is_in_use(struct xen *xen, const struct sim_domain *d, uint32_t page)
{
	if (SIM_PAGE_TYPE(xen->seg->pages[page]) != SIM_PAGE_RAM)
		return true;
	if (fifo_has_page(d, page))
		return true;
	for (uint32_t ref = 0; ref < SIM_MAX_GREFS; ref++)
		if ((d->active[ref].n_readers || d->active[ref].n_writers) &&
			d->active[ref].frame == page)
			return true;
	for (uint32_t i = 0; i < SIM_MAX_RINGS; i++)
		if (page_is_in_ring(xen, &d->rings[i], page))
			return true;
	return false;
}

/* From where the page is taken from its owner on, it is lost if the transfer fails. */
int16_t grant_transfer_locked(struct xen *xen, uint32_t domain, const gnttab_transfer_t *op)
{
	struct sim_domain *d = domain_at(xen, domain), *rd;
	uint32_t page = (uint32_t)op->mfn, target;
	struct grant_entry entry;

	if (!page_is_owned(xen, op->mfn, domain) || page_is_in_use(xen, d, page))
		return GNTST_bad_page;
	pages_free_locked(xen, page, 1);
	target = sim_domain_find(xen, op->domid);
	if (target == DOMAIN_NONE)
		return GNTST_bad_domain;
	rd = domain_at(xen, target);
	/* gnttab_prepare_for_transfer */
	if (rd->state == SIM_DOMAIN_DYING || op->ref >= grant_n_entries(rd))
		return GNTST_general_error;
	entry = grant_entry_read(rd, op->ref);
	if (entry.flags != GTF_accept_transfer || entry.domid != d->domid)
		return GNTST_general_error;
	txn_set(xen, &xen->seg->pages[page], SIM_PAGE(target, SIM_PAGE_RAM, 0, 0));
	grant_entry_finish_locked(xen, rd, op->ref, page);
	return GNTST_okay;
}
