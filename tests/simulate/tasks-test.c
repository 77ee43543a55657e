/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Deterministic mode's tasks, and the events that come while they run: see hv/sim/testing/sim.h. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "hv/sim/testing/sim.h"

#define LATE_NS 5000U

struct pair {
	struct sim *sim;
	uint16_t a, b;
	struct hv *hv_a, *hv_b;
	uint32_t port_a, port_b;
	int n_events, n_seen; /* that the receiver got; polls that found nothing */
	uint64_t seen_ns;
	uint16_t destroyed;
	char *trace;
	size_t trace_len;
	FILE *out;
};

static void on_line(void *arg, const char *line)
{
	(void)fprintf(((struct pair *)arg)->out, "%s\n", line);
}

static void on_destroyed(void *arg, uint16_t domid)
{
	((struct pair *)arg)->destroyed = domid;
}

static uint64_t now_ns(const struct pair *p)
{
	return p->hv_a->ops->now_ns(p->hv_a);
}

static void drain(struct hv *hv)
{
	struct hv_event event;

	while (hv->ops->poll_events(hv, &event, 1) > 0)
		if (event.type == HV_EVENT_PORT)
			assert_int_equal(hv->ops->evtchn_unmask(hv, &event.port, 1), 0);
}

/* Two processes with an event channel between them; nothing is pending. */
static void pair_open(struct pair *p, struct sim_choices choices)
{
	*p = (struct pair){0};
	p->out = open_memstream(&p->trace, &p->trace_len);
	choices.trace = on_line;
	choices.trace_arg = p;
	choices.destroyed = on_destroyed;
	choices.destroyed_arg = p;
	assert_int_equal(sim_create(&p->sim), 0);
	assert_int_equal(sim_deterministic(p->sim, &choices), 0);
	assert_int_equal(
		sim_domain_create(p->sim, &(struct sim_domain_config){.name = "a"}, &p->a), 0);
	assert_int_equal(
		sim_domain_create(p->sim, &(struct sim_domain_config){.name = "b"}, &p->b), 0);
	assert_int_equal(sim_hv_open(p->sim, p->a, &p->hv_a), 0);
	assert_int_equal(sim_hv_open(p->sim, p->b, &p->hv_b), 0);
	assert_int_equal(p->hv_a->ops->evtchn_alloc_unbound(p->hv_a, p->b, &p->port_a), 0);
	assert_int_equal(
		p->hv_b->ops->evtchn_bind_interdomain(p->hv_b, p->a, p->port_a, &p->port_b), 0);
}

static void pair_close(struct pair *p)
{
	assert_int_equal(sim_check(p->sim, stderr), 0);
	hv_close(p->hv_a);
	hv_close(p->hv_b);
	sim_free(p->sim);
	(void)fclose(p->out);
	free(p->trace);
}

static uint64_t steps_of(const struct pair *p)
{
	struct sim_stats stats;

	sim_get_stats(p->sim, &stats);
	return stats.steps;
}

/* ---- events --------------------------------------------------------------------------------- */

static void nap(struct pair *p, uint64_t ns)
{
	assert_int_equal(sim_task_poll(p->sim, NULL, 0, now_ns(p) + ns), 0);
}

static void send_three(void *arg)
{
	struct pair *p = arg;

	nap(p, 100 * LATE_NS); /* the event of binding is over */
	for (int i = 0; i < 3; i++)
		assert_int_equal(p->hv_a->ops->evtchn_send(p->hv_a, p->port_a), 0);
}

static void receive(void *arg)
{
	struct pair *p = arg;
	struct pollfd pollfd = {.fd = p->hv_b->ops->fd(p->hv_b), .events = POLLIN};
	struct hv_event event;
	uint64_t began;

	nap(p, 50 * LATE_NS);
	drain(p->hv_b);
	began = now_ns(p);
	assert_int_equal(sim_task_poll(p->sim, &pollfd, 1, UINT64_MAX), 1);
	p->seen_ns = now_ns(p) - began;
	for (p->n_events = 0; p->hv_b->ops->poll_events(p->hv_b, &event, 1) > 0; p->n_events++)
		assert_int_equal(event.port, p->port_b);
}

static void test_event_in_time(void **state)
{
	struct pair p;

	pair_open(&p, (struct sim_choices){.seed = 1});
	assert_int_equal(sim_task_start(p.sim, p.b, "receive", receive, &p, NULL), 0);
	assert_int_equal(sim_task_start(p.sim, p.a, "send", send_three, &p, NULL), 0);
	assert_int_equal(sim_run(p.sim, 1000), 0);
	assert_int_equal(p.n_events, 1);
	assert_int_equal(p.seen_ns, 50 * LATE_NS);
	pair_close(&p);
}

/* Three sends, one event, some time after them. */
static void test_event_late(void **state)
{
	struct sim_stats stats;
	struct pair p;

	pair_open(&p, (struct sim_choices){.seed = 1, .late_one_in = 1, .late_ns = LATE_NS});
	assert_int_equal(sim_task_start(p.sim, p.b, "receive", receive, &p, NULL), 0);
	assert_int_equal(sim_task_start(p.sim, p.a, "send", send_three, &p, NULL), 0);
	assert_int_equal(sim_run(p.sim, 1000), 0);
	assert_int_equal(p.n_events, 1);
	assert_in_range(p.seen_ns, 50 * LATE_NS + 1, 51 * LATE_NS);
	sim_get_stats(p.sim, &stats);
	assert_true(stats.late >= 2);
	pair_close(&p);
}

/* Nobody sends; sooner or later the port is pending all the same. */
static void test_event_spurious(void **state)
{
	struct sim_stats stats;
	struct pair p;
	int r;

	pair_open(&p, (struct sim_choices){.seed = 1, .step_ns = 1000, .spurious_one_in = 2});
	drain(p.hv_b);
	assert_int_equal(sim_task_start(p.sim, p.b, "receive", receive, &p, NULL), 0);
	/* Nothing is due: the steps go by with a task that has time. */
	for (r = -ETIME; r == -ETIME && steps_of(&p) < 1000 && !p.n_events;)
		r = sim_run(p.sim, 10);
	sim_get_stats(p.sim, &stats);
	assert_true(stats.spurious > 0);
	pair_close(&p);
}

/* A ring that only seemed full: the sender is told as if it had been. */
static void wait_for_room(void *arg)
{
	struct pair *p = arg;
	struct pollfd pollfd = {.fd = p->hv_a->ops->fd(p->hv_a), .events = POLLIN};
	struct hv_ring *ring_a, *ring_b;
	struct iovec iov = {.iov_base = (char[]){"x"}, .iov_len = 1};
	struct hv_event event;

	assert_int_equal(p->hv_a->ops->argo_register(p->hv_a, 0, p->b, 4096, &ring_a), 0);
	assert_int_equal(p->hv_b->ops->argo_register(p->hv_b, 0, p->a, 4096, &ring_b), 0);
	assert_int_equal(p->hv_a->ops->argo_peer(p->hv_a, ring_a, ring_b->aport), 0);
	drain(p->hv_a);
	assert_int_equal(p->hv_a->ops->argo_watch(p->hv_a, ring_a, true), 0);
	sim_set_fault(p->sim, SIM_FAULT_SENDV_EAGAIN, 1);
	assert_int_equal(p->hv_a->ops->argo_sendv(p->hv_a, ring_a, &iov, 1, 1), -EAGAIN);
	sim_set_fault(p->sim, SIM_FAULT_SENDV_EAGAIN, 0);
	do
		assert_int_equal(sim_task_poll(p->sim, &pollfd, 1, UINT64_MAX), 1);
	while (p->hv_a->ops->poll_events(p->hv_a, &event, 1) == 0);
	assert_int_equal(event.type, HV_EVENT_RING);
	assert_int_equal(p->hv_a->ops->argo_sendv(p->hv_a, ring_a, &iov, 1, 1), 1);
	p->n_seen = 1;
}

static void test_room_comes_later(void **state)
{
	struct pair p;

	pair_open(&p, (struct sim_choices){.seed = 1, .late_ns = LATE_NS});
	assert_int_equal(sim_task_start(p.sim, p.a, "send", wait_for_room, &p, NULL), 0);
	assert_int_equal(sim_run(p.sim, 1000), 0);
	assert_int_equal(p.n_seen, 1);
	pair_close(&p);
}

/* ---- tasks ---------------------------------------------------------------------------------- */

static int local;

struct counter {
	struct pair *p;
	int id, n;
};

static void count(void *arg)
{
	struct counter *c = arg;

	for (c->n = 0; c->n < 20; c->n++) {
		errno = local = c->id * 100 + c->n;
		sim_task_yield(c->p->sim);
		assert_int_equal(local, c->id * 100 + c->n);
		assert_int_equal(errno, c->id * 100 + c->n);
		sim_trace(c->p->sim, "%d", c->n);
	}
}

static char *trace_of(uint64_t seed)
{
	struct counter counters[3];
	struct pair p;
	char *trace;

	pair_open(&p, (struct sim_choices){.seed = seed, .step_ns = 100});
	assert_int_equal(sim_task_local(p.sim, &local, sizeof(local)), 0);
	for (int i = 0; i < 3; i++) {
		counters[i] = (struct counter){.p = &p, .id = i};
		assert_int_equal(
			sim_task_start(p.sim, i ? p.a : p.b, "count", count, &counters[i], NULL),
			0);
	}
	assert_int_equal(sim_run(p.sim, 30), -ETIME);
	assert_int_equal(steps_of(&p), 30);
	assert_int_equal(sim_run(p.sim, 1000), 0);
	assert_int_equal(steps_of(&p), 63);
	(void)fflush(p.out);
	trace = strdup(p.trace);
	pair_close(&p);
	return trace;
}

static void test_seed_decides_whose_turn(void **state)
{
	char *one = trace_of(1), *again = trace_of(1), *other = trace_of(2);

	assert_string_equal(one, again);
	assert_string_not_equal(one, other);
	free(one);
	free(again);
	free(other);
}

static void call_often(void *arg)
{
	struct pair *p = arg;

	for (int i = 0; i < 100; i++)
		assert_int_equal(p->hv_a->ops->evtchn_send(p->hv_a, p->port_a), 0);
}

/* Others may run within a call, if the seed says so. */
static void test_preemption(void **state)
{
	struct sim_stats stats;
	struct pair p;

	pair_open(&p, (struct sim_choices){.seed = 1, .preempt_one_in = 4});
	assert_int_equal(sim_task_start(p.sim, p.a, "call", call_often, &p, NULL), 0);
	assert_int_equal(sim_run(p.sim, 1000), 0);
	sim_get_stats(p.sim, &stats);
	assert_in_range(stats.preempted, 10, 50);
	assert_int_equal(stats.steps, stats.preempted + 1);
	pair_close(&p);
}

static void wait_for_ever(void *arg)
{
	struct pair *p = arg;
	struct pollfd pollfd = {.fd = p->hv_a->ops->fd(p->hv_a), .events = POLLIN};

	drain(p->hv_a);
	(void)sim_task_poll(p->sim, &pollfd, 1, UINT64_MAX);
	fail_msg("something came");
}

static void test_nothing_can_happen(void **state)
{
	struct sim_task *task;
	struct pair p;

	pair_open(&p, (struct sim_choices){.seed = 1});
	assert_int_equal(sim_task_start(p.sim, p.a, "wait", wait_for_ever, &p, &task), 0);
	assert_int_equal(sim_run(p.sim, 1000), -EDEADLK);
	sim_task_set_background(task);
	assert_int_equal(sim_run(p.sim, 1000), 0);
	sim_task_kill(p.sim, task);
	pair_close(&p);
}

static void yield_for_ever(void *arg)
{
	struct pair *p = arg;

	for (;;) {
		p->n_seen++;
		sim_task_yield(p->sim);
	}
}

/* Before that step, and its task does not go on. */
static void test_destroyed_at_a_step(void **state)
{
	struct sim_stats stats;
	struct pair p;

	pair_open(&p, (struct sim_choices){.seed = 1});
	assert_int_equal(sim_task_start(p.sim, p.b, "yield", yield_for_ever, &p, NULL), 0);
	assert_int_equal(sim_destroy_at(p.sim, p.b, 10), 0);
	assert_int_equal(sim_run(p.sim, 1000), 0);
	assert_int_equal(p.n_seen, 9);
	assert_int_equal(p.destroyed, p.b);
	assert_int_equal(sim_domain_by_name(p.sim, "b"), UINT16_MAX);
	sim_get_stats(p.sim, &stats);
	assert_int_equal(stats.destroyed, 1);
	assert_int_equal(p.hv_a->ops->evtchn_send(p.hv_a, p.port_a), 0); /* unbound: swallowed */
	pair_close(&p);
}

static void test_paused_does_not_run(void **state)
{
	struct sim_task *task;
	struct pair p;

	pair_open(&p, (struct sim_choices){.seed = 1});
	assert_int_equal(sim_task_start(p.sim, p.b, "yield", yield_for_ever, &p, &task), 0);
	assert_int_equal(sim_domain_pause(p.sim, p.b, true), 0);
	assert_int_equal(sim_run(p.sim, 1000), -EDEADLK);
	assert_int_equal(p.n_seen, 0);
	assert_int_equal(sim_domain_pause(p.sim, p.b, false), 0);
	assert_int_equal(sim_run(p.sim, 10), -ETIME);
	assert_int_equal(p.n_seen, 10);
	sim_task_kill(p.sim, task);
	pair_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_event_in_time),
		cmocka_unit_test(test_event_late),
		cmocka_unit_test(test_event_spurious),
		cmocka_unit_test(test_room_comes_later),
		cmocka_unit_test(test_seed_decides_whose_turn),
		cmocka_unit_test(test_preemption),
		cmocka_unit_test(test_nothing_can_happen),
		cmocka_unit_test(test_destroyed_at_a_step),
		cmocka_unit_test(test_paused_does_not_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
