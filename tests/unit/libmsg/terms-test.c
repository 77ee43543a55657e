/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Policy's terms, as the ends of a channel keep them; and names with an argument. */
#include "tests/support/cmocka-all.h"

#include <poll.h>
#include <string.h>

#include "base/macro.h"
#include "tests/support/link-pair.h"
#include "tests/support/must.h"

enum { A, B };

#define NUMBER 9U /* of the channel; A has connected */

static struct pair_side *a, *b;
static struct msg_sock *near, *far; /* of A and B */
static char bytes[1U << 20];

static int setup(void **state)
{
	int r = pair_setup(state);

	a = pair_side_of(state, A);
	b = pair_side_of(state, B);
	return r;
}

static void channel(enum channel_type type, const struct control_terms *of_a)
{
	static const uint32_t others[] = {
		[TERMS_RECEIVES] = TERMS_SENDS, [TERMS_SENDS] = TERMS_RECEIVES};
	struct control_terms of_b = *of_a;

	of_b.direction = others[of_a->direction];
	near = pair_channel_of(a, NUMBER, type, true);
	far = pair_channel_of(b, NUMBER, type, false);
	assert_int_equal(channel_set_terms(near->channel, of_a), 0);
	assert_int_equal(channel_set_terms(far->channel, &of_b), 0);
	sock_set_channel(near, near->channel); /* as they are granted: terms first */
	sock_set_channel(far, far->channel);
	driver_pass(&a->ctx->driver); /* the first frame */
	pair_take(b);
	pair_take(a);
}

static void assert_carries(struct msg_sock *from, struct pair_side *to_side, struct msg_sock *to)
{
	char got[8];

	assert_int_equal(msg_send(from, "data", 4, 0), 4);
	pair_take(to_side);
	assert_int_equal(msg_recv(to, got, sizeof(got), 0), 4);
	assert_memory_equal(got, "data", 4);
}

/* ---- directions ----------------------------------------------------------------------------- */

static void one_way(enum channel_type type, bool out)
{
	struct msg_sock *sends, *receives;
	struct pair_side *sender = out ? a : b, *receiver = out ? b : a;
	char byte;

	channel(type, &(struct control_terms){.direction = out ? TERMS_SENDS : TERMS_RECEIVES});
	sends = out ? near : far;
	receives = out ? far : near;
	assert_true(far->channel->tx_open);
	assert_carries(sends, receiver, receives);
	assert_int_equal(msg_send(receives, "back", 4, 0), -1);
	assert_int_equal(errno, EPIPE);
	assert_string_equal(msg_reason(), "policy lets this end receive alone");
	assert_int_equal(msg_recv(sends, &byte, 1, 0), 0);
	assert_true(channel_events(sends->channel, 0) & POLLRDHUP);
	assert_int_equal(msg_shutdown(receives, SHUT_WR), 0);
	pair_take(sender);
	/* More than the window: the credit comes back. */
	for (unsigned i = 0; i < 1000; i++)
		assert_carries(sends, receiver, receives), pair_take(sender);
	assert_int_equal(sender->link->state, LINK_UP);
	assert_int_equal(receiver->link->state, LINK_UP);
}

static void test_one_way(void **state)
{
	for (unsigned i = 0; i < 6; i++) {
		one_way(CHANNEL_SEQPACKET + i / 2, i % 2);
		must(pair_teardown(state) == 0 && setup(state) == 0);
	}
}

/* The other end's libmsg, or what is in its place, sends all the same. */
static void test_against_the_direction(void **state)
{
	for (unsigned from = A; from <= B; from++) {
		struct pair_side *to = from == A ? b : a;

		channel(CHANNEL_SEQPACKET,
			&(struct control_terms){
				.direction = from == A ? TERMS_RECEIVES : TERMS_SENDS});
		pair_inject_frame(*state, from,
			&(struct frame){.channel = NUMBER,
				.type = FRAME_DATA,
				.flags = FRAME_FIRST | FRAME_LAST,
				.len = 4,
				.arg = 4});
		pair_take(to);
		assert_null(link_find(&to->ctx->links, PAIR_END));
		must(pair_teardown(state) == 0 && setup(state) == 0);
	}
}

/* An end that may not send, and gives no credit, closes all the same, and answers. */
static void test_closes(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		channel(CHANNEL_STREAM,
			&(struct control_terms){.direction = i % 2 ? TERMS_RECEIVES : TERMS_SENDS});
		assert_int_equal(msg_close(i / 2 ? near : far), 0);
		pair_take(a);
		pair_take(b);
		pair_take(a);
		assert_int_equal(msg_close(i / 2 ? far : near), 0);
		driver_pass(&a->ctx->driver);
		driver_pass(&b->ctx->driver);
		assert_null(channel_find(&a->link->channels, NUMBER));
		assert_null(channel_find(&b->link->channels, NUMBER));
		must(pair_teardown(state) == 0 && setup(state) == 0);
	}
}

/* ---- the rate ------------------------------------------------------------------------------- */

#define RATE	UINT64_C(200000)
#define SECONDS 10U

/* Receives what has come; returns how much credit it took, but for a stream's frames. */
static uint64_t received(enum channel_type type)
{
	uint64_t took = 0;
	ssize_t n;

	pair_drive(b);
	while ((n = msg_recv(far, bytes, sizeof(bytes), 0)) > 0)
		took += (uint64_t)n + (type == CHANNEL_STREAM ? 0 : FRAME_CHARGE);
	return took;
}

/* Sends and receives all that goes, each millisecond of B's clock. */
static uint64_t moved_at_rate(enum channel_type type, size_t len)
{
	uint64_t moved = 0;

	b->clock_step_ns = 1;
	channel(type, &(struct control_terms){.max_rate = RATE});
	for (unsigned ms = 0; ms < 1000 * SECONDS; ms++) {
		uint64_t took = 1;

		b->clock_ns += 1000000;
		driver_pass(&b->ctx->driver);
		for (unsigned i = 0; i < 100 && took; i++) {
			pair_drive(a);
			(void)msg_send(near, bytes, len, 0);
			took = received(type);
			moved += took;
			/* No burst beyond that, of a long message either. */
			assert_true(
				type == CHANNEL_DGRAM ||
				far->channel->rx_window <= 2 * max_u64(CREDIT_INITIAL, RATE / 8));
		}
	}
	return moved;
}

static void assert_rate(void **state, enum channel_type type, size_t len)
{
	uint64_t moved = moved_at_rate(type, len);
	/* A stream's frames cost credit as well. */
	uint64_t least = type == CHANNEL_STREAM ? RATE * SECONDS * 9 / 10 : RATE * SECONDS;
	/* The first credit, the burst, and the rest of a message that was under way. */
	uint64_t spare = CREDIT_INITIAL_DGRAM + RATE / 4 + len;

	assert_in_range(moved, least - len - RATE / 8, RATE * SECONDS + spare);
	must(pair_teardown(state) == 0 && setup(state) == 0);
}

static void test_rate(void **state)
{
	assert_rate(state, CHANNEL_SEQPACKET, 500);
	assert_rate(state, CHANNEL_SEQPACKET, 300000); /* more than a second of it */
	assert_rate(state, CHANNEL_STREAM, 5000);
	assert_rate(state, CHANNEL_DGRAM, 1000);
}

/* Nobody looks at an idle channel for its rate, and one whose time has come is told of. */
static void test_rate_has_a_timer(void **state)
{
	struct pool *pool = &b->ctx->pool;
	uint64_t due;
	size_t n = 0;

	b->clock_step_ns = 1;
	channel(CHANNEL_SEQPACKET, &(struct control_terms){.max_rate = 10 * CREDIT_INITIAL});
	assert_int_equal(driver_retry_time(&b->ctx->driver), UINT64_MAX);
	/* Until this end waits for its time. */
	while (pool->paced_ns == UINT64_MAX && ++n < 1000) {
		(void)msg_send(near, bytes, 1000, 0);
		pair_take(b);
		(void)msg_recv(far, bytes, sizeof(bytes), 0);
		pair_drive(a);
	}
	due = driver_retry_time(&b->ctx->driver);
	assert_in_range(due, b->clock_ns + 1, b->clock_ns + UINT64_C(1000000000));
	b->clock_ns = due;
	driver_pass(&b->ctx->driver);
	assert_int_equal(driver_retry_time(&b->ctx->driver), UINT64_MAX);
	/* It waits for its time no longer than it is there. */
	while (pool->paced_ns == UINT64_MAX && ++n < 2000) {
		(void)msg_send(near, bytes, 1000, 0);
		pair_take(b);
		(void)msg_recv(far, bytes, sizeof(bytes), 0);
		pair_drive(a);
	}
	pair_end(b, LINK_LEFT, "test");
	assert_true(TAILQ_EMPTY(&pool->paced));
}

/* ---- the buffer ----------------------------------------------------------------------------- */

#define BUFFER 20000U

static void test_buffer(void **state)
{
	int64_t value;
	size_t sent = 0;

	channel(CHANNEL_SEQPACKET, &(struct control_terms){.max_buffer = BUFFER});
	/* The window does not grow past it. */
	for (unsigned i = 0; i < 1000; i++) {
		assert_int_equal(msg_send(near, bytes, 1000, 0), 1000);
		pair_take(b);
		assert_int_equal(msg_recv(far, bytes, sizeof(bytes), 0), 1000);
		pair_drive(a);
	}
	while (msg_send(near, bytes, 1000, 0) == 1000) {
		pair_take(b);
		pair_drive(a);
		sent += 1000 + FRAME_CHARGE;
	}
	assert_in_range(sent, CREDIT_INITIAL, BUFFER + 4096);
	assert_int_equal(msg_send(near, bytes, BUFFER + 1, 0), -1);
	assert_int_equal(errno, EMSGSIZE);
	assert_int_equal(msg_getopt(far, LIBMSG_RCVBUF, &value), 0);
	assert_int_equal(value, BUFFER);
	assert_int_equal(msg_setopt(far, LIBMSG_RCVBUF, 1 << 20), 0);
	assert_int_equal(msg_getopt(far, LIBMSG_RCVBUF, &value), 0);
	assert_int_equal(value, BUFFER);
}

/* ---- from msgd ------------------------------------------------------------------------------ */

static struct channel *granted(uint32_t handle, uint32_t number)
{
	struct control_message message = {.type = CONTROL_CHANNEL,
		.channel = {.listener = handle,
			.end = PAIR_END,
			.channel = number,
			.type = CHANNEL_STREAM}};

	strcpy(message.channel.name, "name+argument");
	pair_say(b, &message);
	return channel_find(&b->link->channels, number);
}

static void said(uint32_t end, uint32_t number)
{
	struct control_message message = {.type = CONTROL_TERMS,
		.terms = {.end = end, .channel = number, .direction = TERMS_RECEIVES}};

	pair_say(b, &message);
}

/* They are of the channel that comes next, or of none. */
static void test_next_channel(void **state)
{
	struct msg_sock *listener =
		sock_new(&b->ctx->socks, SOCK_LISTENER, SOCK_OPEN, CHANNEL_STREAM);
	struct channel *channel;

	must(listener);
	listener->backlog = 10;
	said(PAIR_END, 50);
	channel = granted(listener->handle, 50);
	assert_true(channel_is_one_way(channel));
	assert_string_equal(channel->name, "name+argument");
	assert_null(granted(listener->handle, 51)->terms);
	said(PAIR_END, 53);
	assert_null(granted(listener->handle, 52)->terms);
	assert_null(granted(listener->handle, 53)->terms);
	said(PAIR_END + 1, 54);
	assert_null(granted(listener->handle, 54)->terms);
}

static void test_announced(void **state)
{
	struct control_message m;
	unsigned n_terms = 0;

	channel(CHANNEL_STREAM, &(struct control_terms){.direction = TERMS_SENDS,
					.end = PAIR_END,
					.channel = NUMBER,
					.max_rate = 77});
	strcpy(near->channel->name, "name+argument");
	pair_attached(a);
	pair_next_msgd(a, FEATURE_TYPES | FEATURE_TERMS);
	while ((m = pair_next(a)).type != CONTROL_ANNOUNCE_DONE) {
		if (m.type == CONTROL_ANNOUNCE_CHANNEL && m.announce_channel.channel == NUMBER)
			assert_string_equal(m.announce_channel.name, "name+argument");
		if (m.type != CONTROL_ANNOUNCE_TERMS)
			continue;
		n_terms++;
		assert_int_equal(m.announce_terms.end, PAIR_END);
		assert_int_equal(m.announce_terms.channel, NUMBER);
		assert_int_equal(m.announce_terms.direction, TERMS_SENDS);
		assert_int_equal(m.announce_terms.max_rate, 77);
	}
	assert_int_equal(n_terms, 1);
	/* An older one would let go of the process, and of its link. */
	pair_next_msgd(a, FEATURE_TYPES);
	while ((m = pair_next(a)).type != CONTROL_ANNOUNCE_DONE) {
		assert_int_not_equal(m.type, CONTROL_ANNOUNCE_TERMS);
		if (m.type == CONTROL_ANNOUNCE_CHANNEL && m.announce_channel.channel == NUMBER)
			assert_string_equal(m.announce_channel.name, "name");
	}
	assert_int_equal(msg_recv(near, bytes, 1, 0), 0); /* its ends keep them */
}

/* ---- names ---------------------------------------------------------------------------------- */

static void assert_too_old(const void *sock)
{
	assert_null(sock);
	assert_int_equal(errno, EPROTONOSUPPORT);
	assert_string_equal(msg_reason(), "this msgd is older than names with an argument");
}

static void test_arguments_under_an_older_msgd(void **state)
{
	struct msg_sock *asking;
	int64_t error = 0;

	pair_attached(a);
	pair_next_msgd_told(a, FEATURE_TERMS);
	asking = msg_connect(a->ctx, "web+er/echo+x", LIBMSG_SEQPACKET, LIBMSG_NONBLOCK, 0);
	assert_non_null(asking);
	assert_int_equal(pair_next(a).type, CONTROL_CONNECT);
	pair_next_msgd_told(a, 0);
	assert_int_equal(msg_getopt(asking, LIBMSG_ERROR, &error), 0);
	assert_int_equal(error, EPROTONOSUPPORT);
	assert_too_old(msg_connect(a->ctx, "echo+x", LIBMSG_SEQPACKET, LIBMSG_NONBLOCK, 0));
	assert_too_old(msg_listen(a->ctx, "echo+x", LIBMSG_SEQPACKET, 1, LIBMSG_NONBLOCK));
	/* A domain's name may have such a character. */
	assert_non_null(msg_connect(a->ctx, "web+er/echo", LIBMSG_SEQPACKET, LIBMSG_NONBLOCK, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, pair_teardown)
		TEST(test_one_way),
		TEST(test_against_the_direction),
		TEST(test_closes),
		TEST(test_rate),
		TEST(test_rate_has_a_timer),
		TEST(test_buffer),
		TEST(test_next_channel),
		TEST(test_announced),
		TEST(test_arguments_under_an_older_msgd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
