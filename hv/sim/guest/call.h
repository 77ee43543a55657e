/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The start of a driver's call: a transaction of the calling handle. For guest/ and handles. */
#ifndef MSGD_HV_SIM_GUEST_CALL_H
#define MSGD_HV_SIM_GUEST_CALL_H

#include <errno.h>

#include "hv/sim/hypervisor/transaction.h"
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

#endif
