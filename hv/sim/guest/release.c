/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See release.h. */
#include "hv/sim/guest/release.h"

#include "hv/sim/guest/grant.h"
#include "hv/sim/guest/port.h"
#include "hv/sim/guest/ring.h"
#include "hv/sim/hypervisor/transaction.h"

void guest_release(struct xen *xen, uint32_t slot)
{
	/*
	 * Ends the transaction in which the process died: below, its things are found without a
	 * lock.
	 */
	txn_begin(xen);
	txn_abort(xen);
	guest_rings_release(xen, slot);
	guest_grants_release(xen, slot);
	guest_ports_release(xen, slot);
}
