/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The grant table itself, and what Xen makes of commands. */
#include "tests/listing/listing-grants.h"

void put_status(int16_t status)
{
	static const char *const names[] = {"okay", "general_error", "bad_domain", "bad_gntref",
		"bad_handle", "bad_virt_addr", "bad_dev_addr", "no_device_space",
		"permission_denied", "bad_page", "bad_copy_arg", "address_too_big", "eagain",
		"no_space"};

	put(" status=");
	if (status <= 0 && (size_t)-status < COUNT(names))
		put(names[-status]);
	else
		put_number((uint16_t)status);
}

bool listing_version_2;

void put_entry(grant_ref_t ref)
{
	uint16_t flags;

	if (ref >= (listing_version_2 ? 256 : 512))
		return;
	flags = shell_entry(ref)->flags;
	if (listing_version_2)
		flags = shell_entry_v2(ref)->hdr.flags | *shell_status_of(ref);
	put(" entry=");
	put_number(flags & GTF_type_mask);
	put(flags & GTF_readonly ? "r" : "-");
	put(flags & GTF_reading ? "R" : "-");
	put(flags & GTF_writing ? "W" : "-");
}

void entry_set(grant_ref_t ref, uint16_t flags, domid_t domid, uint64_t frame)
{
	volatile grant_entry_v1_t *entry = shell_entry(ref);

	entry->flags = 0;
	entry->frame = (uint32_t)frame;
	entry->domid = domid;
	entry->flags = flags;
}

long grant_probe(unsigned int cmd)
{
	long r = shell_grant_op(cmd, NULL, 1);

	return r == -XEN_EFAULT ? 0 : r;
}

/* ---- the table itself -------------------------------------------------------------------- */

const domid_t other_domids[N_OTHER_DOMIDS] = {0, MISSING, 0x7fef, DOMID_IO, DOMID_XEN, DOMID_COW,
	DOMID_INVALID, DOMID_IDLE, 0x8000, 0xffff};

static long probe_unknown(void)
{
	return 0;
}

static void run_unknown(void)
{
	static const unsigned int commands[] = {GNTTABOP_dump_table, 13, 14, 63, 0xfff};
	static const unsigned int counts[] = {0, 1, 0x80000000, 0xffffffff};

	for (unsigned int i = 0; i < COUNT(commands); i++)
		for (unsigned int k = 0; k < COUNT(counts); k++) {
			line_begin("grant_table_op");
			put_field("cmd", commands[i]);
			put_field("count", counts[k]);
			put_result(shell_grant_op(commands[i], shell_page(0), counts[k]));
			line_end();
		}
	for (unsigned int cmd = 0; cmd <= GNTTABOP_get_version; cmd++) {
		if (cmd == GNTTABOP_dump_table)
			continue;
		/* an argument in the command's upper bits, which only cache_flush has */
		line_begin("grant_table_op");
		put_field("cmd", cmd);
		put(" with an argument");
		put_result(shell_grant_op(cmd | 1U << 12, shell_page(0), 1));
		line_end();
		line_begin("grant_table_op");
		put_field("cmd", cmd);
		put_field("count", 0xffffffff);
		put_result(shell_grant_op(cmd, shell_page(0), 0xffffffff));
		line_end();
	}
}

static void call_query(domid_t dom, unsigned int count)
{
	gnttab_query_size_t op = {.dom = dom, .nr_frames = 99, .max_nr_frames = 99, .status = 99};
	long r = shell_grant_op(GNTTABOP_query_size, &op, count);

	line_begin("query_size");
	put_domid("dom", dom);
	put_field("count", count);
	put_result(r);
	put_status(op.status);
	put_field("frames", op.nr_frames);
	put_field("max", op.max_nr_frames);
	line_end();
}

void readonly_grant(const char *operation, unsigned int cmd, const void *arg, size_t len)
{
	line_begin(operation);
	put(" arg=read-only");
	put_result(shell_grant_op(cmd, shell_readonly(arg, len), 1));
	line_end();
}

static long probe_query(void)
{
	return grant_probe(GNTTABOP_query_size);
}

static void run_query(void)
{
	gnttab_query_size_t op = {.dom = DOMID_SELF};

	call_query(DOMID_SELF, 1);
	call_query(listing_self, 1);
	for (unsigned int i = 0; i < N_OTHER_DOMIDS; i++)
		call_query(other_domids[i], 1);
	call_query(DOMID_SELF, 0);
	call_query(DOMID_SELF, 2);
	fault_lines("query_size", GNTTABOP_query_size, true);
	readonly_grant("query_size", GNTTABOP_query_size, &op, sizeof(op));
}

static uint64_t call_setup(domid_t dom, uint32_t n_frames, unsigned int count, void *list)
{
	gnttab_setup_table_t op = {.dom = dom, .nr_frames = n_frames, .status = 99};
	uint64_t *frames = shell_page(0);
	unsigned int n_told = 0;
	long r;

	for (unsigned int i = 0; i < 16; i++)
		frames[i] = 0;
	*(void **)&op.frame_list = list;
	r = shell_grant_op(GNTTABOP_setup_table, &op, count);
	while (n_told < 16 && frames[n_told])
		n_told++;
	line_begin("setup_table");
	put_domid("dom", dom);
	put_field("frames", n_frames);
	put_field("count", count);
	put(list == frames ? "" : list ? " list=bad" : " list=null");
	put_result(r);
	put_status(op.status);
	put_field("told", n_told);
	line_end();
	return frames[0];
}

static long probe_setup(void)
{
	return grant_probe(GNTTABOP_setup_table);
}

static void run_setup(void)
{
	gnttab_setup_table_t op = {.dom = DOMID_SELF, .nr_frames = 0};
	uint64_t frame;

	(void)call_setup(DOMID_SELF, 0, 1, shell_page(0));
	call_query(DOMID_SELF, 1);
	frame = call_setup(DOMID_SELF, 1, 1, shell_page(0));
	shell_table(frame);
	call_query(DOMID_SELF, 1);
	(void)call_setup(listing_self, 1, 1, shell_page(0));
	for (unsigned int i = 0; i < N_OTHER_DOMIDS; i++)
		(void)call_setup(other_domids[i], 1, 1, shell_page(0));
	(void)call_setup(DOMID_SELF, 9, 1, shell_page(0));
	(void)call_setup(DOMID_SELF, 0xffffffff, 1, shell_page(0));
	(void)call_setup(DOMID_SELF, 1, 0, shell_page(0));
	(void)call_setup(DOMID_SELF, 1, 2, shell_page(0));
	(void)call_setup(DOMID_SELF, 0, 1, NULL);
	(void)call_setup(DOMID_SELF, 1, 1, NULL);
	(void)call_setup(DOMID_SELF, 1, 1, BAD_POINTER);
	(void)call_setup(MISSING, 1, 1, BAD_POINTER);
	call_query(DOMID_SELF, 1);
	fault_lines("setup_table", GNTTABOP_setup_table, true);
	readonly_grant("setup_table", GNTTABOP_setup_table, &op, sizeof(op));
}

/* The table grows to the most it can be. It does not shrink. */
static void run_grow(void)
{
	(void)call_setup(DOMID_SELF, 2, 1, shell_page(0));
	call_query(DOMID_SELF, 1);
	(void)call_setup(DOMID_SELF, 8, 1, shell_page(0));
	call_query(DOMID_SELF, 1);
	(void)call_setup(DOMID_SELF, 1, 1, shell_page(0));
	call_query(DOMID_SELF, 1);
	(void)call_setup(DOMID_SELF, 9, 1, shell_page(0));
}

void call_get_version(domid_t dom, unsigned int count)
{
	gnttab_get_version_t op = {.dom = dom, .version = 99};
	long r = shell_grant_op(GNTTABOP_get_version, &op, count);

	line_begin("get_version");
	put_domid("dom", dom);
	put_field("count", count);
	put_result(r);
	put_field("version", op.version);
	line_end();
}

void call_set_version(uint32_t version)
{
	gnttab_set_version_t op = {.version = version};
	long r = shell_grant_op(GNTTABOP_set_version, &op, 1);

	line_begin("set_version");
	put_field("version", version);
	put_result(r);
	put_field("version", op.version);
	line_end();
}

uint64_t call_status_frames(domid_t dom, uint32_t n_frames, unsigned int count)
{
	gnttab_get_status_frames_t op = {.dom = dom, .nr_frames = n_frames, .status = 99};
	long r;

	*(void **)&op.frame_list = shell_page(0);
	r = shell_grant_op(GNTTABOP_get_status_frames, &op, count);
	line_begin("get_status_frames");
	put_domid("dom", dom);
	put_field("frames", n_frames);
	put_field("count", count);
	put_result(r);
	put_status(op.status);
	line_end();
	return *(uint64_t *)shell_page(0);
}

static long probe_version(void)
{
	long r = grant_probe(GNTTABOP_get_version);

	if (r == 0)
		r = grant_probe(GNTTABOP_set_version);
	return r < 0 ? r : grant_probe(GNTTABOP_get_status_frames);
}

static void run_version(void)
{
	gnttab_get_version_t get = {.dom = DOMID_SELF};
	gnttab_set_version_t set = {.version = 1};
	gnttab_get_status_frames_t frames = {.dom = DOMID_SELF};

	call_get_version(DOMID_SELF, 1);
	call_get_version(DOMID_SELF, 0);
	call_get_version(DOMID_SELF, 2);
	call_get_version(listing_self, 1);
	for (unsigned int i = 0; i < N_OTHER_DOMIDS; i++)
		call_get_version(other_domids[i], 1);
	for (uint32_t version = 0; version < 4; version++)
		if (version != 2)
			call_set_version(version);
	call_set_version(0xffffffff);
	call_get_version(DOMID_SELF, 1);
	(void)call_status_frames(DOMID_SELF, 0, 1);
	(void)call_status_frames(DOMID_SELF, 1, 1);
	(void)call_status_frames(DOMID_SELF, 0xffffffff, 1);
	(void)call_status_frames(listing_self, 0, 1);
	for (unsigned int i = 0; i < N_OTHER_DOMIDS; i++)
		(void)call_status_frames(other_domids[i], 1, 1);
	(void)call_status_frames(DOMID_SELF, 0, 0);
	(void)call_status_frames(DOMID_SELF, 0, 2);
	fault_lines("get_version", GNTTABOP_get_version, true);
	fault_lines("set_version", GNTTABOP_set_version, true);
	fault_lines("get_status_frames", GNTTABOP_get_status_frames, true);
	readonly_grant("get_version", GNTTABOP_get_version, &get, sizeof(get));
	readonly_grant("set_version", GNTTABOP_set_version, &set, sizeof(set));
	readonly_grant("get_status_frames", GNTTABOP_get_status_frames, &frames, sizeof(frames));
}

const struct section grant_sections[] = {
	{"grant-unknown", probe_unknown, run_unknown},
	{"query_size", probe_query, run_query},
	{"setup_table", probe_setup, run_setup},
	{"grant-version", probe_version, run_version},
	{NULL, NULL, NULL},
};
/* After those that look at the end of a table of one frame. */
const struct section grow_sections[] = {
	{"grow", probe_setup, run_grow},
	{NULL, NULL, NULL},
};
