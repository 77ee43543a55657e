/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a record to an attached application, and back: the order of the hypervisor's calls, each
 * refusal with its reason, waiting for a place and for a port, and the end.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "base/macro.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/state.h"
#include "tests/unit/daemon/cmocka-all.h"
#include "tests/unit/daemon/shell.h"

static const struct broker_stats *stats(void)
{
	return &server_broker(shell.server)->stats;
}

/* The applications of "web" that are attached. */
static uint32_t n_processes(void)
{
	return domain_find(server_broker(shell.server), shell.domid)->used[QUOTA_PROCESSES];
}

static uint8_t alive(const struct raw_app *app, unsigned end)
{
	return atomic_load(&app->page->end[end].alive);
}

/* ---- attaching ------------------------------------------------------------------------------ */

static void test_attach(void **state)
{
	struct raw_app app;
	char line[256];

	shell_begin();
	shell_app(&app, shell.guest);
	assert_int_equal(alive(&app, 1), 0);
	(void)shell_event(shell.guest);
	raw_app_publish(&app);
	shell_run();
	/* The port is bound while the pages are known; one event tells the application. */
	shell_expect("mbMNsuk");
	assert_int_equal(atomic_load(&app.page->epoch), 1);
	assert_int_equal(alive(&app, 1), 1);
	assert_true(shell_event(shell.guest));
	(void)snprintf(line, sizeof(line),
		"<%d> web(%u): application attached (record %s, epoch 1)\n", LOG_INFO, shell.domid,
		app.key);
	assert_true(shell_logged(line));
	assert_int_equal(stats()->attached, 0);
	shell_hello(&app, false);
	assert_int_equal(stats()->attached, 1);
	shell_expect("ks");
	assert_true(shell_event(shell.guest));
	assert_int_equal(shell_take(&app), CONTROL_WELCOME);
	assert_int_equal(shell_take(&app), 0);
	/* The same record again is no news. */
	raw_app_publish(&app);
	shell_run();
	shell_expect("");
	/* An event without a message, and then another one. */
	for (int i = 0; i < 2; i++) {
		(void)shell.guest->ops->evtchn_send(shell.guest, app.port);
		shell_run();
		shell_expect("k");
	}
	shell_fini();
}

/* The epoch says that msgd is another one; 0 says that there is none. */
static void test_epoch(void **state)
{
	static const uint32_t epochs[][2] = {{0, 1}, {6, 7}, {UINT32_MAX, 1}};
	struct raw_app app;

	for (size_t i = 0; i < ARRAY_SIZE(epochs); i++) {
		shell_begin();
		shell_app(&app, shell.guest);
		atomic_store(&app.page->epoch, epochs[i][0]);
		raw_app_publish(&app);
		shell_run();
		assert_int_equal(atomic_load(&app.page->epoch), epochs[i][1]);
		shell_hello(&app, false);
		assert_int_equal(shell_take(&app), CONTROL_WELCOME);
		shell_fini();
	}
}

/* ---- refusals ------------------------------------------------------------------------------- */

/* The record's bytes, the calls, and the reason in the log. */
static void refused_bytes(struct raw_app *app, const uint8_t *bytes, size_t len, const char *trace,
	const char *reason)
{
	char line[256];

	assert_int_equal(app->hv->ops->store_publish(app->hv, app->key, bytes, len), 0);
	shell_run();
	shell_expect(trace);
	(void)snprintf(line, sizeof(line), "<%d> web(%u): record %s is deleted: %s\n", LOG_WARNING,
		shell.domid, app->key, reason);
	if (!shell_logged(line))
		fail_msg("no '%s' in:\n%s", line, shell.log);
	assert_string_equal(shell.removed, app->key);
	assert_int_equal(shell.removed_domid, shell.domid);
	assert_int_equal(alive(app, 1), 0);
	assert_int_equal(atomic_load(&app->page->epoch), 0);
	assert_int_equal(shell_timer_us(), 0);
}

static void refused(struct raw_app *app, const char *trace, const char *reason)
{
	uint8_t bytes[RECORD_SIZE];

	record_encode(&app->record, bytes);
	refused_bytes(app, bytes, sizeof(bytes), trace, reason);
}

static void test_malformed(void **state)
{
	uint8_t bytes[RECORD_SIZE + 1] = {0};
	struct raw_app app;

	shell_begin();
	shell_app(&app, shell.guest);
	record_encode(&app.record, bytes);
	refused_bytes(&app, bytes, RECORD_SIZE - 1, "r", "it is malformed");
	refused_bytes(&app, bytes, RECORD_SIZE + 1, "r", "it is malformed");
	app.record.version_min = app.record.version_max = CONTROL_VERSION + 1;
	refused(&app, "r", "it is of another version");
	record_parked_encode(&app.record, bytes);
	refused_bytes(&app, bytes, RECORD_PARKED_SIZE, "r", "it is malformed");
	app.record.version_min = app.record.version_max = CONTROL_VERSION;
	record_parked_encode(&app.record, bytes);
	refused_bytes(&app, bytes, RECORD_PARKED_SIZE, "r", "its domain is not quiesced");
	assert_int_equal(shell_count("deleting record"), 0);
	shell_fini();
}

/* A record costs its domain what it takes: to read, to try and to let go of. */
static void test_cost(void **state)
{
	struct raw_app app;
	uint64_t before;

	shell_begin();
	shell_app(&app, shell.guest);
	before = broker_cost(server_broker(shell.server));
	app.record.nonce[0]++;
	refused(&app, "mur", "its control page says otherwise");
	/* 2000, 5000 and 5000, a line, and the same record that is gone. */
	assert_in_range(broker_cost(server_broker(shell.server)) - before, 16000, 17900);
	shell_fini();
}

/* Nothing is bound, written or sent before the pages are what the record says. */
static void test_untrue(void **state)
{
	struct raw_app app, other;

	shell_begin();
	shell_app(&app, shell.guest);
	shell_app(&other, shell.guest);
	app.record.refs[0]++;
	app.record.refs[0] = other.record.refs[0];
	refused(&app, "mur", "its control page says otherwise");
	shell_app(&app, shell.guest);
	app.record.refs[3] = other.record.refs[3];
	refused(&app, "mur", "it names pages that are not of its rings");
	shell_app(&app, shell.guest);
	app.record.refs[1] = 100000;
	refused(&app, "mr", "its control pages cannot be mapped");
	shell_app(&app, shell.guest);
	app.record.nonce[0]++;
	refused(&app, "mur", "its control page says otherwise");
	shell_fini();
}

static void test_dead(void **state)
{
	struct raw_app app;

	shell_begin();
	shell_app(&app, shell.guest);
	atomic_store(&app.page->end[0].alive, 0);
	refused(&app, "mbMNuuucr", "its application is gone");
	shell_app(&app, shell.guest);
	atomic_store(&app.page->end[0].produced, 0x12345670);
	refused(&app, "mbMNuuucr", "the counters of its control page make no sense");
	shell_app(&app, shell.guest);
	shell_fail(SHELL_MAP, -EINVAL, 1, 1);
	refused(&app, "mbMucr", "its control pages cannot be mapped");
	shell_app(&app, shell.guest);
	shell_fail(SHELL_MAP, -EINVAL, 2, 1);
	refused(&app, "mbMNuucr", "its control pages cannot be mapped");
	shell_app(&app, shell.guest);
	shell_fail(SHELL_BIND, -EIO, 0, 1);
	refused(&app, "mbur", "its port cannot be bound");
	shell_fini();
}

/* A record that cannot be deleted is a line; a hypervisor that is gone is the end. */
static void test_remove_fails(void **state)
{
	struct raw_app app;

	shell_begin();
	shell_app(&app, shell.guest);
	app.record.nonce[0]++;
	shell_fail(SHELL_REMOVE, -ENOENT, 0, 1);
	refused(&app, "mur", "its control page says otherwise");
	assert_int_equal(shell_count("deleting record"), 0);
	app.record.nonce[0]++;
	shell_fail(SHELL_REMOVE, -EIO, 0, 1);
	refused(&app, "mur", "its control page says otherwise");
	assert_int_equal(shell_count("<3> web(1): deleting record "), 1);
	assert_true(shell_logged(": Input/output error\n"));
	assert_false(server_lost(shell.server));
	app.record.nonce[0]++;
	shell_fail(SHELL_REMOVE, -ENODEV, 0, 1);
	refused(&app, "mur", "its control page says otherwise");
	assert_true(server_lost(shell.server));
	assert_true(shell_logged("<3> the hypervisor is gone\n"));
	shell_fini();
}

/* ---- waiting -------------------------------------------------------------------------------- */

/* The port's last holder may be dying: tries for five seconds, less and less often. */
static void test_busy_port(void **state)
{
	static const uint64_t delays[] = {
		5000, 10000, 20000, 40000, 80000, 160000, 320000, 320000, 320000};
	struct raw_app app;

	shell_begin();
	for (int ends = 0; ends < 2; ends++) {
		shell_app(&app, shell.guest);
		shell_fail(SHELL_BIND, -EINVAL, 0, 100);
		raw_app_publish(&app);
		shell_run();
		shell_expect("mbu");
		for (size_t i = 0; i < ARRAY_SIZE(delays); i++) {
			assert_int_equal(shell_timer_us(), delays[i]);
			shell_fire();
			shell_expect("mbu");
		}
		assert_int_equal(shell_count("waits"), 0);
		if (ends) {
			sim_clock_advance(shell.sim, 4999999999);
			shell_fire();
			shell_expect("mbu");
			sim_clock_advance(shell.sim, 1);
			shell_fire();
			shell_expect("mbur");
			assert_true(shell_logged("is deleted: its port is not for us to bind\n"));
			assert_int_equal(shell_timer_us(), 0);
		} else {
			shell_fail(SHELL_NONE, 0, 0, 0);
			shell_fire();
			shell_expect("mbMNsuk");
			assert_int_equal(shell_timer_us(), 0);
		}
	}
	shell_fini();
}

/* Others have what it needs: it waits for as long as its record is there, and says so once. */
static void test_shortage(void **state)
{
	static const struct {
		enum shell_op op;
		int error;
		unsigned after;
		const char *trace, *reason;
	} cases[] = {
		{SHELL_BIND, -ENOSPC, 0, "mbu", "msgd is out of event channels"},
		{SHELL_BIND, -ENOMEM, 0, "mbu", "its port cannot be bound"},
		{SHELL_MAP, -ENOMEM, 0, "m", "its control pages cannot be mapped"},
		{SHELL_MAP, -ENOSPC, 1, "mbMuc", "its control pages cannot be mapped"},
		{SHELL_MAP, -ENOSPC, 2, "mbMNuuc", "its control pages cannot be mapped"},
	};
	struct raw_app app;
	char line[256];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		shell_begin();
		shell_app(&app, shell.guest);
		shell_fail(cases[i].op, cases[i].error, cases[i].after, 1);
		raw_app_publish(&app);
		shell_run();
		shell_expect(cases[i].trace);
		(void)snprintf(line, sizeof(line), "<%d> web(%u): record %s waits: %s\n",
			LOG_WARNING, shell.domid, app.key, cases[i].reason);
		assert_true(shell_logged(line));
		sim_clock_advance(shell.sim, 6000000000);
		shell_fail(cases[i].op, cases[i].error, cases[i].after, 1);
		assert_int_equal(shell_timer_us(), 5000);
		shell_fire();
		shell_expect(cases[i].trace);
		assert_int_equal(shell_timer_us(), 10000);
		assert_int_equal(shell_count("waits"), 1);
		shell_fire();
		shell_expect("mbMNsuk");
		assert_int_equal(atomic_load(&app.page->epoch), 1);
		shell_fini();
	}
}

/* Without a timer nothing would try again: the record goes, so that its application learns it. */
static void test_no_timer(void **state)
{
	struct raw_app app;

	shell_begin();
	shell_app(&app, shell.guest);
	shell_fail(SHELL_BIND, -EINVAL, 0, 1);
	shell.add_fails = true;
	shell.n_events_failing = 3; /* that of the turn, twice: then a turn is due at once */
	raw_app_publish(&app);
	shell_run();
	shell.add_fails = false;
	assert_true(shell_logged("is deleted: msgd is out of memory\n"));
	shell_expect("mbur");
	shell_app(&app, shell.guest);
	shell.new_fails = true;
	shell.n_events_failing = 1;
	raw_app_publish(&app);
	shell_run();
	assert_int_equal(shell_count("is deleted: msgd is out of memory\n"), 2);
	shell_expect("r");
	shell_fini();
}

/* The list of domains may come after the record. */
static void test_unlisted(void **state)
{
	struct raw_app app;
	uint16_t domid;
	struct hv *guest;

	shell_begin();
	shell_fail(SHELL_DOMAIN_LIST, -ENOMEM, 0, 100);
	assert_int_equal(
		sim_domain_create(shell.sim, &(struct sim_domain_config){.name = "db"}, &domid), 0);
	assert_int_equal(sim_hv_open(shell.sim, domid, &guest), 0);
	for (int ends = 0; ends < 2; ends++) {
		shell_app(&app, guest);
		raw_app_publish(&app);
		shell_run();
		assert_true(shell_logged(" waits: there is no such domain\n"));
		shell_expect("mbMNuuuc");
		sim_clock_advance(shell.sim, 4999999999);
		shell_fire();
		shell_expect("mbMNuuuc");
		if (ends) {
			sim_clock_advance(shell.sim, 1);
			shell_fire();
			shell_expect("mbMNuuucr");
			assert_true(shell_logged(" is deleted: there is no such domain\n"));
		} else {
			assert_int_equal(guest->ops->store_remove(guest, domid, app.key), 0);
			shell_run();
			shell_expect("");
			assert_int_equal(shell_timer_us(), 1000000); /* for the list */
		}
	}
	shell_fail(SHELL_NONE, 0, 0, 0);
	shell_app(&app, guest);
	raw_app_publish(&app);
	shell_run();
	shell_expect("mbMNsuk");
	hv_close(guest);
	shell_fini();
}

/* Twice as many as its quota are bound; more wait for a place. */
static void test_places(void **state)
{
	struct raw_app apps[4];

	shell_init();
	shell.limits.quota[QUOTA_PROCESSES] = 1;
	assert_int_equal(shell_start(&(const char *){NULL}), 0);
	shell_run();
	for (int i = 0; i < 4; i++) {
		shell_app(&apps[i], shell.guest);
		raw_app_publish(&apps[i]);
		shell_run();
		shell_expect(i < 2 ? "mbMNsuk" : "");
	}
	assert_int_equal(shell_count(" waits: its domain has twice [limits] processes\n"), 2);
	shell_fire();
	shell_expect("");
	/* One leaves: the first that looks has its place. */
	shell.guest->ops->grant_unshare(shell.guest, apps[0].page_share);
	shell_run();
	shell_expect("uucr");
	shell_fire();
	shell_expect("mbMNsuk");
	assert_true(shell_count("waits") == 2);
	assert_int_equal(atomic_load(&apps[2].page->epoch) + atomic_load(&apps[3].page->epoch), 1);
	shell_fini();
}

static struct hv_record records[300];

/* The store has these records to tell; none is really there. */
static void inject_records(unsigned n)
{
	shell.records = records;
	shell.n_records = n;
	/* Wakes the loop. */
	assert_int_equal(shell.guest->ops->store_publish(shell.guest, "wake", "x", 1), 0);
	shell_run();
	assert_int_equal(shell.n_records, 0);
}

/* Records that say what app's does, under keys of their own. */
static void inject_from(const struct raw_app *app, unsigned first, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		records[i] = (struct hv_record){.domid = shell.domid, .len = RECORD_SIZE};
		(void)snprintf(records[i].key, sizeof(records[i].key), "k%u", first + i);
		record_encode(&app->record, records[i].value);
	}
	inject_records(n);
}

static void inject(const struct raw_app *app, unsigned n)
{
	inject_from(app, 0, n);
}

/* The record is gone. */
static void forget(unsigned number)
{
	records[0] = (struct hv_record){.domid = shell.domid};
	(void)snprintf(records[0].key, sizeof(records[0].key), "k%u", number);
	inject_records(1);
}

/* So many wait for a place, or for a port; the next one is refused. */
static void test_too_many(void **state)
{
	struct raw_app apps[2], more;

	shell_init();
	shell.limits.quota[QUOTA_PROCESSES] = 1;
	assert_int_equal(shell_start(&(const char *){NULL}), 0);
	shell_run();
	for (int i = 0; i < 2; i++) {
		shell_app(&apps[i], shell.guest);
		raw_app_publish(&apps[i]);
		shell_run();
	}
	shell_app(&more, shell.guest);
	inject(&more, 256);
	assert_int_equal(shell_count("has too many records"), 0);
	shell.log[0] = '\0';
	sim_clock_advance(shell.sim, 60000000000);
	inject(&more, 257);
	assert_true(
		shell_logged("web(1): record k256 is deleted: its domain has too many records\n"));
	assert_int_equal(shell_count("has too many records"), 1);
	/* One goes, and leaves its place among those that wait; so does one that finds a place. */
	forget(0);
	inject_from(&more, 257, 1);
	forget(1);
	shell.guest->ops->grant_unshare(shell.guest, apps[0].page_share);
	shell_run();
	inject_from(&more, 258, 1); /* bound */
	inject_from(&more, 259, 1);
	assert_int_equal(shell_count("has too many records"), 1);
	inject_from(&more, 260, 1);
	assert_int_equal(shell_count("has too many records"), 2);
	shell_fini();

	shell_init();
	shell.limits.quota[QUOTA_PROCESSES] = 1;
	assert_int_equal(shell_start(&(const char *){NULL}), 0);
	shell_run();
	shell_attach(&apps[0], shell.guest);
	shell_app(&more, shell.guest);
	shell_fail(SHELL_BIND, -EINVAL, 0, 1000);
	inject(&more, 2);
	assert_int_equal(shell_count("has too many records"), 0);
	inject(&more, 3);
	assert_true(
		shell_logged("web(1): record k2 is deleted: its domain has too many records\n"));
	/* One ends: there is room for another. */
	forget(0);
	inject(&more, 1);
	assert_int_equal(shell_count("has too many records"), 1);
	shell_fini();
}

/* ---- the end -------------------------------------------------------------------------------- */

static void test_death(void **state)
{
	struct raw_app app;
	struct hv *guest;

	for (int greeted = 0; greeted < 2; greeted++) {
		shell_begin();
		assert_int_equal(sim_hv_open(shell.sim, shell.domid, &guest), 0);
		shell_app(&app, guest);
		raw_app_publish(&app);
		shell_run();
		if (greeted)
			shell_hello(&app, false);
		shell_forget();
		sim_hv_kill(shell.sim, guest);
		shell_run();
		shell_expect("uucr");
		assert_true(shell_logged(
			greeted ? "<6> web(1) pid 17 (app) is gone: its process ended\n"
				: "is gone: its process ended\n"));
		assert_string_equal(shell.removed, app.key);
		assert_int_equal(shell.removed_domid, shell.domid);
		assert_int_equal(stats()->dropped, 0);
		assert_int_equal(n_processes(), 0);
		/* Another one has its key, and its place. */
		shell_app(&app, shell.guest);
		raw_app_publish(&app);
		shell_run();
		shell_expect("mbMNsuk");
		shell_fini();
	}
}

/* Its page says that it was dropped, and why; then the unmapping sends the event. */
static void test_dropped(void **state)
{
	uint8_t garbage[64];
	struct raw_app app;

	shell_begin();
	shell_attach(&app, shell.guest);
	shell_forget();
	memset(garbage, 0xa5, sizeof(garbage));
	assert_int_equal(atomic_load(&app.page->dropped), 0);
	raw_app_put(&app, garbage, sizeof(garbage));
	(void)shell_event(shell.guest);
	shell_run();
	shell_expect("uucr");
	assert_int_equal(atomic_load(&app.page->dropped), 1);
	assert_string_equal(
		(const char *)app.page->drop_reason, "a frame that is no control message");
	assert_int_equal(alive(&app, 1), 0);
	assert_true(shell_event(shell.guest));
	assert_int_equal(stats()->dropped, 1);
	assert_true(shell_logged(" is dropped: a frame that is no control message\n"));
	assert_string_equal(shell.removed, app.key);
	/* Counters that moved where they cannot, found when something is sent. */
	shell_attach(&app, shell.guest);
	shell_forget();
	for (uint32_t i = 1; i <= 250; i++)
		raw_app_send(&app, &(struct control_message){.type = CONTROL_SYNC, .request = i});
	atomic_store(&app.page->end[0].consumed, 0xdeadbee0);
	shell_run();
	shell_expect("suucr"); /* the first answers were told of */
	assert_int_equal(stats()->dropped, 2);
	assert_string_equal(
		(const char *)app.page->drop_reason, "a counter that moved where it cannot");
	/* A message that may not come now. */
	shell_attach(&app, shell.guest);
	shell_forget();
	raw_app_send(&app, &(struct control_message){.type = CONTROL_ANNOUNCE_DONE});
	shell_run();
	shell_expect("uucr");
	assert_int_equal(stats()->dropped, 3);
	assert_string_equal(
		(const char *)app.page->drop_reason, "ANNOUNCE_DONE not allowed now (EPROTO)");
	shell_fini();
}

/* Its record goes with its domain, of which msgd hears first: that is the reason. */
static void test_domain_destroyed(void **state)
{
	struct raw_app app;

	shell_begin();
	shell_attach(&app, shell.guest);
	assert_int_equal(sim_domain_destroy(shell.sim, shell.domid), 0);
	shell_run();
	assert_true(shell_logged(": its domain is "));
	assert_false(shell_logged("its record is gone"));
	shell_fini();
}

/* As libmsg leaves: it says so in its page, and takes its record away. */
static void test_detaches(void **state)
{
	struct raw_app app;

	shell_begin();
	shell_attach(&app, shell.guest);
	atomic_store(&app.page->end[0].alive, 0);
	assert_int_equal(shell.guest->ops->store_remove(shell.guest, shell.domid, app.key), 0);
	shell_run();
	assert_true(shell_logged(" is gone: its process ended, or detached\n"));
	assert_int_equal(stats()->dropped, 0);
	shell_fini();
}

/* The record is another one, or gone: it was not msgd that took it away. */
static void test_record_changes(void **state)
{
	uint8_t bytes[RECORD_SIZE];
	struct raw_app app;

	shell_begin();
	shell_attach(&app, shell.guest);
	shell_forget();
	assert_int_equal(shell.guest->ops->store_remove(shell.guest, shell.domid, app.key), 0);
	shell_run();
	shell_expect("uuc");
	assert_true(
		shell_logged(" is gone: its record is gone, as when its domain is destroyed\n"));
	assert_int_equal(atomic_load(&app.page->dropped), 1);
	assert_string_equal((const char *)app.page->drop_reason,
		"its record is gone, as when its domain is destroyed");
	assert_string_equal(shell.own_gone, "");
	shell_attach(&app, shell.guest);
	shell_forget();
	record_encode(&app.record, bytes);
	bytes[8]++; /* of the nonce */
	assert_int_equal(
		shell.guest->ops->store_publish(shell.guest, app.key, bytes, sizeof(bytes)), 0);
	shell_run();
	shell_expect("uucmur");
	assert_true(shell_logged(" is gone: its record was replaced\n"));
	assert_true(shell_logged(" is deleted: its control page says otherwise\n"));
	shell_fini();
}

/* Its record goes while it has something to do, in one turn: it is not looked at any more. */
static void test_gone_while_ready(void **state)
{
	struct raw_app app, other;

	for (int both = 0; both < 2; both++) {
		shell_begin();
		if (both)
			shell_attach(&other, shell.guest);
		shell_attach(&app, shell.guest);
		raw_app_send(&app, &(struct control_message){.type = CONTROL_SYNC, .request = 9});
		if (both)
			raw_app_send(&other,
				&(struct control_message){.type = CONTROL_SYNC, .request = 9});
		shell_forget();
		assert_int_equal(
			shell.guest->ops->store_remove(shell.guest, shell.domid, app.key), 0);
		shell_run();
		shell_expect(both ? "uucks" : "uuc");
		assert_int_equal(n_processes(), both);
		shell_attach(&app, shell.guest);
		assert_int_equal(n_processes(), both + 1);
		shell_fini();
	}
}

/* A port's event that is told twice is looked at once. */
static void test_event_twice(void **state)
{
	struct raw_app apps[2];

	shell_begin();
	for (int i = 0; i < 2; i++) {
		shell_attach(&apps[i], shell.guest);
		shell.events[i] = (struct hv_event){.type = HV_EVENT_PORT, .port = shell.port};
		shell.events[i + 2] = shell.events[i];
	}
	shell_forget();
	shell.n_events = 4;
	/* Wakes the loop. */
	assert_int_equal(shell.guest->ops->store_publish(shell.guest, "wake", "x", 1), 0);
	shell_run();
	shell_expect("kkr");
	shell_fini();
}

/* Only of records of its own domain the server's owner is told. */
static void test_own_record(void **state)
{
	struct hv *dom0;

	shell_begin();
	assert_int_equal(sim_hv_open(shell.sim, 0, &dom0), 0);
	assert_int_equal(dom0->ops->store_publish(dom0, "mine", "x", 1), 0);
	shell_run();
	assert_string_equal(shell.removed, "mine");
	assert_string_equal(shell.own_gone, "mine");
	hv_close(dom0);
	shell_fini();
}

/* ---- quiescing ------------------------------------------------------------------------------ */

/* As libmsg does: everything is given back, and a parked record stays. Either is enough. */
static void quiesce(struct raw_app *app, bool record_first)
{
	uint64_t before = broker_cost(server_broker(shell.server));
	uint8_t bytes[RECORD_PARKED_SIZE];

	record_parked_encode(&app->record, bytes);
	for (int i = 0; i < 2; i++) {
		if (i == record_first)
			app->hv->ops->grant_unshare(app->hv, app->page_share);
		else
			assert_int_equal(app->hv->ops->store_publish(
						 app->hv, app->key, bytes, sizeof(bytes)),
				0);
		shell_run();
		shell_expect(i == 0 ? "uuc" : "");
		if (i == 0)
			before = broker_cost(server_broker(shell.server));
	}
	/* The second is no news: it is read, if it is the record, and no more. */
	assert_in_range(broker_cost(server_broker(shell.server)) - before, 0, 4500);
}

static void test_park(void **state)
{
	struct raw_app app;
	unsigned n;

	for (int first = 0; first < 2; first++) {
		shell_begin();
		shell_attach(&app, shell.guest);
		shell_forget();
		assert_int_equal(server_quiesce(shell.server, shell.domid), 0);
		shell_run();
		shell_expect("s");
		assert_int_equal(shell_take(&app), CONTROL_QUIESCE);
		assert_int_equal(shell_take(&app), 0);
		shell_run();
		shell_forget();
		n = shell.n_quiesced;
		quiesce(&app, first);
		assert_int_equal(shell.n_quiesced, n + 1);
		assert_false(broker_quiesce_pending(server_broker(shell.server), shell.domid));
		/* Another parked record of the same application is no news. */
		assert_int_equal(server_resume(shell.server, shell.domid), 0);
		shell_run();
		shell_expect("r");
		assert_string_equal(shell.removed, app.key);
		shell_attach(&app, shell.guest);
		shell_fini();
	}
}

/* A parked record of an application that was not told to quiesce is another record. */
static void test_park_unasked(void **state)
{
	uint8_t bytes[RECORD_PARKED_SIZE];
	struct raw_app app;

	shell_begin();
	shell_attach(&app, shell.guest);
	shell_forget();
	record_parked_encode(&app.record, bytes);
	assert_int_equal(
		shell.guest->ops->store_publish(shell.guest, app.key, bytes, sizeof(bytes)), 0);
	shell_run();
	shell_expect("uucr");
	assert_true(shell_logged(" is gone: its record was replaced\n"));
	assert_true(shell_logged(" is deleted: its domain is not quiesced\n"));
	/* Nor is one with another's nonce, although the domain is quiesced: but it may stay. */
	shell_attach(&app, shell.guest);
	assert_int_equal(server_quiesce(shell.server, shell.domid), 0);
	shell_run();
	shell_forget();
	app.record.nonce[0]++;
	record_parked_encode(&app.record, bytes);
	assert_int_equal(
		shell.guest->ops->store_publish(shell.guest, app.key, bytes, sizeof(bytes)), 0);
	shell_run();
	shell_expect("uuc");
	assert_int_equal(shell_count(" is gone: its record was replaced\n"), 2);
	assert_int_equal(server_resume(shell.server, shell.domid), 0);
	shell_run();
	shell_expect("r");
	shell_fini();
}

/* An application that lets go after its domain was resumed leaves nothing behind. */
static void test_park_late(void **state)
{
	struct raw_app app;

	shell_begin();
	shell_attach(&app, shell.guest);
	assert_int_equal(server_quiesce(shell.server, shell.domid), 0);
	assert_int_equal(server_resume(shell.server, shell.domid), 0);
	shell_run();
	shell_forget();
	shell.guest->ops->grant_unshare(shell.guest, app.page_share);
	shell_run();
	shell_expect("uucr");
	assert_string_equal(shell.removed, app.key);
	assert_int_equal(shell_count("is gone"), 0);
	assert_int_equal(n_processes(), 0);
	shell_fini();
}

/* Of two quiesced domains one goes on: the other's parked records stay. */
static void test_unpark(void **state)
{
	struct raw_app app, stays;
	uint16_t domid;
	struct hv *guest;

	shell_begin();
	assert_int_equal(
		sim_domain_create(shell.sim, &(struct sim_domain_config){.name = "db"}, &domid), 0);
	assert_int_equal(sim_hv_open(shell.sim, domid, &guest), 0);
	shell_run();
	shell_attach(&app, shell.guest);
	shell_attach(&stays, guest);
	assert_int_equal(server_quiesce(shell.server, shell.domid), 0);
	assert_int_equal(server_quiesce(shell.server, domid), 0);
	shell_run();
	shell_forget();
	quiesce(&app, false);
	quiesce(&stays, false);
	assert_int_equal(server_resume(shell.server, shell.domid), 0);
	shell_run();
	shell_expect("r");
	assert_int_equal(shell.removed_domid, shell.domid);
	/* One that dies while its domain goes on has left nothing to wait for. */
	assert_int_equal(guest->ops->store_remove(guest, domid, stays.key), 0);
	shell_run();
	assert_int_equal(server_resume(shell.server, domid), 0);
	shell_run();
	shell_expect("");
	hv_close(guest);
	shell_fini();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_attach),
		cmocka_unit_test(test_epoch),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_cost),
		cmocka_unit_test(test_untrue),
		cmocka_unit_test(test_dead),
		cmocka_unit_test(test_remove_fails),
		cmocka_unit_test(test_busy_port),
		cmocka_unit_test(test_shortage),
		cmocka_unit_test(test_no_timer),
		cmocka_unit_test(test_unlisted),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_death),
		cmocka_unit_test(test_dropped),
		cmocka_unit_test(test_domain_destroyed),
		cmocka_unit_test(test_detaches),
		cmocka_unit_test(test_record_changes),
		cmocka_unit_test(test_gone_while_ready),
		cmocka_unit_test(test_event_twice),
		cmocka_unit_test(test_own_record),
		cmocka_unit_test(test_park),
		cmocka_unit_test(test_park_unasked),
		cmocka_unit_test(test_park_late),
		cmocka_unit_test(test_unpark),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
