/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The domains' memory: contiguous runs of pages of the pool. For the hypervisor and the layers
 * above it. Zeroing is the caller's, and outside the locks.
 */
#ifndef MSGD_HV_SIM_MEMORY_PAGE_H
#define MSGD_HV_SIM_MEMORY_PAGE_H

#include "hv/sim/memory/xen.h"

/* ENOMEM. The pages hold whatever they held: see pages_zero. */
int pages_alloc_locked(struct xen *xen, uint32_t domain, enum sim_page_type type, uint32_t tag,
	uint32_t n, uint32_t *ret_first);
/* All n are in the same state. */
void pages_free_locked(struct xen *xen, uint32_t first, uint32_t n);
void pages_zero(struct xen *xen, uint32_t first, uint32_t n);

static inline bool page_is_owned(const struct xen *xen, uint64_t gfn, uint32_t domain)
{
	return gfn > 0 && gfn < SIM_POOL_PAGES && xen->seg->pages[gfn] &&
	       SIM_PAGE_DOMAIN(xen->seg->pages[gfn]) == domain &&
	       SIM_PAGE_TYPE(xen->seg->pages[gfn]) != SIM_PAGE_XEN;
}

#endif
