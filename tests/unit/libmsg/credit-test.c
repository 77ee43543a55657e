/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Channels: how much credit is due to the other end and when, messages that are under way, and each
 * way in which a channel ends.
 */
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/support/aborts.h"
#include "tests/support/cmocka-all.h"
#include "tests/support/failing-malloc.h"
#include "tests/support/link-pair.h"

#define A 0 /* connected */
#define B 1 /* the listener's end */

/* A channel alone, as it is charged. */
#define OBJECT (sizeof(struct channel) + MALLOC_COST)

/* Frames that B sends by hand. */
static void inject_data(void **state, uint8_t flags, uint32_t len, uint32_t arg)
{
	pair_inject_frame(*state, B,
		&(struct frame){.channel = PAIR_CHANNEL,
			.type = FRAME_DATA,
			.flags = flags,
			.len = len,
			.arg = arg});
}

static void inject_bare(void **state, uint8_t type, uint32_t arg)
{
	pair_inject_frame(
		*state, B, &(struct frame){.channel = PAIR_CHANNEL, .type = type, .arg = arg});
}

/* An empty message that waits to be sent. */
static void queue_empty(struct channel *channel)
{
	struct msg_buf *buf = calloc(1, sizeof(*buf));

	assert_non_null(buf);
	STAILQ_INSERT_TAIL(&channel->out, buf, entry);
}

/* The next frame that A sent. Its type, or 0. */
static uint8_t next_frame(void **state, struct frame *ret_frame)
{
	struct transport *in = pair_side_of(state, B)->link->transport;

	if (in->ops->peek(in) <= 0)
		return 0;
	*ret_frame = in->frame;
	in->ops->next(in);
	return ret_frame->type;
}

/* ---- credit ----------------------------------------------------------------------------- */

static void test_first_credit(void **state)
{
	struct pair *pair = pair_new(4);
	struct channel *a = pair->sides[A].channel, *b = pair->sides[B].channel;

	/* The end that connected doubles what both know, at once; the other end says nothing. */
	assert_int_equal(a->rx_limit, 2 * CREDIT_INITIAL);
	assert_int_equal(a->rx_window, 2 * CREDIT_INITIAL);
	assert_int_equal(b->rx_window, CREDIT_INITIAL);
	assert_false(b->tx_open || b->credit_due || b->due);
	assert_int_equal(b->tx_credit, CREDIT_INITIAL);
	/* The listener's end keeps silent until it has heard of the other end. */
	channel_set_maxmsg(b, 5000);
	driver_pass(&pair->sides[B].ctx->driver);
	assert_int_equal(
		pair->sides[A].link->transport->ops->peek(pair->sides[A].link->transport), 0);
	pair_take(&pair->sides[B]);
	pair_take(&pair->sides[A]);
	assert_int_equal(a->tx_maxmsg, 5000);
	assert_int_equal(b->tx_credit, 2 * CREDIT_INITIAL);
	assert_true(b->tx_open);
	assert_int_equal(pair->sides[A].ctx->pool.promised, 2 * CREDIT_INITIAL);
	pair_free(pair);
}

/* A quarter of the window at least is worth a frame; unread bytes count as used. */
static void test_credit_by_window(void **state)
{
	struct channel *c = pair_side_of(state, A)->channel;

	c->rx_limit = 4000;
	c->rx_window = 3001;
	assert_int_equal(channel_credit(c), 0);
	c->rx_window = 3000;
	assert_int_equal(channel_credit(c), 1000);
	c->rx_held = 1;
	assert_int_equal(channel_credit(c), 0);
	c->rx_window = 1000;
	c->rx_held = 500;
	assert_int_equal(channel_credit(c), 2500);
	c->rx_held = 3000;
	assert_int_equal(channel_credit(c), 0);
	c->rx_held = 5000; /* the limit may be passed by a message under way */
	assert_int_equal(channel_credit(c), 0);
	c->rx_held = 0;
	c->rx_shut = true;
	assert_int_equal(channel_credit(c), 0);
	c->rx_shut = false;
	c->rx_closed = true;
	assert_int_equal(channel_credit(c), 0);
	c->rx_limit = 2 * CREDIT_INITIAL;
}

/* The rest of a message can come, whatever the window says. */
static void test_credit_by_message(void **state)
{
	struct channel *c = pair_side_of(state, A)->channel;

	c->rx_limit = 4000;
	c->rx_window = 100;
	c->rx_held = 4000;
	assert_int_equal(channel_credit(c), 0);
	c->direct = true;
	c->direct_len = 10000;
	c->direct_done = 9000;
	/* 1000 bytes in two frames at most, besides what it has; and one frame more. */
	assert_int_equal(channel_credit(c), 1000 + 2 * FRAME_CHARGE + FRAME_CHARGE - 100);
	c->rx_window = 1000 + FRAME_CHARGE; /* enough for a fragment that is all of the rest */
	assert_int_equal(channel_credit(c), 0);
	c->rx_window--;
	assert_int_not_equal(channel_credit(c), 0);
	c->direct_done = 0;
	c->direct_len = 64U << 20;
	c->rx_window = 0;
	assert_int_equal(channel_credit(c), 256 * 1024 + FRAME_CHARGE);
	c->direct = false;
	c->partial = calloc(1, sizeof(*c->partial));
	c->partial->len = 1000;
	c->partial->done = 990;
	assert_int_equal(channel_credit(c), 10 + 2 * FRAME_CHARGE + FRAME_CHARGE);
	free(c->partial);
	c->partial = NULL;
	c->rx_limit = 2 * CREDIT_INITIAL;
}

/* The window doubles where it is read, up to RCVBUF, and while the application can promise it. */
static void test_growth(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct channel *c = a->channel;
	struct pool *pool = &a->ctx->pool;
	struct account *account = c->account;

	c->rx_window = 0;
	channel_give_back(c, 100);
	assert_int_equal(c->rx_limit, 4 * CREDIT_INITIAL);
	assert_int_equal(pool->promised, 4 * CREDIT_INITIAL);
	assert_true(c->credit_due && c->due);
	channel_give_back(c, 50000); /* two of such messages */
	assert_int_equal(c->rx_limit, 100000);
	c->rx_max = 150000;
	channel_give_back(c, 100);
	assert_int_equal(c->rx_limit, 150000);
	channel_give_back(c, 100);
	assert_int_equal(c->rx_limit, 150000);
	assert_int_equal(pool->promised, 150000);
	c->rx_max = 1U << 20;
	account->promised = pool->promised = CHANNEL_BUDGET / 2 - 149999;
	channel_give_back(c, 100);
	assert_int_equal(c->rx_limit, 150000);
	account->promised = pool->promised = CHANNEL_BUDGET / 2 - 150000;
	channel_give_back(c, 100);
	assert_int_equal(c->rx_limit, 300000);
	assert_int_equal(account->promised, CHANNEL_BUDGET / 2);
	assert_int_equal(pool->promised, CHANNEL_BUDGET / 2);
	account->promised = pool->promised = 300000;
	/* The window of a reader that falls behind does not grow. */
	c->rx_window = 300000;
	channel_give_back(c, 100);
	assert_int_equal(c->rx_limit, 300000);
}

static void test_give(void **state)
{
	struct channel *c = pair_side_of(state, A)->channel;

	channel_give(c); /* nothing is due */
	assert_false(c->credit_due);
	c->rx_window = 0;
	c->tx_closed = true;
	channel_give(c); /* no frame may follow CLOSE */
	assert_false(c->credit_due);
	c->tx_closed = false;
	c->tx_open = false;
	channel_give(c); /* this end may not send yet: the other end may sleep for credit by then */
	assert_true(c->credit_due && c->credit_late && c->due);
	c->credit_due = c->credit_late = false;
	c->tx_open = true;
	channel_give(c);
	assert_true(c->credit_due);
	assert_false(c->credit_late);
}

/* Credit goes out at once; the other end is woken for it only if it has little left. */
static void test_credit_frames(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct channel *c = a->channel;
	struct frame frame;
	unsigned before = a->n_events;

	doorbell_arm(&a->pair->page->end[B].sleeping);
	c->rx_window = FRAGMENT_MIN + FRAME_CHARGE;
	channel_give(c);
	driver_pass(&a->ctx->driver);
	assert_int_equal(next_frame(state, &frame), FRAME_CREDIT);
	assert_int_equal(frame.arg, 2 * CREDIT_INITIAL - FRAGMENT_MIN - FRAME_CHARGE);
	assert_int_equal(c->rx_window, 2 * CREDIT_INITIAL);
	assert_int_equal(c->rx_quiet, frame.arg); /* it may not know */
	assert_int_equal(a->n_events, before);
	assert_false(c->credit_due);
	/* The other end has used up the credit that it knew of: now it is woken. */
	inject_data(state, FRAME_FIRST | FRAME_LAST, 0, 0);
	pair_take(a);
	assert_int_equal(c->rx_quiet, 0);
	assert_int_equal(a->n_events, before + 1);
	/* Less than a fragment is left: the other end may sleep for credit, and is woken. */
	doorbell_arm(&a->pair->page->end[B].sleeping);
	c->rx_window = FRAGMENT_MIN + FRAME_CHARGE - 1;
	channel_give(c);
	driver_pass(&a->ctx->driver);
	assert_int_equal(next_frame(state, &frame), FRAME_CREDIT);
	assert_int_equal(c->rx_quiet, 0);
	assert_int_equal(a->n_events, before + 2);
}

/* Credit for which there was no room is late: the other end may have fallen asleep for it. */
static void test_late_credit(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct channel *c = a->channel;
	struct transport *in = pair_side_of(state, B)->link->transport;
	struct frame frame;
	unsigned before;

	while (transport_put_bare(a->link->transport, PAIR_CHANNEL, FRAME_LIMIT, 5000) == 0)
		;
	c->rx_window = FRAGMENT_MIN + FRAME_CHARGE;
	channel_give(c);
	driver_pass(&a->ctx->driver);
	assert_true(c->credit_due && c->credit_late && c->blocked);
	assert_false(c->due);
	while (next_frame(state, &frame))
		;
	in->ops->release(in);
	before = a->n_events;
	doorbell_arm(&a->pair->page->end[B].sleeping);
	link_room(a->link);
	assert_false(c->credit_due || c->credit_late || c->blocked);
	assert_int_equal(next_frame(state, &frame), FRAME_CREDIT);
	assert_int_equal(a->n_events, before + 1);
	assert_int_equal(c->rx_quiet, 0);
}

/* The credit that a message costs is given back when the message is read, and not before. */
static void test_cost(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct channel *c = a->channel;
	uint64_t before = c->held;
	char bytes[64];

	assert_int_equal(a->ctx->pool.held, before); /* nothing but this channel */
	inject_data(state, FRAME_FIRST, 16, 40);
	inject_data(state, FRAME_LAST, 24, 0);
	pair_take(a);
	assert_int_equal(c->rx_window, 2 * CREDIT_INITIAL - 40 - 2 * FRAME_CHARGE);
	assert_int_equal(c->rx_held, 40 + 2 * FRAME_CHARGE);
	assert_int_equal(c->held, before + msg_buf_charge(40));
	assert_int_equal(a->ctx->pool.held, before + msg_buf_charge(40));
	assert_int_equal(msg_recv(a->sock, bytes, sizeof(bytes), MSG_PEEK), 40);
	assert_int_equal(c->rx_held, 40 + 2 * FRAME_CHARGE);
	assert_int_equal(msg_recv(a->sock, bytes, sizeof(bytes), 0), 40);
	assert_int_equal(c->rx_held, 0);
	assert_int_equal(c->held, before);
	assert_int_equal(a->ctx->pool.held, before);
}

/* The other end's limits, as its frames say them. */
static void test_frames_of_the_other_end(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct channel *c = a->channel;
	uint32_t credit = c->tx_credit;

	inject_bare(state, FRAME_CREDIT, 77);
	inject_bare(state, FRAME_LIMIT, 1234);
	pair_take(a);
	assert_int_equal(c->tx_credit, credit + 77);
	assert_int_equal(c->tx_maxmsg, 1234);
	assert_int_equal(c->state, CHANNEL_OPEN);
}

/* The highest limit that was told holds for messages that were sent before a lower one came. */
static void test_lower_limit(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct channel *c = a->channel;
	struct frame frame;
	char bytes[300];

	channel_set_maxmsg(c, 100);
	driver_pass(&a->ctx->driver);
	assert_int_equal(next_frame(state, &frame), FRAME_LIMIT);
	assert_int_equal(frame.arg, 100);
	assert_int_equal(c->maxmsg_told, MESSAGE_MAX_DEFAULT);
	inject_data(state, FRAME_FIRST | FRAME_LAST, 300, 300);
	assert_int_equal(msg_recv(a->sock, bytes, sizeof(bytes), 0), 300);
	channel_set_maxmsg(c, 2 * MESSAGE_MAX_DEFAULT);
	driver_pass(&a->ctx->driver);
	assert_int_equal(c->maxmsg_told, 2 * MESSAGE_MAX_DEFAULT);
}

/* ---- sending ---------------------------------------------------------------------------- */

static void test_can_send(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct channel *c = a->channel;
	uint32_t want;

	c->tx_credit = 10 + FRAME_CHARGE;
	assert_true(channel_can_send(c, 10, &want));
	c->tx_credit--;
	assert_false(channel_can_send(c, 10, &want));
	assert_int_equal(want, 0);		    /* credit lacks, of which a frame tells */
	c->tx_credit = FRAGMENT_MIN + FRAME_CHARGE; /* of a long one a fragment may go */
	assert_int_equal(c->set->fragment_min, 4 * 4096 / 4 - 2 * FRAME_HEADER_SIZE);
	assert_true(channel_can_send(c, 1U << 20, &want));
	c->tx_credit = c->set->fragment_min + FRAME_CHARGE - 1;
	assert_false(channel_can_send(c, 1U << 20, &want));
	c->tx_credit = 1U << 20;
	while (transport_put_bare(a->link->transport, PAIR_CHANNEL, FRAME_LIMIT, 5000) == 0)
		;
	assert_false(channel_can_send(c, 10, &want));
	assert_int_equal(want, 10);
	assert_false(channel_can_send(c, 0, &want));
	assert_int_equal(want, 1);
}

/* A message of which a sender has sent a part lets no other one in between, and no SHUTDOWN. */
static void test_inside_a_message(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct channel *c = a->channel;
	struct frame frame;
	uint32_t want;

	assert_true(channel_may_send(c));
	c->tx_partial = true;
	assert_false(channel_may_send(c));
	assert_false(channel_can_send(c, 1, &want));
	assert_int_equal(want, 0);
	assert_int_equal(msg_send(a->sock, "x", 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
	/* Credit and limits may go between its frames. */
	c->rx_window = 0;
	channel_give(c);
	channel_set_maxmsg(c, 5000);
	c->tx_shut = true;
	driver_pass(&a->ctx->driver);
	assert_int_equal(next_frame(state, &frame), FRAME_CREDIT);
	assert_int_equal(next_frame(state, &frame), FRAME_LIMIT);
	assert_int_equal(next_frame(state, &frame), 0);
	assert_false(c->tx_shut_sent);
	c->tx_partial = false;
	c->tx_inside = true; /* the rest waits in the queue, say */
	channel_mark_due(c);
	driver_pass(&a->ctx->driver);
	assert_int_equal(next_frame(state, &frame), 0);
	c->tx_inside = false;
	channel_mark_due(c);
	driver_pass(&a->ctx->driver);
	assert_int_equal(next_frame(state, &frame), FRAME_SHUTDOWN);
	assert_true(c->tx_shut_sent);
	channel_mark_due(c);
	driver_pass(&a->ctx->driver);
	assert_int_equal(next_frame(state, &frame), 0); /* once */
}

/* Fragments: the first says the length, the last that it is the last, none is too small. */
static void test_fragments(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	static uint8_t bytes[10000];
	struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};
	struct channel *c = a->channel;
	struct iov_cursor cursor;
	struct frame frame;
	uint32_t done = 0;

	cursor_init(&cursor, &iov, 1);
	c->tx_credit = 5000 + FRAME_CHARGE;
	assert_int_equal(channel_send(c, &cursor, sizeof(bytes), &done, false), -EAGAIN);
	assert_int_equal(done, 5000);
	assert_int_equal(c->tx_credit, 0);
	assert_true(c->tx_inside);
	c->tx_credit = 1000 + FRAME_CHARGE; /* less than is worth a frame */
	assert_int_equal(channel_send(c, &cursor, sizeof(bytes), &done, false), -EAGAIN);
	assert_int_equal(done, 5000);
	c->tx_credit = 1U << 20;
	assert_int_equal(channel_send(c, &cursor, sizeof(bytes), &done, false), 0);
	assert_int_equal(done, sizeof(bytes));
	assert_false(c->tx_inside);
	assert_int_equal(c->tx_credit, (1U << 20) - 5000 - FRAME_CHARGE);
	assert_int_equal(next_frame(state, &frame), FRAME_DATA);
	assert_int_equal(frame.flags, FRAME_FIRST);
	assert_int_equal(frame.arg, sizeof(bytes));
	assert_int_equal(next_frame(state, &frame), FRAME_DATA);
	assert_int_equal(frame.flags, FRAME_LAST);
	assert_int_equal(frame.len, 5000);
	assert_int_equal(frame.arg, 0);
}

/* ---- the end ---------------------------------------------------------------------------- */

static void close_again(void *channel)
{
	channel_close(channel, CLOSE_NORMAL);
}

static void finish_too_early(void *channel)
{
	channel_finish(channel);
}

static void reset_finished(void *channel)
{
	((struct channel *)channel)->state = CHANNEL_OPEN;
	channel_finish(channel);
}

static void test_illegal_moves(void **state)
{
	struct pair_side *a = pair_side_of(state, A);

	assert_true(aborts(finish_too_early, a->channel));
	assert_true(aborts(reset_finished, a->channel));
	sock_close_channel(a->sock, CLOSE_NORMAL);
	assert_true(aborts(close_again, a->channel));
	inject_bare(state, FRAME_CLOSE, CLOSE_NORMAL);
	link_flush(a->link);
	a->link->turn = LINK_TURN;
	assert_int_equal(link_receive(a->link, NULL), LINK_EMPTY);
	assert_int_equal(a->channel->state, CHANNEL_FINISHED);
	assert_true(aborts(close_again, a->channel));
	assert_true(aborts(finish_too_early, a->channel));
	driver_pass(&a->ctx->driver);
}

/* This end closes first; the other one answers. */
static void test_close_first(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct frame frame;

	a->channel->tx_credit = FRAME_CHARGE; /* the queued message goes before CLOSE */
	queue_empty(a->channel);
	sock_close_channel(a->sock, CLOSE_NORMAL);
	assert_int_equal(a->channel->state, CHANNEL_CLOSING);
	driver_pass(&a->ctx->driver);
	assert_int_equal(next_frame(state, &frame), FRAME_DATA);
	assert_int_equal(next_frame(state, &frame), FRAME_CLOSE);
	assert_int_equal(frame.arg, CLOSE_NORMAL);
	/* Frames that the other end sent before it read CLOSE are dropped: no violation. */
	inject_data(state, FRAME_FIRST, 16, 40);
	inject_bare(state, FRAME_CREDIT, 1);
	inject_bare(state, FRAME_LIMIT, 1);
	inject_bare(state, FRAME_SHUTDOWN, 0);
	pair_take(a);
	assert_int_equal(a->ctx->pool.held, OBJECT);
	inject_bare(state, FRAME_CLOSE, CLOSE_NORMAL);
	pair_take(a);
	assert_null(channel_find(&a->link->channels, PAIR_CHANNEL));
	assert_int_equal(a->link->state, LINK_UP);
	assert_int_equal(a->ctx->pool.promised, 0);
}

/* The other end has closed before. */
static void test_close_second(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct control_message message;
	struct frame frame;
	char byte;

	inject_data(state, FRAME_FIRST | FRAME_LAST, 1, 1);
	pair_take(a);
	assert_int_equal(sock_close_reason(a->sock), CLOSE_RESET);
	inject_bare(state, FRAME_CLOSE, CLOSE_NORMAL);
	pair_take(a);
	/* It is answered at once, whatever the application does with the unread message. */
	assert_int_equal(next_frame(state, &frame), FRAME_CLOSE);
	assert_int_equal(frame.arg, CLOSE_NORMAL);
	assert_null(channel_find(&a->link->channels, PAIR_CHANNEL));
	assert_int_equal(a->channel->state, CHANNEL_DEAD);
	assert_true(pair_control(a, &message));
	assert_int_equal(message.type, CONTROL_CHANNEL_CLOSED);
	assert_int_equal(message.channel_closed.channel, PAIR_CHANNEL);
	assert_int_equal(sock_close_reason(a->sock), CLOSE_NORMAL);
	assert_int_equal(
		channel_events(a->channel, POLLOUT), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
	assert_int_equal(msg_send(a->sock, "x", 1, 0), -1);
	assert_int_equal(errno, EPIPE);
	assert_int_equal(msg_recv(a->sock, &byte, 1, 0), 1);
	assert_int_equal(msg_recv(a->sock, &byte, 1, 0), 0);
	assert_int_equal(msg_close(a->sock), 0);
	a->sock = NULL;
	assert_false(pair_control(a, &message)); /* msgd knows */
	assert_int_equal(a->ctx->pool.held, 0);
}

/* Both at once: each CLOSE is sent before the other one is read. */
static void test_close_at_once(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct frame frame;

	inject_bare(state, FRAME_CLOSE, CLOSE_NORMAL);
	sock_close_channel(a->sock, CLOSE_NORMAL);
	pair_take(a);
	assert_int_equal(next_frame(state, &frame), FRAME_CLOSE);
	assert_int_equal(next_frame(state, &frame), 0);
	assert_null(channel_find(&a->link->channels, PAIR_CHANNEL));
}

/* RESET is an error to the end that reads it. */
static void test_reset(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct frame frame;
	char byte;

	inject_bare(state, FRAME_CLOSE, CLOSE_RESET);
	assert_int_equal(msg_recv(a->sock, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	assert_string_equal(
		msg_reason(), "the peer reset the channel, or closed it without reading all");
	assert_int_equal(next_frame(state, &frame), FRAME_CLOSE);
	assert_int_equal(frame.arg, CLOSE_NORMAL);
	assert_null(channel_find(&a->link->channels, PAIR_CHANNEL));
}

/* This end's RESET throws queued messages away. */
static void test_reset_first(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct frame frame;

	queue_empty(a->channel);
	sock_close_channel(a->sock, CLOSE_RESET);
	driver_pass(&a->ctx->driver);
	assert_int_equal(next_frame(state, &frame), FRAME_CLOSE);
	assert_int_equal(frame.arg, CLOSE_RESET);
	inject_bare(state, FRAME_CLOSE, CLOSE_NORMAL);
	pair_take(a);
	assert_null(channel_find(&a->link->channels, PAIR_CHANNEL));
}

/* The application's own RESET: nothing is waited for, and what was not sent is thrown away. */
static void test_reset_wanted(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct frame frame;

	assert_int_equal(msg_setopt(a->sock, LIBMSG_NONBLOCK_OPT, 0), 0);
	assert_int_equal(msg_setopt(a->sock, LIBMSG_LINGER, -1), 0);
	assert_int_equal(msg_setopt(a->sock, LIBMSG_RESET, 1), 0);
	a->channel->tx_credit = 0;
	queue_empty(a->channel);
	assert_int_equal(msg_close(a->sock), 0);
	a->sock = NULL;
	assert_int_equal(next_frame(state, &frame), FRAME_CLOSE);
	assert_int_equal(frame.arg, CLOSE_RESET);
}

/* Data that came before is read; then the error is in the place of the end. */
static void test_reset_after_shutdown(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	char byte;

	inject_data(state, FRAME_FIRST | FRAME_LAST, 1, 1);
	inject_bare(state, FRAME_SHUTDOWN, 0);
	inject_bare(state, FRAME_CLOSE, CLOSE_RESET);
	pair_take(a);
	assert_int_equal(msg_recv(a->sock, &byte, 1, 0), 1);
	assert_int_equal(msg_recv(a->sock, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
}

/* The end of its link adds nothing to a channel that the other end has closed. */
static void test_dead_after_its_end(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	char byte;

	inject_bare(state, FRAME_CLOSE, CLOSE_NORMAL);
	pair_take(a);
	pair_end(a, LINK_PEER_GONE, "test");
	assert_int_equal(a->channel->state, CHANNEL_DEAD);
	assert_int_equal(msg_recv(a->sock, &byte, 1, 0), 0);
	assert_false(channel_events(a->channel, 0) & POLLERR);
}

/* A channel of a dead link belongs to its socket, and goes with it. */
static void test_close_when_dead(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	char byte;

	inject_data(state, FRAME_FIRST | FRAME_LAST, 1, 1);
	inject_data(state, FRAME_FIRST, 16, 40);
	pair_end(a, LINK_PEER_GONE, "test");
	assert_int_equal(a->channel->state, CHANNEL_DEAD);
	assert_null(a->channel->set);
	assert_null(a->channel->partial);
	assert_int_equal(a->ctx->pool.held, OBJECT + msg_buf_charge(1)); /* it counts still */
	assert_int_equal(msg_recv(a->sock, &byte, 1, 0), 1);
	assert_int_equal(a->ctx->pool.held, OBJECT);
	assert_int_equal(msg_close(a->sock), 0);
	assert_int_equal(a->ctx->pool.held, 0);
	assert_true(TAILQ_EMPTY(&a->ctx->socks.all));
}

/* A channel that its application has closed is freed with its link. */
static void test_dead_when_closed(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct control_message message;

	sock_close_channel(a->sock, CLOSE_NORMAL);
	driver_pass(&a->ctx->driver);
	pair_end(a, LINK_ENDED_BY_MSGD, "test");
	assert_true(TAILQ_EMPTY(&a->ctx->pool.changed));
	assert_int_equal(a->ctx->pool.promised, 0);
	assert_false(pair_control(a, &message)); /* msgd knows */
}

/* This end cannot go on: nothing more is received, but the other end's CLOSE is awaited. */
static void test_fail(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	char byte;

	inject_data(state, FRAME_FIRST, 16, 40);
	pair_take(a);
	assert_int_equal(a->channel->rx_held, 16 + FRAME_CHARGE);
	channel_fail(a->channel, ENOMEM, "the reason");
	assert_int_equal(a->channel->state, CHANNEL_OPEN);
	assert_int_equal(a->ctx->pool.held, OBJECT);
	assert_int_equal(a->channel->rx_held, 0);
	inject_data(state, FRAME_LAST, 24, 0);
	inject_data(state, FRAME_FIRST | FRAME_LAST, 10, 10);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(msg_recv(a->sock, &byte, 1, 0), -1);
		assert_int_equal(errno, ENOMEM);
		assert_string_equal(msg_reason(), "the reason");
	}
	assert_int_equal(msg_send(a->sock, "x", 1, 0), -1);
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(a->link->state, LINK_UP);
	assert_true(channel_events(a->channel, 0) & POLLERR);
	/* A later end of the link keeps the reason. */
	pair_end(a, LINK_PEER_GONE, "later");
	assert_int_equal(msg_recv(a->sock, &byte, 1, 0), -1);
	assert_string_equal(msg_reason(), "the reason");
}

/* There is no memory for the reason either: the call must not name another one. */
static void test_no_memory_for_the_reason(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	char byte;

	failing_malloc_set(1);
	channel_fail(a->channel, ENOMEM, "out of memory");
	assert_true(failing_malloc_end());
	assert_int_equal(msg_recv(a->sock, &byte, 1, 0), -1);
	assert_int_equal(errno, ENOMEM);
	assert_null(strstr(msg_reason(), "the peer closed"));
	pair_end(a, LINK_LEFT, "test");
}

/* A reader that leaves takes the half of a message that it has to private memory. */
static void test_reader_leaves(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct channel *c = a->channel;
	char bytes[40];
	struct iovec iov[] = {{.iov_base = bytes, .iov_len = 3},
		{.iov_base = bytes + 3, .iov_len = sizeof(bytes) - 3}};
	struct reader reader = {
		.channel = c, .cursor = {iov, 2, 0}, .size = sizeof(bytes), .direct = true};

	for (int lacks_memory = 1; lacks_memory >= 0; lacks_memory--) {
		if (lacks_memory) {
			c->reader = &reader;
			inject_data(state, FRAME_FIRST, 16, 40);
			pair_take(a);
			assert_true(c->direct);
			failing_malloc_set(1);
			assert_int_equal(channel_leave_reader(c), -ENOMEM);
			assert_true(failing_malloc_end());
			assert_ptr_equal(c->reader, &reader); /* it stays */
			continue;
		}
		assert_int_equal(channel_leave_reader(c), 0);
		assert_null(c->reader);
		assert_false(c->direct);
		assert_int_equal(c->partial->done, 16);
		assert_int_equal(c->partial->cost, 16 + FRAME_CHARGE);
		assert_int_equal(c->rx_held, 16 + FRAME_CHARGE);
		assert_int_equal(a->ctx->pool.held, OBJECT + msg_buf_charge(40));
	}
	inject_data(state, FRAME_LAST, 24, 0);
	assert_int_equal(msg_recv(a->sock, bytes, sizeof(bytes), 0), 40);
	assert_int_equal(c->rx_held, 0);
	assert_int_equal(a->ctx->pool.held, OBJECT);
}

/* SHUT_RD: later messages are thrown away, and their credit goes back, so that no peer waits. */
static void test_ignore(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct frame frame;
	uint32_t given = 0;
	char byte;

	inject_data(state, FRAME_FIRST, 16, 40);
	pair_take(a);
	assert_int_equal(msg_shutdown(a->sock, SHUT_RD), 0);
	assert_int_equal(msg_recv(a->sock, &byte, 1, 0), 0);
	inject_data(state, FRAME_LAST, 24, 0);
	for (int i = 0; i < 20; i++) {
		inject_data(state, FRAME_FIRST | FRAME_LAST, 2000, 2000);
		pair_take(a);
		while (next_frame(state, &frame))
			given += frame.type == FRAME_CREDIT ? frame.arg : 0;
	}
	assert_int_equal(a->link->state, LINK_UP);
	assert_int_equal(a->ctx->pool.held, OBJECT);
	assert_true(given >= 20 * 2000);
	assert_int_equal(msg_send(a->sock, "x", 1, 0), 1);
}

/* So does the credit of those that had come before and may lie unread for ever. */
static void test_ignore_with_unread(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct frame frame;
	uint32_t given = 0;
	char bytes[4000];

	while (a->channel->rx_window >= 2000 + FRAME_CHARGE) {
		inject_data(state, FRAME_FIRST | FRAME_LAST, 2000, 2000);
		pair_take(a);
	}
	assert_false(next_frame(state, &frame));
	assert_int_equal(msg_shutdown(a->sock, SHUT_RD), 0);
	for (int i = 0; i < 20; i++) {
		while (next_frame(state, &frame))
			given += frame.type == FRAME_CREDIT ? frame.arg : 0;
		inject_data(state, FRAME_FIRST | FRAME_LAST, 2000, 2000);
		pair_take(a);
	}
	assert_true(given >= 19 * 2000);
	assert_int_equal(a->link->state, LINK_UP);
	assert_int_equal(msg_recv(a->sock, bytes, sizeof(bytes), 0), 2000);
}

/* The credit of the message that SHUT_RD throws away goes back at once. */
static void test_ignore_gives_back(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct frame frame;

	inject_data(state, FRAME_FIRST, 16, 40);
	pair_take(a);
	a->channel->rx_window = CREDIT_INITIAL;
	channel_ignore(a->channel);
	driver_pass(&a->ctx->driver);
	assert_int_equal(next_frame(state, &frame), FRAME_CREDIT);
}

/* Messages that outlive their link promise the other end nothing any more. */
static void test_read_after_the_end(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	char bytes[4000];

	for (int i = 0; i < 2; i++)
		assert_int_equal(msg_send(a->sock, bytes, 3000, 0), 3000);
	pair_end(b, LINK_PEER_GONE, "the peer was killed");
	assert_int_equal(b->ctx->pool.promised, 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(msg_recv(b->sock, bytes, sizeof(bytes), 0), 3000);
	assert_int_equal(b->ctx->pool.promised, 0);
	assert_int_equal(b->ctx->pool.held, OBJECT);
}

/* The peer closed, and then the link ended: there is nothing left to be done. */
static void test_shutdown_after_the_end(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);

	assert_int_equal(msg_close(a->sock), 0);
	a->sock = NULL;
	pair_take(b);
	assert_true(b->channel->rx_closed);
	pair_end(b, LINK_PEER_GONE, "the peer was killed");
	assert_int_equal(b->channel->error, 0);
	for (int how = SHUT_RD; how <= SHUT_RDWR; how++) {
		assert_int_equal(msg_shutdown(b->sock, how), 0);
	}
	assert_int_equal(msg_send(b->sock, "x", 1, 0), -1);
	assert_int_equal(errno, EPIPE);
}

/* ---- the edges of each rule ---------------------------------------------------------------- */

/* Takes in what is in A's ring, without acting on it. */
static enum link_outcome receive(void **state)
{
	struct pair_side *a = pair_side_of(state, A);

	a->link->turn = LINK_TURN;
	return link_receive(a->link, NULL);
}

static void assert_breach(void **state, const char *breach)
{
	assert_int_equal(receive(state), LINK_VIOLATION);
	assert_string_equal(pair_side_of(state, A)->link->channels.breach, breach);
}

static void test_credit_balance(void **state)
{
	struct channel *c = pair_side_of(state, A)->channel;

	c->tx_credit = CREDIT_BALANCE_MAX - 77;
	inject_bare(state, FRAME_CREDIT, 77);
	assert_int_equal(receive(state), LINK_EMPTY);
	assert_int_equal(c->tx_credit, 1U << 31);
	inject_bare(state, FRAME_CREDIT, 1);
	assert_breach(state, "credit beyond reason");
	assert_int_equal(c->tx_credit, 1U << 31);
}

/* The last frame that costs no credit, and the one after it. */
static void test_free_frames(void **state)
{
	struct channel *c = pair_side_of(state, A)->channel;

	c->rx_free = 2;
	inject_bare(state, FRAME_CREDIT, 1);
	inject_bare(state, FRAME_LIMIT, 100);
	assert_int_equal(receive(state), LINK_EMPTY);
	assert_int_equal(c->rx_free, 0);
	inject_bare(state, FRAME_LIMIT, 200);
	assert_breach(state, "more limits than there was data");
	assert_int_equal(c->tx_maxmsg, 100);
}

/* Each frame of data or credit that this end sends pays for one; what is paid has a limit. */
static void test_paying(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct channel *c = a->channel;

	c->rx_free = FREE_FRAMES - 2;
	assert_int_equal(msg_send(a->sock, "x", 1, 0), 1);
	assert_int_equal(c->rx_free, FREE_FRAMES - 1);
	c->rx_window = 0;
	channel_give(c);
	driver_pass(&a->ctx->driver);
	assert_int_equal(c->rx_free, FREE_FRAMES);
	assert_int_equal(msg_send(a->sock, "x", 1, 0), 1);
	assert_int_equal(c->rx_free, FREE_FRAMES);
	c->rx_free = 5;
	channel_set_maxmsg(c, 100); /* which pays for nothing */
	driver_pass(&a->ctx->driver);
	assert_int_equal(c->rx_free, 5);
}

/* A LIMIT frame waits until the other end has said something that cost it something. */
static void test_limits_wait(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct channel *c = a->channel;
	struct frame frame;

	c->tx_free = 1;
	channel_set_maxmsg(c, 100);
	driver_pass(&a->ctx->driver);
	assert_int_equal(next_frame(state, &frame), FRAME_LIMIT);
	assert_int_equal(c->tx_free, 0);
	assert_false(c->limit_due);
	channel_set_maxmsg(c, 200);
	driver_pass(&a->ctx->driver);
	assert_int_equal(next_frame(state, &frame), 0);
	assert_true(c->limit_due);
	assert_false(c->due);
	inject_bare(state, FRAME_LIMIT, 100); /* says nothing */
	assert_int_equal(receive(state), LINK_EMPTY);
	inject_bare(state, FRAME_CREDIT, 1);
	assert_int_equal(receive(state), LINK_DUE);
	driver_pass(&a->ctx->driver);
	assert_int_equal(next_frame(state, &frame), FRAME_LIMIT);
	assert_int_equal(frame.arg, 200);
	/* All that it hears counts, up to a limit. */
	c->tx_free = LIMIT_FRAMES - 1;
	inject_data(state, FRAME_FIRST | FRAME_LAST, 1, 1);
	assert_int_equal(receive(state), LINK_EMPTY);
	assert_int_equal(c->tx_free, LIMIT_FRAMES);
	inject_data(state, FRAME_FIRST | FRAME_LAST, 1, 1);
	assert_int_equal(receive(state), LINK_EMPTY);
	assert_int_equal(c->tx_free, LIMIT_FRAMES);
	assert_false(c->due);
}

static void test_window_edge(void **state)
{
	struct channel *c = pair_side_of(state, A)->channel;

	c->rx_window = 100 + FRAME_CHARGE;
	c->rx_held = c->rx_limit; /* nothing is due */
	inject_data(state, FRAME_FIRST | FRAME_LAST, 100, 100);
	assert_int_equal(receive(state), LINK_EMPTY);
	assert_int_equal(c->rx_window, 0);
	c->rx_window = 100 + FRAME_CHARGE - 1;
	inject_data(state, FRAME_FIRST | FRAME_LAST, 100, 100);
	assert_breach(state, "more data than the credit given");
	c->rx_held = 100 + FRAME_CHARGE;
}

static void test_longest_message(void **state)
{
	struct channel *c = pair_side_of(state, A)->channel;

	c->maxmsg_told = 100;
	inject_data(state, FRAME_FIRST | FRAME_LAST, 100, 100);
	assert_int_equal(receive(state), LINK_EMPTY);
	inject_data(state, FRAME_FIRST, 1, 101);
	assert_breach(state, "a message longer than this end takes");
}

/* Frames after the first one of a message of 100 bytes, of which 40 came. */
static const struct fragment {
	uint8_t flags;
	uint32_t len, arg;
	const char *breach; /* NULL: none */
} fragments[] = {
	{FRAME_LAST, 60, 0, NULL},
	{0, 59, 0, NULL},
	{0, 60, 0, NULL}, /* an empty last one may follow */
	{0, 61, 0, "fragments that do not add up to the message"},
	{FRAME_LAST, 59, 0, "fragments that do not add up to the message"},
	{FRAME_LAST, 61, 0, "fragments that do not add up to the message"},
	{FRAME_FIRST, 10, 20, "a message inside a message"},
};

/* The same rules for a message that goes to a reader's memory and for one in private memory. */
static void test_fragments_add_up(void **state)
{
	for (size_t i = 0; i < 2 * ARRAY_SIZE(fragments); i++) {
		const struct fragment *f = &fragments[i / 2];
		struct pair_side *a;
		char bytes[100];
		struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};
		struct reader reader = {
			.cursor = {&iov, 1, 0}, .size = sizeof(bytes), .direct = true};

		if (i > 0) {
			(void)pair_teardown(state);
			(void)pair_setup(state);
		}
		a = pair_side_of(state, A);
		reader.channel = a->channel;
		a->channel->reader = i % 2 ? &reader : NULL;
		inject_data(state, FRAME_FIRST, 40, 100);
		inject_data(state, f->flags, f->len, f->arg);
		if (f->breach)
			assert_breach(state, f->breach);
		else
			assert_int_equal(receive(state), LINK_EMPTY);
		assert_int_equal(
			a->channel->direct, i % 2 && !(f->flags & FRAME_LAST && !f->breach));
		assert_int_equal(reader.done, i % 2 && f->flags & FRAME_LAST && !f->breach);
		a->channel->reader = NULL;
		a->channel->direct = false;
	}
}

/* So many fragments beside those that a message needs, and one more. */
static void test_shreds(void **state)
{
	for (int direct = 0; direct < 2; direct++) {
		static char bytes[50000];
		struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};
		struct reader reader = {
			.cursor = {&iov, 1, 0}, .size = sizeof(bytes), .direct = true};
		struct pair_side *a;
		uint32_t most;

		if (direct) {
			(void)pair_teardown(state);
			(void)pair_setup(state);
		}
		a = pair_side_of(state, A);
		reader.channel = a->channel;
		a->channel->reader = direct ? &reader : NULL;
		a->channel->rx_window = 1U << 20;
		most = sizeof(bytes) / a->link->channels.fragment_min + FRAGMENTS_SPARE + 1;
		inject_data(state, FRAME_FIRST, 0, sizeof(bytes));
		for (uint32_t n = 1; n < most; n++) {
			inject_data(state, 0, 1, 0);
			assert_int_equal(receive(state), LINK_EMPTY);
		}
		inject_data(state, 0, 1, 0);
		assert_breach(state, "a message in more fragments than it needs");
		a->channel->reader = NULL;
		a->channel->direct = false;
	}
}

/* A message comes straight into a reader's memory, piece by piece, and its credit goes back. */
static void test_direct(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	struct channel *c = a->channel;
	uint8_t sent[3000], got[3001];
	struct iovec iov[] = {{.iov_base = got, .iov_len = 1}, {.iov_base = got + 1, .iov_len = 0},
		{.iov_base = got + 1, .iov_len = 1700}, {.iov_base = got + 1701, .iov_len = 1300}};
	struct reader reader = {
		.channel = c, .cursor = {iov, 4, 0}, .size = sizeof(got), .direct = true};
	struct iovec from = {.iov_base = sent, .iov_len = sizeof(sent)};
	struct iov_cursor cursor;
	uint32_t done = 0;

	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)(i * 7 + i / 256);
	memset(got, 0xa5, sizeof(got));
	c->reader = &reader;
	cursor_init(&cursor, &from, 1);
	b->link->channels.fragment_min = 100;
	b->channel->tx_credit = 1000 + FRAME_CHARGE;
	assert_int_equal(channel_send(b->channel, &cursor, 3000, &done, false), -EAGAIN);
	assert_int_equal(receive(state), LINK_EMPTY);
	assert_true(c->direct);
	assert_int_equal(c->direct_done, 1000);
	assert_int_equal(c->direct_cost, 1000 + FRAME_CHARGE);
	b->channel->tx_credit = 2000 + FRAME_CHARGE;
	assert_int_equal(channel_send(b->channel, &cursor, 3000, &done, false), 0);
	c->rx_window = 3000; /* so that it is low afterwards */
	a->ctx->pool.wake = false;
	assert_int_equal(receive(state), LINK_DUE);
	assert_true(reader.done);
	assert_int_equal(reader.len, 3000);
	assert_null(c->reader);
	assert_false(c->direct);
	assert_true(a->ctx->pool.wake);
	assert_memory_equal(got, sent, sizeof(sent));
	assert_int_equal(got[3000], 0xa5);
	assert_int_equal(c->rx_held, 0);
	/* It has used up credit for two frames, and its reader keeps up. */
	assert_true(c->credit_due);
	assert_int_equal(c->rx_limit, 4 * CREDIT_INITIAL);
}

/* A message that a reader has no room for, or does not wait for, goes to private memory. */
static void test_not_direct(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	char bytes[10];
	struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};
	struct reader reader = {.channel = a->channel,
		.cursor = {&iov, 1, 0},
		.size = sizeof(bytes),
		.direct = true};

	a->channel->reader = &reader;
	inject_data(state, FRAME_FIRST | FRAME_LAST, 11, 11);
	assert_int_equal(receive(state), LINK_EMPTY);
	assert_false(reader.done);
	assert_int_equal(STAILQ_FIRST(&a->channel->in)->len, 11);
	inject_data(state, FRAME_FIRST | FRAME_LAST, 10, 10); /* behind the other one */
	assert_int_equal(receive(state), LINK_EMPTY);
	assert_false(reader.done);
	free(channel_take_first(a->channel));
	free(channel_take_first(a->channel));
	inject_data(state, FRAME_FIRST | FRAME_LAST, 10, 10);
	assert_int_equal(receive(state), LINK_EMPTY);
	assert_true(reader.done);
	assert_true(STAILQ_EMPTY(&a->channel->in));
	a->channel->rx_held = 0;
}

/* Each condition counts alone. */
static void test_conditions(void **state)
{
	struct channel *c = pair_side_of(state, A)->channel;
	struct channel_set *set = c->set;

	assert_true(channel_may_send(c));
	c->set = NULL;
	assert_false(channel_may_send(c));
	c->set = set;
	set->up = false;
	assert_false(channel_may_send(c));
	set->up = true;
	c->tx_open = false;
	assert_false(channel_may_send(c));
	c->tx_open = true;
	c->tx_partial = true;
	assert_false(channel_may_send(c));
	c->tx_partial = false;
	queue_empty(c);
	assert_false(channel_may_send(c));
	channel_drop_out(c);
	assert_true(channel_may_send(c));

	assert_false(channel_at_end(c) || channel_is_over(c));
	c->rx_shut = true;
	assert_true(channel_at_end(c));
	c->rx_shut = false;
	c->rx_ignore = true;
	assert_true(channel_at_end(c));
	c->rx_ignore = false;
	c->rx_closed = true;
	assert_true(channel_at_end(c));
	assert_false(channel_is_over(c));
	c->tx_closed = true;
	assert_true(channel_is_over(c));
	c->rx_closed = false;
	assert_false(channel_is_over(c));
	c->rx_closed = true;
	c->set = NULL;
	assert_false(channel_is_over(c));
	c->set = set;
	c->listener = c->sock;
	assert_false(channel_is_over(c));
	c->listener = NULL;
	c->state = CHANNEL_CLOSING;
	assert_false(channel_is_over(c));
	c->state = CHANNEL_OPEN;
	c->rx_closed = c->tx_closed = false;
}

/* The numbers that PROTOCOL.md, libmsg.3 and the comments beside them name. */
static void test_numbers(void **state)
{
	assert_int_equal(FRAGMENT_MIN, 4096);
	assert_int_equal(CHANNEL_BUDGET, 256 * 1024 * 1024);
	assert_int_equal(ACCOUNT_BUDGET, 128 * 1024 * 1024);
	assert_int_equal(msg_buf_charge(1), 49);
	assert_int_equal(CREDIT_BALANCE_MAX, UINT32_C(0x80000000));
}

/* The events that poll finds at an end. */
static void test_events(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct channel *c = a->channel;
	uint32_t credit = c->tx_credit;

	assert_int_equal(channel_events(c, 0), 0);
	assert_int_equal(channel_events(c, POLLIN), 0);
	assert_int_equal(channel_events(c, POLLIN | POLLOUT), POLLOUT);
	c->tx_credit = c->set->fragment_min + FRAME_CHARGE - 1;
	assert_int_equal(channel_events(c, POLLOUT), 0);
	queue_empty(c);
	assert_int_equal(channel_events(c, POLLIN), 0);
	channel_drop_out(c);
	c->tx_credit = credit;
	inject_data(state, FRAME_FIRST | FRAME_LAST, 0, 0);
	assert_int_equal(receive(state), LINK_EMPTY);
	assert_int_equal(channel_events(c, 0), POLLIN);
	free(channel_take_first(c));
	c->rx_held = 0;
	c->rx_shut = true;
	assert_int_equal(channel_events(c, 0), POLLIN | POLLRDHUP);
	assert_int_equal(channel_events(c, POLLOUT), POLLIN | POLLRDHUP | POLLOUT);
	c->rx_shut = false;
	c->rx_ignore = true;
	assert_int_equal(channel_events(c, 0), POLLIN);
	c->rx_ignore = false;
	c->rx_closed = true;
	assert_int_equal(channel_events(c, 0), POLLIN | POLLRDHUP | POLLHUP);
	c->tx_credit = 0;
	assert_int_equal(channel_events(c, POLLOUT), POLLIN | POLLRDHUP | POLLHUP | POLLOUT);
	c->rx_closed = false;
	assert_int_equal(channel_events(c, POLLOUT), 0);
	c->error = EIO;
	assert_int_equal(channel_events(c, 0), POLLIN | POLLRDHUP | POLLHUP | POLLERR);
	assert_int_equal(
		channel_events(c, POLLOUT), POLLIN | POLLRDHUP | POLLHUP | POLLERR | POLLOUT);
	c->error = 0;
}

/* A channel for which there is no memory leaves nothing behind. */
static void test_no_memory_for_a_channel(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct channel_set *set = &a->link->channels;
	uint64_t held = a->ctx->pool.held, promised = a->ctx->pool.promised;
	uint32_t n_refs = set->account->n_refs;
	struct channel *channel;
	bool failed = true;

	for (uint32_t number = 100; failed; number++) {
		failing_malloc_set(1);
		assert_null(channel_new(set, number, CHANNEL_SEQPACKET, false));
		assert_true(failing_malloc_end());
		failing_malloc_set(2); /* the table, when it grows */
		channel = channel_new(set, number, CHANNEL_SEQPACKET, false);
		failed = failing_malloc_end();
		if (channel)
			channel_free(channel);
		assert_int_equal(a->ctx->pool.held, held);
		assert_int_equal(a->ctx->pool.promised, promised);
		assert_int_equal(set->account->held, held);
		assert_int_equal(set->account->promised, promised);
		assert_int_equal(set->account->n_refs, n_refs);
		assert_true(TAILQ_EMPTY(&set->due));
		assert_null(channel_find(set, number));
	}
}

/* The sum of what a link's channels hold. */
static void test_set_held(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct channel *other = channel_new(&a->link->channels, 8, CHANNEL_SEQPACKET, true);

	assert_int_equal(channel_set_held(&a->link->channels), 2 * OBJECT);
	inject_data(state, FRAME_FIRST | FRAME_LAST, 50, 50);
	assert_int_equal(receive(state), LINK_EMPTY);
	assert_int_equal(channel_set_held(&a->link->channels), 2 * OBJECT + msg_buf_charge(50));
	assert_int_equal(a->channel->account->held, 2 * OBJECT + msg_buf_charge(50));
	channel_free(other);
	assert_int_equal(channel_set_held(&a->link->channels), OBJECT + msg_buf_charge(50));
}

/* So many messages are thrown away as asked for, and counted. */
static void test_discard(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	uint32_t n = 99;

	for (int i = 0; i < 5; i++)
		inject_data(state, FRAME_FIRST | FRAME_LAST, 10, 10);
	assert_int_equal(receive(state), LINK_EMPTY);
	assert_false(channel_discard(a->channel, 0, &n));
	assert_int_equal(n, 0);
	assert_false(channel_discard(a->channel, 2, &n));
	assert_int_equal(n, 2);
	assert_int_equal(a->ctx->pool.held, OBJECT + 3 * msg_buf_charge(10));
	assert_true(channel_discard(a->channel, 3, &n));
	assert_int_equal(n, 3);
	assert_true(channel_discard(a->channel, 3, &n));
	assert_int_equal(n, 0);
	assert_int_equal(a->ctx->pool.held, OBJECT);
}

/* The channel of the last frame is not found any more once it is gone. */
static void test_last_is_forgotten(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct channel *other = channel_new(&a->link->channels, 8, CHANNEL_SEQPACKET, true);

	inject_data(state, FRAME_FIRST | FRAME_LAST, 0, 0);
	assert_int_equal(receive(state), LINK_EMPTY);
	assert_ptr_equal(a->link->channels.last, a->channel);
	channel_free(other);
	assert_ptr_equal(a->link->channels.last, a->channel);
	channel_reset(a->channel, EIO, "the reason");
	assert_null(a->link->channels.last);
	assert_int_equal(a->channel->error, EIO);
	assert_string_equal(a->channel->why, "the reason");
	assert_true(a->channel->changed);
}

/* A queued message that lacks room waits for it; one that lacks credit does not. */
static void test_queue_waits(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct channel *c = a->channel;

	while (transport_put_bare(a->link->transport, PAIR_CHANNEL, FRAME_LIMIT, 5000) == 0)
		;
	queue_empty(c);
	c->tx_credit = FRAME_CHARGE - 1;
	assert_int_equal(channel_flush(c), 0);
	assert_false(STAILQ_EMPTY(&c->out));
	c->tx_credit = FRAME_CHARGE;
	assert_int_equal(channel_flush(c), -EAGAIN);
	assert_int_equal(c->tx_credit, FRAME_CHARGE);
	channel_mark_due(c);
	driver_pass(&a->ctx->driver);
	assert_true(c->blocked);
	assert_false(c->due);
	channel_drop_out(c);
}

/* Room to the last byte. */
static void test_can_send_into_the_rest(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct transport *t = a->link->transport;
	uint32_t want;

	while (t->ops->room(t, 64) > 32)
		assert_int_equal(transport_put_bare(t, PAIR_CHANNEL, FRAME_LIMIT, 5000), 0);
	assert_int_equal(t->ops->room(t, 64), 32);
	assert_true(channel_can_send(a->channel, 32, &want));
	assert_int_equal(want, 0);
	assert_false(channel_can_send(a->channel, 33, &want));
	assert_int_equal(want, 33);
	assert_true(link_want_room(a->link, 32));
	assert_false(link_want_room(a->link, 33));
}

/* The other end's CLOSE: half a message and all that waits to be sent are dropped. */
static void test_close_drops(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct channel *c = a->channel;

	c->tx_credit = 0; /* the queue waits */
	queue_empty(c);
	inject_data(state, FRAME_FIRST, 16, 40);
	inject_bare(state, FRAME_CLOSE, CLOSE_RESET);
	assert_int_equal(receive(state), LINK_DUE);
	assert_null(c->partial);
	assert_true(STAILQ_EMPTY(&c->out));
	assert_int_equal(a->ctx->pool.held, OBJECT);
	assert_int_equal(c->error, ECONNRESET);
	assert_true(c->changed && c->due && c->rx_closed);
	inject_bare(state, FRAME_LIMIT, 1);
	channel_unqueue(c);
	assert_breach(state, "a frame after the channel's close");
}

/* An earlier error is not replaced by the other end's RESET. */
static void test_reset_after_an_error(void **state)
{
	struct pair_side *a = pair_side_of(state, A);

	channel_fail(a->channel, ENOMEM, "the reason");
	inject_bare(state, FRAME_CLOSE, CLOSE_RESET);
	pair_take(a);
	assert_int_equal(a->channel->error, ENOMEM);
	assert_string_equal(a->channel->why, "the reason");
}

static int gone_put(struct transport *transport, struct frame *frame, uint32_t least,
	struct iov_cursor *payload, bool more)
{
	return -ECONNREFUSED;
}

/* A transport that fails says so, whatever was to be sent. */
static void test_transport_fails(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct channel *c = a->channel;
	struct transport_ops ops = transport_grant;

	ops.put = gone_put;
	a->link->transport->ops = &ops;
	queue_empty(c);
	assert_int_equal(channel_flush(c), -ECONNREFUSED);
	assert_false(STAILQ_EMPTY(&c->out));
	channel_drop_out(c);
	assert_int_equal(channel_flush(c), 0);
	c->limit_due = true;
	assert_int_equal(channel_flush(c), -ECONNREFUSED);
	assert_true(c->limit_due);
	c->limit_due = false;
	c->rx_window = 0;
	c->credit_due = true;
	assert_int_equal(channel_flush(c), -ECONNREFUSED);
	assert_true(c->credit_due);
	assert_false(c->credit_late);
	assert_int_equal(c->rx_window, 0);
	c->credit_due = false;
	c->tx_shut = true;
	assert_int_equal(channel_flush(c), -ECONNREFUSED);
	assert_false(c->tx_shut_sent);
	c->rx_closed = true;
	assert_int_equal(channel_flush(c), -ECONNREFUSED);
	assert_false(c->tx_closed);
	c->rx_closed = false;
	channel_mark_due(c);
	driver_pass(&a->ctx->driver);
	assert_int_equal(c->error, ECONNRESET);
	assert_string_equal(c->why, "the other process's ring is gone");
	assert_null(a->ctx->links.by_end);
}

/* Of a long message with MSG_MORE the last fragment alone is kept back. */
static void test_more_of_fragments(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	static uint8_t bytes[10000];
	struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};
	struct iov_cursor cursor;
	struct frame frame;
	uint32_t done = 0;

	cursor_init(&cursor, &iov, 1);
	a->channel->tx_credit = 5000 + FRAME_CHARGE;
	assert_int_equal(channel_send(a->channel, &cursor, 10000, &done, true), -EAGAIN);
	assert_int_equal(done, 5000);
	assert_false(a->link->transport->unpushed);
	assert_int_equal(next_frame(state, &frame), FRAME_DATA);
	a->channel->tx_credit = 5000 + FRAME_CHARGE;
	assert_int_equal(channel_send(a->channel, &cursor, 10000, &done, true), 0);
	assert_true(a->link->transport->unpushed);
	assert_int_equal(next_frame(state, &frame), 0);
	assert_int_equal(transport_push(a->link->transport), 0);
	assert_int_equal(next_frame(state, &frame), FRAME_DATA);
	assert_int_equal(frame.flags, FRAME_LAST);
}

/* Credit makes a queue go on; without one it is news for a sender that waits. */
static void test_credit_for_the_queue(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct channel *c = a->channel;

	inject_bare(state, FRAME_CREDIT, 1);
	assert_int_equal(receive(state), LINK_EMPTY);
	assert_true(c->changed);
	assert_false(c->due);
	driver_pass(&a->ctx->driver);
	assert_false(c->changed);
	queue_empty(c);
	inject_bare(state, FRAME_CREDIT, 1);
	assert_int_equal(receive(state), LINK_DUE);
	assert_false(c->changed);
	assert_true(c->due);
	driver_pass(&a->ctx->driver);
	assert_true(STAILQ_EMPTY(&c->out));
	/* After this end's CLOSE it is nothing at all. */
	driver_pass(&a->ctx->driver);
	c->tx_closed = true;
	inject_bare(state, FRAME_CREDIT, 1);
	assert_int_equal(receive(state), LINK_EMPTY);
	assert_false(c->changed || c->due);
	c->tx_closed = false;
}

/* The ends that this end has closed and the other has not are counted, if this end connected. */
static void test_closing_is_counted(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct channel *accepted = channel_new(&a->link->channels, 8, CHANNEL_SEQPACKET, true);

	accepted->listener_handle = 5;
	channel_close(accepted, CLOSE_NORMAL);
	assert_int_equal(a->link->channels.n_closing, 0);
	sock_close_channel(a->sock, CLOSE_NORMAL);
	assert_int_equal(a->link->channels.n_closing, 1);
	assert_int_equal(a->channel->account->n_closing, 1);
	channel_reset(accepted, EIO, "test");
	assert_int_equal(a->link->channels.n_closing, 1);
	channel_reset(a->channel, EIO, "test");
	assert_int_equal(a->link->channels.n_closing, 0);
	assert_int_equal(a->link->channels.account->n_closing, 0);
	assert_int_equal(a->ctx->pool.held, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_read_after_the_end, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_shutdown_after_the_end, pair_setup, pair_teardown),
		cmocka_unit_test(test_first_credit),
		cmocka_unit_test_setup_teardown(test_credit_by_window, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_credit_by_message, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_growth, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_give, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_credit_frames, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_late_credit, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_cost, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_frames_of_the_other_end, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_lower_limit, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_can_send, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_inside_a_message, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_fragments, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_illegal_moves, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_close_first, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_close_second, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_close_at_once, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_reset, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_reset_first, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_reset_wanted, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_reset_after_shutdown, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_dead_after_its_end, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_close_when_dead, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_dead_when_closed, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_fail, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_no_memory_for_the_reason, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_reader_leaves, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_ignore, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_ignore_with_unread, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_ignore_gives_back, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_credit_balance, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_free_frames, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_paying, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_limits_wait, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_window_edge, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_longest_message, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_fragments_add_up, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_shreds, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_direct, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_not_direct, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_events, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_no_memory_for_a_channel, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_set_held, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_discard, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_last_is_forgotten, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_queue_waits, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_transport_fails, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_can_send_into_the_rest, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_close_drops, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_reset_after_an_error, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_more_of_fragments, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_credit_for_the_queue, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_closing_is_counted, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_conditions, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_numbers, pair_setup, pair_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
