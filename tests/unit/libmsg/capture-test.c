/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames that msgd is told of while a channel is captured: PROTOCOL.md 5.9. */
#include "tests/support/cmocka-all.h"

#include <string.h>

#include "base/macro.h"
#include "libmsg/channel/capture.h"
#include "tests/support/link-pair.h"
#include "tests/support/must.h"

enum { A, B };

#define NUMBER 9U /* of the channel; A has connected */
#define ASKED  (CAPTURE_HEADERS | CAPTURE_PAYLOAD)
#define AGREED (ASKED | CAPTURE_AGREED)

static struct pair_side *a, *b;
static struct msg_sock *near, *far; /* of A and B */
static char bytes[100000];

static int setup(void **state)
{
	int r = pair_setup(state);

	a = pair_side_of(state, A);
	b = pair_side_of(state, B);
	pair_attached(a);
	pair_attached(b);
	pair_channels(a->pair, NUMBER, CHANNEL_SEQPACKET, &near, &far);
	return r;
}

static void capture(struct pair_side *side, uint32_t wants, uint32_t snaplen)
{
	struct control_message m = {.type = CONTROL_CAPTURE,
		.capture = {
			.end = PAIR_END, .channel = NUMBER, .wants = wants, .snaplen = snaplen}};

	pair_say(side, &m);
}

static void send_one(struct msg_sock *from, size_t len)
{
	assert_int_equal(msg_send(from, bytes, len, 0), len);
}

static struct control_captured told(struct pair_side *side)
{
	struct control_message m = pair_next(side);

	assert_int_equal(m.type, CONTROL_CAPTURED);
	assert_int_equal(m.captured.end, PAIR_END);
	assert_int_equal(m.captured.channel, NUMBER);
	return m.captured;
}

static void assert_silent(struct pair_side *side)
{
	struct control_message m;

	driver_pass(&side->ctx->driver);
	assert_false(pair_control(side, &m));
}

/* Of the answer to CAPTURE. */
static void assert_says(struct pair_side *side, bool agrees)
{
	struct control_message m = pair_next(side);

	assert_int_equal(m.type, CONTROL_CAPTURING);
	assert_int_equal(m.capturing.channel, NUMBER);
	assert_int_equal(m.capturing.agrees, agrees);
}

static void test_headers(void **state)
{
	struct control_captured frame;

	send_one(near, 5);
	assert_silent(a);
	capture(a, CAPTURE_HEADERS, 0);
	capture(b, CAPTURE_HEADERS, 0);
	assert_silent(a); /* nobody asks whether it agrees */
	send_one(near, 7);
	frame = told(a);
	assert_true(frame.sent);
	assert_int_equal(frame.frame_type, FRAME_DATA);
	assert_int_equal(frame.flags, FRAME_FIRST | FRAME_LAST);
	assert_int_equal(frame.len, 7);
	assert_int_equal(frame.arg, 7);
	assert_int_equal(frame.credit, near->channel->tx_credit);
	assert_int_equal(frame.n_payload, 0);
	assert_true(frame.time_ns && frame.told_ns >= frame.time_ns);
	pair_take(b);
	driver_pass(&b->ctx->driver);
	/* The first message was in the ring before, and is taken in after. */
	assert_int_equal(told(b).len, 5);
	frame = told(b);
	assert_false(frame.sent);
	assert_int_equal(frame.len, 7);
	assert_int_equal(frame.credit, far->channel->rx_window);
	msg_setopt(far, LIBMSG_MAXMSG, 1000);
	driver_pass(&b->ctx->driver);
	frame = told(b);
	assert_int_equal(frame.frame_type, FRAME_LIMIT);
	assert_int_equal(frame.arg, 1000);
	assert_true(frame.sent);
	capture(a, 0, 0);
	send_one(near, 8);
	pair_take(a);
	assert_silent(a);
	assert_null(a->ctx->pool.capture);
}

/* Its last frame is told before the word that its number is free. */
static void test_end(void **state)
{
	struct control_message m;
	bool closed = false;

	capture(a, CAPTURE_HEADERS, 0);
	assert_int_equal(msg_close(near), 0);
	pair_take(b);
	pair_take(a);
	driver_pass(&a->ctx->driver);
	assert_int_equal(told(a).frame_type, FRAME_CLOSE);
	assert_int_equal(told(a).frame_type, FRAME_CLOSE);
	while (pair_control(a, &m))
		closed |= m.type == CONTROL_CHANNEL_CLOSED;
	assert_true(closed);
	driver_pass(&a->ctx->driver);
	assert_null(a->ctx->pool.capture);
}

static void test_payload(void **state)
{
	struct control_message m;

	memset(bytes, 'x', 300);
	bytes[0] = 'h';
	capture(a, ASKED, 0);
	assert_says(a, false);
	assert_int_equal(msg_setopt(near, LIBMSG_CAPTURE, 1), 0);
	driver_pass(&a->ctx->driver);
	assert_says(a, true);
	send_one(near, 300);
	assert_int_equal(told(a).n_payload, 0); /* the other end has not agreed */
	capture(a, AGREED, 250);
	assert_silent(a); /* it has said so */
	send_one(near, 300);
	assert_int_equal(told(a).n_payload, 250);
	m = pair_next(a);
	assert_int_equal(m.type, CONTROL_CAPTURED_BYTES);
	assert_int_equal(m.captured_bytes.n, CAPTURE_PIECE);
	assert_memory_equal(m.captured_bytes.bytes, bytes, CAPTURE_PIECE);
	m = pair_next(a);
	assert_int_equal(m.captured_bytes.n, 250 - CAPTURE_PIECE);
	assert_int_equal(msg_setopt(near, LIBMSG_CAPTURE, 0), 0);
	send_one(near, 300);
	driver_pass(&a->ctx->driver);
	assert_says(a, false);
	assert_int_equal(told(a).n_payload, 0); /* whatever msgd said last */
	/* The receiver, of what lies in the ring. */
	capture(b, AGREED, 4096);
	assert_says(b, false);
	pair_take(b);
	driver_pass(&b->ctx->driver);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(told(b).n_payload, 0);
	assert_int_equal(msg_setopt(far, LIBMSG_CAPTURE, 1), 0);
	driver_pass(&b->ctx->driver);
	assert_says(b, true);
	send_one(near, 5);
	pair_take(b);
	driver_pass(&b->ctx->driver);
	assert_int_equal(told(b).n_payload, 5);
	m = pair_next(b);
	assert_int_equal(m.captured_bytes.n, 5);
	assert_memory_equal(m.captured_bytes.bytes, "hxxxx", 5);
}

/* So much at once, and so much of the ring: the rest is counted. */
static void test_budget(void **state)
{
	struct control_message m, sync = {.type = CONTROL_SYNC, .request = 77};
	unsigned n_told = 0, n_lost = 0, n = 3 * CAPTURE_BURST;

	capture(a, CAPTURE_HEADERS, 0);
	for (unsigned i = 0; i < n; i++) {
		send_one(near, 1);
		pair_take(b);
		assert_int_equal(msg_recv(far, bytes, 1, 0), 1);
		pair_take(b);
		assert_int_equal(near->channel->out_cost, 0); /* none waits */
		near->channel->tx_credit = 8192;
		far->channel->rx_window = 8192;
	}
	/* Others find room in the ring, and are not behind it. */
	control_send(&a->ctx->control, &sync);
	assert_true(STAILQ_EMPTY(&a->ctx->control.ring.outbox));
	do {
		driver_pass(&a->ctx->driver);
		while (pair_control(a, &m)) {
			n_told += m.type == CONTROL_CAPTURED;
			n_lost += m.type == CONTROL_CAPTURE_LOST ? m.capture_lost.n : 0;
		}
		driver_pass(&a->ctx->driver);
	} while (capture_first(&a->ctx->pool));
	assert_in_range(n_told, CAPTURE_BURST / 2, n - 1);
	/* The frames that were lost last are told of as soon as something may be. */
	while (a->ctx->pool.capture->n_lost) {
		a->ctx->pool.capture->spent.due_ns = 0;
		driver_pass(&a->ctx->driver);
		while (pair_control(a, &m))
			n_lost += m.type == CONTROL_CAPTURE_LOST ? m.capture_lost.n : 0;
	}
	assert_in_range(n_told + n_lost, n, 2 * n);
}

/* The next msgd is told of nothing that it has not asked for. */
static void test_next_msgd(void **state)
{
	strcpy(near->channel->name, "echo");
	strcpy(a->channel->name, "echo");
	capture(a, CAPTURE_HEADERS, 0);
	send_one(near, 1);
	pair_next_msgd_told(a, FEATURE_COUNTS | FEATURE_CAPTURE);
	assert_null(near->channel->capture);
	assert_null(a->ctx->pool.capture);
	send_one(near, 1);
	assert_silent(a);
}

static void test_next_channel(void **state)
{
	struct control_message m = {.type = CONTROL_CAPTURE,
				       .capture = {.end = PAIR_END,
					       .channel = NUMBER + 1,
					       .wants = ASKED}},
			       granted = {.type = CONTROL_CHANNEL,
				       .channel = {.listener = 1,
					       .end = PAIR_END,
					       .channel = NUMBER + 1,
					       .type = CHANNEL_SEQPACKET,
					       .transport = TRANSPORT_GRANT,
					       .name = "echo"}};
	struct msg_sock *listener =
		sock_new(&b->ctx->socks, SOCK_LISTENER, SOCK_OPEN, CHANNEL_SEQPACKET);
	struct msg_sock *sock;
	int64_t agrees;

	assert_non_null(listener);
	must(sock_set_name(listener, "echo", 5) == 0);
	granted.channel.listener = listener->handle;
	assert_int_equal(msg_setopt(listener, LIBMSG_CAPTURE, 1), 0);
	pair_say(b, &m);
	assert_silent(b);
	pair_say(b, &granted);
	m = pair_next(b);
	assert_int_equal(m.type, CONTROL_CAPTURING);
	assert_int_equal(m.capturing.channel, NUMBER + 1);
	assert_int_equal(m.capturing.agrees, 1);
	/* One that waits to be accepted hears of its listener's mind. */
	assert_int_equal(msg_setopt(listener, LIBMSG_CAPTURE, 0), 0);
	driver_pass(&b->ctx->driver);
	assert_int_equal(pair_next(b).capturing.agrees, 0);
	assert_int_equal(msg_setopt(listener, LIBMSG_CAPTURE, 1), 0);
	sock = msg_accept(listener, LIBMSG_NONBLOCK);
	assert_non_null(sock);
	assert_int_equal(msg_getopt(sock, LIBMSG_CAPTURE, &agrees), 0);
	assert_int_equal(agrees, 1);
	/* It held for that one alone. */
	assert_int_equal(b->ctx->control.capture.channel, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, pair_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_headers),
		TEST(test_end),
		TEST(test_payload),
		TEST(test_budget),
		TEST(test_next_msgd),
		TEST(test_next_channel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
