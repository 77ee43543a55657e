/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Grant tables of version 2, where several domains are needed: the listing (tests/listing) has the
 * rest, and compares it with a real Xen.
 */
#define __XEN_INTERFACE_VERSION__ __XEN_LATEST_INTERFACE_VERSION__ /* all operations */
#include "tests/unit/sim/support.h"

#include <string.h>

#include "hv/sim/memory/page.h"

#define REF 20U

struct granter {
	uint16_t domid;
	struct sim_domain *d;
	uint64_t gfn;
	uint8_t *page;
};

static struct granter granter_make(struct world *w)
{
	struct sim_domain_config config = {.no_guest_kernel = true};
	struct granter g;

	assert_int_equal(sim_domain_create(w->sim, &config, &g.domid), 0);
	g.d = domain_at(w->xen, sim_domain_find(w->xen, g.domid));
	assert_int_equal(sim_pages_alloc(w->xen, g.domid, 1, &g.gfn), 0);
	g.page = sim_page(w->xen, g.gfn);
	for (unsigned int i = 0; i < 4096; i++)
		g.page[i] = (uint8_t)(i % 251 + 1);
	return g;
}

static int set_version(struct world *w, uint16_t domid, uint32_t version)
{
	gnttab_set_version_t op = {.version = version};

	return grant_table_op(w->xen, domid, GNTTABOP_set_version, &op, 1);
}

static struct granter granter_v2(struct world *w)
{
	struct granter g = granter_make(w);

	assert_int_equal(set_version(w, g.domid, 2), 0);
	return g;
}

static grant_entry_v2_t *entry(const struct granter *g, uint32_t ref)
{
	return (grant_entry_v2_t *)(void *)g->d->grants + ref;
}

static void give(const struct granter *g, uint32_t ref, uint16_t to, uint16_t flags)
{
	*entry(g, ref) = (grant_entry_v2_t){.full_page = {.hdr = {flags, to}, .frame = g->gfn}};
}

static void give_part(
	const struct granter *g, uint32_t ref, uint16_t to, uint16_t offset, uint16_t length)
{
	give(g, ref, to, GTF_permit_access | GTF_sub_page);
	entry(g, ref)->sub_page.page_off = offset;
	entry(g, ref)->sub_page.length = length;
}

static void pass_on(
	const struct granter *g, uint32_t ref, uint16_t to, uint16_t from, uint32_t behind)
{
	*entry(g, ref) = (grant_entry_v2_t){
		.transitive = {.hdr = {GTF_transitive, to}, .trans_domid = from, .gref = behind}};
}

/* By a reference of the granter's, from `at` on; to_ref: the other way. */
static int copy(struct world *w, const struct granter *who, const struct granter *granter,
	uint32_t ref, uint16_t at, uint16_t len, bool to_ref)
{
	gnttab_copy_t op = {.len = len, .flags = to_ref ? GNTCOPY_dest_gref : GNTCOPY_source_gref};
	struct gnttab_copy_ptr *by_ref = to_ref ? &op.dest : &op.source;
	struct gnttab_copy_ptr *own = to_ref ? &op.source : &op.dest;

	by_ref->u.ref = ref;
	by_ref->domid = granter->domid;
	by_ref->offset = at;
	own->u.gmfn = who->gfn;
	own->domid = DOMID_SELF;
	own->offset = at;
	assert_int_equal(grant_table_op(w->xen, who->domid, GNTTABOP_copy, &op, 1), 0);
	return op.status;
}

static int map(struct world *w, uint16_t who, uint16_t dom, uint32_t ref, uint32_t flags,
	uint32_t *ret_handle)
{
	gnttab_map_grant_ref_t op = {
		.host_addr = 0x100000, .dom = dom, .ref = ref, .flags = flags | GNTMAP_host_map};

	assert_int_equal(grant_table_op(w->xen, who, GNTTABOP_map_grant_ref, &op, 1), 0);
	*ret_handle = op.handle;
	return op.status;
}

static void unmap(struct world *w, uint16_t who, uint32_t handle)
{
	gnttab_unmap_grant_ref_t op = {.host_addr = 0x100000, .handle = handle};

	assert_int_equal(grant_table_op(w->xen, who, GNTTABOP_unmap_grant_ref, &op, 1), 0);
	assert_int_equal(op.status, GNTST_okay);
}

/* The domains that may switch; where the status is; how many entries there are. */
static void test_table(void **state)
{
	struct world *w = *state;
	struct granter g = granter_v2(w), reader = granter_make(w);
	struct sim_domain_config old = {.no_guest_kernel = true, .grant_v1 = true};
	gnttab_setup_table_t setup = {.dom = DOMID_SELF, .nr_frames = 8};
	gnttab_get_status_frames_t status = {.dom = DOMID_SELF, .nr_frames = 1};
	uint64_t frame;
	xen_pfn_t frames[8];
	uint16_t domid;
	uint32_t h;

	assert_int_equal(sim_domain_create(w->sim, &old, &domid), 0);
	assert_int_equal(set_version(w, domid, 2), -ENOSYS);
	assert_int_equal(set_version(w, w->a, 2), -ENOSYS); /* its kernel knows one only */
	assert_int_equal(set_version(w, g.domid, 2), 0);
	give(&g, 256, reader.domid, GTF_permit_access);
	assert_int_equal(map(w, reader.domid, g.domid, 256, 0, &h), GNTST_bad_gntref);
	set_xen_guest_handle(setup.frame_list, frames);
	assert_int_equal(grant_table_op(w->xen, g.domid, GNTTABOP_setup_table, &setup, 1), 0);
	assert_int_equal(setup.status, GNTST_okay);
	give(&g, 2047, reader.domid, GTF_permit_access);
	assert_memory_equal((grant_entry_v2_t *)sim_page(w->xen, frames[7]) + 255, entry(&g, 2047),
		sizeof(grant_entry_v2_t));
	set_xen_guest_handle(status.frame_list, (uint64_t *)16);
	assert_int_equal(
		grant_table_op(w->xen, g.domid, GNTTABOP_get_status_frames, &status, 1), 0);
	assert_int_equal(status.status, GNTST_bad_virt_addr);
	set_xen_guest_handle(status.frame_list, &frame);
	assert_int_equal(
		grant_table_op(w->xen, g.domid, GNTTABOP_get_status_frames, &status, 1), 0);
	assert_int_equal(status.status, GNTST_okay);
	assert_int_equal(map(w, reader.domid, g.domid, 2047, 0, &h), GNTST_okay);
	assert_int_equal(((uint16_t *)sim_page(w->xen, frame))[2047], GTF_reading | GTF_writing);
	assert_int_equal(entry(&g, 2047)->hdr.flags, GTF_permit_access);
	assert_int_equal(set_version(w, g.domid, 1), -EBUSY);
	unmap(w, reader.domid, h);
	assert_int_equal(((uint16_t *)sim_page(w->xen, frame))[2047], 0);
	assert_int_equal(map(w, reader.domid, g.domid, 2048, 0, &h), GNTST_bad_gntref);
	assert_int_equal(sim_page(w->xen, frame + SIM_MAX_DOMAINS), NULL);
}

/* A grant that stands for another domain's: copied by, for one step, and never mapped. */
static void test_transitive(void **state)
{
	struct world *w = *state;
	struct granter owner = granter_v2(w), between = granter_v2(w), reader = granter_make(w);
	uint32_t h;

	give(&owner, REF, between.domid, GTF_permit_access);
	pass_on(&between, REF, reader.domid, owner.domid, REF);
	memset(reader.page, 0, 4096);
	assert_int_equal(copy(w, &reader, &between, REF, 5, 100, false), GNTST_okay);
	assert_memory_equal(reader.page + 5, owner.page + 5, 100);
	assert_int_equal(reader.page[4] | reader.page[105], 0);
	assert_int_equal(owner.d->grant_status[REF] | between.d->grant_status[REF], 0);
	memset(reader.page, 0xee, 4096);
	assert_int_equal(copy(w, &reader, &between, REF, 200, 8, true), GNTST_okay);
	assert_int_equal(owner.page[200], 0xee);
	assert_int_equal(
		map(w, reader.domid, between.domid, REF, GNTMAP_readonly, &h), GNTST_general_error);
	assert_int_equal(copy(w, &between, &between, REF, 0, 8, false), GNTST_general_error);

	/* The owner's permission counts. */
	give(&owner, REF, between.domid, GTF_permit_access | GTF_readonly);
	assert_int_equal(copy(w, &reader, &between, REF, 0, 8, true), GNTST_general_error);
	assert_int_equal(copy(w, &reader, &between, REF, 0, 8, false), GNTST_okay);
	give_part(&owner, REF, between.domid, 64, 16);
	assert_int_equal(copy(w, &reader, &between, REF, 64, 16, false), GNTST_okay);
	assert_int_equal(copy(w, &reader, &between, REF, 64, 17, false), GNTST_general_error);
	assert_int_equal(copy(w, &reader, &between, REF, 63, 1, true), GNTST_general_error);
	give(&owner, REF, reader.domid, GTF_permit_access);
	assert_int_equal(copy(w, &reader, &between, REF, 0, 8, false), GNTST_general_error);
	pass_on(&between, REF, reader.domid, owner.domid, 256);
	assert_int_equal(copy(w, &reader, &between, REF, 0, 8, false), GNTST_bad_gntref);
	/* not twice, not of nobody's, not of its own */
	pass_on(&between, REF, reader.domid, owner.domid, REF);
	pass_on(&owner, REF, between.domid, reader.domid, REF);
	reader.d->grants[REF] = GTF_permit_access | (uint64_t)owner.domid << 16 | reader.gfn << 32;
	assert_int_equal(copy(w, &reader, &between, REF, 0, 8, false), GNTST_general_error);
	pass_on(&between, REF, reader.domid, 999, REF);
	assert_int_equal(copy(w, &reader, &between, REF, 0, 8, false), GNTST_general_error);
	pass_on(&between, REF, reader.domid, between.domid, REF + 1);
	assert_int_equal(copy(w, &reader, &between, REF, 0, 8, false), GNTST_general_error);
	/* An entry that was another when it was mapped. */
	give(&owner, REF, between.domid, GTF_permit_access);
	give(&between, REF, reader.domid, GTF_permit_access);
	assert_int_equal(map(w, reader.domid, between.domid, REF, GNTMAP_readonly, &h), GNTST_okay);
	pass_on(&between, REF, reader.domid, owner.domid, REF);
	assert_int_equal(copy(w, &reader, &between, REF, 0, 8, true), GNTST_general_error);
	assert_int_equal(
		copy(w, &reader, &between, REF, 0, 8, false), GNTST_okay); /* of the page */
	assert_int_equal(between.d->grant_status[REF], GTF_reading);
	unmap(w, reader.domid, h);
	assert_int_equal(between.d->grant_status[REF], 0);
}

/* A page that is given to a domain of version 2. */
static void test_gift(void **state)
{
	struct world *w = *state;
	struct granter to = granter_v2(w), from = granter_make(w);
	gnttab_transfer_t op = {.mfn = from.gfn, .domid = to.domid, .ref = REF};

	*entry(&to, REF) = (grant_entry_v2_t){.hdr = {GTF_accept_transfer, from.domid}};
	assert_int_equal(grant_table_op(w->xen, from.domid, GNTTABOP_transfer, &op, 1), 0);
	assert_int_equal(op.status, GNTST_okay);
	assert_int_equal(entry(&to, REF)->full_page.frame, from.gfn);
	assert_int_equal(entry(&to, REF)->hdr.flags,
		GTF_accept_transfer | GTF_transfer_committed | GTF_transfer_completed);
	assert_true(page_is_owned(w->xen, from.gfn, sim_domain_find(w->xen, to.domid)));
}

/* A process that dies while it switches: one version, or the other. */
static void test_cut(void **state)
{
	struct world *w = *state;
	struct granter g = granter_make(w);
	volatile bool was_cut = true;
	volatile uint32_t n_old = 0;
	struct hv *victim;

	for (int n = 1; was_cut; n++) {
		struct cut cut = {.left = n};

		g.d->grants[3] = GTF_permit_access | GTF_reading | g.gfn << 32;
		g.d->grants[REF] = GTF_permit_access | (uint64_t)w->a << 16 | g.gfn << 32;
		assert_int_equal(sim_hv_open(w->sim, w->a, &victim), 0);
		was_cut = setjmp(cut.jump) != 0;
		if (!was_cut) {
			sim_hv_xen(victim)->step = cut_step;
			sim_hv_xen(victim)->step_arg = &cut;
			assert_int_equal(
				grant_table_op(sim_hv_xen(victim), g.domid, GNTTABOP_set_version,
					&(gnttab_set_version_t){.version = 2}, 1),
				0);
			sim_hv_xen(victim)->step = NULL;
			was_cut = false;
		}
		sim_hv_kill(w->sim, victim);
		assert_int_equal(sim_check(w->sim, stderr), 0);
		if (g.d->grant_version == 1) {
			n_old++;
			assert_int_equal(
				g.d->grants[3], GTF_permit_access | GTF_reading | g.gfn << 32);
			assert_int_equal((uint32_t)(g.d->grants[REF] >> 32), g.gfn);
			continue;
		}
		assert_int_equal(entry(&g, 3)->full_page.frame, g.gfn);
		assert_int_equal(entry(&g, 3)->hdr.flags, GTF_permit_access);
		assert_int_equal(g.d->grant_status[3], GTF_reading);
		assert_int_equal(entry(&g, REF)->full_page.frame, 0);
		assert_int_equal(g.d->grants[REF], 0);
		assert_int_equal(set_version(w, g.domid, 1), 0);
		assert_int_equal(g.d->grants[3], GTF_permit_access | GTF_reading | g.gfn << 32);
	}
	assert_true(n_old > 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SIM_TEST(test_table),
		SIM_TEST(test_transitive),
		SIM_TEST(test_gift),
		SIM_TEST(test_cut),
	};

	return cmocka_run_group_tests_name("sim-grant-v2", tests, NULL, NULL);
}
