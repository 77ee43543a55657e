/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Room that comes at the worst moment: after a call has found none, and before it has asked to be
 * told. The peer sees nobody who waits and sends no event, so the call itself must look again.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/time.h>

#include "tests/support/cmocka-all.h"
#include "tests/support/link-pair.h"
#include "tests/support/must.h"

#define A 0
#define B 1

static struct pair *pair;
static struct transport_ops ops;
static bool late;
static char bytes[65536];

/* The peer takes in all that is there and gives the whole ring back. */
static void empty_ring(void)
{
	struct transport *transport = pair->sides[B].link->transport;

	do {
		while (msg_recv(pair->sides[B].sock, bytes, sizeof(bytes), 0) > 0)
			;
		assert_int_equal(errno, EAGAIN);
	} while (transport->ops->pending(transport));
}

static void late_arm_room(struct transport *transport)
{
	if (late) {
		late = false;
		empty_ring();
	}
	transport_grant.arm_room(transport);
}

static int setup(void **state)
{
	struct pair_side *a, *b;

	*state = pair = pair_new(4);
	a = &pair->sides[A];
	b = &pair->sides[B];
	pair_events(pair);
	pair_take(b);
	pair_take(a);
	a->channel->tx_credit += 1U << 20;
	b->channel->rx_window += 1U << 20;
	b->channel->rx_limit += 1U << 20;
	b->channel->rx_free = 1U << 20; /* for fill_ring */
	b->ctx->pool.promised += 1U << 20;
	b->channel->account->promised += 1U << 20;
	ops = transport_grant;
	ops.arm_room = late_arm_room;
	a->link->transport->ops = &ops;
	a->ctx->driver.spin_us = 0;
	return 0;
}

static int teardown(void **state)
{
	pair->sides[A].link->transport->ops = &transport_grant;
	pair_free(pair);
	return 0;
}

static void fill_ring(void)
{
	while (transport_put_bare(pair->sides[A].link->transport, PAIR_CHANNEL, FRAME_LIMIT, 1) ==
		0)
		;
	assert_int_equal(transport_push(pair->sides[A].link->transport), 0);
}

/* The rest of an accepted message goes on by itself, or an event for it is asked for. */
static void test_rest_of_a_message(void **state)
{
	struct pair_side *a = &pair->sides[A];
	struct transport *t = a->link->transport;
	uint32_t fragment = a->link->channels.fragment_min;

	late = true;
	assert_int_equal(msg_send(a->sock, bytes, 60000, 0), 60000);
	assert_false(late);
	for (int i = 0; i < 10 && !STAILQ_EMPTY(&a->channel->out); i++) {
		assert_true(t->ops->room(t, fragment) < (int64_t)fragment);
		assert_int_equal(atomic_load(&pair->page->end[A].want_space), 1);
		empty_ring();
		assert_int_equal(msg_ctx_dispatch(a->ctx, &(struct msg_event){0}, 1) < 0, 0);
	}
	assert_true(STAILQ_EMPTY(&a->channel->out));
}

/* The same for each message that a flush leaves in the queue. */
static void test_flush(void **state)
{
	struct pair_side *a = &pair->sides[A];

	fill_ring();
	channel_set_maxmsg(a->channel, 100000); /* a LIMIT frame that finds no room */
	late = true;
	driver_lock(&a->ctx->driver);
	driver_unlock(&a->ctx->driver);
	assert_false(late);
	assert_false(a->channel->limit_due || a->channel->blocked);
}

/* EAGAIN promises POLLOUT to an event loop. */
static void test_refused_send(void **state)
{
	struct pair_side *a = &pair->sides[A];
	struct msg_event event;

	while (msg_ctx_dispatch(a->ctx, &event, 1) > 0)
		;
	fill_ring();
	late = true;
	if (msg_send(a->sock, bytes, 64, 0) < 0) {
		assert_int_equal(errno, EAGAIN);
		assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 1);
		assert_int_equal(event.revents, POLLOUT);
		assert_int_equal(msg_send(a->sock, bytes, 64, 0), 64);
	}
	assert_false(late);
}

/* A poll does not sleep over it. */
static void test_poll(void **state)
{
	struct pair_side *a = &pair->sides[A];
	struct msg_pollfd fds[] = {{.sock = a->sock, .events = POLLOUT}};

	fill_ring();
	late = true;
	assert_int_equal(msg_poll(fds, 1, 60000), 1);
	assert_int_equal(fds[0].revents, POLLOUT);
	assert_int_equal(a->n_sleeps, 0);
	assert_false(late);
}

/* A channel of one more link, which is not up. */
static struct msg_sock *other_link(uint32_t end)
{
	struct msg_ctx *ctx = pair->sides[A].ctx;
	struct transport *transport = transport_new(&transport_grant, ctx->hv, 7, 1, 4096);
	struct msg_sock *sock = sock_new(&ctx->socks, SOCK_CHANNEL, SOCK_OPEN, CHANNEL_SEQPACKET);
	struct link *link;

	transport->event = end;
	link = link_new(&ctx->links, transport, end, 0, 0, LINK_MAKING);
	sock_set_channel(sock, channel_new(&link->channels, 1, CHANNEL_SEQPACKET, true));
	return sock;
}

/* Room that others take first wakes it; more comes when it asks for it anew. */
static void wake_for_nothing(struct pair_side *side)
{
	assert_int_equal(side->n_sleeps, 1);
	channel_unqueue(side->channel); /* as channel_set_room */
	channel_changed(side->channel);
	late = true;
	pair_raise(side, PAIR_PORT_LINK);
}

static void test_poll_again(void **state)
{
	struct pair_side *a = &pair->sides[A];
	struct msg_pollfd fds[] = {
		{.sock = other_link(100), .events = POLLIN}, {.sock = a->sock, .events = POLLOUT}};

	fill_ring();
	a->n_sleeps = 0;
	a->on_sleep = wake_for_nothing;
	assert_int_equal(msg_poll(fds, 2, 60000), 1);
	assert_int_equal(fds[1].revents, POLLOUT);
	assert_int_equal(a->n_sleeps, 1);
	assert_false(late);
	a->on_sleep = NULL;
}

/* However many links a poll is about, it asks each for the events that it needs. */
static void test_poll_of_several_links(void **state)
{
	struct pair_side *a = &pair->sides[A];
	struct msg_pollfd fds[] = {{.sock = other_link(100), .events = POLLIN},
		{.sock = other_link(101), .events = POLLIN}, {.sock = a->sock, .events = POLLOUT}};

	fill_ring();
	atomic_store(&pair->page->end[A].want_space, 0);
	assert_int_equal(msg_poll(fds, 3, 1), 0);
	assert_int_equal(atomic_load(&pair->page->end[A].want_space), 1);
}

/* A blocking send does not sleep over it. */
static void test_blocking_send(void **state)
{
	struct pair_side *a = &pair->sides[A];

	fill_ring();
	a->sock->nonblock = false;
	late = true;
	assert_int_equal(msg_send(a->sock, bytes, 64, 0), 64);
	assert_int_equal(a->n_sleeps, 0);
	assert_false(late);
}

static bool held;

/* Frames are kept back, as over Argo behind frames that MSG_MORE kept back. */
static int keeping_put(struct transport *transport, struct frame *frame, uint32_t len,
	struct iov_cursor *cursor, bool more)
{
	int r = transport_grant.put(transport, frame, len, cursor, true);

	return r < 0 ? r : 1;
}

/* The message's last frames find room only once the sender has slept for it. */
static int held_push(struct transport *transport)
{
	if (held && !pair->sides[A].channel->tx_partial)
		return -EAGAIN;
	return transport_grant.push(transport);
}

static int64_t held_room(struct transport *transport, uint32_t want)
{
	if (held && !pair->sides[A].channel->tx_partial)
		return 0;
	return transport_grant.room(transport, want);
}

static void on_sleep(struct pair_side *side)
{
	held = held && side->channel->tx_partial;
	empty_ring();
	pair_raise(side, PAIR_PORT_LINK);
}

/* A blocking send that had to wait in the middle of its message waits for its last frames, too. */
static void test_blocking_send_is_pushed(void **state)
{
	struct pair_side *a = &pair->sides[A];

	ops.put = keeping_put;
	ops.push = held_push;
	ops.room = held_room;
	held = true;
	a->sock->nonblock = false;
	a->on_sleep = on_sleep;
	assert_int_equal(msg_send(a->sock, bytes, 60000, 0), 60000);
	assert_false(held);
	assert_false(a->link->transport->unpushed);
}

/* ---- the turn of one that does not come -------------------------------------------------- */

#define OTHER 9U /* a second channel of the link */

static struct msg_sock *other_channel(void)
{
	struct msg_sock *other = pair_channel(&pair->sides[A], OTHER, true);
	struct msg_sock *far = pair_channel(&pair->sides[B], OTHER, false);

	other->channel->tx_credit += 1U << 20;
	far->channel->rx_window += 1U << 20;
	far->channel->rx_limit += 1U << 20;
	pair->sides[B].ctx->pool.promised += 1U << 20;
	far->channel->account->promised += 1U << 20;
	return other;
}

static void no_action(int signal)
{
}

/* A sleeping sender that a signal ends leaves its place: nobody waits for it. */
static void test_interrupted_sender(void **state)
{
	const struct itimerval often = {{0, 10000}, {0, 10000}}, never = {{0, 0}, {0, 0}};
	const struct sigaction action = {.sa_handler = no_action};
	struct pair_side *a = &pair->sides[A];
	struct msg_sock *other = other_channel();

	fill_ring();
	a->sock->nonblock = false;
	assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	assert_int_equal(msg_send(a->sock, bytes, 2000, 0), -1);
	assert_int_equal(errno, EINTR);
	assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
	for (int i = 0; i < 100; i++) {
		empty_ring();
		assert_int_equal(msg_send(other, bytes, 2000, MSG_DONTWAIT), 2000);
	}
}

/* Both are told of room, and the first has nothing to send any more. */
static void tell_two(struct pair_side *a, struct msg_sock *other)
{
	struct msg_event events[4];

	while (msg_ctx_dispatch(a->ctx, events, 4) > 0)
		;
	fill_ring();
	assert_int_equal(msg_send(a->sock, bytes, 2000, MSG_DONTWAIT), -1);
	assert_int_equal(msg_send(other, bytes, 2000, MSG_DONTWAIT), -1);
	empty_ring();
	assert_int_equal(msg_ctx_dispatch(a->ctx, events, 4), 2);
	assert_ptr_equal(TAILQ_FIRST(&a->link->channels.waiting), a->channel);
}

static void must_be_woken(struct pair_side *side)
{
	empty_ring();
	if (!atomic_load(&side->pending))
		fail_msg("it sleeps, and nothing will wake it");
}

/* A thread that sends, or polls, does not sleep for ever: it gets its turn. */
static void test_told_and_a_thread(void **state)
{
	struct pair_side *a = &pair->sides[A];
	struct msg_sock *other = other_channel();
	struct msg_pollfd fd = {.sock = other, .events = POLLOUT};

	a->on_sleep = must_be_woken;
	tell_two(a, other);
	other->nonblock = false;
	for (int i = 0; i < 200; i++) {
		assert_int_equal(msg_send(other, bytes, 2000, 0), 2000);
		empty_ring();
	}
	tell_two(a, other);
	while (msg_send(other, bytes, 2000, MSG_DONTWAIT) > 0)
		empty_ring();
	assert_int_equal(msg_poll(&fd, 1, -1), 1);
	a->on_sleep = NULL;
}

/* A thread that waits to send a message does not take the place of the rest of the one before. */
static void test_rest_keeps_its_place(void **state)
{
	struct pair_side *a = &pair->sides[A];
	struct channel *channel = a->channel;

	assert_int_equal(msg_send(a->sock, bytes, 60000, MSG_DONTWAIT), 60000);
	assert_false(STAILQ_EMPTY(&channel->out));
	assert_true(channel->waiting);
	a->sock->nonblock = false;
	must(msg_setopt(a->sock, LIBMSG_SNDTIMEO, 1) == 0);
	assert_int_equal(msg_send(a->sock, bytes, 100, 0), -1);
	assert_int_equal(errno, EAGAIN);
	assert_true(channel->waiting);
}

/* POLLOUT is not owed by a send that was refused at first, and then found room. */
static void test_nothing_is_owed(void **state)
{
	struct pair_side *a = &pair->sides[A];

	fill_ring();
	late = true;
	assert_int_equal(msg_send(a->sock, bytes, 64, MSG_DONTWAIT), 64);
	assert_false(late);
	assert_false(a->sock->out_edge);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rest_of_a_message, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flush, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused_send, setup, teardown),
		cmocka_unit_test_setup_teardown(test_poll, setup, teardown),
		cmocka_unit_test_setup_teardown(test_poll_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_poll_of_several_links, setup, teardown),
		cmocka_unit_test_setup_teardown(test_blocking_send, setup, teardown),
		cmocka_unit_test_setup_teardown(test_blocking_send_is_pushed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_interrupted_sender, setup, teardown),
		cmocka_unit_test_setup_teardown(test_told_and_a_thread, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rest_keeps_its_place, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_is_owed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
