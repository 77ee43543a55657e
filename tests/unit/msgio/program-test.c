/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether a program ends: as soon as it closes what it had open, and not for one of its threads. */
#include "msgio/program.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/cmocka-all.h"
#include "tests/support/tsan.h"

__attribute__((noreturn)) static void one_runs(void)
{
	if (write(STDOUT_FILENO, "x", 1) != 1)
		abort();
	for (;;)
		(void)pause();
}

static void *thread_runs(void *arg)
{
	(void)pthread_join(*(pthread_t *)arg, NULL);
	one_runs();
}

/* Its first thread exits, and another one says so. */
__attribute__((noreturn)) static void threads_run(void)
{
	pthread_t first = pthread_self(), second;

	if (pthread_create(&second, NULL, thread_runs, &first) != 0)
		abort();
	pthread_exit(NULL);
}

/* *ret_fd: the other end of what it has open; it runs as it is meant to. */
static pid_t child_start(void (*run)(void), int *ret_fd)
{
	int fds[2];
	pid_t pid;
	char byte;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* should the test fail */
		(void)dup2(fds[1], STDOUT_FILENO);
		(void)close(fds[1]);
		run();
	}
	(void)close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	*ret_fd = fds[0];
	return pid;
}

/* Often, for the moment between the close and the end is short. */
static void test_killed(void **state)
{
	static void (*const runs[])(void) = {one_runs, threads_run};
	char byte;
	int fd;

	if (TSAN)
		print_message("programs with threads are left out: TSan starts none in a child\n");
	for (int i = 0; i < 200; i++) {
		/* TSan starts no thread in a child that was forked. */
		pid_t pid = child_start(runs[TSAN ? 0 : i % 2], &fd);

		assert_false(program_is_ending(pid));
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(read(fd, &byte, 1), 0);
		assert_true(program_is_ending(pid));
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		(void)close(fd);
	}
}

/* It need not have run since. */
static void test_kill_is_pending(void **state)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		one_runs();
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_true(program_is_ending(pid));
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_kill_is_pending),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
