/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See child.h. */
#include "msgio/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/event.h"
#include "base/macro.h"
#include "msgio/fd-end.h"
#include "msgio/program.h"

struct child {
	LIST_ENTRY(child) entry;
	struct leaving leaving;
	struct fd_end fds;
	struct children *children; /* borrowed: the owner */
	struct event *time;	   /* owned: for SIGTERM, then for SIGKILL */
	pid_t pid;		   /* 0: it has ended, */
	int status;		   /* so */
	bool output_ended;
	bool ending; /* it got SIGTERM */
	bool closed; /* its connection is no more */
	char domain[sizeof(((struct msg_peer *)0)->domain)];
};

struct children {
	struct loop *loop; /* borrowed */
	char **program;	   /* borrowed */
	int type;	   /* of the channels */
	uint32_t time_limit_s;
	children_fn *fn;
	void *arg;		   /* borrowed */
	LIST_HEAD(, child) list;   /* owned: of those that run */
	struct event *child_event; /* owned */
	unsigned count;
};

static struct child *child_of(struct end *end)
{
	return container_of(end, struct child, fds.end);
}

/* ---- ending ------------------------------------------------------------------------------- */

static void child_free(struct leaving *leaving)
{
	struct child *child = container_of(leaving, struct child, leaving);

	event_drop(child->time);
	fd_end_fini(&child->fds);
	free(child);
}

/* SIGKILL at the second call. */
static void child_end(struct child *child)
{
	static const struct timeval delay = {.tv_sec = KILL_AFTER_S};

	if (!child->pid)
		return;
	(void)killpg(child->pid, child->ending ? SIGKILL : SIGTERM);
	if (!child->ending)
		(void)evtimer_add(child->time, &delay);
	child->ending = true;
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
	struct child *child = arg;

	if (!child->ending)
		loop_log(child->children->loop, "the program for %s: its time is over",
			child->domain);
	child_end(child);
}

static bool child_failed(const struct child *child)
{
	return child->ending || !WIFEXITED(child->status) || WEXITSTATUS(child->status) != 0;
}

static void log_failure(const struct child *child)
{
	struct loop *loop = child->children->loop;

	if (WIFSIGNALED(child->status))
		loop_log(loop, "the program for %s: killed by signal %d", child->domain,
			WTERMSIG(child->status));
	else if (WEXITSTATUS(child->status) != 0)
		loop_log(loop, "the program for %s: exit status %d", child->domain,
			WEXITSTATUS(child->status));
}

/* It takes no more; but its output may be held by another process. */
static void look_at_end(struct child *child)
{
	if (!child->pid && child->output_ended)
		child->fds.end.gone = -EPIPE;
}

static void child_ended(struct child *child)
{
	struct children *children = child->children;

	if (child->ending) /* the number is this group's until the process is waited for */
		(void)killpg(child->pid, SIGKILL);
	(void)TEMP_FAILURE_RETRY(waitpid(child->pid, &child->status, 0));
	child->pid = 0;
	(void)event_del(child->time);
	LIST_REMOVE(child, entry);
	children->count--;
	log_failure(child);
	look_at_end(child);
	if (child->closed)
		loop_free_later(children->loop, &child->leaving);
	else if (child->fds.end.ready)
		child->fds.end.ready(child->fds.end.arg);
}

static void on_child(evutil_socket_t fd, short what, void *arg)
{
	struct children *children = arg;
	struct child *child, *next;

	for (child = LIST_FIRST(&children->list); child; child = next) {
		siginfo_t info = {.si_pid = 0};

		next = LIST_NEXT(child, entry);
		(void)waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT);
		if (info.si_pid)
			child_ended(child);
	}
	children->fn(children->arg);
}

/* ---- the end of a connection -------------------------------------------------------------- */

/* The end of the output is none before it is known how the program has ended. */
static int child_take(struct end *end, struct piece *ret_piece)
{
	struct child *child = child_of(end);

	if (!child->pid && child->ending)
		return -ECONNRESET;
	if (!child->output_ended) {
		int r = fd_end_take(end, ret_piece);

		if (r != TAKE_END)
			return r;
		child->output_ended = true;
		look_at_end(child);
	}
	if (child->pid)
		return -EAGAIN;
	return child_failed(child) ? -ECONNRESET : TAKE_END;
}

static void child_wait(struct end *end, bool in, bool out)
{
	fd_end_wait(end, in && !child_of(end)->output_ended, out);
}

static bool child_excused(const struct end *end)
{
	const struct child *child = container_of(end, const struct child, fds.end);

	return !child->pid && !child_failed(child);
}

/* The input of a program that is ended stays open: it is not complete. */
static int child_close(struct end *end, bool reset)
{
	struct child *child = child_of(end);

	child->closed = true;
	end->ready = NULL;
	if (!child->pid) {
		child_free(&child->leaving);
		return 0;
	}
	if (reset)
		child_end(child);
	if (child->ending)
		fd_end_wait(end, false, false);
	else
		fd_end_fini(&child->fds);
	return 0;
}

static const struct end_ops child_ops = {
	.take = child_take,
	.give = fd_end_give,
	.finish = fd_end_finish,
	.wait = child_wait,
	.excused = child_excused,
	.close = child_close,
};

/* ---- starting ----------------------------------------------------------------------------- */

static int nonblocking(int fd)
{
	return fcntl(fd, F_SETFL, O_NONBLOCK);
}

/* ret_fds: to read the program's output, to write its input; the program's own are inherited. */
static int child_spawn(struct child *child, const struct msg_peer *peer, int ret_fds[2])
{
	_cleanup_close_ int in = -1, to = -1, from = -1, out = -1;
	int pair[2], r;

	if (pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	in = pair[0];
	to = pair[1];
	if (pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	from = pair[0];
	out = pair[1];
	if (nonblocking(to) < 0 || nonblocking(from) < 0)
		return -errno;
	r = program_start(child->children->program, in, out, peer, &child->pid);
	if (r < 0)
		return r;
	ret_fds[0] = steal_fd(&from);
	ret_fds[1] = steal_fd(&to);
	return 0;
}

static int child_start(struct child *child, const struct msg_peer *peer)
{
	struct children *children = child->children;
	struct timeval limit = {.tv_sec = children->time_limit_s};
	int fds[2] = {-1, -1}, r;

	child->time = evtimer_new(children->loop->base, on_time, child);
	if (!child->time || (limit.tv_sec && evtimer_add(child->time, &limit) < 0))
		return -ENOMEM;
	r = child_spawn(child, peer, fds);
	if (r < 0)
		return r;
	LIST_INSERT_HEAD(&children->list, child, entry);
	children->count++;
	r = fd_end_init(&child->fds, children->loop, fds[0], fds[1], children->type);
	child->fds.end.ops = &child_ops;
	return r;
}

struct end *children_start(
	struct children *children, const struct msg_peer *peer, const char **ret_reason)
{
	struct child *child = calloc(1, sizeof(*child));
	int r = child ? 0 : -ENOMEM;

	if (child) {
		child->leaving.free = child_free;
		child->children = children;
		child->fds.in_fd = child->fds.out_fd = -1;
		memcpy(child->domain, peer->domain, sizeof(child->domain));
		r = child_start(child, peer);
	}
	if (r == 0)
		return &child->fds.end;
	*ret_reason = strerror(-r);
	if (child && child->pid)
		(void)child_close(&child->fds.end, true);
	else if (child)
		child_free(&child->leaving);
	return NULL;
}

/* ---- all of them -------------------------------------------------------------------------- */

struct children *children_new(
	struct loop *loop, const struct io_options *options, children_fn *fn, void *arg)
{
	struct children *children = malloc(sizeof(*children));

	if (!children)
		return NULL;
	*children = (struct children){.loop = loop,
		.program = options->program,
		.type = options->type,
		.time_limit_s = options->time_limit_s,
		.fn = fn,
		.arg = arg};
	LIST_INIT(&children->list);
	children->child_event = evsignal_new(loop->base, SIGCHLD, on_child, children);
	if (children->child_event && event_add(children->child_event, NULL) == 0)
		return children;
	children_free(children);
	return NULL;
}

unsigned children_count(const struct children *children)
{
	return children->count;
}

void children_stop(struct children *children)
{
	struct child *child;

	LIST_FOREACH (child, &children->list, entry)
		child_end(child);
}

void children_free(struct children *children)
{
	struct child *child;

	if (!children)
		return;
	while ((child = LIST_FIRST(&children->list))) {
		LIST_REMOVE(child, entry);
		(void)killpg(child->pid, SIGKILL);
		child_free(&child->leaving);
	}
	event_drop(children->child_event);
	free(children);
}
