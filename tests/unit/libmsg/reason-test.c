/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A link may end for several reasons, and inside of every call. Each call then fails with the
 * reason of its own link's end, and so do all later calls. The first reason counts.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/cmocka-all.h"
#include "tests/support/failing-malloc.h"
#include "tests/support/link-pair.h"

#define A 0 /* the side whose link ends */
#define B 1

/* ---- the causes ------------------------------------------------------------------------- */

static void violate(struct pair_side *side)
{
	pair_inject_frame(side->pair, B, &(struct frame){.channel = PAIR_CHANNEL, .type = 99});
	pair_raise(side, PAIR_PORT_LINK);
}

static void say_link_down(struct pair_side *side)
{
	struct control_message down = {.type = CONTROL_LINK_DOWN,
		.link_down = {.end = PAIR_END,
			.error = EACCES,
			.reason = "policy does not allow it any more"}};

	pair_write(side, &down);
}

static void die(struct pair_side *side)
{
	atomic_store(&side->pair->page->end[B].alive, 0);
	pair_raise(side, PAIR_PORT_LINK);
}

/* The frame of an unknown channel makes libmsg ask msgd, for which there is no memory. */
static void exhaust_memory(struct pair_side *side)
{
	pair_inject_frame(side->pair, B,
		&(struct frame){.channel = 77, .type = FRAME_CREDIT, .arg = CREDIT_INITIAL});
	pair_raise(side, PAIR_PORT_LINK);
	failing_malloc_set(1);
}

static const struct cause {
	void (*fn)(struct pair_side *side);
	const char *reason;
	uint32_t told; /* the error that msgd is told; 0: it is told nothing */
} causes[] = {
	{violate, "a frame that makes no sense", EPROTO},
	{say_link_down, "policy does not allow it any more", 0},
	{die, "the other process is gone", 0},
	{exhaust_memory, "out of memory for a question to msgd", ENOMEM},
};

/* ---- the calls -------------------------------------------------------------------------- */

static char bytes[65536];

static void send_until_full(struct msg_sock *sock)
{
	while (msg_send(sock, bytes, 64, MSG_DONTWAIT) == 64)
		;
	assert_int_equal(errno, EAGAIN);
}

static void nothing(struct pair_side *side)
{
}

static void use_up_credit(struct pair_side *side)
{
	send_until_full(side->sock);
	assert_true(side->channel->tx_credit < 64 + FRAME_CHARGE);
	assert_true(side->link->transport->ops->room(side->link->transport, 64) >= 64);
}

static void give_credit(struct pair_side *side)
{
	side->channel->tx_credit = 1U << 20;
}

static void use_up_room(struct pair_side *side)
{
	give_credit(side);
	send_until_full(side->sock);
	while (transport_put_bare(side->link->transport, PAIR_CHANNEL, FRAME_LIMIT, 1) == 0)
		;
	assert_true(side->channel->tx_credit >= 64 + FRAME_CHARGE);
}

/* Half of a message, which a waiting reader takes in. */
static void say_half(struct pair_side *side)
{
	pair_inject_frame(side->pair, B,
		&(struct frame){.channel = PAIR_CHANNEL,
			.type = FRAME_DATA,
			.flags = FRAME_FIRST,
			.len = 16,
			.arg = 32});
	pair_raise(side, PAIR_PORT_LINK);
}

static ssize_t receive(struct msg_sock *sock)
{
	return msg_recv(sock, bytes, sizeof(bytes), 0);
}

static ssize_t receive_little(struct msg_sock *sock)
{
	return msg_recv(sock, bytes, 8, 0);
}

static ssize_t peek(struct msg_sock *sock)
{
	return msg_recv(sock, bytes, sizeof(bytes), MSG_PEEK);
}

static ssize_t take(struct msg_sock *sock)
{
	const void *data;
	struct msg_buf *buf;

	return msg_recv_take(sock, 0, &data, &buf);
}

static ssize_t send_short(struct msg_sock *sock)
{
	return msg_send(sock, bytes, 64, 0);
}

static ssize_t send_long(struct msg_sock *sock)
{
	return msg_send(sock, bytes, 60000, 0);
}

static ssize_t poll_first(struct msg_sock *sock)
{
	struct msg_pollfd fd = {.sock = sock, .events = POLLIN};

	assert_int_equal(msg_poll(&fd, 1, -1), 1);
	assert_int_equal(fd.revents, POLLIN | POLLRDHUP | POLLERR | POLLHUP);
	return receive(sock);
}

static ssize_t poll_room_first(struct msg_sock *sock)
{
	struct msg_pollfd fd = {.sock = sock, .events = POLLOUT};

	assert_int_equal(msg_poll(&fd, 1, -1), 1);
	assert_int_equal(fd.revents, POLLOUT | POLLERR | POLLHUP);
	return send_short(sock);
}

static ssize_t shut_down_first(struct msg_sock *sock)
{
	assert_int_equal(msg_shutdown(sock, SHUT_WR), 0);
	return send_short(sock);
}

static const struct place {
	const char *name;
	void (*prepare)(struct pair_side *side);
	/* Lets the call come further before the cause strikes. */
	void (*before)(struct pair_side *side);
	ssize_t (*call)(struct msg_sock *sock);
} places[] = {
	{"a receive into the reader's memory", nothing, NULL, receive},
	{"a receive with half a message in the reader's memory", nothing, say_half, receive},
	{"a receive with half a message in private memory", nothing, say_half, receive_little},
	{"a receive that peeks", nothing, NULL, peek},
	{"a receive that takes over", nothing, NULL, take},
	{"a receive that takes over, with half a message", nothing, say_half, take},
	{"a send that waits for credit", use_up_credit, NULL, send_short},
	{"a send that waits for room", use_up_room, NULL, send_short},
	{"a send that waits for credit inside a message", nothing, NULL, send_long},
	{"a send that waits for room inside a message", give_credit, NULL, send_long},
	{"a poll for messages", nothing, NULL, poll_first},
	{"a poll for room", use_up_room, NULL, poll_room_first},
	{"a shutdown that waits for room", use_up_room, NULL, shut_down_first},
};

/* ---- each cause inside of each call ----------------------------------------------------- */

static const struct place *place;
static const struct cause *cause;

static void strike(struct pair_side *side)
{
	if (place->before && side->n_sleeps == 1)
		place->before(side);
	else if (side->n_sleeps == (place->before ? 2 : 1))
		cause->fn(side);
	else
		fail_msg("%s goes on after %s", place->name, cause->reason);
}

static struct pair *blocking_pair(void)
{
	struct pair *pair = pair_new(4);
	struct pair_side *side = &pair->sides[A];

	pair_events(pair);
	side->sock->nonblock = false;
	side->sock->linger_ms = 3600 * 1000;
	side->ctx->driver.spin_us = 0;
	return pair;
}

static void assert_reset(ssize_t r, const char *reason)
{
	if (r != -1 || errno != ECONNRESET || strcmp(msg_reason(), reason) != 0)
		print_error("in %s: %zd, %s\n", place ? place->name : "?", r, msg_reason());
	assert_int_equal(r, -1);
	assert_int_equal(errno, ECONNRESET);
	assert_string_equal(msg_reason(), reason);
}

static void assert_told(struct pair_side *side, const struct cause *expected)
{
	struct control_message message;
	uint32_t told = 0;

	while (pair_control(side, &message)) {
		if (message.type != CONTROL_LINK_FAILED)
			continue;
		assert_int_equal(told, 0);
		told = message.link_failed.error;
		assert_string_equal(message.link_failed.reason, expected->reason);
	}
	assert_int_equal(told, expected->told);
}

static void test_each_cause_inside_each_call(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(places) * ARRAY_SIZE(causes); i++) {
		struct pair *pair = blocking_pair();
		struct pair_side *side = &pair->sides[A];

		place = &places[i / ARRAY_SIZE(causes)];
		cause = &causes[i % ARRAY_SIZE(causes)];
		place->prepare(side);
		side->n_sleeps = 0;
		side->on_sleep = strike;
		assert_reset(place->call(side->sock), cause->reason);
		(void)failing_malloc_end();
		assert_int_equal(side->n_sleeps, place->before ? 2 : 1);
		/* Nothing makes a later call forget it. */
		if (place->call != shut_down_first)
			assert_reset(send_short(side->sock), cause->reason);
		assert_reset(receive(side->sock), cause->reason);
		assert_told(side, cause);
		assert_null(side->ctx->links.by_end);
		assert_true(TAILQ_EMPTY(&side->ctx->links.grave));
		pair_free(pair);
	}
}

/* The reason of the end of a link without a socket goes to the log. */
static char logged[256];

static void keep_line(void *arg, int priority, const char *line)
{
	(void)snprintf(logged, sizeof(logged), "%s", line);
}

/* close does not linger for messages that cannot be sent any more, and says that they are lost. */
static void test_each_cause_inside_close(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(causes); i++) {
		struct pair *pair = blocking_pair();
		struct pair_side *side = &pair->sides[A];

		place = &(const struct place){.name = "a close that lingers"};
		cause = &causes[i];
		side->sock->nonblock = true;
		assert_int_equal(send_long(side->sock), 60000);
		assert_false(STAILQ_EMPTY(&side->channel->out));
		side->sock->nonblock = false;
		msg_ctx_set_log(side->ctx, keep_line, NULL);
		side->n_sleeps = 0;
		side->on_sleep = strike;
		assert_reset(msg_close(side->sock), cause->reason);
		(void)failing_malloc_end();
		assert_int_equal(side->n_sleeps, 1);
		assert_non_null(strstr(logged, cause->reason));
		assert_told(side, cause);
		assert_true(TAILQ_EMPTY(&side->ctx->socks.all));
		pair_free(pair);
	}
}

static void test_each_cause_inside_dispatch(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(causes); i++) {
		struct pair *pair = blocking_pair();
		struct pair_side *side = &pair->sides[A];
		struct msg_event event;

		cause = &causes[i];
		assert_int_equal(msg_ctx_dispatch(side->ctx, &event, 1), 0);
		cause->fn(side);
		assert_int_equal(msg_ctx_dispatch(side->ctx, &event, 1), 1);
		(void)failing_malloc_end();
		assert_ptr_equal(event.sock, side->sock);
		assert_int_equal(event.revents, POLLIN | POLLRDHUP | POLLERR | POLLHUP);
		assert_reset(receive(side->sock), cause->reason);
		assert_told(side, cause);
		pair_free(pair);
	}
}

/* A message is too long for the reader, and there is no private memory for it. */
static void lack_memory_for_message(struct pair_side *side)
{
	say_half(side);
	failing_malloc_set(1);
}

static void test_no_memory_for_a_message(void **state)
{
	static const struct cause no_memory = {
		lack_memory_for_message, "out of memory for a message", ENOMEM};
	static const struct place tries[] = {
		{"a receive of less", nothing, NULL, receive_little},
		{"a receive that takes over", nothing, NULL, take},
		{"a send", use_up_credit, NULL, send_short},
		{"a poll", nothing, NULL, poll_first},
	};

	for (size_t i = 0; i < ARRAY_SIZE(tries); i++) {
		struct pair *pair = blocking_pair();
		struct pair_side *side = &pair->sides[A];

		place = &tries[i];
		cause = &no_memory;
		place->prepare(side);
		side->n_sleeps = 0;
		side->on_sleep = strike;
		assert_reset(place->call(side->sock), cause->reason);
		assert_true(failing_malloc_end());
		assert_told(side, cause);
		pair_free(pair);
	}
}

/* ---- the first reason counts ------------------------------------------------------------ */

static void violate_and_die(struct pair_side *side)
{
	violate(side);
	die(side);
}

static void die_and_say_why(struct pair_side *side)
{
	die(side);
	say_link_down(side);
}

/* msgd's event is lost, or later: the peer's death has libmsg look at what msgd says. */
static void die_and_say_why_without_event(struct pair_side *side)
{
	say_link_down(side);
	atomic_store(&side->pending, 0);
	die(side);
}

static void say_down_and_violate(struct pair_side *side)
{
	say_link_down(side);
	violate(side);
}

static void test_first_reason_counts(void **state)
{
	static const struct cause both[] = {
		{violate_and_die, "a frame that makes no sense", EPROTO},
		{die_and_say_why, "policy does not allow it any more", 0},
		{die_and_say_why_without_event, "policy does not allow it any more", 0},
		{say_down_and_violate, "policy does not allow it any more", 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(places) * ARRAY_SIZE(both); i++) {
		struct pair *pair = blocking_pair();
		struct pair_side *side = &pair->sides[A];

		place = &places[i / ARRAY_SIZE(both)];
		cause = &both[i % ARRAY_SIZE(both)];
		place->prepare(side);
		side->n_sleeps = 0;
		side->on_sleep = strike;
		assert_reset(place->call(side->sock), cause->reason);
		assert_told(side, cause);
		pair_free(pair);
	}
}

/* A mark on a link that is ending, or has ended, changes nothing. */
static void test_later_marks_are_ignored(void **state)
{
	struct pair *pair = blocking_pair();
	struct pair_side *side = &pair->sides[A];

	link_end(side->link, LINK_LOST, "the first");
	link_end(side->link, LINK_VIOLATED, "the second");
	assert_string_equal(side->link->reason, "the first");
	assert_int_equal(side->link->cause, LINK_LOST);
	assert_reset(receive(side->sock), "the first");
	assert_told(side, &(const struct cause){.reason = "the first", .told = ECONNRESET});
	pair_free(pair);
}

/* Messages that had arrived whole are received before the reason, unless the peer is a violator. */
static void test_whole_messages_come_first(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(causes); i++) {
		struct pair *pair = blocking_pair();
		struct pair_side *side = &pair->sides[A];

		for (int n = 0; n < 2; n++)
			pair_inject_message(pair, B, 10);
		causes[i].fn(side);
		assert_int_equal(receive(side->sock), 10);
		assert_int_equal(receive(side->sock), 10);
		assert_reset(receive(side->sock), causes[i].reason);
		(void)failing_malloc_end();
		pair_free(pair);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_cause_inside_each_call),
		cmocka_unit_test(test_each_cause_inside_close),
		cmocka_unit_test(test_each_cause_inside_dispatch),
		cmocka_unit_test(test_no_memory_for_a_message),
		cmocka_unit_test(test_first_reason_counts),
		cmocka_unit_test(test_later_marks_are_ignored),
		cmocka_unit_test(test_whole_messages_come_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
