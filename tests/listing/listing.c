/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared by the listing's parts: how a line is put together, and the order of all. */
#include "tests/listing/listing.h"

domid_t listing_self;

static char text[512];
static size_t text_len;
static const char *section_name;
static unsigned int section_line, n_lines;
static uint32_t base_port;

static const struct {
	int value;
	const char *name;
} errnos[] = {
#define XEN_ERRNO(name, value) {value, #name},
#include <xen/errno.h>
};

void put(const char *more)
{
	while (*more && text_len < sizeof(text))
		text[text_len++] = *more++;
}

void put_number(uint64_t value)
{
	char digits[21];
	unsigned int i = sizeof(digits) - 1;

	digits[i] = '\0';
	do
		digits[--i] = (char)('0' + value % 10);
	while (value /= 10);
	put(&digits[i]);
}

static void put_name(const char *name)
{
	put(" ");
	put(name);
	put("=");
}

void put_field(const char *name, uint64_t value)
{
	put_name(name);
	put_number(value);
}

/* Relative to the first one that was to be had; "#" is as it stands. */
void put_port(const char *name, uint32_t port)
{
	put_name(name);
	if (port >= base_port && port < base_port + 32) {
		put("p");
		put_number(port - base_port);
	} else {
		put("#");
		put_number(port);
	}
}

void put_domid(const char *name, domid_t domid)
{
	put_name(name);
	if (domid == listing_self)
		put("self");
	else if (domid == DOMID_SELF)
		put("SELF");
	else
		put_number(domid);
}

void put_result(long result)
{
	put(" = ");
	if (result >= 0) {
		put_number((uint64_t)result);
		return;
	}
	for (size_t i = 0; i < sizeof(errnos) / sizeof(errnos[0]); i++)
		if (errnos[i].value == -result) {
			put("-");
			put(errnos[i].name);
			return;
		}
	put("-");
	put_number((uint64_t)-result);
}

void line_begin(const char *operation)
{
	text_len = 0;
	put(section_name);
	put(".");
	put_number(++section_line);
	put(" ");
	put(operation);
}

void line_end(void)
{
	shell_print(text, text_len);
	n_lines++;
}

void fault_lines(const char *operation, int cmd, bool grant)
{
	static void *const pointers[] = {
		NULL, BAD_POINTER, (void *)0xffff880000000000ULL, (void *)0x0000800000000000ULL};
	static const char *const names[] = {"null", "unmapped", "kernel", "non-canonical"};

	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		line_begin(operation);
		put(" arg=");
		put(names[i]);
		put_result(grant ? shell_grant_op((unsigned int)cmd, pointers[i], 1)
				 : shell_evtchn_op(cmd, pointers[i]));
		line_end();
	}
}

static void sections_run(const struct section *section)
{
	for (; section->name; section++) {
		long there = section->probe();

		section_name = section->name;
		section_line = 0;
		text_len = 0;
		put("section ");
		put(section->name);
		if (there < 0) {
			put(" lacking:");
			put_result(there);
		}
		shell_print(text, text_len);
		if (there >= 0)
			section->run();
		shell_flush();
	}
}

/* Own domid, and where ports begin: by what the hypervisor says. */
static void find_out(void)
{
	evtchn_alloc_unbound_t alloc = {.dom = DOMID_SELF, .remote_dom = DOMID_SELF};
	evtchn_status_t status = {.dom = DOMID_SELF};

	(void)shell_evtchn_op(EVTCHNOP_alloc_unbound, &alloc);
	status.port = base_port = alloc.port;
	(void)shell_evtchn_op(EVTCHNOP_status, &status);
	listing_self = status.u.unbound.dom;
	quiet_close(base_port);
	/* Events that domain 0 sends there must not be seen. */
	port_mask(shell_store_port, true);
	port_mask(shell_console_port, true);
	port_clear(shell_console_port);
}

void listing_run(void)
{
	find_out();
	sections_run(event_sections);
	sections_run(grant_sections);
	sections_run(map_sections);
	sections_run(copy_sections);
	sections_run(version_sections);
	sections_run(grow_sections);
	sections_run(argo_sections);
	sections_run(fifo_sections); /* these reset */
	text_len = 0;
	put("end");
	put_field("lines", n_lines);
	shell_print(text, text_len);
	shell_flush();
}
