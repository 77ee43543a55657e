/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* poll and epoll: for messages, for room; and that nobody is interrupted who does not wait. */
#include "tests/kmod/selftest.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SHORT_MS 30 /* for what must not come */

static int short_sender;

/* Until that process sleeps. */
static void asleep_await(pid_t pid)
{
	char path[40], state = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	while (state != 'S') {
		FILE *file = fopen(path, "r");

		if (!file)
			_exit(1);
		if (fscanf(file, "%*d %*s %c", &state) != 1)
			_exit(1);
		(void)fclose(file);
	}
}

/* A process that does something once this one sleeps. */
static pid_t helper_start(void (*run)(const struct pair *), const struct pair *pair)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		asleep_await(parent);
		run(pair);
		_exit(0);
	}
	return pid;
}

static void helper_end_with(pid_t pid, int code)
{
	int status = -1;

	EXPECT(waitpid(pid, &status, 0), pid);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == code, true);
}

static void helper_end(pid_t pid)
{
	helper_end_with(pid, 0);
}

static void poll_states(void)
{
	int fd = ring_open();
	struct pair pair;

	EXPECT(ring_poll(fd, POLLIN | POLLOUT, 0), 0);
	EXPECT(ring_poll(fd, POLLIN | POLLOUT, SHORT_MS), 0);
	pair_make(&pair, 4032);
	EXPECT(ring_poll(pair.a, POLLIN | POLLOUT, LONG_MS), POLLOUT);
	EXPECT(ring_poll(pair.a, POLLIN, 0), 0);
	EXPECT(ring_poll(pair.a, POLLIN, SHORT_MS), 0);
	EXPECT(ring_send(pair.b, "x", 1), 1);
	EXPECT(ring_poll(pair.a, POLLIN | POLLOUT, 0), POLLIN | POLLOUT);
	EXPECT(ring_poll(pair.a, POLLIN | POLLRDNORM, LONG_MS), POLLIN | POLLRDNORM);
	EXPECT(ring_poll(pair.b, POLLIN, 0), 0);
	EXPECT(ring_take(pair.map_a, 4032, NULL, 0), 1);
	EXPECT(ring_poll(pair.a, POLLIN, 0), 0);
}

static void one_send(const struct pair *pair)
{
	EXPECT(ring_send(pair->b, "x", 1), 1);
}

static void ring_make(const struct pair *pair)
{
	EXPECT(ring_register(pair->a, 0, self, 4032), 0);
	EXPECT(ring_peer(pair->b, ring_info(pair->a).aport), 0);
}

/* A file may be watched before it has a ring: it is then as if it were watched later. */
static void poll_before_register(void)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET};
	struct pair pair = {.a = ring_open(), .b = ring_open()};
	int ep = epoll_create1(EPOLL_CLOEXEC);
	pid_t pid;

	EXPECT(ring_register(pair.b, 0, self, 4032), 0);
	EXPECT(epoll_ctl(ep, EPOLL_CTL_ADD, pair.a, &event), 0);
	EXPECT(epoll_wait(ep, &event, 1, SHORT_MS), 0);
	pid = fork();
	if (pid == 0) {
		asleep_await(getppid());
		ring_make(&pair);
		_exit(0);
	}
	EXPECT(epoll_wait(ep, &event, 1, LONG_MS), 1);
	EXPECT(event.events, EPOLLOUT);
	helper_end(pid);
	pid = helper_start(one_send, &pair);
	EXPECT(epoll_wait(ep, &event, 1, LONG_MS), 1);
	EXPECT(event.events, EPOLLIN | EPOLLOUT);
	helper_end(pid);
}

static void poll_wakes_for_data(void)
{
	struct pair pair;

	pair_make(&pair, 4032);
	for (int i = 0; i < 20; i++) {
		pid_t pid = helper_start(one_send, &pair);

		EXPECT(ring_poll(pair.a, i & 1 ? POLLIN : POLLRDNORM, LONG_MS),
			i & 1 ? POLLIN : POLLRDNORM);
		EXPECT(ring_take(pair.map_a, 4032, NULL, 0), 1);
		helper_end(pid);
	}
	EXPECT(ring_info(pair.a).n_virqs >= 1, true);
}

/* To the last byte: what is sent then is refused. */
static void ring_fill(struct pair *pair)
{
	static char data[1000];

	while (ring_send(pair->a, data, sizeof(data)) > 0)
		;
	EXPECT(ring_send(pair->a, data, sizeof(data)), -EAGAIN);
}

static void take_one_quietly(const struct pair *pair)
{
	EXPECT(ring_take(pair->map_b, pair->len, NULL, 0), 1000);
}

static void take_one(const struct pair *pair)
{
	take_one_quietly(pair);
	EXPECT(call(pair->b, ARGODEV_CONSUMED, NULL), 0);
}

static void poll_wakes_for_room(void)
{
	struct pair pair;
	pid_t pid;

	pair_make(&pair, 8 * 4096 - 64);
	for (int i = 0; i < 10; i++) {
		ring_fill(&pair);
		EXPECT(ring_poll(pair.a, POLLOUT, 0), 0);
		EXPECT(ring_poll(pair.a, POLLOUT | POLLIN, SHORT_MS), 0);
		pid = helper_start(take_one, &pair);
		EXPECT(ring_poll(pair.a, POLLOUT, LONG_MS), POLLOUT);
		helper_end(pid);
	}
	/* A process that looks sees room that was given back without a word. */
	ring_fill(&pair);
	take_one_quietly(&pair);
	EXPECT(ring_poll(pair.a, POLLOUT, 0), POLLOUT);
	/* A destination that has gone has no room to wait for. */
	ring_fill(&pair);
	EXPECT(ring_poll(pair.a, POLLOUT, 0), 0);
	EXPECT(munmap(pair.map_b, pair.len + 64), 0);
	EXPECT(close(pair.b), 0);
	EXPECT(ring_poll(pair.a, POLLOUT, LONG_MS), POLLOUT);
	EXPECT(ring_send(pair.a, "x", 1), -ECONNREFUSED);
}

/* In another process: a look finds room for the short message, which cancels Xen's wake-up. */
static void take_and_look(const struct pair *pair)
{
	take_one_quietly(pair);
	EXPECT(ring_poll(short_sender, POLLOUT, 0), POLLOUT);
	for (int i = 0; i < 7; i++)
		take_one_quietly(pair);
	EXPECT(call(pair->b, ARGODEV_CONSUMED, NULL), 0);
}

/*
 * Two senders of one domain to one ring: Xen has one wake-up for both, and cancels it when it tells
 * one of them that there is room for him. The other waits on.
 */
static void poll_room_for_two(void)
{
	static char data[8000];
	struct pair pair;
	pid_t pid;

	pair_make(&pair, 8 * 4096 - 64);
	short_sender = ring_open();
	EXPECT(ring_register(short_sender, 0, self, 64), 0);
	EXPECT(ring_peer(short_sender, ring_info(pair.b).aport), 0);
	ring_fill(&pair);
	while (ring_send(pair.a, data, 16) > 0)
		;
	EXPECT(ring_send(pair.a, data, sizeof(data)), -EAGAIN);
	EXPECT(ring_send(short_sender, data, 500), -EAGAIN);
	pid = helper_start(take_and_look, &pair);
	EXPECT(ring_poll(pair.a, POLLOUT, LONG_MS), POLLOUT);
	helper_end(pid);
}

/* Messages interrupt nobody while nobody waits in poll; a watch that poll armed ends with one. */
static void no_virq_unless_awaited(void)
{
	uint64_t before;
	struct pair pair;

	pair_make(&pair, 4032);
	before = ring_info(pair.a).n_virqs;
	for (int i = 0; i < 200; i++) {
		EXPECT(ring_poll(pair.a, POLLIN, 0), 0);
		EXPECT(ring_send(pair.b, "x", 1), 1);
		EXPECT(ring_poll(pair.a, POLLIN, LONG_MS), POLLIN);
		EXPECT(ring_take(pair.map_a, 4032, NULL, 0), 1);
	}
	EXPECT((long)(ring_info(pair.a).n_virqs - before), 0);
	EXPECT(ring_poll(pair.a, POLLIN, SHORT_MS), 0);
	for (int i = 0; i < 200; i++) {
		EXPECT(ring_send(pair.b, "x", 1), 1);
		EXPECT(ring_take(pair.map_a, 4032, NULL, 0), 1);
	}
	/* one that had been pending while it was off, and one more */
	EXPECT(ring_info(pair.a).n_virqs - before <= 2, true);
}

/* Messages that came while nobody waited are no reason to interrupt the process that waits now. */
static void one_virq_a_sleep(void)
{
	const int sleeps = 50;
	uint64_t before;
	struct pair pair;

	pair_make(&pair, 4032);
	before = ring_info(pair.a).n_virqs;
	for (int i = 0; i < sleeps; i++) {
		pid_t pid;

		EXPECT(ring_send(pair.b, "x", 1), 1);
		EXPECT(ring_take(pair.map_a, 4032, NULL, 0), 1);
		pid = helper_start(one_send, &pair);
		EXPECT(ring_poll(pair.a, POLLIN, LONG_MS), POLLIN);
		EXPECT(ring_take(pair.map_a, 4032, NULL, 0), 1);
		helper_end(pid);
	}
	EXPECT(ring_info(pair.a).n_virqs - before <= (uint64_t)sleeps + 2, true);
}

static uint64_t half_ms_since(const struct timespec *start)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)((now.tv_sec - start->tv_sec) * 2000 +
			  (now.tv_nsec - start->tv_nsec) / 500000);
}

static void poll_for_good(const struct pair *pair)
{
	(void)ring_poll(pair->a, POLLIN, -1);
}

/*
 * One process waits. Any domain that may send to this one raises the interrupt at will, and wakes
 * nobody: after a few there is a pause of half a millisecond (kmod/xen-argo/wait.c).
 */
static void virqs_bounded(void)
{
	const uint64_t sends = 20000;
	struct timespec start;
	struct pair quiet, busy;
	uint64_t before, half_ms;
	pid_t pid;

	pair_make(&quiet, 4032);
	pair_make(&busy, 4032);
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		poll_for_good(&quiet);
		_exit(1);
	}
	asleep_await(pid);
	before = ring_info(quiet.a).n_virqs;
	(void)clock_gettime(CLOCK_MONOTONIC, &start);
	for (uint64_t i = 0; i < sends; i++) {
		EXPECT(ring_send(busy.a, "x", 1), 1);
		EXPECT(ring_take(busy.map_b, 4032, NULL, 0), 1);
	}
	half_ms = half_ms_since(&start);
	before = ring_info(quiet.a).n_virqs - before;
	printf("     %llu interrupts of %llu messages, in %llu ms\n", (unsigned long long)before,
		(unsigned long long)sends, (unsigned long long)half_ms / 2);
	EXPECT(before <= half_ms + 16, true);
	/* The process is told all the same. */
	EXPECT(ring_send(quiet.b, "x", 1), 1);
	helper_end_with(pid, 1);
}

static void epoll_tells(void)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT};
	struct pair pair;
	int ep = epoll_create1(EPOLL_CLOEXEC);

	pair_make(&pair, 4032);
	EXPECT(epoll_ctl(ep, EPOLL_CTL_ADD, pair.a, &event), 0);
	for (int i = 0; i < 10; i++) {
		pid_t pid = helper_start(one_send, &pair);

		EXPECT(epoll_wait(ep, &event, 1, LONG_MS), 1);
		EXPECT(event.events, EPOLLIN);
		helper_end(pid);
		EXPECT(ring_send(pair.b, "y", 1), 1);
		EXPECT(epoll_wait(ep, &event, 1, SHORT_MS), 0); /* once */
		EXPECT(ring_take(pair.map_a, 4032, NULL, 0), 1);
		event.events = EPOLLIN | EPOLLONESHOT;
		EXPECT(epoll_ctl(ep, EPOLL_CTL_MOD, pair.a, &event),
			0); /* tells of the message that is there */
		EXPECT(epoll_wait(ep, &event, 1, LONG_MS), 1);
		EXPECT(ring_take(pair.map_a, 4032, NULL, 0), 1);
		EXPECT(epoll_ctl(ep, EPOLL_CTL_MOD, pair.a, &event), 0);
		event.events = EPOLLIN | EPOLLONESHOT;
		EXPECT(epoll_ctl(ep, EPOLL_CTL_MOD, pair.a, &event), 0);
	}
}

static void send_short(const struct pair *pair)
{
	EXPECT(ring_send(pair->a, "x", 1), 1);
}

/* A process that waits for room for a long message wakes when a short one has found room. */
static void poll_wakes_for_success(void)
{
	static char data[4000];
	struct pair pair;
	pid_t pid;

	pair_make(&pair, 8 * 4096 - 64);
	while (ring_send(pair.a, data, sizeof(data)) > 0)
		;
	EXPECT(ring_send(pair.a, data, sizeof(data)), -EAGAIN);
	pid = helper_start(send_short, &pair);
	EXPECT(ring_poll(pair.a, POLLOUT, LONG_MS), POLLOUT);
	helper_end(pid);
}

static void epoll_tells_edges(void)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET};
	struct pair pair;
	int ep = epoll_create1(EPOLL_CLOEXEC);

	pair_make(&pair, 8 * 4096 - 64);
	EXPECT(epoll_ctl(ep, EPOLL_CTL_ADD, pair.a, &event), 0);
	EXPECT(epoll_wait(ep, &event, 1, LONG_MS), 1);
	EXPECT(event.events, EPOLLOUT);
	EXPECT(epoll_wait(ep, &event, 1, SHORT_MS), 0); /* once */
	for (int i = 0; i < 10; i++) {
		pid_t pid = helper_start(one_send, &pair);

		EXPECT(epoll_wait(ep, &event, 1, LONG_MS), 1);
		EXPECT(event.events & EPOLLIN, EPOLLIN);
		helper_end(pid);
		EXPECT(ring_take(pair.map_a, pair.len, NULL, 0), 1);
		/* epoll tells of a message from before the sleep, too. */
		EXPECT(ring_send(pair.b, "y", 1), 1);
		EXPECT(epoll_wait(ep, &event, 1, LONG_MS), 1);
		EXPECT(ring_take(pair.map_a, pair.len, NULL, 0), 1);
		ring_fill(&pair);
		pid = helper_start(take_one, &pair);
		EXPECT(epoll_wait(ep, &event, 1, LONG_MS), 1);
		EXPECT(event.events, EPOLLOUT);
		helper_end(pid);
	}
}

/* Empties the ring whenever there is something, and says so: until it is killed. */
static void take_for_good(const struct pair *pair)
{
	for (;;) {
		if (ring_take(pair->map_b, pair->len, NULL, 0) < 0) {
			(void)sched_yield();
			continue;
		}
		while (ring_take(pair->map_b, pair->len, NULL, 0) >= 0)
			;
		(void)call(pair->b, ARGODEV_CONSUMED, NULL);
	}
}

/*
 * Room that comes just when it was found wanting: before the file is marked as waiting, but after
 * the hypervisor was told. It comes once. As often as a slow machine can in half of the test's
 * time.
 */
static void epoll_edge_at_once(void)
{
	struct epoll_event event = {.events = EPOLLOUT | EPOLLET};
	static char data[400];
	int ep = epoll_create1(EPOLL_CLOEXEC), full = 0;
	struct timespec start;
	struct pair pair;
	pid_t pid;

	(void)clock_gettime(CLOCK_MONOTONIC, &start);
	pair_make(&pair, 1024);
	EXPECT(epoll_ctl(ep, EPOLL_CTL_ADD, pair.a, &event), 0);
	EXPECT(epoll_wait(ep, &event, 1, LONG_MS), 1);
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		take_for_good(&pair);
	}
	while (full < 2000 && half_ms_since(&start) < UINT64_C(2000) * 30) {
		long r = ring_send(pair.a, data, sizeof(data));

		if (r == -EAGAIN) {
			full++;
			EXPECT(epoll_wait(ep, &event, 1, LONG_MS / 4), 1);
		} else {
			EXPECT(r, sizeof(data));
		}
	}
	EXPECT(full > 0, true);
	EXPECT(kill(pid, SIGKILL), 0);
	EXPECT(waitpid(pid, NULL, 0), pid);
}

const struct test wait_tests[] = {
	{"poll_states", poll_states},
	{"poll_before_register", poll_before_register},
	{"poll_wakes_for_data", poll_wakes_for_data},
	{"poll_wakes_for_room", poll_wakes_for_room},
	{"poll_room_for_two", poll_room_for_two},
	{"no_virq_unless_awaited", no_virq_unless_awaited},
	{"one_virq_a_sleep", one_virq_a_sleep},
	{"virqs_bounded", virqs_bounded},
	{"poll_wakes_for_success", poll_wakes_for_success},
	{"epoll_tells", epoll_tells},
	{"epoll_tells_edges", epoll_tells_edges},
	{"epoll_edge_at_once", epoll_edge_at_once},
	{0},
};
