/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * 10,000 sockets in one thread, with msgd and the emulator: the CPU time of an event does not grow
 * with those that are idle. tests/unit/libmsg/idle-test.c counts looks at them; this one would see
 * what grows elsewhere, as in the hypervisor's part.
 */
#include "tests/support/cmocka-all.h"

#include <poll.h>
#include <time.h>

#include "base/macro.h"
#include "tests/support/testbed.h"

#define N_FEW	10U
#define N_MANY	10000U
#define N_LINKS 48U /* idle ones, beside that of the sockets */
#define BATCH	200U
#define EVENTS	500
#define ROUNDS	9
/* The many are not in the caches: that costs something. A look at each costs much more. */
#define BOUND 5

static struct msg_ctx *ctx[2], *others[N_LINKS];
static struct msg_sock *listener, *accepted[N_MANY], *connected[N_MANY], *linked[N_LINKS];
static unsigned n_accepted, n_connected;

static void accept_all(void)
{
	struct msg_sock *sock;

	while ((sock = msg_accept(listener, LIBMSG_NONBLOCK))) {
		must(n_accepted < N_MANY);
		accepted[n_accepted++] = sock;
	}
	must(errno == EAGAIN);
}

/* One event, if there is one. */
static bool handle(int side)
{
	struct msg_event event;
	int64_t error;

	if (msg_ctx_dispatch(ctx[side], &event, 1) == 0)
		return false;
	if (event.sock == listener) {
		accept_all();
	} else if (event.revents & POLLOUT) {
		must(msg_getopt(event.sock, LIBMSG_ERROR, &error) == 0 && error == 0);
		n_connected++;
	}
	return true;
}

/* As many channels as that in all. */
static void channels_open(unsigned n)
{
	struct pollfd fds[2] = {{.fd = msg_ctx_fd(ctx[0]), .events = POLLIN},
		{.fd = msg_ctx_fd(ctx[1]), .events = POLLIN}};
	unsigned n_asked = n_connected;

	while (n_connected < n || n_accepted < n) {
		testbed_watchdog(60);
		for (; n_asked < n && n_asked - n_connected < BATCH; n_asked++) {
			connected[n_asked] = msg_connect(ctx[1], "many/idle", LIBMSG_SEQPACKET,
				LIBMSG_NONBLOCK, TESTBED_WAIT_MS);
			must(connected[n_asked]);
		}
		if (!handle(0) + !handle(1) == 2)
			must(poll(fds, 2, TESTBED_WAIT_MS) > 0);
	}
	testbed_watchdog(60);
}

static void connect_other(void *arg)
{
	struct msg_sock **sock = arg;

	*sock = msg_connect(
		others[sock - linked], "many/idle", LIBMSG_SEQPACKET, 0, TESTBED_WAIT_MS);
	must(*sock);
}

/* A link for each context; its channel is idle. */
static void links_open(void)
{
	char domain[16];

	must(msg_setopt(listener, LIBMSG_NONBLOCK_OPT, 0) == 0);
	for (unsigned i = 0; i < N_LINKS; i++) {
		struct worker worker;

		(void)snprintf(domain, sizeof(domain), "other%u", i % 4);
		others[i] = testbed_ctx(domain, 0);
		worker_start(&worker, connect_other, &linked[i]);
		must(msg_accept(listener, 0));
		worker_join(&worker);
	}
	must(msg_setopt(listener, LIBMSG_NONBLOCK_OPT, 1) == 0);
}

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	must(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts) == 0);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static void event_there(int to, struct msg_sock *from_sock, struct msg_sock *to_sock)
{
	struct msg_event event;
	char byte = 'x';
	int n;

	must(msg_send(from_sock, &byte, 1, 0) == 1);
	do {
		n = msg_ctx_dispatch(ctx[to], &event, 1);
	} while (n == 0);
	must(n == 1 && event.sock == to_sock && msg_recv(to_sock, &byte, 1, 0) == 1);
}

static struct msg_sock *busy[2];

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t cost_of_events(void)
{
	uint64_t ns[ROUNDS];

	for (int round = 0; round < ROUNDS; round++) {
		uint64_t begin = cpu_ns();

		for (int i = 0; i < EVENTS; i++) {
			event_there(0, busy[1], busy[0]);
			event_there(1, busy[0], busy[1]);
		}
		ns[round] = (cpu_ns() - begin) / EVENTS;
	}
	qsort(ns, ROUNDS, sizeof(ns[0]), by_value);
	return ns[ROUNDS / 2];
}

static void test_cost(void **state)
{
	uint64_t few, many, links;

	channels_open(N_FEW);
	few = cost_of_events();
	links_open();
	links = cost_of_events();
	channels_open(N_MANY);
	many = cost_of_events();
	print_message("ns of CPU for an event and its answer: %llu; with %u idle links %llu, "
		      "and %u idle sockets %llu\n",
		(unsigned long long)few, N_LINKS, (unsigned long long)links, N_MANY,
		(unsigned long long)many);
	assert_in_range(links, 1, BOUND * few);
	assert_in_range(many, 1, BOUND * few);
}

/* Reads what a call tells of. How many. */
static unsigned read_some(void)
{
	struct msg_event events[64];
	int n = msg_ctx_dispatch(ctx[0], events, ARRAY_SIZE(events));
	char byte;

	must(n >= 0);
	for (int i = 0; i < n; i++)
		must(msg_recv(events[i].sock, &byte, 1, MSG_DONTWAIT) == 1);
	return (unsigned)n;
}

/* Each has a message, and is told of until it was read, but no longer. */
static void test_all_at_once(void **state)
{
	unsigned n_read = 0;

	testbed_watchdog(60);
	for (unsigned i = 0; i < N_MANY; i++) {
		while (msg_send(connected[i], "x", 1, 0) < 0) {
			must(errno == EAGAIN); /* the ring is full */
			n_read += read_some();
		}
	}
	while (n_read < N_MANY)
		n_read += read_some();
	must(read_some() == 0);
}

/* msg_poll for all of them, of which one has something. */
static void test_poll(void **state)
{
	static struct msg_pollfd fds[N_MANY];
	char byte;

	for (unsigned i = 0; i < N_MANY; i++)
		fds[i] = (struct msg_pollfd){.sock = accepted[i], .events = POLLIN};
	testbed_watchdog(60);
	for (int round = 0; round < 5; round++) {
		must(msg_poll(fds, N_MANY, 0) == 0);
		must(msg_send(connected[N_MANY / 2], "x", 1, 0) == 1);
		must(msg_poll(fds, N_MANY, -1) == 1);
		for (unsigned i = 0; i < N_MANY; i++)
			must(!fds[i].revents || msg_recv(fds[i].sock, &byte, 1, MSG_DONTWAIT) == 1);
	}
}

/* Quotas of msgd that are as large. */
static int setup(void **state)
{
	struct msg_sock *pair[2];

	testbed_start(NULL, "[limits]\nmemory = 16384\n");
	ctx[0] = testbed_ctx("many", 0);
	ctx[1] = testbed_ctx("callers", 0);
	must(msg_ctx_fd(ctx[0]) >= 0 && msg_ctx_fd(ctx[1]) >= 0);
	listener = msg_listen(ctx[0], "idle", LIBMSG_SEQPACKET, 4096, LIBMSG_NONBLOCK);
	must(listener);
	testbed_channel(ctx[1], ctx[0], "many", pair);
	busy[0] = pair[1];
	busy[1] = pair[0];
	return 0;
}

static int teardown(void **state)
{
	testbed_watchdog(60);
	for (unsigned i = 0; i < N_LINKS; i++)
		msg_ctx_close(others[i]);
	msg_ctx_close(ctx[1]);
	msg_ctx_close(ctx[0]);
	testbed_stop();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cost),
		cmocka_unit_test(test_all_at_once),
		cmocka_unit_test(test_poll),
	};

	return cmocka_run_group_tests_name("idle", tests, setup, teardown);
}
