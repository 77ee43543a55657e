/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See child.h. */
#include "msgio/child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
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
	pid_t pid;		   /* 0: it was waited for, and the group is left alone */
	int status;		   /* once it has ended: as waitpid has it */
	bool ended;		   /* the program itself; its group may hold its output */
	bool output_ended;
	bool hurried; /* its peer is lost */
	bool ending;  /* the group got SIGTERM */
	bool closed;  /* its connection is no more */
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

/* Until the program is waited for, the number is this group's; 0 would be msgio's own. */
static void child_signal(const struct child *child, int number)
{
	if (child->pid)
		(void)killpg(child->pid, number);
}

/* SIGKILL follows. */
static void child_end(struct child *child)
{
	static const struct timeval delay = {.tv_sec = KILL_AFTER_S};

	if (!child->pid || child->ending)
		return;
	child_signal(child, SIGTERM);
	(void)evtimer_add(child->time, &delay);
	child->ending = true;
}

/* The place is given back. */
static void child_reap(struct child *child)
{
	(void)TEMP_FAILURE_RETRY(waitpid(child->pid, NULL, 0));
	child->pid = 0;
	(void)event_del(child->time);
	LIST_REMOVE(child, entry);
	child->children->count--;
}

static void tell(struct child *child)
{
	if (child->fds.end.ready)
		child->fds.end.ready(child->fds.end.arg);
}

/* It takes no more; but its output may be held by another process. */
static void look_at_end(struct child *child)
{
	if (!child->ended || !child->output_ended)
		return;
	if (child->pid)
		child_reap(child);
	child->fds.end.gone = -EPIPE;
}

/* The program has ended, and nothing of its group is waited for. */
static void child_gone(struct child *child)
{
	if (child->ending)
		child_signal(child, SIGKILL);
	child_reap(child);
	look_at_end(child);
	if (child->closed)
		loop_free_later(child->children->loop, &child->leaving);
	else
		tell(child);
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
	struct child *child = arg;
	struct children *children = child->children;

	if (!child->ending) {
		loop_log(children->loop, "the program for %s: %s", child->domain,
			child->hurried ? "its peer is lost, and it does not read what came before"
				       : "its time is over");
		child_end(child);
		tell(child);
		return;
	}
	child_signal(child, SIGKILL);
	if (!child->ended)
		return;
	child_gone(child);
	children->fn(children->arg);
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

/* A process that the program has left behind can write to its output. */
static bool output_is_held(const struct child *child)
{
	struct pollfd fd = {.fd = child->fds.in_fd};

	return fd.fd >= 0 && !child->output_ended && poll(&fd, 1, 0) == 0;
}

static void child_ended(struct child *child, const siginfo_t *info)
{
	child->ended = true;
	child->status = info->si_code == CLD_EXITED ? W_EXITCODE(info->si_status, 0)
						    : W_EXITCODE(0, info->si_status);
	log_failure(child);
	if (child->ending || !output_is_held(child))
		child_gone(child);
	else
		tell(child);
}

static void on_child(evutil_socket_t fd, short what, void *arg)
{
	struct children *children = arg;
	struct child *child, *next;

	for (child = LIST_FIRST(&children->list); child; child = next) {
		siginfo_t info = {.si_pid = 0};

		next = LIST_NEXT(child, entry);
		if (!child->ended)
			(void)waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT);
		if (info.si_pid)
			child_ended(child, &info);
	}
	children->fn(children->arg);
}

/* The rest of the group may still say something, to nobody; its end is awaited. */
static void on_rest(evutil_socket_t fd, short what, void *arg)
{
	struct child *child = arg;
	struct children *children = child->children;
	char data[PIPE_BUF];

	if (!child->pid || read(fd, data, sizeof(data)) != 0)
		return;
	child_gone(child);
	children->fn(children->arg);
}

static void await_rest(struct child *child)
{
	struct fd_end *fds = &child->fds;

	event_drop(fds->in_event);
	fds->in_event = event_watch(child->children->loop->base, fds->in_fd, on_rest, child);
}

/* ---- the end of a connection -------------------------------------------------------------- */

/* The end of the output is none before it is known how the program has ended. */
static int child_take(struct end *end, struct piece *ret_piece)
{
	struct child *child = child_of(end);

	if (child->ended && child->ending)
		return -ECONNRESET;
	if (!child->output_ended) {
		int r = fd_end_take(end, ret_piece);

		if (r != TAKE_END)
			return r;
		child->output_ended = true;
		look_at_end(child);
	}
	if (!child->ended)
		return -EAGAIN;
	return child_failed(child) ? -ECONNRESET : TAKE_END;
}

static void child_wait(struct end *end, bool in, bool out)
{
	fd_end_wait(end, in && !child_of(end)->output_ended, out);
}

static bool time_is_over_within(const struct child *child, const struct timeval *delay)
{
	struct timeval at, then;

	if (!evtimer_pending(child->time, &at) || evutil_gettimeofday(&then, NULL) < 0)
		return false;
	evutil_timeradd(&then, delay, &then);
	return evutil_timercmp(&at, &then, <);
}

/* A program that neither reads nor writes would never hear of it. */
static void child_hurry(struct end *end)
{
	static const struct timeval delay = {.tv_sec = TERM_AFTER_S};
	struct child *child = child_of(end);

	if (!child->pid || child->hurried || child->ending || time_is_over_within(child, &delay))
		return;
	child->hurried = true;
	(void)evtimer_add(child->time, &delay);
}

static bool child_excused(const struct end *end)
{
	const struct child *child = container_of(end, const struct child, fds.end);

	return child->ended && !child_failed(child);
}

/*
 * The input of a program that is ended stays open: it is not complete. One that has ended leaves
 * nobody who would write to a connection that is no more.
 */
static int child_close(struct end *end, bool reset)
{
	struct child *child = child_of(end);

	child->closed = true;
	end->ready = NULL;
	if (child->pid && child->ended && !output_is_held(child))
		child_reap(child);
	if (!child->pid) {
		child_free(&child->leaving);
		return 0;
	}
	if (reset || child->ended)
		child_end(child);
	if (child->ended)
		await_rest(child);
	else if (child->ending)
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
	.hurry = child_hurry,
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
		child_signal(child, SIGKILL);
		child_free(&child->leaving);
	}
	event_drop(children->child_event);
	free(children);
}
