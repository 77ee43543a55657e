/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The grant table behind the hypercall: its entries, of either version, and their pins. For
 * grant-op.c and the other grant-*.c alone.
 */
#ifndef MSGD_HV_SIM_HYPERVISOR_GRANT_TABLE_H
#define MSGD_HV_SIM_HYPERVISOR_GRANT_TABLE_H

/* All operations, those of the table's versions among them. */
#ifndef __XEN_INTERFACE_VERSION__
#define __XEN_INTERFACE_VERSION__ __XEN_LATEST_INTERFACE_VERSION__
#endif

#include "hv/sim/hypervisor/grant.h"

/* A grant entry, of either version. */
struct grant_entry {
	uint16_t flags; /* of version 2 without GTF_reading and GTF_writing, which are apart */
	uint16_t domid;
	uint64_t frame;
	uint16_t page_off, length; /* version 2, GTF_sub_page */
	uint16_t trans_domid;	   /* version 2, GTF_transitive */
	uint32_t trans_ref;
};

/* grant-version.c. nr_grant_entries */
static inline uint32_t grant_n_entries(const struct sim_domain *d)
{
	return d->n_grant_frames * SIM_GREFS_FRAME / d->grant_version;
}
struct grant_entry grant_entry_read(const struct sim_domain *d, uint32_t ref);
void grant_entry_swap_locked(struct xen *xen, struct sim_domain *d, uint32_t a, uint32_t b);
/* A transfer's end. */
void grant_entry_finish_locked(struct xen *xen, struct sim_domain *d, uint32_t ref, uint64_t frame);
/* EBUSY, ERANGE */
int grant_version_set_locked(struct xen *xen, struct sim_domain *d, uint32_t version);
/* The bits of the entry, or of its status. */
void grant_status_change_locked(
	struct xen *xen, struct sim_domain *d, uint32_t ref, uint16_t set, uint16_t clear);

/* The counters of pins have 8 bits, of which Xen keeps the highest free. */
bool grant_pins_overflow(const struct sim_active_grant *active, uint32_t flags);
/* _set_status: the entry says that it is in use. */
void grant_status_set_locked(struct xen *xen, struct sim_domain *d, uint32_t ref, bool writable);
/* reduce_status_for_pin: the entry says no more than what it is pinned for. */
void grant_status_reduce_locked(struct xen *xen, struct sim_domain *d, uint32_t ref, bool writable);
/* NULL: no mapping of this domain's. */
struct sim_track *grant_track(struct xen *xen, uint32_t domain, uint32_t handle);
/* GNTMAP_host_map, GNTMAP_device_map, both or none of what is mapped; with the last, the handle. */
void grant_unmap_parts_locked(struct xen *xen, uint32_t handle, uint32_t parts);

/* grant-transfer.c: one GNTTABOP_transfer, its status. */
int16_t grant_transfer_locked(struct xen *xen, uint32_t domain, const gnttab_transfer_t *op);

/* grant-copy.c: one GNTTABOP_copy, its status. Takes the locks. */
int16_t grant_copy(struct xen *xen, uint32_t domain, const gnttab_copy_t *op);

#endif
