/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* xen-sim PATH: the emulator itself. It sleeps in its event loop, without a timer. */
#include "hv/sim/toolstack/tool.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/event.h"
#include "base/listen.h"
#include "hv/sim/memory/lock.h"
#include "hv/sim/toolstack/server.h"

#define BACKLOG 64

static int say(const char *path, const char *what, int error)
{
	(void)fprintf(stderr, "xen-sim: %s: %s%s%s\n", path, what, error ? ": " : "",
		error ? strerror(error) : "");
	return -1;
}

/*
 * Held as long as the emulator lives: two that start at once must not remove each other's socket.
 * A lock on a file that its former holder has just removed is worth nothing: hence the second look.
 */
static int lock_take_path(const char *path, const char *name)
{
	for (;;) {
		_cleanup_close_ int fd =
			open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		struct stat locked, there;

		if (fd < 0)
			return say(name, "cannot be opened", errno);
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			return say(path, "an emulator runs there already", 0);
		if (fstat(fd, &locked) == 0 && lstat(name, &there) == 0 &&
			locked.st_ino == there.st_ino && locked.st_dev == there.st_dev)
			return steal_fd(&fd);
	}
}

/* A dead emulator's socket is replaced; whatever else is there stays. */
static int listen_at(const char *path)
{
	int fd, r = unix_listen(path, SOCK_SEQPACKET, 0600, BACKLOG, &fd);

	switch (r) {
	case 0:
		return fd;
	case -ENAMETOOLONG:
		return say(path, "is too long for a socket", 0);
	case -EEXIST:
		return say(path, "is taken by something that is not a socket", 0);
	case -EADDRINUSE:
		return say(path, "a program listens there already", 0);
	default:
		return say(path, "cannot be listened on", -r);
	}
}

/*
 * In the background: the first process waits for a byte, which the emulator writes when it can be
 * reached. Returns the descriptor to write it to.
 */
static int detach(void)
{
	int ready[2];
	char byte;
	pid_t pid;

	if (pipe2(ready, O_CLOEXEC) < 0)
		return say("pipe", "failed", errno);
	pid = fork();
	if (pid < 0)
		return say("fork", "failed", errno);
	if (pid > 0) {
		(void)close(ready[1]);
		_exit(read(ready[0], &byte, 1) == 1 ? 0 : 1);
	}
	(void)close(ready[0]);
	if (setsid() < 0)
		return say("setsid", "failed", errno);
	return ready[1];
}

/* Keeps stderr: it is where a stopped process is named. */
static void streams_close(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return;
	(void)dup2(null, STDIN_FILENO);
	(void)dup2(null, STDOUT_FILENO);
	(void)close(null);
}

/* Each process takes three descriptors or four here; the usual limit of 1024 is for programs that
 * call select(2). */
static void descriptors_raise(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
	(void)event_base_loopbreak(arg);
}

static int loop(const char *path, const char *lock_name, int listen_fd, int ready_fd,
	const struct tool_options *options)
{
	struct event_base *base = event_base_new();
	struct event *term = base ? evsignal_new(base, SIGTERM, on_signal, base) : NULL;
	struct event *interrupt = base ? evsignal_new(base, SIGINT, on_signal, base) : NULL;
	struct sim_server *server = NULL;
	int r = -ENOMEM;

	if (term && interrupt && event_add(term, NULL) == 0 && event_add(interrupt, NULL) == 0)
		r = sim_server_new(base, listen_fd, options->stopped_limit_ms, &server);
	if (r < 0)
		(void)say(path, "the emulator cannot be set up", -r);
	if (r == 0)
		server->authority.xen.seg->argo_off = options->create.no_argo;
	if (r == 0 && ready_fd >= 0) {
		streams_close();
		if (write(ready_fd, "", 1) != 1)
			r = -errno;
		(void)close(ready_fd);
	}
	if (r == 0 && event_base_dispatch(base) < 0)
		r = -EIO;
	if (r == 0 && server_is_corrupt(server))
		r = -EIO;
	/* First the name, then the rest: nobody finds an emulator that is ending. */
	(void)unlink(path);
	(void)unlink(lock_name);
	sim_server_free(server);
	if (!server)
		(void)close(listen_fd);
	event_drop(term);
	event_drop(interrupt);
	if (base)
		event_base_free(base);
	return r < 0 ? 1 : 0;
}

int tool_serve(const char *path, int argc, char **argv)
{
	_cleanup_close_ int lock_fd = -1;
	_cleanup_free_ char *lock_name = NULL;
	struct tool_options options = {.stopped_limit_ms = LOCK_LIMIT_MS};
	int listen_fd, ready_fd = -1;

	if (tool_options(argc, argv, "bal", &options) != argc)
		return 2;
	if (options.background) {
		ready_fd = detach();
		if (ready_fd < 0)
			return 1;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	descriptors_raise();
	if (asprintf(&lock_name, "%s.lock", path) < 0)
		return 1;
	lock_fd = lock_take_path(path, lock_name);
	if (lock_fd < 0)
		return 1;
	listen_fd = listen_at(path);
	if (listen_fd >= 0)
		return loop(path, lock_name, listen_fd, ready_fd, &options);
	(void)unlink(lock_name);
	return 1;
}
