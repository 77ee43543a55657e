/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Watching for names: PROTOCOL.md 5.6. Names that are there, that come and go, and that policy must
 * let nobody learn of; rings that are full, and the memory and work that it costs.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/macro.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"
#include "tests/unit/daemon/cmocka-all.h"
#include "tests/unit/daemon/world.h"

#define ALL "allow listen * on any\nallow connect * from any to any\n"

static int watch_send(struct app *app, uint32_t handle, const char *pattern)
{
	struct control_message message = {.type = CONTROL_WATCH, .request = 0x33330000 + handle};

	message.watch.watch = handle;
	strcpy(message.watch.pattern, pattern);
	return app_send(app, &message);
}

static void watch(struct app *app, uint32_t handle, const char *pattern)
{
	assert_int_equal(watch_send(app, handle, pattern), 0);
	TAKE_STATUS(app, 0x33330000 + handle, 0);
}

static void unwatch(struct app *app, uint32_t handle)
{
	struct control_message message = {.type = CONTROL_UNWATCH, .unwatch = {.watch = handle}};

	assert_int_equal(app_send(app, &message), 0);
}

static void listens(struct app *app, uint32_t handle, const char *name)
{
	assert_int_equal(app_listen(app, handle, name, 1), 0);
}

static void unlistens(struct app *app, uint32_t handle)
{
	assert_int_equal(app_unlisten(app, handle), 0);
}

/* The next message to the application is this one. */
#define TOLD(app, handle, text)                                                                    \
	do {                                                                                       \
		const struct control_message *_n;                                                  \
		char _text[ADDRESS_SIZE + 1];                                                      \
		TAKE(_n, app, CONTROL_NAME);                                                       \
		assert_int_equal(_n->name.watch, handle);                                          \
		snprintf(_text, sizeof(_text), "%c%s", _n->name.come ? '+' : '-',                  \
			_n->name.address);                                                         \
		assert_string_equal(_text, text);                                                  \
	} while (0)

#define DONE(app, handle, e)                                                                       \
	do {                                                                                       \
		const struct control_message *_n;                                                  \
		TAKE(_n, app, CONTROL_NAMES_DONE);                                                 \
		assert_int_equal(_n->names_done.watch, handle);                                    \
		assert_int_equal(_n->names_done.error, e);                                         \
		assert_true(!!_n->names_done.reason[0] == !!(e));                                  \
	} while (0)

/* A watcher in domain 3 "app"; a holder in 2 "db". */
struct scene {
	struct world *w;
	struct app *watcher, *holder;
};

static struct scene scene(const char *rules)
{
	struct scene s = {.w = world_new(rules, NULL)};

	s.watcher = app_new_with(s.w, 0, 3, FEATURE_WATCH);
	s.holder = app_new(s.w, 1, 2, false);
	return s;
}

static void test_names_come_and_go(void **state)
{
	struct scene s = scene(ALL);

	listens(s.holder, 1, "a");
	listens(s.holder, 2, "b");
	watch(s.watcher, 7, "*");
	TOLD(s.watcher, 7, "+db/a");
	TOLD(s.watcher, 7, "+db/b");
	DONE(s.watcher, 7, 0);
	listens(s.holder, 3, "c");
	TOLD(s.watcher, 7, "+db/c");
	unlistens(s.holder, 1);
	TOLD(s.watcher, 7, "-db/a");
	listens(s.holder, 1, "a");
	TOLD(s.watcher, 7, "+db/a");
	/* Its own names are names. */
	listens(s.watcher, 1, "own");
	TOLD(s.watcher, 7, "+app/own");
	app_die(s.holder);
	TOLD(s.watcher, 7, "-db/b");
	TOLD(s.watcher, 7, "-db/c");
	TOLD(s.watcher, 7, "-db/a");
	TAKE_NOTHING(s.watcher);
	world_free(s.w);
}

static void test_patterns(void **state)
{
	static const struct {
		const char *pattern, *told;
	} cases[] = {
		{"abc", "+db/abc"}, {"a?c", "+db/abc"}, {"*c", "+db/abc"}, {"ab", NULL},
		{"a?", NULL}, {"db/abc", "+db/abc"}, {"d*/*", "+db/abc"}, {"d/*", NULL},
		{"*/b*", NULL}, {"domid:2/*", "+db/abc"}, {"domid:?/*", "+db/abc"},
		{"domid:3/*", NULL}, {"uuid:12121212-*/*", "+db/abc"}, {"uuid:1313*/*", NULL},
		{"do*/*", NULL}, /* as a name it does not begin so */
	};
	struct scene s = scene(ALL);

	listens(s.holder, 1, "abc");
	for (uint32_t i = 0; i < ARRAY_SIZE(cases); i++) {
		watch(s.watcher, i + 1, cases[i].pattern);
		if (cases[i].told)
			TOLD(s.watcher, i + 1, cases[i].told);
		DONE(s.watcher, i + 1, 0);
		unwatch(s.watcher, i + 1);
	}
	listens(s.holder, 2, "abcd");
	TAKE_NOTHING(s.watcher);
	world_free(s.w);
}

/* A watcher learns of nothing that a connect of its would not reach. */
static void test_policy(void **state)
{
	static const char some[] = "allow listen * on any\n"
				   "allow connect public from any to any\n"
				   "allow connect half from app to db\n";
	struct scene s = scene(some);
	struct app *other = app_new(s.w, 2, 1, false);

	watch(s.watcher, 1, "*");
	DONE(s.watcher, 1, 0);
	listens(s.holder, 1, "secret");
	listens(other, 1, "half");
	TAKE_NOTHING(s.watcher);
	listens(s.holder, 2, "public");
	TOLD(s.watcher, 1, "+db/public");
	listens(s.holder, 3, "half");
	TOLD(s.watcher, 1, "+db/half");
	unlistens(s.holder, 1);
	unlistens(other, 1);
	listens(s.watcher, 1, "secret"); /* not even of its own domain */
	TAKE_NOTHING(s.watcher);

	listens(s.holder, 1, "secret");
	world_policy(s.w, "allow listen * on any\nallow connect secret from any to any\n");
	TOLD(s.watcher, 1, "-db/public");
	TOLD(s.watcher, 1, "-db/half");
	TOLD(s.watcher, 1, "+app/secret");
	TOLD(s.watcher, 1, "+db/secret");
	world_policy(s.w, some);
	TOLD(s.watcher, 1, "+db/public");
	TOLD(s.watcher, 1, "+db/half");
	TOLD(s.watcher, 1, "-app/secret");
	TOLD(s.watcher, 1, "-db/secret");
	world_policy(s.w, some);
	TAKE_NOTHING(s.watcher);
	/* A name that its holder may not have any more is not found. */
	world_policy(s.w, "deny listen half on db\nallow listen * on any\n"
			  "allow connect * from any to db\n");
	TOLD(s.watcher, 1, "-db/half");
	TOLD(s.watcher, 1, "+db/secret");
	TAKE_NOTHING(s.watcher);
	world_free(s.w);
}

static void test_renamed(void **state)
{
	struct scene s = scene(ALL);

	watch(s.watcher, 1, "d*/*");
	DONE(s.watcher, 1, 0);
	listens(s.holder, 1, "a");
	TOLD(s.watcher, 1, "+db/a");
	world_rename(s.w, 2, "data");
	TOLD(s.watcher, 1, "-db/a");
	TOLD(s.watcher, 1, "+data/a");
	world_rename(s.w, 2, "other");
	TOLD(s.watcher, 1, "-data/a");
	world_rename(s.w, 2, "d");
	TOLD(s.watcher, 1, "+d/a");
	/* Where no address can say the name, or it would say another domain's number. */
	world_rename(s.w, 2, "d/e");
	TOLD(s.watcher, 1, "-d/a");
	TOLD(s.watcher, 1, "+domid:2/a");
	world_rename(s.w, 2, "domid:3");
	TAKE_NOTHING(s.watcher);
	world_rename(s.w, 2, "uuid:d");
	TAKE_NOTHING(s.watcher);
	world_rename(s.w, 2, "db");
	TOLD(s.watcher, 1, "-domid:2/a");
	TOLD(s.watcher, 1, "+db/a");
	TAKE_NOTHING(s.watcher);
	world_free(s.w);
}

/* Rules of the watcher's own name. */
static void test_watcher_renamed(void **state)
{
	struct scene s = scene("allow listen * on any\nallow connect * from app to any\n");

	listens(s.holder, 1, "a");
	watch(s.watcher, 1, "*");
	TOLD(s.watcher, 1, "+db/a");
	DONE(s.watcher, 1, 0);
	world_rename(s.w, 3, "stranger");
	TOLD(s.watcher, 1, "-db/a");
	world_rename(s.w, 3, "app");
	TOLD(s.watcher, 1, "+db/a");
	TAKE_NOTHING(s.watcher);
	world_free(s.w);
}

static void test_domains_end(void **state)
{
	struct scene s = scene(ALL);

	listens(s.holder, 1, "a");
	watch(s.watcher, 1, "*");
	TOLD(s.watcher, 1, "+db/a");
	DONE(s.watcher, 1, 0);
	assert_int_equal(broker_quiesce(s.w->broker, 2), 0);
	TOLD(s.watcher, 1, "-db/a");
	app_park(s.holder);
	assert_int_equal(broker_resume(s.w->broker, 2), 0);
	s.holder = app_new(s.w, 1, 2, false);
	listens(s.holder, 1, "a");
	TOLD(s.watcher, 1, "+db/a");
	world_remove_domain(s.w, 2);
	TOLD(s.watcher, 1, "-db/a");
	/* Watches end with their domain, too. */
	world_remove_domain(s.w, 3);
	assert_true(s.watcher->dropped);
	world_free(s.w);
}

/* Two domains of one name: each comes and goes. */
static void test_two_of_a_name(void **state)
{
	struct scene s = scene(ALL);
	struct app *one = app_new(s.w, 2, 1, false), *two = app_new(s.w, 3, 4, false);

	watch(s.watcher, 1, "web/*");
	DONE(s.watcher, 1, 0);
	listens(one, 1, "a");
	TOLD(s.watcher, 1, "+web/a");
	listens(two, 1, "a");
	TOLD(s.watcher, 1, "+web/a");
	unlistens(one, 1);
	TOLD(s.watcher, 1, "-web/a");
	unlistens(two, 1);
	TOLD(s.watcher, 1, "-web/a");
	world_free(s.w);
}

/* Nothing is kept for a watcher that does not read but what it was told of. */
static void test_full_ring(void **state)
{
	struct scene s = scene(ALL);
	uint32_t before;

	listens(s.holder, 1, "a");
	listens(s.holder, 2, "b");
	watch(s.watcher, 1, "*");
	TOLD(s.watcher, 1, "+db/a");
	TOLD(s.watcher, 1, "+db/b");
	DONE(s.watcher, 1, 0);
	s.watcher->full = true;
	before = world_bytes(s.w, 3);
	for (uint32_t i = 0; i < 1000; i++) {
		char name[16];

		snprintf(name, sizeof(name), "n%u", i);
		unlistens(s.holder, 1);
		world_check(s.w);
		listens(s.holder, 1, "a");
		listens(s.holder, 3, name);
		unlistens(s.holder, 3);
		world_check(s.w);
	}
	unlistens(s.holder, 2);
	listens(s.holder, 4, "c");
	assert_int_equal(world_bytes(s.w, 3), before);
	assert_false(s.watcher->unsent);
	app_read(s.watcher);
	TOLD(s.watcher, 1, "-db/a");
	TOLD(s.watcher, 1, "-db/b");
	TOLD(s.watcher, 1, "+db/a");
	TOLD(s.watcher, 1, "+db/c");
	TAKE_NOTHING(s.watcher);
	world_free(s.w);
}

/* Names do not overtake what msgd had to say before. */
static void test_names_do_not_overtake(void **state)
{
	struct scene s = scene(ALL);

	watch(s.watcher, 1, "*");
	DONE(s.watcher, 1, 0);
	s.watcher->full = true;
	app_connect(s.watcher, 5, "nobody", 0, 0);
	assert_int_equal(watch_send(s.watcher, 2, "a"), 0);
	s.watcher->full = false; /* but nobody flushes */
	listens(s.holder, 1, "a");
	TAKE_NOTHING(s.watcher);
	app_read(s.watcher);
	TAKE_STATUS(s.watcher, 5, ENOENT);
	TAKE_STATUS(s.watcher, 0x33330002, 0);
	TOLD(s.watcher, 1, "+db/a");
	TOLD(s.watcher, 2, "+db/a");
	DONE(s.watcher, 2, 0);
	world_free(s.w);
}

static void test_quota(void **state)
{
	struct broker_limits limits;
	struct world *w;
	struct app *app;

	broker_limits_default(&limits);
	assert_int_equal(limits.quota[QUOTA_WATCHES], DOMAIN_WATCHES_MAX);
	limits.quota[QUOTA_WATCHES] = 2;
	w = world_new(ALL, &limits);
	app = app_new(w, 0, 3, false);
	for (uint32_t i = 1; i <= 2; i++) {
		watch(app, i, "*");
		DONE(app, i, 0);
	}
	assert_int_equal(watch_send(app, 3, "*"), 0);
	TAKE_STATUS(app, 0x33330003, EDQUOT);
	unwatch(app, 1);
	watch(app, 3, "*");
	DONE(app, 3, 0);
	world_free(w);
}

/* Others' names take a half of the watcher's memory, and then end the watch. */
static void test_memory(void **state)
{
	struct broker_limits limits;
	const struct control_message *m;
	struct world *w;
	struct app *app, *holder;
	uint32_t n = 0;

	broker_limits_default(&limits);
	limits.bytes = 64 << 10;
	w = world_new(ALL, &limits);
	app = app_new(w, 0, 3, false);
	holder = app_new(w, 1, 2, false);
	watch(app, 1, "*");
	DONE(app, 1, 0);
	for (m = NULL; !m || m->type == CONTROL_NAME; m = app_take(app)) {
		char name[16];

		snprintf(name, sizeof(name), "n%u", ++n);
		listens(n % 2 ? holder : app, n, name); /* its own are smaller than what is told */
		assert_true(world_bytes(w, 3) <= limits.bytes);
	}
	assert_int_equal(m->type, CONTROL_NAMES_DONE);
	assert_int_equal(m->names_done.error, EDQUOT);
	assert_true(n > 50);
	assert_true(world_logged(w, "the watch for * ends"));
	/* The handle is free, and so is the memory. */
	assert_true(world_bytes(w, 3) < limits.bytes / 2);
	watch(app, 1, "none");
	DONE(app, 1, 0);
	world_free(w);
}

static void test_most_names(void **state)
{
	struct broker_limits limits;
	struct world *w;
	struct app *app, *holder;

	broker_limits_default(&limits);
	limits.bytes = 64 << 20;
	limits.quota[QUOTA_NAMES] = WATCH_NAMES_MAX + 1;
	w = world_new(ALL, &limits);
	app = app_new(w, 0, 3, false);
	holder = app_new(w, 1, 2, false);
	watch(app, 1, "*");
	DONE(app, 1, 0);
	for (uint32_t i = 1; i <= WATCH_NAMES_MAX; i++) {
		char name[16];

		snprintf(name, sizeof(name), "n%u", i);
		listens(holder, i, name);
		assert_int_equal(app_take(app)->type, CONTROL_NAME);
	}
	TAKE_NOTHING(app);
	listens(holder, WATCH_NAMES_MAX + 1, "more");
	DONE(app, 1, EDQUOT);
	world_free(w);
}

/* While those that were there may still announce, NAMES_DONE waits. */
static void test_restart(void **state)
{
	struct scene s = scene(ALL);

	world_restart(s.w, ALL, NULL);
	broker_recover(s.w->broker, 2);
	assert_int_equal(app_attach(s.watcher, 3, true), 0);
	assert_int_equal(app_hello(s.watcher, false, true), 0);
	(void)app_take(s.watcher);
	app_announce_done(s.watcher);
	watch(s.watcher, 1, "*");
	TAKE_NOTHING(s.watcher);
	assert_int_equal(app_attach(s.holder, 2, true), 0);
	assert_int_equal(app_hello(s.holder, false, true), 0);
	(void)app_take(s.holder);
	listens(s.holder, 1, "a");
	TOLD(s.watcher, 1, "+db/a");
	TAKE_NOTHING(s.watcher);
	app_announce_done(s.holder);
	DONE(s.watcher, 1, 0);
	listens(s.holder, 2, "b");
	TOLD(s.watcher, 1, "+db/b");
	world_free(s.w);
}

static void test_rules_of_the_protocol(void **state)
{
	struct scene s = scene(ALL);
	const struct control_message *m;

	unwatch(s.watcher, 9); /* none: nothing happens */
	TAKE_NOTHING(s.watcher);
	watch(s.watcher, 1, "*");
	DONE(s.watcher, 1, 0);
	assert_true(watch_send(s.watcher, 1, "*") < 0);
	assert_true(s.watcher->dropped);
	assert_int_equal(app_attach(s.watcher, 3, false), 0);
	assert_int_equal(app_hello_with(s.watcher, FEATURE_WATCH, true), 0);
	TAKE(m, s.watcher, CONTROL_WELCOME);
	assert_true(m->welcome.features & FEATURE_WATCH);
	assert_true(watch_send(s.watcher, 1, "*") < 0); /* while it announces */
	assert_true(s.watcher->dropped);
	world_free(s.w);
}

/* Each portion of the work is small, however many names and watches there are. */
static void test_portions(void **state)
{
	struct world *w = world_new(ALL, NULL);
	struct app *holder = app_new(w, 0, 2, false), *apps[8];
	uint64_t before, portion, longest = 0;

	for (uint32_t i = 1; i <= DOMAIN_NAMES_MAX; i++) {
		char name[16];

		snprintf(name, sizeof(name), "n%u", i);
		listens(holder, i, name);
	}
	broker_set_work_later(w->broker);
	for (unsigned i = 0; i < ARRAY_SIZE(apps); i++) {
		apps[i] = app_new(w, 1 + i, i % 2 ? 3 : 1, false);
		watch(apps[i], 1, "*");
	}
	before = broker_cost(w->broker);
	for (bool more = true; more;) {
		uint64_t start = broker_cost(w->broker);

		more = broker_work(w->broker, 1000);
		portion = broker_cost(w->broker) - start;
		longest = portion > longest ? portion : longest;
	}
	assert_true(longest < 1000 + 500);
	assert_true(broker_cost(w->broker) - before > ARRAY_SIZE(apps) * DOMAIN_NAMES_MAX * 100);
	/* The end of them all, too: its message costs little, and the rest is done by and by. */
	before = broker_cost(w->broker);
	app_die(apps[0]);
	assert_true(broker_cost(w->broker) - before < 1000);
	assert_true(broker_work_left(w->broker));
	for (bool more = true; more;) {
		uint64_t start = broker_cost(w->broker);

		more = broker_work(w->broker, 1000);
		assert_true(broker_cost(w->broker) - start < 1500);
	}
	world_free(w);
}

/* An idle broker with watches has nothing to do. */
static void test_idle(void **state)
{
	struct scene s = scene(ALL);

	listens(s.holder, 1, "a");
	watch(s.watcher, 1, "*");
	assert_false(broker_work_left(s.w->broker));
	s.watcher->full = true;
	unlistens(s.holder, 1);
	assert_false(broker_work_left(s.w->broker));
	world_free(s.w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_come_and_go),
		cmocka_unit_test(test_patterns),
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_renamed),
		cmocka_unit_test(test_watcher_renamed),
		cmocka_unit_test(test_domains_end),
		cmocka_unit_test(test_two_of_a_name),
		cmocka_unit_test(test_full_ring),
		cmocka_unit_test(test_names_do_not_overtake),
		cmocka_unit_test(test_quota),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_most_names),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_rules_of_the_protocol),
		cmocka_unit_test(test_portions),
		cmocka_unit_test(test_idle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
