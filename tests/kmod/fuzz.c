/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Random requests from several processes and threads at once, right and wrong, on files that they
 * share, while mappings come and go and processes are killed. Nothing is expected of an answer, but
 * some requests must succeed: the kernel must have nothing to say about it (the lab looks at its
 * log), and rings and memory must come back. SELFTEST_SECONDS says how long.
 */
#include "tests/kmod/selftest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/macro.h"

#define FILES	  12
#define THREADS	  3
#define PROCESSES 2
#define AREA	  (64U << 10)
/* Requests of each kind that are to succeed; past the time given, so many rounds may be in vain. */
#define ENOUGH	    10
#define VAIN_ROUNDS 200

static int files[FILES], epoll;
/* Of all processes: how often what succeeded. */
static struct {
	uint32_t n_registered, n_sent, n_told;
} * done;	      /* shared */
static uint8_t *area; /* with a hole, and a part that cannot be written */

static uint32_t draw(unsigned int *seed)
{
	return ((uint32_t)rand_r(seed) << 16) ^ (uint32_t)rand_r(seed);
}

/* Mostly in the area; else anything, the kernel's addresses among it. */
static uint64_t address(unsigned int *seed)
{
	switch (draw(seed) % 12) {
	case 0:
		return draw(seed);
	case 1:
		return 0xffff888000000000 + draw(seed);
	case 2:
		return 0x7ffffffff000 - draw(seed) % 8192;
	case 3:
		return ~(uint64_t)(draw(seed) % 64);
	default:
		return (uintptr_t)area + draw(seed) % AREA;
	}
}

static uint32_t length(unsigned int *seed)
{
	static const uint32_t some[] = {0, 1, 15, 16, 17, 4096, 16384, 0xffffe0, UINT32_MAX};

	return draw(seed) % 4 ? draw(seed) % 3000 : some[draw(seed) % ARRAY_SIZE(some)];
}

static void fuzz_register(int fd, unsigned int *seed)
{
	static const uint32_t lens[] = {48, 64, 4032, 8128, 65536, 65537, 0};
	struct argodev_register reg = {
		.aport = draw(seed) % 8,
		.partner = draw(seed) % 4 ? self : (uint16_t)draw(seed),
		.len = draw(seed) % 8 ? lens[draw(seed) % ARRAY_SIZE(lens)] : draw(seed),
		.flags = draw(seed) % 32 == 0,
		.pad = draw(seed) % 32 == 0,
	};

	if (ioctl(fd, ARGODEV_REGISTER, draw(seed) % 32 ? (uintptr_t)&reg : address(seed)) == 0)
		__atomic_add_fetch(&done->n_registered, 1, __ATOMIC_RELAXED);
}

static void fuzz_sendv(int fd, unsigned int *seed)
{
	struct argodev_segment segments[9];
	bool wild = draw(seed) % 4 == 0; /* else it may well succeed */
	struct argodev_sendv sendv = {
		.segments = draw(seed) % 16 ? (uintptr_t)segments : address(seed),
		.n_segments = draw(seed) % 16 ? draw(seed) % 9 : draw(seed),
		.message_type = draw(seed),
		.flags = draw(seed) % 64 == 0,
		.pad = draw(seed) % 64 == 0,
	};

	for (size_t i = 0; i < ARRAY_SIZE(segments); i++)
		segments[i] = (struct argodev_segment){
			.addr = wild ? address(seed) : (uintptr_t)area + draw(seed) % (AREA / 2),
			.len = wild ? length(seed) : draw(seed) % 600,
			.pad = wild && draw(seed) % 64 == 0};
	if (ioctl(fd, ARGODEV_SENDV, draw(seed) % 32 ? (uintptr_t)&sendv : address(seed)) > 0)
		__atomic_add_fetch(&done->n_sent, 1, __ATOMIC_RELAXED);
}

static void fuzz_epoll(int fd, unsigned int *seed)
{
	static const int ops[] = {EPOLL_CTL_ADD, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL};
	struct epoll_event event = {
		.events = draw(seed) & (EPOLLIN | EPOLLOUT | EPOLLET | EPOLLONESHOT)};

	(void)epoll_ctl(epoll, ops[draw(seed) % ARRAY_SIZE(ops)], fd, &event);
	if (epoll_wait(epoll, &event, 1, (int)(draw(seed) % 3)) > 0)
		__atomic_add_fetch(&done->n_told, 1, __ATOMIC_RELAXED);
}

/* Any length, any part of it; what is written there is the process's own misfortune. */
static void fuzz_map(int fd, unsigned int *seed)
{
	size_t len = (1 + draw(seed) % 20) * 4096;
	uint32_t *at = mmap(NULL, len, PROT_READ | PROT_WRITE,
		draw(seed) % 8 ? MAP_SHARED : MAP_PRIVATE, fd, draw(seed) % 4 ? 0 : 4096);

	if (at == MAP_FAILED)
		return;
	if (draw(seed) % 2)
		at[0] = at[1]; /* all is read */
	else
		at[draw(seed) % 2] = draw(seed) % 2 ? draw(seed) : 0;
	(void)munmap(at, len);
}

static void fuzz_area(unsigned int *seed)
{
	uint8_t *page = area + draw(seed) % (AREA / 4096) * 4096;

	if (draw(seed) % 2)
		(void)madvise(page, 4096, MADV_DONTNEED);
	else
		(void)mprotect(page, 4096, draw(seed) % 4 ? PROT_READ | PROT_WRITE : PROT_NONE);
}

static void fuzz_once(unsigned int *seed)
{
	uint32_t i = draw(seed) % FILES;
	int fd = files[i];
	struct pollfd p = {.fd = fd, .events = (short)(draw(seed) % 2 ? POLLIN : POLLIN | POLLOUT)};
	struct argodev_peer peer = {.aport = draw(seed) % 8};

	switch (draw(seed) % 16) {
	case 0:
		fuzz_register(fd, seed);
		break;
	case 1:
		(void)ioctl(fd, ARGODEV_PEER, draw(seed) % 16 ? (uintptr_t)&peer : address(seed));
		break;
	case 2:
		(void)ioctl(fd, ARGODEV_INFO, address(seed));
		break;
	case 3:
		(void)ioctl(fd, draw(seed), address(seed));
		break;
	case 4:
		fuzz_map(fd, seed);
		break;
	case 5:
		(void)poll(&p, 1, (int)(draw(seed) % 3));
		break;
	case 6: /* a thread that uses the old file holds it until it is done */
		if (draw(seed) % 8)
			break;
		fd = ring_open();
		if (fd >= 0 && dup2(fd, files[i]) >= 0)
			(void)close(fd);
		break;
	case 7:
		fuzz_area(seed);
		break;
	case 8:
		(void)ioctl(fd, ARGODEV_CONSUMED);
		break;
	case 9:
		fuzz_epoll(fd, seed);
		break;
	default:
		fuzz_sendv(fd, seed);
	}
}

static void *fuzz_thread(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)arg;

	for (;;)
		fuzz_once(&seed);
	return NULL;
}

static void fuzz_process(unsigned int seed)
{
	pthread_t thread;

	/* A write over the end of the area meets no other memory. */
	area = mmap(NULL, AREA + 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	(void)mprotect(area, AREA, PROT_READ | PROT_WRITE);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < FILES; i++)
		files[i] = ring_open();
	for (uintptr_t i = 1; i < THREADS; i++)
		(void)pthread_create(&thread, NULL, fuzz_thread, (void *)(seed + i));
	fuzz_thread((void *)(uintptr_t)seed);
}

/* Some hundred milliseconds of it, to the middle of whatever it is doing. */
static void fuzz_round(unsigned int *seed)
{
	struct timespec ts = {.tv_nsec = draw(seed) % 400000000};
	pid_t pids[PROCESSES];

	for (int i = 0; i < PROCESSES; i++) {
		unsigned int theirs = draw(seed);

		pids[i] = fork();
		if (pids[i] == 0)
			fuzz_process(theirs);
		EXPECT(pids[i] > 0, true);
	}
	(void)nanosleep(&ts, NULL);
	for (int i = 0; i < PROCESSES; i++) {
		EXPECT(kill(pids[i], SIGKILL), 0);
		EXPECT(waitpid(pids[i], NULL, 0), pids[i]);
	}
}

/* Of each kind of request so many have succeeded that the driver's ways were gone, often. */
static bool enough(void)
{
	return done->n_registered >= ENOUGH && done->n_sent >= ENOUGH && done->n_told >= ENOUGH;
}

/* Requests of a kind that there are enough of count for nothing. */
static uint32_t n_succeeded(void)
{
	return min_u32(done->n_registered, ENOUGH) + min_u32(done->n_sent, ENOUGH) +
	       min_u32(done->n_told, ENOUGH);
}

void fuzz(void)
{
	const char *seconds = getenv("SELFTEST_SECONDS");
	time_t end = time(NULL) + (seconds ? atoi(seconds) : 5);
	unsigned int seed = (unsigned int)time(NULL);
	int fd = ring_open();
	uint64_t pages = ring_info(fd).n_pages;
	uint32_t rounds = 0, succeeded = 0, vain = 0;

	done = mmap(NULL, sizeof(*done), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	EXPECT(done != MAP_FAILED, true);
	alarm(0);
	/* On a busy machine, longer: until enough has succeeded, for as long as anything does. */
	for (; time(NULL) < end || (!enough() && vain < VAIN_ROUNDS); rounds++) {
		fuzz_round(&seed);
		vain = n_succeeded() > succeeded ? 0 : vain + 1;
		succeeded = n_succeeded();
	}
	expect_no_leak(pages);
	printf("     %u rounds: %u rings registered, %u messages sent, %u waits ended\n", rounds,
		done->n_registered, done->n_sent, done->n_told);
	EXPECT(enough(), true);
}
