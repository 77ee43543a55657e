/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgd's server: how it starts, finds what an earlier msgd left, looks again at what failed, and
 * shares its turns among domains.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "base/macro.h"
#include "base/report.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/state.h"
#include "tests/support/failing-malloc.h"
#include "tests/unit/daemon/cmocka-all.h"
#include "tests/unit/daemon/shell.h"

/* Xen's SHUTDOWN_suspend and SHUTDOWN_crash. */
enum { SUSPEND = 2, CRASH = 3 };

static struct broker *broker(void)
{
	return server_broker(shell.server);
}

/* ---- start ---------------------------------------------------------------------------------- */

/* It says what failed, and the handle stays the caller's, for another try. */
static void test_start_fails(void **state)
{
	static const struct {
		enum shell_op op;
		const char *reason;
	} cases[] = {
		{SHELL_DOMAIN_WATCH, "the list of domains"},
		{SHELL_DOMAIN_LIST, "the list of domains"},
		{SHELL_STORE_WATCH, "the store"},
		{SHELL_STORE_NEXT, "the store"},
	};
	const char *reason;

	shell_init();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		shell_fail(cases[i].op, -EIO, 0, 1);
		assert_int_equal(shell_start(&reason), -EIO);
		assert_string_equal(reason, cases[i].reason);
		assert_null(shell.server);
	}
	shell.new_fails = true;
	for (unsigned i = 1; i <= 4; i++) {
		shell.n_events_failing = i;
		assert_int_equal(shell_start(&reason), -ENOMEM);
		assert_string_equal(reason, "out of memory");
	}
	shell.new_fails = false;
	shell.add_fails = true;
	shell.n_events_failing = 1;
	assert_int_equal(shell_start(&reason), -ENOMEM);
	assert_string_equal(reason, "out of memory");
	assert_int_equal(shell_start(&reason), 0);
	shell_fini();
}

static void test_start_memory(void **state)
{
	struct raw_app app;
	const char *reason;
	bool hit;
	int r;

	for (unsigned n = 1;; n++) {
		shell_init();
		shell_app(&app, shell.guest);
		raw_app_publish(&app);
		failing_malloc_set(n);
		r = shell_start(&reason);
		hit = failing_malloc_end();
		assert_true(r == 0 || (hit && r == -ENOMEM));
		if (r == 0) { /* it goes on without: the record waits, or is gone */
			shell_run();
			shell_fire();
			assert_true(shell_logged("application attached") ||
				    shell_logged("out of memory"));
			assert_false(broker()->recovering && !shell_logged("attached"));
		}
		shell_fini();
		if (!hit)
			break;
	}
}

/* While msgd serves: whichever allocation fails, it goes on, and the record is served or gone. */
static void test_memory(void **state)
{
	struct raw_app app;
	bool hit;

	for (unsigned n = 1;; n++) {
		shell_begin();
		shell_app(&app, shell.guest);
		raw_app_publish(&app);
		failing_malloc_set(n);
		shell_run();
		hit = failing_malloc_end();
		for (int i = 0; i < 4; i++)
			shell_fire();
		assert_false(server_lost(shell.server));
		assert_true(shell_logged("application attached") !=
			    shell_logged("is deleted: msgd is out of memory\n"));
		if (shell_logged("attached"))
			assert_int_equal(atomic_load(&app.page->epoch), 1);
		else
			assert_string_equal(shell.removed, app.key);
		shell_attach(&app, shell.guest);
		shell_fini();
		if (!hit)
			break;
	}
}

/* ---- another msgd's records ----------------------------------------------------------------- */

/* msgd ends, and another one starts; what stands in the store stays. */
static void restart(void)
{
	shell_detach();
	shell_reattach();
}

/* Lookups wait for those that were there, and for them alone; not for long. */
static void test_found(void **state)
{
	struct raw_app app, later;

	shell_begin();
	shell_attach(&app, shell.guest);
	restart();
	assert_int_equal(atomic_load(&app.page->dropped), 0);
	assert_int_equal(atomic_load(&app.page->epoch), 2);
	assert_true(broker()->recovering);
	assert_int_equal(broker()->n_awaited, 1);
	assert_int_equal(shell_timer_us(), RECOVERY_NS / 1000);
	shell_attach(&later, shell.guest);
	assert_true(broker()->recovering);
	shell_hello(&app, true);
	assert_int_equal(shell_take(&app), CONTROL_WELCOME);
	raw_app_send(&app, &(struct control_message){.type = CONTROL_ANNOUNCE_DONE});
	shell_run();
	assert_false(broker()->recovering);
	assert_int_equal(broker()->n_awaited, 0);
	assert_int_equal(shell_timer_us(), 0); /* nothing is waited for any more */
	shell_fini();
}

/* The broker's timer: at its time, and with the clock of then. */
static void test_recovery_ends(void **state)
{
	struct raw_app app;

	shell_begin();
	shell_attach(&app, shell.guest);
	restart();
	sim_clock_advance(shell.sim, RECOVERY_NS - 1500000000);
	shell_fire();
	assert_int_equal(shell_timer_us(), 1500000);
	sim_clock_advance(shell.sim, 1500000000 - 1000);
	shell_fire();
	assert_true(broker()->recovering);
	assert_int_equal(shell_timer_us(), 1);
	shell_fini();

	shell_begin();
	shell_attach(&app, shell.guest);
	restart();
	sim_clock_advance(shell.sim, RECOVERY_NS);
	shell_fire();
	assert_false(broker()->recovering);
	assert_int_equal(shell_timer_us(), (ANNOUNCE_NS - RECOVERY_NS) / 1000);
	sim_clock_advance(shell.sim, ANNOUNCE_NS);
	shell_fire();
	assert_int_equal(shell_timer_us(), 0);
	assert_false(broker()->announcing);
	shell_fini();
}

/* Nobody waits for a record that is refused, or goes. */
static void test_found_lost(void **state)
{
	struct raw_app apps[3];

	shell_begin();
	restart(); /* an empty store: nothing to wait for */
	assert_false(broker()->recovering);
	assert_int_equal(shell_timer_us(), 0);
	for (int i = 0; i < 3; i++)
		shell_attach(&apps[i], shell.guest);
	shell_detach();
	apps[0].record.version_min = apps[0].record.version_max = 99;
	raw_app_publish(&apps[0]);
	apps[1].record.nonce[0]++;
	raw_app_publish(&apps[1]);
	shell_fail(SHELL_BIND, -EINVAL, 0, 100);
	shell_reattach();
	assert_true(shell_logged("it is of another version"));
	assert_true(shell_logged("its control page says otherwise"));
	assert_true(broker()->recovering);
	assert_int_equal(broker()->n_awaited, 1);
	assert_int_equal(shell.guest->ops->store_remove(shell.guest, shell.domid, apps[2].key), 0);
	shell_run();
	assert_false(broker()->recovering);
	assert_int_equal(broker()->n_awaited, 0);
	shell_fini();
}

/* One that was there and has parked is not waited for; another domain's still is. */
static void test_found_parks(void **state)
{
	struct raw_app app, other;
	uint16_t domid;
	struct hv *guest;

	shell_begin();
	assert_int_equal(
		sim_domain_create(shell.sim, &(struct sim_domain_config){.name = "db"}, &domid), 0);
	assert_int_equal(sim_hv_open(shell.sim, domid, &guest), 0);
	shell_run();
	shell_attach(&app, shell.guest);
	shell_attach(&other, guest);
	restart();
	assert_int_equal(broker()->n_awaited, 2);
	assert_int_equal(server_quiesce(shell.server, shell.domid), 0);
	shell_run();
	shell.guest->ops->grant_unshare(shell.guest, app.page_share);
	shell_run();
	assert_int_equal(broker()->n_awaited, 1);
	assert_int_equal(shell.guest->ops->store_remove(shell.guest, shell.domid, app.key), 0);
	shell_run();
	assert_int_equal(broker()->n_awaited, 1);
	hv_close(guest);
	shell_fini();
}

/* A parked record says that its domain is quiesced: others of it are told so. */
static void test_found_parked(void **state)
{
	uint8_t bytes[RECORD_PARKED_SIZE];
	struct raw_app app, parked;

	shell_begin();
	shell_attach(&app, shell.guest);
	shell_attach(&parked, shell.guest);
	shell_detach();
	record_parked_encode(&parked.record, bytes);
	assert_int_equal(
		shell.guest->ops->store_publish(shell.guest, parked.key, bytes, sizeof(bytes)), 0);
	shell_reattach();
	assert_int_equal(broker()->n_awaited, 1);
	assert_true(broker_is_quiesced(broker(), shell.domid));
	assert_true(broker_quiesce_pending(broker(), shell.domid));
	shell_hello(&app, true);
	assert_int_equal(shell_take(&app), CONTROL_QUIESCE);
	assert_int_equal(shell_take(&app), 0);
	assert_int_equal(server_resume(shell.server, shell.domid), 0);
	shell_run();
	assert_string_equal(shell.removed, parked.key);
	assert_int_equal(shell.n_quiesced > 0, true);
	assert_int_equal(server_resume(shell.server, shell.domid), -EALREADY);
	assert_int_equal(server_quiesce(shell.server, 0), -EPERM);
	assert_int_equal(server_quiesce(shell.server, 77), -ESRCH);
	shell_fini();
}

/* Without its timer msgd serves, and says so. */
static void test_no_timer(void **state)
{
	struct raw_app app;

	shell_begin();
	shell_attach(&app, shell.guest);
	shell_detach();
	shell.add_fails = true;
	shell.n_events_failing = 1;
	shell_reattach();
	assert_true(shell_logged("<3> no timer: out of memory\n"));
	assert_int_equal(shell_timer_us(), 0);
	assert_int_equal(atomic_load(&app.page->epoch), 2);
	shell_fini();
}

/* ---- the store and the list of domains ------------------------------------------------------ */

/* A failure is looked at again, a second later, and only then. */
static void test_rescan(void **state)
{
	struct raw_app app;
	uint16_t domid;

	shell_begin();
	shell_app(&app, shell.guest);
	shell_fail(SHELL_STORE_NEXT, -ENOMEM, 0, 1);
	raw_app_publish(&app);
	shell_run();
	assert_true(shell_logged("<3> the store: Cannot allocate memory\n"));
	assert_int_equal(atomic_load(&app.page->epoch), 0);
	assert_int_equal(shell_timer_us(), 1000000);
	shell_fire();
	assert_int_equal(atomic_load(&app.page->epoch), 1);
	assert_int_equal(shell_timer_us(), 0);
	shell_fail(SHELL_DOMAIN_LIST, -ENOMEM, 0, 1);
	assert_int_equal(
		sim_domain_create(shell.sim, &(struct sim_domain_config){.name = "db"}, &domid), 0);
	shell_run();
	assert_true(shell_logged("<3> the list of domains: Cannot allocate memory\n"));
	assert_false(broker_has_domain(broker(), domid));
	assert_int_equal(shell_timer_us(), 1000000);
	/* The store is not looked at again for that. */
	shell_fail(SHELL_STORE_NEXT, -EIO, 0, 1);
	shell_fire();
	assert_true(broker_has_domain(broker(), domid));
	assert_int_equal(shell_timer_us(), 0);
	assert_int_equal(shell.fails, SHELL_STORE_NEXT);
	shell_fini();
}

/* A record may come before its domain is listed: then the list is read. */
static void test_record_first(void **state)
{
	struct raw_app app;
	struct hv *guest;
	uint16_t domid;

	shell_begin();
	shell_fail(SHELL_DOMAIN_LIST, -EIO, 0, 1);
	assert_int_equal(
		sim_domain_create(shell.sim, &(struct sim_domain_config){.name = "db"}, &domid), 0);
	assert_int_equal(sim_hv_open(shell.sim, domid, &guest), 0);
	shell_app(&app, guest);
	raw_app_publish(&app);
	shell_run();
	assert_int_equal(atomic_load(&app.page->epoch), 1);
	hv_close(guest);
	shell_fini();
}

/* Each fact about each of many domains, more than the first call has room for. */
static void test_domains(void **state)
{
	static const uint8_t uuid[HV_UUID_LEN] = {1, 2, 3};
	uint16_t domids[40];
	const struct domain *domain;

	shell_init();
	for (size_t i = 0; i < ARRAY_SIZE(domids); i++) {
		struct sim_domain_config config = {.uuid = i == 0 ? uuid : NULL};

		assert_int_equal(sim_domain_create(shell.sim, &config, &domids[i]), 0);
	}
	assert_int_equal(shell_start(&(const char *){NULL}), 0);
	shell_run();
	for (size_t i = 0; i < ARRAY_SIZE(domids); i++)
		assert_true(broker_has_domain(broker(), domids[i]));
	assert_true(broker_has_domain(broker(), 0));
	domain = domain_find(broker(), domids[0]);
	assert_memory_equal(domain->info.uuid, uuid, sizeof(uuid));
	assert_int_equal(domain->info.state, BROKER_DOMAIN_RUNNING);
	assert_false(domain->info.paused);
	assert_string_equal(domain_find(broker(), shell.domid)->info.name, "web");
	assert_int_equal(sim_domain_pause(shell.sim, domids[0], true), 0);
	assert_int_equal(sim_domain_shutdown(shell.sim, domids[1], SUSPEND), 0);
	assert_int_equal(sim_domain_shutdown(shell.sim, domids[2], CRASH), 0);
	assert_int_equal(sim_domain_destroy(shell.sim, domids[3]), 0);
	assert_int_equal(server_refresh_domains(shell.server), 0);
	assert_true(domain_find(broker(), domids[0])->info.paused);
	assert_int_equal(domain_find(broker(), domids[1])->info.state, BROKER_DOMAIN_SUSPENDED);
	assert_false(broker_has_domain(broker(), domids[2]));
	assert_false(broker_has_domain(broker(), domids[3]));
	assert_int_equal(shell_timer_us(), 0);
	shell_fail(SHELL_DOMAIN_LIST, -EIO, 0, 1);
	assert_int_equal(server_refresh_domains(shell.server), -EIO);
	shell_run();
	shell_fini();
}

/* Either array of the list may lack memory; the caller learns it. */
static void test_domains_memory(void **state)
{
	unsigned n_failed = 0;
	bool hit;

	shell_begin();
	for (unsigned n = 1;; n++) {
		int r;

		failing_malloc_set(n);
		r = server_refresh_domains(shell.server);
		hit = failing_malloc_end();
		assert_true(r == 0 || (hit && r == -ENOMEM));
		n_failed += r == -ENOMEM;
		if (!hit)
			break;
	}
	assert_true(n_failed >= 2);
	shell_fini();
}

/* The reason of its applications' end is that of the domain's. */
static void test_domain_ends(void **state)
{
	struct raw_app app;

	for (int crash = 0; crash < 2; crash++) {
		shell_begin();
		shell_attach(&app, shell.guest);
		if (crash)
			assert_int_equal(sim_domain_shutdown(shell.sim, shell.domid, CRASH), 0);
		else
			shell_dying();
		shell_run();
		assert_true(shell_logged(crash ? " is dropped: its domain shut down or crashed\n"
					       : " is dropped: its domain is being destroyed\n"));
		shell_fini();
	}
}

/* Nothing tells that a suspended domain goes on: it is asked, while the domain is quiesced. */
static void test_suspended(void **state)
{
	shell_begin();
	assert_int_equal(server_quiesce(shell.server, shell.domid), 0);
	shell_run();
	assert_int_equal(shell_timer_us(), 0);
	assert_int_equal(sim_domain_shutdown(shell.sim, shell.domid, SUSPEND), 0);
	shell_run();
	for (int i = 0; i < 3; i++) {
		assert_int_equal(shell_timer_us(), 1000000);
		shell_fire();
	}
	assert_true(broker_is_quiesced(broker(), shell.domid));
	assert_int_equal(sim_domain_resume(shell.sim, shell.domid), 0);
	shell_fire();
	assert_int_equal(shell_timer_us(), 0);
	assert_false(broker_is_quiesced(broker(), shell.domid));
	shell_fini();
}

/* ---- turns ---------------------------------------------------------------------------------- */

static void ask(struct raw_app *app, uint32_t n)
{
	for (uint32_t i = 1; i <= n; i++)
		raw_app_send(app, &(struct control_message){.type = CONTROL_SYNC, .request = i});
}

/* The messages of the application that msgd has read. */
static uint32_t read_of(const struct raw_app *app, uint32_t before)
{
	return (atomic_load(&app->page->end[1].consumed) - before) / FRAME_HEADER_SIZE;
}

static uint32_t consumed(const struct raw_app *app)
{
	return atomic_load(&app->page->end[1].consumed);
}

/*
 * Two applications of a domain share what the one of another domain has alone, and a domain that
 * asks now and then does not wait for those that always do.
 */
static void test_shares(void **state)
{
	struct raw_app two[2], one, late;
	uint32_t before[4];
	struct hv *guests[2];
	uint16_t domids[2];

	shell_begin();
	for (int i = 0; i < 2; i++) {
		assert_int_equal(
			sim_domain_create(shell.sim, &(struct sim_domain_config){0}, &domids[i]),
			0);
		assert_int_equal(sim_hv_open(shell.sim, domids[i], &guests[i]), 0);
	}
	shell_run();
	shell_attach(&two[0], shell.guest);
	shell_attach(&two[1], shell.guest);
	shell_attach(&one, guests[0]);
	shell_attach(&late, guests[1]);
	for (int i = 0; i < 2; i++)
		before[i] = consumed(&two[i]);
	before[2] = consumed(&one);
	before[3] = consumed(&late);
	ask(&two[0], 200);
	ask(&two[1], 200);
	ask(&one, 200);
	for (int turns = 0; turns < 3; turns++) {
		uint32_t a, b, c;

		shell_run_once();
		a = read_of(&two[0], before[0]);
		b = read_of(&two[1], before[1]);
		c = read_of(&one, before[2]);
		assert_true(c < 200 && a + b + c >= 15);
		assert_in_range(a + 16 - b, 0, 32);
		assert_in_range(a + b + 24 - c, 0, 48);
	}
	ask(&late, 3);
	shell_run_once();
	assert_int_equal(read_of(&late, before[3]), 3);
	assert_true(read_of(&one, before[2]) < 200);
	shell_run();
	assert_int_equal(read_of(&one, before[2]), 200);
	assert_int_equal(read_of(&two[0], before[0]) + read_of(&two[1], before[1]), 400);
	hv_close(guests[0]);
	hv_close(guests[1]);
	shell_fini();
}

/* Busy for longer than a domain that asks for nothing meanwhile may save up. */
static void be_busy(struct raw_app *busy)
{
	uint64_t end = broker_cost(broker()) + 2 * TURN_COST_SAVED;

	while (broker_cost(broker()) < end) {
		ask(busy, 20);
		shell_run();
		while (shell_take(busy))
			;
	}
}

/* So many that it has more in any turn. */
static void ask_more(struct raw_app *app, uint32_t start, uint32_t *asked)
{
	for (; *asked < read_of(app, start) + 2 * TURN_COST / 100; (*asked)++)
		ask(app, 1);
}

/*
 * Both always have something to do: one gets as much as it has saved, while the other one has a
 * portion of each turn, and then each has its share. Returns the cost of that.
 */
static uint64_t cost_until_shares(struct raw_app *busy, struct raw_app *late)
{
	uint32_t start = consumed(busy), late_start = consumed(late), asked[2] = {0};
	uint64_t before = broker_cost(broker());

	for (uint32_t turns = 1; read_of(busy, start) * 4 < read_of(late, late_start) ||
				 read_of(late, late_start) < 100;
		turns++) {
		ask_more(busy, start, asked + 0);
		ask_more(late, late_start, asked + 1);
		shell_run_once();
		while (shell_take(late) || shell_take(busy))
			;
		assert_in_range(read_of(busy, start), turns, UINT32_MAX);
		assert_true(broker_cost(broker()) - before < 5 * (uint64_t)TURN_COST_SAVED);
	}
	return broker_cost(broker()) - before;
}

/* A domain that has asked for little is served first, until it has caused more than its share. */
static void test_saved(void **state)
{
	struct raw_app busy, late;
	struct hv *guest;
	uint16_t domid;

	shell_begin();
	assert_int_equal(sim_domain_create(shell.sim, &(struct sim_domain_config){0}, &domid), 0);
	assert_int_equal(sim_hv_open(shell.sim, domid, &guest), 0);
	shell_run();
	shell_attach(&busy, shell.guest);
	shell_attach(&late, guest);
	be_busy(&busy);
	assert_in_range(cost_until_shares(&busy, &late), TURN_COST_SAVED / 2, 2 * TURN_COST_SAVED);
	shell_run();
	hv_close(guest);
	shell_fini();
}

/* A domain that is served by what it has saved lets no other one save more. */
static void test_saved_by_two(void **state)
{
	struct raw_app busy, first, late;
	struct hv *guests[2];
	uint16_t domid;

	shell_begin();
	for (int i = 0; i < 2; i++) {
		assert_int_equal(
			sim_domain_create(shell.sim, &(struct sim_domain_config){0}, &domid), 0);
		assert_int_equal(sim_hv_open(shell.sim, domid, &guests[i]), 0);
	}
	shell_run();
	shell_attach(&busy, shell.guest);
	shell_attach(&first, guests[0]);
	shell_attach(&late, guests[1]);
	be_busy(&busy);
	ask(&first, 10); /* more than the portion of the longest ago */
	shell_run();
	assert_in_range(cost_until_shares(&busy, &late), TURN_COST_SAVED / 2, 2 * TURN_COST_SAVED);
	shell_run();
	hv_close(guests[0]);
	hv_close(guests[1]);
	shell_fini();
}

/* Takes what is answered and asks again, for more than a turn. */
static void ask_on(struct raw_app *app, uint32_t before, uint32_t *asked)
{
	while (shell_take(app))
		;
	for (; *asked < read_of(app, before) + 100; ++*asked)
		ask(app, 1);
}

/* An application of a domain that has no other; it leaves and comes again. */
struct comer {
	struct hv *guest;
	struct raw_app app;
	uint32_t before, asked, total; /* total: read of those before this one */
};

static void comer_come(struct comer *comer)
{
	struct control_message hello = {.type = CONTROL_HELLO, .request = 1};

	shell_app(&comer->app, comer->guest);
	raw_app_publish(&comer->app);
	for (int turns = 0; atomic_load(&comer->app.page->epoch) == 0; turns++) {
		assert_true(turns < 100);
		shell_run_once();
	}
	hello.hello.epoch = atomic_load(&comer->app.page->epoch);
	hello.hello.version_min = hello.hello.version_max = CONTROL_VERSION;
	raw_app_send(&comer->app, &hello);
	comer->before = consumed(&comer->app);
	comer->asked = 0;
}

static void comer_leave(struct comer *comer)
{
	struct hv *guest = comer->guest;
	const struct hv_ops *ops = guest->ops;

	comer->total += read_of(&comer->app, comer->before);
	assert_int_equal(ops->store_remove(guest, ops->domid(guest), comer->app.key), 0);
	shell_run_once();
	ops->grant_unshare(guest, comer->app.page_share);
	ops->grant_unshare(guest, comer->app.rings_share);
	assert_int_equal(ops->evtchn_close(guest, comer->app.port), 0);
}

/* Before what it has saved is used up, it leaves; and asks on. */
static void comer_run(struct comer *comer)
{
	if (read_of(&comer->app, comer->before) > TURN_COST_SAVED / 400) {
		comer_leave(comer);
		comer_come(comer);
	}
	ask_on(&comer->app, comer->before, &comer->asked);
}

/* A domain that leaves and comes again has saved nothing anew. */
static void test_saved_once(void **state)
{
	uint32_t before, asked = 0;
	struct comer comers[2] = {0};
	struct raw_app busy;
	uint64_t end;
	uint16_t domid;

	shell_begin();
	shell_attach(&busy, shell.guest);
	be_busy(&busy);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(
			sim_domain_create(shell.sim, &(struct sim_domain_config){0}, &domid), 0);
		assert_int_equal(sim_hv_open(shell.sim, domid, &comers[i].guest), 0);
		shell_run();
		comer_come(&comers[i]);
	}
	before = consumed(&busy);
	end = broker_cost(broker()) + 20 * (uint64_t)TURN_COST_SAVED;
	while (broker_cost(broker()) < end) {
		ask_on(&busy, before, &asked);
		for (int i = 0; i < 2; i++)
			comer_run(&comers[i]);
		shell_run_once();
	}
	/* As much as each of the others, but for what these had saved. */
	assert_true(comers[0].total > 0 && comers[1].total > 0);
	assert_true(read_of(&busy, before) > (comers[0].total + comers[1].total) / 4);
	for (int i = 0; i < 2; i++)
		hv_close(comers[i].guest);
	shell_fini();
}

/* Work that is left goes on, though its event could not be added. */
static void test_no_event(void **state)
{
	struct raw_app app;
	uint32_t before;

	shell_begin();
	shell_attach(&app, shell.guest);
	before = consumed(&app);
	ask(&app, 200);
	shell.add_fails = true;
	shell.n_events_failing = 1;
	shell_run();
	assert_int_equal(shell.n_events_failing, 0);
	assert_int_equal(read_of(&app, before), 200);
	shell_fini();
}

/*
 * Domains that have spent as much are served in the order in which they asked; to be looked at has
 * its price.
 */
static void test_order(void **state)
{
	static const int order[] = {1, 0, 2};
	struct raw_app apps[4];
	struct hv *guests[4];
	uint32_t ports[4];
	uint16_t domid;
	uint64_t before;

	shell_begin();
	for (int i = 0; i < 4; i++) {
		assert_int_equal(
			sim_domain_create(shell.sim, &(struct sim_domain_config){0}, &domid), 0);
		assert_int_equal(sim_hv_open(shell.sim, domid, &guests[i]), 0);
		shell_run();
		shell_attach(&apps[i], guests[i]);
		ports[i] = shell.port;
	}
	for (int i = 0; i < 3; i++)
		shell.events[i] = (struct hv_event){.type = HV_EVENT_PORT, .port = ports[order[i]]};
	shell.n_events = 3;
	shell_forget();
	before = broker_cost(broker());
	/* The last that was served comes last. */
	assert_int_equal(guests[3]->ops->evtchn_send(guests[3], apps[3].port), 0);
	shell_run();
	assert_int_equal(broker_cost(broker()) - before, 400);
	for (int i = 0; i < 3; i++)
		assert_int_equal(shell.unmasked[i], ports[order[i]]);
	shell_expect("kkkk");
	for (int i = 0; i < 4; i++)
		hv_close(guests[i]);
	shell_fini();
}

/* An application that does not read its answers is not read from; then it goes on. */
static void test_behind(void **state)
{
	uint32_t before, sent = 0;
	struct raw_app app;

	shell_begin();
	shell_attach(&app, shell.guest);
	before = consumed(&app);
	for (int i = 0; i < 100; i++) {
		uint32_t n = sent - read_of(&app, before);

		ask(&app, 200 - n);
		sent += 200 - n;
		shell_run();
		if (read_of(&app, before) < sent)
			break;
	}
	assert_true(sent >= 400 && read_of(&app, before) < sent);
	for (uint32_t i = 0; i < sent; i++) {
		uint32_t type = shell_take(&app);

		if (type == 0) {
			shell_run();
			type = shell_take(&app);
		}
		assert_int_equal(type, CONTROL_STATUS);
	}
	assert_int_equal(read_of(&app, before), sent);
	shell_fini();
}

/* An application that reads nothing, until answers wait for it. */
static void fill(struct raw_app *app)
{
	uint32_t before;

	shell_begin();
	shell_attach(app, shell.guest);
	before = consumed(app);
	ask(app, 200);
	shell_run();
	assert_int_equal(read_of(app, before), 200);
	shell_forget();
}

/* An application that cannot be told anything any more is dropped, in the turn that follows. */
static void test_unsent(void **state)
{
	struct raw_app app;

	fill(&app);
	failing_malloc_set(1);
	assert_int_equal(server_quiesce(shell.server, shell.domid), 0);
	shell_run();
	assert_true(failing_malloc_end());
	assert_true(shell_logged(" is dropped: "));
	assert_string_equal(shell.removed, app.key);
	assert_int_equal(atomic_load(&app.page->dropped), 1);
	shell_fini();

	fill(&app);
	atomic_store(&app.page->end[0].consumed, 0xdeadbee0);
	assert_int_equal(shell.guest->ops->evtchn_send(shell.guest, app.port), 0);
	shell_run();
	assert_true(shell_logged(" is dropped: a counter that moved where it cannot\n"));
	assert_string_equal(shell.removed, app.key);
	shell_fini();
}

/* All are told before any of them is woken, and each is woken once. */
static void test_publish(void **state)
{
	struct raw_app apps[3];

	shell_begin();
	for (int i = 0; i < 3; i++)
		shell_attach(&apps[i], shell.guest);
	shell_forget();
	assert_int_equal(server_quiesce(shell.server, shell.domid), 0);
	shell_run();
	shell_expect("sss");
	for (int i = 0; i < 3; i++)
		assert_int_equal(shell_take(&apps[i]), CONTROL_QUIESCE);
	shell_fini();
}

static void test_counts(void **state)
{
	struct server_turns before, after;
	uint64_t sum;

	shell_begin();
	server_turns(shell.server, &before);
	for (int i = 0; i < 10; i++)
		assert_int_equal(server_refresh_domains(shell.server), 0);
	server_turns(shell.server, &after);
	assert_int_equal(after.n, before.n + 10);
	sum = after.cpu_ns - before.cpu_ns;
	assert_true(sum > 0 && sum < 10000000000);
	assert_true(before.longest_cpu_ns > 0 && before.longest_cpu_ns <= before.cpu_ns);
	assert_true(after.longest_cpu_ns >= before.longest_cpu_ns);
	assert_true(10 * after.longest_cpu_ns >= sum && after.longest_cpu_ns <= after.cpu_ns);
	assert_int_equal(server_clock_ns(shell.server), 1000000000);
	sim_clock_advance(shell.sim, 5);
	assert_int_equal(server_clock_ns(shell.server), 1000000005);
	shell_fini();
}

/* Events of ports that are nobody's, or no longer, do no harm; each kind has its effect. */
static void test_events(void **state)
{
	struct raw_app app;

	shell_begin();
	shell_attach(&app, shell.guest);
	shell.events[0] = (struct hv_event){.type = HV_EVENT_PORT, .port = 999};
	shell.n_events = 1;
	assert_int_equal(shell.guest->ops->evtchn_send(shell.guest, app.port), 0);
	shell_forget();
	shell_run();
	shell_expect("k");
	shell.events[0] = (struct hv_event){.type = HV_EVENT_RING};
	shell.n_events = 1;
	shell_fail(SHELL_STORE_NEXT, -EIO, 0, 1);
	assert_int_equal(shell.guest->ops->evtchn_send(shell.guest, app.port), 0);
	shell_run();
	assert_int_equal(shell.fails, SHELL_STORE_NEXT); /* nobody asked the store */
	shell_fini();
}

/* However many events there are, a turn comes to an end. */
static void test_endless_events(void **state)
{
	struct raw_app app;

	shell_begin();
	shell_attach(&app, shell.guest);
	shell.endless = true;
	assert_int_equal(shell.guest->ops->evtchn_send(shell.guest, app.port), 0);
	shell_run_once();
	assert_int_equal(shell.n_polls, 128);
	shell.endless = false;
	shell_forget();
	shell_run();
	shell_expect("k");
	shell_fini();
}

/* ---- the owner's calls ----------------------------------------------------------------------- */

static struct policy *policy_of(const char *text)
{
	struct report report = {.n = 0};
	struct policy *policy;

	assert_int_equal(policy_new(&policy), 0);
	assert_int_equal(policy_parse(policy, "p", text, strlen(text), &report), 0);
	return policy;
}

static void test_settings(void **state)
{
	struct broker_limits limits;
	struct server_turns before, after;

	shell_begin();
	server_turns(shell.server, &before);
	assert_int_equal(policy_rules(broker()->policy), 0);
	server_set_policy(shell.server, policy_of("allow listen a on any\n"));
	assert_int_equal(policy_rules(broker()->policy), 1);
	server_set_policy(shell.server, policy_of("allow listen a on any\ndeny listen b on any\n"));
	assert_int_equal(policy_rules(broker()->policy), 2);
	server_turns(shell.server, &after);
	assert_int_equal(after.n, before.n + 2);
	broker_limits_default(&limits);
	limits.quota[QUOTA_PROCESSES] = 3;
	server_set_limits(shell.server, &limits, NULL);
	assert_int_equal(broker_limit(broker(), 0, QUOTA_PROCESSES), 3);
	shell_fini();
}

/* One domain has only so many lines, by the clock of now. */
static void test_log(void **state)
{
	char want[64];

	shell_begin();
	for (unsigned i = 0; i < 2 * DOMAIN_LOG_BURST; i++)
		server_log(shell.server, shell.domid, LOG_WARNING, "line %u of %s", i, "web");
	assert_true(shell_logged("<4> line 0 of web\n"));
	(void)snprintf(want, sizeof(want), "<4> line %u of web\n", DOMAIN_LOG_BURST - 1);
	assert_true(shell_logged(want));
	assert_false(shell_logged("line 150"));
	sim_clock_advance(shell.sim, 10 * DOMAIN_LOG_LINE_NS);
	server_log(shell.server, shell.domid, LOG_INFO, "one more");
	assert_true(shell_logged("<6> one more\n"));
	shell_fini();
}

/* Memory goes back when half of it has become free: not for a little, and once. */
static void test_trim(void **state)
{
	static const struct {
		uint64_t size; /* in units of 16 bytes */
		unsigned n_trims;
	} steps[] = {
		{65535, 0}, /* below 1 MiB */
		{1, 0},
		{65536, 0},
		{32769, 0},
		{32768, 1},
		{32768, 1},
		{131072, 1},
		{65537, 1},
		{65536, 2},
		{32768, 3},
		{16384, 3}, /* there is no MiB to give back */
		{1, 3},
	};

	shell_begin();
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		shell.bytes = steps[i].size * 16;
		assert_int_equal(server_refresh_domains(shell.server), 0);
		assert_int_equal(shell.n_trims, steps[i].n_trims);
	}
	shell_fini();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_start_fails),
		cmocka_unit_test(test_start_memory),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_found),
		cmocka_unit_test(test_recovery_ends),
		cmocka_unit_test(test_found_lost),
		cmocka_unit_test(test_found_parks),
		cmocka_unit_test(test_found_parked),
		cmocka_unit_test(test_no_timer),
		cmocka_unit_test(test_rescan),
		cmocka_unit_test(test_record_first),
		cmocka_unit_test(test_domains),
		cmocka_unit_test(test_domains_memory),
		cmocka_unit_test(test_domain_ends),
		cmocka_unit_test(test_suspended),
		cmocka_unit_test(test_shares),
		cmocka_unit_test(test_saved),
		cmocka_unit_test(test_saved_by_two),
		cmocka_unit_test(test_saved_once),
		cmocka_unit_test(test_no_event),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_behind),
		cmocka_unit_test(test_unsent),
		cmocka_unit_test(test_publish),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_endless_events),
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_log),
		cmocka_unit_test(test_trim),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
