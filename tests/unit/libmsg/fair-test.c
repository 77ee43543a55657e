/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Channels that share a link, or a context, get equal shares of it, counted in bytes: senders that
 * sleep, messages whose rest the pass sends, event loops, and links that are never empty.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka-all.h"
#include "tests/support/link-pair.h"
#include "tests/support/must.h"

#define A 0
#define B 1

#define CHANNELS 8U
#define LARGE	 (16U << 20)

static char bytes[LARGE];

struct shares {
	struct pair *pair;
	struct msg_sock *from[CHANNELS], *to[CHANNELS];
	uint64_t got[CHANNELS], sum;
	bool unread; /* nobody reads the last one */
};

/* More credit than any test uses up: the ring is what lacks. */
static void credit_all(struct shares *s)
{
	for (unsigned i = 0; i < CHANNELS; i++) {
		struct channel *from = s->from[i]->channel, *to = s->to[i]->channel;

		from->tx_open = true;
		from->tx_credit = to->rx_window = 1U << 30;
		from->tx_maxmsg = to->maxmsg_told = LARGE;
		from->rx_free = to->rx_free = UINT32_MAX;
		s->from[i]->sndbuf = LARGE;
	}
}

static void shares_init(struct shares *s, struct pair *pair, enum channel_type type)
{
	*s = (struct shares){.pair = pair};
	for (unsigned i = 0; i < CHANNELS; i++) {
		s->from[i] = pair_channel_of(&pair->sides[A], 100 + i, type, true);
		s->to[i] = pair_channel_of(&pair->sides[B], 100 + i, type, false);
	}
	pair_take(&pair->sides[A]);
	pair_take(&pair->sides[B]);
	pair_take(&pair->sides[A]);
	credit_all(s);
}

/* The receiver takes in what is in the ring, and reads all of it. */
static void receive_all(struct shares *s)
{
	struct transport *transport = s->pair->sides[A].link->transport;
	ssize_t n;

	pair_take(&s->pair->sides[B]);
	for (unsigned i = 0; i < CHANNELS - s->unread; i++) {
		while ((n = msg_recv(s->to[i], bytes, sizeof(bytes), 0)) > 0) {
			s->got[i] += (uint64_t)n;
			s->sum += (uint64_t)n;
		}
	}
	transport->ops->not_armed(transport);
	pair_drive(&s->pair->sides[A]);
}

static void assert_equal_shares(const struct shares *s)
{
	uint64_t least = UINT64_MAX, most = 0;

	for (unsigned i = 0; i < CHANNELS; i++) {
		least = s->got[i] < least ? s->got[i] : least;
		most = s->got[i] > most ? s->got[i] : most;
	}
	if (least * 10 >= most * 8)
		return;
	for (unsigned i = 0; i < CHANNELS; i++)
		print_error("channel %u: %llu bytes\n", i, (unsigned long long)s->got[i]);
	fail();
}

/* ---- event loops --------------------------------------------------------------------- */

/* As a loop that sends until it is refused, or one message at a time. */
static void send_ready(struct msg_ctx *ctx, size_t len, bool until_refused)
{
	struct msg_event events[CHANNELS];
	int n = msg_ctx_dispatch(ctx, events, (int)CHANNELS);

	for (int i = 0; i < n; i++) {
		if (!(events[i].revents & POLLOUT))
			continue;
		while (msg_send(events[i].sock, bytes, len, MSG_DONTWAIT) > 0 && until_refused)
			;
	}
}

static void event_loop(enum channel_type type, size_t len, bool until_refused)
{
	struct pair *pair = pair_new(32);
	struct shares s;

	shares_init(&s, pair, type);
	for (unsigned i = 0; i < CHANNELS; i++)
		must(msg_setopt(s.from[i], LIBMSG_EVENTS, until_refused ? 0 : POLLOUT) == 0);
	for (unsigned i = 0; until_refused && i < CHANNELS; i++) {
		while (msg_send(s.from[i], bytes, len, MSG_DONTWAIT) > 0)
			;
	}
	while (s.sum < 64U << 20) {
		send_ready(pair->sides[A].ctx, len, until_refused);
		receive_all(&s);
	}
	assert_equal_shares(&s);
	pair_free(pair);
}

static void test_event_loops(void **state)
{
	static const size_t lens[] = {64, 4096, 65536, 1000000};

	for (unsigned type = CHANNEL_SEQPACKET; type <= CHANNEL_STREAM; type++) {
		for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
			event_loop((enum channel_type)type, lens[i], false);
			event_loop((enum channel_type)type, lens[i], true);
		}
	}
}

/* ---- a channel that nobody reads ----------------------------------------------------- */

/*
 * How often the receiver must make room until seven channels have got so much, while the last one
 * has nothing to send, or is read by nobody. *ret_held: the memory that it takes there.
 */
static unsigned rounds_of_seven(bool unread, size_t len, uint64_t *ret_held)
{
	struct pair *pair = pair_new(LINK_RING_PAGES_DEFAULT);
	struct channel *last;
	struct shares s;
	unsigned n;

	shares_init(&s, pair, CHANNEL_SEQPACKET);
	last = s.to[CHANNELS - 1]->channel;
	s.from[CHANNELS - 1]->channel->tx_credit = last->rx_window = CREDIT_INITIAL;
	for (unsigned i = 0; i < CHANNELS - !unread; i++)
		must(msg_setopt(s.from[i], LIBMSG_EVENTS, POLLOUT) == 0);
	s.unread = unread;
	for (n = 0; s.sum < 32U << 20; n++) {
		send_ready(pair->sides[A].ctx, len, false);
		receive_all(&s);
	}
	s.got[CHANNELS - 1] = s.got[0];
	assert_equal_shares(&s);
	*ret_held = last->held;
	assert_int_equal(pair->sides[B].link->state, LINK_UP);
	pair_free(pair);
	return n;
}

/* It costs the others less than a tenth, and holds no more than its own window and one message. */
static void test_unread_channel(void **state)
{
	static const size_t lens[] = {64, 4096, 65536};
	uint64_t held, none;

	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
		unsigned idle = rounds_of_seven(false, lens[i], &none);
		unsigned unread = rounds_of_seven(true, lens[i], &held);

		assert_in_range(unread, 1, idle + idle / 10);
		assert_in_range(held, none + 1, none + 2 * CREDIT_INITIAL + msg_buf_charge(65536));
	}
}

/* ---- one frame, and no more ---------------------------------------------------------- */

static uint32_t n_bulk;	  /* bytes that the bulk channel has put; room may have cut a frame */
static uint32_t n_before; /* ... when the small message was put */
static struct transport_ops ops;
static const struct transport_ops *real_ops;

static int counting_put(struct transport *transport, struct frame *frame, uint32_t least,
	struct iov_cursor *payload, bool more)
{
	int r = real_ops->put(transport, frame, least, payload, more);

	if (r >= 0 && frame->type == FRAME_DATA && frame->channel == 100)
		n_bulk += frame->len;
	else if (r >= 0 && frame->type == FRAME_DATA)
		n_before = n_bulk;
	return r;
}

static void count_frames(struct pair *pair)
{
	struct transport *transport = pair->sides[A].link->transport;

	real_ops = transport->ops;
	ops = *real_ops;
	ops.put = counting_put;
	transport->ops = &ops;
}

static struct pair *pair_of(bool strict)
{
	return strict ? pair_new_strict(LINK_ARGO_RING_LEN(LINK_ARGO_RING_PAGES_DEFAULT))
		      : pair_new(LINK_RING_PAGES_DEFAULT);
}

static void bulk_free(struct pair *pair)
{
	pair->sides[A].link->transport->ops = real_ops;
	pair_free(pair);
}

/*
 * The rest of a message of 16 MiB fills the ring again and again. A small message of another socket
 * is refused, and sent when POLLOUT says so.
 */
static void bulk_and_event_loop(bool strict)
{
	struct pair *pair = pair_of(strict);
	struct msg_event event;
	unsigned n_refused = 0;
	struct shares s;

	shares_init(&s, pair, CHANNEL_SEQPACKET);
	count_frames(pair);
	assert_int_equal(msg_send(s.from[0], bytes, LARGE, 0), LARGE);
	for (int i = 0; i < 20; i++) {
		n_bulk = 0;
		if (msg_send(s.from[1], bytes, 64, 0) == 64)
			continue;
		n_refused++;
		do {
			assert_int_equal(errno, EAGAIN);
			receive_all(&s);
			while (msg_ctx_dispatch(pair->sides[A].ctx, &event, 1) == 1 &&
				event.sock != s.from[1])
				;
		} while (msg_send(s.from[1], bytes, 64, 0) < 0);
		assert_in_range(n_before, 0, real_ops->frame_max);
		receive_all(&s);
	}
	assert_in_range(n_refused, 10, 20);
	assert_false(STAILQ_EMPTY(&s.from[0]->channel->out));
	bulk_free(pair);
}

static void test_bulk_and_event_loop(void **state)
{
	bulk_and_event_loop(false);
	bulk_and_event_loop(true);
}

/* As a thread that sends a message of 16 MiB, as far as there is room. */
static void send_bulk(struct msg_sock *sock, uint32_t *done)
{
	struct iovec iov = {.iov_base = bytes + *done, .iov_len = LARGE - *done};
	struct iov_cursor cursor;

	cursor_init(&cursor, &iov, 1);
	assert_int_equal(channel_send(sock->channel, &cursor, LARGE, done, false), -EAGAIN);
	channel_queue(sock->channel);
}

/* A thread with a small message is let in after one frame, though the ring has room for more. */
static void bulk_and_thread(bool strict, bool bulk_waits)
{
	struct pair *pair = pair_of(strict);
	uint32_t done = 0, want;
	struct shares s;

	shares_init(&s, pair, CHANNEL_SEQPACKET);
	count_frames(pair);
	for (int i = 0; i < 20; i++) {
		send_bulk(s.from[0], &done);
		if (!bulk_waits)
			channel_unqueue_sender(s.from[0]->channel);
		channel_queue(s.from[1]->channel);
		receive_all(&s);
		n_bulk = 0;
		send_bulk(s.from[0], &done);
		assert_in_range(n_bulk, 0, real_ops->frame_max);
		assert_true(channel_can_send(s.from[1]->channel, 64, &want));
		assert_int_equal(msg_send(s.from[1], bytes, 64, 0), 64);
	}
	bulk_free(pair);
}

static void test_bulk_and_thread(void **state)
{
	for (unsigned i = 0; i < 4; i++)
		bulk_and_thread(i & 1, i & 2);
}

/* ---- threads ------------------------------------------------------------------------- */

/* As a thread that sends messages of so many bytes, until it has to sleep. */
static void send_some(struct channel *channel, uint32_t len, uint32_t *done)
{
	struct iovec iov = {.iov_base = bytes + *done, .iov_len = len - *done};
	struct iov_cursor cursor;

	for (;;) {
		cursor_init(&cursor, &iov, 1);
		if (channel_send(channel, &cursor, len, done, false) == -EAGAIN)
			break;
		*done = 0;
		iov = (struct iovec){.iov_base = bytes, .iov_len = len};
	}
	channel_queue(channel);
}

/*
 * Eight threads that always have something to send, and that run in an order that is not theirs to
 * choose: those that run first take all the room that they may have, whoever waits.
 */
static void threads(bool strict, uint32_t len)
{
	struct pair *pair = pair_of(strict);
	uint32_t done[CHANNELS] = {0};
	struct shares s;

	shares_init(&s, pair, CHANNEL_SEQPACKET);
	while (s.sum < 32U << 20) {
		for (unsigned i = 0; i < CHANNELS; i++)
			send_some(s.from[i]->channel, len, &done[i]);
		(void)transport_push(pair->sides[A].link->transport);
		receive_all(&s);
	}
	assert_equal_shares(&s);
	pair_free(pair);
}

static void test_threads(void **state)
{
	for (unsigned strict = 0; strict < 2; strict++) {
		threads(strict, 64);
		threads(strict, 4096);
		threads(strict, 100000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_event_loops),
		cmocka_unit_test(test_unread_channel),
		cmocka_unit_test(test_bulk_and_event_loop),
		cmocka_unit_test(test_bulk_and_thread),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
