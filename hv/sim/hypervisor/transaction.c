/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commit, abort, recovery; see transaction.h. Must never allocate, and block only on the locks. */
#include "hv/sim/hypervisor/transaction.h"

#include "hv/sim/hypervisor/publish.h"
#include "hv/sim/memory/lock.h"
#include "hv/sim/memory/slot.h"

/* Publishes what was committed and empties the journal. May be run again from the start. */
static void redo_all(struct xen *xen, struct sim_guard *j, struct kick_set *kicks)
{
	uint32_t n = atomic_load_explicit(&j->n_redo, memory_order_relaxed);

	for (uint32_t i = 0; i < n; i++) {
		redo_run(xen, &j->redo[i], kicks);
		xen_step(xen);
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
		journal_undo(xen, j);
	}
}

/*
 * A process died with a lock: makes the state whole. A process that is killed in here has all the
 * locks, so the next one makes the rest whole. The order of the journals does not matter: lock.h.
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
	xen_step(xen); /* state that was read without a lock may change now */
	while (!lock_take_domain(xen, SIM_GUARD_DOMAIN(domain))) {
		txn_begin(xen); /* which recovers */
		txn_abort(xen);
	}
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

	xen_step(xen);
	if (!atomic_load_explicit(&j->n_undo, memory_order_relaxed) &&
		!atomic_load_explicit(&j->n_redo, memory_order_relaxed)) {
		release(xen);
		return;
	}
	kicks = (struct kick_set){0};
	atomic_store_explicit(&j->committed, 1, memory_order_release);
	atomic_signal_fence(memory_order_seq_cst);
	xen_step(xen);
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
	journal_undo(xen, xen->guard);
	release(xen);
}
