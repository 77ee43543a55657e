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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/macro.h"

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

/* In the child. Exits with 127 where there is no such program, as a shell does. */
static _Noreturn void sim_become(char *const argv[], int log_fd)
{
	int null = open("/dev/null", O_RDONLY);

	if (null >= 0 && setsid() > 0 && dup2(null, STDIN_FILENO) == STDIN_FILENO &&
		dup2(log_fd, STDOUT_FILENO) == STDOUT_FILENO &&
		dup2(log_fd, STDERR_FILENO) == STDERR_FILENO &&
		close_range(STDERR_FILENO + 1, ~0U, 0) == 0)
		(void)execvp(argv[0], argv);
	_exit(errno == ENOENT ? 127 : 126);
}

static void sim_log_copy(int log_fd)
{
	char text[1024], *rest = text, *line;
	ssize_t n = pread(log_fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	while ((line = strsep(&rest, "\n"))) {
		if (*line)
			log_error("%s", line);
	}
}

int sim_start(const char *path)
{
	char program[PATH_MAX], log_path[PATH_MAX];
	char *const argv[] = {program, (char *)path, (char *)"-d", NULL};
	_cleanup_close_ int log_fd = -1;
	int status;
	pid_t pid;

	sim_program(program);
	if (snprintf(log_path, sizeof(log_path), "%s.log", path) >= (int)sizeof(log_path))
		return -ENAMETOOLONG;
	log_fd = open(
		log_path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (log_fd < 0)
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		sim_become(argv, log_fd);
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	sim_log_copy(log_fd);
	return WIFEXITED(status) && WEXITSTATUS(status) == 127 ? -ENOENT : -EIO;
}
