/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A channel whose permission is withdrawn: both ends are told so, whatever they are doing, by the
 * same error and the same sentence.
 */
#include "tests/support/cmocka-all.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "tests/support/testbed.h"

static const char gone[] = "policy or the administrator permits the channel no more";

struct end {
	struct msg_sock *sock;
	struct worker worker;
	int error;
	char reason[256];
};

static void note(struct end *end)
{
	end->error = errno;
	(void)snprintf(end->reason, sizeof(end->reason), "%s", msg_reason());
}

static void send_on(void *arg)
{
	static char bytes[65536];
	struct end *end = arg;

	while (msg_send(end->sock, bytes, sizeof(bytes), 0) > 0)
		;
	note(end);
}

static void recv_on(void *arg)
{
	static char bytes[65536];
	struct end *end = arg;

	while (msg_recv(end->sock, bytes, sizeof(bytes), 0) > 0)
		;
	note(end);
}

/* An event loop that sends, and hears of it by POLLERR. */
static void poll_on(void *arg)
{
	static char bytes[65536];
	struct end *end = arg;
	struct msg_pollfd fd = {.sock = end->sock, .events = POLLOUT};

	for (;;) {
		must(msg_poll(&fd, 1, TESTBED_WAIT_MS) == 1);
		if (msg_send(end->sock, bytes, sizeof(bytes), MSG_DONTWAIT) < 0 && errno != EAGAIN)
			break;
	}
	note(end);
}

/* Each case has a domain of its own: a policy is in force a little after it was given. */
static void withdraw(const char *domain)
{
	char policy[256];

	(void)snprintf(policy, sizeof(policy),
		"allow listen * on any\ndeny connect * from %s to any\n"
		"allow connect * from any to any transport=%s\n",
		domain, testbed_transport());
	testbed_policy(policy);
}

/* first: of the end that connected; second: of the other one. NULL: it does nothing meanwhile. */
static void withdrawn(void (*first)(void *), void (*second)(void *), bool other_channel)
{
	static unsigned n;
	char domain[16], bytes[16];
	struct msg_ctx *near, *far = testbed_ctx("far", 0);
	struct msg_sock *socks[2], *others[2];
	struct end ends[2] = {{0}};
	struct pump pump;
	void (*fns[2])(void *) = {first, second};

	(void)snprintf(domain, sizeof(domain), "near%u", n++);
	near = testbed_ctx(domain, 0);
	testbed_channel(near, far, "far", socks);
	/* A channel the other way, which is permitted still: the link stays. */
	if (other_channel)
		testbed_channel(far, near, domain, others);
	for (unsigned i = 0; i < 2; i++) {
		ends[i].sock = socks[i];
		if (fns[i])
			worker_start(&ends[i].worker, fns[i], &ends[i]);
	}
	for (unsigned i = 0; i < 2; i++) {
		if (fns[i] && !fns[1 - i])
			worker_await_sleep(&ends[i].worker);
	}
	withdraw(domain);
	for (unsigned i = 0; i < 2; i++) {
		if (fns[i])
			worker_join(&ends[i].worker);
	}
	for (unsigned i = 0; i < 2; i++) {
		if (!fns[i])
			send_on(&ends[i]);
		if (ends[i].error != ECONNRESET || !strstr(ends[i].reason, gone))
			print_error("end %u: %s: %s\n", i, strerror(ends[i].error), ends[i].reason);
		assert_int_equal(ends[i].error, ECONNRESET);
		assert_non_null(strstr(ends[i].reason, gone));
		/* A send and a receive say the same, and go on to. */
		must_fail(msg_send(socks[i], "x", 1, 0), ECONNRESET);
		assert_non_null(strstr(msg_reason(), gone));
		(void)msg_close(socks[i]);
	}
	if (other_channel) {
		/* The ring may be full of the lost channel's messages: the near end has to take
		 * them. */
		pump_start(&pump, near);
		must(msg_send(others[0], "still there", 11, 0) == 11);
		pump_stop(&pump);
		must(msg_recv(others[1], bytes, sizeof(bytes), 0) == 11);
	}
	msg_ctx_close(near);
	msg_ctx_close(far);
}

static void test_withdrawn(void **state)
{
	for (unsigned other = 0; other < 2; other++) {
		withdrawn(send_on, recv_on, other);
		withdrawn(recv_on, send_on, other);
		withdrawn(send_on, NULL, other);
		withdrawn(NULL, send_on, other);
		withdrawn(poll_on, recv_on, other);
		withdrawn(recv_on, recv_on, other);
		withdrawn(recv_on, NULL, other);
	}
}

static int setup(void **state)
{
	testbed_start(NULL, NULL);
	testbed_watchdog(100);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_withdrawn),
	};

	return cmocka_run_group_tests(tests, setup, testbed_teardown);
}
