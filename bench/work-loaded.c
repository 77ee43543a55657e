/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Round trips on one channel while something else happens between the same two processes, or to
 * msgd: a second channel streams 64 KiB messages, 1,000 channels lie idle, msgd is killed and
 * started again and again, or 64 channels open and close every millisecond, if the machine can.
 */
#include <err.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/macro.h"
#include "bench/bench.h"
#include "libmsg/libmsg.h"

#define TIMEOUT_MS 30000
#define LARGE	   65536U
#define CHURN	   64
#define CHURN_NS   1000000U
#define RESTART_MS 20 /* msgd serves for so long between two restarts */
#define LOOK_MS	   1
#define CHURN_NAME "churn"

static struct {
	struct end *end;
	const struct work *work;
	struct msg_sock *sock; /* of the stream; of the churn: the listener */
	struct result *result;
	atomic_bool stop;
} loaded;

static void pause_ms(long ms)
{
	const struct timespec time = {.tv_nsec = ms * 1000000};

	(void)nanosleep(&time, NULL);
}

/* ---- loads, each a thread of either role; role 1's end with their channel or on stop --------- */

static void *stream_send(void *arg)
{
	static const char large[LARGE];

	for (; !loaded.stop; loaded.result->n_load++) {
		if (msg_send(loaded.sock, large, LARGE, 0) != LARGE)
			bench_fail("stream");
	}
	(void)msg_close(loaded.sock);
	return NULL;
}

static void *stream_take(void *arg)
{
	static char large[LARGE];

	while (msg_recv(loaded.sock, large, LARGE, 0) == LARGE)
		;
	(void)msg_close(loaded.sock);
	return NULL;
}

int msgd_pid(const char *file)
{
	FILE *f = file ? fopen(file, "re") : NULL;
	int pid = 0;

	if (f && fscanf(f, "%d", &pid) != 1)
		pid = 0;
	if (f)
		(void)fclose(f);
	return pid;
}

/* bench/run starts a new one. */
static void *msgd_restart(void *arg)
{
	while (!loaded.stop) {
		int pid = msgd_pid(loaded.work->msgd_file);

		if (pid == 0 || kill(pid, SIGTERM) < 0)
			err(1, "msgd");
		while (msgd_pid(loaded.work->msgd_file) == pid)
			pause_ms(LOOK_MS);
		loaded.result->n_load++;
		pause_ms(RESTART_MS);
	}
	return NULL;
}

static void churn_once(void)
{
	struct msg_pollfd fds[CHURN];
	int n_left = CHURN;

	for (int i = 0; i < CHURN; i++) {
		fds[i] = (struct msg_pollfd){.events = POLLOUT};
		fds[i].sock = msg_connect(loaded.end->ctx, "left/" CHURN_NAME, LIBMSG_SEQPACKET,
			LIBMSG_NONBLOCK | LIBMSG_WAIT_NAME, TIMEOUT_MS);
		if (!fds[i].sock)
			bench_fail("churn");
	}
	while (n_left > 0) {
		if (msg_poll(fds, CHURN, TIMEOUT_MS) <= 0)
			bench_fail("churn");
		for (int i = 0; i < CHURN; i++) {
			if (!fds[i].sock || !fds[i].revents)
				continue;
			(void)msg_close(fds[i].sock);
			fds[i].sock = NULL;
			n_left--;
			loaded.result->n_load++;
		}
	}
}

static void *churn_connect(void *arg)
{
	while (!loaded.stop) {
		uint64_t start = now_ns(), taken;

		churn_once();
		taken = now_ns() - start;
		if (taken < CHURN_NS)
			(void)nanosleep(
				&(struct timespec){.tv_nsec = (long)(CHURN_NS - taken)}, NULL);
	}
	return NULL;
}

static void *churn_accept(void *arg)
{
	while (!loaded.stop) {
		struct msg_sock *sock = msg_accept(loaded.sock, 0);

		if (sock)
			(void)msg_close(sock);
	}
	return NULL;
}

static void *(*const loads[][2])(void *arg) = {
	[LOAD_STREAM] = {stream_send, stream_take},
	[LOAD_RESTARTS] = {msgd_restart, NULL},
	[LOAD_CHURN] = {churn_connect, churn_accept},
};

/* ---- the round trips ------------------------------------------------------------------------ */

static struct msg_sock *channel_open(struct end *end)
{
	struct msg_sock *sock = end->role ? msg_accept(end->listener, 0)
					  : msg_connect(end->ctx, end->pair->address,
						    LIBMSG_SEQPACKET, LIBMSG_WAIT_NAME, TIMEOUT_MS);

	if (!sock)
		bench_fail(end->role ? "accept" : "connect");
	return sock;
}

static void all_open(struct end *end, const struct work *work)
{
	end->ctx = bench_context(
		end->pair->hv, end->role ? "left" : "right", 0, end->pair->transport, TIMEOUT_MS);
	if (end->role == 1)
		end->listener = msg_listen(
			end->ctx, strchr(end->pair->address, '/') + 1, LIBMSG_SEQPACKET, 4096, 0);
	if (end->role == 1 && !end->listener)
		bench_fail("listen");
	end->channel = channel_open(end);
	/* The context's end closes them. */
	for (unsigned i = 0; work->load == LOAD_IDLE && i < work->n_channels; i++)
		(void)channel_open(end);
	if (work->load == LOAD_STREAM)
		loaded.sock = channel_open(end);
	if (work->load == LOAD_CHURN && end->role == 1) {
		loaded.sock = msg_listen(end->ctx, CHURN_NAME, LIBMSG_SEQPACKET, 4096, 0);
		if (!loaded.sock || msg_setopt(loaded.sock, LIBMSG_RCVTIMEO, LOOK_MS) < 0)
			bench_fail("listen");
	}
}

/* Role 1's load ends when role 0's has: by then the channel is closed. */
void work_loaded(const struct peer *peer, struct end *end, const struct work *work,
	struct result *ret_result)
{
	void *(*load)(void *arg) =
		(size_t)work->load < ARRAY_SIZE(loads) ? loads[work->load][end->role] : NULL;
	pthread_t thread;
	char byte;

	all_open(end, work);
	loaded.end = end;
	loaded.work = work;
	loaded.result = ret_result;
	if (load && pthread_create(&thread, NULL, load, NULL))
		errx(1, "no thread");
	work_round_trip(peer, end, work, ret_result);
	if (end->role == 1)
		(void)msg_recv(end->channel, &byte, 1, 0);
	loaded.stop = true;
	if (load)
		(void)pthread_join(thread, NULL);
	(void)msg_close(end->channel);
	msg_ctx_close(end->ctx);
}
