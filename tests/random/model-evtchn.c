/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Event channels: see model.h. model-fifo.c has the part that is FIFO's alone. */
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
	if (d->ports[port].state == EVTCHNSTAT_closed || d->ports[port].xens)
		return; /* evtchn_usable */
	if (d->fifo) {
		model_fifo_raise(m, domain, port);
		return;
	}
	if (d->pending[port / 64] & bit)
		return;
	d->pending[port / 64] |= bit;
	if (!(d->mask[port / 64] & bit))
		notify(d, port);
}

/*
 * The lowest that is free, and on no queue of its guest's. Its bucket stays valid, even if the call
 * fails after all.
 */
static int free_port(const struct model *m, struct m_domain *d, uint32_t *ret_port)
{
	if (d->life == M_DYING)
		return -EINVAL;
	for (uint32_t port = 1; port <= d->max_port && (d->fifo || port < MODEL_2L_PORTS); port++) {
		if (d->ports[port].state != EVTCHNSTAT_closed ||
			(port < d->n_valid && model_word(m, d, port) >> EVTCHN_FIFO_LINKED & 1))
			continue;
		/* The emulator's own: beyond 2-level's, two buckets are in a page. */
		if (m->no_memory && port >= d->n_valid && port >= MODEL_2L_PORTS &&
			port % (2 * MODEL_BUCKET) == 0)
			return -ENOMEM;
		if (port >= d->n_valid)
			d->n_valid += MODEL_BUCKET;
		*ret_port = port;
		return 0;
	}
	return -ENOSPC;
}

/* FIFO's state of a port is older than this binding, but for the priority. */
static struct m_port *port_open(struct m_domain *d, uint32_t port, uint8_t state, uint8_t vcpu)
{
	struct m_port *p = &d->ports[port];

	p->state = state;
	p->vcpu = vcpu;
	if (d->fifo)
		p->priority = EVTCHN_FIFO_PRIORITY_DEFAULT;
	return p;
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
	r = free_port(m, d, &port);
	if (r < 0)
		return r;
	if (target != self && m->domains[self].domid != 0)
		return -EPERM;
	port_open(d, port, EVTCHNSTAT_unbound, 0)->remote_domid =
		remote == DOMID_SELF ? m->domains[self].domid : remote;
	*ret_port = port;
	return 0;
}

/* alloc_unbound_xen_event_channel */
int model_xen_port(struct model *m, uint16_t dom, uint16_t remote, uint32_t *ret_port)
{
	uint32_t target = model_find(m, dom);
	struct m_port *p;
	int r;

	if (target == MODEL_NONE)
		return -ESRCH;
	r = free_port(m, &m->domains[target], ret_port);
	if (r < 0)
		return r;
	p = port_open(&m->domains[target], *ret_port, EVTCHNSTAT_unbound, 0);
	p->remote_domid = remote;
	p->xens = true;
	return 0;
}

int model_bind_interdomain(
	struct model *m, uint32_t self, uint16_t remote, uint32_t remote_port, uint32_t *ret_port)
{
	uint32_t target = find_any(m, self, remote), port;
	struct m_domain *d = &m->domains[self], *rd;
	struct m_port *rp, *p;
	int r;

	if (target == MODEL_NONE)
		return -ESRCH;
	rd = &m->domains[target];
	r = free_port(m, d, &port);
	if (r < 0)
		return r;
	if (remote_port >= rd->n_valid)
		return -EINVAL;
	rp = &rd->ports[remote_port];
	if (rp->state != EVTCHNSTAT_unbound || rp->remote_domid != d->domid)
		return -EINVAL;
	p = port_open(d, port, EVTCHNSTAT_interdomain, 0);
	p->remote = target;
	p->remote_port = remote_port;
	rp->state = EVTCHNSTAT_interdomain;
	rp->remote = self;
	rp->remote_port = port;
	model_raise(m, self, port);
	*ret_port = port;
	return 0;
}

/* A binding to a vcpu; every other one is the domain's, and vcpu 0's. */
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
	r = free_port(m, d, &port);
	if (r < 0)
		return r;
	port_open(d, port, EVTCHNSTAT_virq, (uint8_t)vcpu)->virq = (uint8_t)virq;
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
	r = free_port(m, d, ret_port);
	if (r == 0)
		(void)port_open(d, *ret_port, EVTCHNSTAT_ipi, (uint8_t)vcpu);
	return r;
}

/* Whether everybody who has bound the interrupt, and who asks, would share it. */
static bool pirq_is_free(const struct model *m, uint32_t pirq, bool share)
{
	for (uint32_t i = 0; i < MODEL_DOMAINS; i++)
		if (m->domains[i].life != M_GONE && m->domains[i].pirqs[pirq].port &&
			!(share && m->domains[i].pirqs[pirq].shared))
			return false;
	return true;
}

/* The control domain is permitted all, but has mapped only what was assigned to it. */
int model_bind_pirq(
	struct model *m, uint32_t self, uint32_t pirq, uint32_t flags, uint32_t *ret_port)
{
	struct m_domain *d = &m->domains[self];
	bool share = flags & BIND_PIRQ__WILL_SHARE;
	struct m_pirq *p;
	int r;

	if (pirq >= MODEL_PIRQS)
		return -EINVAL;
	p = &d->pirqs[pirq];
	if (d->domid != 0 && !p->assigned)
		return -EPERM;
	if (p->port)
		return -EEXIST;
	r = free_port(m, d, ret_port);
	if (r < 0)
		return r;
	if (!p->assigned)
		return -EINVAL;
	if (!pirq_is_free(m, pirq, share))
		return -EBUSY;
	port_open(d, *ret_port, EVTCHNSTAT_pirq, 0)->remote_port = pirq;
	p->port = *ret_port;
	p->shared = share;
	return 0;
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
	if (p->xens)
		return -EINVAL;
	if (p->state != EVTCHNSTAT_unbound && p->state != EVTCHNSTAT_interdomain &&
		p->state != EVTCHNSTAT_pirq &&
		(p->state != EVTCHNSTAT_virq || virq_is_local(p->virq)))
		return -EINVAL;
	p->vcpu = (uint8_t)vcpu;
	return 0;
}

/* 2-level ports have none. An event that is on a queue stays there. */
int model_set_priority(struct model *m, uint32_t self, uint32_t port, uint32_t priority)
{
	struct m_domain *d = &m->domains[self];

	if (port >= d->n_valid)
		return -EINVAL;
	if (!d->fifo)
		return -ENOSYS;
	if (d->ports[port].state == EVTCHNSTAT_closed || d->ports[port].xens)
		return -EACCES;
	if (priority >= MODEL_QUEUES)
		return -EINVAL;
	d->ports[port].priority = (uint8_t)priority;
	return 0;
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
	for (uint32_t port = 1; port < m->domains[target].n_valid; port++)
		(void)model_close(m, target, port);
	model_fifo_destroy(m, target);
	return 0;
}

static int port_close(struct model *m, uint32_t self, uint32_t port)
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
	if (p->state == EVTCHNSTAT_pirq)
		d->pirqs[p->remote_port] = (struct m_pirq){.assigned = true};
	m->touched_domains |= 1ULL << self;
	if (d->fifo)
		model_fifo_close(m, self, port);
	else if (port < MODEL_2L_PORTS && !p->xens)
		d->pending[port / 64] &= ~(1ULL << port % 64);
	p->state = EVTCHNSTAT_closed;
	p->vcpu = 0;
	p->xens = false;
	return 0;
}

int model_close(struct model *m, uint32_t self, uint32_t port)
{
	if (port < m->domains[self].n_valid && m->domains[self].ports[port].xens)
		return -EINVAL;
	return port_close(m, self, port);
}

int model_send(struct model *m, uint32_t self, uint32_t port)
{
	struct m_domain *d = &m->domains[self];

	if (port >= d->n_valid || d->ports[port].xens)
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
	if (d->ports[port].state == EVTCHNSTAT_closed || d->ports[port].xens)
		return 0;
	if (d->fifo) {
		model_fifo_unmask(m, self, port);
		return 0;
	}
	if (!(d->mask[port / 64] & bit))
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
	p = &m->domains[target].ports[status->port];
	if (p->xens)
		return -EACCES;
	if (target != self && m->domains[self].domid != 0)
		return -EPERM;
	status->status = p->state;
	status->vcpu = p->vcpu;
	if (p->state == EVTCHNSTAT_unbound) {
		status->u.unbound.dom = p->remote_domid;
	} else if (p->state == EVTCHNSTAT_interdomain) {
		status->u.interdomain.dom = m->domains[p->remote].domid;
		status->u.interdomain.port = p->remote_port;
	} else if (p->state == EVTCHNSTAT_virq) {
		status->u.virq = p->virq;
	} else if (p->state == EVTCHNSTAT_pirq) {
		status->u.pirq = p->remote_port;
	}
	return 0;
}

void model_ports_destroy(struct model *m, uint32_t index)
{
	for (uint32_t port = 1; port < m->domains[index].n_valid; port++)
		(void)port_close(m, index, port);
	model_fifo_destroy(m, index);
}

/* ---- events that no domain sends ----------------------------------------------------------- */

static void virq_raise(struct model *m, uint32_t domain, uint32_t virq, uint32_t vcpu)
{
	uint32_t port = m->domains[domain].virq_port[virq_is_local(virq) ? vcpu : 0][virq];

	if (port)
		model_raise(m, domain, port);
}

int model_virq_raise(struct model *m, uint16_t dom, uint32_t virq, uint32_t vcpu)
{
	uint32_t domain = model_find(m, dom);

	if (virq >= MODEL_VIRQS)
		return -EINVAL;
	if (domain == MODEL_NONE)
		return -ESRCH;
	if (vcpu >= m->domains[domain].n_vcpus)
		return -ENOENT;
	virq_raise(m, domain, virq, vcpu);
	return 0;
}

/* How many have it. */
int model_pirq_raise(struct model *m, uint32_t pirq)
{
	int n = 0;

	if (pirq >= MODEL_PIRQS)
		return -EINVAL;
	for (uint32_t i = 0; i < MODEL_DOMAINS; i++)
		if (m->domains[i].life != M_GONE && m->domains[i].pirqs[pirq].port) {
			model_raise(m, i, m->domains[i].pirqs[pirq].port);
			n++;
		}
	return n;
}

static void timer_look(struct model *m, uint32_t domain, uint32_t vcpu)
{
	uint64_t *t = &m->domains[domain].timer_ns[vcpu];

	if (*t == 0 || *t > m->now_ns)
		return;
	*t = 0;
	virq_raise(m, domain, VIRQ_TIMER, vcpu);
}

/* do_set_timer_op: what is too far away is taken for a wrapped time, and is 100 ms from now. */
int model_timer_set(struct model *m, uint16_t dom, uint32_t vcpu, uint64_t deadline_ns)
{
	uint32_t domain = model_find(m, dom);

	if (domain == MODEL_NONE)
		return -ESRCH;
	if (vcpu >= m->domains[domain].n_vcpus)
		return -ENOENT;
	if (deadline_ns >= 1ULL << 63 ||
		(deadline_ns > m->now_ns && (deadline_ns - m->now_ns) >> 50))
		deadline_ns = m->now_ns + 100000000U;
	m->domains[domain].timer_ns[vcpu] = deadline_ns;
	timer_look(m, domain, vcpu);
	return 0;
}

void model_clock_advance(struct model *m, uint64_t ns)
{
	m->now_ns += ns;
	for (uint32_t i = 0; i < MODEL_DOMAINS; i++)
		for (uint32_t vcpu = 0; m->domains[i].life == M_ALIVE && vcpu < MODEL_VCPUS; vcpu++)
			timer_look(m, i, vcpu);
}
