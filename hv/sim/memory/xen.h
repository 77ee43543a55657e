/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A participant's view of the segment. Every layer of the emulator includes this header, so it has
 * only what each of them needs. A view must never hold anything that another process could not do
 * without.
 *
 * Functions named *_locked run inside a transaction of their caller (hypervisor/transaction.h) and
 * return Xen's error numbers; when one fails, the function that began the transaction aborts it.
 */
#ifndef MSGD_HV_SIM_MEMORY_XEN_H
#define MSGD_HV_SIM_MEMORY_XEN_H

#include <stdbool.h>
#include <stddef.h>

#include "hv/sim/memory/segment.h"

struct xen;
struct xen_choices;

/* How the authority, a process attached to it, and the in-process emulator differ. */
struct xen_ops {
	/* Writes the eventfd of a slot of that generation. Must not block. Any thread. */
	void (*kick)(struct xen *xen, uint32_t slot, uint32_t generation);
	/*
	 * A lock's owner, a slot, has been in the way for waited_ms without a break. Called again
	 * and again; before_ms is the waited_ms of the call before.
	 */
	void (*stuck)(struct xen *xen, uint32_t slot, uint32_t before_ms, uint32_t waited_ms);
};

struct xen {
	struct sim_segment
		*seg;  /* borrowed by handles in one process, owned by the mapping's maker */
	uint8_t *pool; /* the page pool, inside seg */
	uint32_t slot;
	uint32_t lock_word; /* this slot writes it into a lock */
	/* The transaction's: the one for all, except in a view that txn_begin_domain returns. */
	struct sim_guard *guard;
	uint32_t n_empty; /* the owner's: polls that found nothing; see slot.c */
	const struct xen_ops *ops;
	void *ops_arg; /* borrowed */
	/* For tests: called at each step of a transaction, so that it can be cut short there. */
	void (*step)(void *arg);
	void *step_arg;
	const struct xen_choices *choices; /* NULL but in deterministic mode: hypervisor/fault.h */
};

void xen_init(struct xen *xen, struct sim_segment *seg, uint32_t slot);

/* A look at a field without a lock that keeps it as it is. */
#define peek(p) __atomic_load_n((p), __ATOMIC_RELAXED)

/* A list that does not end, or the like: some process has written where it must not. */
static inline void segment_is_corrupt(const struct xen *xen)
{
	atomic_store(&xen->seg->corrupt, 1);
}

static inline void xen_step(struct xen *xen)
{
	if (__builtin_expect(xen->step != NULL, 0))
		xen->step(xen->step_arg);
}

static inline void *page_address(const struct xen *xen, uint32_t page)
{
	return xen->pool + (size_t)page * HV_PAGE_SIZE;
}

#define DOMAIN_NONE UINT32_MAX

static inline struct sim_domain *domain_at(const struct xen *xen, uint32_t index)
{
	return &xen->seg->domains[index];
}

/* The index of a domain, or DOMAIN_NONE. */
static inline uint32_t sim_domain_find(const struct xen *xen, uint16_t domid)
{
	return domid < 0x8000 ? (uint32_t)peek(&xen->seg->domain_index[domid]) - 1U : DOMAIN_NONE;
}

#endif
