/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The state of the emulator within one process, and of deterministic mode. For testing/ alone. */
#ifndef MSGD_HV_SIM_TESTING_DETERMINISTIC_H
#define MSGD_HV_SIM_TESTING_DETERMINISTIC_H

#include <sys/queue.h>
#include <ucontext.h>

#include "base/macro.h"
#include "hv/sim/toolstack/authority.h"
#include "hv/sim/process/backend.h"
#include "hv/sim/testing/sim.h"

#define SIM_DEATHS_MAX 16U
#define SIM_LOCALS_MAX 4U

struct sim_death {
	uint64_t step; /* 0: this one is free */
	uint16_t domid;
};

struct sim_local {
	void *memory; /* borrowed */
	size_t len;
};

TAILQ_HEAD(sim_task_list, sim_task);

/* Of the stack that the tasks are switched to from; the rest is AddressSanitizer's. */
struct main_context {
	ucontext_t context;
	void *fake_stack;
	const void *stack;
	size_t stack_size;
};

struct deterministic {
	struct sim_choices config;
	uint64_t rng;
	struct sim_stats stats;
	uint32_t no_faults; /* the toolstack is at work */
	bool delivering;    /* interrupts that were held back come now */
	/* When a held interrupt comes, and when a ring that seemed full is read; 0: none. */
	uint64_t interrupt_ns[SIM_MAX_DOMAINS][SIM_MAX_VCPUS];
	uint64_t room_ns[SIM_MAX_DOMAINS];
	struct sim_death deaths[SIM_DEATHS_MAX];
	struct sim_local locals[SIM_LOCALS_MAX];
	size_t n_locals, locals_len; /* how many, and their bytes together */
	struct sim_task_list tasks;  /* owned */
	struct sim_task *current;    /* borrowed; NULL: no task runs */
	struct main_context main;
};

struct sim {
	struct authority authority;
	struct sim_hv *handles[SIM_MAX_SLOTS]; /* borrowed: those that are open */
	_Atomic unsigned int n_ref;	       /* sim_free, and each handle */
	struct deterministic *det;	       /* owned; NULL: not in that mode */
};

/* Of the authority's view, and of a handle's. */
static inline struct sim *sim_of(const struct xen *xen)
{
	return container_of(xen->ops_arg, struct sim, authority);
}

/* deterministic.c */
uint64_t det_draw(struct deterministic *det);
void det_trace(struct sim *sim, const char *who, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static inline bool det_traces(const struct sim *sim)
{
	return sim->det->config.trace != NULL;
}
/* Before a call: others may run first. */
void det_preempt(struct sim *sim);
/* Before a step: what is due by now, and what nobody sent. */
void det_events(struct sim *sim);
/* When the next event is due; UINT64_MAX: there is none. */
uint64_t det_next_event(struct sim *sim);
void det_attach(struct sim *sim, struct xen *xen);
void det_free(struct sim *sim);

/* deterministic-hv.c: the handle's calls are traced from now on, and preempted. */
void det_wrap_handle(struct sim_hv *h);

/* task.c */
const char *det_task_name(const struct sim *sim);
void det_tasks_free(struct sim *sim);
void det_tasks_of_domain_end(struct sim *sim, uint16_t domid);

#endif
