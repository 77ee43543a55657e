/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Real Xen. The suite runs in dom0, as root; A and B are two guests that run already, in each of
 * them `conformance --guest /dev/hvc0`: --hv=xen:NAME,NAME,PROGRAM. PROGRAM makes and ends more of
 * the kind: "create NAME", "destroy NAME", "pause NAME", "unpause NAME", and "clear", which ends
 * all that it made. Actors in dom0 are local processes, actors in guests are reached over their
 * consoles (lane.h), for anything else would be what is being tested. xen-argo:... is a Xen that
 * has Argo.
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

#include <xenctrl.h>
#include <xenguest.h>
#include <xenstore.h>

#include "base/cleanup.h"
#include "tests/conformance/case.h"
#include "tests/conformance/lane.h"

#define GUESTS_MAX 8

struct xen_world {
	struct {
		char name[32];
		int control; /* to its switch */
	} guests[GUESTS_MAX];
	int n_guests;
	bool made; /* more domains */
};

/* Of the domain of that name: its domid, or -ENOENT. */
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
		return atoi(domids[i]);
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

	if (path_find(xs, name, "data/msgd", path) >= 0)
		(void)xs_rm(xs, XBT_NULL, path);
}

/* How an actor there is reached: the guest's index, -1 for dom0, or another -errno. */
static int guest_find(struct world *world, const char *domain)
{
	struct xen_world *x = world->private;
	struct xs_handle *xs;
	char tty[64];
	int r;

	if (strcmp(domain, world->names[WORLD_BROKER]) == 0)
		return -1;
	for (int i = 0; i < x->n_guests; i++)
		if (strcmp(x->guests[i].name, domain) == 0)
			return i;
	if (x->n_guests == GUESTS_MAX)
		return -EUSERS;
	xs = xs_open(0);
	if (!xs)
		return -ENODEV;
	r = console_find(xs, domain, tty, sizeof(tty));
	xs_close(xs);
	if (r >= 0)
		r = switch_start(tty, &x->guests[x->n_guests].control);
	if (r < 0)
		return r;
	snprintf(x->guests[x->n_guests].name, sizeof(x->guests[0].name), "%s", domain);
	return x->n_guests++;
}

/* Runs PROGRAM; NAME may be NULL. */
static int program_run(struct world *world, const char *verb, const char *name)
{
	const char *program = strrchr(world->spec, ',') + 1;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		(void)dup2(2, 1); /* it is not TAP */
		execl(program, program, verb, name, NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

static int xen_start(struct world *world)
{
	struct xs_handle *xs;
	char program[2];

	strcpy(world->names[WORLD_BROKER], "Domain-0");
	if (sscanf(world->spec, "%31[^,],%31[^,],%1s", world->names[WORLD_A], world->names[WORLD_B],
		    program) != 3)
		return -EINVAL;
	world->private = calloc(1, sizeof(struct xen_world));
	xs = xs_open(0);
	if (!xs || !world->private)
		return -ENODEV;
	for (int i = 0; i < WORLD_N_WHO; i++)
		records_clear(xs, world->names[i]);
	xs_close(xs);
	for (int i = WORLD_A; i <= WORLD_B; i++) {
		int r = guest_find(world, world->names[i]);

		if (r < 0)
			return r;
	}
	return 0;
}

static void xen_stop(struct world *world)
{
	struct xen_world *x = world->private;
	bool made = !x || x->made; /* nobody knows what a case had made before it crashed */

	/* After a crash: the switches have ended with the case. */
	for (int i = 0; x && i < x->n_guests; i++)
		(void)close(x->guests[i].control);
	while (x && waitpid(-1, NULL, 0) > 0) /* the switches */
		;
	free(x);
	if (made)
		(void)program_run(world, "clear", NULL);
}

/* Its domid. */
static int domid_find(const char *domain)
{
	struct xs_handle *xs = xs_open(0);
	char path[80];
	int r = xs ? path_find(xs, domain, "", path) : -ENODEV;

	if (xs)
		xs_close(xs);
	return r;
}

static int xen_create(
	struct world *world, const char *domain, uint16_t domid, bool argo, uint16_t *ret_domid)
{
	struct xen_world *x = world->private;
	int r;

	x->made = true;
	r = program_run(world, "create", domain);

	if (r == 0)
		r = domid_find(domain);
	if (r < 0)
		return r;
	*ret_domid = (uint16_t)r;
	return 0;
}

/*
 * The guest suspends itself, as when it is to be saved; what would be saved is not, and it is told
 * that it is the same domain as before (libxl_domain_resume).
 */
static int life_change(const char *verb, uint16_t domid)
{
	xc_interface *xc = xc_interface_open(NULL, NULL, 0);
	struct xs_handle *xs = xs_open(0);
	char path[64];
	int r = -ENODEV;

	snprintf(path, sizeof(path), "/local/domain/%u/control/shutdown", domid);
	if (!xc || !xs)
		r = -ENODEV;
	else if (strcmp(verb, "crash") == 0)
		r = xc_domain_shutdown(xc, domid, SHUTDOWN_crash);
	else if (strcmp(verb, "suspend") == 0)
		r = xs_write(xs, XBT_NULL, path, "suspend", strlen("suspend")) ? 0 : -errno;
	else if (strcmp(verb, "resume") == 0)
		r = xc_domain_resume(xc, domid, 1) < 0 || !xs_resume_domain(xs, domid) ? -EIO : 0;
	if (xs)
		xs_close(xs);
	if (xc)
		xc_interface_close(xc);
	return r;
}

static int xen_manage(struct world *world, const char *verb, const char *domain)
{
	struct xen_world *x = world->private;
	int r;

	if (strcmp(verb, "suspend") == 0) {
		r = guest_find(world, domain); /* it is up */
		if (r < 0)
			return r;
	}
	if (strcmp(verb, "crash") == 0 || strcmp(verb, "suspend") == 0 ||
		strcmp(verb, "resume") == 0) {
		r = domid_find(domain);
		return r < 0 ? r : life_change(verb, (uint16_t)r);
	}
	for (int i = 0; strcmp(verb, "destroy") == 0 && i < x->n_guests; i++)
		if (strcmp(x->guests[i].name, domain) == 0)
			x->guests[i].name[0] = 0; /* another may get the name */
	return program_run(world, verb, domain);
}

static int xen_tag(struct world *world, const char *domain, const char *tags, bool by_guest)
{
	struct xs_permissions permissions[] = {{.id = 0, .perms = XS_PERM_NONE},
		{.perms = by_guest ? XS_PERM_READ | XS_PERM_WRITE : XS_PERM_READ}};
	struct xs_handle *xs = xs_open(0);
	char path[80];
	int domid;

	if (!xs)
		return -ENODEV;
	domid = path_find(xs, domain, "msgd/tags", path);
	permissions[1].id = (unsigned int)domid;
	if (domid >= 0 && (!xs_write(xs, XBT_NULL, path, tags, (unsigned int)strlen(tags)) ||
				  !xs_set_permissions(xs, XBT_NULL, path, permissions, 2)))
		domid = -errno;
	xs_close(xs);
	return domid < 0 ? domid : 0;
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
	struct switch_request request = {.op = SWITCH_JOIN};
	int guest = guest_find(world, domain), fds[2], r = 0;
	pid_t pid = 0;

	if (guest < -1)
		return guest;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	if (guest >= 0) {
		r = switch_call(x->guests[guest].control, &request, fds[1]);
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
		.fd = fds[0], .pid = pid, .guest = guest, .channel = (uint16_t)r};
	return 0;
}

static int xen_end(struct world *world, struct agent_link *link)
{
	struct xen_world *x = world->private;
	struct switch_request request = {.op = SWITCH_END, .channel = link->channel};

	return switch_call(x->guests[link->guest].control, &request, -1);
}

static int xen_signal(struct world *world, struct agent_link *link, int sig)
{
	struct xen_world *x = world->private;
	struct switch_request request = {.op = SWITCH_SIGNAL, .channel = link->channel, .sig = sig};

	if (link->pid)
		return kill(link->pid, sig) < 0 ? -errno : 0;
	return switch_call(x->guests[link->guest].control, &request, -1);
}

static void xen_kill(struct world *world, struct agent_link *link, bool ended)
{
	(void)xen_signal(world, link, SIGKILL);
	while (link->pid && waitpid(link->pid, NULL, 0) < 0)
		if (errno != EINTR)
			break;
	(void)close(link->fd);
}

#define XEN_CAN                                                                                    \
	(WORLD_GUESTS | WORLD_CONCURRENT | WORLD_PROCESSES | WORLD_KILL | WORLD_LIFE |             \
		WORLD_PAUSE | WORLD_SUSPEND | WORLD_CRASH | WORLD_DYING | WORLD_QUIET |            \
		WORLD_HOLDS)
/* xenconsoled takes no more than 150 events a second of a guest: hence the slowness. */
#define XEN_WORLD                                                                                  \
	.settle_ms = 60, .limit_s = 240, .slowness = 10, .start = xen_start, .stop = xen_stop,     \
	.join = xen_join, .end = xen_end, .signal = xen_signal, .kill = xen_kill,                  \
	.create = xen_create, .manage = xen_manage, .tag = xen_tag

const struct world_ops world_xen_ops = {
	.name = "xen",
	.can = XEN_CAN,
	.why_not =
		{
			[4] = "xl takes no domid",
			[8] = "stock Xen has no Argo",
			[11] = "there is one Xen",
		},
	XEN_WORLD,
};

const struct world_ops world_xen_argo_ops = {
	.name = "xen-argo",
	.can = XEN_CAN | WORLD_ARGO,
	.why_not =
		{
			[4] = "xl takes no domid",
			[9] = "argo=1 is for all domains",
			[11] = "there is one Xen",
		},
	XEN_WORLD,
};
