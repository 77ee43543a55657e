/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Many threads on one context. The enemy is the lost wake-up: every test runs under a watchdog, and
 * takes whichever thread drives the context away in the middle of things.
 */
#include "tests/support/cmocka-all.h"

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/macro.h"
#include "tests/support/testbed.h"

#define N_THREADS 4U

static struct msg_ctx *left, *right; /* right connects to left */

static int contexts_setup(void **state)
{
	testbed_watchdog(60);
	left = testbed_ctx("left", 0);
	right = testbed_ctx("right", 0);
	return 0;
}

static int contexts_teardown(void **state)
{
	msg_ctx_close(left);
	msg_ctx_close(right);
	testbed_watchdog(0);
	return 0;
}

static void channel(struct msg_sock *ret[2])
{
	testbed_channel(right, left, "left", ret);
}

/* ---- each thread a channel ------------------------------------------------------------------- */

struct end {
	struct msg_sock *sock;
	uint32_t stream, n, len_max;
};

static uint32_t length(const struct end *end, uint32_t number)
{
	return (uint32_t)sizeof(struct stamp) + (number * 7919U) % end->len_max;
}

static void send_all(void *arg)
{
	struct end *end = arg;
	char *data = malloc(sizeof(struct stamp) + end->len_max);

	for (uint32_t i = 0; i < end->n; i++) {
		uint32_t len = length(end, i);

		stamp_make(data, end->stream, i, len);
		must(msg_send(end->sock, data, len, 0) == (ssize_t)len);
	}
	free(data);
}

static void receive_all(void *arg)
{
	struct end *end = arg;
	size_t size = sizeof(struct stamp) + end->len_max;
	char *data = malloc(size);

	for (uint32_t i = 0; i < end->n; i++) {
		struct stamp stamp = stamp_check(data, msg_recv(end->sock, data, size, 0));

		must(stamp.stream == end->stream && stamp.number == i);
	}
	free(data);
}

static void answer_all(void *arg)
{
	struct end *end = arg;
	size_t size = sizeof(struct stamp) + end->len_max;
	char *data = malloc(size);

	for (uint32_t i = 0; i < end->n; i++) {
		ssize_t len = msg_recv(end->sock, data, size, 0);

		must(len > 0 && msg_send(end->sock, data, (size_t)len, 0) == len);
	}
	free(data);
}

static void ask_all(void *arg)
{
	struct end *end = arg;
	size_t size = sizeof(struct stamp) + end->len_max;
	char *data = malloc(size);

	for (uint32_t i = 0; i < end->n; i++) {
		uint32_t len = length(end, i);
		struct stamp stamp;

		stamp_make(data, end->stream, i, len);
		must(msg_send(end->sock, data, len, 0) == (ssize_t)len);
		stamp = stamp_check(data, msg_recv(end->sock, data, size, 0));
		must(stamp.stream == end->stream && stamp.number == i);
	}
	free(data);
}

/* A channel for each of N_THREADS pairs; `near` runs at the end that connected. */
static void run_pairs(void (*near)(void *arg), void (*far)(void *arg), uint32_t n, uint32_t len_max)
{
	struct worker workers[2 * N_THREADS];
	struct msg_sock *socks[N_THREADS][2];
	struct end ends[2 * N_THREADS];

	for (uint32_t i = 0; i < N_THREADS; i++)
		channel(socks[i]);
	for (uint32_t i = 0; i < 2 * N_THREADS; i++) {
		ends[i] = (struct end){
			.sock = socks[i / 2][i % 2], .stream = i / 2, .n = n, .len_max = len_max};
		worker_start(&workers[i], i % 2 ? far : near, &ends[i]);
	}
	for (uint32_t i = 0; i < 2 * N_THREADS; i++)
		worker_join(&workers[i]);
	for (uint32_t i = 0; i < 2 * N_THREADS; i++)
		must(msg_close(socks[i / 2][i % 2]) == 0);
}

static void test_streams(void **state)
{
	run_pairs(send_all, receive_all, 2000, 8000);
	run_pairs(receive_all, send_all, 100, 200000); /* the other way, in fragments */
}

static void test_round_trips(void **state)
{
	run_pairs(ask_all, answer_all, 1000, 3000);
}

/* ---- all threads on one channel ---------------------------------------------------------- */

struct sharing {
	struct msg_sock *sock;
	uint32_t n, len_max;
	_Atomic uint32_t n_seen;
	_Atomic uint8_t *seen; /* by stream * n + number */
};

static void share_receive(void *arg)
{
	struct sharing *sharing = arg;
	size_t size = sizeof(struct stamp) + sharing->len_max;
	char *data = malloc(size);
	ssize_t len;

	while ((len = msg_recv(sharing->sock, data, size, 0)) > 0) {
		struct stamp stamp = stamp_check(data, len);

		must(stamp.stream < N_THREADS && stamp.number < sharing->n);
		must(atomic_fetch_add(
			     &sharing->seen[stamp.stream * sharing->n + stamp.number], 1) == 0);
		sharing->n_seen++;
	}
	must(len == 0); /* the end, seen by every thread */
	free(data);
}

/* With several receivers nothing is known of the order; with one, each sender's is kept. */
static void share_receive_in_order(void *arg)
{
	struct sharing *sharing = arg;
	size_t size = sizeof(struct stamp) + sharing->len_max;
	uint32_t expected[N_THREADS] = {0};
	char *data = malloc(size);
	ssize_t len;

	while ((len = msg_recv(sharing->sock, data, size, 0)) > 0) {
		struct stamp stamp = stamp_check(data, len);

		must(stamp.stream < N_THREADS && stamp.number == expected[stamp.stream]++);
		sharing->n_seen++;
	}
	must(len == 0);
	free(data);
}

static void run_shared(
	unsigned n_receivers, void (*receive)(void *arg), uint32_t n, uint32_t len_max)
{
	struct worker senders[N_THREADS], receivers[N_THREADS];
	struct end ends[N_THREADS];
	struct sharing sharing = {.n = n, .len_max = len_max};
	struct msg_sock *socks[2];

	channel(socks);
	sharing.sock = socks[1];
	sharing.seen = calloc(N_THREADS * n, sizeof(*sharing.seen));
	for (unsigned i = 0; i < n_receivers; i++)
		worker_start(&receivers[i], receive, &sharing);
	for (uint32_t i = 0; i < N_THREADS; i++) {
		ends[i] = (struct end){.sock = socks[0], .stream = i, .n = n, .len_max = len_max};
		worker_start(&senders[i], send_all, &ends[i]);
	}
	for (uint32_t i = 0; i < N_THREADS; i++)
		worker_join(&senders[i]);
	must(msg_shutdown(socks[0], SHUT_WR) == 0);
	for (unsigned i = 0; i < n_receivers; i++)
		worker_join(&receivers[i]);
	must(sharing.n_seen == N_THREADS * n);
	free((void *)sharing.seen);
	must(msg_close(socks[0]) == 0);
	must(msg_close(socks[1]) == 0);
}

static void test_one_channel(void **state)
{
	run_shared(N_THREADS, share_receive, 2000, 500);
	run_shared(1, share_receive_in_order, 2000, 500);
}

/* Longer than the ring: each sender waits in the middle of its message, others before theirs. */
static void test_one_channel_fragments(void **state)
{
	run_shared(N_THREADS, share_receive, 30, 400000);
	run_shared(1, share_receive_in_order, 30, 400000);
}

/* ---- blocked threads, and others that end the wait ------------------------------------ */

struct waiting {
	struct msg_sock *sock;
	ssize_t result;
	int error;
	uint64_t took_ms;
};

static void wait_receive(void *arg)
{
	struct waiting *waiting = arg;
	uint64_t start = testbed_now_ms();
	char byte;

	waiting->result = msg_recv(waiting->sock, &byte, 1, 0);
	waiting->error = errno;
	waiting->took_ms = testbed_now_ms() - start;
}

static void wait_send(void *arg)
{
	struct waiting *waiting = arg;
	static char data[4000];

	while ((waiting->result = msg_send(waiting->sock, data, sizeof(data), 0)) > 0)
		;
	waiting->error = errno;
}

static void start_waiting(struct worker workers[N_THREADS], struct waiting waits[N_THREADS],
	struct msg_sock *sock, void (*fn)(void *arg))
{
	for (unsigned i = 0; i < N_THREADS; i++) {
		waits[i] = (struct waiting){.sock = sock};
		worker_start(&workers[i], fn, &waits[i]);
	}
	for (unsigned i = 0; i < N_THREADS; i++)
		worker_await_sleep(&workers[i]);
}

static void join_waiting(struct worker workers[N_THREADS], struct waiting waits[N_THREADS],
	ssize_t result, int error)
{
	for (unsigned i = 0; i < N_THREADS; i++) {
		worker_join(&workers[i]);
		must(waits[i].result == result && (result >= 0 || waits[i].error == error));
	}
}

static void test_shutdown_ends_receive(void **state)
{
	struct worker workers[N_THREADS];
	struct waiting waits[N_THREADS];
	struct msg_sock *socks[2];

	channel(socks);
	start_waiting(workers, waits, socks[1], wait_receive);
	must(msg_shutdown(socks[1], SHUT_RD) == 0);
	join_waiting(workers, waits, 0, 0);
	/* The other direction stands. */
	must(msg_send(socks[1], "x", 1, 0) == 1);
	start_waiting(workers, waits, socks[0], wait_receive);
	must(msg_shutdown(socks[1], SHUT_WR) == 0);
	for (unsigned i = 0, n = 0; i < N_THREADS; i++) {
		worker_join(&workers[i]);
		must(waits[i].result == 0 || (waits[i].result == 1 && n++ == 0));
	}
	must(msg_close(socks[0]) == 0);
	must(msg_close(socks[1]) == 0);
}

static void test_shutdown_ends_send(void **state)
{
	struct worker workers[N_THREADS], driver;
	struct waiting waits[N_THREADS];
	struct msg_sock *socks[2], *other[2];
	struct waiting drives;

	channel(socks);
	channel(other);
	/* Somebody takes in what arrives at the other end's context; nobody reads it. */
	drives = (struct waiting){.sock = other[1]};
	worker_start(&driver, wait_receive, &drives);
	start_waiting(workers, waits, socks[0], wait_send);
	must(msg_shutdown(socks[0], SHUT_WR) == 0);
	join_waiting(workers, waits, -1, EPIPE);
	must(msg_send(other[0], "x", 1, 0) == 1);
	worker_join(&driver);
	(void)msg_close(socks[0]);
	(void)msg_close(socks[1]);
	must(msg_close(other[0]) == 0);
	must(msg_close(other[1]) == 0);
}

static void test_close_ends_peers_waits(void **state)
{
	struct worker workers[N_THREADS];
	struct waiting waits[N_THREADS];
	struct msg_sock *socks[2];

	channel(socks);
	start_waiting(workers, waits, socks[0], wait_receive);
	must(msg_close(socks[1]) == 0);
	join_waiting(workers, waits, 0, 0);
	must(msg_close(socks[0]) == 0);
	/* Unread data at the closing end: a reset, for senders. */
	channel(socks);
	start_waiting(workers, waits, socks[0], wait_send);
	(void)msg_close(socks[1]);
	join_waiting(workers, waits, -1, ECONNRESET);
	must(msg_close(socks[0]) == 0);
}

/* The thread that drives goes away, by what it waited for, by its time limit, by a signal. */
static void test_driver_leaves(void **state)
{
	struct msg_sock *socks[N_THREADS][2];
	struct worker workers[N_THREADS];
	struct waiting waits[N_THREADS];

	for (unsigned i = 0; i < N_THREADS; i++)
		channel(socks[i]);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < N_THREADS; i++) {
			waits[i] = (struct waiting){.sock = socks[i][1]};
			worker_start(&workers[i], wait_receive, &waits[i]);
			if (round % 2)
				worker_await_sleep(&workers[i]);
		}
		/* In the order in which they came, the first being the driver, and backwards. */
		for (unsigned i = 0; i < N_THREADS; i++) {
			unsigned who = round % 4 < 2 ? i : N_THREADS - 1 - i;

			must(msg_send(socks[who][0], "x", 1, 0) == 1);
			worker_join(&workers[who]);
			must(waits[who].result == 1);
		}
	}
	for (unsigned i = 0; i < 2 * N_THREADS; i++)
		must(msg_close(socks[i / 2][i % 2]) == 0);
}

static void on_signal(int sig)
{
	(void)sig;
}

static void test_driver_is_interrupted(void **state)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct msg_sock *socks[2][2];
	struct worker workers[2];
	struct waiting waits[2];

	must(sigaction(SIGUSR1, &action, NULL) == 0);
	for (unsigned i = 0; i < 2; i++)
		channel(socks[i]);
	for (unsigned round = 0; round < 20; round++) {
		unsigned first = round % 2; /* it drives */

		waits[first] = (struct waiting){.sock = socks[first][1]};
		waits[!first] = (struct waiting){.sock = socks[!first][1]};
		worker_start(&workers[first], wait_receive, &waits[first]);
		worker_await_sleep(&workers[first]);
		worker_start(&workers[!first], wait_receive, &waits[!first]);
		worker_await_sleep(&workers[!first]);
		must(pthread_kill(workers[round / 2 % 2].thread, SIGUSR1) == 0);
		worker_join(&workers[round / 2 % 2]);
		must(waits[round / 2 % 2].result == -1 && waits[round / 2 % 2].error == EINTR);
		/* The other did not notice, and is served. */
		must(msg_send(socks[!(round / 2 % 2)][0], "x", 1, 0) == 1);
		worker_join(&workers[!(round / 2 % 2)]);
		must(waits[!(round / 2 % 2)].result == 1);
	}
	for (unsigned i = 0; i < 4; i++)
		must(msg_close(socks[i / 2][i % 2]) == 0);
}

/* Time limits hold for a thread that drives and for those that wait beside it. */
static void test_time_limits(void **state)
{
	struct msg_sock *socks[N_THREADS][2], *other[2];
	struct worker workers[N_THREADS], driver;
	struct waiting waits[N_THREADS], drives;

	for (unsigned i = 0; i < N_THREADS; i++) {
		channel(socks[i]);
		must(msg_setopt(socks[i][1], LIBMSG_RCVTIMEO, 50 + 50 * i) == 0);
	}
	channel(other);
	/* The first has the shortest limit, then the longest; then none of them ever drives. */
	for (unsigned round = 0; round < 3; round++) {
		if (round == 2) {
			drives = (struct waiting){.sock = other[1]};
			worker_start(&driver, wait_receive, &drives);
			worker_await_sleep(&driver);
		}
		for (unsigned i = 0; i < N_THREADS; i++) {
			unsigned who = round ? N_THREADS - 1 - i : i;

			waits[who] = (struct waiting){.sock = socks[who][1]};
			worker_start(&workers[who], wait_receive, &waits[who]);
			if (i == 0)
				worker_await_sleep(&workers[who]);
		}
		for (unsigned i = 0; i < N_THREADS; i++) {
			worker_join(&workers[i]);
			must(waits[i].result == -1 && waits[i].error == EAGAIN);
			must(waits[i].took_ms >= 49 + 50 * i);
			must(waits[i].took_ms < 20000);
		}
	}
	must(msg_send(other[0], "x", 1, 0) == 1);
	worker_join(&driver);
	must(drives.result == 1);
	must(msg_close(other[0]) == 0 && msg_close(other[1]) == 0);
	/* Nobody drives any more; the next one does. */
	must(msg_send(socks[0][0], "x", 1, 0) == 1);
	waits[0] = (struct waiting){.sock = socks[0][1]};
	wait_receive(&waits[0]);
	must(waits[0].result == 1);
	for (unsigned i = 0; i < 2 * N_THREADS; i++)
		must(msg_close(socks[i / 2][i % 2]) == 0);
}

/* ---- connecting, accepting, closing --------------------------------------------------- */

#define N_CONNECTS 100U

static void connect_many(void *arg)
{
	for (uint32_t i = 0; i < N_CONNECTS; i++) {
		struct msg_sock *sock =
			msg_connect(right, "left/many", LIBMSG_SEQPACKET, 0, TESTBED_WAIT_MS);
		struct end end = {.sock = sock, .stream = i, .n = 2, .len_max = 100};

		must(sock);
		ask_all(&end);
		must(msg_close(sock) == 0);
	}
}

static void accept_many(void *arg)
{
	struct msg_sock *listener = arg;

	for (uint32_t i = 0; i < N_CONNECTS; i++) {
		struct msg_sock *sock = msg_accept(listener, 0);
		struct end end = {.sock = sock, .n = 2, .len_max = 100};
		char byte;

		must(sock);
		answer_all(&end);
		must(msg_recv(sock, &byte, 1, 0) == 0);
		must(msg_close(sock) == 0);
	}
}

static void test_connects(void **state)
{
	struct msg_sock *listener = msg_listen(left, "many", LIBMSG_SEQPACKET, 64, 0);
	struct worker workers[2 * N_THREADS];

	must(listener);
	for (unsigned i = 0; i < 2 * N_THREADS; i++)
		worker_start(&workers[i], i % 2 ? connect_many : accept_many, listener);
	for (unsigned i = 0; i < 2 * N_THREADS; i++)
		worker_join(&workers[i]);
	must(msg_close(listener) == 0);
}

/* ---- cancellation and shutdown --------------------------------------------------------------- */

#define ATTEMPTS 500

static atomic_bool attempts_done;

static void attempt_many(void *arg)
{
	for (int i = 0; i < ATTEMPTS; i++) {
		must_fail_null(
			msg_connect(right, "left/nobody", LIBMSG_SEQPACKET, 0, TESTBED_WAIT_MS),
			ENOENT);
		must_fail_null(msg_listen(right, "taken", LIBMSG_SEQPACKET, 1, LIBMSG_NONBLOCK),
			EADDRINUSE);
	}
	attempts_done = true;
}

/* An event loop hears of no socket that a call is still making, and frees if it fails. */
static void test_loop_beside_attempts(void **state)
{
	struct msg_sock *taken = msg_listen(right, "taken", LIBMSG_SEQPACKET, 1, 0);
	struct pollfd fd = {.fd = msg_ctx_fd(right), .events = POLLIN};
	struct worker worker;
	struct msg_event event;

	must(taken);
	attempts_done = false;
	worker_start(&worker, attempt_many, NULL);
	while (!attempts_done) {
		must(poll(&fd, 1, 10) >= 0);
		must(msg_ctx_dispatch(right, &event, 1) == 0);
	}
	worker_join(&worker);
	must(msg_close(taken) == 0);
}

static void receive_one(void *arg)
{
	char byte;

	must(msg_recv(arg, &byte, 1, 0) == 1);
	pthread_testcancel();
	must(!"the thread is cancelled when its call is over");
}

static void receive_byte(void *arg)
{
	char byte;

	must(msg_recv(arg, &byte, 1, 0) == 1);
}

/* A thread that is cancelled while it drives the context goes on driving until its call is over. */
static void test_cancelled_driver(void **state)
{
	struct worker driving, waiting;
	struct msg_sock *ends[2][2];

	channel(ends[0]);
	channel(ends[1]);
	worker_start(&driving, receive_one, ends[0][1]);
	worker_await_sleep(&driving);
	worker_start(&waiting, receive_byte, ends[1][1]);
	worker_await_sleep(&waiting);
	must(pthread_cancel(driving.thread) == 0);
	must(msg_send(ends[1][0], "x", 1, 0) == 1);
	worker_join(&waiting);
	must(msg_send(ends[0][0], "x", 1, 0) == 1);
	worker_join(&driving);
	/* Nobody drives now; the context is as before. */
	worker_start(&waiting, receive_byte, ends[1][1]);
	worker_await_sleep(&waiting);
	must(msg_send(ends[1][0], "x", 1, 0) == 1);
	worker_join(&waiting);
}

/* ---- every call that sleeps ------------------------------------------------------------------ */

static char much[600000];

static void send_short(void *sock)
{
	while (msg_send(sock, much, 4000, 0) > 0)
		;
	must(errno == EPIPE);
}

/* The rest of a message that has begun goes out later, before the end. */
static void send_long(void *sock)
{
	must(msg_send(sock, much, sizeof(much), 0) == sizeof(much));
	must_fail(msg_send(sock, much, 1, 0), EPIPE);
}

static void send_part(void *sock)
{
	ssize_t n = msg_send(sock, much, sizeof(much), 0);

	must(n > 0 && n < (ssize_t)sizeof(much));
	must_fail(msg_send(sock, much, 1, 0), EPIPE);
}

static void send_many(void *sock)
{
	struct iovec iov = {.iov_base = much, .iov_len = 4000};
	struct mmsghdr messages[100] = {0};
	int n;

	for (int i = 0; i < 100; i++)
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1};
	n = msg_sendmmsg(sock, messages, 100, 0);
	must(n > 0 && n < 100);
	must_fail(msg_sendmmsg(sock, messages, 1, 0), EPIPE);
}

static void poll_out(void *sock)
{
	struct msg_pollfd fd = {.sock = sock, .events = POLLOUT};

	while (msg_send(sock, much, 4000, MSG_DONTWAIT) > 0)
		;
	must(errno == EAGAIN);
	must(msg_poll(&fd, 1, -1) == 1 && fd.revents & POLLOUT);
	must_fail(msg_send(sock, much, 1, 0), EPIPE);
}

static void receive_end(void *sock)
{
	must(msg_recv(sock, much, 100, 0) == 0);
}

static void receive_peek(void *sock)
{
	must(msg_recv(sock, much, 100, MSG_PEEK) == 0);
}

static void receive_whole(void *sock)
{
	must(msg_recv(sock, much, 100, MSG_WAITALL) == 0);
}

static void receive_header(void *sock)
{
	struct iovec iov = {.iov_base = much, .iov_len = 100};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	must(msg_recvmsg(sock, &message, 0) == 0 && message.msg_flags == 0);
}

static void receive_many(void *sock)
{
	struct iovec iov = {.iov_base = much, .iov_len = 100};
	struct mmsghdr messages[4] = {0};

	for (int i = 0; i < 4; i++)
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1};
	must(msg_recvmmsg(sock, messages, 4, 0, -1) == 0);
}

static void receive_taken(void *sock)
{
	struct msg_buf *buf = (struct msg_buf *)much;
	const void *data;

	must(msg_recv_take(sock, 0, &data, &buf) == 0 && !buf);
}

static void poll_in(void *sock)
{
	struct msg_pollfd fd = {.sock = sock, .events = POLLIN};

	must(msg_poll(&fd, 1, -1) == 1 && fd.revents & POLLIN);
}

static void accept_nobody(void *arg)
{
	must_fail_null(msg_accept(arg, 0), EINVAL);
}

static void poll_error(void *arg)
{
	struct msg_pollfd fd = {.sock = arg, .events = POLLOUT};

	must(msg_poll(&fd, 1, -1) == 1 && fd.revents & POLLERR);
}

static void poll_listener(void *arg)
{
	struct msg_pollfd fd = {.sock = arg, .events = POLLIN};

	must(msg_poll(&fd, 1, -1) == 1 && fd.revents & POLLERR);
}

/* The names that are there, then one message for each change. */
static void watch_all(void *sock)
{
	while (msg_recv(sock, much, 200, 0) >= 0)
		;
	must(errno == EINVAL);
}

static void watch_taken(void *sock)
{
	struct msg_buf *buf;
	const void *data;

	while (msg_recv_take(sock, 0, &data, &buf) >= 0)
		msg_buf_free(buf);
	must(errno == EINVAL);
}

enum { LISTENER = 100, WATCH, CONNECT }; /* beside the types of channels */

static const struct sleeping {
	const char *name;
	void (*call)(void *sock);
	int of, how;
} sleeping[] = {
	{"send", send_short, LIBMSG_SEQPACKET, SHUT_WR},
	{"send of a stream", send_short, LIBMSG_STREAM, SHUT_WR},
	{"send, both ways", send_short, LIBMSG_SEQPACKET, SHUT_RDWR},
	{"send in a message", send_long, LIBMSG_SEQPACKET, SHUT_WR},
	{"send in a stream", send_part, LIBMSG_STREAM, SHUT_WR},
	{"sendmmsg", send_many, LIBMSG_SEQPACKET, SHUT_WR},
	{"poll for room", poll_out, LIBMSG_SEQPACKET, SHUT_WR},
	{"recv", receive_end, LIBMSG_SEQPACKET, SHUT_RD},
	{"recv, both ways", receive_end, LIBMSG_SEQPACKET, SHUT_RDWR},
	{"recv of a stream", receive_end, LIBMSG_STREAM, SHUT_RD},
	{"recv of datagrams", receive_end, LIBMSG_DGRAM, SHUT_RD},
	{"recv, MSG_PEEK", receive_peek, LIBMSG_SEQPACKET, SHUT_RD},
	{"recv, MSG_WAITALL", receive_whole, LIBMSG_STREAM, SHUT_RD},
	{"recvmsg", receive_header, LIBMSG_SEQPACKET, SHUT_RD},
	{"recvmmsg", receive_many, LIBMSG_SEQPACKET, SHUT_RD},
	{"recv_take", receive_taken, LIBMSG_SEQPACKET, SHUT_RD},
	{"poll for messages", poll_in, LIBMSG_SEQPACKET, SHUT_RD},
	{"accept", accept_nobody, LISTENER, SHUT_RD},
	{"accept, both ways", accept_nobody, LISTENER, SHUT_RDWR},
	{"poll of a listener", poll_listener, LISTENER, SHUT_RD},
	{"recv of a watch", watch_all, WATCH, SHUT_RD},
	{"recv_take of a watch", watch_taken, WATCH, SHUT_RDWR},
	{"poll of a connect", poll_error, CONNECT, SHUT_RDWR},
};

static void make(int of, struct msg_sock *ret[2])
{
	ret[1] = NULL;
	if (of == LISTENER)
		ret[0] = msg_listen(right, "sleeping", LIBMSG_SEQPACKET, 1, 0);
	else if (of == WATCH)
		ret[0] = msg_watch(right, "left/nobody");
	else if (of == CONNECT)
		ret[0] = msg_connect(right, "left/nobody", LIBMSG_SEQPACKET,
			LIBMSG_NONBLOCK | LIBMSG_WAIT_NAME, 0);
	else
		testbed_channel_of(of, right, left, "left", ret);
	must(ret[0]);
}

struct shutting {
	struct msg_sock *sock;
	int how;
};

static void shut(void *arg)
{
	struct shutting *shutting = arg;

	must(msg_shutdown(shutting->sock, shutting->how) == 0);
}

/* The peer takes nothing meanwhile, for which the shutdown itself waits. */
static void ends(const struct sleeping *row)
{
	struct worker worker, shutter;
	struct shutting shutting = {.how = row->how};
	struct msg_sock *socks[2];

	make(row->of, socks);
	must(msg_setopt(socks[0], LIBMSG_LINGER, -1) == 0);
	shutting.sock = socks[0];
	worker_start(&worker, row->call, socks[0]);
	worker_await_sleep(&worker);
	worker_start(&shutter, shut, &shutting);
	worker_join(&worker);
	(void)msg_close(socks[1]);
	worker_join(&shutter);
	must(msg_setopt(socks[0], LIBMSG_LINGER, 0) == 0);
	(void)msg_close(socks[0]);
}

/* A shutdown by another thread ends each call that sleeps, whether that drives the context. */
static void test_shutdown_ends_calls(void **state)
{
	struct msg_sock *other[2];
	struct worker driver;

	for (size_t i = 0; i < ARRAY_SIZE(sleeping); i++)
		ends(&sleeping[i]);
	channel(other);
	worker_start(&driver, receive_byte, other[0]);
	worker_await_sleep(&driver);
	for (size_t i = 0; i < ARRAY_SIZE(sleeping); i++)
		ends(&sleeping[i]);
	must(msg_send(other[1], "x", 1, 0) == 1);
	worker_join(&driver);
	must(msg_close(other[0]) == 0 && msg_close(other[1]) == 0);
}

/* A shutdown by another thread ends a sleeping accept, and a connect that somebody polls for. */
static void test_shutdown_ends_waits(void **state)
{
	struct msg_sock *listener = msg_listen(left, "shut", LIBMSG_SEQPACKET, 1, 0);
	struct msg_sock *calling = msg_connect(
		right, "left/nobody", LIBMSG_SEQPACKET, LIBMSG_NONBLOCK | LIBMSG_WAIT_NAME, 0);
	struct worker workers[2];
	int64_t error;

	must(listener && calling);
	worker_start(&workers[0], accept_nobody, listener);
	worker_start(&workers[1], poll_error, calling);
	worker_await_sleep(&workers[0]);
	worker_await_sleep(&workers[1]);
	must(msg_shutdown(listener, SHUT_RD) == 0 && msg_shutdown(calling, SHUT_RDWR) == 0);
	worker_join(&workers[0]);
	worker_join(&workers[1]);
	must(msg_getopt(calling, LIBMSG_ERROR, &error) == 0 && error == ECONNABORTED);
	must_fail(msg_shutdown(listener, SHUT_RD), ENOTCONN);
	must(msg_close(listener) == 0 && msg_close(calling) == 0);
	/* The name was given back. */
	listener = msg_listen(left, "shut", LIBMSG_SEQPACKET, 1, 0);
	must(listener && msg_close(listener) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_streams, contexts_setup, contexts_teardown),
		cmocka_unit_test_setup_teardown(
			test_round_trips, contexts_setup, contexts_teardown),
		cmocka_unit_test_setup_teardown(
			test_one_channel, contexts_setup, contexts_teardown),
		cmocka_unit_test_setup_teardown(
			test_one_channel_fragments, contexts_setup, contexts_teardown),
		cmocka_unit_test_setup_teardown(
			test_shutdown_ends_receive, contexts_setup, contexts_teardown),
		cmocka_unit_test_setup_teardown(
			test_shutdown_ends_send, contexts_setup, contexts_teardown),
		cmocka_unit_test_setup_teardown(
			test_close_ends_peers_waits, contexts_setup, contexts_teardown),
		cmocka_unit_test_setup_teardown(
			test_driver_leaves, contexts_setup, contexts_teardown),
		cmocka_unit_test_setup_teardown(
			test_driver_is_interrupted, contexts_setup, contexts_teardown),
		cmocka_unit_test_setup_teardown(
			test_time_limits, contexts_setup, contexts_teardown),
		cmocka_unit_test_setup_teardown(test_connects, contexts_setup, contexts_teardown),
		cmocka_unit_test_setup_teardown(
			test_loop_beside_attempts, contexts_setup, contexts_teardown),
		cmocka_unit_test_setup_teardown(
			test_cancelled_driver, contexts_setup, contexts_teardown),
		cmocka_unit_test_setup_teardown(
			test_shutdown_ends_calls, contexts_setup, contexts_teardown),
		cmocka_unit_test_setup_teardown(
			test_shutdown_ends_waits, contexts_setup, contexts_teardown),
	};

	return cmocka_run_group_tests_name("threads", tests, testbed_setup, testbed_teardown);
}
