/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The emulated guest kernel's gntalloc (pages shared with others) and gntdev (others' pages
 * mapped), each with unmap-notify. An object is made in one transaction, however many pages it has.
 */
#include "hv/sim/guest/grant.h"

#include "hv/sim/guest/call.h"
#include "hv/sim/guest/port.h"
#include "hv/sim/hypervisor/evtchn.h"
#include "hv/sim/hypervisor/fault.h"
#include "hv/sim/hypervisor/grant.h"
#include "hv/sim/memory/page.h"

static uint64_t entry(uint16_t flags, uint16_t domid, uint32_t frame)
{
	return (uint64_t)flags | (uint64_t)domid << 16 | (uint64_t)frame << 32;
}

/* A reference that nothing uses, at `from` or above; 0: none. */
static uint32_t gref_find(const struct sim_domain *d, uint32_t from)
{
	for (uint32_t ref = from; ref < SIM_MAX_GREFS; ref++)
		if (!d->grants[ref] && !d->active[ref].n_readers && !d->active[ref].n_writers)
			return ref;
	return 0;
}

static int share_grant(struct xen *xen, uint32_t domain, uint16_t remote, uint32_t n,
	uint32_t first, uint32_t *ret_refs)
{
	struct sim_domain *d = domain_at(xen, domain);
	uint32_t ref = GNTTAB_NR_RESERVED_ENTRIES - 1;

	for (uint32_t i = 0; i < n; i++) {
		ref = gref_find(d, ref + 1);
		if (!ref)
			return -ENOSPC;
		txn_set(xen, &d->grants[ref], entry(GTF_permit_access, remote, first + i));
		txn_set(xen, &xen->seg->pages[first + i], SIM_PAGE(domain, SIM_PAGE_SHARE, 0, ref));
		ret_refs[i] = ref;
	}
	return 0;
}

static int share_locked(struct xen *xen, uint32_t domain, uint16_t remote, uint32_t n,
	const struct hv_unmap_notify *notify, uint32_t first, uint32_t *ret_refs,
	uint32_t *ret_share)
{
	struct sim_domain *d = domain_at(xen, domain);
	struct sim_share *share;
	int r;

	if (!xen->seg->free_share)
		return -ENOSPC;
	r = share_grant(xen, domain, remote == DOMID_SELF ? d->domid : remote, n, first, ret_refs);
	if (r < 0)
		return r;
	*ret_share = xen->seg->free_share - 1;
	share = &xen->seg->shares[*ret_share];
	txn_set(xen, &xen->seg->free_share, share->next);
	txn_set(xen, &share->owner, xen->slot + 1);
	txn_set(xen, &share->domain, domain);
	txn_set(xen, &share->first_page, first);
	txn_set(xen, &share->n_pages, n);
	txn_set(xen, &share->may_rearm, n == 1 && (!notify || notify->offset == HV_NO_NOTIFY));
	return notify_arm_locked(xen, domain, xen->slot, &share->notify, notify, first);
}

int guest_share(struct xen *xen, uint16_t remote, uint32_t n, const struct hv_unmap_notify *notify,
	uint32_t *ret_refs, uint32_t *ret_first_page, uint32_t *ret_share)
{
	uint32_t domain = slot_domain(xen, xen->slot), first;
	struct sim_domain *d = domain_at(xen, domain);
	int r;

	if (n == 0 || (notify && notify->offset != HV_NO_NOTIFY && n != 1))
		return -EINVAL;
	/* Looked at again under the lock. */
	if (peek(&d->n_shared) + n > SIM_SHARE_LIMIT || xen_fault(xen, SIM_FAULT_SHARE_ENOSPC))
		return -ENOSPC;
	r = guest_pages_get(xen, n, &first);
	if (r < 0)
		return r;
	if (guest_begin(xen) < 0)
		return -ENODEV;
	r = d->n_shared + n > SIM_SHARE_LIMIT
		    ? -ENOSPC
		    : share_locked(xen, domain, remote, n, notify, first, ret_refs, ret_share);
	if (r == 0)
		txn_set(xen, &d->n_shared, d->n_shared + n);
	if (txn_end(xen, r) < 0) {
		guest_pages_put(xen, first, n);
		return r;
	}
	*ret_first_page = first;
	return 0;
}

/*
 * gnttab_end_foreign_access: an entry in use stays, its page is freed with the last mapping. Xen
 * lets a domain that has it mapped map it again until then. gntalloc counts none of it any more
 * (__del_gref, since Linux 5.17).
 */
static void unshare_locked(struct xen *xen, uint32_t index)
{
	struct sim_share *share = &xen->seg->shares[index];
	struct sim_domain *d = domain_at(xen, share->domain);

	notify_fire_locked(xen, share->domain, &share->notify);
	txn_set(xen, &d->n_shared, d->n_shared - share->n_pages);
	for (uint32_t page = share->first_page; page < share->first_page + share->n_pages; page++) {
		uint32_t ref = SIM_PAGE_TAG(xen->seg->pages[page]);

		if (d->active[ref].n_readers || d->active[ref].n_writers)
			txn_set(xen, &xen->seg->pages[page],
				SIM_PAGE(share->domain, SIM_PAGE_SHARE, SIM_PAGE_WITHDRAWN, ref));
		else
			grant_page_free_locked(xen, page);
	}
	txn_set(xen, &share->owner, 0);
	txn_set(xen, &share->next, xen->seg->free_share);
	txn_set(xen, &xen->seg->free_share, index + 1);
}

void guest_unshare(struct xen *xen, uint32_t share)
{
	if (guest_begin(xen) < 0)
		return;
	if (xen->seg->shares[share].owner == xen->slot + 1)
		unshare_locked(xen, share);
	txn_commit(xen);
}

/* As gntalloc does, when it is asked for a notification again. */
int guest_share_notify(struct xen *xen, uint32_t index, const struct hv_unmap_notify *notify)
{
	struct sim_share *share = &xen->seg->shares[index];
	int r = -EINVAL;

	if (guest_begin(xen) < 0)
		return -ENODEV;
	if (share->owner == xen->slot + 1 && share->may_rearm) {
		notify_disarm_locked(xen, share->domain, &share->notify);
		r = notify_arm_locked(
			xen, share->domain, xen->slot, &share->notify, notify, share->first_page);
	}
	return txn_end(xen, r); /* if it failed, the former one is armed again */
}

/* Whether the process has the share, and it has so many pages. */
static bool share_is_of(const struct sim_share *share, uint32_t slot, uint32_t n)
{
	return share->owner == slot + 1 && share->n_pages == n;
}

/* In place of files that are handed over: their objects are another process's. */
int guest_adopt(struct xen *xen, uint32_t from, uint32_t page, uint32_t others,
	const struct hv_unmap_notify *notify)
{
	uint32_t domain = slot_domain(xen, xen->slot);
	struct sim_share *shares = xen->seg->shares;
	int r = -EINVAL;

	if (guest_begin(xen) < 0)
		return -ENODEV;
	if (slot_domain(xen, from) == domain && guest_port_is_mine(xen, from, notify->port) &&
		share_is_of(&shares[page], from, 1) &&
		share_is_of(&shares[others], from, HV_PARCEL_PAGES - 1)) {
		txn_set(xen, &port_entry(xen, domain_at(xen, domain), notify->port)->owner,
			xen->slot + 1);
		txn_set(xen, &shares[page].owner, xen->slot + 1);
		txn_set(xen, &shares[others].owner, xen->slot + 1);
		r = notify_arm_locked(xen, domain, xen->slot, &shares[page].notify, notify,
			shares[page].first_page);
	}
	return txn_end(xen, r);
}

/* gntdev answers EINVAL, whatever Xen says about the references, but for its limits. */
static int status_to_errno(int status)
{
	return status == GNTST_okay ? 0 : status == GNTST_no_space ? -ENOSPC : -EINVAL;
}

static int map_locked(struct xen *xen, uint32_t domain, uint16_t granter, const uint32_t *refs,
	uint32_t n, bool writable, const struct hv_unmap_notify *notify, uint32_t *ret_pages,
	uint32_t *ret_map)
{
	struct sim_segment *seg = xen->seg;
	uint32_t handle, chain = 0;
	struct sim_map *map;
	int r;

	if (!seg->free_map)
		return -ENOSPC;
	for (uint32_t i = 0; i < n; i++) {
		r = status_to_errno(grant_map_locked(xen, domain, granter, refs[i],
			GNTMAP_host_map | (writable ? 0U : GNTMAP_readonly), &handle,
			&ret_pages[i]));
		if (r < 0)
			return r;
		txn_set(xen, &seg->tracks[handle].next, chain);
		chain = handle + 1;
	}
	if (xen_fault(xen, SIM_FAULT_MAP_NO_SPACE))
		return -ENOSPC;
	*ret_map = seg->free_map - 1;
	map = &seg->maps[*ret_map];
	txn_set(xen, &seg->free_map, map->next);
	txn_set(xen, &map->owner, xen->slot + 1);
	txn_set(xen, &map->domain, domain);
	txn_set(xen, &map->first_track, chain);
	txn_set(xen, &map->n_pages, n);
	return notify_arm_locked(xen, domain, xen->slot, &map->notify, notify, ret_pages[0]);
}

int guest_map(struct xen *xen, uint16_t granter, const uint32_t *refs, uint32_t n, bool writable,
	const struct hv_unmap_notify *notify, uint32_t *ret_pages, uint32_t *ret_map)
{
	uint32_t domain = slot_domain(xen, xen->slot);
	int r;

	if (n == 0 || (notify && notify->offset != HV_NO_NOTIFY && n != 1))
		return -EINVAL;
	/* Linux' gntdev refuses to clear a byte of a read-only mapping. */
	if (notify && notify->offset != HV_NO_NOTIFY && !writable)
		return -EINVAL;
	if (guest_begin(xen) < 0)
		return -ENODEV;
	if (granter == DOMID_SELF)
		granter = domain_at(xen, domain)->domid;
	r = map_locked(xen, domain, granter, refs, n, writable, notify, ret_pages, ret_map);
	return txn_end(xen, r);
}

static void unmap_locked(struct xen *xen, uint32_t index)
{
	struct sim_map *map = &xen->seg->maps[index];
	uint32_t next, n = 0;

	notify_fire_locked(xen, map->domain, &map->notify);
	for (uint32_t i = map->first_track; i; i = next) {
		if (i > SIM_MAX_TRACKS || n++ == map->n_pages) {
			segment_is_corrupt(xen);
			break;
		}
		next = xen->seg->tracks[i - 1].next;
		(void)grant_unmap_locked(xen, map->domain, i - 1);
	}
	txn_set(xen, &map->owner, 0);
	txn_set(xen, &map->next, xen->seg->free_map);
	txn_set(xen, &xen->seg->free_map, index + 1);
}

void guest_unmap(struct xen *xen, uint32_t map)
{
	if (guest_begin(xen) < 0)
		return;
	if (xen->seg->maps[map].owner == xen->slot + 1)
		unmap_locked(xen, map);
	txn_commit(xen);
}

/* Mappings first, then shares: hv.h's order. */
void guest_grants_release(struct xen *xen, uint32_t slot)
{
	for (uint32_t i = 0; i < SIM_MAX_MAPS; i++) {
		if (xen->seg->maps[i].owner != slot + 1)
			continue;
		txn_begin(xen);
		if (xen->seg->maps[i].owner == slot + 1)
			unmap_locked(xen, i);
		txn_commit(xen);
	}
	for (uint32_t i = 0; i < SIM_MAX_SHARES; i++) {
		if (xen->seg->shares[i].owner != slot + 1)
			continue;
		txn_begin(xen);
		if (xen->seg->shares[i].owner == slot + 1)
			unshare_locked(xen, i);
		txn_commit(xen);
	}
}
