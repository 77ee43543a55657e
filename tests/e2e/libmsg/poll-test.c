/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Waiting for several: msg_poll, and msg_ctx_fd in poll, epoll and libevent, beside descriptors. */
#include "tests/support/cmocka-all.h"

#include <event2/event.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/macro.h"
#include "tests/support/testbed.h"

#define NEAR	0
#define FAR	1
#define N_SOCKS 3

static struct msg_ctx *ctx[2];
static struct msg_sock *socks[N_SOCKS][2]; /* [i][NEAR] connected to [i][FAR] */
static char got[5000];

static int setup(void **state)
{
	testbed_watchdog(60);
	ctx[NEAR] = testbed_ctx("near", 0);
	ctx[FAR] = testbed_ctx("far", 0);
	for (int i = 0; i < N_SOCKS; i++)
		testbed_channel(ctx[NEAR], ctx[FAR], "far", socks[i]);
	return 0;
}

static int teardown(void **state)
{
	msg_ctx_close(ctx[NEAR]); /* closes what the test did not */
	msg_ctx_close(ctx[FAR]);
	testbed_watchdog(0);
	return 0;
}

static void say(struct msg_sock *sock)
{
	must(msg_send(sock, "x", 1, 0) == 1);
}

static void hear(struct msg_sock *sock)
{
	must(msg_recv(sock, got, sizeof(got), 0) == 1 && got[0] == 'x');
}

/* ---- msg_poll -------------------------------------------------------------------------------- */

/* The revents of a poll for `events`, at once or within timeout_ms. */
static short events_of(struct msg_sock *sock, short events, int timeout_ms)
{
	struct msg_pollfd fd = {.sock = sock, .events = events, .revents = -1};
	int n = msg_poll(&fd, 1, timeout_ms);

	must(n == (fd.revents != 0));
	return fd.revents;
}

static unsigned fill(struct msg_sock *sock)
{
	static const char data[1000];
	unsigned n = 0;

	while (msg_send(sock, data, sizeof(data), MSG_DONTWAIT) > 0)
		n++;
	must(errno == EAGAIN && n > 0);
	return n;
}

static void drain(struct msg_sock *sock, unsigned n)
{
	for (; n; n--)
		must(msg_recv(sock, got, sizeof(got), 0) == 1000);
}

static void test_levels(void **state)
{
	struct msg_sock *near = socks[0][NEAR], *far = socks[0][FAR];
	unsigned n;

	must(events_of(near, POLLIN, 0) == 0);
	must(events_of(near, POLLIN | POLLOUT, -1) == POLLOUT);
	must(events_of(far, POLLIN | POLLOUT, TESTBED_WAIT_MS) == POLLOUT);
	say(far);
	say(far);
	must(events_of(near, POLLIN, -1) == POLLIN);
	must(events_of(near, POLLIN, 0) == POLLIN); /* until it is read */
	must(msg_recv(near, got, 1, MSG_PEEK) == 1);
	must(events_of(near, POLLIN, 0) == POLLIN);
	hear(near);
	must(events_of(near, POLLIN | POLLOUT, 0) == (POLLIN | POLLOUT));
	hear(near);
	must(events_of(near, POLLIN, 0) == 0);
	must(events_of(near, 0, 0) == 0);
	/* No room: no POLLOUT, until the peer has read. */
	n = fill(near);
	must(events_of(near, POLLOUT, 0) == 0);
	must(events_of(near, POLLOUT, 30) == 0);
	drain(far, n);
	must(events_of(near, POLLOUT, -1) == POLLOUT);
}

static void test_ends(void **state)
{
	must(msg_shutdown(socks[0][FAR], SHUT_WR) == 0);
	must(events_of(socks[0][NEAR], POLLIN, -1) == (POLLIN | POLLRDHUP));
	must(events_of(socks[0][NEAR], POLLOUT, -1) == POLLOUT);
	must(events_of(socks[0][NEAR], 0, 0) == 0);
	say(socks[1][FAR]);
	must(msg_close(socks[1][FAR]) == 0);
	must(events_of(socks[1][NEAR], 0, -1) == POLLHUP);
	must(events_of(socks[1][NEAR], POLLIN, 0) == (POLLIN | POLLRDHUP | POLLHUP));
	hear(socks[1][NEAR]);
	must(events_of(socks[1][NEAR], POLLIN, 0) == (POLLIN | POLLRDHUP | POLLHUP));
	say(socks[2][NEAR]);
	must(msg_close(socks[2][FAR]) == 0); /* unread data: a reset */
	must(events_of(socks[2][NEAR], 0, -1) == (POLLERR | POLLHUP));
	must((events_of(socks[2][NEAR], POLLIN | POLLOUT, 0) & ~POLLRDHUP) ==
		(POLLIN | POLLOUT | POLLERR | POLLHUP));
}

static void test_several(void **state)
{
	struct msg_sock *listener = msg_listen(ctx[NEAR], "poll", LIBMSG_SEQPACKET, 2, 0);
	struct msg_pollfd fds[6] = {{.sock = socks[0][NEAR], .events = POLLIN},
		{.sock = NULL, .events = POLLIN, .revents = -1},
		{.sock = socks[1][NEAR], .events = POLLIN},
		{.sock = socks[2][NEAR], .events = POLLIN}, {.sock = listener, .events = POLLIN},
		{.sock = socks[0][NEAR], .events = POLLOUT}};
	struct msg_sock *calling, *called;

	must(listener);
	must(msg_poll(fds, 5, 10) == 0);
	say(socks[0][FAR]);
	say(socks[2][FAR]);
	must(msg_poll(fds, 4, -1) > 0 && msg_poll(fds, 4, 10) == 2);
	must(fds[0].revents == POLLIN && fds[3].revents == POLLIN);
	must(fds[1].revents == 0 && fds[2].revents == 0);
	must(msg_poll(fds, 6, 0) == 3 && fds[5].revents == POLLOUT);
	hear(socks[0][NEAR]);
	hear(socks[2][NEAR]);
	calling = msg_connect(
		ctx[FAR], "near/poll", LIBMSG_SEQPACKET, LIBMSG_NONBLOCK, TESTBED_WAIT_MS);
	must(calling);
	must(msg_poll(fds, 5, -1) == 1 && fds[4].revents == POLLIN);
	must(msg_poll(fds, 5, 0) == 1);
	called = msg_accept(listener, 0);
	must(called && msg_poll(fds, 5, 0) == 0);
	must(msg_close(called) == 0 && msg_close(listener) == 0);
}

static void test_poll_errors(void **state)
{
	struct msg_pollfd fds[2] = {
		{.sock = socks[0][NEAR], .events = POLLIN}, {.sock = socks[0][FAR]}};

	must_fail(msg_poll(fds, 2, 0), EINVAL); /* of two contexts */
	fds[0].sock = fds[1].sock = NULL;
	must_fail(msg_poll(fds, 2, 0), EINVAL);
	must_fail(msg_poll(fds, 0, 0), EINVAL);
}

static void poll_for_ever(void *arg)
{
	short *ret = arg;

	*ret = events_of(socks[0][NEAR], POLLIN, -1);
}

/* A poll sees another thread's change. */
static void test_poll_is_woken(void **state)
{
	struct worker worker;
	short events;

	worker_start(&worker, poll_for_ever, &events);
	worker_await_sleep(&worker);
	say(socks[0][FAR]);
	worker_join(&worker);
	must(events == POLLIN);
	hear(socks[0][NEAR]);
	worker_start(&worker, poll_for_ever, &events);
	worker_await_sleep(&worker);
	must(msg_shutdown(socks[0][NEAR], SHUT_RD) == 0);
	worker_join(&worker);
	must(events == POLLIN);
}

/* ---- msg_ctx_fd -------------------------------------------------------------------------- */

static bool readable(int fd, int timeout_ms)
{
	struct pollfd pollfd = {.fd = fd, .events = POLLIN};
	int n = poll(&pollfd, 1, timeout_ms);

	must(n == 0 || (n == 1 && pollfd.revents == POLLIN));
	return n == 1;
}

/* Dispatches until there is nothing to do: only then may it not be readable. */
static void quiet(int fd)
{
	struct msg_event events[8];

	do
		must(msg_ctx_dispatch(ctx[NEAR], events, 8) == 0);
	while (readable(fd, 30));
}

/* Waits for one event, and returns which. */
static struct msg_event next(int fd)
{
	struct msg_event event;
	int n;

	do {
		must(readable(fd, TESTBED_WAIT_MS));
		n = msg_ctx_dispatch(ctx[NEAR], &event, 1);
		must(n >= 0);
	} while (n == 0);
	return event;
}

static void expect_event(int fd, struct msg_sock *sock, short revents)
{
	struct msg_event event = next(fd);

	must(event.sock == sock && event.revents == revents);
}

static void test_fd_is_level_triggered(void **state)
{
	int fd = msg_ctx_fd(ctx[NEAR]);
	struct msg_event event;

	must(fd >= 0 && msg_ctx_fd(ctx[NEAR]) == fd);
	must_fail(msg_ctx_dispatch(ctx[NEAR], &event, 0), EINVAL);
	quiet(fd);
	say(socks[0][FAR]);
	say(socks[0][FAR]);
	for (int i = 0; i < 3; i++)
		expect_event(fd, socks[0][NEAR], POLLIN);
	hear(socks[0][NEAR]);
	expect_event(fd, socks[0][NEAR], POLLIN);
	hear(socks[0][NEAR]);
	quiet(fd);
	/* And the end. */
	must(msg_shutdown(socks[0][FAR], SHUT_WR) == 0);
	for (int i = 0; i < 2; i++)
		expect_event(fd, socks[0][NEAR], POLLIN | POLLRDHUP);
	must(msg_close(socks[0][NEAR]) == 0);
	quiet(fd);
}

/* One place for events at a time: all that are ready have their turn. */
static void test_fd_is_fair(void **state)
{
	unsigned seen[N_SOCKS] = {0};
	int fd = msg_ctx_fd(ctx[NEAR]);

	quiet(fd);
	for (int i = 0; i < N_SOCKS; i++)
		say(socks[i][FAR]);
	for (int i = 0; i < 4 * N_SOCKS; i++) {
		struct msg_event event = next(fd);

		for (int j = 0; j < N_SOCKS; j++)
			seen[j] += event.sock == socks[j][NEAR];
	}
	for (int i = 0; i < N_SOCKS; i++)
		must(seen[i] >= 3);
}

/* POLLOUT comes once after a send that found no room, and not otherwise. */
static void test_fd_pollout_is_an_edge(void **state)
{
	int fd = msg_ctx_fd(ctx[NEAR]);
	unsigned n;

	for (int round = 0; round < 5; round++) {
		quiet(fd);
		n = fill(socks[0][NEAR]);
		must(!readable(fd, 30));
		drain(socks[0][FAR], n);
		expect_event(fd, socks[0][NEAR], POLLOUT);
		quiet(fd);
	}
	fill(socks[0][NEAR]);
	must(msg_close(socks[0][FAR]) == 0);
	must(next(fd).revents & POLLERR);
}

struct blocked {
	ssize_t result;
};

static void receive_on_second(void *arg)
{
	struct blocked *blocked = arg;

	blocked->result = msg_recv(socks[1][NEAR], got, sizeof(got), 0);
}

/* Credit grows with use, until the ring is what lacks. */
static void grow(struct msg_sock *near, struct msg_sock *far)
{
	static char bytes[8000];

	for (int i = 0; i < 500; i++) {
		must(msg_send(near, bytes, sizeof(bytes), 0) == sizeof(bytes));
		must(msg_recv(far, bytes, sizeof(bytes), 0) == sizeof(bytes));
	}
}

/* Sleeps on the descriptor until this socket may be written. */
static void await_pollout(const struct msg_sock *sock)
{
	struct pollfd fd = {.fd = msg_ctx_fd(ctx[NEAR]), .events = POLLIN};
	struct msg_event events[N_SOCKS];
	bool told = false;

	while (!told) {
		int n;

		must(poll(&fd, 1, TESTBED_WAIT_MS) == 1);
		n = msg_ctx_dispatch(ctx[NEAR], events, N_SOCKS);
		for (int i = 0; i < n; i++)
			told |= events[i].sock == sock && (events[i].revents & POLLOUT);
	}
}

/*
 * A socket that was refused and told of room, and has nothing to send any more, keeps nobody: the
 * other one on its link goes on, though there is room all the while.
 */
static void test_fd_of_one_that_does_not_come(void **state)
{
	struct msg_sock *silent = socks[0][NEAR], *other = socks[1][NEAR], *far = socks[1][FAR];
	unsigned n;

	grow(silent, socks[0][FAR]);
	grow(other, far);
	n = fill(silent);
	must(msg_send(other, got, 1000, MSG_DONTWAIT) < 0 && errno == EAGAIN);
	drain(socks[0][FAR], n);
	await_pollout(other);
	for (int i = 0; i < 1000; i++) {
		while (msg_send(other, got, 1000, MSG_DONTWAIT) < 0)
			await_pollout(other);
		drain(far, 1);
	}
}

/* After blocking calls of the same context the descriptor is as alive as before. */
static void test_fd_beside_blocking_calls(void **state)
{
	struct msg_sock *listener = msg_listen(ctx[FAR], "beside", LIBMSG_SEQPACKET, 2, 0);
	struct msg_sock *own = msg_listen(ctx[NEAR], "own", LIBMSG_SEQPACKET, 2, 0);
	int fd = msg_ctx_fd(ctx[NEAR]);
	struct blocked blocked = {0};
	struct msg_sock *sock = NULL;
	struct worker worker;
	struct pump pump;

	must(listener);
	for (int way = 0; way < 6; way++) {
		quiet(fd);
		switch (way) {
		case 0: /* a receive, of what is on its way, or a time limit */
			must(msg_setopt(socks[0][NEAR], LIBMSG_RCVTIMEO, 20) == 0);
			must_fail(msg_recv(socks[0][NEAR], got, 1, 0), EAGAIN);
			break;
		case 1:
			worker_start(&worker, receive_on_second, &blocked);
			worker_await_sleep(&worker);
			say(socks[1][FAR]);
			worker_join(&worker);
			must(blocked.result == 1);
			break;
		case 2: /* a send that waits for room */
			must(msg_setopt(socks[0][NEAR], LIBMSG_SNDTIMEO, 20) == 0);
			(void)fill(socks[0][NEAR]);
			must_fail(msg_send(socks[0][NEAR], got, 1000, 0), EAGAIN);
			break;
		case 3: /* a connect */
			pump_start(&pump, ctx[FAR]);
			sock = msg_connect(
				ctx[NEAR], "far/beside", LIBMSG_SEQPACKET, 0, TESTBED_WAIT_MS);
			must(sock);
			pump_stop(&pump);
			break;
		case 4: /* a poll */
			must(events_of(socks[0][NEAR], POLLIN, 20) == 0);
			break;
		case 5: /* an accept */
			must(msg_setopt(own, LIBMSG_RCVTIMEO, 20) == 0);
			must_fail_null(msg_accept(own, 0), EAGAIN);
			break;
		}
		say(socks[1][FAR]);
		expect_event(fd, socks[1][NEAR], POLLIN);
		hear(socks[1][NEAR]);
	}
	must(msg_close(sock) == 0);
	must(msg_close(listener) == 0);
}

/* A thread that drives the context, and a loop: neither takes the other's events away. */
static void test_fd_beside_a_driver(void **state)
{
	int fd = msg_ctx_fd(ctx[NEAR]);

	for (int round = 0; round < 50; round++) {
		struct blocked blocked = {0};
		struct worker worker;

		quiet(fd);
		worker_start(&worker, receive_on_second, &blocked);
		if (round % 2)
			worker_await_sleep(&worker);
		say(socks[1][FAR]);
		say(socks[0][FAR]);
		while (next(fd).sock != socks[0][NEAR])
			;
		must(msg_recv(socks[0][NEAR], got + 1, 1, 0) == 1);
		worker_join(&worker);
		must(blocked.result == 1);
		say(socks[0][FAR]);
		expect_event(fd, socks[0][NEAR], POLLIN);
		hear(socks[0][NEAR]);
	}
}

static void test_fd_beside_descriptors(void **state)
{
	struct pollfd fds[2];
	int pipe_fds[2];

	must(pipe(pipe_fds) == 0);
	fds[0] = (struct pollfd){.fd = msg_ctx_fd(ctx[NEAR]), .events = POLLIN};
	fds[1] = (struct pollfd){.fd = pipe_fds[0], .events = POLLIN};
	quiet(fds[0].fd);
	must(write(pipe_fds[1], "x", 1) == 1);
	must(poll(fds, 2, -1) == 1 && fds[1].revents == POLLIN);
	say(socks[2][FAR]);
	while (poll(fds, 2, -1) != 2)
		;
	must(read(pipe_fds[0], got, 10) == 1);
	must(poll(fds, 2, -1) == 1 && fds[0].revents == POLLIN);
	expect_event(fds[0].fd, socks[2][NEAR], POLLIN);
	hear(socks[2][NEAR]);
	quiet(fds[0].fd);
	must(poll(fds, 2, 0) == 0);
	(void)close(pipe_fds[0]);
	(void)close(pipe_fds[1]);
}

/* Accepting and connecting in a loop, level-triggered in another epoll set. */
static void test_fd_in_epoll(void **state)
{
	struct msg_sock *listener =
		msg_listen(ctx[NEAR], "epoll", LIBMSG_SEQPACKET, 8, LIBMSG_NONBLOCK);
	struct epoll_event event = {.events = EPOLLIN};
	int fd = msg_ctx_fd(ctx[NEAR]), epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	struct msg_sock *calling, *accepted = NULL, *called[2];
	struct msg_event ready;
	int64_t error;

	must(listener && epoll_fd >= 0 && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
	quiet(fd);
	must_fail_null(msg_accept(listener, 0), EAGAIN);
	/* To itself: both halves are this loop's. */
	calling = msg_connect(ctx[NEAR], "near/epoll", LIBMSG_SEQPACKET, LIBMSG_NONBLOCK, 0);
	must(calling);
	for (bool done = false; !done || !accepted;) {
		must(epoll_wait(epoll_fd, &event, 1, TESTBED_WAIT_MS) == 1);
		if (msg_ctx_dispatch(ctx[NEAR], &ready, 1) == 0)
			continue;
		if (ready.sock == listener) {
			accepted = msg_accept(listener, LIBMSG_NONBLOCK);
			must(accepted);
		} else if (ready.sock == calling) {
			must(ready.revents == POLLOUT && !done);
			must(msg_getopt(calling, LIBMSG_ERROR, &error) == 0 && error == 0);
			done = true;
		}
	}
	say(calling);
	for (called[0] = NULL; called[0] != accepted;) {
		must(epoll_wait(epoll_fd, &event, 1, TESTBED_WAIT_MS) == 1);
		if (msg_ctx_dispatch(ctx[NEAR], &ready, 1) == 1 && (ready.revents & POLLIN))
			called[0] = ready.sock;
	}
	hear(accepted);
	must(msg_close(accepted) == 0);
	expect_event(fd, calling, POLLIN | POLLRDHUP | POLLHUP);
	must(msg_close(calling) == 0 && msg_close(listener) == 0);
	quiet(fd);
	(void)close(epoll_fd);
}

/* ---- libevent: an echo server --------------------------------------------------------- */

#define N_CLIENTS 3
#define N_ASKED	  500

struct echo {
	struct event_base *base;
	struct msg_sock *listener;
	unsigned n_ended;
};

static void echo_socket(struct echo *echo, struct msg_sock *sock)
{
	ssize_t n;

	while ((n = msg_recv(sock, got, sizeof(got), 0)) > 0)
		must(msg_send(sock, got, (size_t)n, 0) == n); /* the client reads before more */
	if (n == 0) {
		must(msg_close(sock) == 0);
		if (++echo->n_ended == N_CLIENTS)
			must(event_base_loopbreak(echo->base) == 0);
		return;
	}
	must(errno == EAGAIN);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct echo *echo = arg;
	struct msg_event events[2];
	int n = msg_ctx_dispatch(ctx[NEAR], events, 2);

	must(n >= 0);
	for (int i = 0; i < n; i++) {
		if (events[i].sock == echo->listener)
			must(msg_accept(echo->listener, LIBMSG_NONBLOCK));
		else
			echo_socket(echo, events[i].sock);
	}
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
	++*(unsigned *)arg;
}

static void client(void *arg)
{
	struct msg_sock *sock =
		msg_connect(ctx[FAR], "near/echo", LIBMSG_SEQPACKET, 0, TESTBED_WAIT_MS);
	char sent[1000], back[1000];

	must(sock);
	for (uint32_t i = 0; i < N_ASKED; i++) {
		uint32_t len = 16 + i % 900;

		stamp_make(sent, 1, i, len);
		must(msg_send(sock, sent, len, 0) == (ssize_t)len);
		must(msg_recv(sock, back, sizeof(back), 0) == (ssize_t)len);
		must(memcmp(sent, back, len) == 0);
	}
	must(msg_close(sock) == 0);
}

static void test_libevent(void **state)
{
	struct echo echo = {.base = event_base_new()};
	struct timeval soon = {.tv_usec = 1000};
	struct worker clients[N_CLIENTS];
	struct event *readable_event, *timer;
	unsigned n_ticks = 0;

	echo.listener = msg_listen(ctx[NEAR], "echo", LIBMSG_SEQPACKET, 8, LIBMSG_NONBLOCK);
	readable_event = event_new(
		echo.base, msg_ctx_fd(ctx[NEAR]), EV_READ | EV_PERSIST, on_readable, &echo);
	timer = event_new(echo.base, -1, EV_PERSIST, on_time, &n_ticks);
	must(echo.listener && readable_event && timer);
	must(event_add(readable_event, NULL) == 0 && event_add(timer, &soon) == 0);
	for (int i = 0; i < N_CLIENTS; i++)
		worker_start(&clients[i], client, NULL);
	must(event_base_dispatch(echo.base) == 0);
	for (int i = 0; i < N_CLIENTS; i++)
		worker_join(&clients[i]);
	must(echo.n_ended == N_CLIENTS);
	event_free(readable_event);
	event_free(timer);
	event_base_free(echo.base);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_levels),
		CASE(test_ends),
		CASE(test_several),
		CASE(test_poll_errors),
		CASE(test_poll_is_woken),
		CASE(test_fd_is_level_triggered),
		CASE(test_fd_is_fair),
		CASE(test_fd_pollout_is_an_edge),
		CASE(test_fd_of_one_that_does_not_come),
		CASE(test_fd_beside_blocking_calls),
		CASE(test_fd_beside_a_driver),
		CASE(test_fd_beside_descriptors),
		CASE(test_fd_in_epoll),
		CASE(test_libevent),
	};

	return cmocka_run_group_tests_name("poll", tests, testbed_setup, testbed_teardown);
}
