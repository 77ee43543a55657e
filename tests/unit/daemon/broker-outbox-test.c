/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Applications that do not read, and domains that have msgd talk to them: each domain pays for its
 * own, in bytes, and is refused for its own alone.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/broker/channel.h"
#include "daemon/broker/link.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"
#include "tests/unit/daemon/cmocka-all.h"
#include "tests/unit/daemon/world.h"

#define ALL "allow listen * on any\nallow connect * from any to any\n"

/* A holder in domain 2 that listens as db; a hostile caller in 1; an honest one in 3. */
struct scene {
	struct world *w;
	struct app *holder, *hostile, *honest;
};

static void scene_start(struct scene *s, const struct broker_limits *limits, uint32_t backlog)
{
	s->w = world_new(ALL, limits);
	s->holder = app_new(s->w, 0, 2, true);
	s->hostile = app_new(s->w, 1, 1, true);
	s->honest = app_new(s->w, 2, 3, true);
	assert_int_equal(app_listen(s->holder, 1, "db", backlog), 0);
}

/* CONNECT, OFFER, FAILED. Returns the error of a CONNECT that was refused at once, else 0. */
static uint32_t cycle(struct app *app, uint32_t id, char ret_reason[REASON_SIZE])
{
	const struct control_message *m;
	uint32_t end;

	app_connect(app, id, "db/db", 0, TRANSPORT_ARGO);
	m = app_take(app);
	assert_non_null(m);
	if (m->type == CONTROL_STATUS) {
		memcpy(ret_reason, m->status.reason, REASON_SIZE);
		return m->status.error;
	}
	assert_int_equal(m->type, CONTROL_LINK_CREATE);
	end = m->link_create.end;
	app_offer(app, end, 5);
	app_failed(app, end, EIO, "on purpose");
	TAKE_STATUS(app, id, EIO);
	return 0;
}

/* Over a link that is made now, by one that reads. */
static void connect_through(struct app *caller, struct app *holder, uint32_t id)
{
	const struct control_message *m;
	uint32_t ends[2];

	app_connect(caller, id, "db/db", 0, TRANSPORT_ARGO);
	make_link(caller, holder, true, ends);
	TAKE(m, holder, CONTROL_CHANNEL);
	TAKE(m, caller, CONTROL_CONNECTED);
}

/* A listener that does not read now, and links to it that come and go. */
static void test_cycles(void **state)
{
	char reason[REASON_SIZE];
	struct scene s;

	scene_start(&s, NULL, 8);
	s.holder->full = true;
	for (uint32_t id = 1; id <= 20000; id++) {
		world_pass(s.w, UINT64_C(2000000000));
		assert_int_equal(cycle(s.hostile, id, reason), 0);
	}
	/* BIND and LINK_DOWN have cancelled each other, and nothing is paid for but the process. */
	assert_true(TAILQ_EMPTY(&s.holder->process->outbox));
	assert_int_equal(world_bytes(s.w, 1), quota_bytes(QUOTA_PROCESSES));
	world_check(s.w);
	app_read(s.holder);
	TAKE_NOTHING(s.holder);
	connect_through(s.honest, s.holder, 1);
	world_free(s.w);
}

/* An end of which the application was told is not cancelled. */
static void test_no_cancel_of_what_was_told(void **state)
{
	const struct control_message *m;
	struct scene s;
	uint32_t end;

	scene_start(&s, NULL, 8);
	app_connect(s.hostile, 1, "db/db", 0, TRANSPORT_ARGO);
	TAKE(m, s.hostile, CONTROL_LINK_CREATE);
	end = m->link_create.end;
	app_offer(s.hostile, end, 5);
	s.holder->full = true;
	app_failed(s.hostile, end, EIO, "on purpose");
	assert_false(TAILQ_EMPTY(&s.holder->process->outbox));
	app_read(s.holder);
	TAKE(m, s.holder, CONTROL_LINK_BIND);
	end = m->link_bind.end;
	TAKE(m, s.holder, CONTROL_LINK_DOWN);
	assert_int_equal(m->link_down.end, end);
	world_free(s.w);
}

/* Channels to a listener that does not read: the domain that wants them is refused, no other. */
static void test_congestion_is_the_callers_own(void **state)
{
	const struct control_message *m;
	unsigned n_hostile = 0, n_honest = 0, seen[2] = {0};
	struct scene s;

	scene_start(&s, NULL, BACKLOG_MAX);
	connect_through(s.hostile, s.holder, 1);
	connect_through(s.honest, s.holder, 1);
	s.holder->full = true;
	for (;;) {
		app_connect(s.hostile, 2 + n_hostile, "db/db", 0, TRANSPORT_ARGO);
		m = app_take(s.hostile);
		assert_non_null(m);
		if (m->type == CONTROL_STATUS)
			break;
		n_hostile++;
	}
	assert_int_equal(m->status.error, ECONNREFUSED);
	assert_string_equal(m->status.reason, "the listener of db does not read");
	assert_in_range(n_hostile, 128, BACKLOG_MAX);
	assert_in_range(world_bytes(s.w, 1), 0, DOMAIN_BYTES_MAX);
	for (; n_honest < 16; n_honest++) {
		app_connect(s.honest, 2 + n_honest, "db/db", 0, TRANSPORT_ARGO);
		TAKE(m, s.honest, CONTROL_CONNECTED);
	}
	/* The listener itself is not held responsible: its requests are read. */
	assert_false(broker_is_behind(s.holder->process));
	world_check(s.w);
	/* All of it comes, in order, as the listener reads. */
	while (!TAILQ_EMPTY(&s.holder->process->outbox)) {
		app_read(s.holder);
		while ((m = app_take(s.holder))) {
			assert_int_equal(m->type, CONTROL_CHANNEL);
			seen[m->channel.peer.domid == 3]++;
		}
	}
	assert_int_equal(seen[1], n_honest);
	assert_int_equal(
		world_bytes(s.w, 2), quota_bytes(QUOTA_PROCESSES) + quota_bytes(QUOTA_NAMES));
	app_connect(s.hostile, 9999, "db/db", 0, TRANSPORT_ARGO);
	TAKE(m, s.hostile, CONTROL_CONNECTED);
	world_free(s.w);
}

/* However many listeners do not read, their caller keeps room for one that does. */
static void test_many_quiet_listeners(void **state)
{
	const struct control_message *m;
	struct world *w = world_new(ALL, NULL);
	struct app *caller = app_new(w, 0, 3, true);
	uint32_t id = 0;

	for (uint16_t domid = 0; domid <= 5; domid++) {
		struct app *holder;

		if (domid == 3)
			continue;
		holder = app_new(w, 1U + domid, domid, true);
		assert_int_equal(app_listen(holder, 1, "db", BACKLOG_MAX), 0);
		for (bool up = false;;) {
			char address[32];

			snprintf(address, sizeof(address), "domid:%u/db", domid);
			app_connect(caller, ++id, address, 0, TRANSPORT_ARGO);
			m = app_take(caller);
			assert_non_null(m);
			if (!up) {
				assert_int_equal(m->type, CONTROL_LINK_CREATE);
				app_offer(caller, m->link_create.end, 5);
				TAKE(m, holder, CONTROL_LINK_BIND);
				app_ready(holder, m->link_bind.end, 6);
				TAKE(m, caller, CONTROL_LINK_UP);
				TAKE(m, caller, CONTROL_CONNECTED);
				holder->full = up = true;
			} else if (m->type == CONTROL_STATUS) {
				break;
			}
		}
		/* It is refused because that listener does not read, not for want of room. */
		assert_string_equal(m->status.reason, "the listener of db does not read");
	}
	assert_in_range(world_bytes(w, 3), 0, DOMAIN_BYTES_MAX);
	world_free(w);
}

static uint64_t next_ms(const char *reason)
{
	unsigned long long ms = 0;

	assert_non_null(strstr(reason, "the next in "));
	assert_int_equal(sscanf(strstr(reason, "the next in "), "the next in %llu ms", &ms), 1);
	return ms;
}

/* Links that fail to be made, one after the other, at one time: fewer and fewer. */
static void test_failures_back_off(void **state)
{
	char reason[REASON_SIZE] = "";
	uint32_t error = 0, id = 0;
	uint64_t ms;
	struct scene s;

	scene_start(&s, NULL, 8);
	while (!error && id < 10000) {
		error = cycle(s.hostile, ++id, reason);
		app_forget(s.holder);
	}
	assert_int_equal(error, EDQUOT);
	assert_non_null(strstr(reason, "keep failing"));
	assert_in_range(id, 2 * LINK_MAKE_FAILURES, LINK_MAKE_BURST);
	/* The caller is told when; a moment before it is refused still. */
	ms = next_ms(reason);
	assert_in_range(ms, 1, 2000);
	world_pass(s.w, ms * 1000000);
	assert_int_equal(cycle(s.hostile, ++id, reason), 0);
	assert_int_equal(cycle(s.hostile, ++id, reason), EDQUOT);
	assert_in_range(next_ms(reason), 100, 2000);
	/* Others are not concerned, and one link that is made ends the suspicion. */
	app_forget(s.holder);
	connect_through(s.honest, s.holder, 1);
	world_pass(s.w, UINT64_C(10000000000));
	connect_through(s.hostile, s.holder, ++id);
	world_free(s.w);
}

/* Where Argo fails, the link that stands in for it is no second one: else there would be none. */
static void test_fallback_is_paid_for(void **state)
{
	const struct control_message *m;
	char reason[REASON_SIZE] = "";
	uint32_t id = 0;
	struct scene s;

	scene_start(&s, NULL, 8);
	while (cycle(s.hostile, ++id, reason) == 0)
		app_forget(s.holder);
	app_forget(s.holder);
	world_pass(s.w, next_ms(reason) * 1000000);
	app_connect(s.hostile, ++id, "db/db", 0, TRANSPORT_ANY);
	TAKE(m, s.hostile, CONTROL_LINK_CREATE);
	assert_int_equal(m->link_create.transport, TRANSPORT_ARGO);
	app_failed(s.hostile, m->link_create.end, ENOMEM, "no ring");
	TAKE(m, s.hostile, CONTROL_LINK_CREATE);
	assert_int_equal(m->link_create.transport, TRANSPORT_GRANT);
	/* Once: a third link is one more. */
	app_failed(s.hostile, m->link_create.end, ENOMEM, "no pages");
	TAKE_STATUS(s.hostile, id, ENOBUFS);
	assert_int_equal(cycle(s.hostile, ++id, reason), EDQUOT);
	world_free(s.w);
}

/* Links that are made, then end: by applications that come and go. */
static void test_links_are_limited(void **state)
{
	const struct control_message *m = NULL;
	unsigned n = 0;
	struct scene s;

	scene_start(&s, NULL, 8);
	for (; n < 4 * LINK_MAKE_BURST; n++) {
		struct app *app = app_new(s.w, 3, 1, true);
		uint32_t end;

		app_connect(app, 1, "db/db", 0, TRANSPORT_ARGO);
		m = app_take(app);
		assert_non_null(m);
		if (m->type == CONTROL_STATUS)
			break;
		end = m->link_create.end;
		app_offer(app, end, 5);
		TAKE(m, s.holder, CONTROL_LINK_BIND);
		app_ready(s.holder, m->link_bind.end, 6);
		app_die(app);
		app_forget(s.holder);
	}
	assert_int_equal(n, LINK_MAKE_BURST);
	assert_int_equal(m->status.error, EDQUOT);
	assert_non_null(strstr(m->status.reason, "made too often"));
	world_pass(s.w, LINK_MAKE_NS);
	connect_through(s.hostile, s.holder, 1);
	connect_through(s.honest, s.holder, 1);
	world_free(s.w);
}

/* A domain goes while messages of its own wait elsewhere; its domid is used again. */
static void test_payer_goes(void **state)
{
	const struct control_message *m;
	struct scene s;
	uint32_t before;

	scene_start(&s, NULL, 64);
	before = world_bytes(s.w, 2);
	connect_through(s.hostile, s.holder, 1);
	s.holder->full = true;
	for (uint32_t id = 2; id < 40; id++) {
		app_connect(s.hostile, id, "db/db", 0, TRANSPORT_ARGO);
		TAKE(m, s.hostile, CONTROL_CONNECTED);
	}
	assert_int_equal(world_bytes(s.w, 2), before);
	s.w->domains[1].generation++;
	world_domains(s.w);
	assert_true(s.hostile->dropped);
	world_check(s.w);
	assert_int_equal(world_bytes(s.w, 1), 0);
	assert_in_range(world_bytes(s.w, 2), before + 1, DOMAIN_BYTES_MAX / 4);
	/* They are for links that it knows: it is told of their end, behind its channels. */
	app_read(s.holder);
	for (uint32_t id = 2; id < 40; id++)
		TAKE(m, s.holder, CONTROL_CHANNEL);
	TAKE(m, s.holder, CONTROL_LINK_DOWN);
	assert_int_equal(world_bytes(s.w, 2), before);
	world_free(s.w);
}

/* An application that asks and does not read its answers is behind, by its own. */
static void test_behind(void **state)
{
	struct control_message sync = {.type = CONTROL_SYNC};
	struct app *others[3];
	uint32_t own_bytes;
	struct scene s;

	scene_start(&s, NULL, 8);
	s.hostile->full = true;
	for (sync.request = 1; !broker_is_behind(s.hostile->process); sync.request++) {
		assert_int_equal(app_send(s.hostile, &sync), 0);
		assert_in_range(sync.request, 1, 2000);
	}
	assert_in_range(s.hostile->process->own_bytes, OUTBOX_OWN_MAX, OUTBOX_OWN_MAX + 1024);
	own_bytes = s.hostile->process->own_bytes;
	s.hostile->process->own_bytes = OUTBOX_OWN_MAX; /* is what it may have */
	assert_false(broker_is_behind(s.hostile->process));
	s.hostile->process->own_bytes = own_bytes;
	/* Several of a domain share a limit, but one that reads is read. */
	for (unsigned i = 0; i < 3; i++) {
		others[i] = app_new(s.w, 3 + i, 1, true);
		others[i]->full = true;
		for (; !broker_is_behind(others[i]->process); sync.request++)
			assert_int_equal(app_send(others[i], &sync), 0);
	}
	others[0] = app_new(s.w, 7, 1, true);
	others[0]->full = true;
	assert_int_equal(app_send(others[0], &sync), 0);
	assert_int_equal(broker_is_behind(others[0]->process),
		s.hostile->process->domain->own.outbox_bytes > DOMAIN_OUTBOX_OWN_MAX);
	app_read(others[0]);
	assert_false(broker_is_behind(others[0]->process));
	assert_false(broker_is_behind(s.honest->process));
	world_free(s.w);
}

/* The objects of a domain have a sum in bytes, and a refusal names it. */
static void test_memory_limit(void **state)
{
	struct broker_limits limits;
	struct world *w;
	struct app *app;
	uint32_t n = 0;
	const struct control_message *m;

	broker_limits_default(&limits);
	limits.bytes = 64U << 10;
	w = world_new(ALL, &limits);
	app = app_new(w, 0, 3, true);
	do {
		app_connect(app, ++n, "db/none", CONNECT_WAIT_NAME, 0);
		m = app_take(app);
	} while (!m);
	assert_int_equal(m->status.error, EDQUOT);
	assert_string_equal(m->status.reason, "limit memory=64 (KiB) of domain app");
	assert_true(world_logged(w, "app(3): limit memory=64 is reached"));
	assert_in_range(world_bytes(w, 3), (64U << 10) - 1024, 64U << 10);
	assert_in_range(n, 10, 200);
	world_free(w);
}

/* The price of each failure in a row: it doubles, up to a limit. */
static void test_price_of_failures(void **state)
{
	const struct domain_pair *pair;
	char reason[REASON_SIZE];
	struct scene s;

	scene_start(&s, NULL, 8);
	for (uint32_t n = 1; n <= (LINK_MAKE_DOUBLED_MAX + 3) * LINK_MAKE_FAILURES; n++) {
		uint32_t doubled = (n - 1) / LINK_MAKE_FAILURES;

		world_pass(s.w, UINT64_C(10000000000));
		assert_int_equal(cycle(s.hostile, n, reason), 0);
		app_forget(s.holder);
		pair = domain_pair_find(s.hostile->process->domain, s.holder->process->domain);
		assert_non_null(pair);
		assert_int_equal(pair->links_made.due_ns - s.w->now_ns,
			LINK_MAKE_NS << (doubled < LINK_MAKE_DOUBLED_MAX ? doubled
									 : LINK_MAKE_DOUBLED_MAX));
	}
	/* A link that is made is forgiven the failures before it. */
	world_pass(s.w, UINT64_C(10000000000));
	connect_through(app_new(s.w, 3, 1, true), s.holder, 1);
	world_pass(s.w, UINT64_C(10000000000));
	assert_int_equal(cycle(s.hostile, 5000, reason), 0);
	assert_int_equal(pair->links_made.due_ns - s.w->now_ns, LINK_MAKE_NS);
	world_free(s.w);
}

/* The refusal says when the next link may be made: at that time, and no moment before. */
static void test_time_of_the_next_link(void **state)
{
	static const uint64_t waits[] = {1, 999999, 1000000, 1000001};
	static const unsigned ms[] = {1, 1, 2, 2};

	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		const struct control_message *m;
		struct domain_pair *pair;
		char reason[REASON_SIZE];
		struct scene s;

		scene_start(&s, NULL, 8);
		pair = domain_pair_get(s.hostile->process->domain, s.holder->process->domain);
		pair->links_made.due_ns =
			s.w->now_ns + (LINK_MAKE_BURST - 1) * LINK_MAKE_NS + waits[i];
		app_connect(s.hostile, 1, "db/db", 0, TRANSPORT_ARGO);
		TAKE(m, s.hostile, CONTROL_STATUS);
		assert_int_equal(m->status.error, EDQUOT);
		snprintf(reason, sizeof(reason),
			"links from web to there are made too often: the next in %u ms", ms[i]);
		assert_string_equal(m->status.reason, reason);
		world_pass(s.w, waits[i] - 1);
		app_connect(s.hostile, 2, "db/db", 0, TRANSPORT_ARGO);
		TAKE_STATUS(s.hostile, 2, EDQUOT);
		world_pass(s.w, 1);
		app_connect(s.hostile, 3, "db/db", 0, TRANSPORT_ARGO);
		TAKE(m, s.hostile, CONTROL_LINK_CREATE);
		world_free(s.w);
	}
}

/* A unit of each quota pays for all that it can bring about. */
static void test_quota_bytes(void **state)
{
	const uint32_t two = 2 * OBJECT_OVERHEAD;

	assert_true(quota_bytes(QUOTA_PROCESSES) > sizeof(struct process));
	assert_true(quota_bytes(QUOTA_NAMES) >= sizeof(struct listener) + two);
	assert_true(quota_bytes(QUOTA_CHANNELS) >=
		    sizeof(struct broker_channel) + sizeof(struct tally) + two);
	assert_int_equal(quota_bytes(QUOTA_ANNOUNCED), quota_bytes(QUOTA_CHANNELS));
	assert_true(quota_bytes(QUOTA_REQUESTS) >=
		    sizeof(struct broker_request) + sizeof(struct waiters) + ADDRESS_SIZE + two);
	assert_true(quota_bytes(QUOTA_WATCHES) >= sizeof(struct watch) + two);
	assert_int_equal(quota_bytes(QUOTA_LINKS), 0); /* its ends do */
	assert_true(quota_bytes(QUOTA_ENDS) >= sizeof(struct broker_link) + two);
}

/* The limit of memory is the last byte that a domain may have, and each limit names itself. */
static void test_limits_at_the_limit(void **state)
{
	static const char *const names[QUOTA_COUNT] = {"processes", "names", "channels", "links",
		"requests", "ends", "announced", "watches"};
	struct broker_limits limits;
	const struct control_message *m;
	struct world *w;
	struct app *app;

	for (int i = 0; i < QUOTA_COUNT; i++)
		assert_string_equal(quota_name((enum quota)i), names[i]);
	broker_limits_default(&limits);
	limits.bytes = quota_bytes(QUOTA_PROCESSES) + 2 * quota_bytes(QUOTA_REQUESTS);
	w = world_new(ALL, &limits);
	app = app_new(w, 0, 3, true);
	app_connect(app, 1, "none", CONNECT_WAIT_NAME, 0);
	app_connect(app, 2, "none", CONNECT_WAIT_NAME, 0);
	TAKE_NOTHING(app);
	assert_int_equal(broker_bytes(w->broker), limits.bytes);
	assert_int_equal(app_listen(app, 1, "db", 1), EDQUOT);
	assert_true(world_logged(w, "app(3): limit memory="));
	app_connect(app, 3, "none", CONNECT_WAIT_NAME, 0);
	TAKE_STATUS(app, 3, EDQUOT);
	limits.bytes--;
	broker_set_limits(w->broker, &limits, NULL);
	app_cancel(app, 2);
	TAKE_STATUS(app, 2, ECANCELED);
	app_connect(app, 4, "none", CONNECT_WAIT_NAME, 0);
	TAKE_STATUS(app, 4, EDQUOT);
	limits.bytes *= 2;
	limits.quota[QUOTA_REQUESTS] = 1;
	broker_set_limits(w->broker, &limits, NULL);
	assert_int_equal(broker_limit(w->broker, 1, QUOTA_REQUESTS), 1);
	app_connect(app, 5, "none", CONNECT_WAIT_NAME, 0);
	TAKE(m, app, CONTROL_STATUS);
	assert_int_equal(m->status.error, EDQUOT);
	assert_string_equal(m->status.reason, "limit requests=1 of domain app");
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cycles),
		cmocka_unit_test(test_no_cancel_of_what_was_told),
		cmocka_unit_test(test_congestion_is_the_callers_own),
		cmocka_unit_test(test_many_quiet_listeners),
		cmocka_unit_test(test_failures_back_off),
		cmocka_unit_test(test_fallback_is_paid_for),
		cmocka_unit_test(test_links_are_limited),
		cmocka_unit_test(test_payer_goes),
		cmocka_unit_test(test_behind),
		cmocka_unit_test(test_memory_limit),
		cmocka_unit_test(test_price_of_failures),
		cmocka_unit_test(test_time_of_the_next_link),
		cmocka_unit_test(test_limits_at_the_limit),
		cmocka_unit_test(test_quota_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
