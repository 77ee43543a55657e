/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See activated-end.h. */
#include "msgio/activated-end.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/macro.h"
#include "msgio/fd-end.h"
#include "msgio/program.h"

struct activated_end {
	LIST_ENTRY(activated_end) entry;
	struct fd_end fds;
	struct activated *activated; /* borrowed; NULL: the program has ended, and `cut` is true */
	bool ended;		     /* the kernel says so; why is not known yet */
	bool cut;
};

static struct activated_end *activated_end_of(struct end *end)
{
	return container_of(end, struct activated_end, fds.end);
}

static int activated_take(struct end *end, struct piece *ret_piece)
{
	struct activated_end *activated = activated_end_of(end);

	if (!activated->ended) {
		int r = fd_end_take(end, ret_piece);

		if (r != TAKE_END)
			return r;
		activated->ended = true;
	}
	if (activated->activated && program_is_ending(activated->activated->pid))
		return -EAGAIN;
	return activated->cut ? -ECONNRESET : TAKE_END;
}

static void activated_wait(struct end *end, bool in, bool out)
{
	fd_end_wait(end, in && !activated_end_of(end)->ended, out);
}

static void activated_leave(struct activated_end *end)
{
	LIST_REMOVE(end, entry);
	end->activated->count--;
	end->activated = NULL;
}

static int activated_close(struct end *end, bool reset)
{
	struct activated_end *activated = activated_end_of(end);
	struct activated *all = activated->activated;

	fd_end_fini(&activated->fds);
	if (all) {
		activated_leave(activated);
		all->left(all->arg);
	}
	free(activated);
	return 0;
}

static const struct end_ops activated_ops = {
	.take = activated_take,
	.give = fd_end_give,
	.finish = fd_end_finish,
	.wait = activated_wait,
	.close = activated_close,
};

struct end *activated_end_new(struct loop *loop, int fd, bool packets, struct activated *activated)
{
	struct activated_end *end = calloc(1, sizeof(*end));

	if (!end) {
		(void)close(fd);
		return NULL;
	}
	if (socket_end_init(&end->fds, loop, fd, packets) < 0) {
		fd_end_fini(&end->fds);
		free(end);
		return NULL;
	}
	end->fds.end.ops = &activated_ops;
	end->activated = activated;
	LIST_INSERT_HEAD(&activated->list, end, entry);
	activated->count++;
	return &end->fds.end;
}

/* Nobody can say anything more: its process is gone, or has shut it down. */
static bool has_ended(const struct fd_end *fds)
{
	struct pollfd fd = {.fd = fds->in_fd, .events = POLLRDHUP};

	return poll(&fd, 1, 0) > 0;
}

void activated_settle(struct activated *activated, bool failed)
{
	struct activated_end *end;

	while ((end = LIST_FIRST(&activated->list))) {
		end->cut = failed || !has_ended(&end->fds);
		activated_leave(end);
		if (end->ended && end->fds.end.ready)
			end->fds.end.ready(end->fds.end.arg);
	}
}
