/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A socket or context that is closed while another thread is in a call on it: a library with
 * assertions ends the program, and says which call on which object.
 */
#include "tests/support/cmocka-all.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "tests/support/aborts.h"
#include "tests/support/testbed.h"

#define SKIPPED 77

/* All of this is in a child process, which has contexts of its own. */
static struct msg_ctx *left, *right;
static struct msg_sock *ends[2], *listener;
static char much[600000];

static void open_all(void)
{
	testbed_watchdog(30);
	left = testbed_ctx("left", 0);
	right = testbed_ctx("right", 0);
	testbed_channel(right, left, "left", ends);
	must(msg_setopt(ends[0], LIBMSG_LINGER, -1) == 0);
	listener = msg_listen(right, "misused", LIBMSG_SEQPACKET, 1, 0);
	must(listener);
}

static void receive(void *sock)
{
	(void)msg_recv(sock, much, 1, 0);
}

static void send_all(void *sock)
{
	while (msg_send(sock, much, 4000, 0) > 0)
		;
}

static void take_peers(void *sock)
{
	(void)msg_accept(sock, 0);
}

static void poll_two(void *sock)
{
	struct msg_pollfd fds[2] = {
		{.sock = listener, .events = POLLIN}, {.sock = sock, .events = POLLIN}};

	(void)msg_poll(fds, 2, -1);
}

/* Leaves the rest of a message unsent, for which the shutdown waits, and the close. */
static void shut_slowly(void *sock)
{
	must(msg_send(sock, much, sizeof(much), MSG_DONTWAIT) == sizeof(much));
	(void)msg_shutdown(sock, SHUT_WR);
}

static void close_slowly(void *sock)
{
	must(msg_send(sock, much, sizeof(much), MSG_DONTWAIT) == sizeof(much));
	(void)msg_close(sock);
}

static void close_first(void *arg)
{
	(void)msg_close(ends[0]);
}

static void close_listener(void *arg)
{
	(void)msg_close(listener);
}

static void close_context(void *arg)
{
	msg_ctx_close(right);
}

static void receive_first(void *arg)
{
	receive(ends[0]);
}

static const struct misuse {
	void (*sleep)(void *sock);
	bool on_listener;
	void (*then)(void *arg);
	const char *words;
} misuses[] = {
	{receive, false, close_first,
		"libmsg: msg_close of the channel \"testbed.0\" with domain left while another "
		"thread is in "
		"msg_recv"},
	{send_all, false, close_first,
		"msg_close of the channel \"testbed.0\" with domain left while "
		"another thread is in msg_send"},
	{poll_two, false, close_first, "while another thread is in msg_poll"},
	{poll_two, false, close_listener,
		"msg_close of the listener \"misused\" while another thread is in msg_poll"},
	{take_peers, true, close_listener,
		"msg_close of the listener \"misused\" while another thread is in msg_accept"},
	{shut_slowly, false, close_first, "while another thread is in msg_shutdown"},
	{close_slowly, false, close_first,
		"msg_close of the channel \"testbed.0\" with domain left "
		"while another thread is in msg_close of it"},
	{close_slowly, false, receive_first,
		"msg_recv of the channel \"testbed.0\" with domain left "
		"while another thread is in msg_close of it"},
	{receive, false, close_context,
		"msg_ctx_close of a context while another thread is in a call of it"},
	{take_peers, true, close_context,
		"msg_ctx_close of a context while another thread is in a call of it"},
};

static void misuse_in_child(void *arg)
{
	const struct misuse *misuse = arg;
	struct worker worker;

	open_all();
	worker_start(&worker, misuse->sleep, misuse->on_listener ? listener : ends[0]);
	worker_await_sleep(&worker);
	misuse->then(NULL);
}

static void test_misuse(void **state)
{
	char text[2000];

	for (size_t i = 0; i < ARRAY_SIZE(misuses); i++) {
		must(aborts_with(
			misuse_in_child, (void *)(uintptr_t)&misuses[i], text, sizeof(text)));
		if (strstr(text, misuses[i].words))
			continue;
		(void)fprintf(stderr, "%s\nis not\n%s\n", text, misuses[i].words);
		must(!"it says so");
	}
}

/* A thread whose call has returned is in no call, whatever it was woken by. */
static void use_well(void *arg)
{
	struct worker worker;

	open_all();
	worker_start(&worker, receive, ends[0]);
	worker_await_sleep(&worker);
	must(msg_shutdown(ends[0], SHUT_RDWR) == 0);
	worker_join(&worker);
	must(msg_close(ends[0]) == 0);
	worker_start(&worker, take_peers, listener);
	worker_await_sleep(&worker);
	must(msg_shutdown(listener, SHUT_RD) == 0);
	worker_join(&worker);
	msg_ctx_close(right);
	msg_ctx_close(left);
}

static void test_use(void **state)
{
	must(!aborts(use_well, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_misuse),
		cmocka_unit_test(test_use),
	};

#ifdef NDEBUG
	return SKIPPED;
#endif
	return cmocka_run_group_tests_name("misuse", tests, testbed_setup, testbed_teardown);
}
