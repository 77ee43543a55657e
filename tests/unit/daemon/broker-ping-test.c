/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An application is asked whether it is there (PROTOCOL.md 5.8), by many clients at once. */
#include <errno.h>
#include <string.h>

#include "base/macro.h"
#include "daemon/broker/ping.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"
#include "tests/unit/daemon/cmocka-all.h"
#include "tests/unit/daemon/world.h"

#define ALL "allow listen * on any\nallow connect * from any to any\n"

enum { DB = 2 };

static struct world *w;
static struct app *holder;
static struct broker_pong pong;

static void start(uint64_t features)
{
	w = world_new(ALL, NULL);
	holder = app_new_with(w, 1, DB, features);
	assert_int_equal(app_listen(holder, 1, "db", 0), 0);
}

static int ping(struct broker_ping *ret_ping)
{
	struct broker_target target = {.domid = DB, .name = "db"};

	return broker_ping(w->broker, &target, ret_ping);
}

static uint32_t take_ask(void)
{
	const struct control_message *m;

	TAKE(m, holder, CONTROL_ASK);
	assert_int_equal(m->ask.wants, 0);
	return m->ask.token;
}

static int answer(uint32_t token)
{
	struct control_message message = {.type = CONTROL_ANSWER, .answer = {.token = token}};

	return app_send(holder, &message);
}

static void assert_answered(const struct broker_ping *which, uint64_t queue_ns, uint64_t answer_ns)
{
	assert_int_equal(broker_ping_look(w->broker, which, &pong), 1);
	assert_int_equal(pong.queue_ns, queue_ns);
	assert_int_equal(pong.answer_ns, answer_ns);
}

static void test_stages(void **state)
{
	struct broker_ping first;
	uint64_t over;
	uint32_t token;

	start(FEATURE_COUNTS);
	over = broker_pings_over(w->broker);
	assert_int_equal(ping(&first), 0);
	token = take_ask();
	world_pass(w, 7000);
	assert_int_equal(broker_ping_look(w->broker, &first, &pong), 0);
	assert_int_equal(broker_pings_over(w->broker), over);
	assert_int_equal(answer(token), 0);
	assert_int_equal(broker_pings_over(w->broker), over + 1);
	assert_answered(&first, 0, 7000);
	assert_int_equal(first.pid, holder->process->pid);
	/* One answer for each question. */
	assert_int_equal(answer(token), -ECONNRESET);
	world_free(w);
}

/* Many clients, one ASK: those that come while it is under way wait for the next one. */
static void test_shared(void **state)
{
	struct broker_ping first, others[100];
	uint32_t token;

	start(FEATURE_COUNTS);
	assert_int_equal(ping(&first), 0);
	token = take_ask();
	world_pass(w, PING_NS + 1);
	for (unsigned i = 0; i < ARRAY_SIZE(others); i++)
		assert_int_equal(ping(&others[i]), 0);
	broker_tick(w->broker);
	TAKE_NOTHING(holder);
	assert_int_equal(w->timer_ns, 0); /* its answer is waited for, and not the time */
	assert_int_equal(answer(token), 0);
	assert_answered(&first, 0, PING_NS + 1);
	assert_int_equal(broker_ping_look(w->broker, &others[0], &pong), 0);
	token = take_ask();
	TAKE_NOTHING(holder);
	world_pass(w, 5);
	assert_int_equal(answer(token), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(others); i++)
		assert_answered(&others[i], 0, 5);
	TAKE_NOTHING(holder);
	world_free(w);
}

/* However often clients ask, the application is asked ten times a second. */
static void test_rate(void **state)
{
	struct broker_ping which;
	uint64_t sent_ns;

	start(FEATURE_COUNTS);
	assert_int_equal(ping(&which), 0);
	sent_ns = w->now_ns;
	assert_int_equal(answer(take_ask()), 0);
	world_pass(w, 10);
	assert_int_equal(ping(&which), 0);
	TAKE_NOTHING(holder);
	assert_int_equal(w->timer_ns, sent_ns + PING_NS);
	world_pass(w, PING_NS - 11);
	broker_tick(w->broker);
	TAKE_NOTHING(holder);
	world_pass(w, 1);
	broker_tick(w->broker);
	assert_int_equal(answer(take_ask()), 0);
	assert_answered(&which, PING_NS - 10, 0);
	assert_int_equal(w->timer_ns, 0);
	world_free(w);
}

/* A full ring gets nothing kept for it, and no timer runs. */
static void test_full_ring(void **state)
{
	struct broker_ping which;

	start(FEATURE_COUNTS);
	assert_int_equal(ping(&which), 0);
	assert_int_equal(answer(take_ask()), 0);
	world_pass(w, PING_NS);
	holder->full = true;
	assert_int_equal(ping(&which), 0);
	TAKE_NOTHING(holder);
	assert_true(TAILQ_EMPTY(&holder->process->outbox));
	assert_int_equal(w->timer_ns, 0);
	world_pass(w, 30);
	app_read(holder);
	assert_int_equal(answer(take_ask()), 0);
	assert_answered(&which, 30, 0);
	world_free(w);
}

/* Beside the ASK for counts: neither answer is taken for the other. */
static void test_counts(void **state)
{
	const struct control_message *m;
	struct broker_ping which;
	uint32_t counts_token, token;

	start(FEATURE_COUNTS);
	world_pass(w, 1);
	broker_ask_counts(w->broker);
	TAKE(m, holder, CONTROL_ASK);
	counts_token = m->ask.token;
	assert_int_equal(ping(&which), 0);
	token = take_ask();
	assert_int_not_equal(token, counts_token);
	assert_int_equal(answer(counts_token), 0);
	assert_int_equal(broker_counts_pending(w->broker), 0);
	assert_int_equal(broker_ping_look(w->broker, &which, &pong), 0);
	assert_int_equal(answer(token), 0);
	assert_answered(&which, 0, 0);
	world_free(w);
}

static void test_ends(void **state)
{
	struct broker_ping sent, wanted;
	uint64_t over;

	start(FEATURE_COUNTS);
	assert_int_equal(ping(&sent), 0);
	assert_int_equal(ping(&wanted), 0);
	over = broker_pings_over(w->broker);
	app_die(holder);
	assert_true(broker_pings_over(w->broker) > over);
	assert_int_equal(broker_ping_look(w->broker, &sent, &pong), -ENOENT);
	assert_int_equal(broker_ping_look(w->broker, &wanted, &pong), -ENOENT);
	assert_true(TAILQ_EMPTY(&w->broker->pinged));
	broker_tick(w->broker);
	world_free(w);
}

/* One that is to give all back is told nothing more, and no timer runs for it. */
static void test_quiesced(void **state)
{
	struct broker_target target = {.domid = DB, .name = ""};
	struct broker_ping which;

	start(FEATURE_COUNTS);
	assert_int_equal(ping(&which), 0);
	assert_int_equal(answer(take_ask()), 0);
	assert_int_equal(ping(&which), 0);
	assert_int_equal(broker_quiesce(w->broker, DB), 0);
	app_forget(holder);
	world_pass(w, PING_NS);
	broker_tick(w->broker);
	TAKE_NOTHING(holder);
	assert_int_equal(w->timer_ns, 0);
	target.pid = holder->process->pid;
	assert_int_equal(broker_ping(w->broker, &target, &which), -EAGAIN);
	world_free(w);
}

static void test_refusals(void **state)
{
	struct broker_target target = {.domid = DB, .name = "other"};
	struct broker_ping which;

	start(0);
	assert_int_equal(ping(&which), -EOPNOTSUPP);
	assert_int_equal(broker_ping(w->broker, &target, &which), -EADDRNOTAVAIL);
	target = (struct broker_target){.domid = DB, .name = "", .pid = holder->process->pid + 1};
	assert_int_equal(broker_ping(w->broker, &target, &which), -ENOENT);
	target.pid--;
	assert_int_equal(broker_ping(w->broker, &target, &which), -EOPNOTSUPP);
	target.domid = 77;
	assert_int_equal(broker_ping(w->broker, &target, &which), -ESRCH);
	TAKE_NOTHING(holder);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stages),
		cmocka_unit_test(test_shared),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_full_ring),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_quiesced),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
