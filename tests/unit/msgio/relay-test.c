/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Two directions: when a connection is over, and how each end is left. */
#include "msgio/relay/relay.h"

#include "base/macro.h"
#include "tests/support/cmocka-all.h"
#include "tests/unit/msgio/fake-end.h"

static struct fake a, b;
static struct relay relay;

static int setup(void **state)
{
	a = b = (struct fake){.end.ops = &fake_ops, .room = SIZE_MAX};
	relay_init(&relay, &a.end, &b.end);
	fake_pieces = fake_pieces_most = 0;
	return 0;
}

static int teardown(void **state)
{
	return fake_pieces ? -1 : 0;
}

/* Sends everything, ends, and gets its answer later. */
static void test_half_close(void **state)
{
	static const char *const question[] = {"question", NULL}, *const answer[] = {
									  "answer", NULL};

	a.in = question;
	a.then = TAKE_END;
	assert_false(relay_run(&relay));
	assert_true(b.finished);
	assert_false(a.finished);
	assert_true(b.wants_in);
	assert_false(a.wants_in || a.wants_out || b.wants_out);
	b.in = answer;
	assert_false(relay_run(&relay));
	assert_memory_equal(a.got, "answer", 6);
	b.then = TAKE_END;
	assert_true(relay_run(&relay));
	assert_true(a.finished);
	assert_int_equal(relay.there.state, PIPE_ENDED);
	assert_int_equal(relay.back.state, PIPE_ENDED);
	assert_int_equal(relay_error(&relay), 0);
	assert_int_equal(relay_fini(&relay), 0);
	assert_int_equal(a.closed, CLOSED);
	assert_int_equal(b.closed, CLOSED);
}

/* Each is asked for no more than it can do something about. */
static void test_backpressure(void **state)
{
	static const char *const in[] = {"one", "two", NULL}, *const back[] = {"x", "y", NULL};

	a.in = in;
	b.in = back;
	b.room = 4;
	a.room = 0;
	assert_false(relay_run(&relay));
	assert_false(a.wants_in || b.wants_in);
	assert_true(a.wants_out && b.wants_out);
	assert_int_equal(fake_pieces, 2);
	a.room = SIZE_MAX;
	assert_false(relay_run(&relay));
	assert_true(b.wants_in && b.wants_out);
	assert_false(a.wants_in || a.wants_out);
	assert_int_equal(fake_pieces_most, 2);
	assert_int_equal(relay_fini(&relay), 0);
}

struct outcome {
	/* of a; b has ended its own direction unless b_then says otherwise */
	int a_then, b_then, b_refusal, b_gone;
	bool a_has_more, b_single, b_excused;
	/* and so it goes on */
	bool over;
	int error;
	enum closed a_closed, b_closed;
	bool a_ignored;
};

static const struct outcome outcomes[] = {
	/* Still open, either way. */
	{.a_then = 0, .b_then = TAKE_END, .a_closed = WAS_RESET, .b_closed = WAS_RESET},
	{.a_then = TAKE_END, .b_then = 0, .a_closed = WAS_RESET, .b_closed = WAS_RESET},
	/* Lost: both are told, whatever the other direction does. */
	{.a_then = -ECONNRESET,
		.b_then = 0,
		.over = true,
		.error = ECONNRESET,
		.a_closed = WAS_RESET,
		.b_closed = WAS_RESET},
	{.a_then = TAKE_END,
		.b_then = -ETIMEDOUT,
		.over = true,
		.error = ETIMEDOUT,
		.a_closed = WAS_RESET,
		.b_closed = WAS_RESET},
	/* b closes without taking what a has sent: a must not think it was taken. */
	{.a_has_more = true,
		.b_then = TAKE_END,
		.b_refusal = -EPIPE,
		.over = true,
		.a_closed = WAS_RESET,
		.b_closed = CLOSED},
	/* The same, where b was to decide that for itself. */
	{.a_has_more = true,
		.b_then = TAKE_END,
		.b_refusal = -EPIPE,
		.b_excused = true,
		.over = true,
		.a_closed = CLOSED,
		.b_closed = CLOSED,
		.a_ignored = true},
	/* b closes, and nothing lies there: an end like any other. */
	{.b_then = TAKE_END,
		.b_gone = -EPIPE,
		.over = true,
		.a_closed = CLOSED,
		.b_closed = CLOSED},
	/* b was lost after its last word, and with it what it had not read. */
	{.b_then = TAKE_END,
		.b_gone = -ECONNRESET,
		.over = true,
		.error = ECONNRESET,
		.a_closed = WAS_RESET,
		.b_closed = CLOSED},
	/* b takes no more, and goes on talking. */
	{.a_has_more = true, .b_refusal = -EPIPE, .a_closed = WAS_RESET, .b_closed = WAS_RESET},
	/* Nobody is there for its words. */
	{.a_has_more = true,
		.b_refusal = -EPIPE,
		.b_single = true,
		.over = true,
		.a_closed = WAS_RESET,
		.b_closed = WAS_RESET},
	/* b is lost, and what it had said before comes first. */
	{.a_has_more = true,
		.b_refusal = -ECONNRESET,
		.error = ECONNRESET,
		.a_closed = WAS_RESET,
		.b_closed = WAS_RESET},
	/* A message that is too long for b. */
	{.a_has_more = true,
		.b_refusal = -EMSGSIZE,
		.over = true,
		.error = EMSGSIZE,
		.a_closed = WAS_RESET,
		.b_closed = WAS_RESET},
};

static void test_outcomes(void **state)
{
	static const char *const more[] = {"more", NULL};

	for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++) {
		const struct outcome *o = &outcomes[i];

		(void)setup(state);
		print_message("outcome %zu\n", i);
		a.in = o->a_has_more ? more : NULL;
		a.then = o->a_then;
		b.then = o->b_then;
		b.refusal = o->b_refusal;
		b.room = o->b_refusal ? 0 : SIZE_MAX;
		b.end.gone = o->b_gone;
		b.end.single = o->b_single;
		b.is_excused = o->b_excused;
		assert_int_equal(relay_run(&relay), o->over);
		assert_int_equal(relay_error(&relay), o->error);
		assert_int_equal(relay_fini(&relay), 0);
		assert_int_equal(a.closed, o->a_closed);
		assert_int_equal(b.closed, o->b_closed);
		assert_int_equal(a.ignored, o->a_ignored);
		assert_false(b.ignored);
		assert_int_equal(fake_pieces, 0);
	}
}

/* The same with the sides exchanged: there is no first end. */
static void test_other_way_round(void **state)
{
	static const char *const more[] = {"more", NULL};

	b.in = more;
	a.then = TAKE_END;
	a.room = 0;
	a.refusal = -EPIPE;
	assert_true(relay_run(&relay));
	assert_int_equal(relay_fini(&relay), 0);
	assert_int_equal(b.closed, WAS_RESET);
	assert_int_equal(a.closed, CLOSED);
	(void)setup(state);
	b.then = -ECONNRESET;
	a.then = TAKE_END;
	assert_true(relay_run(&relay));
	assert_int_equal(relay_error(&relay), ECONNRESET);
	a.close_error = -ETIMEDOUT;
	assert_int_equal(relay_fini(&relay), -ETIMEDOUT);
	assert_int_equal(a.closed, WAS_RESET);
}

/* The last words of a lost end arrive, though sending to it has failed first. */
static void test_last_words(void **state)
{
	static const char *const more[] = {"more", NULL}, *const last[] = {"last words", NULL};

	a.in = more;
	a.room = 4;
	b.in = last;
	b.then = -ECONNRESET;
	b.room = 0;
	b.refusal = -ECONNRESET;
	assert_false(relay_run(&relay));
	assert_true(a.wants_out);
	a.room = SIZE_MAX;
	assert_true(relay_run(&relay));
	assert_memory_equal(a.got, "last words", 10);
	assert_int_equal(relay_error(&relay), ECONNRESET);
	assert_int_equal(relay_fini(&relay), 0);
	assert_int_equal(a.closed, WAS_RESET);
}

/* An end is lost between the taking and the giving: no event comes later. */
static void test_lost_at_once(void **state)
{
	static const char *const more[] = {"more", NULL};

	for (unsigned i = 0; i < 2; i++) {
		struct fake *lost = i ? &b : &a, *other = i ? &a : &b;

		(void)setup(state);
		other->in = more;
		lost->room = 0;
		lost->refusal = lost->refused_then = -ECONNRESET;
		assert_true(relay_run(&relay));
		assert_int_equal(relay_error(&relay), ECONNRESET);
		assert_int_equal(relay_fini(&relay), 0);
		assert_int_equal(other->closed, WAS_RESET);
	}
}

/* But they do not wait for an end that takes nothing and talks to the lost one: it may wait to be
 * heard. */
static void test_talks_to_the_lost(void **state)
{
	static const char *const more[] = {"more", NULL}, *const last[] = {"last words", NULL};

	b.in = last;
	b.then = -ECONNRESET;
	b.room = 0;
	b.refusal = -ECONNRESET;
	b.end.gone = -ECONNRESET;
	a.room = 4;
	assert_false(relay_run(&relay));
	assert_true(a.wants_in && a.wants_out);
	a.in = more;
	assert_true(relay_run(&relay));
	assert_int_equal(relay_error(&relay), ECONNRESET);
	assert_int_equal(relay_fini(&relay), 0);
	assert_int_equal(a.closed, WAS_RESET);
	/* Its end is no talk, and is seen once. */
	(void)setup(state);
	b.in = last;
	b.end.gone = -ECONNRESET;
	a.room = 4;
	assert_false(relay_run(&relay));
	a.then = TAKE_END;
	assert_false(relay_run(&relay));
	assert_true(!a.wants_in && a.wants_out);
	assert_int_equal(relay_fini(&relay), 0);
	/* Standard input has nothing to do with standard output. */
	(void)setup(state);
	b.in = last;
	b.end.gone = -ECONNRESET;
	a.end.single = true;
	a.room = 4;
	assert_false(relay_run(&relay));
	assert_true(!a.wants_in && a.wants_out);
	assert_int_equal(relay_fini(&relay), 0);
}

/* An end that stands still is told that the other one was lost, and not that it has closed. */
static void test_hurries(void **state)
{
	static const char *const last[] = {"last words", NULL};

	b.in = last;
	a.room = 4;
	assert_false(relay_run(&relay));
	b.end.gone = -EPIPE;
	assert_false(relay_run(&relay));
	assert_false(a.hurried || b.hurried);
	b.end.gone = -ECONNRESET;
	assert_false(relay_run(&relay));
	assert_true(a.hurried && !b.hurried);
	assert_int_equal(relay_fini(&relay), 0);
}

/* An end that has closed says so once, with its last byte: no event comes later. */
static void test_closed_at_once(void **state)
{
	b.then = TAKE_END;
	b.gone_then = -EPIPE;
	assert_true(relay_run(&relay));
	assert_int_equal(relay.there.state, PIPE_BROKEN);
	assert_int_equal(relay_fini(&relay), 0);
	assert_int_equal(a.closed, CLOSED);
	(void)setup(state);
	a.then = TAKE_END;
	a.gone_then = -EPIPE;
	assert_true(relay_run(&relay));
	assert_int_equal(relay_fini(&relay), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_half_close, setup, teardown),
		cmocka_unit_test_setup_teardown(test_backpressure, setup, teardown),
		cmocka_unit_test_setup_teardown(test_outcomes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_way_round, setup, teardown),
		cmocka_unit_test_setup_teardown(test_last_words, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lost_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_talks_to_the_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hurries, setup, teardown),
		cmocka_unit_test_setup_teardown(test_closed_at_once, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
