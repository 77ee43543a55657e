/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A process that dies at any step of any operation, holding a lock: the next owner finds a whole
 * state, either as before the operation or as after it. Each operation is cut short at its 1st,
 * 2nd, 3rd... step until it goes through; a step is each lock (before it is taken or given back),
 * each record of the journal, each state change behind it, the commit, each thing published, and
 * each thing undone. So is the recovery of what is left.
 */
#include "tests/unit/sim/support.h"

#include <string.h>

#include "base/macro.h"
#include "hv/argo-ring.h"
#include "hv/sim/guest/grant.h"
#include "hv/sim/guest/port.h"
#include "hv/sim/guest/release.h"
#include "hv/sim/guest/ring.h"
#include "hv/sim/memory/slot.h"

#define INBOX 40U /* aport */

/* The objects of an operation; made afresh for each cut. */
struct scene {
	struct world *w;
	struct hv *victim; /* of domain a */
	struct xen *xen;   /* the victim's */
	uint32_t port, peer_port, ring, ring_aport, ring_page, share, refs[8], map, map_pages[8];
	struct hv_ring *inbox; /* b's, for a */
};

struct operation {
	const char *name;
	void (*run)(struct scene *s);
};

/* Everything that an operation needs, so that its cuts meet full tables. */
static void scene_make(struct world *w, struct scene *s)
{
	struct xen *b = sim_hv_xen(w->hv_b);
	uint32_t first;

	*s = (struct scene){.w = w};
	assert_int_equal(sim_hv_open(w->sim, w->a, &s->victim), 0);
	s->xen = sim_hv_xen(s->victim);
	assert_int_equal(guest_port_alloc(b, w->a, &s->peer_port), 0);
	assert_int_equal(guest_port_bind(s->xen, w->b, s->peer_port, &s->port), 0);
	assert_int_equal(
		guest_ring_register(s->xen, 0, w->b, 4096, &s->ring, &s->ring_aport, &s->ring_page),
		0);
	assert_int_equal(guest_share(s->xen, w->b, 1, &(struct hv_unmap_notify){5, s->port},
				 s->refs, &first, &s->share),
		0);
	*((uint8_t *)page_address(s->xen, first) + 5) = 1;
	assert_int_equal(w->hv_b->ops->argo_register(w->hv_b, INBOX, w->a, 256, &s->inbox), 0);
	assert_int_equal(w->hv_b->ops->argo_watch(w->hv_b, s->inbox, true), 0);
}

static void scene_end(struct scene *s)
{
	assert_int_equal(guest_port_close(sim_hv_xen(s->w->hv_b), s->peer_port), 0);
	assert_int_equal(s->w->hv_b->ops->argo_unregister(s->w->hv_b, s->inbox), 0);
}

static void run_alloc(struct scene *s)
{
	(void)guest_port_alloc(s->xen, s->w->b, &s->port);
}

static void run_bind(struct scene *s)
{
	uint32_t port = 0, mine = 0;

	(void)guest_port_alloc(sim_hv_xen(s->w->hv_b), s->w->a, &port);
	(void)guest_port_bind(s->xen, s->w->b, port, &mine);
}

static void run_close(struct scene *s)
{
	(void)guest_port_close(s->xen, s->port);
}

static void run_send(struct scene *s)
{
	(void)guest_port_send(s->xen, s->port);
}

static void run_unmask(struct scene *s)
{
	(void)guest_port_unmask(s->xen, &s->port, 1);
}

/* Every kind of port that only a hypercall makes, and its end. */
static void run_hypercalls(struct scene *s)
{
	evtchn_bind_ipi_t ipi = {0};
	evtchn_bind_virq_t virq = {.virq = VIRQ_TIMER};
	evtchn_bind_pirq_t pirq = {.pirq = 3};
	evtchn_bind_vcpu_t vcpu = {0};

	(void)sim_pirq_assign(s->xen, s->w->a, 3);
	(void)evtchn_op(s->xen, s->w->a, EVTCHNOP_bind_ipi, &ipi);
	(void)evtchn_op(s->xen, s->w->a, EVTCHNOP_bind_virq, &virq);
	(void)evtchn_op(s->xen, s->w->a, EVTCHNOP_bind_pirq, &pirq);
	vcpu.port = pirq.port;
	(void)evtchn_op(s->xen, s->w->a, EVTCHNOP_bind_vcpu, &vcpu);
	(void)sim_timer_set(s->xen, s->w->a, 0, 1);
	(void)sim_pirq_raise(s->xen, 3);
	(void)evtchn_op(s->xen, s->w->a, EVTCHNOP_close, &(evtchn_close_t){pirq.port});
	(void)evtchn_op(s->xen, s->w->a, EVTCHNOP_close, &(evtchn_close_t){virq.port});
	(void)evtchn_op(s->xen, s->w->a, EVTCHNOP_close, &(evtchn_close_t){ipi.port});
}

static void run_register(struct scene *s)
{
	uint32_t index, aport, page;

	(void)guest_ring_register(s->xen, 77, s->w->b, 70000 / 16 * 16, &index, &aport, &page);
}

static void run_unregister(struct scene *s)
{
	(void)guest_ring_unregister(s->xen, s->ring, s->ring_page, 2);
}

static void run_watch(struct scene *s)
{
	(void)guest_ring_watch(s->xen, s->ring, true);
}

static int send_to_inbox(struct scene *s)
{
	static uint8_t payload[100];
	xen_argo_send_addr_t addr = {.src = {.aport = s->ring_aport, .domain_id = s->w->a},
		.dst = {.aport = INBOX, .domain_id = s->w->b}};
	xen_argo_iov_t iov = {.iov_hnd = payload, .iov_len = sizeof(payload)};

	return guest_ring_send(s->xen, s->ring, &addr, &iov, 1, 3);
}

static void run_sendv(struct scene *s)
{
	(void)send_to_inbox(s);
}

/* The second finds no room, and waits for it; the receiver gives some. */
static void run_sendv_full(struct scene *s)
{
	(void)send_to_inbox(s);
	(void)send_to_inbox(s);
	(void)guest_ring_watch(s->xen, s->ring, true);
	argo_ring_release(s->inbox, atomic_load(argo_ring_tx(s->inbox)));
	(void)argo_op(s->xen, s->w->b, XEN_ARGO_OP_notify, NULL, NULL, 0, 0);
	(void)send_to_inbox(s);
}

static void run_share(struct scene *s)
{
	uint32_t first, share;

	(void)guest_share(s->xen, s->w->b, 8, NULL, s->refs, &first, &share);
}

static void run_unshare(struct scene *s)
{
	guest_unshare(s->xen, s->share);
}

/* Of itself: both halves belong to the victim. */
static void run_map(struct scene *s)
{
	uint32_t first, share, map, refs[4], pages[4];

	(void)guest_share(s->xen, DOMID_SELF, 4, NULL, refs, &first, &share);
	(void)guest_map(s->xen, DOMID_SELF, refs, 4, true, NULL, pages, &map);
	guest_unshare(s->xen, share);
	guest_unmap(s->xen, map);
}

static void run_release(struct scene *s)
{
	guest_release(s->xen, s->xen->slot);
}

static const struct operation operations[] = {
	{"alloc_unbound", run_alloc},
	{"bind_interdomain", run_bind},
	{"close", run_close},
	{"send", run_send},
	{"unmask", run_unmask},
	{"bind_ipi, bind_virq, bind_pirq, bind_vcpu, close", run_hypercalls},
	{"register", run_register},
	{"unregister", run_unregister},
	{"watch", run_watch},
	{"sendv", run_sendv},
	{"sendv without room", run_sendv_full},
	{"share", run_share},
	{"unshare", run_unshare},
	{"share, map, unshare, unmap", run_map},
	{"release", run_release},
};

/* True: cut at step n. */
static bool run_cut(struct scene *s, const struct operation *op, int n)
{
	struct cut cut = {.left = n};

	if (setjmp(cut.jump) == 0) {
		s->xen->step = cut_step;
		s->xen->step_arg = &cut;
		op->run(s);
		s->xen->step = NULL;
		return false;
	}
	return true;
}

static bool any_lock_is_held(const struct world *w)
{
	for (uint32_t i = 0; i < SIM_GUARDS; i++)
		if (atomic_load(&w->xen->seg->guards[i].word))
			return true;
	return false;
}

static void test_cut_anywhere(void **state)
{
	struct world *w = *state;
	struct sim_segment *seg = w->xen->seg;
	uint32_t n_cuts = 0;

	for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
		bool was_cut, held;
		struct scene s;
		int n = 1;

		do {
			uint32_t before = n_recovered(w);

			scene_make(w, &s);
			was_cut = run_cut(&s, &operations[i], n++);
			n_cuts += was_cut;
			held = any_lock_is_held(w);
			assert_true(was_cut || !held);
			sim_hv_kill(w->sim, s.victim);
			if (sim_check(w->sim, stderr) != 0)
				fail_msg("%s, cut at step %d", operations[i].name, n - 1);
			assert_int_equal(n_recovered(w), before + held);
			scene_end(&s);
			if (operations[i].run == run_bind) /* its port of b's */
				guest_release(sim_hv_xen(w->hv_b), sim_hv_xen(w->hv_b)->slot);
			assert_true(n < 1000);
		} while (was_cut);
		/* Something was there to cut, in what changes the state. */
		assert_true(n > 3 || operations[i].run == run_unmask);
	}
	print_message("%u cuts: %u with all locks (%u undone, %u redone), %u with one (%u, %u)\n",
		n_cuts, atomic_load(&seg->recovered_all.n_recovered),
		atomic_load(&seg->recovered_all.n_undone),
		atomic_load(&seg->recovered_all.n_redone),
		atomic_load(&seg->recovered_domain.n_recovered),
		atomic_load(&seg->recovered_domain.n_undone),
		atomic_load(&seg->recovered_domain.n_redone));
	assert_true(atomic_load(&seg->recovered_all.n_recovered) > 100);
	assert_true(atomic_load(&seg->recovered_all.n_undone) > 50);
	assert_true(atomic_load(&seg->recovered_all.n_redone) > 5);
	assert_true(atomic_load(&seg->recovered_domain.n_recovered) > 10);
	assert_true(atomic_load(&seg->recovered_domain.n_undone) > 2);
	assert_true(atomic_load(&seg->recovered_domain.n_redone) > 2);
}

/* The process that recovers dies, too, at any step; a third process of the same domain goes on. */
static void test_cut_recovery(void **state)
{
	static const struct operation twice[] = {
		{"send", run_send}, {"sendv", run_sendv}, {"close", run_close}};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(twice); i++) {
		bool was_cut = true, again, held;

		for (int n = 1; was_cut; n++) {
			again = true;
			for (int m = 1; again; m++) {
				struct scene s, second;
				uint32_t before = n_recovered(w);

				scene_make(w, &s);
				second = (struct scene){.w = w};
				assert_int_equal(sim_hv_open(w->sim, w->a, &second.victim), 0);
				second.xen = sim_hv_xen(second.victim);
				was_cut = run_cut(&s, &twice[i], n);
				held = any_lock_is_held(w);
				if (was_cut)
					atomic_store(&slot_at(w->xen, s.xen->slot)->state,
						SIM_SLOT_DEAD);
				again = run_cut(
					&second, &(struct operation){"alloc", run_alloc}, m);
				if (again)
					atomic_store(&slot_at(w->xen, second.xen->slot)->state,
						SIM_SLOT_DEAD);
				if (sim_check(w->sim, stderr) != 0)
					fail_msg("%s, cut at step %d, its recovery at %d",
						twice[i].name, n, m);
				assert_int_equal(n_recovered(w), before + held + again);
				atomic_store(
					&slot_at(w->xen, second.xen->slot)->state, SIM_SLOT_LIVE);
				atomic_store(&slot_at(w->xen, s.xen->slot)->state, SIM_SLOT_LIVE);
				sim_hv_kill(w->sim, second.victim);
				sim_hv_kill(w->sim, s.victim);
				assert_int_equal(sim_check(w->sim, stderr), 0);
				scene_end(&s);
				assert_true(m < 100);
			}
			assert_true(n < 100);
		}
	}
}

/* sendv: the message is there as a whole, or not at all, and the ring works on. */
static void test_cut_sendv(void **state)
{
	struct world *w = *state;
	struct hv_ring *ring;
	volatile uint32_t rx = 0;
	volatile bool was_cut = true;
	volatile int whole = 0;

	assert_int_equal(w->hv_b->ops->argo_register(w->hv_b, 5, w->a, 65536, &ring), 0);
	for (int n = 1; was_cut; n++) {
		struct cut cut = {.left = n};
		xen_argo_send_addr_t addr = {.src = {.aport = 9, .domain_id = w->a},
			.dst = {.aport = 5, .domain_id = w->b}};
		uint8_t payload[100];
		xen_argo_iov_t iov = {.iov_hnd = payload, .iov_len = sizeof(payload)};
		struct argo_message m;
		struct hv *victim;
		struct xen *xen;
		int r;

		memset(payload, n, sizeof(payload));
		assert_int_equal(sim_hv_open(w->sim, w->a, &victim), 0);
		assert_int_equal(w->hv_b->ops->argo_watch(w->hv_b, ring, true), 0);
		xen = sim_hv_xen(victim);
		was_cut = setjmp(cut.jump) != 0;
		if (!was_cut) {
			xen->step = cut_step;
			xen->step_arg = &cut;
			assert_int_equal(guest_ring_send(xen, 100, &addr, &iov, 1, 3), 100);
			xen->step = NULL;
			was_cut = false;
		}
		sim_hv_kill(w->sim, victim);
		assert_int_equal(sim_check(w->sim, stderr), 0);
		r = argo_ring_peek(ring, rx, &m);
		assert_true(r == 0 || r == 1);
		if (r == 1) {
			struct hv_event event = {0};
			uint8_t got[100];

			whole++;
			assert_int_equal(m.len, sizeof(got));
			argo_ring_copy(ring, m.data_off, got, m.len);
			assert_memory_equal(got, payload, sizeof(got));
			rx = argo_ring_advance(ring, rx, round_up16(m.len + 16));
			argo_ring_release(ring, rx);
			/* Published by the dead or by the recovery, the wake-up is there. */
			assert_int_equal(w->hv_b->ops->poll_events(w->hv_b, &event, 1), 1);
			assert_int_equal(event.type, HV_EVENT_RING);
		}
		assert_true(n < 50);
	}
	assert_true(whole >= 3); /* after the commit, at each redo, and uncut */
	assert_int_equal(w->hv_b->ops->argo_unregister(w->hv_b, ring), 0);
}

/* An event whose sender died after the commit is not lost, whatever it had published. */
static void test_cut_event(void **state)
{
	struct world *w = *state;
	bool was_cut = true;
	int delivered = 0;

	for (int n = 1; was_cut; n++) {
		struct hv_event event, again;
		evtchn_status_t status = {.dom = DOMID_SELF};
		struct scene s;
		uint32_t redone = n_redone(w);
		int got;

		scene_make(w, &s);
		was_cut = run_cut(&s, &(struct operation){"send", run_send}, n);
		/* Another process of the victim's domain takes the lock: no authority needed. */
		if (was_cut)
			atomic_store(&slot_at(w->xen, s.xen->slot)->state, SIM_SLOT_DEAD);
		assert_int_equal(evtchn_op(w->xen, w->b, EVTCHNOP_status, &status), 0);
		got = w->hv_b->ops->poll_events(w->hv_b, &event, 1);
		/* On FIFO also once only: what was linked is not linked again by the recovery. */
		assert_int_equal(guest_port_unmask(sim_hv_xen(w->hv_b), &s.peer_port, 1), 0);
		if (domain_at(w->xen, sim_domain_find(w->xen, w->b))->fifo)
			assert_int_equal(w->hv_b->ops->poll_events(w->hv_b, &again, 1), 0);
		if (!was_cut || n_redone(w) > redone) {
			assert_int_equal(got, 1);
			assert_int_equal(event.port, s.peer_port);
			delivered++;
		}
		if (was_cut)
			atomic_store(&slot_at(w->xen, s.xen->slot)->state, SIM_SLOT_LIVE);
		sim_hv_kill(w->sim, s.victim);
		while (w->hv_b->ops->poll_events(w->hv_b, &event, 1) > 0)
			;
		scene_end(&s);
		assert_true(n < 50);
	}
	assert_true(delivered >= 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SIM_TEST(test_cut_anywhere),
		SIM_TEST(test_cut_recovery),
		SIM_TEST(test_cut_sendv),
		SIM_TEST(test_cut_event),
	};

	return cmocka_run_group_tests_name("sim-journal", tests, NULL, NULL);
}
