/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Channels ahead (PROTOCOL.md 5.10): to whom the broker gives numbers and how many, how it learns
 * of their use, when it asks them back, and what ends that lie can cost.
 */
#include <errno.h>
#include <string.h>

#include "base/macro.h"
#include "daemon/broker/ahead.h"
#include "daemon/broker/capture.h"
#include "daemon/broker/channel.h"
#include "daemon/broker/link.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"
#include "daemon/broker/steer.h"
#include "tests/unit/daemon/cmocka-all.h"

#define LISTEN	 "allow listen * on any\n"
#define ALL	 LISTEN "allow connect * from any to any\n"
#define FEATURES (FEATURE_TERMS | FEATURE_COUNTS | FEATURE_CAPTURE | FEATURE_AHEAD)
#define MS	 UINT64_C(1000000)

enum { APP = 3, DB = 2, BACKLOG = 256 };

static struct world *w;
static struct app *caller, *holder;
static uint32_t ends[2]; /* the caller's, the holder's */
static struct control_ahead given;

/* ---- parts ---------------------------------------------------------------------------------- */

static void start_with(const char *rules, uint64_t features, uint32_t backlog)
{
	w = world_new(rules, NULL);
	caller = app_new_with(w, 0, APP, features);
	holder = app_new_with(w, 1, DB, FEATURES);
	assert_int_equal(app_listen(holder, 1, "db", backlog), 0);
}

static void start(void)
{
	start_with(ALL, FEATURES, BACKLOG);
}

/* Connects, and returns the channel's number; `given` is what came ahead with it, or zeros. */
static uint32_t connect_to(const char *address)
{
	const struct control_message *m;
	uint32_t channel;

	app_connect(caller, 10, address, 0, 0);
	if (!w->broker->links)
		fail_msg("no link for %s", address);
	if (w->broker->links->state != BROKER_LINK_UP)
		make_link(caller, holder, false, ends);
	given = (struct control_ahead){.n = 0};
	m = app_take(holder);
	assert_non_null(m);
	if (m->type == CONTROL_AHEAD) {
		given = m->ahead;
		assert_int_equal(given.end, ends[1]);
		m = app_take(holder);
	}
	assert_int_equal(m->type, CONTROL_CHANNEL);
	channel = m->channel.channel;
	if (given.n) {
		assert_int_equal(given.channel, channel);
		TAKE(m, caller, CONTROL_AHEAD);
		assert_int_equal(m->ahead.end, ends[0]);
		assert_int_equal(m->ahead.channel, channel);
		assert_int_equal(m->ahead.first, given.first);
		assert_int_equal(m->ahead.n, given.n);
	}
	TAKE(m, caller, CONTROL_CONNECTED);
	assert_int_equal(m->connected.channel, channel);
	world_check(w);
	return channel;
}

static uint32_t connect_one(void)
{
	return connect_to("db/db");
}

/* Both ends are done with it. */
static void over(uint32_t channel)
{
	app_closed(caller, ends[0], channel);
	app_closed(holder, ends[1], channel);
	world_check(w);
}

/* Accepted and closed, as the first connects of a test are. */
static void connect_and_close(void)
{
	uint32_t channel = connect_one();

	app_accepted(holder, ends[1], channel);
	over(channel);
}

static void use_whole(uint32_t channel)
{
	app_accepted(holder, ends[1], channel);
	over(channel);
}

/* Connects until numbers are given: so many. */
static void get_ahead(uint32_t n)
{
	for (unsigned i = 0; i < AHEAD_CONNECTS; i++) {
		connect_and_close();
		assert_int_equal(given.n, 0);
	}
	connect_and_close();
	assert_int_equal(given.n, n);
}

static int give_back(struct app *app, uint32_t end, uint32_t first, uint64_t rest)
{
	struct control_message m = {.type = CONTROL_AHEAD_REST,
		.ahead_rest = {.end = end, .first = first, .rest = rest}};
	int r = app_send(app, &m);

	if (r == 0)
		world_check(w);
	return r;
}

static void assert_gone(uint64_t rest)
{
	const struct control_message *m;

	TAKE(m, holder, CONTROL_AHEAD_GONE);
	assert_int_equal(m->ahead_gone.end, ends[1]);
	assert_int_equal(m->ahead_gone.first, given.first);
	assert_int_equal(m->ahead_gone.rest, rest);
}

/* They are asked back, once. */
static void assert_asked_back(void)
{
	const struct control_message *m;

	TAKE(m, caller, CONTROL_AHEAD_END);
	assert_int_equal(m->ahead_end.end, ends[0]);
	assert_int_equal(m->ahead_end.first, given.first);
	TAKE_NOTHING(caller);
}

static uint32_t used(void)
{
	return domain_find(w->broker, APP)->used[QUOTA_CHANNELS];
}

static void tick_after(uint64_t ns)
{
	world_pass(w, ns);
	broker_tick(w->broker);
	world_check(w);
}

static void end(void)
{
	app_die(caller);
	app_die(holder);
	assert_true(TAILQ_EMPTY(&w->broker->aheads));
	assert_int_equal(w->broker->n_channels, 0);
	world_free(w);
}

/* ---- giving ---------------------------------------------------------------------------------- */

static void test_given(void **state)
{
	start();
	get_ahead(8);
	assert_int_equal(used(), 8);
	assert_int_equal(w->broker->n_channels, 0); /* they are no channels yet */
	assert_int_equal(w->broker->links->n_standing, 0);
	end();
}

/* As long as it goes on so, ever more of them, up to the limit. */
static void test_more_and_more(void **state)
{
	static const uint32_t n[] = {8, 16, 32, 64, 64};

	start();
	get_ahead(n[0]);
	for (unsigned i = 0; i < ARRAY_SIZE(n); i++) {
		assert_int_equal(given.n, n[i]);
		for (uint32_t k = 0; k < n[i]; k++)
			use_whole(given.first + k);
		assert_true(TAILQ_EMPTY(&w->broker->aheads));
		assert_int_equal(used(), 0);
		connect_and_close();
	}
	end();
}

/* While some are left, no others are given. */
static void test_no_others(void **state)
{
	start();
	get_ahead(8);
	connect_and_close();
	assert_int_equal(given.n, 0);
	end();
}

static void test_slow_connects(void **state)
{
	start();
	for (unsigned i = 0; i < 3 * AHEAD_CONNECTS; i++) {
		connect_and_close();
		assert_int_equal(given.n, 0);
		world_pass(w, AHEAD_CONNECT_NS + 1);
	}
	end();
}

static void test_two_names(void **state)
{
	start();
	assert_int_equal(app_listen(holder, 2, "other", BACKLOG), 0);
	for (unsigned i = 0; i < 3 * AHEAD_CONNECTS; i++) {
		use_whole(connect_to(i % 2 ? "db/db" : "db/other"));
		assert_int_equal(given.n, 0);
	}
	end();
}

static void assert_never_given(const char *address)
{
	for (unsigned i = 0; i < 3 * AHEAD_CONNECTS; i++) {
		use_whole(connect_to(address));
		assert_int_equal(given.n, 0);
	}
}

/* Each connect is to be counted, asked about, written down or held to something by itself. */
static void test_rules_that_look_at_each(void **state)
{
	static const char *const words[] = {"max-channels=100", "max-connects=1000/s", "log=yes",
		"direction=out", "max-rate=1M", "max-buffer=64K"};

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
		char rules[256];

		snprintf(rules, sizeof(rules), LISTEN "allow connect * from any to any %s\n",
			words[i]);
		w = world_new(rules, NULL);
		caller = app_new_with(w, 0, APP, FEATURES);
		holder = app_new_with(w, 1, DB, FEATURES);
		assert_int_equal(app_listen(holder, 1, "db", BACKLOG), 0);
		for (unsigned k = 0; k < 3 * AHEAD_CONNECTS; k++) {
			app_connect(caller, 10 + k, "db/db", 0, 0);
			if (w->broker->links->state != BROKER_LINK_UP)
				make_link(caller, holder, false, ends);
		}
		assert_true(TAILQ_EMPTY(&w->broker->aheads));
		app_forget(caller);
		app_forget(holder);
		end();
	}
}

static void test_redirected(void **state)
{
	start_with(LISTEN "allow connect * from any to web target=db\n"
			  "allow connect * from any to any\n",
		FEATURES, BACKLOG);
	assert_never_given("domid:1/db");
	end();
}

static void test_name_alone(void **state)
{
	start();
	assert_never_given("db");
	end();
}

static void test_argument(void **state)
{
	start();
	assert_never_given("db/db+x");
	end();
}

static void test_audit(void **state)
{
	start();
	broker_set_audit(w->broker, BROKER_AUDIT_ALL);
	assert_never_given("db/db");
	end();
}

static void test_old_libmsg(void **state)
{
	start_with(ALL, FEATURES & ~FEATURE_AHEAD, BACKLOG);
	assert_never_given("db/db");
	end();
	start_with(ALL, FEATURES & ~FEATURE_COUNTS, BACKLOG);
	assert_never_given("db/db");
	end();
}

/* Half of what is left for them, which is half as many as the backlog. */
static void test_small_backlog(void **state)
{
	start_with(ALL, FEATURES, 17);
	get_ahead(4);
	end();
	start_with(ALL, FEATURES, 15);
	assert_never_given("db/db");
	end();
}

/* A listener that accepts none has its backlog, and no more. */
static void test_slow_listener(void **state)
{
	const struct control_message *m;

	start_with(ALL, FEATURES, 16);
	for (unsigned i = 0; i < 16; i++) {
		(void)connect_one();
		assert_int_equal(given.n, 0);
	}
	app_connect(caller, 11, "db/db", 0, 0);
	TAKE(m, caller, CONTROL_STATUS);
	assert_int_equal(m->status.error, ECONNREFUSED);
	end();
}

static void test_quota(void **state)
{
	struct broker_limits limits;

	broker_limits_default(&limits);
	limits.quota[QUOTA_CHANNELS] = 5;
	w = world_new(ALL, &limits);
	caller = app_new_with(w, 0, APP, FEATURES);
	holder = app_new_with(w, 1, DB, FEATURES);
	assert_int_equal(app_listen(holder, 1, "db", BACKLOG), 0);
	get_ahead(4); /* the fifth is the channel that they came with */
	assert_int_equal(used(), 4);
	end();
}

/* ---- use ------------------------------------------------------------------------------------- */

static void test_first_words(void **state)
{
	struct control_message counts = {.type = CONTROL_CHANNEL_COUNTS};

	start();
	get_ahead(8);
	app_accepted(holder, ends[1], given.first);
	assert_int_equal(w->broker->n_channels, 1);
	assert_int_equal(w->broker->stats.connected, AHEAD_CONNECTS + 2);
	counts.channel_counts.end = ends[0];
	counts.channel_counts.channel = given.first + 1;
	assert_int_equal(app_send(caller, &counts), 0);
	assert_int_equal(w->broker->n_channels, 2);
	app_closed(caller, ends[0], given.first + 2);
	assert_int_equal(w->broker->n_channels, 3);
	world_check(w);
	app_accepted(holder, ends[1], given.first + 2);
	app_closed(holder, ends[1], given.first + 2);
	assert_int_equal(w->broker->n_channels, 2);
	assert_int_equal(w->broker->stats.connected, AHEAD_CONNECTS + 4);
	world_check(w);
	end();
}

/* Each has a place of its own until it is accepted, or is no channel. */
static void test_places(void **state)
{
	const struct listener *listener;

	start();
	get_ahead(8);
	listener = domain_find(w->broker, DB)->listeners;
	assert_int_equal(listener->n_beside, 8);
	assert_int_equal(listener->n_offered, 0);
	app_accepted(holder, ends[1], given.first);
	assert_int_equal(listener->n_beside, 7);
	assert_int_equal(listener->n_offered, 0);
	app_closed(caller, ends[0], given.first + 1);
	assert_int_equal(listener->n_beside, 7);
	assert_int_equal(listener->n_offered, 0);
	app_accepted(holder, ends[1], given.first + 1);
	assert_int_equal(listener->n_beside, 6);
	assert_int_equal(give_back(caller, ends[0], given.first, 0xfc), 0);
	assert_gone(0xfc);
	assert_int_equal(listener->n_beside, 0);
	end();
}

/* They keep no other connect out. */
static void test_backlog(void **state)
{
	const struct control_message *m;

	start_with(ALL, FEATURES, 16);
	get_ahead(4);
	for (unsigned i = 0; i < 16; i++)
		(void)connect_one();
	app_connect(caller, 11, "db/db", 0, 0);
	TAKE(m, caller, CONTROL_STATUS);
	assert_int_equal(m->status.error, ECONNREFUSED);
	end();
}

/* The rings of both ends are looked at, as long as nobody has spoken of some. */
static void test_looked_at(void **state)
{
	start();
	get_ahead(8);
	caller->n_looks = holder->n_looks = 0;
	for (unsigned i = 0; i < 3; i++)
		tick_after(AHEAD_LOOK_NS);
	assert_int_equal(caller->n_looks, 3);
	assert_int_equal(holder->n_looks, 3);
	for (uint32_t i = 0; i < 8; i++)
		use_whole(given.first + i);
	assert_int_equal(w->timer_ns, 0);
	tick_after(AHEAD_LOOK_NS);
	assert_int_equal(caller->n_looks, 3);
	end();
}

/* ---- the end --------------------------------------------------------------------------------- */

static void test_idle(void **state)
{
	start();
	get_ahead(8);
	tick_after(AHEAD_IDLE_NS / 2);
	app_accepted(holder, ends[1], given.first); /* it is not idle */
	tick_after(AHEAD_IDLE_NS - MS);
	TAKE_NOTHING(caller);
	tick_after(2 * MS + AHEAD_LOOK_NS);
	assert_asked_back();
	tick_after(AHEAD_IDLE_NS);
	TAKE_NOTHING(caller); /* once */
	assert_int_equal(give_back(caller, ends[0], given.first, 0xfc), 0);
	assert_gone(0xfc);
	/* Of the second one the caller says that it is used, though nobody has spoken of it. */
	assert_int_equal(w->broker->n_channels, 2);
	assert_int_equal(used(), 2);
	assert_true(TAILQ_EMPTY(&w->broker->aheads));
	assert_int_equal(w->timer_ns, 0);
	end();
}

static void test_policy(void **state)
{
	start();
	get_ahead(8);
	app_accepted(holder, ends[1], given.first);
	world_policy(w, LISTEN "allow connect * from any to any\n");
	assert_asked_back();
	/* A connect that was under way is judged when the broker hears of it. */
	world_policy(w, LISTEN "deny connect * from any to any\n");
	assert_int_equal(used(), 7);
	app_forget(caller);
	app_forget(holder);
	app_accepted(holder, ends[1], given.first + 1);
	assert_int_equal(used(), 6);
	world_check(w);
	assert_int_equal(app_take(holder)->type, CONTROL_CHANNEL_GONE);
	assert_int_equal(app_take(caller)->type, CONTROL_CHANNEL_GONE);
	assert_int_equal(give_back(caller, ends[0], given.first, 0xfc), 0);
	assert_gone(0xfc);
	assert_int_equal(used(), 0);
	end();
}

static void test_steered(void **state)
{
	struct broker_target name = {.domid = DB, .name = "db", .domain = "db"};

	start();
	get_ahead(8);
	assert_int_equal(broker_drain(w->broker, &name), 0);
	assert_asked_back();
	assert_int_equal(give_back(caller, ends[0], given.first, 0xff), 0);
	assert_gone(0xff);
	assert_int_equal(broker_undrain(w->broker, &name), 0);
	world_pass(w, AHEAD_CONNECT_NS + 1);
	get_ahead(8);
	assert_int_equal(broker_block(w->broker, &name), 0);
	assert_asked_back();
	assert_int_equal(give_back(caller, ends[0], given.first, 0xff), 0);
	assert_gone(0xff);
	assert_int_equal(used(), 0);
	end();
}

/* A number that is used afterwards is captured as well. */
static void test_capture(void **state)
{
	struct broker_target name = {.domid = DB, .name = "db"};
	struct capture *capture;

	start();
	get_ahead(8);
	assert_int_equal(capture_new(w->broker, &name, false, 100, &capture), 0);
	assert_asked_back();
	app_accepted(holder, ends[1], given.first);
	assert_int_equal(app_take(caller)->type, CONTROL_CAPTURE);
	assert_int_equal(app_take(holder)->type, CONTROL_CAPTURE);
	world_check(w);
	capture_free(capture);
	end();
}

static void test_listener_gone(void **state)
{
	start();
	get_ahead(8);
	assert_int_equal(app_unlisten(holder, 1), 0);
	assert_asked_back();
	assert_int_equal(give_back(caller, ends[0], given.first, 0xff), 0);
	assert_gone(0xff);
	assert_int_equal(used(), 0);
	end();
}

static void test_deaths(void **state)
{
	start();
	get_ahead(8);
	app_die(holder);
	assert_int_equal(used(), 0);
	assert_int_equal(w->broker->stats.reset, 0); /* no channel stood */
	world_check(w);
	app_die(caller);
	world_free(w);
	start();
	get_ahead(8);
	app_die(caller);
	world_check(w);
	assert_int_equal(used(), 0);
	app_die(holder);
	world_free(w);
}

/* ---- lies ------------------------------------------------------------------------------------ */

/* The listener's end cannot have the caller pay for what that does not use. */
static void test_listener_lies(void **state)
{
	start();
	get_ahead(8);
	for (uint32_t i = 0; i < 8; i++)
		app_accepted(holder, ends[1], given.first + i);
	assert_int_equal(used(), 8);
	assert_int_equal(give_back(caller, ends[0], given.first, 0xff), 0);
	/* All were spoken of: there is no AHEAD any more, but the caller's word counts. */
	assert_int_equal(used(), 0);
	end();
}

static void test_caller_lies(void **state)
{
	start();
	get_ahead(8);
	/* Numbers that it has used and closed, or uses still. */
	app_accepted(holder, ends[1], given.first);
	app_closed(caller, ends[0], given.first + 1);
	assert_int_equal(give_back(caller, ends[0], given.first, UINT64_MAX), 0);
	assert_gone(
		0xfd); /* the one that it has closed is a channel until the other end has, too */
	assert_int_equal(w->broker->n_channels, 1);
	app_accepted(holder, ends[1], given.first + 1);
	app_closed(holder, ends[1], given.first + 1);
	assert_int_equal(w->broker->n_channels, 0);
	app_closed(holder, ends[1], given.first); /* it crossed AHEAD_GONE */
	world_check(w);
	/* Again; of others; of an end of which there is none. */
	assert_int_equal(give_back(caller, ends[0], given.first, UINT64_MAX), 0);
	assert_int_equal(give_back(caller, ends[0], given.first + 1, UINT64_MAX), 0);
	assert_int_equal(give_back(holder, ends[1], given.first, UINT64_MAX), 0);
	TAKE_NOTHING(holder);
	assert_int_equal(give_back(caller, ends[0] + 1, 1, 0), -ECONNRESET);
	assert_true(caller->dropped);
	app_die(holder);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_given),
		cmocka_unit_test(test_more_and_more),
		cmocka_unit_test(test_no_others),
		cmocka_unit_test(test_slow_connects),
		cmocka_unit_test(test_two_names),
		cmocka_unit_test(test_rules_that_look_at_each),
		cmocka_unit_test(test_redirected),
		cmocka_unit_test(test_name_alone),
		cmocka_unit_test(test_argument),
		cmocka_unit_test(test_audit),
		cmocka_unit_test(test_old_libmsg),
		cmocka_unit_test(test_small_backlog),
		cmocka_unit_test(test_slow_listener),
		cmocka_unit_test(test_quota),
		cmocka_unit_test(test_first_words),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_backlog),
		cmocka_unit_test(test_looked_at),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_steered),
		cmocka_unit_test(test_capture),
		cmocka_unit_test(test_listener_gone),
		cmocka_unit_test(test_deaths),
		cmocka_unit_test(test_listener_lies),
		cmocka_unit_test(test_caller_lies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
