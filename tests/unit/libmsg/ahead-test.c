/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Numbers that msgd gave ahead (PROTOCOL.md 5.10), as the two ends of a link use them: A connects,
 * B listens.
 */
#include <string.h>

#include "base/macro.h"
#include "tests/support/cmocka-all.h"
#include "tests/support/failing-malloc.h"
#include "tests/support/link-pair.h"
#include "tests/support/must.h"

enum { A, B };

#define ADDRESS	  "domain/name"
#define CONNECTED 20U /* the channel with which numbers come */
#define FIRST	  21U
#define N	  4U
#define ALL	  UINT64_C(15)
#define REQUEST	  1U

static struct pair_side *a, *b;
static struct msg_sock *listener;

static int setup(void **state)
{
	int r = pair_setup(state);

	a = pair_side_of(state, A);
	b = pair_side_of(state, B);
	pair_attached(a);
	pair_attached(b);
	a->ctx->control.broker_features = b->ctx->control.broker_features =
		FEATURE_TYPES | FEATURE_TERMS | FEATURE_COUNTS | FEATURE_AHEAD;
	listener = sock_new(&b->ctx->socks, SOCK_LISTENER, SOCK_OPEN, CHANNEL_SEQPACKET);
	must(listener && sock_set_name(listener, "name", 10) == 0);
	listener->nonblock = true;
	return r;
}

/* ---- msgd's part ---------------------------------------------------------------------------- */

static void say_ahead(struct pair_side *side, uint32_t channel, uint32_t n)
{
	struct control_message m = {.type = CONTROL_AHEAD,
		.ahead = {.end = PAIR_END, .channel = channel, .first = FIRST, .n = n}};

	pair_say(side, &m);
}

static void say_channel(uint32_t number)
{
	struct control_message m = {.type = CONTROL_CHANNEL,
		.channel = {.listener = listener->handle,
			.end = PAIR_END,
			.channel = number,
			.type = CHANNEL_SEQPACKET,
			.name = "name"}};

	pair_say(b, &m);
}

static void say_connected(uint32_t request, uint32_t number)
{
	struct control_message m = {.type = CONTROL_CONNECTED,
		.request = request,
		.connected = {.end = PAIR_END, .channel = number, .name = "name"}};

	pair_say(a, &m);
}

static void say_end(uint32_t first)
{
	struct control_message m = {
		.type = CONTROL_AHEAD_END, .ahead_end = {.end = PAIR_END, .first = first}};

	pair_say(a, &m);
}

static void say_gone(uint64_t rest)
{
	struct control_message m = {.type = CONTROL_AHEAD_GONE,
		.ahead_gone = {.end = PAIR_END, .first = FIRST, .rest = rest}};

	control_handle(&b->ctx->control, &m);
	control_publish(&b->ctx->control);
}

/* The next message of A is the rest of its numbers. */
static void assert_rest(uint64_t rest)
{
	struct control_message m = pair_next(a);

	assert_int_equal(m.type, CONTROL_AHEAD_REST);
	assert_int_equal(m.ahead_rest.end, PAIR_END);
	assert_int_equal(m.ahead_rest.first, FIRST);
	assert_int_equal(m.ahead_rest.rest, rest);
}

static void assert_silent(struct pair_side *side)
{
	struct control_message message;

	if (pair_control(side, &message))
		fail_msg("message %u", message.type);
}

/* ---- the ends' part ------------------------------------------------------------------------- */

static struct msg_sock *connect_with(const char *address, int type, unsigned flags)
{
	struct msg_sock *sock = msg_connect(a->ctx, address, type, flags | LIBMSG_NONBLOCK, -1);

	assert_non_null(sock);
	return sock;
}

/* It is open, and msgd was not asked. */
static struct msg_sock *connect_ahead(uint32_t number)
{
	struct msg_sock *sock = connect_with(ADDRESS, LIBMSG_SEQPACKET, 0);

	if (sock->state != SOCK_OPEN)
		fail_msg("number %u is not ahead", number);
	assert_int_equal(sock->channel->number, number);
	assert_silent(a);
	return sock;
}

/* msgd is asked; returns the id of the request. */
static uint32_t connect_asks(const char *address, int type, unsigned flags)
{
	struct msg_sock *sock = connect_with(address, type, flags);
	struct control_message m;

	assert_int_equal(sock->state, SOCK_PENDING);
	m = pair_next(a);
	assert_int_equal(m.type, CONTROL_CONNECT);
	assert_int_equal(msg_close(sock), 0);
	m.request = pair_next(a).type == CONTROL_CANCEL ? m.request : 0;
	assert_int_not_equal(m.request, 0);
	return m.request;
}

static struct msg_sock *taken(void)
{
	struct msg_sock *sock;

	pair_take(b);
	sock = msg_accept(listener, LIBMSG_NONBLOCK);
	return sock;
}

static void say_all_of(const char *address, uint32_t channel, uint32_t n)
{
	struct msg_sock *sock = connect_with(address, LIBMSG_SEQPACKET, 0);
	struct control_message m = pair_next(a);

	assert_int_equal(m.type, CONTROL_CONNECT);
	say_ahead(b, channel, n);
	say_channel(channel);
	say_ahead(a, channel, n);
	say_connected(m.request, channel);
	assert_int_equal(sock->state, SOCK_OPEN);
	assert_int_equal(sock->channel->number, channel);
	assert_non_null(taken());
	while (pair_control(b, &m))
		;
}

static void say_all(uint32_t n)
{
	say_all_of(ADDRESS, CONNECTED, n);
}

static void assert_none_left(void)
{
	assert_null(a->link->given);
	assert_null(b->link->taken);
	assert_null(a->ctx->links.given);
	assert_int_equal(a->ctx->links.n_ahead, 0);
	assert_int_equal(b->ctx->links.n_ahead, 0);
}

/* ---- use ------------------------------------------------------------------------------------ */

static void test_connects_without_msgd(void **state)
{
	char got[4];

	say_all(N);
	for (uint32_t i = 0; i < N; i++) {
		struct msg_sock *near = connect_ahead(FIRST + i), *far;
		struct msg_peer peer = {.size = sizeof(peer)};

		assert_int_equal(msg_send(near, "data", 4, 0), 4);
		far = taken();
		assert_non_null(far);
		assert_int_equal(far->channel->number, FIRST + i);
		assert_int_equal(msg_getpeer(far, &peer), 0);
		assert_string_equal(far->channel->name, "name");
		assert_string_equal(near->channel->name, "name");
		assert_int_equal(msg_recv(far, got, sizeof(got), 0), 4);
		assert_int_equal(msg_send(far, "back", 4, 0), 4);
		pair_take(a);
		assert_int_equal(msg_recv(near, got, sizeof(got), 0), 4);
		assert_memory_equal(got, "back", 4);
	}
	assert_none_left();
	(void)connect_asks(ADDRESS, LIBMSG_SEQPACKET, 0);
}

/* Before the first frame nobody at the listening end knows of it; no later than that it does. */
static void test_first_frame_opens(void **state)
{
	struct msg_sock *near;

	say_all(N);
	near = connect_ahead(FIRST);
	driver_pass(&a->ctx->driver); /* credit is its first word */
	assert_non_null(taken());
	assert_null(taken());
	assert_int_equal(msg_close(near), 0);
	/* One that closes at once was there all the same. */
	near = connect_ahead(FIRST + 1);
	assert_int_equal(msg_send(near, "last", 4, 0), 4);
	assert_int_equal(msg_close(near), 0);
	assert_non_null(taken());
}

static void test_no_room_in_backlog(void **state)
{
	struct msg_sock *near;

	say_all(N);
	listener->backlog = 0;
	near = connect_ahead(FIRST);
	driver_pass(&a->ctx->driver);
	assert_null(taken());
	pair_take(a);
	assert_int_equal(msg_send(near, "x", 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	assert_int_equal(b->link->state, LINK_UP);
}

/* They are for a CONNECT that is like the first one in all that msgd looks at. */
static void test_for_its_like_alone(void **state)
{
	say_all(N);
	(void)connect_asks("domain/other", LIBMSG_SEQPACKET, 0);
	(void)connect_asks("domain/name+argument", LIBMSG_SEQPACKET, 0);
	(void)connect_asks("other/name", LIBMSG_SEQPACKET, 0);
	(void)connect_asks("name", LIBMSG_SEQPACKET, 0);
	(void)connect_asks(ADDRESS, LIBMSG_STREAM, 0);
	(void)connect_asks(ADDRESS, LIBMSG_DGRAM, 0);
	a->ctx->transport = TRANSPORT_GRANT;
	(void)connect_asks(ADDRESS, LIBMSG_SEQPACKET, 0);
	a->ctx->transport = TRANSPORT_ANY;
	(void)connect_ahead(FIRST);
	/* Whether it would wait for the name does not matter where the name is there. */
	assert_int_equal(
		connect_with(ADDRESS, LIBMSG_SEQPACKET, LIBMSG_WAIT_NAME)->state, SOCK_OPEN);
}

/* A number that came with a channel of another number, or for a connect that was given up. */
static void test_not_said_of_it(void **state)
{
	struct control_message m;
	uint32_t id;

	id = connect_asks(ADDRESS, LIBMSG_SEQPACKET, 0);
	say_ahead(a, CONNECTED, N);
	say_connected(id, CONNECTED);
	assert_rest(UINT64_MAX);
	while (pair_control(a, &m))
		;
	say_ahead(a, CONNECTED + 100, N);
	(void)connect_with(ADDRESS, LIBMSG_SEQPACKET, 0);
	id = pair_next(a).request;
	say_connected(id, CONNECTED + 1);
	(void)connect_asks(ADDRESS, LIBMSG_SEQPACKET, 0);
	assert_int_equal(a->ctx->links.n_ahead, 0);
}

/* A msgd that gives others before those are used, or back: the later ones count. */
static void test_given_twice(void **state)
{
	say_all_of("domain/other", CONNECTED - 1, N);
	say_all(N);
	assert_int_equal(a->ctx->links.n_ahead, 1);
	assert_int_equal(b->ctx->links.n_ahead, 1);
	(void)connect_ahead(FIRST);
	(void)connect_asks("domain/other", LIBMSG_SEQPACKET, 0);
}

/* ---- the rest ------------------------------------------------------------------------------- */

static void test_asked_back(void **state)
{
	struct msg_sock *near;

	say_all(N);
	near = connect_ahead(FIRST);
	say_end(FIRST);
	assert_rest(ALL & ~UINT64_C(1));
	(void)connect_asks(ADDRESS, LIBMSG_SEQPACKET, 0);
	say_gone(ALL & ~UINT64_C(1));
	assert_int_equal(b->ctx->links.n_ahead, 1); /* the one whose frame is on its way */
	assert_int_equal(msg_send(near, "data", 4, 0), 4);
	assert_non_null(taken());
	assert_none_left();
	/* Nothing is left, and an answer is due. */
	say_end(FIRST);
	assert_rest(0);
	say_end(FIRST + 100);
	assert_int_equal(pair_next(a).ahead_rest.rest, 0);
}

/* The question lies in the ring, and connect reads it first. */
static void test_ring_is_read_first(void **state)
{
	struct control_message m = {
		.type = CONTROL_AHEAD_END, .ahead_end = {.end = PAIR_END, .first = FIRST}};

	say_all(N);
	pair_write(a, &m);
	assert_int_equal(connect_with(ADDRESS, LIBMSG_SEQPACKET, 0)->state, SOCK_PENDING);
	assert_rest(ALL);
	assert_int_equal(pair_next(a).type, CONTROL_CONNECT);
}

/* The other end has used them, and said that it has not. */
static void test_used_and_given_back(void **state)
{
	struct msg_sock *far;

	say_all(N);
	(void)connect_ahead(FIRST);
	driver_pass(&a->ctx->driver);
	far = taken();
	say_gone(ALL);
	assert_int_equal(msg_send(far, "x", 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	assert_string_equal(msg_reason(), "the other end has told msgd that there is no channel");
	assert_int_equal(b->link->state, LINK_UP);
	assert_int_equal(b->ctx->links.n_ahead, 0);
}

/* Frames for a number that was given back, and was none of this end's before. */
static void test_used_after_given_back(void **state)
{
	struct control_message m;

	say_all(N);
	say_gone(ALL);
	assert_null(b->link->taken);
	b->link->epoch = b->ctx->control.epoch;
	pair_inject_frame(
		*state, A, &(struct frame){.channel = FIRST, .type = FRAME_CREDIT, .arg = 100});
	pair_take(b);
	m = pair_next(b);
	assert_int_equal(m.type, CONTROL_SYNC);
	m = (struct control_message){.type = CONTROL_STATUS, .request = m.request};
	pair_say(b, &m);
	assert_null(link_find(&b->ctx->links, PAIR_END));
}

static void test_gone_before_use(void **state)
{
	struct control_message m = {
		.type = CONTROL_CHANNEL_GONE, .channel_gone = {.end = PAIR_END, .channel = FIRST}};

	say_all(N);
	pair_say(a, &m);
	pair_say(b, &m);
	(void)connect_ahead(FIRST + 1);
	assert_false(link_ahead_has(b->link->taken, FIRST));
}

/* ---- the end -------------------------------------------------------------------------------- */

static void test_next_msgd(void **state)
{
	struct msg_sock *near;

	say_all(N);
	near = connect_ahead(FIRST);
	driver_pass(&a->ctx->driver);
	pair_take(b);
	pair_next_msgd_told(a, FEATURE_TYPES);
	pair_next_msgd_told(b, FEATURE_TYPES);
	assert_none_left();
	(void)connect_asks(ADDRESS, LIBMSG_SEQPACKET, 0);
	assert_int_equal(near->state, SOCK_OPEN);
	assert_non_null(msg_accept(listener, LIBMSG_NONBLOCK));
}

/* It could not be asked back from an end that uses it meanwhile. */
static void test_no_msgd(void **state)
{
	say_all(N);
	atomic_store(&a->msgd.me->alive, 0);
	assert_int_equal(connect_with(ADDRESS, LIBMSG_SEQPACKET, 0)->state, SOCK_PENDING);
	atomic_store(&a->msgd.me->alive, 1);
	assert_int_equal(pair_next(a).type, CONTROL_CONNECT);
	(void)connect_ahead(FIRST);
}

static void test_link_ends(void **state)
{
	say_all(N);
	link_end(a->link, LINK_LEFT, "test");
	(void)connect_asks(ADDRESS, LIBMSG_SEQPACKET, 0); /* the pass has not been */
	pair_end(b, LINK_LEFT, "test");
	assert_int_equal(a->ctx->links.n_ahead, 0);
	assert_int_equal(b->ctx->links.n_ahead, 0);
	assert_null(a->ctx->links.given);
}

/* Frames that came before the other end left: the last words of a channel that nobody knew of. */
static void test_link_ends_with_a_first_frame(void **state)
{
	struct msg_sock *near, *far;
	char got[4];

	say_all(N);
	near = connect_ahead(FIRST);
	assert_int_equal(msg_send(near, "last", 4, 0), 4);
	driver_pass(&a->ctx->driver);
	pair_end(a, LINK_LEFT, "test");
	pair_end(b, LINK_LOST, "the other end has left");
	far = msg_accept(listener, LIBMSG_NONBLOCK);
	assert_non_null(far);
	assert_int_equal(msg_recv(far, got, sizeof(got), 0), 4);
}

/* ---- words that msgd need not hear at once -------------------------------------------------- */

static unsigned messages(struct pair_side *side)
{
	struct control_message m;
	unsigned n = 0;

	while (pair_control(side, &m))
		n++;
	return n;
}

static void all_read(void)
{
	(void)messages(b);
	must(!control_ring_sleep(&b->msgd));
}

/* B accepts and closes a channel ahead of A's, and says so. Returns the events that msgd got. */
static unsigned events_of_one(uint32_t number)
{
	unsigned n = b->n_events;
	struct msg_sock *near, *far;

	(void)messages(a);
	near = connect_ahead(number);
	driver_pass(&a->ctx->driver);
	pair_take(b);
	far = taken();
	assert_int_equal(msg_close(far), 0);
	assert_int_equal(msg_close(near), 0);
	driver_pass(&a->ctx->driver);
	pair_take(b);
	pair_take(a);
	control_publish(&b->ctx->control);
	return b->n_events - n;
}

static void test_quiet(void **state)
{
	say_all(N);
	all_read();
	for (uint32_t i = 0; i < N - 1; i++)
		assert_int_equal(events_of_one(FIRST + i), 0);
	/* The last one: all of them are heard. */
	assert_true(events_of_one(FIRST + N - 1) > 0);
	assert_true(messages(b) >= 2 * N);
}

/* Another word that is urgent takes them along. */
static void test_quiet_with_urgent(void **state)
{
	unsigned n;

	say_all(N);
	all_read();
	assert_int_equal(events_of_one(FIRST), 0);
	n = b->n_events;
	must(msg_connect(b->ctx, ADDRESS, LIBMSG_SEQPACKET, LIBMSG_NONBLOCK, -1));
	assert_int_equal(b->n_events, n + 1);
	assert_true(messages(b) >= 3);
	all_read();
	assert_int_equal(events_of_one(FIRST + 1), 0);
}

/* When the rest is given back nothing stays unheard. */
static void test_quiet_until_gone(void **state)
{
	unsigned n;

	say_all(N);
	all_read();
	assert_int_equal(events_of_one(FIRST), 0);
	n = b->n_events;
	say_gone(ALL & ~UINT64_C(1));
	assert_int_equal(b->n_events, n + 1);
	assert_true(messages(b) >= 2);
}

/* ---- memory --------------------------------------------------------------------------------- */

/* At the connecting end no channel is lost by it: the numbers are given back. */
static void test_no_memory_to_keep_them(void **state)
{
	bool hit = true;

	for (uint32_t i = 0; hit; i++) {
		struct msg_sock *sock = connect_with(ADDRESS, LIBMSG_SEQPACKET, 0);
		struct control_message m = {.type = CONTROL_CONNECTED,
			.request = pair_next(a).request,
			.connected = {.end = PAIR_END, .channel = CONNECTED, .name = "name"}};

		say_ahead(a, CONNECTED, N);
		failing_malloc_set(i + 1);
		control_handle(&a->ctx->control, &m);
		hit = failing_malloc_end();
		driver_pass(&a->ctx->driver);
		if (sock->state == SOCK_OPEN && hit) {
			assert_rest(UINT64_MAX);
			assert_int_equal(a->ctx->links.n_ahead, 0);
		}
		assert_int_equal(a->ctx->links.n_ahead, hit ? 0 : 1);
		must(pair_teardown(state) == 0 && setup(state) == 0);
	}
}

/* Nor at use: msgd is asked. */
static void test_no_memory_to_connect(void **state)
{
	bool hit = true;

	for (unsigned i = 1; hit; i++) {
		struct msg_sock *sock;

		say_all(N);
		failing_malloc_set(i);
		sock = msg_connect(a->ctx, ADDRESS, LIBMSG_SEQPACKET, LIBMSG_NONBLOCK, -1);
		hit = failing_malloc_end();
		if (hit && !sock)
			assert_int_equal(errno, ENOMEM);
		else
			assert_int_equal(sock->state, hit ? SOCK_PENDING : SOCK_OPEN);
		(void)connect_with(ADDRESS, LIBMSG_SEQPACKET, 0);
		must(pair_teardown(state) == 0 && setup(state) == 0);
	}
}

/* The listening end cannot refuse them: the link ends with that reason. */
static void test_no_memory_to_take_them(void **state)
{
	bool hit = true;

	for (unsigned i = 1; hit; i++) {
		struct control_message m = {.type = CONTROL_CHANNEL,
			.channel = {.listener = listener->handle,
				.end = PAIR_END,
				.channel = CONNECTED,
				.type = CHANNEL_SEQPACKET,
				.name = "name"}};

		say_ahead(b, CONNECTED, N);
		failing_malloc_set(i);
		control_handle(&b->ctx->control, &m);
		hit = failing_malloc_end();
		assert_int_equal(link_is_up(b->link), !hit);
		must(pair_teardown(state) == 0 && setup(state) == 0);
	}
}

/* Nor the first frame. */
static void test_no_memory_for_a_first_frame(void **state)
{
	bool hit = true;

	for (unsigned i = 1; hit; i++) {
		say_all(N);
		(void)connect_ahead(FIRST);
		driver_pass(&a->ctx->driver);
		failing_malloc_set(i);
		driver_take(&b->ctx->driver, b->link, NULL);
		hit = failing_malloc_end();
		assert_int_equal(link_is_up(b->link), !hit);
		must(pair_teardown(state) == 0 && setup(state) == 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_connects_without_msgd, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_first_frame_opens, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_no_room_in_backlog, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_for_its_like_alone, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_not_said_of_it, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_given_twice, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_asked_back, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_ring_is_read_first, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_used_and_given_back, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_used_after_given_back, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_gone_before_use, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_next_msgd, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_no_msgd, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_link_ends, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_link_ends_with_a_first_frame, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_quiet, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_quiet_with_urgent, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_quiet_until_gone, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_no_memory_to_keep_them, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_no_memory_to_connect, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_no_memory_to_take_them, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_no_memory_for_a_first_frame, setup, pair_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
