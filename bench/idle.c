/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The cost of an event among idle sockets. bench/run --case=idle starts it, after an emulator, msgd
 * and the domains left and right.
 *
 *	msgbench-idle [ROUNDS] HV
 *
 * One thread has both ends: a context in each domain, with 10, 1,000 and 10,000 idle channels
 * between them, and a busy one. It prints the CPU time of an event (a message is sent, dispatched
 * and received), and of a msg_poll for the busy socket alone: the medians of the rounds.
 */
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/bench.h"
#include "libmsg/libmsg.h"

#define TIMEOUT_MS 30000
#define BATCH	   256	/* connects at once */
#define EVENTS	   4000 /* of a round */

enum { LEFT, RIGHT };

static struct msg_ctx *ctx[2];
static struct msg_sock *listener, *busy[2];
static unsigned n_accepted, n_connected;

static void context_open(int side, const char *hv)
{
	ctx[side] = bench_context(hv, side == LEFT ? "left" : "right", LIBMSG_ONE_THREAD,
		LIBMSG_TRANSPORT_ANY, TIMEOUT_MS);
	if (msg_ctx_fd(ctx[side]) < 0)
		bench_fail("descriptor");
}

/* The first channel is the busy one. */
static void handle(const struct msg_event *event)
{
	struct msg_sock *sock;
	int64_t error;

	if (event->sock == listener) {
		while ((sock = msg_accept(listener, LIBMSG_NONBLOCK))) {
			busy[LEFT] = busy[LEFT] ? busy[LEFT] : sock;
			n_accepted++;
		}
	} else if (event->revents & POLLOUT) {
		if (msg_getopt(event->sock, LIBMSG_ERROR, &error) < 0 || error)
			bench_fail("connect");
		n_connected++;
	}
}

static int dispatch_all(void)
{
	struct msg_event events[64];
	int total = 0;

	for (int side = LEFT; side <= RIGHT; side++) {
		int n = msg_ctx_dispatch(ctx[side], events, 64);

		if (n < 0)
			bench_fail("dispatch");
		for (int i = 0; i < n; i++)
			handle(&events[i]);
		total += n;
	}
	return total;
}

/* As many channels as that in all. */
static void channels_open(unsigned n)
{
	struct pollfd fds[2] = {{.fd = msg_ctx_fd(ctx[LEFT]), .events = POLLIN},
		{.fd = msg_ctx_fd(ctx[RIGHT]), .events = POLLIN}};

	for (unsigned n_asked = n_connected; n_connected < n || n_accepted < n;) {
		while (n_asked < n && n_asked - n_connected < BATCH) {
			struct msg_sock *sock = msg_connect(ctx[RIGHT], "left/idle",
				LIBMSG_SEQPACKET, LIBMSG_NONBLOCK, TIMEOUT_MS);

			if (!sock)
				bench_fail("connect");
			busy[RIGHT] = busy[RIGHT] ? busy[RIGHT] : sock;
			n_asked++;
		}
		if (dispatch_all() == 0 && poll(fds, 2, TIMEOUT_MS) == 0)
			errx(1, "%u of %u channels", n_connected, n);
	}
	while (dispatch_all())
		;
}

static void event_there(int from, int to)
{
	struct msg_event event;
	char byte = 'x';

	if (msg_send(busy[from], &byte, 1, 0) != 1)
		bench_fail("send");
	while (msg_ctx_dispatch(ctx[to], &event, 1) != 1)
		;
	if (event.sock != busy[to] || msg_recv(busy[to], &byte, 1, 0) != 1)
		bench_fail("receive");
}

static double cost_dispatch(void)
{
	uint64_t begin = thread_cpu_ns();

	for (int i = 0; i < EVENTS; i += 2) {
		event_there(RIGHT, LEFT);
		event_there(LEFT, RIGHT);
	}
	return (double)(thread_cpu_ns() - begin) / EVENTS;
}

static double cost_poll(void)
{
	struct msg_pollfd fd = {.sock = busy[LEFT], .events = POLLIN};
	uint64_t begin = thread_cpu_ns();
	char byte = 'x';

	for (int i = 0; i < EVENTS; i++) {
		if (msg_send(busy[RIGHT], &byte, 1, 0) != 1 || msg_poll(&fd, 1, -1) != 1 ||
			msg_recv(busy[LEFT], &byte, 1, 0) != 1)
			bench_fail("poll");
	}
	return (double)(thread_cpu_ns() - begin) / EVENTS;
}

int main(int argc, char **argv)
{
	static const unsigned n_idle[] = {10, 1000, 10000};
	int rounds = argc == 3 ? atoi(argv[1]) : 7;

	if (argc < 2 || argc > 3 || rounds < 1 || rounds > ROUNDS_MAX)
		errx(2, "usage: msgbench-idle [ROUNDS] HV");
	context_open(LEFT, argv[argc - 1]);
	context_open(RIGHT, argv[argc - 1]);
	listener = msg_listen(ctx[LEFT], "idle", LIBMSG_SEQPACKET, 4096, LIBMSG_NONBLOCK);
	if (!listener)
		bench_fail("listen");
	printf("%8s %20s %20s  ns of CPU, medians of %d rounds\n", "idle", "event, dispatch",
		"event, msg_poll", rounds);
	for (size_t i = 0; i < sizeof(n_idle) / sizeof(n_idle[0]); i++) {
		double dispatch[ROUNDS_MAX], polls[ROUNDS_MAX];

		channels_open(n_idle[i] + 1);
		for (int round = 0; round < rounds; round++) {
			dispatch[round] = cost_dispatch();
			polls[round] = cost_poll();
		}
		printf("%8u %20.0f %20.0f\n", n_idle[i], median(dispatch, rounds),
			median(polls, rounds));
	}
	msg_ctx_close(ctx[RIGHT]);
	msg_ctx_close(ctx[LEFT]);
	return 0;
}
