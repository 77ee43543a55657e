/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Streams and datagrams, frame by frame: the rules, the memory, the count of drops; and under a
 * msgd that knows neither.
 */
#include "tests/support/cmocka-all.h"

#include <string.h>

#include "base/macro.h"
#include "libmsg/control/request.h"
#include "tests/support/link-pair.h"
#include "tests/support/must.h"

enum { A, B };

#define NUMBER 9U /* of the channel; A has connected */

static struct pair_side *a, *b;
static struct msg_sock *near, *far; /* of A and B */

static void channel(enum channel_type type)
{
	pair_channels(a->pair, NUMBER, type, &near, &far);
}

static int setup(void **state)
{
	int r = pair_setup(state);

	a = pair_side_of(state, A);
	b = pair_side_of(state, B);
	return r;
}

static void inject(void **state, uint8_t type, uint8_t flags, uint32_t len, uint32_t arg)
{
	pair_inject_frame(*state, A,
		&(struct frame){
			.channel = NUMBER, .type = type, .flags = flags, .len = len, .arg = arg});
}

static void inject_whole(void **state, uint32_t len)
{
	inject(state, FRAME_DATA, FRAME_FIRST | FRAME_LAST, len, len);
}

static int64_t drops(struct msg_sock *sock)
{
	int64_t value = -1;

	assert_int_equal(msg_getopt(sock, LIBMSG_DROPS, &value), 0);
	return value;
}

/* ---- the rules ------------------------------------------------------------------------------ */

static const struct {
	enum channel_type type;
	uint8_t frame, flags;
	uint32_t len, arg;
	const char *breach; /* NULL: none */
} frames[] = {
	{CHANNEL_STREAM, FRAME_DATA, FRAME_FIRST | FRAME_LAST, 16, 16, NULL},
	{CHANNEL_STREAM, FRAME_DATA, FRAME_FIRST, 16, 40, "a fragment where each frame is whole"},
	{CHANNEL_STREAM, FRAME_DATA, FRAME_LAST, 16, 0, "a fragment where each frame is whole"},
	{CHANNEL_STREAM, FRAME_DATA, 0, 16, 0, "a fragment where each frame is whole"},
	{CHANNEL_STREAM, FRAME_DATA, FRAME_FIRST | FRAME_LAST, 0, 0,
		"a frame of a stream without bytes"},
	{CHANNEL_STREAM, FRAME_DROPS, 0, 0, 1, "drops where nothing may be dropped"},
	{CHANNEL_SEQPACKET, FRAME_DROPS, 0, 0, 1, "drops where nothing may be dropped"},
	{CHANNEL_DGRAM, FRAME_DATA, FRAME_FIRST | FRAME_LAST, 0, 0, NULL},
	{CHANNEL_DGRAM, FRAME_DATA, FRAME_FIRST, 16, 40, "a fragment where each frame is whole"},
	{CHANNEL_DGRAM, FRAME_DROPS, 0, 0, 7, NULL},
};

static void test_frames(void **state)
{
	for (size_t i = 0; i < 2 * ARRAY_SIZE(frames); i++) {
		bool ignored = i % 2; /* nobody will read: the rules are the same */
		char byte;

		channel(frames[i / 2].type);
		if (ignored)
			assert_int_equal(msg_shutdown(far, SHUT_RD), 0);
		inject(state, frames[i / 2].frame, frames[i / 2].flags, frames[i / 2].len,
			frames[i / 2].arg);
		pair_take(b);
		driver_pass(&b->ctx->driver);
		if (frames[i / 2].breach) {
			assert_null(link_find(&b->ctx->links, PAIR_END));
			assert_int_equal(msg_recv(far, &byte, 1, 0), -1);
			assert_string_equal(msg_reason(), frames[i / 2].breach);
		} else {
			assert_int_equal(b->link->state, LINK_UP);
		}
		must(pair_teardown(state) == 0 && setup(state) == 0);
	}
}

/* DROPS costs no credit: it is counted as CREDIT and LIMIT are. */
static void test_drops_without_end(void **state)
{
	char byte;

	channel(CHANNEL_DGRAM);
	far->channel->rx_free = 3;
	for (uint32_t i = 0; i < 4; i++) {
		inject(state, FRAME_DROPS, 0, 0, UINT32_MAX);
		pair_take(b);
	}
	driver_pass(&b->ctx->driver);
	assert_int_equal(drops(far), 3 * (int64_t)UINT32_MAX);
	assert_int_equal(msg_recv(far, &byte, 1, 0), -1);
	assert_string_equal(msg_reason(), "more frames about drops than there was data");
}

/* An end that was given up may not know its type: it takes DROPS, within the same count. */
static void test_drops_for_a_closed_end(void **state)
{
	channel(CHANNEL_SEQPACKET);
	assert_int_equal(msg_close(far), 0);
	inject(state, FRAME_DROPS, 0, 0, 1);
	pair_take(b);
	assert_int_equal(b->link->state, LINK_UP);
	assert_int_equal(msg_close(near), 0);
}

/* ---- streams -------------------------------------------------------------------------------- */

/* Bytes that come one by one share their memory, and their credit goes back when they are read. */
static void test_pieces(void **state)
{
	uint64_t before;
	char bytes[64];
	struct channel *c;
	uint32_t n = 200;

	channel(CHANNEL_STREAM);
	c = far->channel;
	before = c->held;
	for (uint32_t i = 0; i < n; i++) {
		inject_whole(state, 1);
		pair_take(b);
	}
	assert_int_equal(c->rx_held, n * (1 + FRAME_CHARGE));
	assert_in_range(c->held - before, n, 2 * n + 4096);
	assert_int_equal(msg_recv(far, bytes, sizeof(bytes), MSG_PEEK), sizeof(bytes));
	for (uint32_t left = n; left; left -= min_u32(left, sizeof(bytes)))
		assert_int_equal(
			msg_recv(far, bytes, sizeof(bytes), 0), min_u32(left, sizeof(bytes)));
	assert_int_equal(msg_recv(far, bytes, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(c->rx_held, 0);
	assert_int_equal(c->held, before);
	assert_null(c->in_last);
}

/* A piece that was read in part holds its credit until its end, and goes on to grow. */
static void test_piece_read_in_part(void **state)
{
	char bytes[100];

	channel(CHANNEL_STREAM);
	inject_whole(state, 100);
	pair_take(b);
	assert_int_equal(msg_recv(far, bytes, 30, 0), 30);
	assert_int_equal(far->channel->rx_held, 100 + FRAME_CHARGE);
	inject_whole(state, 10);
	pair_take(b);
	assert_ptr_equal(STAILQ_FIRST(&far->channel->in), far->channel->in_last);
	assert_int_equal(msg_recv(far, bytes, 100, 0), 80);
	assert_int_equal(far->channel->rx_held, 0);
	/* Nothing is unread: the close is no reset. */
	assert_int_equal(sock_close_reason(far), CLOSE_NORMAL);
	inject_whole(state, 1);
	pair_take(b);
	assert_int_equal(sock_close_reason(far), CLOSE_RESET);
}

/* A frame is longer than the reader's memory: its rest waits for the next one. */
static void test_reader_is_full(void **state)
{
	char bytes[10];
	struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};
	struct reader reader = {.cursor = {&iov, 1, 0}, .size = sizeof(bytes), .direct = true};
	struct channel *c;

	channel(CHANNEL_STREAM);
	c = reader.channel = far->channel;
	c->reader = &reader;
	inject_whole(state, 25);
	pair_take(b);
	assert_true(reader.done);
	assert_int_equal(reader.len, 10);
	assert_null(c->reader);
	assert_int_equal(c->rx_held, 15 + FRAME_CHARGE);
	assert_int_equal(msg_recv(far, bytes, 10, 0), 10);
	assert_int_equal(msg_recv(far, bytes, 10, 0), 5);
	/* One that has no room takes nothing, and finds the bytes in the queue. */
	reader = (struct reader){.channel = c, .cursor = {&iov, 1, 0}, .direct = true};
	c->reader = &reader;
	inject_whole(state, 5);
	pair_take(b);
	assert_false(reader.done);
	c->reader = NULL;
	assert_int_equal(msg_recv(far, bytes, 10, 0), 5);
}

/* The share of the domain is used up: a stream's piece is refused as a message is. */
static void test_stream_has_a_budget(void **state)
{
	uint64_t held = ACCOUNT_BUDGET - 2000;
	char byte;

	channel(CHANNEL_STREAM);
	channel_charge(b->channel, held - b->channel->account->held);
	inject_whole(state, 1); /* for which a whole piece is allocated */
	pair_take(b);
	driver_pass(&b->ctx->driver);
	assert_null(link_find(&b->ctx->links, PAIR_END));
	assert_int_equal(msg_recv(far, &byte, 1, 0), -1);
	assert_string_equal(msg_reason(), "more unread data than this application holds");
}

/* ---- datagrams ------------------------------------------------------------------------------ */

/* There is no memory for it: it is dropped, the link stands, and its credit goes back. */
static void test_datagram_without_memory(void **state)
{
	struct channel *c;
	uint32_t window;
	uint64_t held;

	channel(CHANNEL_DGRAM);
	c = far->channel;
	held = ACCOUNT_BUDGET - 100 - b->channel->account->held;
	channel_charge(b->channel, held);
	window = c->rx_window;
	for (int i = 0; i < 7; i++) { /* more than a quarter of the window */
		inject_whole(state, 10000);
		pair_take(b);
	}
	assert_int_equal(b->link->state, LINK_UP);
	assert_int_equal(drops(far), 7);
	assert_true(STAILQ_EMPTY(&c->in));
	assert_int_equal(c->rx_held, 0);
	assert_in_range(c->rx_window, window / 2, 2 * window);
	/* The sender hears of it, with the credit. */
	pair_take(a);
	assert_int_equal(drops(near), 7);
	channel_uncharge(b->channel, held);
}

/* However many are dropped, it is told in a few frames, and once more at the end. */
static void test_drops_are_told_in_sums(void **state)
{
	char data[100] = "";

	channel(CHANNEL_DGRAM);
	near->channel->tx_credit = 0;
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(msg_send(near, data, sizeof(data), 0), sizeof(data));
	assert_int_equal(drops(near), 1000);
	near->channel->tx_free = 2;
	channel_mark_due(near->channel);
	driver_pass(&a->ctx->driver);
	assert_int_equal(near->channel->tx_free, 1);
	pair_take(b);
	assert_int_equal(drops(far), 1000);
	assert_int_equal(msg_send(near, data, sizeof(data), 0), sizeof(data));
	channel_mark_due(near->channel);
	driver_pass(&a->ctx->driver); /* the last frame is kept back */
	pair_take(b);
	assert_int_equal(drops(far), 1000);
	assert_int_equal(msg_shutdown(near, SHUT_WR), 0);
	driver_pass(&a->ctx->driver);
	pair_take(b);
	assert_int_equal(drops(far), 1001);
	assert_true(far->channel->rx_shut);
}

/* A message that is too long for a frame is refused, not dropped. */
static void test_longest_datagram(void **state)
{
	static char data[FRAME_PAYLOAD_MAX];
	uint32_t most;

	channel(CHANNEL_DGRAM);
	most = channel_max_datagram(near->channel->set);
	assert_in_range(most, 4000, 4 * HV_PAGE_SIZE); /* the rings have four pages here */
	assert_int_equal(msg_send(near, data, most + 1, 0), -1);
	assert_int_equal(errno, EMSGSIZE);
	assert_int_equal(msg_send(near, data, most, 0), most);
	assert_int_equal(drops(near), 0);
	pair_take(b);
	assert_int_equal(msg_recv(far, data, sizeof(data), 0), most);
}

static void test_unread_datagrams(void **state)
{
	channel(CHANNEL_DGRAM);
	inject_whole(state, 10);
	pair_take(b);
	assert_int_equal(sock_close_reason(far), CLOSE_NORMAL); /* as with sockets */
	assert_int_equal(msg_close(far), 0);
}

/* ---- under another msgd --------------------------------------------------------------------- */

static struct msg_sock *listening(const char *name, enum channel_type type)
{
	struct msg_sock *sock = sock_new(&a->ctx->socks, SOCK_LISTENER, SOCK_OPEN, type);

	must(sock && sock_set_name(sock, name, 3) == 0);
	return sock;
}

static struct msg_sock *connecting(int type)
{
	return msg_connect(a->ctx, "d/n", type, LIBMSG_NONBLOCK | LIBMSG_WAIT_NAME, -1);
}

static void assert_too_old(const struct msg_sock *sock)
{
	assert_int_equal(sock->state, SOCK_FAILED);
	assert_int_equal(sock->error, EPROTONOSUPPORT);
	assert_string_equal(sock->reason, "this msgd is older than channel types but SEQPACKET");
}

static void assert_silent(void)
{
	struct control_message message;

	assert_false(pair_control(a, &message));
}

/* The announcements: the pair's own channel, one of that type, the listener of that name. */
static void announced(enum channel_type type, const char *name)
{
	struct control_message message = pair_next(a);

	assert_int_equal(message.type, CONTROL_ANNOUNCE_LINK);
	message = pair_next(a);
	assert_int_equal(message.type, CONTROL_ANNOUNCE_CHANNEL);
	assert_int_equal(message.announce_channel.type, CHANNEL_SEQPACKET);
	message = pair_next(a);
	assert_int_equal(message.type, CONTROL_ANNOUNCE_CHANNEL);
	assert_int_equal(message.announce_channel.channel, NUMBER);
	assert_int_equal(message.announce_channel.type, type);
	message = pair_next(a);
	assert_int_equal(message.type, CONTROL_LISTEN);
	assert_int_equal(message.listen.type, CHANNEL_SEQPACKET);
	assert_string_equal(message.listen.name, name);
	assert_int_equal(pair_next(a).type, CONTROL_ANNOUNCE_DONE);
}

static void assert_carries(void)
{
	char byte = 0;

	assert_int_equal(msg_send(near, "x", 1, 0), 1);
	pair_take(b);
	assert_int_equal(msg_recv(far, &byte, 1, 0), 1);
	assert_int_equal(byte, 'x');
}

/*
 * A msgd that does not know the type is told of no name and asked for no channel of it, for it
 * would let go of the process. A channel that stands goes on.
 */
static void under_an_older_msgd(enum channel_type type)
{
	struct msg_sock *lost, *pending, *asking, *also;
	uint32_t id;

	pair_attached(a);
	channel(type);
	strcpy(near->channel->name, "typed");
	pair_next_msgd_told(a, FEATURE_TYPES);
	lost = listening("lost", type);
	pending = msg_listen(a->ctx, "pending", (int)type, 1, LIBMSG_NONBLOCK);
	asking = connecting((int)type);
	assert_int_equal(pair_next(a).type, CONTROL_LISTEN);
	assert_int_equal(pair_next(a).type, CONTROL_CONNECT);
	(void)listening("plain", CHANNEL_SEQPACKET);
	also = connecting(LIBMSG_SEQPACKET);
	id = pair_next(a).request;
	pair_next_msgd(a, 0);
	announced(CHANNEL_SEQPACKET, "plain");
	assert_int_equal(pair_next(a).request, id);
	assert_silent();
	assert_too_old(lost);
	assert_too_old(pending);
	assert_too_old(asking);
	assert_int_equal(also->state, SOCK_PENDING);
	assert_int_equal(a->ctx->control.state, CONTROL_ATTACHED);
	assert_carries();
	/* A newer one hears what there is. */
	pair_next_msgd(a, FEATURE_TYPES);
	announced(type, "plain");
	assert_int_equal(pair_next(a).request, id);
	assert_silent();
	assert_carries();
}

static void test_streams_under_an_older_msgd(void **state)
{
	under_an_older_msgd(CHANNEL_STREAM);
}

static void test_datagrams_under_an_older_msgd(void **state)
{
	under_an_older_msgd(CHANNEL_DGRAM);
}

/* Between HELLO and WELCOME nobody knows whether this msgd is older, whatever the last one was. */
static void asked_before_welcome(uint64_t before, uint64_t features)
{
	struct control_message welcome = {.type = CONTROL_WELCOME, .request = REQUEST_HELLO};
	struct msg_sock *sock, *other;

	pair_attached(a);
	pair_next_msgd_told(a, before);
	atomic_fetch_add(&a->control_page->epoch, 1);
	control_take(&a->ctx->control);
	assert_int_equal(pair_next(a).type, CONTROL_HELLO);
	sock = connecting(LIBMSG_STREAM);
	other = connecting(LIBMSG_STREAM);
	assert_non_null(sock);
	assert_int_equal(msg_close(other), 0); /* never asked, and nobody is told that it is over */
	assert_silent();
	welcome.welcome.features = features;
	pair_say(a, &welcome);
	while (pair_next(a).type != CONTROL_ANNOUNCE_DONE)
		;
	if (features & FEATURE_TYPES)
		assert_int_equal(pair_next(a).type, CONTROL_CONNECT);
	else
		assert_too_old(sock);
	assert_silent();
}

static void test_asked_before_welcome(void **state)
{
	asked_before_welcome(FEATURE_TYPES, 0);
	asked_before_welcome(0, FEATURE_TYPES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, pair_teardown)
		TEST(test_frames),
		TEST(test_drops_without_end),
		TEST(test_drops_for_a_closed_end),
		TEST(test_pieces),
		TEST(test_piece_read_in_part),
		TEST(test_reader_is_full),
		TEST(test_stream_has_a_budget),
		TEST(test_datagram_without_memory),
		TEST(test_drops_are_told_in_sums),
		TEST(test_longest_datagram),
		TEST(test_unread_datagrams),
		TEST(test_streams_under_an_older_msgd),
		TEST(test_datagrams_under_an_older_msgd),
		TEST(test_asked_before_welcome),
	};

	return cmocka_run_group_tests_name("types", tests, NULL, NULL);
}
