/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One grant-table hypercall. */
#include "tests/random/random.h"

#include <errno.h>

#define BAD	((void *)16)
#define HOST_VA 0x100000U /* where the emulator does not look, and Xen would map */

void do_map(struct run *run, uint32_t self, uint16_t dom, uint32_t ref, uint32_t flags)
{
	gnttab_map_grant_ref_t *a = (gnttab_map_grant_ref_t *)(void *)run->arg1;
	uint32_t granter = 0, frame = 0;
	int predicted, actual;

	*a = (gnttab_map_grant_ref_t){.host_addr = HOST_VA, .dom = dom, .ref = ref, .flags = flags};
	CALL(run, OP_MAP, self, dom, ref, flags);
	predicted = model_map(run->m, self, dom, ref, flags, &granter, &frame);
	actual =
		grant_table_op(run->xen, run->m->domains[self].domid, GNTTABOP_map_grant_ref, a, 1);
	if (actual != 0)
		fail(run, "the call as a whole gives %d", actual);
	if (predicted == GNTST_okay && a->status == GNTST_okay) {
		if (!model_map_handle(run->m, self, granter, ref, flags, a->handle))
			fail(run, "handle %u is in use", a->handle);
		if (a->dev_bus_addr != (uint64_t)frame * MODEL_PAGE_SIZE)
			fail(run, "frame %lu, not %u",
				(unsigned long)(a->dev_bus_addr / MODEL_PAGE_SIZE), frame);
	}
	call_end_grant(run, predicted, a->status);
}

static void unmap_call(
	struct run *run, uint32_t self, uint32_t handle, uint64_t host_addr, uint64_t dev_bus_addr)
{
	gnttab_unmap_grant_ref_t *a = (gnttab_unmap_grant_ref_t *)(void *)run->arg1;
	int predicted, actual;

	*a = (gnttab_unmap_grant_ref_t){
		.host_addr = host_addr, .dev_bus_addr = dev_bus_addr, .handle = handle};
	CALL(run, OP_UNMAP, self, handle, host_addr, dev_bus_addr);
	predicted = model_unmap(run->m, self, handle, host_addr, dev_bus_addr);
	actual = grant_table_op(
		run->xen, run->m->domains[self].domid, GNTTABOP_unmap_grant_ref, a, 1);
	if (actual != 0)
		fail(run, "the call as a whole gives %d", actual);
	call_end_grant(run, predicted, a->status);
}

/* Where the handle's page is for a device; 0: not mapped for one. */
static uint64_t bus_addr_of(const struct run *run, uint32_t handle)
{
	const struct m_handle *h;

	if (handle >= MODEL_HANDLES || run->m->handles[handle].mapper == MODEL_NONE)
		return 0;
	h = &run->m->handles[handle];
	return h->flags & GNTMAP_device_map
		       ? (uint64_t)run->m->domains[h->granter].active[h->ref].frame *
				 MODEL_PAGE_SIZE
		       : 0;
}

void do_unmap(struct run *run, uint32_t self, uint32_t handle)
{
	unmap_call(run, self, handle, HOST_VA, bus_addr_of(run, handle));
}

/* An entry that somebody was given, mostly. */
static void step_map(struct run *run)
{
	uint32_t self = some_live(run), granter = 0, ref = 0;
	uint32_t flags = GNTMAP_host_map | (chance(run, 400) ? GNTMAP_readonly : 0U);
	uint16_t dom;

	for (uint32_t i = 0; i < 24; i++) {
		struct m_entry e;
		uint32_t mapper;

		granter = some_live(run);
		ref = chance(run, 900) ? 8 + pick(run, 24) : pick(run, 8);
		e = model_entry(&run->m->domains[granter], ref);
		mapper = model_find(run->m, e.domid);
		if ((e.flags & GTF_type_mask) != GTF_permit_access || mapper == MODEL_NONE ||
			run->m->domains[mapper].life != M_ALIVE)
			continue;
		self = mapper;
		flags |= (e.flags & GTF_readonly) && chance(run, 900) ? GNTMAP_readonly : 0U;
		break;
	}
	if (chance(run, 250))
		flags |= GNTMAP_device_map;
	if (chance(run, 100))
		flags &= ~GNTMAP_host_map;
	if (chance(run, 40))
		self = some_live(run);
	if (chance(run, 30))
		granter = some_zombie(run) == MODEL_NONE ? granter : some_zombie(run);
	dom = run->m->domains[granter].domid;
	if (chance(run, 20))
		dom = chance(run, 500) ? DOMID_SELF : some_bad_domid(run);
	if (chance(run, 20))
		ref = chance(run, 300)	 ? MODEL_GREFS + pick(run, 8)
		      : chance(run, 300) ? (uint32_t)draw(run)
					 : 128 + pick(run, 512);
	if (chance(run, 20))
		flags &= ~(GNTMAP_host_map | GNTMAP_device_map);
	do_map(run, self, dom, ref, flags);
}

static void step_unmap(struct run *run)
{
	uint32_t from = pick(run, MODEL_HANDLES), handle = 0, self;

	/* The emulator's handles are small numbers, most of them used again. */
	for (uint32_t i = 0; i < 256; i++) {
		handle = pick(run, run->m->n_handles * 2 + 16);
		if (handle < MODEL_HANDLES && run->m->handles[handle].mapper != MODEL_NONE)
			break;
	}
	if (chance(run, 30))
		handle = chance(run, 500) ? from : (uint32_t)draw(run);
	self = handle < MODEL_HANDLES && run->m->handles[handle].mapper != MODEL_NONE &&
			       chance(run, 970)
		       ? run->m->handles[handle].mapper
		       : some_live(run);
	if (bus_addr_of(run, handle) && chance(run, 150))
		unmap_call(run, self, handle, HOST_VA, bus_addr_of(run, handle) + MODEL_PAGE_SIZE);
	else if (chance(run, 850))
		do_unmap(run, self, handle);
	else if (chance(run, 400))
		unmap_call(run, self, handle, HOST_VA, 0);
	else if (chance(run, 500))
		unmap_call(run, self, handle, 0, bus_addr_of(run, handle));
	else
		unmap_call(run, self, handle, 0, chance(run, 500) ? 0 : 4096 * (1 + draw(run) % 8));
}

/* The page that is mapped gives way to what is mapped at another address. */
static void step_unmap_replace(struct run *run)
{
	gnttab_unmap_and_replace_t *a = (gnttab_unmap_and_replace_t *)(void *)run->arg1;
	uint32_t handle = pick(run, run->m->n_handles * 2 + 16), self = some_live(run);
	int predicted, actual;

	for (uint32_t i = 0; i < 256; i++) {
		if (handle < MODEL_HANDLES && run->m->handles[handle].mapper != MODEL_NONE)
			break;
		handle = pick(run, run->m->n_handles * 2 + 16);
	}
	if (handle < MODEL_HANDLES && run->m->handles[handle].mapper != MODEL_NONE &&
		chance(run, 950))
		self = run->m->handles[handle].mapper;
	*a = (gnttab_unmap_and_replace_t){.host_addr = chance(run, 900) ? HOST_VA : 0,
		.new_addr = chance(run, 500)   ? 2 * HOST_VA
			    : chance(run, 300) ? 0
					       : 1ULL << 47,
		.handle = handle};
	CALL(run, OP_UNMAP_REPLACE, self, handle, a->host_addr, a->new_addr);
	predicted = model_unmap_replace(run->m, self, handle, a->host_addr, a->new_addr);
	actual = grant_table_op(
		run->xen, run->m->domains[self].domid, GNTTABOP_unmap_and_replace, a, 1);
	if (actual != 0)
		fail(run, "the call as a whole gives %d", actual);
	call_end_grant(run, predicted, a->status);
}

static void step_grant_odd(struct run *run)
{
	uint32_t self = some_live(run);
	uint16_t domid = run->m->domains[self].domid;

	switch (pick(run, 4)) {
	case 0:
		CALL(run, OP_GRANT_OTHER, self, 100);
		call_end(run, -ENOSYS, grant_table_op(run->xen, domid, 100, run->arg1, 1));
		break;
	case 1:
		CALL(run, OP_MAP, self, 16);
		call_end(run, -EFAULT,
			grant_table_op(run->xen, domid, GNTTABOP_map_grant_ref, BAD, 1));
		break;
	case 2:
		CALL(run, OP_UNMAP, self, 16);
		call_end(run, -EFAULT,
			grant_table_op(run->xen, domid, GNTTABOP_unmap_grant_ref, NULL, 1));
		break;
	default:
		CALL(run, OP_MAP, self, 0, 0, 0, ~0U);
		call_end(run, -EINVAL,
			grant_table_op(run->xen, domid, GNTTABOP_map_grant_ref, run->arg1, ~0U));
	}
}

void step_grant(struct run *run)
{
	uint32_t what = pick(run, 100);

	if (what < 31)
		step_map(run);
	else if (what < 61)
		step_unmap(run);
	else if (what < 66)
		step_unmap_replace(run);
	else if (what < 86)
		step_copy(run);
	else if (what < 97)
		step_table(run);
	else
		step_grant_odd(run);
}
