/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* msgd's return: PROTOCOL.md 5.1. Honest announcements stand again, lies hurt the liar only. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/macro.h"
#include "daemon/broker/channel.h"
#include "daemon/broker/link.h"
#include "daemon/broker/state.h"
#include "tests/unit/daemon/cmocka-all.h"
#include "tests/unit/daemon/world.h"

#define ALL "allow listen * on any\nallow connect * from any to any\n"
#define UID UINT64_C(0xabcdef)

/* Two applications of domains 3 (caller) and 2 (holder) that were there before. */
struct scene {
	struct world *w;
	struct app *caller, *holder;
};

static void scene_start(struct scene *s, const char *rules, unsigned n_found)
{
	const struct control_message *m;

	s->w = world_new(rules, NULL);
	broker_recover(s->w->broker, n_found);
	s->caller = &s->w->apps[0];
	s->holder = &s->w->apps[1];
	assert_int_equal(app_attach(s->caller, 3, true), 0);
	assert_int_equal(app_attach(s->holder, 2, true), 0);
	assert_int_equal(app_hello(s->caller, true, true), 0);
	TAKE(m, s->caller, CONTROL_WELCOME);
	assert_int_equal(app_hello(s->holder, true, true), 0);
	TAKE(m, s->holder, CONTROL_WELCOME);
}

static void scene_announce(struct scene *s)
{
	assert_int_equal(app_announce_link(s->caller, 40, UID, 2, TRANSPORT_ARGO, 0, 1), 0);
	assert_int_equal(app_announce_channel(s->caller, 40, 9, 0, 0, "db"), 0);
	assert_int_equal(app_announce_link(s->holder, 50, UID, 3, TRANSPORT_ARGO, 1, 1), 0);
	assert_int_equal(app_announce_channel(s->holder, 50, 9, 1, 1, "db"), 0);
	assert_int_equal(app_listen(s->holder, 1, "db", 4), 0);
}

static void expire(struct world *w)
{
	assert_true(w->timer_ns != 0);
	w->now_ns = w->timer_ns;
	broker_set_now(w->broker, w->now_ns);
	broker_tick(w->broker);
}

static void test_stands_again(void **state)
{
	const struct control_message *m;
	struct scene s;
	struct app *other;

	scene_start(&s, ALL, 2);
	assert_true(s.w->broker->recovering);
	assert_int_equal(s.w->timer_ns, s.w->now_ns + UINT64_C(2000000000));
	scene_announce(&s);
	/* A newcomer waits, with its LISTEN and its CONNECT. */
	other = app_new(s.w, 2, 2, true);
	app_connect(other, 5, "db", 0, 0);
	TAKE_NOTHING(other);
	assert_int_equal(app_announce_done(s.caller), 0);
	TAKE_NOTHING(other);
	assert_int_equal(app_announce_done(s.holder), 0);
	assert_false(s.w->broker->recovering);
	assert_int_equal(s.w->timer_ns, 0);
	TAKE(m, other, CONTROL_LINK_CREATE);
	TAKE_NOTHING(s.caller);
	TAKE_NOTHING(s.holder);
	world_check(s.w);
	/* The link is used; end and channel numbers go on above those announced. */
	app_connect(s.caller, 6, "db", 0, 0);
	TAKE(m, s.holder, CONTROL_CHANNEL);
	assert_int_equal(m->channel.end, 50);
	assert_int_equal(m->channel.channel, 10);
	TAKE(m, s.caller, CONTROL_CONNECTED);
	assert_int_equal(m->connected.end, 40);
	app_closed(s.caller, 40, 9);
	app_closed(s.holder, 50, 9);
	app_connect(s.caller, 7, "db", 0, TRANSPORT_GRANT);
	TAKE(m, s.caller, CONTROL_LINK_CREATE);
	assert_int_equal(m->link_create.end, 41);
	world_free(s.w);
}

/* A link of either kind stands again by what both say; why it is not Argo is what it was before. */
static void test_transports_stand_again(void **state)
{
	static const struct {
		uint32_t transport;
		uint64_t holder;
		const char *why;
		bool swapped; /* the features are the caller's */
	} cases[] = {
		{TRANSPORT_GRANT, FEATURE_NO_ARGO_DRIVER, "no driver in db"},
		{TRANSPORT_GRANT, FEATURE_NO_ARGO_DRIVER, "no driver in app", true},
		{TRANSPORT_ARGO, FEATURE_NO_ARGO_DRIVER, "made before msgd's restart"},
		{TRANSPORT_GRANT, FEATURE_NO_HYPERVISOR_ARGO, "no Argo in the hypervisor"},
		{TRANSPORT_GRANT, FEATURE_ARGO, "made before msgd's restart"},
		{TRANSPORT_ARGO_STRICT, FEATURE_ARGO | FEATURE_ARGO_STRICT,
			"made before msgd's restart"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t transport = cases[i].transport;
		struct world *w = world_new(ALL, NULL);
		struct app *caller = &w->apps[0], *holder = &w->apps[1];

		broker_recover(w->broker, 2);
		assert_int_equal(app_attach(caller, 3, true), 0);
		assert_int_equal(app_attach(holder, 2, true), 0);
		assert_int_equal(app_hello(cases[i].swapped ? holder : caller, true, true), 0);
		assert_int_equal(
			app_hello_with(cases[i].swapped ? caller : holder, cases[i].holder, true),
			0);
		assert_int_equal(app_announce_link(caller, 40, UID, 2, transport, 0, 1), 0);
		assert_int_equal(app_announce_channel(caller, 40, 9, 0, 0, "db"), 0);
		assert_int_equal(app_announce_link(holder, 50, UID, 3, transport, 1, 1), 0);
		assert_int_equal(app_announce_channel(holder, 50, 9, 1, 1, "db"), 0);
		assert_int_equal(app_announce_done(caller), 0);
		assert_int_equal(app_announce_done(holder), 0);
		assert_int_equal(w->broker->links->state, BROKER_LINK_UP);
		assert_int_equal(HASH_COUNT(w->broker->links->channels), 1);
		assert_string_equal(w->broker->links->why, cases[i].why);
		world_check(w);
		world_free(w);
	}
}

/* LISTENs of newcomers wait, so that a returning holder does not lose its name. */
static void test_names_are_kept(void **state)
{
	struct control_message listen = {.type = CONTROL_LISTEN, .request = 30};
	struct control_message unlisten = {.type = CONTROL_UNLISTEN, .request = 31};
	struct scene s;
	struct app *other;

	scene_start(&s, ALL, 2);
	other = app_new(s.w, 2, 2, true);
	listen.listen.listener = 1;
	listen.listen.type = CHANNEL_SEQPACKET;
	listen.listen.backlog = 1;
	strcpy(listen.listen.name, "db");
	assert_int_equal(app_send(other, &listen), 0);
	listen.request = 32;
	listen.listen.listener = 2;
	strcpy(listen.listen.name, "mine");
	assert_int_equal(app_send(other, &listen), 0);
	listen.request = 33;
	listen.listen.listener = 3;
	strcpy(listen.listen.name, "never");
	assert_int_equal(app_send(other, &listen), 0);
	TAKE_NOTHING(other);
	unlisten.unlisten.listener = 3;
	assert_int_equal(app_send(other, &unlisten), 0);
	TAKE_STATUS(other, 33, ECANCELED);
	TAKE_STATUS(other, 31, 0);
	assert_int_equal(app_listen(s.holder, 7, "db", 4), 0);
	assert_int_equal(app_announce_done(s.holder), 0);
	app_die(s.caller); /* it counts as having come back */
	assert_false(s.w->broker->recovering);
	TAKE_STATUS(other, 30, EADDRINUSE);
	TAKE_STATUS(other, 32, 0);
	TAKE_NOTHING(other);
	world_free(s.w);
}

static void test_time_limit(void **state)
{
	const struct control_message *m;
	struct app *other;
	struct scene s;

	scene_start(&s, ALL, 3); /* the third never comes */
	scene_announce(&s);
	assert_int_equal(app_announce_link(s.caller, 41, UID + 1, 5, TRANSPORT_ARGO, 0, 1), 0);
	assert_int_equal(app_announce_done(s.caller), 0);
	other = app_new(s.w, 2, 1, true);
	app_connect(other, 5, "db", 0, 0);
	TAKE_NOTHING(other);
	expire(s.w);
	TAKE(m, other, CONTROL_LINK_CREATE);
	/* Nobody in domain 5 can announce the other end any more. */
	TAKE(m, s.caller, CONTROL_LINK_DOWN);
	assert_int_equal(m->link_down.end, 41);
	assert_int_equal(m->link_down.error, ECONNRESET);
	/* But the holder is merely slow: its link stays until it has spoken. */
	TAKE_NOTHING(s.caller);
	assert_int_equal(app_announce_done(s.holder), 0);
	TAKE_NOTHING(s.caller);
	TAKE_NOTHING(s.holder);
	app_connect(s.caller, 6, "db", 0, TRANSPORT_ARGO);
	TAKE(m, s.caller, CONTROL_CONNECTED);
	assert_int_equal(m->connected.end, 40);
	world_free(s.w);
}

/* An application that is busy elsewhere when msgd returns keeps its link, however long it takes. */
static void test_slow_end(void **state)
{
	const struct control_message *m;
	struct scene s;

	s.w = world_new(ALL, NULL);
	broker_recover(s.w->broker, 2);
	s.caller = &s.w->apps[0];
	s.holder = &s.w->apps[1];
	assert_int_equal(app_attach(s.caller, 3, true), 0);
	assert_int_equal(app_attach(s.holder, 2, true), 0);
	assert_int_equal(app_hello(s.caller, true, true), 0);
	TAKE(m, s.caller, CONTROL_WELCOME);
	assert_int_equal(app_announce_link(s.caller, 40, UID, 2, TRANSPORT_ARGO, 0, 1), 0);
	assert_int_equal(app_announce_channel(s.caller, 40, 9, 0, 0, "db"), 0);
	assert_int_equal(app_announce_done(s.caller), 0);
	expire(s.w);
	TAKE_NOTHING(s.caller);
	/* It comes back after all. */
	assert_int_equal(app_hello(s.holder, true, true), 0);
	assert_int_equal(app_announce_link(s.holder, 50, UID, 3, TRANSPORT_ARGO, 1, 1), 0);
	assert_int_equal(app_announce_channel(s.holder, 50, 9, 1, 1, "db"), 0);
	assert_int_equal(app_announce_done(s.holder), 0);
	TAKE_NOTHING(s.caller);
	app_closed(s.caller, 40, 9);
	assert_false(s.caller->dropped);
	world_free(s.w);
}

/* The other end's process was there at start; it dies before it has announced. */
static void test_found_dies(void **state)
{
	const struct control_message *m;
	struct world *w = world_new(ALL, NULL);
	struct app *caller = &w->apps[0], *holder = &w->apps[1];

	broker_recover(w->broker, 2);
	assert_int_equal(app_attach(holder, 2, true), 0);
	assert_int_equal(app_hello(holder, true, true), 0);
	assert_int_equal(app_attach(caller, 3, true), 0);
	assert_int_equal(app_hello(caller, true, true), 0);
	TAKE(m, caller, CONTROL_WELCOME);
	assert_int_equal(app_announce_link(caller, 40, UID, 2, TRANSPORT_ARGO, 0, 1), 0);
	assert_int_equal(app_announce_done(caller), 0);
	assert_true(w->broker->recovering);
	TAKE_NOTHING(caller);
	app_die(holder);
	TAKE(m, caller, CONTROL_LINK_DOWN);
	assert_string_equal(m->link_down.reason, "the other end did not come back");
	world_free(w);
}

/* The other end's process was there at start, comes late, and knows nothing of the link. */
static void test_late_and_empty(void **state)
{
	const struct control_message *m;
	struct world *w = world_new(ALL, NULL);
	struct app *caller = &w->apps[0], *holder = &w->apps[1];

	broker_recover(w->broker, 2);
	assert_int_equal(app_attach(holder, 2, true), 0);
	assert_int_equal(app_attach(caller, 3, true), 0);
	assert_int_equal(app_hello(caller, true, true), 0);
	TAKE(m, caller, CONTROL_WELCOME);
	assert_int_equal(app_announce_link(caller, 40, UID, 2, TRANSPORT_ARGO, 0, 1), 0);
	assert_int_equal(app_announce_done(caller), 0);
	expire(w);
	TAKE_NOTHING(caller);
	assert_int_equal(app_hello(holder, true, false), 0);
	TAKE(m, caller, CONTROL_LINK_DOWN);
	assert_string_equal(m->link_down.reason, "the other end did not come back");
	world_free(w);
}

static void test_one_sided(void **state)
{
	const struct control_message *m;
	struct scene s;

	scene_start(&s, ALL, 2);
	scene_announce(&s);
	/* Each end has one channel that the other does not know. */
	assert_int_equal(app_announce_channel(s.caller, 40, 10, 0, 0, "db"), 0);
	assert_int_equal(app_announce_channel(s.holder, 50, 11, 1, 0, "db"), 0);
	/* One on which they disagree who called. */
	assert_int_equal(app_announce_channel(s.caller, 40, 12, 3, 0, "db"), 0);
	assert_int_equal(app_announce_channel(s.holder, 50, 12, 1, 0, "db"), 0);
	/* And one that the listener's end has not accepted yet: it fills the backlog again. */
	assert_int_equal(app_announce_channel(s.caller, 40, 13, 0, 0, "db"), 0);
	assert_int_equal(app_announce_channel(s.holder, 50, 13, 1, 0, "db"), 0);
	assert_int_equal(app_announce_done(s.caller), 0);
	TAKE_NOTHING(s.caller);
	assert_int_equal(app_announce_done(s.holder), 0);
	TAKE(m, s.caller, CONTROL_CHANNEL_GONE);
	assert_int_equal(m->channel_gone.channel, 10);
	TAKE(m, s.caller, CONTROL_CHANNEL_GONE);
	assert_int_equal(m->channel_gone.channel, 12);
	TAKE_NOTHING(s.caller);
	TAKE(m, s.holder, CONTROL_CHANNEL_GONE);
	assert_int_equal(m->channel_gone.channel, 11);
	TAKE(m, s.holder, CONTROL_CHANNEL_GONE);
	assert_int_equal(m->channel_gone.channel, 12);
	TAKE_NOTHING(s.holder);
	world_check(s.w);
	for (uint32_t i = 0; i < 3; i++) {
		app_connect(s.caller, 6 + i, "db", 0, 0);
		TAKE(m, s.caller, CONTROL_CONNECTED);
	}
	app_connect(s.caller, 9, "db", 0, 0);
	TAKE_STATUS(s.caller, 9, ECONNREFUSED); /* 3 + the one of before = 4 */
	app_accepted(s.holder, 50, 13);
	app_connect(s.caller, 9, "db", 0, 0);
	TAKE(m, s.caller, CONTROL_CONNECTED);
	world_free(s.w);
}

static void test_being_made(void **state)
{
	const struct control_message *m;
	struct scene s;

	scene_start(&s, ALL, 2);
	assert_int_equal(app_announce_link(s.caller, 40, UID, 2, TRANSPORT_GRANT, 0, 0), 0);
	assert_int_equal(app_announce_link(s.holder, 50, UID, 3, TRANSPORT_GRANT, 1, 1), 0);
	app_offer(s.caller, 40, 0); /* answers to the msgd before us */
	app_ready(s.holder, 50, 0);
	assert_false(s.caller->dropped || s.holder->dropped);
	assert_int_equal(app_announce_done(s.caller), 0);
	assert_int_equal(app_announce_done(s.holder), 0);
	TAKE(m, s.caller, CONTROL_LINK_DOWN);
	TAKE(m, s.holder, CONTROL_LINK_DOWN);
	world_free(s.w);
}

static void test_policy_again(void **state)
{
	const struct control_message *m;
	struct scene s;

	scene_start(&s, "allow listen * on any\nallow connect other from any to any\n", 2);
	scene_announce(&s);
	assert_int_equal(app_announce_done(s.caller), 0);
	assert_int_equal(app_announce_done(s.holder), 0);
	TAKE(m, s.caller, CONTROL_CHANNEL_GONE);
	TAKE(m, s.caller, CONTROL_LINK_DOWN);
	assert_int_equal(m->link_down.error, EACCES);
	TAKE(m, s.holder, CONTROL_CHANNEL_GONE);
	TAKE(m, s.holder, CONTROL_LINK_DOWN);
	assert_true(world_logged(s.w, "app(3) to db/db: no longer permitted (no rule)"));
	world_free(s.w);
}

/* An attacker in domain 1 announces somebody else's link, in every form that it can. */
static void test_lies(void **state)
{
	for (int i = 0; i < 6; i++) {
		struct scene s;
		struct app *liar;
		const struct control_message *m;
		bool drops = false;

		scene_start(&s, ALL, 3);
		liar = &s.w->apps[2];
		assert_int_equal(app_attach(liar, 1, true), 0);
		assert_int_equal(app_hello(liar, true, true), 0);
		TAKE(m, liar, CONTROL_WELCOME);
		switch (i) {
		case 0: /* first, as the binder */
			app_announce_link(liar, 1, UID, 3, TRANSPORT_ARGO, 1, 1);
			break;
		case 1: /* first, as the creator */
			app_announce_link(liar, 1, UID, 2, TRANSPORT_ARGO, 0, 1);
			break;
		case 2: /* both ends of a link, one number */
			app_announce_link(liar, 1, UID, 1, TRANSPORT_ARGO, 0, 1);
			app_announce_link(liar, 1, UID, 1, TRANSPORT_ARGO, 1, 1);
			drops = true;
			break;
		case 3: /* one end twice */
			app_announce_link(liar, 1, UID, 2, TRANSPORT_ARGO, 0, 1);
			app_announce_link(liar, 2, UID, 2, TRANSPORT_ARGO, 0, 1);
			drops = true;
			break;
		case 4: /* a channel twice */
			app_announce_link(liar, 1, UID, 2, TRANSPORT_ARGO, 0, 1);
			app_announce_channel(liar, 1, 9, 0, 0, "db");
			app_announce_channel(liar, 1, 9, 0, 0, "db");
			drops = true;
			break;
		case 5: /* a channel on an end it has not */
			app_announce_channel(liar, 40, 9, 0, 0, "db");
			drops = true;
			break;
		}
		assert_int_equal(liar->dropped, drops);
		scene_announce(&s);
		if (!drops)
			assert_int_equal(app_announce_done(liar), 0);
		assert_int_equal(app_announce_done(s.caller), 0);
		assert_int_equal(app_announce_done(s.holder), 0);
		assert_false(s.w->broker->recovering);
		if (!drops)
			TAKE(m, liar, CONTROL_LINK_DOWN);
		TAKE_NOTHING(s.caller);
		TAKE_NOTHING(s.holder);
		world_check(s.w);
		app_connect(s.caller, 6, "db", 0, 0);
		TAKE(m, s.caller, CONTROL_CONNECTED);
		world_free(s.w);
	}
}

static void test_end_dies_in_between(void **state)
{
	const struct control_message *m;
	struct scene s;

	scene_start(&s, ALL, 2);
	scene_announce(&s);
	assert_int_equal(app_announce_done(s.caller), 0);
	app_die(s.holder);
	TAKE(m, s.caller, CONTROL_LINK_DOWN);
	assert_int_equal(m->link_down.error, ECONNRESET);
	assert_int_equal(world_used(s.w, 2), 0);
	world_free(s.w);

	/* Lost before it could attach. */
	scene_start(&s, ALL, 3);
	assert_int_equal(app_announce_link(s.caller, 40, UID, 5, TRANSPORT_ARGO, 0, 1), 0);
	assert_int_equal(app_announce_done(s.caller), 0);
	assert_int_equal(app_announce_done(s.holder), 0);
	broker_record_lost(s.w->broker);
	assert_false(s.w->broker->recovering);
	TAKE(m, s.caller, CONTROL_LINK_DOWN);
	world_free(s.w);
}

static void test_quota(void **state)
{
	struct control_message closed = {.type = CONTROL_CHANNEL_CLOSED, .channel_closed = {1, 3}};
	struct broker_limits limits;
	const struct control_message *m;
	struct scene s;
	struct app *app;

	broker_limits_default(&limits);
	limits.quota[QUOTA_ENDS] = 2;
	limits.quota[QUOTA_LINKS] = 1;
	limits.quota[QUOTA_ANNOUNCED] = 2;
	limits.quota[QUOTA_CHANNELS] = 1;
	s.w = world_new(ALL, &limits);
	broker_recover(s.w->broker, 1);
	app = &s.w->apps[0];
	assert_int_equal(app_attach(app, 3, true), 0);
	assert_int_equal(app_hello(app, false, true), 0);
	TAKE(m, app, CONTROL_WELCOME);
	for (uint32_t i = 1; i <= 3; i++)
		assert_int_equal(app_announce_link(app, i, i, 2, TRANSPORT_GRANT, 1, 1), 0);
	TAKE(m, app, CONTROL_LINK_DOWN);
	assert_int_equal(m->link_down.end, 3);
	assert_int_equal(m->link_down.error, EDQUOT);
	for (uint32_t i = 1; i <= 3; i++)
		assert_int_equal(app_announce_channel(app, 1, i, 1, 0, "db"), 0);
	TAKE(m, app, CONTROL_CHANNEL_GONE);
	assert_int_equal(m->channel_gone.channel, 3);
	/* On an end that was refused: ignored. */
	assert_int_equal(app_announce_channel(app, 3, 1, 1, 0, "db"), 0);
	/* Likewise what crosses the refusal of a channel. */
	app_accepted(app, 1, 3);
	assert_int_equal(app_send(app, &closed), 0);
	TAKE_NOTHING(app);
	assert_false(app->dropped);
	world_check(s.w);
	world_free(s.w);
}

/*
 * The caller lies about a channel that still lies in the holder's backlog: that it is the one that
 * listens, and has accepted. The holder accepts the channel, before and after both have spoken.
 */
static void test_liar_about_a_backlog(void **state)
{
	for (int i = 0; i < 6; i++) {
		bool first = i % 2, accepts_early = i / 2 == 1, closes_early = i / 2 == 2;
		struct scene s;

		scene_start(&s, ALL, 2);
		app_announce_link(s.caller, 40, UID, 2, TRANSPORT_ARGO, 0, 1);
		app_announce_link(s.holder, 50, UID, 3, TRANSPORT_ARGO, 1, 1);
		if (first)
			app_announce_channel(s.caller, 40, 9, 7, 1, "db");
		assert_int_equal(app_announce_channel(s.holder, 50, 9, 1, 0, "db"), 0);
		if (!first)
			app_announce_channel(s.caller, 40, 9, 7, 1, "db");
		app_announce_channel(s.caller, 40, UINT32_MAX, 0, 0, "db");
		assert_int_equal(app_listen(s.holder, 1, "db", 4), 0);
		if (accepts_early)
			app_accepted(s.holder, 50, 9);
		if (closes_early)
			app_closed(s.holder, 50, 9);
		assert_int_equal(app_announce_done(s.holder), 0);
		assert_int_equal(app_announce_done(s.caller), 0);
		if (!accepts_early && !closes_early)
			app_accepted(s.holder, 50, 9);
		if (!closes_early)
			app_closed(s.holder, 50, 9);
		assert_false(s.holder->dropped);
		world_check(s.w);
		world_free(s.w);
	}
}

/* The name is lost with msgd's restart; its channels are not, and may be accepted. */
static void test_accepts_without_a_name(void **state)
{
	struct scene s;

	scene_start(&s, "deny listen * on any\nallow connect * from any to any\n", 2);
	app_announce_link(s.caller, 40, UID, 2, TRANSPORT_ARGO, 0, 1);
	app_announce_channel(s.caller, 40, 9, 0, 0, "db");
	app_announce_link(s.holder, 50, UID, 3, TRANSPORT_ARGO, 1, 1);
	app_announce_channel(s.holder, 50, 9, 1, 0, "db");
	assert_int_equal(app_listen(s.holder, 1, "db", 4), EACCES);
	assert_int_equal(app_announce_done(s.holder), 0);
	assert_int_equal(app_announce_done(s.caller), 0);
	app_accepted(s.holder, 50, 9);
	assert_false(s.holder->dropped);
	app_accepted(s.holder, 50, 9); /* twice is its own lie */
	assert_true(s.holder->dropped);
	world_free(s.w);
}

/* One that was not there before msgd may announce nothing, and may go on. */
static void test_newcomer_announces(void **state)
{
	const struct control_message *m;
	struct world *w = world_new(ALL, NULL);
	struct app *app = &w->apps[0], *found = &w->apps[1];

	for (int recovering = 0; recovering < 2; recovering++) {
		if (recovering)
			broker_recover(w->broker, 1);
		assert_int_equal(app_attach(app, 3, false), 0);
		assert_int_equal(app_hello(app, true, true), 0);
		TAKE(m, app, CONTROL_WELCOME);
		for (uint32_t i = 1; i <= 300; i++) {
			assert_int_equal(app_announce_link(app, i, i, 2, TRANSPORT_ARGO, 1, 1), 0);
			TAKE(m, app, CONTROL_LINK_DOWN);
			assert_int_equal(m->link_down.error, ECONNRESET);
			assert_string_equal(m->link_down.reason,
				"msgd has not restarted since this application attached");
			assert_int_equal(app_announce_channel(app, i, 1, 1, 0, "db"), 0);
			assert_null(w->broker->announced);
			assert_int_equal(w->broker->n_channels, 0);
		}
		assert_int_equal(world_bytes(w, 3), quota_bytes(QUOTA_PROCESSES));
		assert_int_equal(app_announce_done(app), 0);
		if (!recovering) {
			assert_int_equal(app_listen(app, 1, "mine", 1), 0);
			app_connect(app, 5, "app/mine", 0, 0);
			TAKE(m, app, CONTROL_LINK_CREATE);
			assert_int_equal(m->link_create.end, 301);
		}
		app_die(app);
	}
	/* Nor does it keep others waiting for it. */
	assert_int_equal(app_attach(app, 2, false), 0);
	assert_int_equal(app_hello(app, true, true), 0);
	assert_int_equal(app_attach(found, 3, true), 0);
	assert_int_equal(app_hello(found, true, true), 0);
	TAKE(m, found, CONTROL_WELCOME);
	assert_int_equal(app_announce_link(found, 40, UID, 2, TRANSPORT_ARGO, 0, 1), 0);
	assert_int_equal(app_announce_done(found), 0);
	TAKE(m, found, CONTROL_LINK_DOWN);
	world_free(w);
}

/* A liar that was there before announces all that it can, and never ends. */
static void test_announcing_ends(void **state)
{
	const struct control_message *m;
	struct scene s;

	scene_start(&s, ALL, 2);
	for (uint32_t i = 1; i <= 10000; i++)
		assert_int_equal(app_announce_link(s.caller, i, i, 2, TRANSPORT_ARGO, 0, 1), 0);
	for (uint32_t i = 1; i <= 20000; i++)
		assert_int_equal(app_announce_channel(s.caller, 1, i, 0, 0, "db"), 0);
	assert_in_range(world_bytes(s.w, 3), 0, DOMAIN_BYTES_MAX);
	assert_in_range(HASH_COUNT(s.w->broker->announced), 1, DOMAIN_LINKS_MAX);
	assert_int_equal(app_announce_link(s.holder, 50, UID, 3, TRANSPORT_ARGO, 1, 1), 0);
	assert_int_equal(app_announce_done(s.holder), 0);
	TAKE_NOTHING(s.holder);
	expire(s.w); /* of those that wait for names */
	assert_false(s.w->broker->recovering);
	TAKE_NOTHING(s.holder);
	while (s.w->timer_ns)
		expire(s.w);
	TAKE(m, s.holder, CONTROL_LINK_DOWN);
	assert_int_equal(m->link_down.error, ECONNRESET);
	assert_null(s.w->broker->announced);
	assert_int_equal(world_bytes(s.w, 3), quota_bytes(QUOTA_PROCESSES));
	/* Later than that, its links are reset one by one, and it goes on. */
	app_forget(s.caller);
	assert_int_equal(app_announce_link(s.caller, 20000, UID, 2, TRANSPORT_ARGO, 0, 1), 0);
	TAKE(m, s.caller, CONTROL_LINK_DOWN);
	assert_int_equal(m->link_down.error, ECONNRESET);
	assert_string_equal(m->link_down.reason, "msgd waits for announcements no longer");
	assert_int_equal(app_announce_done(s.caller), 0);
	assert_int_equal(app_listen(s.caller, 1, "mine", 1), 0);
	world_free(s.w);
}

/* Many links become due at once: a turn settles a part of them, and has the rest left. */
static void test_settles_in_portions(void **state)
{
	const struct control_message *m;
	struct broker_limits limits;
	struct scene s;
	unsigned turns = 0;

	broker_limits_default(&limits);
	limits.bytes = 64U << 20;
	s.w = world_new(ALL, &limits);
	broker_recover(s.w->broker, 2);
	broker_set_work_later(s.w->broker);
	s.caller = &s.w->apps[0];
	s.holder = &s.w->apps[1];
	assert_int_equal(app_attach(s.caller, 3, true), 0);
	assert_int_equal(app_attach(s.holder, 2, true), 0);
	assert_int_equal(app_hello(s.caller, true, true), 0);
	assert_int_equal(app_hello(s.holder, true, true), 0);
	for (uint32_t i = 1; i <= 100; i++) {
		app_announce_link(s.caller, i, i, 2, TRANSPORT_ARGO, 0, 1);
		app_announce_link(s.holder, i, i, 3, TRANSPORT_ARGO, 1, 1);
		for (uint32_t number = 1; number <= 200; number++) {
			app_announce_channel(s.caller, i, number, 0, 0, "db");
			app_announce_channel(s.holder, i, number, 1, 1, "db");
		}
	}
	assert_int_equal(app_announce_done(s.caller), 0);
	assert_int_equal(app_announce_done(s.holder), 0);
	assert_null(s.w->broker->links);
	assert_true(broker_work(s.w->broker, TURN_COST));
	assert_in_range(HASH_COUNT(s.w->broker->links), 1, 10);
	for (; broker_work_left(s.w->broker); turns++) {
		uint64_t before = broker_cost(s.w->broker);

		(void)broker_work(s.w->broker, TURN_COST);
		/* And the last piece: a link with its channels. */
		assert_in_range(broker_cost(s.w->broker) - before, 1, TURN_COST + 5000);
	}
	assert_in_range(turns, 20, 200);
	world_check(s.w);
	assert_int_equal(HASH_COUNT(s.w->broker->links), 100);
	app_forget(s.caller);
	app_connect(s.caller, 5, "db/none", 0, 0);
	TAKE(m, s.caller, CONTROL_STATUS);
	world_free(s.w);
}

/* A connect is judged only when it is known what waits in the backlog of its listener. */
static void test_backlog_counts_first(void **state)
{
	struct scene s;
	struct app *other;

	scene_start(&s, ALL, 2);
	broker_set_work_later(s.w->broker);
	for (uint32_t i = 1; i <= 3; i++) {
		app_announce_link(s.caller, i, i, 2, TRANSPORT_ARGO, 0, 1);
		app_announce_link(s.holder, i, i, 3, TRANSPORT_ARGO, 1, 1);
	}
	app_announce_channel(s.caller, 3, 1, 0, 0, "db");
	app_announce_channel(s.holder, 3, 1, 1, 0, "db");
	assert_int_equal(app_listen(s.holder, 1, "db", 1), 0);
	other = app_new(s.w, 3, 4, true);
	app_connect(other, 1, "db/db", 0, TRANSPORT_ANY);
	assert_int_equal(app_announce_done(s.caller), 0);
	assert_int_equal(app_announce_done(s.holder), 0);
	assert_false(s.w->broker->recovering);
	app_connect(other, 2, "db/db", 0, TRANSPORT_ANY);
	TAKE_NOTHING(other);
	(void)broker_work(s.w->broker, 1);
	TAKE_NOTHING(other);
	while (broker_work(s.w->broker, TURN_COST))
		;
	TAKE_STATUS(other, 1, ECONNREFUSED);
	TAKE_STATUS(other, 2, ECONNREFUSED);
	world_free(s.w);
}

/*
 * A channel in the holder's backlog, which has room for two, over a link whose other end, in domain
 * 3, has said nothing when the holder has said all and lookups wait no longer.
 */
static void scene_waits(struct scene *s)
{
	const struct control_message *m;

	scene_start(s, ALL, 2);
	app_announce_link(s->holder, 50, UID, 3, TRANSPORT_ARGO, 1, 1);
	app_announce_channel(s->holder, 50, 9, 1, 0, "db");
	app_announce_channel(s->holder, 50, 8, 1, 1, "db");
	app_announce_channel(s->holder, 50, 7, 0, 0, "back");
	app_announce_channel(s->holder, 50, 6, 2, 0, "lost");
	assert_int_equal(app_listen(s->holder, 1, "db", 2), 0);
	assert_int_equal(app_announce_done(s->holder), 0);
	expire(s->w);
	assert_false(s->w->broker->recovering);
	world_check(s->w);
	app_connect(s->holder, 1, "db/db", 0, TRANSPORT_ARGO);
	TAKE(m, s->holder, CONTROL_LINK_CREATE);
	app_offer(s->holder, m->link_create.end, 5);
	TAKE(m, s->holder, CONTROL_LINK_BIND);
	app_ready(s->holder, m->link_bind.end, 6);
	app_forget(s->holder);
	TAKE_NOTHING(s->caller);
	world_check(s->w);
}

/* A connect of the holder to itself has, or has not, a place in its backlog. */
static void connect_again(struct scene *s, bool place)
{
	const struct control_message *m;

	app_connect(s->holder, 2, "db/db", 0, TRANSPORT_ARGO);
	if (place) {
		TAKE(m, s->holder, CONTROL_CHANNEL);
		TAKE(m, s->holder, CONTROL_CONNECTED);
	} else {
		TAKE_STATUS(s->holder, 2, ECONNREFUSED);
	}
	TAKE_NOTHING(s->holder);
	world_check(s->w);
}

/* The holder's libmsg has the place taken already, so a connect would be reset there. */
static void test_backlog_counts_while_the_peer_is_silent(void **state)
{
	struct control_message unlisten = {.type = CONTROL_UNLISTEN, .request = 3};
	const struct control_message *m;
	struct scene s;

	scene_waits(&s);
	connect_again(&s, false);
	app_accepted(s.holder, 50, 9);
	connect_again(&s, true);
	world_free(s.w);

	scene_waits(&s);
	app_closed(s.holder, 50, 9);
	connect_again(&s, true);
	world_free(s.w);

	/* The other end goes: the place comes free with the channel. */
	scene_waits(&s);
	app_die(s.caller);
	TAKE(m, s.holder, CONTROL_LINK_DOWN);
	connect_again(&s, true);
	world_free(s.w);

	scene_waits(&s);
	unlisten.unlisten.listener = 1;
	assert_int_equal(app_send(s.holder, &unlisten), 0);
	TAKE_STATUS(s.holder, 3, 0);
	world_check(s.w);
	app_accepted(s.holder, 50, 9);
	assert_false(s.holder->dropped);
	world_free(s.w);
}

/* When the other end has spoken, its place is one, not two; or none, where it knows no such
 * channel. */
static void test_backlog_counts_once(void **state)
{
	for (int known = 0; known < 2; known++) {
		const struct control_message *m;
		struct scene s;

		scene_waits(&s);
		app_announce_link(s.caller, 40, UID, 2, TRANSPORT_ARGO, 0, 1);
		if (known)
			app_announce_channel(s.caller, 40, 9, 0, 0, "db");
		connect_again(&s, false);
		assert_int_equal(app_announce_done(s.caller), 0);
		for (unsigned i = known; i < 4; i++)
			TAKE(m, s.holder, CONTROL_CHANNEL_GONE);
		TAKE_NOTHING(s.holder);
		TAKE_NOTHING(s.caller); /* it never knew them */
		connect_again(&s, !known);
		if (known)
			app_accepted(s.holder, 50, 9);
		connect_again(&s, known);
		world_free(s.w);
	}
}

/* The other end says that it listens as well: its words move no place of the holder's. */
static void test_backlog_of_a_liars_peer(void **state)
{
	for (int first = 0; first < 2; first++) {
		const struct control_message *m;
		struct scene s;

		scene_start(&s, ALL, 2);
		app_announce_link(s.caller, 40, UID, 2, TRANSPORT_ARGO, 0, 1);
		app_announce_link(s.holder, 50, UID, 3, TRANSPORT_ARGO, 1, 1);
		if (first)
			app_announce_channel(s.caller, 40, 9, 7, 0, "db");
		app_announce_channel(s.holder, 50, 9, 1, 0, "db");
		if (!first)
			app_announce_channel(s.caller, 40, 9, 7, 0, "db");
		assert_int_equal(app_listen(s.caller, 7, "db", 4), 0);
		assert_int_equal(app_listen(s.holder, 1, "db", 1), 0);
		assert_int_equal(app_announce_done(s.holder), 0);
		expire(s.w);
		app_accepted(s.caller, 40, 9);
		app_closed(s.caller, 40, 9);
		world_check(s.w);
		app_connect(s.holder, 2, "db/db", 0, TRANSPORT_ARGO);
		TAKE_STATUS(s.holder, 2, ECONNREFUSED);
		assert_int_equal(app_announce_done(s.caller), 0);
		TAKE(m, s.holder, CONTROL_CHANNEL_GONE);
		app_connect(s.holder, 2, "db/db", 0, TRANSPORT_ARGO);
		TAKE(m, s.holder, CONTROL_LINK_CREATE);
		world_free(s.w);
	}
}

/* A link that comes to nothing at once has a reason for each end, and an error of its own. */
static void test_refusals(void **state)
{
	const struct control_message *m;
	struct broker_limits limits;
	struct app *late, *binder;
	struct scene s;

	scene_start(&s, ALL, 4);
	assert_int_equal(app_announce_link(s.caller, 40, UID, 2, TRANSPORT_ARGO, 0, 1), 0);
	late = &s.w->apps[2];
	assert_int_equal(app_attach(late, 3, true), 0);
	assert_int_equal(app_hello(late, true, true), 0);
	TAKE(m, late, CONTROL_WELCOME);
	assert_int_equal(app_announce_link(late, 70, UID, 2, TRANSPORT_ARGO, 0, 1), 0);
	TAKE(m, late, CONTROL_LINK_DOWN);
	assert_int_equal(m->link_down.end, 70);
	assert_int_equal(m->link_down.error, ECONNRESET);
	assert_string_equal(m->link_down.reason, "another application has announced this link");
	/* Later words about that end are ignored; the one that came first is not concerned. */
	assert_int_equal(app_announce_channel(late, 70, 1, 0, 0, "db"), 0);
	TAKE_NOTHING(s.caller);
	world_check(s.w);
	/* The creator's domain pays for both ends; if it cannot, the binder's is told as well. */
	broker_limits_default(&limits);
	limits.quota[QUOTA_LINKS] = 1;
	broker_set_limits(s.w->broker, &limits, NULL);
	binder = s.holder;
	assert_int_equal(app_announce_link(binder, 60, UID + 1, 3, TRANSPORT_ARGO, 1, 1), 0);
	assert_int_equal(app_announce_link(s.caller, 41, UID + 1, 2, TRANSPORT_ARGO, 0, 1), 0);
	TAKE(m, s.caller, CONTROL_LINK_DOWN);
	assert_int_equal(m->link_down.end, 41);
	assert_int_equal(m->link_down.error, EDQUOT);
	assert_string_equal(m->link_down.reason, "limit of links");
	TAKE(m, binder, CONTROL_LINK_DOWN);
	assert_int_equal(m->link_down.end, 60);
	assert_int_equal(m->link_down.error, ECONNRESET);
	assert_string_equal(m->link_down.reason, "the other end is over its limits");
	TAKE_NOTHING(s.caller);
	TAKE_NOTHING(binder);
	assert_false(s.caller->dropped || binder->dropped || late->dropped);
	world_check(s.w);
	world_free(s.w);
}

/* Announcements that no application makes: each drops its sender. */
static void send_nonsense(struct scene *s, int i)
{
	switch (i) {
	case 0: /* no end */
		app_announce_link(s->caller, 0, UID, 2, TRANSPORT_ARGO, 0, 1);
		break;
	case 1: /* no uid */
		app_announce_link(s->caller, 41, 0, 2, TRANSPORT_ARGO, 0, 1);
		break;
	case 2: /* a third role */
		app_announce_link(s->caller, 41, UID, 2, TRANSPORT_ARGO, 2, 1);
		break;
	case 3: /* an end twice */
		app_announce_link(s->caller, 40, UID + 1, 2, TRANSPORT_ARGO, 0, 1);
		break;
	case 4: /* channel 0 */
		app_announce_channel(s->caller, 40, 0, 0, 0, "db");
		break;
	case 5: /* a channel's close that was confirmed */
		app_closed(s->caller, 40, 9);
		app_closed(s->caller, 40, 9);
		break;
	case 6: /* a channel that it has not announced, though the other end has */
		app_closed(s->caller, 40, 11);
		break;
	case 7: /* the calling end accepts */
		app_accepted(s->caller, 40, 9);
		break;
	case 8: /* a request before it has said all */
		app_connect(s->caller, 1, "db", 0, 0);
		break;
	case 9: /* all is said */
		app_announce_done(s->caller);
		app_announce_link(s->caller, 42, UID + 2, 2, TRANSPORT_ARGO, 0, 1);
		break;
	case 10:
		app_closed(s->caller, 40, 0);
		break;
	}
}

static void test_nonsense(void **state)
{
	for (int i = 0; i < 11; i++) {
		struct scene s;

		scene_start(&s, ALL, 2);
		scene_announce(&s);
		assert_int_equal(app_announce_channel(s.holder, 50, 11, 1, 1, "db"), 0);
		send_nonsense(&s, i);
		assert_true(s.caller->dropped);
		assert_non_null(strstr(s.caller->reason, " not allowed now ("));
		assert_false(s.holder->dropped);
		world_check(s.w);
		world_free(s.w);
	}
}

/* An end's words about a channel that is accepted, twice. */
static void test_accepted_once(void **state)
{
	struct scene s;

	for (int i = 0; i < 4; i++) {
		scene_start(&s, ALL, 2);
		app_announce_link(s.caller, 40, UID, 2, TRANSPORT_ARGO, 0, 1);
		app_announce_channel(s.caller, 40, 9, 0, 0, "db");
		app_announce_link(s.holder, 50, UID, 3, TRANSPORT_ARGO, 1, 1);
		app_announce_channel(s.holder, 50, 9, 1, i % 2, "db");
		assert_int_equal(app_listen(s.holder, 1, "db", 4), 0);
		if (!(i % 2))
			app_accepted(s.holder, 50, 9);
		assert_false(s.holder->dropped);
		if (i / 2) {
			assert_int_equal(app_announce_done(s.holder), 0);
			assert_int_equal(app_announce_done(s.caller), 0);
			world_check(s.w);
		}
		app_accepted(s.holder, 50, 9);
		assert_true(s.holder->dropped);
		world_free(s.w);
	}
}

static int announce_stream(struct app *app, uint32_t end, uint32_t channel, uint32_t listener)
{
	struct control_message message = {.type = CONTROL_ANNOUNCE_CHANNEL};

	message.announce_channel.end = end;
	message.announce_channel.channel = channel;
	message.announce_channel.type = CHANNEL_TYPE_LIMIT;
	message.announce_channel.listener = listener;
	strcpy(message.announce_channel.name, "db");
	return app_send(app, &message);
}

/* Both are told of each channel on which they disagree, and the others stand. */
static void test_disagreement(void **state)
{
	for (int first = 0; first < 2; first++) {
		const struct control_message *m;
		struct broker_channel *channel;
		uint32_t number = 9;
		struct scene s;

		scene_start(&s, ALL, 2);
		app_announce_link(s.caller, 40, UID, 2, TRANSPORT_ARGO, 0, 1);
		app_announce_link(s.holder, 50, UID, 3, TRANSPORT_ARGO, 1, 1);
		assert_int_equal(app_listen(s.holder, 1, "db", 4), 0);
		for (int turn = 0; turn < 2; turn++) {
			if (turn == first) {
				app_announce_channel(s.caller, 40, 9, 0, 0, "other");
				app_announce_channel(s.caller, 40, 10, 0, 0, "db");
				app_announce_channel(s.caller, 40, 11, 0, 0, "db");
			} else {
				app_announce_channel(s.holder, 50, 9, 1, 0, "db");
				app_announce_channel(s.holder, 50, 10, 0, 0, "db");
				announce_stream(s.holder, 50, 11, 1);
			}
		}
		/* The highest number is known to one end alone. */
		app_announce_channel(
			first ? s.caller : s.holder, first ? 40 : 50, 20, !first, 0, "db");
		assert_int_equal(app_announce_done(s.caller), 0);
		assert_int_equal(app_announce_done(s.holder), 0);
		for (uint32_t i = 10; i <= 11; i++) {
			TAKE(m, s.caller, CONTROL_CHANNEL_GONE);
			assert_int_equal(m->channel_gone.end, 40);
			TAKE(m, s.holder, CONTROL_CHANNEL_GONE);
			assert_int_equal(m->channel_gone.end, 50);
		}
		TAKE(m, first ? s.caller : s.holder, CONTROL_CHANNEL_GONE);
		TAKE_NOTHING(s.caller);
		TAKE_NOTHING(s.holder);
		world_check(s.w);
		/* The listener's word counts for the name. */
		HASH_FIND(hh, s.w->broker->links->channels, &number, sizeof(number), channel);
		assert_non_null(channel);
		assert_string_equal(broker_channel_name(channel), "db");
		assert_int_equal(channel->caller, 0);
		assert_int_equal(channel->state, BROKER_CHANNEL_OFFERED);
		app_connect(s.caller, 1, "db", 0, 0);
		TAKE(m, s.caller, CONTROL_CONNECTED);
		assert_int_equal(m->connected.channel, 21);
		world_free(s.w);
	}
}

/* One end closes while the other has not spoken: the number is free when both have. */
static void test_closed_early(void **state)
{
	for (int by_holder = 0; by_holder < 2; by_holder++) {
		struct scene s;

		scene_start(&s, ALL, 2);
		app_announce_link(s.caller, 40, UID, 2, TRANSPORT_ARGO, 0, 1);
		app_announce_link(s.holder, 50, UID, 3, TRANSPORT_ARGO, 1, 1);
		app_announce_channel(s.caller, 40, 9, 0, 0, "db");
		app_announce_channel(s.holder, 50, 9, 1, 0, "db");
		assert_int_equal(app_listen(s.holder, 1, "db", 1), 0);
		app_closed(by_holder ? s.holder : s.caller, by_holder ? 50 : 40, 9);
		assert_int_equal(app_announce_done(s.caller), 0);
		assert_int_equal(app_announce_done(s.holder), 0);
		assert_int_equal(HASH_COUNT(s.w->broker->links->channels), 1);
		assert_int_equal(s.w->broker->links->channels->state, BROKER_CHANNEL_CLOSING);
		world_check(s.w);
		/* Only the listener's end gives the place back. */
		app_connect(s.caller, 1, "db", 0, 0);
		if (by_holder)
			assert_int_equal(app_take(s.caller)->type, CONTROL_CONNECTED);
		else
			TAKE_STATUS(s.caller, 1, ECONNREFUSED);
		app_closed(by_holder ? s.caller : s.holder, by_holder ? 40 : 50, 9);
		assert_int_equal(HASH_COUNT(s.w->broker->links->channels), by_holder);
		assert_false(s.caller->dropped || s.holder->dropped);
		TAKE_NOTHING(s.caller);
		world_check(s.w);
		world_free(s.w);
	}
}

/* A CONNECT over a link that both have announced, one of which has not said all. */
static void test_connect_waits_for_settling(void **state)
{
	for (int stands = 0; stands < 2; stands++) {
		const struct control_message *m;
		struct scene s;

		scene_start(&s, ALL, 2);
		app_announce_link(s.caller, 40, UID, 2, TRANSPORT_ARGO, 0, (uint32_t)stands);
		app_announce_link(s.holder, 50, UID, 3, TRANSPORT_ARGO, 1, 1);
		assert_int_equal(app_listen(s.holder, 1, "db", 4), 0);
		assert_int_equal(app_announce_done(s.caller), 0);
		expire(s.w);
		app_connect(s.caller, 6, "db", 0, 0);
		TAKE_NOTHING(s.caller);
		world_check(s.w);
		assert_int_equal(app_announce_done(s.holder), 0);
		if (stands) {
			TAKE(m, s.caller, CONTROL_CONNECTED);
			assert_int_equal(m->connected.end, 40);
		} else {
			TAKE(m, s.caller, CONTROL_LINK_DOWN);
			assert_string_equal(
				m->link_down.reason, "msgd restarted while the link was made");
			TAKE(m, s.caller, CONTROL_LINK_CREATE);
			assert_int_equal(m->link_create.end, 41);
		}
		world_check(s.w);
		world_free(s.w);
	}
}

/* A newcomer's link to a listener that still announces is none of the announced ones. */
static void test_new_link_while_announcing(void **state)
{
	const struct control_message *m;
	struct app *other;
	struct scene s;
	uint32_t end;

	scene_start(&s, ALL, 2);
	assert_int_equal(app_listen(s.holder, 1, "db", 4), 0);
	expire(s.w);
	other = app_new(s.w, 2, 1, true);
	app_connect(other, 1, "db/db", 0, TRANSPORT_ARGO);
	TAKE(m, other, CONTROL_LINK_CREATE);
	app_offer(other, m->link_create.end, 5);
	TAKE(m, s.holder, CONTROL_LINK_BIND);
	end = m->link_bind.end;
	app_ready(s.holder, end, 6);
	TAKE(m, s.holder, CONTROL_CHANNEL);
	world_check(s.w);
	assert_int_equal(app_announce_channel(s.holder, end, 7, 1, 0, "db"), -ECONNRESET);
	assert_true(s.holder->dropped);
	world_free(s.w);

	scene_start(&s, ALL, 2);
	assert_int_equal(app_listen(s.holder, 1, "db", 4), 0);
	expire(s.w);
	other = app_new(s.w, 2, 1, true);
	app_connect(other, 1, "db/db", 0, TRANSPORT_ARGO);
	TAKE(m, other, CONTROL_LINK_CREATE);
	assert_int_equal(app_announce_done(s.holder), 0);
	app_offer(other, m->link_create.end, 5);
	TAKE(m, s.holder, CONTROL_LINK_BIND);
	app_ready(s.holder, m->link_bind.end, 6);
	TAKE(m, other, CONTROL_LINK_UP);
	TAKE(m, other, CONTROL_CONNECTED);
	world_free(s.w);
}

/* The two time limits, to the nanosecond, and what is said of them. */
static void test_times(void **state)
{
	const struct control_message *m;
	struct world *w = world_new(ALL, NULL);
	struct app *caller = &w->apps[0], *holder = &w->apps[1];
	uint64_t start = w->now_ns;

	broker_recover(w->broker, 0);
	broker_record_lost(w->broker);
	assert_false(w->broker->recovering || w->broker->announcing);
	assert_int_equal(w->timer_ns, 0);
	assert_int_equal(w->n_lines, 0);
	broker_recover(w->broker, 1);
	assert_true(w->broker->recovering);
	assert_true(world_logged(w, "1 applications were here before: waiting for them"));
	broker_recover(w->broker, 3);
	assert_int_equal(app_attach(holder, 2, true), 0);
	assert_int_equal(app_hello(holder, true, true), 0);
	assert_int_equal(app_attach(caller, 3, true), 0);
	assert_int_equal(app_hello(caller, true, true), 0);
	TAKE(m, caller, CONTROL_WELCOME);
	assert_int_equal(app_announce_link(caller, 40, UID, 2, TRANSPORT_ARGO, 0, 1), 0);
	assert_int_equal(app_announce_link(holder, 50, UID, 3, TRANSPORT_ARGO, 1, 1), 0);
	assert_int_equal(app_announce_done(caller), 0);
	assert_int_equal(w->timer_ns, start + RECOVERY_NS);
	/* A tick before the time changes nothing, and has the timer set again. */
	w->timer_ns = 0;
	broker_set_now(w->broker, start + RECOVERY_NS - 1);
	broker_tick(w->broker);
	assert_true(w->broker->recovering);
	assert_int_equal(w->timer_ns, start + RECOVERY_NS);
	broker_set_now(w->broker, start + RECOVERY_NS);
	broker_tick(w->broker);
	assert_false(w->broker->recovering);
	assert_true(w->broker->announcing);
	assert_true(world_logged(w, "2 applications have not come back in time"));
	assert_int_equal(w->timer_ns, start + ANNOUNCE_NS);
	broker_set_now(w->broker, start + ANNOUNCE_NS - 1);
	broker_tick(w->broker);
	TAKE_NOTHING(caller);
	broker_set_now(w->broker, start + ANNOUNCE_NS);
	broker_tick(w->broker);
	assert_false(w->broker->announcing);
	assert_int_equal(w->timer_ns, 0);
	TAKE(m, caller, CONTROL_LINK_DOWN);
	assert_int_equal(m->link_down.error, ECONNRESET);
	assert_string_equal(m->link_down.reason, "one end has not come back in time");
	TAKE(m, holder, CONTROL_WELCOME);
	TAKE(m, holder, CONTROL_LINK_DOWN);
	assert_string_equal(m->link_down.reason, "one end has not come back in time");
	world_free(w);
}

/* All have come in time: no line says so. The other domain is gone: nobody is waited for. */
static void test_nobody_left(void **state)
{
	const struct control_message *m;
	struct scene s;

	scene_start(&s, ALL, 2);
	scene_announce(&s);
	assert_int_equal(app_announce_done(s.caller), 0);
	assert_int_equal(app_announce_done(s.holder), 0);
	assert_false(s.w->broker->announcing);
	assert_false(world_logged(s.w, "have not come back in time"));
	broker_record_lost(s.w->broker);
	assert_int_equal(s.w->broker->n_awaited, 0);
	world_free(s.w);

	s.w = world_new(ALL, NULL);
	broker_recover(s.w->broker, 3);
	s.caller = &s.w->apps[0];
	s.holder = &s.w->apps[1];
	assert_int_equal(app_attach(s.caller, 3, true), 0);
	assert_int_equal(app_attach(s.holder, 2, true), 0);
	assert_int_equal(app_hello(s.caller, true, true), 0);
	TAKE(m, s.caller, CONTROL_WELCOME);
	app_announce_link(s.caller, 40, UID, 2, TRANSPORT_ARGO, 0, 1);
	assert_int_equal(app_announce_done(s.caller), 0);
	expire(s.w);
	TAKE_NOTHING(s.caller);
	world_remove_domain(s.w, 2);
	TAKE(m, s.caller, CONTROL_LINK_DOWN);
	assert_string_equal(m->link_down.reason, "the other end did not come back");
	world_free(s.w);
}

/* A link has room for so many channels when it is announced, too. */
static void test_full_link(void **state)
{
	const struct control_message *m;
	struct broker_limits limits;
	struct scene s;

	scene_start(&s, ALL, 2);
	broker_limits_default(&limits);
	limits.quota[QUOTA_CHANNELS] = LINK_CHANNELS_MAX + 1;
	limits.bytes = 64U << 20;
	broker_set_limits(s.w->broker, &limits, NULL);
	app_announce_link(s.caller, 40, UID, 2, TRANSPORT_ARGO, 0, 1);
	for (uint32_t i = 1; i <= LINK_CHANNELS_MAX; i++)
		assert_int_equal(app_announce_channel(s.caller, 40, i, 0, 0, "db"), 0);
	TAKE_NOTHING(s.caller);
	assert_int_equal(app_announce_channel(s.caller, 40, LINK_CHANNELS_MAX + 1, 0, 0, "db"), 0);
	TAKE(m, s.caller, CONTROL_CHANNEL_GONE);
	assert_int_equal(m->channel_gone.channel, LINK_CHANNELS_MAX + 1);
	world_free(s.w);
}

/* A channel that stands again counts against its rule, for its own caller and holder alone. */
static void test_rule_counts_again(void **state)
{
	const struct control_message *m;
	struct scene s;

	scene_start(
		&s, "allow listen * on any\nallow connect * from any to any max-channels=1\n", 2);
	scene_announce(&s);
	assert_int_equal(app_announce_done(s.caller), 0);
	assert_int_equal(app_announce_done(s.holder), 0);
	app_connect(s.caller, 6, "db", 0, 0);
	TAKE(m, s.caller, CONTROL_STATUS);
	assert_int_equal(m->status.error, EDQUOT);
	/* Its end gives the place back. */
	app_closed(s.caller, 40, 9);
	app_closed(s.holder, 50, 9);
	app_connect(s.caller, 7, "db", 0, 0);
	TAKE(m, s.caller, CONTROL_CONNECTED);
	assert_int_equal(m->request, 7);
	world_check(s.w);
	world_free(s.w);
}

/* As many lines as two domains may cause, however many channels they lied of. */
static void test_announced_channels_are_logged_in_bounds(void **state)
{
	struct scene s;

	scene_start(&s, "allow listen * on any\n", 2);
	assert_int_equal(app_announce_link(s.caller, 40, UID, 2, TRANSPORT_ARGO, 0, 1), 0);
	assert_int_equal(app_announce_link(s.holder, 50, UID, 3, TRANSPORT_ARGO, 1, 1), 0);
	for (uint32_t i = 1; i <= 5000; i++) {
		assert_int_equal(app_announce_channel(s.caller, 40, i, 0, 0, "db"), 0);
		assert_int_equal(app_announce_channel(s.holder, 50, i, 1, 1, "db"), 0);
	}
	assert_int_equal(app_announce_done(s.caller), 0);
	assert_int_equal(app_announce_done(s.holder), 0);
	assert_true(world_logged(s.w, "no longer permitted"));
	assert_in_range(s.w->n_lines, 2, 2 * DOMAIN_LOG_BURST + 10);
	world_free(s.w);
}

/* As when the administrator reloads a policy that permits nothing. */
static void test_lost_names_are_logged_in_bounds(void **state)
{
	struct world *w = world_new(ALL, NULL);
	struct app *app = app_new(w, 0, 2, false);
	char name[16];

	for (uint32_t i = 1; i <= 500; i++) {
		(void)snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(app_listen(app, i, name, 1), 0);
	}
	world_policy(w, "");
	assert_in_range(w->n_lines, DOMAIN_LOG_BURST, DOMAIN_LOG_BURST + 10);
	world_free(w);
}

/* The caller's end closes while links are announced, and the listener's never does. */
static void test_closed_while_announced(void **state)
{
	struct scene s;

	scene_start(&s, ALL, 2);
	scene_announce(&s);
	app_closed(s.caller, 40, 9);
	assert_int_equal(app_announce_done(s.caller), 0);
	assert_int_equal(domain_find(s.w->broker, 3)->used[QUOTA_CHANNELS], 1);
	assert_int_equal(app_announce_done(s.holder), 0);
	assert_int_equal(s.w->broker->links->channels->state, BROKER_CHANNEL_CLOSING);
	assert_int_equal(domain_find(s.w->broker, 3)->used[QUOTA_CHANNELS], 0);
	assert_int_equal(domain_find(s.w->broker, 2)->used[QUOTA_ANNOUNCED], 1);
	world_check(s.w);
	app_closed(s.holder, 50, 9);
	assert_int_equal(domain_find(s.w->broker, 2)->used[QUOTA_ANNOUNCED], 0);
	world_free(s.w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stands_again),
		cmocka_unit_test(test_transports_stand_again),
		cmocka_unit_test(test_names_are_kept),
		cmocka_unit_test(test_time_limit),
		cmocka_unit_test(test_slow_end),
		cmocka_unit_test(test_found_dies),
		cmocka_unit_test(test_late_and_empty),
		cmocka_unit_test(test_one_sided),
		cmocka_unit_test(test_being_made),
		cmocka_unit_test(test_policy_again),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_end_dies_in_between),
		cmocka_unit_test(test_quota),
		cmocka_unit_test(test_rule_counts_again),
		cmocka_unit_test(test_announced_channels_are_logged_in_bounds),
		cmocka_unit_test(test_lost_names_are_logged_in_bounds),
		cmocka_unit_test(test_liar_about_a_backlog),
		cmocka_unit_test(test_accepts_without_a_name),
		cmocka_unit_test(test_newcomer_announces),
		cmocka_unit_test(test_announcing_ends),
		cmocka_unit_test(test_settles_in_portions),
		cmocka_unit_test(test_backlog_counts_first),
		cmocka_unit_test(test_backlog_counts_while_the_peer_is_silent),
		cmocka_unit_test(test_backlog_counts_once),
		cmocka_unit_test(test_backlog_of_a_liars_peer),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_accepted_once),
		cmocka_unit_test(test_disagreement),
		cmocka_unit_test(test_closed_early),
		cmocka_unit_test(test_connect_waits_for_settling),
		cmocka_unit_test(test_new_link_while_announcing),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_nobody_left),
		cmocka_unit_test(test_full_link),
		cmocka_unit_test(test_closed_while_announced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
