/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages, options and the ends of a channel, as libmsg.h says. */
#include "tests/support/cmocka-all.h"

#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "proto/limits.h"
#include "tests/support/testbed.h"

#define NEAR 0 /* connected */
#define FAR  1 /* was accepted */
#define MIB  (1U << 20)

static struct msg_ctx *ctx[2];
static struct msg_sock *sock[2];
static struct pump pump;
static char data[4 * MIB], got[4 * MIB];

static int64_t expected_transport(void)
{
	return strcmp(testbed_transport(), "argo-strict") == 0 ? LIBMSG_TRANSPORT_ARGO_STRICT
							       : LIBMSG_TRANSPORT_ARGO;
}

static int channel_setup(void **state)
{
	testbed_watchdog(60);
	ctx[NEAR] = testbed_ctx("near", 0);
	ctx[FAR] = testbed_ctx("far", 0);
	testbed_channel(ctx[NEAR], ctx[FAR], "far", sock);
	return 0;
}

/* A test that closes a socket sets it to NULL. */
static int channel_teardown(void **state)
{
	for (int i = 0; i < 2; i++) {
		if (sock[i])
			(void)msg_close(sock[i]);
		msg_ctx_close(ctx[i]);
	}
	testbed_watchdog(0);
	return 0;
}

/* With the far end inside libmsg all the time: the near end may block. */
static int pumped_setup(void **state)
{
	(void)channel_setup(state);
	pump_start(&pump, ctx[FAR]);
	return 0;
}

static int pumped_teardown(void **state)
{
	pump_stop(&pump);
	return channel_teardown(state);
}

static void send_text(int end, const char *text)
{
	must(msg_send(sock[end], text, strlen(text), 0) == (ssize_t)strlen(text));
}

static void receive_text(int end, const char *text)
{
	must(msg_recv(sock[end], got, sizeof(got), 0) == (ssize_t)strlen(text));
	must(memcmp(got, text, strlen(text)) == 0);
}

/* recvmsg into one buffer; the flags. */
static ssize_t receive(int end, size_t len, int flags, int *ret_flags)
{
	struct iovec iov = {.iov_base = got, .iov_len = len};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_flags = -1};
	ssize_t r = msg_recvmsg(sock[end], &message, flags);

	*ret_flags = message.msg_flags;
	return r;
}

/* ---- messages ------------------------------------------------------------------------------- */

static void test_empty_messages(void **state)
{
	const void *taken;
	struct msg_buf *buf = NULL;
	int flags;

	for (int i = 0; i < 3; i++)
		must(msg_send(sock[NEAR], NULL, 0, 0) == 0);
	send_text(NEAR, "after");
	must(msg_recv(sock[FAR], got, 10, 0) == 0);
	must(receive(FAR, 10, 0, &flags) == 0 && flags == MSG_EOR);
	must(msg_recv_take(sock[FAR], 0, &taken, &buf) == 0 && buf);
	msg_buf_free(buf);
	receive_text(FAR, "after");
	must(msg_send(sock[NEAR], NULL, 0, 0) == 0);
	must(msg_shutdown(sock[NEAR], SHUT_WR) == 0);
	must(receive(FAR, 0, 0, &flags) == 0 && flags == MSG_EOR);
	must(receive(FAR, 10, 0, &flags) == 0 && flags == 0);
	must(msg_recv_take(sock[FAR], 0, &taken, &buf) == 0 && !buf);
	must(msg_recv(sock[FAR], got, 10, 0) == 0); /* stays so */
}

/* Thousands of them fit no credit for ever: they cost the sender something. */
static void test_empty_messages_are_bounded(void **state)
{
	int n = 0;

	while (msg_send(sock[NEAR], NULL, 0, MSG_DONTWAIT) == 0) {
		must_fail(msg_recv(sock[FAR], NULL, 0, MSG_DONTWAIT | MSG_OOB), EINVAL);
		must(++n < 100000);
	}
	must(errno == EAGAIN && n > 100);
	for (int i = 0; i < n; i++)
		must(msg_recv(sock[FAR], got, 1, MSG_DONTWAIT) == 0);
	must_fail(msg_recv(sock[FAR], got, 1, MSG_DONTWAIT), EAGAIN);
}

static void test_peek(void **state)
{
	int flags;

	send_text(NEAR, "first");
	send_text(NEAR, "second");
	for (int i = 0; i < 2; i++) {
		memset(got, 0, 10);
		must(msg_recv(sock[FAR], got, sizeof(got), MSG_PEEK) == 5);
		must(memcmp(got, "first", 5) == 0);
		must(receive(FAR, 2, MSG_PEEK, &flags) == 2 && flags == (MSG_EOR | MSG_TRUNC));
		must(receive(FAR, 2, MSG_PEEK | MSG_TRUNC, &flags) == 5);
	}
	receive_text(FAR, "first");
	receive_text(FAR, "second");
	must_fail(msg_recv(sock[FAR], got, 10, MSG_PEEK | MSG_DONTWAIT), EAGAIN);
}

static void test_cut_messages(void **state)
{
	int flags;

	for (int i = 0; i < 4; i++)
		send_text(NEAR, "0123456789");
	must(msg_recv(sock[FAR], got, 4, 0) == 4 && memcmp(got, "0123", 4) == 0);
	must(msg_recv(sock[FAR], got, 4, MSG_TRUNC) == 10);
	must(receive(FAR, 4, 0, &flags) == 4 && flags == (MSG_EOR | MSG_TRUNC));
	must(receive(FAR, 10, MSG_TRUNC, &flags) == 10 && flags == MSG_EOR);
	/* A cut one of many fragments, waited for by a reader that has less room. */
	stamp_make(data, 1, 1, 300000);
	must(msg_send(sock[NEAR], data, 300000, MSG_DONTWAIT) == 300000);
	pump_start(&pump, ctx[NEAR]);
	must(msg_recv(sock[FAR], got, 100, MSG_TRUNC) == 300000);
	must(memcmp(got, data, 100) == 0);
	send_text(NEAR, "next");
	receive_text(FAR, "next");
	pump_stop(&pump);
}

static void test_scattered(void **state)
{
	struct iovec out[6] = {{data, 3}, {data, 0}, {data + 3, 2000}, {NULL, 0}, {data + 2003, 1},
		{data + 2004, 996}};
	struct iovec in[4] = {{got, 1}, {got + 1, 0}, {got + 1, 1500}, {got + 1501, 7000}};
	struct msghdr from = {.msg_iov = out, .msg_iovlen = 6};
	struct msghdr to = {.msg_iov = in, .msg_iovlen = 4};

	stamp_make(data, 7, 7, 3000);
	for (int direct = 0; direct < 2; direct++) { /* into waiting memory, and by a copy */
		memset(got, 0, 4000);
		must(msg_sendmsg(sock[NEAR], &from, 0) == 3000);
		if (!direct)
			must(msg_recv(sock[FAR], got, 0, MSG_PEEK) == 0);
		must(msg_recvmsg(sock[FAR], &to, 0) == 3000 && to.msg_flags == MSG_EOR);
		(void)stamp_check(got, 3000);
	}
}

static void test_message_headers(void **state)
{
	struct iovec iov = {.iov_base = data, .iov_len = 1}, huge[2];
	struct msghdr good = {.msg_iov = &iov, .msg_iovlen = 1}, bad;

	bad = good;
	bad.msg_name = data, bad.msg_namelen = 1;
	must_fail(msg_sendmsg(sock[NEAR], &bad, 0), EINVAL);
	must_fail(msg_recvmsg(sock[NEAR], &bad, 0), EINVAL);
	bad = good;
	bad.msg_control = data, bad.msg_controllen = 16;
	must_fail(msg_sendmsg(sock[NEAR], &bad, 0), EINVAL);
	must_fail(msg_recvmsg(sock[NEAR], &bad, 0), EINVAL);
	bad = good;
	bad.msg_iovlen = IOV_MAX + 1;
	must_fail(msg_sendmsg(sock[NEAR], &bad, 0), EINVAL);
	must_fail(msg_recvmsg(sock[NEAR], &bad, 0), EINVAL);
	huge[0] = huge[1] = (struct iovec){.iov_base = data, .iov_len = SSIZE_MAX};
	bad = (struct msghdr){.msg_iov = huge, .msg_iovlen = 2};
	must_fail(msg_sendmsg(sock[NEAR], &bad, 0), EINVAL);
	must(msg_sendmsg(sock[NEAR], &good, 0) == 1);
	must(msg_recvmsg(sock[FAR], &good, 0) == 1);
}

static void test_flags(void **state)
{
	const void *taken;
	struct msg_buf *buf;

	must_fail(msg_send(sock[NEAR], "x", 1, MSG_OOB), EINVAL);
	must_fail(msg_send(sock[NEAR], "x", 1, MSG_PEEK), EINVAL);
	must_fail(msg_recv(sock[NEAR], got, 1, MSG_OOB), EINVAL);
	must_fail(msg_recv(sock[NEAR], got, 1, MSG_EOR), EINVAL);
	must_fail(msg_recv_take(sock[NEAR], MSG_PEEK, &taken, &buf), EINVAL);
	must(msg_send(sock[NEAR], "x", 1, MSG_NOSIGNAL | MSG_EOR | MSG_DONTWAIT) == 1);
	receive_text(FAR, "x");
}

/* Held back or not, all is there after what shows it, in order. */
static void test_more(void **state)
{
	for (int way = 0; way < 5; way++) {
		if (way == 2)
			must(msg_setopt(sock[NEAR], LIBMSG_CORK, 1) == 0);
		for (char c = '0'; c <= '9'; c++)
			must(msg_send(sock[NEAR], &c, 1, way == 2 ? 0 : MSG_MORE) == 1);
		if (way == 0)
			send_text(NEAR, "end");
		else if (way == 1)
			must(msg_flush(sock[NEAR]) == 0);
		else if (way == 2)
			must(msg_setopt(sock[NEAR], LIBMSG_CORK, 0) == 0);
		else if (way == 3)
			must(msg_shutdown(sock[NEAR], SHUT_WR) == 0);
		else
			must(msg_close(sock[NEAR]) == 0);
		for (char c = '0'; c <= '9'; c++)
			must(msg_recv(sock[FAR], got, 1, MSG_DONTWAIT) == 1 && got[0] == c);
		if (way == 0)
			receive_text(FAR, "end");
		if (way < 3)
			continue;
		must(msg_recv(sock[FAR], got, 1, MSG_DONTWAIT) == 0);
		if (way == 3) {
			(void)msg_close(sock[NEAR]);
			must(msg_close(sock[FAR]) == 0);
			testbed_channel(ctx[NEAR], ctx[FAR], "far", sock);
		}
	}
	sock[NEAR] = NULL;
}

/* More than the ring: what was held back goes out when it fills. */
static void test_more_than_the_ring(void **state)
{
	uint32_t n = 0;

	for (; n < 5000; n++) {
		stamp_make(data, 0, n, 100 + n % 1000);
		must(msg_send(sock[FAR], data, 100 + n % 1000, MSG_MORE | MSG_DONTWAIT) > 0 ||
			errno == EAGAIN);
		if (errno == EAGAIN && n > 0)
			break;
		errno = 0;
	}
	must(n > 5 && n < 5000);
	must(msg_flush(sock[FAR]) == 0);
	for (uint32_t i = 0; i < n; i++)
		must(stamp_check(got, msg_recv(sock[NEAR], got, sizeof(got), 0)).number == i);
}

static void test_taken_messages(void **state)
{
	struct msg_buf *bufs[3];
	const void *taken[3];

	for (uint32_t i = 0; i < 3; i++) {
		stamp_make(data, i, i, 2000 + i);
		must(msg_send(sock[NEAR], data, 2000 + i, 0) > 0);
	}
	for (uint32_t i = 0; i < 3; i++)
		must(msg_recv_take(sock[FAR], 0, &taken[i], &bufs[i]) == 2000 + i);
	must_fail(msg_recv_take(sock[FAR], MSG_DONTWAIT, &taken[0], &bufs[0]), EAGAIN);
	/* They are the caller's, whatever becomes of the socket. */
	must(msg_close(sock[FAR]) == 0);
	sock[FAR] = NULL;
	for (uint32_t i = 0; i < 3; i++) {
		must(stamp_check(taken[i], 2000 + i).stream == i);
		msg_buf_free(bufs[i]);
	}
	msg_buf_free(NULL);
}

/* ---- limits and options ------------------------------------------------------------------ */

static void test_too_long(void **state)
{
	int64_t limit;

	must(msg_getopt(sock[NEAR], LIBMSG_SNDBUF, &limit) == 0 && limit == MIB);
	must(msg_getopt(sock[FAR], LIBMSG_MAXMSG, &limit) == 0 && limit == MIB);
	must_fail(msg_send(sock[NEAR], data, MIB + 1, 0), EMSGSIZE);
	must(strstr(msg_reason(), "SNDBUF"));
	must(msg_setopt(sock[NEAR], LIBMSG_SNDBUF, 4 * MIB) == 0);
	must_fail(msg_send(sock[NEAR], data, MIB + 1, 0), EMSGSIZE);
	must(strstr(msg_reason(), "1048576"));
	stamp_make(data, 1, 1, MIB);
	must(msg_send(sock[NEAR], data, MIB, MSG_DONTWAIT) == MIB);
	/* The peer takes more; its message tells that its new limit came first. */
	must(msg_setopt(sock[FAR], LIBMSG_RCVBUF, 4 * MIB) == 0);
	must(msg_setopt(sock[FAR], LIBMSG_MAXMSG, 3 * MIB) == 0);
	must(msg_send(sock[FAR], "go", 2, MSG_DONTWAIT) == 2);
	pump_start(&pump, ctx[NEAR]);
	(void)stamp_check(got, msg_recv(sock[FAR], got, sizeof(got), 0));
	receive_text(NEAR, "go");
	stamp_make(data, 2, 2, 3 * MIB);
	must(msg_send(sock[NEAR], data, 3 * MIB, MSG_DONTWAIT) == 3 * MIB);
	(void)stamp_check(got, msg_recv(sock[FAR], got, sizeof(got), 0));
	must_fail(msg_send(sock[NEAR], data, 3 * MIB + 1, 0), EMSGSIZE);
	/* And less. */
	must(msg_setopt(sock[FAR], LIBMSG_MAXMSG, 100) == 0);
	must(msg_send(sock[FAR], "go", 2, 0) == 2);
	receive_text(NEAR, "go");
	must_fail(msg_send(sock[NEAR], data, 101, 0), EMSGSIZE);
	must(msg_send(sock[NEAR], data, 100, 0) == 100);
	pump_stop(&pump);
	must(msg_recv(sock[FAR], got, sizeof(got), 0) == 100);
}

static void test_options(void **state)
{
	struct msg_sock *listener = msg_listen(ctx[FAR], "options", LIBMSG_SEQPACKET, 1, 0);
	static const struct {
		int option;
		int64_t preset, other, low, high; /* low and high are just out of range */
		bool channels_only;
	} options[] = {
		{LIBMSG_RCVTIMEO, -1, 100, -2, 1LL << 31, false},
		{LIBMSG_SNDTIMEO, -1, 0, -2, 1LL << 31, false},
		{LIBMSG_LINGER, 1000, 1, -2, 1LL << 31, false},
		{LIBMSG_RCVBUF, MIB, 8192, 8191, 64 * MIB + 1, true},
		{LIBMSG_SNDBUF, MIB, 4096, 4095, 64 * MIB + 1, false},
		{LIBMSG_MAXMSG, MIB, 1, 0, MIB + 1, true},
		{LIBMSG_SPIN, -1, 0, -2, 1000001, false},
	};
	int64_t value;

	must(listener);
	must(msg_setopt(sock[NEAR], LIBMSG_RCVBUF, MIB) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		int option = options[i].option;

		must(msg_getopt(sock[NEAR], option, &value) == 0 && value == options[i].preset);
		must_fail(msg_setopt(sock[NEAR], option, options[i].low), EINVAL);
		must_fail(msg_setopt(sock[NEAR], option, options[i].high), EINVAL);
		must(msg_getopt(sock[NEAR], option, &value) == 0 && value == options[i].preset);
		must(msg_setopt(sock[NEAR], option, options[i].other) == 0);
		must(msg_getopt(sock[NEAR], option, &value) == 0 && value == options[i].other);
		must(msg_setopt(sock[NEAR], option, options[i].preset) == 0);
		if (options[i].channels_only)
			must_fail(msg_setopt(listener, option, options[i].other), ENOPROTOOPT);
	}
	must(msg_getopt(sock[NEAR], LIBMSG_TYPE, &value) == 0 && value == LIBMSG_SEQPACKET);
	must(msg_getopt(sock[NEAR], LIBMSG_ERROR, &value) == 0 && value == 0);
	must(msg_getopt(sock[NEAR], LIBMSG_TRANSPORT, &value) == 0 &&
		value == expected_transport());
	must_fail(msg_setopt(sock[NEAR], LIBMSG_TRANSPORT, LIBMSG_TRANSPORT_GRANT), ENOPROTOOPT);
	must_fail(msg_setopt(sock[NEAR], LIBMSG_TYPE, LIBMSG_SEQPACKET), ENOPROTOOPT);
	must_fail(msg_setopt(sock[NEAR], LIBMSG_ERROR, 0), ENOPROTOOPT);
	must_fail(msg_getopt(listener, LIBMSG_TRANSPORT, &value), ENOTCONN);
	must_fail(msg_setopt(sock[NEAR], 0, 0), EINVAL);
	must_fail(msg_getopt(sock[NEAR], 12345, &value), EINVAL);
	must(msg_setopt(sock[NEAR], LIBMSG_NONBLOCK_OPT, 1) == 0);
	must_fail(msg_recv(sock[NEAR], got, 1, 0), EAGAIN);
	must(msg_setopt(sock[NEAR], LIBMSG_NONBLOCK_OPT, 0) == 0);
	must(msg_close(listener) == 0);
}

static void test_peer(void **state)
{
	struct msg_peer near = {.size = sizeof(near)}, far = {.size = sizeof(far)}, little;
	struct msg_sock *listener = msg_listen(ctx[FAR], "peer", LIBMSG_SEQPACKET, 1, 0);

	must(msg_getpeer(sock[NEAR], &far) == 0 && msg_getpeer(sock[FAR], &near) == 0);
	must(strcmp(far.domain, "far") == 0 && strcmp(near.domain, "near") == 0);
	must(strcmp(far.name, near.name) == 0 && strncmp(far.name, "testbed.", 8) == 0);
	must(near.domid != far.domid && near.domid > 0 && far.domid > 0);
	must(memcmp(near.uuid, far.uuid, sizeof(near.uuid)) != 0);
	must(near.transport == (uint32_t)expected_transport() && near.flags == 0);
	/* A program of an older header has less room. */
	memset(&little, 0x55, sizeof(little));
	little.size = 8;
	must(msg_getpeer(sock[NEAR], &little) == 0);
	must(little.size == 8 && little.domid == far.domid && little.transport == 0x55555555);
	little.size = 0;
	must_fail(msg_getpeer(sock[NEAR], &little), EINVAL);
	far.size = sizeof(far) + 1;
	must_fail(msg_getpeer(sock[NEAR], &far), EINVAL);
	far.size = sizeof(far);
	must_fail(msg_getpeer(listener, &far), ENOTCONN);
	must(msg_userdata(sock[NEAR]) == NULL);
	msg_set_userdata(sock[NEAR], &far);
	must(msg_userdata(sock[NEAR]) == &far && msg_userdata(sock[FAR]) == NULL);
	must(msg_close(listener) == 0);
}

/* ---- ends -------------------------------------------------------------------------------- */

static void test_shutdown_halves(void **state)
{
	send_text(NEAR, "last");
	must(msg_shutdown(sock[NEAR], SHUT_WR) == 0);
	must(msg_shutdown(sock[NEAR], SHUT_WR) == 0); /* again: nothing new */
	must_fail(msg_send(sock[NEAR], "x", 1, 0), EPIPE);
	receive_text(FAR, "last");
	must(msg_recv(sock[FAR], got, 1, 0) == 0);
	send_text(FAR, "answer"); /* the other half stands */
	receive_text(NEAR, "answer");
	send_text(FAR, "unread");
	must(msg_recv(sock[NEAR], got, 1, MSG_PEEK) == 1);
	must(msg_shutdown(sock[NEAR], SHUT_RD) == 0);
	receive_text(NEAR, "unread"); /* was there before */
	must(msg_recv(sock[NEAR], got, 1, 0) == 0);
	/* A later message is thrown away, and costs the sender no credit. */
	stamp_make(data, 1, 1, 50000);
	for (int i = 0; i < 100; i++) {
		must(msg_send(sock[FAR], data, 50000, MSG_DONTWAIT) == 50000 || errno == EAGAIN);
		must(msg_recv(sock[NEAR], got, 1, MSG_DONTWAIT) == 0);
	}
	must_fail(msg_shutdown(sock[NEAR], 77), EINVAL);
	must(msg_close(sock[NEAR]) == 0);
	sock[NEAR] = NULL;
}

/* The rest of the message is thrown away as well; other channels of the link do not notice. */
static void test_shutdown_inside_message(void **state)
{
	struct msg_sock *other[2];

	testbed_channel(ctx[NEAR], ctx[FAR], "far", other);
	stamp_make(data, 1, 1, 600000);
	for (int by_reader = 0; by_reader < 2; by_reader++) {
		must(msg_send(sock[NEAR], data, 600000, MSG_DONTWAIT) == 600000);
		/* The first frames are there, the rest waits for room. */
		if (by_reader) {
			must(msg_setopt(sock[FAR], LIBMSG_RCVTIMEO, 1) == 0);
			must_fail(msg_recv(sock[FAR], got, sizeof(got), 0), EAGAIN);
		} else {
			must_fail(msg_recv(sock[FAR], got, 0, MSG_PEEK | MSG_DONTWAIT), EAGAIN);
		}
		must(msg_shutdown(sock[FAR], SHUT_RD) == 0);
		must(msg_recv(sock[FAR], got, sizeof(got), 0) == 0);
		pump_start(&pump, ctx[FAR]);
		must(msg_close(sock[NEAR]) == 0);
		/* Only the near end's close ends it. */
		must(msg_send(other[0], "x", 1, 0) == 1 && msg_recv(other[1], got, 1, 0) == 1);
		must_fail(msg_send(sock[FAR], "x", 1, 0), EPIPE);
		pump_stop(&pump);
		must(msg_close(sock[FAR]) == 0);
		testbed_channel(ctx[NEAR], ctx[FAR], "far", sock);
	}
	must(msg_close(other[0]) == 0 && msg_close(other[1]) == 0);
}

/* The same with a thread inside msg_recv, whose memory is being written to. */
static void read_until_end(void *arg)
{
	ssize_t *ret = arg;

	*ret = msg_recv(sock[FAR], got, sizeof(got), 0);
}

static void test_shutdown_under_reader(void **state)
{
	struct msg_sock *other[2];
	struct worker worker;
	ssize_t r = -1;

	testbed_channel(ctx[NEAR], ctx[FAR], "far", other);
	stamp_make(data, 1, 1, 600000);
	worker_start(&worker, read_until_end, &r);
	worker_await_sleep(&worker);
	must(msg_send(sock[NEAR], data, 600000, MSG_DONTWAIT) == 600000);
	worker_await_sleep(&worker);
	must(msg_shutdown(sock[FAR], SHUT_RD) == 0);
	worker_join(&worker);
	must(r == 0);
	pump_start(&pump, ctx[FAR]);
	must(msg_close(sock[NEAR]) == 0);
	sock[NEAR] = NULL;
	must(msg_send(other[0], "x", 1, 0) == 1 && msg_recv(other[1], got, 1, 0) == 1);
	must_fail(msg_send(sock[FAR], "x", 1, 0), EPIPE);
	pump_stop(&pump);
	must(msg_close(other[0]) == 0 && msg_close(other[1]) == 0);
}

/* Unread messages, in a queue or still in the ring: the peer learns that they were not read. */
static void test_close_unread(void **state)
{
	for (int in_ring = 0; in_ring < 2; in_ring++) {
		send_text(FAR, "read this first");
		send_text(NEAR, "unread");
		if (!in_ring)
			must(msg_recv(sock[FAR], got, 0, MSG_PEEK) == 0);
		must(msg_close(sock[FAR]) == 0);
		receive_text(NEAR, "read this first");
		must_fail(msg_recv(sock[NEAR], got, 1, 0), ECONNRESET);
		must_fail(msg_send(sock[NEAR], "x", 1, 0), ECONNRESET);
		must_fail(msg_recv(sock[NEAR], got, 1, MSG_DONTWAIT), ECONNRESET);
		must(msg_close(sock[NEAR]) == 0);
		testbed_channel(ctx[NEAR], ctx[FAR], "far", sock);
	}
}

static void test_close_in_order(void **state)
{
	must(msg_close(NULL) == 0);
	send_text(NEAR, "last");
	must(msg_close(sock[NEAR]) == 0);
	sock[NEAR] = NULL;
	receive_text(FAR, "last");
	must(msg_recv(sock[FAR], got, 1, 0) == 0);
	must_fail(msg_send(sock[FAR], "x", 1, 0), EPIPE);
	must(msg_recv(sock[FAR], got, 1, 0) == 0);
}

/* A message that was accepted and did not fit: close waits for it, and all of it arrives. */
static void test_linger(void **state)
{
	stamp_make(data, 1, 1, MIB);
	must(msg_send(sock[NEAR], data, MIB, MSG_DONTWAIT) == MIB);
	must(msg_close(sock[NEAR]) == 0);
	sock[NEAR] = NULL;
	(void)stamp_check(got, msg_recv(sock[FAR], got, sizeof(got), 0));
	must(msg_recv(sock[FAR], got, 1, 0) == 0);
}

/* The peer takes nothing in: the limit ends the wait, and the peer sees that the end is cut. */
static void test_linger_is_over(void **state)
{
	static const int limits[] = {100, 0};

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		uint64_t start = testbed_now_ms(), took;

		stamp_make(data, 1, 1, MIB);
		send_text(NEAR, "whole");
		must(msg_send(sock[NEAR], data, MIB, MSG_DONTWAIT) == MIB);
		must(msg_setopt(sock[NEAR], LIBMSG_LINGER, limits[i]) == 0);
		must_fail(msg_close(sock[NEAR]), ETIMEDOUT);
		took = testbed_now_ms() - start;
		must(took + 1 >= (uint64_t)limits[i] && took < 20000);
		receive_text(FAR, "whole");
		pump_start(&pump, ctx[NEAR]); /* the reset itself may wait for room */
		must_fail(msg_recv(sock[FAR], got, sizeof(got), 0), ECONNRESET);
		pump_stop(&pump);
		must(msg_close(sock[FAR]) == 0);
		testbed_channel(ctx[NEAR], ctx[FAR], "far", sock);
	}
}

static void count_until_end(void *arg)
{
	unsigned *ret_n = arg;

	(void)poll(NULL, 0, 50); /* the other end finds the ring full, as a rule */
	while (msg_recv(sock[FAR], got, sizeof(got), 0) > 0)
		++*ret_n;
}

/* The end gets through a full ring although its application calls libmsg no more. */
static void test_end_through_full_ring(void **state)
{
	unsigned n = 0, n_read;
	struct worker worker;

	for (int way = 0; way < 2; way++) {
		/* The window grows beyond the ring. */
		pump_start(&pump, ctx[FAR]);
		for (int i = 0; i < 100; i++) {
			must(msg_send(sock[NEAR], data, 8000, 0) == 8000);
			must(msg_recv(sock[FAR], got, sizeof(got), 0) == 8000);
		}
		pump_stop(&pump);
		for (n = 0; msg_send(sock[NEAR], data, n % 2 ? 1 : 5000, MSG_DONTWAIT) > 0; n++)
			;
		while (msg_send(sock[NEAR], data, 1, MSG_DONTWAIT) > 0)
			n++;
		n_read = 0;
		worker_start(&worker, count_until_end, &n_read);
		if (way == 0) {
			must(msg_shutdown(sock[NEAR], SHUT_WR) == 0);
		} else {
			must(msg_close(sock[NEAR]) == 0);
			sock[NEAR] = NULL;
		}
		worker_join(&worker);
		must(n_read == n);
		if (way == 0) {
			must(msg_close(sock[NEAR]) == 0 && msg_close(sock[FAR]) == 0);
			testbed_channel(ctx[NEAR], ctx[FAR], "far", sock);
		}
	}
}

/* A non-blocking socket's close does not wait; later calls send the rest. */
static void test_linger_not(void **state)
{
	stamp_make(data, 1, 1, MIB);
	must(msg_setopt(sock[NEAR], LIBMSG_NONBLOCK_OPT, 1) == 0);
	must(msg_send(sock[NEAR], data, MIB, 0) == MIB);
	must(msg_close(sock[NEAR]) == 0);
	sock[NEAR] = NULL;
	pump_start(&pump, ctx[NEAR]);
	(void)stamp_check(got, msg_recv(sock[FAR], got, sizeof(got), 0));
	must(msg_recv(sock[FAR], got, 1, 0) == 0);
	pump_stop(&pump);
}

/* It closes the channels in order. */
static void test_context_close(void **state)
{
	send_text(NEAR, "whole");
	msg_ctx_close(ctx[NEAR]);
	sock[NEAR] = NULL;
	receive_text(FAR, "whole");
	must(msg_recv(sock[FAR], got, 1, 0) == 0);
	ctx[NEAR] = NULL;
	msg_ctx_close(NULL);
}

/* A message counts as unread though no call has looked at it. */
static void test_context_close_unread(void **state)
{
	send_text(FAR, "never read");
	msg_ctx_close(ctx[NEAR]);
	sock[NEAR] = NULL;
	ctx[NEAR] = NULL;
	must_fail(msg_recv(sock[FAR], got, 1, 0), ECONNRESET);
}

static void test_version(void **state)
{
	unsigned major, minor, patch;
	char rest;

	must(sscanf(msg_version(), "%u.%u.%u%c", &major, &minor, &patch, &rest) == 3);
}

/* ---- a full ring ------------------------------------------------------------------------- */

/* The receiver keeps up, so that its window is larger than a ring. */
static void window_grow(void)
{
	for (int i = 0; i < 600; i++) {
		if (msg_send(sock[NEAR], data, 4000, MSG_DONTWAIT) < 0)
			must(errno == EAGAIN);
		(void)msg_recv(sock[FAR], got, sizeof(got), MSG_DONTWAIT);
	}
	while (msg_recv(sock[FAR], got, sizeof(got), MSG_DONTWAIT) > 0)
		;
	must_fail(msg_recv(sock[NEAR], got, 1, MSG_DONTWAIT), EAGAIN); /* the credit */
}

/* To the last slot. Returns how many messages that takes. */
static int ring_fill(void)
{
	static const size_t sizes[] = {16000, 1000, 100, 0};
	int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		for (; msg_send(sock[NEAR], data, sizes[i], MSG_DONTWAIT) >= 0; n++)
			must(n < 10000);
	return n;
}

static void close_and_leave(void *arg)
{
	must(msg_setopt(sock[NEAR], LIBMSG_LINGER, TESTBED_WAIT_MS) == 0);
	must(msg_close(sock[NEAR]) == 0);
	sock[NEAR] = NULL;
	msg_ctx_close(ctx[NEAR]);
	ctx[NEAR] = NULL;
}

/* An end closes and its process leaves at once: the peer hears everything. */
static void test_close_finds_no_room(void **state)
{
	struct worker worker;
	int n, flags;

	window_grow();
	n = ring_fill();
	worker_start(&worker, close_and_leave, NULL);
	worker_await_sleep(&worker);
	for (int i = 0; i < n; i++)
		must(receive(FAR, sizeof(got), 0, &flags) >= 0 && flags == MSG_EOR);
	must(receive(FAR, sizeof(got), 0, &flags) == 0 && flags == 0);
	worker_join(&worker);
}

static _Atomic bool sent;

static void send_last(void *arg)
{
	must(msg_send(sock[NEAR], data, 8000, 0) == 8000);
	sent = true;
}

/* Returns how many messages of 16200 bytes lie before one that MSG_MORE holds back. */
static int ring_fill_and_hold(struct worker *sender)
{
	const int fill = LINK_ARGO_RING_LEN(LINK_ARGO_RING_PAGES_DEFAULT) / 16384;

	window_grow();
	for (int i = 0; i < fill; i++)
		must(msg_send(sock[NEAR], data, 16200, MSG_DONTWAIT) == 16200);
	must(msg_send(sock[NEAR], data, 100, MSG_MORE | MSG_DONTWAIT) == 100);
	sent = false;
	worker_start(sender, send_last, NULL);
	worker_await_sleep(sender);
	must(!sent);
	return fill;
}

static void receive_filled(int n)
{
	for (; n > 0; n--)
		must(msg_recv(sock[FAR], got, sizeof(got), 0) == 16200);
	must(msg_recv(sock[FAR], got, sizeof(got), 0) == 100);
	must(msg_recv(sock[FAR], got, sizeof(got), 0) == 8000);
}

/* A send blocks until its message and the ones that MSG_MORE held back fit. */
static void test_more_finds_no_room(void **state)
{
	struct worker worker;

	receive_filled(ring_fill_and_hold(&worker));
	worker_join(&worker);
	must(sent);
}

/* Or until a shutdown by another thread; the messages go out before the end. */
static void test_shutdown_ends_held_send(void **state)
{
	struct worker worker;
	int n = ring_fill_and_hold(&worker);

	must(msg_setopt(sock[NEAR], LIBMSG_LINGER, 0) == 0);
	must(msg_shutdown(sock[NEAR], SHUT_WR) == 0);
	worker_join(&worker);
	must(sent);
	pump_start(&pump, ctx[NEAR]);
	receive_filled(n);
	must(msg_recv(sock[FAR], got, 1, 0) == 0);
	pump_stop(&pump);
}

#define CASE(name)   cmocka_unit_test_setup_teardown(name, channel_setup, channel_teardown)
#define PUMPED(name) cmocka_unit_test_setup_teardown(name, pumped_setup, pumped_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_empty_messages),
		PUMPED(test_empty_messages_are_bounded),
		CASE(test_close_finds_no_room),
		CASE(test_more_finds_no_room),
		CASE(test_shutdown_ends_held_send),
		CASE(test_peek),
		CASE(test_cut_messages),
		CASE(test_scattered),
		CASE(test_message_headers),
		CASE(test_flags),
		CASE(test_more),
		CASE(test_more_than_the_ring),
		CASE(test_taken_messages),
		CASE(test_too_long),
		CASE(test_options),
		CASE(test_peer),
		CASE(test_shutdown_halves),
		CASE(test_shutdown_inside_message),
		CASE(test_shutdown_under_reader),
		CASE(test_close_unread),
		CASE(test_close_in_order),
		PUMPED(test_linger),
		CASE(test_linger_is_over),
		CASE(test_linger_not),
		CASE(test_end_through_full_ring),
		CASE(test_context_close),
		CASE(test_context_close_unread),
		CASE(test_version),
	};

	return cmocka_run_group_tests_name("data", tests, testbed_setup, testbed_teardown);
}
