/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Terms of channels, and names with an argument: PROTOCOL.md 5.3 and 5.7. */
#include <errno.h>
#include <string.h>

#include "base/macro.h"
#include "daemon/broker/channel.h"
#include "daemon/broker/link.h"
#include "daemon/broker/state.h"
#include "tests/unit/daemon/cmocka-all.h"
#include "tests/unit/daemon/world.h"

#define ALL "allow listen * on any\nallow connect * from any to any\n"
#define RULES(keys)                                                                                \
	"allow listen * on any\n"                                                                  \
	"allow connect * from app to db " keys "\n"                                                \
	"allow connect * from any to any\n"
#define KNOWS (FEATURE_TERMS | FEATURE_WATCH)
#define UID   UINT64_C(0x1122334455667788)

enum { APP = 3, DB = 2 };

static struct world *w;
static struct app *caller, *holder;
static uint32_t ends[2]; /* the caller's, the holder's */

static void start(const char *rules)
{
	w = world_new(rules, NULL);
	caller = app_new_with(w, 0, APP, KNOWS);
	holder = app_new_with(w, 1, DB, KNOWS);
	assert_int_equal(app_listen(holder, 1, "db", 4), 0);
}

/* The terms come right before the message about the channel. Returns its number. */
static uint32_t assert_terms(
	struct app *app, bool connects, uint32_t direction, uint32_t max_buffer, uint64_t max_rate)
{
	const struct control_message *m;
	struct control_terms terms;

	TAKE(m, app, CONTROL_TERMS);
	terms = m->terms;
	if (connects) {
		TAKE(m, app, CONTROL_CONNECTED);
		assert_int_equal(terms.channel, m->connected.channel);
		assert_int_equal(terms.end, m->connected.end);
	} else {
		TAKE(m, app, CONTROL_CHANNEL);
		assert_int_equal(terms.channel, m->channel.channel);
		assert_int_equal(terms.end, m->channel.end);
	}
	assert_int_equal(terms.direction, direction);
	assert_int_equal(terms.max_buffer, max_buffer);
	assert_int_equal(terms.max_rate, max_rate);
	return terms.channel;
}

static void test_terms(void **state)
{
	static const struct {
		const char *rules;
		uint32_t to_caller, to_holder, max_buffer;
		uint64_t max_rate;
	} cases[] = {
		{RULES("direction=out"), TERMS_SENDS, TERMS_RECEIVES, 0, 0},
		{RULES("direction=in"), TERMS_RECEIVES, TERMS_SENDS, 0, 0},
		{RULES("max-buffer=64K"), TERMS_BOTH, TERMS_BOTH, 65536, 0},
		{RULES("max-rate=3G"), TERMS_BOTH, TERMS_BOTH, 0, UINT64_C(3) << 30},
		{RULES("direction=out max-rate=5 max-buffer=8K"), TERMS_SENDS, TERMS_RECEIVES, 8192,
			5},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t number;

		start(cases[i].rules);
		app_connect(caller, 10, "db/db", 0, 0);
		make_link(caller, holder, false, ends);
		number = assert_terms(
			holder, false, cases[i].to_holder, cases[i].max_buffer, cases[i].max_rate);
		assert_int_equal(assert_terms(caller, true, cases[i].to_caller, cases[i].max_buffer,
					 cases[i].max_rate),
			number);
		world_check(w);
		world_free(w);
	}
}

/* Most channels have none, and nothing is said of them. */
static void test_none(void **state)
{
	const struct control_message *m;

	start(ALL);
	app_connect(caller, 10, "db/db", 0, 0);
	make_link(caller, holder, false, ends);
	TAKE(m, holder, CONTROL_CHANNEL);
	TAKE(m, caller, CONTROL_CONNECTED);
	world_free(w);
}

/* An end cannot keep terms that it does not know. */
static void test_older_libmsg(void **state)
{
	const struct control_message *m;

	for (unsigned i = 0; i < 2; i++) {
		w = world_new(RULES("direction=out"), NULL);
		caller = app_new_with(w, 0, APP, i ? KNOWS : 0);
		holder = app_new_with(w, 1, DB, i ? 0 : KNOWS);
		assert_int_equal(app_listen(holder, 1, "db", 4), 0);
		app_connect(caller, 10, "db/db", 0, 0);
		TAKE(m, caller, CONTROL_STATUS);
		assert_int_equal(m->status.error, EOPNOTSUPP);
		assert_string_equal(
			m->status.reason, i ? "an older libmsg in db: it has no terms of policy"
					    : "an older libmsg in app: it has no terms of policy");
		TAKE_NOTHING(holder);
		world_free(w);
	}
}

static bool stands(uint32_t number)
{
	const struct broker_link *link = w->broker->links;
	const struct broker_channel *channel = NULL;

	if (link)
		HASH_FIND(hh, link->channels, &number, sizeof(number), channel);
	return channel;
}

/* A channel that stands has the direction that it has: another one is another channel. */
static void test_reload(void **state)
{
	const struct control_message *m;
	uint32_t number, other;

	start(RULES("direction=out"));
	app_connect(caller, 10, "db/db", 0, 0);
	make_link(caller, holder, false, ends);
	number = assert_terms(holder, false, TERMS_RECEIVES, 0, 0);
	(void)assert_terms(caller, true, TERMS_SENDS, 0, 0);
	world_policy(w, RULES("direction=out max-rate=1M"));
	assert_true(stands(number));
	app_connect(caller, 11, "db/db", 0, 0);
	other = assert_terms(holder, false, TERMS_RECEIVES, 0, 1 << 20);
	(void)assert_terms(caller, true, TERMS_SENDS, 0, 1 << 20);
	world_policy(w, RULES("direction=in"));
	TAKE(m, caller, CONTROL_CHANNEL_GONE);
	assert_int_equal(m->channel_gone.channel, number);
	TAKE(m, caller, CONTROL_CHANNEL_GONE);
	assert_int_equal(m->channel_gone.channel, other);
	world_check(w);
	world_free(w);
}

/* ---- after a restart ------------------------------------------------------------------------ */

static void announce_terms(struct app *app, uint32_t end, uint32_t direction)
{
	struct control_message message = {.type = CONTROL_ANNOUNCE_TERMS,
		.announce_terms = {.end = end, .channel = 9, .direction = direction}};

	assert_int_equal(app_send(app, &message), 0);
}

/* Both ends announce, each with such a direction. Returns whether the channel stands. */
static bool announced(const char *rules, uint32_t callers, uint32_t holders)
{
	const struct control_message *m;
	bool gone;

	w = world_new(rules, NULL);
	broker_recover(w->broker, 2);
	caller = &w->apps[0];
	holder = &w->apps[1];
	assert_int_equal(app_attach(caller, APP, true), 0);
	assert_int_equal(app_attach(holder, DB, true), 0);
	assert_int_equal(app_hello_with(caller, KNOWS, true), 0);
	assert_int_equal(app_hello_with(holder, KNOWS, true), 0);
	app_forget(holder);
	assert_int_equal(app_announce_link(caller, 40, UID, DB, TRANSPORT_GRANT, 0, 1), 0);
	assert_int_equal(app_announce_channel(caller, 40, 9, 0, 0, "db+x"), 0);
	assert_int_equal(app_announce_link(holder, 50, UID, APP, TRANSPORT_GRANT, 1, 1), 0);
	assert_int_equal(app_announce_channel(holder, 50, 9, 1, 1, "db+x"), 0);
	if (callers)
		announce_terms(caller, 40, callers);
	if (holders)
		announce_terms(holder, 50, holders);
	assert_int_equal(app_listen(holder, 1, "db", 4), 0);
	app_forget(caller);
	app_forget(holder);
	assert_int_equal(app_announce_done(caller), 0);
	assert_int_equal(app_announce_done(holder), 0);
	m = app_take(caller);
	gone = m && m->type == CONTROL_CHANNEL_GONE;
	assert_true(gone == !stands(9));
	world_check(w);
	world_free(w);
	return !gone;
}

static void test_announced(void **state)
{
	const char *out = RULES("direction=out");

	assert_true(announced(ALL, 0, 0));
	assert_true(announced(out, TERMS_SENDS, TERMS_RECEIVES));
	/* Policy wants another one by now. */
	assert_false(announced(ALL, TERMS_SENDS, TERMS_RECEIVES));
	assert_false(announced(out, TERMS_RECEIVES, TERMS_SENDS));
	assert_false(announced(out, 0, 0));
	/* One of the two lies. */
	assert_false(announced(out, 0, TERMS_RECEIVES));
	assert_false(announced(out, TERMS_SENDS, 0));
	assert_false(announced(out, TERMS_SENDS, TERMS_SENDS));
	assert_false(announced(ALL, TERMS_SENDS, 0));
}

/* Of a channel that it has not announced, or one that it has no room for. */
static void test_announced_of_none(void **state)
{
	struct control_message message = {
		.type = CONTROL_ANNOUNCE_TERMS, .announce_terms = {.end = 40, .channel = 9}};

	w = world_new(ALL, NULL);
	broker_recover(w->broker, 1);
	caller = &w->apps[0];
	assert_int_equal(app_attach(caller, APP, true), 0);
	assert_int_equal(app_hello_with(caller, KNOWS, true), 0);
	assert_int_equal(app_announce_link(caller, 40, UID, DB, TRANSPORT_GRANT, 0, 1), 0);
	assert_int_equal(app_send(caller, &message), -ECONNRESET);
	assert_true(caller->dropped);
	world_free(w);
	start(ALL);
	assert_int_equal(app_send(caller, &message), -ECONNRESET); /* it announces nothing now */
	world_free(w);
}

/* ---- names with an argument ------------------------------------------------------------------ */

static void connected(struct app *app, const char *address, const char *name, uint32_t handle)
{
	const struct control_message *m;
	bool first = !w->broker->links;

	app_connect(app, 20, address, 0, 0);
	if (first)
		make_link(caller, holder, false, ends);
	TAKE(m, holder, CONTROL_CHANNEL);
	assert_int_equal(m->channel.listener, handle);
	assert_string_equal(m->channel.name, name);
	TAKE(m, app, CONTROL_CONNECTED);
	assert_string_equal(m->connected.name, name);
}

static void refused(struct app *app, const char *address, uint32_t error)
{
	const struct control_message *m;

	app_connect(app, 21, address, 0, 0);
	TAKE(m, app, CONTROL_STATUS);
	assert_int_equal(m->status.error, error);
}

static void test_arguments(void **state)
{
	start(ALL);
	assert_int_equal(app_listen(holder, 2, "db+own", 4), 0);
	connected(caller, "db/db", "db", 1);
	connected(caller, "db/db+x", "db+x", 1);
	connected(caller, "db+x+y", "db+x+y", 1);
	connected(caller, "db+", "db+", 1);
	connected(caller, "db/db+own", "db+own", 2);
	connected(caller, "db+own", "db+own", 2);
	refused(caller, "db/d+b", ENOENT);
	refused(caller, "d+b", ENOENT);
	world_check(w);
	world_free(w);
}

/* The whole name is judged; the listener's own name by listen's rules. */
static void test_arguments_judged(void **state)
{
	start("allow listen db on any\n"
	      "deny connect db+secret from any to any\n"
	      "allow connect db+* from app to db\n");
	refused(caller, "db/db", EACCES);
	refused(caller, "db/db+secret", EACCES);
	connected(caller, "db/db+open", "db+open", 1);
	world_policy(w, "allow listen db on any\nallow connect db+shut from app to db\n");
	assert_null(w->broker->links);
	world_free(w);
}

/* Their number is the caller's choice, and they count as one name. */
static void test_arguments_count_as_one(void **state)
{
	start(RULES("max-channels=3"));
	connected(caller, "db/db", "db", 1);
	connected(caller, "db/db+1", "db+1", 1);
	connected(caller, "db/db+2", "db+2", 1);
	refused(caller, "db/db+3", EDQUOT);
	world_check(w);
	world_free(w);
}

static void test_arguments_are_waited_for(void **state)
{
	const struct control_message *m;

	w = world_new(ALL, NULL);
	caller = app_new_with(w, 0, APP, KNOWS);
	holder = app_new_with(w, 1, DB, KNOWS);
	app_connect(caller, 10, "db/db+x", CONNECT_WAIT_NAME, 0);
	app_connect(caller, 11, "db+y", CONNECT_WAIT_NAME, 0);
	app_connect(caller, 12, "db+own", CONNECT_WAIT_NAME, 0);
	TAKE_NOTHING(caller);
	assert_int_equal(app_listen(holder, 2, "db+own", 4), 0);
	make_link(caller, holder, false, ends);
	TAKE(m, caller, CONTROL_CONNECTED);
	assert_int_equal(m->request, 12);
	TAKE_NOTHING(caller);
	app_forget(holder);
	assert_int_equal(app_listen(holder, 1, "db", 4), 0);
	TAKE(m, caller, CONTROL_CONNECTED);
	TAKE(m, caller, CONTROL_CONNECTED);
	world_check(w);
	world_free(w);
}

static void test_arguments_of_an_older_libmsg(void **state)
{
	const struct control_message *m;
	struct control_message watch = {
		.type = CONTROL_WATCH, .request = 5, .watch = {.watch = 1, .pattern = "*"}};

	w = world_new(ALL, NULL);
	caller = app_new_with(w, 0, APP, FEATURE_WATCH);
	holder = app_new_with(w, 1, DB, 0);
	assert_int_equal(app_listen(holder, 1, "db", 4), 0);
	refused(caller, "db/db+x", EOPNOTSUPP);
	assert_int_equal(app_listen(holder, 2, "db+own", 4), 0);
	assert_int_equal(app_send(caller, &watch), 0);
	TAKE(m, caller, CONTROL_STATUS);
	TAKE(m, caller, CONTROL_NAME);
	assert_string_equal(m->name.address, "db/db");
	TAKE(m, caller, CONTROL_NAMES_DONE);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_terms),
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_older_libmsg),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_announced),
		cmocka_unit_test(test_announced_of_none),
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_arguments_judged),
		cmocka_unit_test(test_arguments_count_as_one),
		cmocka_unit_test(test_arguments_are_waited_for),
		cmocka_unit_test(test_arguments_of_an_older_libmsg),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
