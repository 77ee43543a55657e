/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Transports below all links: what every kind does alike, the grant rings and the doorbell page,
 * and cursors. strict-test.c has the Argo rings.
 */
#include <string.h>

#include "hv/argo-ring.h"
#include "libmsg/transport/argo.h"
#include "tests/support/cmocka-all.h"
#include "tests/support/link-pair.h"
#include "tests/support/pattern.h"

#define A	 0
#define B	 1
#define RING_LEN (4U * HV_PAGE_SIZE)

static struct transport *end_of(void **state, unsigned side)
{
	return ((struct pair *)*state)->sides[side].link->transport;
}

static struct doorbell_end *bell_of(void **state, unsigned side)
{
	return &((struct pair *)*state)->page->end[side];
}

/* ---- all kinds -------------------------------------------------------------------------- */

static void test_table(void **state)
{
	assert_ptr_equal(transport_find(TRANSPORT_ARGO), &transport_argo);
	assert_ptr_equal(transport_find(TRANSPORT_ARGO_STRICT), &transport_argo_strict);
	assert_ptr_equal(transport_find(TRANSPORT_GRANT), &transport_grant);
	assert_null(transport_find(TRANSPORT_ANY));
	assert_null(transport_find(TRANSPORT_LIMIT));
	for (uint32_t kind = TRANSPORT_ARGO; kind < TRANSPORT_LIMIT; kind++) {
		const struct transport_ops *ops = transport_find(kind);
		/* All of the table is there, but for its first members, which are no functions. */
		const void *const *slot = (const void *const *)&ops->make;
		size_t n = (sizeof(*ops) - offsetof(struct transport_ops, make)) / sizeof(*slot);

		assert_int_equal(ops->kind, kind);
		for (size_t i = 0; i < n; i++)
			assert_non_null(slot[i]);
	}
}

/* The calls that a transport of the test has got. */
static struct {
	struct transport_ops ops;
	struct transport transport;
	unsigned n_push, n_wake, n_release, n_room;
	int result; /* of put and push */
} fake;

static int fake_put(struct transport *transport, struct frame *frame, uint32_t least,
	struct iov_cursor *payload, bool more)
{
	assert_int_equal(frame->len, 0);
	assert_int_equal(least, 0);
	return fake.result < 0 ? fake.result : more;
}

static int fake_push(struct transport *transport)
{
	fake.n_push++;
	return fake.result;
}

static void fake_wake(struct transport *transport)
{
	fake.n_wake++;
}

static void fake_release(struct transport *transport)
{
	fake.n_release++;
}

static void fake_wake_for_room(struct transport *transport)
{
	fake.n_room++;
}

static int setup_fake(void **state)
{
	memset(&fake, 0, sizeof(fake));
	fake.ops = (struct transport_ops){.put = fake_put,
		.push = fake_push,
		.wake = fake_wake,
		.release = fake_release,
		.wake_for_room = fake_wake_for_room};
	fake.transport.ops = &fake.ops;
	fake.transport.ring_len = 1000;
	fake.transport.ring_fifth = 200;
	return 0;
}

static int put_bare(bool more)
{
	struct frame frame = {.channel = 1, .type = FRAME_LIMIT};
	struct iovec none = {0};
	struct iov_cursor cursor;

	cursor_init(&cursor, &none, 1);
	return transport_put(&fake.transport, &frame, 0, &cursor, more);
}

/* The other end is woken once, by the push that follows the puts. */
static void test_put_and_push(void **state)
{
	assert_int_equal(transport_push(&fake.transport), 0);
	assert_int_equal(fake.n_push + fake.n_wake, 0);
	assert_int_equal(transport_put_bare(&fake.transport, 1, FRAME_LIMIT, 2), 0);
	assert_false(fake.transport.unpushed);
	assert_true(fake.transport.bell_due);
	assert_int_equal(transport_push(&fake.transport), 0);
	assert_int_equal(fake.n_push, 0);
	assert_int_equal(fake.n_wake, 1);
	assert_int_equal(put_bare(true), 0);
	assert_int_equal(put_bare(true), 0);
	assert_true(fake.transport.unpushed);
	assert_int_equal(transport_push(&fake.transport), 0);
	assert_int_equal(fake.n_push, 1);
	assert_int_equal(fake.n_wake, 2);
	assert_int_equal(transport_push(&fake.transport), 0);
	assert_int_equal(fake.n_push, 1);
	assert_int_equal(fake.n_wake, 2);
	/* A put that goes at once takes with it what was kept back. */
	assert_int_equal(put_bare(true), 0);
	assert_int_equal(put_bare(false), 0);
	assert_false(fake.transport.unpushed);
}

/* When the transport refuses, both marks stay for the next push. */
static void test_refused(void **state)
{
	assert_int_equal(put_bare(true), 0);
	fake.result = -EAGAIN;
	assert_int_equal(transport_push(&fake.transport), -EAGAIN);
	assert_true(fake.transport.unpushed && fake.transport.bell_due);
	assert_int_equal(put_bare(false), -EAGAIN);
	assert_true(fake.transport.unpushed && fake.transport.bell_due);
	assert_int_equal(fake.n_wake, 0);
	fake.result = 0;
	assert_int_equal(transport_push(&fake.transport), 0);
	assert_false(fake.transport.unpushed || fake.transport.bell_due);
	assert_int_equal(fake.n_wake, 1);
	fake.result = -EBADMSG;
	assert_int_equal(put_bare(false), -EBADMSG);
	assert_false(fake.transport.bell_due);
}

/* Room goes back by fifths of the ring, and a sender that sleeps is woken for two of them. */
static void test_give_back(void **state)
{
	struct transport *t = &fake.transport;

	t->unreleased = 199;
	transport_give_back(t, false);
	assert_int_equal(fake.n_release, 0);
	assert_int_equal(t->unreleased, 199);
	t->unreleased = 200;
	transport_give_back(t, false);
	assert_int_equal(fake.n_release, 1);
	assert_int_equal(t->unreleased, 0);
	assert_int_equal(t->untold, 200);
	assert_int_equal(fake.n_room, 0);
	t->unreleased = 200;
	transport_give_back(t, false);
	assert_int_equal(fake.n_release, 2);
	assert_int_equal(fake.n_room, 1);
	assert_int_equal(t->untold, 0);
	/* With `all`, the smallest rest goes back too. */
	t->unreleased = 1;
	transport_give_back(t, true);
	assert_int_equal(fake.n_release, 3);
	assert_int_equal(fake.n_room, 2);
	transport_give_back(t, true);
	assert_int_equal(fake.n_release, 3);
	assert_int_equal(fake.n_room, 2);
	/* The sender is told of room that was given back before. */
	t->untold = 1;
	transport_give_back(t, true);
	assert_int_equal(fake.n_release, 3);
	assert_int_equal(fake.n_room, 3);
}

/* ---- cursors ---------------------------------------------------------------------------- */

static void test_cursor(void **state)
{
	uint8_t from[64], to[64] = {0}, scattered[64] = {0};
	struct iovec iov[] = {
		{.iov_base = scattered, .iov_len = 0},
		{.iov_base = scattered, .iov_len = 1},
		{.iov_base = scattered + 1, .iov_len = 30},
		{.iov_base = NULL, .iov_len = 0},
		{.iov_base = scattered + 31, .iov_len = 33},
	};
	struct iov_cursor cursor;
	size_t n;

	pattern_fill(from, sizeof(from), 1);
	cursor_init(&cursor, iov, ARRAY_SIZE(iov));
	cursor_write(&cursor, from, 20);
	cursor_write(&cursor, from + 20, 44);
	assert_memory_equal(scattered, from, sizeof(from));
	cursor_init(&cursor, iov, ARRAY_SIZE(iov));
	cursor_read(&cursor, to, 31);
	assert_ptr_equal(cursor_next(&cursor, 10, &n), scattered + 31);
	assert_int_equal(n, 10);
	assert_ptr_equal(cursor_next(&cursor, 1000, &n), scattered + 41);
	assert_int_equal(n, 23);
	assert_memory_equal(to, from, 31);
	/* Past its end there is nothing, whatever lies behind the array. */
	cursor_init(&cursor, iov, 2);
	assert_ptr_equal(cursor_next(&cursor, 10, &n), scattered);
	assert_int_equal(n, 1);
	assert_ptr_equal(cursor_next(&cursor, 10, &n), scattered + 1);
	assert_int_equal(n, 0);
}

/* ---- grant rings ------------------------------------------------------------------------ */

/* One frame of data; its length becomes what went in. */
static int put(struct transport *transport, struct frame *frame, uint32_t least, bool more)
{
	static uint8_t bytes[2 * RING_LEN];
	struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};
	struct iov_cursor cursor;
	uint32_t len = frame->len;
	int r;

	pattern_fill(bytes, sizeof(bytes), frame->channel);
	cursor_init(&cursor, &iov, 1);
	r = transport->ops->put(transport, frame, least, &cursor, more);
	assert_int_equal(cursor.off, r < 0 ? 0 : frame->len);
	assert_true(frame->len <= len);
	return r;
}

static void take(struct transport *transport, const struct frame *expected)
{
	uint8_t bytes[RING_LEN];
	struct frame *frame = &transport->frame;

	assert_int_equal(transport->ops->peek(transport), 1);
	assert_int_equal(frame->channel, expected->channel);
	assert_int_equal(frame->len, expected->len);
	assert_int_equal(frame->flags, expected->flags);
	transport->ops->read(transport, 0, bytes, frame->len);
	assert_true(pattern_is(bytes, frame->len, expected->channel));
	transport->ops->next(transport);
}

/* Frames of all lengths, at all places of the ring, over its edge too. */
static void test_frames_come_as_they_went(void **state)
{
	struct transport *a = end_of(state, A), *b = end_of(state, B);

	for (uint32_t len = 0; len < 5000; len += 37) {
		struct frame frame = {.channel = len + 1,
			.type = FRAME_DATA,
			.flags = FRAME_FIRST | FRAME_LAST,
			.len = len,
			.arg = len};

		assert_int_equal(put(a, &frame, len, false), 0);
		assert_true(b->ops->pending(b));
		take(b, &frame);
		assert_int_equal(b->unreleased, FRAME_HEADER_SIZE + round_up16(len));
		assert_int_equal(b->ops->peek(b), 0);
		assert_false(b->ops->pending(b));
		transport_give_back(b, true);
	}
}

static void test_room(void **state)
{
	struct transport *a = end_of(state, A), *b = end_of(state, B);
	struct frame frame = {.channel = 1, .type = FRAME_DATA, .flags = FRAME_FIRST};

	assert_int_equal(a->ring_fifth, 3276); /* of 16384 */
	frame.len = RING_LEN - 3 * FRAME_HEADER_SIZE;
	frame.arg = MESSAGE_MAX_DEFAULT;
	assert_int_equal(a->ops->room(a, RING_LEN), RING_LEN - FRAME_HEADER_SIZE);
	assert_int_equal(put(a, &frame, 0, false), 0);
	/* Two headers are left: one frame with 16 bytes. */
	assert_int_equal(a->ops->room(a, 1), 16);
	frame = (struct frame){.channel = 2, .type = FRAME_DATA, .flags = FRAME_LAST, .len = 17};
	assert_int_equal(put(a, &frame, 17, false), -EAGAIN);
	assert_int_equal(frame.len, 17);
	assert_int_equal(put(a, &frame, 16, false), 0);
	assert_int_equal(frame.len, 16);
	assert_int_equal(frame.flags, 0); /* cut: it is not the last one */
	assert_int_equal(a->ops->room(a, 0), -EAGAIN);
	assert_int_equal(transport_put_bare(a, 1, FRAME_LIMIT, 1), -EAGAIN);
	/* Room is there when it was given back, not before. */
	assert_int_equal(b->ops->peek(b), 1);
	b->ops->next(b);
	assert_int_equal(a->ops->room(a, 0), -EAGAIN);
	b->ops->release(b);
	assert_int_equal(
		a->ops->room(a, RING_LEN), RING_LEN - 2 * FRAME_HEADER_SIZE - FRAME_HEADER_SIZE);
}

/* The last 16 bytes take a frame without payload, and the last byte of a ring is used. */
static void test_last_slot(void **state)
{
	struct transport *a = end_of(state, A), *b = end_of(state, B);
	struct frame frame = {.channel = 1,
		.type = FRAME_DATA,
		.flags = FRAME_FIRST,
		.len = RING_LEN - 2 * FRAME_HEADER_SIZE,
		.arg = MESSAGE_MAX_DEFAULT};

	assert_int_equal(put(a, &frame, frame.len, false), 0);
	assert_int_equal(a->ops->room(a, 0), 0);
	assert_int_equal(a->ops->room(a, 1), 0);
	assert_int_equal(transport_put_bare(a, 1, FRAME_LIMIT, 1), 0);
	assert_int_equal(a->ops->room(a, 0), -EAGAIN);
	take(b, &frame);
	assert_int_equal(b->ops->peek(b), 1);
	assert_int_equal(b->frame.type, FRAME_LIMIT);
	b->ops->next(b);
	assert_int_equal(b->unreleased, RING_LEN);
	b->ops->release(b);
	frame.len = RING_LEN - FRAME_HEADER_SIZE;
	assert_int_equal(put(a, &frame, frame.len, false), 0);
	take(b, &frame);
}

/* Frames that are kept back are not there for the other end, until they are pushed. */
static void test_kept_back(void **state)
{
	struct transport *a = end_of(state, A), *b = end_of(state, B);
	struct frame frame = {.channel = 1, .type = FRAME_DATA, .flags = 3, .len = 8, .arg = 8};

	assert_int_equal(put(a, &frame, 8, true), 1);
	assert_int_equal(b->ops->peek(b), 0);
	assert_false(b->ops->pending(b));
	assert_int_equal(a->ops->push(a), 0);
	take(b, &frame);
	assert_int_equal(put(a, &frame, 8, true), 1);
	assert_int_equal(put(a, &frame, 8, false), 0);
	take(b, &frame);
	take(b, &frame);
}

/* The other end's counters are believed only where they can be true. */
static void test_counters(void **state)
{
	static const uint32_t steps[] = {8, RING_LEN + 16, 0x80000000U, 0xfffffff0U};
	struct transport *a = end_of(state, A), *b = end_of(state, B);
	struct frame frame = {.channel = 1, .type = FRAME_DATA, .flags = 3, .len = 8, .arg = 8};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		uint32_t produced = atomic_load(&bell_of(state, A)->produced);
		uint32_t consumed = atomic_load(&bell_of(state, B)->consumed);

		assert_true(a->ops->room(a, 2 * RING_LEN) > 0); /* it knows this one */
		atomic_store(&bell_of(state, A)->produced, produced + steps[i]);
		assert_int_equal(b->ops->peek(b), -EBADMSG);
		atomic_store(&bell_of(state, A)->produced, produced);
		assert_int_equal(b->ops->peek(b), 0);
		atomic_store(&bell_of(state, B)->consumed, consumed + steps[i]);
		assert_int_equal(a->ops->room(a, 2 * RING_LEN), -EBADMSG);
		assert_int_equal(put(a, &frame, 8, false), 0); /* there is room without asking */
		take(b, &frame);
		b->unreleased = 0;
		atomic_store(&bell_of(state, B)->consumed, consumed);
		assert_true(a->ops->room(a, 2 * RING_LEN) > 0);
		b->ops->release(b);
	}
}

/* So it is over argo, where the page alone says how much room the peer's ring has. */
static void test_argo_counter(void **state)
{
	static const uint32_t lies[] = {8192 + 16, 0x80000000U, 0xfffffff0U};
	struct doorbell_page page = {0};
	struct argo_end end = {.paged = {.base = {.ops = &transport_argo, .ring_len = 16384},
				       .page = &page,
				       .me = &page.end[0],
				       .them = &page.end[1]},
		.produced = 8192};
	struct transport *t = &end.paged.base;

	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		atomic_store(&page.end[1].consumed, lies[i]);
		assert_int_equal(t->ops->room(t, 16384), -EBADMSG);
		assert_true(t->ops->room(t, 8) > 0); /* there is room without asking */
	}
	/* As much as is known to be free, to the last slot: a message's header and a frame's. */
	assert_int_equal(t->ops->room(t, 8192 - 2 * ARGO_MESSAGE_HEADER_LEN - FRAME_HEADER_SIZE),
		8192 - 2 * ARGO_MESSAGE_HEADER_LEN - FRAME_HEADER_SIZE);
	assert_int_equal(
		t->ops->room(t, 8192 - 2 * ARGO_MESSAGE_HEADER_LEN - FRAME_HEADER_SIZE + 1),
		-EBADMSG);
	atomic_store(&page.end[1].consumed, 8192); /* all of it, and no more, may be true */
	assert_int_equal(
		t->ops->room(t, 16384), 16384 - 2 * ARGO_MESSAGE_HEADER_LEN - FRAME_HEADER_SIZE);
	end.peer_consumed = 0;
	atomic_store(&page.end[1].consumed, 4096);
	assert_int_equal(t->ops->room(t, 16384),
		16384 - 4096 - 2 * ARGO_MESSAGE_HEADER_LEN - FRAME_HEADER_SIZE);
	end.produced =
		4096 + 16384 - ARGO_MESSAGE_HEADER_LEN; /* but for the slot that stays free */
	assert_int_equal(t->ops->room(t, 0), -EAGAIN);
	assert_int_equal(t->ops->room(t, 0), -EAGAIN);
}

/* ---- the doorbell page ------------------------------------------------------------------ */

static void test_sleeping(void **state)
{
	struct pair *pair = *state;
	struct transport *a = end_of(state, A), *b = end_of(state, B);
	_Atomic uint32_t *sleeping = &bell_of(state, B)->sleeping;
	unsigned before = pair->sides[A].n_events;

	assert_int_equal(b->ops->arm(b, false), 0);
	assert_int_equal(atomic_load(sleeping), 1);
	assert_int_equal(transport_put_bare(a, 1, FRAME_LIMIT, 1), 0);
	assert_int_equal(pair->sides[A].n_events, before);
	assert_int_equal(transport_push(a), 0);
	assert_int_equal(pair->sides[A].n_events, before + 1);
	assert_int_equal(atomic_load(sleeping), 0);
	/* There is a frame: it must not sleep, unless that frame waits for something else. */
	assert_int_equal(b->ops->arm(b, false), 1);
	assert_int_equal(atomic_load(sleeping), 0);
	assert_int_equal(b->ops->arm(b, true), 0);
	assert_int_equal(atomic_load(sleeping), 1);
	/* Room wakes nobody who sleeps for frames. */
	b->ops->wake_for_room(b);
	assert_int_equal(pair->sides[B].n_events, 0);
}

static void test_want_space(void **state)
{
	struct pair *pair = *state;
	struct link *link = pair->sides[A].link;
	struct transport *a = end_of(state, A), *b = end_of(state, B);
	_Atomic uint32_t *want_space = &bell_of(state, A)->want_space;
	unsigned before = pair->sides[B].n_events;

	/* There is room already. The wish stays all the same: others may have it, too. */
	assert_true(link_want_room(link, 64));
	assert_int_equal(atomic_load(want_space), 1);
	atomic_store(want_space, 0);
	while (transport_put_bare(a, PAIR_CHANNEL, FRAME_LIMIT, 1) == 0)
		;
	assert_false(link_want_room(link, 64));
	assert_int_equal(atomic_load(want_space), 1);
	b->ops->wake_for_room(b);
	assert_int_equal(pair->sides[B].n_events, before + 1);
	assert_int_equal(atomic_load(want_space), 0);
	b->ops->wake_for_room(b);
	assert_int_equal(pair->sides[B].n_events, before + 1);
	/* A channel that is blocked asks for it as well. */
	channel_block(pair->sides[A].channel);
	assert_int_equal(atomic_load(want_space), 1);
	/* Of a link that is not up nobody will tell: it is not waited for. */
	link_sync(link, 1);
	assert_false(link_want_room(link, 64));
	link_end(link, LINK_LEFT, "test");
	assert_true(link_want_room(link, 64));
}

static void test_watched_words(void **state)
{
	struct transport *a = end_of(state, A), *b = end_of(state, B);
	const _Atomic uint32_t *frames, *room;
	uint32_t seen_frames, seen_room;

	frames = b->ops->watch(b, &seen_frames);
	room = a->ops->watch_room(a, &seen_room);
	assert_int_equal(atomic_load(frames), seen_frames);
	assert_int_equal(atomic_load(room), seen_room);
	assert_int_equal(transport_put_bare(a, 1, FRAME_LIMIT, 1), 0);
	assert_int_not_equal(atomic_load(frames), seen_frames);
	assert_int_equal(atomic_load(room), seen_room);
	assert_int_equal(b->ops->peek(b), 1);
	b->ops->next(b);
	b->ops->release(b);
	assert_int_not_equal(atomic_load(room), seen_room);
	assert_ptr_equal(b->ops->watch(b, &seen_frames), frames);
	assert_int_equal(atomic_load(frames), seen_frames);
}

static void test_peer(void **state)
{
	struct transport *a = end_of(state, A), *b = end_of(state, B);

	atomic_store(&bell_of(state, A)->alive, 0);
	atomic_store(&bell_of(state, B)->alive, 0);
	assert_false(a->ops->peer_alive(a));
	atomic_store(&bell_of(state, B)->alive, 1);
	assert_true(a->ops->peer_alive(a));
	assert_false(b->ops->peer_alive(b));
	assert_int_equal(a->ops->exchange_cpu(a, 3), 0);
	assert_int_equal(b->ops->exchange_cpu(b, 5), 3);
	assert_int_equal(a->ops->exchange_cpu(a, 3), 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test_setup(test_put_and_push, setup_fake),
		cmocka_unit_test_setup(test_refused, setup_fake),
		cmocka_unit_test_setup(test_give_back, setup_fake),
		cmocka_unit_test(test_cursor),
		cmocka_unit_test_setup_teardown(
			test_frames_come_as_they_went, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_room, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_last_slot, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_kept_back, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_counters, pair_setup, pair_teardown),
		cmocka_unit_test(test_argo_counter),
		cmocka_unit_test_setup_teardown(test_sleeping, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_want_space, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_watched_words, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_peer, pair_setup, pair_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
