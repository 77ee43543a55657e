/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A receive: lengths and flags, and a message of which half has come when the call must end. */
#include <string.h>
#include <sys/socket.h>

#include "tests/support/cmocka-all.h"
#include "tests/support/failing-malloc.h"
#include "tests/support/link-pair.h"
#include "tests/support/must.h"

#define A 0 /* receives */
#define B 1

static char bytes[64];

static void say(void **state, const char *text)
{
	size_t len = strlen(text);

	assert_int_equal(msg_send(pair_side_of(state, B)->sock, text, len, 0), len);
}

/* ---- lengths and flags ------------------------------------------------------------------ */

/* By every way in: into the reader's memory, and from the queue. */
static void test_lengths(void **state)
{
	static const struct {
		size_t room;
		int flags;
		ssize_t result;
	} cases[] = {
		{4, 0, 4},
		{5, 0, 5},
		{6, 0, 5},
		{0, 0, 0},
		{4, MSG_TRUNC, 5},
		{5, MSG_TRUNC, 5},
		{6, MSG_TRUNC, 5},
		{0, MSG_TRUNC, 5},
	};
	struct pair_side *a = pair_side_of(state, A);

	for (size_t i = 0; i < 4 * ARRAY_SIZE(cases); i++) {
		bool queued = i & 1, peek = i & 2;
		struct iovec iov = {.iov_base = bytes, .iov_len = cases[i / 4].room};
		struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_flags = 4711};
		size_t copied = cases[i / 4].room < 5 ? cases[i / 4].room : 5;

		say(state, "hello");
		if (queued)
			pair_take(a);
		for (int k = peek ? 0 : 1; k < 2; k++) {
			int flags = cases[i / 4].flags | (k ? 0 : MSG_PEEK);

			memset(bytes, '.', sizeof(bytes));
			assert_int_equal(
				msg_recvmsg(a->sock, &message, flags), cases[i / 4].result);
			assert_int_equal(message.msg_flags,
				MSG_EOR | (cases[i / 4].room < 5 ? MSG_TRUNC : 0));
			assert_memory_equal(bytes, "hello", copied);
			assert_int_equal(bytes[copied], '.');
		}
		assert_int_equal(msg_recvmsg(a->sock, &message, 0), -1);
		assert_int_equal(errno, EAGAIN);
		assert_string_equal(msg_reason(), "no message");
		assert_int_equal(message.msg_flags, 0);
	}
}

/* The end has no flags, and an empty message has. */
static void test_end(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_flags = 4711};

	say(state, "");
	assert_int_equal(msg_shutdown(pair_side_of(state, B)->sock, SHUT_WR), 0);
	assert_int_equal(msg_recvmsg(a->sock, &message, 0), 0);
	assert_int_equal(message.msg_flags, MSG_EOR);
	message.msg_flags = 4711;
	assert_int_equal(msg_recvmsg(a->sock, &message, MSG_PEEK), 0);
	assert_int_equal(message.msg_flags, 0);
	assert_int_equal(a->channel->end_taken, 0);
	assert_int_equal(msg_recvmsg(a->sock, &message, 0), 0);
	assert_int_equal(a->channel->end_taken, END_OF_DATA);
}

/* A message that is taken over is the application's, and pays for the next one at once. */
static void test_taken(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct msg_buf *buf = (struct msg_buf *)bytes;
	const void *data = bytes;

	assert_int_equal(msg_recv_take(a->sock, 0, &data, &buf), -1);
	assert_int_equal(errno, EAGAIN);
	assert_ptr_equal(data, bytes);
	assert_ptr_equal(buf, bytes);
	say(state, "hello");
	assert_int_equal(msg_recv_take(a->sock, 0, &data, &buf), 5);
	assert_memory_equal(data, "hello", 5);
	assert_int_equal(a->channel->rx_held, 0);
	assert_int_equal(a->channel->held, sizeof(*a->channel) + MALLOC_COST);
	msg_buf_free(buf);
}

/* A message that waits pays with its sender's credit until it is read. */
static void test_read_gives_credit_back(void **state)
{
	struct pair_side *a = pair_side_of(state, A);

	say(state, "hello");
	pair_take(a);
	assert_int_equal(a->channel->rx_held, 5 + FRAME_CHARGE);
	assert_int_equal(msg_recv(a->sock, bytes, 5, MSG_PEEK), 5);
	assert_int_equal(a->channel->rx_held, 5 + FRAME_CHARGE);
	assert_int_equal(msg_recv(a->sock, bytes, 5, 0), 5);
	assert_int_equal(a->channel->rx_held, 0);
}

/* A reader's memory is used where the message fits, and no other is taken. */
static void test_straight_to_the_reader(void **state)
{
	struct pair_side *a = pair_side_of(state, A);

	failing_malloc_set(1);
	say(state, "hello");
	assert_int_equal(msg_recv(a->sock, bytes, 5, 0), 5);
	say(state, "hello");
	assert_int_equal(msg_recv(a->sock, bytes, 6, MSG_TRUNC), 5);
	assert_false(failing_malloc_end());
}

/* ---- a message that is there when it is asked for ----------------------------------------- */

static bool *flag_of(struct channel *channel, size_t offset)
{
	return (bool *)((uint8_t *)channel + offset);
}

static bool read_whole(struct pair_side *a, size_t size)
{
	struct iovec iov = {.iov_base = bytes, .iov_len = size};
	struct reader reader = {.channel = a->channel, .size = size, .direct = true};
	bool whole;

	cursor_init(&reader.cursor, &iov, 1);
	whole = driver_read_whole(&a->ctx->driver, &reader);
	assert_int_equal(reader.done, whole);
	return whole;
}

/* Whatever is no whole message that may come now is left in the ring, for others to judge. */
static void test_whole_or_left(void **state)
{
	static const size_t flags[] = {offsetof(struct channel, rx_closed),
		offsetof(struct channel, rx_shut), offsetof(struct channel, rx_ignore),
		offsetof(struct channel, tx_open)};
	struct pair_side *a = pair_side_of(state, A);
	struct channel *channel = a->channel;
	uint32_t window = channel->rx_window, told = channel->maxmsg_told;
	struct control_capture capture = {0};
	struct msg_buf buf;
	struct reader other;

	assert_false(read_whole(a, 5)); /* nothing is there */
	say(state, "hello");
	assert_false(read_whole(a, 4));
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		*flag_of(channel, flags[i]) ^= true;
		assert_false(read_whole(a, 5));
		*flag_of(channel, flags[i]) ^= true;
	}
	channel->rx_window = 5 + FRAME_CHARGE - 1;
	assert_false(read_whole(a, 5));
	channel->rx_window = window;
	channel->maxmsg_told = 4;
	assert_false(read_whole(a, 5));
	channel->maxmsg_told = told;
	channel->number++;
	assert_false(read_whole(a, 5));
	channel->number--;
	channel->type = CHANNEL_STREAM;
	assert_false(read_whole(a, 5));
	channel->type = CHANNEL_SEQPACKET;
	channel->state = CHANNEL_CLOSING;
	assert_false(read_whole(a, 5));
	channel->state = CHANNEL_OPEN;
	channel->reader = &other;
	assert_false(read_whole(a, 5));
	channel->reader = NULL;
	channel->partial = &buf;
	assert_false(read_whole(a, 5));
	channel->partial = NULL;
	STAILQ_INSERT_TAIL(&channel->in, &buf, entry);
	assert_false(read_whole(a, 5));
	STAILQ_REMOVE_HEAD(&channel->in, entry);
	channel->capture = &capture;
	assert_false(read_whole(a, 5));
	channel->capture = NULL;
	a->link->state = LINK_SYNCED;
	assert_false(read_whole(a, 5));
	a->link->state = LINK_UP;
	a->ctx->pool.marked = true;
	assert_false(read_whole(a, 5));
	a->ctx->pool.marked = false;
	assert_int_equal(channel->rx_messages, 0);
	assert_int_equal(channel->rx_window, window);
	assert_int_equal(a->ctx->driver.spent, 0);

	a->ctx->pool.wake = false;
	assert_true(read_whole(a, 5));
	assert_memory_equal(bytes, "hello", 5);
	assert_int_equal(channel->rx_messages, 1);
	assert_int_equal(channel->rx_bytes, 5);
	assert_true(a->ctx->driver.spent >= TURN_COST_DATA + 5);
	assert_int_equal(a->ctx->driver.unlooked, a->ctx->driver.spent);
	assert_false(a->ctx->pool.wake);

	/* A part of a message, and a frame that has none. */
	must(pair_inject_frame(*state, B,
		&(struct frame){.channel = PAIR_CHANNEL,
			.type = FRAME_DATA,
			.flags = FRAME_FIRST,
			.len = 16,
			.arg = 32}));
	assert_false(read_whole(a, 32));
	pair_take(a);
	assert_non_null(channel->partial);
}

/* ---- half of a message ------------------------------------------------------------------ */

static bool without_memory;

static void inject_half(struct pair_side *side, uint8_t flags)
{
	pair_inject_frame(side->pair, B,
		&(struct frame){.channel = PAIR_CHANNEL,
			.type = FRAME_DATA,
			.flags = flags,
			.len = 16,
			.arg = flags & FRAME_FIRST ? 32 : 0});
}

static void say_half(struct pair_side *side)
{
	must(side->n_sleeps <= 2);
	if (side->n_sleeps == 1) {
		inject_half(side, FRAME_FIRST);
		pair_raise(side, PAIR_PORT_LINK);
		return;
	}
	side->clock_ns += UINT64_C(1000000000); /* time is over */
	pair_raise(side, PAIR_PORT_LINK);
	if (without_memory)
		failing_malloc_set(1);
}

static struct pair_side *waiting(void **state)
{
	struct pair_side *a = pair_side_of(state, A);

	pair_events(*state);
	a->ctx->driver.spin_us = 0;
	a->on_sleep = say_half;
	a->clock_step_ns = 1;
	a->sock->nonblock = false;
	a->sock->rcvtimeo_ms = 500;
	a->n_sleeps = 0;
	return a;
}

/* The half that came goes to private memory; the rest of it follows there. */
static void test_half_when_time_is_over(void **state)
{
	struct pair_side *a = waiting(state);

	without_memory = false;
	assert_int_equal(msg_recv(a->sock, bytes, sizeof(bytes), 0), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(a->n_sleeps, 2);
	assert_null(a->channel->reader);
	assert_non_null(a->channel->partial);
	a->on_sleep = NULL;
	/* A second reader waits for the queue. */
	assert_int_equal(msg_recv(a->sock, bytes, sizeof(bytes), MSG_DONTWAIT), -1);
	assert_null(a->channel->reader);
	inject_half(a, FRAME_LAST);
	assert_int_equal(msg_recv(a->sock, bytes, sizeof(bytes), 0), 32);
	a->sock->nonblock = true;
}

/* If there is no memory for it, the message can never be whole. */
static void test_half_without_memory(void **state)
{
	struct pair_side *a = waiting(state);
	static const char why[] = "out of memory in the middle of a message: the channel is lost";

	without_memory = true;
	assert_int_equal(msg_recv(a->sock, bytes, sizeof(bytes), 0), -1);
	assert_int_equal(errno, ENOMEM);
	assert_true(failing_malloc_end());
	assert_string_equal(msg_reason(), why);
	a->on_sleep = NULL;
	assert_int_equal(msg_recv(a->sock, bytes, sizeof(bytes), 0), -1);
	assert_int_equal(errno, ENOMEM);
	assert_string_equal(msg_reason(), why);
	a->sock->nonblock = true;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lengths, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_end, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_taken, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_read_gives_credit_back, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_straight_to_the_reader, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_whole_or_left, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_half_when_time_is_over, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_half_without_memory, pair_setup, pair_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
