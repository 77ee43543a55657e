/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The end of processes and of the domain's time on a host. */
#include "tests/kmod/selftest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KILLS 350 /* a domain of three kinds: some thousand */

/* As busy as can be, until it is killed: rings that come and go, messages both ways, waiting. */
static void busy(void)
{
	static char data[40000];

	for (uint32_t i = 0;; i++) {
		struct pair pair;

		pair_make(&pair, 16384);
		for (uint32_t k = 0; k < i % 64; k++) {
			(void)ring_send(pair.a, data, (i * 977 + k * 131) % 16000);
			(void)ring_poll(pair.b, POLLIN, 1);
			(void)ring_take(pair.map_b, 16384, NULL, 0);
			(void)call(pair.b, ARGODEV_CONSUMED, NULL);
			(void)ring_poll(pair.a, POLLOUT, 0);
		}
		if (i % 3)
			pair_end(&pair);
		else
			_exit(0);
	}
}

/* Rings, aports and memory are as before, however many processes are killed at whatever instant. */
static void kills(void)
{
	uint64_t pages;
	unsigned int seed = (unsigned int)getpid();
	int fd = ring_open(), fds[128];

	pages = ring_info(fd).n_pages;
	alarm(600);
	for (int i = 0; i < KILLS; i++) {
		pid_t pid = fork();
		struct timespec ts = {.tv_nsec = rand_r(&seed) % 4000000};

		if (pid == 0)
			busy();
		EXPECT(pid > 0, true);
		(void)nanosleep(&ts, NULL);
		EXPECT(kill(pid, SIGKILL), 0);
		EXPECT(waitpid(pid, NULL, 0), pid);
	}
	EXPECT((long)ring_info(fd).n_pages, (long)pages);
	for (int i = 0; i < 128; i++) {
		fds[i] = ring_open();
		EXPECT(ring_register(fds[i], 0, self, 48), 0);
	}
	EXPECT(ring_register(fd, 0, self, 48), -ENOSPC);
}

static void unload_refused(void)
{
	int fd = ring_open();

	EXPECT(syscall(SYS_delete_module, "xen_argo", O_NONBLOCK) < 0 && errno == EWOULDBLOCK,
		true);
	EXPECT(ring_register(fd, 0, self, 48), 0);
	EXPECT(syscall(SYS_delete_module, "xen_argo", O_NONBLOCK) < 0 && errno == EWOULDBLOCK,
		true);
}

/* The domain is suspended meanwhile, and goes on; what had arrived is still there. */
static void suspended(void)
{
	struct pair pair;
	struct argodev_info info;
	int fd = ring_open();

	pair_make(&pair, 4032);
	EXPECT(ring_send(pair.a, "before", 7), 7);
	printf("ready\n");
	fflush(stdout);
	alarm(0);
	EXPECT(ring_poll(pair.a, POLLIN, 300000), POLLHUP | POLLERR);
	EXPECT(ring_poll(pair.b, POLLIN | POLLOUT, 0), POLLIN | POLLHUP | POLLERR);
	EXPECT(ring_send(pair.a, "x", 1), -ESTALE);
	EXPECT(ring_peer(pair.a, 1), -ESTALE);
	EXPECT(call(pair.a, ARGODEV_CONSUMED, NULL), 0);
	EXPECT(ring_map(pair.a, 4032) == NULL && errno == ESTALE, true);
	EXPECT(ring_register(pair.a, 5, self, 4032), -EBUSY);
	info = ring_info(pair.a);
	EXPECT(info.flags, ARGODEV_INFO_REGISTERED | ARGODEV_INFO_PEER | ARGODEV_INFO_DEAD);
	EXPECT(ring_take(pair.map_b, 4032, NULL, 0), 7);
	/* It has another domid now, and may register rings for domain 0, say. */
	EXPECT(ring_register(fd, info.aport, 0, 4032), 0);
	EXPECT(ring_poll(fd, POLLIN | POLLOUT, 0), POLLOUT);
	pair_end(&pair);
	EXPECT(ring_info(fd).flags, ARGODEV_INFO_REGISTERED);
}

static void no_argo(void)
{
	int fd = ring_open();

	EXPECT(ring_register(fd, 0, 0, 4032), -ENOSYS);
	EXPECT(ring_register(fd, 0, 0, 4033), -EINVAL);
	EXPECT(call(fd, ARGODEV_CONSUMED, NULL), -ENOSYS);
	EXPECT(ring_poll(fd, POLLIN, 0), POLLERR);
}

const struct test life_tests[] = {
	{"kills", kills},
	{"unload_refused", unload_refused},
	{"fuzz", fuzz},
	{"suspended", suspended, true},
	{"no_argo", no_argo, true},
	{0},
};
