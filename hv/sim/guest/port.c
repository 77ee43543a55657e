/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * /dev/xen/evtchn of the emulated guest kernel: a port belongs to the handle that opened it, is
 * masked when it is delivered, and stays so until it is written back. Also unmap-notify, which
 * holds a port open until it has fired.
 */
#include "hv/sim/guest/port.h"

#include "hv/sim/guest/call.h"
#include "hv/sim/hypervisor/evtchn.h"
#include "hv/sim/hypervisor/kernel.h"

#define UNMASK_BATCH 128U /* ports in a transaction: each may need a redo record */

bool guest_port_is_mine(struct xen *xen, uint32_t slot, uint32_t port)
{
	struct sim_port *p = port_at(xen, domain_at(xen, slot_domain(xen, slot)), port);

	return port > 0 && p && atomic_load_explicit(&p->owner, memory_order_relaxed) == slot + 1;
}

static int finish(struct xen *xen, int r, uint32_t domain, uint32_t port, uint32_t *ret_port)
{
	if (r == 0)
		r = kernel_array_expand_locked(xen, domain, port);
	if (r < 0) {
		txn_abort(xen);
		return r;
	}
	txn_set(xen, &port_entry(xen, domain_at(xen, domain), port)->owner, xen->slot + 1);
	txn_commit(xen);
	*ret_port = port;
	return 0;
}

int guest_port_alloc(struct xen *xen, uint16_t remote, uint32_t *ret_port)
{
	uint32_t domain = slot_domain(xen, xen->slot), port = 0;
	int r;

	if (guest_begin(xen) < 0)
		return -ENODEV;
	r = evtchn_alloc_unbound_locked(xen, domain, DOMID_SELF, remote, &port);
	return finish(xen, r, domain, port, ret_port);
}

int guest_port_bind(struct xen *xen, uint16_t remote, uint32_t remote_port, uint32_t *ret_port)
{
	uint32_t domain = slot_domain(xen, xen->slot), port = 0;
	int r;

	if (guest_begin(xen) < 0)
		return -ENODEV;
	r = evtchn_bind_interdomain_locked(xen, domain, remote, remote_port, &port);
	return finish(xen, r, domain, port, ret_port);
}

uint32_t guest_port_peer(struct xen *xen, uint16_t remote, uint32_t port, uint32_t *ret_generation)
{
	uint32_t domain = slot_domain(xen, xen->slot), target, owner = 0;
	const struct sim_port *p;

	txn_begin(xen);
	target = domain_find_any(xen, domain, remote);
	p = target == DOMAIN_NONE ? NULL : port_at(xen, domain_at(xen, target), port);
	if (p)
		owner = p->owner;
	if (owner == 0 || owner > SIM_MAX_SLOTS)
		owner = 1; /* slot 0: the authority, which holds no ports */
	*ret_generation = atomic_load(&slot_at(xen, owner - 1)->generation);
	txn_abort(xen);
	return owner - 1;
}

/* The owner lets go; the port itself waits for armed notifies. */
static void port_close_locked(struct xen *xen, uint32_t domain, uint32_t port)
{
	struct sim_port *p = port_entry(xen, domain_at(xen, domain), port);

	if (p->n_notify)
		txn_set(xen, &p->owner, SIM_PORT_ORPHAN);
	else
		(void)evtchn_close_locked(xen, domain, port);
}

int guest_port_close(struct xen *xen, uint32_t port)
{
	uint32_t domain = slot_domain(xen, xen->slot);

	if (guest_begin(xen) < 0)
		return -ENODEV;
	if (!guest_port_is_mine(xen, xen->slot, port)) {
		txn_abort(xen);
		return -ENOTCONN;
	}
	port_close_locked(xen, domain, port);
	txn_commit(xen);
	return 0;
}

int guest_port_send(struct xen *xen, uint32_t port)
{
	uint32_t domain = slot_domain(xen, xen->slot);
	struct xen txn;
	int r = -ENOTCONN;

	evtchn_begin_send(xen, domain, port, &txn);
	if (!slot_is_live(&txn))
		r = -ENODEV;
	else if (guest_port_is_mine(&txn, xen->slot, port))
		r = evtchn_send_locked(&txn, domain, port);
	txn_commit(&txn); /* where it failed, nothing has changed */
	return r;
}

int guest_port_unmask(struct xen *xen, const uint32_t *ports, size_t n)
{
	uint32_t domain = slot_domain(xen, xen->slot);
	struct xen txn;

	for (size_t i = 0; i < n;) {
		size_t end = i + UNMASK_BATCH < n ? i + UNMASK_BATCH : n;

		if (guest_begin_own(xen, &txn) < 0)
			return -ENODEV;
		for (; i < end; i++)
			if (guest_port_is_mine(&txn, xen->slot, ports[i]))
				(void)evtchn_unmask_locked(&txn, domain, ports[i]);
		txn_commit(&txn);
	}
	return 0;
}

void guest_ports_release(struct xen *xen, uint32_t slot)
{
	uint32_t domain = slot_domain(xen, slot);

	for (uint32_t port = 1; port < domain_at(xen, domain)->n_valid_ports; port++) {
		if (!guest_port_is_mine(xen, slot, port))
			continue;
		txn_begin(xen);
		if (guest_port_is_mine(xen, slot, port))
			port_close_locked(xen, domain, port);
		txn_commit(xen);
	}
}

int notify_arm_locked(struct xen *xen, uint32_t domain, uint32_t slot, struct sim_notify *dst,
	const struct hv_unmap_notify *notify, uint32_t page)
{
	struct sim_port *p;

	if (!notify || notify->offset == HV_NO_NOTIFY) {
		txn_set(xen, &dst->page, 0);
		return 0;
	}
	if (notify->offset >= HV_PAGE_SIZE || !guest_port_is_mine(xen, slot, notify->port))
		return -EINVAL;
	p = port_entry(xen, domain_at(xen, domain), notify->port);
	txn_set(xen, &p->n_notify, p->n_notify + 1);
	txn_set(xen, &dst->page, page);
	txn_set(xen, &dst->offset, notify->offset);
	txn_set(xen, &dst->port, notify->port);
	return 0;
}

void notify_disarm_locked(struct xen *xen, uint32_t domain, struct sim_notify *notify)
{
	struct sim_port *p;

	if (!notify->page)
		return;
	p = port_entry(xen, domain_at(xen, domain), notify->port);
	txn_set(xen, &notify->page, 0);
	txn_set(xen, &p->n_notify, p->n_notify - 1);
	if (!p->n_notify && p->owner == SIM_PORT_ORPHAN)
		(void)evtchn_close_locked(xen, domain, notify->port);
}

/* The byte first, then the event: whoever gets the event finds the byte cleared. */
void notify_fire_locked(struct xen *xen, uint32_t domain, struct sim_notify *notify)
{
	if (!notify->page)
		return;
	/* A destroyed domain's kernel does not run any more, and its ports are closed. */
	if (domain_at(xen, domain)->state == SIM_DOMAIN_DYING) {
		txn_set(xen, &notify->page, 0);
		return;
	}
	txn_redo(xen, SIM_REDO_CLEAR_BYTE, domain, notify->page, notify->offset);
	(void)evtchn_send_locked(xen, domain, notify->port);
	notify_disarm_locked(xen, domain, notify);
}
