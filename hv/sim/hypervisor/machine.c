/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Events that no domain sends: see machine.h. */
#include "hv/sim/hypervisor/machine.h"

#include <errno.h>
#include <time.h>

#include "hv/sim/hypervisor/event.h"
#include "hv/sim/hypervisor/evtchn.h"
#include "hv/sim/hypervisor/transaction.h"
#include "hv/sim/hypervisor/virq.h"

/* Xen takes a timeout that is further away for a wrapped one, and makes it 100 ms. */
#define TIMEOUT_MAX_NS	   (1ULL << 50)
#define TIMEOUT_WRAPPED_NS 100000000ULL

int sim_virq_raise(struct xen *xen, uint16_t domid, uint32_t virq, uint32_t vcpu)
{
	uint32_t domain;
	int r = 0;

	if (virq >= NR_VIRQS)
		return -EINVAL;
	txn_begin(xen);
	domain = sim_domain_find(xen, domid);
	if (domain == DOMAIN_NONE)
		r = -ESRCH;
	else if (vcpu >= domain_at(xen, domain)->n_vcpus)
		r = -ENOENT;
	else
		virq_raise_locked(xen, domain, vcpu, virq);
	txn_commit(xen);
	return r;
}

uint64_t machine_now_ns(const struct xen *xen)
{
	struct timespec ts;

	if (atomic_load(&xen->seg->virtual_clock))
		return atomic_load(&xen->seg->now_ns);
	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static void timer_expire_locked(struct xen *xen, uint32_t domain, uint32_t vcpu, uint64_t now)
{
	struct sim_vcpu *v = &domain_at(xen, domain)->vcpus[vcpu];

	if (!v->timer_ns || v->timer_ns > now)
		return;
	txn_set(xen, &v->timer_ns, 0);
	virq_raise_locked(xen, domain, vcpu, VIRQ_TIMER);
}

uint64_t timers_expire(struct xen *xen)
{
	uint64_t now = machine_now_ns(xen), left = 0, deadline;

	for (uint32_t domain = 0; domain < SIM_MAX_DOMAINS; domain++) {
		struct sim_domain *d = domain_at(xen, domain);

		if (d->state == SIM_DOMAIN_FREE || d->state == SIM_DOMAIN_DYING)
			continue;
		txn_begin(xen);
		for (uint32_t vcpu = 0; vcpu < d->n_vcpus; vcpu++) {
			timer_expire_locked(xen, domain, vcpu, now);
			deadline = d->vcpus[vcpu].timer_ns;
			if (deadline && (!left || deadline - now < left))
				left = deadline - now;
		}
		txn_commit(xen);
	}
	return left;
}

/* do_set_timer_op */
int sim_timer_set(struct xen *xen, uint16_t domid, uint32_t vcpu, uint64_t deadline_ns)
{
	uint64_t now = machine_now_ns(xen);
	uint32_t domain;
	int r = 0;

	if (deadline_ns > INT64_MAX || (deadline_ns > now && deadline_ns - now >= TIMEOUT_MAX_NS))
		deadline_ns = now + TIMEOUT_WRAPPED_NS;
	txn_begin(xen);
	domain = sim_domain_find(xen, domid);
	if (domain == DOMAIN_NONE) {
		r = -ESRCH;
	} else if (vcpu >= domain_at(xen, domain)->n_vcpus) {
		r = -ENOENT;
	} else if (deadline_ns > now && !atomic_load(&xen->seg->virtual_clock) &&
		   !xen->seg->has_timers) {
		r = -EOPNOTSUPP;
	} else {
		txn_set(xen, &domain_at(xen, domain)->vcpus[vcpu].timer_ns, deadline_ns);
		timer_expire_locked(xen, domain, vcpu, now);
		if (deadline_ns > now)
			txn_redo(xen, SIM_REDO_AUTHORITY, domain, SIM_SLOT_TIMERS, 0);
	}
	txn_commit(xen);
	return r;
}

int sim_pirq_assign(struct xen *xen, uint16_t domid, uint32_t pirq)
{
	struct sim_pirq *p;
	uint32_t domain;

	if (pirq >= SIM_MAX_PIRQS)
		return -EINVAL;
	txn_begin(xen);
	domain = sim_domain_find(xen, domid);
	if (domain != DOMAIN_NONE) {
		p = &domain_at(xen, domain)->pirqs[pirq];
		txn_set(xen, &p->flags, p->flags | SIM_PIRQ_ASSIGNED);
	}
	txn_commit(xen);
	return domain == DOMAIN_NONE ? -ESRCH : 0;
}

/* send_guest_pirq, for each guest that shares the interrupt */
int sim_pirq_raise(struct xen *xen, uint32_t pirq)
{
	int n = 0;

	if (pirq >= SIM_MAX_PIRQS)
		return -EINVAL;
	txn_begin(xen);
	for (uint32_t domain = 0; domain < SIM_MAX_DOMAINS; domain++) {
		const struct sim_domain *d = domain_at(xen, domain);

		if (d->state == SIM_DOMAIN_FREE || !d->pirqs[pirq].port)
			continue;
		port_raise_locked(xen, domain, d->pirqs[pirq].port);
		n++;
	}
	txn_commit(xen);
	return n;
}

int sim_xen_port_alloc(struct xen *xen, uint16_t domid, uint16_t remote, uint32_t *ret_port)
{
	uint32_t domain;
	int r;

	txn_begin(xen);
	domain = sim_domain_find(xen, domid);
	r = domain == DOMAIN_NONE ? -ESRCH
				  : evtchn_alloc_xen_locked(xen, domain, 0, remote, ret_port);
	return txn_end(xen, r);
}
