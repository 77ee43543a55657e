/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Grants: mapping another domain's page is a pin of the grant, and a handle. For the hypercall, the
 * drivers and the life of domains. This object does not know the processes' address spaces.
 */
#ifndef MSGD_HV_SIM_HYPERVISOR_GRANT_H
#define MSGD_HV_SIM_HYPERVISOR_GRANT_H

#include "hv/sim/memory/xen.h"

/* Both return GNTST_*. */
int grant_map_locked(struct xen *xen, uint32_t domain, uint16_t granter, uint32_t ref,
	uint32_t flags, uint32_t *ret_handle, uint32_t *ret_page);
int grant_unmap_locked(struct xen *xen, uint32_t domain, uint32_t handle);
/* Frees a page of gntalloc's and its grant entry. */
void grant_page_free_locked(struct xen *xen, uint32_t page);

#endif
