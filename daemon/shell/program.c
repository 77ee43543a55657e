/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A program of msgd's: see the header. A pidfd tells its end; msgd handles no SIGCHLD. */
#include "daemon/shell/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/event.h"
#include "proto/limits.h"

/* Pieces of 512 bytes that are read after its end: as much as a pipe holds. */
#define PIECES_AT_END 128U

struct program {
	const struct program_ops *ops;	/* borrowed */
	void *arg;			/* borrowed */
	pid_t pid;			/* of it and of its group */
	int pidfd, output_fd, error_fd; /* owned; -1: none, or at its end */
	struct event *ended, *output_event, *error_event, *timer; /* owned */
	bool told;						  /* ops->end was called */
	bool flooded, strict;
	bool stopped; /* SIGTERM was sent */
	unsigned n_lines;
	size_t output_len, line_len;
	char output[PROGRAM_OUTPUT_MAX + 1], line[256];
};

/* ---- its words ------------------------------------------------------------------------------ */

void program_make_printable(char *text)
{
	for (char *c = text; *c; c++) {
		if (*c == '\t')
			*c = ' ';
		else if (*c < ' ' || *c > '~')
			*c = '?';
	}
}

static void line_end(struct program *program)
{
	program->line[program->line_len] = '\0';
	if (program->line_len && program->n_lines < PROGRAM_LINES_MAX) {
		program->n_lines++;
		program_make_printable(program->line);
		program->ops->line(program->arg, program->line);
		if (program->n_lines == PROGRAM_LINES_MAX)
			program->ops->line(program->arg, "(more of it is not logged)");
	}
	program->line_len = 0;
}

static void error_add(struct program *program, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (bytes[i] == '\n' || program->line_len == sizeof(program->line) - 1)
			line_end(program);
		if (bytes[i] != '\n')
			program->line[program->line_len++] = bytes[i];
	}
}

static void output_add(struct program *program, const char *bytes, size_t n)
{
	size_t room = PROGRAM_OUTPUT_MAX - program->output_len;

	if (n > room) {
		n = room;
		program->flooded = true;
	}
	memcpy(program->output + program->output_len, bytes, n);
	program->output_len += n;
}

/* True: there may be more. */
static bool read_some(struct program *program, int *fd, struct event **event,
	void (*add)(struct program *program, const char *bytes, size_t n))
{
	char bytes[512];
	ssize_t n = *fd >= 0 ? read(*fd, bytes, sizeof(bytes)) : 0;

	if (n > 0) {
		add(program, bytes, (size_t)n);
		return true;
	}
	if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		event_drop(*event);
		*event = NULL;
		close_p(fd);
		*fd = -1;
	}
	return false;
}

static void on_output(evutil_socket_t fd, short what, void *arg)
{
	struct program *program = arg;

	(void)read_some(program, &program->output_fd, &program->output_event, output_add);
	if (program->flooded && program->strict)
		program_stop(program);
}

static void on_error(evutil_socket_t fd, short what, void *arg)
{
	struct program *program = arg;

	(void)read_some(program, &program->error_fd, &program->error_event, error_add);
}

/* ---- its end -------------------------------------------------------------------------------- */

static void program_tell(struct program *program, bool late, int status)
{
	struct program_end end = {.late = late,
		.flooded = program->flooded,
		.status = status,
		.output = program->output,
		.len = program->output_len};

	if (program->told)
		return;
	program->told = true;
	program->output[program->output_len] = '\0';
	program->ops->end(program->arg, &end);
}

static void timer_set(struct program *program, uint32_t seconds)
{
	struct timeval delay = {.tv_sec = (time_t)seconds};

	/* Out of memory: it is killed at once, as it could not be later. */
	if (evtimer_add(program->timer, &delay) < 0)
		(void)kill(-program->pid, SIGKILL);
}

void program_stop(struct program *program)
{
	if (program->stopped)
		return;
	program->stopped = true;
	(void)kill(-program->pid, SIGTERM);
	timer_set(program, PROGRAM_GRACE_S);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct program *program = arg;

	if (program->stopped)
		(void)kill(-program->pid, SIGKILL);
	else
		program_stop(program);
	program_tell(program, true, 0);
}

static void on_ended(evutil_socket_t fd, short what, void *arg)
{
	struct program *program = arg;
	int status = 0;

	/* The number of the group is the program's until it is waited for. */
	if (program->strict)
		(void)kill(-program->pid, SIGKILL);
	if (waitpid(program->pid, &status, WNOHANG) != program->pid)
		return;
	/* Others may hold its pipes open: they are not waited for. */
	for (unsigned i = 0; i < PIECES_AT_END; i++) {
		if (!read_some(program, &program->output_fd, &program->output_event, output_add))
			break;
	}
	for (unsigned i = 0; i < PIECES_AT_END; i++) {
		if (!read_some(program, &program->error_fd, &program->error_event, error_add))
			break;
	}
	line_end(program);
	program_tell(program, false, status);
	program->pid = 0;
	program->ops->gone(program->arg);
	program_free(program, false);
}

void program_free(struct program *program, bool kill_it)
{
	if (!program)
		return;
	if (program->pid > 0 && kill_it)
		(void)kill(-program->pid, SIGKILL);
	event_drop(program->ended);
	event_drop(program->output_event);
	event_drop(program->error_event);
	event_drop(program->timer);
	close_p(&program->pidfd);
	close_p(&program->output_fd);
	close_p(&program->error_fd);
	free(program);
}

/* ---- its start ------------------------------------------------------------------------------ */

/* The program has three descriptors of msgd, and signals as a new process has them. */
static int spawn(const struct program_plan *plan, int input, int output, int error, pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	int r = posix_spawn_file_actions_init(&actions);

	if (r != 0)
		return -r;
	r = posix_spawnattr_init(&attributes);
	if (r != 0) {
		(void)posix_spawn_file_actions_destroy(&actions);
		return -r;
	}
	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	(void)posix_spawnattr_setflags(&attributes,
		POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	(void)posix_spawnattr_setsigmask(&attributes, &none);
	(void)posix_spawnattr_setsigdefault(&attributes, &all);
	if ((r = posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO)) == 0 &&
		(r = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)) == 0 &&
		(r = posix_spawn_file_actions_adddup2(&actions, error, STDERR_FILENO)) == 0 &&
		(r = posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1)) == 0 &&
		(r = posix_spawn_file_actions_addchdir_np(&actions, "/")) == 0)
		r = posix_spawn(
			ret_pid, plan->argv[0], &actions, &attributes, plan->argv, plan->environ);
	(void)posix_spawnattr_destroy(&attributes);
	(void)posix_spawn_file_actions_destroy(&actions);
	return -r;
}

/* Where memory is short, the kernel is to take the program and not msgd. */
static void oom_first(pid_t pid)
{
	_cleanup_close_ int fd = -1;
	char path[48];

	(void)snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		(void)!write(fd, "1000", 4);
}

/*
 * A pipe of which the program gets one end, above its standard descriptors: else dup2 of one could
 * close another. ours: 0 to read, 1 to write.
 */
static int pipe_new(unsigned ours, int *ret_ours, int *ret_theirs)
{
	int fds[2], r = 0;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	for (unsigned i = 0; i < 2 && r == 0; i++) {
		int high = fds[i] > STDERR_FILENO ? fds[i] : fcntl(fds[i], F_DUPFD_CLOEXEC, 3);

		if (high < 0)
			r = -errno;
		else if (high != fds[i])
			(void)close(fds[i]);
		fds[i] = high < 0 ? fds[i] : high;
	}
	if (r == 0 && fcntl(fds[ours], F_SETFL, O_NONBLOCK) < 0)
		r = -errno;
	if (r < 0) {
		(void)close(fds[0]);
		(void)close(fds[1]);
		return r;
	}
	*ret_ours = fds[ours];
	*ret_theirs = fds[!ours];
	return 0;
}

/* The process, with its text in its pipe. */
static int program_spawn(struct program *program, const struct program_plan *plan)
{
	_cleanup_close_ int input = -1, output = -1, error = -1, text = -1;
	size_t len = strlen(plan->input);
	int r = pipe_new(1, &text, &input);

	if (r == 0)
		r = pipe_new(0, &program->output_fd, &output);
	if (r == 0)
		r = pipe_new(0, &program->error_fd, &error);
	if (r < 0)
		return r;
	/* Less than PIPE_BUF: it fits as a whole. We have the other end: there is no SIGPIPE. */
	if (write(text, plan->input, len) != (ssize_t)len)
		return -EIO;
	r = spawn(plan, input, output, error, &program->pid);
	if (r < 0) {
		program->pid = 0;
		return r;
	}
	program->pidfd = pidfd_open(program->pid, 0);
	return program->pidfd < 0 ? -errno : 0;
}

static int program_watch(struct program *program, struct event_base *base)
{
	program->ended = event_watch(base, program->pidfd, on_ended, program);
	program->output_event = event_watch(base, program->output_fd, on_output, program);
	program->error_event = event_watch(base, program->error_fd, on_error, program);
	program->timer = evtimer_new(base, on_timer, program);
	return program->ended && program->output_event && program->error_event && program->timer
		       ? 0
		       : -ENOMEM;
}

int program_new(struct event_base *base, const struct program_plan *plan,
	const struct program_ops *ops, void *arg, struct program **ret_program)
{
	struct program *program = calloc(1, sizeof(*program));
	int r;

	if (!program)
		return -ENOMEM;
	program->ops = ops;
	program->arg = arg;
	program->pidfd = program->output_fd = program->error_fd = -1;
	r = program_spawn(program, plan);
	if (r == 0)
		r = program_watch(program, base);
	if (r < 0) {
		/* A process that was made all the same ends at once, and its end is not waited for
		 * long. */
		if (program->pid > 0 && kill(-program->pid, SIGKILL) == 0)
			(void)waitpid(program->pid, NULL, 0);
		program_free(program, false);
		return r;
	}
	program->strict = plan->strict;
	oom_first(program->pid);
	timer_set(program, plan->timeout_s);
	*ret_program = program;
	return 0;
}
