/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Starting xen-sim. It puts itself into the background (-d), and its first process ends when it
 * listens. A session of its own keeps a Ctrl-C for msgd away from it, and it inherits no
 * descriptor, so a pipe that msgd writes to ends with msgd.
 */
#include "daemon/sim-start.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
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

static int sim_spawn(char *const argv[], int log_fd, pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int r;

	if (posix_spawnattr_init(&attr) != 0)
		return -ENOMEM;
	if (posix_spawn_file_actions_init(&actions) != 0) {
		(void)posix_spawnattr_destroy(&attr);
		return -ENOMEM;
	}
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID);
	r = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&actions, log_fd, STDOUT_FILENO);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&actions, log_fd, STDERR_FILENO);
	if (r == 0)
		r = posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
	if (r == 0)
		r = posix_spawnp(ret_pid, argv[0], &actions, &attr, argv, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)posix_spawnattr_destroy(&attr);
	return -r;
}

static void sim_log_copy(int log_fd)
{
	char text[1024];
	ssize_t n = pread(log_fd, text, sizeof(text), 0);

	if (n > 0 && write(STDERR_FILENO, text, (size_t)n) < 0)
		return; /* there is nobody to tell */
}

int sim_start(const char *path)
{
	char program[PATH_MAX], log_path[PATH_MAX];
	char *const argv[] = {program, (char *)path, (char *)"-d", NULL};
	_cleanup_close_ int log_fd = -1;
	int r, status;
	pid_t pid;

	sim_program(program);
	if (snprintf(log_path, sizeof(log_path), "%s.log", path) >= (int)sizeof(log_path))
		return -ENAMETOOLONG;
	log_fd = open(
		log_path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (log_fd < 0)
		return -errno;
	r = sim_spawn(argv, log_fd, &pid);
	if (r < 0)
		return r;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	sim_log_copy(log_fd);
	return -EIO;
}
