/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which locks are taken: what is on the path of data takes that of one domain alone, also when what
 * it found without a lock changes before it has it; and many threads at once, each in its own
 * domain, while another one takes all the locks.
 */
#include "tests/unit/sim/support.h"

#include <pthread.h>
#include <string.h>

#include "base/macro.h"
#include "hv/argo-ring.h"
#include "hv/sim/guest/port.h"
#include "hv/sim/memory/slot.h"

/* ---- one lock ------------------------------------------------------------------------- */

struct seen {
	struct world *w;
	uint32_t n_steps;
	uint64_t held; /* of the guards: bit 63 is the lock for all, the others the domains' */
	void (*between)(struct seen *seen); /* called once, before the lock is taken */
	struct hv *third;
	uint32_t port, new_port;
};

static void on_step(void *arg)
{
	struct seen *seen = arg;
	struct sim_segment *seg = seen->w->xen->seg;

	seen->n_steps++;
	if (seen->between && seen->n_steps == 1)
		seen->between(seen);
	if (atomic_load(&seg->guards[SIM_GUARD_ALL].word))
		seen->held |= 1ULL << 63;
	for (uint32_t i = 0; i < 63; i++)
		if (atomic_load(&seg->guards[SIM_GUARD_DOMAIN(i)].word))
			seen->held |= 1ULL << i;
}

static void watch_begin(struct seen *seen, struct world *w, struct xen *xen)
{
	*seen = (struct seen){.w = w};
	xen->step_arg = seen;
	xen->step = on_step;
}

static uint64_t only(const struct world *w, uint16_t domid)
{
	return 1ULL << sim_domain_find(w->xen, domid);
}

static void test_one_lock(void **state)
{
	struct world *w = *state;
	struct xen *a = sim_hv_xen(w->hv_a), *b = sim_hv_xen(w->hv_b);
	uint32_t port_a, port_b;
	struct iovec iov = {.iov_base = (uint8_t[100]){0}, .iov_len = 100};
	struct hv_ring *inbox, *ring;
	struct seen seen;

	assert_int_equal(guest_port_alloc(b, w->a, &port_b), 0);
	assert_int_equal(guest_port_bind(a, w->b, port_b, &port_a), 0);
	assert_int_equal(w->hv_b->ops->argo_register(w->hv_b, 5, w->a, 256, &inbox), 0);
	assert_int_equal(w->hv_a->ops->argo_register(w->hv_a, 6, w->b, 256, &ring), 0);
	assert_int_equal(w->hv_a->ops->argo_peer(w->hv_a, ring, 5), 0);

	watch_begin(&seen, w, a);
	assert_int_equal(guest_port_send(a, port_a), 0);
	assert_int_equal(seen.held, only(w, w->b));
	watch_begin(&seen, w, a);
	assert_int_equal(evtchn_op(a, w->a, EVTCHNOP_send, &(evtchn_send_t){port_a}), 0);
	assert_int_equal(seen.held, only(w, w->b));
	watch_begin(&seen, w, b);
	assert_int_equal(guest_port_unmask(b, &port_b, 1), 0);
	assert_int_equal(seen.held, only(w, w->b));
	watch_begin(&seen, w, b);
	assert_int_equal(evtchn_op(b, w->b, EVTCHNOP_unmask, &(evtchn_unmask_t){port_b}), 0);
	assert_int_equal(seen.held, only(w, w->b));
	watch_begin(&seen, w, b);
	assert_int_equal(w->hv_b->ops->argo_watch(w->hv_b, inbox, true), 0);
	assert_int_equal(seen.held, only(w, w->b));
	watch_begin(&seen, w, a);
	assert_int_equal(w->hv_a->ops->argo_sendv(w->hv_a, ring, &iov, 1, 0), 100);
	assert_int_equal(seen.held, only(w, w->b));

	/* No room: who waits is noted in both domains. */
	watch_begin(&seen, w, a);
	assert_int_equal(w->hv_a->ops->argo_sendv(w->hv_a, ring, &iov, 1, 0), -EAGAIN);
	assert_int_equal(seen.held, 1ULL << 63 | 1U | only(w, w->a) | only(w, w->b));
	a->step = b->step = NULL;
	assert_int_equal(w->hv_a->ops->argo_unregister(w->hv_a, ring), 0);
	assert_int_equal(w->hv_b->ops->argo_unregister(w->hv_b, inbox), 0);
}

/* The port leads to Domain-0 when the lock is taken, and to b when it was looked for. */
static void rebind(struct seen *seen)
{
	struct xen *a = sim_hv_xen(seen->w->hv_a), *third = sim_hv_xen(seen->third);
	void (*step)(void *) = a->step;
	uint32_t port;

	a->step = NULL;
	assert_int_equal(guest_port_close(a, seen->port), 0);
	assert_int_equal(guest_port_alloc(third, seen->w->a, &seen->new_port), 0);
	assert_int_equal(guest_port_bind(a, 0, seen->new_port, &port), 0);
	assert_int_equal(port, seen->port);
	a->step = step;
}

static void test_rebound(void **state)
{
	struct world *w = *state;
	struct xen *a = sim_hv_xen(w->hv_a);
	struct hv_event event;
	uint32_t port_a, port_b;
	struct seen seen;
	struct hv *third;

	assert_int_equal(sim_hv_open(w->sim, 0, &third), 0);
	assert_int_equal(guest_port_alloc(sim_hv_xen(w->hv_b), w->a, &port_b), 0);
	assert_int_equal(guest_port_bind(a, w->b, port_b, &port_a), 0);
	watch_begin(&seen, w, a);
	seen.between = rebind;
	seen.third = third;
	seen.port = port_a;
	assert_int_equal(guest_port_send(a, port_a), 0);
	assert_int_equal(seen.held, only(w, 0));
	a->step = NULL;
	assert_int_equal(third->ops->poll_events(third, &event, 1), 1);
	assert_int_equal(event.port, seen.new_port);
	assert_int_equal(w->hv_b->ops->poll_events(w->hv_b, &event, 1), 0);
	hv_close(third);
}

static void destroy_b(struct seen *seen)
{
	assert_int_equal(sim_domain_destroy(seen->w->sim, seen->w->b), 0);
}

/* Its domid is another domain's now, with a ring, and its place a third one's. */
static void replace_b(struct seen *seen)
{
	struct world *w = seen->w;
	struct hv_ring *inbox;
	uint16_t domid;

	destroy_b(seen);
	assert_int_equal(
		sim_domain_create(w->sim, &(struct sim_domain_config){.name = "third"}, &domid), 0);
	assert_int_not_equal(domid, w->b);
	assert_int_equal(
		sim_domain_create(w->sim, &(struct sim_domain_config){.domid = w->b}, &domid), 0);
	assert_int_equal(sim_hv_open(w->sim, w->b, &seen->third), 0);
	assert_int_equal(seen->third->ops->argo_register(seen->third, 5, w->a, 256, &inbox), 0);
}

static int sendv_while(struct world *w, struct seen *seen, void (*between)(struct seen *seen))
{
	struct xen *a = sim_hv_xen(w->hv_a);
	struct iovec iov = {.iov_base = (uint8_t[100]){0}, .iov_len = 100};
	struct hv_ring *inbox, *ring;
	int r;

	assert_int_equal(w->hv_b->ops->argo_register(w->hv_b, 5, w->a, 256, &inbox), 0);
	assert_int_equal(w->hv_a->ops->argo_register(w->hv_a, 6, w->b, 256, &ring), 0);
	assert_int_equal(w->hv_a->ops->argo_peer(w->hv_a, ring, 5), 0);
	watch_begin(seen, w, a);
	seen->between = between;
	r = w->hv_a->ops->argo_sendv(w->hv_a, ring, &iov, 1, 0);
	a->step = NULL;
	assert_int_equal(sim_check(w->sim, stderr), 0);
	return r;
}

static void test_gone(void **state)
{
	struct seen seen;

	assert_int_equal(sendv_while(*state, &seen, destroy_b), -ESRCH);
}

static void test_replaced(void **state)
{
	struct world *w = *state;
	uint64_t before = only(w, w->b);
	struct seen seen;

	assert_int_equal(sendv_while(w, &seen, replace_b), 100);
	assert_int_not_equal(only(w, w->b), before);
	assert_true(seen.held & 1ULL << 63 || seen.held == only(w, w->b));
	hv_close(seen.third);
}

/* The sender's own slot dies in the authority's eyes: it must not touch a thing. */
static void kill_slot(struct seen *seen)
{
	struct xen *a = sim_hv_xen(seen->w->hv_a);

	atomic_store(&slot_at(a, a->slot)->state, SIM_SLOT_DEAD);
}

static void test_dead(void **state)
{
	struct world *w = *state;
	struct xen *a = sim_hv_xen(w->hv_a);
	struct iovec iov = {.iov_base = (uint8_t[100]){0}, .iov_len = 100};
	struct hv_ring *inbox, *ring;
	uint32_t port_a, port_b;
	struct seen seen;

	assert_int_equal(w->hv_b->ops->argo_register(w->hv_b, 5, w->a, 256, &inbox), 0);
	assert_int_equal(w->hv_a->ops->argo_register(w->hv_a, 6, w->b, 256, &ring), 0);
	assert_int_equal(w->hv_a->ops->argo_peer(w->hv_a, ring, 5), 0);
	assert_int_equal(guest_port_alloc(sim_hv_xen(w->hv_b), w->a, &port_b), 0);
	assert_int_equal(guest_port_bind(a, w->b, port_b, &port_a), 0);
	for (int i = 0; i < 4; i++) {
		watch_begin(&seen, w, a);
		seen.between = kill_slot;
		if (i == 0)
			assert_int_equal(guest_port_send(a, port_a), -ENODEV);
		else if (i == 1)
			assert_int_equal(guest_port_unmask(a, &port_a, 1), -ENODEV);
		else if (i == 2)
			assert_int_equal(w->hv_a->ops->argo_watch(w->hv_a, ring, true), -ENODEV);
		else
			assert_int_equal(
				w->hv_a->ops->argo_sendv(w->hv_a, ring, &iov, 1, 0), -ENODEV);
		a->step = NULL;
		atomic_store(&slot_at(a, a->slot)->state, SIM_SLOT_LIVE);
	}
	assert_int_equal(atomic_load(argo_ring_tx(inbox)), 0);
	assert_int_equal(w->hv_b->ops->poll_events(w->hv_b, &(struct hv_event){0}, 1), 0);
}

/* ---- many threads --------------------------------------------------------------------- */

#define N_THREADS 4U
#define ROUNDS	  3000U

struct member {
	struct sim *sim;
	uint16_t domid, next_domid;
	struct hv *hv;
	struct hv_ring *in, *out;
	uint32_t port, next_port;
	atomic_uint *n_done;
	struct member *next;
	pthread_t thread;
};

static void take(struct member *m, uint32_t *rx, uint32_t *ret_sequence)
{
	struct argo_message message;
	uint32_t got;

	while (argo_ring_peek(m->in, *rx, &message) == 1) {
		argo_ring_copy(m->in, message.data_off, (uint8_t *)&got, sizeof(got));
		assert(message.len == 4 + got % 100 && got == *ret_sequence);
		(*ret_sequence)++;
		*rx = argo_ring_advance(
			m->in, *rx, round_up16(message.len + ARGO_MESSAGE_HEADER_LEN));
		argo_ring_release(m->in, *rx);
		assert(m->hv->ops->argo_consumed(m->hv) == 0);
	}
}

/* Each sends to the next, and takes what the one before has sent: every message, in order. */
static void *member_run(void *arg)
{
	struct member *m = arg;
	uint32_t sent = 0, taken = 0, rx = 0;
	struct hv_event events[4];
	uint8_t payload[104] = {0};

	while (sent < ROUNDS || taken < ROUNDS) {
		struct iovec iov = {.iov_base = payload, .iov_len = 4 + sent % 100};
		int r = -EAGAIN, n;

		memcpy(payload, &sent, sizeof(sent));
		if (sent < ROUNDS)
			r = m->hv->ops->argo_sendv(m->hv, m->out, &iov, 1, 0);
		assert(r == -EAGAIN || r == (int)iov.iov_len);
		if (r > 0) {
			sent++;
			assert(m->hv->ops->evtchn_send(m->hv, m->port) == 0);
		}
		take(m, &rx, &taken);
		(void)m->hv->ops->argo_watch(m->hv, m->in, sent & 1);
		n = m->hv->ops->poll_events(m->hv, events, ARRAY_SIZE(events));
		for (int i = 0; i < n; i++)
			if (events[i].type == HV_EVENT_PORT)
				assert(m->hv->ops->evtchn_unmask(m->hv, &events[i].port, 1) == 0);
	}
	atomic_fetch_add(m->n_done, 1);
	return NULL;
}

static void members_make(struct world *w, struct member *members, atomic_uint *n_done)
{
	for (uint32_t i = 0; i < N_THREADS; i++) {
		struct member *m = &members[i];

		*m = (struct member){
			.sim = w->sim, .n_done = n_done, .next = &members[(i + 1) % N_THREADS]};
		assert_int_equal(
			sim_domain_create(w->sim, &(struct sim_domain_config){0}, &m->domid), 0);
		assert_int_equal(sim_hv_open(w->sim, m->domid, &m->hv), 0);
	}
	for (uint32_t i = 0; i < N_THREADS; i++) {
		struct member *m = &members[i], *from = &members[(i + N_THREADS - 1) % N_THREADS];

		assert_int_equal(m->hv->ops->argo_register(m->hv, 1, from->domid, 1024, &m->in), 0);
		assert_int_equal(
			m->hv->ops->argo_register(m->hv, 2, m->next->domid, 256, &m->out), 0);
		assert_int_equal(m->hv->ops->argo_peer(m->hv, m->out, 1), 0);
		assert_int_equal(
			m->hv->ops->evtchn_alloc_unbound(m->hv, from->domid, &m->next_port), 0);
	}
	for (uint32_t i = 0; i < N_THREADS; i++) {
		struct member *m = &members[i];

		assert_int_equal(m->hv->ops->evtchn_bind_interdomain(
					 m->hv, m->next->domid, m->next->next_port, &m->port),
			0);
	}
}

static void test_threads(void **state)
{
	struct world *w = *state;
	struct member members[N_THREADS];
	atomic_uint n_done = 0;
	struct scene_port {
		uint32_t port, peer;
	} p;
	uint32_t n = 0;

	members_make(w, members, &n_done);
	for (uint32_t i = 0; i < N_THREADS; i++)
		assert_int_equal(
			pthread_create(&members[i].thread, NULL, member_run, &members[i]), 0);
	for (; atomic_load(&n_done) < N_THREADS; n++) {
		struct hv_ring *ring;

		assert_int_equal(w->hv_b->ops->evtchn_alloc_unbound(w->hv_b, w->a, &p.peer), 0);
		assert_int_equal(
			w->hv_a->ops->evtchn_bind_interdomain(w->hv_a, w->b, p.peer, &p.port), 0);
		assert_int_equal(w->hv_a->ops->argo_register(w->hv_a, 9, w->b, 4096, &ring), 0);
		assert_int_equal(w->hv_a->ops->argo_unregister(w->hv_a, ring), 0);
		assert_int_equal(w->hv_a->ops->evtchn_close(w->hv_a, p.port), 0);
		assert_int_equal(w->hv_b->ops->evtchn_close(w->hv_b, p.peer), 0);
		if (n % 64 == 0)
			assert_int_equal(sim_check(w->sim, stderr), 0);
	}
	for (uint32_t i = 0; i < N_THREADS; i++) {
		assert_int_equal(pthread_join(members[i].thread, NULL), 0);
		hv_close(members[i].hv);
	}
	print_message("%u messages, all locks taken %u times\n", N_THREADS * ROUNDS, n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SIM_TEST(test_one_lock),
		SIM_TEST(test_rebound),
		SIM_TEST(test_gone),
		SIM_TEST(test_replaced),
		SIM_TEST(test_dead),
		SIM_TEST(test_threads),
	};

	return cmocka_run_group_tests_name("sim-locks", tests, NULL, NULL);
}
