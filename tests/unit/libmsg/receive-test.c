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
		cmocka_unit_test_setup_teardown(
			test_half_when_time_is_over, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_half_without_memory, pair_setup, pair_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
