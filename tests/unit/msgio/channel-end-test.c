/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A channel as an end: what of libmsg's words becomes which word of an end. */
#include "msgio/channel-end.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "msgio/loop.h"
#include "tests/support/cmocka-all.h"
#include "tests/support/link-pair.h"
#include "tests/support/must.h"

enum { A, B };

static struct pair_side *a, *b;
static struct msg_sock *far;
static struct end *end; /* A's */
static unsigned n_ready;
static uint32_t number = 8; /* of the channel */

static void on_ready(void *arg)
{
	n_ready++;
}

static void channel(enum channel_type type)
{
	struct msg_sock *near;

	pair_channels(a->pair, ++number, type, &near, &far);
	end = channel_end_new(near);
	assert_non_null(end);
	end->ready = on_ready;
	n_ready = 0;
}

static int setup(void **state)
{
	int r = pair_setup(state);

	a = pair_side_of(state, A);
	b = pair_side_of(state, B);
	channel(CHANNEL_STREAM);
	return r;
}

/* The text that comes next; NULL: nothing, the end or an error, which is *ret. */
static const char *took(int *ret)
{
	static char text[64];
	struct piece piece;

	*ret = end->ops->take(end, &piece);
	if (*ret != TAKE_PIECE)
		return NULL;
	assert_in_range(piece.len, 0, sizeof(text) - 1);
	memcpy(text, piece.data, piece.len);
	text[piece.len] = '\0';
	piece.release(piece.owner);
	return text;
}

static void expect_text(const char *text)
{
	int r;
	const char *got = took(&r);

	assert_non_null(got);
	assert_string_equal(got, text);
}

static void expect_none(int expected)
{
	int r;

	assert_null(took(&r));
	assert_int_equal(r, expected);
}

/* The end with the close behind it, in one receive: no event would tell of the close. */
static void test_end_and_close(void **state)
{
	expect_none(-EAGAIN);
	must(msg_send(far, "last", 4, 0) == 4);
	must(msg_shutdown(far, SHUT_WR) == 0);
	expect_text("last");
	expect_none(TAKE_END);
	assert_int_equal(end->gone, 0); /* it may still read */
	must(end->ops->close(end, false) == 0);
	must(msg_close(far) == 0);
}

static void test_close(void **state)
{
	must(msg_shutdown(far, SHUT_WR) == 0);
	must(msg_close(far) == 0);
	expect_none(TAKE_END);
	assert_int_equal(end->gone, -EPIPE);
	assert_string_equal(channel_end_reason(end), "");
	must(end->ops->close(end, false) == 0);
}

/* By an event, and with its cause. */
static void test_lost(void **state)
{
	struct msg_event event;

	must(msg_setopt(far, LIBMSG_RESET, 1) == 0);
	must(msg_close(far) == 0);
	must(msg_ctx_dispatch(a->ctx, &event, 1) == 1);
	((struct sock_handler *)msg_userdata(event.sock))
		->fn(msg_userdata(event.sock), event.revents);
	assert_int_equal(n_ready, 1);
	assert_int_equal(end->gone, -ECONNRESET);
	expect_none(-ECONNRESET);
	assert_non_null(strstr(channel_end_reason(end), "the peer reset the channel"));
	must(end->ops->close(end, false) == 0);
}

/* How it is left is what the peer sees. */
static void test_ways_to_close(void **state)
{
	char byte;

	must(end->ops->finish(end) == 0);
	must(msg_recv(far, &byte, 1, 0) == 0);
	must(msg_send(far, "x", 1, 0) == 1);
	expect_text("x");
	must(end->ops->close(end, false) == 0);
	must(msg_close(far) == 0);
	channel(CHANNEL_STREAM);
	must(end->ops->finish(end) == 0);
	must(end->ops->close(end, true) == 0);
	must(msg_recv(far, &byte, 1, 0) == -1);
	assert_int_equal(errno, ECONNRESET);
	must(msg_close(far) == 0);
}

/* Unread bytes are a reset, but not those that were ignored. */
static void test_ignored(void **state)
{
	char byte;

	for (int ignored = 0; ignored < 2; ignored++) {
		must(msg_send(far, "unread", 6, 0) == 6);
		pair_take(a);
		must(end->ops->finish(end) == 0);
		if (ignored) {
			end->ops->ignore(end);
			must(msg_send(far, "more", 4, 0) == 4);
			pair_take(a);
		}
		must(end->ops->close(end, false) == 0);
		assert_int_equal(msg_recv(far, &byte, 1, 0), ignored ? 0 : -1);
		must(msg_close(far) == 0);
		channel(CHANNEL_STREAM);
	}
	must(end->ops->close(end, false) == 0);
	must(msg_close(far) == 0);
}

/* Messages keep their bounds, also empty ones; no room is none. */
static void test_messages(void **state)
{
	char text[64];

	must(end->ops->close(end, false) == 0);
	must(msg_close(far) == 0);
	channel(CHANNEL_SEQPACKET);
	must(end->ops->give(end, "", 0) == 0);
	must(end->ops->give(end, "two", 3) == 3);
	must(msg_recv(far, text, sizeof(text), 0) == 0);
	must(msg_recv(far, text, sizeof(text), 0) == 3);
	must(msg_send(far, "", 0, 0) == 0);
	expect_text("");
	expect_none(-EAGAIN);
	for (int n = 0; n < 100000; n++) {
		if (end->ops->give(end, text, sizeof(text)) == -EAGAIN)
			break;
	}
	assert_int_equal(end->ops->give(end, text, sizeof(text)), -EAGAIN);
	must(end->ops->close(end, true) == 0);
	must(msg_close(far) == 0);
}

/* Unread bytes are bounded, and messages may be as long as by default. */
static void test_window(void **state)
{
	const enum channel_type types[] = {CHANNEL_STREAM, CHANNEL_SEQPACKET};
	const int64_t windows[] = {256 << 10, 1 << 20};

	for (int i = 0; i < 2; i++) {
		int64_t window;

		must(end->ops->close(end, false) == 0);
		must(msg_close(far) == 0);
		channel(types[i]);
		must(msg_getopt(TAILQ_LAST(&a->ctx->socks.all, sock_list), LIBMSG_RCVBUF,
			     &window) == 0);
		assert_int_equal(window, windows[i]);
	}
	must(end->ops->close(end, false) == 0);
	must(msg_close(far) == 0);
}

static void test_interest(void **state)
{
	struct msg_sock *near = TAILQ_LAST(&a->ctx->socks.all, sock_list);
	int64_t events;

	/* Nobody wants anything before the connection begins. */
	must(msg_getopt(near, LIBMSG_EVENTS, &events) == 0);
	assert_int_equal(events, 0);
	for (int i = 0; i < 4; i++) {
		end->ops->wait(end, i & 1, i & 2);
		must(msg_getopt(near, LIBMSG_EVENTS, &events) == 0);
		assert_int_equal(events, (i & 1 ? POLLIN : 0) | (i & 2 ? POLLOUT : 0));
	}
	must(end->ops->close(end, false) == 0);
	must(msg_close(far) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_end_and_close, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_close, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_lost, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_ways_to_close, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_ignored, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_messages, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_window, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_interest, setup, pair_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
