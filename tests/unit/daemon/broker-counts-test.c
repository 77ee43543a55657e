/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Counts of channels and links, as their ends tell them: PROTOCOL.md 5.8. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/macro.h"
#include "base/number.h"
#include "daemon/broker/channel.h"
#include "daemon/broker/former.h"
#include "daemon/broker/link.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"
#include "tests/unit/daemon/cmocka-all.h"
#include "tests/unit/daemon/world.h"

#define ALL "allow listen * on any\nallow connect * from any to any\n"
#define UID UINT64_C(0x1122334455667788)

enum { APP = 3, DB = 2 };

static struct world *w;
static struct app *caller, *holder;
static uint32_t ends[2]; /* the caller's, the holder's */

static uint32_t connect_one(const char *address)
{
	const struct control_message *m;
	bool first = !w->broker->links;

	app_connect(caller, 10, address, 0, 0);
	if (first)
		make_link(caller, holder, false, ends);
	TAKE(m, holder, CONTROL_CHANNEL);
	TAKE(m, caller, CONTROL_CONNECTED);
	return m->connected.channel;
}

static uint32_t start(const struct broker_limits *limits)
{
	w = world_new(ALL, limits);
	caller = app_new_with(w, 0, APP, FEATURE_TERMS | FEATURE_COUNTS);
	holder = app_new_with(w, 1, DB, FEATURE_TERMS | FEATURE_COUNTS);
	assert_int_equal(app_listen(holder, 1, "db", 200), 0);
	return connect_one("db/db");
}

static int tell(struct app *app, uint8_t type, uint32_t channel, struct control_counts counts)
{
	struct control_message message = {.type = type,
		.channel_counts = {
			.end = ends[app == holder], .channel = channel, .counts = counts}};

	return app_send(app, &message);
}

static const struct traffic *of_domain(uint16_t domid)
{
	return &domain_find(w->broker, domid)->traffic;
}

static const struct traffic *of_end(unsigned end)
{
	return &w->broker->links->ends[end].traffic;
}

static void assert_traffic(const struct traffic *got, struct traffic want)
{
	assert_memory_equal(got, &want, sizeof(want));
}

static void test_sums(void **state)
{
	uint32_t channel = start(NULL);
	struct listener *listener = listener_for(domain_find(w->broker, DB), "db");

	tell(caller, CONTROL_CHANNEL_COUNTS, channel,
		(struct control_counts){.tx_messages = 3,
			.tx_bytes = 300,
			.no_credit = 1,
			.unread = 5,
			.unsent = 6});
	assert_traffic(
		of_end(0), (struct traffic){.tx_messages = 3, .tx_bytes = 300, .no_credit = 1});
	assert_traffic(of_end(1), (struct traffic){0}); /* it has said nothing itself */
	/* They are cumulative, and the next ones as well. */
	tell(caller, CONTROL_CHANNEL_COUNTS, channel,
		(struct control_counts){.tx_messages = 5,
			.tx_bytes = 1000,
			.rx_messages = 1,
			.rx_bytes = 7,
			.drops = 2,
			.no_credit = 1,
			.no_room = 9});
	assert_traffic(of_end(0), (struct traffic){.tx_messages = 5,
					  .tx_bytes = 1000,
					  .rx_messages = 1,
					  .rx_bytes = 7,
					  .drops = 2,
					  .no_credit = 1,
					  .no_room = 9});
	assert_traffic(&listener->traffic, (struct traffic){0});
	tell(holder, CONTROL_CHANNEL_COUNTS, channel,
		(struct control_counts){.rx_messages = 4, .rx_bytes = 900});
	assert_traffic(of_end(1), (struct traffic){.rx_messages = 4, .rx_bytes = 900});
	assert_memory_equal(&listener->traffic, of_end(1), sizeof(listener->traffic));
	/* The last ones. */
	tell(caller, CONTROL_CHANNEL_DONE, channel,
		(struct control_counts){.tx_messages = 6,
			.tx_bytes = 1001,
			.rx_messages = 1,
			.rx_bytes = 7,
			.drops = 2,
			.no_credit = 1,
			.no_room = 9});
	tell(holder, CONTROL_CHANNEL_DONE, channel,
		(struct control_counts){.rx_messages = 6, .rx_bytes = 1001});
	assert_null(w->broker->links->channels);
	assert_traffic(of_domain(APP), (struct traffic){0}); /* it has the applications' sums */
	assert_int_equal(of_end(0)->tx_bytes, 1001);
	assert_int_equal(of_end(1)->rx_bytes, 1001);
	assert_int_equal(listener->traffic.rx_messages, 6);
	world_check(w);
	world_free(w);
}

/* One that is never asked about, by its whole name; its listener is that of the base. */
static void test_short_lived(void **state)
{
	uint32_t channel;
	uint32_t bytes;

	(void)start(NULL);
	bytes = world_bytes(w, APP);
	channel = connect_one("db/db+x");
	tell(caller, CONTROL_CHANNEL_DONE, channel,
		(struct control_counts){.tx_messages = 1, .tx_bytes = 10});
	tell(holder, CONTROL_CHANNEL_DONE, channel,
		(struct control_counts){.rx_messages = 1, .rx_bytes = 10});
	assert_int_equal(of_end(0)->tx_bytes, 10);
	assert_int_equal(listener_for(domain_find(w->broker, DB), "db")->traffic.rx_bytes, 10);
	assert_int_equal(world_bytes(w, APP), bytes);
	world_check(w);
	world_free(w);
}

/* An end may say what it likes: no sum goes back, and no other domain's changes. */
static void test_lies(void **state)
{
	uint32_t channel = start(NULL);
	struct control_message message = {.type = CONTROL_CHANNEL_COUNTS};

	tell(caller, CONTROL_CHANNEL_COUNTS, channel,
		(struct control_counts){.tx_bytes = 100, .no_room = 5});
	tell(caller, CONTROL_CHANNEL_COUNTS, channel, (struct control_counts){.tx_bytes = 50});
	assert_int_equal(of_end(0)->tx_bytes, 100);
	assert_int_equal(of_end(0)->no_room, 5);
	tell(caller, CONTROL_CHANNEL_COUNTS, channel, (struct control_counts){.tx_bytes = 110});
	assert_int_equal(of_end(0)->tx_bytes, 110);
	tell(caller, CONTROL_CHANNEL_COUNTS, channel,
		(struct control_counts){.tx_bytes = UINT64_MAX});
	assert_int_equal(of_end(0)->tx_bytes, COUNT_MAX);
	assert_traffic(of_end(1), (struct traffic){0});
	/* A channel, or an end, that never was. */
	message.channel_counts.end = ends[0];
	message.channel_counts.channel = channel + 1;
	assert_int_equal(app_send(caller, &message), -ECONNRESET);
	message.channel_counts.end = 99;
	assert_int_equal(app_send(holder, &message), -ECONNRESET);
	world_free(w);
}

/* They are kept in memory that the caller's domain pays for; if it cannot, the last ones count. */
static void test_memory(void **state)
{
	struct broker_limits limits;
	uint32_t channels[130], n = 0, bytes;
	const struct broker_channel *c;

	broker_limits_default(&limits);
	limits.bytes = 64 << 10;
	channels[n++] = start(&limits);
	for (; n < ARRAY_SIZE(channels); n++)
		channels[n] = connect_one("db/db");
	bytes = world_bytes(w, APP);
	for (uint32_t i = 0; i < n; i++)
		tell(caller, CONTROL_CHANNEL_COUNTS, channels[i],
			(struct control_counts){.tx_bytes = 1});
	assert_in_range(world_bytes(w, APP), bytes + 1000, limits.bytes);
	world_check(w);
	HASH_FIND(hh, w->broker->links->channels, &channels[n - 1], sizeof(channels[0]), c);
	assert_null(c->counts); /* else the limit was none */
	for (uint32_t i = 0; i < n; i++) {
		tell(caller, CONTROL_CHANNEL_DONE, channels[i],
			(struct control_counts){.tx_bytes = 3});
		world_check(w);
		app_closed(holder, ends[1], channels[i]);
	}
	assert_int_equal(of_end(0)->tx_bytes, 3 * n);
	world_free(w);
}

/* When the caller's end has closed, the holder's domain pays, for the counts as well. */
static void test_another_pays(void **state)
{
	uint32_t channel = start(NULL), bytes = world_bytes(w, DB);

	app_accepted(holder, ends[1], channel);
	tell(caller, CONTROL_CHANNEL_COUNTS, channel, (struct control_counts){.tx_bytes = 1});
	tell(caller, CONTROL_CHANNEL_DONE, channel, (struct control_counts){.tx_bytes = 2});
	assert_true(world_bytes(w, DB) > bytes + sizeof(struct broker_channel));
	world_check(w);
	tell(holder, CONTROL_CHANNEL_DONE, channel, (struct control_counts){.rx_bytes = 2});
	assert_int_equal(world_bytes(w, DB), bytes);
	world_check(w);
	world_free(w);
}

static void test_links(void **state)
{
	struct control_message message = {.type = CONTROL_LINK_COUNTS};
	const struct link_end *end;

	(void)start(NULL);
	end = &w->broker->links->ends[0];
	message.link_counts.end = ends[0];
	message.link_counts.notifications = 10;
	message.link_counts.hypercalls = 20;
	assert_int_equal(app_send(caller, &message), 0);
	message.link_counts.notifications = 15;
	message.link_counts.hypercalls = 5;
	assert_int_equal(app_send(caller, &message), 0);
	assert_int_equal(end->notifications, 15);
	assert_int_equal(end->hypercalls, 20);
	message.link_counts.end = 99;
	assert_int_equal(app_send(caller, &message), -ECONNRESET);
	world_free(w);
}

/* ---- asking --------------------------------------------------------------------------------- */

static void ask(uint64_t after_ns)
{
	world_pass(w, after_ns);
	broker_ask_counts(w->broker);
}

static int answer(struct app *app, uint32_t token)
{
	struct control_message message = {.type = CONTROL_ANSWER, .answer = {.token = token}};

	return app_send(app, &message);
}

static void test_asks(void **state)
{
	const struct control_message *m;
	struct app *older;
	uint32_t token;

	(void)start(NULL);
	older = app_new_with(w, 2, APP, 0);
	ask(0);
	TAKE(m, caller, CONTROL_ASK);
	token = m->ask.token;
	assert_int_equal(m->ask.wants, ASK_COUNTS);
	TAKE(m, holder, CONTROL_ASK);
	assert_int_not_equal(m->ask.token, token);
	TAKE_NOTHING(older);
	ask(COUNTS_ASK_NS - 1);
	TAKE_NOTHING(caller);
	assert_int_equal(answer(caller, token), 0);
	/* The other one has not answered: nothing piles up. */
	ask(1);
	TAKE(m, caller, CONTROL_ASK);
	TAKE_NOTHING(holder);
	/* One answer for each question. */
	assert_int_equal(answer(caller, token), -ECONNRESET);
	assert_int_equal(answer(holder, 0x7fffffff), -ECONNRESET);
	world_free(w);
}

/* The sums of an application, which outlive its channels and itself. */
static void test_domain_sums(void **state)
{
	const struct control_message *m;
	struct control_message said = {.type = CONTROL_ANSWER};

	(void)start(NULL);
	ask(0);
	TAKE(m, caller, CONTROL_ASK);
	said.answer = (struct control_answer){.token = m->ask.token,
		.tx_messages = 1,
		.tx_bytes = 2,
		.rx_messages = 3,
		.rx_bytes = 4,
		.drops = 5,
		.no_credit = 6,
		.no_room = 7,
		.notifications = 8,
		.hypercalls = 9};
	assert_int_equal(app_send(caller, &said), 0);
	assert_int_equal(broker_counts_pending(w->broker), 1); /* the holder */
	said.answer.token = 0;				       /* it detaches */
	said.answer.tx_bytes = 12;
	said.answer.hypercalls = 3;
	assert_int_equal(app_send(caller, &said), 0);
	app_die(caller);
	app_die(holder);
	assert_int_equal(broker_counts_pending(w->broker), 0);
	assert_traffic(of_domain(APP), (struct traffic){.tx_messages = 1,
					       .tx_bytes = 12,
					       .rx_messages = 3,
					       .rx_bytes = 4,
					       .drops = 5,
					       .no_credit = 6,
					       .no_room = 7});
	assert_int_equal(domain_find(w->broker, APP)->notifications, 8);
	assert_int_equal(domain_find(w->broker, APP)->hypercalls, 9);
	/* Another one of it adds to that; one that was there before has been counted. */
	caller = app_new_with(w, 0, APP, FEATURE_COUNTS);
	said.answer.tx_bytes = 100;
	assert_int_equal(app_send(caller, &said), 0);
	assert_int_equal(of_domain(APP)->tx_bytes, 112);
	holder = &w->apps[1];
	assert_int_equal(app_attach(holder, APP, false), 0);
	assert_int_equal(app_hello_with(holder, FEATURE_COUNTS, true), 0);
	assert_int_equal(app_announce_done(holder), 0);
	assert_int_equal(app_send(holder, &said), 0);
	assert_int_equal(of_domain(APP)->tx_bytes, 112);
	said.answer.tx_bytes = 101;
	assert_int_equal(app_send(holder, &said), 0);
	assert_int_equal(of_domain(APP)->tx_bytes, 113);
	/* Whatever they say, the sum stops at the most. */
	said.answer.tx_bytes = UINT64_MAX - 1;
	said.answer.hypercalls = UINT64_MAX;
	assert_int_equal(app_send(holder, &said), 0);
	assert_int_equal(of_domain(APP)->tx_bytes, COUNT_MAX);
	assert_int_equal(app_send(caller, &said), 0);
	assert_int_equal(of_domain(APP)->tx_bytes, COUNT_MAX);
	assert_int_equal(domain_find(w->broker, APP)->hypercalls, COUNT_MAX);
	world_free(w);
}

static void test_full_ring(void **state)
{
	const struct control_message *m;

	(void)start(NULL);
	caller->full = true;
	ask(0);
	TAKE(m, holder, CONTROL_ASK);
	TAKE_NOTHING(caller);
	assert_true(TAILQ_EMPTY(&caller->process->outbox));
	app_read(caller);
	TAKE_NOTHING(caller);
	ask(COUNTS_ASK_NS);
	TAKE(m, caller, CONTROL_ASK);
	world_free(w);
}

/* The former msgd has counted what an announced channel had carried. */
static void test_announced(void **state)
{
	w = world_new(ALL, NULL);
	broker_recover(w->broker, 2);
	caller = &w->apps[0];
	holder = &w->apps[1];
	ends[0] = 40;
	ends[1] = 50;
	assert_int_equal(app_attach(caller, APP, true), 0);
	assert_int_equal(app_attach(holder, DB, true), 0);
	assert_int_equal(app_hello_with(caller, FEATURE_COUNTS, true), 0);
	assert_int_equal(app_hello_with(holder, FEATURE_COUNTS, true), 0);
	assert_int_equal(app_announce_link(caller, 40, UID, DB, TRANSPORT_GRANT, 0, 1), 0);
	assert_int_equal(app_announce_channel(caller, 40, 9, 0, 0, "db"), 0);
	assert_int_equal(app_announce_link(holder, 50, UID, APP, TRANSPORT_GRANT, 1, 1), 0);
	assert_int_equal(app_announce_channel(holder, 50, 9, 1, 1, "db"), 0);
	assert_int_equal(app_announce_done(caller), 0);
	assert_int_equal(app_announce_done(holder), 0);
	tell(caller, CONTROL_CHANNEL_COUNTS, 9, (struct control_counts){.tx_bytes = 1000});
	assert_int_equal(of_end(0)->tx_bytes, 0);
	tell(caller, CONTROL_CHANNEL_COUNTS, 9, (struct control_counts){.tx_bytes = 1001});
	assert_int_equal(of_end(0)->tx_bytes, 1);
	tell(holder, CONTROL_CHANNEL_DONE, 9, (struct control_counts){.rx_bytes = 1001});
	assert_int_equal(of_end(1)->rx_bytes, 0); /* its first words are its last */
	world_check(w);
	world_free(w);
}

/* ---- names that change hands ---------------------------------------------------------------- */

/* The holder's end of a channel to this name says so much, and the name is given back. */
static void use_name(const char *name, uint64_t rx_bytes)
{
	char address[2 * NAME_SIZE];
	uint32_t channel;

	assert_int_equal(app_listen(holder, 2, name, 1), 0);
	(void)snprintf(address, sizeof(address), "db/%s", name);
	channel = connect_one(address);
	tell(caller, CONTROL_CHANNEL_DONE, channel, (struct control_counts){0});
	tell(holder, CONTROL_CHANNEL_DONE, channel, (struct control_counts){.rx_bytes = rx_bytes});
	assert_int_equal(app_unlisten(holder, 2), 0);
	world_check(w);
}

/* The name as a new holder begins with it. */
static struct listener held_anew(struct app *app, const char *name)
{
	struct listener listener;

	assert_int_equal(app_listen(app, 3, name, 1), 0);
	listener = *listener_find(domain_find(w->broker, DB), name);
	assert_int_equal(app_unlisten(app, 3), 0);
	return listener;
}

static void test_next_holder(void **state)
{
	struct app *next;

	(void)start(NULL);
	next = app_new_with(w, 2, DB, FEATURE_COUNTS);
	broker_set_wall(w->broker, 1000);
	use_name("x", 7);
	broker_set_wall(w->broker, 2000);
	use_name("x", 5);
	assert_int_equal(held_anew(next, "x").traffic.rx_bytes, 12);
	assert_int_equal(held_anew(next, "x").counted_us, 1000);
	/* One that has carried nothing is not remembered. */
	assert_int_equal(held_anew(next, "y").counted_us, 2000);
	assert_int_equal(HASH_COUNT(domain_find(w->broker, DB)->formers), 1);
	/* Nor is any when the domain has ended. */
	world_remove_domain(w, DB);
	world_check(w);
	world_free(w);
}

/* As many as it may hold names, the last ones; and in a part of its memory. */
static void test_former_names(void **state)
{
	struct broker_limits limits;
	char name[16];
	unsigned n, max;

	broker_limits_default(&limits);
	limits.quota[QUOTA_NAMES] = 3;
	(void)start(&limits);
	for (unsigned i = 0; i < 5; i++) {
		(void)snprintf(name, sizeof(name), "n%u", i);
		use_name(name, 1);
	}
	assert_int_equal(HASH_COUNT(domain_find(w->broker, DB)->formers), 3);
	assert_int_equal(held_anew(holder, "n1").traffic.rx_bytes, 0);
	assert_int_equal(held_anew(holder, "n2").traffic.rx_bytes, 1);
	world_free(w);

	limits.quota[QUOTA_NAMES] = 1000;
	limits.bytes = 64 << 10;
	max = limits.bytes / DOMAIN_FORMER_SHARE / FORMER_BYTES;
	(void)start(&limits);
	for (unsigned i = 0; i < 2 * max; i++) {
		(void)snprintf(name, sizeof(name), "n%u", i);
		use_name(name, 1);
	}
	n = HASH_COUNT(domain_find(w->broker, DB)->formers);
	assert_int_equal(n, max);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sums),
		cmocka_unit_test(test_short_lived),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_another_pays),
		cmocka_unit_test(test_links),
		cmocka_unit_test(test_asks),
		cmocka_unit_test(test_domain_sums),
		cmocka_unit_test(test_full_ring),
		cmocka_unit_test(test_announced),
		cmocka_unit_test(test_next_holder),
		cmocka_unit_test(test_former_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
