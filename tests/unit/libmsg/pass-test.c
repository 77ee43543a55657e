/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames are taken in until something stops it, and each reason has an outcome of its own. The pass
 * acts on the marks that are left: it ends links, tells msgd and sockets, and frees.
 */
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "tests/support/aborts.h"
#include "tests/support/cmocka-all.h"
#include "tests/support/failing-malloc.h"
#include "tests/support/link-pair.h"

#define A 0 /* sends by hand */
#define B 1 /* takes in */

static void inject_bare(void **state, uint32_t channel, uint8_t type, uint32_t arg)
{
	pair_inject_frame(*state, A, &(struct frame){.channel = channel, .type = type, .arg = arg});
}

/* Bytes of frames that B has not moved past. */
static uint32_t unread(struct pair_side *side)
{
	struct grant_end *end = container_of(side->link->transport, struct grant_end, paged.base);

	return atomic_load(end->rx.produced) - end->rx.own;
}

/* ---- the outcomes of link_receive ------------------------------------------------------- */

static void test_empty(void **state)
{
	struct pair_side *b = pair_side_of(state, B);

	b->link->turn = LINK_TURN;
	assert_int_equal(link_receive(b->link, NULL), LINK_EMPTY);
	pair_inject_message(*state, A, 0);
	pair_inject_message(*state, A, 16);
	assert_int_equal(link_receive(b->link, NULL), LINK_EMPTY);
	assert_int_equal(unread(b), 0);
	assert_int_equal(b->link->turn, LINK_TURN - 2 * TURN_COST_DATA - 16 - 1);
}

/* A message at the head of the queue serves a receive; later frames stay in the ring. */
static void test_served_by_the_queue(void **state)
{
	struct pair_side *b = pair_side_of(state, B);

	pair_inject_message(*state, A, 16);
	pair_inject_message(*state, A, 16);
	b->link->turn = LINK_TURN;
	assert_int_equal(link_receive(b->link, b->channel), LINK_SERVED);
	assert_int_equal(unread(b), 32);
}

static void test_served_directly(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	char bytes[16];
	struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};
	struct reader reader = {.channel = b->channel,
		.cursor = {&iov, 1, 0},
		.size = sizeof(bytes),
		.direct = true};

	inject_bare(state, PAIR_CHANNEL, FRAME_LIMIT, 5000); /* serves nobody */
	pair_inject_message(*state, A, 16);
	pair_inject_message(*state, A, 16);
	b->channel->reader = &reader;
	b->link->turn = LINK_TURN;
	assert_int_equal(link_receive(b->link, b->channel), LINK_SERVED);
	assert_true(reader.done);
	assert_int_equal(reader.len, 16);
	assert_null(b->channel->reader);
	assert_int_equal(unread(b), 32);
	assert_true(STAILQ_EMPTY(&b->channel->in));
}

/* Credit for what a reader was served goes out with what was kept back, not behind it. */
static void test_served_and_due(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	char bytes[CREDIT_INITIAL / 2];
	struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};
	struct reader reader = {.channel = b->channel,
		.cursor = {&iov, 1, 0},
		.size = sizeof(bytes),
		.direct = true};

	pair_inject_message(*state, A, sizeof(bytes));
	b->channel->reader = &reader;
	b->channel->rx_window = sizeof(bytes) + FRAME_CHARGE;
	driver_take(&b->ctx->driver, b->link, b->channel);
	assert_true(reader.done);
	assert_false(b->channel->credit_due);
	assert_true(TAILQ_EMPTY(&b->link->channels.due));
}

/* If a frame makes an answer due, the caller sends the answer before the next frame is taken in. */
static void test_due(void **state)
{
	struct pair_side *b = pair_side_of(state, B);

	b->channel->tx_open = false; /* a listener's end, which now hears the first frame */
	inject_bare(state, PAIR_CHANNEL, FRAME_LIMIT, 5000);
	inject_bare(state, PAIR_CHANNEL, FRAME_LIMIT, 6000);
	b->link->turn = LINK_TURN;
	assert_int_equal(link_receive(b->link, NULL), LINK_DUE);
	assert_int_equal(unread(b), 16);
	assert_int_equal(b->channel->tx_maxmsg, 5000);
	assert_ptr_equal(channel_next_due(&b->link->channels), b->channel);
	assert_int_equal(link_receive(b->link, NULL), LINK_EMPTY);
}

static void test_unknown(void **state)
{
	struct pair_side *b = pair_side_of(state, B);

	inject_bare(state, 77, FRAME_CREDIT, 1);
	pair_inject_message(*state, A, 16);
	b->link->turn = LINK_TURN;
	assert_int_equal(link_receive(b->link, NULL), LINK_UNKNOWN);
	assert_int_equal(link_receive(b->link, NULL), LINK_UNKNOWN);
	assert_int_equal(unread(b), 48);
	link_skip(b->link);
	assert_int_equal(link_receive(b->link, b->channel), LINK_SERVED);
}

/* The frame of a known channel settles what the answer to a SYNC was awaited for. */
static void test_known_again(void **state)
{
	struct pair_side *b = pair_side_of(state, B);

	inject_bare(state, 77, FRAME_CREDIT, 1);
	b->link->turn = LINK_TURN;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(link_receive(b->link, NULL), LINK_UNKNOWN);
		link_sync(b->link, 5);
		link_synced(b->link);
		assert_int_equal(b->link->state, LINK_SYNCED);
		if (i == 0)
			assert_non_null(
				channel_new(&b->link->channels, 77, CHANNEL_SEQPACKET, true));
		else
			link_skip(b->link);
		assert_int_equal(link_receive(b->link, NULL), i == 0 ? LINK_DUE : LINK_EMPTY);
		assert_int_equal(b->link->state, LINK_UP);
		while (channel_next_due(&b->link->channels))
			;
		inject_bare(state, 78, FRAME_CREDIT, 1);
	}
	link_skip(b->link);
	channel_close(channel_find(&b->link->channels, 77), CLOSE_NORMAL);
}

static void test_turn_over(void **state)
{
	struct pair_side *b = pair_side_of(state, B);

	for (int i = 0; i < 3; i++)
		pair_inject_message(*state, A, 16);
	b->link->turn = 0;
	assert_int_equal(link_receive(b->link, NULL), LINK_TURN_OVER);
	assert_int_equal(unread(b), 96);
	b->link->turn = TURN_COST_DATA + 16 + 1 + 1; /* the rest is enough for one more */
	assert_int_equal(link_receive(b->link, NULL), LINK_TURN_OVER);
	assert_int_equal(unread(b), 32);
	b->link->turn = 1;
	assert_int_equal(link_receive(b->link, NULL), LINK_EMPTY);
}

/* A frame that brings nothing costs more, and a message in private memory by its length. */
static void test_turn_by_cost(void **state)
{
	struct pair_side *b = pair_side_of(state, B);

	b->link->turn = LINK_TURN;
	inject_bare(state, PAIR_CHANNEL, FRAME_LIMIT, 5000);
	assert_int_equal(link_receive(b->link, NULL), LINK_EMPTY);
	assert_int_equal(b->link->turn, LINK_TURN - TURN_COST_BARE);
	inject_bare(state, PAIR_CHANNEL, FRAME_CREDIT, 1);
	assert_int_equal(link_receive(b->link, NULL), LINK_EMPTY);
	assert_int_equal(b->link->turn, LINK_TURN - 2 * TURN_COST_BARE);
	b->link->turn = LINK_TURN;
	pair_inject_frame(*state, A,
		&(struct frame){.channel = PAIR_CHANNEL,
			.type = FRAME_DATA,
			.flags = FRAME_FIRST,
			.len = 32,
			.arg = 1U << 20});
	assert_int_equal(link_receive(b->link, NULL), LINK_DUE); /* credit for the rest */
	assert_int_equal(b->link->turn, LINK_TURN - TURN_COST_DATA - 32 - (1 << 20) / 16);
	b->link->turn = LINK_TURN;
	inject_bare(state, 77, FRAME_CREDIT, 1);
	link_flush(b->link);
	assert_int_equal(link_receive(b->link, NULL), LINK_UNKNOWN);
	link_skip(b->link);
	assert_int_equal(b->link->turn, LINK_TURN - TURN_COST_BARE);
}

static void test_violation(void **state)
{
	struct pair_side *b = pair_side_of(state, B);

	b->link->turn = LINK_TURN;
	pair_inject_message(*state, A, CREDIT_INITIAL);
	assert_int_equal(link_receive(b->link, NULL), LINK_VIOLATION);
	assert_string_equal(b->link->channels.breach, "more data than the credit given");
	/* It marks nothing and moves past nothing: the driver acts. */
	assert_int_equal(b->link->state, LINK_UP);
	assert_int_equal(unread(b), FRAME_HEADER_SIZE + CREDIT_INITIAL);
	assert_true(TAILQ_EMPTY(&b->ctx->links.ending));
}

static void test_over_budget(void **state)
{
	struct pair_side *b = pair_side_of(state, B);

	uint64_t held = b->ctx->pool.held;

	b->link->turn = LINK_TURN;
	b->ctx->pool.held = CHANNEL_BUDGET - msg_buf_charge(64);
	pair_inject_message(*state, A, 64);
	pair_inject_message(*state, A, 0);
	assert_int_equal(link_receive(b->link, NULL), LINK_OVER_BUDGET);
	assert_int_equal(unread(b), 16);
	assert_int_equal(b->ctx->pool.held, CHANNEL_BUDGET);
	assert_null(b->channel->partial);
	b->ctx->pool.held = held + msg_buf_charge(64);
	assert_int_equal(link_receive(b->link, NULL), LINK_EMPTY);
}

static void test_out_of_memory(void **state)
{
	struct pair_side *b = pair_side_of(state, B);

	b->link->turn = LINK_TURN;
	pair_inject_message(*state, A, 64);
	failing_malloc_set(1);
	assert_int_equal(link_receive(b->link, NULL), LINK_OUT_OF_MEMORY);
	assert_true(failing_malloc_end());
	assert_string_equal(b->link->channels.breach, "out of memory for a message");
	assert_int_equal(b->ctx->pool.held, b->channel->held);
	assert_int_equal(link_receive(b->link, b->channel), LINK_SERVED);
}

/* ---- the driver ------------------------------------------------------------------------- */

static struct {
	struct transport_ops ops;
	void **state;
	unsigned n_next;
} endless;

/* The peer writes one more frame for each that is moved past. */
static void endless_next(struct transport *transport)
{
	transport_grant.next(transport);
	endless.n_next++;
	assert_in_range(endless.n_next, 0, 100000);
	inject_bare(endless.state, PAIR_CHANNEL, FRAME_LIMIT, 5000);
}

/* A peer that goes on writing has one turn, of a few dozen frames that bring nothing. */
static void test_turn_of_an_endless_peer(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct transport *transport = b->link->transport;

	endless.ops = transport_grant;
	endless.ops.next = endless_next;
	endless.state = state;
	endless.n_next = 0;
	transport->ops = &endless.ops;
	while (unread(b) < transport->ring_len)
		inject_bare(state, PAIR_CHANNEL, FRAME_LIMIT, 5000);
	for (unsigned turn = 1; turn <= 3; turn++) {
		driver_take(&b->ctx->driver, b->link, NULL);
		assert_int_equal(endless.n_next, turn * LINK_TURN / TURN_COST_BARE);
	}
	assert_int_equal(b->link->state, LINK_UP);
	assert_false(b->link->armed);
	assert_true(driver_arm(&b->ctx->driver)); /* nobody may sleep */
	assert_false(b->link->armed);
	transport->ops = &transport_grant;
	b->channel->rx_free = transport->ring_len / FRAME_HEADER_SIZE;
	for (int i = 0; unread(b); i++) {
		assert_in_range(i, 0, 100);
		pair_take(b);
	}
	/* All its room is given back once nothing is left. */
	assert_int_equal(atomic_load(&b->pair->page->end[B].consumed),
		atomic_load(&b->pair->page->end[A].produced));
	assert_false(driver_arm(&b->ctx->driver));
	assert_true(b->link->armed);
}

/* Frames that were served wait; all others that are there are taken in. */
static void test_take_goes_on_after_due(void **state)
{
	struct pair_side *b = pair_side_of(state, B);

	b->channel->tx_open = false;
	inject_bare(state, PAIR_CHANNEL, FRAME_LIMIT, 5000);
	inject_bare(state, PAIR_CHANNEL, FRAME_LIMIT, 6000);
	driver_take(&b->ctx->driver, b->link, NULL);
	assert_int_equal(b->link->turn, LINK_TURN - 2 * TURN_COST_BARE - TURN_COST_FLUSH);
	assert_int_equal(b->channel->tx_maxmsg, 6000);
	assert_int_equal(b->link->turn, LINK_TURN - 2 * TURN_COST_BARE - TURN_COST_FLUSH);
	assert_true(TAILQ_EMPTY(&b->link->channels.due));
	assert_true(TAILQ_EMPTY(&b->ctx->pool.due));
}

/* Frames are taken in on the way to a send: what was kept back goes with what they make due. */
static void test_take_shows_what_was_kept_back(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	unsigned before = b->n_events;

	assert_int_equal(msg_send(b->sock, "x", 1, MSG_MORE), 1);
	assert_true(b->link->transport->unpushed);
	doorbell_arm(&b->pair->page->end[A].sleeping);
	inject_bare(state, PAIR_CHANNEL, FRAME_LIMIT, 5000); /* makes nothing due */
	driver_take(&b->ctx->driver, b->link, NULL);
	assert_false(b->link->transport->unpushed);
	assert_int_equal(b->n_events, before + 1);
	assert_int_equal(unread(pair_side_of(state, A)), 32);
}

/* The same where the peer sees the frames already, but may sleep over them; or the reverse. */
static void test_take_rings_the_bell(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct transport *transport = b->link->transport;
	unsigned before = b->n_events;

	doorbell_arm(&b->pair->page->end[A].sleeping);
	assert_int_equal(transport_put_bare(transport, PAIR_CHANNEL, FRAME_LIMIT, 5000), 0);
	assert_true(transport->bell_due && !transport->unpushed);
	driver_take(&b->ctx->driver, b->link, NULL);
	assert_int_equal(b->n_events, before + 1);
	transport->unpushed = true;
	assert_false(transport->bell_due);
	driver_take(&b->ctx->driver, b->link, NULL);
	assert_false(transport->unpushed);
}

static void test_nothing_is_taken_while_syncing(void **state)
{
	struct pair_side *b = pair_side_of(state, B);

	pair_inject_message(*state, A, 16);
	link_sync(b->link, 5);
	driver_take(&b->ctx->driver, b->link, NULL);
	assert_int_equal(unread(b), 32);
	assert_false(driver_arm(&b->ctx->driver)); /* it waits for msgd's answer */
	assert_true(b->link->armed);
	link_synced(b->link);
	assert_false(b->link->armed); /* the driver looks at it */
	driver_take(&b->ctx->driver, b->link, NULL);
	assert_int_equal(unread(b), 0);
}

/* ---- the life of a link ----------------------------------------------------------------- */

static void move_link(void *arg)
{
	enum link_state *move = arg;
	struct links links;
	struct pool pool;
	struct link link = {.links = &links, .state = move[0]};

	pool_init(&pool);
	links_init(&links, NULL, &pool);
	link_set_state(&link, move[1]);
	must(link.state == move[1]);
	must(link.channels.up == link_is_up(&link));
}

static void test_link_moves(void **state)
{
	static const char legal[LINK_DEAD][LINK_DEAD + 1] = {
		/* to: MAKING UP SYNCING SYNCED ENDING DEAD */
		[LINK_MAKING - 1] = ".u..e.",
		[LINK_UP - 1] = "..s.e.",
		[LINK_SYNCING - 1] = "...se.",
		[LINK_SYNCED - 1] = ".u..e.",
		[LINK_ENDING - 1] = ".....d",
		[LINK_DEAD - 1] = "......",
	};

	for (int from = LINK_MAKING; from <= LINK_DEAD; from++) {
		for (int to = LINK_MAKING; to <= LINK_DEAD; to++) {
			enum link_state move[2] = {(enum link_state)from, (enum link_state)to};

			if (legal[from - 1][to - 1] != '.')
				move_link(move);
			else
				assert_true(aborts(move_link, move));
		}
	}
}

/* Whatever its state is, a link can end, and its number is free then. */
static void test_end_in_each_state(void **state)
{
	for (int s = LINK_MAKING; s <= LINK_SYNCED; s++) {
		struct pair *pair = pair_new(4);
		struct pair_side *b = &pair->sides[B];
		struct transport *transport =
			transport_new(&transport_grant, &b->hv, 0, 0, HV_PAGE_SIZE);
		struct link *link;

		transport->port = transport->event = 9;
		link = link_new(&b->ctx->links, transport, 50, 0, 0,
			s == LINK_MAKING ? LINK_MAKING : LINK_UP);
		if (s >= LINK_SYNCING)
			link_sync(link, 5);
		if (s == LINK_SYNCED)
			link_synced(link);
		assert_int_equal(link->state, s);
		link_end(link, LINK_LEFT, "test");
		assert_int_equal(link->state, LINK_ENDING);
		assert_ptr_equal(link_find(&b->ctx->links, 50), link);
		driver_pass(&b->ctx->driver);
		assert_null(link_find(&b->ctx->links, 50));
		assert_null(link_find_event(&b->ctx->links, 9));
		assert_true(TAILQ_EMPTY(&b->ctx->links.grave));
		assert_ptr_equal(TAILQ_FIRST(&b->ctx->links.unarmed), b->link);
		assert_null(TAILQ_NEXT(b->link, entry_unarmed));
		pair_free(pair);
	}
}

static char logged[256];
static int logged_priority;

static void keep_line(void *arg, int priority, const char *line)
{
	assert_string_equal(logged, ""); /* once */
	(void)snprintf(logged, sizeof(logged), "%s", line);
	logged_priority = priority;
}

static void assert_logged(enum link_cause cause)
{
	bool violated = cause == LINK_VIOLATED;

	assert_string_equal(logged, violated ? "link 7 to domain 0 is reset: the reason"
					     : "link 7 to domain 0 ends: the reason");
	assert_int_equal(logged_priority, violated ? LOG_WARNING : LOG_INFO);
}

/* msgd is told of an end that it does not know of, with the error of its cause; so is the log. */
static void test_told_errors(void **state)
{
	static const int told[] = {
		[LINK_ENDED_BY_MSGD] = 0,
		[LINK_PEER_GONE] = 0,
		[LINK_LOST] = ECONNRESET,
		[LINK_VIOLATED] = EPROTO,
		[LINK_NO_MEMORY] = ENOMEM,
		[LINK_LEFT] = 0,
	};

	for (size_t cause = 0; cause < ARRAY_SIZE(told); cause++) {
		struct pair *pair = pair_new(4);
		struct control_message message;

		logged[0] = '\0';
		msg_ctx_set_log(pair->sides[B].ctx, keep_line, NULL);
		pair_end(&pair->sides[B], (enum link_cause)cause, "the reason");
		assert_logged((enum link_cause)cause);
		if (told[cause]) {
			assert_true(pair_control(&pair->sides[B], &message));
			assert_int_equal(message.type, CONTROL_LINK_FAILED);
			assert_int_equal(message.link_failed.end, PAIR_END);
			assert_int_equal(message.link_failed.error, told[cause]);
			assert_string_equal(message.link_failed.reason, "the reason");
		}
		assert_false(pair_control(&pair->sides[B], &message));
		pair_free(pair);
	}
}

/* A frame in the ring of a link that ends is taken in only if the peer kept to the protocol. */
static void test_drained_causes(void **state)
{
	static const bool drained[] = {
		[LINK_ENDED_BY_MSGD] = true,
		[LINK_PEER_GONE] = true,
		[LINK_LOST] = true,
		[LINK_VIOLATED] = false,
		[LINK_NO_MEMORY] = false,
		[LINK_LEFT] = false,
	};

	for (size_t cause = 0; cause < ARRAY_SIZE(drained); cause++) {
		struct pair *pair = pair_new(4);
		void *arg = pair;

		inject_bare(&arg, 77, FRAME_CREDIT, 1); /* of nobody; skipped */
		pair_inject_message(arg, A, 16);
		pair_end(&pair->sides[B], (enum link_cause)cause, "the reason");
		assert_int_equal(!STAILQ_EMPTY(&pair->sides[B].channel->in), drained[cause]);
		pair_free(pair);
	}
}

/* An end of a link that this process saw for itself: msgd, whose word lies unread, knows why. */
static void test_msgd_knows_why(void **state)
{
	static const struct {
		enum link_cause cause;
		const char *reason;
	} cases[] = {
		{LINK_PEER_GONE, "its domain was destroyed"},
		{LINK_VIOLATED, "seen here"},
		{LINK_LOST, "seen here"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct control_message down = {.type = CONTROL_LINK_DOWN,
			.link_down = {.end = PAIR_END,
				.error = ECONNRESET,
				.reason = "its domain was destroyed"}};
		struct pair *pair = pair_new(4);
		struct pair_side *b = &pair->sides[B];
		char byte;

		control_ring_send(&b->msgd, &down);
		(void)control_ring_publish(&b->msgd);
		pair_end(b, cases[i].cause, "seen here");
		assert_int_equal(msg_recv(b->sock, &byte, 1, 0), -1);
		assert_int_equal(errno, ECONNRESET);
		assert_string_equal(msg_reason(), cases[i].reason);
		/* Nothing more can be flushed, or shut down. */
		assert_int_equal(msg_flush(b->sock), -1);
		assert_int_equal(errno, ECONNRESET);
		assert_int_equal(msg_shutdown(b->sock, 1), -1);
		assert_int_equal(errno, ENOTCONN);
		pair_free(pair);
	}
}

/* Messages that had arrived find no memory: that is the reason, not what ended the link. */
static void test_drain_without_memory(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	char bytes[200];

	for (int i = 0; i < 4; i++)
		pair_inject_message(*state, A, 100);
	failing_malloc_set(2);
	pair_end(b, LINK_PEER_GONE, "the peer was killed");
	assert_true(failing_malloc_end());
	assert_int_equal(msg_recv(b->sock, bytes, sizeof(bytes), 0), 100);
	assert_int_equal(msg_recv(b->sock, bytes, sizeof(bytes), 0), -1);
	assert_int_equal(errno, ECONNRESET);
	assert_string_equal(msg_reason(), "out of memory for a message");
}

static void test_drain_over_budget(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	char byte;

	pair_inject_message(*state, A, 100);
	b->ctx->pool.held += CHANNEL_BUDGET;
	pair_end(b, LINK_PEER_GONE, "the peer was killed");
	b->ctx->pool.held -= CHANNEL_BUDGET;
	assert_int_equal(msg_recv(b->sock, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	assert_string_equal(msg_reason(), "more unread data than this application holds");
}

/* Without msgd's word about a channel its link ends: nobody waits for ever. */
static void test_control_link_is_broken(void **state)
{
	static const enum link_state states[] = {LINK_UP, LINK_SYNCING, LINK_SYNCED};

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		struct pair *pair = pair_new(4);
		struct pair_side *b = &pair->sides[B];
		void *arg = pair;
		char byte;

		if (states[i] >= LINK_SYNCING)
			link_sync(b->link, 5);
		if (states[i] == LINK_SYNCED)
			link_synced(b->link);
		control_break(&b->ctx->control, ENOMEM, "out of memory for a control message");
		driver_pass(&b->ctx->driver);
		assert_int_equal(!b->ctx->links.by_end, states[i] == LINK_SYNCING);
		if (b->ctx->links.by_end) {
			inject_bare(&arg, 77, FRAME_CREDIT, 1); /* of a channel that msgd grants */
			pair_take(b);
		}
		assert_null(b->ctx->links.by_end);
		assert_int_equal(msg_recv(b->sock, &byte, 1, 0), -1);
		assert_int_equal(errno, ECONNRESET);
		assert_string_equal(msg_reason(), "out of memory for a control message");
		pair_free(pair);
	}
}

/* A link that the hypervisor has refused, and that ended before it was tried again. */
static void test_end_while_refused(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct links *links = &b->ctx->links;

	b->link->transport->retry_ns = 1000;
	b->ctx->pool.wake = b->ctx->pool.rearm = false;
	link_check(b->link, -EAGAIN);
	assert_true(b->ctx->pool.wake && b->ctx->pool.rearm); /* a driver sleeps until then */
	assert_true(b->link->retrying);
	assert_int_equal(links_retry_time(links), 1000);
	pair_end(b, LINK_LEFT, "test");
	assert_int_equal(links_retry_time(links), UINT64_MAX);
	links_retry(links, 2000);
}

/* It is tried again at that time, and not before. */
static void test_retry_in_time(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct links *links = &b->ctx->links;

	b->link->transport->retry_ns = 1000;
	link_check(b->link, -EAGAIN);
	links_retry(links, 999);
	assert_int_equal(links_retry_time(links), 1000);
	links_retry(links, 1000);
	assert_int_equal(links_retry_time(links), UINT64_MAX);
	assert_false(b->link->retrying);
}

/* The thread that spins looks at the memory of a link that has ended meanwhile. */
static void test_spinning_keeps_the_dead(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct links *links = &b->ctx->links;

	b->ctx->driver.spinning = true;
	pair_end(b, LINK_LEFT, "test");
	assert_null(links->by_end);
	assert_ptr_equal(TAILQ_FIRST(&links->grave), b->link);
	assert_int_equal(b->link->state, LINK_DEAD);
	assert_int_equal(b->channel->state, CHANNEL_DEAD);
	b->ctx->driver.spinning = false;
	driver_pass(&b->ctx->driver);
	assert_true(TAILQ_EMPTY(&links->grave));
}

/* ---- the pass --------------------------------------------------------------------------- */

static unsigned channels_closed(struct pair_side *side)
{
	struct control_message message;
	unsigned n = 0;

	while (pair_control(side, &message)) {
		assert_int_equal(message.type, CONTROL_CHANNEL_CLOSED);
		assert_int_equal(message.channel_closed.end, PAIR_END);
		assert_int_equal(message.channel_closed.channel, PAIR_CHANNEL);
		n++;
	}
	return n;
}

/* Both ends have said CLOSE: msgd hears it once, and the number can be granted again. */
static void test_finished_is_told_once(void **state)
{
	struct pair_side *b = pair_side_of(state, B);

	sock_close_channel(b->sock, CLOSE_NORMAL);
	driver_pass(&b->ctx->driver);
	assert_int_equal(channels_closed(b), 0);
	assert_int_equal(b->channel->state, CHANNEL_CLOSING);
	inject_bare(state, PAIR_CHANNEL, FRAME_CLOSE, CLOSE_NORMAL);
	for (int i = 0; i < 3; i++)
		pair_take(b);
	assert_int_equal(channels_closed(b), 1);
	assert_null(channel_find(&b->link->channels, PAIR_CHANNEL));
	b->channel = channel_new(&b->link->channels, PAIR_CHANNEL, CHANNEL_SEQPACKET, true);
	assert_non_null(b->channel);
	assert_int_equal(b->ctx->pool.promised, CREDIT_INITIAL);
	sock_set_channel(b->sock, b->channel);
}

/* A socket is told of its channel's change in the pass, once for all changes. */
static void test_changed_is_told_once(void **state)
{
	struct pair_side *b = pair_side_of(state, B);

	(void)msg_ctx_dispatch(b->ctx, &(struct msg_event){0}, 1);
	assert_false(b->sock->ready);
	channel_changed(b->channel);
	channel_changed(b->channel);
	assert_ptr_equal(TAILQ_FIRST(&b->ctx->pool.changed), b->channel);
	assert_null(TAILQ_NEXT(b->channel, entry_changed));
	assert_false(b->sock->ready);
	assert_true(b->ctx->pool.marked);
	driver_unlock(&b->ctx->driver);
	assert_true(b->sock->ready);
	assert_true(TAILQ_EMPTY(&b->ctx->pool.changed));
	assert_false(b->ctx->pool.marked);
}

/* A mark of a channel that is freed before the pass is gone with it. */
static void test_marks_of_a_freed_channel(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct channel *channel = channel_new(&b->link->channels, 8, CHANNEL_SEQPACKET, false);

	channel_changed(channel);
	channel_block(channel);
	assert_true(channel->due && channel->blocked && channel->changed);
	channel_free(channel);
	assert_true(TAILQ_EMPTY(&b->ctx->pool.changed));
	assert_true(TAILQ_EMPTY(&b->ctx->pool.due));
	assert_true(TAILQ_EMPTY(&b->link->channels.due));
	assert_true(TAILQ_EMPTY(&b->link->channels.blocked));
	assert_int_equal(b->ctx->pool.promised, CREDIT_INITIAL);
}

/* A frame that is due is sent before the lock is dropped. */
static void test_due_is_sent_in_the_pass(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	unsigned before = b->n_events;

	doorbell_arm(&b->pair->page->end[A].sleeping);
	channel_set_maxmsg(b->channel, 4000);
	assert_int_equal(unread(pair_side_of(state, A)), 0);
	driver_unlock(&b->ctx->driver);
	assert_int_equal(unread(pair_side_of(state, A)), 16);
	assert_int_equal(b->n_events, before + 1);
	assert_int_equal(b->channel->due, false);
}

/* ---- the edges of a link --------------------------------------------------------------------- */

/* An error of a transport ends the link; EAGAIN and success do not. */
static void test_checked_errors(void **state)
{
	static const struct {
		int r;
		enum link_cause cause;
		const char *reason; /* NULL: it goes on */
	} cases[] = {
		{0, LINK_LEFT, NULL},
		{1, LINK_LEFT, NULL},
		{-EAGAIN, LINK_LEFT, NULL},
		{-EBADMSG, LINK_VIOLATED, "a counter that makes no sense"},
		{-ENOBUFS, LINK_NO_MEMORY, "no memory to send messages"},
		{-ECONNREFUSED, LINK_PEER_GONE, "the other process's ring is gone"},
		{-1, LINK_PEER_GONE, "the other process's ring is gone"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pair *pair = pair_new(4);
		struct link *link = pair->sides[B].link;

		link->transport->retry_ns = 1000;
		link_check(link, cases[i].r);
		assert_int_equal(link->state, cases[i].reason ? LINK_ENDING : LINK_UP);
		assert_int_equal(link->retrying, !cases[i].reason);
		if (cases[i].reason) {
			assert_int_equal(link->cause, cases[i].cause);
			assert_string_equal(link->reason, cases[i].reason);
		}
		pair_free(pair);
	}
}

/* The earliest of several links that are to be tried again; each in its time. */
static void test_retry_of_several(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct links *links = &b->ctx->links;
	struct link *link[3];

	for (unsigned i = 0; i < 3; i++) {
		struct transport *transport =
			transport_new(&transport_grant, &b->hv, 0, 0, HV_PAGE_SIZE);

		transport->event = 10 + i;
		link[i] = link_new(links, transport, 50 + i, 0, 0, LINK_UP);
		transport->retry_ns = 2000 - 500 * (i % 2);
		link_set_armed(link[i], true);
		link_sync(link[i], 1); /* it has no ring to read */
		b->ctx->pool.marked = false;
		link_check(link[i], -EAGAIN);
		assert_true(b->ctx->pool.marked);
		link_check(link[i], -EAGAIN); /* once is enough */
	}
	assert_int_equal(links_retry_time(links), 1500);
	link[1]->transport->ops = &transport_argo_strict; /* which has no page to look at */
	link[1]->transport->retry_ns = 1500;
	TAILQ_REMOVE(&links->retrying, link[1], entry_retrying);
	link[1]->retrying = false;
	assert_int_equal(links_retry_time(links), 2000);
	link_end(link[0], LINK_LEFT, "test");
	links_retry(links, 1999);
	assert_true(link[0]->retrying && link[2]->retrying);
	link[2]->transport->retry_ns = 3000;
	b->ctx->pool.wake = false;
	links_retry(links, 2000);
	assert_false(link[0]->retrying);
	assert_int_equal(link[0]->transport->retry_ns, 0);
	assert_false(b->ctx->pool.wake); /* it has ended: nobody waits for its room */
	assert_true(link[2]->retrying);
	assert_int_equal(links_retry_time(links), 3000);
}

/* The sender whose turn it is looks again when there is room, and those that wait for a push do. */
static void test_room_wakes(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct msg_sock *other = pair_channel(b, PAIR_CHANNEL + 1, true);

	pair_take(b);
	b->ctx->pool.wake = false;
	b->ctx->pool.wake_senders = 0;
	link_room(b->link);
	assert_false(b->ctx->pool.wake || b->ctx->pool.wake_senders);
	channel_queue(b->channel);
	channel_queue(other->channel);
	link_room(b->link);
	assert_int_equal(b->ctx->pool.wake_senders, channel_bit(b->channel));
	assert_false(b->ctx->pool.wake);
	b->link->transport->unpushed = true;
	link_room(b->link);
	assert_true(b->ctx->pool.wake);
}

static int keep_put(struct transport *transport, struct frame *frame, uint32_t least,
	struct iov_cursor *payload, bool more)
{
	return transport_grant.put(transport, frame, least, payload, true);
}

static int refused_push(struct transport *transport)
{
	return -EAGAIN;
}

/* A push that is refused keeps the link, and says so. */
static void test_push_is_refused(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct transport_ops ops = transport_grant;

	assert_int_equal(link_push(b->link), 0);
	ops.put = keep_put;
	ops.push = refused_push;
	b->link->transport->ops = &ops;
	assert_int_equal(transport_put_bare(b->link->transport, PAIR_CHANNEL, FRAME_LIMIT, 1), 0);
	assert_int_equal(link_push(b->link), 1);
	assert_int_equal(b->link->state, LINK_UP);
	assert_false(b->link->retrying);
	b->link->transport->retry_ns = 1000;
	assert_int_equal(link_push(b->link), 1);
	assert_true(b->link->retrying);
	b->link->transport->ops = &transport_grant;
	assert_int_equal(link_push(b->link), 0);
	pair_end(b, LINK_LEFT, "test");
}

static void test_skips_are_counted(void **state)
{
	struct pair_side *b = pair_side_of(state, B);

	for (uint32_t i = 1; i <= 3; i++) {
		inject_bare(state, 77, FRAME_CREDIT, 1);
		b->link->turn = LINK_TURN;
		assert_int_equal(link_receive(b->link, NULL), LINK_UNKNOWN);
		link_skip(b->link);
		assert_int_equal(b->link->n_skipped, i);
	}
	assert_int_equal(unread(b), 0);
}

/* A link that was never up has nothing to take in; msgd's word about it counts as a failure. */
static void test_end_while_making(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct links *links = &b->ctx->links;

	for (int cause = LINK_ENDED_BY_MSGD; cause <= LINK_LEFT; cause++) {
		struct transport *transport =
			transport_new(&transport_grant, &b->hv, 3, 0, HV_PAGE_SIZE);
		struct link *link;

		transport->event = 9;
		link = link_new(links, transport, 50, 0, 0, LINK_MAKING);
		assert_false(link->channels.up);
		link_end(link, (enum link_cause)cause, "the reason");
		assert_int_equal(link->drain, 0);
		assert_false(link->channels.up);
		assert_int_equal(links->backoff.peers != NULL, cause == LINK_ENDED_BY_MSGD);
		if (links->backoff.peers) {
			assert_int_equal(links->backoff.peers->error, ECONNRESET);
			assert_string_equal(links->backoff.peers->reason, "the reason");
			backoff_clear(&links->backoff);
		}
		driver_pass(&b->ctx->driver);
	}
	/* One that was up is no failure. */
	pair_end(b, LINK_ENDED_BY_MSGD, "the reason");
	assert_null(links->backoff.peers);
}

/* msgd's word replaces the reason of a peer that is gone, and nothing else of the end. */
static void test_msgds_reason(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct link *link = b->link;

	link_end(link, LINK_PEER_GONE, "seen here");
	link->drain = 77;
	link_end(link, LINK_ENDED_BY_MSGD, "why");
	assert_string_equal(link->reason, "why");
	assert_int_equal(link->cause, LINK_ENDED_BY_MSGD);
	assert_int_equal(link->drain, 77);
	assert_ptr_equal(TAILQ_FIRST(&b->ctx->links.ending), link);
	assert_null(TAILQ_NEXT(link, entry));
	link_end(link, LINK_PEER_GONE, "again");
	link_end(link, LINK_ENDED_BY_MSGD, "why not");
	assert_string_equal(link->reason, "why");
	link->drain = 1;
}

/* Messages that nobody can read are thrown away in steps, which count them and the channels. */
static void test_discarded_in_steps(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct link *link = b->link;
	struct channel *first = b->channel;
	uint64_t held = b->ctx->pool.held;

	for (uint32_t n = 0; n < 2 * BURY_BATCH + 1; n++) {
		struct msg_buf *buf = calloc(1, sizeof(*buf));

		assert_non_null(buf);
		STAILQ_INSERT_TAIL(&first->in, buf, entry);
		channel_charge(first, msg_buf_charge(0));
	}
	link_end(link, LINK_LEFT, "test");
	link->discard = true;
	assert_false(link_bury(link));
	assert_int_equal(b->ctx->pool.held, held + (BURY_BATCH + 1) * msg_buf_charge(0));
	assert_false(link_bury(link));
	assert_int_equal(b->ctx->pool.held, held + msg_buf_charge(0));
	assert_ptr_equal(first->set, &link->channels);
	assert_true(link_bury(link));
	assert_int_equal(b->ctx->pool.held, held);
	assert_null(first->set);
	assert_int_equal(link->state, LINK_DEAD);
	links_free_dead(&b->ctx->links);
}

/* The messages of a channel and the channel itself use up a step; the next channel waits. */
static void test_steps_are_used_up(void **state)
{
	for (uint32_t n = BURY_BATCH - 2; n <= BURY_BATCH; n++) {
		struct pair *pair = pair_new(4);
		struct pair_side *b = &pair->sides[B];
		struct channel *closed = b->channel, *next;

		for (uint32_t i = 0; i < n; i++) {
			struct msg_buf *buf = calloc(1, sizeof(*buf));

			assert_non_null(buf);
			STAILQ_INSERT_TAIL(&closed->in, buf, entry);
			channel_charge(closed, msg_buf_charge(0));
		}
		/* Nobody reads what is left of a channel that was closed. */
		sock_close_channel(b->sock, CLOSE_NORMAL);
		next = channel_new(&b->link->channels, 8, CHANNEL_SEQPACKET, true);
		channel_close(next, CLOSE_NORMAL);
		link_end(b->link, LINK_LEFT, "test");
		assert_int_equal(link_bury(b->link), n == BURY_BATCH - 2);
		if (n > BURY_BATCH - 2) {
			assert_null(channel_find(&b->link->channels, PAIR_CHANNEL));
			assert_ptr_equal(channel_find(&b->link->channels, 8), next);
			assert_true(link_bury(b->link));
		}
		assert_int_equal(b->ctx->pool.held, 0);
		links_free_dead(&b->ctx->links);
		pair_free(pair);
	}
}

/* Messages that an application may still read are kept, unless the link's memory is wanted. */
static void test_kept_or_discarded(void **state)
{
	for (int discard = 0; discard < 2; discard++) {
		struct pair *pair = pair_new(4);
		struct pair_side *b = &pair->sides[B];
		void *arg = pair;

		pair_inject_message(arg, A, 16);
		pair_take(b);
		link_end(b->link, LINK_LEFT, "test");
		b->link->discard = discard;
		driver_pass(&b->ctx->driver);
		assert_int_equal(STAILQ_EMPTY(&b->channel->in), discard);
		assert_int_equal(b->channel->state, CHANNEL_DEAD);
		pair_free(pair);
	}
}

/* Another link ends, and msgd's word that is read for it makes something due: sent in this pass. */
static void test_due_while_a_link_ends(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct transport *transport = transport_new(&transport_grant, &b->hv, 0, 0, HV_PAGE_SIZE);
	struct control_message granted = {.type = CONTROL_CONNECTED,
		.request = 4711, /* which nobody waits for any more: it is closed */
		.connected = {.end = PAIR_END,
			.channel = 100,
			.transport = TRANSPORT_GRANT,
			.name = "name"}};
	struct link *link;

	transport->port = transport->event = 9;
	link = link_new(&b->ctx->links, transport, 50, 0, 0, LINK_UP);
	control_ring_send(&b->msgd, &granted);
	(void)control_ring_publish(&b->msgd);
	link_end(link, LINK_LEFT, "test");
	driver_pass(&b->ctx->driver);
	assert_null(link_find(&b->ctx->links, 50));
	assert_non_null(channel_find(&b->link->channels, 100));
	assert_true(TAILQ_EMPTY(&b->ctx->pool.due));
	assert_int_not_equal(unread(pair_side_of(state, A)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_empty, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_served_by_the_queue, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_served_directly, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_served_and_due, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_due, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_unknown, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_known_again, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_turn_over, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_turn_by_cost, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_violation, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_over_budget, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_out_of_memory, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_turn_of_an_endless_peer, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_take_goes_on_after_due, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_take_shows_what_was_kept_back, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_take_rings_the_bell, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_nothing_is_taken_while_syncing, pair_setup, pair_teardown),
		cmocka_unit_test(test_link_moves),
		cmocka_unit_test(test_end_in_each_state),
		cmocka_unit_test(test_told_errors),
		cmocka_unit_test(test_drained_causes),
		cmocka_unit_test(test_msgd_knows_why),
		cmocka_unit_test_setup_teardown(
			test_drain_without_memory, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_drain_over_budget, pair_setup, pair_teardown),
		cmocka_unit_test(test_control_link_is_broken),
		cmocka_unit_test_setup_teardown(test_end_while_refused, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_retry_in_time, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_spinning_keeps_the_dead, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_finished_is_told_once, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_changed_is_told_once, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_marks_of_a_freed_channel, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_due_is_sent_in_the_pass, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_room_wakes, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_push_is_refused, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_skips_are_counted, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_end_while_making, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_msgds_reason, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_discarded_in_steps, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_retry_of_several, pair_setup, pair_teardown),
		cmocka_unit_test(test_checked_errors),
		cmocka_unit_test(test_kept_or_discarded),
		cmocka_unit_test(test_steps_are_used_up),
		cmocka_unit_test_setup_teardown(
			test_due_while_a_link_ends, pair_setup, pair_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
