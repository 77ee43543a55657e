/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looks at the agent's process through the kernel only, so that no backend can flatter itself. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "hv/argo-ring.h"
#include "tests/conformance/agent-private.h"
#include "tests/conformance/agent-probe.h"
#include "tests/support/tsan.h"

int probe_count_fds(bool inheritable)
{
	_cleanup_closedir_ DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	int n = 0;

	if (!dir)
		abort();
	while ((entry = readdir(dir))) {
		int fd = atoi(entry->d_name);
		int flags = fcntl(fd, F_GETFD);

		if (entry->d_name[0] == '.' || fd == dirfd(dir))
			continue;
		n += !inheritable || (fd > 2 && flags >= 0 && !(flags & FD_CLOEXEC));
	}
	return n;
}

int probe_base_inherited;

/* TSan maps memory of its own as a program goes on: those with a name are of files, and not its. */
int probe_count_mappings(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/maps", "re");
	char line[512];
	int n = 0;

	if (!f)
		abort();
	while (fgets(line, sizeof(line), f))
		n += !TSAN || strchr(line, '/');
	return n;
}

/* The kernel's copy says EFAULT where an access of ours would be a signal. */
int probe_writable(void *addr)
{
	int fds[2], writable;

	if (pipe2(fds, O_CLOEXEC) < 0)
		abort();
	writable = write(fds[1], addr, 1) == 1 && read(fds[0], addr, 1) == 1;
	(void)close(fds[0]);
	(void)close(fds[1]);
	return writable;
}

int probe_fork_touch(const struct object *object)
{
	void *addr = object->kind == OBJECT_RING ? object->ring->mem : object->addr;
	uintptr_t page = (uintptr_t)addr & ~(uintptr_t)(HV_PAGE_SIZE - 1);
	pid_t pid = fork();
	int status;

	if (pid < 0)
		abort();
	if (pid == 0) {
		unsigned char vec;

		/* ENOMEM: nothing is mapped there */
		_exit(mincore((void *)page, HV_PAGE_SIZE, &vec) == 0 ? 1 : 0);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			abort();
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EIO;
}

int probe_hv_open(const char *spec, const char *env, uint64_t *ret_has_reason)
{
	const char *reason = NULL;
	struct hv *hv = NULL;
	int r;

	if (env[0])
		(void)setenv("MSG_HV", env, 1);
	else
		(void)unsetenv("MSG_HV");
	r = hv_open(spec, &hv, &reason);
	*ret_has_reason = reason && reason[0];
	if (r < 0 && hv)
		return -EIO; /* outputs are untouched on failure */
	if (r == 0)
		hv_close(hv);
	return r;
}
