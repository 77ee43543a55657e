/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One direction: what is held, when it ends, how it breaks. */
#include "msgio/relay/pipe.h"

#include "tests/support/cmocka-all.h"
#include "tests/unit/msgio/fake-end.h"

static struct fake from, to;
static struct pipe way;

static int setup(void **state)
{
	from = to = (struct fake){.end.ops = &fake_ops, .room = SIZE_MAX};
	way = (struct pipe){.from = &from.end, .to = &to.end};
	fake_pieces = fake_pieces_most = 0;
	return 0;
}

/* Whatever happened, nothing is held in the end. */
static int teardown(void **state)
{
	pipe_fini(&way);
	return fake_pieces ? -1 : 0;
}

static void expect_got(const char *text)
{
	assert_int_equal(to.got_len, strlen(text));
	assert_memory_equal(to.got, text, strlen(text));
}

static void test_all_and_the_end(void **state)
{
	static const char *const in[] = {"one ", "two ", "three", NULL};

	from.in = in;
	pipe_run(&way);
	expect_got("one two three");
	assert_int_equal(way.state, PIPE_OPEN);
	assert_true(pipe_wants_in(&way));
	assert_false(pipe_wants_out(&way));
	assert_false(to.finished);
	from.then = TAKE_END;
	pipe_run(&way);
	assert_true(to.finished);
	assert_int_equal(way.state, PIPE_ENDED);
	assert_false(pipe_wants_in(&way));
	to.finished = false;
	pipe_run(&way);
	assert_false(to.finished); /* once */
}

/* A reader that stands still: one piece is held, whose rest goes first; the end comes behind it. */
static void test_no_room(void **state)
{
	static const char *const in[] = {"one ", "two ", "three", NULL};

	from.in = in;
	from.then = TAKE_END;
	to.room = 5;
	pipe_run(&way);
	expect_got("one t");
	assert_int_equal(from.n_taken, 2);
	for (int i = 0; i < 3; i++)
		pipe_run(&way);
	assert_int_equal(from.n_taken, 2);
	assert_int_equal(fake_pieces, 1);
	assert_false(pipe_wants_in(&way));
	assert_true(pipe_wants_out(&way));
	assert_false(to.finished);
	to.room = 100;
	pipe_run(&way);
	expect_got("one two three");
	assert_int_equal(way.state, PIPE_ENDED);
	assert_int_equal(fake_pieces_most, 1);
}

/* An empty message is one; it neither ends nor stops anything. */
static void test_empty(void **state)
{
	static const char *const in[] = {"", "x", "", NULL};

	from.in = in;
	pipe_run(&way);
	assert_int_equal(to.n_given, 3);
	expect_got("x");
	assert_int_equal(way.state, PIPE_OPEN);
}

/* A source without end leaves others their turn. */
static void test_turn(void **state)
{
	static const char *in[101];

	for (int i = 0; i < 100; i++)
		in[i] = "x";
	from.in = in;
	pipe_run(&way);
	assert_in_range(to.got_len, 1, 50);
	assert_true(pipe_wants_in(&way));
	for (int i = 0; i < 100; i++)
		pipe_run(&way);
	assert_int_equal(to.got_len, 100);
}

/* Lost before its end: all that came is given, and no end. */
static void test_cut(void **state)
{
	static const char *const in[] = {"one", NULL};

	from.in = in;
	from.then = -ECONNRESET;
	pipe_run(&way);
	expect_got("one");
	assert_int_equal(way.state, PIPE_CUT);
	assert_int_equal(way.error, ECONNRESET);
	assert_false(to.finished);
}

static void test_broken(void **state)
{
	static const char *const in[] = {"one", "two", NULL};

	from.in = in;
	to.room = 4;
	to.refusal = -EPIPE;
	pipe_run(&way);
	pipe_run(&way);
	assert_int_equal(way.state, PIPE_BROKEN);
	assert_int_equal(way.error, EPIPE);
	assert_true(way.lost);
	assert_false(to.finished);
	assert_false(pipe_wants_in(&way) || pipe_wants_out(&way));
}

/* It takes no more, and has said so before there was anything to give. */
static void test_gone(void **state)
{
	static const char *const in[] = {"one", NULL};

	to.end.gone = -EPIPE;
	to.refusal = -EPIPE;
	to.room = 0;
	pipe_run(&way);
	assert_int_equal(way.state, PIPE_BROKEN);
	assert_int_equal(way.error, EPIPE);
	assert_false(way.lost);
	/* A piece that lies there is looked at first: it is lost. */
	way = (struct pipe){.from = &from.end, .to = &to.end};
	from.in = in;
	pipe_run(&way);
	assert_int_equal(way.state, PIPE_BROKEN);
	assert_true(way.lost);
	/* An end that lies there is one. */
	way = (struct pipe){.from = &from.end, .to = &to.end};
	from.then = TAKE_END;
	pipe_run(&way);
	assert_int_equal(way.state, PIPE_ENDED);
	/* So is one of which no event has told yet. */
	way = (struct pipe){.from = &from.end, .to = &to.end};
	from.then = 0;
	from.has_ended = true;
	pipe_run(&way);
	assert_int_equal(way.state, PIPE_ENDED);
}

/* A file that could not be closed has not got everything. */
static void test_finish_fails(void **state)
{
	from.then = TAKE_END;
	to.finish_error = -ENOSPC;
	pipe_run(&way);
	assert_int_equal(way.state, PIPE_BROKEN);
	assert_int_equal(way.error, ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_all_and_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
		cmocka_unit_test_setup_teardown(test_turn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_finish_fails, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
