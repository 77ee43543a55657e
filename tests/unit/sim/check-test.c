/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The invariant checker finds faults: without this, no other test's last line says a thing. */
#include "tests/unit/sim/support.h"

#include "base/macro.h"

#include "hv/sim/guest/grant.h"
#include "hv/sim/guest/port.h"
#include "hv/sim/guest/ring.h"

struct objects {
	struct sim_domain *a, *b;
	uint32_t port, ipi, pirq, ring, share, map, ref, page;
};

static struct objects make(struct world *w)
{
	struct xen *xa = sim_hv_xen(w->hv_a), *xb = sim_hv_xen(w->hv_b);
	struct objects o = {.a = domain_at(w->xen, sim_domain_find(w->xen, w->a)),
		.b = domain_at(w->xen, sim_domain_find(w->xen, w->b))};
	evtchn_bind_ipi_t ipi = {0};
	evtchn_bind_pirq_t pirq = {.pirq = 9};
	uint32_t remote, aport, page;

	assert_int_equal(guest_port_alloc(xb, w->a, &remote), 0);
	assert_int_equal(guest_port_bind(xa, w->b, remote, &o.port), 0);
	assert_int_equal(evtchn_op(xa, w->a, EVTCHNOP_bind_ipi, &ipi), 0);
	assert_int_equal(sim_pirq_assign(xa, w->a, 9), 0);
	assert_int_equal(evtchn_op(xa, w->a, EVTCHNOP_bind_pirq, &pirq), 0);
	o.ipi = ipi.port;
	o.pirq = pirq.port;
	assert_int_equal(guest_ring_register(xa, 0, w->b, 1024, &o.ring, &aport, &page), 0);
	assert_int_equal(guest_share(xa, w->b, 1, &(struct hv_unmap_notify){0, o.port}, &o.ref,
				 &o.page, &o.share),
		0);
	assert_int_equal(guest_map(xb, w->a, &o.ref, 1, true, NULL, &page, &o.map), 0);
	assert_int_equal(sim_check(w->sim, stderr), 0);
	return o;
}

static unsigned int n_planted;

#define PLANT(p, wrong)                                                                            \
	do {                                                                                       \
		__typeof__(*(p) + 0) right = *(p);                                                 \
		*(p) = (wrong);                                                                    \
		if (sim_check(w->sim, NULL) == 0)                                                  \
			fail_msg("not found: %s = %s", #p, #wrong);                                \
		n_planted++;                                                                       \
		*(p) = right;                                                                      \
		assert_int_equal(sim_check(w->sim, stderr), 0);                                    \
	} while (0)

static void test_planted(void **state)
{
	struct world *w = *state;
	struct sim_segment *seg = w->xen->seg;
	struct objects o = make(w);

	PLANT(&o.a->ports[o.port].state, SIM_PORT_FREE);
	PLANT(&o.a->ports[o.port].state, SIM_PORT_UNBOUND);
	PLANT(&o.a->ports[o.port].remote_port, 77);
	PLANT(&o.a->ports[o.port].owner, 200);
	PLANT(&o.a->ports[o.port].n_notify, 0);
	PLANT(&o.a->n_ports, 1);
	PLANT(&o.a->ports[o.port].vcpu, 1);
	PLANT(&o.a->ports[o.port].xen_consumer, 1);
	PLANT(&o.a->ports[77].state, SIM_PORT_IPI);
	PLANT(&o.a->ports[2000].state, SIM_PORT_IPI);
	PLANT(&o.a->ports[o.ipi].state, 9);
	PLANT(&o.a->ports[o.pirq].remote_port, SIM_MAX_PIRQS);
	PLANT(&o.a->pirqs[9].port, 0);
	PLANT(&o.a->pirqs[9].flags, 0);
	PLANT(&o.a->pirqs[10].port, o.port);
	PLANT(&o.a->n_xen_ports, 1);
	PLANT(&o.a->n_vcpus, 0);
	PLANT(&o.a->vcpus[0].virq_port[VIRQ_ARGO], 0);
	PLANT(&o.a->vcpus[0].virq_port[VIRQ_TIMER], o.port);
	PLANT(&o.a->rings[o.ring].tx_ptr, 1024);
	PLANT(&o.a->rings[o.ring].tx_ptr, 8);
	PLANT(&o.a->rings[o.ring].partner, 99);
	PLANT(&o.a->rings[o.ring].aport, 99);
	PLANT(&o.a->rings[o.ring].owner, 200);
	PLANT(&o.a->rings[o.ring].n_waiters, 1);
	PLANT(&o.a->rings[o.ring].first_page, 1000);
	PLANT(&o.a->rings[o.ring].len, 8192);
	PLANT(&o.a->rings[o.ring].len, 1016);
	PLANT(&o.a->rings[o.ring].n_pages, 0);
	PLANT(&o.a->rings[o.ring].used, 0);
	PLANT(&o.a->n_waiting, 1);
	PLANT(&o.a->n_argo, 0);
	PLANT(&o.a->ring_watch[1], 1ULL << 63);
	PLANT(&o.a->n_shared, 0);
	PLANT(&o.a->n_pinned, 0);
	PLANT(&o.a->active[o.ref].n_writers, 0);
	PLANT(&o.a->active[o.ref].n_readers, 1);
	PLANT(&o.a->grants[o.ref], 0);
	PLANT(&seg->pages[o.page], 0);
	PLANT(&seg->pages[60000], SIM_PAGE(63, SIM_PAGE_RAM, 0, 0));
	PLANT(&seg->shares[o.share].owner, 200);
	PLANT(&seg->shares[o.share].notify.page, 0);
	PLANT(&seg->shares[o.share].first_page, 60000);
	PLANT(&seg->shares[o.share].n_pages, 2);
	PLANT(&seg->maps[o.map].n_pages, 2);
	PLANT(&seg->maps[o.map].first_track, 0);
	PLANT(&seg->maps[o.map].first_track, 1U << 31);
	PLANT(&seg->free_share, 0);
	PLANT(&seg->free_map, 0);
	PLANT(&seg->free_track, 0);
	PLANT(&seg->domain_index[w->a], 0);
	PLANT(&seg->domain_index[500], 1);
	PLANT(&seg->domain_index[500], 60);
	PLANT(&seg->guards[SIM_GUARD_ALL].committed, 1);
	PLANT(&seg->guards[SIM_GUARD_ALL].n_redo, 1);
	PLANT(&seg->guards[SIM_GUARD_DOMAIN(0)].n_undo, 1);
	PLANT(&seg->guards[SIM_GUARD_DOMAIN(SIM_MAX_DOMAINS - 1)].n_redo, 1);
	PLANT(&seg->guards[SIM_GUARD_DOMAIN(SIM_MAX_DOMAINS - 1)].word, 1);
	PLANT(&seg->n_domains, 2);
	PLANT(&seg->corrupt, 1);
	print_message("%u planted corruptions found\n", n_planted);
}

int main(void)
{
	const struct CMUnitTest tests[] = {SIM_TEST(test_planted)};

	return cmocka_run_group_tests_name("sim-check", tests, NULL, NULL);
}
