/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Starting xen-sim. It puts itself into the background (-d) and the first process returns when it
 * listens; a session of its own keeps a Ctrl-C for msgd away from it.
 */
#include "daemon/sim-start.h"

#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macro.h"

extern char **environ;

/* The program's path, or just its name: then $PATH is searched. */
static void sim_program(char ret_program[PATH_MAX])
{
	static const char *const places[] = {"", "/../hv/sim"};
	const char *chosen = secure_getenv("XEN_SIM");
	char self[PATH_MAX], *slash;
	ssize_t len;

	if (chosen && *chosen && strlen(chosen) < PATH_MAX) {
		strcpy(ret_program, chosen);
		return;
	}
	len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (len > 0) {
		self[len] = '\0';
		slash = strrchr(self, '/');
		if (slash)
			*slash = '\0';
		for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
			int n = snprintf(ret_program, PATH_MAX, "%s%s/xen-sim", self, places[i]);

			if (n > 0 && n < PATH_MAX && access(ret_program, X_OK) == 0)
				return;
		}
	}
	strcpy(ret_program, "xen-sim");
}

int sim_start(const char *path)
{
	char program[PATH_MAX];
	char *argv[] = {program, (char *)path, (char *)"-d", NULL};
	posix_spawnattr_t attr;
	int r, status;
	pid_t pid;

	sim_program(program);
	if (posix_spawnattr_init(&attr) != 0)
		return -ENOMEM;
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID);
	r = posix_spawnp(&pid, program, NULL, &attr, argv, environ);
	(void)posix_spawnattr_destroy(&attr);
	if (r != 0)
		return -r;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}
