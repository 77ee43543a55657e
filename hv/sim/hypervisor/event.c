/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Raising events (event_2l.c; for event_fifo.c see fifo.c): what is decided under the journal, and
 * what is published after the commit. The published part must be idempotent, but for a spurious
 * event; and it changes what the guest changes as well, without a lock: bit by bit, never whole
 * words.
 */
#include "hv/sim/hypervisor/event.h"

#include "hv/sim/hypervisor/evtchn.h"
#include "hv/sim/hypervisor/fifo.h"
#include "hv/sim/memory/journal.h"

/*
 * evtchn_port_set_pending. Whether the port is masked is decided here and carried in the record:
 * judged again after a crash, the answer could differ, and the event be lost.
 */
void port_raise_locked(struct xen *xen, uint32_t domain, uint32_t port)
{
	struct sim_domain *d = domain_at(xen, domain);
	const struct sim_port *p = port_entry(xen, d, port);

	if (p->xen_consumer || p->state <= SIM_PORT_RESERVED)
		return; /* evtchn_usable */
	if (d->fifo) {
		fifo_raise_locked(xen, domain, port);
		return;
	}
	if (bit_test(d->info.pending, port))
		return; /* guest_test_and_set_bit in event_2l.c: it coalesces */
	txn_redo(xen, bit_test(d->info.mask, port) ? SIM_REDO_PEND : SIM_REDO_DELIVER, domain, port,
		0);
}

/* evtchn_2l_unmask: clears the mask; what became pending meanwhile is raised now. */
void port_unmask_locked(struct xen *xen, uint32_t domain, uint32_t port)
{
	struct sim_domain *d = domain_at(xen, domain);

	if (d->fifo)
		fifo_unmask_locked(xen, domain, port);
	else if (bit_test(d->info.mask, port))
		txn_redo(xen, SIM_REDO_UNMASK, domain, port, bit_test(d->info.pending, port));
}

void port_closed_locked(struct xen *xen, uint32_t domain, uint32_t port, bool unmask)
{
	txn_redo(xen, SIM_REDO_CLOSED, domain, port, unmask);
}
