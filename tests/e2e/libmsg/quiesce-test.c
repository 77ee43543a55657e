/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Quiescing, from inside: threads that are spinning, sleeping, accepting and sending while their
 * links are taken away under them, an event loop, and requests under way.
 */
#include "tests/support/cmocka-all.h"

#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/support/testbed.h"

#define N_THREADS 3U
#define ROUNDS	  12U

/* ---- msgd's admin socket --------------------------------------------------------------------- */

/* Asks and returns the answer, one line; static. Blocks as long as msgd does. */
static const char *admin(const char *request)
{
	static char answer[65536];
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *spec = testbed_hv("x") + strlen("sim:");
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t len = 0;

	must((size_t)snprintf(address.sun_path, sizeof(address.sun_path), "%.*s.msgd",
		     (int)strcspn(spec, "#"), spec) < sizeof(address.sun_path));
	must(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	must(send(fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request));
	while (!memchr(answer, '\n', len)) {
		ssize_t n = recv(fd, answer + len, sizeof(answer) - 1 - len, 0);

		must(n > 0);
		len += (size_t)n;
	}
	answer[len] = '\0';
	(void)close(fd);
	return answer;
}

static const char *quiesce(const char *domain, unsigned timeout_ms)
{
	char request[256];

	(void)snprintf(request, sizeof(request),
		"{\"op\":\"quiesce\",\"domain\":\"%s\",\"timeout_ms\":%u}\n", domain, timeout_ms);
	return admin(request);
}

static bool quiesced(const char *domain)
{
	return strstr(quiesce(domain, 20000), "\"quiesced\":true") != NULL;
}

static void resume(const char *domain)
{
	char request[256];

	(void)snprintf(request, sizeof(request), "{\"op\":\"resume\",\"domain\":\"%s\"}\n", domain);
	must(strstr(admin(request), "\"resume\"") != NULL);
}

/* ---- threads under load ------------------------------------------------------------------ */

static struct msg_ctx *server_ctx, *client_ctx;
static struct msg_sock *listener;
static _Atomic bool stopped;
static _Atomic uint32_t echoes[N_THREADS];

/* Accepts and answers, over and over; only a channel may fail. */
static void serve(void *arg)
{
	for (;;) {
		struct msg_sock *sock = msg_accept(listener, 0);
		char text[64];
		ssize_t n;

		must(sock || errno == EAGAIN);
		if (stopped) {
			(void)msg_close(sock);
			return;
		}
		while (sock && (n = msg_recv(sock, text, sizeof(text), 0)) > 0) {
			if (msg_send(sock, text, (size_t)n, 0) < 0)
				break;
		}
		(void)msg_close(sock);
	}
}

static void ask(void *arg)
{
	_Atomic uint32_t *count = arg;

	while (!stopped) {
		struct msg_sock *sock = msg_connect(client_ctx, "server/storm", LIBMSG_SEQPACKET,
			LIBMSG_WAIT_NAME, TESTBED_WAIT_MS);
		char text[64];

		must(sock || errno == ECONNRESET);
		while (sock && !stopped) {
			if (msg_send(sock, "hello", 5, 0) < 0 ||
				msg_recv(sock, text, sizeof(text), 0) != 5)
				break;
			(*count)++;
		}
		must(!sock || stopped || errno == ECONNRESET || errno == EPIPE);
		(void)msg_close(sock);
	}
}

static void await_progress(void)
{
	for (unsigned i = 0; i < N_THREADS; i++) {
		uint32_t before = echoes[i];
		uint64_t end = testbed_now_ms() + TESTBED_WAIT_MS;

		while (echoes[i] < before + 100) {
			must(testbed_now_ms() < end);
			(void)usleep(1000);
		}
	}
}

static void test_storm(void **state)
{
	struct worker servers[N_THREADS], clients[N_THREADS];

	testbed_watchdog(60);
	stopped = false;
	server_ctx = testbed_ctx("server", 0);
	client_ctx = testbed_ctx("client", 0);
	listener = msg_listen(server_ctx, "storm", LIBMSG_SEQPACKET, 16, 0);
	must(listener);
	must(msg_setopt(listener, LIBMSG_RCVTIMEO, 1000) == 0); /* to see `stopped` */
	for (unsigned i = 0; i < N_THREADS; i++) {
		worker_start(&servers[i], serve, NULL);
		worker_start(&clients[i], ask, &echoes[i]);
	}
	for (unsigned round = 0; round < ROUNDS; round++) {
		const char *domain = round % 3 == 2 ? "client" : "server";

		testbed_watchdog(60);
		await_progress();
		must(quiesced(domain));
		if (round % 4 == 3) { /* both at once */
			const char *other = domain[0] == 'c' ? "server" : "client";

			must(quiesced(other));
			resume(other);
		}
		resume(domain);
	}
	await_progress();
	stopped = true;
	for (unsigned i = 0; i < N_THREADS; i++)
		worker_join(&clients[i]);
	for (unsigned i = 0; i < N_THREADS; i++)
		worker_join(&servers[i]);
	(void)msg_close(listener);
	msg_ctx_close(client_ctx);
	msg_ctx_close(server_ctx);
	testbed_watchdog(0);
}

/* ---- an event loop ----------------------------------------------------------------------- */

/* One thread, both ends: until the condition holds, dispatches what the descriptors tell of. */
static void loop_once(struct msg_ctx *ctx)
{
	struct pollfd fd = {.fd = msg_ctx_fd(ctx), .events = POLLIN};
	struct msg_event events[8];

	must(poll(&fd, 1, TESTBED_WAIT_MS) == 1);
	must(msg_ctx_dispatch(ctx, events, 8) >= 0);
}

/* Of a channel from `peer`, which others drive: the end that was accepted here has heard of it. */
static void loop_hear(struct msg_ctx *ctx, struct msg_sock *near, struct msg_sock *far)
{
	struct msg_pollfd fd = {.sock = near, .events = POLLOUT};
	char text[16];

	must(msg_poll(&fd, 1, TESTBED_WAIT_MS) == 1 && fd.revents == POLLOUT);
	must(msg_setopt(near, LIBMSG_NONBLOCK_OPT, 0) == 0);
	must(msg_send(near, "hear", 4, 0) == 4);
	while (msg_recv(far, text, sizeof(text), 0) != 4) {
		must(errno == EAGAIN);
		loop_once(ctx);
	}
}

static void quiesce_from_aside(void *arg)
{
	must(quiesced(arg));
}

static void resume_from_aside(void *arg)
{
	resume(arg);
}

static void test_event_loop(void **state)
{
	struct msg_ctx *ctx = testbed_ctx("loop", LIBMSG_ONE_THREAD),
		       *peer = testbed_ctx("peer", 0);
	struct msg_sock *name = msg_listen(ctx, "loop", LIBMSG_SEQPACKET, 4, LIBMSG_NONBLOCK);
	struct msg_sock *near, *far = NULL;
	struct worker aside;
	struct pump pump;
	char text[16];

	testbed_watchdog(60);
	must(name);
	must(msg_ctx_fd(ctx) >= 0);
	near = msg_connect(peer, "loop/loop", LIBMSG_SEQPACKET, LIBMSG_NONBLOCK, TESTBED_WAIT_MS);
	must(near);
	pump_start(&pump, peer);
	while (!(far = msg_accept(name, LIBMSG_NONBLOCK)))
		loop_once(ctx);
	loop_hear(ctx, near, far);
	must(msg_send(far, "last words", 10, 0) == 10);

	/* The descriptor tells of it: nothing else of this thread's is called. */
	must_fail(msg_recv(far, text, sizeof(text), MSG_DONTWAIT), EAGAIN);
	worker_start(&aside, quiesce_from_aside, "loop");
	while (msg_recv(far, text, sizeof(text), MSG_DONTWAIT) < 0 && errno == EAGAIN)
		loop_once(ctx);
	must(errno == ECONNRESET);
	must(strstr(msg_reason(), "domain loop is quiesced") != NULL);
	worker_join(&aside);
	/* The message that had arrived is delivered whole, then the peer learns the reason, too. */
	must(msg_recv(near, text, sizeof(text), 0) == 10);
	must_fail(msg_recv(near, text, sizeof(text), 0), ECONNRESET);
	must(strstr(msg_reason(), "domain loop is quiesced") != NULL);
	(void)msg_close(far);
	(void)msg_close(near);

	/* Nothing more is there to be done, until the domain goes on. */
	worker_start(&aside, resume_from_aside, "loop");
	near = msg_connect(peer, "loop/loop", LIBMSG_SEQPACKET, LIBMSG_NONBLOCK | LIBMSG_WAIT_NAME,
		TESTBED_WAIT_MS);
	must(near);
	while (!(far = msg_accept(name, LIBMSG_NONBLOCK)))
		loop_once(ctx);
	worker_join(&aside);
	loop_hear(ctx, near, far);
	must(msg_send(far, "back", 4, 0) == 4);
	must(msg_recv(near, text, sizeof(text), 0) == 4);
	pump_stop(&pump);
	(void)msg_close(far);
	(void)msg_close(near);
	(void)msg_close(name);
	msg_ctx_close(peer);
	msg_ctx_close(ctx);
	testbed_watchdog(0);
}

/* ---- while it is parked ------------------------------------------------------------------ */

static void connect_later(void *arg)
{
	struct msg_sock *sock = msg_connect(
		arg, "there/later", LIBMSG_SEQPACKET, LIBMSG_WAIT_NAME, TESTBED_WAIT_MS);

	must(sock);
	(void)msg_close(sock);
}

/* Inside libmsg for a while. */
static void connect_in_vain(void *arg)
{
	must(!msg_connect(arg, "there/nobody", LIBMSG_SEQPACKET, LIBMSG_WAIT_NAME, 1000));
}

static void listen_later(void *arg)
{
	struct msg_sock *sock = msg_listen(arg, "parked", LIBMSG_SEQPACKET, 1, 0);

	must(sock);
	(void)msg_close(sock);
}

static void test_parked(void **state)
{
	struct msg_ctx *ctx = testbed_ctx("parked", 0), *there = testbed_ctx("there", 0);
	struct msg_sock *name, *sock;
	struct worker early, late, listening;
	struct pump pump, pump_there;

	testbed_watchdog(60);
	pump_start(&pump, ctx);
	pump_start(&pump_there, there);
	worker_start(&early, connect_later, ctx); /* asked before, answered after */
	worker_await_sleep(&early);
	must(quiesced("parked"));
	must_fail_null(
		msg_connect(ctx, "there/later", LIBMSG_SEQPACKET, LIBMSG_WAIT_NAME, 50), EHOSTDOWN);
	must(strstr(msg_reason(), "quiesced") != NULL);
	worker_start(&late, connect_later, ctx); /* asked while parked */
	worker_start(&listening, listen_later, ctx);
	worker_await_sleep(&late);
	worker_await_sleep(&listening);
	name = msg_listen(there, "later", LIBMSG_SEQPACKET, 4, 0);
	must(name);
	resume("parked");
	for (int i = 0; i < 2; i++) {
		sock = msg_accept(name, 0);
		must(sock);
		(void)msg_close(sock);
	}
	worker_join(&early);
	worker_join(&late);
	worker_join(&listening);
	pump_stop(&pump);
	/* Closed while parked, nothing stays behind. */
	must(strstr(quiesce("parked", 0), "\"quiesced\":false") != NULL);
	worker_start(&late, connect_in_vain, ctx);
	must(quiesced("parked"));
	worker_join(&late);
	msg_ctx_close(ctx);
	resume("parked");
	pump_stop(&pump_there);
	(void)msg_close(name);
	msg_ctx_close(there);
	testbed_watchdog(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_event_loop),
		cmocka_unit_test(test_parked),
		cmocka_unit_test(test_storm),
	};

	return cmocka_run_group_tests(tests, testbed_setup, testbed_teardown);
}
