/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The history: its fair ring, and the events that the broker's objects make. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/broker/domain.h"
#include "daemon/broker/state.h"
#include "tests/unit/daemon/cmocka-all.h"
#include "tests/unit/daemon/world.h"

#define ALL "allow listen * on any\nallow connect * from any to any\n"

/* ---- the ring ------------------------------------------------------------------------------- */

static struct history *history_new(void)
{
	struct history *history = calloc(1, sizeof(*history));

	assert_non_null(history);
	history_init(history);
	return history;
}

/* Counts agree, and all is in order. */
static void check(const struct history *history, const struct history_source *sources, size_t n)
{
	const struct history_event *event;
	uint64_t last = 0;
	unsigned all = 0, most = 0, counted = 0;

	TAILQ_FOREACH (event, &history->events, entry) {
		assert_true(event->serial > last);
		last = event->serial;
		all++;
	}
	assert_int_equal(all, history->n_used);
	for (size_t i = 0; i < n; i++) {
		unsigned own = 0;

		TAILQ_FOREACH (event, &sources[i].events, source_entry) {
			assert_ptr_equal(event->source, &sources[i]);
			own++;
		}
		assert_int_equal(own, sources[i].n);
		counted += own;
		most = own > most ? own : most;
	}
	assert_int_equal(counted + history->gone.n, all);
	assert_int_equal(history->most, history->gone.n > most ? history->gone.n : most);
}

static void test_order(void **state)
{
	struct history *history = history_new();
	struct history_source source;
	uint64_t serial;

	memset(&source, 0, sizeof(source));
	history_source_init(&source);
	assert_null(history_from(history, 0));
	for (serial = 1; serial <= 3 * HISTORY_EVENTS; serial++)
		assert_int_equal(history_add(history, &source)->serial, serial);
	check(history, &source, 1);
	assert_int_equal(history_from(history, 0)->serial, 2 * HISTORY_EVENTS + 1);
	assert_int_equal(history_from(history, 2500)->serial, 2500);
	assert_null(history_from(history, serial));
	free(history);
}

/* However much others cause, a source keeps the last of its events, as many as its share. */
static void test_share(void **state)
{
	struct history_source sources[10];
	struct history *history = history_new();

	memset(sources, 0, sizeof(sources));
	for (unsigned i = 0; i < 10; i++)
		history_source_init(&sources[i]);
	for (unsigned i = 0; i < HISTORY_EVENTS / 10; i++)
		(void)history_add(history, &sources[0]);
	for (unsigned i = 0; i < 100000; i++)
		(void)history_add(history, &sources[1 + i % 9]);
	check(history, sources, 10);
	assert_int_equal(sources[0].n, HISTORY_EVENTS / 10);
	assert_int_equal(TAILQ_FIRST(&sources[0].events)->serial, 1);
	/* One of them goes on alone: it does not take what is the others'. */
	for (unsigned i = 0; i < 100000; i++)
		(void)history_add(history, &sources[5]);
	check(history, sources, 10);
	for (unsigned i = 0; i < 10; i++)
		assert_in_range(sources[i].n, HISTORY_EVENTS / 10 - 1, HISTORY_EVENTS / 10 + 1);
	assert_int_equal(TAILQ_FIRST(&sources[0].events)->serial, 1);
	free(history);
}

/* Sources that come and go have one share together. */
static void test_gone(void **state)
{
	struct history_source sources[2];
	struct history *history = history_new();

	memset(sources, 0, sizeof(sources));
	history_source_init(&sources[0]);
	history_source_init(&sources[1]);
	for (unsigned i = 0; i < 400; i++)
		(void)history_add(history, &sources[0]);
	for (unsigned life = 0; life < 100; life++) {
		for (unsigned i = 0; i < 100; i++)
			(void)history_add(history, &sources[1]);
		assert_int_equal(history_source_end(history, &sources[1]), 100);
		check(history, sources, 2);
	}
	assert_int_equal(sources[0].n, 400);
	assert_int_equal(history->gone.n, 600);
	assert_int_equal(history_source_end(history, &sources[1]), 0);
	check(history, sources, 2);
	free(history);
}

/* ---- the broker's events -------------------------------------------------------------------- */

/* The last event of this kind; there must be one. */
static const struct history_event *last(const struct world *w, enum history_kind kind)
{
	const struct history_event *event;

	TAILQ_FOREACH_REVERSE(event, &broker_history(w->broker)->events, history_events, entry)
	{
		if (event->kind == kind)
			return event;
	}
	fail_msg("no event of kind %d", kind);
	return NULL;
}

static void at(struct world *w, uint64_t now_ms)
{
	w->now_ns = now_ms * 1000000;
	broker_set_now(w->broker, w->now_ns);
	broker_set_wall(w->broker, now_ms * 1000 + 7);
}

/* A connect, stage by stage, and its channel. */
static void test_connect(void **state)
{
	struct world *w = world_new(ALL, NULL);
	struct app *caller, *holder;
	const struct history_event *event;
	const struct control_message *m;

	at(w, 10000);
	caller = app_new(w, 0, 3, false);
	holder = app_new(w, 1, 2, false);
	event = last(w, HISTORY_ATTACHED);
	assert_string_equal(event->who.domain, "db");
	assert_int_equal(event->who.pid, 1002);
	assert_string_equal(event->who.comm, "test");
	assert_int_equal(event->wall_us, 10000007);
	assert_int_equal(event->at_ns, 10000000000);
	app_connect(caller, 1, "db/db", CONNECT_WAIT_NAME, 0);
	at(w, 10020);
	assert_int_equal(app_listen(holder, 1, "db", 4), 0);
	assert_string_equal(last(w, HISTORY_LISTENING)->name, "db");
	at(w, 10050);
	TAKE(m, caller, CONTROL_LINK_CREATE);
	app_offer(caller, m->link_create.end, 0);
	TAKE(m, holder, CONTROL_LINK_BIND);
	at(w, 10060);
	app_ready(holder, m->link_bind.end, 0);
	event = last(w, HISTORY_LINK_MADE);
	assert_string_equal(event->text, "no Argo in app");
	event = last(w, HISTORY_CONNECTED);
	assert_int_equal(event->us[CONNECT_QUEUE], 0);
	assert_int_equal(event->us[CONNECT_NAME], 20000);
	assert_int_equal(event->us[CONNECT_LINK], 40000);
	assert_string_equal(event->who.domain, "app");
	assert_string_equal(event->peer.domain, "db");
	assert_string_equal(event->name, "db");
	assert_int_equal(event->channel, 1);
	at(w, 10063);
	TAKE(m, holder, CONTROL_CHANNEL);
	app_accepted(holder, m->channel.end, m->channel.channel);
	event = last(w, HISTORY_ACCEPTED);
	assert_int_equal(event->us[CONNECT_ACCEPT], 3000);
	assert_string_equal(event->who.domain, "db");
	world_policy(w, "allow listen * on any\n");
	event = last(w, HISTORY_CHANNEL_RESET);
	assert_string_equal(event->text, "no longer permitted");
	assert_string_equal(event->rule, "no rule");
	event = last(w, HISTORY_LINK_DOWN);
	assert_int_equal(event->error, EACCES);
	world_free(w);
}

/* The holder ends under a channel, after its close by one end, and by both; and detaches. */
static void test_link_reset(void **state)
{
	for (unsigned how = 0; how <= 3; how++) {
		struct world *w = world_new(ALL, NULL);
		struct app *caller = app_new(w, 0, 3, false), *holder = app_new(w, 1, 2, false);
		const struct domain *db = domain_find(w->broker, 2),
				    *app = domain_find(w->broker, 3);
		const struct control_message last_words = {.type = CONTROL_ANSWER};
		bool reset = how == 0;
		const struct history_event *event;
		const struct control_message *m;
		uint32_t end;

		assert_int_equal(app_listen(holder, 1, "db", 4), 0);
		app_connect(caller, 1, "db/db", 0, 0);
		TAKE(m, caller, CONTROL_LINK_CREATE);
		end = m->link_create.end;
		app_offer(caller, end, 0);
		TAKE(m, holder, CONTROL_LINK_BIND);
		app_ready(holder, m->link_bind.end, 0);
		TAKE(m, holder, CONTROL_CHANNEL);
		if (how == 1 || how == 2)
			app_closed(caller, end, m->channel.channel);
		if (how == 2)
			app_closed(holder, m->channel.end, m->channel.channel);
		if (how == 3)
			assert_int_equal(app_send(holder, &last_words), 0);
		app_die(holder);
		event = last(w, HISTORY_LINK_DOWN);
		assert_string_equal(event->text, "its process ended");
		assert_int_equal(event->error, reset ? ECONNRESET : 0);
		assert_int_equal(w->broker->stats.reset, reset);
		assert_int_equal(db->stats.reset, reset);
		assert_int_equal(app->stats.reset, 0);
		world_free(w);
	}
}

/* Refused by a rule, by a limit; failed; given up. */
static void test_refused(void **state)
{
	struct broker_limits limits;
	const struct history_event *event;
	struct app *app, *more;
	struct world *w;

	broker_limits_default(&limits);
	limits.quota[QUOTA_PROCESSES] = 1;
	limits.quota[QUOTA_NAMES] = 1;
	w = world_new("deny connect secret from any to any\n" ALL, &limits);
	app = app_new(w, 0, 3, false);
	app_connect(app, 1, "db/secret", 0, 0);
	event = last(w, HISTORY_REFUSED);
	assert_string_equal(event->rule, "test.policy:1");
	assert_string_equal(event->text, "");
	assert_int_equal(event->error, EACCES);
	assert_string_equal(event->peer.domain, "db");
	assert_string_equal(event->name, "secret");
	app_connect(app, 2, "db/db", 0, 0);
	event = last(w, HISTORY_FAILED);
	assert_int_equal(event->error, ENOENT);
	assert_string_equal(event->text, "nobody listens as db in db");
	app_connect(app, 3, "db/db", CONNECT_WAIT_NAME, 0);
	app_cancel(app, 3);
	assert_int_equal(last(w, HISTORY_FAILED)->error, ECANCELED);
	app_forget(app);
	app_connect(app, 4, "db/db", CONNECT_WAIT_NAME, 0);
	app_expire(app, 4);
	TAKE_STATUS(app, 4, ETIMEDOUT);
	event = last(w, HISTORY_FAILED);
	assert_int_equal(event->error, ETIMEDOUT);
	assert_string_equal(event->text, "nobody listens as db in db");
	app_forget(app);
	assert_int_equal(app_listen(app, 1, "a", 4), 0);
	assert_int_equal(app_listen(app, 2, "b", 4), EDQUOT);
	event = last(w, HISTORY_REFUSED);
	assert_string_equal(event->rule, "");
	assert_string_equal(event->text, "limit names=1 of domain app");
	assert_string_equal(event->name, "b");
	assert_int_equal(w->broker->stats.attached, 1);
	more = &w->apps[1];
	assert_int_equal(app_attach(more, 3, false), 0);
	(void)app_hello(more, false, false);
	event = last(w, HISTORY_REFUSED);
	assert_string_equal(event->text, "limit processes=1 of domain app");
	/* It was never attached. */
	assert_int_equal(w->broker->stats.attached, 1);
	app_die(more);
	assert_int_equal(w->broker->history.last_serial, event->serial);
	broker_violation(app->process, "it lies");
	app->process = NULL;
	assert_string_equal(last(w, HISTORY_DROPPED)->text, "it lies");
	world_free(w);
}

/* The administrator's events: of domains, of policy, of actions. */
static void test_admin(void **state)
{
	struct world *w = world_new(ALL, NULL);
	const struct history_event *event;

	assert_int_equal(broker_quiesce(w->broker, 1), 0);
	assert_string_equal(last(w, HISTORY_QUIESCED)->who.domain, "web");
	assert_int_equal(broker_resume(w->broker, 1), 0);
	assert_string_equal(last(w, HISTORY_RESUMED)->text, "msgctl");
	broker_note_client(w->broker, HISTORY_ADMIN, 1000, 17, 0, "kick domain=web", NULL);
	event = last(w, HISTORY_ADMIN);
	assert_true(event->by_client);
	assert_int_equal(event->uid, 1000);
	assert_int_equal(event->client_pid, 17);
	assert_string_equal(event->text, "kick domain=web");
	broker_note_client(w->broker, HISTORY_RELOAD, 0, 0, EINVAL, "policy:3: wrong", NULL);
	event = last(w, HISTORY_RELOAD);
	assert_false(event->by_client);
	assert_int_equal(event->error, EINVAL);
	world_free(w);
}

/* ---- an attacker ---------------------------------------------------------------------------- */

static unsigned count_of(const struct world *w, uint16_t domid)
{
	const struct history_event *event;
	unsigned n = 0;

	TAILQ_FOREACH (event, &broker_history(w->broker)->events, entry)
		n += event->who.known && event->who.domid == domid;
	return n;
}

/*
 * Neither connects that are refused, nor links that it breaks, nor rebooting lets a domain flush
 * the events of others; nor does it cost memory.
 */
static void test_flood(void **state)
{
	struct world *w = world_new(ALL, NULL);
	struct app *honest = app_new(w, 0, 3, false), *hostile;
	const struct control_message *m;
	unsigned before;
	uint64_t bytes;

	assert_int_equal(app_listen(honest, 1, "db", 4), 0);
	for (uint32_t i = 1; i <= 50; i++)
		app_connect(honest, i, "vault/none", 0, 0);
	broker_note_client(w->broker, HISTORY_ADMIN, 0, 1, 0, "reload", NULL);
	app_forget(honest);
	before = count_of(w, 3);
	assert_int_equal(before, 52);
	bytes = broker_bytes(w->broker);
	for (unsigned life = 0; life < 40; life++) {
		hostile = app_new(w, 1, 5, false);
		for (uint32_t i = 1; i <= 500; i++) {
			app_connect(hostile, i, "db/none", 0, 0);
			app_forget(hostile);
		}
		/* It makes the honest one's links fail: the honest one is no source of that. */
		assert_int_equal(app_listen(hostile, 1, "trap", 4), 0);
		app_connect(honest, 1000 + life, "vault/trap", 0, 0);
		while ((m = app_take(honest)) && m->type != CONTROL_LINK_CREATE)
			;
		assert_non_null(m);
		app_offer(honest, m->link_create.end, 0);
		TAKE(m, hostile, CONTROL_LINK_BIND);
		while (m && m->type != CONTROL_LINK_BIND)
			m = app_take(hostile);
		app_die(hostile);
		app_forget(honest);
		world_rebirth(w, 5);
	}
	assert_int_equal(broker_bytes(w->broker), bytes);
	assert_int_equal(w->broker->history.n_used, HISTORY_EVENTS);
	assert_true(count_of(w, 3) >= before);
	assert_string_equal(last(w, HISTORY_ADMIN)->text, "reload");
	assert_int_equal(history_from(&w->broker->history, 0)->serial, 1);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_share),
		cmocka_unit_test(test_gone),
		cmocka_unit_test(test_connect),
		cmocka_unit_test(test_link_reset),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_admin),
		cmocka_unit_test(test_flood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
