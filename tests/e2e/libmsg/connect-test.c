/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names, listeners and connects, blocking and not; processes that fork. */
#include "tests/support/cmocka-all.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macro.h"
#include "tests/support/testbed.h"

static struct msg_ctx *near_ctx, *far_ctx;
static char got[100];

static int setup(void **state)
{
	testbed_watchdog(60);
	near_ctx = testbed_ctx("near", 0);
	far_ctx = testbed_ctx("far", 0);
	return 0;
}

static int teardown(void **state)
{
	msg_ctx_close(near_ctx);
	msg_ctx_close(far_ctx);
	testbed_watchdog(0);
	return 0;
}

static struct msg_sock *listen_on(struct msg_ctx *ctx, const char *name, int backlog)
{
	struct msg_sock *sock = msg_listen(ctx, name, LIBMSG_SEQPACKET, backlog, 0);

	must(sock);
	return sock;
}

/* When msgd answers a question, it has read everything that the context said before. */
static void ask(struct msg_ctx *ctx)
{
	must(msg_close(listen_on(ctx, "question", 1)) == 0);
}

static struct msg_sock *connect_start(struct msg_ctx *ctx, const char *address, unsigned flags)
{
	struct msg_sock *sock =
		msg_connect(ctx, address, LIBMSG_SEQPACKET, flags | LIBMSG_NONBLOCK, 0);

	must(sock);
	return sock;
}

/* Waits for the end of a non-blocking connect; its errno, 0 being success. */
static int connect_end(struct msg_sock *sock)
{
	struct msg_pollfd fd = {.sock = sock, .events = POLLOUT};
	int64_t error;

	must(msg_poll(&fd, 1, TESTBED_WAIT_MS) == 1 && (fd.revents & POLLOUT));
	must(!(fd.revents & POLLERR) == !(fd.revents & POLLHUP));
	must(msg_getopt(sock, LIBMSG_ERROR, &error) == 0);
	must((error != 0) == ((fd.revents & POLLERR) != 0));
	return (int)error;
}

static void talk(struct msg_sock *from, struct msg_sock *to)
{
	must(msg_send(from, "hello", 5, 0) == 5);
	must(msg_recv(to, got, sizeof(got), 0) == 5 && memcmp(got, "hello", 5) == 0);
}

/* ---- non-blocking ------------------------------------------------------------------------ */

static void test_connect_in_the_background(void **state)
{
	struct msg_sock *listener = listen_on(far_ctx, "background", 4), *sock, *accepted;
	struct msg_peer peer = {.size = sizeof(peer)};
	struct msg_pollfd fd;
	int64_t error;

	sock = connect_start(near_ctx, "far/background", 0);
	must_fail(msg_send(sock, "x", 1, 0), ENOTCONN);
	must_fail(msg_recv(sock, got, 1, 0), ENOTCONN);
	must_fail(msg_shutdown(sock, SHUT_WR), ENOTCONN);
	must_fail(msg_flush(sock), ENOTCONN);
	must_fail(msg_getpeer(sock, &peer), ENOTCONN);
	must_fail_null(msg_accept(sock, 0), EINVAL);
	must(msg_getopt(sock, LIBMSG_ERROR, &error) == 0 && error == 0);
	/* Nobody drives the far end yet. */
	fd = (struct msg_pollfd){.sock = sock, .events = POLLIN | POLLOUT};
	must(msg_poll(&fd, 1, 20) == 0);
	/* Both ends are ours: each makes its half of the link while it waits. */
	must(msg_setopt(listener, LIBMSG_RCVTIMEO, 5) == 0);
	while (!(accepted = msg_accept(listener, 0))) {
		must(errno == EAGAIN);
		must(msg_poll(&fd, 1, 5) >= 0);
	}
	must(connect_end(sock) == 0);
	must(msg_getpeer(sock, &peer) == 0 && strcmp(peer.name, "background") == 0);
	must(msg_ctx_domid(far_ctx) == (int)peer.domid && msg_ctx_domid(near_ctx) >= 0 &&
		msg_ctx_domid(near_ctx) != (int)peer.domid);
	/* It stays non-blocking. */
	must_fail(msg_recv(sock, got, 1, 0), EAGAIN);
	talk(sock, accepted);
	must(msg_close(sock) == 0 && msg_close(accepted) == 0 && msg_close(listener) == 0);
}

static void test_connect_fails_in_the_background(void **state)
{
	struct msg_sock *sock = connect_start(near_ctx, "far/nobody", 0);
	int64_t error;

	must(connect_end(sock) == ENOENT);
	must(strstr(msg_reason(), "nobody"));
	must(msg_getopt(sock, LIBMSG_ERROR, &error) == 0 && error == 0); /* told once */
	must_fail(msg_send(sock, "x", 1, 0), ENOTCONN);
	must_fail(msg_recv(sock, got, 1, 0), ENOTCONN);
	must(msg_close(sock) == 0);
	sock = connect_start(near_ctx, "nowhere/name", 0);
	must(connect_end(sock) == EHOSTUNREACH);
	must(msg_close(sock) == 0);
	/* An address that is no address fails at once. */
	must_fail_null(
		msg_connect(near_ctx, "no name", LIBMSG_SEQPACKET, LIBMSG_NONBLOCK, 0), EINVAL);
}

/* Given up before its end, in several ways: the listener sees nothing, or an end at once. */
static void test_connect_given_up(void **state)
{
	struct msg_sock *listener = listen_on(far_ctx, "given-up", 8), *sock, *accepted;
	struct pump pump;

	for (int i = 0; i < 20; i++) {
		sock = connect_start(near_ctx, "far/given-up", 0);
		if (i % 3 == 0)
			pump_start(&pump, far_ctx);
		if (i % 3 == 1)
			(void)msg_poll(&(struct msg_pollfd){.sock = sock, .events = POLLOUT}, 1, 1);
		must(msg_close(sock) == 0);
		if (i % 3 == 0)
			pump_stop(&pump);
	}
	must_fail_null(msg_connect(near_ctx, "far/later", LIBMSG_SEQPACKET, LIBMSG_WAIT_NAME, 20),
		ETIMEDOUT);
	/* A waiting one that was given up is not served later. */
	accepted = listen_on(far_ctx, "later", 8);
	must(msg_setopt(accepted, LIBMSG_RCVTIMEO, 20) == 0);
	must_fail_null(msg_accept(accepted, 0), EAGAIN);
	must(msg_close(accepted) == 0);
	pump_start(&pump, near_ctx);
	must(msg_setopt(listener, LIBMSG_RCVTIMEO, 100) == 0);
	while ((accepted = msg_accept(listener, 0))) {
		must(msg_recv(accepted, got, 1, 0) == 0);
		must(msg_close(accepted) == 0);
	}
	pump_stop(&pump);
	must(msg_close(listener) == 0);
}

static void connect_and_wait(void *arg)
{
	struct msg_sock **ret = arg;

	*ret = msg_connect(
		near_ctx, "far/awaited", LIBMSG_SEQPACKET, LIBMSG_WAIT_NAME, TESTBED_WAIT_MS);
	must(*ret);
}

static void test_name_is_waited_for(void **state)
{
	struct msg_sock *listener, *sock, *accepted;
	struct worker worker;

	worker_start(&worker, connect_and_wait, &sock);
	worker_await_sleep(&worker);
	listener = listen_on(far_ctx, "awaited", 1);
	accepted = msg_accept(listener, 0);
	must(accepted);
	worker_join(&worker);
	talk(sock, accepted);
	must(msg_close(sock) == 0 && msg_close(accepted) == 0 && msg_close(listener) == 0);
}

/* ---- names ---------------------------------------------------------------------------- */

/* One thread, one context, both ends. */
static void test_to_itself(void **state)
{
	struct msg_sock *listener = listen_on(near_ctx, "self", 4), *sock, *accepted;
	struct msg_peer peer = {.size = sizeof(peer)};

	for (int i = 0; i < 3; i++) {
		sock = msg_connect(
			near_ctx, i ? "near/self" : "self", LIBMSG_SEQPACKET, 0, TESTBED_WAIT_MS);
		must(sock);
		accepted = msg_accept(listener, 0);
		must(accepted);
		talk(sock, accepted);
		talk(accepted, sock);
		must(msg_getpeer(sock, &peer) == 0 && strcmp(peer.domain, "near") == 0);
		must(msg_close(sock) == 0);
		must(msg_recv(accepted, got, 1, 0) == 0);
		must(msg_close(accepted) == 0);
	}
	must(msg_close(listener) == 0);
}

#define N_NAMES 100

static void connect_to_all(void *arg)
{
	for (int i = 0; i < N_NAMES; i++) {
		char address[32], name[32];
		struct msg_sock *sock;

		(void)snprintf(address, sizeof(address), "far/name-%d", i * 37 % N_NAMES);
		sock = msg_connect(near_ctx, address, LIBMSG_SEQPACKET, 0, TESTBED_WAIT_MS);
		must(sock);
		must(msg_recv(sock, name, sizeof(name), 0) == (ssize_t)strlen(address + 4));
		must(memcmp(name, address + 4, strlen(address + 4)) == 0);
		must(msg_close(sock) == 0);
	}
}

static void test_many_names(void **state)
{
	struct msg_pollfd fds[N_NAMES];
	struct worker worker;
	char name[32];

	for (int i = 0; i < N_NAMES; i++) {
		(void)snprintf(name, sizeof(name), "name-%d", i);
		fds[i] = (struct msg_pollfd){.sock = listen_on(far_ctx, name, 1), .events = POLLIN};
		msg_set_userdata(fds[i].sock, (void *)(intptr_t)i);
	}
	worker_start(&worker, connect_to_all, NULL);
	for (int n = 0; n < N_NAMES; n++) {
		must(msg_poll(fds, N_NAMES, -1) == 1);
		for (int i = 0; i < N_NAMES; i++) {
			struct msg_sock *sock;

			if (!fds[i].revents)
				continue;
			sock = msg_accept(fds[i].sock, 0);
			must(sock && i == n * 37 % N_NAMES);
			(void)snprintf(name, sizeof(name), "name-%d",
				(int)(intptr_t)msg_userdata(fds[i].sock));
			must(msg_send(sock, name, strlen(name), 0) > 0);
			must(msg_recv(sock, got, 1, 0) == 0);
			must(msg_close(sock) == 0);
		}
	}
	worker_join(&worker);
	for (int i = 0; i < N_NAMES; i++)
		must(msg_close(fds[i].sock) == 0);
}

static void test_name_taken(void **state)
{
	struct msg_ctx *other = testbed_ctx("near", 0);
	struct msg_sock *first = listen_on(near_ctx, "taken", 1), *second;

	must_fail_null(msg_listen(near_ctx, "taken", LIBMSG_SEQPACKET, 1, 0), EADDRINUSE);
	must_fail_null(msg_listen(other, "taken", LIBMSG_SEQPACKET, 1, 0), EADDRINUSE);
	must(strstr(msg_reason(), "taken"));
	second = listen_on(far_ctx, "taken", 1); /* another domain's is another name */
	must(msg_close(second) == 0);
	/* Closed, it is free: for the same program at once, for others when msgd has read it. */
	must(msg_close(first) == 0);
	first = listen_on(near_ctx, "taken", 1);
	must(msg_close(first) == 0);
	first = listen_on(near_ctx, "order", 1);
	must(msg_close(first) == 0);
	ask(near_ctx);
	first = listen_on(other, "order", 1);
	msg_ctx_close(other);
}

/* ---- backlog -------------------------------------------------------------------------- */

static void test_backlog(void **state)
{
	struct msg_sock *listener = listen_on(far_ctx, "backlog", 2), *socks[3], *accepted[3];
	struct pump pump;

	pump_start(&pump, far_ctx);
	for (int i = 0; i < 2; i++) {
		socks[i] =
			msg_connect(near_ctx, "far/backlog", LIBMSG_SEQPACKET, 0, TESTBED_WAIT_MS);
		must(socks[i]);
	}
	for (int i = 0; i < 3; i++)
		must_fail_null(
			msg_connect(near_ctx, "far/backlog", LIBMSG_SEQPACKET, 0, TESTBED_WAIT_MS),
			ECONNREFUSED);
	must(strstr(msg_reason(), "backlog"));
	accepted[0] = msg_accept(listener, 0);
	must(accepted[0]);
	/* There is a place again, as soon as msgd knows. */
	ask(far_ctx);
	socks[2] = msg_connect(near_ctx, "far/backlog", LIBMSG_SEQPACKET, 0, TESTBED_WAIT_MS);
	must(socks[2]);
	for (int i = 1; i < 3; i++) {
		accepted[i] = msg_accept(listener, 0);
		must(accepted[i]);
	}
	for (int i = 0; i < 3; i++) {
		talk(socks[i], accepted[i]); /* in the order of the connects */
		must(msg_close(socks[i]) == 0 && msg_close(accepted[i]) == 0);
	}
	pump_stop(&pump);
	must_fail_null(msg_listen(far_ctx, "b", LIBMSG_SEQPACKET, 0, 0), EINVAL);
	must_fail_null(msg_listen(far_ctx, "b", LIBMSG_SEQPACKET, 4097, 0), EINVAL);
	must(msg_close(listener) == 0);
}

/* A listener closes: channels that wait are reset, accepted channels go on. */
static void test_listener_closes(void **state)
{
	struct msg_sock *listener = listen_on(far_ctx, "closes", 4), *socks[2], *accepted;
	struct pump pump;

	pump_start(&pump, far_ctx);
	for (int i = 0; i < 2; i++) {
		socks[i] =
			msg_connect(near_ctx, "far/closes", LIBMSG_SEQPACKET, 0, TESTBED_WAIT_MS);
		must(socks[i]);
	}
	accepted = msg_accept(listener, 0);
	must(accepted && msg_close(listener) == 0);
	must_fail(msg_recv(socks[1], got, 1, 0), ECONNRESET);
	talk(socks[0], accepted);
	ask(far_ctx); /* until then a connect may still be offered, and be reset */
	must_fail_null(
		msg_connect(near_ctx, "far/closes", LIBMSG_SEQPACKET, 0, TESTBED_WAIT_MS), ENOENT);
	for (int i = 0; i < 2; i++)
		must(msg_close(socks[i]) == 0);
	must(msg_close(accepted) == 0);
	pump_stop(&pump);
}

/* ---- fork ----------------------------------------------------------------------------- */

/* In the child, every call that touches the parent's context fails, and harms nothing. */
static _Noreturn void child_of_fork(struct msg_sock *sock, struct msg_sock *listener)
{
	struct msg_pollfd fd = {.sock = sock, .events = POLLIN};
	struct msg_peer peer = {.size = sizeof(peer)};
	struct iovec iov = {.iov_base = got, .iov_len = 1};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	struct msg_event event;
	struct msg_buf *buf;
	const void *data;
	int64_t value;

	testbed_watchdog(30);
	must_fail(msg_ctx_fd(near_ctx), EBADFD);
	must_fail(msg_ctx_dispatch(near_ctx, &event, 1), EBADFD);
	must_fail(msg_ctx_set_transport(near_ctx, LIBMSG_TRANSPORT_ANY), EBADFD);
	must_fail(msg_ctx_domid(near_ctx), EBADFD);
	must_fail_null(msg_listen(near_ctx, "child", LIBMSG_SEQPACKET, 1, 0), EBADFD);
	must_fail_null(msg_accept(listener, 0), EBADFD);
	must_fail_null(msg_connect(near_ctx, "far/fork", LIBMSG_SEQPACKET, 0, -1), EBADFD);
	must_fail(msg_shutdown(sock, SHUT_RDWR), EBADFD);
	must_fail(msg_send(sock, "x", 1, 0), EBADFD);
	must_fail(msg_recv(sock, got, 1, 0), EBADFD);
	must_fail(msg_sendmsg(sock, &message, 0), EBADFD);
	must_fail(msg_recvmsg(sock, &message, 0), EBADFD);
	must_fail(msg_recv_take(sock, 0, &data, &buf), EBADFD);
	must_fail(msg_flush(sock), EBADFD);
	must_fail(msg_poll(&fd, 1, -1), EBADFD);
	must_fail(msg_getpeer(sock, &peer), EBADFD);
	must_fail(msg_setopt(sock, LIBMSG_RCVTIMEO, 1), EBADFD);
	must_fail(msg_getopt(sock, LIBMSG_RCVTIMEO, &value), EBADFD);
	must_fail(msg_close(sock), EBADFD);
	must_fail(msg_close(listener), EBADFD);
	msg_ctx_set_log(near_ctx, NULL, NULL); /* can say nothing, must not harm */
	msg_ctx_close(near_ctx);
	/* A context of its own is another application. */
	near_ctx = testbed_ctx("near", 0);
	sock = msg_connect(near_ctx, "far/fork", LIBMSG_SEQPACKET, 0, TESTBED_WAIT_MS);
	must(sock && msg_send(sock, "child", 5, 0) == 5);
	must(msg_recv(sock, got, 5, 0) == 0);
	must(msg_close(sock) == 0);
	msg_ctx_close(near_ctx);
	_exit(0);
}

static void test_fork(void **state)
{
	struct msg_sock *listener = listen_on(far_ctx, "fork", 1), *socks[2], *childs;
	struct msg_sock *own = listen_on(near_ctx, "own", 1);
	int status;
	pid_t pid;

	testbed_channel(near_ctx, far_ctx, "far", socks);
	(void)msg_ctx_fd(near_ctx);
	pid = fork();
	must(pid >= 0);
	if (pid == 0)
		child_of_fork(socks[0], own);
	for (int i = 0; i < 100; i++) /* beside it, the parent goes on */
		talk(socks[i % 2], socks[!(i % 2)]);
	childs = msg_accept(listener, 0);
	must(childs && msg_recv(childs, got, sizeof(got), 0) == 5);
	must(msg_close(childs) == 0);
	must(waitpid(pid, &status, 0) == pid && status == 0);
	talk(socks[0], socks[1]);
	talk(socks[1], socks[0]);
	must(msg_close(socks[0]) == 0 && msg_close(socks[1]) == 0);
	must(msg_close(listener) == 0 && msg_close(own) == 0);
}

/* The parent's death is seen although a forked child lives on. */
static void test_parent_dies_before_child(void **state)
{
	struct msg_sock *listener = listen_on(far_ctx, "parent", 1), *sock;
	int fds[2], status;
	pid_t pid;

	must(pipe(fds) == 0);
	pid = fork();
	must(pid >= 0);
	if (pid == 0) {
		testbed_watchdog(30);
		near_ctx = testbed_ctx("near", 0);
		sock = msg_connect(near_ctx, "far/parent", LIBMSG_SEQPACKET, 0, TESTBED_WAIT_MS);
		must(sock && msg_send(sock, "whole", 5, 0) == 5);
		if (fork() == 0) {
			(void)close(fds[1]);
			must(read(fds[0], got, 1) == 0); /* lives until the test is over */
			_exit(0);
		}
		(void)pause();
	}
	(void)close(fds[0]);
	sock = msg_accept(listener, 0);
	must(sock && msg_recv(sock, got, sizeof(got), 0) == 5);
	must(kill(pid, SIGKILL) == 0);
	must(waitpid(pid, &status, 0) == pid);
	must_fail(msg_recv(sock, got, 1, 0), ECONNRESET);
	(void)close(fds[1]);
	must(msg_close(sock) == 0 && msg_close(listener) == 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_connect_in_the_background),
		CASE(test_connect_fails_in_the_background),
		CASE(test_connect_given_up),
		CASE(test_name_is_waited_for),
		CASE(test_to_itself),
		CASE(test_many_names),
		CASE(test_name_taken),
		CASE(test_backlog),
		CASE(test_listener_closes),
		CASE(test_fork),
		CASE(test_parent_dies_before_child),
	};

	return cmocka_run_group_tests_name("connect", tests, testbed_setup, testbed_teardown);
}
