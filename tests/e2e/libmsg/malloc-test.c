/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Out of memory: each allocation of each call fails once, the others succeed. The call then
 * succeeds, or fails with an errno and a reason, or the peer sees a reset with its reason; it never
 * ends the program and never hangs. Afterwards the context works as before. Each try is a process
 * of its own, so that a leak checker looks at each.
 *
 * The test's first thread uses the context "near", where allocations fail; another thread keeps the
 * context "far" inside libmsg.
 */
#include "tests/support/cmocka-all.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macro.h"
#include "tests/support/failing-malloc.h"
#include "tests/support/testbed.h"

/* A call that takes longer than this hangs. */
#define CALL_MS		   20000
#define LONG_LEN	   (300U << 10) /* more than a channel's credit, and several frames */
#define STATUS_NONE_FAILED 3

struct ends {
	struct msg_ctx *near, *far;
	struct pump pump;	    /* of far */
	struct msg_sock *listener;  /* of far, "far/far" */
	struct msg_sock *listening; /* of near, "near/near" */
	struct msg_sock *sock[2];   /* of near, of far: a channel */
	struct worker worker;
	uint8_t data[LONG_LEN], got[LONG_LEN];
};

/*
 * A call may say when memory is short: ENOMEM, ENOBUFS where msgd passes on that an end could make
 * no link, or a reset. A time limit that has passed is a hang.
 */
static void must_have_failed_well(void)
{
	int error = errno;

	must(testbed_said_why());
	must(error == ENOMEM || error == ENOBUFS || error == ECONNRESET);
	must(error == ECONNRESET || strstr(msg_reason(), "memory"));
}

/* ---- afterwards ----------------------------------------------------------------------------- */

/* A message from one to the other. False: the channel was reset for want of memory. */
static bool may_exchange(struct msg_sock *a, struct msg_sock *b)
{
	uint8_t sent[1000], got[sizeof(sent)];

	stamp_make(sent, 1, 2, sizeof(sent));
	if (msg_send(a, sent, sizeof(sent), 0) < 0) {
		must_have_failed_well();
		return false;
	}
	must(msg_recv(b, got, sizeof(got), 0) == (ssize_t)sizeof(got));
	(void)stamp_check(got, sizeof(got));
	return true;
}

static void exchange_both(struct msg_sock *a, struct msg_sock *b)
{
	must(may_exchange(a, b));
	must(may_exchange(b, a));
	must(msg_close(a) == 0);
	must(msg_close(b) == 0);
}

static void *accept_one(struct msg_sock *listener)
{
	struct msg_sock *sock;

	must(msg_setopt(listener, LIBMSG_RCVTIMEO, CALL_MS) == 0);
	sock = msg_accept(listener, 0);
	must(sock);
	return sock;
}

static void connect_near(void *arg)
{
	struct ends *ends = arg;

	ends->sock[1] = msg_connect(ends->far, "near/after", LIBMSG_SEQPACKET, 0, CALL_MS);
	must(ends->sock[1]);
}

/* Channels are made both ways, and carry messages. */
static void must_work(struct ends *ends)
{
	struct msg_sock *a, *b, *listener;

	a = msg_connect(ends->near, "far/after", LIBMSG_SEQPACKET, LIBMSG_WAIT_NAME, CALL_MS);
	must(a);
	b = accept_one(ends->listener);
	exchange_both(a, b);

	listener = msg_listen(ends->near, "after", LIBMSG_SEQPACKET, 1, 0);
	must(listener);
	worker_start(&ends->worker, connect_near, ends);
	a = accept_one(listener);
	worker_join(&ends->worker);
	exchange_both(a, ends->sock[1]);
	must(msg_close(listener) == 0);
}

/* ---- before --------------------------------------------------------------------------------- */

static void ends_open(struct ends *ends)
{
	ends->near = testbed_ctx("near", 0);
	ends->far = testbed_ctx("far", 0);
	pump_start(&ends->pump, ends->far);
	ends->listener = msg_listen(ends->far, "after", LIBMSG_SEQPACKET, 8, 0);
	must(ends->listener);
}

static void ends_close(struct ends *ends)
{
	must_work(ends);
	pump_stop(&ends->pump);
	must(msg_close(ends->listener) == 0);
	msg_ctx_close(ends->near);
	msg_ctx_close(ends->far);
}

/* A channel from near to far; its link is made first. */
static void ends_channel(struct ends *ends)
{
	ends->sock[0] = msg_connect(ends->near, "far/after", LIBMSG_SEQPACKET, 0, CALL_MS);
	must(ends->sock[0]);
	ends->sock[1] = accept_one(ends->listener);
	must(msg_setopt(ends->sock[0], LIBMSG_RCVTIMEO, CALL_MS) == 0);
	must(msg_setopt(ends->sock[0], LIBMSG_SNDTIMEO, CALL_MS) == 0);
	must(msg_setopt(ends->sock[0], LIBMSG_LINGER, 0) == 0);
}

/* ---- calls ---------------------------------------------------------------------------------- */

/* Each case returns whether an allocation has failed. */
typedef bool case_fn(struct ends *ends, unsigned n);

static bool case_open(struct ends *ends, unsigned n)
{
	struct msg_ctx *ctx;
	bool failed;

	testbed_domain("near", true);
	failing_malloc_set(n);
	ctx = msg_ctx_open(testbed_hv("near"), 0, CALL_MS);
	failed = failing_malloc_end();
	if (!ctx)
		must_have_failed_well();
	msg_ctx_close(ctx);
	ends_open(ends);
	ends_close(ends);
	return failed;
}

static bool case_listen(struct ends *ends, unsigned n)
{
	struct msg_sock *listener;
	bool failed;

	ends_open(ends);
	failing_malloc_set(n);
	listener = msg_listen(ends->near, "near", LIBMSG_SEQPACKET, 4, 0);
	failed = failing_malloc_end();
	if (!listener) {
		must_have_failed_well();
		/* nobody has the name */
		listener = msg_listen(ends->near, "near", LIBMSG_SEQPACKET, 4, 0);
		must(listener);
	}
	must(msg_close(listener) == 0);
	ends_close(ends);
	return failed;
}

static bool connect_failing(struct ends *ends, unsigned n)
{
	struct msg_sock *sock;
	bool failed;

	failing_malloc_set(n);
	sock = msg_connect(ends->near, "far/after", LIBMSG_SEQPACKET, 0, CALL_MS);
	failed = failing_malloc_end();
	if (!sock) {
		must_have_failed_well();
	} else {
		struct msg_sock *accepted = accept_one(ends->listener);

		must(may_exchange(sock, accepted) || failed);
		must(msg_close(sock) == 0);
		must(msg_close(accepted) == 0);
	}
	return failed;
}

/* The first connect: a link is made. */
static bool case_connect(struct ends *ends, unsigned n)
{
	bool failed;

	ends_open(ends);
	failed = connect_failing(ends, n);
	/* a channel that near could not take may wait here, ended */
	must(msg_close(ends->listener) == 0);
	ends->listener = msg_listen(ends->far, "after", LIBMSG_SEQPACKET, 8, 0);
	must(ends->listener);
	ends_close(ends);
	return failed;
}

static bool case_connect_again(struct ends *ends, unsigned n)
{
	bool failed;

	ends_open(ends);
	ends_channel(ends);
	failed = connect_failing(ends, n);
	/* The link may have ended, since the peer knows a channel that this end could not make. */
	must(may_exchange(ends->sock[0], ends->sock[1]) || failed);
	must(msg_close(ends->sock[0]) == 0);
	must(msg_close(ends->sock[1]) == 0);
	must(msg_close(ends->listener) == 0);
	ends->listener = msg_listen(ends->far, "after", LIBMSG_SEQPACKET, 8, 0);
	must(ends->listener);
	ends_close(ends);
	return failed;
}

static void connect_for_accept(void *arg)
{
	struct ends *ends = arg;

	ends->sock[1] = msg_connect(ends->far, "near/near", LIBMSG_SEQPACKET, 0, CALL_MS);
	if (!ends->sock[1])
		must(testbed_said_why() && errno != ETIMEDOUT);
}

/* far connects to near, which makes the link and the channel while it accepts. */
static bool case_accept(struct ends *ends, unsigned n)
{
	struct msg_sock *sock;
	bool failed;

	ends_open(ends);
	ends->listening = msg_listen(ends->near, "near", LIBMSG_SEQPACKET, 4, 0);
	must(ends->listening);
	/* An accept that got nothing but lost memory is called once more. */
	must(msg_setopt(ends->listening, LIBMSG_RCVTIMEO, 300) == 0);
	worker_start(&ends->worker, connect_for_accept, ends);
	failing_malloc_set(n);
	sock = msg_accept(ends->listening, 0);
	failed = failing_malloc_end();
	if (!sock)
		must(testbed_said_why());
	if (!sock)
		sock = msg_accept(ends->listening, 0);
	worker_join(&ends->worker);
	if (sock && ends->sock[1]) {
		exchange_both(sock, ends->sock[1]);
	} else {
		must(failed);
		if (sock)
			must(msg_close(sock) == 0);
		if (ends->sock[1]) {
			/* it hears that nobody has it */
			must(msg_setopt(ends->sock[1], LIBMSG_RCVTIMEO, CALL_MS) == 0);
			must(msg_recv(ends->sock[1], ends->data, sizeof(ends->data), 0) <= 0);
			must(errno != EAGAIN && testbed_said_why());
			must(msg_close(ends->sock[1]) == 0);
		}
	}
	must(msg_close(ends->listening) == 0);
	ends_close(ends);
	return failed;
}

/* far has the message whole, or an end. */
static void receive_far(void *arg)
{
	struct ends *ends = arg;
	ssize_t got;

	must(msg_setopt(ends->sock[1], LIBMSG_RCVTIMEO, CALL_MS) == 0);
	got = msg_recv(ends->sock[1], ends->got, sizeof(ends->got), 0);
	if (got > 0)
		(void)stamp_check(ends->got, got);
	else if (got < 0)
		must(errno == ECONNRESET && testbed_said_why());
}

static bool send_failing(struct ends *ends, unsigned n, uint32_t len, int flags)
{
	ssize_t sent;
	bool failed;

	ends_open(ends);
	ends_channel(ends);
	stamp_make(ends->data, 7, n, len);
	pump_stop(&ends->pump); /* it would make room, so that nothing is kept here */
	failing_malloc_set(n);
	sent = msg_send(ends->sock[0], ends->data, len, flags);
	failed = failing_malloc_end();
	if (sent < 0) {
		must_have_failed_well();
		/* accepted whole or not at all: again */
		sent = msg_send(ends->sock[0], ends->data, len, flags);
		if (sent < 0)
			must_have_failed_well();
	}
	pump_start(&ends->pump, ends->far);
	worker_start(&ends->worker, receive_far, ends);
	/* closing sends the rest */
	must(msg_setopt(ends->sock[0], LIBMSG_LINGER, CALL_MS) == 0);
	if (msg_close(ends->sock[0]) < 0)
		must_have_failed_well();
	worker_join(&ends->worker);
	must(msg_close(ends->sock[1]) == 0);
	ends_close(ends);
	return failed;
}

static bool case_send(struct ends *ends, unsigned n)
{
	return send_failing(ends, n, 1000, 0);
}

static bool case_send_long(struct ends *ends, unsigned n)
{
	return send_failing(ends, n, LONG_LEN, MSG_DONTWAIT);
}

/* Several messages are there; near takes them all, or learns of a reset. */
static bool receive_failing(struct ends *ends, unsigned n, bool take)
{
	bool failed = false, reset = false;
	uint32_t n_sent = 4, i;

	ends_open(ends);
	ends_channel(ends);
	for (i = 0; i < n_sent; i++) {
		stamp_make(ends->data, 9, i, 2000);
		must(msg_send(ends->sock[1], ends->data, 2000, 0) == 2000);
	}
	failing_malloc_set(n);
	for (i = 0; i < n_sent && !reset;) {
		struct msg_buf *buf = NULL;
		const void *data = ends->data;
		ssize_t got = take ? msg_recv_take(ends->sock[0], 0, &data, &buf)
				   : msg_recv(ends->sock[0], ends->data, sizeof(ends->data), 0);

		failed |= failing_malloc_end();
		if (got >= 0) {
			struct stamp stamp = stamp_check(data, got);

			must(stamp.number == i++);
			msg_buf_free(buf);
		} else {
			must_have_failed_well();
			must(failed);
			reset = errno == ECONNRESET;
		}
	}
	must(msg_close(ends->sock[0]) == 0);
	must(msg_close(ends->sock[1]) == 0);
	ends_close(ends);
	return failed;
}

static bool case_receive(struct ends *ends, unsigned n)
{
	return receive_failing(ends, n, false);
}

static bool case_take(struct ends *ends, unsigned n)
{
	return receive_failing(ends, n, true);
}

/* Messages move to private memory, since nobody waits for them there. */
static bool case_aside(struct ends *ends, unsigned n)
{
	struct msg_sock *idle[2];
	bool failed;
	ssize_t got;

	ends_open(ends);
	ends_channel(ends);
	idle[0] = ends->sock[0];
	idle[1] = ends->sock[1];
	ends_channel(ends);
	stamp_make(ends->data, 3, 1, 3000);
	must(msg_send(idle[1], ends->data, 3000, 0) == 3000);
	must(msg_send(ends->sock[1], ends->data, 3000, 0) == 3000);
	failing_malloc_set(n);
	got = msg_recv(ends->sock[0], ends->data, sizeof(ends->data), 0);
	failed = failing_malloc_end();
	must(got == 3000 || (failed && errno == ECONNRESET && testbed_said_why()));
	got = msg_recv(idle[0], ends->data, sizeof(ends->data), 0);
	must(got == 3000 || (failed && errno == ECONNRESET && testbed_said_why()));
	must(msg_close(idle[0]) == 0);
	must(msg_close(idle[1]) == 0);
	must(msg_close(ends->sock[0]) == 0);
	must(msg_close(ends->sock[1]) == 0);
	ends_close(ends);
	return failed;
}

static bool case_poll(struct ends *ends, unsigned n)
{
	struct msg_pollfd fds = {.events = POLLIN};
	bool failed;
	ssize_t got;
	int r;

	ends_open(ends);
	ends_channel(ends);
	fds.sock = ends->sock[0];
	stamp_make(ends->data, 3, 1, 3000);
	must(msg_send(ends->sock[1], ends->data, 3000, 0) == 3000);
	failing_malloc_set(n);
	r = msg_poll(&fds, 1, CALL_MS);
	failed = failing_malloc_end();
	if (r < 0)
		must_have_failed_well();
	else
		must(r == 1);
	got = msg_recv(ends->sock[0], ends->data, sizeof(ends->data), 0);
	must(got == 3000 || (failed && errno == ECONNRESET && testbed_said_why()));
	must(msg_close(ends->sock[0]) == 0);
	must(msg_close(ends->sock[1]) == 0);
	ends_close(ends);
	return failed;
}

/* Messages are unread and unsent: there is not time enough to send them. */
static void close_at_once(struct msg_sock *sock)
{
	must(msg_close(sock) == 0 || errno == ETIMEDOUT);
}

static bool case_close(struct ends *ends, unsigned n)
{
	struct pump pump;
	bool failed;
	ssize_t got;

	ends_open(ends);
	ends_channel(ends);
	stamp_make(ends->data, 3, 1, LONG_LEN);
	must(msg_send(ends->sock[1], ends->data, LONG_LEN, MSG_DONTWAIT) == LONG_LEN);
	must(msg_send(ends->sock[0], ends->data, LONG_LEN, MSG_DONTWAIT) == LONG_LEN);
	failing_malloc_set(n);
	close_at_once(ends->sock[0]);
	failed = failing_malloc_end();
	/* If the ring was full, CLOSE goes out in a later call. */
	pump_start(&pump, ends->near);
	must(msg_setopt(ends->sock[1], LIBMSG_RCVTIMEO, CALL_MS) == 0);
	got = msg_recv(ends->sock[1], ends->data, sizeof(ends->data), 0);
	must(got >= 0 || (errno != EAGAIN && testbed_said_why()));
	must(msg_close(ends->sock[1]) == 0);
	pump_stop(&pump);
	ends_close(ends);
	return failed;
}

static bool case_ctx_close(struct ends *ends, unsigned n)
{
	bool failed;

	ends_open(ends);
	ends_channel(ends);
	ends->listening = msg_listen(ends->near, "near", LIBMSG_SEQPACKET, 4, 0);
	must(ends->listening);
	stamp_make(ends->data, 3, 1, LONG_LEN);
	must(msg_send(ends->sock[0], ends->data, LONG_LEN, MSG_DONTWAIT) == LONG_LEN);
	failing_malloc_set(n);
	close_at_once(ends->sock[0]);
	must(msg_close(ends->listening) == 0);
	msg_ctx_close(ends->near);
	failed = failing_malloc_end();
	must(msg_close(ends->sock[1]) == 0);
	ends->near = testbed_ctx("near", 0);
	ends_close(ends);
	return failed;
}

/* ---- every allocation ----------------------------------------------------------------------- */

#define ALLOCATIONS_MAX 100U

/* The status of a process of its own in which the n-th allocation fails. */
static int try(case_fn *fn, unsigned n)
{
	int status;
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	must(pid >= 0);
	if (pid == 0) {
		struct ends *ends = calloc(1, sizeof(*ends));
		bool failed;

		must(ends);
		testbed_watchdog(100);
		failed = fn(ends, n);
		free(ends);
		exit(failed ? 0 : STATUS_NONE_FAILED);
	}
	must(waitpid(pid, &status, 0) == pid);
	return status;
}

static void try_all(case_fn *fn, unsigned n_at_least)
{
	unsigned n, n_wrong = 0;

	assert_int_equal(try(fn, 0), STATUS_NONE_FAILED << 8);
	for (n = 1; n < ALLOCATIONS_MAX; n++) {
		int status = try(fn, n);

		if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_NONE_FAILED)
			break;
		if (status == 0)
			continue;
		(void)fprintf(stderr, "with allocation %u failing: ended by %s %d\n", n,
			WIFEXITED(status) ? "exit" : "signal",
			WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
		n_wrong++;
	}
	assert_in_range(n, n_at_least + 1, ALLOCATIONS_MAX - 1);
	assert_int_equal(n_wrong, 0);
}

#define TEST(name, n_at_least)                                                                     \
	static void test_##name(void **state)                                                      \
	{                                                                                          \
		try_all(case_##name, n_at_least);                                                  \
	}

/* The second number: so many allocations, at least, are seen to fail. */
TEST(open, 3)
TEST(listen, 2)
TEST(connect, 4)
TEST(connect_again, 3)
TEST(accept, 3)
TEST(send, 0)
TEST(send_long, 1)
TEST(receive, 0)
TEST(take, 1)
TEST(aside, 1)
TEST(poll, 0)
TEST(close, 0)
TEST(ctx_close, 0)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_listen),
		cmocka_unit_test(test_connect),
		cmocka_unit_test(test_connect_again),
		cmocka_unit_test(test_accept),
		cmocka_unit_test(test_send),
		cmocka_unit_test(test_send_long),
		cmocka_unit_test(test_receive),
		cmocka_unit_test(test_take),
		cmocka_unit_test(test_aside),
		cmocka_unit_test(test_poll),
		cmocka_unit_test(test_close),
		cmocka_unit_test(test_ctx_close),
	};

	return cmocka_run_group_tests(tests, testbed_setup, testbed_teardown);
}
