/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Argo, from a domain to itself where that can be, and to domain 0, which has no ring. */
#include "tests/listing/listing.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static long probe_argo(void)
{
	long r = shell_argo_op(XEN_ARGO_OP_notify, NULL, NULL, 0, 0);

	return r < 0 && (r == -XEN_ENOSYS || r == -XEN_EOPNOTSUPP) ? r : 0;
}

static void run_unknown(void)
{
	static const unsigned int commands[] = {0, 5, 100, 0xffffffff};

	for (unsigned int i = 0; i < COUNT(commands); i++) {
		line_begin("argo_op");
		put_field("cmd", commands[i]);
		put_result(shell_argo_op(commands[i], NULL, NULL, 0, 0));
		line_end();
	}
	for (unsigned int cmd = 1; cmd <= XEN_ARGO_OP_notify; cmd++) {
		line_begin("argo_op");
		put_field("cmd", cmd);
		put(" arg3=wide");
		put_result(shell_argo_op(cmd, NULL, NULL, 1UL << 32, 0));
		line_end();
		line_begin("argo_op");
		put_field("cmd", cmd);
		put(" arg4=wide");
		put_result(shell_argo_op(cmd, NULL, NULL, 0, 1UL << 32));
		line_end();
	}
}

static long call_register(domid_t partner, uint32_t aport, uint32_t len, uint32_t n_pages,
	uint32_t flags, uint16_t pad)
{
	xen_argo_register_ring_t op = {
		.aport = aport, .partner_id = partner, .pad = pad, .len = len};
	xen_argo_gfn_t *frames = shell_page(0);
	long r;

	frames[0] = shell_frame(1);
	frames[1] = shell_frame(2);
	r = shell_argo_op(XEN_ARGO_OP_register_ring, &op, frames, n_pages, flags);
	line_begin("register_ring");
	put_domid("partner", partner);
	put_field("aport", aport);
	put_field("len", len);
	put_field("pages", n_pages);
	put_field("flags", flags);
	put_field("pad", pad);
	put_result(r);
	line_end();
	return r;
}

static long call_unregister(domid_t partner, uint32_t aport, uint16_t pad)
{
	xen_argo_unregister_ring_t op = {.aport = aport, .partner_id = partner, .pad = pad};
	long r = shell_argo_op(XEN_ARGO_OP_unregister_ring, &op, NULL, 0, 0);

	line_begin("unregister_ring");
	put_domid("partner", partner);
	put_field("aport", aport);
	put_field("pad", pad);
	put_result(r);
	line_end();
	return r;
}

static void run_register(void)
{
	static const uint32_t lengths[] = {0, 16, 47, 48, 49, 64, 4032, 4048, 8128, 8144, 0xffffc0,
		0x1000000, 0x1000010, 0xffffffff};
	static const domid_t partners[] = {DOMID_SELF, MISSING, DOMID_INVALID, DOMID_XEN, 0x8000};

	for (unsigned int i = 0; i < COUNT(lengths); i++)
		if (call_register(0, 1, lengths[i], 1, 0, 0) == 0)
			(void)call_unregister(0, 1, 0);
	for (unsigned int i = 0; i < COUNT(lengths); i++)
		if (call_register(0, 1, lengths[i], 2, 0, 0) == 0)
			(void)call_unregister(0, 1, 0);
	for (unsigned int i = 0; i < COUNT(partners); i++)
		(void)call_register(partners[i], 1, 4032, 1, 0, 0);
	(void)call_register(0, 1, 4032, 0, 0, 0);
	(void)call_register(0, 1, 4032, 4097, 0, 0);
	(void)call_register(0, 1, 4032, 1, 2, 0);
	(void)call_register(0, 1, 4032, 1, 0, 1);
	(void)call_register(0, 1, 4032, 1, 0, 0);
	(void)call_register(0, 1, 4032, 1, XEN_ARGO_REGISTER_FLAG_FAIL_EXIST, 0);
	(void)call_register(0, 1, 2000, 1, 0, 0);
	(void)call_register(listing_self, 1, 4032, 1, 0, 0);
	(void)call_unregister(listing_self, 1, 0);
	(void)call_unregister(0, 2, 0);
	(void)call_unregister(0, 1, 1);
	(void)call_unregister(MISSING, 1, 0);
	(void)call_unregister(0, 1, 0);
	(void)call_unregister(0, 1, 0);
	line_begin("register_ring");
	put(" arg=unmapped");
	put_result(shell_argo_op(XEN_ARGO_OP_register_ring, BAD_POINTER, shell_page(0), 1, 0));
	line_end();
	line_begin("unregister_ring");
	put(" arg=unmapped");
	put_result(shell_argo_op(XEN_ARGO_OP_unregister_ring, BAD_POINTER, NULL, 0, 0));
	line_end();
	line_begin("unregister_ring");
	put(" arg3=1");
	put_result(shell_argo_op(XEN_ARGO_OP_unregister_ring, BAD_POINTER, NULL, 1, 0));
	line_end();
}

static void call_sendv(domid_t from, domid_t to, uint32_t aport, uint32_t len, uint32_t n)
{
	xen_argo_send_addr_t addr = {
		.src = {.aport = 5, .domain_id = from}, .dst = {.aport = aport, .domain_id = to}};
	xen_argo_iov_t iov[9] = {{.iov_len = len}};
	long r;

	*(void **)&iov[0].iov_hnd = shell_page(3);
	r = shell_argo_op(XEN_ARGO_OP_sendv, &addr, iov, n, 7);
	line_begin("sendv");
	put_domid("from", from);
	put_domid("to", to);
	put_field("aport", aport);
	put_field("len", len);
	put_field("iovs", n);
	put_result(r);
	line_end();
}

static void run_sendv(void)
{
	static const uint32_t lengths[] = {0, 1, 16, 17, 976, 984, 992, 1000, 16777184, 16777185};

	(void)call_register(listing_self, 1, 1008, 1, 0, 0);
	for (unsigned int i = 0; i < COUNT(lengths); i++)
		call_sendv(DOMID_INVALID, listing_self, 1, lengths[i], 1);
	call_sendv(listing_self, listing_self, 1, 8, 1);
	call_sendv(0, listing_self, 1, 8, 1);
	call_sendv(DOMID_INVALID, DOMID_SELF, 1, 8, 1);
	call_sendv(DOMID_INVALID, MISSING, 1, 8, 1);
	call_sendv(DOMID_INVALID, 0, 0xfff1, 8, 1);
	call_sendv(DOMID_INVALID, listing_self, 2, 8, 1);
	call_sendv(DOMID_INVALID, listing_self, 1, 8, 0);
	call_sendv(DOMID_INVALID, listing_self, 1, 8, 8);
	call_sendv(DOMID_INVALID, listing_self, 1, 8, 9);
	(void)call_unregister(listing_self, 1, 0);
}

const struct section argo_sections[] = {
	{"argo-unknown", probe_argo, run_unknown},
	{"argo-register", probe_argo, run_register},
	{"argo-sendv", probe_argo, run_sendv},
	{NULL, NULL, NULL},
};
