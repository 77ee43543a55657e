/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Grants at the level of the hypercall, and the death of domains whose pages are mapped. */
#define __XEN_INTERFACE_VERSION__ __XEN_LATEST_INTERFACE_VERSION__ /* all operations */
#include "tests/unit/sim/support.h"

#include <string.h>
#include <sys/mman.h>

#include "hv/sim/memory/page.h"

#define VA 0x100000U /* where a guest would have it */

/* A page of a's own, granted as a guest would: by writing the entry. */
static uint64_t grant(struct world *w, uint16_t domid, uint32_t ref, uint16_t to, uint16_t flags)
{
	struct sim_domain *d = domain_at(w->xen, sim_domain_find(w->xen, domid));
	uint64_t gfn;

	assert_int_equal(sim_pages_alloc(w->xen, domid, 1, &gfn), 0);
	d->grants[ref] = (uint64_t)flags | (uint64_t)to << 16 | gfn << 32;
	return gfn;
}

static int map(struct world *w, uint16_t who, uint16_t dom, uint32_t ref, uint32_t flags,
	uint32_t *ret_handle)
{
	gnttab_map_grant_ref_t op = {.host_addr = VA, .dom = dom, .ref = ref, .flags = flags};

	assert_int_equal(grant_table_op(w->xen, who, GNTTABOP_map_grant_ref, &op, 1), 0);
	*ret_handle = op.handle;
	return op.status;
}

static int unmap(struct world *w, uint16_t who, uint32_t handle)
{
	gnttab_unmap_grant_ref_t op = {.host_addr = VA, .handle = handle};

	assert_int_equal(grant_table_op(w->xen, who, GNTTABOP_unmap_grant_ref, &op, 1), 0);
	return op.status;
}

static void test_map(void **state)
{
	struct world *w = *state;
	struct sim_domain *a = domain_at(w->xen, sim_domain_find(w->xen, w->a));
	uint32_t h, h2, rw = GNTMAP_host_map, ro = GNTMAP_host_map | GNTMAP_readonly;

	(void)grant(w, w->a, 100, w->b, GTF_permit_access);
	(void)grant(w, w->a, 101, w->b, GTF_permit_access | GTF_readonly);
	(void)grant(w, w->a, 102, w->b, GTF_accept_transfer);
	assert_int_equal(map(w, w->b, w->a, 100, 0, &h), GNTST_bad_gntref);
	assert_int_equal(map(w, w->b, 99, 100, rw, &h), GNTST_bad_domain);
	assert_int_equal(map(w, w->b, DOMID_SELF, 100, rw, &h), GNTST_bad_domain);
	assert_int_equal(map(w, w->b, w->a, 4096, rw, &h), GNTST_bad_gntref);
	assert_int_equal(map(w, w->b, w->a, 103, rw, &h), GNTST_general_error);
	assert_int_equal(map(w, w->b, w->a, 102, rw, &h), GNTST_general_error);
	assert_int_equal(map(w, 0, w->a, 100, rw, &h), GNTST_general_error); /* another's */
	assert_int_equal(map(w, w->b, w->a, 101, rw, &h), GNTST_general_error);
	assert_int_equal(map(w, w->b, w->a, 101, ro, &h), GNTST_okay);
	assert_int_equal(a->grants[101] & (GTF_reading | GTF_writing), GTF_reading);
	assert_int_equal(unmap(w, w->b, h), GNTST_okay);
	assert_int_equal(unmap(w, w->b, h), GNTST_bad_handle);
	assert_int_equal(a->grants[101] & (GTF_reading | GTF_writing), 0);

	assert_int_equal(map(w, w->b, w->a, 100, rw, &h), GNTST_okay);
	assert_int_equal(unmap(w, w->a, h), GNTST_bad_handle); /* not its own */
	assert_int_equal(map(w, w->b, w->a, 100, ro, &h2), GNTST_okay);
	assert_int_equal(unmap(w, w->b, h), GNTST_okay);
	assert_int_equal(a->grants[100] & (GTF_reading | GTF_writing), GTF_reading);
	assert_int_equal(unmap(w, w->b, h2), GNTST_okay);
	assert_int_equal(a->n_pinned, 0);
	assert_int_equal(unmap(w, w->b, 0xffffffff), GNTST_bad_handle);
}

static void test_bad_page(void **state)
{
	struct world *w = *state;
	struct sim_domain *a = domain_at(w->xen, sim_domain_find(w->xen, w->a));
	uint64_t gfn;
	uint32_t h;

	/* b's page, granted by a */
	assert_int_equal(sim_pages_alloc(w->xen, w->b, 1, &gfn), 0);
	a->grants[100] = GTF_permit_access | (uint64_t)w->b << 16 | gfn << 32;
	assert_int_equal(map(w, w->b, w->a, 100, GNTMAP_host_map, &h), GNTST_bad_page);
	a->grants[100] = GTF_permit_access | (uint64_t)w->b << 16 | 0xffffffffULL << 32;
	assert_int_equal(map(w, w->b, w->a, 100, GNTMAP_host_map, &h), GNTST_bad_page);
}

static void test_calls(void **state)
{
	struct world *w = *state;
	gnttab_query_size_t q = {.dom = DOMID_SELF};

	assert_int_equal(grant_table_op(w->xen, w->a, GNTTABOP_query_size, &q, 1), 0);
	assert_int_equal(q.status, GNTST_okay);
	assert_int_equal(q.nr_frames, 8);
	q.dom = w->b;
	assert_int_equal(grant_table_op(w->xen, w->a, GNTTABOP_query_size, &q, 1), 0);
	assert_int_equal(q.status, GNTST_permission_denied);
	assert_int_equal(grant_table_op(w->xen, w->a, GNTTABOP_query_size, &q, 2), -EINVAL);
	assert_int_equal(grant_table_op(w->xen, w->a, GNTTABOP_map_grant_ref, NULL, 1), -EFAULT);
	assert_int_equal(grant_table_op(w->xen, w->a, GNTTABOP_map_grant_ref, NULL, 0), 0);
	assert_int_equal(grant_table_op(w->xen, w->a, GNTTABOP_map_grant_ref, NULL, ~0U), -EINVAL);
	assert_int_equal(grant_table_op(w->xen, w->a, GNTTABOP_dump_table, &q, 1), -ENOSYS);
	assert_int_equal(
		grant_table_op(w->xen, w->a, GNTTABOP_dump_table | 1U << 12, &q, 1), -EINVAL);
}

/* Only the mapping that an address names is unmapped. */
static void test_parts(void **state)
{
	struct world *w = *state;
	struct sim_domain *a = domain_at(w->xen, sim_domain_find(w->xen, w->a));
	gnttab_map_grant_ref_t m = {.host_addr = VA,
		.dom = w->a,
		.ref = 100,
		.flags = GNTMAP_host_map | GNTMAP_device_map};
	gnttab_unmap_grant_ref_t u = {0};
	gnttab_unmap_and_replace_t replace;
	uint32_t h;

	(void)grant(w, w->a, 100, w->b, GTF_permit_access);
	assert_int_equal(grant_table_op(w->xen, w->b, GNTTABOP_map_grant_ref, &m, 1), 0);
	assert_int_equal(m.status, GNTST_okay);
	assert_int_equal(a->n_pinned, 2);
	u.handle = m.handle;
	assert_int_equal(grant_table_op(w->xen, w->b, GNTTABOP_unmap_grant_ref, &u, 1), 0);
	assert_int_equal(u.status, GNTST_okay);
	assert_int_equal(a->n_pinned, 2); /* no address */
	u.host_addr = VA + 4096;
	assert_int_equal(grant_table_op(w->xen, w->b, GNTTABOP_unmap_grant_ref, &u, 1), 0);
	assert_int_equal(u.status, GNTST_general_error);
	u.host_addr = 0;
	u.dev_bus_addr = m.dev_bus_addr + 4096;
	assert_int_equal(grant_table_op(w->xen, w->b, GNTTABOP_unmap_grant_ref, &u, 1), 0);
	assert_int_equal(u.status, GNTST_bad_dev_addr);
	u.dev_bus_addr = m.dev_bus_addr;
	assert_int_equal(grant_table_op(w->xen, w->b, GNTTABOP_unmap_grant_ref, &u, 1), 0);
	assert_int_equal(u.status, GNTST_okay);
	assert_int_equal(a->n_pinned, 1);
	assert_int_equal(sim_check(w->sim, stderr), 0);
	assert_int_equal(unmap(w, w->b, m.handle), GNTST_okay);
	assert_int_equal(unmap(w, w->b, m.handle), GNTST_bad_handle);
	assert_int_equal(a->grants[100] & (GTF_reading | GTF_writing), 0);

	m.host_addr = 0; /* no guest has it there: nothing stays */
	assert_int_equal(grant_table_op(w->xen, w->b, GNTTABOP_map_grant_ref, &m, 1), 0);
	assert_int_equal(m.status, GNTST_general_error);
	assert_int_equal(a->n_pinned, 0);
	assert_int_equal(map(w, w->b, w->a, 100, GNTMAP_host_map, &h), GNTST_okay);
	replace =
		(gnttab_unmap_and_replace_t){.host_addr = VA, .new_addr = 1ULL << 47, .handle = h};
	assert_int_equal(grant_table_op(w->xen, w->b, GNTTABOP_unmap_and_replace, &replace, 1), 0);
	assert_int_equal(replace.status, GNTST_general_error);
	replace.new_addr = VA + 4096;
	assert_int_equal(grant_table_op(w->xen, w->b, GNTTABOP_unmap_and_replace, &replace, 1), 0);
	assert_int_equal(replace.status, GNTST_okay);
	assert_int_equal(a->n_pinned, 0);
}

/* One frame at first, for a guest whose kernel is the test. */
static void test_table(void **state)
{
	struct world *w = *state;
	gnttab_get_version_t get = {.dom = DOMID_SELF};
	gnttab_set_version_t set = {.version = 2};
	xen_pfn_t frames[9] = {0};
	gnttab_setup_table_t setup = {.dom = DOMID_SELF, .nr_frames = 9};
	gnttab_query_size_t q = {.dom = DOMID_SELF};
	struct sim_domain *d;
	uint16_t domid;
	uint32_t h;

	assert_int_equal(sim_domain_create(w->sim,
				 &(struct sim_domain_config){
					 .name = "bare", .no_guest_kernel = true, .grant_v1 = true},
				 &domid),
		0);
	d = domain_at(w->xen, sim_domain_find(w->xen, domid));
	setup.frame_list.p = frames;
	assert_int_equal(grant_table_op(w->xen, domid, GNTTABOP_query_size, &q, 1), 0);
	assert_int_equal(q.nr_frames, 1);
	assert_int_equal(q.max_nr_frames, 8);
	assert_int_equal(map(w, w->b, domid, 512, GNTMAP_host_map, &h), GNTST_bad_gntref);
	assert_int_equal(grant_table_op(w->xen, domid, GNTTABOP_setup_table, &setup, 1), 0);
	assert_int_equal(setup.status, GNTST_general_error);
	setup.nr_frames = 2;
	assert_int_equal(grant_table_op(w->xen, domid, GNTTABOP_setup_table, &setup, 1), 0);
	assert_int_equal(setup.status, GNTST_okay);
	assert_ptr_equal(sim_page(w->xen, frames[0]), d->grants);
	assert_ptr_equal(sim_page(w->xen, frames[1]), &d->grants[512]);
	assert_int_equal(frames[2], 0);
	assert_int_equal(map(w, w->b, domid, 512, GNTMAP_host_map, &h), GNTST_general_error);
	setup.frame_list.p = (xen_pfn_t *)8;
	assert_int_equal(grant_table_op(w->xen, domid, GNTTABOP_setup_table, &setup, 1), 0);
	assert_int_equal(setup.status, GNTST_bad_virt_addr);
	setup.dom = w->a;
	assert_int_equal(grant_table_op(w->xen, domid, GNTTABOP_setup_table, &setup, 1), 0);
	assert_int_equal(setup.status, GNTST_permission_denied);

	assert_int_equal(grant_table_op(w->xen, domid, GNTTABOP_get_version, &get, 1), 0);
	assert_int_equal(get.version, 1);
	get.dom = w->a;
	assert_int_equal(grant_table_op(w->xen, domid, GNTTABOP_get_version, &get, 1), -EPERM);
	get.dom = 99;
	assert_int_equal(grant_table_op(w->xen, domid, GNTTABOP_get_version, &get, 1), -ESRCH);
	assert_int_equal(grant_table_op(w->xen, domid, GNTTABOP_set_version, &set, 1), -ENOSYS);
	assert_int_equal(set.version, 1);
	set.version = 3;
	assert_int_equal(grant_table_op(w->xen, domid, GNTTABOP_set_version, &set, 1), -EINVAL);
}

static int copy(struct world *w, uint16_t dom, uint32_t ref, uint64_t gfn, uint16_t offset)
{
	gnttab_copy_t op = {.source = {.u.ref = ref, .domid = dom, .offset = offset},
		.dest = {.u.gmfn = gfn, .domid = DOMID_SELF},
		.len = 100,
		.flags = GNTCOPY_source_gref};

	assert_int_equal(grant_table_op(w->xen, w->b, GNTTABOP_copy, &op, 1), 0);
	return op.status;
}

static void test_copy(void **state)
{
	struct world *w = *state;
	struct sim_domain *a = domain_at(w->xen, sim_domain_find(w->xen, w->a));
	gnttab_copy_t back = {.source = {.domid = DOMID_SELF},
		.dest = {.u.ref = 100, .domid = w->a},
		.len = 1,
		.flags = GNTCOPY_dest_gref};
	gnttab_swap_grant_ref_t swap = {.ref_a = 100, .ref_b = 101};
	uint64_t from, to;
	uint32_t h;

	from = grant(w, w->a, 100, w->b, GTF_permit_access | GTF_readonly);
	assert_int_equal(sim_pages_alloc(w->xen, w->b, 1, &to), 0);
	memset(sim_page(w->xen, from), 7, 4096);
	assert_int_equal(copy(w, w->a, 100, to, 0), GNTST_okay);
	assert_int_equal(((uint8_t *)sim_page(w->xen, to))[99], 7);
	assert_int_equal(((uint8_t *)sim_page(w->xen, to))[100], 0);
	assert_int_equal(a->grants[100] & (GTF_reading | GTF_writing), 0);
	assert_int_equal(copy(w, w->a, 100, to, 3997), GNTST_bad_copy_arg);
	assert_int_equal(copy(w, w->a, 101, to, 0), GNTST_general_error);
	assert_int_equal(copy(w, w->a, 4096, to, 0), GNTST_bad_gntref);
	assert_int_equal(copy(w, 99, 100, to, 0), GNTST_bad_domain);
	assert_int_equal(copy(w, w->a, 100, from, 0), GNTST_bad_page); /* not its own */
	back.source.u.gmfn = to;
	assert_int_equal(grant_table_op(w->xen, w->b, GNTTABOP_copy, &back, 1), 0);
	assert_int_equal(back.status, GNTST_general_error); /* read-only */
	back.source.domid = w->b;
	assert_int_equal(grant_table_op(w->xen, w->b, GNTTABOP_copy, &back, 1), 0);
	assert_int_equal(back.status, GNTST_permission_denied);

	assert_int_equal(
		map(w, w->b, w->a, 100, GNTMAP_host_map | GNTMAP_readonly, &h), GNTST_okay);
	assert_int_equal(grant_table_op(w->xen, w->a, GNTTABOP_swap_grant_ref, &swap, 1), 0);
	assert_int_equal(swap.status, GNTST_eagain);
	assert_int_equal(unmap(w, w->b, h), GNTST_okay);
	assert_int_equal(grant_table_op(w->xen, w->a, GNTTABOP_swap_grant_ref, &swap, 1), 0);
	assert_int_equal(swap.status, GNTST_okay);
	assert_int_equal(copy(w, w->a, 101, to, 0), GNTST_okay);
	assert_int_equal(copy(w, w->a, 100, to, 0), GNTST_general_error);
}

static void test_transfer(void **state)
{
	struct world *w = *state;
	struct sim_domain *a = domain_at(w->xen, sim_domain_find(w->xen, w->a));
	gnttab_transfer_t op = {.domid = w->a, .ref = 100};
	uint64_t gfn;
	uint32_t h;

	gfn = grant(w, w->b, 100, w->a, GTF_permit_access);
	op.mfn = gfn;
	a->grants[100] = GTF_accept_transfer | (uint64_t)w->b << 16;
	assert_int_equal(map(w, w->a, w->b, 100, GNTMAP_host_map, &h), GNTST_okay);
	assert_int_equal(grant_table_op(w->xen, w->b, GNTTABOP_transfer, &op, 1), 0);
	assert_int_equal(op.status, GNTST_bad_page); /* mapped */
	assert_int_equal(unmap(w, w->a, h), GNTST_okay);
	assert_int_equal(grant_table_op(w->xen, w->b, GNTTABOP_transfer, &op, 1), 0);
	assert_int_equal(op.status, GNTST_okay);
	assert_true(page_is_owned(w->xen, gfn, sim_domain_find(w->xen, w->a)));
	assert_int_equal(a->grants[100] >> 32, gfn);
	assert_int_equal(a->grants[100] & 0xffff,
		GTF_accept_transfer | GTF_transfer_committed | GTF_transfer_completed);
	assert_int_equal(grant_table_op(w->xen, w->b, GNTTABOP_transfer, &op, 1), 0);
	assert_int_equal(op.status, GNTST_bad_page); /* no more its own */

	assert_int_equal(sim_pages_alloc(w->xen, w->b, 1, &gfn), 0);
	op.mfn = gfn;
	assert_int_equal(grant_table_op(w->xen, w->b, GNTTABOP_transfer, &op, 1), 0);
	assert_int_equal(op.status, GNTST_general_error); /* the entry was used */
	assert_false(page_is_owned(w->xen, gfn, sim_domain_find(w->xen, w->b)));
	assert_int_equal(sim_pages_alloc(w->xen, w->b, 1, &gfn), 0);
	op.mfn = gfn;
	op.domid = 99;
	assert_int_equal(grant_table_op(w->xen, w->b, GNTTABOP_transfer, &op, 1), 0);
	assert_int_equal(op.status, GNTST_bad_domain);
}

static int transfer(struct world *w, uint64_t gfn, uint16_t to, uint32_t ref)
{
	gnttab_transfer_t op = {.mfn = gfn, .domid = to, .ref = ref};

	assert_int_equal(grant_table_op(w->xen, w->b, GNTTABOP_transfer, &op, 1), 0);
	return op.status;
}

/*
 * A page that a grant or a ring of the hypervisor's has stays; a page that is off the way is lost.
 */
static void test_transfer_refused(void **state)
{
	struct world *w = *state;
	struct sim_domain *a = domain_at(w->xen, sim_domain_find(w->xen, w->a));
	xen_argo_register_ring_t whole = {.aport = 5, .partner_id = w->a};
	xen_argo_register_ring_t parts = {.aport = 6, .partner_id = w->a};
	xen_argo_gfn_t gfns[4], swapped[2];
	uint64_t gfn;
	uint16_t dying;
	uint32_t h;

	assert_int_equal(sim_pages_alloc(w->xen, w->b, 4, &gfn), 0);
	for (uint32_t i = 0; i < 4; i++)
		gfns[i] = gfn + i;
	swapped[0] = gfns[3];
	swapped[1] = gfns[2];
	whole.len = parts.len = 2 * 4096 - 64;
	assert_int_equal(argo_op(w->xen, w->b, XEN_ARGO_OP_register_ring, &whole, gfns, 2, 0), 0);
	assert_int_equal(
		argo_op(w->xen, w->b, XEN_ARGO_OP_register_ring, &parts, swapped, 2, 0), 0);
	a->grants[100] = GTF_accept_transfer | (uint64_t)w->b << 16;
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(transfer(w, gfns[i], w->a, 100), GNTST_bad_page);
		assert_true(page_is_owned(w->xen, gfns[i], sim_domain_find(w->xen, w->b)));
	}
	assert_int_equal(transfer(w, 0, w->a, 100), GNTST_bad_page);
	assert_int_equal(transfer(w, UINT64_MAX, w->a, 100), GNTST_bad_page);
	assert_int_equal(transfer(w, grant(w, w->a, 101, w->b, 0), w->a, 100), GNTST_bad_page);
	gfn = grant(w, w->b, 102, w->a, GTF_permit_access | GTF_readonly);
	assert_int_equal(
		map(w, w->a, w->b, 102, GNTMAP_host_map | GNTMAP_readonly, &h), GNTST_okay);
	assert_int_equal(transfer(w, gfn, w->a, 100), GNTST_bad_page);
	assert_int_equal(unmap(w, w->a, h), GNTST_okay);
	assert_int_equal(transfer(w, gfn, w->a, 1U << 30), GNTST_general_error);

	a->grants[103] = GTF_accept_transfer; /* from Domain-0 */
	assert_int_equal(sim_pages_alloc(w->xen, w->b, 1, &gfn), 0);
	assert_int_equal(transfer(w, gfn, w->a, 103), GNTST_general_error);
	a->grants[103] = GTF_permit_access | (uint64_t)w->b << 16;
	assert_int_equal(sim_pages_alloc(w->xen, w->b, 1, &gfn), 0);
	assert_int_equal(transfer(w, gfn, w->a, 103), GNTST_general_error);

	/* A zombie takes nothing any more. */
	assert_int_equal(
		sim_domain_create(w->sim, &(struct sim_domain_config){.name = "c"}, &dying), 0);
	(void)grant(w, dying, 100, w->a, GTF_permit_access);
	domain_at(w->xen, sim_domain_find(w->xen, dying))->grants[101] =
		GTF_accept_transfer | (uint64_t)w->b << 16;
	assert_int_equal(map(w, w->a, dying, 100, GNTMAP_host_map, &h), GNTST_okay);
	assert_int_equal(sim_domain_destroy(w->sim, dying), 0);
	assert_int_equal(sim_pages_alloc(w->xen, w->b, 1, &gfn), 0);
	assert_int_equal(transfer(w, gfn, dying, 101), GNTST_general_error);
	assert_int_equal(unmap(w, w->a, h), GNTST_okay);
}

static int flush(struct world *w, uint16_t domid, uint64_t gfn, uint16_t length, uint32_t flags)
{
	gnttab_cache_flush_t op = {
		.a.dev_bus_addr = gfn * HV_PAGE_SIZE, .length = length, .op = flags};

	return grant_table_op(w->xen, domid, GNTTABOP_cache_flush, &op, 1);
}

static void test_cache_flush(void **state)
{
	struct world *w = *state;
	gnttab_cache_flush_t none = {0};
	uint64_t gfn = grant(w, w->a, 100, w->b, GTF_permit_access);
	uint32_t h;

	assert_int_equal(flush(w, w->a, gfn, 64, GNTTAB_CACHE_CLEAN), 0);
	assert_int_equal(flush(w, w->a, gfn, 64, GNTTAB_CACHE_INVAL), -EOPNOTSUPP);
	assert_int_equal(flush(w, w->a, gfn, 4097, GNTTAB_CACHE_CLEAN), -EINVAL);
	assert_int_equal(flush(w, w->a, gfn, 64, 4), -EINVAL);
	assert_int_equal(flush(w, w->b, gfn, 64, GNTTAB_CACHE_CLEAN), -EINVAL); /* another's */
	assert_int_equal(map(w, w->b, w->a, 100, GNTMAP_host_map, &h), GNTST_okay);
	assert_int_equal(flush(w, w->b, gfn, 64, GNTTAB_CACHE_CLEAN), 0);
	assert_int_equal(unmap(w, w->b, h), GNTST_okay);
	assert_int_equal(
		grant_table_op(w->xen, w->a, GNTTABOP_cache_flush | 1U << 12, &none, 1), -EILSEQ);
}

static uint32_t n_domains(struct world *w)
{
	struct hv_domain domains[8];
	struct hv *dom0;
	int n;

	assert_int_equal(sim_hv_open(w->sim, 0, &dom0), 0);
	n = dom0->ops->domain_list(dom0, domains, 8);
	hv_close(dom0);
	return (uint32_t)n;
}

/* A destroyed domain whose page somebody maps is a zombie until that is unmapped: no notify. */
static void test_zombie(void **state)
{
	struct world *w = *state;
	struct hv_unmap_notify notify;
	struct hv_share *share;
	struct hv_map *m;
	uint32_t ref, port, peer;
	uint8_t *shared, *mapped;
	uint16_t again;
	struct hv_event event;

	assert_int_equal(w->hv_b->ops->evtchn_alloc_unbound(w->hv_b, w->a, &peer), 0);
	assert_int_equal(w->hv_a->ops->evtchn_bind_interdomain(w->hv_a, w->b, peer, &port), 0);
	notify = (struct hv_unmap_notify){.offset = 9, .port = port};
	assert_int_equal(w->hv_a->ops->grant_share(
				 w->hv_a, w->b, 1, &notify, &ref, (void **)&shared, &share),
		0);
	assert_int_equal(
		w->hv_b->ops->grant_map(w->hv_b, w->a, &ref, 1, true, NULL, (void **)&mapped, &m),
		0);
	mapped[9] = 1;
	assert_int_equal(sim_domain_destroy(w->sim, w->a), 0);
	assert_int_equal(sim_check(w->sim, stderr), 0);
	assert_int_equal(n_domains(w), 3);
	assert_int_equal(sim_domain_destroy(w->sim, w->a), -ESRCH);
	assert_int_equal(mapped[9], 1); /* not a process' death, but a domain's */
	assert_int_equal(w->hv_b->ops->poll_events(w->hv_b, &event, 1), 0);
	/* Its domid is not free yet. */
	assert_int_equal(sim_domain_create(w->sim,
				 &(struct sim_domain_config){.name = "a", .domid = w->a}, &again),
		-EADDRINUSE);
	w->hv_b->ops->grant_unmap(w->hv_b, m);
	assert_int_equal(n_domains(w), 2);
	assert_int_equal(sim_domain_create(w->sim,
				 &(struct sim_domain_config){.name = "a", .domid = w->a}, &again),
		0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SIM_TEST(test_map),
		SIM_TEST(test_bad_page),
		SIM_TEST(test_calls),
		SIM_TEST(test_parts),
		SIM_TEST(test_table),
		SIM_TEST(test_copy),
		SIM_TEST(test_transfer),
		SIM_TEST(test_transfer_refused),
		SIM_TEST(test_cache_flush),
		SIM_TEST(test_zombie),
	};

	return cmocka_run_group_tests_name("sim-grant", tests, NULL, NULL);
}
