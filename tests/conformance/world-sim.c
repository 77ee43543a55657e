/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The emulator across processes: a xen-sim of the case's own on a temporary path, domains made
 * with its subcommands, every actor a process that runs this very program again as an agent.
 * XEN_SIM_EXE names the xen-sim to run.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/conformance/case.h"

#define MAX_WORDS 12

static void sim_path(const struct world *world, char *buf, size_t len)
{
	snprintf(buf, len, "%s/xen", world->dir);
}

/* Runs `xen-sim PATH words...`, its output into ret_out. 0, or -EIO when it did not exit with 0. */
static int sim_run(struct world *world, const char *const *words, char *ret_out, size_t len)
{
	const char *argv[MAX_WORDS + 3] = {getenv("XEN_SIM_EXE")};
	char path[128];
	int fds[2], status;
	size_t n = 2;
	ssize_t got;
	pid_t pid;

	if (!argv[0])
		case_fail(__FILE__, __LINE__, "XEN_SIM_EXE is not set");
	sim_path(world, path, sizeof(path));
	argv[1] = path;
	for (size_t i = 0; words[i] && n < MAX_WORDS + 2; i++)
		argv[n++] = words[i];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		if (dup2(fds[1], 1) < 0)
			_exit(126);
		execv(argv[0], (char *const *)argv);
		_exit(127);
	}
	(void)close(fds[1]);
	memset(ret_out, 0, len);
	for (size_t off = 0; off + 1 < len; off += (size_t)got) {
		got = read(fds[0], ret_out + off, len - off - 1);
		if (got <= 0)
			break;
	}
	(void)close(fds[0]);
	if (waitpid(pid, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

static int sim_create(
	struct world *world, const char *domain, uint16_t domid, bool argo, uint16_t *ret_domid)
{
	char out[256], number[16];
	const char *words[MAX_WORDS] = {"create"};
	size_t n = 1;
	int r;

	snprintf(number, sizeof(number), "%u", domid);
	if (domid) {
		words[n++] = "--domid";
		words[n++] = number;
	}
	if (!argo)
		words[n++] = "--no-argo";
	words[n++] = domain;
	r = sim_run(world, words, out, sizeof(out));
	if (r == 0)
		*ret_domid = (uint16_t)atoi(out);
	return r;
}

static int sim_manage(struct world *world, const char *verb, const char *domain)
{
	char out[256];
	const char *words[] = {verb, domain, NULL};

	return sim_run(world, words, out, sizeof(out));
}

static int sim_tag(struct world *world, const char *domain, const char *tags, bool by_guest)
{
	char out[256];
	const char *words[] = {"tag", "--by-guest", domain, tags, NULL};

	if (!by_guest)
		memmove(&words[1], &words[2], 3 * sizeof(*words));
	return sim_run(world, words, out, sizeof(out));
}

static int sim_start(struct world *world)
{
	const char *words[] = {"-d", NULL};
	char out[256];
	uint16_t domid;
	int r = sim_run(world, words, out, sizeof(out));

	strcpy(world->names[WORLD_BROKER], "Domain-0");
	strcpy(world->names[WORLD_A], "guest-a");
	strcpy(world->names[WORLD_B], "guest-b");
	if (r == 0)
		r = sim_create(world, world->names[WORLD_A], 0, true, &domid);
	if (r == 0)
		r = sim_create(world, world->names[WORLD_B], 0, true, &domid);
	return r;
}

static void sim_stop(struct world *world)
{
	const char *words[] = {"shutdown", NULL};
	char out[256];

	(void)sim_run(world, words, out, sizeof(out));
}

__attribute__((noreturn)) static void sim_agent(
	const struct world *world, const char *domain, int fd)
{
	char spec[256];

	/* an agent must not outlive the case that crashed */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (dup2(fd, 0) < 0)
		_exit(126);
	snprintf(spec, sizeof(spec), "sim:%s/xen#%s", world->dir, domain);
	execl("/proc/self/exe", "conformance", "--agent", spec, NULL);
	_exit(127);
}

static int sim_join(struct world *world, const char *domain, struct agent_link *ret_link)
{
	int fds[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		sim_agent(world, domain, fds[1]);
	(void)close(fds[1]);
	if (pid < 0) {
		(void)close(fds[0]);
		return -EAGAIN;
	}
	*ret_link = (struct agent_link){.fd = fds[0], .pid = pid};
	return 0;
}

static void sim_kill(struct world *world, struct agent_link *link, bool ended)
{
	(void)kill(link->pid, SIGKILL); /* harmless where its domain's end was its own */
	while (waitpid(link->pid, NULL, 0) < 0)
		if (errno != EINTR)
			break;
	(void)close(link->fd);
}

static void sim_spec(struct world *world, const char *domain, char *buf, size_t len)
{
	snprintf(buf, len, "sim:%s/xen#%s", world->dir, domain);
}

const struct world_ops world_sim_ops = {
	.name = "sim",
	.can = WORLD_GUESTS | WORLD_CONCURRENT | WORLD_PROCESSES | WORLD_KILL | WORLD_LIFE |
	       WORLD_REUSE | WORLD_PAUSE | WORLD_SUSPEND | WORLD_CRASH | WORLD_ARGO |
	       WORLD_NO_ARGO | WORLD_QUIET | WORLD_OPEN | WORLD_DYING | WORLD_SLOTS,
	.start = sim_start,
	.stop = sim_stop,
	.join = sim_join,
	.kill = sim_kill,
	.spec = sim_spec,
	.create = sim_create,
	.manage = sim_manage,
	.tag = sim_tag,
};
