/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Streams and datagrams, from both ends, over the ring that $TESTBED_TRANSPORT names; the other
 * tests here have what they have in common with SEQPACKET.
 */
#include "tests/support/cmocka-all.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/macro.h"
#include "tests/support/testbed.h"

#define TOTAL (2U << 20)

static struct msg_ctx *near_ctx, *far_ctx;
static struct msg_sock *near, *far; /* near has connected */
static uint8_t sent[TOTAL], got[TOTAL];

static int setup(void **state)
{
	testbed_watchdog(60);
	near_ctx = testbed_ctx("near", 0);
	far_ctx = testbed_ctx("far", 0);
	srand(1);
	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)(i ^ i >> 8 ^ i >> 16);
	return 0;
}

static int teardown(void **state)
{
	msg_ctx_close(near_ctx); /* closes what the test did not */
	msg_ctx_close(far_ctx);
	testbed_watchdog(0);
	return 0;
}

static void channel(int type)
{
	struct msg_sock *ends[2];

	testbed_channel_of(type, near_ctx, far_ctx, "far", ends);
	near = ends[0];
	far = ends[1];
}

static int64_t option(struct msg_sock *sock, int name)
{
	int64_t value = -1;

	must(msg_getopt(sock, name, &value) == 0);
	return value;
}

/* ---- types ----------------------------------------------------------------------------------- */

static void test_types_must_agree(void **state)
{
	static const int types[] = {LIBMSG_SEQPACKET, LIBMSG_STREAM, LIBMSG_DGRAM};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		struct msg_sock *listener = msg_listen(far_ctx, "typed", types[i], 4, 0);

		must(listener && option(listener, LIBMSG_TYPE) == types[i]);
		for (size_t k = 0; k < ARRAY_SIZE(types); k++) {
			if (k != i)
				must_fail_null(msg_connect(near_ctx, "far/typed", types[k], 0,
						       TESTBED_WAIT_MS),
					EPROTOTYPE);
		}
		must(msg_close(listener) == 0);
		channel(types[i]);
		must(option(near, LIBMSG_TYPE) == types[i] && option(far, LIBMSG_TYPE) == types[i]);
		must(msg_close(near) == 0 && msg_close(far) == 0);
	}
	must_fail_null(msg_listen(far_ctx, "typed", LIBMSG_DGRAM + 1, 4, 0), EPROTONOSUPPORT);
	must_fail_null(msg_connect(near_ctx, "far/typed", 0, 0, 0), EPROTONOSUPPORT);
}

/* ---- streams --------------------------------------------------------------------------------- */

static void write_all(void *arg)
{
	size_t done = 0;

	while (done < TOTAL) {
		size_t n = min_u64(TOTAL - done, 1 + (size_t)rand() % 40000);

		must(msg_send(arg, sent + done, n, rand() % 2 ? MSG_MORE : 0) == (ssize_t)n);
		done += n;
	}
	must(msg_shutdown(arg, SHUT_WR) == 0);
}

/* Every byte, in order, whatever pieces it goes and comes in; then the end, as often as asked. */
static void test_stream(void **state)
{
	for (int way = 0; way < 2; way++) {
		struct worker worker;
		size_t done = 0;
		ssize_t n;

		channel(LIBMSG_STREAM);
		worker_start(&worker, write_all, way ? far : near);
		while ((n = msg_recv(way ? near : far, got + done,
				min_u64(TOTAL - done, 1 + (size_t)rand() % 60000), 0)) > 0)
			done += (size_t)n;
		must(n == 0 && done == TOTAL && memcmp(got, sent, TOTAL) == 0);
		must(msg_recv(way ? near : far, got, 1, 0) == 0);
		worker_join(&worker);
		must_fail(msg_send(way ? far : near, "x", 1, 0), EPIPE);
		/* The other direction goes on. */
		must(msg_send(way ? near : far, "back", 4, 0) == 4);
		must(msg_recv(way ? far : near, got, sizeof(got), 0) == 4);
		must(memcmp(got, "back", 4) == 0);
		must(msg_close(near) == 0 && msg_close(far) == 0);
	}
}

static void read_some(void *arg)
{
	must(msg_recv(far, got, *(size_t *)arg, MSG_WAITALL) == (ssize_t) * (size_t *)arg);
}

/* A call that does not block sends what finds room; one that does sends all, or what it could. */
static void test_stream_sends_in_parts(void **state)
{
	struct msg_pollfd fd;
	struct worker worker;
	size_t done, rest;
	ssize_t n;

	channel(LIBMSG_STREAM);
	n = msg_send(near, sent, TOTAL, MSG_DONTWAIT);
	must(n > 0 && n < (ssize_t)TOTAL);
	done = (size_t)n;
	while ((n = msg_send(near, sent + done, TOTAL - done, MSG_DONTWAIT)) > 0)
		done += (size_t)n;
	must(n < 0 && errno == EAGAIN);
	fd = (struct msg_pollfd){.sock = near, .events = POLLOUT};
	must(msg_poll(&fd, 1, 0) == 0);
	must(msg_setopt(near, LIBMSG_SNDTIMEO, 20) == 0);
	must_fail(msg_send(near, sent + done, 1, 0), EAGAIN);
	must(msg_recv(far, got, done, MSG_WAITALL) == (ssize_t)done);
	must(memcmp(got, sent, done) == 0);
	must(msg_poll(&fd, 1, TESTBED_WAIT_MS) == 1 && fd.revents == POLLOUT);
	/* Time is over when a part has gone. */
	n = msg_send(near, sent, TOTAL, 0);
	must(n > 0 && n < (ssize_t)TOTAL);
	must(msg_setopt(near, LIBMSG_SNDTIMEO, -1) == 0);
	rest = TOTAL;
	must(msg_recv(far, got, (size_t)n, MSG_WAITALL) == n && memcmp(got, sent, (size_t)n) == 0);
	worker_start(&worker, read_some, &rest);
	must(msg_send(near, sent, TOTAL, 0) == (ssize_t)TOTAL);
	worker_join(&worker);
	must(memcmp(got, sent, TOTAL) == 0);
}

static void write_slowly(void *arg)
{
	for (unsigned i = 0; i < 10; i++) {
		(void)poll(NULL, 0, 2);
		must(msg_send(arg, sent + 100 * i, 100, 0) == 100);
	}
}

static void test_stream_waits_for_all(void **state)
{
	struct worker worker;

	channel(LIBMSG_STREAM);
	worker_start(&worker, write_slowly, near);
	must(msg_recv(far, got, 1000, MSG_WAITALL) == 1000 && memcmp(got, sent, 1000) == 0);
	worker_join(&worker);
	must(msg_send(near, sent, 300, 0) == 300);
	must(msg_recv(far, got, 1000, MSG_WAITALL | MSG_DONTWAIT) == 300);
	must(msg_send(near, sent, 300, 0) == 300);
	must(msg_setopt(far, LIBMSG_RCVTIMEO, 20) == 0);
	must(msg_recv(far, got, 1000, MSG_WAITALL) == 300);
	must_fail(msg_recv(far, got, 1000, MSG_WAITALL), EAGAIN);
	/* A part of it is no failure. */
	must(msg_send(near, sent, 300, 0) == 300);
	errno = 0;
	must(msg_recv(far, got, 1000, MSG_WAITALL) == 300 && errno == 0);
	must(msg_send(near, sent, 300, 0) == 300 && msg_close(near) == 0);
	must(msg_recv(far, got, 1000, MSG_WAITALL) == 300);
	must(msg_recv(far, got, 1000, MSG_WAITALL) == 0);
	must_fail(msg_send(far, "x", 1, 0), EPIPE);
}

/* Peeking and taking see the bytes that a receive would. */
static void test_stream_looks(void **state)
{
	struct iovec iov[2] = {{got, 3}, {got + 10, 500}};
	struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2, .msg_flags = -1};
	const void *data;
	struct msg_buf *buf;

	channel(LIBMSG_STREAM);
	must(msg_send(near, sent, 0, 0) == 0); /* is nothing */
	must_fail(msg_recv(far, got, 10, MSG_DONTWAIT), EAGAIN);
	must(msg_send(near, sent, 5, MSG_MORE) == 5 && msg_send(near, sent, 0, 0) == 0);
	must(msg_recv(far, got, 10, 0) == 5); /* held back no longer */
	for (unsigned i = 0; i < 30; i++)
		must(msg_send(near, sent + 100 * i, 100, 0) == 100);
	must(msg_recv(far, got, 1, MSG_PEEK) == 1);
	must(msg_recv(far, got, 2500, MSG_PEEK) >= 100 && memcmp(got, sent, 100) == 0);
	must(msg_recvmsg(far, &message, MSG_WAITALL) == 503 && message.msg_flags == 0);
	must(memcmp(got, sent, 3) == 0 && memcmp(got + 10, sent + 3, 500) == 0);
	for (size_t at = 503; at < 3000;) {
		ssize_t n = msg_recv_take(far, 0, &data, &buf);

		must(n > 0 && memcmp(data, sent + at, (size_t)n) == 0);
		msg_buf_free(buf);
		at += (size_t)n;
	}
	must_fail(msg_recv(far, got, 1, MSG_DONTWAIT), EAGAIN);
	must(msg_shutdown(near, SHUT_WR) == 0);
	must(msg_recv_take(far, 0, &data, &buf) == 0 && !buf);
}

/* The bytes that had come are read, and then the error: never an end. */
static void test_stream_is_cut(void **state)
{
	channel(LIBMSG_STREAM);
	must(msg_send(far, "abc", 3, 0) == 3);
	must(msg_send(near, "unread", 6, 0) == 6);
	must(msg_recv(far, got, 1, MSG_PEEK) == 1);
	must(msg_recv(near, got, 1, 0) == 1);
	msg_ctx_close(far_ctx);
	must(msg_recv(near, got, sizeof(got), MSG_WAITALL) == 2 && memcmp(got, "bc", 2) == 0);
	must_fail(msg_recv(near, got, sizeof(got), 0), ECONNRESET);
	must_fail(msg_recv(near, got, sizeof(got), 0), ECONNRESET);
	must_fail(msg_send(near, "x", 1, 0), ECONNRESET);
	far_ctx = testbed_ctx("far", 0);
}

/* A reader that is slow holds bytes of a window at most; one byte at a time is no more dear. */
static void test_stream_of_bytes(void **state)
{
	size_t n = 0, read = 0;

	channel(LIBMSG_STREAM);
	while (n < TOTAL && msg_send(near, sent + n, 1, MSG_DONTWAIT) == 1)
		n++;
	must(errno == EAGAIN && n > 100 && n < TOTAL);
	while (read < n) {
		ssize_t r = msg_recv(far, got + read, 7, 0);

		must(r > 0);
		read += (size_t)r;
	}
	must(read == n && memcmp(got, sent, n) == 0);
	must_fail(msg_recv(far, got, 7, MSG_DONTWAIT), EAGAIN);
}

/* ---- many messages in a call ---------------------------------------------------------------- */

#define N_MANY 40

static void many(
	struct mmsghdr messages[N_MANY], struct iovec iov[N_MANY], uint8_t *base, size_t len)
{
	memset(messages, 0, N_MANY * sizeof(*messages));
	for (unsigned i = 0; i < N_MANY; i++) {
		iov[i] = (struct iovec){base + 1000 * i, len};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
	}
}

static void test_many(void **state)
{
	static const int types[] = {LIBMSG_SEQPACKET, LIBMSG_DGRAM};
	struct mmsghdr out[N_MANY], in[N_MANY + 10] = {0}; /* more are asked for than come */
	struct iovec out_iov[N_MANY], in_iov[N_MANY];

	for (size_t t = 0; t < ARRAY_SIZE(types); t++) {
		channel(types[t]);
		many(out, out_iov, sent, 100);
		many(in, in_iov, got, 1000);
		must(msg_sendmmsg(near, out, N_MANY, 0) == N_MANY);
		must(msg_recvmmsg(far, in, 30, 0, -1) == 30);
		must(msg_recvmmsg(far, in + 30, 20, MSG_WAITFORONE, -1) == 10);
		for (unsigned i = 0; i < N_MANY; i++) {
			must(out[i].msg_len == 100 && in[i].msg_len == 100);
			must(in[i].msg_hdr.msg_flags == MSG_EOR);
			must(memcmp(got + 1000 * i, sent + 1000 * i, 100) == 0);
		}
		must_fail(msg_recvmmsg(far, in, 1, 0, 20), EAGAIN);
		must(msg_send(near, "x", 1, 0) == 1);
		errno = 0;
		must(msg_recvmmsg(far, in, 2, 0, 20) == 1 && errno == 0);
		must(msg_sendmmsg(near, out, 0, 0) == 0);
		must(msg_send(near, "x", 1, 0) == 1 && msg_shutdown(near, SHUT_WR) == 0);
		must(msg_recvmmsg(far, in, N_MANY, 0, 20) == 1 && in[0].msg_len == 1);
		must(msg_recvmmsg(far, in, N_MANY, 0, 20) == 0); /* the end */
		must_fail(msg_sendmmsg(near, out, N_MANY, 0), EPIPE);
	}
}

/* ---- datagrams ------------------------------------------------------------------------------- */

struct reading {
	uint32_t number;
	uint8_t more[500];
};

static void send_reading(struct msg_sock *sock, uint32_t number)
{
	struct reading reading = {.number = number};

	memset(reading.more, (int)number, sizeof(reading.more));
	must(msg_send(sock, &reading, sizeof(reading), 0) == sizeof(reading));
}

/* The next one's number; UINT32_MAX: none is there. */
static uint32_t next_reading(struct msg_sock *sock)
{
	struct reading reading;
	ssize_t n = msg_recv(sock, &reading, sizeof(reading), MSG_DONTWAIT);

	if (n < 0) {
		must(errno == EAGAIN);
		return UINT32_MAX;
	}
	must(n == sizeof(reading));
	for (size_t i = 0; i < sizeof(reading.more); i++)
		must(reading.more[i] == (uint8_t)reading.number);
	return reading.number;
}

/* Takes what is there: increasing numbers. Returns how many; *ret_last is the last one. */
static uint32_t readings(struct msg_sock *sock, uint32_t *ret_last)
{
	uint32_t n = 0, number, last = 0;

	while ((number = next_reading(sock)) != UINT32_MAX) {
		must(n == 0 || number > last);
		last = number;
		n++;
	}
	*ret_last = last;
	return n;
}

/* Lost messages are counted, and both ends have the count when they have talked. */
static void test_datagrams_are_counted(void **state)
{
	for (int way = 0; way < 2; way++) {
		struct msg_sock *from, *to;
		uint32_t received, last;

		channel(LIBMSG_DGRAM);
		from = way ? far : near;
		to = way ? near : far;
		for (uint32_t i = 0; i < 5000; i++)
			send_reading(from, i);
		must(option(from, LIBMSG_DROPS) > 0);
		received = readings(to, &last);
		must(received > 100 && last == received - 1); /* the newest were dropped */
		/* The receiver has made room and given credit: the sender says what it dropped. */
		while (option(from, LIBMSG_DROPS) != option(to, LIBMSG_DROPS)) {
			must(next_reading(from) == UINT32_MAX);
			must(next_reading(to) == UINT32_MAX);
		}
		must(option(to, LIBMSG_DROPS) == 5000 - received);
		send_reading(from, 9000);
		must(msg_recv(to, got, sizeof(got), 0) == sizeof(struct reading));
		must(msg_close(near) == 0 && msg_close(far) == 0);
	}
}

/* Both ends wish for the latest: it comes, whatever came before it. */
static void test_the_oldest_are_dropped(void **state)
{
	uint32_t last = 0, n, received = 0;

	channel(LIBMSG_DGRAM);
	must(msg_setopt(near, LIBMSG_DROP_OLDEST, 1) == 0);
	must(msg_setopt(far, LIBMSG_DROP_OLDEST, 1) == 0);
	must(option(far, LIBMSG_DROP_OLDEST) == 1);
	for (uint32_t i = 0; i < 5000; i++)
		send_reading(near, i);
	while (last != 4999) {
		must(next_reading(near) == UINT32_MAX); /* sends the one that waits */
		n = readings(far, &last);
		received += n;
	}
	must(received > 10 && received < 5000);
	while (option(near, LIBMSG_DROPS) != option(far, LIBMSG_DROPS) ||
		option(near, LIBMSG_DROPS) != 5000 - received) {
		must(next_reading(near) == UINT32_MAX);
		must(next_reading(far) == UINT32_MAX);
	}
	must_fail(msg_setopt(near, LIBMSG_DROP_OLDEST, 2), EINVAL);
	must_fail(msg_setopt(near, LIBMSG_DROPS, 0), ENOPROTOOPT);
	channel(LIBMSG_SEQPACKET);
	must_fail(msg_setopt(near, LIBMSG_DROP_OLDEST, 1), ENOPROTOOPT);
	must(option(near, LIBMSG_DROPS) == 0);
}

static void test_a_datagram_is_a_frame(void **state)
{
	struct msg_pollfd fd;

	channel(LIBMSG_DGRAM);
	for (int i = 0; i < 3; i++) {
		must(msg_send(near, sent, 65536, 0) == 65536);
		must(msg_send(near, "", 0, 0) == 0);
		must(msg_recv(far, got, sizeof(got), 0) == 65536);
		must(memcmp(got, sent, 65536) == 0);
		must(msg_recv(far, got, 1, 0) == 0);
	}
	must_fail(msg_send(near, sent, 65537, 0), EMSGSIZE);
	must(option(near, LIBMSG_DROPS) == 0);
	while (option(near, LIBMSG_DROPS) == 0)
		must(msg_send(near, sent, 1000, 0) == 1000);
	fd = (struct msg_pollfd){.sock = near, .events = POLLOUT};
	must(msg_poll(&fd, 1, 0) == 1 && fd.revents == POLLOUT); /* it never blocks */
}

/* The accepting end may send at once, though nothing may go before the other end has spoken. */
static void test_datagrams_before_the_first_frame(void **state)
{
	struct msg_sock *listener = msg_listen(far_ctx, "early", LIBMSG_DGRAM, 1, 0);
	struct msg_pollfd fd;
	uint32_t last;

	must(listener);
	channel(LIBMSG_SEQPACKET); /* makes the link */
	near = msg_connect(near_ctx, "far/early", LIBMSG_DGRAM, LIBMSG_NONBLOCK, -1);
	must(near);
	far = msg_accept(listener, 0);
	must(far);
	for (uint32_t i = 0; i < 20; i++)
		send_reading(far, i);
	must(option(far, LIBMSG_DROPS) == 0);
	fd = (struct msg_pollfd){.sock = near, .events = POLLOUT};
	must(msg_poll(&fd, 1, TESTBED_WAIT_MS) == 1);
	for (uint32_t n = 0; n < 20;) {
		must(next_reading(far) == UINT32_MAX);
		n += msg_recv(near, got, 1, MSG_DONTWAIT | MSG_PEEK) == 1 ? readings(near, &last)
									  : 0;
	}
	must(last == 19);
}

/* A send would fail at once: it does not wait for room. */
static void test_room_after_the_own_end(void **state)
{
	struct msg_pollfd fd;

	for (int type = LIBMSG_SEQPACKET; type <= LIBMSG_STREAM; type++) {
		channel(type);
		while (msg_send(near, sent, 1000, MSG_DONTWAIT) > 0)
			;
		fd = (struct msg_pollfd){.sock = near, .events = POLLOUT};
		must(errno == EAGAIN && msg_poll(&fd, 1, 0) == 0);
		must(msg_setopt(near, LIBMSG_LINGER, 0) == 0);
		must(msg_shutdown(near, SHUT_WR) == 0);
		must(msg_poll(&fd, 1, 0) == 1 && fd.revents == POLLOUT);
		must_fail(msg_send(near, sent, 1000, 0), EPIPE);
	}
}

static void test_datagrams_end(void **state)
{
	channel(LIBMSG_DGRAM);
	send_reading(far, 1);
	send_reading(near, 2); /* never read, which is no error */
	must(msg_recv(far, got, 1, MSG_PEEK) == 1);
	must(msg_close(far) == 0);
	must(next_reading(near) == 1);
	must(msg_recv(near, got, 1, 0) == 0);
	must_fail(msg_send(near, "x", 1, 0), EPIPE);
	must_fail(msg_send(near, sent, 65537, 0), EMSGSIZE); /* as before the end */
	must(msg_close(near) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_types_must_agree),
		TEST(test_stream),
		TEST(test_stream_sends_in_parts),
		TEST(test_stream_waits_for_all),
		TEST(test_stream_looks),
		TEST(test_stream_is_cut),
		TEST(test_stream_of_bytes),
		TEST(test_many),
		TEST(test_datagrams_are_counted),
		TEST(test_the_oldest_are_dropped),
		TEST(test_a_datagram_is_a_frame),
		TEST(test_datagrams_before_the_first_frame),
		TEST(test_room_after_the_own_end),
		TEST(test_datagrams_end),
	};

	return cmocka_run_group_tests(tests, testbed_setup, testbed_teardown);
}
