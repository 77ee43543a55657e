/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Event channels: xen/common/event_channel.c, each check where Xen has it. A port's owner and
 * n_notify are the guest kernel's; this file only clears them when the port is freed.
 */
#include "hv/sim/hypervisor/evtchn.h"

#include <errno.h>

#include "hv/sim/hypervisor/event.h"
#include "hv/sim/hypervisor/fault.h"
#include "hv/sim/hypervisor/fifo.h"
#include "hv/sim/hypervisor/virq.h"
#include "hv/sim/memory/journal.h"
#include "hv/sim/memory/page.h"

/*
 * alloc_evtchn_bucket. Buckets beyond SIM_2L_PORTS are in pages of the pool, two in a page, which
 * is zeroed before it can be seen.
 */
static int bucket_add(struct xen *xen, struct sim_domain *d)
{
	uint32_t first = d->n_valid_ports, *page;
	int r;

	if (first >= SIM_2L_PORTS && (first - SIM_2L_PORTS) % SIM_PORTS_PAGE == 0) {
		page = &d->port_page[(first - SIM_2L_PORTS) / SIM_PORTS_PAGE];
		r = pages_alloc_locked(
			xen, (uint32_t)(d - xen->seg->domains), SIM_PAGE_XEN, 0, 1, &first);
		if (r < 0)
			return r;
		pages_zero(xen, first, 1);
		txn_set(xen, page, first);
	}
	txn_set(xen, &d->n_valid_ports, d->n_valid_ports + SIM_PORT_BUCKET);
	return 0;
}

/* evtchn_is_busy: the guest has it on a queue yet, from before it was closed. */
static bool port_is_busy(struct xen *xen, struct sim_domain *d, uint32_t port)
{
	_Atomic uint32_t *word = d->fifo ? fifo_word(xen, d, port) : NULL;

	return word && (atomic_load(word) & 1U << EVTCHN_FIFO_LINKED);
}

/*
 * get_free_port, evtchn_allocate_port: the lowest that is free; ports become valid by buckets, up
 * to the domain's limit and to the ABI's (max_evtchns).
 */
static int port_get_free(struct xen *xen, struct sim_domain *d, uint32_t *ret_port)
{
	uint32_t max = d->fifo ? SIM_MAX_PORTS : SIM_2L_PORTS;

	if (d->state == SIM_DOMAIN_DYING)
		return -EINVAL;
	if (xen_fault(xen, SIM_FAULT_PORT_ENOSPC))
		return -ENOSPC;
	if (xen_fault(xen, SIM_FAULT_PORT_ENOMEM))
		return -ENOMEM;
	for (uint32_t port = d->next_port; port <= d->max_port && port < max; port++) {
		if (port < d->n_valid_ports && (port_entry(xen, d, port)->state != SIM_PORT_FREE ||
						       port_is_busy(xen, d, port)))
			continue;
		*ret_port = port;
		return port < d->n_valid_ports ? 0 : bucket_add(xen, d);
	}
	return -ENOSPC;
}

/* The vcpu of a port that nobody has bound to another one is 0. */
static struct sim_port *port_open(
	struct xen *xen, struct sim_domain *d, uint32_t port, enum sim_port_state state)
{
	struct sim_port *p = port_entry(xen, d, port);

	txn_set(xen, &p->state, (uint8_t)state);
	txn_set(xen, &d->n_ports, d->n_ports + 1);
	if (d->next_port == port)
		txn_set(xen, &d->next_port, port + 1);
	if (d->fifo && p->priority != EVTCHN_FIFO_PRIORITY_DEFAULT)
		txn_set(xen, &p->priority, EVTCHN_FIFO_PRIORITY_DEFAULT);
	return p;
}

static int vcpu_check(const struct sim_domain *d, uint32_t vcpu)
{
	return vcpu < d->n_vcpus ? 0 : -ENOENT;
}

static int target_check(struct xen *xen, uint32_t domain, uint32_t target)
{
	return target == domain || domain_at(xen, domain)->domid == 0 ? 0 : -EPERM;
}

int target_find(struct xen *xen, uint32_t domain, uint16_t dom, uint32_t *ret_target)
{
	*ret_target = domain_find_any(xen, domain, dom);
	return *ret_target == DOMAIN_NONE ? -ESRCH : target_check(xen, domain, *ret_target);
}

/* ---- opening ----------------------------------------------------------------------------- */

int evtchn_alloc_unbound_locked(
	struct xen *xen, uint32_t domain, uint16_t dom, uint16_t remote, uint32_t *ret_port)
{
	uint32_t target = domain_find_any(xen, domain, dom);
	struct sim_port *p;
	uint32_t port;
	int r;

	if (target == DOMAIN_NONE)
		return -ESRCH;
	r = port_get_free(xen, domain_at(xen, target), &port);
	if (r == 0)
		r = target_check(xen, domain, target);
	if (r < 0)
		return r;
	p = port_open(xen, domain_at(xen, target), port, SIM_PORT_UNBOUND);
	txn_set(xen, &p->remote_domid,
		remote == DOMID_SELF ? domain_at(xen, domain)->domid : remote);
	*ret_port = port;
	return 0;
}

int evtchn_alloc_xen_locked(
	struct xen *xen, uint32_t domain, uint32_t vcpu, uint16_t remote, uint32_t *ret_port)
{
	struct sim_domain *d = domain_at(xen, domain);
	struct sim_port *p;
	int r = port_get_free(xen, d, ret_port);

	if (r < 0)
		return r;
	p = port_open(xen, d, *ret_port, SIM_PORT_UNBOUND);
	txn_set(xen, &p->remote_domid, remote);
	txn_set(xen, &p->vcpu, (uint8_t)vcpu);
	txn_set(xen, &p->xen_consumer, 1);
	txn_set(xen, &d->n_xen_ports, d->n_xen_ports + 1);
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
	rp = port_at(xen, rd, remote_port);
	if (!rp || rp->state != SIM_PORT_UNBOUND || rp->remote_domid != ld->domid)
		return -EINVAL;

	lp = port_open(xen, ld, port, SIM_PORT_INTERDOMAIN);
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

int evtchn_bind_virq_locked(
	struct xen *xen, uint32_t domain, uint32_t virq, uint32_t vcpu, uint32_t *ret_port)
{
	struct sim_domain *d = domain_at(xen, domain);
	struct sim_port *p;
	uint32_t port;
	int r;

	if (virq >= NR_VIRQS)
		return -EINVAL;
	if (virq_is_global(virq) && vcpu != 0)
		return -EINVAL;
	r = vcpu_check(d, vcpu);
	if (r < 0)
		return r;
	if (d->vcpus[vcpu].virq_port[virq])
		return -EEXIST;
	r = port_get_free(xen, d, &port);
	if (r < 0)
		return r;
	p = port_open(xen, d, port, SIM_PORT_VIRQ);
	txn_set(xen, &p->vcpu, (uint8_t)vcpu);
	txn_set(xen, &p->virq, (uint8_t)virq);
	txn_set(xen, &d->vcpus[vcpu].virq_port[virq], port);
	*ret_port = port;
	return 0;
}

int evtchn_bind_ipi_locked(struct xen *xen, uint32_t domain, evtchn_bind_ipi_t *bind)
{
	struct sim_domain *d = domain_at(xen, domain);
	struct sim_port *p;
	uint32_t port;
	int r = vcpu_check(d, bind->vcpu);

	if (r == 0)
		r = port_get_free(xen, d, &port);
	if (r < 0)
		return r;
	p = port_open(xen, d, port, SIM_PORT_IPI);
	txn_set(xen, &p->vcpu, (uint8_t)bind->vcpu);
	bind->port = port;
	return 0;
}

/* pirq_guest_bind: an interrupt that is mapped, and one domain's alone unless all share it. */
static int pirq_check(struct xen *xen, uint32_t domain, uint32_t pirq, bool share)
{
	if (!(domain_at(xen, domain)->pirqs[pirq].flags & SIM_PIRQ_ASSIGNED))
		return -EINVAL;
	for (uint32_t i = 0; i < SIM_MAX_DOMAINS; i++) {
		const struct sim_domain *d = domain_at(xen, i);

		if (d->state != SIM_DOMAIN_FREE && d->pirqs[pirq].port &&
			(!share || !(d->pirqs[pirq].flags & SIM_PIRQ_SHARED)))
			return -EBUSY;
	}
	return 0;
}

/* A domain is as a PV guest: it needs permission, which the control domain has for all. */
int evtchn_bind_pirq_locked(struct xen *xen, uint32_t domain, evtchn_bind_pirq_t *bind)
{
	struct sim_domain *d = domain_at(xen, domain);
	bool share = bind->flags & BIND_PIRQ__WILL_SHARE;
	struct sim_pirq *pirq;
	struct sim_port *p;
	uint32_t port;
	int r;

	if (bind->pirq >= SIM_MAX_PIRQS)
		return -EINVAL;
	pirq = &d->pirqs[bind->pirq];
	if (d->domid != 0 && !(pirq->flags & SIM_PIRQ_ASSIGNED))
		return -EPERM;
	if (pirq->port)
		return -EEXIST;
	r = port_get_free(xen, d, &port);
	if (r == 0)
		r = pirq_check(xen, domain, bind->pirq, share);
	if (r < 0)
		return r;
	p = port_open(xen, d, port, SIM_PORT_PIRQ);
	txn_set(xen, &p->remote_port, bind->pirq);
	txn_set(xen, &pirq->port, port);
	txn_set(xen, &pirq->flags, SIM_PIRQ_ASSIGNED | (share ? SIM_PIRQ_SHARED : 0U));
	bind->port = port;
	return 0;
}

/* ---- closing ----------------------------------------------------------------------------- */

/*
 * evtchn_free: what is pending is cleared, for whoever binds the port next. A Linux guest unmasks a
 * port when it binds it; the emulated one by leaving none masked. Armed unmap-notifies keep naming
 * the port, unless their domain is gone: it is the guest kernel's business what its number means.
 */
static void port_free(struct xen *xen, uint32_t domain, uint32_t port)
{
	struct sim_domain *d = domain_at(xen, domain);
	struct sim_port *p = port_entry(xen, d, port);

	if (p->xen_consumer) /* no guest's, hence not evtchn_usable: its event is left alone */
		txn_set(xen, &d->n_xen_ports, d->n_xen_ports - 1);
	else
		port_closed_locked(xen, domain, port, p->owner != SIM_PORT_NO_OWNER);
	txn_set(xen, &p->state, SIM_PORT_FREE);
	txn_set(xen, &p->vcpu, 0);
	txn_set(xen, &p->xen_consumer, 0);
	txn_set(xen, &p->owner, SIM_PORT_NO_OWNER);
	if (d->state == SIM_DOMAIN_DYING)
		txn_set(xen, &p->n_notify, 0);
	txn_set(xen, &d->n_ports, d->n_ports - 1);
	if (port < d->next_port)
		txn_set(xen, &d->next_port, port);
}

/* The other end returns to unbound for the closer, and is told nothing. */
static void remote_unbind(struct xen *xen, const struct sim_domain *d, const struct sim_port *p)
{
	struct sim_port *remote = port_entry(xen, domain_at(xen, p->remote_domain), p->remote_port);

	txn_set(xen, &remote->state, SIM_PORT_UNBOUND);
	txn_set(xen, &remote->remote_domid, d->domid);
}

static int port_close(struct xen *xen, uint32_t domain, uint32_t port, bool guest)
{
	struct sim_domain *d = domain_at(xen, domain);
	struct sim_port *p = port_at(xen, d, port);

	if (!p || (guest && p->xen_consumer) || p->state <= SIM_PORT_RESERVED)
		return -EINVAL;
	if (p->state == SIM_PORT_PIRQ) {
		txn_set(xen, &d->pirqs[p->remote_port].port, 0);
		txn_set(xen, &d->pirqs[p->remote_port].flags, SIM_PIRQ_ASSIGNED);
	} else if (p->state == SIM_PORT_VIRQ) {
		txn_set(xen, &d->vcpus[virq_is_global(p->virq) ? 0 : p->vcpu].virq_port[p->virq],
			0);
	} else if (p->state == SIM_PORT_INTERDOMAIN) {
		remote_unbind(xen, d, p);
	}
	port_free(xen, domain, port);
	return 0;
}

int evtchn_close_locked(struct xen *xen, uint32_t domain, uint32_t port)
{
	return port_close(xen, domain, port, true);
}

void evtchn_destroy_locked(struct xen *xen, uint32_t domain, uint32_t port)
{
	(void)port_close(xen, domain, port, false);
}

/* ---- using ------------------------------------------------------------------------------- */

int evtchn_send_locked(struct xen *xen, uint32_t domain, uint32_t port)
{
	struct sim_port *p = port_at(xen, domain_at(xen, domain), port);

	if (!p || p->xen_consumer)
		return -EINVAL;
	if (p->state == SIM_PORT_INTERDOMAIN)
		port_raise_locked(xen, p->remote_domain, p->remote_port);
	else if (p->state == SIM_PORT_IPI)
		port_raise_locked(xen, domain, port);
	else if (p->state != SIM_PORT_UNBOUND) /* there, it is silently dropped */
		return -EINVAL;
	return 0;
}

int evtchn_unmask_locked(struct xen *xen, uint32_t domain, uint32_t port)
{
	const struct sim_port *p = port_at(xen, domain_at(xen, domain), port);

	if (!p)
		return -EINVAL;
	if (!p->xen_consumer && p->state > SIM_PORT_RESERVED) /* evtchn_usable */
		port_unmask_locked(xen, domain, port);
	return 0;
}

int evtchn_bind_vcpu_locked(struct xen *xen, uint32_t domain, uint32_t port, uint32_t vcpu)
{
	struct sim_domain *d = domain_at(xen, domain);
	struct sim_port *p = port_at(xen, d, port);
	int r = vcpu_check(d, vcpu);

	if (r < 0)
		return r;
	if (!p || p->xen_consumer)
		return -EINVAL;
	if (p->state <= SIM_PORT_RESERVED || p->state == SIM_PORT_IPI ||
		(p->state == SIM_PORT_VIRQ && !virq_is_global(p->virq)))
		return -EINVAL;
	txn_set(xen, &p->vcpu, (uint8_t)vcpu);
	return 0;
}

/* Of its next event: one that is on a queue stays there. 2-level has no operation for it. */
int evtchn_set_priority_locked(struct xen *xen, uint32_t domain, uint32_t port, uint32_t priority)
{
	struct sim_domain *d = domain_at(xen, domain);
	struct sim_port *p = port_at(xen, d, port);

	if (!p)
		return -EINVAL;
	if (!d->fifo)
		return -ENOSYS;
	if (p->xen_consumer || p->state <= SIM_PORT_RESERVED) /* evtchn_usable */
		return -EACCES;
	if (priority > EVTCHN_FIFO_PRIORITY_MIN)
		return -EINVAL;
	txn_set(xen, &p->priority, (uint8_t)priority);
	return 0;
}

int evtchn_status_locked(struct xen *xen, uint32_t domain, evtchn_status_t *status)
{
	uint32_t target = domain_find_any(xen, domain, status->dom);
	struct sim_port *p;
	int r;

	if (target == DOMAIN_NONE)
		return -ESRCH;
	p = port_at(xen, domain_at(xen, target), status->port);
	if (!p)
		return -EINVAL;
	if (p->xen_consumer)
		return -EACCES;
	r = target_check(xen, domain, target);
	if (r < 0)
		return r;
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
	case SIM_PORT_PIRQ:
		status->status = EVTCHNSTAT_pirq;
		status->u.pirq = p->remote_port;
		break;
	case SIM_PORT_VIRQ:
		status->status = EVTCHNSTAT_virq;
		status->u.virq = p->virq;
		break;
	case SIM_PORT_IPI:
		status->status = EVTCHNSTAT_ipi;
		break;
	}
	status->vcpu = p->vcpu;
	return 0;
}
