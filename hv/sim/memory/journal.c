/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records and undoing; see journal.h. Must never allocate or block. */
#include "hv/sim/memory/journal.h"

static void undo_one(struct xen *xen, const struct sim_undo *undo)
{
	uint8_t *p = (uint8_t *)xen->seg + undo->offset;

	if (undo->size <= 8)
		txn_store(p, undo->size, undo->old);
	for (uint32_t i = 0; i < undo->size / 16; i++)
		((uint64_t *)p)[i] = undo->old;
}

void journal_undo(struct xen *xen, struct sim_guard *j)
{
	uint32_t n = atomic_load_explicit(&j->n_undo, memory_order_relaxed);

	while (n > 0) {
		undo_one(xen, &j->undo[--n]);
		xen_step(xen);
	}
	atomic_signal_fence(memory_order_seq_cst);
	atomic_store_explicit(&j->n_redo, 0, memory_order_relaxed);
	atomic_store_explicit(&j->n_undo, 0, memory_order_release);
}

void txn_fill(struct xen *xen, uint64_t *p, uint32_t n, uint64_t value)
{
	txn_record(xen, p, n * 16, *p);
	for (uint32_t i = 0; i < n; i++)
		p[i] = value;
	atomic_signal_fence(memory_order_seq_cst);
}

void txn_redo(struct xen *xen, enum sim_redo_kind kind, uint32_t domain, uint32_t a, uint32_t b)
{
	struct sim_guard *j = xen->guard;
	uint32_t n = atomic_load_explicit(&j->n_redo, memory_order_relaxed);

	assert(n < SIM_JOURNAL_REDO);
	j->redo[n] = (struct sim_redo){
		.kind = (uint16_t)kind, .domain = (uint16_t)domain, .a = a, .b = b};
	atomic_store_explicit(&j->n_redo, n + 1, memory_order_release);
	atomic_signal_fence(memory_order_seq_cst);
	xen_step(xen);
}
