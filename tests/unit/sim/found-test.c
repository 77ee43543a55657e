/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where the emulator was not Xen, as tests/random found it: each once, by hand. */
#include "tests/unit/sim/support.h"

#include "hv/sim/hypervisor/argo.h"

#define HOST_VA 0x100000U

static struct sim_domain *domain_of(struct world *w, uint16_t domid)
{
	return domain_at(w->xen, sim_domain_find(w->xen, domid));
}

static uint64_t page_of(struct world *w, uint16_t domid)
{
	uint64_t gfn;

	assert_int_equal(sim_pages_alloc(w->xen, domid, 1, &gfn), 0);
	return gfn;
}

static uint64_t entry(uint32_t flags, uint16_t domid, uint64_t gfn)
{
	return (uint64_t)flags | (uint64_t)domid << 16 | gfn << 32;
}

static int map(struct world *w, uint16_t who, uint16_t dom, uint32_t ref, uint32_t flags,
	gnttab_map_grant_ref_t *ret)
{
	*ret = (gnttab_map_grant_ref_t){
		.host_addr = HOST_VA, .dom = dom, .ref = ref, .flags = GNTMAP_host_map | flags};
	assert_int_equal(grant_table_op(w->xen, who, GNTTABOP_map_grant_ref, ret, 1), 0);
	return ret->status;
}

static int unmap(struct world *w, uint16_t who, uint32_t handle)
{
	gnttab_unmap_grant_ref_t op = {.host_addr = HOST_VA, .handle = handle};

	assert_int_equal(grant_table_op(w->xen, who, GNTTABOP_unmap_grant_ref, &op, 1), 0);
	return op.status;
}

/* An entry is its guest's to write. While it is pinned, Xen goes by what it saw then. */
static void test_entry_rewritten(void **state)
{
	struct world *w = *state;
	struct sim_domain *a = domain_of(w, w->a);
	uint64_t gfn = page_of(w, w->a);
	gnttab_map_grant_ref_t first, second;

	a->grants[100] = entry(GTF_permit_access, w->b, gfn);
	assert_int_equal(map(w, w->b, w->a, 100, 0, &first), GNTST_okay);
	a->grants[100] = entry(GTF_invalid, 77, 0xffffffffU);
	assert_int_equal(sim_check(w->sim, stderr), 0);
	assert_int_equal(map(w, w->b, w->a, 100, 0, &second), GNTST_okay);
	assert_int_equal(second.dev_bus_addr, gfn * HV_PAGE_SIZE);
	assert_int_equal(unmap(w, w->b, first.handle), GNTST_okay);
	assert_int_equal(unmap(w, w->b, second.handle), GNTST_okay);
	assert_int_equal(a->grants[100], entry(GTF_invalid, 77, 0xffffffffU));
}

/* Only a writer's end clears GTF_writing, whoever set it; a bad frame clears its own bits. */
static void test_entry_flags(void **state)
{
	struct world *w = *state;
	struct sim_domain *a = domain_of(w, w->a);
	uint64_t gfn = page_of(w, w->a);
	uint32_t used = GTF_reading | GTF_writing;
	gnttab_map_grant_ref_t op;

	a->grants[100] = entry(GTF_permit_access | GTF_writing, w->b, gfn);
	assert_int_equal(map(w, w->b, w->a, 100, GNTMAP_readonly, &op), GNTST_okay);
	assert_int_equal(unmap(w, w->b, op.handle), GNTST_okay);
	assert_int_equal(a->grants[100], entry(GTF_permit_access | GTF_writing, w->b, gfn));

	a->grants[100] = entry(GTF_permit_access | used, w->b, 0);
	assert_int_equal(map(w, w->b, w->a, 100, GNTMAP_readonly, &op), GNTST_bad_page);
	assert_int_equal(a->grants[100], entry(GTF_permit_access | GTF_writing, w->b, 0));
	assert_int_equal(map(w, w->b, w->a, 100, 0, &op), GNTST_bad_page);
	assert_int_equal(a->grants[100], entry(GTF_permit_access, w->b, 0));
}

/* Xen counts the pins of an entry, of one kind, in 8 bits. */
static void test_pins(void **state)
{
	struct world *w = *state;
	gnttab_map_grant_ref_t op;

	domain_of(w, w->a)->grants[100] = entry(GTF_permit_access, w->b, page_of(w, w->a));
	for (uint32_t i = 0; i < 128; i++)
		assert_int_equal(map(w, w->b, w->a, 100, 0, &op), GNTST_okay);
	assert_int_equal(map(w, w->b, w->a, 100, 0, &op), GNTST_general_error);
	assert_int_equal(map(w, w->b, w->a, 100, GNTMAP_readonly, &op), GNTST_okay);
}

/* Pages that a domain has mapped by hypercalls, its own too, are given back when it dies. */
static void test_mapper_dies(void **state)
{
	struct world *w = *state;
	struct sim_domain *a = domain_of(w, w->a);
	gnttab_map_grant_ref_t op;

	a->grants[100] = entry(GTF_permit_access, w->b, page_of(w, w->a));
	domain_of(w, w->b)->grants[100] = entry(GTF_permit_access, w->b, page_of(w, w->b));
	assert_int_equal(map(w, w->b, w->a, 100, 0, &op), GNTST_okay);
	assert_int_equal(map(w, w->b, w->b, 100, 0, &op), GNTST_okay);
	assert_int_equal(sim_domain_destroy(w->sim, w->b), 0);
	assert_int_equal(a->n_pinned, 0);
	assert_int_equal(a->grants[100] & (GTF_reading | GTF_writing), 0);
	assert_int_equal(sim_domain_find(w->xen, w->b), DOMAIN_NONE);
	assert_int_equal(sim_check(w->sim, stderr), 0);
}

/* The last mapper of a zombie dies: both are gone. */
static void test_zombies_mapper_dies(void **state)
{
	struct world *w = *state;
	gnttab_map_grant_ref_t op;

	domain_of(w, w->a)->grants[100] = entry(GTF_permit_access, w->b, page_of(w, w->a));
	assert_int_equal(map(w, w->b, w->a, 100, 0, &op), GNTST_okay);
	assert_int_equal(sim_domain_destroy(w->sim, w->a), 0);
	assert_int_not_equal(sim_domain_find(w->xen, w->a), DOMAIN_NONE);
	assert_int_equal(sim_domain_destroy(w->sim, w->b), 0);
	assert_int_equal(sim_domain_find(w->xen, w->a), DOMAIN_NONE);
	assert_int_equal(sim_domain_find(w->xen, w->b), DOMAIN_NONE);
}

/* A dead domain does not wait for room any more: its successor would be woken for it. */
static void test_waiter_dies(void **state)
{
	struct world *w = *state;
	xen_argo_register_ring_t reg = {.aport = 5, .partner_id = XEN_ARGO_DOMID_ANY, .len = 4032};
	xen_argo_send_addr_t addr = {.src.domain_id = w->b, .dst = {.aport = 5, .domain_id = w->a}};
	uint8_t data[3000] = {0};
	xen_argo_iov_t iov = {.iov_hnd = data, .iov_len = sizeof(data)};
	xen_argo_gfn_t gfn = page_of(w, w->a);
	struct sim_ring *ring;

	w->xen->seg->argo_mac_permissive = 1;
	assert_int_equal(argo_op(w->xen, w->a, XEN_ARGO_OP_register_ring, &reg, &gfn, 1, 0), 0);
	assert_int_equal(argo_op(w->xen, w->b, XEN_ARGO_OP_sendv, &addr, &iov, 1, 0), 3000);
	assert_int_equal((int)argo_op(w->xen, w->b, XEN_ARGO_OP_sendv, &addr, &iov, 1, 0), -EAGAIN);
	ring = argo_find(
		w->xen, sim_domain_find(w->xen, w->a), 5, XEN_ARGO_DOMID_ANY, &(uint32_t){0});
	assert_int_equal(ring->n_waiters, 1);
	assert_int_equal(sim_domain_destroy(w->sim, w->b), 0);
	assert_int_equal(ring->n_waiters, 0);
}

static uint32_t alloc(struct world *w, uint16_t domid)
{
	evtchn_alloc_unbound_t op = {.dom = DOMID_SELF, .remote_dom = domid};

	assert_int_equal(evtchn_op(w->xen, domid, EVTCHNOP_alloc_unbound, &op), 0);
	return op.port;
}

/* Ports become valid by 64, also for a call that fails in the end. */
static void test_bucket_stays(void **state)
{
	struct world *w = *state;
	evtchn_bind_interdomain_t bind = {.remote_dom = w->b, .remote_port = 60};
	evtchn_status_t status = {.dom = DOMID_SELF, .port = 64};

	while (alloc(w, w->a) < 63)
		;
	assert_int_equal(evtchn_op(w->xen, w->a, EVTCHNOP_status, &status), -EINVAL);
	assert_int_equal(evtchn_op(w->xen, w->a, EVTCHNOP_bind_interdomain, &bind), -EINVAL);
	assert_int_equal(evtchn_op(w->xen, w->a, EVTCHNOP_status, &status), 0);
	assert_int_equal(status.status, EVTCHNSTAT_closed);
}

/* The upcall comes with a selector bit that was clear; what it leads to is there to be found. */
static void test_upcall(void **state)
{
	struct world *w = *state;
	struct sim_domain_config config = {.name = "bare", .no_guest_kernel = true};
	evtchn_bind_interdomain_t bind = {.remote_dom = DOMID_SELF};
	struct sim_shared_info *info;
	uint16_t bare;

	assert_int_equal(sim_domain_create(w->sim, &config, &bare), 0);
	info = &domain_of(w, bare)->info;
	bind.remote_port = alloc(w, bare);
	assert_int_equal(evtchn_op(w->xen, bare, EVTCHNOP_bind_interdomain, &bind), 0);
	assert_int_equal(info->selector, 1);
	assert_int_equal(info->upcall_pending, 1);
	info->upcall_pending = 0;
	bind.remote_port = alloc(w, bare);
	assert_int_equal(evtchn_op(w->xen, bare, EVTCHNOP_bind_interdomain, &bind), 0);
	assert_int_equal(info->upcall_pending, 0);
	info->selector = 0;
	bind.remote_port = alloc(w, bare);
	assert_int_equal(evtchn_op(w->xen, bare, EVTCHNOP_bind_interdomain, &bind), 0);
	assert_int_equal(info->selector, 1);
	assert_int_equal(info->upcall_pending, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SIM_TEST(test_entry_rewritten),
		SIM_TEST(test_entry_flags),
		SIM_TEST(test_pins),
		SIM_TEST(test_mapper_dies),
		SIM_TEST(test_zombies_mapper_dies),
		SIM_TEST(test_waiter_dies),
		SIM_TEST(test_bucket_stays),
		SIM_TEST(test_upcall),
	};

	return cmocka_run_group_tests_name("sim-found", tests, NULL, NULL);
}
