/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Event channels: xen/common/event_channel.c and event_2l.c, each check where Xen has it. What the
 * guest kernel keeps about a port (owner, n_notify) is none of this file's business, except that a
 * freed port has none.
 */
#include "hv/sim/sim.h"

#include <errno.h>

#include "hv/sim/journal.h"

/* get_free_port, evtchn_allocate_port: the lowest that is free; ports become valid by buckets. */
static int port_get_free(struct xen *xen, struct sim_domain *d, uint32_t *ret_port)
{
	if (d->state == SIM_DOMAIN_DYING)
		return -EINVAL;
	for (uint32_t port = 0; port <= d->max_port; port++) {
		if (port < d->n_valid_ports && d->ports[port].state != SIM_PORT_FREE)
			continue;
		if (port >= d->n_valid_ports)
			txn_set(xen, &d->n_valid_ports, d->n_valid_ports + SIM_PORT_BUCKET);
		*ret_port = port;
		return 0;
	}
	return -ENOSPC;
}

static struct sim_port *port_at(struct sim_domain *d, uint32_t port)
{
	return port < d->n_valid_ports ? &d->ports[port] : NULL;
}

/* Xen has no write for the mask here: a port's mask bit is the guest's. */
static void port_open(struct xen *xen, struct sim_domain *d, uint32_t port, uint8_t state)
{
	txn_set(xen, &d->ports[port].state, state);
	txn_set(xen, &d->n_ports, d->n_ports + 1);
}

int evtchn_alloc_unbound_locked(
	struct xen *xen, uint32_t domain, uint16_t dom, uint16_t remote, uint32_t *ret_port)
{
	uint32_t target = domain_find_any(xen, domain, dom);
	uint32_t port;
	int r;

	if (target == DOMAIN_NONE)
		return -ESRCH;
	r = port_get_free(xen, domain_at(xen, target), &port);
	if (r < 0)
		return r;
	/* xsm_evtchn_unbound(XSM_TARGET, ...): only the control domain acts for another one. */
	if (target != domain && domain_at(xen, domain)->domid != 0)
		return -EPERM;
	port_open(xen, domain_at(xen, target), port, SIM_PORT_UNBOUND);
	txn_set(xen, &domain_at(xen, target)->ports[port].remote_domid,
		remote == DOMID_SELF ? domain_at(xen, domain)->domid : remote);
	*ret_port = port;
	return 0;
}

int evtchn_bind_interdomain_locked(
	struct xen *xen, uint32_t domain, uint16_t remote, uint32_t remote_port, uint32_t *ret_port)
{
	uint32_t target = domain_find_any(xen, domain, remote);
	struct sim_domain *ld = domain_at(xen, domain), *rd;
	struct sim_port *lp, *rp;
	uint32_t port;
	int r;

	if (target == DOMAIN_NONE)
		return -ESRCH;
	rd = domain_at(xen, target);
	r = port_get_free(xen, ld, &port);
	if (r < 0)
		return r;
	rp = port_at(rd, remote_port);
	if (!rp || rp->state != SIM_PORT_UNBOUND || rp->remote_domid != ld->domid)
		return -EINVAL;

	lp = &ld->ports[port];
	port_open(xen, ld, port, SIM_PORT_INTERDOMAIN);
	txn_set(xen, &lp->remote_domid, rd->domid);
	txn_set(xen, &lp->remote_domain, target);
	txn_set(xen, &lp->remote_port, remote_port);
	txn_set(xen, &rp->state, SIM_PORT_INTERDOMAIN);
	txn_set(xen, &rp->remote_domain, domain);
	txn_set(xen, &rp->remote_port, port);
	/* Notifications to the unbound port may have been lost: the local port starts pending. */
	port_raise_locked(xen, domain, port);
	*ret_port = port;
	return 0;
}

/* virq_is_global for those that x86 has */
static bool virq_is_global(uint32_t virq)
{
	return virq != VIRQ_TIMER && virq != VIRQ_DEBUG && virq != VIRQ_XENOPROF &&
	       virq != VIRQ_XENPMU;
}

/* A domain has one vcpu here. */
int evtchn_bind_virq_locked(
	struct xen *xen, uint32_t domain, uint32_t virq, uint32_t vcpu, uint32_t *ret_port)
{
	struct sim_domain *d = domain_at(xen, domain);
	uint32_t port;
	int r;

	if (virq >= NR_VIRQS)
		return -EINVAL;
	if (virq_is_global(virq) && vcpu != 0)
		return -EINVAL;
	if (vcpu != 0)
		return -ENOENT;
	if (d->virq_port[virq])
		return -EEXIST;
	r = port_get_free(xen, d, &port);
	if (r < 0)
		return r;
	port_open(xen, d, port, SIM_PORT_VIRQ);
	txn_set(xen, &d->ports[port].virq, virq);
	txn_set(xen, &d->virq_port[virq], port);
	*ret_port = port;
	return 0;
}

/* evtchn_free: "Clear pending event to avoid unexpected behavior on re-bind." */
static void port_free(struct xen *xen, struct sim_domain *d, uint32_t port)
{
	struct sim_port *p = &d->ports[port];
	_Atomic uint64_t *pending = &d->info.pending[port / 64];
	_Atomic uint64_t *mask = &d->info.mask[port / 64];

	txn_set(xen, pending, *pending & ~(1ULL << port % 64));
	/* A Linux guest unmasks a port when it binds it; the emulated one by leaving none masked.
	 */
	if (p->owner != SIM_PORT_NO_OWNER)
		txn_set(xen, mask, *mask & ~(1ULL << port % 64));
	txn_set(xen, &p->state, SIM_PORT_FREE);
	txn_set(xen, &p->owner, SIM_PORT_NO_OWNER);
	txn_set(xen, &p->n_notify, 0);
	txn_set(xen, &d->n_ports, d->n_ports - 1);
}

int evtchn_close_locked(struct xen *xen, uint32_t domain, uint32_t port)
{
	struct sim_domain *d = domain_at(xen, domain);
	struct sim_port *p = port_at(d, port), *remote;

	if (!p || p->state == SIM_PORT_FREE || p->state == SIM_PORT_RESERVED)
		return -EINVAL;
	if (p->state == SIM_PORT_VIRQ) {
		txn_set(xen, &d->virq_port[p->virq], 0);
	} else if (p->state == SIM_PORT_INTERDOMAIN) {
		/* The other end returns to unbound for the closer, and is told nothing. */
		remote = &domain_at(xen, p->remote_domain)->ports[p->remote_port];
		txn_set(xen, &remote->state, SIM_PORT_UNBOUND);
		txn_set(xen, &remote->remote_domid, d->domid);
	}
	port_free(xen, d, port);
	return 0;
}

int evtchn_send_locked(struct xen *xen, uint32_t domain, uint32_t port)
{
	struct sim_port *p = port_at(domain_at(xen, domain), port);

	if (!p)
		return -EINVAL;
	if (p->state == SIM_PORT_INTERDOMAIN)
		port_raise_locked(xen, p->remote_domain, p->remote_port);
	else if (p->state != SIM_PORT_UNBOUND) /* there it is silently dropped */
		return -EINVAL;
	return 0;
}

/* evtchn_2l_unmask: clears the mask; what became pending meanwhile is raised now. */
int evtchn_unmask_locked(struct xen *xen, uint32_t domain, uint32_t port)
{
	struct sim_domain *d = domain_at(xen, domain);
	uint64_t bit = 1ULL << port % 64;

	if (!port_at(d, port))
		return -EINVAL;
	if (!(d->info.mask[port / 64] & bit))
		return 0;
	if (!(d->info.pending[port / 64] & bit)) {
		txn_set(xen, &d->info.mask[port / 64], d->info.mask[port / 64] & ~bit);
		return 0;
	}
	/* A guest kernel's handler would mask it again at once; see deliver in event.c. */
	if (d->ports[port].owner == SIM_PORT_NO_OWNER)
		txn_set(xen, &d->info.mask[port / 64], d->info.mask[port / 64] & ~bit);
	else
		txn_set(xen, &d->info.pending[port / 64], d->info.pending[port / 64] & ~bit);
	txn_redo(xen, SIM_REDO_DELIVER, domain, port, 0);
	return 0;
}

static int evtchn_status_locked(struct xen *xen, uint32_t domain, evtchn_status_t *status)
{
	uint32_t target = domain_find_any(xen, domain, status->dom);
	struct sim_port *p;

	if (target == DOMAIN_NONE)
		return -ESRCH;
	p = port_at(domain_at(xen, target), status->port);
	if (!p)
		return -EINVAL;
	if (target != domain && domain_at(xen, domain)->domid != 0)
		return -EPERM;
	switch ((enum sim_port_state)p->state) {
	case SIM_PORT_FREE:
	case SIM_PORT_RESERVED:
		status->status = EVTCHNSTAT_closed;
		break;
	case SIM_PORT_UNBOUND:
		status->status = EVTCHNSTAT_unbound;
		status->u.unbound.dom = p->remote_domid;
		break;
	case SIM_PORT_INTERDOMAIN:
		status->status = EVTCHNSTAT_interdomain;
		status->u.interdomain.dom = domain_at(xen, p->remote_domain)->domid;
		status->u.interdomain.port = p->remote_port;
		break;
	case SIM_PORT_VIRQ:
		status->status = EVTCHNSTAT_virq;
		status->u.virq = p->virq;
		break;
	}
	status->vcpu = 0;
	return 0;
}

union evtchn_arg {
	evtchn_alloc_unbound_t alloc_unbound;
	evtchn_bind_interdomain_t bind_interdomain;
	evtchn_bind_virq_t bind_virq;
	evtchn_close_t close;
	evtchn_send_t send;
	evtchn_status_t status;
	evtchn_unmask_t unmask;
};

static int evtchn_dispatch(struct xen *xen, uint32_t domain, int cmd, union evtchn_arg *arg)
{
	switch (cmd) {
	case EVTCHNOP_alloc_unbound:
		return evtchn_alloc_unbound_locked(xen, domain, arg->alloc_unbound.dom,
			arg->alloc_unbound.remote_dom, &arg->alloc_unbound.port);
	case EVTCHNOP_bind_interdomain:
		return evtchn_bind_interdomain_locked(xen, domain, arg->bind_interdomain.remote_dom,
			arg->bind_interdomain.remote_port, &arg->bind_interdomain.local_port);
	case EVTCHNOP_bind_virq:
		return evtchn_bind_virq_locked(xen, domain, arg->bind_virq.virq,
			arg->bind_virq.vcpu, &arg->bind_virq.port);
	case EVTCHNOP_close:
		return evtchn_close_locked(xen, domain, arg->close.port);
	case EVTCHNOP_send:
		return evtchn_send_locked(xen, domain, arg->send.port);
	case EVTCHNOP_status:
		return evtchn_status_locked(xen, domain, &arg->status);
	default:
		return evtchn_unmask_locked(xen, domain, arg->unmask.port);
	}
}

/* do_event_channel_op: the argument is copied in, then the operation done, then copied out. */
int evtchn_op(struct xen *xen, uint16_t domid, int cmd, void *arg)
{
	static const size_t sizes[] = {
		[EVTCHNOP_alloc_unbound] = sizeof(evtchn_alloc_unbound_t),
		[EVTCHNOP_bind_interdomain] = sizeof(evtchn_bind_interdomain_t),
		[EVTCHNOP_bind_virq] = sizeof(evtchn_bind_virq_t),
		[EVTCHNOP_close] = sizeof(evtchn_close_t),
		[EVTCHNOP_send] = sizeof(evtchn_send_t),
		[EVTCHNOP_status] = sizeof(evtchn_status_t),
		[EVTCHNOP_unmask] = sizeof(evtchn_unmask_t),
	};
	union evtchn_arg copy = {0};
	uint32_t domain;
	int r;

	if (cmd < 0 || (size_t)cmd >= sizeof(sizes) / sizeof(sizes[0]) || !sizes[cmd])
		return -ENOSYS; /* Xen's answer to an unknown one; the others are not built yet */
	if (guest_read(xen, &copy, arg, sizes[cmd], false) < 0)
		return -EFAULT;
	txn_begin(xen);
	domain = domain_find(xen, domid);
	r = domain == DOMAIN_NONE ? -ESRCH : evtchn_dispatch(xen, domain, cmd, &copy);
	if (r < 0) {
		txn_abort(xen);
		return r;
	}
	txn_commit(xen);
	/* As in Xen, where a port that the guest was not told of stays allocated. */
	if (cmd != EVTCHNOP_close && cmd != EVTCHNOP_send && cmd != EVTCHNOP_unmask &&
		guest_write(xen, arg, &copy, sizes[cmd]) < 0)
		return -EFAULT;
	return 0;
}
