/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Peers that publish without end: each costs a turn at a time, others are served in between, and
 * frames that cost no credit end the link. The peers' rings are made up: they are never empty.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/support/cmocka-all.h"
#include "tests/support/link-pair.h"

#define A 0
#define B 1 /* the victim */

#define N_HOSTILE 8U
/* A call that does not block: rounds of a look, and turns of the link that it is about. */
#define CALL_ROUNDS 6U
/* CPU time that a call may take past its limit; instrumented code takes several times as long. */
#if defined(__SANITIZE_ADDRESS__)
#define CALL_CPU_NS 50000000U
#else
#define CALL_CPU_NS 5000000U
#endif

/* ---- rings that are never empty --------------------------------------------------------- */

struct flood {
	struct transport base;
	struct frame frame; /* comes again and again */
	bool strange;	    /* they are a stranger's messages */
	unsigned n;	    /* how many were taken in */
	unsigned n_put;	    /* frames that the victim sent, or wanted to */
	bool full;	    /* the victim can send nothing, although there seems to be room */
	bool over;	    /* no frame is left, but nobody has looked */
	unsigned n_room;    /* how often the peer was told of room */
};

static struct flood *flood_of(struct transport *transport)
{
	return container_of(transport, struct flood, base);
}

static int flood_peek(struct transport *transport)
{
	struct flood *flood = flood_of(transport);

	transport->frame = flood->frame;
	flood->n += flood->strange;
	return flood->strange ? TRANSPORT_DROPPED : 1;
}

static void flood_read(struct transport *transport, uint32_t off, void *dst, uint32_t len)
{
	memset(dst, 0, len);
}

static void flood_next(struct transport *transport)
{
	flood_of(transport)->n++;
}

static bool flood_pending(struct transport *transport)
{
	return !flood_of(transport)->over;
}

static void flood_wake_for_room(struct transport *transport)
{
	flood_of(transport)->n_room++;
}

static int flood_put(struct transport *transport, struct frame *frame, uint32_t least,
	struct iov_cursor *payload, bool more)
{
	flood_of(transport)->n_put++;
	return flood_of(transport)->full ? -EAGAIN : 0;
}

static int flood_push(struct transport *transport)
{
	return 0;
}

static int64_t flood_room(struct transport *transport, uint32_t want)
{
	return 1 << 20;
}

static int flood_arm(struct transport *transport, bool held)
{
	return !held;
}

static void flood_nothing(struct transport *transport)
{
}

static const _Atomic uint32_t *flood_watch(struct transport *transport, uint32_t *ret_seen)
{
	static const _Atomic uint32_t word = 1;

	*ret_seen = 0;
	return &word;
}

static bool flood_alive(const struct transport *transport)
{
	return true;
}

static uint32_t flood_cpu(struct transport *transport, uint32_t cpu)
{
	return 0;
}

static const struct transport_ops flood_ops = {
	.kind = TRANSPORT_ARGO,
	.frame_max = FRAME_PAYLOAD_MAX,
	.size = sizeof(struct flood),
	.close = flood_nothing,
	.room = flood_room,
	.put = flood_put,
	.push = flood_push,
	.peek = flood_peek,
	.read = flood_read,
	.next = flood_next,
	.release = flood_nothing,
	.pending = flood_pending,
	.arm = flood_arm,
	.arm_room = flood_nothing,
	.not_armed = flood_nothing,
	.wake = flood_nothing,
	.wake_for_room = flood_wake_for_room,
	.watch = flood_watch,
	.watch_room = flood_watch,
	.peer_alive = flood_alive,
	.exchange_cpu = flood_cpu,
};

/* A link to a process of that domain, with one channel, whose ring has that frame for ever. */
static struct msg_sock *flood_new(
	struct pair_side *side, uint32_t end, uint16_t domid, const struct frame *frame)
{
	struct transport *transport = transport_new(&flood_ops, &side->hv, domid, 0, 266176);
	struct msg_sock *sock =
		sock_new(&side->ctx->socks, SOCK_CHANNEL, SOCK_OPEN, CHANNEL_SEQPACKET);
	struct link *link;

	assert_true(transport && sock);
	transport->event = end;
	flood_of(transport)->frame = *frame;
	flood_of(transport)->frame.channel = 1;
	link = link_new(&side->ctx->links, transport, end, 0, 0, LINK_UP);
	sock->nonblock = true;
	sock_set_channel(sock, channel_new(&link->channels, 1, CHANNEL_SEQPACKET, false));
	return sock;
}

static struct flood *flood_at(const struct msg_sock *sock)
{
	return flood_of(sock->channel->set->transport);
}

/* More than honest ends ever use up, so that nothing but turns bounds the flood. */
static void allow_all(struct channel *channel)
{
	channel->rx_free = UINT32_MAX;
	channel->rx_window = UINT32_MAX - CREDIT_MAX;
	channel->rx_limit = CREDIT_INITIAL;
	channel->pool->promised -= CREDIT_INITIAL;
	channel->account->promised -= CREDIT_INITIAL;
}

static const struct frame frame_limit = {.type = FRAME_LIMIT, .arg = 5000};
static const struct frame frame_credit = {.type = FRAME_CREDIT, .arg = 1};
static const struct frame frame_empty = {.type = FRAME_DATA, .flags = FRAME_FIRST | FRAME_LAST};
static const struct frame frame_large = {.type = FRAME_DATA,
	.flags = FRAME_FIRST | FRAME_LAST,
	.len = FRAME_PAYLOAD_MAX,
	.arg = FRAME_PAYLOAD_MAX};

/* ---- frames that cost no credit --------------------------------------------------------- */

static void test_free_frames_are_counted(void **state)
{
	static const struct {
		const struct frame *frame;
		const char *reason;
	} rows[] = {
		{&frame_limit, "more limits than there was data"},
		{&frame_credit, "more frames of credit than there was data"},
	};
	struct pair_side *b = pair_side_of(state, B);

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct msg_sock *sock = flood_new(b, 100 + i, 7, rows[i].frame);
		struct flood flood;
		char byte;

		for (int turns = 0; channel_link(sock->channel); turns++) {
			assert_in_range(turns, 0, 100);
			flood = *flood_at(sock);
			(void)msg_recv(sock, &byte, 1, 0);
		}
		assert_in_range(flood.n, FREE_FRAMES / 2, 2 * FREE_FRAMES);
		assert_int_equal(msg_recv(sock, &byte, 1, 0), -1);
		assert_int_equal(errno, ECONNRESET);
		assert_string_equal(msg_reason(), rows[i].reason);
	}
	assert_int_equal(b->link->state, LINK_UP);
}

/* A frame of the victim's pays for one of them: a stream may go on for ever. */
static void test_data_pays_for_credit(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	char bytes[4000];

	for (int i = 0; i < 20 * (int)FREE_FRAMES; i++) {
		assert_int_equal(msg_send(a->sock, bytes, sizeof(bytes), 0), sizeof(bytes));
		assert_int_equal(msg_recv(b->sock, bytes, sizeof(bytes), 0), sizeof(bytes));
		pair_take(a);
	}
	assert_in_range(a->channel->rx_free, FREE_FRAMES - 16, FREE_FRAMES);
}

/* This end keeps to it: the last limit waits until the peer has said something. */
static void test_own_limits_are_few(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	uint32_t before = a->channel->rx_free;
	char byte;

	for (int i = 1; i <= 5 * (int)FREE_FRAMES; i++) {
		assert_int_equal(msg_setopt(b->sock, LIBMSG_MAXMSG, i), 0);
		pair_take(a);
	}
	assert_in_range(before - a->channel->rx_free, 1, LIMIT_FRAMES);
	assert_int_equal(msg_send(a->sock, "x", 1, 0), 1);
	assert_int_equal(msg_recv(b->sock, &byte, 1, 0), 1);
	pair_take(a);
	assert_int_equal(a->channel->tx_maxmsg, 5 * FREE_FRAMES);
	assert_int_equal(a->link->state, LINK_UP);
}

/* The credit for a message under way does not pay for its fragments without end. */
static void test_fragments_are_counted(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct frame frame = {
		.channel = PAIR_CHANNEL, .type = FRAME_DATA, .flags = FRAME_FIRST, .arg = 100000};
	char byte;
	int n;

	for (n = 0; b->link->state == LINK_UP && n < 2000; n++) {
		pair_inject_frame(*state, A, &frame);
		(void)msg_recv(b->sock, &byte, 1, 0);
		if (!b->channel->set)
			break;
		frame.flags = 0;
		frame.arg = 0;
	}
	assert_int_equal(n, 100000 / 4064 + FRAGMENTS_SPARE + 1);
	assert_int_equal(msg_recv(b->sock, &byte, 1, 0), -1);
	assert_string_equal(msg_reason(), "a message in more fragments than it needs");
}

/* Frames to an end that has closed are dropped, but the same rules hold. */
static void test_frames_after_the_close_are_counted(void **state)
{
	static const struct {
		struct frame frame;
		unsigned n; /* at least so many are let pass */
	} rows[] = {
		{{.type = FRAME_DATA, .flags = FRAME_FIRST | FRAME_LAST},
			2 * CREDIT_INITIAL / FRAME_CHARGE - 1},
		{{.type = FRAME_LIMIT, .arg = 1}, FREE_FRAMES - 16},
		{{.type = FRAME_CREDIT, .arg = 1}, FREE_FRAMES - 16},
		{{.type = FRAME_SHUTDOWN}, 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct pair *pair = pair_new(4);
		struct pair_side *a = &pair->sides[A];
		struct frame frame = rows[i].frame;
		unsigned n;

		frame.channel = PAIR_CHANNEL;
		assert_int_equal(msg_close(a->sock), 0);
		a->sock = NULL;
		for (n = 0; link_find(&a->ctx->links, PAIR_END); n++) {
			assert_in_range(n, 0, 2000);
			pair_inject_frame(pair, B, &frame);
			pair_take(a);
		}
		assert_in_range(n, rows[i].n + 1, rows[i].n + 40);
		pair_free(pair);
	}
}

/* ---- turns ------------------------------------------------------------------------------ */

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

/* Eight peers of two domains. */
static void floods_new(struct pair_side *b, struct msg_sock *ret_socks[N_HOSTILE],
	const struct frame *frame, bool strange)
{
	for (unsigned i = 0; i < N_HOSTILE; i++) {
		ret_socks[i] = flood_new(b, 100 + i, (uint16_t)(7 + i % 2), frame);
		allow_all(ret_socks[i]->channel);
		flood_at(ret_socks[i])->strange = strange;
	}
}

static unsigned floods_count(struct msg_sock *socks[N_HOSTILE])
{
	unsigned n = 0;

	for (unsigned i = 0; i < N_HOSTILE; i++)
		n += flood_at(socks[i])->n;
	return n;
}

static const struct {
	const struct frame *frame;
	bool strange;
	int32_t cost;
} kinds[] = {
	{&frame_limit, false, TURN_COST_BARE},
	{&frame_credit, false, TURN_COST_BARE},
	{&frame_limit, true, TURN_COST_BARE},
	{&frame_empty, false, TURN_COST_DATA},
	{&frame_large, false, TURN_COST_DATA + FRAME_PAYLOAD_MAX},
};

/* Whatever eight peers publish, a call that has no time comes back at once. */
static void test_calls_are_bounded(void **state)
{
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct pair *pair = pair_new(4);
		struct pair_side *b = &pair->sides[B];
		struct msg_sock *socks[N_HOSTILE];
		const unsigned most = CALL_ROUNDS * (LINK_ROUND + LINK_TURN) / kinds[k].cost;
		uint64_t least_ns = UINT64_MAX;
		char byte;

		floods_new(b, socks, kinds[k].frame, kinds[k].strange);
		for (int i = 0; i < 20; i++) {
			unsigned before = floods_count(socks);
			uint64_t began = cpu_ns();

			(void)msg_recv(b->sock, &byte, 1, 0);
			least_ns = min_u64(least_ns, cpu_ns() - began);
			assert_in_range(floods_count(socks) - before, 1, most);
		}
		assert_true(least_ns < CALL_CPU_NS);
		assert_int_equal(b->link->state, LINK_UP);
		pair_free(pair);
	}
}

/* A turn may end with the ring's last message, a stranger's: nobody comes back to tell of room. */
static void test_room_after_a_turn(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct msg_sock *sock = flood_new(b, 100, 7, &frame_limit);
	struct flood *flood = flood_at(sock);

	flood->strange = true;
	flood->base.untold = 1;
	driver_take(&b->ctx->driver, channel_link(sock->channel), NULL);
	assert_int_equal(flood->n_room, 0); /* the next turn tells */
	flood->over = true;
	driver_take(&b->ctx->driver, channel_link(sock->channel), NULL);
	assert_int_equal(flood->n_room, 1);
}

/* The numbers by which libmsg/link/link.h explains a turn. */
static void test_turn_in_numbers(void **state)
{
	assert_int_equal(LINK_TURN, 4 * 65536);
	assert_int_equal(LINK_ROUND, 4 * LINK_TURN);
	assert_in_range(LINK_TURN / TURN_COST_DATA, 250, 260);
	assert_int_equal(LINK_TURN / TURN_COST_BARE, 32);
	assert_int_equal(LINK_TURN / TURN_COST_FLUSH, 32);
	assert_int_equal(TURN_COST_LEN(1U << 20), 65536);
	assert_int_equal(ROOM_BATCH * ROOM_ROUNDS, 512);
	assert_int_equal(ROOM_ROUNDS, 8);
	assert_int_equal(BURY_BATCH, 2048);
}

/* A turn ends where it is used up, whatever used it up. */
static void test_turns_end(void **state)
{
	struct pair_side *b = pair_side_of(state, B);

	for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct msg_sock *sock = flood_new(b, 100 + k, 7, kinds[k].frame);
		struct link *link = channel_link(sock->channel);
		struct flood *flood = flood_at(sock);
		int32_t cost = kinds[k].cost;

		if (kinds[k].frame == &frame_large)
			cost += FRAME_PAYLOAD_MAX / 16; /* memory for it */
		allow_all(sock->channel);
		flood->strange = kinds[k].strange;
		for (int32_t rest = -1; rest <= 1; rest++) {
			flood->n = 0;
			link->turn = 3 * cost + rest;
			while (link_receive(link, NULL) == LINK_DUE)
				link_flush(link);
			assert_int_equal(flood->n, rest > 0 ? 4 : 3);
			assert_true(link->turn <= 0);
		}
	}
}

/* Time limits are looked at between turns. */
static void test_limits_hold(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct msg_sock *socks[N_HOSTILE];
	unsigned before;
	char byte;

	floods_new(b, socks, &frame_limit, false);
	b->clock_step_ns = 1000000;
	for (unsigned i = 0; i < N_HOSTILE; i++) {
		before = floods_count(socks);
		socks[i]->nonblock = false;
		assert_int_equal(msg_setopt(socks[i], LIBMSG_RCVTIMEO, 100), 0);
		assert_int_equal(msg_recv(socks[i], &byte, 1, 0), -1);
		assert_int_equal(errno, EAGAIN);
		/* The clock moves by a millisecond each time that it is read. */
		assert_in_range(floods_count(socks) - before, 1,
			100 * (LINK_ROUND + 2 * LINK_TURN) / TURN_COST_BARE);
	}
}

/* A link that carries data has half of the work at least, and its turn in every third round. */
static void test_others_are_served(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	const struct focus none = {0};
	struct msg_sock *socks[N_HOSTILE], *honest;
	unsigned last = 0;

	for (size_t k = 0; k < 3; k++) {
		if (k > 0) {
			pair_free(*state);
			*state = pair_new(4);
			b = pair_side_of(state, B);
		}
		floods_new(b, socks, kinds[k].frame, kinds[k].strange);
		honest = flood_new(b, 99, 9, &frame_empty);
		allow_all(honest->channel);
		last = 0;
		for (int round = 1; round <= 300; round++) {
			driver_drive(&b->ctx->driver, &none);
			if (round % 3)
				continue;
			assert_true(flood_at(honest)->n > last);
			last = flood_at(honest)->n;
		}
		assert_in_range(floods_count(socks), 1, last * 5 / 4);
	}
}

/* ---- ends step by step ------------------------------------------------------------------ */

/* The rest of an endless ring is taken in by turns, as much as a ring can hold. */
static void test_endless_drain(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct msg_sock *sock = flood_new(b, 100, 7, &frame_limit);
	struct link *link = channel_link(sock->channel);
	struct flood *flood = flood_at(sock);
	uint32_t turns;
	char byte;

	allow_all(sock->channel);
	link_end(link, LINK_PEER_GONE, "the peer was killed");
	turns = link->drain;
	/* A ring of 266,176 bytes has 16,636 headers; a turn takes 32 frames that bring nothing. */
	assert_int_equal(turns, 1 + 16636 / 32);
	for (uint32_t i = 1; i < turns; i++) {
		unsigned before = flood->n;

		driver_pass(&b->ctx->driver);
		assert_in_range(flood->n - before, 1, LINK_TURN / TURN_COST_BARE);
		assert_int_equal(link->state, LINK_ENDING);
		assert_true(driver_arm(&b->ctx->driver)); /* nobody may sleep */
	}
	driver_pass(&b->ctx->driver);
	assert_null(link_find(&b->ctx->links, 100));
	assert_int_equal(msg_recv(sock, &byte, 1, 0), -1);
	assert_string_equal(msg_reason(), "the peer was killed");
	driver_pass(&b->ctx->driver);
	assert_false(b->ctx->pool.marked);
}

/* A link with many channels ends in steps; calls that wait look at their limits in between. */
static void test_many_channels_end(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct control_message message;
	unsigned passes = 1, failed = 0;

	for (uint32_t n = 0; n < 3 * BURY_BATCH; n++)
		assert_non_null(channel_new(&a->link->channels, 100 + n, CHANNEL_SEQPACKET, true));
	while (!TAILQ_EMPTY(&a->ctx->pool.due))
		driver_pass(&a->ctx->driver);
	link_end(a->link, LINK_VIOLATED, "test");
	for (driver_pass(&a->ctx->driver); link_find(&a->ctx->links, PAIR_END); passes++) {
		assert_true(a->ctx->pool.marked);
		assert_true(driver_arm(&a->ctx->driver));
		driver_pass(&a->ctx->driver);
	}
	assert_int_equal(passes, 4);
	assert_int_equal(a->channel->error, ECONNRESET);
	while (pair_control(a, &message))
		failed += message.type == CONTROL_LINK_FAILED;
	assert_int_equal(failed, 1); /* msgd is told once */
	/* They have no sockets that would free them. */
	for (struct account *account; (account = a->channel->account);) {
		struct channel *channel = TAILQ_FIRST(&account->dead);

		if (channel->sock)
			channel = TAILQ_NEXT(channel, entry_dead);
		if (!channel)
			break;
		channel_free(channel);
	}
}

/* Room that is claimed again and again has some channels tried, not all of them for ever. */
static void test_room_in_batches(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct msg_sock *sock = flood_new(b, 100, 7, &frame_limit);
	struct link *link = channel_link(sock->channel);
	struct flood *flood = flood_at(sock);
	struct channel *channel, *next;

	for (uint32_t n = 0; n < 100 * ROOM_BATCH; n++) {
		channel = channel_new(&link->channels, 100 + n, CHANNEL_SEQPACKET, false);
		channel_unqueue(channel);
		channel_block(channel);
	}
	flood->full = true;
	flood->n_put = 0;
	link_room(link);
	/* One frame was due already, the first credit of the socket's channel. */
	assert_int_equal(flood->n_put, 1 + ROOM_BATCH * ROOM_ROUNDS);
	assert_true(link->look);
	assert_false(link->armed);
	assert_true(driver_arm(&b->ctx->driver));
	flood->full = false;
	for (int i = 0; i < 100 && !TAILQ_EMPTY(&link->channels.blocked); i++)
		link_room(link);
	assert_true(TAILQ_EMPTY(&link->channels.blocked));
	HASH_ITER (hh, link->channels.by_number, channel, next) {
		if (channel != sock->channel)
			channel_free(channel);
	}
}

/* A link whose event came is looked at before it is armed, though the round was over. */
static void test_looked_at_before_armed(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	const struct focus none = {0};
	struct msg_sock *socks[N_HOSTILE];

	driver_drive(&b->ctx->driver, &none);
	assert_false(driver_arm(&b->ctx->driver));
	assert_true(b->link->armed);
	floods_new(b, socks, &frame_limit, false);
	link_look(b->link); /* the last in the list */
	atomic_store(&b->pair->page->end[A].alive, 0);
	driver_drive(&b->ctx->driver, &none);
	assert_true(link_is_up(b->link));
	assert_true(driver_arm(&b->ctx->driver));
	assert_false(b->link->armed);
	driver_drive(&b->ctx->driver, &none);
	driver_drive(&b->ctx->driver, &none);
	assert_null(link_find(&b->ctx->links, PAIR_END)); /* the peer's death was seen */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_free_frames_are_counted),
		TEST(test_data_pays_for_credit),
		TEST(test_own_limits_are_few),
		TEST(test_fragments_are_counted),
		TEST(test_frames_after_the_close_are_counted),
		TEST(test_calls_are_bounded),
		TEST(test_turn_in_numbers),
		TEST(test_turns_end),
		TEST(test_room_after_a_turn),
		TEST(test_limits_hold),
		TEST(test_others_are_served),
		TEST(test_endless_drain),
		TEST(test_many_channels_end),
		TEST(test_room_in_batches),
		TEST(test_looked_at_before_armed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
