/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Swapping grants, copying by them, and flushing caches. */
#include "tests/listing/listing-grants.h"

static long probe_swap(void)
{
	return grant_probe(GNTTABOP_swap_grant_ref);
}

void call_swap(grant_ref_t a, grant_ref_t b)
{
	gnttab_swap_grant_ref_t op = {.ref_a = a, .ref_b = b, .status = 99};
	long r = shell_grant_op(GNTTABOP_swap_grant_ref, &op, 1);

	line_begin("swap_grant_ref");
	put_field("a", a);
	put_field("b", b);
	put_result(r);
	put_status(op.status);
	put_entry(a);
	put_entry(b);
	line_end();
}

static void run_swap(void)
{
	gnttab_swap_grant_ref_t op = {.ref_a = REF, .ref_b = REF};
	struct mapped m;

	entry_set(REF, GTF_permit_access | GTF_readonly, listing_self, shell_frame(1));
	call_swap(REF, REF + 1);
	call_swap(REF, REF + 1);
	call_swap(REF, REF);
	call_swap(REF, 512);
	call_swap(512, REF);
	call_swap(0xffffffff, 0xffffffff);
	m = call_map(listing_self, REF, READONLY, shell_window(0));
	call_swap(REF, REF + 1);
	call_swap(REF + 1, REF);
	call_swap(REF, REF);
	call_unmap(&m, shell_window(0), 0, REF);
	entry_set(REF, 0, 0, 0);
	fault_lines("swap_grant_ref", GNTTABOP_swap_grant_ref, true);
	readonly_grant("swap_grant_ref", GNTTABOP_swap_grant_ref, &op, sizeof(op));
}

static long probe_copy(void)
{
	return grant_probe(GNTTABOP_copy);
}

static void put_end(const char *name, const struct copy_end *end)
{
	put(" ");
	put(name);
	put(end->by_ref ? "=ref" : "=frame");
	if (end->by_ref)
		put_number(end->what);
	put_domid("dom", end->domid);
	put_field("offset", end->offset);
}

void call_copy(struct copy_end from, struct copy_end to, uint16_t len, uint16_t more_flags)
{
	gnttab_copy_t op = {.len = len, .status = 99, .flags = more_flags};
	uint8_t *source = shell_page(1), *dest = shell_page(2);
	unsigned int n_copied = 0;
	long r;

	for (unsigned int i = 0; i < 4096; i++) {
		source[i] = (uint8_t)(i % 251 + 1);
		dest[i] = 0;
	}
	op.source.domid = from.domid;
	op.source.offset = from.offset;
	op.dest.domid = to.domid;
	op.dest.offset = to.offset;
	if (from.by_ref) {
		op.source.u.ref = (grant_ref_t)from.what;
		op.flags |= GNTCOPY_source_gref;
	} else {
		op.source.u.gmfn = from.what;
	}
	if (to.by_ref) {
		op.dest.u.ref = (grant_ref_t)to.what;
		op.flags |= GNTCOPY_dest_gref;
	} else {
		op.dest.u.gmfn = to.what;
	}
	r = shell_grant_op(GNTTABOP_copy, &op, 1);
	for (unsigned int i = 0; i < 4096; i++)
		n_copied += dest[i] != 0;
	line_begin("copy");
	put_end("from", &from);
	put_end("to", &to);
	put_field("len", len);
	put_result(r);
	put_status(op.status);
	put_field("copied", n_copied);
	if (n_copied)
		put_field("first", dest[to.offset]);
	line_end();
}

static void run_copy(void)
{
	struct copy_end page1 = {false, DOMID_SELF, shell_frame(1), 0};
	struct copy_end page2 = {false, DOMID_SELF, shell_frame(2), 0}, e;
	struct copy_end ref1 = {true, listing_self, REF, 0},
			ref2 = {true, listing_self, REF + 1, 0};
	static const uint64_t refs[] = {8, 512, 4096, 0xffffffff};
	struct mapped m;

	entry_set(REF, GTF_permit_access | GTF_readonly, listing_self, shell_frame(1));
	entry_set(REF + 1, GTF_permit_access, listing_self, shell_frame(2));
	call_copy(page1, page2, 4096, 0);
	call_copy(page1, page2, 0, 0);
	call_copy(ref1, page2, 100, 0);
	call_copy(page1, ref2, 100, 0);
	call_copy(ref1, ref2, 100, 0);
	call_copy(page1, ref1, 100, 0); /* read-only */
	e = page1, e.domid = listing_self;
	call_copy(e, page2, 100, 0); /* a frame must be SELF's */
	e.domid = 0;
	call_copy(e, page2, 100, 0);
	call_copy(page1, e, 100, 0);
	e = page1, e.domid = MISSING;
	call_copy(e, page2, 100, 0);
	call_copy(page1, e, 100, 0);
	for (unsigned int i = 0; i < N_OTHER_DOMIDS; i++) {
		e = ref1, e.domid = other_domids[i], e.what = 0xffffffff;
		call_copy(e, page2, 100, 0);
	}
	e = ref1, e.domid = DOMID_SELF;
	call_copy(e, page2, 100, 0);
	for (unsigned int i = 0; i < COUNT(refs); i++) {
		e = ref1, e.what = refs[i];
		call_copy(e, page2, 100, 0);
		call_copy(page1, e, 100, 0);
	}
	e = page1, e.what = 0x00ffffffffffffffULL;
	call_copy(e, page2, 100, 0);
	call_copy(page1, e, 100, 0);
	e = page1, e.offset = 4000;
	call_copy(e, page2, 96, 0);
	call_copy(e, page2, 97, 0);
	call_copy(page2, e, 97, 0);
	e.offset = 4096;
	call_copy(e, page2, 0, 0);
	call_copy(e, page2, 1, 0);
	e.offset = 4097;
	call_copy(e, page2, 0, 0);
	e = page2, e.offset = 10;
	call_copy(page1, e, 5, 0);
	call_copy(page1, e, 4087, 0);
	call_copy(page1, page2, 4097, 0);
	call_copy(page1, page2, 0xffff, 0);
	e = ref1, e.offset = 4000;
	call_copy(e, page2, 97, 0);
	call_copy(page1, page2, 8, 1U << 2);
	call_copy(page1, page2, 8, 1U << 15);

	entry_set(REF, 0, listing_self, shell_frame(1));
	call_copy(ref1, page2, 8, 0);
	entry_set(REF, GTF_permit_access, 0, shell_frame(1));
	call_copy(ref1, page2, 8, 0);
	entry_set(REF, GTF_permit_access, listing_self, 0xffffffff);
	call_copy(ref1, page2, 8, 0);
	entry_set(REF, GTF_permit_access | GTF_sub_page, listing_self, shell_frame(1));
	call_copy(ref1, page2, 8, 0);
	entry_set(REF, GTF_accept_transfer, listing_self, shell_frame(1));
	call_copy(ref1, page2, 8, 0);
	entry_set(REF, GTF_permit_access, listing_self, shell_frame(1));
	m = call_map(listing_self, REF, READONLY, shell_window(0));
	call_copy(ref1, page2, 8, 0); /* while it is mapped */
	call_unmap(&m, shell_window(0), 0, REF);
	entry_set(REF, 0, 0, 0);
	entry_set(REF + 1, 0, 0, 0);
	fault_lines("copy", GNTTABOP_copy, true);
}

static long probe_cache(void)
{
	return grant_probe(GNTTABOP_cache_flush);
}

static void run_cache(void)
{
	static const struct {
		uint16_t offset, length;
		uint32_t op;
	} cases[] = {{4096, 0, 0}, {0, 4097, 0}, {4095, 2, 0}, {0, 0, 4}, {0, 0, 0}, {0, 64, 0},
		{0, 0, GNTTAB_CACHE_CLEAN}, {0, 64, GNTTAB_CACHE_CLEAN},
		{64, 64, GNTTAB_CACHE_INVAL}, {4032, 64, GNTTAB_CACHE_INVAL | GNTTAB_CACHE_CLEAN},
		{0, 64, GNTTAB_CACHE_SOURCE_GREF}};

	for (unsigned int i = 0; i < COUNT(cases); i++) {
		gnttab_cache_flush_t op = {
			.offset = cases[i].offset, .length = cases[i].length, .op = cases[i].op};

		op.a.dev_bus_addr = shell_frame(1) << 12;
		line_begin("cache_flush");
		put_field("offset", op.offset);
		put_field("length", op.length);
		put_field("op", op.op);
		put_result(shell_grant_op(GNTTABOP_cache_flush, &op, 1));
		line_end();
	}
	/* a reference to go on from, which a finished flush has not */
	for (uint16_t length = 0; length <= 64; length += 64) {
		gnttab_cache_flush_t op = {.length = length, .op = GNTTAB_CACHE_CLEAN};

		op.a.dev_bus_addr = shell_frame(1) << 12;
		line_begin("cache_flush");
		put(" with an argument");
		put_field("length", length);
		put_result(shell_grant_op(GNTTABOP_cache_flush | 16U << 12, &op, 1));
		line_end();
	}
	fault_lines("cache_flush", GNTTABOP_cache_flush, true);
}

static long probe_transfer(void)
{
	return grant_probe(GNTTABOP_transfer);
}

static void call_transfer(const char *page, uint64_t frame, domid_t to, grant_ref_t ref)
{
	gnttab_transfer_t op = {.mfn = frame, .domid = to, .ref = ref, .status = 99};
	long r = shell_grant_op(GNTTABOP_transfer, &op, 1);

	line_begin("transfer");
	put(" page=");
	put(page);
	put_domid("to", to);
	put_field("ref", ref);
	put_result(r);
	put_status(op.status);
	if (ref < 512) {
		put_field("flags", shell_entry(ref)->flags);
		put_field("same", shell_entry(ref)->frame == (uint32_t)frame);
	}
	line_end();
}

/* To oneself, which keeps the page, but for the last two: they cost one each. */
static void run_transfer(void)
{
	uint64_t spare0 = shell_spare(0), spare1 = shell_spare(1);
	gnttab_transfer_t op = {.mfn = 0xffffffffffULL};
	struct mapped m;

	call_transfer("none", 0xffffffffffULL, listing_self, REF);
	call_transfer("none", ~0ULL, MISSING, REF);
	entry_set(REF, GTF_permit_access, listing_self, spare0);
	m = call_map(listing_self, REF, GNTMAP_device_map, 0);
	call_transfer("granted", spare0, listing_self, REF);
	call_unmap(&m, 0, m.bus, REF);
	entry_set(REF, GTF_accept_transfer, listing_self, 0);
	call_transfer("spare", spare0, listing_self, REF);
	entry_set(REF, GTF_accept_transfer, listing_self, 0);
	call_transfer("spare", spare0, listing_self, REF); /* is its own again */
	call_transfer("spare", spare0, listing_self, REF); /* is taken already */
	call_transfer("lost", spare0, listing_self, REF);
	entry_set(REF, 0, 0, 0);
	call_transfer("spare", spare1, MISSING, 0xffffffff);
	call_transfer("lost", spare1, MISSING, 0xffffffff);
	fault_lines("transfer", GNTTABOP_transfer, true);
	readonly_grant("transfer", GNTTABOP_transfer, &op, sizeof(op));
}

const struct section copy_sections[] = {
	{"swap_grant_ref", probe_swap, run_swap},
	{"grant-copy", probe_copy, run_copy},
	{"cache_flush", probe_cache, run_cache},
	{"transfer", probe_transfer, run_transfer},
	{NULL, NULL, NULL},
};
