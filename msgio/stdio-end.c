/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See stdio-end.h. */
#include "msgio/stdio-end.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "msgio/fd-end.h"

/*
 * Standard output may be a pipe or a terminal that other processes have, too: O_NONBLOCK would be
 * theirs as well. /proc gives it another description. -1: it does not, for want of a right or
 * since it is no such thing.
 */
static int open_again(int fd)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

/* One that may only be read is left to fail. */
static void stdout_prepare(struct fd_end *fds)
{
	int flags = fcntl(STDOUT_FILENO, F_GETFL);
	struct stat st;
	int fd;

	if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
		return;
	if (fstat(STDOUT_FILENO, &st) < 0 || S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))
		return;
	fds->is_socket = S_ISSOCK(st.st_mode);
	if (fds->is_socket)
		return;
	fd = open_again(STDOUT_FILENO);
	fds->may_block = fd < 0;
	if (fd >= 0)
		(void)dup3(fd, STDOUT_FILENO, O_CLOEXEC);
	if (fd >= 0)
		(void)close(fd);
}

/* A pipe without writers, or a terminal that has hung up. */
static bool stdio_ended(const struct end *end)
{
	struct pollfd poll_fd = {.fd = ((const struct fd_end *)end)->in_fd, .events = POLLIN};

	return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & (POLLIN | POLLHUP)) == POLLHUP;
}

static int stdio_close(struct end *end, bool reset)
{
	struct fd_end *fds = (struct fd_end *)end;

	fd_end_fini(fds);
	free(fds);
	return 0;
}

static const struct end_ops stdio_ops = {
	.take = fd_end_take,
	.ended = stdio_ended,
	.give = fd_end_give,
	.finish = fd_end_finish,
	.wait = fd_end_wait,
	.close = stdio_close,
};

struct end *stdio_end_new(struct loop *loop, int type)
{
	struct fd_end *fds = malloc(sizeof(*fds));

	if (!fds)
		return NULL;
	if (fd_end_init(fds, loop, STDIN_FILENO, STDOUT_FILENO, type) < 0) {
		fd_end_fini(fds);
		free(fds);
		return NULL;
	}
	stdout_prepare(fds);
	fds->end.ops = &stdio_ops;
	fds->end.single = true;
	return &fds->end;
}
