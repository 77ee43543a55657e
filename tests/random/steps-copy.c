/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One grant-table hypercall that keeps no pin: copies, gifts, swaps, flushes; the table itself. */
#include "tests/random/random.h"

#include <errno.h>
#include <string.h>

#define BAD	  ((void *)16)
#define REF_FIRST 8U
#define N_REFS	  24U

/* The call as a whole fails only where its arguments cannot be copied. */
static void whole(struct run *run, int actual)
{
	if (actual != 0)
		fail(run, "the call as a whole gives %d", actual);
}

/* A grant of somebody's for `self`, mostly; false: none was found. */
static bool some_grant(struct run *run, uint32_t self, uint16_t *ret_domid, uint32_t *ret_ref)
{
	for (uint32_t i = 0; i < 64; i++) {
		uint32_t granter = some_live(run), ref = REF_FIRST + pick(run, N_REFS);
		struct m_entry e = model_entry(&run->m->domains[granter], ref);

		*ret_domid = run->m->domains[granter].domid;
		*ret_ref = ref;
		if ((e.flags & GTF_permit_access) && /* transitive ones as well */
			e.domid == run->m->domains[self].domid)
			return true;
	}
	return false;
}

/* ---- copying ------------------------------------------------------------------------------ */

/* Half of one: a grant, or a page of one's own. */
static bool some_end(struct run *run, uint32_t self, struct gnttab_copy_ptr *end)
{
	const struct m_domain *d = &run->m->domains[self];
	uint32_t zombie = some_zombie(run), ref;
	bool by_ref = chance(run, 600);
	uint16_t domid;

	memset(end, 0, sizeof(*end));
	end->domid = DOMID_SELF;
	end->offset = (uint16_t)pick(run, 2048);
	if (by_ref) {
		if (some_grant(run, self, &domid, &ref) || chance(run, 500)) {
			end->domid = domid;
			end->u.ref = ref;
		} else {
			by_ref = false;
		}
	}
	if (!by_ref)
		end->u.gmfn = d->n_pages ? d->pages[pick(run, d->n_pages)] : 0;
	if (by_ref && chance(run, 20) && zombie != MODEL_NONE)
		end->domid = run->m->domains[zombie].domid;
	if (chance(run, 30))
		end->domid = chance(run, 500) ? some_bad_domid(run) : some_domid(run);
	if (by_ref && chance(run, 20))
		end->u.ref = chance(run, 500) ? MODEL_GREFS : (uint32_t)draw(run);
	if (!by_ref && chance(run, 30))
		end->u.gmfn = chance(run, 500) ? MODEL_GFNS + draw(run) % (1ULL << 40)
					       : run->m->domains[some_live(run)].pages[0];
	return by_ref;
}

/* Some pinned grants are copied from by whom they are for: those are the subtle ones. */
static bool pinned_end(struct run *run, uint32_t *ret_self, struct gnttab_copy_ptr *end)
{
	for (uint32_t i = 0; i < 64; i++) {
		const struct m_handle *h =
			&run->m->handles[pick(run, run->m->n_handles * 2 + 16) % MODEL_HANDLES];

		if (h->mapper == MODEL_NONE || run->m->domains[h->mapper].life != M_ALIVE)
			continue;
		*ret_self = h->mapper;
		end->domid = run->m->domains[h->granter].domid;
		end->u.ref = h->ref;
		return true;
	}
	return false;
}

static void copy(struct run *run, uint32_t self, const gnttab_copy_t *op)
{
	gnttab_copy_t *a = (gnttab_copy_t *)(void *)run->arg1;
	int predicted;

	*a = *op;
	CALL(run, OP_COPY, self, op->source.domid, op->source.u.ref, op->dest.domid, op->dest.u.ref,
		op->len, op->flags);
	predicted = model_copy(run->m, self, op);
	whole(run, grant_table_op(run->xen, run->m->domains[self].domid, GNTTABOP_copy, a, 1));
	call_end_grant(run, predicted, a->status);
}

void do_copy_from(struct run *run, uint32_t self, uint16_t domid, uint32_t ref)
{
	gnttab_copy_t op = {.flags = GNTCOPY_source_gref, .len = 16};

	op.source.domid = domid;
	op.source.u.ref = ref;
	op.dest.domid = DOMID_SELF;
	op.dest.u.gmfn = run->m->domains[self].pages[0];
	copy(run, self, &op);
}

static void step_copy_one(struct run *run)
{
	uint32_t self = some_live(run);
	gnttab_copy_t op = {0};
	bool from, to;

	from = some_end(run, self, &op.source);
	if (chance(run, 250) && pinned_end(run, &self, &op.source))
		from = true;
	to = some_end(run, self, &op.dest);
	if (chance(run, 150) && pinned_end(run, &self, &op.dest))
		to = true;
	op.flags = (from ? GNTCOPY_source_gref : 0) | (to ? GNTCOPY_dest_gref : 0);
	op.len = (uint16_t)pick(run, chance(run, 950) ? 2048 : 65536);
	copy(run, self, &op);
}

/* ---- giving pages away --------------------------------------------------------------------- */

/* A domain that has given too many away gets new ones, as by a balloon. */
static void pages_refill(struct run *run, uint32_t self)
{
	struct m_domain *d = &run->m->domains[self];
	uint64_t gfn;

	while (d->n_pages < MODEL_PAGES / 2) {
		if (sim_pages_alloc(run->xen, d->domid, 1, &gfn) < 0)
			fail(run, "no page for d%u", d->domid);
		model_page_add(run->m, self, (uint32_t)gfn);
	}
}

static void transfer(struct run *run, uint32_t self, uint64_t gfn, uint16_t dom, uint32_t ref)
{
	gnttab_transfer_t *a = (gnttab_transfer_t *)(void *)run->arg1;
	int predicted;

	*a = (gnttab_transfer_t){.mfn = gfn, .domid = dom, .ref = ref};
	CALL(run, OP_TRANSFER, self, gfn, dom, ref);
	predicted = model_transfer(run->m, self, gfn, dom, ref);
	whole(run, grant_table_op(run->xen, run->m->domains[self].domid, GNTTABOP_transfer, a, 1));
	call_end_grant(run, predicted, a->status);
	pages_refill(run, self);
}

static void step_transfer(struct run *run)
{
	uint32_t self = some_live(run), target = some_live(run), zombie = some_zombie(run);
	const struct m_domain *d = &run->m->domains[self];
	uint32_t ref = REF_FIRST + pick(run, N_REFS);
	uint16_t dom = run->m->domains[target].domid;
	uint64_t gfn;

	if (run->m->domains[target].n_pages >= MODEL_PAGES) {
		target = self;
		dom = some_bad_domid(run);
	} else if (chance(run, 850)) { /* which is ready for it */
		guest_grants(run, target, ref, grant_entry(GTF_accept_transfer, d->domid, 0));
		if (chance(run, 50))
			ref = chance(run, 500) ? MODEL_GREFS : (uint32_t)draw(run);
	}
	if (chance(run, 30) && zombie != MODEL_NONE)
		dom = run->m->domains[zombie].domid;
	gfn = d->pages[pick(run, d->n_pages)];
	if (chance(run, 50) && !guest_is_honest(run, self) && d->n_fifo_pages)
		gfn = d->fifo_pages[pick(run, d->n_fifo_pages)];
	if (chance(run, 50))
		gfn = chance(run, 500) ? MODEL_GFNS + draw(run) % (1ULL << 40) : 0;
	transfer(run, self, gfn, dom, ref);
}

/* ---- the rest ------------------------------------------------------------------------------ */

static void step_swap(struct run *run)
{
	gnttab_swap_grant_ref_t *op = (gnttab_swap_grant_ref_t *)(void *)run->arg1;
	uint32_t self = some_live(run);
	int predicted;

	*op = (gnttab_swap_grant_ref_t){
		.ref_a = REF_FIRST + pick(run, N_REFS), .ref_b = REF_FIRST + pick(run, N_REFS)};
	if (chance(run, 50))
		op->ref_a = chance(run, 500) ? MODEL_GREFS : (uint32_t)draw(run);
	if (chance(run, 50))
		op->ref_b = chance(run, 500) ? MODEL_GREFS : (uint32_t)draw(run);
	CALL(run, OP_SWAP, self, op->ref_a, op->ref_b);
	predicted = model_swap(run->m, self, op->ref_a, op->ref_b);
	whole(run, grant_table_op(
			   run->xen, run->m->domains[self].domid, GNTTABOP_swap_grant_ref, op, 1));
	call_end_grant(run, predicted, op->status);
}

static void step_cache_flush(struct run *run)
{
	gnttab_cache_flush_t *op = (gnttab_cache_flush_t *)(void *)run->arg1;
	uint32_t self = some_live(run), from = chance(run, 700) ? 0 : pick(run, 40);
	uint32_t owner = chance(run, 700) ? self : some_live(run);
	long predicted;

	*op = (gnttab_cache_flush_t){.offset = (uint16_t)pick(run, 2048),
		.length = (uint16_t)pick(run, 2048),
		.op = 1 + pick(run, 3)};
	op->a.dev_bus_addr = (uint64_t)run->m->domains[owner].pages[0] * MODEL_PAGE_SIZE;
	if (chance(run, 50))
		op->a.dev_bus_addr = (MODEL_GFNS + draw(run) % (1U << 20)) * MODEL_PAGE_SIZE;
	else if (chance(run, 60))
		op->a.dev_bus_addr = 0;
	if (chance(run, 50))
		op->length = (uint16_t)draw(run);
	if (chance(run, 50))
		op->op = pick(run, 8);
	if (chance(run, 200))
		op->length = 0;
	CALL(run, OP_CACHE_FLUSH, self, op->a.dev_bus_addr, op->offset, op->length, op->op, from);
	predicted = model_cache_flush(run->m, self, op, from);
	call_end(run, predicted,
		grant_table_op(run->xen, run->m->domains[self].domid,
			GNTTABOP_cache_flush | from << 12, op, 1));
}

void step_copy(struct run *run)
{
	uint32_t what = pick(run, 100);

	if (what < 60)
		step_copy_one(run);
	else if (what < 80)
		step_transfer(run);
	else if (what < 90)
		step_swap(run);
	else
		step_cache_flush(run);
}

/* ---- the table ----------------------------------------------------------------------------- */

static uint16_t some_table(struct run *run)
{
	return chance(run, 100)	  ? some_bad_domid(run)
	       : chance(run, 600) ? DOMID_SELF
				  : some_domid(run);
}

static void step_query_size(struct run *run, uint32_t self, uint16_t dom)
{
	gnttab_query_size_t *a = (gnttab_query_size_t *)(void *)run->arg1;
	uint32_t n = 0, max = 0;
	int predicted;

	*a = (gnttab_query_size_t){.dom = dom};
	CALL(run, OP_QUERY_SIZE, self, dom);
	predicted = model_query_size(run->m, self, dom, &n, &max);
	whole(run,
		grant_table_op(run->xen, run->m->domains[self].domid, GNTTABOP_query_size, a, 1));
	if (predicted == GNTST_okay && (a->nr_frames != n || a->max_nr_frames != max))
		fail(run, "%u of %u frames, not %u of %u", a->nr_frames, a->max_nr_frames, n, max);
	call_end_grant(run, predicted, a->status);
}

/* Each frame of the table is another page, which has what the domain has granted. */
static void check_frames(struct run *run, uint32_t domain, const xen_pfn_t *list, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const uint64_t *frame = sim_page(run->xen, list[i]);

		if (!frame || memcmp(frame, &run->m->domains[domain].grants[i * MODEL_GREFS_FRAME],
				      MODEL_PAGE_SIZE) != 0)
			fail(run, "frame %u is not the table's", i);
	}
}

static void step_setup_table(struct run *run, uint32_t self, uint16_t dom)
{
	gnttab_setup_table_t *a = (gnttab_setup_table_t *)(void *)run->arg1;
	uint32_t n = pick(run, chance(run, 300) ? 3 : MODEL_FRAMES + 2), target = 0;
	bool readable = chance(run, 900);
	int predicted;

	*a = (gnttab_setup_table_t){.dom = dom, .nr_frames = n};
	set_xen_guest_handle(a->frame_list, readable ? (xen_pfn_t *)(void *)run->arg2 : BAD);
	CALL(run, OP_SETUP_TABLE, self, dom, n, readable);
	predicted = model_setup_table(run->m, self, dom, n, readable, &target);
	whole(run,
		grant_table_op(run->xen, run->m->domains[self].domid, GNTTABOP_setup_table, a, 1));
	if (predicted == GNTST_okay && a->status == GNTST_okay)
		check_frames(run, target, (const xen_pfn_t *)(const void *)run->arg2, n);
	call_end_grant(run, predicted, a->status);
}

static void step_status_frames(struct run *run, uint32_t self, uint16_t dom)
{
	gnttab_get_status_frames_t *a = (gnttab_get_status_frames_t *)(void *)run->arg1;
	uint32_t n = chance(run, 700) ? 0 : 1 + pick(run, 3);
	uint32_t target = 0;
	int predicted = model_status_frames(run->m, self, dom, n, &target);
	const uint64_t *frame = (const uint64_t *)(const void *)run->arg2;

	*a = (gnttab_get_status_frames_t){.dom = dom, .nr_frames = n};
	set_xen_guest_handle(a->frame_list, (uint64_t *)(void *)run->arg2);
	CALL(run, OP_STATUS_FRAMES, self, dom, n);
	whole(run, grant_table_op(run->xen, run->m->domains[self].domid, GNTTABOP_get_status_frames,
			   a, 1));
	if (predicted == GNTST_okay && a->status == GNTST_okay && n > 0 &&
		memcmp(sim_page(run->xen, *frame), run->m->domains[target].status,
			sizeof(run->m->domains[target].status)) != 0)
		fail(run, "that is not the status");
	call_end_grant(run, predicted, a->status);
}

static void set_version(struct run *run, uint32_t self, uint32_t version)
{
	gnttab_set_version_t *a = (gnttab_set_version_t *)(void *)run->arg1;
	int predicted, actual;

	a->version = version;
	CALL(run, OP_SET_VERSION, self, version);
	predicted = model_set_version(run->m, self, version);
	actual = grant_table_op(run->xen, run->m->domains[self].domid, GNTTABOP_set_version, a, 1);
	call_end(run, predicted, actual);
	if (a->version != run->m->domains[self].version)
		fail(run, "says that version %u is in use", a->version);
}

static void step_get_version(struct run *run, uint32_t self, uint16_t dom)
{
	gnttab_get_version_t *a = (gnttab_get_version_t *)(void *)run->arg1;
	uint32_t version = 0;
	int predicted, actual;

	*a = (gnttab_get_version_t){.dom = dom};
	CALL(run, OP_GET_VERSION, self, dom);
	predicted = model_get_version(run->m, self, dom, &version);
	actual = grant_table_op(run->xen, run->m->domains[self].domid, GNTTABOP_get_version, a, 1);
	if (actual == 0 && predicted == 0 && a->version != version)
		fail(run, "version %u, not %u", a->version, version);
	call_end(run, predicted, actual);
}

static void step_version(struct run *run, uint32_t self, uint16_t dom)
{
	uint32_t version = chance(run, 850) ? 1 + pick(run, 2) : pick(run, 4);

	if (chance(run, 300)) {
		step_get_version(run, self, dom);
	} else if (version == 1 && run->m->domains[self].version == 2 && chance(run, 500)) {
		/* Not while it has granted what version 1 cannot say. */
		guest_grants(run, self, 2, grant_entry(GTF_transitive, 0, 0));
		for (uint32_t i = 0; i < 40; i++)
			set_version(run, self, version);
		guest_grants(run, self, 2, 0);
	} else {
		set_version(run, self, version);
	}
}

/*
 * Operations that take one argument, and say so if they are given more, or one that is not there.
 */
static void step_table_odd(struct run *run, uint32_t self)
{
	static const struct {
		enum op op;
		unsigned int cmd;
		bool one;
	} odd[] = {
		{OP_QUERY_SIZE, GNTTABOP_query_size, true},
		{OP_SETUP_TABLE, GNTTABOP_setup_table, true},
		{OP_STATUS_FRAMES, GNTTABOP_get_status_frames, true},
		{OP_GET_VERSION, GNTTABOP_get_version, false},
		{OP_SET_VERSION, GNTTABOP_set_version, false},
		{OP_COPY, GNTTABOP_copy, false},
		{OP_TRANSFER, GNTTABOP_transfer, false},
		{OP_SWAP, GNTTABOP_swap_grant_ref, false},
		{OP_UNMAP_REPLACE, GNTTABOP_unmap_and_replace, false},
		{OP_CACHE_FLUSH, GNTTABOP_cache_flush, false},
	};
	uint32_t i = pick(run, sizeof(odd) / sizeof(odd[0]));
	bool count = odd[i].one && chance(run, 500);

	CALL(run, odd[i].op, self, 16, count);
	call_end(run, count ? -EINVAL : -EFAULT,
		grant_table_op(run->xen, run->m->domains[self].domid, odd[i].cmd,
			count ? (void *)run->arg1 : BAD, count ? 2 * pick(run, 2) : 1));
}

void step_table(struct run *run)
{
	uint32_t self = chance(run, 200) ? 0 : some_live(run);
	uint16_t dom = some_table(run);

	switch (pick(run, 5)) {
	case 0:
		step_query_size(run, self, dom);
		break;
	case 1:
		step_setup_table(run, self, dom);
		break;
	case 2:
		step_status_frames(run, self, dom);
		break;
	case 3:
		step_version(run, self, dom);
		break;
	default:
		step_table_odd(run, self);
	}
}
