/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One participant's view of the emulated hypervisor, and the hypervisor's inner interface: the
 * functions named *_locked run inside a transaction of their caller (journal.h) and return Xen's
 * error numbers; whoever began the transaction aborts it when they fail. The hypercalls that others
 * call are in sim.h. Must never hold anything that another process could not do without.
 */
#ifndef MSGD_HV_SIM_MEMORY_XEN_H
#define MSGD_HV_SIM_MEMORY_XEN_H

#include <stdbool.h>
#include <stddef.h>

#include "hv/sim/hypervisor/fault.h"
#include "hv/sim/memory/segment.h"

struct xen;

/* What differs between the authority, a process attached to it, and the in-process emulator. */
struct xen_ops {
	/* Writes the eventfd of a slot of that generation. Must not block. Any thread. */
	void (*kick)(struct xen *xen, uint32_t slot, uint32_t generation);
	/*
	 * A lock's owner, a slot, has been in the way for waited_ms without a break; called again
	 * and again, the last time with before_ms.
	 */
	void (*stuck)(struct xen *xen, uint32_t slot, uint32_t before_ms, uint32_t waited_ms);
};

struct xen {
	struct sim_segment *seg; /* borrowed by handles in one process, owned by whoever mapped */
	uint8_t *pool;		 /* the page pool, inside seg */
	uint32_t slot;
	uint32_t lock_word; /* what this slot writes into a lock */
	/* Of the transaction: that for all, but in what txn_begin_domain returns. */
	struct sim_guard *guard;
	uint32_t n_empty; /* the owner's: polls that found nothing; see guest-slot.c */
	const struct xen_ops *ops;
	void *ops_arg; /* borrowed */
	/* For tests: called at each step of a transaction, so that it can be cut short there. */
	void (*step)(void *arg);
	void *step_arg;
	const struct xen_choices *choices; /* NULL but in deterministic mode */
};

/* A look at a field without a lock that keeps it as it is. */
#define peek(p) __atomic_load_n((p), __ATOMIC_RELAXED)

/* A list that does not end, or the like: some process has written where it must not. */
static inline void segment_is_corrupt(const struct xen *xen)
{
	atomic_store(&xen->seg->corrupt, 1);
}

static inline bool xen_fault(struct xen *xen, enum sim_fault fault)
{
	return __builtin_expect(xen->choices != NULL, 0) && xen->choices->fault(xen, fault);
}

/* segment.c */
int segment_create(int *ret_fd, struct sim_segment **ret_seg);
int segment_map(int fd, struct sim_segment **ret_seg);
void segment_unmap(struct sim_segment *seg);
uint64_t segment_pid_namespace(void);
void xen_init(struct xen *xen, struct sim_segment *seg, uint32_t slot);

static inline void *page_address(const struct xen *xen, uint32_t page)
{
	return xen->pool + (size_t)page * HV_PAGE_SIZE;
}

static inline bool page_is_owned(const struct xen *xen, uint64_t gfn, uint32_t domain)
{
	return gfn > 0 && gfn < SIM_POOL_PAGES && xen->seg->pages[gfn] &&
	       SIM_PAGE_DOMAIN(xen->seg->pages[gfn]) == domain &&
	       SIM_PAGE_TYPE(xen->seg->pages[gfn]) != SIM_PAGE_XEN;
}

/* page.c: contiguous runs. Zeroing is the caller's, and outside the locks. */
int pages_alloc_locked(struct xen *xen, uint32_t domain, enum sim_page_type type, uint32_t tag,
	uint32_t n, uint32_t *ret_first);
void pages_free_locked(struct xen *xen, uint32_t first, uint32_t n);
void pages_zero(struct xen *xen, uint32_t first, uint32_t n);

/* guest-access.c: addresses of the calling process; a trusted caller's are not checked. */
int guest_read(struct xen *xen, void *dst, const void *src, size_t len, bool trusted);
int guest_write(struct xen *xen, void *dst, const void *src, size_t len);

/* domain.c */
#define DOMAIN_NONE UINT32_MAX
static inline uint32_t domain_find(const struct xen *xen, uint16_t domid)
{
	return domid < 0x8000 ? (uint32_t)peek(&xen->seg->domain_index[domid]) - 1U : DOMAIN_NONE;
}

/* rcu_lock_domain_by_any_id: DOMID_SELF is the caller. */
static inline uint32_t domain_find_any(const struct xen *xen, uint32_t self, uint16_t domid)
{
	return domid == DOMID_SELF ? self : domain_find(xen, domid);
}

static inline struct sim_domain *domain_at(const struct xen *xen, uint32_t index)
{
	return &xen->seg->domains[index];
}

/* evtchn_from_port: of a port that is valid. */
static inline struct sim_port *port_entry(
	const struct xen *xen, struct sim_domain *d, uint32_t port)
{
	uint32_t i = port - SIM_2L_PORTS;

	if (port < SIM_2L_PORTS)
		return &d->ports[port];
	return (struct sim_port *)page_address(xen, peek(&d->port_page[i / SIM_PORTS_PAGE])) +
	       i % SIM_PORTS_PAGE;
}

/* _evtchn_from_port: NULL: its bucket is not there. */
static inline struct sim_port *port_at(const struct xen *xen, struct sim_domain *d, uint32_t port)
{
	return port < d->n_valid_ports ? port_entry(xen, d, port) : NULL;
}

static inline bool domain_has_argo(const struct sim_domain *d)
{
	return d->flags & SIM_DOMAIN_ARGO;
}

static inline struct sim_domain *ring_domain(const struct xen *xen, const struct sim_ring *ring)
{
	size_t offset = (size_t)((const char *)ring - (const char *)xen->seg->domains);

	return &xen->seg->domains[offset / sizeof(struct sim_domain)];
}

/* event.c: raising a port; what the emulated guest does then is in guest-upcall.c */
void port_raise_locked(struct xen *xen, uint32_t domain, uint32_t port);
void port_unmask_locked(struct xen *xen, uint32_t domain, uint32_t port);
/* Its state is about to be free; unmask: so is its mask bit, which is the guest kernel's. */
void port_closed_locked(struct xen *xen, uint32_t domain, uint32_t port, bool unmask);
struct kick_set {
	uint64_t slots[SIM_MAX_SLOTS / 64];
	bool any;
};
static inline void kick_later(struct kick_set *kicks, uint32_t slot)
{
	kicks->slots[slot / 64] |= 1ULL << slot % 64;
	kicks->any = true;
}
/* May note in the record how far it got. */
void redo_run(struct xen *xen, struct sim_redo *redo, struct kick_set *kicks);
void kick_all(struct xen *xen, const struct kick_set *kicks);

/* evtchn.c */
int evtchn_alloc_unbound_locked(
	struct xen *xen, uint32_t domain, uint16_t dom, uint16_t remote, uint32_t *ret_port);
int evtchn_bind_interdomain_locked(struct xen *xen, uint32_t domain, uint16_t remote,
	uint32_t remote_port, uint32_t *ret_port);
int evtchn_bind_virq_locked(
	struct xen *xen, uint32_t domain, uint32_t virq, uint32_t vcpu, uint32_t *ret_port);
int evtchn_close_locked(struct xen *xen, uint32_t domain, uint32_t port);
/* The same by the hypervisor, which may close its own ports as well. */
void evtchn_destroy_locked(struct xen *xen, uint32_t domain, uint32_t port);
/* alloc_unbound_xen_event_channel: an end of which Xen itself is the consumer. */
int evtchn_alloc_xen_locked(
	struct xen *xen, uint32_t domain, uint32_t vcpu, uint16_t remote, uint32_t *ret_port);
/* Begins a transaction under the lock of the domain that a port of `domain` sends to. */
void evtchn_begin_send(struct xen *xen, uint32_t domain, uint32_t port, struct xen *ret_txn);
int evtchn_send_locked(struct xen *xen, uint32_t domain, uint32_t port);
int evtchn_unmask_locked(struct xen *xen, uint32_t domain, uint32_t port);

/* fifo.c: the other event ABI */
/* The port's event word, which the guest changes as well, any time; NULL: there is none yet. */
_Atomic uint32_t *fifo_word(const struct xen *xen, const struct sim_domain *d, uint32_t port);
/* NULL: the vcpu has none. */
struct evtchn_fifo_control_block *fifo_control(
	const struct xen *xen, const struct sim_domain *d, uint32_t vcpu);
void fifo_raise_locked(struct xen *xen, uint32_t domain, uint32_t port);
void fifo_unmask_locked(struct xen *xen, uint32_t domain, uint32_t port);
/* The rest of raising, after the commit: puts the port on its queue. */
void fifo_link(struct xen *xen, const struct sim_redo *redo);
int fifo_init_control_locked(struct xen *xen, uint32_t domain, evtchn_init_control_t *init);
int fifo_expand_array_locked(struct xen *xen, uint32_t domain, uint64_t gfn);
/* Xen writes to that page: it is a control block's, or the event array's. */
bool fifo_has_page(const struct sim_domain *d, uint32_t page);
/* Back to 2-level; every port is closed. */
void fifo_destroy_locked(struct xen *xen, uint32_t domain);

/* virq.c: interrupts that are no other domain's event. */
bool virq_is_global(uint32_t virq);
void virq_raise_locked(struct xen *xen, uint32_t domain, uint32_t vcpu, uint32_t virq);
void virq_argo_locked(struct xen *xen, uint32_t domain);
/* VIRQ_DOM_EXC of Domain-0, if it is bound: some domain has shut down, or is gone. */
void virq_dom_exc_locked(struct xen *xen);
/*
 * Raises VIRQ_TIMER for every timer whose deadline the clock has passed. Returns how long it is to
 * the next one, in ns; 0: there is none. One that is set meanwhile comes with a kick of slot 0.
 */
uint64_t timers_expire(struct xen *xen);

/* argo.c, argo-send.c. A frame list of NULL means n_pages from first_page on. */
struct ring_request {
	uint32_t aport;
	uint16_t partner;
	uint32_t len;
	uint32_t n_pages;
	uint32_t first_page;
	const xen_argo_gfn_t *gfns; /* of this process, already read from the guest */
	uint32_t flags;
};
int argo_register_locked(struct xen *xen, uint32_t domain, const struct ring_request *request,
	uint32_t *ret_index, bool *ret_commit);
int argo_unregister_locked(struct xen *xen, uint32_t domain, uint32_t aport, uint16_t partner);
void argo_remove_locked(struct xen *xen, uint32_t domain, uint32_t index);
struct sim_ring *argo_find(
	struct xen *xen, uint32_t domain, uint32_t aport, uint16_t partner, uint32_t *ret_index);
struct sim_ring *argo_match(
	struct xen *xen, uint32_t domain, uint32_t aport, uint16_t sender, uint32_t *ret_index);
uint8_t *argo_ring_at(
	struct xen *xen, const struct sim_ring *ring, uint32_t offset, uint32_t *ret_contiguous);
uint32_t argo_payload_space(struct xen *xen, const struct sim_ring *ring);
uint32_t argo_sanitized_rx(struct xen *xen, const struct sim_ring *ring);
int argo_requeue_locked(struct xen *xen, struct sim_ring *ring, uint16_t domid, uint32_t len);
void argo_waiter_cancel_locked(struct xen *xen, struct sim_ring *ring, uint16_t domid);
void argo_check_waiters_locked(struct xen *xen, uint32_t domain);
/*
 * Begins a transaction under the lock of the destination's domain. False: none has begun, for
 * there is no such domain, or in deterministic mode.
 */
bool argo_begin_sendv(struct xen *xen, uint16_t destination, struct xen *ret_txn);
/*
 * In that. Returns the payload's length. EAGAIN: nothing has changed; argo_sendv_locked is to be
 * called, under every lock, which lets the sender wait for room. What that changes is to be
 * committed even when it fails (EAGAIN).
 */
int argo_sendv_now_locked(struct xen *xen, uint32_t domain, const xen_argo_send_addr_t *addr,
	const xen_argo_iov_t *iov, uint32_t n_iov, uint32_t message_type, bool trusted);
int argo_sendv_locked(struct xen *xen, uint32_t domain, const xen_argo_send_addr_t *addr,
	const xen_argo_iov_t *iov, uint32_t n_iov, uint32_t message_type, bool trusted);

/* grant.c: returns GNTST_*. */
int grant_map_locked(struct xen *xen, uint32_t domain, uint16_t granter, uint32_t ref,
	uint32_t flags, uint32_t *ret_handle, uint32_t *ret_page);
int grant_unmap_locked(struct xen *xen, uint32_t domain, uint32_t handle);
/* gnttab_release_mappings: those that a dying domain has made by hypercalls. Takes the locks. */
void grant_mappings_release(struct xen *xen, uint32_t domain);

#endif
