/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The counts that a msgd is told which asks, and the last ones of a channel. */
#include "tests/support/cmocka-all.h"

#include <string.h>

#include "base/macro.h"
#include "tests/support/link-pair.h"
#include "tests/support/must.h"

enum { A, B };

#define NUMBER 9U /* of the channel; A has connected */

static struct pair_side *a, *b;
static struct msg_sock *near, *far; /* of A and B */
static char bytes[100000];
static struct control_answer sums; /* of the last answer */

static int setup(void **state)
{
	int r = pair_setup(state);

	a = pair_side_of(state, A);
	b = pair_side_of(state, B);
	pair_attached(a);
	pair_attached(b);
	a->ctx->control.broker_features = b->ctx->control.broker_features = FEATURE_COUNTS;
	return r;
}

static void channel(enum channel_type type)
{
	pair_channels(a->pair, NUMBER, type, &near, &far);
}

/* Asks a side. Returns how many channels it tells of, and what of the one. */
static unsigned ask(struct pair_side *side, struct control_counts *ret_counts)
{
	struct control_message m = {.type = CONTROL_ASK, .ask = {.token = 77, .wants = ASK_COUNTS}};
	unsigned n = 0, n_links = 0;

	pair_say(side, &m);
	while ((m = pair_next(side)).type != CONTROL_ANSWER) {
		n_links += m.type == CONTROL_LINK_COUNTS;
		if (m.type != CONTROL_CHANNEL_COUNTS)
			continue;
		n++;
		assert_int_equal(m.channel_counts.end, PAIR_END);
		if (m.channel_counts.channel == NUMBER)
			*ret_counts = m.channel_counts.counts;
	}
	assert_int_equal(m.answer.token, 77);
	sums = m.answer;
	assert_int_equal(n_links, 1);
	assert_false(pair_control(side, &m));
	return n;
}

static void counted(enum channel_type type, uint64_t n_frames)
{
	struct control_counts sent = {0}, received = {0};
	ssize_t n;

	channel(type);
	(void)ask(a, &sent);
	assert_int_equal(sent.tx_messages, 0);
	for (size_t done = 0; done < 30000; done += (size_t)n) {
		n = msg_send(near, bytes, 3000, 0);
		assert_int_equal(n, 3000);
		pair_take(b);
		assert_int_equal(msg_recv(far, bytes, sizeof(bytes), 0), n);
		pair_take(a);
	}
	assert_int_equal(msg_send(far, bytes, 5, 0), 5);
	pair_take(a);
	assert_int_equal(ask(a, &sent), 1);
	assert_int_equal(ask(b, &received), 1);
	assert_int_equal(sent.tx_messages, n_frames);
	assert_int_equal(sent.tx_bytes, 30000);
	assert_int_equal(sent.rx_messages, 1);
	assert_int_equal(sent.rx_bytes, 5);
	assert_int_equal(sent.unread, 5 + FRAME_CHARGE);
	assert_int_equal(received.rx_messages, n_frames);
	assert_int_equal(received.rx_bytes, 30000);
	assert_int_equal(received.tx_bytes, 5);
	assert_int_equal(received.unread, 0);
	/* Nothing has changed: nothing is told. */
	assert_int_equal(ask(a, &sent), 0);
	assert_int_equal(msg_recv(near, bytes, sizeof(bytes), 0), 5);
	assert_int_equal(ask(a, &sent), 1);
	assert_int_equal(sent.unread, 0);
}

static void test_counts(void **state)
{
	for (unsigned type = CHANNEL_SEQPACKET; type < CHANNEL_TYPE_LIMIT; type++) {
		counted((enum channel_type)type, 10);
		must(pair_teardown(state) == 0 && setup(state) == 0);
	}
}

/* A message in several frames counts as one, when it is whole. */
static void test_long_message(void **state)
{
	struct control_counts counts = {0};

	channel(CHANNEL_SEQPACKET);
	assert_int_equal(msg_send(near, bytes, 50000, 0), 50000);
	assert_int_equal(ask(a, &counts), 1);
	assert_int_equal(counts.tx_messages, 0);
	assert_in_range(counts.tx_bytes, 1, 49999);
	assert_in_range(counts.unsent, 1, 50000 + FRAME_CHARGE);
	for (unsigned i = 0; i < 20; i++) {
		pair_drive(b);
		pair_drive(a);
	}
	assert_int_equal(msg_recv(far, bytes, sizeof(bytes), 0), 50000);
	assert_int_equal(ask(a, &counts), 1);
	assert_int_equal(counts.tx_messages, 1);
	assert_int_equal(counts.tx_bytes, 50000);
	assert_int_equal(counts.unsent, 0);
	assert_int_equal(ask(b, &counts), 1);
	assert_int_equal(counts.rx_messages, 1);
	assert_int_equal(counts.rx_bytes, 50000);
}

static void test_stalls(void **state)
{
	struct control_counts counts = {0};

	channel(CHANNEL_SEQPACKET);
	while (msg_send(near, bytes, 1000, 0) == 1000)
		pair_take(b);
	(void)ask(a, &counts);
	assert_in_range(counts.no_credit, 1, 10);
	assert_int_equal(counts.no_room, 0);
	must(pair_teardown(state) == 0 && setup(state) == 0);
	channel(CHANNEL_DGRAM); /* with more credit than there is room */
	for (unsigned i = 0; i < 30; i++)
		assert_int_equal(msg_send(near, bytes, 1000, 0), 1000);
	(void)ask(a, &counts);
	assert_in_range(counts.no_room, 1, 30);
	assert_int_equal(counts.drops + counts.tx_messages, 30);
}

/* The last counts come in the message that tells of the end. */
static void test_last(void **state)
{
	struct control_message m;

	channel(CHANNEL_STREAM);
	assert_int_equal(msg_send(near, bytes, 10, 0), 10);
	pair_take(b);
	assert_int_equal(msg_recv(far, bytes, sizeof(bytes), 0), 10);
	assert_int_equal(msg_close(near), 0);
	assert_int_equal(msg_close(far), 0);
	for (unsigned i = 0; i < 3; i++) {
		pair_take(b);
		pair_take(a);
	}
	m = pair_next(a);
	assert_int_equal(m.type, CONTROL_CHANNEL_DONE);
	assert_int_equal(m.channel_counts.channel, NUMBER);
	assert_int_equal(m.channel_counts.counts.tx_bytes, 10);
	m = pair_next(b);
	assert_int_equal(m.type, CONTROL_CHANNEL_DONE);
	assert_int_equal(m.channel_counts.counts.rx_bytes, 10);
	/* It is gone, and in the sums still; likewise when a link is gone. */
	(void)ask(b, &(struct control_counts){0});
	assert_int_equal(sums.rx_bytes, 10);
	pair_end(b, LINK_LEFT, "test");
	control_tell_last(&b->ctx->control);
	do {
		m = pair_next(b);
	} while (m.type != CONTROL_ANSWER);
	assert_int_equal(m.answer.token, 0);
	assert_int_equal(m.answer.rx_bytes, 10);
	assert_int_equal(m.answer.notifications, sums.notifications);
}

static void test_last_for_an_older_msgd(void **state)
{
	a->ctx->control.broker_features = 0;
	channel(CHANNEL_STREAM);
	assert_int_equal(msg_close(near), 0);
	pair_take(b);
	pair_take(a);
	assert_int_equal(pair_next(a).type, CONTROL_CHANNEL_CLOSED);
}

/* Without the wish for counts only the answer comes: it shows that the process is there. */
static void test_answer_alone(void **state)
{
	struct control_message m = {.type = CONTROL_ASK, .ask = {.token = 5}};

	channel(CHANNEL_STREAM);
	assert_int_equal(msg_send(near, bytes, 10, 0), 10);
	pair_say(a, &m);
	m = pair_next(a);
	assert_int_equal(m.type, CONTROL_ANSWER);
	assert_int_equal(m.answer.token, 5);
}

static void test_events(void **state)
{
	struct control_message m = {.type = CONTROL_ASK, .ask = {.token = 5, .wants = ASK_COUNTS}};

	channel(CHANNEL_SEQPACKET);
	atomic_store(&a->pair->page->end[B].sleeping, 1);
	assert_int_equal(msg_send(near, bytes, 10, 0), 10);
	pair_say(a, &m);
	m = pair_next(a);
	assert_int_equal(m.type, CONTROL_LINK_COUNTS);
	assert_int_equal(m.link_counts.end, PAIR_END);
	assert_true(m.link_counts.notifications >= 1);
	assert_int_equal(m.link_counts.hypercalls, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, pair_teardown)
		TEST(test_counts),
		TEST(test_long_message),
		TEST(test_stalls),
		TEST(test_last),
		TEST(test_last_for_an_older_msgd),
		TEST(test_answer_alone),
		TEST(test_events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
