/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Event channels at the level of the hypercall: what hv.h cannot reach. */
#include "tests/unit/sim/support.h"

#include <string.h>
#include <sys/mman.h>

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

/* What a guest without the emulated kernel sees: Xen's pending and mask bits, and the selector. */
static void test_bits(void **state)
{
	struct world *w = *state;
	uint16_t bare = bare_domain(w);
	struct sim_domain *d = domain_at(w->xen, domain_find(w->xen, bare));
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
	struct sim_domain *d = domain_at(w->xen, domain_find(w->xen, bare));
	uint32_t port = alloc_unbound(w, bare, DOMID_SELF);
	evtchn_bind_interdomain_t bind = {.remote_dom = DOMID_SELF, .remote_port = port};

	assert_int_equal(evtchn_op(w->xen, bare, EVTCHNOP_bind_interdomain, &bind), 0);
	assert_int_equal(d->info.pending[0], 1ULL << bind.local_port);
	assert_int_equal(send_port(w, bare, bind.local_port), 0);
	assert_int_equal(d->info.pending[0], 1ULL << bind.local_port | 1ULL << port);
	assert_int_equal(send_port(w, bare, 63), -EINVAL);
	assert_int_equal(send_port(w, bare, 64), -EINVAL);
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
	assert_int_equal(evtchn_op(w->xen, w->a, EVTCHNOP_reset, &op), -ENOSYS);
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
		SIM_TEST(test_bad_addresses),
	};

	return cmocka_run_group_tests_name("sim-evtchn", tests, NULL, NULL);
}
