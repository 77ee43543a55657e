/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commit, abort and recovery; see journal.h. Must never allocate, and block only on the lock. */
#include "hv/sim/journal.h"

#include <string.h>

#include "hv/sim/lock.h"

static void undo_one(struct xen *xen, const struct sim_undo *undo)
{
	uint8_t *p = (uint8_t *)xen->seg + undo->offset;

	switch (undo->size) {
	case 1:
		*p = (uint8_t)undo->old;
		break;
	case 2:
		*(uint16_t *)p = (uint16_t)undo->old;
		break;
	case 4:
		*(uint32_t *)p = (uint32_t)undo->old;
		break;
	case 8:
		*(uint64_t *)p = undo->old;
		break;
	default:
		for (uint32_t i = 0; i < undo->size / 16; i++)
			((uint64_t *)p)[i] = undo->old;
	}
}

static void undo_all(struct xen *xen)
{
	struct sim_journal *j = &xen->seg->journal;
	uint32_t n = atomic_load_explicit(&j->n_undo, memory_order_relaxed);

	while (n > 0)
		undo_one(xen, &j->undo[--n]);
	atomic_signal_fence(memory_order_seq_cst);
	atomic_store_explicit(&j->n_redo, 0, memory_order_relaxed);
	atomic_store_explicit(&j->n_undo, 0, memory_order_release);
}

/* Publishes what was committed and empties the journal. May be run again from the start. */
static void redo_all(struct xen *xen, struct kick_set *kicks)
{
	struct sim_journal *j = &xen->seg->journal;
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

/* The lock was taken from a dead owner: makes the state whole. Killed in here: starts over. */
static void recover(struct xen *xen, struct kick_set *kicks)
{
	struct sim_journal *j = &xen->seg->journal;
	struct sim_lock *lock = &xen->seg->lock;

	if (atomic_load_explicit(&j->committed, memory_order_acquire)) {
		if (atomic_load_explicit(&j->n_redo, memory_order_relaxed))
			atomic_fetch_add_explicit(&lock->n_redone, 1, memory_order_relaxed);
		redo_all(xen, kicks);
	} else {
		if (atomic_load_explicit(&j->n_undo, memory_order_relaxed))
			atomic_fetch_add_explicit(&lock->n_undone, 1, memory_order_relaxed);
		undo_all(xen);
	}
	atomic_fetch_add_explicit(&lock->n_recovered, 1, memory_order_relaxed);
}

/*
 * Kicks that recovery found are given before the lock is: a recovery is rare, and whoever waits
 * for it already waits for a dead process.
 */
static void recover_and_kick(struct xen *xen)
{
	struct kick_set kicks = {0};

	recover(xen, &kicks);
	kick_all(xen, &kicks);
}

void txn_begin(struct xen *xen)
{
	if (lock_take(xen) == LOCK_OWNER_DIED)
		recover_and_kick(xen);
}

void txn_commit(struct xen *xen)
{
	struct sim_journal *j = &xen->seg->journal;
	struct kick_set kicks = {0};

	txn_step(xen);
	if (atomic_load_explicit(&j->n_undo, memory_order_relaxed) ||
		atomic_load_explicit(&j->n_redo, memory_order_relaxed)) {
		atomic_store_explicit(&j->committed, 1, memory_order_release);
		atomic_signal_fence(memory_order_seq_cst);
		txn_step(xen);
		redo_all(xen, &kicks);
	}
	lock_release(xen);
	/*
	 * After the release: a wake-up may well put the woken on this CPU, and it would find the
	 * lock held by us. If we die here, the authority, which notices every death, kicks all
	 * that have something to see (slots_kick_unseen).
	 */
	kick_all(xen, &kicks);
}

void txn_abort(struct xen *xen)
{
	undo_all(xen);
	lock_release(xen);
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
	struct sim_journal *j = &xen->seg->journal;
	uint32_t n = atomic_load_explicit(&j->n_redo, memory_order_relaxed);

	assert(n < SIM_JOURNAL_REDO);
	j->redo[n] = (struct sim_redo){
		.kind = (uint16_t)kind, .domain = (uint16_t)domain, .a = a, .b = b};
	atomic_store_explicit(&j->n_redo, n + 1, memory_order_release);
	atomic_signal_fence(memory_order_seq_cst);
	txn_step(xen);
}
