/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The loop: when it ends, when it frees, which descriptors it takes. */
#include "msgio/loop.h"

#include <stdio.h>
#include <unistd.h>

#include "base/event.h"
#include "base/macro.h"
#include "tests/support/cmocka-all.h"

static struct loop loop;
static unsigned n_freed;

static int setup(void **state)
{
	n_freed = 0;
	return loop_init(&loop, true);
}

static int teardown(void **state)
{
	loop_fini(&loop);
	return 0;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	loop_end(&loop, 1);
}

/* A connection may be over before the loop has begun. */
static void test_end_before(void **state)
{
	struct event *event;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	event = event_watch(loop.base, fds[0], on_readable, NULL); /* which it never is */
	assert_non_null(event);
	(void)alarm(10);
	loop_end(&loop, 7);
	loop_end(&loop, 8);
	loop_run(&loop);
	(void)alarm(0);
	assert_int_equal(loop.result, 7);
	event_free(event);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

static void count(struct leaving *leaving)
{
	n_freed++;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	loop_free_later(&loop, arg);
	assert_int_equal(n_freed, 0);
}

/* Not in the callback, but soon; and at the end those that are left. */
static void test_free_later(void **state)
{
	struct leaving leaving[3] = {{.free = count}, {.free = count}, {.free = count}};
	struct event *timers[2];

	for (size_t i = 0; i < ARRAY_SIZE(timers); i++) {
		timers[i] = evtimer_new(loop.base, on_timer, &leaving[i]);
		event_turn_later(timers[i]);
	}
	loop_run(&loop); /* until there is nothing more to do */
	assert_int_equal(n_freed, 2);
	loop_free_later(&loop, &leaving[2]);
	loop_free_now(&loop);
	assert_int_equal(n_freed, 3);
	for (size_t i = 0; i < ARRAY_SIZE(timers); i++)
		event_free(timers[i]);
}

/* Standard input may be a file. */
static void test_file(void **state)
{
	FILE *file = tmpfile();
	struct event *event;

	assert_non_null(file);
	event = event_watch(loop.base, fileno(file), on_readable, NULL);
	assert_non_null(event);
	loop_run(&loop);
	assert_int_equal(loop.result, 1);
	event_free(event);
	(void)fclose(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_end_before, setup, teardown),
		cmocka_unit_test_setup_teardown(test_free_later, setup, teardown),
		cmocka_unit_test_setup_teardown(test_file, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
