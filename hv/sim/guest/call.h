/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A driver's call: its transaction, and the pages that it takes. For guest/ and handles. */
#ifndef MSGD_HV_SIM_GUEST_CALL_H
#define MSGD_HV_SIM_GUEST_CALL_H

#include <errno.h>

#include "hv/sim/hypervisor/transaction.h"
#include "hv/sim/memory/page.h"
#include "hv/sim/memory/slot.h"

/* ENODEV: the process is dead, in the authority's eyes, and no transaction has begun. */
static inline int guest_begin(struct xen *xen)
{
	txn_begin(xen);
	if (slot_is_live(xen))
		return 0;
	txn_abort(xen);
	return -ENODEV;
}

/* The same under the lock of the process's domain alone (txn_begin_domain). */
static inline int guest_begin_own(struct xen *xen, struct xen *ret_txn)
{
	txn_begin_domain(xen, slot_domain(xen, xen->slot), ret_txn);
	if (slot_is_live(ret_txn))
		return 0;
	txn_abort(ret_txn);
	return -ENODEV;
}

/*
 * Zeroed pages, in a transaction of their own. They carry the slot as a ring's do, until they are
 * something else: when the process is killed between, release.c finds them by that.
 */
static inline int guest_pages_get(struct xen *xen, uint32_t n, uint32_t *ret_first)
{
	int r;

	if (guest_begin(xen) < 0)
		return -ENODEV;
	r = pages_alloc_locked(
		xen, slot_domain(xen, xen->slot), SIM_PAGE_RING, xen->slot + 1, n, ret_first);
	if (txn_end(xen, r) == 0)
		pages_zero(xen, *ret_first, n);
	return r;
}

static inline void guest_pages_put(struct xen *xen, uint32_t first, uint32_t n)
{
	txn_begin(xen);
	pages_free_locked(xen, first, n);
	txn_commit(xen);
}

#endif
