/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Event channels at the level of the hypercall: what hv.h cannot reach. */
#include "tests/unit/sim/support.h"

#include <string.h>
#include <sys/mman.h>

#include "hv/sim/hypervisor/upcall.h"

/* A domain without the guest kernel: it polls its shared info itself. */
static uint16_t bare_domain(struct world *w)
{
	uint16_t domid;

	assert_int_equal(
		sim_domain_create(w->sim,
			&(struct sim_domain_config){.name = "bare", .no_guest_kernel = true},
			&domid),
		0);
	return domid;
}

static uint32_t alloc_unbound(struct world *w, uint16_t domid, uint16_t remote)
{
	evtchn_alloc_unbound_t op = {.dom = DOMID_SELF, .remote_dom = remote};

	assert_int_equal(evtchn_op(w->xen, domid, EVTCHNOP_alloc_unbound, &op), 0);
	return op.port;
}

static int status(struct world *w, uint16_t domid, uint32_t port, evtchn_status_t *ret)
{
	*ret = (evtchn_status_t){.dom = DOMID_SELF, .port = port};
	return evtchn_op(w->xen, domid, EVTCHNOP_status, ret);
}

static int close_port(struct world *w, uint16_t domid, uint32_t port)
{
	evtchn_close_t op = {.port = port};

	return evtchn_op(w->xen, domid, EVTCHNOP_close, &op);
}

static int send_port(struct world *w, uint16_t domid, uint32_t port)
{
	evtchn_send_t op = {.port = port};

	return evtchn_op(w->xen, domid, EVTCHNOP_send, &op);
}

static void test_alloc(void **state)
{
	struct world *w = *state;
	uint16_t bare = bare_domain(w);
	evtchn_alloc_unbound_t op = {.dom = 99, .remote_dom = 0};

	assert_int_equal(evtchn_op(w->xen, bare, EVTCHNOP_alloc_unbound, &op), -ESRCH);
	op = (evtchn_alloc_unbound_t){.dom = w->a, .remote_dom = bare};
	assert_int_equal(evtchn_op(w->xen, bare, EVTCHNOP_alloc_unbound, &op), -EPERM);
	assert_int_equal(evtchn_op(w->xen, 0, EVTCHNOP_alloc_unbound, &op), 0); /* privileged */
	assert_int_equal(close_port(w, w->a, op.port), 0);
	/* Port 0 is reserved; the lowest free one is given, and again. */
	assert_int_equal(alloc_unbound(w, bare, w->a), 1);
	assert_int_equal(alloc_unbound(w, bare, 12345), 2); /* need not exist */
	assert_int_equal(close_port(w, bare, 1), 0);
	assert_int_equal(alloc_unbound(w, bare, w->a), 1);
	assert_int_equal(evtchn_op(w->xen, 99, EVTCHNOP_alloc_unbound, &op), -ESRCH);
}

/* A zombie, whose page somebody still maps, gets no port any more. */
static void test_dying(void **state)
{
	struct world *w = *state;
	evtchn_alloc_unbound_t op = {.remote_dom = 0};
	struct hv_share *share;
	struct hv_map *map;
	struct hv *hv;
	uint32_t ref;
	uint16_t domid;
	void *addr;

	assert_int_equal(
		sim_domain_create(w->sim, &(struct sim_domain_config){.name = "dying"}, &domid), 0);
	assert_int_equal(sim_hv_open(w->sim, domid, &hv), 0);
	assert_int_equal(hv->ops->grant_share(hv, w->b, 1, NULL, &ref, &addr, &share), 0);
	assert_int_equal(
		w->hv_b->ops->grant_map(w->hv_b, domid, &ref, 1, true, NULL, &addr, &map), 0);
	assert_int_equal(sim_domain_destroy(w->sim, domid), 0);
	op.dom = domid;
	assert_int_equal(evtchn_op(w->xen, 0, EVTCHNOP_alloc_unbound, &op), -EINVAL);
	w->hv_b->ops->grant_unmap(w->hv_b, map);
	assert_int_equal(evtchn_op(w->xen, 0, EVTCHNOP_alloc_unbound, &op), -ESRCH);
	hv_close(hv);
}

static void test_ports_run_out(void **state)
{
	struct world *w = *state;
	uint16_t bare = bare_domain(w);
	evtchn_alloc_unbound_t op = {.dom = DOMID_SELF, .remote_dom = 0};
	evtchn_bind_interdomain_t bind = {.remote_dom = w->a, .remote_port = 4000};

	for (uint32_t port = 1; port <= 1023; port++)
		assert_int_equal(alloc_unbound(w, bare, 0), port);
	assert_int_equal(evtchn_op(w->xen, bare, EVTCHNOP_alloc_unbound, &op), -ENOSPC);
	/* The local port's error comes before the remote one is looked at. */
	assert_int_equal(evtchn_op(w->xen, bare, EVTCHNOP_bind_interdomain, &bind), -ENOSPC);
	assert_int_equal(close_port(w, bare, 500), 0);
	assert_int_equal(evtchn_op(w->xen, bare, EVTCHNOP_bind_interdomain, &bind), -EINVAL);
	/* and that failure kept no port */
	assert_int_equal(alloc_unbound(w, bare, 0), 500);
}

static void test_status_and_unbinding(void **state)
{
	struct world *w = *state;
	uint16_t bare = bare_domain(w);
	uint32_t port = alloc_unbound(w, bare, w->a);
	evtchn_bind_interdomain_t bind = {.remote_dom = bare, .remote_port = port};
	evtchn_status_t st;

	assert_int_equal(status(w, bare, port, &st), 0);
	assert_int_equal(st.status, EVTCHNSTAT_unbound);
	assert_int_equal(st.u.unbound.dom, w->a);
	assert_int_equal(evtchn_op(w->xen, w->b, EVTCHNOP_bind_interdomain, &bind), -EINVAL);
	assert_int_equal(evtchn_op(w->xen, w->a, EVTCHNOP_bind_interdomain, &bind), 0);
	assert_int_equal(evtchn_op(w->xen, w->a, EVTCHNOP_bind_interdomain, &bind), -EINVAL);
	assert_int_equal(status(w, bare, port, &st), 0);
	assert_int_equal(st.status, EVTCHNSTAT_interdomain);
	assert_int_equal(st.u.interdomain.dom, w->a);
	assert_int_equal(st.u.interdomain.port, bind.local_port);
	assert_int_equal(close_port(w, w->a, bind.local_port), 0);
	assert_int_equal(status(w, bare, port, &st), 0);
	assert_int_equal(st.status, EVTCHNSTAT_unbound);
	assert_int_equal(st.u.unbound.dom, w->a);
	assert_int_equal(close_port(w, bare, port), 0);
	assert_int_equal(close_port(w, bare, port), -EINVAL);
	assert_int_equal(status(w, bare, port, &st), 0);
	assert_int_equal(st.status, EVTCHNSTAT_closed);
	assert_int_equal(status(w, bare, 0, &st), 0);
	assert_int_equal(st.status, EVTCHNSTAT_closed);
	assert_int_equal(close_port(w, bare, 0), -EINVAL);
	assert_int_equal(status(w, bare, 3000, &st), -EINVAL); /* its bucket is not there */
	st = (evtchn_status_t){.dom = w->a, .port = 1};
	assert_int_equal(evtchn_op(w->xen, bare, EVTCHNOP_status, &st), -EPERM);
	assert_int_equal(evtchn_op(w->xen, 0, EVTCHNOP_status, &st), 0);
	st = (evtchn_status_t){.dom = 99, .port = 1};
	assert_int_equal(evtchn_op(w->xen, 0, EVTCHNOP_status, &st), -ESRCH);
}

static void test_virq(void **state)
{
	struct world *w = *state;
	uint16_t bare = bare_domain(w);
	evtchn_bind_virq_t op = {.virq = VIRQ_ARGO, .vcpu = 1};
	evtchn_status_t st;

	assert_int_equal(evtchn_op(w->xen, bare, EVTCHNOP_bind_virq, &op), -EINVAL);
	op.virq = VIRQ_TIMER;
	assert_int_equal(evtchn_op(w->xen, bare, EVTCHNOP_bind_virq, &op), -ENOENT);
	op = (evtchn_bind_virq_t){.virq = NR_VIRQS};
	assert_int_equal(evtchn_op(w->xen, bare, EVTCHNOP_bind_virq, &op), -EINVAL);
	op = (evtchn_bind_virq_t){.virq = VIRQ_ARGO};
	assert_int_equal(evtchn_op(w->xen, bare, EVTCHNOP_bind_virq, &op), 0);
	assert_int_equal(evtchn_op(w->xen, bare, EVTCHNOP_bind_virq, &op), -EEXIST);
	assert_int_equal(status(w, bare, op.port, &st), 0);
	assert_int_equal(st.status, EVTCHNSTAT_virq);
	assert_int_equal(st.u.virq, VIRQ_ARGO);
	assert_int_equal(send_port(w, bare, op.port), -EINVAL);
	assert_int_equal(close_port(w, bare, op.port), 0);
	assert_int_equal(evtchn_op(w->xen, bare, EVTCHNOP_bind_virq, &op), 0);
	/* The guest kernel has bound it in its domains. */
	assert_int_equal(evtchn_op(w->xen, w->a, EVTCHNOP_bind_virq, &op), -EEXIST);
}

/* A guest without the emulated kernel: Xen's pending and mask bits, and the selector. */
static void test_bits(void **state)
{
	struct world *w = *state;
	uint16_t bare = bare_domain(w);
	struct sim_domain *d = domain_at(w->xen, sim_domain_find(w->xen, bare));
	uint32_t port = alloc_unbound(w, bare, w->a);
	evtchn_bind_interdomain_t bind = {.remote_dom = bare, .remote_port = port};
	evtchn_unmask_t unmask = {.port = port};

	assert_int_equal(evtchn_op(w->xen, w->a, EVTCHNOP_bind_interdomain, &bind), 0);
	assert_int_equal(d->info.pending[0], 0); /* the binder's port is pending, not this one */
	assert_int_equal(send_port(w, w->a, bind.local_port), 0);
	assert_int_equal(d->info.pending[0], 1ULL << port);
	assert_int_equal(d->info.selector, 1);
	assert_int_equal(d->info.upcall_pending, 1);

	d->info.pending[0] = 0;
	d->info.selector = 0;
	d->info.mask[0] = 1ULL << port;
	assert_int_equal(send_port(w, w->a, bind.local_port), 0);
	assert_int_equal(d->info.pending[0], 1ULL << port);
	assert_int_equal(d->info.selector, 0);
	assert_int_equal(evtchn_op(w->xen, bare, EVTCHNOP_unmask, &unmask), 0);
	assert_int_equal(d->info.mask[0], 0);
	assert_int_equal(d->info.selector, 1);
	unmask.port = 3000;
	assert_int_equal(evtchn_op(w->xen, bare, EVTCHNOP_unmask, &unmask), -EINVAL);
	/* Closing clears what is pending, for whoever gets the port next. */
	assert_int_equal(close_port(w, bare, port), 0);
	assert_int_equal(d->info.pending[0], 0);
}

static void test_to_itself(void **state)
{
	struct world *w = *state;
	uint16_t bare = bare_domain(w);
	struct sim_domain *d = domain_at(w->xen, sim_domain_find(w->xen, bare));
	uint32_t port = alloc_unbound(w, bare, DOMID_SELF);
	evtchn_bind_interdomain_t bind = {.remote_dom = DOMID_SELF, .remote_port = port};

	assert_int_equal(evtchn_op(w->xen, bare, EVTCHNOP_bind_interdomain, &bind), 0);
	assert_int_equal(d->info.pending[0], 1ULL << bind.local_port);
	assert_int_equal(send_port(w, bare, bind.local_port), 0);
	assert_int_equal(d->info.pending[0], 1ULL << bind.local_port | 1ULL << port);
	assert_int_equal(send_port(w, bare, 63), -EINVAL);
	assert_int_equal(send_port(w, bare, 64), -EINVAL);
}

/* A domain of four vcpus, and without the guest kernel. */
static uint16_t wide_domain(struct world *w)
{
	struct sim_domain_config config = {.name = "wide", .no_guest_kernel = true, .n_vcpus = 4};
	uint16_t domid;

	assert_int_equal(sim_domain_create(w->sim, &config, &domid), 0);
	return domid;
}

static struct sim_domain *domain_of(struct world *w, uint16_t domid)
{
	return domain_at(w->xen, sim_domain_find(w->xen, domid));
}

static bool take_pending(struct sim_domain *d, uint32_t port)
{
	uint64_t bit = 1ULL << port % 64;

	return atomic_fetch_and(&d->info.pending[port / 64], ~bit) & bit;
}

/* The port's bits show that it is pending on that vcpu, and on no other; they are taken. */
static void expect_upcall(struct sim_domain *d, uint32_t port, uint32_t vcpu)
{
	assert_true(take_pending(d, port));
	for (uint32_t i = 0; i < SIM_MAX_VCPUS; i++) {
		assert_int_equal(atomic_exchange(&d->info.vcpu[i].selector, 0),
			i == vcpu ? 1ULL << port / 64 : 0);
		assert_int_equal(atomic_exchange(&d->info.vcpu[i].upcall_pending, 0), i == vcpu);
	}
}

static uint32_t bind_ipi(struct world *w, uint16_t domid, uint32_t vcpu)
{
	evtchn_bind_ipi_t op = {.vcpu = vcpu};

	assert_int_equal(evtchn_op(w->xen, domid, EVTCHNOP_bind_ipi, &op), 0);
	return op.port;
}

static int bind_vcpu(struct world *w, uint16_t domid, uint32_t port, uint32_t vcpu)
{
	evtchn_bind_vcpu_t op = {.port = port, .vcpu = vcpu};

	return evtchn_op(w->xen, domid, EVTCHNOP_bind_vcpu, &op);
}

static int bind_pirq(
	struct world *w, uint16_t domid, uint32_t pirq, uint32_t flags, uint32_t *ret_port)
{
	evtchn_bind_pirq_t op = {.pirq = pirq, .flags = flags};
	int r = evtchn_op(w->xen, domid, EVTCHNOP_bind_pirq, &op);

	if (r == 0)
		*ret_port = op.port;
	return r;
}

static int reset(struct world *w, uint16_t caller, uint16_t domid)
{
	evtchn_reset_t op = {.dom = domid};

	return evtchn_op(w->xen, caller, EVTCHNOP_reset, &op);
}

static void fill_ports(struct world *w, uint16_t domid)
{
	evtchn_alloc_unbound_t op = {.dom = DOMID_SELF};

	while (evtchn_op(w->xen, domid, EVTCHNOP_alloc_unbound, &op) == 0)
		;
}

static void test_ipi(void **state)
{
	struct world *w = *state;
	uint16_t wide = wide_domain(w);
	uint32_t port = bind_ipi(w, wide, 3);
	evtchn_bind_ipi_t op = {.vcpu = 4};
	evtchn_status_t st;

	assert_int_equal(evtchn_op(w->xen, wide, EVTCHNOP_bind_ipi, &op), -ENOENT);
	assert_int_equal(status(w, wide, port, &st), 0);
	assert_int_equal(st.status, EVTCHNSTAT_ipi);
	assert_int_equal(st.vcpu, 3);
	assert_int_equal(send_port(w, wide, port), 0);
	expect_upcall(domain_of(w, wide), port, 3);
	assert_int_equal(bind_vcpu(w, wide, port, 0), -EINVAL); /* not an IPI */
	assert_int_equal(close_port(w, wide, port), 0);
	assert_int_equal(send_port(w, wide, port), -EINVAL);
	fill_ports(w, wide);
	op.vcpu = 0;
	assert_int_equal(evtchn_op(w->xen, wide, EVTCHNOP_bind_ipi, &op), -ENOSPC);
	op.vcpu = 4; /* looked at first */
	assert_int_equal(evtchn_op(w->xen, wide, EVTCHNOP_bind_ipi, &op), -ENOENT);
}

static void test_vcpu(void **state)
{
	struct world *w = *state;
	uint16_t wide = wide_domain(w);
	struct sim_domain *d = domain_of(w, wide);
	uint32_t port = alloc_unbound(w, wide, w->a);
	evtchn_bind_interdomain_t bind = {.remote_dom = wide, .remote_port = port};
	evtchn_bind_virq_t virq = {.virq = VIRQ_TIMER, .vcpu = 2};
	evtchn_status_t st;

	assert_int_equal(bind_vcpu(w, wide, port, 4), -ENOENT);
	assert_int_equal(bind_vcpu(w, wide, 3000, 4), -ENOENT); /* before the port */
	assert_int_equal(bind_vcpu(w, wide, 3000, 1), -EINVAL);
	assert_int_equal(bind_vcpu(w, wide, 0, 1), -EINVAL);
	assert_int_equal(bind_vcpu(w, wide, port + 1, 1), -EINVAL);
	assert_int_equal(bind_vcpu(w, wide, port, 2), 0); /* unbound */
	assert_int_equal(evtchn_op(w->xen, w->a, EVTCHNOP_bind_interdomain, &bind), 0);
	assert_int_equal(send_port(w, w->a, bind.local_port), 0);
	expect_upcall(d, port, 2);
	assert_int_equal(bind_vcpu(w, wide, port, 1), 0); /* bound */
	assert_int_equal(status(w, wide, port, &st), 0);
	assert_int_equal(st.vcpu, 1);
	assert_int_equal(send_port(w, w->a, bind.local_port), 0);
	expect_upcall(d, port, 1);

	assert_int_equal(evtchn_op(w->xen, wide, EVTCHNOP_bind_virq, &virq), 0);
	assert_int_equal(bind_vcpu(w, wide, virq.port, 1), -EINVAL); /* a vcpu's own */
	virq = (evtchn_bind_virq_t){.virq = VIRQ_CONSOLE};
	assert_int_equal(evtchn_op(w->xen, wide, EVTCHNOP_bind_virq, &virq), 0);
	assert_int_equal(bind_vcpu(w, wide, virq.port, 3), 0); /* a domain's */
	assert_int_equal(sim_virq_raise(w->xen, wide, VIRQ_CONSOLE, 0), 0);
	expect_upcall(d, virq.port, 3);
	assert_int_equal(close_port(w, wide, virq.port), 0);
	assert_int_equal(evtchn_op(w->xen, wide, EVTCHNOP_bind_virq, &virq), 0);

	/* A port that is used again is vcpu 0's. */
	assert_int_equal(close_port(w, wide, port), 0);
	assert_int_equal(alloc_unbound(w, wide, w->a), port);
	assert_int_equal(status(w, wide, port, &st), 0);
	assert_int_equal(st.vcpu, 0);
}

static void test_pirq(void **state)
{
	struct world *w = *state;
	uint16_t wide = wide_domain(w);
	struct sim_domain *d = domain_of(w, wide);
	uint32_t port = 0, other = 0;
	evtchn_status_t st;

	assert_int_equal(sim_pirq_assign(w->xen, wide, SIM_MAX_PIRQS), -EINVAL);
	assert_int_equal(sim_pirq_assign(w->xen, 99, 5), -ESRCH);
	assert_int_equal(bind_pirq(w, wide, SIM_MAX_PIRQS, 0, &port), -EINVAL);
	assert_int_equal(bind_pirq(w, wide, 5, 0, &port), -EPERM);
	assert_int_equal(bind_pirq(w, 0, 5, 0, &port), -EINVAL); /* may, but it is not mapped */
	assert_int_equal(sim_pirq_raise(w->xen, 5), 0);
	assert_int_equal(sim_pirq_assign(w->xen, wide, 5), 0);
	assert_int_equal(bind_pirq(w, wide, 5, 0, &port), 0);
	assert_int_equal(bind_pirq(w, wide, 5, 0, &port), -EEXIST);
	assert_int_equal(status(w, wide, port, &st), 0);
	assert_int_equal(st.status, EVTCHNSTAT_pirq);
	assert_int_equal(st.u.pirq, 5);
	assert_int_equal(sim_pirq_raise(w->xen, 5), 1);
	expect_upcall(d, port, 0);
	assert_int_equal(bind_vcpu(w, wide, port, 3), 0);
	assert_int_equal(sim_pirq_raise(w->xen, 5), 1);
	expect_upcall(d, port, 3);
	assert_int_equal(send_port(w, wide, port), -EINVAL);

	/* Another domain gets it only if both share. */
	assert_int_equal(sim_pirq_assign(w->xen, w->a, 5), 0);
	assert_int_equal(bind_pirq(w, w->a, 5, BIND_PIRQ__WILL_SHARE, &other), -EBUSY);
	assert_int_equal(close_port(w, wide, port), 0);
	assert_int_equal(sim_pirq_raise(w->xen, 5), 0);
	assert_int_equal(bind_pirq(w, wide, 5, BIND_PIRQ__WILL_SHARE, &port), 0);
	assert_int_equal(bind_pirq(w, w->a, 5, 0, &other), -EBUSY);
	assert_int_equal(bind_pirq(w, w->a, 5, BIND_PIRQ__WILL_SHARE, &other), 0);
	assert_int_equal(sim_pirq_raise(w->xen, 5), 2);
	assert_true(take_pending(domain_of(w, w->a), other));
	expect_upcall(d, port, 0);
	assert_int_equal(close_port(w, wide, port), 0);
	fill_ports(w, wide);
	assert_int_equal(bind_pirq(w, wide, 5, 0, &port), -ENOSPC); /* before the interrupt */
	assert_int_equal(bind_pirq(w, wide, 6, 0, &port), -EPERM);
}

static void test_virqs_of_vcpus(void **state)
{
	struct world *w = *state;
	uint16_t wide = wide_domain(w);
	struct sim_domain *d = domain_of(w, wide);
	uint32_t ports[4];

	for (uint32_t vcpu = 0; vcpu < 4; vcpu++) {
		evtchn_bind_virq_t op = {.virq = VIRQ_TIMER, .vcpu = vcpu};

		assert_int_equal(evtchn_op(w->xen, wide, EVTCHNOP_bind_virq, &op), 0);
		assert_int_equal(evtchn_op(w->xen, wide, EVTCHNOP_bind_virq, &op), -EEXIST);
		ports[vcpu] = op.port;
	}
	assert_int_equal(sim_virq_raise(w->xen, wide, VIRQ_TIMER, 2), 0);
	expect_upcall(d, ports[2], 2);
	assert_int_equal(sim_virq_raise(w->xen, wide, VIRQ_TIMER, 4), -ENOENT);
	assert_int_equal(sim_virq_raise(w->xen, wide, NR_VIRQS, 0), -EINVAL);
	assert_int_equal(sim_virq_raise(w->xen, 99, VIRQ_TIMER, 0), -ESRCH);
	assert_int_equal(sim_virq_raise(w->xen, wide, VIRQ_DEBUG, 2), 0); /* nobody's */
	assert_int_equal(d->info.vcpu[2].upcall_pending, 0);
	assert_int_equal(close_port(w, wide, ports[2]), 0);
	assert_int_equal(sim_virq_raise(w->xen, wide, VIRQ_TIMER, 2), 0);
	assert_int_equal(d->info.vcpu[2].upcall_pending, 0);
	assert_int_equal(sim_virq_raise(w->xen, wide, VIRQ_TIMER, 3), 0);
	expect_upcall(d, ports[3], 3);
}

static void test_timer(void **state)
{
	struct world *w = *state;
	uint16_t wide = wide_domain(w);
	struct sim_domain *d = domain_of(w, wide);
	evtchn_bind_virq_t op = {.virq = VIRQ_TIMER, .vcpu = 1};

	assert_int_equal(evtchn_op(w->xen, wide, EVTCHNOP_bind_virq, &op), 0);
	/* Nobody waits here; xen-sim does: authority-test.c */
	assert_int_equal(sim_timer_set(w->xen, wide, 1, UINT64_MAX), -EOPNOTSUPP);
	assert_int_equal(sim_timer_set(w->xen, wide, 1, 1), 0);
	expect_upcall(d, op.port, 1);
	sim_clock_virtual(w->sim, 1000);
	assert_int_equal(sim_timer_set(w->xen, wide, 1, 2000), 0);
	sim_clock_advance(w->sim, 999);
	assert_int_equal(d->info.vcpu[1].upcall_pending, 0);
	sim_clock_advance(w->sim, 1);
	expect_upcall(d, op.port, 1);
	sim_clock_advance(w->sim, 5000); /* once only */
	assert_int_equal(d->info.vcpu[1].upcall_pending, 0);
	assert_int_equal(sim_timer_set(w->xen, wide, 1, 3000), 0); /* has passed */
	expect_upcall(d, op.port, 1);
	assert_int_equal(sim_timer_set(w->xen, wide, 1, 8000), 0);
	assert_int_equal(sim_timer_set(w->xen, wide, 1, 0), 0); /* off */
	sim_clock_advance(w->sim, 5000);
	assert_int_equal(d->info.vcpu[1].upcall_pending, 0);
	/* Too far away to be meant. */
	assert_int_equal(sim_timer_set(w->xen, wide, 1, UINT64_MAX), 0);
	sim_clock_advance(w->sim, 99999999);
	assert_int_equal(d->info.vcpu[1].upcall_pending, 0);
	sim_clock_advance(w->sim, 1);
	expect_upcall(d, op.port, 1);
	assert_int_equal(sim_timer_set(w->xen, wide, 4, 1), -ENOENT);
	assert_int_equal(sim_timer_set(w->xen, 99, 0, 1), -ESRCH);
}

/* Domain-0 hears of every domain's end, and of the way there. */
static void test_dom_exc(void **state)
{
	struct world *w = *state;
	struct sim_domain *d = domain_of(w, 0);
	evtchn_bind_virq_t op = {.virq = VIRQ_DOM_EXC};
	uint16_t domid = bare_domain(w);

	assert_int_equal(evtchn_op(w->xen, 0, EVTCHNOP_bind_virq, &op), 0);
	assert_false(take_pending(d, op.port));
	assert_int_equal(sim_domain_shutdown(w->sim, domid, 3), 0);
	assert_true(take_pending(d, op.port));
	assert_int_equal(sim_domain_resume(w->sim, domid), 0);
	assert_false(take_pending(d, op.port));
	assert_int_equal(sim_domain_destroy(w->sim, domid), 0);
	assert_true(take_pending(d, op.port));
}

static void test_reset(void **state)
{
	struct world *w = *state;
	uint16_t wide = wide_domain(w), bare = bare_domain(w);
	struct sim_domain *d = domain_of(w, wide);
	uint32_t port = alloc_unbound(w, wide, bare), ipi = bind_ipi(w, wide, 1), pirq = 0,
		 xen_port;
	evtchn_bind_interdomain_t bind = {.remote_dom = wide, .remote_port = port};
	evtchn_bind_virq_t virq = {.virq = VIRQ_TIMER, .vcpu = 2};
	evtchn_status_t st;

	assert_int_equal(evtchn_op(w->xen, bare, EVTCHNOP_bind_interdomain, &bind), 0);
	assert_int_equal(evtchn_op(w->xen, wide, EVTCHNOP_bind_virq, &virq), 0);
	assert_int_equal(sim_pirq_assign(w->xen, wide, 7), 0);
	assert_int_equal(bind_pirq(w, wide, 7, 0, &pirq), 0);
	assert_int_equal(sim_xen_port_alloc(w->xen, wide, 0, &xen_port), 0);

	assert_int_equal(reset(w, wide, 99), -ESRCH);
	assert_int_equal(reset(w, bare, wide), -EPERM);
	assert_int_equal(reset(w, 0, wide), -EINVAL); /* not paused */
	d->resetting = w->xen->lock_word;
	assert_int_equal(reset(w, wide, DOMID_SELF), -EBUSY);
	d->resetting = 200; /* a slot that nobody has: it died in the middle */
	assert_int_equal(reset(w, wide, DOMID_SELF), 0);
	assert_int_equal(d->resetting, 0);
	assert_int_equal(status(w, wide, port, &st), 0);
	assert_int_equal(st.status, EVTCHNSTAT_closed);
	assert_int_equal(status(w, wide, ipi, &st), 0);
	assert_int_equal(st.status, EVTCHNSTAT_closed);
	assert_int_equal(status(w, bare, bind.local_port, &st), 0);
	assert_int_equal(st.status, EVTCHNSTAT_unbound);
	assert_int_equal(st.u.unbound.dom, wide);
	assert_int_equal(d->n_ports, 2); /* 0 and the hypervisor's */
	assert_int_equal(status(w, wide, xen_port, &st), -EACCES);
	assert_int_equal(evtchn_op(w->xen, wide, EVTCHNOP_bind_virq, &virq), 0);
	assert_int_equal(bind_pirq(w, wide, 7, 0, &pirq), 0);

	assert_int_equal(sim_domain_pause(w->sim, wide, true), 0);
	assert_int_equal(reset(w, 0, wide), 0);
	assert_int_equal(d->n_ports, 2);
}

/* EAGAIN: somebody opened a port behind the reset's back. Raced as a step of its transactions. */
static void open_behind(void *arg)
{
	struct world *w = arg;
	struct sim_domain *d = domain_of(w, domain_at(w->xen, 3)->domid);

	if (d->ports[2].state == SIM_PORT_FREE && d->ports[1].state == SIM_PORT_FREE) {
		d->ports[1].state = SIM_PORT_UNBOUND;
		d->n_ports++;
	}
}

static void test_reset_raced(void **state)
{
	struct world *w = *state;
	uint16_t bare = bare_domain(w);

	assert_ptr_equal(domain_of(w, bare), domain_at(w->xen, 3));
	(void)alloc_unbound(w, bare, 0);
	(void)alloc_unbound(w, bare, 0);
	w->xen->step = open_behind;
	w->xen->step_arg = w;
	assert_int_equal(reset(w, bare, DOMID_SELF), -EAGAIN);
	w->xen->step = NULL;
	assert_int_equal(domain_of(w, bare)->resetting, 0);
	assert_int_equal(reset(w, bare, DOMID_SELF), 0);
}

/* A port whose near end is the hypervisor's is none of the guest's. */
static void test_xen_port(void **state)
{
	struct world *w = *state;
	uint16_t bare = bare_domain(w);
	evtchn_bind_interdomain_t bind = {.remote_dom = bare};
	uint32_t port;
	evtchn_status_t st;

	assert_int_equal(sim_xen_port_alloc(w->xen, 99, w->a, &port), -ESRCH);
	assert_int_equal(sim_xen_port_alloc(w->xen, bare, w->a, &port), 0);
	assert_int_equal(status(w, bare, port, &st), -EACCES);
	st = (evtchn_status_t){.dom = bare, .port = port};
	assert_int_equal(evtchn_op(w->xen, w->a, EVTCHNOP_status, &st), -EACCES); /* first */
	assert_int_equal(close_port(w, bare, port), -EINVAL);
	assert_int_equal(send_port(w, bare, port), -EINVAL);
	assert_int_equal(bind_vcpu(w, bare, port, 0), -EINVAL);
	bind.remote_port = port;
	assert_int_equal(evtchn_op(w->xen, w->a, EVTCHNOP_bind_interdomain, &bind), 0);
	assert_int_equal(send_port(w, w->a, bind.local_port), 0);
	assert_false(take_pending(domain_of(w, bare), port)); /* no event of the guest's */
	assert_int_equal(sim_domain_destroy(w->sim, bare), 0);
}

static void test_priority_2l(void **state)
{
	struct world *w = *state;
	uint16_t bare = bare_domain(w);
	evtchn_set_priority_t op = {.port = alloc_unbound(w, bare, 0), .priority = 3};

	assert_int_equal(evtchn_op(w->xen, bare, EVTCHNOP_set_priority, &op), -ENOSYS);
	op.port = 3000;
	assert_int_equal(evtchn_op(w->xen, bare, EVTCHNOP_set_priority, &op), -EINVAL);
}

/* The domain's own limit, and the ABI's. */
static void test_limits(void **state)
{
	struct world *w = *state;
	struct sim_domain_config config = {.name = "few", .no_guest_kernel = true, .max_port = 70};
	evtchn_alloc_unbound_t op = {.dom = DOMID_SELF};
	uint16_t domid;

	assert_int_equal(sim_domain_create(w->sim, &config, &domid), 0);
	for (uint32_t port = 1; port <= 70; port++)
		assert_int_equal(alloc_unbound(w, domid, 0), port);
	assert_int_equal(evtchn_op(w->xen, domid, EVTCHNOP_alloc_unbound, &op), -ENOSPC);
	config = (struct sim_domain_config){
		.name = "many", .no_guest_kernel = true, .max_port = 100000};
	assert_int_equal(sim_domain_create(w->sim, &config, &domid), 0);
	for (uint32_t port = 1; port < 4096; port++)
		assert_int_equal(alloc_unbound(w, domid, 0), port);
	assert_int_equal(evtchn_op(w->xen, domid, EVTCHNOP_alloc_unbound, &op), -ENOSPC);
	config = (struct sim_domain_config){.name = "wider", .n_vcpus = SIM_MAX_VCPUS + 1};
	assert_int_equal(sim_domain_create(w->sim, &config, &domid), -EINVAL);
}

static void count_and_leave(struct xen *xen, uint32_t domain, uint32_t port, void *arg)
{
	((uint32_t *)arg)[port]++;
}

/* The guest's two-level scan: what is selected, pending and not masked; on its own vcpu. */
static void test_scan(void **state)
{
	struct world *w = *state;
	uint16_t wide = wide_domain(w);
	uint32_t domain = sim_domain_find(w->xen, wide), seen[256] = {0}, ipi[200];
	struct sim_domain *d = domain_at(w->xen, domain);

	for (uint32_t i = 0; i < 200; i++)
		ipi[i] = bind_ipi(w, wide, i % 2);
	atomic_fetch_or(&d->info.mask[0], 1ULL << ipi[10]);
	for (uint32_t i = 0; i < 200; i += 10)
		assert_int_equal(send_port(w, wide, ipi[i]), 0);
	assert_int_equal(send_port(w, wide, ipi[151]), 0);
	guest_upcall(w->xen, domain, 1, count_and_leave, seen);
	assert_int_equal(seen[ipi[151]], 1);
	guest_upcall(w->xen, domain, 0, count_and_leave, seen);
	for (uint32_t i = 0; i < 200; i += 10)
		assert_int_equal(seen[ipi[i]], i == 10 ? 0 : ipi[i] / 64 == ipi[151] / 64 ? 2 : 1);
	guest_upcall(w->xen, domain, 0, count_and_leave, seen); /* no upcall since */
	assert_int_equal(seen[ipi[0]], 1);
}

static void test_bad_addresses(void **state)
{
	struct world *w = *state;
	void *hole = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	evtchn_alloc_unbound_t op = {.dom = DOMID_SELF, .remote_dom = 0};

	assert_int_equal(evtchn_op(w->xen, w->a, EVTCHNOP_alloc_unbound, NULL), -EFAULT);
	assert_int_equal(evtchn_op(w->xen, w->a, EVTCHNOP_send, hole), -EFAULT);
	assert_int_equal(evtchn_op(w->xen, w->a, 77, &op), -ENOSYS);
	assert_int_equal(evtchn_op(w->xen, w->a, -1, &op), -ENOSYS);
	/* Half of the argument in the hole. */
	assert_int_equal(mprotect(hole, 4096, PROT_READ | PROT_WRITE), 0);
	assert_int_equal(
		evtchn_op(w->xen, w->a, EVTCHNOP_alloc_unbound, (char *)hole + 4094), -EFAULT);
	(void)munmap(hole, 8192);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SIM_TEST(test_alloc),
		SIM_TEST(test_dying),
		SIM_TEST(test_ports_run_out),
		SIM_TEST(test_status_and_unbinding),
		SIM_TEST(test_virq),
		SIM_TEST(test_bits),
		SIM_TEST(test_to_itself),
		SIM_TEST(test_ipi),
		SIM_TEST(test_vcpu),
		SIM_TEST(test_pirq),
		SIM_TEST(test_virqs_of_vcpus),
		SIM_TEST(test_timer),
		SIM_TEST(test_dom_exc),
		SIM_TEST(test_reset),
		SIM_TEST(test_reset_raced),
		SIM_TEST(test_xen_port),
		SIM_TEST(test_priority_2l),
		SIM_TEST(test_limits),
		SIM_TEST(test_scan),
		SIM_TEST(test_bad_addresses),
	};

	return cmocka_run_group_tests_name("sim-evtchn", tests, NULL, NULL);
}
