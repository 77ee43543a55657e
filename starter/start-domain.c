/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The start-helper that is shipped (start-domain(8)): msgd's sandbox has no right to start a
 * domain, so this asks a service of systemd that has, over a Unix socket. It is both ends: the
 * helper that msgd runs, and with --serve the service's end of one connection, which starts the
 * unit of the domain, and nothing else. A guest has said the name: each end checks it.
 */
#include <errno.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/macro.h"

#define SOCKET_PATH "/run/msgd-start"
#define CONFIGS	    "/etc/msgd/domains"
#define UNIT	    "msgd-domain@"

/* The longest that a domain's name is where msgd starts it, as of channels' names. */
#define DOMAIN_NAME_MAX 63U
/* The service's answer when the domain is on its way; every other one is the reason. */
#define ON_ITS_WAY "started\n"
/* Somebody who connects and says nothing has the service for so long. */
#define READ_S 10

/* It becomes part of a file's and of a unit's name: no sign that either has a meaning for. */
static bool name_is_good(const char *name)
{
	size_t len =
		strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

	return len > 0 && len <= DOMAIN_NAME_MAX && !name[len] && name[0] != '.' && name[0] != '-';
}

/* ---- in msgd's sandbox ----------------------------------------------------------------------- */

static int fail(const char *what, int error)
{
	(void)printf("%s: %s\n", what, strerror(error));
	return EXIT_FAILURE;
}

/* msgd has a time limit for its helper; so this has none. */
static int ask(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const char *path = getenv("MSGD_START_SOCKET");
	char answer[200];
	size_t len = 0;
	ssize_t n;

	if (!path || strlen(path) >= sizeof(address.sun_path))
		path = SOCKET_PATH;
	strcpy(address.sun_path, path);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return fail(path, errno);
	if (dprintf(fd, "%s\n", name) < 0)
		return fail(path, errno);
	while (len < sizeof(answer) - 1 &&
		(n = read(fd, answer + len, sizeof(answer) - 1 - len)) > 0)
		len += (size_t)n;
	answer[len] = '\0';
	if (strcmp(answer, ON_ITS_WAY) == 0)
		return EXIT_SUCCESS;
	(void)fputs(len ? answer : "the service that starts domains has failed\n", stdout);
	return EXIT_FAILURE;
}

/* ---- the service ---------------------------------------------------------------------------- */

static int answer(const char *text)
{
	(void)dprintf(STDOUT_FILENO, "%s", text);
	return EXIT_SUCCESS;
}

/* A line on standard input, without its newline. */
static bool line_read(char *ret_line, size_t size)
{
	size_t len = 0;

	(void)alarm(READ_S);
	while (len < size && read(STDIN_FILENO, ret_line + len, 1) == 1) {
		if (ret_line[len] == '\n') {
			ret_line[len] = '\0';
			(void)alarm(0);
			return strlen(ret_line) == len;
		}
		len++;
	}
	return false;
}

/* The words of systemctl go to the journal: a guest is not to hear of them. */
static bool unit_start(const char *name)
{
	static char *const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
	posix_spawn_file_actions_t actions;
	char unit[sizeof(UNIT) + DOMAIN_NAME_MAX + sizeof(".service")];
	char *const argv[] = {"systemctl", "start", "--", unit, NULL};
	int status = -1;
	pid_t pid;
	int r;

	(void)snprintf(unit, sizeof(unit), UNIT "%s.service", name);
	if (posix_spawn_file_actions_init(&actions) != 0)
		return false;
	r = posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
	if (r == 0)
		r = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environment);
	(void)posix_spawn_file_actions_destroy(&actions);
	if (r != 0) {
		(void)fprintf(stderr, "systemctl: %s\n", strerror(r));
		return false;
	}
	return TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)) == pid && status == 0;
}

static int serve(void)
{
	char name[DOMAIN_NAME_MAX + 2], path[sizeof(CONFIGS) + DOMAIN_NAME_MAX + sizeof("/.cfg")];

	if (!line_read(name, sizeof(name)) || !name_is_good(name))
		return answer("that is no domain's name\n");
	(void)snprintf(path, sizeof(path), CONFIGS "/%s.cfg", name);
	if (access(path, R_OK) < 0) {
		(void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return answer("this domain is not among those that are started\n");
	}
	return answer(unit_start(name) ? ON_ITS_WAY : "the domain did not start\n");
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--serve") == 0)
		return serve();
	if (argc == 2 && name_is_good(argv[1]))
		return ask(argv[1]);
	(void)printf("usage: start-domain NAME | --serve\n");
	return 2;
}
