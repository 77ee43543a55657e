/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The state of Xen that each domain should see: a reference model of event channels (2-level and
 * FIFO), Argo and grants (both versions), written from Xen's own rules and not from the emulator.
 * Each function is one hypercall of domain `self` (an index of `domains`): it returns what Xen
 * returns and changes the model as Xen changes the world. Plain and slow where it can be: it must
 * never share code, tables or ideas of representation with hv/sim.
 */
#ifndef MSGD_TESTS_RANDOM_MODEL_H
#define MSGD_TESTS_RANDOM_MODEL_H

/* All operations, those of the table's versions among them. */
#ifndef __XEN_INTERFACE_VERSION__
#define __XEN_INTERFACE_VERSION__ __XEN_LATEST_INTERFACE_VERSION__
#endif

#include <stdbool.h>
#include <stdint.h>

#include <xen/xen.h>
#include <xen/argo.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>

#define MODEL_DOMAINS	  64U
#define MODEL_PORTS	  5120U
#define MODEL_2L_PORTS	  4096U
#define MODEL_WORDS_PAGE  1024U /* event words */
#define MODEL_ARRAY_PAGES 128U
#define MODEL_QUEUES	  16U
#define MODEL_PIRQS	  64U
#define MODEL_BUCKET	  64U
#define MODEL_VIRQS	  24U
#define MODEL_VCPUS	  2U
#define MODEL_RINGS	  128U
#define MODEL_RING_PAGES  4U /* the largest ring that is tried */
#define MODEL_WAITERS	  32U
#define MODEL_GREFS	  4096U
#define MODEL_GREFS_FRAME 512U
#define MODEL_FRAMES	  (MODEL_GREFS / MODEL_GREFS_FRAME)
#define MODEL_HANDLES	  65536U
#define MODEL_PINS	  128U /* GNTPIN_incr2oflow_mask: of one kind, of one entry */
#define MODEL_GFNS	  65536U
#define MODEL_PAGES	  16U /* of RAM, a domain */
#define MODEL_FIFO_PAGES  8U  /* more, for the event array and control blocks */
#define MODEL_PAGE_SIZE	  4096U
#define MODEL_NONE	  UINT32_MAX
#define MODEL_TOUCHED_MAX 32U

struct m_port {
	uint8_t state; /* EVTCHNSTAT_* */
	uint8_t virq;
	uint8_t vcpu; /* that is notified */
	uint16_t remote_domid;
	uint32_t remote;      /* interdomain: index of domains */
	uint32_t remote_port; /* pirq: its number */
	bool xens;	      /* Xen is the consumer */
	/* FIFO's, and older than the binding: */
	bool pending; /* raised while its word was not there */
	uint8_t priority, last_priority, last_vcpu;
};

/* A control block. */
struct m_control {
	uint32_t gfn; /* 0: none */
	uint32_t offset;
	uint32_t tail[MODEL_QUEUES];
};

struct m_pirq {
	bool assigned, shared;
	uint32_t port;
};

struct m_waiter {
	uint16_t domid;
	uint32_t len;
};

struct m_ring {
	bool used;
	uint32_t aport;
	uint16_t partner;
	uint32_t len;
	uint32_t tx;
	uint32_t n_pages;
	uint32_t gfns[MODEL_RING_PAGES];
	uint32_t n_waiters;
	struct m_waiter waiters[MODEL_WAITERS];
};

/* Pins by kind: for the host, for a device; of a reader, of a writer. */
enum m_pin { M_HOST_READ, M_HOST_WRITE, M_DEVICE_READ, M_DEVICE_WRITE, M_PINS };

struct m_active {
	uint16_t pins[M_PINS];
	uint16_t domid;
	uint32_t frame;
};

enum m_life { M_GONE = 0, M_ALIVE, M_DYING };

struct m_domain {
	enum m_life life;
	uint16_t domid;
	bool argo;
	bool paused;	  /* by its controller */
	bool kernel_virq; /* its kernel takes VIRQ_ARGO: nothing is seen of it */
	uint32_t n_argo;  /* Xen counts these against 128, its leak included */
	uint32_t n_pinned;
	uint32_t max_port;
	uint32_t n_valid; /* ports */
	struct m_port ports[MODEL_PORTS];
	bool fifo;
	uint32_t n_arrays;
	uint32_t arrays[MODEL_ARRAY_PAGES];
	struct m_control controls[MODEL_VCPUS];
	struct m_pirq pirqs[MODEL_PIRQS];
	uint64_t timer_ns[MODEL_VCPUS];
	uint32_t n_vcpus;
	uint32_t virq_port[MODEL_VCPUS][MODEL_VIRQS]; /* the domain's own: of vcpu 0 */
	uint64_t pending[MODEL_2L_PORTS / 64];
	uint64_t mask[MODEL_2L_PORTS / 64];
	uint64_t selector[MODEL_VCPUS];
	uint8_t upcall[MODEL_VCPUS];
	struct m_ring rings[MODEL_RINGS];
	uint32_t n_frames; /* of the grant table */
	bool may_v2;
	uint32_t version;
	uint64_t grants[MODEL_GREFS]; /* of version 2: two words each */
	uint16_t status[MODEL_GREFS / 2];
	struct m_active active[MODEL_GREFS];
	uint32_t n_pages;
	uint32_t pages[MODEL_PAGES]; /* nobody gives one to whom has so many */
	uint32_t n_fifo_pages;
	uint32_t fifo_pages[MODEL_FIFO_PAGES];
};

struct m_handle {
	uint32_t mapper; /* MODEL_NONE: free */
	uint32_t granter;
	uint32_t ref;
	uint32_t flags; /* the parts that are still mapped */
};

struct model {
	bool no_argo;	     /* as without argo=1 */
	bool mac_permissive; /* wildcard rings */
	bool no_memory;	     /* nothing can be allocated */
	uint64_t now_ns;
	struct m_domain domains[MODEL_DOMAINS];
	uint16_t by_domid[0x8000]; /* index + 1 */
	struct m_handle handles[MODEL_HANDLES];
	uint32_t n_handles;
	uint8_t *memory[MODEL_GFNS]; /* owned; NULL: not a domain's */
	uint8_t owner[MODEL_GFNS];   /* index + 1 */
	/* The parts that the last call may have changed, for the comparison. */
	uint64_t touched_domains; /* shared info */
	uint32_t n_touched_pages;
	uint32_t touched_pages[MODEL_TOUCHED_MAX];
	uint32_t n_touched_grants;
	struct {
		uint32_t granter, ref;
	} touched_grants[MODEL_TOUCHED_MAX];
};

struct model *model_new(void);
void model_free(struct model *m);
void model_untouch(struct model *m);

uint32_t model_find(const struct model *m, uint16_t domid); /* MODEL_NONE */
void model_domain_create(struct model *m, uint32_t index, uint16_t domid, bool argo,
	uint32_t n_vcpus, uint32_t max_port);
void model_domain_destroy(struct model *m, uint32_t index);
void model_domain_shutdown(struct model *m);
void model_page_add(struct model *m, uint32_t index, uint32_t gfn);
void model_fifo_page_add(struct model *m, uint32_t index, uint32_t gfn);
void model_page_free(struct model *m, uint32_t gfn);
uint8_t *model_page_touch(struct model *m, uint32_t gfn);
void model_grant_touch(struct model *m, uint32_t granter, uint32_t ref);
/* Before and behind it: a page of that domain. */
bool model_page_is(const struct model *m, uint32_t index, uint64_t gfn);

/* model-evtchn.c; what a vcpu's own events are is virq_is_local's */
void model_raise(struct model *m, uint32_t domain, uint32_t port);
int model_alloc_unbound(
	struct model *m, uint32_t self, uint16_t dom, uint16_t remote, uint32_t *ret_port);
int model_bind_interdomain(
	struct model *m, uint32_t self, uint16_t remote, uint32_t remote_port, uint32_t *ret_port);
int model_bind_virq(
	struct model *m, uint32_t self, uint32_t virq, uint32_t vcpu, uint32_t *ret_port);
int model_bind_ipi(struct model *m, uint32_t self, uint32_t vcpu, uint32_t *ret_port);
int model_bind_vcpu(struct model *m, uint32_t self, uint32_t port, uint32_t vcpu);
int model_set_priority(struct model *m, uint32_t self, uint32_t port, uint32_t priority);
int model_bind_pirq(
	struct model *m, uint32_t self, uint32_t pirq, uint32_t flags, uint32_t *ret_port);
int model_xen_port(struct model *m, uint16_t dom, uint16_t remote, uint32_t *ret_port);
int model_reset(struct model *m, uint32_t self, uint16_t dom);
int model_close(struct model *m, uint32_t self, uint32_t port);
int model_send(struct model *m, uint32_t self, uint32_t port);
int model_unmask(struct model *m, uint32_t self, uint32_t port);
int model_status(struct model *m, uint32_t self, evtchn_status_t *status);
void model_ports_destroy(struct model *m, uint32_t index);
/* Events that no domain sends. */
int model_virq_raise(struct model *m, uint16_t dom, uint32_t virq, uint32_t vcpu);
int model_pirq_raise(struct model *m, uint32_t pirq);
int model_timer_set(struct model *m, uint16_t dom, uint32_t vcpu, uint64_t deadline_ns);
void model_clock_advance(struct model *m, uint64_t ns);

/* model-fifo.c */
int model_init_control(struct model *m, uint32_t self, const evtchn_init_control_t *init);
int model_expand_array(struct model *m, uint32_t self, uint64_t gfn);
/* The event word as it is; 0 where there is none. */
uint32_t model_word(const struct model *m, const struct m_domain *d, uint32_t port);
uint32_t model_word_at(const struct m_domain *d, uint32_t port, uint32_t *ret_offset);
uint32_t model_control_word(
	const struct model *m, const struct m_domain *d, uint32_t vcpu, uint32_t word);
void model_fifo_raise(struct model *m, uint32_t domain, uint32_t port);
void model_fifo_unmask(struct model *m, uint32_t domain, uint32_t port);
void model_fifo_close(struct model *m, uint32_t domain, uint32_t port);
void model_fifo_destroy(struct model *m, uint32_t domain);

/* model-argo.c; a pointer of NULL stands for one that cannot be read */
struct m_iov {
	const uint8_t *data;
	uint32_t len;
	uint32_t pad;
};
long model_register(struct model *m, uint32_t self, const xen_argo_register_ring_t *reg,
	const xen_argo_gfn_t *gfns, uint64_t n_gfns, uint64_t flags);
long model_unregister(struct model *m, uint32_t self, const xen_argo_unregister_ring_t *unreg,
	const void *arg2, uint64_t arg3, uint64_t arg4);
long model_sendv(struct model *m, uint32_t self, const xen_argo_send_addr_t *addr,
	const struct m_iov *iov, uint64_t n_iov, uint64_t type);
/* `no_data`: a NULL that is meant. Answers in `entries`, which hold the questions. */
long model_notify(struct model *m, uint32_t self, bool no_data, const uint32_t *nent,
	xen_argo_ring_data_ent_t *entries, const void *arg2, uint64_t arg3, uint64_t arg4);
uint32_t model_ring_rx(const struct model *m, const struct m_ring *ring);
uint32_t model_ring_space(const struct model *m, const struct m_ring *ring);
void model_ring_read(
	const struct model *m, const struct m_ring *ring, uint32_t offset, void *dst, uint32_t len);
void model_ring_write(
	struct model *m, const struct m_ring *ring, uint32_t offset, const void *src, uint32_t len);
void model_argo_destroy(struct model *m, uint32_t index);

/* A grant entry, of either version. */
struct m_entry {
	uint16_t flags, domid;
	uint64_t frame;
	uint16_t offset, len; /* GTF_sub_page */
	uint16_t trans_domid; /* GTF_transitive */
	uint32_t trans_ref;
};
struct m_entry model_entry(const struct m_domain *d, uint32_t ref);
uint32_t model_n_entries(const struct m_domain *d);
/* In use: of version 1 in the entry, of version 2 apart. */
void model_status_set(struct model *m, uint32_t domain, uint32_t ref, uint16_t bits);
void model_status_clear(struct model *m, uint32_t domain, uint32_t ref, uint16_t bits);

/* model-grant.c: GNTST_* */
int model_map(struct model *m, uint32_t self, uint16_t dom, uint32_t ref, uint32_t flags,
	uint32_t *ret_granter, uint32_t *ret_frame);
/* The handle is whatever Xen says; false: it cannot be that one. */
bool model_map_handle(struct model *m, uint32_t self, uint32_t granter, uint32_t ref,
	uint32_t flags, uint32_t handle);
int model_unmap(
	struct model *m, uint32_t self, uint32_t handle, uint64_t host_addr, uint64_t dev_bus_addr);
int model_unmap_replace(
	struct model *m, uint32_t self, uint32_t handle, uint64_t host_addr, uint64_t new_addr);
int model_query_size(
	struct model *m, uint32_t self, uint16_t dom, uint32_t *ret_n, uint32_t *ret_max);
int model_setup_table(struct model *m, uint32_t self, uint16_t dom, uint32_t n, bool readable,
	uint32_t *ret_domain);
int model_status_frames(
	const struct model *m, uint32_t self, uint16_t dom, uint32_t n, uint32_t *ret_domain);
/* 0 or an errno */
int model_get_version(const struct model *m, uint32_t self, uint16_t dom, uint32_t *ret_version);
int model_set_version(struct model *m, uint32_t self, uint32_t version);
void model_mappings_release(struct model *m, uint32_t index);
void model_reap(struct model *m, uint32_t index);

/* model-copy.c: what keeps no pin */
int model_copy(struct model *m, uint32_t self, const gnttab_copy_t *op);
int model_transfer(struct model *m, uint32_t self, uint64_t gfn, uint16_t dom, uint32_t ref);
int model_swap(struct model *m, uint32_t self, uint32_t a, uint32_t b);
/* 0 or an errno */
int model_cache_flush(
	const struct model *m, uint32_t self, const gnttab_cache_flush_t *op, uint32_t ref);

#endif
