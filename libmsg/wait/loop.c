/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The descriptors for event loops: readable while msg_ctx_dispatch has something to do. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include "base/cancel.h"
#include "base/cleanup.h"
#include "libmsg/wait/driver.h"

/* How often a call that must not block looks again before it leaves the rest to the next call. */
#define LOOK_ROUNDS 4

void loops_init(struct driver *driver)
{
	for (int i = 0; i < N_LOOPS; i++)
		driver->loops[i] =
			(struct loop_fds){.epoll_fd = -1, .ready_fd = -1, .timer_fd = -1};
}

void loops_fini(struct driver *driver)
{
	for (int i = 0; i < N_LOOPS; i++) {
		close_p(&driver->loops[i].epoll_fd);
		close_p(&driver->loops[i].ready_fd);
		close_p(&driver->loops[i].timer_fd);
	}
}

static void set_timer(struct driver *driver, struct loop_fds *loop, uint64_t when_ns)
{
	struct itimerspec spec = {0};

	if (when_ns == loop->timer_ns)
		return;
	if (when_ns) {
		uint64_t now = driver->hv->ops->now_ns(driver->hv);
		uint64_t wait = when_ns > now ? when_ns - now : 1;

		spec.it_value.tv_sec = (time_t)(wait / 1000000000U);
		spec.it_value.tv_nsec = (long)(wait % 1000000000U);
	}
	(void)timerfd_settime(loop->timer_fd, 0, &spec, NULL);
	loop->timer_ns = when_ns;
}

static void set_ready(struct loop_fds *loop, bool ready)
{
	eventfd_t count;

	if (ready == loop->ready_set)
		return;
	loop->ready_set = ready;
	if (ready)
		(void)eventfd_write(loop->ready_fd, 1);
	else
		(void)eventfd_read(loop->ready_fd, &count);
}

void driver_update_fds(struct driver *driver)
{
	uint64_t retry = driver_retry_time(driver);

	/* The event loop may sleep next, whatever call this was. */
	if (driver->pool->rearm && driver_arm(driver))
		driver->unfinished = true;
	for (int i = 0; i < N_LOOPS; i++) {
		struct loop_fds *loop = &driver->loops[i];

		if (loop->epoll_fd < 0)
			continue;
		set_timer(driver, loop, retry == UINT64_MAX ? 0 : retry);
		set_ready(loop, driver->unfinished || !TAILQ_EMPTY(&driver->socks->ready[i]));
	}
}

void driver_look(struct driver *driver)
{
	WITHOUT_CANCEL;
	const struct focus none = {0};
	bool more = true;

	driver->unfinished = false;
	driver->pool->round++;
	for (int i = 0; more && i < LOOK_ROUNDS && (!i || !driver_is_overdue(driver)); i++) {
		driver_drive(driver, &none);
		/* Without an event loop that will sleep, nothing needs to be armed. */
		more = driver->has_loop && driver_arm(driver);
	}
	if (!driver->has_loop)
		return;
	driver->unfinished = more;
	driver_update_fds(driver);
}

static int epoll_add(int epoll_fd, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int driver_fd(struct driver *driver, enum sock_loop which)
{
	WITHOUT_CANCEL;
	_cleanup_close_ int epoll_fd = -1, ready_fd = -1, timer_fd = -1;
	struct loop_fds *loop = &driver->loops[which];
	int r;

	if (loop->epoll_fd >= 0)
		return loop->epoll_fd;
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC); /* never read: it is set anew */
	if (epoll_fd < 0 || ready_fd < 0 || timer_fd < 0)
		return -errno;
	r = epoll_add(epoll_fd, ready_fd);
	if (r == 0)
		r = epoll_add(epoll_fd, timer_fd);
	if (r == 0)
		r = epoll_add(epoll_fd, driver->hv->ops->fd(driver->hv));
	if (r < 0)
		return r;
	loop->epoll_fd = steal_fd(&epoll_fd);
	loop->ready_fd = steal_fd(&ready_fd);
	loop->timer_fd = steal_fd(&timer_fd);
	driver->has_loop = true;
	driver_look(driver);
	return loop->epoll_fd;
}
