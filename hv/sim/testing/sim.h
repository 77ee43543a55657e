/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The embedded Xen emulator, for test programs: an emulator of one's own, in this process, without
 * xen-sim. It runs the very code that runs across processes: the segment is a memfd, the handles
 * are the sim backend's, the authority is xen-sim's.
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
#ifndef MSGD_HV_SIM_TESTING_SIM_H
#define MSGD_HV_SIM_TESTING_SIM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "hv/hv.h"
#include "hv/sim/hypervisor/fault.h"
#include "hv/sim/hypervisor/hypercall.h"
#include "hv/sim/hypervisor/machine.h"

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

/* EEXIST: the name is taken; EADDRINUSE: the domid is. ENOSPC: 64 domains. EINVAL: either. */
int sim_domain_create(struct sim *sim, const struct sim_domain_config *config, uint16_t *ret_domid);
/*
 * The domain's processes die (in-process handles as by sim_hv_kill), then the domain. It stays,
 * dying, while somebody maps its pages. ESRCH. EPERM: Domain-0.
 */
int sim_domain_destroy(struct sim *sim, uint16_t domid);
int sim_domain_pause(struct sim *sim, uint16_t domid, bool paused);
/* SHUTDOWN_suspend, SHUTDOWN_crash, ... of <xen/sched.h>. */
int sim_domain_shutdown(struct sim *sim, uint16_t domid, uint8_t reason);
int sim_domain_resume(struct sim *sim, uint16_t domid);
/* by_guest: as if the guest could write them, too. */
int sim_domain_tag(struct sim *sim, uint16_t domid, const char *tags, bool by_guest);
/* UINT16_MAX if there is no domain of that name. */
uint16_t sim_domain_by_name(struct sim *sim, const char *name);

/* A handle of the sim backend, as a process of that domain. EHOSTUNREACH, EUSERS. */
int sim_hv_open(struct sim *sim, uint16_t domid, struct hv **ret_hv);
/* Does what the kernel does when the process dies, then frees the handle. */
void sim_hv_kill(struct sim *sim, struct hv *hv);

/* From then on the clock stands still but for sim_clock_advance. */
void sim_clock_virtual(struct sim *sim, uint64_t now_ns);
void sim_clock_advance(struct sim *sim, uint64_t ns);

/* ---- deterministic mode -------------------------------------------------------------------- */

/*
 * Every choice that the emulator makes comes from one seed, the clock is virtual, and several
 * domains run in this one thread as tasks: whose turn it is is such a choice, too. The same seed
 * and the same program give the same trace, byte by byte.
 *
 *	sim_create(&sim);
 *	sim_deterministic(sim, &(struct sim_choices){.seed = 1, .late_one_in = 4, ...});
 *	sim_domain_create(...);
 *	sim_task_start(sim, domid, "server", server, &a, NULL); // sim_hv_open in it, or before
 *	sim_task_start(sim, other, "client", client, &b, NULL);
 *	r = sim_run(sim, 100000);                               // until both have returned
 *
 * A failure that is brought about is one that Xen may answer at that point
 *(hv/sim/hypervisor/fault.h), and has no effect. Events may come late (several sends are then one
 * event) and may come unsent. The toolstack's part, which the functions above are, never fails.
 */
struct sim_choices {
	uint64_t seed;
	uint64_t now_ns;		     /* where the clock begins; 0: at 1 s */
	uint64_t step_ns;		     /* the longest that a step takes; 0: no time */
	uint32_t fault_one_in[SIM_N_FAULTS]; /* 0: never; 1: each time; n: about each n-th */
	uint32_t late_one_in;		     /* interrupts of the emulated kernels; likewise */
	uint64_t late_ns;		     /* by how much at most */
	uint32_t spurious_one_in;	     /* steps: an event that nobody sent, or a wake-up */
	uint32_t preempt_one_in;	     /* calls of hv.h and hypercalls: others run first */
	/* Gets a line, without its end, for each choice, call, result and event; or NULL. */
	void (*trace)(void *arg, const char *line);
	void *trace_arg;
	/* sim_destroy_at's step has come, and the domain is gone; or NULL. */
	void (*destroyed)(void *arg, uint16_t domid);
	void *destroyed_arg;
};

/*
 * Right after sim_create, before anything else: no other thread may use this emulator, and
 * sim_hv's `cpu` is -1. EBUSY: something else came first.
 */
int sim_deterministic(struct sim *sim, const struct sim_choices *choices);

/* The rest is for an emulator in this mode. From now on, as fault_one_in. */
void sim_set_fault(struct sim *sim, enum sim_fault fault, uint32_t one_in);

/* 0 to n - 1, n > 0; `what` is for the trace. */
uint32_t sim_choose(struct sim *sim, const char *what, uint32_t n);
/* A nonce, or what else getrandom would give. */
void sim_random(struct sim *sim, void *data, size_t len);
/* A line of the program's own in the trace. */
void sim_trace(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * The domain is destroyed, as by sim_domain_destroy, before that step. The tasks of the domain do
 * not go on: the caller abandons the memory of their processes, and sim_hv_kill takes their
 * handles. ENOSPC: 16 are waiting.
 */
int sim_destroy_at(struct sim *sim, uint16_t domid, uint64_t step);

struct sim_stats {
	uint64_t steps, calls, preempted;
	uint64_t faults[SIM_N_FAULTS];
	uint64_t interrupts, late, coalesced; /* of these; those that joined a late one */
	uint64_t spurious;
	uint64_t destroyed;
};
void sim_get_stats(struct sim *sim, struct sim_stats *ret_stats);
const char *sim_fault_name(enum sim_fault fault);

struct sim_task;
struct pollfd;

/* Thread-local memory of the code that tasks run: each task gets its own. `memory` is borrowed. */
int sim_task_local(struct sim *sim, void *memory, size_t len);
/*
 * A task runs in its domain until fn returns, on a stack of its own (1 MiB); not while the domain
 * is paused or shut down. Valid until it ends, or its domain. ENOMEM. ESRCH.
 */
int sim_task_start(struct sim *sim, uint16_t domid, const char *name, void (*fn)(void *arg),
	void *arg, struct sim_task **ret_task);
/* sim_run does not wait for it. */
void sim_task_set_background(struct sim_task *task);
/* The task does not go on, wherever it is. A task must not kill itself. */
void sim_task_kill(struct sim *sim, struct sim_task *task);
/*
 * A task's own: others may run first; or it waits as poll(2) does, on the virtual clock: until a
 * descriptor is ready, or until_ns (UINT64_MAX: for ever). Returns what poll does.
 */
void sim_task_yield(struct sim *sim);
int sim_task_poll(struct sim *sim, struct pollfd *fds, size_t n, uint64_t until_ns);
/*
 * Runs tasks, a step each time, until all have ended (0), n_steps have been made (-ETIME), or
 * nothing can ever happen any more (-EDEADLK). The clock leaps where nobody can run.
 */
int sim_run(struct sim *sim, uint64_t n_steps);

/*
 * Looks at the whole segment. Returns the number of broken invariants, each of which is a line on
 * `out` (NULL: silent).
 */
int sim_check(struct sim *sim, FILE *out);
int segment_check(struct xen *xen, FILE *out);

/* The emulator's own view, for hypercalls and for what tests look at in the segment. */
struct xen *sim_xen(struct sim *sim);
/* The view of a handle of the sim backend. */
struct xen *sim_hv_xen(struct hv *hv);

/* n contiguous zeroed pages of a domain's memory; gfns count up from *ret_gfn. ENOMEM, ESRCH. */
int sim_pages_alloc(struct xen *xen, uint16_t domid, uint32_t n, uint64_t *ret_gfn);
void *sim_page(struct xen *xen, uint64_t gfn);

#endif
