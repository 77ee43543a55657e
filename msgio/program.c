/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See program.h. */
#include "msgio/program.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/macro.h"
#include "base/uuid.h"

#define N_NAMES	   4
#define ENTRY_SIZE 192U /* the longest name, and a domain's name */
/* Where execvp(3) looks if the environment does not say. */
#define PATH_DEFAULT "/bin:/usr/bin"

/* ---- looking ------------------------------------------------------------------------------ */

static int file_check(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EACCES;
	return access(path, X_OK) < 0 ? -errno : 0;
}

/* As execvp(3) looks: a file that may not be run is passed by, but it is the cause to be told. */
int program_check(const char *name)
{
	const char *dir, *next = getenv("PATH");
	char path[PATH_MAX];
	int r = -ENOENT;

	if (!*name || strchr(name, '/'))
		return file_check(name);
	for (next = next ? next : PATH_DEFAULT; next;) {
		int len = (int)strcspn(next, ":"), one;

		dir = next;
		next = dir[len] ? dir + len + 1 : NULL;
		(void)snprintf(path, sizeof(path), "%.*s%s%s", len, dir, len ? "/" : "./", name);
		one = file_check(path);
		if (one == 0)
			return 0;
		r = one == -EACCES ? one : r;
	}
	return r;
}

/* ---- the environment ---------------------------------------------------------------------- */

struct environment {
	char own[N_NAMES][ENTRY_SIZE];
	char **list; /* owned: pointers to own, and to those of this process */
};

/* The service manager's words to this process, which no program must take for its own. */
static const char *const withheld[] = {
	"NOTIFY_SOCKET=", "LISTEN_PID=", "LISTEN_FDS=", "LISTEN_FDNAMES="};

static bool has_name(const char *entry, const char *of)
{
	return strncmp(entry, of, strcspn(of, "=") + 1) == 0;
}

/* A variable of the same name may be this process's, too. */
static bool is_passed_on(const struct environment *environment, const char *entry)
{
	for (unsigned i = 0; i < N_NAMES; i++) {
		if (has_name(entry, environment->own[i]))
			return false;
	}
	for (size_t i = 0; i < ARRAY_SIZE(withheld); i++) {
		if (has_name(entry, withheld[i]))
			return false;
	}
	return true;
}

/* Own variables are set before; an empty one is none. */
static int environment_list(struct environment *environment)
{
	size_t n = 0, to = 0;

	while (environ[n])
		n++;
	environment->list = calloc(n + N_NAMES + 1, sizeof(char *));
	if (!environment->list)
		return -ENOMEM;
	for (size_t i = 0; i < N_NAMES && environment->own[i][0]; i++)
		environment->list[to++] = environment->own[i];
	for (size_t i = 0; i < n; i++) {
		if (is_passed_on(environment, environ[i]))
			environment->list[to++] = environ[i];
	}
	return 0;
}

static int environment_init(struct environment *environment, const struct msg_peer *peer)
{
	char uuid[37];

	uuid_to_text(peer->uuid, uuid);
	(void)snprintf(environment->own[0], ENTRY_SIZE, "MSG_NAME=%s", peer->name);
	(void)snprintf(environment->own[1], ENTRY_SIZE, "MSG_PEER_DOMAIN=%s", peer->domain);
	(void)snprintf(environment->own[2], ENTRY_SIZE, "MSG_PEER_DOMID=%u", peer->domid);
	(void)snprintf(environment->own[3], ENTRY_SIZE, "MSG_PEER_UUID=%s", uuid);
	return environment_list(environment);
}

/* ---- starting ----------------------------------------------------------------------------- */

/* Signals as a program expects them: this one ignores SIGPIPE. */
static int set_attributes(posix_spawnattr_t *attributes)
{
	sigset_t defaults, mask;
	int r;

	(void)sigemptyset(&mask);
	(void)sigemptyset(&defaults);
	(void)sigaddset(&defaults, SIGPIPE);
	r = posix_spawnattr_setflags(
		attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	r = r ? r : posix_spawnattr_setpgroup(attributes, 0);
	r = r ? r : posix_spawnattr_setsigdefault(attributes, &defaults);
	return r ? r : posix_spawnattr_setsigmask(attributes, &mask);
}

int program_start(
	char **program, int in_fd, int out_fd, const struct msg_peer *peer, pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	struct environment environment;
	_cleanup_free_ char **list = NULL;
	int r = environment_init(&environment, peer);

	if (r < 0)
		return r;
	list = environment.list;
	if (posix_spawn_file_actions_init(&actions) != 0)
		return -ENOMEM;
	if (posix_spawnattr_init(&attributes) != 0)
		return (void)posix_spawn_file_actions_destroy(&actions), -ENOMEM;
	r = set_attributes(&attributes);
	r = r ? r : posix_spawn_file_actions_adddup2(&actions, in_fd, STDIN_FILENO);
	r = r ? r : posix_spawn_file_actions_adddup2(&actions, out_fd, STDOUT_FILENO);
	r = r ? r : posix_spawnp(ret_pid, program[0], &actions, &attributes, program, list);
	(void)posix_spawnattr_destroy(&attributes);
	(void)posix_spawn_file_actions_destroy(&actions);
	return -r;
}
