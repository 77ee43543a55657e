/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared by xen-sim's commands: the connection to the emulator, and the words for failures. */
#include "hv/sim/toolstack/tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define RETRY_FIRST_MS 5
#define RETRY_MOST_MS  100

int tool_usage(const char *what)
{
	(void)fprintf(stderr, "xen-sim: %s; see xen-sim --help\n", what);
	return 2;
}

bool tool_number(const char *text, unsigned long least, unsigned long most, uint32_t *ret)
{
	unsigned long number;
	char *end;

	errno = 0;
	number = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || number < least || number > most)
		return false;
	*ret = (uint32_t)number;
	return true;
}

/* Whether an emulator may still appear there: nothing is at the path, or a socket without one. */
static bool may_come(const char *path, int r)
{
	struct stat st;

	return r == -ENOENT && (lstat(path, &st) < 0 || S_ISSOCK(st.st_mode));
}

int tool_connect(const char *path, unsigned int wait_s)
{
	unsigned int left_ms = wait_s * 1000, retry_ms = RETRY_FIRST_MS;
	const char *reason = NULL;
	int fd, r = sim_connect(path, &fd, &reason);

	/* When its socket can be connected to, no change of a file tells. */
	while (left_ms > 0 && may_come(path, r)) {
		struct timespec pause = {.tv_nsec = retry_ms * 1000000L};

		(void)nanosleep(&pause, NULL);
		left_ms -= retry_ms < left_ms ? retry_ms : left_ms;
		retry_ms = retry_ms * 2 < RETRY_MOST_MS ? retry_ms * 2 : RETRY_MOST_MS;
		r = sim_connect(path, &fd, &reason);
	}
	if (r == 0)
		return fd;
	(void)fprintf(stderr, "xen-sim: %s: %s", path, reason);
	if (wait_s > 0 && left_ms == 0)
		(void)fprintf(stderr, "; none came within %u s", wait_s);
	(void)fputc('\n', stderr);
	return -1;
}

int tool_fail(const char *subject, int r)
{
	const char *what = r == -ESRCH	  ? "no such domain"
			   : r == -EEXIST ? "a domain of that name exists"
			   : r == -ENOSPC ? "the emulator has no room for another domain"
			   : r == -EPERM  ? "not with Domain-0"
			   : r == -EINVAL ? "not in this state, or not a valid name"
			   : r == -EBUSY  ? "it crashed: a process of it held an event channel"
			   : r == -ENODEV ? "the emulator has gone away"
					  : strerror(-r);

	(void)fprintf(stderr, "xen-sim: %s: %s\n", subject, what);
	return 1;
}
