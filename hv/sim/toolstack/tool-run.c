/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xen-sim PATH run: a command as a process of a domain. The domain made for it lives as long as
 * the connection of this process, so that nothing is left whatever way this one ends.
 */
#include "hv/sim/toolstack/tool.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

/* msgd starts the emulator in the background; a command beside it need not come later. */
#define WAIT_DEFAULT_S 5

static pid_t forward_to;

static void on_signal(int sig)
{
	if (forward_to > 0)
		(void)kill(forward_to, sig);
}

/* In the child: waits until it is known as the domain's, then becomes the command. */
static _Noreturn void child(const char *path, const char *domain, int go_fd, char **argv)
{
	_cleanup_free_ char *spec = NULL;
	char byte;

	if (read(go_fd, &byte, 1) != 1)
		_exit(125);
	if (asprintf(&spec, "sim:%s", path) < 0 || setenv("MSG_HV", spec, 1) < 0 ||
		setenv("XEN_SIM_DOMAIN", domain, 1) < 0)
		_exit(125);
	(void)execvp(argv[0], argv);
	(void)fprintf(stderr, "xen-sim: %s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

static int adopt(int fd, const char *domain, pid_t pid)
{
	struct sim_message m = {.header = {.type = SIM_ADOPT}}, reply;
	_cleanup_close_ int pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);

	(void)snprintf(m.name.domain, sizeof(m.name.domain), "%s", domain);
	return pid_fd < 0 ? -errno : sim_request(fd, &m, SIM_MESSAGE_LEN(name), pid_fd, &reply);
}

/* Says what went wrong. Of `run`, 1 would be the command's status. */
static int run_fail(const char *subject, int r)
{
	(void)tool_fail(subject, r);
	return 125;
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 125;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run(int fd, const char *path, const char *domid, const char *name, char **argv)
{
	static const int forwarded[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
	struct sigaction action = {.sa_handler = on_signal};
	int go[2], r;
	pid_t pid;

	if (pipe(go) < 0)
		return run_fail("pipe", -errno);
	(void)fflush(NULL);
	pid = fork();
	if (pid < 0)
		return run_fail("fork", -errno);
	if (pid == 0) {
		(void)close(go[1]);
		(void)close(fd);
		child(path, name, go[0], argv);
	}
	(void)close(go[0]);
	forward_to = pid;
	for (size_t i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++)
		(void)sigaction(forwarded[i], &action, NULL);
	r = adopt(fd, domid, pid);
	if (r == 0 && write(go[1], "", 1) != 1)
		r = -errno;
	(void)close(go[1]); /* without a byte, the child gives up */
	if (r < 0) {
		(void)wait_for(pid);
		return run_fail(name, r);
	}
	return wait_for(pid);
}

int tool_run(const char *path, int argc, char **argv)
{
	struct sim_message m = {.header = {.type = SIM_CREATE}}, reply;
	struct tool_options options = {.wait_s = WAIT_DEFAULT_S};
	_cleanup_close_ int fd = -1;
	char domid[16];
	int command = tool_options(argc, argv, "ariunkw", &options), r;

	if (command < 0)
		return 2;
	if (command == argc || !options.name)
		return tool_usage("run wants a domain's name and a command");
	m.create = options.create;
	strcpy(m.create.name, options.name); /* its length was checked */
	m.create.may_exist = 1;
	m.create.ephemeral = !options.keep;
	fd = tool_connect(path, options.wait_s);
	if (fd < 0)
		return 125;
	r = sim_request(fd, &m, SIM_MESSAGE_LEN(create), -1, &reply);
	if (r < 0)
		return r == -EINVAL ? tool_wrong_name() : run_fail(options.name, r);
	(void)snprintf(domid, sizeof(domid), "%u", reply.domain.domain.domid);
	r = run(fd, path, domid, reply.domain.domain.name, argv + command);
	if (reply.domain.created && !options.keep) {
		struct sim_message end = {.header = {.type = SIM_DESTROY}};

		memcpy(end.name.domain, domid, sizeof(domid));
		(void)sim_request(fd, &end, SIM_MESSAGE_LEN(name), -1, &reply);
	}
	return r;
}
