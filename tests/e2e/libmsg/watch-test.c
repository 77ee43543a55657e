/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msg_watch: names that come and go, the present ones first. Nothing is lost or told twice over
 * msgd's restart, a domain's death and a policy's reload, and nothing of what policy refuses.
 */
#include "tests/support/cmocka-all.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macro.h"
#include "tests/support/testbed.h"

#define N_NAMES 1000

static struct msg_ctx *near_ctx, *far_ctx; /* near watches */

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

static struct msg_sock *watch(const char *pattern)
{
	struct msg_sock *sock = msg_watch(near_ctx, pattern);

	must(sock);
	must(msg_setopt(sock, LIBMSG_RCVTIMEO, TESTBED_WAIT_MS) == 0);
	return sock;
}

static struct msg_sock *listens(struct msg_ctx *ctx, const char *name)
{
	struct msg_sock *sock = msg_listen(ctx, name, LIBMSG_SEQPACKET, 1, 0);

	must(sock);
	return sock;
}

/* Receives this message; "" is the empty one. */
#define must_tell(watch, expected)                                                                 \
	do {                                                                                       \
		char _text[256] = "";                                                              \
		ssize_t _n = msg_recv(watch, _text, sizeof(_text) - 1, 0);                         \
		if (_n != (ssize_t)strlen(expected) || strcmp(_text, expected) != 0) {             \
			fprintf(stderr, "%s:%d: \"%s\" (%zd) in the place of \"%s\"\n", __FILE__,  \
				__LINE__, _text, _n, expected);                                    \
			must(!"told what is so");                                                  \
		}                                                                                  \
	} while (0)

/* Nothing else has come, nor is it on its way: a name of this test's own comes next. */
static void nothing_more(struct msg_sock *sock)
{
	struct msg_sock *last = listens(near_ctx, "w-last");

	must_tell(sock, "+near/w-last");
	must(msg_close(last) == 0);
	must_tell(sock, "-near/w-last");
}

static void test_present_first(void **state)
{
	struct msg_sock *one = listens(far_ctx, "one"), *sock = watch("*"), *two;

	must_tell(sock, "+far/one");
	must_tell(sock, "");
	two = listens(far_ctx, "two");
	must_tell(sock, "+far/two");
	must(msg_close(one) == 0);
	must_tell(sock, "-far/one");
	nothing_more(sock);
	must(msg_close(two) == 0);
	must_tell(sock, "-far/two");
	must(msg_close(sock) == 0);
}

static void test_patterns(void **state)
{
	struct msg_sock *sock = watch("f*/o?e"), *names[4];

	must_tell(sock, "");
	names[0] = listens(far_ctx, "one");
	names[1] = listens(near_ctx, "one");
	names[2] = listens(far_ctx, "two");
	names[3] = listens(far_ctx, "ooe");
	must_tell(sock, "+far/one");
	must_tell(sock, "+far/ooe");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		must(msg_close(names[i]) == 0);
	must_tell(sock, "-far/one");
	must_tell(sock, "-far/ooe");
	must(msg_close(sock) == 0);
}

/* Sockets as any: each way of receiving, poll and the event loop. */
static void test_is_a_socket(void **state)
{
	struct msg_sock *sock = watch("*"), *name;
	char text[64];
	struct iovec iov = {.iov_base = text, .iov_len = sizeof(text)};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	struct msg_pollfd fd = {.sock = sock, .events = POLLIN | POLLOUT};
	struct pollfd loop = {.fd = msg_ctx_fd(near_ctx), .events = POLLIN};
	struct msg_event event;
	struct msg_buf *buf;
	const void *data;
	int64_t value;

	must(msg_poll(&fd, 1, TESTBED_WAIT_MS) == 1 && fd.revents == POLLIN);
	must(msg_recvmsg(sock, &message, 0) == 0 && message.msg_flags == MSG_EOR);
	must_fail(msg_recv(sock, text, sizeof(text), MSG_DONTWAIT), EAGAIN);
	must(msg_setopt(sock, LIBMSG_NONBLOCK_OPT, 1) == 0);
	must_fail(msg_recv(sock, text, sizeof(text), 0), EAGAIN);
	must(msg_setopt(sock, LIBMSG_NONBLOCK_OPT, 0) == 0);
	must(msg_setopt(sock, LIBMSG_RCVTIMEO, 1) == 0);
	must_fail(msg_recv(sock, text, sizeof(text), 0), EAGAIN);
	must(msg_setopt(sock, LIBMSG_RCVTIMEO, TESTBED_WAIT_MS) == 0);
	must(msg_poll(&fd, 1, 0) == 0);

	name = listens(far_ctx, "name");
	do {
		must(poll(&loop, 1, TESTBED_WAIT_MS) == 1);
	} while (msg_ctx_dispatch(near_ctx, &event, 1) == 0);
	must(event.sock == sock && event.revents == POLLIN);
	must(msg_recv(sock, text, 4, MSG_PEEK | MSG_TRUNC) == 9 && memcmp(text, "+far", 4) == 0);
	must(msg_recv_take(sock, 0, &data, &buf) == 9 && memcmp(data, "+far/name", 9) == 0);
	msg_buf_free(buf);
	must(msg_ctx_dispatch(near_ctx, &event, 1) == 0);
	must(msg_close(name) == 0);
	iov.iov_len = 4;
	must(msg_recvmsg(sock, &message, 0) == 4 && message.msg_flags == (MSG_EOR | MSG_TRUNC));
	must(memcmp(text, "-far", 4) == 0);

	must_fail(msg_send(sock, "x", 1, 0), EINVAL);
	must_fail(msg_flush(sock), EINVAL);
	must_fail_null(msg_accept(sock, 0), EINVAL);
	must(msg_getopt(sock, LIBMSG_TYPE, &value) == 0 && value == LIBMSG_SEQPACKET);
	must_fail(msg_setopt(sock, LIBMSG_RCVBUF, 65536), ENOPROTOOPT);
	must_fail_null(msg_watch(near_ctx, "-"), EINVAL);
	must_fail_null(msg_watch(near_ctx, "a/b/c"), EINVAL);

	/* The news before the end is received. */
	name = listens(far_ctx, "name");
	must(msg_poll(&fd, 1, TESTBED_WAIT_MS) == 1);
	must_fail(msg_shutdown(sock, SHUT_WR), ENOTCONN);
	must(msg_shutdown(sock, SHUT_RD) == 0);
	must(msg_poll(&fd, 1, 0) == 1 && fd.revents == (POLLIN | POLLERR));
	must_tell(sock, "+far/name");
	must_fail(msg_recv(sock, text, sizeof(text), 0), EINVAL);
	must(msg_close(name) == 0 && msg_close(sock) == 0);
}

static void receive_end(void *arg)
{
	char text[8];

	must_fail(msg_recv(arg, text, sizeof(text), 0), EINVAL);
}

static void test_shutdown_wakes(void **state)
{
	struct msg_sock *sock = watch("none");
	struct worker worker;

	must_tell(sock, "");
	worker_start(&worker, receive_end, sock);
	worker_await_sleep(&worker);
	must(msg_shutdown(sock, SHUT_RDWR) == 0);
	worker_join(&worker);
	must(msg_close(sock) == 0);
}

/* Names that flap before they are received cancel out. */
static void test_flapping(void **state)
{
	struct msg_sock *stays = listens(far_ctx, "stays"), *sock = watch("*"), *name = NULL;

	must_tell(sock, "+far/stays");
	must_tell(sock, "");
	for (int i = 0; i < 300; i++) {
		name = listens(far_ctx, "flaps");
		must(msg_close(stays) == 0 && msg_close(name) == 0);
		stays = listens(far_ctx, "stays");
	}
	name = listens(near_ctx, "end");
	/* At most once each way, whatever msgd had told when its ring was full. */
	for (int balance = 0, n = 0;; n++) {
		char text[64] = "";

		must(msg_recv(sock, text, sizeof(text) - 1, 0) > 0 && n < 1000);
		balance += text[0] == '+' ? 1 : -1;
		must(balance >= -1 && balance <= 2);
		if (strcmp(text, "+near/end") == 0) {
			must(balance >= 0);
			break;
		}
	}
	must(msg_close(name) == 0 && msg_close(stays) == 0 && msg_close(sock) == 0);
}

static void test_thousand_names(void **state)
{
	static struct msg_sock *names[N_NAMES];
	static bool there[N_NAMES];
	struct msg_sock *sock, *early = watch("far/n*");
	char text[64];
	unsigned i, n = 0;

	must_tell(early, "");
	for (i = 0; i < N_NAMES; i++) {
		snprintf(text, sizeof(text), "n%u", i);
		names[i] = listens(far_ctx, text);
	}
	sock = watch("far/n*");
	for (;;) {
		memset(text, 0, sizeof(text));
		if (msg_recv(sock, text, sizeof(text) - 1, 0) == 0)
			break;
		must(sscanf(text, "+far/n%u", &i) == 1 && i < N_NAMES && !there[i]);
		there[i] = true;
		n++;
	}
	must(n == N_NAMES);
	for (i = 0; i < N_NAMES; i++)
		must(msg_close(names[i]) == 0);
	for (; n; n--) {
		memset(text, 0, sizeof(text));
		must(msg_recv(sock, text, sizeof(text) - 1, 0) > 0);
		must(sscanf(text, "-far/n%u", &i) == 1 && i < N_NAMES && there[i]);
		there[i] = false;
	}
	/* All that came and went meanwhile is no news to the one that did not receive. */
	must_fail(msg_recv(early, text, sizeof(text), MSG_DONTWAIT), EAGAIN);
	must(msg_close(sock) == 0 && msg_close(early) == 0);
}

/*
 * Only what is different afterwards is told: not the rest again, and no second empty message. (A
 * pump has a name of its own.)
 */
static void test_restart(void **state)
{
	struct msg_sock *stays = listens(far_ctx, "w-stays"), *unread, *sock;
	struct msg_ctx *other_ctx = testbed_ctx("other", 0);
	struct msg_sock *goes = listens(other_ctx, "w-goes"), *fresh;
	struct pump pump;

	must(goes);
	sock = watch("w-*");
	must_tell(sock, "+far/w-stays");
	must_tell(sock, "+other/w-goes");
	must_tell(sock, "");
	unread = listens(far_ctx, "w-unread");
	testbed_msgd_kill();
	msg_ctx_close(other_ctx);
	testbed_msgd_start();
	pump_start(&pump, far_ctx);
	must_tell(sock, "+far/w-unread");
	must_tell(sock, "-other/w-goes"); /* once all are back */
	fresh = listens(near_ctx, "w-fresh");
	must_tell(sock, "+near/w-fresh");
	nothing_more(sock);
	pump_stop(&pump);
	must(msg_close(fresh) == 0 && msg_close(unread) == 0 && msg_close(stays) == 0);
	must_tell(sock, "-near/w-fresh");
	must_tell(sock, "-far/w-unread");
	must_tell(sock, "-far/w-stays");
	must(msg_close(sock) == 0);
}

/* Names of which policy must let nobody learn are never told of, whatever they do. */
static void test_policy(void **state)
{
	static const char some[] = "allow listen * on any\n"
				   "allow connect w-last from any to any\n"
				   "allow connect public from near to far\n"
				   "allow connect end from near to far\n",
			  others[] = "allow listen * on any\n"
				     "allow connect w-last from any to any\n"
				     "allow connect secret from near to any\n"
				     "allow connect end from near to far\n";
	struct msg_sock *secret = listens(far_ctx, "secret"), *sock, *names[3];

	sock = watch("*");
	must_tell(sock, "+far/secret");
	must_tell(sock, "");
	testbed_policy(some);
	must_tell(sock, "-far/secret");
	for (int i = 0; i < 10; i++) {
		must(msg_close(secret) == 0);
		secret = listens(far_ctx, "secret");
	}
	names[0] = listens(far_ctx, "public");
	names[1] = listens(near_ctx, "public"); /* of the own domain */
	names[2] = listens(far_ctx, "end");
	must_tell(sock, "+far/public");
	must_tell(sock, "+far/end");
	nothing_more(sock);
	testbed_policy(others);
	must_tell(sock, "+far/secret");
	must_tell(sock, "-far/public");
	nothing_more(sock);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		must(msg_close(names[i]) == 0);
	must_tell(sock, "-far/end");
	must(msg_close(secret) == 0);
	must_tell(sock, "-far/secret");
	must(msg_close(sock) == 0);
	testbed_policy("allow listen * on any\nallow connect * from any to any\n");
}

/* Asked while msgd is away, it is answered by the next one; once. */
static void ask(void *arg)
{
	*(struct msg_sock **)arg = watch("*");
}

static void test_asked_while_away(void **state)
{
	struct msg_sock *sock = NULL;
	struct worker worker;

	testbed_msgd_kill();
	worker_start(&worker, ask, &sock);
	worker_await_sleep(&worker);
	testbed_msgd_start();
	worker_join(&worker);
	must_tell(sock, "");
	nothing_more(sock);
	must(msg_close(sock) == 0);
}

/* A process of its domain, with which it will be killed. */
static pid_t doomed_start(void)
{
	pid_t pid;

	testbed_domain("doomed", true);
	pid = fork();
	must(pid >= 0);
	if (pid)
		return pid;
	(void)listens(testbed_ctx("doomed", 0), "name");
	for (;;)
		(void)pause();
}

static void test_domain_dies(void **state)
{
	struct msg_sock *sock = watch("*");
	pid_t pid = doomed_start();

	must_tell(sock, "");
	must_tell(sock, "+doomed/name");
	must(testbed_sim("destroy", "doomed"));
	must_tell(sock, "-doomed/name");
	nothing_more(sock);
	must(waitpid(pid, NULL, 0) == pid);
	must(msg_close(sock) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_present_first, setup, teardown),
		cmocka_unit_test_setup_teardown(test_patterns, setup, teardown),
		cmocka_unit_test_setup_teardown(test_is_a_socket, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shutdown_wakes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flapping, setup, teardown),
		cmocka_unit_test_setup_teardown(test_thousand_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_policy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_asked_while_away, setup, teardown),
		cmocka_unit_test_setup_teardown(test_domain_dies, setup, teardown),
	};

	return cmocka_run_group_tests(tests, testbed_setup, testbed_teardown);
}
