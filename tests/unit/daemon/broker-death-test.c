/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ends of processes and domains at every step of a link's making, and messages that break the
 * protocol. The right processes are told and dropped, and no others.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "base/macro.h"
#include "daemon/broker/state.h"
#include "tests/unit/daemon/cmocka-all.h"
#include "tests/unit/daemon/world.h"

#define ALL "allow listen * on any\nallow connect * from any to any\n"

/* How far a link gets. */
enum step { STEP_CREATE, STEP_BIND, STEP_UP, STEP_COUNT };

struct pair {
	struct world *w;
	struct app *caller, *holder;
	uint32_t caller_end, holder_end, channel;
};

static void pair_make(struct pair *p, enum step step, uint32_t flags)
{
	const struct control_message *m;

	*p = (struct pair){.w = world_new(ALL, NULL)};
	p->caller = app_new(p->w, 0, 3, false);
	p->holder = app_new(p->w, 1, 2, false);
	assert_int_equal(app_listen(p->holder, 1, "db", 4), 0);
	app_connect(p->caller, 1, "db", flags, 0);
	TAKE(m, p->caller, CONTROL_LINK_CREATE);
	p->caller_end = m->link_create.end;
	if (step == STEP_CREATE)
		return;
	app_offer(p->caller, p->caller_end, 0);
	TAKE(m, p->holder, CONTROL_LINK_BIND);
	p->holder_end = m->link_bind.end;
	if (step == STEP_BIND)
		return;
	app_ready(p->holder, p->holder_end, 0);
	TAKE(m, p->caller, CONTROL_LINK_UP);
	TAKE(m, p->caller, CONTROL_CONNECTED);
	p->channel = m->connected.channel;
	TAKE(m, p->holder, CONTROL_CHANNEL);
}

static void test_caller_dies(void **state)
{
	for (enum step step = 0; step < STEP_COUNT; step++) {
		struct pair p;
		const struct control_message *m;

		pair_make(&p, step, 0);
		app_die(p.caller);
		world_check(p.w);
		if (step != STEP_CREATE) {
			TAKE(m, p.holder, CONTROL_LINK_DOWN);
			assert_int_equal(m->link_down.end, p.holder_end);
			assert_int_equal(m->link_down.error, ECONNRESET);
		}
		TAKE_NOTHING(p.holder);
		assert_int_equal(world_used(p.w, 3), 0);
		assert_int_equal(world_used(p.w, 2), 2); /* a process and its name */
		world_free(p.w);
	}
}

static void test_holder_dies(void **state)
{
	for (enum step step = 0; step < STEP_COUNT; step++) {
		struct pair p;
		const struct control_message *m;

		pair_make(&p, step, 0);
		app_die(p.holder);
		world_check(p.w);
		TAKE(m, p.caller, CONTROL_LINK_DOWN);
		assert_int_equal(m->link_down.end, p.caller_end);
		if (step != STEP_UP)
			TAKE_STATUS(p.caller, 1, ENOENT);
		TAKE_NOTHING(p.caller);
		assert_int_equal(world_used(p.w, 2), 0);
		assert_int_equal(world_used(p.w, 3), 1);
		world_free(p.w);
	}
}

/* With WAIT_NAME the request goes on waiting, and the next holder gets it. */
static void test_holder_dies_waited_for(void **state)
{
	const struct control_message *m;
	struct app *next;
	struct pair p;

	pair_make(&p, STEP_BIND, CONNECT_WAIT_NAME);
	app_die(p.holder);
	TAKE(m, p.caller, CONTROL_LINK_DOWN);
	TAKE_NOTHING(p.caller);
	next = app_new(p.w, 2, 5, false);
	assert_int_equal(app_listen(next, 9, "db", 1), 0);
	TAKE(m, p.caller, CONTROL_LINK_CREATE);
	assert_int_equal(m->link_create.peer_domid, 5);
	world_free(p.w);
}

static void test_domain_dies(void **state)
{
	for (enum step step = 0; step < STEP_COUNT; step++) {
		const struct control_message *m;
		struct pair p;

		pair_make(&p, step, 0);
		world_remove_domain(p.w, 2);
		assert_true(p.holder->dropped);
		assert_string_equal(p.holder->reason, "its domain is gone");
		TAKE(m, p.caller, CONTROL_LINK_DOWN);
		world_check(p.w);
		app_connect(p.caller, 8, "db/db", 0, 0);
		app_forget(p.caller);
		world_free(p.w);
	}
}

static void test_domain_states(void **state)
{
	struct world *w = world_new(ALL, NULL);
	struct app *app = app_new(w, 0, 3, false);

	w->domains[3].state = BROKER_DOMAIN_SUSPENDED;
	world_domains(w);
	assert_false(app->dropped);
	w->domains[3].state = BROKER_DOMAIN_CRASHED;
	world_domains(w);
	assert_string_equal(app->reason, "its domain shut down or crashed");
	assert_int_equal(app_attach(app, 3, false), -ESRCH);
	/* The same domid, another domain. */
	app = app_new(w, 1, 2, false);
	w->domains[2].generation++;
	world_domains(w);
	assert_true(app->dropped);
	world_free(w);
}

/* CANCEL at every step; a message that crosses it does no harm. */
static void test_cancel(void **state)
{
	for (enum step step = 0; step < STEP_COUNT; step++) {
		const struct control_message *m;
		struct pair p;

		pair_make(&p, step, 0);
		app_cancel(p.caller, 1);
		if (step == STEP_UP) {
			TAKE_NOTHING(p.caller);
			world_free(p.w);
			continue;
		}
		TAKE_STATUS(p.caller, 1, ECANCELED);
		if (step == STEP_CREATE) {
			app_offer(p.caller, p.caller_end, 0);
			TAKE(m, p.holder, CONTROL_LINK_BIND);
			p.holder_end = m->link_bind.end;
		}
		app_ready(p.holder, p.holder_end, 0);
		TAKE(m, p.caller, CONTROL_LINK_UP);
		TAKE_NOTHING(p.caller);
		TAKE_NOTHING(p.holder);
		/* The link is there for the next. */
		app_connect(p.caller, 2, "db", 0, 0);
		TAKE(m, p.caller, CONTROL_CONNECTED);
		world_free(p.w);
	}
}

/* Several CONNECTs, from both sides, wait for one link; its failure answers each. */
static void test_many_wait(void **state)
{
	const struct control_message *m;
	struct pair p;

	pair_make(&p, STEP_BIND, 0);
	assert_int_equal(app_listen(p.caller, 1, "back", 4), 0);
	app_connect(p.caller, 2, "db", 0, 0);
	app_connect(p.holder, 3, "back", 0, 0);
	TAKE_NOTHING(p.caller);
	TAKE_NOTHING(p.holder);
	world_check(p.w);
	app_failed(p.holder, p.holder_end, ENOMEM, "no memory");
	TAKE_STATUS(p.holder, 3, ENOBUFS);
	TAKE_STATUS(p.caller, 1, ENOBUFS);
	TAKE_STATUS(p.caller, 2, ENOBUFS);
	TAKE(m, p.caller, CONTROL_LINK_DOWN);
	TAKE_NOTHING(p.holder);
	world_free(p.w);

	pair_make(&p, STEP_BIND, 0);
	assert_int_equal(app_listen(p.caller, 1, "back", 4), 0);
	app_connect(p.holder, 3, "back", 0, 0);
	app_ready(p.holder, p.holder_end, 0);
	TAKE(m, p.caller, CONTROL_LINK_UP);
	TAKE(m, p.caller, CONTROL_CONNECTED);
	TAKE(m, p.caller, CONTROL_CHANNEL);
	TAKE(m, p.holder, CONTROL_CHANNEL);
	TAKE(m, p.holder, CONTROL_CONNECTED);
	world_free(p.w);
}

static void test_reset(void **state)
{
	const struct control_message *m;
	struct pair p;

	pair_make(&p, STEP_UP, 0);
	app_failed(p.holder, p.holder_end, EPROTO, "a counter went backwards");
	TAKE(m, p.caller, CONTROL_LINK_DOWN);
	assert_int_equal(m->link_down.error, ECONNRESET);
	assert_string_equal(m->link_down.reason, "db says: a counter went backwards");
	TAKE_NOTHING(p.holder);
	assert_true(world_logged(p.w, "a counter went backwards (EPROTO)"));
	/* They may make another one. */
	app_connect(p.caller, 2, "db", 0, 0);
	TAKE(m, p.caller, CONTROL_LINK_CREATE);
	assert_int_not_equal(m->link_create.end, p.caller_end);
	world_free(p.w);
}

/* Each of these drops its sender, with a reason of its own, and tells the other end. */
static void send_violation(struct pair *p, int i)
{
	struct control_message m = {.type = CONTROL_HELLO, .request = 5};

	switch (i) {
	case 0: /* HELLO twice */
		m.hello.epoch = p->caller->epoch;
		break;
	case 1: /* an end never given */
		m = (struct control_message){.type = CONTROL_ACCEPTED};
		m.accepted.end = 999;
		m.accepted.channel = 1;
		break;
	case 2: /* a channel never given */
		m = (struct control_message){.type = CONTROL_CHANNEL_CLOSED};
		m.channel_closed.end = p->caller_end;
		m.channel_closed.channel = 999;
		break;
	case 3: /* the caller's end accepts */
		m = (struct control_message){.type = CONTROL_ACCEPTED};
		m.accepted.end = p->caller_end;
		m.accepted.channel = p->channel;
		break;
	case 4: /* an offer for a link that is up */
		app_offer(p->caller, p->caller_end, 0);
		return;
	case 5: /* ready, from the creator */
		app_ready(p->caller, p->caller_end, 0);
		return;
	case 6: /* announcing without being asked */
		app_announce_done(p->caller);
		return;
	case 7: /* a message that only msgd may send */
		m = (struct control_message){.type = CONTROL_WELCOME, .request = 5};
		break;
	case 8: /* end 0 */
		app_offer(p->caller, 0, 0);
		return;
	case 9: /* a request's id twice */
		app_connect(p->caller, 7, "later", CONNECT_WAIT_NAME, 0);
		app_connect(p->caller, 7, "later", CONNECT_WAIT_NAME, 0);
		return;
	case 10: /* confirming twice */
		app_closed(p->caller, p->caller_end, p->channel);
		app_closed(p->caller, p->caller_end, p->channel);
		return;
	case 11: /* one handle, two names */
		app_listen(p->caller, 1, "a", 1);
		app_listen(p->caller, 1, "b", 1);
		return;
	case 12:
		m = (struct control_message){.type = CONTROL_LISTEN, .request = 5};
		broker_message(p->caller->process, &m, -EBADMSG);
		return;
	case 13:
		broker_violation(p->caller->process, "a frame that is no control message");
		return;
	}
	(void)app_send(p->caller, &m);
}

static void test_violations(void **state)
{
	static const char *const reasons[] = {
		"HELLO not allowed now (EPROTO)",
		"ACCEPTED not allowed now (EPROTO)",
		"CHANNEL_CLOSED not allowed now (EPROTO)",
		"ACCEPTED not allowed now (EPROTO)",
		"LINK_OFFER not allowed now (EPROTO)",
		"LINK_READY not allowed now (EPROTO)",
		"ANNOUNCE_DONE not allowed now (EPROTO)",
		"WELCOME not allowed now (EPROTO)",
		"LINK_OFFER not allowed now (EPROTO)",
		"CONNECT not allowed now (EPROTO)",
		"CHANNEL_CLOSED not allowed now (EPROTO)",
		"LISTEN not allowed now (EPROTO)",
		"malformed LISTEN",
		"a frame that is no control message",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(reasons); i++) {
		const struct control_message *m;
		struct app *bystander;
		struct pair p;

		pair_make(&p, STEP_UP, 0);
		bystander = app_new(p.w, 2, 3, false); /* of the same domain, even */
		send_violation(&p, (int)i);
		assert_true(p.caller->dropped);
		assert_string_equal(p.caller->reason, reasons[i]);
		TAKE(m, p.holder, CONTROL_LINK_DOWN);
		assert_int_equal(m->link_down.error, ECONNRESET);
		assert_false(p.holder->dropped || bystander->dropped);
		world_check(p.w);
		app_connect(bystander, 1, "db", 0, 0);
		TAKE(m, bystander, CONTROL_LINK_CREATE);
		world_free(p.w);
	}
}

static void test_unknown_and_versions(void **state)
{
	struct world *w = world_new(ALL, NULL);
	struct app *app = &w->apps[0];
	struct control_message m = {.type = 55, .request = 5};
	const struct control_message *answer;

	/* Before HELLO, and with another life's epoch, everything is discarded, even garbage. */
	assert_int_equal(app_attach(app, 3, false), 0);
	assert_int_equal(broker_message(app->process, &m, -EBADMSG), 0);
	m = (struct control_message){.type = CONTROL_HELLO, .request = 6};
	m.hello.epoch = app->epoch + 1;
	m.hello.version_min = m.hello.version_max = 1;
	assert_int_equal(app_send(app, &m), 0);
	TAKE_NOTHING(app);
	m.hello.epoch = app->epoch;
	m.hello.version_min = m.hello.version_max = 9;
	assert_int_equal(app_send(app, &m), 0);
	TAKE_STATUS(app, 6, EPROTONOSUPPORT);
	m.hello.version_min = 1;
	assert_int_equal(app_send(app, &m), 0);
	TAKE(answer, app, CONTROL_WELCOME);
	assert_int_equal(answer->welcome.version, 1);
	m = (struct control_message){.type = 55, .request = 5};
	assert_int_equal(broker_message(app->process, &m, -EOPNOTSUPP), 0);
	TAKE_STATUS(app, 5, EOPNOTSUPP);
	m = (struct control_message){.type = CONTROL_SYNC, .request = 8};
	assert_int_equal(app_send(app, &m), 0);
	TAKE_STATUS(app, 8, 0);
	world_free(w);
}

/* A domain is another one by its generation or by its uuid; a dead one has its reasons. */
static void test_domain_identity(void **state)
{
	static const char *const reasons[] = {"its domain is gone", "its domain is gone",
		"its domain is being destroyed", "its domain shut down or crashed"};

	for (int i = 0; i < 4; i++) {
		struct world *w = world_new(ALL, NULL);
		struct app *app = app_new(w, 0, 3, false), *other = app_new(w, 1, 2, false);

		world_domains(w);
		w->domains[3].paused = true;
		world_domains(w);
		assert_false(app->dropped);
		if (i == 0)
			w->domains[3].generation++;
		else if (i == 1)
			w->domains[3].uuid[15]++;
		else
			w->domains[3].state = i == 2 ? BROKER_DOMAIN_DYING : BROKER_DOMAIN_CRASHED;
		broker_set_work_later(w->broker);
		world_domains(w);
		assert_int_equal(broker_has_domain(w->broker, 3), i < 2);
		assert_false(broker_has_domain(w->broker, 77));
		/* Told twice before the work is done: dropped once. */
		world_domains(w);
		while (broker_work(w->broker, 1))
			;
		assert_true(app->dropped);
		assert_string_equal(app->reason, reasons[i]);
		assert_false(other->dropped);
		assert_true(world_logged(w, "app(3) pid 1003 (test) is dropped: its domain "));
		assert_int_equal(w->broker->stats.dropped, 1);
		world_check(w);
		world_free(w);
	}
}

/* The lines about domains: a new name, and those that were left out when a domain ends. */
static void test_domain_lines(void **state)
{
	struct world *w = world_new("", NULL);
	struct app *app = app_new(w, 0, 3, false);

	world_rename(w, 3, "shop");
	assert_true(world_logged(w, "app(3) is called shop(3) now"));
	w->log[0] = '\0';
	world_rename(w, 3, "");
	world_rename(w, 3, "shop");
	assert_string_equal(w->log, "");
	for (uint32_t i = 1; i <= DOMAIN_LOG_BURST + 9; i++)
		assert_int_equal(app_listen(app, i, "name", 1), EACCES);
	assert_true(world_logged(w, "shop(3): too many lines: further ones are left out"));
	world_remove_domain(w, 3);
	/* The line about the new name was one, and that its application is dropped another. */
	assert_true(world_logged(w, "shop(3): 11 lines about it were left out"));
	w->log[0] = '\0';
	world_remove_domain(w, 2);
	assert_string_equal(w->log, "");
	for (uint32_t i = 0; i < DOMAIN_LOG_BURST + 1; i++)
		broker_log_about(w->broker, BROKER_LOG_CLIENTS, LOG_INFO, "client %u", i);
	assert_true(world_logged(w, "admin clients: too many lines"));
	for (uint32_t i = 0; i < DOMAIN_LOG_BURST + 1; i++)
		broker_log_about(w->broker, 99, LOG_INFO, "nobody %u", i);
	assert_true(world_logged(w, "domains that are not listed: too many lines"));
	world_free(w);
}

/* LINK_OFFER and LINK_READY by the wrong end, of the wrong kind, or at the wrong time. */
static void test_making_out_of_turn(void **state)
{
	for (int i = 0; i < 5; i++) {
		static const enum step steps[] = {
			STEP_BIND, STEP_BIND, STEP_BIND, STEP_UP, STEP_CREATE};
		const struct control_message *m;
		struct app *guilty, *other;
		struct pair p;

		pair_make(&p, steps[i], 0);
		guilty = i == 1 || i == 4 ? p.caller : p.holder;
		other = guilty == p.caller ? p.holder : p.caller;
		switch (i) {
		case 0: /* an Argo port for a link of grants */
			app_ready(p.holder, p.holder_end, 6);
			break;
		case 1: /* a second offer */
			app_offer(p.caller, p.caller_end, 0);
			break;
		case 2: /* the binder offers */
			app_offer(p.holder, p.holder_end, 0);
			break;
		case 3: /* ready, twice */
			app_ready(p.holder, p.holder_end, 0);
			break;
		case 4: /* ready, before there is an offer */
			app_ready(p.caller, p.caller_end, 0);
			break;
		}
		assert_true(guilty->dropped);
		assert_false(other->dropped);
		if (i != 4) {
			TAKE(m, other, CONTROL_LINK_DOWN);
			assert_int_equal(m->link_down.error, ECONNRESET);
			assert_non_null(strstr(m->link_down.reason, " not allowed now (EPROTO)"));
		}
		world_check(p.w);
		world_free(p.w);
	}
}

/* A channel that policy ends: an end that has confirmed its close is told nothing. */
static void test_gone_after_close(void **state)
{
	for (int by_holder = 0; by_holder < 2; by_holder++) {
		const struct control_message *m;
		struct pair p;

		pair_make(&p, STEP_UP, 0);
		app_closed(by_holder ? p.holder : p.caller, by_holder ? p.holder_end : p.caller_end,
			p.channel);
		world_check(p.w);
		world_policy(p.w, "allow listen * on any\n");
		TAKE(m, by_holder ? p.caller : p.holder, CONTROL_CHANNEL_GONE);
		assert_int_equal(m->channel_gone.channel, p.channel);
		TAKE(m, p.caller, CONTROL_LINK_DOWN);
		assert_int_equal(m->link_down.error, EACCES);
		assert_string_equal(m->link_down.reason, "denied by policy");
		TAKE(m, p.holder, CONTROL_LINK_DOWN);
		TAKE_NOTHING(p.caller);
		TAKE_NOTHING(p.holder);
		assert_true(world_logged(p.w, "channel 1 of link "));
		world_free(p.w);
	}
}

/* A policy that demands another transport ends the channel; one that demands its own does not. */
static void test_transport_again(void **state)
{
	const struct control_message *m;
	struct pair p;

	pair_make(&p, STEP_UP, 0);
	world_policy(
		p.w, "allow listen * on any\nallow connect * from any to any transport=grant\n");
	TAKE_NOTHING(p.caller);
	TAKE_NOTHING(p.holder);
	world_policy(
		p.w, "allow listen * on any\nallow connect * from any to any transport=argo\n");
	TAKE(m, p.caller, CONTROL_CHANNEL_GONE);
	TAKE(m, p.caller, CONTROL_LINK_DOWN);
	assert_int_equal(m->link_down.error, EACCES);
	world_free(p.w);
}

/* Messages that had to wait come whole. */
static void test_kept_messages_are_whole(void **state)
{
	const struct control_message *m;
	struct control_message create;
	struct pair p;

	pair_make(&p, STEP_CREATE, 0);
	p.holder->full = true;
	create = (struct control_message){.type = CONTROL_LINK_OFFER,
		.link_offer = {
			.end = p.caller_end, .port = 11, .doorbell_ref = 12, .refs_ref = 13}};
	assert_int_equal(app_send(p.caller, &create), 0);
	TAKE_NOTHING(p.holder);
	app_read(p.holder);
	TAKE(m, p.holder, CONTROL_LINK_BIND);
	assert_int_equal(m->link_bind.port, 11);
	assert_int_equal(m->link_bind.doorbell_ref, 12);
	assert_int_equal(m->link_bind.refs_ref, 13);
	assert_int_equal(m->link_bind.aport, 0);
	assert_int_equal(m->link_bind.peer_domid, 3);
	assert_int_equal(m->link_bind.transport, TRANSPORT_GRANT);
	assert_int_equal(m->link_bind.uid, 0x1122334455667788 + 1);
	p.holder_end = m->link_bind.end;
	p.holder->full = true;
	app_ready(p.holder, p.holder_end, 0);
	world_policy(p.w, "allow listen * on any\n");
	app_read(p.holder);
	TAKE(m, p.holder, CONTROL_CHANNEL);
	assert_string_equal(m->channel.name, "db");
	TAKE(m, p.holder, CONTROL_CHANNEL_GONE);
	assert_int_equal(m->channel_gone.end, p.holder_end);
	assert_int_equal(m->channel_gone.channel, 1);
	TAKE(m, p.holder, CONTROL_LINK_DOWN);
	assert_string_equal(m->link_down.reason, "denied by policy");
	TAKE_NOTHING(p.holder);
	world_free(p.w);
}

/* An application that was found at start, and is one too many, is waited for no longer. */
static void test_found_over_quota(void **state)
{
	struct broker_limits limits;
	struct world *w;

	broker_limits_default(&limits);
	limits.quota[QUOTA_PROCESSES] = 1;
	w = world_new(ALL, &limits);
	broker_recover(w->broker, 1);
	(void)app_new(w, 0, 3, false);
	assert_int_equal(app_attach(&w->apps[1], 3, true), 0);
	assert_int_equal(app_hello(&w->apps[1], false, true), 0);
	TAKE_STATUS(&w->apps[1], 0xffff0000, EDQUOT);
	assert_false(w->broker->recovering);
	app_die(&w->apps[1]);
	world_check(w);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_caller_dies),
		cmocka_unit_test(test_holder_dies),
		cmocka_unit_test(test_holder_dies_waited_for),
		cmocka_unit_test(test_domain_dies),
		cmocka_unit_test(test_domain_states),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_many_wait),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_violations),
		cmocka_unit_test(test_unknown_and_versions),
		cmocka_unit_test(test_domain_identity),
		cmocka_unit_test(test_domain_lines),
		cmocka_unit_test(test_making_out_of_turn),
		cmocka_unit_test(test_gone_after_close),
		cmocka_unit_test(test_transport_again),
		cmocka_unit_test(test_kept_messages_are_whole),
		cmocka_unit_test(test_found_over_quota),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
