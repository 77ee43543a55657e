/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The event channel hypercall: do_event_channel_op of xen/common/event_channel.c. Sending and
 * unmasking take the lock of one domain, a reset has many transactions, all else has one.
 */
#include <errno.h>

#include "base/macro.h"
#include "hv/sim/hypervisor/access.h"
#include "hv/sim/hypervisor/evtchn.h"
#include "hv/sim/hypervisor/fault.h"
#include "hv/sim/hypervisor/fifo.h"
#include "hv/sim/hypervisor/hypercall.h"
#include "hv/sim/hypervisor/kernel.h"
#include "hv/sim/hypervisor/transaction.h"
#include "hv/sim/memory/lock.h"

/* The domain whose state a send through this port changes, if any. */
static uint32_t send_target(struct xen *xen, uint32_t domain, uint32_t port)
{
	const struct sim_port *p = port_at(xen, domain_at(xen, domain), port);
	uint32_t target;

	if (!p || peek(&p->state) != SIM_PORT_INTERDOMAIN)
		return domain;
	target = peek(&p->remote_domain);
	/* Seen without a lock, it may be anything: its page may be another one's. */
	return target < atomic_load_explicit(&xen->seg->n_domains, memory_order_relaxed) ? target
											 : domain;
}

/* The target that was read without a lock may be out of date: then it is read once more. */
void evtchn_begin_send(struct xen *xen, uint32_t domain, uint32_t port, struct xen *ret_txn)
{
	for (;;) {
		uint32_t target = send_target(xen, domain, port);

		txn_begin_domain(xen, target, ret_txn);
		if (send_target(ret_txn, domain, port) == target)
			return;
		txn_abort(ret_txn);
	}
}

/* The checks of evtchn_reset; then the reset is under way. */
static int reset_begin_locked(struct xen *xen, uint32_t domain, uint16_t dom, uint32_t *ret_target)
{
	struct sim_domain *d;
	uint32_t target;
	int r = target_find(xen, domain, dom, &target);

	if (r < 0)
		return r;
	d = domain_at(xen, target);
	if (target != domain && !d->paused)
		return -EINVAL;
	/* A reset whose process was killed is not under way any more. */
	if ((d->resetting && !lock_owner_is_dead(xen, d->resetting)) ||
		xen_fault(xen, SIM_FAULT_RESET_EBUSY))
		return -EBUSY;
	txn_set(xen, &d->resetting, xen->lock_word);
	*ret_target = target;
	return 0;
}

/* Every port by itself: others go on meanwhile, and may open ports behind our back. */
static bool reset_port(struct xen *xen, uint32_t target, uint64_t generation, uint32_t port)
{
	struct sim_domain *d = domain_at(xen, target);
	bool more;

	txn_begin(xen);
	more = d->generation == generation && port < d->n_valid_ports &&
	       d->n_ports - 1 > d->n_xen_ports;
	if (more)
		(void)evtchn_close_locked(xen, target, port);
	txn_commit(xen);
	return more;
}

/* Not one transaction: it has as many as there are ports. */
static int evtchn_reset(struct xen *xen, uint16_t domid, uint16_t dom)
{
	struct sim_domain *d;
	uint32_t domain, target;
	uint64_t generation;
	int r = -ESRCH;

	txn_begin(xen);
	domain = sim_domain_find(xen, domid);
	if (domain != DOMAIN_NONE)
		r = reset_begin_locked(xen, domain, dom, &target);
	if (r < 0) {
		txn_abort(xen);
		return r;
	}
	d = domain_at(xen, target);
	generation = d->generation;
	txn_commit(xen);
	for (uint32_t port = 1; reset_port(xen, target, generation, port); port++)
		;
	txn_begin(xen);
	if (d->generation == generation) {
		txn_set(xen, &d->resetting, 0);
		r = d->n_ports - 1 > d->n_xen_ports ? -EAGAIN : 0;
		if (r == 0 && (d->flags & SIM_DOMAIN_GUEST_KERNEL))
			kernel_restart_locked(xen, target);
		else if (r == 0 && d->fifo)
			fifo_destroy_locked(xen, target);
	}
	txn_commit(xen);
	return r;
}

union evtchn_arg {
	evtchn_alloc_unbound_t alloc_unbound;
	evtchn_bind_interdomain_t bind_interdomain;
	evtchn_bind_virq_t bind_virq;
	evtchn_bind_pirq_t bind_pirq;
	evtchn_bind_ipi_t bind_ipi;
	evtchn_bind_vcpu_t bind_vcpu;
	evtchn_reset_t reset;
	evtchn_set_priority_t set_priority;
	evtchn_init_control_t init_control;
	evtchn_expand_array_t expand_array;
	evtchn_close_t close;
	evtchn_send_t send;
	evtchn_status_t status;
	evtchn_unmask_t unmask;
};

static int evtchn_dispatch(struct xen *xen, uint32_t domain, int cmd, union evtchn_arg *op)
{
	switch (cmd) {
	case EVTCHNOP_alloc_unbound:
		return evtchn_alloc_unbound_locked(xen, domain, op->alloc_unbound.dom,
			op->alloc_unbound.remote_dom, &op->alloc_unbound.port);
	case EVTCHNOP_bind_interdomain:
		return evtchn_bind_interdomain_locked(xen, domain, op->bind_interdomain.remote_dom,
			op->bind_interdomain.remote_port, &op->bind_interdomain.local_port);
	case EVTCHNOP_bind_virq:
		return evtchn_bind_virq_locked(
			xen, domain, op->bind_virq.virq, op->bind_virq.vcpu, &op->bind_virq.port);
	case EVTCHNOP_bind_pirq:
		return evtchn_bind_pirq_locked(xen, domain, &op->bind_pirq);
	case EVTCHNOP_bind_ipi:
		return evtchn_bind_ipi_locked(xen, domain, &op->bind_ipi);
	case EVTCHNOP_bind_vcpu:
		return evtchn_bind_vcpu_locked(xen, domain, op->bind_vcpu.port, op->bind_vcpu.vcpu);
	case EVTCHNOP_set_priority:
		return evtchn_set_priority_locked(
			xen, domain, op->set_priority.port, op->set_priority.priority);
	case EVTCHNOP_init_control:
		return fifo_init_control_locked(xen, domain, &op->init_control);
	case EVTCHNOP_expand_array:
		return fifo_expand_array_locked(xen, domain, op->expand_array.array_gfn);
	case EVTCHNOP_close:
		return evtchn_close_locked(xen, domain, op->close.port);
	case EVTCHNOP_send:
		return evtchn_send_locked(xen, domain, op->send.port);
	case EVTCHNOP_status:
		return evtchn_status_locked(xen, domain, &op->status);
	default:
		return evtchn_unmask_locked(xen, domain, op->unmask.port);
	}
}

static const struct {
	size_t size;
	bool out; /* there is something to copy out */
} operations[] = {
	[EVTCHNOP_alloc_unbound] = {sizeof(evtchn_alloc_unbound_t), true},
	[EVTCHNOP_bind_interdomain] = {sizeof(evtchn_bind_interdomain_t), true},
	[EVTCHNOP_bind_virq] = {sizeof(evtchn_bind_virq_t), true},
	[EVTCHNOP_bind_pirq] = {sizeof(evtchn_bind_pirq_t), true},
	[EVTCHNOP_bind_ipi] = {sizeof(evtchn_bind_ipi_t), true},
	[EVTCHNOP_close] = {sizeof(evtchn_close_t), false},
	[EVTCHNOP_send] = {sizeof(evtchn_send_t), false},
	[EVTCHNOP_status] = {sizeof(evtchn_status_t), true},
	[EVTCHNOP_bind_vcpu] = {sizeof(evtchn_bind_vcpu_t), false},
	[EVTCHNOP_unmask] = {sizeof(evtchn_unmask_t), false},
	[EVTCHNOP_reset] = {sizeof(evtchn_reset_t), false},
	[EVTCHNOP_init_control] = {sizeof(evtchn_init_control_t), true},
	[EVTCHNOP_expand_array] = {sizeof(evtchn_expand_array_t), false},
	[EVTCHNOP_set_priority] = {sizeof(evtchn_set_priority_t), false},
};

/* Sending and unmasking change nothing but what is pending, in one domain. */
static void begin(
	struct xen *xen, uint32_t domain, int cmd, const union evtchn_arg *arg, struct xen *ret_txn)
{
	if (cmd == EVTCHNOP_send) {
		evtchn_begin_send(xen, domain, arg->send.port, ret_txn);
	} else if (cmd == EVTCHNOP_unmask) {
		txn_begin_domain(xen, domain, ret_txn);
	} else {
		txn_begin(xen);
		*ret_txn = *xen;
	}
}

/* do_event_channel_op: the argument is copied in, then the operation done, then copied out. */
static int evtchn_do(struct xen *xen, uint16_t domid, int cmd, void *arg)
{
	union evtchn_arg copy = {0};
	uint32_t domain;
	struct xen txn;
	int r;

	if (cmd < 0 || (size_t)cmd >= ARRAY_SIZE(operations) || !operations[cmd].size)
		return -ENOSYS;
	if (guest_read(xen, &copy, arg, operations[cmd].size, false) < 0)
		return -EFAULT;
	if (cmd == EVTCHNOP_reset)
		return evtchn_reset(xen, domid, copy.reset.dom);
	domain = sim_domain_find(xen, domid);
	if (domain == DOMAIN_NONE)
		return -ESRCH;
	begin(xen, domain, cmd, &copy, &txn);
	r = -ESRCH;
	if (sim_domain_find(&txn, domid) == domain)
		r = evtchn_dispatch(&txn, domain, cmd, &copy);
	/* Also after a failure: a bucket that became valid stays so; nothing else changed. */
	txn_commit(&txn);
	if (r < 0)
		return r;
	/* As in Xen, where a port that the guest was not told of stays allocated. */
	if (operations[cmd].out && guest_write(xen, arg, &copy, operations[cmd].size) < 0)
		return -EFAULT;
	return 0;
}

int evtchn_op(struct xen *xen, uint16_t domid, int cmd, void *arg)
{
	hypercall_enter(xen);
	return (int)hypercall_leave(
		xen, domid, "evtchn_op", (unsigned int)cmd, evtchn_do(xen, domid, cmd, arg));
}
