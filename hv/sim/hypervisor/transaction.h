/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Transactions: locks and a journal around a change. A *_locked function never begins one. */
#ifndef MSGD_HV_SIM_HYPERVISOR_TRANSACTION_H
#define MSGD_HV_SIM_HYPERVISOR_TRANSACTION_H

#include "hv/sim/memory/journal.h"

/* Under every lock: may change anything. */
void txn_begin(struct xen *xen);
/*
 * Under the lock of one domain: may change what is marked "domain's", of that domain. The
 * transaction goes by *ret_txn, which replaces xen up to its end. The domain was found without a
 * lock: whether it still is the one that was meant can only be seen now.
 */
void txn_begin_domain(struct xen *xen, uint32_t domain, struct xen *ret_txn);
void txn_commit(struct xen *xen);
void txn_abort(struct xen *xen);

/* Aborts if r is an error, else commits. Returns r. */
static inline int txn_end(struct xen *xen, int r)
{
	if (r < 0)
		txn_abort(xen);
	else
		txn_commit(xen);
	return r;
}

#endif
