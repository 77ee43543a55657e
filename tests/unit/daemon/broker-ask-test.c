/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rules that ask a program, and rules that have a domain started: msgd.policy(5). */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/macro.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/note.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"
#include "tests/unit/daemon/cmocka-all.h"
#include "tests/unit/daemon/world.h"

#define LISTEN "allow listen * on any\n"
#define ASK    LISTEN "allow connect * from app to any ask=/bin/judge ask-timeout=7\n"
#define START  LISTEN "allow connect * from any to new start=yes start-timeout=20\n"

#define SECOND UINT64_C(1000000000)

/* "app" connects, and waits for the program. */
struct scene {
	struct world *w;
	struct app *caller, *holder;
	struct world_program *program;
};

static struct scene scene_new(const char *rules)
{
	struct scene s = {.w = world_new(rules, NULL)};

	s.caller = app_new_with(s.w, 0, 3, FEATURE_TERMS);
	s.holder = app_new_with(s.w, 1, 2, FEATURE_TERMS);
	assert_int_equal(app_listen(s.holder, 1, "gpg+sign", 8), 0);
	return s;
}

static struct scene scene_asked(void)
{
	struct scene s = scene_new(ASK);

	app_connect(s.caller, 1, "db/gpg+sign", 0, TRANSPORT_ANY);
	TAKE_NOTHING(s.caller);
	world_check(s.w);
	assert_int_equal(s.w->n_programs, 1);
	s.program = world_program(s.w);
	return s;
}

static void pass(struct world *w, uint64_t ns)
{
	world_pass(w, ns);
	if (w->timer_ns && w->timer_ns <= w->now_ns)
		broker_tick(w->broker);
}

static void take_refusal(struct app *app, uint32_t id, int error, const char *reason)
{
	const struct control_message *m;

	TAKE(m, app, CONTROL_STATUS);
	assert_int_equal(m->request, id);
	assert_int_equal(m->status.error, error);
	assert_string_equal(m->status.reason, reason);
}

/* The last event. */
static const struct history_event *last_refusal(struct world *w, int error, const char *text)
{
	const struct history_event *event = TAILQ_LAST(&w->broker->history.events, history_events);

	assert_int_equal(event->kind, HISTORY_REFUSED);
	assert_int_equal(event->error, error);
	assert_string_equal(event->name, "gpg+sign");
	assert_string_equal(event->text, text);
	return event;
}

/* The request was permitted: a link is made for it. */
static void take_link(struct app *caller)
{
	const struct control_message *m;

	TAKE(m, caller, CONTROL_LINK_CREATE);
	app_failed(caller, m->link_create.end, EMFILE, "enough");
	TAKE(m, caller, CONTROL_STATUS);
}

/* ---- ask ------------------------------------------------------------------------------------ */

static void test_question(void **state)
{
	struct scene s = scene_asked();

	assert_string_equal(s.program->path, "/bin/judge");
	assert_int_equal(s.program->timeout_s, 7);
	assert_string_equal(s.program->name, "gpg+sign");
	assert_string_equal(s.program->from, "app");
	assert_int_equal(s.program->from_domid, 3);
	assert_string_equal(s.program->to, "db");
	assert_int_equal(s.program->to_domid, 2);
	assert_true(s.program->to_uuid);
	assert_string_equal(s.program->rule, "test.policy:2");
	world_free(s.w);
}

static void test_allow(void **state)
{
	struct scene s = scene_asked();

	program_answers(s.w, s.program, BROKER_ANSWER_ALLOW, 0, "");
	world_check(s.w);
	take_link(s.caller);
	/* It was for that connect alone. */
	app_connect(s.caller, 2, "db/gpg+sign", 0, TRANSPORT_ANY);
	assert_int_equal(s.w->n_programs, 2);
	TAKE_NOTHING(s.caller);
	world_free(s.w);
}

static void test_deny(void **state)
{
	struct scene s = scene_asked();
	const struct history_event *event;

	pass(s.w, 5 * SECOND);
	program_answers(s.w, s.program, BROKER_ANSWER_DENY, 0, "not at night");
	take_refusal(s.caller, 1, EACCES, "denied by policy: not at night");
	assert_true(world_logged(s.w, "connects to db/gpg+sign (test.policy:2)"));
	assert_int_equal(s.w->broker->stats.refused, 1);
	event = last_refusal(s.w, EACCES, "denied by policy: not at night");
	assert_string_equal(event->rule, "test.policy:2");
	assert_in_range(event->us[CONNECT_LOOKUP], 5000000, 5010000);
	assert_int_equal(event->us[CONNECT_QUEUE], 0);
	assert_int_equal(s.w->broker->refusals->n, 1);
	/* Read again at another place, the rule counts on; without it, its count is gone. */
	world_policy(s.w, "\n" ASK);
	assert_non_null(s.w->broker->refusals);
	assert_int_equal(s.w->broker->refusals->n, 1);
	assert_int_equal(s.w->broker->refusals->key.line, 3);
	assert_int_equal(s.w->broker->refusals->since_us, s.w->broker->since_us);
	world_policy(s.w, "allow listen * on any\n");
	assert_null(s.w->broker->refusals);
	assert_int_equal(s.w->broker->stats.refused, 1);
	world_free(s.w);
}

/* A caller is not told why a program failed. */
static void test_failure(void **state)
{
	struct scene s = scene_asked();

	program_answers(s.w, s.program, BROKER_ANSWER_NONE, 60, "exit status 1");
	take_refusal(s.caller, 1, EACCES, "denied by policy");
	assert_true(world_logged(s.w, "the program of test.policy:2: exit status 1"));
	assert_string_equal(last_refusal(s.w, EACCES, "denied by policy")->rule, "test.policy:2");
	/* It is no answer, so it is not kept. */
	app_connect(s.caller, 2, "db/gpg+sign", 0, TRANSPORT_ANY);
	assert_int_equal(s.w->n_programs, 2);
	program_ends(s.w, world_program(s.w));
	take_refusal(s.caller, 2, EACCES, "denied by policy");
	s.w->run_error = -ENOENT;
	app_connect(s.caller, 3, "db/gpg+sign", 0, TRANSPORT_ANY);
	take_refusal(s.caller, 3, EACCES, "denied by policy");
	assert_true(world_logged(s.w, "the program of test.policy:2: No such file"));
	world_free(s.w);
}

static void test_equal_questions(void **state)
{
	struct scene s = scene_asked();
	struct app *other = app_new(s.w, 2, 3, true), *stranger = app_new(s.w, 3, 1, true);

	app_connect(
		s.caller, 2, "domid:2/gpg+sign", 0, TRANSPORT_ANY); /* names it by another fact */
	app_connect(other, 1, "db/gpg+sign", 0, TRANSPORT_ANY);
	assert_int_equal(s.w->n_programs, 2);
	app_connect(stranger, 1, "db/gpg+sign", 0, TRANSPORT_ANY);
	TAKE_STATUS(stranger, 1, EACCES);
	assert_int_equal(s.w->n_programs, 2);
	program_answers(s.w, s.program, BROKER_ANSWER_DENY, 0, "");
	TAKE_STATUS(s.caller, 1, EACCES);
	TAKE_STATUS(other, 1, EACCES);
	TAKE_NOTHING(s.caller);
	world_free(s.w);
}

/* Whether the next connect is answered from what was kept. */
static bool is_kept(struct scene *s, uint32_t id)
{
	unsigned n = s->w->n_programs;
	bool kept;

	app_connect(s->caller, id, "db/gpg+sign", 0, TRANSPORT_ANY);
	kept = s->w->n_programs == n;
	if (kept)
		TAKE_STATUS(s->caller, id, EACCES);
	else
		app_cancel(s->caller, id);
	app_forget(s->caller);
	return kept;
}

static void test_cache(void **state)
{
	struct scene s = scene_asked();

	program_answers(s.w, s.program, BROKER_ANSWER_DENY, 60, "");
	app_forget(s.caller);
	assert_true(is_kept(&s, 2));
	pass(s.w, 60 * SECOND - 1);
	assert_true(is_kept(&s, 3));
	pass(s.w, 1);
	assert_false(is_kept(&s, 4));
	world_free(s.w);
}

static void test_cache_bounds(void **state)
{
	struct scene s = scene_asked();
	char address[32];

	program_answers(s.w, s.program, BROKER_ANSWER_DENY, UINT32_MAX, "");
	app_forget(s.caller);
	pass(s.w, ANSWER_CACHE_S_MAX * SECOND - 1);
	assert_true(is_kept(&s, 2));
	pass(s.w, 1);
	for (unsigned i = 0; i <= DOMAIN_ANSWERS_MAX; i++) {
		snprintf(address, sizeof(address), "db/%s%u", i ? "n" : "gpg+sign", i);
		app_connect(s.caller, 10 + i, i ? address : "db/gpg+sign", 0, TRANSPORT_ANY);
		assert_int_equal(s.w->n_programs, i + 2);
		if (i == DOMAIN_ANSWERS_MAX) {
			app_forget(s.caller);
			assert_true(is_kept(&s, 3));
		}
		program_answers(s.w, world_program(s.w), BROKER_ANSWER_DENY, 600, "");
		world_check(s.w);
		pass(s.w, SECOND);
	}
	assert_false(is_kept(&s, 4)); /* the oldest */
	world_free(s.w);
}

/* A fact that the program was told is another one now. */
static void test_cache_facts(void **state)
{
	struct scene s = scene_asked();

	program_answers(s.w, s.program, BROKER_ANSWER_DENY, 60, "");
	app_forget(s.caller);
	world_rename(s.w, 4, "elsewhere");
	assert_true(is_kept(&s, 2));
	world_rename(s.w, 2, "db2");
	world_rename(s.w, 5, "db"); /* holds no such name */
	assert_false(is_kept(&s, 3));
	world_rename(s.w, 5, "vault");
	world_rename(s.w, 2, "db");
	assert_true(is_kept(&s, 4)); /* all is as it was */
	world_rebirth(s.w, 2);
	assert_false(is_kept(&s, 5));
	world_free(s.w);
}

/* Named by its number, a domain is the same one, with another fact. */
static void test_renamed(void **state)
{
	static const struct {
		uint16_t domid;
		const char *name;
	} renamed[] = {{2, "db2"}, {3, "app2"}};
	struct scene s = scene_new(LISTEN "allow connect * from any to any ask=/bin/judge\n");

	for (unsigned i = 0; i < ARRAY_SIZE(renamed); i++) {
		app_connect(s.caller, 10 + i, "domid:2/gpg+sign", 0, TRANSPORT_ANY);
		assert_int_equal(s.w->n_programs, 2 * i + 1);
		world_rename(s.w, renamed[i].domid, renamed[i].name);
		program_answers(s.w, world_program(s.w), BROKER_ANSWER_ALLOW, 0, "");
		TAKE_NOTHING(s.caller);
		assert_int_equal(s.w->n_programs, 2 * i + 2);
		program_answers(s.w, world_program(s.w), BROKER_ANSWER_DENY, 0, "");
		TAKE_STATUS(s.caller, 10 + i, EACCES);
	}
	world_free(s.w);
}

/* Nor does an answer of before count for one that it permitted, and that waits. */
static void test_permit_reload(void **state)
{
	struct scene s = scene_new(ASK);

	app_connect(s.caller, 1, "db/late", CONNECT_WAIT_NAME, TRANSPORT_ANY);
	program_answers(s.w, world_program(s.w), BROKER_ANSWER_ALLOW, 0, "");
	world_policy(s.w, ASK);
	assert_int_equal(s.w->n_programs, 2);
	program_answers(s.w, world_program(s.w), BROKER_ANSWER_DENY, 0, "");
	TAKE_STATUS(s.caller, 1, EACCES);
	world_free(s.w);
}

static void test_cache_reload(void **state)
{
	struct scene s = scene_asked();

	program_answers(s.w, s.program, BROKER_ANSWER_DENY, 60, "");
	app_forget(s.caller);
	world_policy(s.w, ASK);
	assert_false(is_kept(&s, 2));
	world_free(s.w);
}

/* Refused callers get one answer, whether there is such a domain and name or not. */
static void test_absent(void **state)
{
	static const char *const addresses[] = {"db/gpg+sign", "db/nothing", "none/gpg+sign",
		"web/gpg+sign", "domid:99/gpg+sign",
		"uuid:99999999-9999-9999-9999-999999999999/gpg+sign", "gpg+sign", "nothing"};
	struct scene s = scene_new(ASK);

	for (unsigned i = 0; i < ARRAY_SIZE(addresses); i++) {
		app_connect(s.caller, 10 + i, addresses[i], CONNECT_WAIT_NAME, TRANSPORT_ANY);
		assert_int_equal(s.w->n_programs, i + 1);
		TAKE_NOTHING(s.caller);
		program_answers(s.w, world_program(s.w), BROKER_ANSWER_DENY, 0, "no");
		take_refusal(s.caller, 10 + i, EACCES, "denied by policy: no");
		if (i == 2) {
			assert_string_equal(world_program(s.w)->to, "none");
			assert_false(world_program(s.w)->to_uuid);
		}
		if (i == 4)
			assert_int_equal(world_program(s.w)->to_domid, 99);
		if (i == 5)
			assert_true(world_program(s.w)->to_uuid);
		if (i == 6)
			assert_string_equal(world_program(s.w)->to, "db");
		if (i == 7)
			assert_string_equal(world_program(s.w)->to, "");
	}
	/* One that is permitted learns the rest. */
	app_connect(s.caller, 2, "none/gpg+sign", 0, TRANSPORT_ANY);
	program_answers(s.w, world_program(s.w), BROKER_ANSWER_ALLOW, 0, "");
	TAKE_STATUS(s.caller, 2, EHOSTUNREACH);
	world_free(s.w);
}

/* An answer for a name that nobody held does not count for the holder that comes. */
static void test_holder_comes(void **state)
{
	struct scene s = scene_new(ASK);
	struct app *web = app_new(s.w, 2, 1, true);

	app_connect(s.caller, 1, "late", CONNECT_WAIT_NAME, TRANSPORT_ANY);
	program_answers(s.w, world_program(s.w), BROKER_ANSWER_ALLOW, 0, "");
	TAKE_NOTHING(s.caller);
	assert_int_equal(app_listen(web, 1, "late", 1), 0);
	TAKE_NOTHING(s.caller);
	assert_int_equal(s.w->n_programs, 2);
	assert_int_equal(world_program(s.w)->to_domid, 1);
	program_answers(s.w, world_program(s.w), BROKER_ANSWER_DENY, 0, "");
	TAKE_STATUS(s.caller, 1, EACCES);
	/* That for an address does: it named the domain. */
	app_connect(s.caller, 2, "db/late", CONNECT_WAIT_NAME, TRANSPORT_ANY);
	program_answers(s.w, world_program(s.w), BROKER_ANSWER_ALLOW, 0, "");
	assert_int_equal(app_listen(s.holder, 2, "late", 1), 0);
	assert_int_equal(s.w->n_programs, 3);
	take_link(s.caller);
	world_free(s.w);
}

static void test_cancel(void **state)
{
	struct scene s = scene_asked();
	struct app *other = app_new(s.w, 2, 3, true);
	struct world_program *first = s.program;

	app_connect(other, 1, "db/gpg+sign", 0, TRANSPORT_ANY);
	app_cancel(s.caller, 1);
	take_refusal(s.caller, 1, ECANCELED, "policy asks a program, which has not answered yet");
	assert_false(first->stopped); /* another one waits */
	app_die(other);
	assert_true(first->stopped);
	/* It is on its way out: its words are for nobody. */
	app_connect(s.caller, 2, "db/gpg+sign", 0, TRANSPORT_ANY);
	assert_int_equal(s.w->n_programs, 2);
	program_answers(s.w, first, BROKER_ANSWER_ALLOW, 60, "");
	TAKE_NOTHING(s.caller);
	world_check(s.w);
	world_free(s.w);
}

static void test_caller_domain_gone(void **state)
{
	struct scene s = scene_asked();

	world_remove_domain(s.w, 3);
	assert_true(s.program->stopped);
	world_check(s.w);
	program_answers(s.w, s.program, BROKER_ANSWER_ALLOW, 60, "");
	world_check(s.w);
	world_free(s.w);
}

/* msgd ends while one program runs, one answer is kept, and one start is under way. */
static void test_broker_ends(void **state)
{
	struct scene s = scene_new(ASK "allow connect * from db to new start=yes\n");

	app_connect(s.caller, 1, "db/gpg+sign", 0, TRANSPORT_ANY);
	program_answers(s.w, world_program(s.w), BROKER_ANSWER_DENY, 60, "");
	app_connect(s.caller, 2, "db/other", 0, TRANSPORT_ANY);
	app_connect(s.holder, 3, "new/x", 0, TRANSPORT_ANY);
	assert_int_equal(s.w->n_programs, 3);
	world_restart(s.w, ASK, NULL);
	world_free(s.w);
}

static void test_reload(void **state)
{
	struct scene s = scene_asked();

	/* Another program: the first is not asked any more. */
	world_policy(s.w, LISTEN "allow connect * from app to any ask=/bin/other\n");
	assert_true(s.program->stopped);
	assert_int_equal(s.w->n_programs, 2);
	assert_string_equal(world_program(s.w)->path, "/bin/other");
	program_answers(s.w, s.program, BROKER_ANSWER_ALLOW, 0, "");
	TAKE_NOTHING(s.caller);
	/* None at all. */
	world_policy(s.w, LISTEN "allow connect * from app to any\n");
	take_link(s.caller);
	app_connect(s.caller, 2, "db/gpg+sign", 0, TRANSPORT_ANY);
	take_link(s.caller);
	world_free(s.w);
}

/* The facts change before the answer: it is another question. */
static void test_facts_change(void **state)
{
	struct scene s = scene_asked();

	world_rename(s.w, 3, "app"); /* no change */
	world_rebirth(s.w, 2);
	TAKE_NOTHING(s.caller);
	program_answers(s.w, s.program, BROKER_ANSWER_ALLOW, 60, "");
	TAKE_NOTHING(s.caller);
	assert_int_equal(s.w->n_programs, 2);
	program_answers(s.w, world_program(s.w), BROKER_ANSWER_ALLOW, 0, "");
	TAKE_STATUS(s.caller, 1, ENOENT); /* its listener went with it */
	world_free(s.w);
}

/* A channel that stands is judged by the rules alone. */
static void test_live(void **state)
{
	struct scene s = scene_new(ASK);
	const struct control_message *m;

	assert_int_equal(app_listen(s.holder, 2, "plain", 1), 0);
	app_connect(s.caller, 1, "db/plain", 0, TRANSPORT_ANY);
	program_answers(s.w, world_program(s.w), BROKER_ANSWER_ALLOW, 0, "");
	TAKE(m, s.caller, CONTROL_LINK_CREATE);
	app_offer(s.caller, m->link_create.end, 0);
	TAKE(m, s.holder, CONTROL_LINK_BIND);
	app_ready(s.holder, m->link_bind.end, 0);
	TAKE(m, s.caller, CONTROL_LINK_UP);
	TAKE(m, s.caller, CONTROL_CONNECTED);
	TAKE(m, s.holder, CONTROL_CHANNEL);
	world_policy(s.w, ASK);
	world_rename(s.w, 2, "database");
	assert_int_equal(s.w->n_programs, 1);
	TAKE_NOTHING(s.caller);
	world_policy(s.w, LISTEN);
	TAKE(m, s.caller, CONTROL_CHANNEL_GONE);
	world_free(s.w);
}

/* A name that a program would have to permit is not shown. */
static void test_watch(void **state)
{
	struct scene s = scene_new(ASK "allow connect * from db to any\n");
	struct control_message watch = {.type = CONTROL_WATCH, .request = 9};
	const struct control_message *m;

	watch.watch.watch = 1;
	strcpy(watch.watch.pattern, "*");
	assert_int_equal(app_send(s.caller, &watch), 0);
	TAKE_STATUS(s.caller, 9, 0);
	TAKE(m, s.caller, CONTROL_NAMES_DONE);
	TAKE_NOTHING(s.caller);
	assert_int_equal(app_send(s.holder, &watch), 0);
	TAKE_STATUS(s.holder, 9, 0);
	TAKE(m, s.holder, CONTROL_NAME);
	assert_int_equal(s.w->n_programs, 0);
	world_free(s.w);
}

/* ---- bounds --------------------------------------------------------------------------------- */

static void test_at_once(void **state)
{
	struct scene s = scene_new(LISTEN "allow connect * from any to any ask=/bin/judge\n");
	char address[32];
	unsigned i;

	for (i = 0; i < DOMAIN_ERRANDS_MAX; i++) {
		snprintf(address, sizeof(address), "db/n%u", i);
		app_connect(s.caller, 10 + i, address, 0, TRANSPORT_ANY);
	}
	assert_int_equal(s.w->n_programs, DOMAIN_ERRANDS_MAX);
	app_connect(s.caller, 1, "db/more", 0, TRANSPORT_ANY);
	take_refusal(s.caller, 1, EDQUOT, "policy runs 8 programs for app, no more at once");
	app_connect(s.caller, 2, "db/n0", 0, TRANSPORT_ANY); /* is asked already */
	app_connect(s.holder, 1, "db/n0", 0, TRANSPORT_ANY); /* another domain */
	assert_int_equal(s.w->n_programs, DOMAIN_ERRANDS_MAX + 1);
	/* A program that was stopped counts until it has ended. */
	app_cancel(s.caller, 11);
	TAKE_STATUS(s.caller, 11, ECANCELED);
	app_connect(s.caller, 3, "db/more", 0, TRANSPORT_ANY);
	TAKE_STATUS(s.caller, 3, EDQUOT);
	for (i = 0; !s.w->programs[i].stopped; i++)
		assert_in_range(i, 0, WORLD_PROGRAMS - 2);
	program_ends(s.w, &s.w->programs[i]);
	app_connect(s.caller, 4, "db/more", 0, TRANSPORT_ANY);
	TAKE_NOTHING(s.caller);
	world_check(s.w);
	world_free(s.w);
}

static void test_all_at_once(void **state)
{
	struct world *w =
		world_new(LISTEN "allow connect * from any to any ask=/bin/judge\n", NULL);
	unsigned n = ERRANDS_MAX / DOMAIN_ERRANDS_MAX;
	struct app *app = NULL;
	char address[32];

	for (unsigned i = 6; i < 6 + n + 1; i++) {
		struct broker_domain_info *info = &w->domains[w->n_domains++];

		*info = w->domains[1];
		info->domid = (uint16_t)i;
		snprintf(info->name, sizeof(info->name), "more%u", i);
	}
	world_domains(w);
	for (unsigned i = 0; i <= n; i++) {
		app = app_new(w, i, (uint16_t)(6 + i), true);
		for (unsigned j = 0; i < n && j < DOMAIN_ERRANDS_MAX; j++) {
			snprintf(address, sizeof(address), "db/n%u", j);
			app_connect(app, 10 + j, address, 0, TRANSPORT_ANY);
		}
	}
	assert_int_equal(w->n_programs, ERRANDS_MAX);
	app_connect(app, 1, "db/n", 0, TRANSPORT_ANY);
	take_refusal(app, 1, ENOBUFS, "policy runs 64 programs, no more at once");
	world_free(w);
}

/* A caller that connects over and over, whatever it does then. */
static void test_loop(void **state)
{
	struct scene s = scene_new(ASK);
	uint64_t waits;
	unsigned id = 10;

	for (; id < 10 + ERRAND_BURST; id++) {
		app_connect(s.caller, id, "db/gpg+sign", 0, TRANSPORT_ANY);
		app_cancel(s.caller, id);
		program_ends(s.w, world_program(s.w));
		app_forget(s.caller);
	}
	for (unsigned i = 0; i < 10000; i++, id++) {
		app_connect(s.caller, id, "db/gpg+sign", 0, TRANSPORT_ANY);
		TAKE_STATUS(s.caller, id, EDQUOT);
	}
	assert_int_equal(s.w->n_programs, ERRAND_BURST);
	assert_true(s.w->n_lines < 3 * DOMAIN_LOG_BURST);
	/* In ten seconds it has so many. */
	for (waits = 0; waits < 10 * SECOND; waits += SECOND / 1000, id++) {
		pass(s.w, SECOND / 1000);
		app_connect(s.caller, id, "db/gpg+sign", 0, TRANSPORT_ANY);
		app_cancel(s.caller, id);
		if (world_program(s.w)->runs)
			program_ends(s.w, world_program(s.w));
		app_forget(s.caller);
	}
	assert_in_range(s.w->n_programs, ERRAND_BURST + 190, ERRAND_BURST + 201);
	world_check(s.w);
	world_free(s.w);
}

/* Connects that are too many for their rule have no program run, there or not. */
static void test_max_connects(void **state)
{
	struct scene s = scene_new(LISTEN "allow connect * from any to db ask=/bin/judge "
					  "max-connects=2/h\n"
					  "allow connect * from any to new start=yes "
					  "max-connects=1/h\n");

	for (unsigned id = 1; id <= 2; id++) {
		app_connect(s.caller, id, id == 1 ? "db/gpg+sign" : "db/none", CONNECT_WAIT_NAME,
			TRANSPORT_ANY);
		assert_int_equal(s.w->n_programs, id);
		program_answers(s.w, world_program(s.w), BROKER_ANSWER_ALLOW, 0, "");
	}
	take_link(s.caller);
	TAKE_NOTHING(s.caller); /* each was tried twice, and counted once */
	app_connect(s.caller, 3, "db/none", 0, TRANSPORT_ANY);
	take_refusal(s.caller, 3, EDQUOT, "max-connects=2/h:2 of policy: the next in 1800.000 s");
	assert_int_equal(s.w->n_programs, 2);
	app_connect(s.caller, 4, "new/gpg+sign", 0, TRANSPORT_ANY);
	assert_int_equal(s.w->n_programs, 3);
	app_connect(s.caller, 5, "new/gpg+sign", 0, TRANSPORT_ANY);
	TAKE_STATUS(s.caller, 5, EDQUOT);
	assert_string_equal(
		last_refusal(s.w, EDQUOT, "max-connects=1/h:1 of policy: the next in 3600.000 s")
			->rule,
		"test.policy:3");
	world_free(s.w);
}

/* A domain that is blocked has no program run, there or not. */
static void test_blocked(void **state)
{
	const struct broker_target target = {.domid = 3, .name = ""};
	struct scene s = scene_asked();

	assert_int_equal(broker_block(s.w->broker, &target), 0);
	app_connect(s.caller, 2, "db/none", 0, TRANSPORT_ANY);
	take_refusal(s.caller, 2, EACCES, "blocked by the administrator");
	assert_int_equal(s.w->n_programs, 1);
	program_answers(s.w, s.program, BROKER_ANSWER_ALLOW, 0, "");
	take_refusal(s.caller, 1, EACCES, "blocked by the administrator");
	last_refusal(s.w, EACCES, "blocked by the administrator");
	world_free(s.w);
}

/* The question is about the domain to which policy has the connect go. */
static void test_redirect(void **state)
{
	struct scene s = scene_new(LISTEN "allow connect * from any to vault target=db ask=/judge\n"
					  "allow connect * from any to default target=domid:9 "
					  "ask=/judge\n");

	app_connect(s.caller, 1, "vault/gpg+sign", 0, TRANSPORT_ANY);
	assert_string_equal(world_program(s.w)->to, "db");
	assert_int_equal(world_program(s.w)->to_domid, 2);
	program_answers(s.w, world_program(s.w), BROKER_ANSWER_ALLOW, 0, "");
	take_link(s.caller);
	app_connect(s.caller, 2, "gpg+sign", 0, TRANSPORT_ANY);
	assert_string_equal(world_program(s.w)->to, "");
	assert_int_equal(world_program(s.w)->to_domid, 9);
	program_answers(s.w, world_program(s.w), BROKER_ANSWER_ALLOW, 0, "");
	take_refusal(s.caller, 2, EHOSTUNREACH, "policy says target=domid:9, which is not there");
	world_free(s.w);
}

static void test_memory(void **state)
{
	struct broker_limits limits;
	struct world *w;
	struct app *app;

	broker_limits_default(&limits);
	limits.bytes = quota_bytes(QUOTA_PROCESSES) + quota_bytes(QUOTA_REQUESTS) + 100;
	w = world_new(ASK, &limits);
	app = app_new(w, 0, 3, true);
	app_connect(app, 1, "db/x", 0, TRANSPORT_ANY);
	TAKE_STATUS(app, 1, EDQUOT);
	assert_int_equal(w->n_programs, 0);
	world_free(w);
}

/* ---- start ---------------------------------------------------------------------------------- */

static void domain_new_comes(struct world *w)
{
	struct broker_domain_info *info = &w->domains[w->n_domains++];

	*info = (struct broker_domain_info){
		.domid = 9, .state = BROKER_DOMAIN_RUNNING, .generation = 77};
	world_domains(w); /* at first it has no name */
	strcpy(info->name, "new");
	world_domains(w);
}

static void test_start(void **state)
{
	struct scene s = scene_new(START);
	struct app *fresh;

	app_connect(s.caller, 1, "new/x", 0, TRANSPORT_ANY);
	assert_int_equal(s.w->n_programs, 1);
	s.program = world_program(s.w);
	assert_string_equal(s.program->path, "");
	assert_string_equal(s.program->to, "new");
	assert_int_equal(s.program->timeout_s, 20);
	/* Once for all who wait. */
	app_connect(s.holder, 1, "new/x", CONNECT_WAIT_NAME, TRANSPORT_ANY);
	app_connect(s.holder, 2, "new/other", 0, TRANSPORT_ANY);
	assert_int_equal(s.w->n_programs, 1);
	domain_new_comes(s.w);
	/* And for those who come while it starts. */
	app_connect(s.holder, 3, "new/x", 0, TRANSPORT_ANY);
	TAKE_NOTHING(s.holder);
	program_answers(s.w, s.program, BROKER_ANSWER_ALLOW, 0, "");
	TAKE_NOTHING(s.caller);
	world_check(s.w);
	fresh = app_new(s.w, 4, 9, false);
	assert_int_equal(app_listen(fresh, 1, "x", 8), 0);
	take_link(s.caller);
	take_link(s.holder); /* both, by one link */
	TAKE_STATUS(s.holder, 3, EMFILE);
	TAKE_NOTHING(s.holder); /* "other" is not there */
	app_cancel(s.holder, 2);
	take_refusal(s.holder, 2, ECANCELED, "the domain is being started");
	assert_int_equal(s.w->broker->errands.n_active, 0);
	/* Where nobody starts it, a name that is not there is not waited for. */
	app_connect(s.holder, 4, "new/other", 0, TRANSPORT_ANY);
	TAKE_STATUS(s.holder, 4, ENOENT);
	world_free(s.w);
}

/* The domain is another one than that which the caller named, and its name is waited for there. */
static void test_start_redirect(void **state)
{
	struct scene s =
		scene_new(LISTEN "allow connect * from any to default target=new start=yes\n"
				 "allow connect * from any to gone target=new start=yes\n");
	struct app *fresh;

	app_connect(s.caller, 1, "gone/x", 0, TRANSPORT_ANY);
	app_connect(s.holder, 2, "x", 0, TRANSPORT_ANY);
	assert_int_equal(s.w->n_programs, 1);
	assert_string_equal(world_program(s.w)->to, "new");
	domain_new_comes(s.w);
	program_answers(s.w, world_program(s.w), BROKER_ANSWER_ALLOW, 0, "");
	TAKE_NOTHING(s.caller);
	TAKE_NOTHING(s.holder);
	fresh = app_new(s.w, 4, 9, false);
	assert_int_equal(app_listen(fresh, 1, "x", 8), 0);
	take_link(s.caller);
	take_link(s.holder);
	world_check(s.w);
	world_free(s.w);
}

/* A domain that was blocked is not started, nor for a name of it that was. */
static void test_start_blocked(void **state)
{
	struct broker_target target = {.domid = 9, .name = "", .domain = "new"};
	struct scene s = scene_new(START);

	domain_new_comes(s.w);
	assert_int_equal(broker_block(s.w->broker, &target), 0);
	s.w->n_domains--;
	world_domains(s.w);
	app_connect(s.caller, 1, "new/x", 0, TRANSPORT_ANY);
	take_refusal(s.caller, 1, EACCES, "blocked by the administrator");
	assert_int_equal(broker_unblock(s.w->broker, &target), 0);
	domain_new_comes(s.w);
	target.name = "x";
	assert_int_equal(broker_block(s.w->broker, &target), 0);
	s.w->n_domains--;
	world_domains(s.w);
	app_connect(s.caller, 2, "new/x", CONNECT_WAIT_NAME, TRANSPORT_ANY);
	take_refusal(s.caller, 2, EACCES, "blocked by the administrator");
	assert_int_equal(s.w->n_programs, 0);
	app_connect(s.caller, 3, "new/other", 0, TRANSPORT_ANY);
	assert_int_equal(s.w->n_programs, 1);
	world_free(s.w);
}

static void test_start_fails(void **state)
{
	struct scene s = scene_new(START);

	app_connect(s.caller, 1, "new/x", CONNECT_WAIT_NAME, TRANSPORT_ANY);
	program_answers(s.w, world_program(s.w), BROKER_ANSWER_NONE, 0, "no memory");
	take_refusal(s.caller, 1, EHOSTUNREACH, "new cannot be started: no memory");
	assert_true(world_logged(s.w, "new cannot be started: no memory"));
	/* Not at once again, whoever asks. */
	app_connect(s.holder, 1, "new/x", 0, TRANSPORT_ANY);
	take_refusal(s.holder, 1, EHOSTUNREACH, "new cannot be started: no memory");
	assert_int_equal(s.w->n_programs, 1);
	pass(s.w, START_AGAIN_NS);
	app_connect(s.holder, 2, "new/x", 0, TRANSPORT_ANY);
	assert_int_equal(s.w->n_programs, 2);
	world_free(s.w);
}

static void test_start_late(void **state)
{
	struct scene s = scene_new(START);

	app_connect(s.caller, 1, "new/x", 0, TRANSPORT_ANY);
	pass(s.w, SECOND);
	app_connect(s.holder, 1, "new/y", 0, TRANSPORT_ANY);
	program_answers(s.w, world_program(s.w), BROKER_ANSWER_ALLOW, 0, "");
	assert_true(s.w->timer_ns == s.w->now_ns + 19 * SECOND);
	pass(s.w, 19 * SECOND - 1);
	TAKE_NOTHING(s.caller);
	pass(s.w, 1);
	take_refusal(s.caller, 1, EHOSTUNREACH, "new was started, and has not come in 20 s");
	take_refusal(s.holder, 1, EHOSTUNREACH, "new was started, and has not come in 20 s");
	assert_int_equal(s.w->timer_ns, 0);
	/* The domain comes, but not its name; the helper has not ended. */
	app_connect(s.caller, 2, "new/x", CONNECT_WAIT_NAME, TRANSPORT_ANY);
	domain_new_comes(s.w);
	pass(s.w, 20 * SECOND);
	take_refusal(s.caller, 2, ENOENT, "new was started, and nobody listens as x after 20 s");
	world_check(s.w);
	program_ends(s.w, world_program(s.w));
	assert_int_equal(s.w->broker->errands.n_active, 0);
	world_free(s.w);
}

/* The helper goes on without the one that it was run for, and others join. */
static void test_start_given_up(void **state)
{
	struct scene s = scene_new(START);

	app_connect(s.caller, 1, "new/x", 0, TRANSPORT_ANY);
	app_cancel(s.caller, 1);
	TAKE_STATUS(s.caller, 1, ECANCELED);
	app_connect(s.holder, 1, "new/x", 0, TRANSPORT_ANY);
	domain_new_comes(s.w);
	/* WAIT_NAME waits for longer, where the domain is there. */
	app_connect(s.caller, 2, "new/x", CONNECT_WAIT_NAME, TRANSPORT_ANY);
	assert_int_equal(s.w->n_programs, 1);
	pass(s.w, 20 * SECOND);
	TAKE_STATUS(s.holder, 1, ENOENT);
	TAKE_NOTHING(s.caller);
	world_free(s.w);
}

static void test_start_refusals(void **state)
{
	static const char *const addresses[] = {"-new/x", ".new/x", "new;y/x", "domid:77/x",
		"uuid:99999999-9999-9999-9999-999999999999/x"};
	struct scene s = scene_new(LISTEN "deny connect secret from any to any\n"
					  "allow connect * from any to any start=yes\n");

	for (unsigned i = 0; i < ARRAY_SIZE(addresses); i++) {
		app_connect(s.caller, 10 + i, addresses[i], 0, TRANSPORT_ANY);
		TAKE_STATUS(s.caller, 10 + i, EHOSTUNREACH);
	}
	app_connect(s.caller, 1, "new/secret", 0, TRANSPORT_ANY);
	take_refusal(s.caller, 1, EACCES, "denied by policy");
	app_connect(s.caller, 2, "nobody-holds-it", 0, TRANSPORT_ANY);
	TAKE_STATUS(s.caller, 2, ENOENT);
	assert_int_equal(s.w->n_programs, 0);
	s.w->run_error = -EDESTADDRREQ;
	app_connect(s.caller, 3, "new/x", 0, TRANSPORT_ANY);
	take_refusal(
		s.caller, 3, EHOSTUNREACH, "new cannot be started: msgd.conf has no start-helper");
	world_free(s.w);
}

/* A domain that has others started, and ends: they go on for those that wait. */
static void test_starter_gone(void **state)
{
	struct scene s = scene_new(START);
	struct app *fresh;

	app_connect(s.caller, 1, "new/x", 0, TRANSPORT_ANY);
	app_connect(s.holder, 1, "new/x", 0, TRANSPORT_ANY);
	world_remove_domain(s.w, 3);
	world_check(s.w);
	assert_false(world_program(s.w)->stopped);
	domain_new_comes(s.w);
	fresh = app_new(s.w, 4, 9, false);
	assert_int_equal(app_listen(fresh, 1, "x", 8), 0);
	take_link(s.holder);
	program_answers(s.w, world_program(s.w), BROKER_ANSWER_ALLOW, 0, "");
	assert_int_equal(s.w->broker->errands.n_active, 0);
	world_free(s.w);
}

/* The person is asked once. */
static void test_ask_and_start(void **state)
{
	struct scene s =
		scene_new(LISTEN "allow connect * from app to new ask=/bin/judge start=yes\n");
	struct app *fresh;

	app_connect(s.caller, 1, "new/x", 0, TRANSPORT_ANY);
	assert_string_equal(world_program(s.w)->path, "/bin/judge");
	program_answers(s.w, world_program(s.w), BROKER_ANSWER_ALLOW, 0, "");
	assert_int_equal(s.w->n_programs, 2);
	assert_string_equal(world_program(s.w)->path, "");
	program_answers(s.w, world_program(s.w), BROKER_ANSWER_ALLOW, 0, "");
	domain_new_comes(s.w);
	fresh = app_new(s.w, 4, 9, false);
	assert_int_equal(app_listen(fresh, 1, "x", 8), 0);
	assert_int_equal(s.w->n_programs, 2);
	take_link(s.caller);
	/* A refusal starts nothing. */
	world_remove_domain(s.w, 9);
	app_connect(s.caller, 2, "new/x", 0, TRANSPORT_ANY);
	program_answers(s.w, world_program(s.w), BROKER_ANSWER_DENY, 0, "");
	take_refusal(s.caller, 2, EACCES, "denied by policy");
	assert_int_equal(s.w->n_programs, 3);
	world_free(s.w);
}

static void test_start_reload(void **state)
{
	struct scene s = scene_new(START);

	app_connect(s.caller, 1, "new/x", 0, TRANSPORT_ANY);
	app_connect(s.holder, 1, "new/x", CONNECT_WAIT_NAME, TRANSPORT_ANY);
	world_policy(s.w, START); /* it goes on */
	TAKE_NOTHING(s.caller);
	assert_int_equal(s.w->n_programs, 1);
	world_policy(s.w, LISTEN "allow connect * from any to new\n");
	TAKE_STATUS(s.caller, 1, EHOSTUNREACH);
	TAKE_NOTHING(s.holder); /* it waits for the name, as long as it likes */
	program_answers(s.w, world_program(s.w), BROKER_ANSWER_NONE, 0, "");
	pass(s.w, 60 * SECOND);
	TAKE_NOTHING(s.holder);
	world_check(s.w);
	world_free(s.w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_question),
		cmocka_unit_test(test_allow),
		cmocka_unit_test(test_deny),
		cmocka_unit_test(test_failure),
		cmocka_unit_test(test_equal_questions),
		cmocka_unit_test(test_cache),
		cmocka_unit_test(test_cache_bounds),
		cmocka_unit_test(test_cache_facts),
		cmocka_unit_test(test_renamed),
		cmocka_unit_test(test_permit_reload),
		cmocka_unit_test(test_cache_reload),
		cmocka_unit_test(test_absent),
		cmocka_unit_test(test_holder_comes),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_caller_domain_gone),
		cmocka_unit_test(test_broker_ends),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_facts_change),
		cmocka_unit_test(test_live),
		cmocka_unit_test(test_watch),
		cmocka_unit_test(test_at_once),
		cmocka_unit_test(test_all_at_once),
		cmocka_unit_test(test_loop),
		cmocka_unit_test(test_max_connects),
		cmocka_unit_test(test_blocked),
		cmocka_unit_test(test_redirect),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_start),
		cmocka_unit_test(test_start_redirect),
		cmocka_unit_test(test_start_blocked),
		cmocka_unit_test(test_start_fails),
		cmocka_unit_test(test_start_late),
		cmocka_unit_test(test_start_given_up),
		cmocka_unit_test(test_start_refusals),
		cmocka_unit_test(test_starter_gone),
		cmocka_unit_test(test_ask_and_start),
		cmocka_unit_test(test_start_reload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
