/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The grant table in version 2: there, what it has more, and back. */
#include "tests/listing/listing-grants.h"

#define RESERVED 5U /* of the first entries, which stay: one that the toolstack does not use */

static void full_set(grant_ref_t ref, uint16_t flags, domid_t domid, uint64_t frame)
{
	volatile grant_entry_v2_t *e = shell_entry_v2(ref);

	e->hdr.flags = 0;
	e->full_page.frame = frame;
	e->hdr.domid = domid;
	e->hdr.flags = flags;
}

static void sub_set(grant_ref_t ref, uint16_t flags, uint16_t offset, uint16_t length)
{
	volatile grant_entry_v2_t *e = shell_entry_v2(ref);

	full_set(ref, 0, listing_self, shell_frame(1));
	e->sub_page.page_off = offset;
	e->sub_page.length = length;
	e->hdr.flags = flags | GTF_permit_access | GTF_sub_page;
}

static void transitive_set(grant_ref_t ref, domid_t domid, grant_ref_t behind)
{
	volatile grant_entry_v2_t *e = shell_entry_v2(ref);

	full_set(ref, 0, listing_self, 0);
	e->transitive.trans_domid = domid;
	e->transitive.gref = behind;
	e->hdr.flags = GTF_transitive;
}

static long probe_v2(void)
{
	long r = grant_probe(GNTTABOP_set_version);

	return r < 0 ? r : grant_probe(GNTTABOP_get_status_frames);
}

static void maps(void)
{
	uint64_t window = shell_window(0);
	struct mapped m, n;

	(void)call_map(listing_self, REF, WRITABLE, window); /* the former mapping there is gone */
	full_set(REF, GTF_permit_access, listing_self, shell_frame(1));
	(void)call_map(listing_self, 256, WRITABLE, window);
	(void)call_map(listing_self, 255, WRITABLE, window);
	m = call_map(listing_self, REF, READONLY, window);
	n = call_map(listing_self, REF, WRITABLE, shell_window(1));
	call_set_version(1); /* in use */
	call_unmap(&n, shell_window(1), 0, REF);
	call_unmap(&m, window, 0, REF);
	full_set(REF, GTF_permit_access | GTF_readonly, listing_self, shell_frame(1));
	(void)call_map(listing_self, REF, WRITABLE, window);
	m = call_map(listing_self, REF, READONLY, window);
	(void)call_map(listing_self, REF, WRITABLE, shell_window(1));
	call_unmap(&m, window, 0, REF);
	full_set(REF, GTF_permit_access | GTF_reading | GTF_writing, listing_self, shell_frame(1));
	m = call_map(listing_self, REF, READONLY, window);
	call_unmap(&m, window, 0, REF);
	full_set(REF, GTF_permit_access, listing_self, 1ULL << 40);
	(void)call_map(listing_self, REF, WRITABLE, window);
	full_set(REF, GTF_permit_access, 0, shell_frame(1));
	(void)call_map(listing_self, REF, WRITABLE, window);
	full_set(REF, GTF_accept_transfer, listing_self, shell_frame(1));
	(void)call_map(listing_self, REF, WRITABLE, window);
	sub_set(REF, 0, 0, 4096);
	(void)call_map(listing_self, REF, READONLY, window);
	transitive_set(REF, listing_self, REF + 1);
	(void)call_map(listing_self, REF, READONLY, window);
}

static void copies(void)
{
	struct copy_end page2 = {false, DOMID_SELF, shell_frame(2), 0};
	struct copy_end ref = {true, listing_self, REF, 0};
	static const struct {
		uint16_t offset, len;
	} parts[] = {
		{100, 50}, {100, 51}, {99, 1}, {149, 1}, {150, 1}, {150, 0}, {99, 0}, {0, 4097}};

	full_set(REF, GTF_permit_access | GTF_readonly, listing_self, shell_frame(1));
	call_copy(ref, page2, 4096, 0);
	call_copy(page2, ref, 4096, 0);
	for (unsigned int i = 0; i < COUNT(parts); i++) {
		sub_set(REF, 0, 100, 50);
		ref.offset = parts[i].offset;
		call_copy(ref, page2, parts[i].len, 0);
		call_copy(page2, ref, parts[i].len, 0);
	}
	sub_set(REF, GTF_readonly, 100, 50);
	ref.offset = 100;
	call_copy(ref, page2, 8, 0);
	call_copy(page2, ref, 8, 0);
	sub_set(REF, 0, 4090, 100); /* over the page's end */
	ref.offset = 4090;
	call_copy(ref, page2, 6, 0);
	call_copy(ref, page2, 7, 0);
	ref.offset = 0;
	full_set(REF + 1, GTF_permit_access, listing_self, shell_frame(1));
	transitive_set(REF, listing_self, REF + 1); /* to itself */
	call_copy(ref, page2, 8, 0);
	transitive_set(REF, MISSING, REF + 1);
	call_copy(ref, page2, 8, 0);
	transitive_set(REF, 0, 0xffffffff);
	call_copy(ref, page2, 8, 0);
	call_copy(page2, ref, 8, 0);
	full_set(REF, GTF_accept_transfer, listing_self, shell_frame(1));
	call_copy(ref, page2, 8, 0);
	full_set(REF, GTF_permit_access, listing_self, 1ULL << 40);
	call_copy(ref, page2, 8, 0);
}

static void swaps(void)
{
	struct mapped m;

	full_set(REF, GTF_permit_access | GTF_readonly, listing_self, shell_frame(1));
	full_set(REF + 1, GTF_accept_transfer, 0, 0);
	*shell_status_of(REF) = GTF_reading;
	call_swap(REF, REF + 1);
	m = call_map(listing_self, REF + 1, READONLY, shell_window(0));
	call_swap(REF, REF + 1);
	call_unmap(&m, shell_window(0), 0, REF + 1);
	call_swap(REF, 255);
	call_swap(REF, 256);
}

/* Only what version 1 can say goes back; of the first entries alone. */
static void back(void)
{
	full_set(RESERVED, GTF_permit_access, 0, 1ULL << 32);
	call_set_version(1);
	transitive_set(RESERVED, 0, 0);
	call_set_version(1);
	full_set(RESERVED, GTF_permit_access | GTF_readonly, 0, 0xffffffff);
	full_set(RESERVED + 1, GTF_accept_transfer, 0, 0);
	*shell_status_of(RESERVED) = GTF_reading;
	shell_status_gone();
	call_set_version(1);
	listing_version_2 = false;
	line_begin("entries");
	put_entry(RESERVED);
	put_field("frame", shell_entry(RESERVED)->frame);
	put_entry(RESERVED + 1);
	put_entry(REF);
	line_end();
}

static void run_v2(void)
{
	struct mapped m;

	entry_set(REF, GTF_permit_access, listing_self, shell_frame(1));
	m = call_map(listing_self, REF, READONLY, shell_window(0));
	call_set_version(2);
	call_unmap(&m, shell_window(0), 0, REF);
	entry_set(RESERVED, GTF_permit_access | GTF_readonly | GTF_reading, 0, 7);
	call_set_version(2);
	call_get_version(DOMID_SELF, 1);
	call_get_version(0, 1);
	call_set_version(2);
	call_set_version(3);
	(void)call_status_frames(DOMID_SELF, 0, 1);
	(void)call_status_frames(DOMID_SELF, 2, 1);
	(void)call_status_frames(0, 1, 1);
	shell_status(call_status_frames(DOMID_SELF, 1, 1));
	listing_version_2 = true;
	line_begin("entries");
	put_entry(RESERVED);
	put_field("frame", shell_entry_v2(RESERVED)->full_page.frame);
	put_entry(REF);
	line_end();
	maps();
	copies();
	swaps();
	back();
	entry_set(RESERVED, 0, 0, 0);
	entry_set(RESERVED + 1, 0, 0, 0);
	call_get_version(DOMID_SELF, 1);
	(void)call_status_frames(DOMID_SELF, 1, 1);
}

const struct section version_sections[] = {
	{"grant-v2", probe_v2, run_v2},
	{NULL, NULL, NULL},
};
