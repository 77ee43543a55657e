/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The agent's connections, on an emulator in this process: whose turn it is. */
#include "tests/support/cmocka-all.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/listen.h"
#include "hv/sim/testing/sim.h"
#include "tests/support/raw-agent.h"

#define CLIENTS 4

static struct sim *sim;
static struct hv *hv;
static struct event_base *base;
static struct agent *agent;
static int clients[CLIENTS];
static unsigned n_idle;

static void on_log(void *arg, int priority, const char *text)
{
	fail_msg("%s", text);
}

static void on_idle(void *arg, bool idle)
{
	n_idle += idle;
}

static const struct agent_ops ops = {.log = on_log, .idle = on_idle};

static void run(void)
{
	for (int i = 0; i < 2 * CLIENTS + 2; i++)
		assert_true(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);
}

static int setup(void **state)
{
	char path[64];
	int fd;

	n_idle = 0;
	assert_int_equal(sim_create(&sim), 0);
	assert_int_equal(sim_hv_open(sim, 0, &hv), 0);
	base = event_base_new();
	(void)snprintf(path, sizeof(path), "/tmp/msg-agent-test.%d", (int)getpid());
	assert_int_equal(unix_listen(path, SOCK_SEQPACKET, 0600, CLIENTS, &fd), 0);
	assert_int_equal(agent_new(base, fd, hv, &ops, NULL, &agent), 0);
	for (int i = 0; i < CLIENTS; i++)
		clients[i] = raw_agent_connect(path);
	run();
	return unlink(path);
}

static int teardown(void **state)
{
	for (int i = 0; i < CLIENTS; i++)
		(void)close(clients[i]);
	agent_free(agent);
	event_base_free(base);
	hv_close(hv);
	sim_free(sim);
	return 0;
}

static void ask(int fd)
{
	struct agent_request request = {
		.magic = AGENT_MAGIC, .version = AGENT_VERSION, .op = AGENT_DOMID};

	assert_int_equal(send(fd, &request, sizeof(request), 0), sizeof(request));
}

/* The answers that have come; they are taken. */
static unsigned answers(void)
{
	struct agent_reply reply;
	unsigned n = 0;

	for (int i = 0; i < CLIENTS; i++)
		while (recv(clients[i], &reply, sizeof(reply), MSG_DONTWAIT) == sizeof(reply))
			n++;
	return n;
}

/* However many clients ask, one of them is answered in a turn of the loop, each in its turn. */
static void test_turns(void **state)
{
	unsigned n, all = 0;

	for (int i = 0; i < CLIENTS; i++) {
		ask(clients[i]);
		ask(clients[i]);
	}
	for (unsigned turns = 0; all < 2 * CLIENTS; turns++) {
		assert_true(turns < 100);
		assert_true(event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK) >= 0);
		n = answers();
		assert_in_range(n, 0, 1);
		all += n;
	}
}

/* Clients that end while they wait for their turn. */
static void test_ends(void **state)
{
	for (int i = 0; i < CLIENTS; i++)
		ask(clients[i]);
	assert_true(event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK) >= 0);
	for (int i = 1; i < CLIENTS; i++) {
		(void)close(clients[i]);
		clients[i] = -1;
	}
	run();
	run();
	assert_int_equal(answers(), 1);
	assert_int_equal(n_idle, 0);
	(void)close(clients[0]);
	clients[0] = -1;
	run();
	assert_int_equal(n_idle, 1);
}

/* The agent ends while clients wait. */
static void test_agent_ends(void **state)
{
	for (int i = 0; i < CLIENTS; i++)
		ask(clients[i]);
	assert_true(event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK) >= 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_turns, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_agent_ends, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
