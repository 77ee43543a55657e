/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See program.h. */
#include "msgio/program.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/uuid.h"

#define N_NAMES	   4
#define ENTRY_SIZE 192U /* the longest name, and a domain's name */

struct environment {
	char own[N_NAMES][ENTRY_SIZE];
	char **list; /* owned: pointers to own, and to those of this process */
};

/* A variable of the same name may be this process's, too. */
static bool is_own(const struct environment *environment, const char *entry)
{
	for (unsigned i = 0; i < N_NAMES; i++) {
		size_t len = strcspn(environment->own[i], "=") + 1;

		if (strncmp(entry, environment->own[i], len) == 0)
			return true;
	}
	return false;
}

static int environment_init(struct environment *environment, const struct msg_peer *peer)
{
	char uuid[37];
	size_t n = 0, own = 0;

	uuid_to_text(peer->uuid, uuid);
	(void)snprintf(environment->own[0], ENTRY_SIZE, "MSG_NAME=%s", peer->name);
	(void)snprintf(environment->own[1], ENTRY_SIZE, "MSG_PEER_DOMAIN=%s", peer->domain);
	(void)snprintf(environment->own[2], ENTRY_SIZE, "MSG_PEER_DOMID=%u", peer->domid);
	(void)snprintf(environment->own[3], ENTRY_SIZE, "MSG_PEER_UUID=%s", uuid);
	while (environ[n])
		n++;
	environment->list = calloc(n + N_NAMES + 1, sizeof(char *));
	if (!environment->list)
		return -ENOMEM;
	for (own = 0; own < N_NAMES; own++)
		environment->list[own] = environment->own[own];
	for (size_t i = 0; i < n; i++) {
		if (!is_own(environment, environ[i]))
			environment->list[own++] = environ[i];
	}
	return 0;
}

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
