/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Events that no domain sends: virtual and physical interrupts, timers, and ports of which Xen is
 * the consumer. Binding a physical interrupt is a hypercall; the rest is what the machine does.
 */
#include "tests/random/random.h"

#include <errno.h>

#define N_PIRQS 12U /* few: they are shared */

void do_bind_pirq(struct run *run, uint32_t self, uint32_t pirq, uint32_t flags)
{
	evtchn_bind_pirq_t *a = (evtchn_bind_pirq_t *)(void *)run->arg1;
	uint32_t port = 0;
	long predicted, actual;

	*a = (evtchn_bind_pirq_t){.pirq = pirq, .flags = flags};
	CALL(run, OP_BIND_PIRQ, self, pirq, flags);
	predicted = model_bind_pirq(run->m, self, pirq, flags, &port);
	actual = evtchn_op(run->xen, run->m->domains[self].domid, EVTCHNOP_bind_pirq, a);
	if (actual == 0 && predicted == 0 && a->port != port)
		fail(run, "port %u, not %u", a->port, port);
	call_end(run, predicted, actual);
}

static void step_bind_pirq(struct run *run)
{
	uint32_t self = chance(run, 100) ? 0 : some_live(run), pirq = pick(run, N_PIRQS);
	uint16_t domid = run->m->domains[self].domid;
	struct m_domain *d = &run->m->domains[self];

	if (chance(run, 900) && sim_pirq_assign(run->xen, domid, pirq) == 0)
		d->pirqs[pirq].assigned = true;
	if (chance(run, 50))
		pirq = chance(run, 500) ? MODEL_PIRQS : (uint32_t)draw(run) | MODEL_PIRQS;
	do_bind_pirq(run, self, pirq, chance(run, 700) ? BIND_PIRQ__WILL_SHARE : 0);
}

static void step_pirq_raise(struct run *run)
{
	uint32_t pirq = chance(run, 20) ? MODEL_PIRQS : pick(run, N_PIRQS);
	int predicted, actual;

	CALL(run, OP_PIRQ, 0, pirq);
	predicted = model_pirq_raise(run->m, pirq);
	actual = sim_pirq_raise(run->xen, pirq);
	if (predicted != actual)
		fail(run, "%d have it, not %d", actual, predicted);
	call_end(run, predicted < 0 ? predicted : 0, actual < 0 ? actual : 0);
}

static void step_virq_raise(struct run *run)
{
	uint32_t domain = some_live(run), virq = pick(run, MODEL_VIRQS), vcpu = 0;
	const struct m_domain *d = &run->m->domains[domain];
	uint16_t domid = chance(run, 20) ? some_bad_domid(run) : d->domid;

	vcpu = pick(run, d->n_vcpus);
	for (uint32_t i = 0; i < 4 && !d->virq_port[vcpu][virq]; i++)
		virq = pick(run, MODEL_VIRQS);
	if (chance(run, 20))
		virq = MODEL_VIRQS + pick(run, 8);
	if (chance(run, 20))
		vcpu = MODEL_VCPUS + pick(run, 8);
	if (domain == 0 && virq == VIRQ_ARGO)
		return; /* its kernel takes it */
	CALL(run, OP_VIRQ, domain, domid, virq, vcpu);
	call_end(run, model_virq_raise(run->m, domid, virq, vcpu),
		sim_virq_raise(run->xen, domid, virq, vcpu));
}

static void step_timer(struct run *run)
{
	uint64_t ns = draw(run) % 1000000, deadline = run->m->now_ns + draw(run) % 5000000;
	uint32_t domain = some_live(run), vcpu = pick(run, run->m->domains[domain].n_vcpus);
	uint16_t domid = run->m->domains[domain].domid;

	if (chance(run, 100))
		deadline = chance(run, 300) ? 0 : draw(run) >> pick(run, 64);
	if (chance(run, 20))
		vcpu = MODEL_VCPUS;
	if (chance(run, 20))
		domid = some_bad_domid(run);
	CALL(run, OP_TIMER, domain, domid, vcpu, deadline, ns);
	if (chance(run, 500)) {
		model_clock_advance(run->m, ns);
		sim_clock_advance(run->sim, ns);
		call_end(run, 0, 0);
	} else {
		call_end(run, model_timer_set(run->m, domid, vcpu, deadline),
			sim_timer_set(run->xen, domid, vcpu, deadline));
	}
}

/* A guest cannot close it: so few of them, or there are no others. */
static void step_xen_port(struct run *run)
{
	uint32_t domain = run->live[1 + pick(run, run->n_live - 1)], port = 0, want = 0, n = 0;
	const struct m_domain *d = &run->m->domains[domain];
	uint16_t remote = some_domid(run), domid = d->domid;
	long predicted, actual;

	for (uint32_t i = 1; i < d->n_valid; i++)
		n += d->ports[i].xens;
	if (chance(run, 100))
		domid = some_bad_domid(run);
	else if (n >= 3)
		return;
	CALL(run, OP_XEN_PORT, domain, domid, remote);
	predicted = model_xen_port(run->m, domid, remote, &want);
	actual = sim_xen_port_alloc(run->xen, domid, remote, &port);
	if (actual == 0 && predicted == 0 && port != want)
		fail(run, "port %u, not %u", port, want);
	call_end(run, predicted, actual);
}

void step_machine(struct run *run)
{
	uint32_t what = pick(run, 100);

	if (what < 35)
		step_bind_pirq(run);
	else if (what < 50)
		step_pirq_raise(run);
	else if (what < 75)
		step_virq_raise(run);
	else if (what < 90)
		step_timer(run);
	else
		step_xen_port(run);
}
