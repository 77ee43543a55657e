/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See accept.h. */
#include "base/accept.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/event.h"

/* Ten looks a second cost nothing, and a connection that can be accepted again waits no longer. */
#define PAUSE_US 100000

struct acceptor {
	struct event *readable, *pause; /* owned */
	accept_fn *fn;
	void *arg;     /* borrowed */
	int listen_fd; /* borrowed */
	int spare_fd;  /* owned; -1: it could not be had again */
	bool refuses;  /* and has said so */
};

static int take(const struct acceptor *acceptor)
{
	return accept4(acceptor->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

static void spare_get(struct acceptor *acceptor)
{
	if (acceptor->spare_fd < 0)
		acceptor->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* True: one connection fewer waits. */
static bool refuse_one(struct acceptor *acceptor)
{
	int fd;

	if (acceptor->spare_fd < 0)
		return false;
	(void)close(steal_fd(&acceptor->spare_fd));
	fd = take(acceptor);
	close_p(&fd);
	spare_get(acceptor);
	return fd >= 0;
}

static void on_readable(evutil_socket_t listen_fd, short what, void *arg)
{
	const struct timeval pause = {.tv_usec = PAUSE_US};
	struct acceptor *acceptor = arg;
	int fd = take(acceptor), error = errno;

	if (fd >= 0) {
		acceptor->refuses = false;
		spare_get(acceptor);
		acceptor->fn(acceptor->arg, fd);
		return;
	}
	if (error != EMFILE && error != ENFILE && error != ENOBUFS && error != ENOMEM)
		return; /* that connection is gone */
	if (!refuse_one(acceptor) && evtimer_add(acceptor->pause, &pause) == 0)
		(void)event_del(acceptor->readable);
	if (!acceptor->refuses)
		acceptor->fn(acceptor->arg, -error);
	acceptor->refuses = true;
}

static void on_pause_over(evutil_socket_t fd, short what, void *arg)
{
	struct acceptor *acceptor = arg;

	spare_get(acceptor);
	(void)event_add(acceptor->readable, NULL);
}

struct acceptor *acceptor_new(struct event_base *base, int listen_fd, accept_fn *fn, void *arg)
{
	struct acceptor *acceptor = calloc(1, sizeof(*acceptor));

	if (!acceptor)
		return NULL;
	*acceptor = (struct acceptor){.fn = fn, .arg = arg, .listen_fd = listen_fd, .spare_fd = -1};
	spare_get(acceptor);
	acceptor->pause = evtimer_new(base, on_pause_over, acceptor);
	if (acceptor->pause)
		acceptor->readable = event_watch(base, listen_fd, on_readable, acceptor);
	if (acceptor->readable)
		return acceptor;
	acceptor_free(acceptor);
	return NULL;
}

void acceptor_free(struct acceptor *acceptor)
{
	if (!acceptor)
		return;
	event_drop(acceptor->readable);
	event_drop(acceptor->pause);
	close_p(&acceptor->spare_fd);
	free(acceptor);
}
