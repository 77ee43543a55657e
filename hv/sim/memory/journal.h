/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Transactions: every change of the segment's state is made between a begin and txn_commit or
 * txn_abort, under a lock (lock.h), by txn_set, so that a process killed at any instant leaves a
 * state that the next owner of all the locks makes whole again:
 *
 *  - killed before the commit store: the undo records are put back, newest first;
 *  - killed after it: what guests see (tx_ptr, pending bits, events) is published once more.
 *    Publishing is idempotent, but for a spurious event.
 *
 * Payload is written outside the journal: it is invisible until tx_ptr is published. Only stores
 * by one process matter for the recovery of a journal, and a killed process' stores are seen in
 * program order: compiler fences are all that is needed between a record, its count and the change
 * itself.
 */
#ifndef MSGD_HV_SIM_MEMORY_JOURNAL_H
#define MSGD_HV_SIM_MEMORY_JOURNAL_H

#include "hv/sim/memory/xen.h"

/* Puts back what was changed, newest first, and forgets what was to be published. */
void journal_undo(struct xen *xen, struct sim_guard *j);

/* Sets n equal words (all *p now) to value. */
void txn_fill(struct xen *xen, uint64_t *p, uint32_t n, uint64_t value);
void txn_redo(struct xen *xen, enum sim_redo_kind kind, uint32_t domain, uint32_t a, uint32_t b);

static inline void txn_record(struct xen *xen, const void *p, uint32_t size, uint64_t old)
{
	struct sim_guard *j = xen->guard;
	uint32_t n = atomic_load_explicit(&j->n_undo, memory_order_relaxed);

	/* No operation is allowed to be that long; each has its bound where it is begun. */
	assert(n < SIM_JOURNAL_UNDO);
	j->undo[n].offset = (uint32_t)((const char *)p - (const char *)xen->seg);
	j->undo[n].size = size;
	j->undo[n].old = old;
	atomic_store_explicit(&j->n_undo, n + 1, memory_order_release);
	atomic_signal_fence(memory_order_seq_cst);
	xen_step(xen);
}

/* A store as a whole: some fields are looked at by whoever has another lock, or none: peek. */
static inline void txn_store(void *p, size_t size, uint64_t value)
{
	switch (size) {
	case 1:
		__atomic_store_n((uint8_t *)p, (uint8_t)value, __ATOMIC_RELAXED);
		break;
	case 2:
		__atomic_store_n((uint16_t *)p, (uint16_t)value, __ATOMIC_RELAXED);
		break;
	case 4:
		__atomic_store_n((uint32_t *)p, (uint32_t)value, __ATOMIC_RELAXED);
		break;
	default:
		__atomic_store_n((uint64_t *)p, value, __ATOMIC_RELAXED);
	}
}

/* Sets *p, an integer of the segment of 1, 2, 4 or 8 bytes. */
#define txn_set(xen, p, value)                                                                     \
	do {                                                                                       \
		static_assert(sizeof(*(p)) <= 8, "integers only");                                 \
		txn_record((xen), (p), sizeof(*(p)), (uint64_t) * (p));                            \
		txn_store((p), sizeof(*(p)), (uint64_t)(value));                                   \
		atomic_signal_fence(memory_order_seq_cst);                                         \
	} while (0)

#endif
