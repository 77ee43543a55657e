/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The listing in the emulator: a domain such as libxl makes, whose kernel is the listing. */
#include "tests/listing/listing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hv/sim/testing/sim.h"

struct shell_events shell_events;
uint32_t shell_store_port, shell_console_port;

static struct xen *xen;
static struct sim_domain *domain;
static uint16_t domid;
static uint64_t pages;
static char *windows, *readonly_page;
static _Atomic uint16_t *status;
static int failed;

static void check(int r, const char *what)
{
	if (r < 0) {
		(void)fprintf(stderr, "%s: %s\n", what, strerror(-r));
		exit(1);
	}
}

long shell_evtchn_op(int cmd, void *arg)
{
	return evtchn_op(xen, domid, cmd, arg);
}

long shell_grant_op(unsigned int cmd, void *uop, unsigned int count)
{
	return grant_table_op(xen, domid, cmd, uop, count);
}

long shell_argo_op(unsigned int cmd, void *arg1, void *arg2, unsigned long arg3, unsigned long arg4)
{
	return argo_op(xen, domid, cmd, arg1, arg2, arg3, arg4);
}

void shell_print(const char *text, size_t len)
{
	if (len == 0 || fwrite(text, len, 1, stdout) != 1 || putchar('\n') == EOF)
		failed = 1;
}

void shell_flush(void)
{
	if (fflush(stdout) < 0)
		failed = 1;
}

void *shell_page(unsigned int i)
{
	return sim_page(xen, pages + i);
}

uint64_t shell_frame(unsigned int i)
{
	return pages + i;
}

uint64_t shell_window(unsigned int i)
{
	return (uint64_t)(uintptr_t)windows + (uint64_t)i * 4096;
}

uint64_t shell_spare(unsigned int i)
{
	return pages + SHELL_PAGES + i;
}

void *shell_readonly(const void *data, size_t len)
{
	check(mprotect(readonly_page, 4096, PROT_READ | PROT_WRITE), "mprotect");
	(void)memcpy(readonly_page, data, len);
	check(mprotect(readonly_page, 4096, PROT_READ), "mprotect");
	return readonly_page;
}

void shell_table(uint64_t frame)
{
}

grant_entry_v1_t *shell_entry(grant_ref_t ref)
{
	return (grant_entry_v1_t *)&domain->grants[ref];
}

grant_entry_v2_t *shell_entry_v2(grant_ref_t ref)
{
	return (grant_entry_v2_t *)&domain->grants[2 * ref];
}

void shell_status(uint64_t frame)
{
	status = sim_page(xen, frame);
}

void shell_status_gone(void)
{
}

_Atomic uint16_t *shell_status_of(grant_ref_t ref)
{
	return &status[ref];
}

/* As libxl does for xenstored and xenconsoled, which then bind it. */
static uint32_t toolstack_port(void)
{
	evtchn_alloc_unbound_t alloc = {.dom = domid, .remote_dom = 0};
	evtchn_bind_interdomain_t bind = {.remote_dom = domid};

	check(evtchn_op(xen, 0, EVTCHNOP_alloc_unbound, &alloc), "alloc_unbound");
	bind.remote_port = alloc.port;
	check(evtchn_op(xen, 0, EVTCHNOP_bind_interdomain, &bind), "bind_interdomain");
	return alloc.port;
}

int main(void)
{
	struct sim *sim;

	check(sim_create(&sim), "sim_create");
	check(sim_domain_create(sim,
		      &(struct sim_domain_config){.name = "listing", .no_guest_kernel = true},
		      &domid),
		"sim_domain_create");
	xen = sim_xen(sim);
	domain = &xen->seg->domains[sim_domain_find(xen, domid)];
	shell_events = (struct shell_events){
		.pending = domain->info.pending,
		.mask = domain->info.mask,
		.selector = &domain->info.selector,
		.upcall = &domain->info.upcall_pending,
	};
	check(sim_pages_alloc(xen, domid, SHELL_PAGES + SHELL_WINDOWS, &pages), "sim_pages_alloc");
	windows = mmap(NULL, (size_t)(SHELL_WINDOWS + 1) * 4096, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (windows == MAP_FAILED)
		return 1;
	readonly_page = windows + (size_t)SHELL_WINDOWS * 4096;
	shell_store_port = toolstack_port();
	shell_console_port = toolstack_port();
	listing_run();
	failed |= sim_check(sim, stderr) != 0;
	sim_free(sim);
	return failed;
}
