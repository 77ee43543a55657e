/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See program.h. */
#include "msgio/program.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
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

/* ---- descriptors -------------------------------------------------------------------------- */

static struct rlimit files_before, files_raised; /* all zero: as it was */

static void descriptors_limit(const struct rlimit *limit)
{
	if (limit->rlim_max)
		(void)setrlimit(RLIMIT_NOFILE, limit);
}

/* Programs get the limit that was before: some look at each descriptor that they may have. */
void descriptors_raise(void)
{
	if (getrlimit(RLIMIT_NOFILE, &files_before) < 0)
		return;
	files_raised = files_before;
	files_raised.rlim_cur = files_raised.rlim_max;
	descriptors_limit(&files_raised);
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
	descriptors_limit(&files_before); /* the actions may not name descriptors above it */
	r = r ? r : posix_spawnp(ret_pid, program[0], &actions, &attributes, program, list);
	descriptors_limit(&files_raised);
	(void)posix_spawnattr_destroy(&attributes);
	(void)posix_spawn_file_actions_destroy(&actions);
	return -r;
}

/* ---- ending ------------------------------------------------------------------------------- */

/* Of the kernel's flags in proc(5), /proc/PID/stat: it exits, and has closed nothing before. */
#define FLAG_EXITS 0x4UL
/* A line's fields, of which the first two may have blanks in them, up to the pending signals. */
#define STAT_SIZE 1024U

/* So does a thread to which SIGKILL is on its way, as to each of a program that is killed. */
static bool thread_is_ending(int dir_fd, const char *name)
{
	unsigned long flags = 0, signals = 0;
	char path[32], line[STAT_SIZE];
	_cleanup_close_ int fd = -1;
	const char *fields;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "%.20s/stat", name);
	fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
	if (n < 0)
		return errno == ENOENT || errno == ESRCH; /* it is gone */
	line[n] = '\0';
	fields = strrchr(line, ')');
	if (!fields ||
		sscanf(fields,
			") %*c %*s %*s %*s %*s %*s %lu %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
			"%*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu",
			&flags, &signals) != 2)
		return false;
	return (flags & FLAG_EXITS) || (signals & (1UL << (SIGKILL - 1)));
}

/* All of its threads are: one may exit by itself, also the first. */
bool program_is_ending(pid_t pid)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	char path[32];
	bool ending = true;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		return false;
	while (ending && (entry = readdir(dir)))
		ending = entry->d_name[0] == '.' || thread_is_ending(dirfd(dir), entry->d_name);
	return ending;
}

/* ---- with a socket ------------------------------------------------------------------------ */

/* sd_listen_fds(3): the first descriptor of a program that is activated. */
#define LISTEN_FD 3
/* As a shell says it: there is no such program. */
#define STATUS_NOT_STARTED 127

/* In the child: nothing but what signal-safety(7) permits. */
static void set_pid(char *ret_entry)
{
	unsigned pid = (unsigned)getpid(), digits = 1;

	for (unsigned rest = pid; rest >= 10; rest /= 10)
		digits++;
	ret_entry += strlen(ret_entry);
	for (ret_entry[digits] = '\0'; digits; pid /= 10)
		ret_entry[--digits] = (char)('0' + pid % 10);
}

static void set_signals(void)
{
	static const int numbers[] = {SIGALRM, SIGCHLD, SIGINT, SIGPIPE, SIGTERM};
	sigset_t none;

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		(void)signal(numbers[i], SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* dup2 of a descriptor onto itself would leave it to be closed. */
static int place(int fd, int to)
{
	return fd == to ? fcntl(fd, F_SETFD, 0) : dup2(fd, to);
}

__attribute__((noreturn)) static void become(
	char **program, struct environment *environment, int null_fd, int listen_fd)
{
	(void)setpgid(0, 0);
	set_pid(environment->own[0]);
	descriptors_limit(&files_before);
	if (place(null_fd, STDIN_FILENO) >= 0 && dup2(STDERR_FILENO, STDOUT_FILENO) >= 0 &&
		place(listen_fd, LISTEN_FD) >= 0) {
		set_signals();
		(void)execvpe(program[0], program, environment->list);
	}
	_exit(STATUS_NOT_STARTED);
}

/*
 * Only the child knows the number that LISTEN_PID must have, so that posix_spawn does not do. Its
 * signals wait until it has none of this process's handlers.
 */
static int fork_blocked(
	char **program, struct environment *environment, int null_fd, int listen_fd, pid_t *ret_pid)
{
	sigset_t all, before;
	pid_t pid;
	int r;

	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0)
		become(program, environment, null_fd, listen_fd);
	r = pid < 0 ? -errno : 0;
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	if (r < 0)
		return r;
	(void)setpgid(pid, pid); /* whichever of the two is first */
	*ret_pid = pid;
	return 0;
}

int program_activate(char **program, int listen_fd, const char *name, pid_t *ret_pid)
{
	struct environment environment = {.own = {"LISTEN_PID=", "LISTEN_FDS=1"}};
	_cleanup_close_ int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char **list = NULL;
	int r;

	if (null_fd < 0)
		return -errno;
	(void)snprintf(environment.own[2], ENTRY_SIZE, "LISTEN_FDNAMES=%s", name);
	(void)snprintf(environment.own[3], ENTRY_SIZE, "MSG_NAME=%s", name);
	r = environment_list(&environment);
	if (r < 0)
		return r;
	list = environment.list;
	return fork_blocked(program, &environment, null_fd, listen_fd, ret_pid);
}
