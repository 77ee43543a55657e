/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Everything at once, for STRESS_MS (10 s): contents, order and counts are checked, and that every
 * thread and process gets on. Ways to wait are mixed on purpose: those that block, poll, time out,
 * are interrupted, or only look.
 */
#include "tests/support/cmocka-all.h"

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macro.h"
#include "tests/support/testbed.h"

#define STALL_MS	 20000
#define SIZE_MAX_MESSAGE 60000U

static struct msg_ctx *left, *right;
static _Atomic bool stopped;

static uint64_t run_ms(void)
{
	const char *text = getenv("STRESS_MS");

	return (text ? strtoul(text, NULL, 0) : 10000) / 2;
}

/* ---- roles: each moves `done` with every message --------------------------------------------- */

struct role {
	const char *name;
	void (*fn)(void *arg);
	struct msg_sock *sock;
	uint32_t stream;
	_Atomic uint32_t done;
	struct worker worker;
	uint32_t last;
	uint64_t last_ms;
};

static uint32_t size_of(uint32_t stream, uint32_t number)
{
	uint32_t x = number * 2654435761U ^ stream;

	/* Most are short, some take several frames. */
	return (uint32_t)sizeof(struct stamp) + (x % 32 ? x % 700 : x % SIZE_MAX_MESSAGE);
}

static void role_send(void *arg)
{
	struct role *role = arg;
	char *data = malloc(2 * SIZE_MAX_MESSAGE);

	while (!stopped) {
		uint32_t len = size_of(role->stream, role->done);

		stamp_make(data, role->stream, role->done, len);
		must(msg_send(role->sock, data, len, role->done % 8 ? MSG_MORE : 0) ==
			(ssize_t)len);
		role->done++;
	}
	must(msg_flush(role->sock) == 0);
	free(data);
}

/* A message from a channel on which `role_send` sends; in order. */
static void take_one(struct role *role, const char *data, ssize_t len)
{
	struct stamp stamp = stamp_check(data, len);

	must(stamp.stream == role->stream && stamp.number == role->done);
	role->done++;
}

static void role_receive(void *arg)
{
	struct role *role = arg;
	char *data = malloc(2 * SIZE_MAX_MESSAGE);
	ssize_t len;

	while ((len = msg_recv(role->sock, data, 2 * SIZE_MAX_MESSAGE, 0)) > 0)
		take_one(role, data, len);
	must(len == 0);
	free(data);
}

/* Its limit is over again and again, and signals hit it. */
static void role_receive_impatient(void *arg)
{
	struct role *role = arg;
	char *data = malloc(2 * SIZE_MAX_MESSAGE);
	ssize_t len;

	must(msg_setopt(role->sock, LIBMSG_RCVTIMEO, 1) == 0);
	while ((len = msg_recv(role->sock, data, 2 * SIZE_MAX_MESSAGE, 0)) != 0) {
		if (len > 0)
			take_one(role, data, len);
		else
			must(errno == EAGAIN || errno == EINTR);
	}
	free(data);
}

/* Never waits inside libmsg, and so takes events that others wait for. */
static void role_receive_looking(void *arg)
{
	struct role *role = arg;
	char *data = malloc(2 * SIZE_MAX_MESSAGE);
	ssize_t len;

	while ((len = msg_recv(role->sock, data, 2 * SIZE_MAX_MESSAGE, MSG_DONTWAIT)) != 0) {
		if (len > 0)
			take_one(role, data, len);
		else
			must(errno == EAGAIN);
		if (len < 0)
			(void)poll(NULL, 0, role->done % 3 == 0);
	}
	free(data);
}

static void role_receive_polling(void *arg)
{
	struct role *role = arg;
	char *data = malloc(2 * SIZE_MAX_MESSAGE);
	struct msg_pollfd fd = {.sock = role->sock, .events = POLLIN};
	const void *taken;
	struct msg_buf *buf;
	ssize_t len;

	for (;;) {
		int n = msg_poll(&fd, 1, role->done % 2 ? -1 : 2);

		must(n >= 0 && n <= 1);
		if (n == 0)
			continue;
		must(fd.revents & POLLIN);
		len = msg_recv_take(role->sock, MSG_DONTWAIT, &taken, &buf);
		must(len >= 0);
		if (!buf)
			break;
		take_one(role, taken, len);
		msg_buf_free(buf);
	}
	free(data);
}

static void role_ask(void *arg)
{
	struct role *role = arg;
	char data[1000], got[1000];

	while (!stopped) {
		uint32_t len = (uint32_t)sizeof(struct stamp) + role->done % 900;

		stamp_make(data, role->stream, role->done, len);
		must(msg_send(role->sock, data, len, 0) == (ssize_t)len);
		must(msg_recv(role->sock, got, sizeof(got), 0) == (ssize_t)len);
		must(memcmp(data, got, len) == 0);
		role->done++;
	}
}

static void role_answer(void *arg)
{
	struct role *role = arg;
	char data[1000];
	ssize_t len;

	while ((len = msg_recv(role->sock, data, sizeof(data), 0)) > 0) {
		must(msg_send(role->sock, data, (size_t)len, 0) == len);
		role->done++;
	}
	must(len == 0);
}

static void role_connect(void *arg)
{
	struct role *role = arg;
	char byte;

	for (bool last = false; !last; role->done++) {
		struct msg_sock *sock =
			msg_connect(right, "left/stress", LIBMSG_SEQPACKET, 0, TESTBED_WAIT_MS);

		must(sock);
		last = stopped;
		must(msg_send(sock, last ? "l" : "m", 1, 0) == 1);
		must(msg_recv(sock, &byte, 1, 0) == 1);
		must(msg_close(sock) == 0);
	}
}

static void role_accept(void *arg)
{
	struct role *role = arg;
	char byte = 'm';

	for (; byte == 'm'; role->done++) {
		struct msg_sock *sock = msg_accept(role->sock, 0);

		must(sock && msg_recv(sock, &byte, 1, 0) == 1);
		must(msg_send(sock, &byte, 1, 0) == 1);
		must(msg_close(sock) == 0);
	}
}

static struct role roles[] = {
	{.name = "send 0", .fn = role_send},
	{.name = "receive 0", .fn = role_receive},
	{.name = "send 1", .fn = role_send},
	{.name = "receive 1, impatient", .fn = role_receive_impatient},
	{.name = "send 2", .fn = role_send},
	{.name = "receive 2, looking", .fn = role_receive_looking},
	{.name = "send 3", .fn = role_send},
	{.name = "receive 3, polling", .fn = role_receive_polling},
	{.name = "ask 4", .fn = role_ask},
	{.name = "answer 4", .fn = role_answer},
	{.name = "ask 5", .fn = role_ask},
	{.name = "answer 5", .fn = role_answer},
	{.name = "connect", .fn = role_connect},
	{.name = "accept", .fn = role_accept},
};

#define N_PAIRS (ARRAY_SIZE(roles) / 2 - 1) /* but the last, which has no channel */

static void on_signal(int sig)
{
	(void)sig;
}

static void progress_check(void)
{
	uint64_t now = testbed_now_ms();

	for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
		struct role *role = &roles[i];

		if (role->done != role->last || !role->last_ms) {
			role->last = role->done;
			role->last_ms = now;
		} else if (now - role->last_ms > STALL_MS) {
			must_die(role->name, (int)role->done, "it gets on");
		}
	}
}

static void test_threads(void **state)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct msg_sock *socks[N_PAIRS][2], *listener;
	uint64_t end;

	testbed_watchdog(60 + (unsigned)(run_ms() / 1000));
	must(sigaction(SIGUSR1, &action, NULL) == 0);
	left = testbed_ctx("left", 0);
	right = testbed_ctx("right", 0);
	listener = msg_listen(left, "stress", LIBMSG_SEQPACKET, 8, 0);
	must(listener);
	for (size_t i = 0; i < N_PAIRS; i++) {
		bool other_way = i % 2;

		testbed_channel(other_way ? left : right, other_way ? right : left,
			other_way ? "right" : "left", socks[i]);
		roles[2 * i].sock = socks[i][0];
		roles[2 * i + 1].sock = socks[i][1];
		roles[2 * i].stream = roles[2 * i + 1].stream = (uint32_t)i;
	}
	roles[2 * N_PAIRS + 1].sock = listener;
	for (size_t i = 0; i < ARRAY_SIZE(roles); i++)
		worker_start(&roles[i].worker, roles[i].fn, &roles[i]);
	for (end = testbed_now_ms() + run_ms(); testbed_now_ms() < end;) {
		(void)poll(NULL, 0, 5);
		must(pthread_kill(roles[3].worker.thread, SIGUSR1) == 0);
		progress_check();
	}
	stopped = true;
	for (size_t i = 0; i < N_PAIRS; i++) {
		worker_join(&roles[2 * i].worker);
		must(msg_shutdown(roles[2 * i].sock, SHUT_WR) == 0);
		worker_join(&roles[2 * i + 1].worker);
		must(roles[2 * i].done == roles[2 * i + 1].done);
		must(msg_close(socks[i][0]) == 0 && msg_close(socks[i][1]) == 0);
	}
	worker_join(&roles[2 * N_PAIRS].worker);
	worker_join(&roles[2 * N_PAIRS + 1].worker);
	for (size_t i = 0; i < ARRAY_SIZE(roles); i++)
		(void)printf("%-24s %u\n", roles[i].name, roles[i].done);
	must(msg_close(listener) == 0);
	msg_ctx_close(left);
	msg_ctx_close(right);
	testbed_watchdog(0);
}

/* ---- processes that come, go and die --------------------------------------------------------- */

#define N_CHILDREN 3U

/* A guest's whole life, over and over, one thread each: the hub answers what it is asked. */
static _Noreturn void child_run(unsigned number, unsigned life)
{
	char domain[16], data[300], got[300];
	struct msg_ctx *ctx;

	testbed_watchdog(STALL_MS / 1000);
	(void)snprintf(domain, sizeof(domain), "guest%u", number);
	ctx = testbed_ctx(domain, LIBMSG_ONE_THREAD);
	for (uint32_t i = 0; i < 20; i++) {
		struct msg_sock *sock =
			msg_connect(ctx, "hub/hub", LIBMSG_SEQPACKET, 0, TESTBED_WAIT_MS);

		must(sock);
		for (uint32_t n = 0; n < 5; n++) {
			uint32_t len = (uint32_t)sizeof(struct stamp) + (life + i + n) % 200;

			stamp_make(data, life, n, len);
			must(msg_send(sock, data, len, 0) == (ssize_t)len);
			must(msg_recv(sock, got, sizeof(got), 0) == (ssize_t)len);
			must(memcmp(data, got, len) == 0);
			if (life % 3 == 1 && i == life % 20)
				(void)kill(getpid(), SIGKILL);
		}
		if ((i + life) % 2)
			must(msg_close(sock) == 0);
	}
	if (life % 3 == 0)
		msg_ctx_close(ctx);
	_exit(0);
}

/* One single-threaded process: all channels by way of msg_poll. */
static _Noreturn void hub_run(_Atomic uint32_t *ready)
{
	struct msg_pollfd fds[256] = {0};
	struct msg_ctx *ctx;
	size_t n = 1;
	char data[300];

	testbed_watchdog(60 + (unsigned)(run_ms() / 1000));
	ctx = testbed_ctx("hub", LIBMSG_ONE_THREAD);
	fds[0].sock = msg_listen(ctx, "hub", LIBMSG_SEQPACKET, 64, LIBMSG_NONBLOCK);
	must(fds[0].sock);
	fds[0].events = POLLIN;
	for (*ready = 1; *ready != 2;) {
		must(msg_poll(fds, n, 50) >= 0);
		for (size_t i = n - 1; i > 0; i--) {
			ssize_t len;

			if (!fds[i].revents)
				continue;
			len = msg_recv(fds[i].sock, data, sizeof(data), MSG_DONTWAIT);
			if (len > 0) {
				(void)stamp_check(data, len);
				if (msg_send(fds[i].sock, data, (size_t)len, 0) == len)
					continue;
				must(errno == ECONNRESET || errno == EPIPE);
			} else if (len < 0) {
				must(errno == ECONNRESET);
			}
			(void)msg_close(fds[i].sock);
			fds[i] = fds[--n];
		}
		while (fds[0].revents) {
			fds[n].sock = msg_accept(fds[0].sock, 0);
			if (!fds[n].sock)
				break;
			must(n + 1 < ARRAY_SIZE(fds));
			fds[n].revents = 0;
			fds[n++].events = POLLIN;
		}
	}
	msg_ctx_close(ctx);
	_exit(0);
}

static pid_t child_start(unsigned number, unsigned life)
{
	pid_t pid = fork();

	must(pid >= 0);
	if (pid == 0)
		child_run(number, life);
	return pid;
}

static void test_processes(void **state)
{
	_Atomic uint32_t *ready =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t end = testbed_now_ms() + run_ms();
	unsigned life = 0, n_left = N_CHILDREN;
	pid_t pids[N_CHILDREN], hub;
	int status;

	testbed_watchdog(60 + (unsigned)(run_ms() / 1000));
	must(ready != MAP_FAILED);
	testbed_domain("hub", true);
	for (unsigned i = 0; i < N_CHILDREN; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "guest%u", i);
		/* One of them without Argo, where that may be. */
		testbed_domain(name, i != 1 || strcmp(testbed_transport(), "any") != 0);
	}
	hub = fork();
	must(hub >= 0);
	if (hub == 0)
		hub_run(ready);
	while (*ready != 1)
		(void)poll(NULL, 0, 1);
	for (unsigned i = 0; i < N_CHILDREN; i++)
		pids[i] = child_start(i, life++);
	while (n_left) {
		pid_t pid = wait(&status);
		bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;

		must(pid > 0 && pid != hub);
		must(killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
		for (unsigned i = 0; i < N_CHILDREN; i++) {
			if (pids[i] == pid && testbed_now_ms() < end)
				pids[i] = child_start(i, life++);
			else if (pids[i] == pid)
				n_left--;
		}
	}
	*ready = 2;
	must(waitpid(hub, &status, 0) == hub && status == 0);
	(void)printf("%u lives\n", life);
	(void)munmap((void *)ready, 4096);
	testbed_watchdog(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_processes),
	};

	return cmocka_run_group_tests_name("stress", tests, testbed_setup, testbed_teardown);
}
