/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One event-channel hypercall. New ones: a do_* function, and a line in step_evtchn's table. */
#include "tests/random/random.h"

#include <errno.h>
#include <string.h>

#define BAD ((void *)16)

static uint32_t port_odd(struct run *run)
{
	static const uint32_t odd[] = {0, 63, 64, 1022, 1023, 1024, 4095, 4096, 131071, UINT32_MAX};

	return odd[pick(run, sizeof(odd) / sizeof(odd[0]))];
}

/* A port that is open, mostly; in `state` if that is not closed. */
uint32_t port_some(struct run *run, uint32_t domain, uint8_t state)
{
	const struct m_domain *d = &run->m->domains[domain];
	uint32_t port = 0;

	if (chance(run, 30))
		return port_odd(run);
	for (uint32_t i = 0; i < 24; i++) {
		port = 1 + pick(run, d->n_valid - 1);
		if (state == EVTCHNSTAT_closed ? d->ports[port].state != EVTCHNSTAT_closed
					       : d->ports[port].state == state)
			break;
	}
	return port;
}

void do_alloc_unbound(struct run *run, uint32_t self, uint16_t dom, uint16_t remote)
{
	evtchn_alloc_unbound_t *a = (evtchn_alloc_unbound_t *)(void *)run->arg1;
	uint32_t port = 0;
	long predicted, actual;

	*a = (evtchn_alloc_unbound_t){.dom = dom, .remote_dom = remote};
	CALL(run, OP_ALLOC_UNBOUND, self, dom, remote);
	predicted = model_alloc_unbound(run->m, self, dom, remote, &port);
	actual = evtchn_op(run->xen, run->m->domains[self].domid, EVTCHNOP_alloc_unbound, a);
	if (actual == 0 && predicted == 0 && a->port != port)
		fail(run, "port %u, not %u", a->port, port);
	call_end(run, predicted, actual);
}

void do_bind_interdomain(struct run *run, uint32_t self, uint16_t remote, uint32_t port)
{
	evtchn_bind_interdomain_t *a = (evtchn_bind_interdomain_t *)(void *)run->arg1;
	uint32_t local = 0;
	long predicted, actual;

	*a = (evtchn_bind_interdomain_t){.remote_dom = remote, .remote_port = port};
	CALL(run, OP_BIND_INTERDOMAIN, self, remote, port);
	predicted = model_bind_interdomain(run->m, self, remote, port, &local);
	actual = evtchn_op(run->xen, run->m->domains[self].domid, EVTCHNOP_bind_interdomain, a);
	if (actual == 0 && predicted == 0 && a->local_port != local)
		fail(run, "port %u, not %u", a->local_port, local);
	call_end(run, predicted, actual);
}

void do_bind_virq(struct run *run, uint32_t self, uint32_t virq, uint32_t vcpu)
{
	evtchn_bind_virq_t *a = (evtchn_bind_virq_t *)(void *)run->arg1;
	uint32_t port = 0;
	long predicted, actual;

	*a = (evtchn_bind_virq_t){.virq = virq, .vcpu = vcpu};
	CALL(run, OP_BIND_VIRQ, self, virq, vcpu);
	predicted = model_bind_virq(run->m, self, virq, vcpu, &port);
	actual = evtchn_op(run->xen, run->m->domains[self].domid, EVTCHNOP_bind_virq, a);
	if (actual == 0 && predicted == 0 && a->port != port)
		fail(run, "port %u, not %u", a->port, port);
	call_end(run, predicted, actual);
}

void do_bind_ipi(struct run *run, uint32_t self, uint32_t vcpu)
{
	evtchn_bind_ipi_t *a = (evtchn_bind_ipi_t *)(void *)run->arg1;
	uint32_t port = 0;
	long predicted, actual;

	a->vcpu = vcpu;
	CALL(run, OP_BIND_IPI, self, vcpu);
	predicted = model_bind_ipi(run->m, self, vcpu, &port);
	actual = evtchn_op(run->xen, run->m->domains[self].domid, EVTCHNOP_bind_ipi, a);
	if (actual == 0 && predicted == 0 && a->port != port)
		fail(run, "port %u, not %u", a->port, port);
	call_end(run, predicted, actual);
}

void do_close(struct run *run, uint32_t self, uint32_t port)
{
	evtchn_close_t *a = (evtchn_close_t *)(void *)run->arg1;

	a->port = port;
	CALL(run, OP_CLOSE, self, port);
	call_end(run, model_close(run->m, self, port),
		evtchn_op(run->xen, run->m->domains[self].domid, EVTCHNOP_close, a));
}

void do_status(struct run *run, uint32_t self, uint16_t dom, uint32_t port)
{
	evtchn_status_t *a = (evtchn_status_t *)(void *)run->arg1, want;
	long predicted, actual;

	*a = want = (evtchn_status_t){.dom = dom, .port = port};
	CALL(run, OP_STATUS, self, dom, port);
	predicted = model_status(run->m, self, &want);
	actual = evtchn_op(run->xen, run->m->domains[self].domid, EVTCHNOP_status, a);
	if (actual == 0 && predicted == 0 &&
		(a->status != want.status || a->vcpu != want.vcpu ||
			(want.status == EVTCHNSTAT_unbound &&
				a->u.unbound.dom != want.u.unbound.dom) ||
			(want.status == EVTCHNSTAT_interdomain &&
				(a->u.interdomain.dom != want.u.interdomain.dom ||
					a->u.interdomain.port != want.u.interdomain.port)) ||
			(want.status == EVTCHNSTAT_virq && a->u.virq != want.u.virq) ||
			(want.status == EVTCHNSTAT_pirq && a->u.pirq != want.u.pirq)))
		fail(run, "status %u (%u), not %u", a->status, a->vcpu, want.status);
	call_end(run, predicted, actual);
}

/* Domain-0 may act for another one, a dying one included. */
static void step_alloc_unbound(struct run *run)
{
	uint32_t self = some_live(run), zombie = some_zombie(run);
	uint16_t remote = chance(run, 100) ? DOMID_SELF : some_domid(run), dom = DOMID_SELF;

	if (chance(run, 30))
		remote = some_bad_domid(run);
	if (chance(run, 60))
		dom = some_domid(run);
	else if (chance(run, 30))
		dom = some_bad_domid(run);
	if (chance(run, 60))
		self = 0;
	if (chance(run, 30) && zombie != MODEL_NONE) {
		self = chance(run, 800) ? 0 : self;
		dom = run->m->domains[zombie].domid;
	}
	do_alloc_unbound(run, self, dom, remote);
}

static void step_bind_interdomain(struct run *run)
{
	uint32_t domain = some_live(run);
	uint32_t port = port_some(run, domain, EVTCHNSTAT_unbound), self;
	uint16_t remote = run->m->domains[domain].domid;

	self = port < MODEL_PORTS
		       ? model_find(run->m, run->m->domains[domain].ports[port].remote_domid)
		       : MODEL_NONE;
	if (self == MODEL_NONE || run->m->domains[self].life != M_ALIVE || chance(run, 30))
		self = some_live(run);
	if (self == domain && chance(run, 500))
		remote = DOMID_SELF;
	if (chance(run, 30))
		remote = some_bad_domid(run);
	do_bind_interdomain(run, self, remote, port);
}

static void step_bind_virq(struct run *run)
{
	uint32_t self = some_live(run), virq = pick(run, MODEL_VIRQS), vcpu = 0;

	for (uint32_t i = 0; i < 2 && run->m->domains[self].virq_port[0][virq]; i++)
		virq = pick(run, MODEL_VIRQS);
	if (!run->m->domains[self].virq_port[0][VIRQ_ARGO])
		virq = VIRQ_ARGO;
	if (chance(run, 50))
		virq = MODEL_VIRQS + pick(run, 8);
	if (chance(run, 100)) {
		vcpu = 1 + pick(run, 3);
		virq = chance(run, 500) ? VIRQ_DEBUG : virq;
	}
	do_bind_virq(run, self, virq, vcpu);
}

static void step_close(struct run *run)
{
	uint32_t self = some_live(run), port = port_some(run, self, EVTCHNSTAT_closed);

	/* Domain-0's kernel holds that one, and an emulated kernel's ports are not this test's. */
	if (self == 0 && port == 1)
		port = 0;
	do_close(run, self, port);
}

static void step_send(struct run *run)
{
	evtchn_send_t *a = (evtchn_send_t *)(void *)run->arg1;
	uint32_t self = some_live(run);

	a->port =
		port_some(run, self, chance(run, 800) ? EVTCHNSTAT_interdomain : EVTCHNSTAT_closed);
	CALL(run, OP_SEND, self, a->port);
	call_end(run, model_send(run->m, self, a->port),
		evtchn_op(run->xen, run->m->domains[self].domid, EVTCHNOP_send, a));
}

static void step_unmask(struct run *run)
{
	evtchn_unmask_t *a = (evtchn_unmask_t *)(void *)run->arg1;
	uint32_t self = some_live(run);

	a->port = port_some(run, self, EVTCHNSTAT_closed);
	CALL(run, OP_UNMASK, self, a->port);
	call_end(run, model_unmask(run->m, self, a->port),
		evtchn_op(run->xen, run->m->domains[self].domid, EVTCHNOP_unmask, a));
}

static void step_status(struct run *run)
{
	uint32_t self = chance(run, 400) ? 0 : some_live(run);
	uint32_t target = chance(run, self ? 900 : 200) ? self : some_live(run);
	uint32_t zombie = some_zombie(run);
	uint16_t dom;

	if (chance(run, 20) && zombie != MODEL_NONE)
		target = zombie;
	dom = target == self && chance(run, 500) ? DOMID_SELF : run->m->domains[target].domid;
	if (chance(run, 20))
		dom = some_bad_domid(run);
	do_status(run, self, dom,
		chance(run, 100) ? pick(run, MODEL_PORTS) : port_some(run, target, 0));
}

static void step_bind_ipi(struct run *run)
{
	uint32_t self = some_live(run);

	do_bind_ipi(run, self,
		pick(run, run->m->domains[self].n_vcpus) +
			(chance(run, 150) ? 2 + pick(run, 200) : 0));
}

static void step_bind_vcpu(struct run *run)
{
	evtchn_bind_vcpu_t *a = (evtchn_bind_vcpu_t *)(void *)run->arg1;
	uint32_t self = some_live(run);

	a->port = port_some(run, self, EVTCHNSTAT_closed);
	a->vcpu = pick(run, run->m->domains[self].n_vcpus);
	if (chance(run, 60))
		a->vcpu = chance(run, 500) ? 1 : (uint32_t)draw(run);
	if (self == 0 && a->port == 1)
		a->port = 2;
	CALL(run, OP_BIND_VCPU, self, a->port, a->vcpu);
	call_end(run, model_bind_vcpu(run->m, self, a->port, a->vcpu),
		evtchn_op(run->xen, run->m->domains[self].domid, EVTCHNOP_bind_vcpu, a));
}

static void step_set_priority(struct run *run)
{
	evtchn_set_priority_t *a = (evtchn_set_priority_t *)(void *)run->arg1;
	uint32_t self = some_live(run);

	if (chance(run, 700) && some_fifo(run, true) != MODEL_NONE)
		self = some_fifo(run, true);
	a->port = chance(run, 100) ? port_odd(run) : port_some(run, self, EVTCHNSTAT_closed);
	a->priority = pick(run, chance(run, 900) ? 16 : 20);
	CALL(run, OP_SET_PRIORITY, self, a->port, a->priority);
	call_end(run, model_set_priority(run->m, self, a->port, a->priority),
		evtchn_op(run->xen, run->m->domains[self].domid, EVTCHNOP_set_priority, a));
}

/* Domain-0 itself is spared: its kernel holds a port. */
static void step_reset(struct run *run)
{
	evtchn_reset_t *a = (evtchn_reset_t *)(void *)run->arg1;
	uint32_t self = run->live[1 + pick(run, run->n_live - 1)], target = self;

	if (chance(run, 500))
		target = run->live[1 + pick(run, run->n_live - 1)];
	if (target != self && chance(run, 500))
		self = 0;
	a->dom = target == self ? DOMID_SELF : run->m->domains[target].domid;
	if (chance(run, 150))
		a->dom = some_bad_domid(run);
	if (chance(run, 500))
		run->m->domains[target].paused =
			sim_domain_pause(run->sim, run->m->domains[target].domid, true) == 0;
	CALL(run, OP_RESET, self, a->dom);
	call_end(run, model_reset(run->m, self, a->dom),
		evtchn_op(run->xen, run->m->domains[self].domid, EVTCHNOP_reset, a));
	run->m->domains[target].paused = false;
	(void)sim_domain_pause(run->sim, run->m->domains[target].domid, false);
}

/* No such call, and arguments that are not there. */
static void step_evtchn_odd(struct run *run)
{
	static const int cmds[] = {EVTCHNOP_alloc_unbound, EVTCHNOP_bind_interdomain,
		EVTCHNOP_bind_virq, EVTCHNOP_close, EVTCHNOP_send, EVTCHNOP_status, EVTCHNOP_unmask,
		EVTCHNOP_bind_ipi, EVTCHNOP_bind_vcpu, EVTCHNOP_set_priority, EVTCHNOP_reset,
		EVTCHNOP_init_control, EVTCHNOP_expand_array, EVTCHNOP_bind_pirq};
	static const enum op ops[] = {OP_ALLOC_UNBOUND, OP_BIND_INTERDOMAIN, OP_BIND_VIRQ, OP_CLOSE,
		OP_SEND, OP_STATUS, OP_UNMASK, OP_BIND_IPI, OP_BIND_VCPU, OP_SET_PRIORITY, OP_RESET,
		OP_INIT_CONTROL, OP_EXPAND_ARRAY, OP_BIND_PIRQ};
	uint32_t self = some_live(run), i = pick(run, 16);
	uint16_t domid = run->m->domains[self].domid;
	int cmd = chance(run, 500) ? 14 + (int)pick(run, 1000) : -1 - (int)pick(run, 5);

	if (i < sizeof(ops) / sizeof(ops[0])) {
		CALL(run, ops[i], self, 16);
		call_end(run, -EFAULT,
			evtchn_op(run->xen, domid, cmds[i], chance(run, 500) ? NULL : BAD));
	} else {
		CALL(run, OP_EVTCHN_OTHER, self, (uint64_t)cmd);
		call_end(run, -ENOSYS, evtchn_op(run->xen, domid, cmd, run->arg1));
	}
}

void step_evtchn(struct run *run)
{
	static const struct {
		uint32_t weight;
		void (*step)(struct run *run);
	} steps[] = {
		{80, step_alloc_unbound},
		{110, step_bind_interdomain},
		{25, step_bind_virq},
		{170, step_close},
		{130, step_send},
		{60, step_status},
		{50, step_unmask},
		{10, step_bind_ipi},
		{20, step_bind_vcpu},
		{20, step_set_priority},
		{6, step_reset},
		{12, step_fifo},
		{30, step_machine},
		{25, step_evtchn_odd},
	};
	uint32_t total = 0, at;

	for (uint32_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		total += steps[i].weight;
	at = pick(run, total);
	for (uint32_t i = 0;; i++) {
		if (at < steps[i].weight) {
			steps[i].step(run);
			return;
		}
		at -= steps[i].weight;
	}
}
