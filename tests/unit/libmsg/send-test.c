/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A send: what it refuses, when it looks for credit first, and how its end is told. */
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/support/cmocka-all.h"
#include "tests/support/failing-malloc.h"
#include "tests/support/link-pair.h"
#include "tests/support/must.h"

#define A 0 /* sends */
#define B 1

static char bytes[128 * 1024];

static void assert_refused(struct msg_sock *sock, size_t len, int error, const char *reason)
{
	errno = 0;
	assert_int_equal(msg_send(sock, bytes, len, 0), -1);
	assert_int_equal(errno, error);
	assert_string_equal(msg_reason(), reason);
}

/* ---- refusals --------------------------------------------------------------------------- */

/* The longest message that this end's option, and the peer's, allow. */
static void test_longest(void **state)
{
	struct pair_side *a = pair_side_of(state, A);

	assert_int_equal(msg_setopt(a->sock, LIBMSG_SNDBUF, 5000), 0);
	assert_int_equal(msg_send(a->sock, bytes, 5000, 0), 5000);
	assert_refused(a->sock, 5001, EMSGSIZE, "5001 bytes: LIBMSG_SNDBUF is 5000");
	a->channel->tx_maxmsg = 100;
	assert_int_equal(msg_send(a->sock, bytes, 100, 0), 100);
	assert_refused(a->sock, 101, EMSGSIZE, "101 bytes: the peer takes 100");
}

static void test_shut_down(void **state)
{
	struct pair_side *a = pair_side_of(state, A);

	assert_int_equal(msg_shutdown(a->sock, SHUT_RD), 0);
	assert_int_equal(msg_send(a->sock, bytes, 1, 0), 1);
	assert_int_equal(msg_shutdown(a->sock, SHUT_WR), 0);
	assert_refused(a->sock, 1, EPIPE, "this end was shut down for sending");
	assert_int_equal(msg_flush(a->sock), 0);
}

/* A CLOSE that lies in the ring is seen where the send looks there for credit. */
static void test_closed_meanwhile(void **state)
{
	for (uint32_t unread = 0; unread < 2; unread++) {
		struct pair_side *a = pair_side_of(state, A);

		pair_inject_frame(*state, B,
			&(struct frame){.channel = PAIR_CHANNEL,
				.type = FRAME_CLOSE,
				.arg = unread ? CLOSE_RESET : CLOSE_NORMAL});
		a->channel->tx_credit = 10;
		if (unread)
			assert_refused(a->sock, 1, ECONNRESET,
				"the peer reset the channel, or closed it without reading all");
		else
			assert_refused(a->sock, 1, EPIPE, "the peer closed the channel");
		must(pair_teardown(state) == 0 && pair_setup(state) == 0);
	}
}

/* The same where the link ends, since a frame breaks a rule. */
static void test_ended_meanwhile(void **state)
{
	struct pair_side *a = pair_side_of(state, A);

	pair_inject_frame(*state, B, &(struct frame){.channel = PAIR_CHANNEL, .type = 99});
	a->channel->tx_credit = 10;
	assert_refused(a->sock, 1, ECONNRESET, "a frame that makes no sense");
	assert_int_equal(msg_flush(a->sock), -1);
	assert_int_equal(errno, ECONNRESET);
}

static unsigned n_refused;

static int refuse(struct transport *transport, struct frame *frame, uint32_t least,
	struct iov_cursor *payload, bool more)
{
	n_refused++;
	return -EAGAIN;
}

/* The hypervisor has refused the frame, where there was room: an event loop is owed POLLOUT. */
static void test_refused_beside_room(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct transport_ops ops = transport_grant;
	struct msg_event event;

	while (msg_ctx_dispatch(a->ctx, &event, 1) > 0)
		;
	ops.put = refuse;
	a->link->transport->ops = &ops;
	n_refused = 0;
	assert_refused(a->sock, 1, EAGAIN, "no room at the receiver");
	assert_int_equal(n_refused, 2);
	a->link->transport->ops = &transport_grant;
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 1);
	assert_int_equal(event.revents, POLLOUT);
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 0);
}

/* ---- credit ----------------------------------------------------------------------------- */

/* Sends with so much credit, while one more byte of it lies in the ring. Whether it was taken. */
static bool looks(void **state, uint32_t credit, int flags)
{
	struct pair_side *a = pair_side_of(state, A);
	struct transport *in = a->link->transport;
	bool looked;

	pair_inject_frame(*state, B,
		&(struct frame){.channel = PAIR_CHANNEL, .type = FRAME_CREDIT, .arg = 1});
	a->channel->tx_credit = credit;
	assert_int_equal(msg_send(a->sock, bytes, 64, flags), 64);
	looked = !in->ops->pending(in);
	while (in->ops->peek(in) > 0)
		in->ops->next(in);
	return looked;
}

/* Frames are taken in before a send, where credit would cut the message, and not otherwise. */
static void test_looks_for_credit(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	uint32_t batch = a->link->transport->ring_len / 2;

	assert_true(looks(state, 64 + FRAME_CHARGE - 1, 0));
	assert_false(looks(state, 64 + FRAME_CHARGE, 0));
	/* The first of a batch looks, for the whole of it. */
	assert_true(looks(state, batch + FRAME_CHARGE - 1, MSG_MORE));
	assert_false(looks(state, 64 + FRAME_CHARGE, MSG_MORE));
	assert_true(looks(state, 64 + FRAME_CHARGE - 1, MSG_MORE));
	assert_int_equal(msg_flush(a->sock), 0);
	assert_false(looks(state, batch + FRAME_CHARGE, MSG_MORE));
	assert_false(looks(state, 64 + FRAME_CHARGE, 0));
	assert_int_equal(msg_setopt(a->sock, LIBMSG_CORK, 1), 0);
	assert_true(looks(state, batch + FRAME_CHARGE - 1, 0));
}

static void see_all(struct pair_side *side)
{
	struct transport *in = side->pair->sides[B].link->transport;

	/* Else the peer could make no room. */
	must(!side->link->transport->unpushed);
	while (in->ops->peek(in) > 0)
		in->ops->next(in);
	transport_give_back(in, true);
}

/* A sender that waits for room has shown all that was kept back. */
static void test_shows_what_fills_the_ring(void **state)
{
	struct pair_side *a = pair_side_of(state, A);

	pair_events(*state);
	a->ctx->driver.spin_us = 0;
	a->sock->nonblock = false;
	a->channel->tx_credit = 1U << 20;
	a->on_sleep = see_all;
	for (int i = 0; i < 500; i++)
		assert_int_equal(msg_send(a->sock, bytes, 64, MSG_MORE), 64);
	assert_true(a->n_sleeps > 0);
	a->on_sleep = NULL;
	a->sock->nonblock = true;
}

/* ---- the rest of a message -------------------------------------------------------------- */

#define REST 3000U

/* The first fragment takes all the room; the rest has the credit that it needs, but for `lack`. */
static struct pair_side *with_rest(void **state, uint32_t lack, uint32_t *ret_len)
{
	struct pair_side *a = pair_side_of(state, A);
	struct transport *transport = a->link->transport;
	uint32_t first = (uint32_t)transport->ops->room(transport, UINT32_MAX);

	pair_events(*state);
	a->ctx->driver.spin_us = 0;
	a->sock->nonblock = false;
	a->channel->tx_credit = first + FRAME_CHARGE + REST + FRAME_CHARGE - lack;
	*ret_len = first + REST;
	return a;
}

static void make_room(struct pair_side *side)
{
	struct transport *in = side->pair->sides[B].link->transport;

	must(side->n_sleeps == 1);
	must(atomic_load(&side->pair->page->end[A].want_space) == 1);
	while (in->ops->peek(in) > 0)
		in->ops->next(in);
	transport_give_back(in, true);
}

/* It waits for room, and asks for the event of it. */
static void test_rest_waits_for_room(void **state)
{
	uint32_t len;
	struct pair_side *a = with_rest(state, 0, &len);

	a->on_sleep = make_room;
	assert_int_equal(msg_send(a->sock, bytes, len, 0), len);
	assert_int_equal(a->n_sleeps, 1);
	assert_true(STAILQ_EMPTY(&a->channel->out));
	a->on_sleep = NULL;
	a->sock->nonblock = true;
}

static void give_credit(struct pair_side *side)
{
	struct transport *in = side->pair->sides[B].link->transport;

	must(side->n_sleeps <= 2);
	/* Room is there first, and helps nothing. */
	while (in->ops->peek(in) > 0)
		in->ops->next(in);
	transport_give_back(in, true);
	if (side->n_sleeps == 2)
		pair_inject_frame(side->pair, B,
			&(struct frame){.channel = PAIR_CHANNEL, .type = FRAME_CREDIT, .arg = 1});
	pair_raise(side, PAIR_PORT_LINK);
}

/* It waits for credit, of which one byte lacks, whatever room there is. */
static void test_rest_waits_for_credit(void **state)
{
	uint32_t len;
	struct pair_side *a = with_rest(state, 1, &len);

	a->on_sleep = give_credit;
	a->clock_step_ns = 1000000;
	a->sock->sndtimeo_ms = 10000;
	assert_int_equal(msg_send(a->sock, bytes, len, 0), len);
	assert_int_equal(a->n_sleeps, 2);
	assert_true(STAILQ_EMPTY(&a->channel->out));
	a->on_sleep = NULL;
	a->sock->nonblock = true;
}

/* Time is over: the rest is kept, for the message was accepted; or there is no memory for it. */
static void test_rest_is_kept(void **state)
{
	for (unsigned n = 0; n < 2; n++) {
		uint32_t len;
		struct pair_side *a = with_rest(state, 0, &len);

		failing_malloc_set(n);
		if (n) {
			errno = 0;
			assert_int_equal(msg_send(a->sock, bytes, len, MSG_DONTWAIT), -1);
			assert_int_equal(errno, ENOMEM);
			assert_string_equal(msg_reason(),
				"out of memory in the middle of a message: the channel is lost");
		} else {
			assert_int_equal(msg_send(a->sock, bytes, len, MSG_DONTWAIT), len);
			assert_in_range(STAILQ_FIRST(&a->channel->out)->done, 1, len - 1);
			assert_int_equal(msg_send(a->sock, bytes, 1, MSG_DONTWAIT), -1);
			assert_string_equal(msg_reason(), "no room at the receiver");
		}
		assert_int_equal(failing_malloc_end(), n != 0);
		a->sock->nonblock = true;
		must(pair_teardown(state) == 0 && pair_setup(state) == 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_longest, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_shut_down, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_closed_meanwhile, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_ended_meanwhile, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_refused_beside_room, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_looks_for_credit, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_shows_what_fills_the_ring, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_rest_waits_for_room, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_rest_waits_for_credit, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_rest_is_kept, pair_setup, pair_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
