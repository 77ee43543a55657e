/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Time limits, and signals, in every call that may block. */
#include "tests/support/cmocka-all.h"

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>

#include "base/macro.h"
#include "tests/support/testbed.h"

#define LIMIT_MS 60
/* How late a limit may be noticed on a busy machine under a sanitizer. */
#define LATE_MS 20000

static struct msg_ctx *near_ctx, *far_ctx;
static struct msg_sock *socks[2], *listener; /* socks[0] connected; the listener is the near's */

static int setup(void **state)
{
	testbed_watchdog(60);
	near_ctx = testbed_ctx("near", 0);
	far_ctx = testbed_ctx("far", 0);
	testbed_channel(near_ctx, far_ctx, "far", socks);
	listener = msg_listen(near_ctx, "time", LIBMSG_SEQPACKET, 4, 0);
	must(listener);
	return 0;
}

static int teardown(void **state)
{
	msg_ctx_close(near_ctx);
	msg_ctx_close(far_ctx);
	testbed_watchdog(0);
	return 0;
}

/* ---- calls that block -------------------------------------------------------------------- */

static intptr_t call_receive(int limit_ms)
{
	char byte;

	must(msg_setopt(socks[0], LIBMSG_RCVTIMEO, limit_ms) == 0);
	return msg_recv(socks[0], &byte, 1, 0);
}

static intptr_t call_peek(int limit_ms)
{
	char byte;

	must(msg_setopt(socks[0], LIBMSG_RCVTIMEO, limit_ms) == 0);
	return msg_recv(socks[0], &byte, 1, MSG_PEEK);
}

static intptr_t call_take(int limit_ms)
{
	const void *data;
	struct msg_buf *buf;

	must(msg_setopt(socks[0], LIBMSG_RCVTIMEO, limit_ms) == 0);
	return msg_recv_take(socks[0], 0, &data, &buf);
}

/* The far end takes nothing in. */
static intptr_t call_send(int limit_ms)
{
	static const char data[4000];
	ssize_t r;

	must(msg_setopt(socks[0], LIBMSG_SNDTIMEO, limit_ms) == 0);
	do
		r = msg_send(socks[0], data, sizeof(data), 0);
	while (r > 0);
	return r;
}

static intptr_t call_accept(int limit_ms)
{
	must(msg_setopt(listener, LIBMSG_RCVTIMEO, limit_ms) == 0);
	return msg_accept(listener, 0) ? 0 : -1;
}

static intptr_t call_connect(int limit_ms)
{
	return msg_connect(near_ctx, "far/nobody", LIBMSG_SEQPACKET, LIBMSG_WAIT_NAME, limit_ms)
		       ? 0
		       : -1;
}

/* 0 is this one's "time is over". */
static intptr_t call_poll(int limit_ms)
{
	struct msg_pollfd fds[2] = {
		{.sock = socks[0], .events = POLLIN}, {.sock = listener, .events = POLLIN}};

	return msg_poll(fds, 2, limit_ms);
}

static const struct call {
	const char *name;
	intptr_t (*fn)(int limit_ms);
	int error; /* when the time is over; 0: returns 0 */
} calls[] = {
	{"recv", call_receive, EAGAIN}, {"recv, MSG_PEEK", call_peek, EAGAIN},
	{"recv_take", call_take, EAGAIN}, {"accept", call_accept, EAGAIN},
	{"connect", call_connect, ETIMEDOUT}, {"poll", call_poll, 0},
	{"send", call_send, EAGAIN}, /* last: it leaves the channel full */
};

static void call_times_out(const struct call *call, int limit_ms)
{
	uint64_t start = testbed_now_ms(), took;

	if (call->error)
		must_fail(call->fn(limit_ms), call->error);
	else
		must(call->fn(limit_ms) == 0);
	took = testbed_now_ms() - start;
	if (took + 1 < (uint64_t)limit_ms || took > (uint64_t)limit_ms + LATE_MS)
		must_die(call->name, (int)took, "milliseconds it took");
}

/* Alone in the context, so that it drives; and beside a thread that drives already. */
static void test_limits(void **state)
{
	struct pump pump;

	for (int beside = 0; beside < 2; beside++) {
		if (beside)
			pump_start(&pump, near_ctx);
		for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
			call_times_out(&calls[i], LIMIT_MS);
			call_times_out(&calls[i], 1);
			call_times_out(&calls[i], 0);
		}
		if (beside)
			pump_stop(&pump);
	}
}

#define N_RACES 300U

static void send_around_the_limit(void *arg)
{
	for (uint32_t i = 0; i < N_RACES; i++) {
		must(msg_send(socks[1], &i, sizeof(i), 0) == (ssize_t)sizeof(i));
		(void)poll(NULL, 0, (int)(i % 3));
	}
}

/* Some come in time: a limit must neither swallow what it waits for nor double it. */
static void test_limits_race(void **state)
{
	struct worker worker;
	uint32_t n = 0, got;

	must(msg_setopt(socks[0], LIBMSG_RCVTIMEO, 1) == 0);
	worker_start(&worker, send_around_the_limit, NULL);
	while (n < N_RACES) {
		if (msg_recv(socks[0], &got, sizeof(got), 0) == (ssize_t)sizeof(got))
			must(got == n++);
		else
			must(errno == EAGAIN);
	}
	worker_join(&worker);
}

/* A message that is half there when the time is over is whole for the next. */
static void test_limit_inside_message(void **state)
{
	static char data[500000], got[500000];
	struct pump pump;

	stamp_make(data, 1, 1, sizeof(data));
	must(msg_send(socks[1], data, sizeof(data), MSG_DONTWAIT) == (ssize_t)sizeof(data));
	must(msg_setopt(socks[0], LIBMSG_RCVTIMEO, 10) == 0);
	for (int i = 0; i < 3; i++)
		must_fail(msg_recv(socks[0], got, sizeof(got), 0), EAGAIN);
	must(msg_setopt(socks[0], LIBMSG_RCVTIMEO, -1) == 0);
	pump_start(&pump, far_ctx);
	(void)stamp_check(got, msg_recv(socks[0], got, sizeof(got), 0));
	pump_stop(&pump);
}

/* ---- signals ----------------------------------------------------------------------------- */

struct interrupted {
	const struct call *call;
	intptr_t result;
	int error;
	_Atomic bool returned;
};

static _Atomic unsigned n_signals;

static void on_signal(int sig)
{
	n_signals++;
}

static void call_run(void *arg)
{
	struct interrupted *interrupted = arg;

	interrupted->result = interrupted->call->fn(TESTBED_WAIT_MS);
	interrupted->error = errno;
	interrupted->returned = true;
}

/* Not restarted, whatever SA_RESTART says, as sockets with a time limit. */
static void test_signals(void **state)
{
	struct pump pump;

	for (int way = 0; way < 4; way++) {
		struct sigaction action = {
			.sa_handler = on_signal, .sa_flags = way % 2 ? SA_RESTART : 0};
		bool beside = way / 2;

		must(sigaction(SIGUSR1, &action, NULL) == 0);
		if (beside)
			pump_start(&pump, near_ctx);
		for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
			struct interrupted interrupted = {.call = &calls[i]};
			struct worker worker;
			unsigned before = n_signals;

			worker_start(&worker, call_run, &interrupted);
			/* Woken for another reason, it may be on its way back to sleep. */
			while (!interrupted.returned) {
				worker_await_sleep(&worker);
				must(pthread_kill(worker.thread, SIGUSR1) == 0);
			}
			worker_join(&worker);
			must(n_signals > before);
			if (interrupted.result != -1 || interrupted.error != EINTR)
				must_die(calls[i].name, interrupted.error, "EINTR");
		}
		if (beside)
			pump_stop(&pump);
	}
}

/* An ignored signal, and one whose handler is not there, are nothing. */
static void test_ignored_signals(void **state)
{
	struct interrupted interrupted = {.call = &calls[0]};
	struct worker worker;

	must(signal(SIGUSR2, SIG_IGN) != SIG_ERR);
	worker_start(&worker, call_run, &interrupted);
	for (int i = 0; i < 10; i++) {
		worker_await_sleep(&worker);
		must(pthread_kill(worker.thread, i % 2 ? SIGUSR2 : SIGCHLD) == 0);
	}
	must(msg_send(socks[1], "x", 1, 0) == 1);
	worker_join(&worker);
	must(interrupted.result == 1);
}

/* A listen that was interrupted has taken no name. */
static void listen_slowly(void *arg)
{
	struct msg_sock **ret = arg;

	*ret = msg_listen(near_ctx, "interrupted", LIBMSG_SEQPACKET, 1, 0);
	must(*ret || errno == EINTR);
}

static void test_interrupted_listen(void **state)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct msg_sock *sock;
	struct worker worker;

	must(sigaction(SIGUSR1, &action, NULL) == 0);
	testbed_msgd_kill(); /* nobody answers */
	worker_start(&worker, listen_slowly, &sock);
	worker_await_sleep(&worker);
	must(pthread_kill(worker.thread, SIGUSR1) == 0);
	worker_join(&worker);
	must(!sock);
	testbed_msgd_start();
	sock = msg_listen(near_ctx, "interrupted", LIBMSG_SEQPACKET, 1, 0);
	must(sock && msg_close(sock) == 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_limits),
		CASE(test_limits_race),
		CASE(test_limit_inside_message),
		CASE(test_signals),
		CASE(test_ignored_signals),
		CASE(test_interrupted_listen),
	};

	return cmocka_run_group_tests_name("time", tests, testbed_setup, testbed_teardown);
}
