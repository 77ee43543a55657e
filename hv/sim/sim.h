/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The embedded Xen emulator, for test programs: an emulator of one's own, in this process, without
 * xen-sim. What is behind it is the very code that runs across processes: the segment is a memfd,
 * the handles are the sim backend's, the authority is xen-sim's.
 *
 *	struct sim *sim;
 *	struct hv *hv;
 *	uint16_t domid;
 *
 *	sim_create(&sim);                                   // Domain-0 exists
 *	sim_domain_create(sim, &(struct sim_domain_config){.name = "web"}, &domid);
 *	sim_hv_open(sim, domid, &hv);                       // as a process of web
 *	...
 *	sim_hv_kill(sim, hv);                               // as kill -9 would
 *	sim_domain_destroy(sim, domid);
 *	assert(sim_check(sim, stderr) == 0);
 *	sim_free(sim);
 *
 * Every function may be called from any thread. 0 or a negative errno.
 */
#ifndef MSGD_HV_SIM_SIM_H
#define MSGD_HV_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "hv/hv.h"
#include "hv/sim/xen.h"

struct sim;

int sim_create(struct sim **ret_sim);
/* Handles that are still open must not be used any more, but for hv_close. NULL is accepted. */
void sim_free(struct sim *sim);

struct sim_domain_config {
	const char *name;     /* copied; NULL: "domain-N" */
	const uint8_t *uuid;  /* HV_UUID_LEN bytes, copied; NULL: random, and never all zero */
	uint16_t domid;	      /* 0: the next free one */
	bool no_argo;	      /* Argo is off for this domain */
	bool no_guest_kernel; /* the caller makes the hypercalls itself: VIRQ_ARGO is unbound */
	bool fifo;	      /* the guest kernel takes its events by FIFO, not by 2-level */
	bool grant_v1;	   /* max_grant_version of xl.cfg is 1; always so with the guest kernel */
	uint32_t n_vcpus;  /* 0: 1; at most 8 */
	uint32_t max_port; /* the highest event channel; 0: 1023, as libxl has it */
};

/* EEXIST: domid or name taken. ENOSPC: 64 domains. EINVAL: domid or name. */
int sim_domain_create(struct sim *sim, const struct sim_domain_config *config, uint16_t *ret_domid);
/*
 * Its processes die (in-process handles as by sim_hv_kill), then the domain. While somebody maps
 * its pages it stays, dying. ESRCH. EPERM: Domain-0.
 */
int sim_domain_destroy(struct sim *sim, uint16_t domid);
int sim_domain_pause(struct sim *sim, uint16_t domid, bool paused);
/* SHUTDOWN_suspend, SHUTDOWN_crash, ... of <xen/sched.h>. */
int sim_domain_shutdown(struct sim *sim, uint16_t domid, uint8_t reason);
int sim_domain_resume(struct sim *sim, uint16_t domid);
/* DOMAIN_NONE's domid (UINT16_MAX) if there is none of that name. */
uint16_t sim_domain_by_name(struct sim *sim, const char *name);

/* A handle of the sim backend, as a process of that domain. EHOSTUNREACH, EUSERS. */
int sim_hv_open(struct sim *sim, uint16_t domid, struct hv **ret_hv);
/* Does what the kernel does when the process dies, then frees the handle. */
void sim_hv_kill(struct sim *sim, struct hv *hv);

/* From then on the clock stands still but for sim_clock_advance. */
void sim_clock_virtual(struct sim *sim, uint64_t now_ns);
void sim_clock_advance(struct sim *sim, uint64_t ns);

/*
 * Looks at the whole segment. Returns the number of broken invariants, each of which is a line on
 * `out` (NULL: silent).
 */
int sim_check(struct sim *sim, FILE *out);

/* The emulator's own view, for hypercalls and for what tests look at in the segment. */
struct xen *sim_xen(struct sim *sim);
/* The view of a handle of the sim backend. */
struct xen *sim_hv_xen(struct hv *hv);

/* n contiguous zeroed pages of a domain's memory; gfns count up from *ret_gfn. ENOMEM, ESRCH. */
int sim_pages_alloc(struct xen *xen, uint16_t domid, uint32_t n, uint64_t *ret_gfn);
void *sim_page(struct xen *xen, uint64_t gfn);

/*
 * The hypercalls, as domain `domid`: Xen's structures, checks and return values. A pointer that
 * is not mapped gives -EFAULT. Now: every event channel operation; register_ring, unregister_ring,
 * sendv, notify; every grant table operation, of both versions. The rest gives -ENOSYS (Argo:
 * -EOPNOTSUPP).
 */
int evtchn_op(struct xen *xen, uint16_t domid, int cmd, void *arg);
long argo_op(struct xen *xen, uint16_t domid, unsigned int cmd, void *arg1, void *arg2,
	unsigned long arg3, unsigned long arg4);
int grant_table_op(
	struct xen *xen, uint16_t domid, unsigned int cmd, void *uop, unsigned int count);

/*
 * What no hypercall does: events that come from the machine, or from the hypervisor itself. ESRCH:
 * no such domain. ENOENT: no such vcpu. EINVAL: virq, pirq.
 */
/* VIRQ_DEBUG, VIRQ_CONSOLE, ... as Xen raises them; the global ones go to vcpu 0's binding. */
int sim_virq_raise(struct xen *xen, uint16_t domid, uint32_t virq, uint32_t vcpu);
/*
 * The singleshot timer of a vcpu (set_timer_op): VIRQ_TIMER at that time, at once if it has passed;
 * 0: off. Of a virtual clock that is when sim_clock_advance gets there. The clock that runs by
 * itself is CLOCK_MONOTONIC: xen-sim waits for the deadline; the emulator within one process has
 * nobody who could, EOPNOTSUPP.
 */
int sim_timer_set(struct xen *xen, uint16_t domid, uint32_t vcpu, uint64_t deadline_ns);
/* Lets a domain bind a physical interrupt, as libxl does for a device that it passes through. */
int sim_pirq_assign(struct xen *xen, uint16_t domid, uint32_t pirq);
/* The device interrupts. Returns how many domains have bound it. */
int sim_pirq_raise(struct xen *xen, uint32_t pirq);
/* A port that `remote` may bind, and whose near end is the hypervisor's, as a device model's. */
int sim_xen_port_alloc(struct xen *xen, uint16_t domid, uint16_t remote, uint32_t *ret_port);

/* The same as sim_check, without an emulator in this process. */
int segment_check(struct xen *xen, FILE *out);

#endif
