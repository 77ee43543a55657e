/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hv/sim/memory/proc.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Reads a small file of /proc, NUL-terminated. */
static bool file_read(const char *path, char *ret_text, size_t size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, ret_text, size - 1);

	if (n <= 0)
		return false;
	ret_text[n] = 0;
	return true;
}

static bool proc_read(int32_t pid, const char *name, char *ret_text, size_t size)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return file_read(path, ret_text, size);
}

/* /proc/PID/stat: the name in parentheses, the state, and field 22. */
static bool stat_read(int32_t pid, struct proc_stat *ret)
{
	char text[512], *open, *close;
	unsigned long long start;

	if (!proc_read(pid, "stat", text, sizeof(text)))
		return false;
	open = strchr(text, '(');
	close = strrchr(text, ')'); /* the name may hold anything */
	if (!open || !close || close < open)
		return false;
	if (sscanf(close + 1,
		    " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d "
		    "%llu",
		    &ret->state, &start) != 2)
		return false;
	*close = 0;
	(void)snprintf(ret->name, sizeof(ret->name), "%s", open + 1);
	for (char *p = ret->name; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?'; /* it goes into a log */
	ret->start_time = start;
	return true;
}

bool proc_look(int32_t pid, struct proc_stat *ret_process)
{
	struct proc_stat process = {0};
	char text[2048], *tracer;

	if (!stat_read(pid, &process))
		return false;
	if (proc_read(pid, "status", text, sizeof(text))) {
		tracer = strstr(text, "\nTracerPid:");
		process.tracer = tracer ? atoi(tracer + 11) : 0;
	}
	*ret_process = process;
	return true;
}

uint64_t proc_start_time(int32_t pid)
{
	struct proc_stat process = {0};

	if (!stat_read(pid, &process) || strchr("ZXx", process.state))
		return 0;
	return process.start_time;
}

int32_t proc_pid_of(int pid_fd)
{
	char path[64], text[512];
	char *pid;

	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pid_fd);
	pid = file_read(path, text, sizeof(text)) ? strstr(text, "\nPid:") : NULL;
	return pid && atoi(pid + 5) > 0 ? atoi(pid + 5) : 0;
}
