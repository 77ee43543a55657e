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
	 * If it died inside a transaction, that is ended now: what it holds is looked for without
	 * a lock below.
	 */
	txn_begin(xen);
	txn_abort(xen);
	guest_rings_release(xen, slot);
	guest_grants_release(xen, slot);
	guest_ports_release(xen, slot);
}
