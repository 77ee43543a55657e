/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Watches, against a msgd that the test plays: the names as they are kept, and the next msgd, which
 * may be too old, may have other names, or may refuse.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "libmsg/socket/names.h"
#include "tests/support/cmocka-all.h"
#include "tests/support/failing-malloc.h"
#include "tests/support/link-pair.h"
#include "tests/support/must.h"

static int setup(void **state)
{
	struct pair *pair = pair_new(4);
	struct pair_side *side = &pair->sides[0];

	*state = pair;
	pair_events(pair);
	side->ctx->control.broker_features = FEATURE_WATCH;
	side->ctx->driver.spin_us = 0;
	pair_attached(side);
	return 0;
}

static struct pair_side *side_of(void **state)
{
	return &((struct pair *)*state)->sides[0];
}

static void assert_silent(struct pair_side *side)
{
	struct control_message message;

	assert_false(pair_control(side, &message));
}

static struct control_message asked; /* the last WATCH */
static uint32_t answer_error;

static void answer(struct pair_side *side)
{
	struct control_message status = {.type = CONTROL_STATUS};

	do {
		asked = pair_next(side);
	} while (asked.type >= CONTROL_ANNOUNCE_LINK && asked.type <= CONTROL_ANNOUNCE_DONE);
	must(asked.type == CONTROL_WATCH);
	status.request = asked.request;
	status.status.error = answer_error;
	strcpy(status.status.reason, answer_error ? "msgd says no" : "");
	pair_write(side, &status);
}

static struct msg_sock *watch(struct pair_side *side, const char *pattern)
{
	side->on_sleep = answer;
	answer_error = 0;
	return msg_watch(side->ctx, pattern);
}

static void say_name(struct pair_side *side, bool come, const char *address)
{
	struct control_message message = {.type = CONTROL_NAME};

	message.name.watch = asked.watch.watch;
	message.name.come = come;
	strcpy(message.name.address, address);
	pair_say(side, &message);
}

static void say_done(struct pair_side *side, uint32_t error)
{
	struct control_message message = {.type = CONTROL_NAMES_DONE};

	message.names_done.watch = asked.watch.watch;
	message.names_done.error = error;
	strcpy(message.names_done.reason, error ? "too many" : "");
	pair_say(side, &message);
}

/* The application receives this; NULL: there is nothing. */
#define TELLS(sock, expected)                                                                      \
	do {                                                                                       \
		char _text[NAMES_TEXT_SIZE] = "";                                                  \
		const char *_expected = (expected);                                                \
		ssize_t _n = msg_recv(sock, _text, sizeof(_text), MSG_DONTWAIT);                   \
		if (!_expected) {                                                                  \
			assert_int_equal(_n, -1);                                                  \
			assert_int_equal(errno, EAGAIN);                                           \
		} else {                                                                           \
			assert_string_equal(_text, _expected);                                     \
			assert_int_equal(_n, strlen(_expected));                                   \
		}                                                                                  \
	} while (0)

/* A msgd comes in the place of the former one, and says WELCOME. */
static void next_msgd(struct pair_side *side, uint64_t features)
{
	struct control_message message;

	pair_next_msgd(side, features);
	driver_pass(&side->ctx->driver);
	do {
		message = pair_next(side);
		assert_int_not_equal(message.type, CONTROL_WATCH);
	} while (message.type != CONTROL_ANNOUNCE_DONE);
}

static void test_asks(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_sock *sock = watch(side, "w*/e?");
	struct control_message message;
	uint32_t first = asked.watch.watch;

	assert_non_null(sock);
	assert_int_not_equal(first, 0);
	assert_string_equal(asked.watch.pattern, "w*/e?");
	TELLS(sock, NULL);
	/* Handles are not those of others. */
	assert_non_null(watch(side, "*"));
	assert_int_not_equal(asked.watch.watch, first);
	assert_silent(side);
	assert_int_equal(msg_close(sock), 0);
	message = pair_next(side);
	assert_int_equal(message.type, CONTROL_UNWATCH);
	assert_int_equal(message.unwatch.watch, first);
	assert_silent(side);
}

static void test_refused(void **state)
{
	struct pair_side *side = side_of(state);

	side->on_sleep = answer;
	answer_error = EDQUOT;
	assert_null(msg_watch(side->ctx, "*"));
	assert_int_equal(errno, EDQUOT);
	assert_non_null(strstr(msg_reason(), "msgd says no"));
	assert_null(msg_watch(side->ctx, "a b"));
	assert_int_equal(errno, EINVAL);
	side->ctx->control.broker_features = ~FEATURE_WATCH;
	assert_null(msg_watch(side->ctx, "*"));
	assert_int_equal(errno, EPROTONOSUPPORT);
	assert_silent(side);
}

/* Of the words of one msgd only the difference to what was received is kept. */
static void test_names(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_sock *sock = watch(side, "*");

	say_name(side, true, "a/x");
	say_name(side, true, "a/y");
	say_name(side, false, "a/x"); /* cancels out */
	say_done(side, 0);
	say_name(side, true, "a/z");
	TELLS(sock, "+a/y");
	TELLS(sock, "");
	TELLS(sock, "+a/z");
	TELLS(sock, NULL);
	for (int i = 0; i < 100; i++) {
		say_name(side, false, "a/y");
		say_name(side, true, "a/y");
		say_name(side, true, "b/z");
		say_name(side, false, "b/z");
	}
	TELLS(sock, NULL);
	say_name(side, false, "a/y");
	say_name(side, false, "a/y");
	TELLS(sock, "-a/y");
	say_name(side, false, "a/y"); /* of what is not there: nothing */
	say_name(side, false, "never/was");
	TELLS(sock, NULL);
	say_name(side, true, "a/y");
	TELLS(sock, "+a/y");
}

/* Two domains of one name. */
static void test_holders(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_sock *sock = watch(side, "*");

	say_name(side, true, "a/x");
	say_name(side, true, "a/x");
	TELLS(sock, "+a/x");
	say_name(side, false, "a/x");
	TELLS(sock, NULL);
	say_name(side, false, "a/x");
	TELLS(sock, "-a/x");
	TELLS(sock, NULL);
}

static void test_next_msgd(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_sock *sock = watch(side, "w*");
	uint32_t handle = asked.watch.watch;

	say_name(side, true, "a/stays");
	say_name(side, true, "a/goes");
	say_done(side, 0);
	TELLS(sock, "+a/stays");
	TELLS(sock, "+a/goes");
	TELLS(sock, "");
	say_name(side, true, "a/unread");
	say_name(side, true, "a/unread-goes");
	for (int i = 0; i < 2; i++) {
		struct control_message status = {.type = CONTROL_STATUS};

		next_msgd(side, FEATURE_WATCH);
		asked = pair_next(side);
		assert_int_equal(asked.type, CONTROL_WATCH);
		assert_int_equal(asked.watch.watch, handle);
		assert_string_equal(asked.watch.pattern, "w*");
		assert_silent(side);
		status.request = asked.request;
		pair_say(side, &status);
		say_name(side, true, "a/stays");
		say_name(side, true, "a/unread");
		if (i == 1) /* the first one dies before it has said all */
			say_name(side, true, "a/comes");
	}
	say_done(side, 0);
	TELLS(sock, "+a/unread");
	TELLS(sock, "+a/comes");
	TELLS(sock, "-a/goes");
	TELLS(sock, NULL); /* no second empty message */
	say_name(side, false, "a/stays");
	TELLS(sock, "-a/stays");
}

/* A msgd that ends before all was told: the next one's empty message is the first. */
static void test_next_msgd_before_all(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_sock *sock = watch(side, "*");

	say_name(side, true, "a/x");
	TELLS(sock, "+a/x");
	next_msgd(side, FEATURE_WATCH);
	asked = pair_next(side);
	say_done(side, 0);
	TELLS(sock, "-a/x");
	TELLS(sock, "");
	TELLS(sock, NULL);
}

static void assert_failed(struct msg_sock *sock, int error, const char *why)
{
	char text[8];
	int64_t value;

	assert_int_equal(msg_recv(sock, text, sizeof(text), 0), -1);
	assert_int_equal(errno, error);
	assert_non_null(strstr(msg_reason(), why));
	assert_int_equal(msg_getopt(sock, LIBMSG_ERROR, &value), 0);
	assert_int_equal(value, error);
	assert_int_equal(msg_getopt(sock, LIBMSG_ERROR, &value), 0);
	assert_int_equal(value, error); /* as a listener's */
}

static void test_older_msgd(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_sock *sock = watch(side, "*");
	struct msg_event event;

	say_name(side, true, "a/x");
	next_msgd(side, FEATURE_TYPES);
	assert_silent(side);
	assert_int_equal(msg_ctx_dispatch(side->ctx, &event, 1), 1);
	assert_ptr_equal(event.sock, sock);
	assert_int_equal(event.revents, POLLIN | POLLERR);
	TELLS(sock, "+a/x");
	assert_failed(sock, EPROTONOSUPPORT, "older");
	assert_int_equal(msg_ctx_dispatch(side->ctx, &event, 1), 0);
	/* A newer one does not bring it back. */
	next_msgd(side, FEATURE_WATCH);
	assert_silent(side);
	assert_int_equal(msg_close(sock), 0);
	assert_silent(side);
}

static void test_next_msgd_refuses(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_sock *sock = watch(side, "*");
	struct control_message status = {
		.type = CONTROL_STATUS, .status = {.error = EDQUOT, .reason = "limit watches"}};

	next_msgd(side, FEATURE_WATCH);
	status.request = pair_next(side).request;
	pair_say(side, &status);
	assert_failed(sock, EDQUOT, "limit watches");
}

static void test_ended_by_msgd(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_sock *sock = watch(side, "*");
	struct msg_event event;
	char byte;

	say_done(side, 0);
	say_name(side, true, "a/x");
	say_done(side, EDQUOT);
	say_name(side, true, "a/y"); /* of a watch that is not there */
	TELLS(sock, "");
	TELLS(sock, "+a/x");
	assert_int_equal(msg_recv(sock, &byte, 1, MSG_PEEK), -1); /* which takes nothing */
	assert_int_equal(msg_ctx_dispatch(side->ctx, &event, 1), 1);
	assert_failed(sock, EDQUOT, "too many");
	assert_int_equal(msg_ctx_dispatch(side->ctx, &event, 1), 0);
}

/* Between HELLO and WELCOME nobody knows what this msgd knows. */
static void welcome(struct pair_side *side)
{
	struct control_message message = {.type = CONTROL_WELCOME, .request = REQUEST_HELLO};

	side->on_sleep = answer;
	assert_silent(side);
	message.welcome.epoch = 2;
	message.welcome.version = 1;
	message.welcome.features = FEATURE_WATCH;
	pair_write(side, &message);
}

static void test_asked_before_welcome(void **state)
{
	struct pair_side *side = side_of(state);
	struct control_message message;

	atomic_fetch_add(&side->control_page->epoch, 1);
	control_take(&side->ctx->control);
	while (pair_control(side, &message))
		;
	side->on_sleep = welcome;
	answer_error = 0;
	assert_non_null(msg_watch(side->ctx, "*"));
	assert_silent(side);
}

static uint32_t first_request;

/* The msgd that was asked ends; the next one is asked after its WELCOME, under the same number. */
static void answer_again(struct pair_side *side)
{
	answer(side);
	must(asked.request == first_request);
}

static void welcome_next(struct pair_side *side)
{
	must(pair_next(side).type == CONTROL_HELLO);
	welcome(side);
	side->on_sleep = answer_again;
}

static void msgd_ends(struct pair_side *side)
{
	first_request = pair_next(side).request;
	atomic_fetch_add(&side->control_page->epoch, 1);
	side->on_sleep = welcome_next;
	pair_raise(side, PAIR_PORT_CONTROL);
}

static void test_asked_twice(void **state)
{
	struct pair_side *side = side_of(state);

	side->on_sleep = msgd_ends;
	answer_error = 0;
	assert_non_null(msg_watch(side->ctx, "*"));
	assert_silent(side);
}

/* ---- memory ----------------------------------------------------------------------------- */

static void test_out_of_memory(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_sock *sock;
	unsigned i;

	side->on_sleep = answer;
	answer_error = 0;
	for (i = 1;; i++) {
		failing_malloc_set(i);
		sock = msg_watch(side->ctx, "*");
		(void)failing_malloc_end();
		if (sock)
			break;
		assert_int_equal(errno, ENOMEM);
		assert_true(i < 20);
	}
	assert_true(i > 3);
	assert_silent(side);
	failing_malloc_set(1);
	say_name(side, true, "a/x");
	(void)failing_malloc_end();
	assert_int_equal(pair_next(side).type, CONTROL_UNWATCH);
	assert_failed(sock, ENOMEM, "out of memory");
}

static void test_too_many_names(void **state)
{
	struct names *names = names_new();
	char address[ADDRESS_SIZE];

	for (unsigned i = 0; i < 2 * WATCH_NAMES_MAX; i++) {
		snprintf(address, sizeof(address), "a/%u", i);
		assert_int_equal(names_change(names, address, true), 0);
	}
	assert_int_equal(names_change(names, "a/b", true), -ENOBUFS);
	assert_int_equal(names_change(names, "a/0", false), 0);
	assert_int_equal(names_change(names, "a/b", true), 0);
	names_free(names);
	names_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_asks, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_names, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_holders, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_next_msgd, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_next_msgd_before_all, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_older_msgd, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_next_msgd_refuses, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_ended_by_msgd, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_asked_before_welcome, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_asked_twice, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_out_of_memory, setup, pair_teardown),
		cmocka_unit_test(test_too_many_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
