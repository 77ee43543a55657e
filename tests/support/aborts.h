/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether a call fails an assertion: for moves that a table of states does not have. */
#ifndef TESTS_SUPPORT_ABORTS_H
#define TESTS_SUPPORT_ABORTS_H

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/must.h"

/* The call is made in a child process, whose standard error goes to fd. True: it aborted. */
static inline bool aborts_to(int fd, void (*fn)(void *arg), void *arg)
{
	pid_t pid = fork();
	int status;

	must(pid >= 0);
	if (pid == 0) {
		must(dup2(fd, STDERR_FILENO) == STDERR_FILENO);
		(void)signal(SIGABRT, SIG_DFL);
		fn(arg);
		_exit(0);
	}
	must(waitpid(pid, &status, 0) == pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

/* The assertion's words, and a sanitizer's, are expected. */
static inline bool aborts(void (*fn)(void *arg), void *arg)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	bool aborted = aborts_to(fd, fn, arg);

	(void)close(fd);
	return aborted;
}

/* The same; and the last line that it writes before is in ret_text, with a NUL. */
static inline bool aborts_with(void (*fn)(void *arg), void *arg, char *ret_text, size_t size)
{
	char *line;
	bool aborted;
	ssize_t n;
	int fds[2];

	must(pipe2(fds, O_CLOEXEC) == 0);
	aborted = aborts_to(fds[1], fn, arg);
	(void)close(fds[1]);
	n = read(fds[0], ret_text, size - 1);
	(void)close(fds[0]);
	ret_text[n > 0 ? n : 0] = '\0';
	line = n > 1 ? memrchr(ret_text, '\n', (size_t)n - 1) : NULL;
	if (line)
		memmove(ret_text, line + 1, strlen(line));
	return aborted;
}

#endif
