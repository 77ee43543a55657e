/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* msgd's loop, when the hypervisor fails in the middle of a turn. */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>

#include "base/macro.h"
#include "daemon/shell/server.h"
#include "hv/sim/testing/sim.h"
#include "tests/support/cmocka-all.h"

static struct hv_ops failing; /* of the server's handle */
static int error;	      /* of the call that fails */
static unsigned n_failed;

static int failure(void)
{
	n_failed++;
	return error;
}

static int failing_poll_events(struct hv *hv, struct hv_event *ret_events, size_t n)
{
	return failure();
}

static int failing_store_next(struct hv *hv, struct hv_record *ret_record)
{
	return failure();
}

static int failing_domain_list(struct hv *hv, struct hv_domain *ret_domains, size_t n)
{
	return failure();
}

static int failing_domain_tags(struct hv *hv, uint16_t domid, char ret_tags[HV_TAGS_MAX])
{
	return failure();
}

static void on_quiesced(void *arg)
{
}

static void on_noted(void *arg)
{
}

static void on_own_record_gone(void *arg, const char *key)
{
}

static const struct server_ops ops = {
	.quiesced = on_quiesced, .noted = on_noted, .own_record_gone = on_own_record_gone};

static void fail_poll_events(void)
{
	failing.poll_events = failing_poll_events;
}

static void fail_store_next(void)
{
	failing.store_next = failing_store_next;
}

static void fail_domain_list(void)
{
	failing.domain_list = failing_domain_list;
}

static void fail_domain_tags(void)
{
	failing.domain_tags = failing_domain_tags;
}

struct world {
	struct sim *sim;
	struct hv *guest;
	struct event_base *base;
	struct server *server;
};

/* With operations of ours beneath the server, once it has started. */
static void world_init(struct world *world)
{
	struct broker_limits limits;
	struct policy *policy;
	const char *reason;
	uint16_t domid;
	struct hv *hv;

	assert_int_equal(sim_create(&world->sim), 0);
	assert_int_equal(sim_hv_open(world->sim, 0, &hv), 0);
	assert_int_equal(
		sim_domain_create(world->sim, &(struct sim_domain_config){.name = "web"}, &domid),
		0);
	assert_int_equal(sim_hv_open(world->sim, domid, &world->guest), 0);
	world->base = event_base_new();
	broker_limits_default(&limits);
	assert_int_equal(policy_new(&policy), 0);
	assert_int_equal(
		server_new(world->base, hv, &limits, policy, &ops, NULL, &world->server, &reason),
		0);
	failing = *hv->ops;
	hv->ops = &failing;
	n_failed = 0;
}

static void world_fini(struct world *world)
{
	hv_close(world->guest);
	server_free(world->server);
	event_base_free(world->base);
	sim_free(world->sim);
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
	(void)event_base_loopbreak(arg);
}

/* The loop, until the server has left it or ten milliseconds are over. */
static void run(struct world *world)
{
	struct event *timer = evtimer_new(world->base, on_time, world->base);

	(void)evtimer_add(timer, &(struct timeval){.tv_usec = 10000});
	(void)event_base_dispatch(world->base);
	event_free(timer);
}

/*
 * One operation fails while a record and a domain come. True: the server has left its loop, as
 * nothing can be served any more.
 */
static bool is_lost(void (*break_ops)(void), int with)
{
	struct world world;
	uint16_t domid;
	bool lost;

	world_init(&world);
	break_ops();
	error = with;
	assert_int_equal(sim_domain_create(world.sim, &(struct sim_domain_config){0}, &domid), 0);
	assert_int_equal(world.guest->ops->store_publish(world.guest, "key", "value", 5), 0);
	run(&world);
	lost = server_lost(world.server);
	assert_true(n_failed > 0);
	world_fini(&world);
	return lost;
}

static void test_hypervisor_gone(void **state)
{
	assert_true(is_lost(fail_poll_events, -ENODEV));
	assert_true(is_lost(fail_store_next, -ENODEV));
	assert_true(is_lost(fail_domain_list, -ENODEV));
}

/* Another error is that call's alone. */
static void test_goes_on(void **state)
{
	assert_false(is_lost(fail_store_next, -EIO));
	assert_false(is_lost(fail_domain_list, -EIO));
	assert_false(is_lost(fail_domain_tags, -EIO));
}

/* One more record that is gone, and always one more. */
static int endless_store_next(struct hv *hv, struct hv_record *ret_record)
{
	if (++n_failed > 1000000)
		abort();
	*ret_record = (struct hv_record){.domid = 1, .key = "key"};
	return 1;
}

/*
 * Signals, timers and administrators have their turn, too, while there is always more to do than
 * one turn does.
 */
static void test_endless_work(void **state)
{
	struct world world;

	world_init(&world);
	failing.store_next = endless_store_next;
	assert_int_equal(world.guest->ops->store_publish(world.guest, "key", "value", 5), 0);
	run(&world); /* its timer ends it */
	assert_false(server_lost(world.server));
	assert_true(n_failed > 0);
	world_fini(&world);
}

/* Tags that cannot be read now are looked at again, without an event. Others are not. */
static unsigned tags_looked_at(int with)
{
	struct world world;
	uint16_t domid;
	unsigned n;

	world_init(&world);
	fail_domain_tags();
	error = with;
	assert_int_equal(sim_domain_create(world.sim, &(struct sim_domain_config){0}, &domid), 0);
	run(&world);
	assert_true(n_failed > 0);
	n = n_failed;
	for (int i = 0; i < 150 && n_failed == n; i++)
		run(&world);
	n = n_failed - n;
	world_fini(&world);
	return n;
}

static void test_tags_again(void **state)
{
	assert_true(tags_looked_at(-ENOMEM) > 0);
	assert_int_equal(tags_looked_at(-EPERM), 0);
	assert_int_equal(tags_looked_at(-E2BIG), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hypervisor_gone),
		cmocka_unit_test(test_goes_on),
		cmocka_unit_test(test_tags_again),
		cmocka_unit_test(test_endless_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
