/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether a call fails an assertion: for moves that a table of states does not have. */
#ifndef TESTS_SUPPORT_ABORTS_H
#define TESTS_SUPPORT_ABORTS_H

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/must.h"

/* The call is made in a child process, which ends in any case. */
static inline bool aborts(void (*fn)(void *arg), void *arg)
{
	pid_t pid = fork();
	int status;

	must(pid >= 0);
	if (pid == 0) {
		/* The assertion's words, and a sanitizer's, are expected. */
		must(freopen("/dev/null", "w", stderr));
		(void)signal(SIGABRT, SIG_DFL);
		fn(arg);
		_exit(0);
	}
	must(waitpid(pid, &status, 0) == pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

#endif
