/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The grant table hypercall: do_grant_table_op of xen/common/grant_table.c, for a PV guest. Of a
 * host address all that counts is that it can be a guest's, and that unmapping names the same.
 */
#include "hv/sim/hypervisor/grant-table.h"

#include <errno.h>
#include <string.h>

#include "base/macro.h"
#include "hv/sim/hypervisor/access.h"
#include "hv/sim/hypervisor/evtchn.h"
#include "hv/sim/hypervisor/fault.h"
#include "hv/sim/hypervisor/hypercall.h"
#include "hv/sim/hypervisor/transaction.h"

#define CMD_BITS 12 /* GNTTABOP_ARG_SHIFT: above is an argument, which only cache_flush has */

/* The lower half of the address space, but for what no page table has: NULL. */
static bool address_is_guest(uint64_t address)
{
	return address != 0 && address < 1ULL << 47;
}

/* create_grant_host_mapping comes last: where it fails, all is undone. */
static int16_t map_locked(struct xen *xen, uint32_t domain, gnttab_map_grant_ref_t *op)
{
	uint32_t handle, page;
	int r;

	r = grant_map_locked(xen, domain, op->dom, op->ref, op->flags, &handle, &page);
	if (r != GNTST_okay)
		return (int16_t)r;
	if (op->flags & GNTMAP_host_map) {
		if (!address_is_guest(op->host_addr) || (op->flags & GNTMAP_contains_pte)) {
			(void)grant_unmap_locked(xen, domain, handle);
			return GNTST_general_error;
		}
		txn_set(xen, &xen->seg->tracks[handle].host_addr, op->host_addr);
	}
	op->handle = handle;
	op->dev_bus_addr = (uint64_t)page * HV_PAGE_SIZE;
	return GNTST_okay;
}

/* Deterministic mode. A page that is mapped already is not paged out. */
static int16_t map_refused(struct xen *xen, uint32_t handle)
{
	const struct sim_track *track = &xen->seg->tracks[handle];
	const struct sim_active_grant *active = &domain_at(xen, track->granter)->active[track->ref];

	if (xen_fault(xen, SIM_FAULT_MAP_NO_SPACE))
		return GNTST_no_space;
	if (active->n_readers + active->n_writers == 1 && xen_fault(xen, SIM_FAULT_MAP_EAGAIN))
		return GNTST_eagain;
	return GNTST_okay;
}

static int16_t map_one(struct xen *xen, uint32_t domain, gnttab_map_grant_ref_t *op)
{
	gnttab_map_grant_ref_t done = *op;
	int16_t refused, status;

	txn_begin(xen);
	status = map_locked(xen, domain, &done);
	refused = status == GNTST_okay ? map_refused(xen, done.handle) : GNTST_okay;
	if (refused != GNTST_okay) {
		txn_abort(xen);
		return refused;
	}
	txn_commit(xen);
	*op = done;
	return status;
}

/* unmap_common: with an address of 0, what is mapped there stays. */
static int16_t unmap_locked(struct xen *xen, uint32_t domain, uint32_t handle, uint64_t host_addr,
	uint64_t bus_addr, uint64_t new_addr)
{
	struct sim_track *track = grant_track(xen, domain, handle);
	uint32_t parts = 0;
	uint64_t frame;

	if (!track)
		return GNTST_bad_handle;
	frame = domain_at(xen, track->granter)->active[track->ref].frame;
	if (bus_addr && (track->flags & GNTMAP_device_map)) {
		if (bus_addr != frame * HV_PAGE_SIZE)
			return GNTST_bad_dev_addr;
		parts |= GNTMAP_device_map;
	}
	if (host_addr && (track->flags & GNTMAP_host_map)) {
		if (host_addr != track->host_addr || (new_addr && !address_is_guest(new_addr)))
			return GNTST_general_error;
		parts |= GNTMAP_host_map;
	}
	grant_unmap_parts_locked(xen, handle, parts);
	return GNTST_okay;
}

static int16_t swap_locked(struct xen *xen, uint32_t domain, uint32_t a, uint32_t b)
{
	struct sim_domain *d = domain_at(xen, domain);
	uint32_t n = grant_n_entries(d);

	if (a >= n || b >= n)
		return GNTST_bad_gntref;
	if (a == b)
		return GNTST_okay;
	if (d->active[a].n_readers || d->active[a].n_writers || d->active[b].n_readers ||
		d->active[b].n_writers)
		return GNTST_eagain;
	grant_entry_swap_locked(xen, d, a, b);
	return GNTST_okay;
}

static int16_t status_of(int r)
{
	return r == 0 ? GNTST_okay : r == -ESRCH ? GNTST_bad_domain : GNTST_permission_denied;
}

static int query_size(struct xen *xen, uint32_t domain, void *uop)
{
	gnttab_query_size_t op;
	uint32_t target;

	if (guest_read(xen, &op, uop, sizeof(op), false) < 0)
		return -EFAULT;
	op.status = status_of(target_find(xen, domain, op.dom, &target));
	if (op.status == GNTST_okay) {
		op.nr_frames = domain_at(xen, target)->n_grant_frames;
		op.max_nr_frames = SIM_TABLE_FRAMES;
	}
	return guest_write(xen, uop, &op, sizeof(op));
}

static int16_t setup_locked(
	struct xen *xen, uint32_t domain, const gnttab_setup_table_t *op, uint32_t *ret_target)
{
	int16_t status = status_of(target_find(xen, domain, op->dom, ret_target));
	struct sim_domain *d;

	if (status != GNTST_okay)
		return status;
	d = domain_at(xen, *ret_target);
	if (op->nr_frames > SIM_TABLE_FRAMES)
		return GNTST_general_error;
	if (op->nr_frames > d->n_grant_frames)
		txn_set(xen, &d->n_grant_frames, op->nr_frames);
	return GNTST_okay;
}

static int setup_table(struct xen *xen, uint32_t domain, void *uop)
{
	gnttab_setup_table_t op;
	uint32_t target;
	uint8_t *list;

	if (guest_read(xen, &op, uop, sizeof(op), false) < 0)
		return -EFAULT;
	memcpy(&list, &op.frame_list, sizeof(list));
	txn_begin(xen);
	op.status = setup_locked(xen, domain, &op, &target);
	txn_commit(xen);
	for (uint32_t i = 0; op.status == GNTST_okay && i < op.nr_frames; i++) {
		xen_pfn_t frame = SIM_TABLE_FRAME + (uint64_t)target * SIM_TABLE_FRAMES + i;

		if (guest_write(xen, list + i * sizeof(frame), &frame, sizeof(frame)) < 0)
			op.status = GNTST_bad_virt_addr;
	}
	return guest_write(xen, (uint8_t *)uop + offsetof(gnttab_setup_table_t, status), &op.status,
		sizeof(op.status));
}

/* Version 1 has none; of version 2 all fit in one. */
static int get_status_frames(struct xen *xen, uint32_t domain, void *uop)
{
	gnttab_get_status_frames_t op;
	uint32_t target;
	uint64_t frame;
	uint8_t *list;

	if (guest_read(xen, &op, uop, sizeof(op), false) < 0)
		return -EFAULT;
	memcpy(&list, &op.frame_list, sizeof(list));
	op.status = status_of(target_find(xen, domain, op.dom, &target));
	if (op.status == GNTST_okay && op.nr_frames > domain_at(xen, target)->grant_version - 1) {
		op.status = GNTST_general_error;
	} else if (op.status == GNTST_okay && op.nr_frames > 0) {
		frame = SIM_STATUS_FRAME + (uint64_t)target;
		if (guest_write(xen, list, &frame, sizeof(frame)) < 0)
			op.status = GNTST_bad_virt_addr;
	}
	return guest_write(xen, (uint8_t *)uop + offsetof(gnttab_get_status_frames_t, status),
		&op.status, sizeof(op.status));
}

static int get_version(struct xen *xen, uint32_t domain, void *uop)
{
	gnttab_get_version_t op;
	uint32_t target;
	int r;

	if (guest_read(xen, &op, uop, sizeof(op), false) < 0)
		return -EFAULT;
	r = target_find(xen, domain, op.dom, &target);
	if (r < 0)
		return r;
	op.version = domain_at(xen, target)->grant_version;
	return guest_write(xen, (uint8_t *)uop + offsetof(gnttab_get_version_t, version),
		&op.version, sizeof(op.version));
}

static int set_version(struct xen *xen, uint32_t domain, void *uop)
{
	struct sim_domain *d = domain_at(xen, domain);
	gnttab_set_version_t op;
	int r = 0;

	if (guest_read(xen, &op, uop, sizeof(op), false) < 0)
		return -EFAULT;
	txn_begin(xen);
	if (op.version != 1 && op.version != 2)
		r = -EINVAL;
	else if (op.version == 2 && !(d->flags & SIM_DOMAIN_GRANT_V2))
		r = -ENOSYS;
	else if (op.version != d->grant_version)
		r = grant_version_set_locked(xen, d, op.version);
	txn_commit(xen);
	op.version = d->grant_version;
	return guest_write(xen, uop, &op, sizeof(op)) < 0 ? -EFAULT : r;
}

/* grant_map_exists: whether the domain has that frame of another one mapped, by `ref` or behind. */
static bool frame_is_mapped(struct xen *xen, uint32_t domain, uint64_t frame, uint32_t ref)
{
	for (uint32_t handle = 0; handle < SIM_MAX_TRACKS; handle++) {
		const struct sim_track *t = grant_track(xen, domain, handle);

		if (t && t->ref >= ref && domain_at(xen, t->granter)->active[t->ref].frame == frame)
			return true;
	}
	return false;
}

/*
 * _cache_flush, where the caches are coherent: nothing is done, but an invalidation is refused.
 * ref: where an earlier call was cut short.
 */
static int cache_flush(
	struct xen *xen, uint32_t domain, const gnttab_cache_flush_t *op, uint32_t ref)
{
	uint64_t frame = op->a.dev_bus_addr / HV_PAGE_SIZE, info;

	if (op->offset >= HV_PAGE_SIZE || op->length > HV_PAGE_SIZE ||
		op->offset + op->length > HV_PAGE_SIZE ||
		(op->op & ~(uint32_t)(GNTTAB_CACHE_INVAL | GNTTAB_CACHE_CLEAN)))
		return -EINVAL;
	if (op->length == 0 || op->op == 0)
		return ref ? -EILSEQ : 0;
	if (frame >= SIM_POOL_PAGES)
		return -EINVAL;
	info = xen->seg->pages[frame];
	if (!info || SIM_PAGE_TYPE(info) == SIM_PAGE_XEN)
		return -EPERM; /* nobody's */
	if (SIM_PAGE_DOMAIN(info) != domain && !frame_is_mapped(xen, domain, frame, ref))
		return -EINVAL;
	return op->op == GNTTAB_CACHE_INVAL ? -EOPNOTSUPP : 0;
}

union grant_arg {
	gnttab_map_grant_ref_t map;
	gnttab_unmap_grant_ref_t unmap;
	gnttab_unmap_and_replace_t replace;
	gnttab_transfer_t transfer;
	gnttab_swap_grant_ref_t swap;
	gnttab_copy_t copy;
	gnttab_cache_flush_t cache;
};

/* Operations on an array: each entry has a status; the call fails where it cannot copy one. */
static const struct {
	size_t size, status_offset;
} many[] = {
#define MANY(type)                                                                                 \
	{                                                                                          \
		sizeof(type), offsetof(type, status)                                               \
	}
	[GNTTABOP_map_grant_ref] = MANY(gnttab_map_grant_ref_t),
	[GNTTABOP_unmap_grant_ref] = MANY(gnttab_unmap_grant_ref_t),
	[GNTTABOP_unmap_and_replace] = MANY(gnttab_unmap_and_replace_t),
	[GNTTABOP_transfer] = MANY(gnttab_transfer_t),
	[GNTTABOP_swap_grant_ref] = MANY(gnttab_swap_grant_ref_t),
	[GNTTABOP_copy] = MANY(gnttab_copy_t),
	[GNTTABOP_cache_flush] = {sizeof(gnttab_cache_flush_t), 0},
#undef MANY
};

static int16_t one_locked(struct xen *xen, uint32_t domain, unsigned int cmd, union grant_arg *arg)
{
	switch (cmd) {
	case GNTTABOP_unmap_grant_ref:
		return unmap_locked(xen, domain, arg->unmap.handle, arg->unmap.host_addr,
			arg->unmap.dev_bus_addr, 0);
	case GNTTABOP_unmap_and_replace:
		return unmap_locked(xen, domain, arg->replace.handle, arg->replace.host_addr, 0,
			arg->replace.new_addr);
	case GNTTABOP_transfer:
		return grant_transfer_locked(xen, domain, &arg->transfer);
	default:
		return swap_locked(xen, domain, arg->swap.ref_a, arg->swap.ref_b);
	}
}

static int one(struct xen *xen, uint32_t domain, unsigned int cmd, uint8_t *uop, uint32_t *cursor)
{
	union grant_arg arg;
	int16_t status;

	if (guest_read(xen, &arg, uop, many[cmd].size, false) < 0)
		return -EFAULT;
	if (cmd == GNTTABOP_cache_flush) {
		int r = cache_flush(xen, domain, &arg.cache, *cursor);

		*cursor = 0;
		return r;
	}
	if (cmd == GNTTABOP_copy) {
		status = grant_copy(xen, domain, &arg.copy);
	} else if (cmd == GNTTABOP_map_grant_ref) {
		status = map_one(xen, domain, &arg.map);
	} else {
		txn_begin(xen);
		status = one_locked(xen, domain, cmd, &arg);
		txn_commit(xen);
	}
	if (cmd == GNTTABOP_map_grant_ref) {
		arg.map.status = status;
		return guest_write(xen, uop, &arg, many[cmd].size);
	}
	return guest_write(xen, uop + many[cmd].status_offset, &status, sizeof(status));
}

static int grant_do(struct xen *xen, uint16_t domid, unsigned int cmd, void *uop, unsigned int n)
{
	uint32_t domain = sim_domain_find(xen, domid);
	uint32_t argument = cmd >> CMD_BITS;
	int r = 0;

	if (domain == DOMAIN_NONE)
		return -ESRCH;
	cmd &= (1U << CMD_BITS) - 1;
	if ((int)n < 0 || (argument && cmd != GNTTABOP_cache_flush))
		return -EINVAL;
	if (cmd < ARRAY_SIZE(many) && many[cmd].size) {
		for (unsigned int i = 0; i < n && r == 0; i++)
			r = one(xen, domain, cmd, (uint8_t *)uop + i * many[cmd].size, &argument);
		return r;
	}
	if (cmd == GNTTABOP_get_version)
		return get_version(xen, domain, uop);
	if (cmd == GNTTABOP_set_version)
		return set_version(xen, domain, uop);
	if (cmd != GNTTABOP_query_size && cmd != GNTTABOP_setup_table &&
		cmd != GNTTABOP_get_status_frames)
		return -ENOSYS;
	if (n != 1)
		return -EINVAL;
	return cmd == GNTTABOP_query_size    ? query_size(xen, domain, uop)
	       : cmd == GNTTABOP_setup_table ? setup_table(xen, domain, uop)
					     : get_status_frames(xen, domain, uop);
}

int grant_table_op(struct xen *xen, uint16_t domid, unsigned int cmd, void *uop, unsigned int n)
{
	hypercall_enter(xen);
	return (int)hypercall_leave(
		xen, domid, "grant_table_op", cmd, grant_do(xen, domid, cmd, uop, n));
}
