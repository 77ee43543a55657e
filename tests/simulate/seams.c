/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Functions that the code under test takes from the machine, here from the emulator: the linker
 * sends these calls to us (--wrap). Random bytes, sleeping in ppoll, and the way to a hypervisor.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <time.h>

#include "hv/hv.h"
#include "tests/simulate/simulate.h"

ssize_t __wrap_getrandom(void *data, size_t len, unsigned int flags);
int __wrap_ppoll(
	struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask);
int __wrap_hv_open(const char *spec, struct hv **ret_hv, const char **ret_reason);

int __wrap_timerfd_create(int clock, int flags);
int __wrap_timerfd_settime(
	int fd, int flags, const struct itimerspec *spec, struct itimerspec *ret_old);
int __wrap_close(int fd);
int __real_close(int fd);

#define TIMERS_MAX 1024U /* by descriptor */

static struct world *world;
static uint64_t timers_ns[TIMERS_MAX]; /* 0: off, or no timer */
static int timers_kick = -1;	       /* readable: one was set */

static uint64_t now_ns(void)
{
	return atomic_load(&sim_xen(world->sim)->seg->now_ns);
}

/* ---- timers: an eventfd each, and a task that writes it when the virtual clock gets there --- */

int __wrap_timerfd_create(int clock, int flags)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	return fd < (int)TIMERS_MAX ? fd : -1;
}

int __wrap_timerfd_settime(
	int fd, int flags, const struct itimerspec *spec, struct itimerspec *ret_old)
{
	uint64_t wait =
		(uint64_t)spec->it_value.tv_sec * 1000000000U + (uint64_t)spec->it_value.tv_nsec;
	eventfd_t count;

	(void)eventfd_read(fd, &count);
	timers_ns[fd] = wait ? now_ns() + wait : 0;
	(void)eventfd_write(timers_kick, 1);
	return 0;
}

int __wrap_close(int fd)
{
	if (fd >= 0 && fd < (int)TIMERS_MAX)
		timers_ns[fd] = 0;
	return __real_close(fd);
}

static uint64_t timers_run(void)
{
	uint64_t first = UINT64_MAX, now = now_ns();

	for (uint32_t fd = 0; fd < TIMERS_MAX; fd++) {
		if (!timers_ns[fd])
			continue;
		if (timers_ns[fd] <= now) {
			timers_ns[fd] = 0;
			(void)eventfd_write((int)fd, 1);
		} else if (timers_ns[fd] < first) {
			first = timers_ns[fd];
		}
	}
	return first;
}

static void timers_main(void *arg)
{
	struct pollfd pollfd = {.fd = timers_kick, .events = POLLIN};
	eventfd_t count;

	for (;;) {
		if (sim_task_poll(world->sim, &pollfd, 1, timers_run()) > 0)
			(void)eventfd_read(timers_kick, &count);
	}
}

void seams_start(struct world *w)
{
	struct sim_task *task;

	timers_kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (sim_task_start(w->sim, 0, "timers", timers_main, NULL, &task) < 0)
		abort();
	sim_task_set_background(task);
}

/* ---- the rest ------------------------------------------------------------------------------- */

void seams_open(struct world *w)
{
	world = w;
}

ssize_t __wrap_getrandom(void *data, size_t len, unsigned int flags)
{
	sim_random(world->sim, data, len);
	return (ssize_t)len;
}

int __wrap_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	uint64_t until_ns = UINT64_MAX;

	if (timeout)
		until_ns = now_ns() + timeout->tv_sec * 1000000000U + (uint64_t)timeout->tv_nsec;
	return sim_task_poll(world->sim, fds, n, until_ns);
}

/* spec: the number of the application; with an h before it, of the hostile process. */
int __wrap_hv_open(const char *spec, struct hv **ret_hv, const char **ret_reason)
{
	struct app *app = *spec == 'h' ? NULL : world->apps[atoi(spec)];
	struct hv **hv = app ? &app->hv : &world->hostiles[atoi(spec + 1)]->hv;
	uint32_t domain = app ? app->domain : HOSTILE_DOMAIN;
	int r = sim_hv_open(world->sim, world->domains[domain].domid, hv);

	if (r == 0)
		*ret_hv = *hv;
	return r;
}
