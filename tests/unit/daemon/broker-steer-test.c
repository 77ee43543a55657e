/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The administrator's steps: what each ends, whom it tells, and what stays. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/broker/domain.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/state.h"
#include "tests/unit/daemon/cmocka-all.h"
#include "tests/unit/daemon/world.h"

#define ALL "allow listen * on any\nallow connect * from any to any\n"
#define UID UINT64_C(0x1122334455667789)

/* A channel from app(3) to db(2)/db, accepted. */
struct pair {
	struct world *w;
	struct app *caller, *holder;
};

static struct pair pair_new(void)
{
	struct world *w = world_new(ALL, NULL);
	struct pair pair = {w, app_new(w, 0, 3, false), app_new(w, 1, 2, false)};
	const struct control_message *m;

	assert_int_equal(app_listen(pair.holder, 1, "db", 4), 0);
	app_connect(pair.caller, 1, "db", 0, 0);
	TAKE(m, pair.caller, CONTROL_LINK_CREATE);
	app_offer(pair.caller, m->link_create.end, 0);
	TAKE(m, pair.holder, CONTROL_LINK_BIND);
	app_ready(pair.holder, m->link_bind.end, 0);
	TAKE(m, pair.holder, CONTROL_CHANNEL);
	app_accepted(pair.holder, m->channel.end, m->channel.channel);
	app_forget(pair.caller);
	app_forget(pair.holder);
	return pair;
}

static const struct history_event *last_event(const struct world *w)
{
	return TAILQ_LAST(&broker_history(w->broker)->events, history_events);
}

static void test_close(void **state)
{
	struct pair p = pair_new();
	struct broker_target target = {.link = UID, .channel = 2};
	const struct control_message *m;

	assert_int_equal(broker_close(p.w->broker, &target), -ECHRNG);
	target.channel = 1;
	target.link++;
	assert_int_equal(broker_close(p.w->broker, &target), -ENOLINK);
	target.link--;
	assert_int_equal(broker_close(p.w->broker, &target), 0);
	TAKE(m, p.caller, CONTROL_CHANNEL_GONE);
	assert_int_equal(m->channel_gone.channel, 1);
	TAKE(m, p.holder, CONTROL_CHANNEL_GONE);
	assert_int_equal(last_event(p.w)->kind, HISTORY_CHANNEL_RESET);
	assert_string_equal(last_event(p.w)->text, "by the administrator");
	/* The link stays: the next connect has a channel at once. */
	app_connect(p.caller, 2, "db", 0, 0);
	TAKE(m, p.caller, CONTROL_CONNECTED);
	world_check(p.w);
	world_free(p.w);
}

/* A channel that only one end has announced is not to be closed yet, and its link is. */
static void test_announced(void **state)
{
	struct world *w = world_new(ALL, NULL);
	struct broker_target target = {.link = 2, .channel = 1};
	struct app *caller = &w->apps[0];
	const struct control_message *m;

	broker_recover(w->broker, 2);
	assert_int_equal(app_attach(caller, 3, true), 0);
	assert_int_equal(app_hello(caller, false, true), 0);
	app_announce_link(caller, 1, 2, 5, TRANSPORT_GRANT, 0, 1);
	app_announce_channel(caller, 1, 1, 0, 0, "db");
	app_forget(caller);
	assert_int_equal(broker_close(w->broker, &target), -EBUSY);
	assert_int_equal(broker_kick_link(w->broker, &target), 0);
	TAKE(m, caller, CONTROL_LINK_DOWN);
	assert_string_equal(m->link_down.reason, "by the administrator");
	world_free(w);
}

static void test_kick(void **state)
{
	struct pair p = pair_new();
	struct broker_target target = {.link = UID, .domid = 2, .pid = 7, .name = "x"};
	struct app *other = app_new(p.w, 2, 2, false);
	const struct control_message *m;

	assert_int_equal(broker_kick_application(p.w->broker, &target), -ENOENT);
	assert_int_equal(broker_kick_name(p.w->broker, &target), -EADDRNOTAVAIL);
	target.domid = 99;
	assert_int_equal(broker_kick_application(p.w->broker, &target), -ESRCH);
	assert_int_equal(broker_kick_domain(p.w->broker, &target), -ESRCH);
	assert_int_equal(broker_kick_name(p.w->broker, &target), -ESRCH);
	assert_int_equal(broker_kick_link(p.w->broker, &target), 0);
	TAKE(m, p.caller, CONTROL_LINK_DOWN);
	assert_int_equal(m->link_down.error, ECONNRESET);
	TAKE(m, p.holder, CONTROL_LINK_DOWN);
	assert_int_equal(broker_kick_link(p.w->broker, &target), -ENOLINK);
	/* The holder of the name, and not its neighbour. */
	target.domid = 2;
	target.name = "db";
	assert_int_equal(broker_kick_name(p.w->broker, &target), 0);
	assert_true(p.holder->dropped);
	assert_string_equal(p.holder->reason, "by the administrator");
	assert_false(other->dropped);
	p.holder = app_new(p.w, 3, 2, false);
	target.pid = 1002;
	assert_int_equal(broker_kick_application(p.w->broker, &target), 0);
	assert_true(other->dropped && p.holder->dropped);
	/* All of a domain; others stay, and it may come again. */
	target.domid = 3;
	assert_int_equal(broker_kick_domain(p.w->broker, &target), 0);
	assert_true(p.caller->dropped);
	p.caller = app_new(p.w, 4, 3, false);
	assert_false(p.caller->dropped);
	world_free(p.w);
}

/* An application that comes before the others have been dropped stays. */
static void test_kick_domain_later(void **state)
{
	struct pair p = pair_new();
	struct broker_target target = {.domid = 3};
	struct app *later;

	broker_set_work_later(p.w->broker);
	assert_int_equal(broker_kick_domain(p.w->broker, &target), 0);
	assert_false(p.caller->dropped);
	later = &p.w->apps[4];
	assert_int_equal(app_attach(later, 3, false), 0);
	while (broker_work(p.w->broker, 1000))
		;
	assert_true(p.caller->dropped);
	assert_false(later->dropped);
	world_free(p.w);
}

static void test_drain(void **state)
{
	struct pair p = pair_new();
	struct broker_target target = {.domid = 2, .name = "none"};
	const struct control_message *m;

	assert_int_equal(broker_drain(p.w->broker, &target), -EADDRNOTAVAIL);
	assert_int_equal(broker_undrain(p.w->broker, &target), -EADDRNOTAVAIL);
	target.name = "db";
	assert_int_equal(broker_drain(p.w->broker, &target), 0);
	app_connect(p.caller, 2, "db", 0, 0);
	TAKE_STATUS(p.caller, 2, ECONNREFUSED);
	app_connect(p.caller, 3, "db/db", CONNECT_WAIT_NAME, 0);
	TAKE_STATUS(p.caller, 3, ECONNREFUSED);
	assert_int_equal(p.w->broker->n_channels, 1);
	broker_log_steps(p.w->broker);
	assert_true(world_logged(p.w, "db(2)/db is drained no more, as msgd ends"));
	assert_int_equal(broker_undrain(p.w->broker, &target), 0);
	app_connect(p.caller, 4, "db", 0, 0);
	TAKE(m, p.caller, CONTROL_CONNECTED);
	/* One that holds the name anew is not drained. */
	assert_int_equal(broker_drain(p.w->broker, &target), 0);
	app_die(p.holder);
	p.holder = app_new(p.w, 2, 2, false);
	assert_int_equal(app_listen(p.holder, 1, "db", 4), 0);
	assert_false(listener_find(domain_find(p.w->broker, 2), "db")->drained);
	world_free(p.w);
}

static void test_block_domain(void **state)
{
	struct pair p = pair_new();
	struct broker_target target = {.domid = 2, .name = "", .domain = "db"};
	struct app *other;

	assert_int_equal(broker_block(p.w->broker, &target), 0);
	assert_int_equal(broker_block(p.w->broker, &target), 0);
	assert_int_equal(p.w->broker->n_blocks, 1);
	broker_log_steps(p.w->broker);
	assert_true(world_logged(p.w, "db(2) is blocked no more, as msgd ends"));
	/* To it, by it, on it; what stands goes on. */
	app_connect(p.caller, 2, "db/db", 0, 0);
	TAKE_STATUS(p.caller, 2, EACCES);
	assert_string_equal(last_event(p.w)->text, "blocked by the administrator");
	assert_string_equal(last_event(p.w)->rule, "");
	assert_int_equal(p.w->broker->n_channels, 1);
	assert_int_equal(app_listen(p.holder, 2, "more", 4), EACCES);
	assert_int_equal(app_listen(p.caller, 2, "app", 4), 0);
	app_connect(p.holder, 3, "app/app", 0, 0);
	TAKE_STATUS(p.holder, 3, EACCES);
	other = &p.w->apps[2];
	assert_int_equal(app_attach(other, 2, false), 0);
	assert_int_equal(app_hello(other, false, false), 0);
	TAKE_STATUS(other, 0xffff0000, EACCES);
	/* A guest that reboots is blocked all the same. */
	world_rebirth(p.w, 2);
	other = &p.w->apps[3];
	assert_int_equal(app_attach(other, 2, false), 0);
	assert_int_equal(app_hello(other, false, false), 0);
	TAKE_STATUS(other, 0xffff0000, EACCES);
	assert_int_equal(broker_unblock(p.w->broker, &target), 0);
	assert_int_equal(broker_unblock(p.w->broker, &target), 0);
	assert_int_equal(p.w->broker->n_blocks, 0);
	other = app_new(p.w, 4, 2, false);
	assert_int_equal(app_listen(other, 1, "db", 4), 0);
	/* Of one that is gone, the name and the uuid are remembered. */
	assert_int_equal(broker_block(p.w->broker, &target), 0);
	world_remove_domain(p.w, 2);
	assert_int_equal(broker_block(p.w->broker, &target), -ESRCH);
	target.domain = "none";
	assert_int_equal(broker_unblock(p.w->broker, &target), -ESRCH);
	target.domain = "domid:x";
	assert_int_equal(broker_unblock(p.w->broker, &target), -EINVAL);
	target.domain = "db";
	assert_int_equal(broker_unblock(p.w->broker, &target), 0);
	assert_int_equal(p.w->broker->n_blocks, 0);
	assert_int_equal(broker_unblock(p.w->broker, &target), -ESRCH);
	world_free(p.w);
}

static void test_block_name(void **state)
{
	struct pair p = pair_new();
	struct broker_target target = {.domid = 2, .name = "db"};
	char name[NAME_SIZE];

	assert_int_equal(broker_block(p.w->broker, &target), 0);
	broker_log_steps(p.w->broker);
	assert_true(world_logged(p.w, "db(2)/db is blocked no more, as msgd ends"));
	app_connect(p.caller, 2, "db", 0, 0);
	TAKE_STATUS(p.caller, 2, EACCES);
	assert_int_equal(app_listen(p.holder, 2, "other", 4), 0);
	app_die(p.holder);
	p.holder = app_new(p.w, 2, 2, false);
	assert_int_equal(app_listen(p.holder, 1, "db", 4), EACCES);
	target.name = name;
	for (unsigned i = 1; i < BLOCKS_MAX; i++) {
		(void)snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(broker_block(p.w->broker, &target), 0);
	}
	strcpy(name, "one-more");
	assert_int_equal(broker_block(p.w->broker, &target), -ENOSPC);
	world_free(p.w);
}

static void test_limits(void **state)
{
	struct pair p = pair_new();
	struct broker_limits limits;

	assert_int_equal(broker_domain_limits(p.w->broker, 99, &limits), -ESRCH);
	assert_int_equal(broker_domain_limits(p.w->broker, 2, &limits), 0);
	assert_int_equal(limits.quota[QUOTA_NAMES], DOMAIN_NAMES_MAX);
	limits.quota[QUOTA_NAMES] = 2;
	limits.backlog = 3;
	assert_int_equal(broker_set_domain_limits(p.w->broker, 99, &limits), -ESRCH);
	assert_int_equal(broker_set_domain_limits(p.w->broker, 2, &limits), 0);
	assert_int_equal(app_listen(p.holder, 2, "long", 4), EINVAL);
	assert_int_equal(app_listen(p.holder, 2, "a", 3), 0);
	assert_int_equal(app_listen(p.holder, 3, "b", 3), EDQUOT);
	assert_int_equal(app_listen(p.caller, 3, "b", 4), 0);
	limits.quota[QUOTA_NAMES] = 3;
	assert_int_equal(broker_set_domain_limits(p.w->broker, 2, &limits), 0);
	assert_int_equal(app_listen(p.holder, 3, "b", 3), 0);
	assert_int_equal(app_listen(p.holder, 4, "c", 3), EDQUOT);
	/* As after a reload: no domain has its own any more. */
	broker_limits_default(&limits);
	broker_set_limits(p.w->broker, &limits, NULL);
	assert_int_equal(app_listen(p.holder, 4, "c", 4), 0);
	world_free(p.w);
}

static void test_has_name(void **state)
{
	struct pair p = pair_new();

	assert_true(broker_has_name(p.w->broker, 2, "db"));
	assert_false(broker_has_name(p.w->broker, 2, "x"));
	assert_false(broker_has_name(p.w->broker, 99, "db"));
	world_policy(p.w, "deny listen * on any\n");
	assert_false(broker_has_name(p.w->broker, 2, "db"));
	world_free(p.w);
}

/* Each domain's own, and all of them; refusals by rule, of the policy in force. */
static void test_stats(void **state)
{
	struct world *w = world_new("deny connect x from any to any\n" ALL, NULL);
	struct app *app = app_new(w, 0, 3, false), *other = app_new(w, 1, 5, false);

	for (uint32_t i = 1; i <= 3; i++)
		app_connect(app, i, "x", 0, 0);
	app_connect(other, 1, "x", 0, 0);
	app_connect(other, 2, "none", 0, 0);
	assert_int_equal(domain_find(w->broker, 3)->stats.refused, 3);
	assert_int_equal(domain_find(w->broker, 3)->stats.attached, 1);
	assert_int_equal(domain_find(w->broker, 5)->stats.refused, 1);
	assert_int_equal(domain_find(w->broker, 5)->stats.failed, 1);
	assert_int_equal(w->broker->stats.refused, 4);
	assert_non_null(w->broker->refusals);
	world_policy(w, ALL);
	assert_null(w->broker->refusals);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_close),
		cmocka_unit_test(test_announced),
		cmocka_unit_test(test_kick),
		cmocka_unit_test(test_kick_domain_later),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_block_domain),
		cmocka_unit_test(test_block_name),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_has_name),
		cmocka_unit_test(test_stats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
