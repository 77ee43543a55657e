/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The random test's driver: each step is one hypercall, chosen by the seed alone, that is asked of
 * the model and then made; both must agree on what it returns and on everything that can be seen.
 */
#ifndef MSGD_TESTS_RANDOM_RANDOM_H
#define MSGD_TESTS_RANDOM_RANDOM_H

#include "tests/random/model.h"
/* after it, which asks for all of Xen's interface */
#include "hv/sim/testing/sim.h"

enum op {
	OP_ALLOC_UNBOUND,
	OP_BIND_INTERDOMAIN,
	OP_BIND_VIRQ,
	OP_CLOSE,
	OP_SEND,
	OP_STATUS,
	OP_UNMASK,
	OP_BIND_IPI,
	OP_BIND_VCPU,
	OP_SET_PRIORITY,
	OP_RESET,
	OP_INIT_CONTROL,
	OP_EXPAND_ARRAY,
	OP_BIND_PIRQ,
	OP_EVTCHN_OTHER,
	OP_REGISTER,
	OP_UNREGISTER,
	OP_SENDV,
	OP_NOTIFY,
	OP_ARGO_OTHER,
	OP_MAP,
	OP_UNMAP,
	OP_UNMAP_REPLACE,
	OP_COPY,
	OP_TRANSFER,
	OP_SWAP,
	OP_CACHE_FLUSH,
	OP_QUERY_SIZE,
	OP_SETUP_TABLE,
	OP_STATUS_FRAMES,
	OP_GET_VERSION,
	OP_SET_VERSION,
	OP_GRANT_OTHER,
	/* No hypercalls: the toolstack, the machine, Xen itself. */
	OP_CREATE,
	OP_DESTROY,
	OP_SHUTDOWN,
	OP_VIRQ,
	OP_PIRQ,
	OP_TIMER,
	OP_XEN_PORT,
	OP_NOTIFY_ENTRY, /* no step: what notify says of one ring */
	N_OPS,
};

/* Where GNTST_* stand in a histogram: past every errno. */
#define CODE_GNTST 200U
/* And the flags of a notify entry; queued is what is none of the others. */
#define CODE_FLAG   220U
#define CODE_QUEUED 230U
#define N_CODES	    232U

struct pair {
	enum op op;
	uint32_t code;
};
/* required.c: what must have been met often enough, and what cannot be. */
extern const struct pair required[];
extern const uint32_t n_required;

struct counts {
	uint64_t n_steps;
	uint64_t n_good;
	uint64_t n_checks; /* of the whole segment */
	uint64_t by[N_OPS][N_CODES];
};

struct run {
	uint64_t seed;
	uint64_t rng;
	uint64_t step;
	bool trace;
	struct counts *counts; /* borrowed */
	struct sim *sim;
	struct xen *xen;
	struct model *m;
	uint32_t n_live, live[MODEL_DOMAINS]; /* indices, Domain-0's first */
	/* Memory that the callers hand over, in pages of Domain-0 unknown to the model. */
	uint8_t *arg1, *arg2, *data;
	/* The call that is being made. */
	enum op op;
	uint32_t self;
	uint64_t args[6];
};

#define DATA_LEN (16U * 4096U)

/* random.c */
uint64_t draw(struct run *run);
uint32_t pick(struct run *run, uint32_t n); /* 0 to n - 1 */
bool chance(struct run *run, uint32_t per_mille);
__attribute__((noreturn, format(printf, 2, 3))) void fail(struct run *run, const char *format, ...);
void call_begin(struct run *run, enum op op, uint32_t self, const uint64_t args[6]);
#define CALL(run, op, self, ...) call_begin(run, op, self, (const uint64_t[6]){__VA_ARGS__})
/* Prediction and result: counts, and compares what the call may have changed. */
void call_end(struct run *run, long predicted, long actual);
void call_end_grant(struct run *run, int predicted, int actual);

/* world.c */
void world_begin(struct run *run);
void world_end(struct run *run);
void world_compare(struct run *run);	 /* all that the last call touched */
void world_compare_all(struct run *run); /* everything */
uint32_t some_live(struct run *run);
uint32_t some_zombie(struct run *run); /* MODEL_NONE */
uint16_t some_domid(struct run *run);  /* a live one's */
uint16_t some_bad_domid(struct run *run);
uint32_t some_argo(struct run *run, bool on); /* a live domain; MODEL_NONE */
struct m_ring *some_ring(struct run *run, uint32_t *ret_domain);
uint32_t some_fifo(struct run *run, bool on); /* a live domain, not Domain-0; MODEL_NONE */
uint32_t port_some(struct run *run, uint32_t domain, uint8_t state);
void step_domain(struct run *run);
/* max_port: 0: any. Without pages: also without those for FIFO. */
bool domain_make(
	struct run *run, bool argo, uint32_t n_pages, uint32_t max_port, uint32_t *ret_index);
void domain_end(struct run *run, uint32_t index);
void guest_acts(struct run *run);
void guest_consumes(struct run *run, uint32_t domain, struct m_ring *ring);
void guest_word(struct run *run, uint32_t gfn, uint32_t offset, uint32_t value);
void guest_page_zero(struct run *run, uint32_t gfn);
void guest_grants(struct run *run, uint32_t domain, uint32_t ref, uint64_t entry);
uint64_t grant_entry(uint32_t flags, uint16_t domid, uint32_t frame);

/* steps-*.c */
void step_evtchn(struct run *run);
void do_alloc_unbound(struct run *run, uint32_t self, uint16_t dom, uint16_t remote);
void do_bind_interdomain(struct run *run, uint32_t self, uint16_t remote, uint32_t port);
void do_bind_virq(struct run *run, uint32_t self, uint32_t virq, uint32_t vcpu);
void do_bind_ipi(struct run *run, uint32_t self, uint32_t vcpu);
void do_close(struct run *run, uint32_t self, uint32_t port);
void do_status(struct run *run, uint32_t self, uint16_t dom, uint32_t port);
void step_fifo(struct run *run);
void do_init_control(struct run *run, uint32_t self, uint32_t vcpu, uint64_t gfn, uint32_t offset);
void do_expand_array(struct run *run, uint32_t self, uint64_t gfn);
void guest_takes_fifo_events(struct run *run, uint32_t domain);
/* A guest that never writes where it must not: what must be true of its queues then. */
bool guest_is_honest(const struct run *run, uint32_t domain);
void check_queues(struct run *run, uint32_t domain);
void step_machine(struct run *run);
void do_bind_pirq(struct run *run, uint32_t self, uint32_t pirq, uint32_t flags);
void step_argo(struct run *run);
uint32_t hostile_index(struct run *run, uint32_t len, uint32_t near);
void do_register(struct run *run, uint32_t self, uint32_t aport, uint16_t partner, uint32_t len,
	const xen_argo_gfn_t *gfns, uint32_t n, uint32_t flags);
void do_unregister(struct run *run, uint32_t self, uint32_t aport, uint16_t partner);
void do_send(struct run *run, uint32_t self, uint16_t to, uint32_t aport, uint32_t len);
void do_notify_one(struct run *run, uint32_t self, uint16_t to, uint32_t aport, uint32_t space);
void step_grant(struct run *run);
void do_map(struct run *run, uint32_t self, uint16_t dom, uint32_t ref, uint32_t flags);
void do_unmap(struct run *run, uint32_t self, uint32_t handle); /* all of it */
void step_copy(struct run *run);
void do_copy_from(struct run *run, uint32_t self, uint16_t domid, uint32_t ref);
void step_table(struct run *run);

/* bursts.c: what chance alone would never fill up */
void burst(struct run *run);

#endif
