/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mapping and unmapping grants: one to oneself Xen treats as any other. */
#include "tests/listing/listing-grants.h"

#define BAD_ADDRESS 0xffff800000000000ULL /* the hypervisor's own */

static const char *address_name(uint64_t address)
{
	return address == 0		    ? "none"
	       : address == shell_window(0) ? "window0"
	       : address == shell_window(1) ? "window1"
					    : "bad";
}

struct mapped call_map(domid_t dom, grant_ref_t ref, uint32_t flags, uint64_t address)
{
	gnttab_map_grant_ref_t op = {.host_addr = address,
		.flags = flags,
		.ref = ref,
		.dom = dom,
		.status = 99,
		.handle = ~0U};
	long r = shell_grant_op(GNTTABOP_map_grant_ref, &op, 1);

	line_begin("map_grant_ref");
	put_domid("dom", dom);
	put_field("ref", ref);
	put_field("flags", flags);
	put(" at=");
	put(address_name(address));
	put_result(r);
	put_status(op.status);
	if (op.status == GNTST_okay)
		for (unsigned int i = 0; i < SHELL_PAGES; i++)
			if (op.dev_bus_addr == shell_frame(i) << 12)
				put_field("page", i);
	put_entry(ref);
	line_end();
	return (struct mapped){op.status, op.handle, op.dev_bus_addr};
}

void call_unmap(const struct mapped *m, uint64_t address, uint64_t bus, grant_ref_t ref)
{
	gnttab_unmap_grant_ref_t op = {
		.host_addr = address, .dev_bus_addr = bus, .handle = m->handle, .status = 99};
	long r = shell_grant_op(GNTTABOP_unmap_grant_ref, &op, 1);

	line_begin("unmap_grant_ref");
	put(" at=");
	put(address_name(address));
	put(bus == 0 ? " bus=none" : bus == m->bus ? " bus=right" : " bus=wrong");
	put_result(r);
	put_status(op.status);
	put_entry(ref);
	line_end();
}

static long probe_map(void)
{
	return grant_probe(GNTTABOP_map_grant_ref);
}

static void run_map_wrong(void)
{
	gnttab_map_grant_ref_t op = {.flags = WRITABLE, .dom = MISSING};
	static const uint32_t flags[] = {0, GNTMAP_readonly, GNTMAP_application_map,
		GNTMAP_contains_pte, 1U << 16, 1U << 31};
	uint64_t window = shell_window(0);

	entry_set(REF, GTF_permit_access, listing_self, shell_frame(1));
	for (unsigned int i = 0; i < COUNT(flags); i++)
		(void)call_map(listing_self, REF, flags[i], window);
	(void)call_map(DOMID_SELF, REF, WRITABLE, window);
	for (unsigned int i = 1; i < N_OTHER_DOMIDS; i++)
		(void)call_map(other_domids[i], REF, WRITABLE, window);
	(void)call_map(MISSING, REF, 0, window); /* which of the two comes first */
	(void)call_map(0, 0xffffffff, WRITABLE, window);
	(void)call_map(listing_self, 512, WRITABLE, window); /* past the table */
	(void)call_map(listing_self, 4096, WRITABLE, window);
	(void)call_map(listing_self, 0xffffffff, WRITABLE, window);
	entry_set(REF, 0, listing_self, shell_frame(1));
	(void)call_map(listing_self, REF, WRITABLE, window);
	entry_set(REF, GTF_accept_transfer, listing_self, shell_frame(1));
	(void)call_map(listing_self, REF, WRITABLE, window);
	entry_set(REF, GTF_transitive, listing_self, shell_frame(1));
	(void)call_map(listing_self, REF, WRITABLE, window);
	entry_set(REF, GTF_permit_access | GTF_sub_page, listing_self, shell_frame(1));
	(void)call_map(listing_self, REF, WRITABLE, window);
	entry_set(REF, GTF_permit_access, 0, shell_frame(1)); /* to domain 0 */
	(void)call_map(listing_self, REF, WRITABLE, window);
	entry_set(REF, GTF_permit_access, DOMID_SELF, shell_frame(1));
	(void)call_map(listing_self, REF, WRITABLE, window);
	entry_set(REF, GTF_permit_access, listing_self, 0xffffffff); /* no page of ours */
	(void)call_map(listing_self, REF, WRITABLE, window);
	(void)call_map(listing_self, REF, READONLY, window);
	entry_set(REF, GTF_permit_access | GTF_readonly, listing_self, shell_frame(1));
	(void)call_map(listing_self, REF, WRITABLE, window);
	(void)call_map(listing_self, REF, WRITABLE, 0);
	entry_set(REF, GTF_permit_access, listing_self, shell_frame(1));
	(void)call_map(listing_self, REF, WRITABLE, 0);
	(void)call_map(listing_self, REF, WRITABLE, BAD_ADDRESS);
	(void)call_map(listing_self, REF, READONLY, 0);
	shell_entry(REF)->flags |= GTF_reading | GTF_writing; /* Xen would set these */
	(void)call_map(listing_self, REF, WRITABLE, BAD_ADDRESS);
	entry_set(REF, GTF_permit_access | GTF_reading | GTF_writing, listing_self, 0xffffffff);
	(void)call_map(listing_self, REF, READONLY, window);
	entry_set(REF, 0, 0, 0);
	fault_lines("map_grant_ref", GNTTABOP_map_grant_ref, true);
	readonly_grant("map_grant_ref", GNTTABOP_map_grant_ref, &op, sizeof(op));
	for (unsigned int cmd = 0; cmd <= GNTTABOP_unmap_grant_ref; cmd++) {
		line_begin(cmd ? "unmap_grant_ref" : "map_grant_ref");
		put_field("count", 0);
		put_result(shell_grant_op(cmd, NULL, 0));
		line_end();
	}
}

static void run_map(void)
{
	struct mapped m, n;
	uint64_t w0 = shell_window(0), w1 = shell_window(1);

	entry_set(REF, GTF_permit_access, listing_self, shell_frame(1));
	m = call_map(listing_self, REF, WRITABLE, w0);
	call_unmap(&m, 0, 0, REF); /* nothing to do */
	call_unmap(&m, 0, m.bus, REF);
	call_unmap(&m, w1, 0, REF); /* not there */
	call_unmap(&m, BAD_ADDRESS, 0, REF);
	call_unmap(&m, w0, 0, REF);
	call_unmap(&m, w0, 0, REF);
	n = (struct mapped){.handle = 0xffffffff};
	call_unmap(&n, w0, 0, REF);
	n.handle = 100000;
	call_unmap(&n, w0, 0, REF);

	m = call_map(listing_self, REF, READONLY, w0);
	n = call_map(listing_self, REF, WRITABLE, w1);
	call_unmap(&n, w1, 0, REF);
	call_unmap(&m, w0, 0, REF);
	m = call_map(listing_self, REF, WRITABLE, w0);
	n = call_map(listing_self, REF, READONLY, w1);
	call_unmap(&m, w0, 0, REF);
	call_unmap(&n, w1, 0, REF);

	/* fields that Xen looks at anew while the page is mapped, and fields that it does not */
	m = call_map(listing_self, REF, READONLY, w0);
	shell_entry(REF)->domid = 0;
	n = call_map(listing_self, REF, READONLY, w1);
	call_unmap(&n, w1, 0, REF);
	n = call_map(listing_self, REF, WRITABLE, w1);
	call_unmap(&n, w1, 0, REF);
	shell_entry(REF)->frame = 0xffffffff;
	n = call_map(listing_self, REF, WRITABLE, w1);
	call_unmap(&n, w1, 0, REF);
	shell_entry(REF)->flags |= GTF_readonly;
	n = call_map(listing_self, REF, WRITABLE, w1);
	n = call_map(listing_self, REF, READONLY, w1);
	call_unmap(&n, w1, 0, REF);
	shell_entry(REF)->flags = 0;
	n = call_map(listing_self, REF, READONLY, w1);
	call_unmap(&n, w1, 0, REF);
	call_unmap(&m, w0, 0, REF);
	(void)call_map(listing_self, REF, READONLY, w0);

	entry_set(REF, GTF_permit_access | GTF_readonly, listing_self, shell_frame(1));
	m = call_map(listing_self, REF, READONLY, w0);
	n = call_map(listing_self, REF, WRITABLE, w1);
	call_unmap(&m, w0, 0, REF);
	entry_set(REF, 0, 0, 0);
}

/* For a device, and for both. */
static void run_map_device(void)
{
	struct mapped m;
	uint64_t w0 = shell_window(0);

	entry_set(REF, GTF_permit_access, listing_self, shell_frame(1));
	m = call_map(listing_self, REF, GNTMAP_device_map, 0);
	call_unmap(&m, 0, 0, REF);
	call_unmap(&m, w0, 0, REF); /* is not mapped so */
	call_unmap(&m, 0, m.bus + 4096, REF);
	call_unmap(&m, 0, m.bus, REF);
	call_unmap(&m, 0, m.bus, REF);
	m = call_map(listing_self, REF, GNTMAP_device_map | GNTMAP_readonly, 0);
	call_unmap(&m, 0, m.bus, REF);
	m = call_map(listing_self, REF, GNTMAP_device_map | WRITABLE, w0);
	call_unmap(&m, w0, m.bus + 4096, REF);
	call_unmap(&m, w0, 0, REF);
	call_unmap(&m, w0, 0, REF);
	call_unmap(&m, 0, m.bus, REF);
	call_unmap(&m, 0, m.bus, REF);
	m = call_map(listing_self, REF, GNTMAP_device_map | READONLY, w0);
	call_unmap(&m, w0, m.bus, REF);
	call_unmap(&m, w0, m.bus, REF);
	m = call_map(
		listing_self, REF, GNTMAP_device_map | WRITABLE, 0); /* the one, not the other */
	entry_set(REF, 0, 0, 0);
}

/* As often as one reference may be mapped in each of four ways. */
static void run_map_often(void)
{
	static const uint32_t flags[] = {GNTMAP_device_map | GNTMAP_readonly, GNTMAP_device_map};
	static gnttab_map_grant_ref_t ops[2][200];
	gnttab_unmap_grant_ref_t unmap;

	entry_set(REF, GTF_permit_access, listing_self, shell_frame(1));
	for (unsigned int k = 0; k < COUNT(flags); k++) {
		unsigned int n = 0;

		for (;; n++) {
			ops[k][n] = (gnttab_map_grant_ref_t){
				.flags = flags[k], .ref = REF, .dom = listing_self, .handle = ~0U};
			if (shell_grant_op(GNTTABOP_map_grant_ref, &ops[k][n], 1) < 0 ||
				ops[k][n].status != GNTST_okay || n == COUNT(ops[k]) - 1)
				break;
		}
		line_begin("map_grant_ref until it fails");
		put_field("flags", flags[k]);
		put_field("times", n);
		put_status(ops[k][n].status);
		put_entry(REF);
		line_end();
	}
	(void)call_map(listing_self, REF, WRITABLE | GNTMAP_device_map, shell_window(0));
	for (unsigned int k = 0; k < COUNT(flags); k++)
		for (unsigned int i = 0; i < COUNT(ops[k]) && ops[k][i].handle != ~0U; i++) {
			unmap = (gnttab_unmap_grant_ref_t){
				.dev_bus_addr = ops[k][i].dev_bus_addr, .handle = ops[k][i].handle};
			(void)shell_grant_op(GNTTABOP_unmap_grant_ref, &unmap, 1);
		}
	line_begin("unmap_grant_ref of all");
	put_entry(REF);
	line_end();
	entry_set(REF, 0, 0, 0);
}

/* Several at once: each has its own status. */
static void run_map_many(void)
{
	gnttab_map_grant_ref_t ops[3];
	gnttab_unmap_grant_ref_t unmaps[3];
	long r;

	entry_set(REF, GTF_permit_access, listing_self, shell_frame(1));
	entry_set(REF + 1, GTF_permit_access, listing_self, shell_frame(2));
	for (unsigned int i = 0; i < 3; i++)
		ops[i] = (gnttab_map_grant_ref_t){.host_addr = shell_window(i / 2),
			.flags = WRITABLE,
			.ref = i == 1 ? 0xffffffff : REF + i / 2,
			.dom = listing_self,
			.status = 99};
	r = shell_grant_op(GNTTABOP_map_grant_ref, ops, 3);
	line_begin("map_grant_ref");
	put_field("count", 3);
	put_result(r);
	for (unsigned int i = 0; i < 3; i++)
		put_status(ops[i].status);
	line_end();
	for (unsigned int i = 0; i < 3; i++)
		unmaps[i] = (gnttab_unmap_grant_ref_t){.host_addr = shell_window(i / 2),
			.handle = i == 1 ? 0xffffffff : ops[i].handle,
			.status = 99};
	r = shell_grant_op(GNTTABOP_unmap_grant_ref, unmaps, 3);
	line_begin("unmap_grant_ref");
	put_field("count", 3);
	put_result(r);
	for (unsigned int i = 0; i < 3; i++)
		put_status(unmaps[i].status);
	line_end();
	fault_lines("unmap_grant_ref", GNTTABOP_unmap_grant_ref, true);
	entry_set(REF, 0, 0, 0);
	entry_set(REF + 1, 0, 0, 0);
}

static long probe_replace(void)
{
	return grant_probe(GNTTABOP_unmap_and_replace);
}

static void call_replace(const struct mapped *m, uint64_t address, uint64_t by, grant_ref_t ref)
{
	gnttab_unmap_and_replace_t op = {
		.host_addr = address, .new_addr = by, .handle = m->handle, .status = 99};
	long r = shell_grant_op(GNTTABOP_unmap_and_replace, &op, 1);

	line_begin("unmap_and_replace");
	put(" at=");
	put(address_name(address));
	put(" by=");
	put(address_name(by));
	put_result(r);
	put_status(op.status);
	put_entry(ref);
	line_end();
}

static void run_replace(void)
{
	uint64_t w0 = shell_window(0), w1 = shell_window(1);
	struct mapped m = {.handle = 0xffffffff};

	entry_set(REF, GTF_permit_access, listing_self, shell_frame(1));
	call_replace(&m, w0, w1, REF);
	m = call_map(listing_self, REF, WRITABLE, w0);
	call_replace(&m, 0, w1, REF);
	call_replace(&m, w1, 0, REF);
	call_replace(&m, w0, BAD_ADDRESS, REF);
	call_replace(&m, w0, w1, REF);
	call_replace(&m, w0, w1, REF);
	m = call_map(listing_self, REF, READONLY, w0);
	call_replace(&m, w0, 0, REF);
	m = call_map(listing_self, REF, GNTMAP_device_map, 0);
	call_replace(&m, w0, 0, REF);
	call_unmap(&m, 0, m.bus, REF);
	entry_set(REF, 0, 0, 0);
	fault_lines("unmap_and_replace", GNTTABOP_unmap_and_replace, true);
}

const struct section map_sections[] = {
	{"map-wrong", probe_map, run_map_wrong},
	{"map", probe_map, run_map},
	{"map-device", probe_map, run_map_device},
	{"map-many", probe_map, run_map_many},
	{"map-often", probe_map, run_map_often},
	{"unmap_and_replace", probe_replace, run_replace},
	{NULL, NULL, NULL},
};
