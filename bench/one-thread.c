/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * LIBMSG_ONE_THREAD against a context that any thread may use: the CPU time of a send and a
 * receive, by one thread that has both ends. A second thread sleeps meanwhile: in a process that
 * has but one, glibc's locks cost less. Rounds of both kinds alternate; the ratio is taken within a
 * round. bench/run --case=one-thread starts it.
 *
 *	msgbench-one-thread [ROUNDS [MESSAGES [KIND]]] HV
 *
 * KIND: 0 or 1, the flag: measures that alone, for tools that count instructions.
 */
#include <err.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/bench.h"
#include "libmsg/libmsg.h"

#define TIMEOUT_MS 10000
#define LEN	   64
#define BATCH	   32 /* sent, then received: the ring has room */
#define NAME	   "one-thread"

/* Both ends of a channel, each with its context. */
struct ends {
	struct msg_ctx *ctxs[2];
	struct msg_sock *socks[2];
};

static void look(struct ends *ends)
{
	struct msg_event event;
	int64_t error;

	if (msg_getopt(ends->socks[0], LIBMSG_ERROR, &error) < 0 || error)
		bench_fail("connect");
	(void)msg_ctx_dispatch(ends->ctxs[0], &event, 1);
	(void)usleep(1000);
}

/* One thread does the work of both ends: neither may block. */
static void ends_open(struct ends *ends, const char *hv, unsigned flags, int transport)
{
	struct msg_sock *listener;
	int64_t transport_now;

	ends->ctxs[0] = bench_context(hv, "right", flags, transport, TIMEOUT_MS);
	ends->ctxs[1] = bench_context(hv, "left", flags, transport, TIMEOUT_MS);
	listener = msg_listen(ends->ctxs[1], NAME, LIBMSG_SEQPACKET, 1, 0);
	if (!listener || msg_setopt(listener, LIBMSG_NONBLOCK_OPT, 1) < 0)
		bench_fail("listen");
	ends->socks[0] = msg_connect(
		ends->ctxs[0], "left/" NAME, LIBMSG_SEQPACKET, LIBMSG_NONBLOCK, TIMEOUT_MS);
	if (!ends->socks[0])
		bench_fail("connect");
	while (!(ends->socks[1] = msg_accept(listener, LIBMSG_NONBLOCK)))
		look(ends);
	while (msg_getopt(ends->socks[0], LIBMSG_TRANSPORT, &transport_now) < 0)
		look(ends);
	if (msg_close(listener) < 0)
		bench_fail("close");
}

static void ends_close(struct ends *ends)
{
	for (int i = 0; i < 2; i++)
		(void)msg_close(ends->socks[i]);
	for (int i = 0; i < 2; i++)
		msg_ctx_close(ends->ctxs[i]);
}

static void batch(const struct ends *ends, uint64_t first)
{
	uint64_t message[LEN / 8] = {0}, got[LEN / 8];

	for (uint64_t i = 0; i < BATCH; i++) {
		message[0] = first + i;
		if (msg_send(ends->socks[0], message, LEN, 0) != LEN)
			bench_fail("send");
	}
	for (uint64_t i = 0; i < BATCH; i++) {
		if (msg_recv(ends->socks[1], got, LEN, 0) != LEN || got[0] != first + i)
			bench_fail("recv");
	}
}

/* Nanoseconds of CPU time for a message, sent and received. */
static double measure(const struct ends *ends, uint64_t n)
{
	uint64_t start;

	batch(ends, 0); /* warm */
	start = thread_cpu_ns();
	for (uint64_t i = 0; i < n; i += BATCH)
		batch(ends, i);
	return (double)(thread_cpu_ns() - start) / (double)n;
}

static void compare(const char *hv, const char *name, int transport, int rounds, uint64_t n)
{
	double ns[2][ROUNDS_MAX], ratio[ROUNDS_MAX];
	struct ends ends;

	for (int round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < 2; i++) {
			unsigned flags = (i + (unsigned)round) % 2 ? LIBMSG_ONE_THREAD : 0;

			ends_open(&ends, hv, flags, transport);
			ns[flags][round] = measure(&ends, n);
			ends_close(&ends);
		}
		ratio[round] = ns[LIBMSG_ONE_THREAD][round] / ns[0][round];
	}
	printf("  %-11s %7.0f ns, with LIBMSG_ONE_THREAD %7.0f ns  %6.2fx the time [%.2f %.2f]\n",
		name, median(ns[0], rounds), median(ns[LIBMSG_ONE_THREAD], rounds),
		median(ratio, rounds), least(ratio, rounds), most(ratio, rounds));
}

static void *sleep_long(void *arg)
{
	for (;;)
		(void)pause();
	return NULL;
}

int main(int argc, char **argv)
{
	const char *hv = argv[argc - 1];
	int rounds = argc > 2 ? atoi(argv[1]) : 15;
	uint64_t n = argc > 3 ? strtoul(argv[2], NULL, 0) : 50000;
	pthread_t second;
	struct ends ends;

	if (argc < 2 || argc > 5 || rounds < 1 || rounds > ROUNDS_MAX || n < BATCH)
		errx(2, "usage: msgbench-one-thread [ROUNDS [MESSAGES [KIND]]] HV");
	if (pthread_create(&second, NULL, sleep_long, NULL) != 0)
		errx(1, "no thread");
	if (argc == 5) {
		ends_open(&ends, hv, (unsigned)atoi(argv[3]), LIBMSG_TRANSPORT_GRANT);
		(void)measure(&ends, n);
		ends_close(&ends);
		return 0;
	}
	printf("a send and a receive of %d B, one thread\n", LEN);
	compare(hv, "argo", LIBMSG_TRANSPORT_ARGO, rounds, n);
	compare(hv, "argo-strict", LIBMSG_TRANSPORT_ARGO_STRICT, rounds, n);
	compare(hv, "grant", LIBMSG_TRANSPORT_GRANT, rounds, n);
	printf("%d rounds of %lu messages; medians, [least most]\n", rounds, (unsigned long)n);
	return 0;
}
