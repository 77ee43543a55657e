/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Quiescing a domain: PROTOCOL.md 5.5, as the broker sees it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/macro.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/state.h"
#include "tests/unit/daemon/cmocka-all.h"
#include "tests/unit/daemon/world.h"

#define ALL "allow listen * on any\nallow connect * from any to any\n"

/* "db" held in domain 2, a channel to it from domain 3, over a link that is up. */
struct scene {
	struct world *w;
	struct app *caller, *holder;
	uint32_t caller_end, holder_end;
};

static void scene_start(struct scene *s)
{
	const struct control_message *m;
	uint32_t ends[2];

	s->w = world_new(ALL, NULL);
	s->caller = app_new(s->w, 0, 3, false);
	s->holder = app_new(s->w, 1, 2, false);
	assert_int_equal(app_listen(s->holder, 1, "db", 4), 0);
	app_connect(s->caller, 1, "db", 0, 0);
	make_link(s->caller, s->holder, false, ends);
	s->caller_end = ends[0];
	s->holder_end = ends[1];
	TAKE(m, s->holder, CONTROL_CHANNEL);
	TAKE(m, s->caller, CONTROL_CONNECTED);
}

static struct domain *domain_of(struct scene *s, uint16_t domid)
{
	return domain_find(s->w->broker, domid);
}

static void domain_set(struct scene *s, uint16_t domid, enum broker_domain_state domain_state)
{
	for (size_t i = 0; i < s->w->n_domains; i++) {
		if (s->w->domains[i].domid == domid)
			s->w->domains[i].state = domain_state;
	}
	world_domains(s->w);
}

static void test_quiesce(void **state)
{
	const struct control_message *m;
	struct quiesced *line;
	struct scene s;

	scene_start(&s);
	assert_int_equal(broker_quiesce(s.w->broker, 2), 0);
	/* Its peer is told the reason; of itself it is told nothing but QUIESCE. */
	TAKE(m, s.caller, CONTROL_LINK_DOWN);
	assert_int_equal(m->link_down.end, s.caller_end);
	assert_int_equal(m->link_down.error, ECONNRESET);
	assert_non_null(strstr(m->link_down.reason, "domain db is quiesced"));
	TAKE(m, s.holder, CONTROL_QUIESCE);
	assert_non_null(strstr(m->quiesce.reason, "domain db is quiesced"));
	TAKE_NOTHING(s.holder);
	assert_true(broker_is_quiescing(s.holder->process));
	assert_false(broker_is_quiescing(s.caller->process));
	assert_int_equal(s.w->n_reports, 0);
	world_check(s.w);
	/* Its name is not found. */
	app_connect(s.caller, 2, "db", 0, 0);
	TAKE_STATUS(s.caller, 2, ENOENT);
	/* Whatever it says before it has read QUIESCE is discarded, and costs it nothing. */
	app_accepted(s.holder, s.holder_end, 1);
	app_connect(s.holder, 9, "domid:3/x", 0, 0);
	assert_int_equal(broker_message(s.holder->process, m, -EBADMSG), 0);
	assert_int_equal(broker_message(s.holder->process, m, -EOPNOTSUPP), 0);
	TAKE_NOTHING(s.holder);
	/* Asked twice is told once. */
	assert_int_equal(broker_quiesce(s.w->broker, 2), 0);
	TAKE_NOTHING(s.holder);
	app_park(s.holder);
	assert_int_equal(s.w->n_reports, 1);
	line = TAILQ_FIRST(&domain_of(&s, 2)->parted);
	assert_non_null(line);
	assert_true(line->confirmed);
	assert_int_equal(line->pid, 1002);
	assert_string_equal(line->comm, "test");
	TAKE_NOTHING(s.caller);
	assert_int_equal(s.w->resumed, 0);
	assert_int_equal(world_used(s.w, 2), 0);
	world_free(s.w);
}

/* The link's caller is in the quiesced domain; a third domain's link is left alone. */
static void test_only_that_domain(void **state)
{
	const struct control_message *m;
	struct scene s;
	struct app *other;

	scene_start(&s);
	other = app_new(s.w, 2, 1, false);
	assert_int_equal(broker_quiesce(s.w->broker, 1), 0);
	TAKE(m, other, CONTROL_QUIESCE);
	TAKE_NOTHING(s.caller);
	TAKE_NOTHING(s.holder);
	assert_int_equal(broker_quiesce(s.w->broker, 3), 0);
	TAKE(m, s.holder, CONTROL_LINK_DOWN);
	assert_int_equal(m->link_down.end, s.holder_end);
	TAKE(m, s.caller, CONTROL_QUIESCE);
	TAKE_NOTHING(s.caller);
	/* The holder goes on. */
	assert_int_equal(app_listen(s.holder, 2, "more", 1), 0);
	world_free(s.w);
}

/* Requests under way: its own are forgotten, it will ask again; others' wait for its name. */
static void test_requests(void **state)
{
	const struct control_message *m;
	struct scene s;

	scene_start(&s);
	app_connect(s.holder, 7, "later", CONNECT_WAIT_NAME, 0);
	app_connect(s.caller, 8, "db/late", CONNECT_WAIT_NAME, 0);
	assert_int_equal(broker_quiesce(s.w->broker, 2), 0);
	TAKE(m, s.caller, CONTROL_LINK_DOWN);
	TAKE_NOTHING(s.caller);
	TAKE(m, s.holder, CONTROL_QUIESCE);
	app_park(s.holder);
	assert_int_equal(broker_resume(s.w->broker, 2), 0);
	assert_int_equal(s.w->resumed, 1U << 2);
	assert_int_equal(s.w->n_reports, 2);
	s.holder = app_new(s.w, 1, 2, false);
	assert_int_equal(app_listen(s.holder, 1, "late", 4), 0);
	TAKE(m, s.caller, CONTROL_LINK_CREATE);
	world_free(s.w);
}

/* A link that is being made when one side is quiesced: the caller's request is judged anew. */
static void test_link_being_made(void **state)
{
	const struct control_message *m;
	struct world *w = world_new(ALL, NULL);
	struct app *caller = app_new(w, 0, 3, true), *holder = app_new(w, 1, 2, true);

	assert_int_equal(app_listen(holder, 1, "db", 4), 0);
	app_connect(caller, 1, "db", 0, 0);
	TAKE(m, caller, CONTROL_LINK_CREATE);
	assert_int_equal(broker_quiesce(w->broker, 2), 0);
	TAKE(m, caller, CONTROL_LINK_DOWN);
	TAKE_STATUS(caller, 1, ENOENT);
	TAKE(m, holder, CONTROL_QUIESCE);
	world_free(w);
}

/* Suspended, then running again where it was: it is quiesced no more. */
static void test_resumed_in_place(void **state)
{
	const struct control_message *m;
	struct scene s;

	scene_start(&s);
	assert_int_equal(broker_quiesce(s.w->broker, 2), 0);
	domain_set(&s, 2, BROKER_DOMAIN_RUNNING); /* not suspended yet */
	assert_true(broker_is_quiesced(s.w->broker, 2));
	TAKE(m, s.holder, CONTROL_QUIESCE);
	app_park(s.holder);
	assert_false(broker_resume_expected(s.w->broker));
	domain_set(&s, 2, BROKER_DOMAIN_SUSPENDED);
	assert_true(broker_is_quiesced(s.w->broker, 2));
	assert_true(broker_resume_expected(s.w->broker));
	assert_int_equal(s.w->resumed, 0);
	domain_set(&s, 2, BROKER_DOMAIN_RUNNING);
	assert_false(broker_is_quiesced(s.w->broker, 2));
	assert_false(broker_resume_expected(s.w->broker));
	assert_int_equal(s.w->resumed, 1U << 2);
	s.holder = app_new(s.w, 1, 2, false);
	world_free(s.w);
}

/* Migrated: the domain is gone; the one that comes, even under its domid, is another. */
static void test_gone(void **state)
{
	struct scene s;
	unsigned reports;

	scene_start(&s);
	assert_int_equal(broker_quiesce(s.w->broker, 2), 0);
	app_park(s.holder);
	reports = s.w->n_reports;
	world_rebirth(s.w, 2);
	assert_true(s.w->n_reports > reports); /* a command that waits looks again */
	assert_false(broker_is_quiesced(s.w->broker, 2));
	s.holder = app_new(s.w, 1, 2, false);
	assert_int_equal(broker_quiesce(s.w->broker, 2), 0);
	world_remove_domain(s.w, 2);
	assert_int_equal(broker_quiesce(s.w->broker, 2), -ESRCH);
	assert_int_equal(broker_resume(s.w->broker, 2), -ESRCH);
	world_free(s.w);
}

/*
 * An application that attaches meanwhile is told in answer to HELLO; one that has not said HELLO is
 * told at once.
 */
static void test_latecomers(void **state)
{
	const struct control_message *m;
	struct scene s;
	struct app *early, *late;

	scene_start(&s);
	early = &s.w->apps[2];
	assert_int_equal(app_attach(early, 2, false), 0);
	assert_int_equal(broker_quiesce(s.w->broker, 2), 0);
	TAKE(m, early, CONTROL_QUIESCE);
	assert_int_equal(app_hello(early, true, false), 0);
	TAKE_NOTHING(early);
	late = &s.w->apps[3];
	assert_int_equal(app_attach(late, 2, false), 0);
	TAKE_NOTHING(late);
	assert_int_equal(app_hello(late, true, false), 0);
	TAKE(m, late, CONTROL_QUIESCE);
	TAKE_NOTHING(late);
	app_park(late);
	app_park(early);
	world_free(s.w);
}

/* An application that dies, or is dropped, confirms nothing. */
static void test_death(void **state)
{
	struct quiesced *line;
	struct scene s;

	scene_start(&s);
	assert_int_equal(broker_quiesce(s.w->broker, 2), 0);
	app_die(s.holder);
	assert_int_equal(s.w->n_reports, 1);
	line = TAILQ_FIRST(&domain_of(&s, 2)->parted);
	assert_non_null(line);
	assert_false(line->confirmed);
	world_free(s.w);
}

/* The report is bounded, whatever comes and goes. */
static void test_report_bounded(void **state)
{
	struct broker_limits limits;
	struct world *w;

	broker_limits_default(&limits);
	limits.quota[QUOTA_PROCESSES] = 3;
	w = world_new(ALL, &limits);
	assert_int_equal(broker_quiesce(w->broker, 2), 0);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(app_attach(&w->apps[0], 2, false), 0);
		assert_int_equal(app_hello(&w->apps[0], false, false), 0);
		app_park(&w->apps[0]);
		world_check(w);
	}
	assert_int_equal(domain_find(w->broker, 2)->n_parted, 3);
	world_free(w);
}

static void test_refusals(void **state)
{
	struct world *w = world_new(ALL, NULL);
	uint16_t domid = 99;

	assert_int_equal(broker_quiesce(w->broker, 0), -EPERM);
	assert_int_equal(broker_quiesce(w->broker, 77), -ESRCH);
	assert_int_equal(broker_resume(w->broker, 2), -EALREADY);
	assert_int_equal(broker_find_domain(w->broker, "db", &domid), 0);
	assert_int_equal(domid, 2);
	assert_int_equal(broker_find_domain(w->broker, "domid:3", &domid), 0);
	assert_int_equal(domid, 3);
	assert_int_equal(
		broker_find_domain(w->broker, "uuid:15151515-1515-1515-1515-151515151515", &domid),
		0);
	assert_int_equal(domid, 5);
	assert_int_equal(broker_find_domain(w->broker, "web", &domid), -ENOTUNIQ);
	assert_int_equal(broker_find_domain(w->broker, "nobody", &domid), -ESRCH);
	assert_int_equal(broker_find_domain(w->broker, "domid:", &domid), -EINVAL);
	assert_int_equal(domid, 5);
	world_free(w);
}

/* msgd restarts: parked records say which domain was quiesced; the rest need not wait for it. */
static void test_restart(void **state)
{
	const struct control_message *m;
	struct scene s;

	scene_start(&s);
	assert_int_equal(broker_quiesce(s.w->broker, 2), 0);
	app_park(s.holder);
	world_restart(s.w, ALL, NULL);
	broker_parked_found(s.w->broker, 2);
	broker_parked_found(s.w->broker, 2);
	broker_parked_found(s.w->broker, 77); /* whose domain is gone */
	assert_true(broker_is_quiesced(s.w->broker, 2));
	broker_recover(s.w->broker, 2);
	assert_int_equal(app_attach(s.caller, 3, true), 0);
	assert_int_equal(app_hello(s.caller, false, true), 0);
	TAKE(m, s.caller, CONTROL_WELCOME);
	assert_int_equal(app_announce_done(s.caller), 0);
	/* One that had not confirmed yet is told again, and nobody waits for its announcements. */
	assert_true(s.w->broker->recovering);
	assert_int_equal(app_attach(s.holder, 2, true), 0);
	assert_int_equal(app_hello(s.holder, false, true), 0);
	TAKE(m, s.holder, CONTROL_QUIESCE);
	assert_false(s.w->broker->recovering);
	assert_int_equal(broker_resume(s.w->broker, 2), 0);
	world_free(s.w);
}

/* An application of a quiesced domain that comes and lets go, over and over. */
static void test_parking_is_logged_in_bounds(void **state)
{
	struct scene s;
	struct app *app;

	scene_start(&s);
	assert_int_equal(broker_quiesce(s.w->broker, 2), 0);
	app = &s.w->apps[5];
	for (unsigned i = 0; i < 1000; i++) {
		assert_int_equal(app_attach(app, 2, false), 0);
		assert_int_equal(app_hello(app, false, false), 0);
		app_park(app);
	}
	assert_true(world_logged(s.w, "has given everything back"));
	assert_in_range(s.w->n_lines, DOMAIN_LOG_BURST, DOMAIN_LOG_BURST + 10);
	world_free(s.w);
}

/* Each step has its line, and its call to those that wait for the report. */
static void test_lines(void **state)
{
	const struct control_message *m;
	struct scene s;

	scene_start(&s);
	app_die(app_new(s.w, 3, 2, false));
	assert_int_equal(s.w->n_reports, 0); /* of a domain that is served, there is no report */
	assert_int_equal(broker_quiesce(s.w->broker, 2), 0);
	assert_true(world_logged(s.w, "db(2) is quiesced\n"));
	TAKE(m, s.holder, CONTROL_QUIESCE);
	assert_string_equal(
		m->quiesce.reason, "domain db is quiesced: it is to be saved or migrated");
	TAKE(m, s.caller, CONTROL_LINK_DOWN);
	assert_string_equal(
		m->link_down.reason, "domain db is quiesced: it is to be saved or migrated");
	app_park(s.holder);
	assert_true(world_logged(s.w, "db(2) pid 1002 (test) has given everything back"));
	assert_int_equal(s.w->n_reports, 1);
	s.w->log[0] = '\0';
	assert_int_equal(broker_quiesce(s.w->broker, 2), 0);
	assert_string_equal(s.w->log, "");
	assert_int_equal(broker_resume(s.w->broker, 2), 0);
	assert_true(world_logged(s.w, "db(2) is quiesced no more: msgctl"));
	assert_int_equal(s.w->n_reports, 2);
	assert_int_equal(s.w->resumed, 1U << 2);
	assert_true(TAILQ_EMPTY(&domain_of(&s, 2)->parted));
	assert_int_equal(domain_of(&s, 2)->n_parted, 0);
	assert_int_equal(broker_resume(s.w->broker, 2), -EALREADY);
	assert_int_equal(broker_resume(s.w->broker, 77), -ESRCH);
	world_free(s.w);
}

/* It is suspended when it is quiesced, or while its applications let go. */
static void test_suspended_first(void **state)
{
	struct scene s;

	scene_start(&s);
	domain_set(&s, 2, BROKER_DOMAIN_SUSPENDED);
	assert_false(broker_is_quiesced(s.w->broker, 2));
	assert_false(broker_resume_expected(s.w->broker));
	domain_set(&s, 2, BROKER_DOMAIN_RUNNING);
	assert_int_equal(s.w->n_reports, 0);
	domain_set(&s, 2, BROKER_DOMAIN_SUSPENDED);
	assert_int_equal(broker_quiesce(s.w->broker, 2), 0);
	assert_true(broker_resume_expected(s.w->broker));
	assert_true(broker_quiesce_pending(s.w->broker, 2));
	domain_set(&s, 2, BROKER_DOMAIN_RUNNING);
	assert_true(world_logged(s.w, "db(2) is quiesced no more: it runs again"));
	assert_false(broker_quiesce_pending(s.w->broker, 2));
	assert_false(broker_quiesce_pending(s.w->broker, 77));
	assert_false(broker_is_quiesced(s.w->broker, 77));
	assert_int_equal(s.w->n_reports, 1);
	/* One that lets go when all is over is in no report. */
	app_park(s.holder);
	assert_int_equal(s.w->n_reports, 1);
	assert_true(TAILQ_EMPTY(&domain_of(&s, 2)->parted));
	world_check(s.w);
	world_free(s.w);
}

/* An application that announces when its domain is quiesced: what it has announced is gone. */
static void test_while_announcing(void **state)
{
	const struct control_message *m;
	struct world *w = world_new(ALL, NULL);
	struct app *holder = &w->apps[0], *caller = &w->apps[1];

	broker_recover(w->broker, 2);
	assert_int_equal(app_attach(holder, 2, true), 0);
	assert_int_equal(app_hello(holder, true, true), 0);
	assert_int_equal(app_attach(caller, 3, true), 0);
	assert_int_equal(app_hello(caller, true, true), 0);
	TAKE(m, holder, CONTROL_WELCOME);
	TAKE(m, caller, CONTROL_WELCOME);
	app_announce_link(holder, 50, 7, 3, TRANSPORT_ARGO, 1, 1);
	app_announce_link(caller, 40, 7, 2, TRANSPORT_ARGO, 0, 1);
	app_announce_channel(holder, 50, 1, 1, 0, "db");
	assert_int_equal(broker_quiesce(w->broker, 2), 0);
	TAKE(m, holder, CONTROL_QUIESCE);
	TAKE(m, caller, CONTROL_LINK_DOWN);
	assert_int_equal(m->link_down.end, 40);
	world_check(w);
	assert_int_equal(app_announce_done(holder), 0);
	assert_int_equal(app_announce_done(caller), 0);
	assert_false(w->broker->recovering);
	TAKE_NOTHING(caller);
	world_free(w);
}

/* Dead domains and domain 0 are not quiesced, whatever was found at start. */
static void test_not_quiesced(void **state)
{
	struct scene s;

	scene_start(&s);
	broker_parked_found(s.w->broker, 0);
	assert_false(broker_is_quiesced(s.w->broker, 0));
	broker_parked_found(s.w->broker, 5);
	assert_true(broker_is_quiesced(s.w->broker, 5));
	assert_false(broker_quiesce_pending(s.w->broker, 5));
	assert_true(
		world_logged(s.w, "vault(5) was quiesced before msgd's restart: 'msgctl resume' "
				  "ends it, if it runs"));
	s.w->log[0] = '\0';
	broker_parked_found(s.w->broker, 5);
	assert_string_equal(s.w->log, "");
	domain_set(&s, 1, BROKER_DOMAIN_CRASHED);
	assert_int_equal(broker_quiesce(s.w->broker, 1), -ESRCH);
	domain_set(&s, 4, BROKER_DOMAIN_DYING);
	assert_int_equal(broker_quiesce(s.w->broker, 4), -ESRCH);
	assert_false(broker_is_quiesced(s.w->broker, 1) || broker_is_quiesced(s.w->broker, 4));
	world_free(s.w);
}

/* The report keeps the last ones, and says of each which it was. */
static void test_report_keeps_the_last(void **state)
{
	struct broker_limits limits;
	struct quiesced *line;
	struct world *w;
	uint32_t pid = 8;

	broker_limits_default(&limits);
	limits.quota[QUOTA_PROCESSES] = 3;
	w = world_new(ALL, &limits);
	assert_int_equal(broker_quiesce(w->broker, 2), 0);
	for (uint32_t i = 1; i <= 10; i++) {
		struct control_message hello = {.type = CONTROL_HELLO, .request = 1};

		assert_int_equal(app_attach(&w->apps[0], 2, false), 0);
		hello.hello.epoch = w->apps[0].epoch;
		hello.hello.version_min = hello.hello.version_max = 1;
		hello.hello.pid = i;
		snprintf(hello.hello.comm, sizeof(hello.hello.comm), "app-%u", i);
		assert_int_equal(app_send(&w->apps[0], &hello), 0);
		if (i % 2)
			app_park(&w->apps[0]);
		else
			app_die(&w->apps[0]);
		assert_int_equal(domain_find(w->broker, 2)->n_parted, i < 3 ? i : 3);
	}
	TAILQ_FOREACH (line, &domain_find(w->broker, 2)->parted, entry) {
		char comm[16];

		snprintf(comm, sizeof(comm), "app-%u", pid);
		assert_int_equal(line->pid, pid);
		assert_string_equal(line->comm, comm);
		assert_int_equal(line->confirmed, pid % 2);
		pid++;
	}
	assert_int_equal(pid, 11);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quiesce),
		cmocka_unit_test(test_only_that_domain),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_link_being_made),
		cmocka_unit_test(test_resumed_in_place),
		cmocka_unit_test(test_gone),
		cmocka_unit_test(test_latecomers),
		cmocka_unit_test(test_death),
		cmocka_unit_test(test_report_bounded),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_parking_is_logged_in_bounds),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_suspended_first),
		cmocka_unit_test(test_while_announcing),
		cmocka_unit_test(test_not_quiesced),
		cmocka_unit_test(test_report_keeps_the_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
