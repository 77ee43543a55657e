/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Real Xen. The suite runs in dom0, as root; A and B are two guests that run already, in each of
 * them `conformance --guest /dev/hvc0`: --hv=xen:NAME,NAME. Actors in dom0 are local processes,
 * actors in guests are reached over their consoles (lane.h), for anything else would be what is
 * being tested.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <xenstore.h>

#include "base/cleanup.h"
#include "tests/conformance/case.h"
#include "tests/conformance/lane.h"

struct xen_world {
	int control; /* to the switch */
};

/* How an actor is reached; agent_link.pid is 0 for those in guests. */
static int guest_of(const struct world *world, const char *domain)
{
	return strcmp(domain, world->names[WORLD_A]) == 0   ? 0
	       : strcmp(domain, world->names[WORLD_B]) == 0 ? 1
							    : -1;
}

/* Of the domain of that name: 0, or -ENOENT. */
static int path_find(struct xs_handle *xs, const char *name, const char *rest, char ret_path[80])
{
	_cleanup_free_ char **domids = NULL;
	unsigned int n = 0;

	domids = xs_directory(xs, XBT_NULL, "/local/domain", &n);
	for (unsigned int i = 0; domids && i < n; i++) {
		_cleanup_free_ char *this = NULL;

		snprintf(ret_path, 80, "/local/domain/%s/name", domids[i]);
		this = xs_read(xs, XBT_NULL, ret_path, NULL);
		if (!this || strcmp(this, name) != 0)
			continue;
		snprintf(ret_path, 80, "/local/domain/%s/%s", domids[i], rest);
		return 0;
	}
	return -ENOENT;
}

/* The pseudo-terminal of a guest's console, as xenconsoled says. */
static int console_find(struct xs_handle *xs, const char *name, char *ret_tty, size_t size)
{
	_cleanup_free_ char *tty = NULL;
	char path[80];
	int r = path_find(xs, name, "console/tty", path);

	if (r < 0)
		return r;
	tty = xs_read(xs, XBT_NULL, path, NULL);
	if (!tty)
		return -ENOTTY;
	snprintf(ret_tty, size, "%s", tty);
	return 0;
}

/* Records outlive processes, so those of an earlier case are still there. */
static void records_clear(struct xs_handle *xs, const char *name)
{
	char path[80];

	if (path_find(xs, name, "data/msgd", path) == 0)
		(void)xs_rm(xs, XBT_NULL, path);
}

static int xen_start(struct world *world)
{
	struct xen_world *x = calloc(1, sizeof(*x));
	struct xs_handle *xs = xs_open(0);
	char ttys[2][64];
	int r = xs && x ? 0 : -ENODEV;

	world->private = x;
	strcpy(world->names[WORLD_BROKER], "Domain-0");
	if (sscanf(world->spec, "%31[^,],%31[^,]", world->names[WORLD_A], world->names[WORLD_B]) !=
		2)
		r = -EINVAL;
	for (int i = 0; i < WORLD_N_WHO && r == 0; i++)
		records_clear(xs, world->names[i]);
	for (int i = 0; i < 2 && r == 0; i++)
		r = console_find(xs, world->names[WORLD_A + i], ttys[i], sizeof(ttys[i]));
	if (xs)
		xs_close(xs);
	if (r == 0)
		r = switch_start((const char *const[]){ttys[0], ttys[1]}, 2, &x->control);
	return r;
}

static void xen_stop(struct world *world)
{
	struct xen_world *x = world->private;

	if (!x)
		return; /* after a crash: the switch has ended with the case */
	(void)close(x->control);
	while (waitpid(-1, NULL, 0) > 0) /* the switch */
		;
	free(x);
}

__attribute__((noreturn)) static void local_agent(int fd)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (dup2(fd, 0) < 0)
		_exit(126);
	execl("/proc/self/exe", "conformance", "--agent", "xen", NULL);
	_exit(127);
}

static int xen_join(struct world *world, const char *domain, struct agent_link *ret_link)
{
	struct xen_world *x = world->private;
	struct switch_request request = {.op = SWITCH_JOIN, .guest = guest_of(world, domain)};
	int fds[2], r = 0;
	pid_t pid = 0;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	if (request.guest >= 0) {
		r = switch_call(x->control, &request, fds[1]);
	} else {
		pid = fork();
		if (pid == 0)
			local_agent(fds[1]);
		r = pid < 0 ? -EAGAIN : 0;
	}
	(void)close(fds[1]);
	if (r < 0) {
		(void)close(fds[0]);
		return r;
	}
	*ret_link = (struct agent_link){
		.fd = fds[0], .pid = pid, .guest = request.guest, .channel = (uint16_t)r};
	return 0;
}

static int xen_end(struct world *world, struct agent_link *link)
{
	struct xen_world *x = world->private;
	struct switch_request request = {
		.op = SWITCH_END, .guest = link->guest, .channel = link->channel};

	return switch_call(x->control, &request, -1);
}

static int xen_signal(struct world *world, struct agent_link *link, int sig)
{
	struct xen_world *x = world->private;
	struct switch_request request = {
		.op = SWITCH_SIGNAL, .guest = link->guest, .channel = link->channel, .sig = sig};

	if (link->pid)
		return kill(link->pid, sig) < 0 ? -errno : 0;
	return switch_call(x->control, &request, -1);
}

static void xen_kill(struct world *world, struct agent_link *link, bool ended)
{
	(void)xen_signal(world, link, SIGKILL);
	while (link->pid && waitpid(link->pid, NULL, 0) < 0)
		if (errno != EINTR)
			break;
	(void)close(link->fd);
}

const struct world_ops world_xen_ops = {
	.name = "xen",
	.can = WORLD_GUESTS | WORLD_CONCURRENT | WORLD_PROCESSES | WORLD_KILL | WORLD_QUIET,
	.why_not =
		{
			[3] = "creating and destroying guests takes a toolstack; tests/xen does it",
			[8] = "stock Xen has no Argo",
			[11] = "there is one Xen",
		},
	.settle_ms = 60,
	.limit_s = 240,
	.slowness = 10, /* xenconsoled takes no more than 150 events a second of a guest */
	.start = xen_start,
	.stop = xen_stop,
	.join = xen_join,
	.end = xen_end,
	.signal = xen_signal,
	.kill = xen_kill,
};
