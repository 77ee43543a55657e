/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A xen-sim of the test's own, on a temporary path; XEN_SIM_EXE names the program. */
#ifndef MSGD_TESTS_UNIT_SIM_PROCESS_H
#define MSGD_TESTS_UNIT_SIM_PROCESS_H

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct emulator {
	char dir[64];
	char path[96];
};

/* Starts xen-sim PATH with up to four words. */
static inline pid_t emulator_spawn(
	const struct emulator *e, const char *a, const char *b, const char *c, const char *d)
{
	const char *argv[] = {getenv("XEN_SIM_EXE"), e->path, a, b, c, d, NULL};
	pid_t pid;

	if (!argv[0]) {
		(void)fprintf(stderr, "XEN_SIM_EXE is not set\n");
		abort();
	}
	(void)fflush(NULL);
	pid = fork();
	if (pid == 0) {
		if (!freopen("/dev/null", "w", stdout))
			_exit(126);
		execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	return pid;
}

/* The same; returns its exit status. */
static inline int emulator_run(
	const struct emulator *e, const char *a, const char *b, const char *c, const char *d)
{
	pid_t pid = emulator_spawn(e, a, b, c, d);
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static inline bool emulator_dir(struct emulator *e)
{
	strcpy(e->dir, "/tmp/msgd-unit-sim-XXXXXX");
	if (!mkdtemp(e->dir))
		return false;
	(void)snprintf(e->path, sizeof(e->path), "%s/xen", e->dir);
	return true;
}

static inline bool emulator_start(struct emulator *e)
{
	return emulator_dir(e) && emulator_run(e, "-d", NULL, NULL, NULL) == 0;
}

static inline void emulator_stop(struct emulator *e)
{
	(void)emulator_run(e, "shutdown", NULL, NULL, NULL);
	(void)unlink(e->path);
	(void)rmdir(e->dir);
}

#endif
