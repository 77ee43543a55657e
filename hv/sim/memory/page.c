/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The domains' memory: contiguous runs of pages from one pool. A page's number is both guest and
 * machine frame number, as in a PV guest.
 */
#include "hv/sim/memory/page.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "hv/sim/memory/journal.h"

#define PUNCH_MIN 64U /* pages; below, clearing is cheaper than giving the memory back */

/* First fit from `from` on; 0: none. */
static uint32_t run_find(const struct sim_segment *seg, uint32_t from, uint32_t to, uint32_t n)
{
	uint32_t found = 0;

	for (uint32_t page = from; page < to; page++) {
		found = seg->pages[page] ? 0 : found + 1;
		if (found == n)
			return page - n + 1;
	}
	return 0;
}

int pages_alloc_locked(struct xen *xen, uint32_t domain, enum sim_page_type type, uint32_t tag,
	uint32_t n, uint32_t *ret_first)
{
	struct sim_segment *seg = xen->seg;
	uint32_t first;

	if (n == 0 || n >= SIM_POOL_PAGES)
		return -ENOMEM;
	first = run_find(seg, seg->next_page, SIM_POOL_PAGES, n);
	if (!first)
		first = run_find(seg, 1, SIM_POOL_PAGES, n);
	if (!first)
		return -ENOMEM;
	txn_fill(xen, &seg->pages[first], n, SIM_PAGE(domain, type, 0, tag));
	txn_set(xen, &seg->next_page, first + n < SIM_POOL_PAGES ? first + n : 1);
	*ret_first = first;
	return 0;
}

void pages_free_locked(struct xen *xen, uint32_t first, uint32_t n)
{
	txn_fill(xen, &xen->seg->pages[first], n, 0);
	if (first < xen->seg->next_page)
		txn_set(xen, &xen->seg->next_page, first);
}

void pages_zero(struct xen *xen, uint32_t first, uint32_t n)
{
	void *p = page_address(xen, first);
	size_t len = (size_t)n * HV_PAGE_SIZE;

	if (n < PUNCH_MIN || madvise(p, len, MADV_REMOVE) < 0)
		memset(p, 0, len);
}
