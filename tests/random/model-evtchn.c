/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Event channels: see model.h. 2-level ports. */
#include "tests/random/model.h"

#include <errno.h>

static uint32_t find_any(const struct model *m, uint32_t self, uint16_t domid)
{
	return domid == DOMID_SELF ? self : model_find(m, domid);
}

/* The selector's bit brings the upcall, of the vcpu that the port is bound to. */
static void notify(struct m_domain *d, uint32_t port)
{
	uint8_t vcpu = d->ports[port].vcpu;

	if (d->selector[vcpu] >> port / 64 & 1)
		return;
	d->selector[vcpu] |= 1ULL << port / 64;
	d->upcall[vcpu] = 1;
}

/* An event: it coalesces; a masked one only waits. */
void model_raise(struct model *m, uint32_t domain, uint32_t port)
{
	struct m_domain *d = &m->domains[domain];
	uint64_t bit = 1ULL << port % 64;

	m->touched_domains |= 1ULL << domain;
	if (d->pending[port / 64] & bit)
		return;
	d->pending[port / 64] |= bit;
	if (!(d->mask[port / 64] & bit))
		notify(d, port);
}

/* The lowest free one. Its bucket stays valid, even if the call fails after all. */
static int free_port(struct m_domain *d, uint32_t *ret_port)
{
	if (d->life == M_DYING)
		return -EINVAL;
	for (uint32_t port = 1; port < MODEL_PORTS; port++) {
		if (d->ports[port].state != EVTCHNSTAT_closed)
			continue;
		if (port >= d->n_valid)
			d->n_valid += MODEL_BUCKET;
		*ret_port = port;
		return 0;
	}
	return -ENOSPC;
}

int model_alloc_unbound(
	struct model *m, uint32_t self, uint16_t dom, uint16_t remote, uint32_t *ret_port)
{
	uint32_t target = find_any(m, self, dom), port;
	struct m_domain *d;
	int r;

	if (target == MODEL_NONE)
		return -ESRCH;
	d = &m->domains[target];
	r = free_port(d, &port);
	if (r < 0)
		return r;
	if (target != self && m->domains[self].domid != 0)
		return -EPERM;
	d->ports[port].state = EVTCHNSTAT_unbound;
	d->ports[port].remote_domid = remote == DOMID_SELF ? m->domains[self].domid : remote;
	*ret_port = port;
	return 0;
}

int model_bind_interdomain(
	struct model *m, uint32_t self, uint16_t remote, uint32_t remote_port, uint32_t *ret_port)
{
	uint32_t target = find_any(m, self, remote), port;
	struct m_domain *d = &m->domains[self], *rd;
	struct m_port *rp;
	int r;

	if (target == MODEL_NONE)
		return -ESRCH;
	rd = &m->domains[target];
	r = free_port(d, &port);
	if (r < 0)
		return r;
	if (remote_port >= rd->n_valid)
		return -EINVAL;
	rp = &rd->ports[remote_port];
	if (rp->state != EVTCHNSTAT_unbound || rp->remote_domid != d->domid)
		return -EINVAL;
	d->ports[port] = (struct m_port){
		.state = EVTCHNSTAT_interdomain, .remote = target, .remote_port = remote_port};
	rp->state = EVTCHNSTAT_interdomain;
	rp->remote = self;
	rp->remote_port = port;
	model_raise(m, self, port);
	*ret_port = port;
	return 0;
}

/* What belongs to a vcpu; every other one is the domain's, and vcpu 0's. */
static bool virq_is_local(uint32_t virq)
{
	return virq == VIRQ_TIMER || virq == VIRQ_DEBUG || virq == VIRQ_XENOPROF ||
	       virq == VIRQ_XENPMU;
}

int model_bind_virq(
	struct model *m, uint32_t self, uint32_t virq, uint32_t vcpu, uint32_t *ret_port)
{
	struct m_domain *d = &m->domains[self];
	uint32_t port;
	int r;

	if (virq >= MODEL_VIRQS || (!virq_is_local(virq) && vcpu != 0))
		return -EINVAL;
	if (vcpu >= d->n_vcpus)
		return -ENOENT;
	if (d->virq_port[vcpu][virq])
		return -EEXIST;
	r = free_port(d, &port);
	if (r < 0)
		return r;
	d->ports[port] = (struct m_port){
		.state = EVTCHNSTAT_virq, .virq = (uint8_t)virq, .vcpu = (uint8_t)vcpu};
	d->virq_port[vcpu][virq] = port;
	*ret_port = port;
	return 0;
}

int model_bind_ipi(struct model *m, uint32_t self, uint32_t vcpu, uint32_t *ret_port)
{
	struct m_domain *d = &m->domains[self];
	int r;

	if (vcpu >= d->n_vcpus)
		return -ENOENT;
	r = free_port(d, ret_port);
	if (r == 0)
		d->ports[*ret_port] =
			(struct m_port){.state = EVTCHNSTAT_ipi, .vcpu = (uint8_t)vcpu};
	return r;
}

int model_bind_vcpu(struct model *m, uint32_t self, uint32_t port, uint32_t vcpu)
{
	struct m_domain *d = &m->domains[self];
	struct m_port *p;

	if (vcpu >= d->n_vcpus)
		return -ENOENT;
	if (port >= d->n_valid)
		return -EINVAL;
	p = &d->ports[port];
	if (p->state != EVTCHNSTAT_unbound && p->state != EVTCHNSTAT_interdomain &&
		(p->state != EVTCHNSTAT_virq || virq_is_local(p->virq)))
		return -EINVAL;
	p->vcpu = (uint8_t)vcpu;
	return 0;
}

/* 2-level ports have none. */
int model_set_priority(struct model *m, uint32_t self, uint32_t port)
{
	return port < m->domains[self].n_valid ? -ENOSYS : -EINVAL;
}

int model_reset(struct model *m, uint32_t self, uint16_t dom)
{
	uint32_t target = find_any(m, self, dom);

	if (target == MODEL_NONE)
		return -ESRCH;
	if (target != self && m->domains[self].domid != 0)
		return -EPERM;
	if (target != self && !m->domains[target].paused)
		return -EINVAL;
	model_ports_destroy(m, target);
	return 0;
}

int model_close(struct model *m, uint32_t self, uint32_t port)
{
	struct m_domain *d = &m->domains[self];
	struct m_port *p, *rp;

	if (port >= d->n_valid || d->ports[port].state == EVTCHNSTAT_closed)
		return -EINVAL;
	p = &d->ports[port];
	if (p->state == EVTCHNSTAT_virq)
		d->virq_port[virq_is_local(p->virq) ? p->vcpu : 0][p->virq] = 0;
	if (p->state == EVTCHNSTAT_interdomain) {
		rp = &m->domains[p->remote].ports[p->remote_port];
		rp->state = EVTCHNSTAT_unbound;
		rp->remote_domid = d->domid;
	}
	p->state = EVTCHNSTAT_closed;
	p->vcpu = 0;
	d->pending[port / 64] &= ~(1ULL << port % 64);
	m->touched_domains |= 1ULL << self;
	return 0;
}

int model_send(struct model *m, uint32_t self, uint32_t port)
{
	struct m_domain *d = &m->domains[self];

	if (port >= d->n_valid)
		return -EINVAL;
	if (d->ports[port].state == EVTCHNSTAT_unbound)
		return 0;
	if (d->ports[port].state == EVTCHNSTAT_ipi) {
		model_raise(m, self, port);
		return 0;
	}
	if (d->ports[port].state != EVTCHNSTAT_interdomain)
		return -EINVAL;
	model_raise(m, d->ports[port].remote, d->ports[port].remote_port);
	return 0;
}

int model_unmask(struct model *m, uint32_t self, uint32_t port)
{
	struct m_domain *d = &m->domains[self];
	uint64_t bit = 1ULL << port % 64;

	if (port >= d->n_valid)
		return -EINVAL;
	m->touched_domains |= 1ULL << self;
	/* evtchn_usable: a port that is closed stays as it is */
	if (d->ports[port].state == EVTCHNSTAT_closed || !(d->mask[port / 64] & bit))
		return 0;
	d->mask[port / 64] &= ~bit;
	if (d->pending[port / 64] & bit)
		notify(d, port);
	return 0;
}

int model_status(struct model *m, uint32_t self, evtchn_status_t *status)
{
	uint32_t target = find_any(m, self, status->dom);
	const struct m_port *p;

	if (target == MODEL_NONE)
		return -ESRCH;
	if (status->port >= m->domains[target].n_valid)
		return -EINVAL;
	if (target != self && m->domains[self].domid != 0)
		return -EPERM;
	p = &m->domains[target].ports[status->port];
	status->status = p->state;
	status->vcpu = p->vcpu;
	if (p->state == EVTCHNSTAT_unbound) {
		status->u.unbound.dom = p->remote_domid;
	} else if (p->state == EVTCHNSTAT_interdomain) {
		status->u.interdomain.dom = m->domains[p->remote].domid;
		status->u.interdomain.port = p->remote_port;
	} else if (p->state == EVTCHNSTAT_virq) {
		status->u.virq = p->virq;
	}
	return 0;
}

void model_ports_destroy(struct model *m, uint32_t index)
{
	for (uint32_t port = 1; port < m->domains[index].n_valid; port++)
		(void)model_close(m, index, port);
}
