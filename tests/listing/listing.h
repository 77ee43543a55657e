/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The listing: a long list of hypercalls with right and wrong arguments, each with its result on a
 * line of its own. The same files run in the emulator (shell-sim.c) and as a guest of a real Xen
 * (shell-xen.c); the two outputs are compared line by line. So nothing here may depend on either,
 * nor on a C library, and what differs from run to run (domids, frames) is printed by name.
 *
 * A section begins and ends with the same ports, entries and pages; its lines are numbered by
 * themselves. One whose operation a hypervisor does not have says so and is left out there.
 */
#ifndef MSGD_TESTS_LISTING_LISTING_H
#define MSGD_TESTS_LISTING_LISTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All operations, those of the grant table's versions among them. */
#define __XEN_INTERFACE_VERSION__ __XEN_LATEST_INTERFACE_VERSION__
#include <xen/errno.h>
#include <xen/xen.h>
#include <xen/event_channel.h>
#include <xen/argo.h>
#include <xen/grant_table.h>

/* ---- a shell's functions ------------------------------------------------------------------ */

long shell_evtchn_op(int cmd, void *arg);
long shell_grant_op(unsigned int cmd, void *uop, unsigned int count);
long shell_argo_op(
	unsigned int cmd, void *arg1, void *arg2, unsigned long arg3, unsigned long arg4);

/* Prints a line of that many characters; shell_flush may send something to the console's port. */
void shell_print(const char *text, size_t len);
void shell_flush(void);

/* Of the shared info page, and of vCPU 0 in it. */
struct shell_events {
	_Atomic uint64_t *pending, *mask, *selector;
	_Atomic uint8_t *upcall;
};
extern struct shell_events shell_events;

/* Ports that the toolstack made, and domain 0 has bound; the listing moves them. */
extern uint32_t shell_store_port, shell_console_port;

/* Pages of the guest's own, zeroed: their address and frame number. */
#define SHELL_PAGES 8U
void *shell_page(unsigned int i);
uint64_t shell_frame(unsigned int i);
/* Addresses where a grant may be mapped; not to be touched. */
#define SHELL_WINDOWS 2U
uint64_t shell_window(unsigned int i);
/* Pages that are mapped nowhere, once something else has been mapped at the windows. */
uint64_t shell_spare(unsigned int i);
/* These bytes, where they can be read but not written. */
void *shell_readonly(const void *data, size_t len);
/* The grant table's first frame is this one, says Xen. */
void shell_table(uint64_t frame);
grant_entry_v1_t *shell_entry(grant_ref_t ref);
/* The same as version 2 has it; and its status, once Xen has said where that is. */
grant_entry_v2_t *shell_entry_v2(grant_ref_t ref);
void shell_status(uint64_t frame);
/* Nothing is left of the mapping: else the table stays as it is. */
void shell_status_gone(void);
_Atomic uint16_t *shell_status_of(grant_ref_t ref);

/* ---- the listing ---------------------------------------------------------------------------- */

void listing_run(void);

/* listing.c: one line is put together at a time. */
#define BAD_POINTER ((void *)8)
#define MISSING	    ((domid_t)32000) /* no domain has it */
extern domid_t listing_self;

void put(const char *text);
void put_number(uint64_t value);
void put_field(const char *name, uint64_t value);
void put_port(const char *name, uint32_t port);
void put_domid(const char *name, domid_t domid);
void put_result(long result);
void line_begin(const char *operation);
void line_end(void);
/* A call whose argument decides nothing. */
void fault_lines(const char *operation, int cmd, bool grant);

/*
 * listing-events.c, listing-fifo.c, listing-grants.c, listing-map.c, listing-copy.c,
 * listing-argo.c
 */
struct section {
	const char *name;
	/* Whether the hypervisor has what the section is about. */
	long (*probe)(void);
	void (*run)(void);
};
extern const struct section event_sections[], fifo_sections[], grant_sections[], map_sections[],
	copy_sections[], grow_sections[], version_sections[], argo_sections[];

/* listing-calls.c. With a line each; a port or 0 */
uint32_t call_alloc(domid_t dom, domid_t remote);
uint32_t call_bind(domid_t remote, uint32_t remote_port);
uint32_t call_virq(uint32_t virq, uint32_t vcpu);
uint32_t call_ipi(uint32_t vcpu);
long call_close(uint32_t port);
void call_send(uint32_t port, uint32_t target);
void call_unmask(uint32_t port);
void call_status(domid_t dom, uint32_t port);
/* Without a line, unless it fails. */
uint32_t quiet_alloc(domid_t remote);
uint32_t quiet_bind(uint32_t port);
void quiet_close(uint32_t port);
void port_clear(uint32_t port);
void port_mask(uint32_t port, bool masked);

#endif
