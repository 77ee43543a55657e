/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commit, abort and recovery; see journal.h. Must never allocate, and block only on the locks. */
#include "hv/sim/memory/journal.h"

#include <string.h>

#include "hv/sim/memory/lock.h"

static void undo_one(struct xen *xen, const struct sim_undo *undo)
{
	uint8_t *p = (uint8_t *)xen->seg + undo->offset;

	if (undo->size <= 8)
		txn_store(p, undo->size, undo->old);
	for (uint32_t i = 0; i < undo->size / 16; i++)
		((uint64_t *)p)[i] = undo->old;
}

static void undo_all(struct xen *xen, struct sim_guard *j)
{
	uint32_t n = atomic_load_explicit(&j->n_undo, memory_order_relaxed);

	while (n > 0) {
		undo_one(xen, &j->undo[--n]);
		txn_step(xen);
	}
	atomic_signal_fence(memory_order_seq_cst);
	atomic_store_explicit(&j->n_redo, 0, memory_order_relaxed);
	atomic_store_explicit(&j->n_undo, 0, memory_order_release);
}

/* Publishes what was committed and empties the journal. May be run again from the start. */
static void redo_all(struct xen *xen, struct sim_guard *j, struct kick_set *kicks)
{
	uint32_t n = atomic_load_explicit(&j->n_redo, memory_order_relaxed);

	for (uint32_t i = 0; i < n; i++) {
		redo_run(xen, &j->redo[i], kicks);
		txn_step(xen);
	}
	/* In this order: a journal that says committed and is empty is harmless. */
	atomic_store_explicit(&j->n_redo, 0, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst);
	atomic_store_explicit(&j->n_undo, 0, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst);
	atomic_store_explicit(&j->committed, 0, memory_order_release);
}

static void recover(struct xen *xen, struct sim_guard *j, struct sim_recovered *recovered,
	struct kick_set *kicks)
{
	if (atomic_load_explicit(&j->committed, memory_order_acquire)) {
		if (atomic_load_explicit(&j->n_redo, memory_order_relaxed))
			atomic_fetch_add_explicit(&recovered->n_redone, 1, memory_order_relaxed);
		redo_all(xen, j, kicks);
	} else {
		if (atomic_load_explicit(&j->n_undo, memory_order_relaxed))
			atomic_fetch_add_explicit(&recovered->n_undone, 1, memory_order_relaxed);
		undo_all(xen, j);
	}
}

/*
 * Somebody died with a lock: makes the state whole. Whoever is killed in here leaves the rest to
 * the next one, as it has all the locks. Their order does not matter: lock.h.
 */
static void recover_all(struct xen *xen, struct kick_set *kicks)
{
	struct sim_segment *seg = xen->seg;
	uint32_t n = atomic_load_explicit(&seg->n_domains, memory_order_relaxed);

	recover(xen, &seg->guards[SIM_GUARD_ALL], &seg->recovered_all, kicks);
	for (uint32_t i = 0; i < n; i++)
		recover(xen, &seg->guards[SIM_GUARD_DOMAIN(i)], &seg->recovered_domain, kicks);
}

void txn_begin(struct xen *xen)
{
	while (lock_take_all(xen)) {
		struct kick_set kicks = {0};

		recover_all(xen, &kicks);
		lock_release_all(xen);
		kick_all(xen, &kicks);
	}
}

void txn_begin_domain(struct xen *xen, uint32_t domain, struct xen *ret_txn)
{
	txn_step(xen); /* what was found without a lock may change now */
	lock_take_domain(xen, SIM_GUARD_DOMAIN(domain));
	*ret_txn = *xen;
	ret_txn->guard = &xen->seg->guards[SIM_GUARD_DOMAIN(domain)];
}

static void release(struct xen *xen)
{
	if (xen->guard == &xen->seg->guards[SIM_GUARD_ALL])
		lock_release_all(xen);
	else
		lock_release(xen, (uint32_t)(xen->guard - xen->seg->guards));
}

void txn_commit(struct xen *xen)
{
	struct sim_guard *j = xen->guard;
	struct kick_set kicks;

	txn_step(xen);
	if (!atomic_load_explicit(&j->n_undo, memory_order_relaxed) &&
		!atomic_load_explicit(&j->n_redo, memory_order_relaxed)) {
		release(xen);
		return;
	}
	kicks = (struct kick_set){0};
	atomic_store_explicit(&j->committed, 1, memory_order_release);
	atomic_signal_fence(memory_order_seq_cst);
	txn_step(xen);
	redo_all(xen, j, &kicks);
	release(xen);
	/*
	 * After the release: a wake-up may well put the woken on this CPU, and it would find the
	 * lock held by us. If we die here, the authority, which notices every death, kicks all
	 * that have something to see (slots_kick_unseen).
	 */
	kick_all(xen, &kicks);
}

void txn_abort(struct xen *xen)
{
	undo_all(xen, xen->guard);
	release(xen);
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
	txn_step(xen);
}
