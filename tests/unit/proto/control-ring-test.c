/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Both ends of a control link on plain memory; then one end against a side that lies. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "proto/control-ring.h"
#include "tests/support/failing-malloc.h"
#include "tests/support/cmocka-all.h"

struct fixture {
	struct doorbell_page page;
	uint8_t rings[(CONTROL_PAGES - 1) * 4096];
	struct control_ring app, msgd;
};

static void msgd_adopt(struct fixture *f)
{
	const char *reason;

	assert_int_equal(
		control_ring_adopt(&f->msgd, &f->page, CONTROL_RING_MSGD, f->rings, &reason), 0);
}

static struct fixture *fixture_new(void)
{
	struct fixture *f = aligned_alloc(4096, (sizeof(*f) + 4095) / 4096 * 4096);

	memset(f, 0, sizeof(*f));
	control_ring_init(&f->app, &f->page, CONTROL_RING_APPLICATION, f->rings);
	msgd_adopt(f);
	return f;
}

static void fixture_free(struct fixture *f)
{
	control_ring_clear(&f->app);
	control_ring_clear(&f->msgd);
	free(f);
}

/* A frame as no endpoint writes it. */
static void put(struct fixture *f, const struct frame *frame, const void *body, uint32_t n)
{
	uint8_t header[FRAME_HEADER_SIZE];

	frame_encode(frame, header);
	grant_ring_write(&f->app.tx, 0, header, sizeof(header));
	grant_ring_write(&f->app.tx, FRAME_HEADER_SIZE, body, n);
	f->app.tx.own += FRAME_HEADER_SIZE + round_up16(n);
	grant_ring_publish(&f->app.tx);
}

static bool take(struct control_ring *ring, struct control_message *ret_message)
{
	const char *reason;
	int decoded;
	int r = control_ring_receive(ring, ret_message, &decoded, &reason);

	assert_true(r >= 0);
	assert_true(r == 0 || decoded == 0);
	return r == 1;
}

static void refuse(struct control_ring *ring, const char *want)
{
	struct control_message got;
	const char *reason;
	int decoded;

	assert_int_equal(control_ring_receive(ring, &got, &decoded, &reason), -EBADMSG);
	assert_string_equal(reason, want);
}

/* One message at a time, often enough to wrap the ring. */
static void exchange(struct control_ring *from, struct control_ring *to)
{
	struct control_message message = {.type = CONTROL_UNLISTEN}, got;

	message.unlisten.listener = 77;
	/* Both sides fell asleep in the beginning. */
	assert_int_equal(atomic_load(&from->me->sleeping), 1);
	for (unsigned i = 1; i <= 2000; i++) {
		message.request = i;
		control_ring_send(from, &message);
		assert_false(take(to, &got)); /* not before it is published */
		assert_int_equal(control_ring_publish(from), i == 1);
		assert_true(take(to, &got));
		assert_int_equal(got.request, i);
		assert_int_equal(got.unlisten.listener, 77);
		assert_false(take(to, &got));
		(void)control_ring_publish(to);
		/* All room is back. */
		assert_int_equal(grant_ring_space(&from->tx, CONTROL_RING_LEN), CONTROL_RING_LEN);
	}
	/* A message that came before the receiver falls asleep is seen. */
	assert_false(control_ring_sleep(to));
	assert_int_equal(atomic_load(&to->me->sleeping), 1);
	control_ring_send(from, &message);
	assert_true(control_ring_publish(from));
	assert_true(control_ring_sleep(to));
	assert_int_equal(atomic_load(&to->me->sleeping), 0);
}

static void test_exchange(void **state)
{
	struct fixture *f = fixture_new();

	exchange(&f->app, &f->msgd);
	fixture_free(f);
	f = fixture_new();
	exchange(&f->msgd, &f->app);
	fixture_free(f);
}

static void test_events(void **state)
{
	struct fixture *f = fixture_new();
	struct control_message status = {.type = CONTROL_STATUS, .request = 1}, got;

	atomic_store(&f->page.end[0].sleeping, 0);
	assert_false(control_ring_publish(&f->msgd)); /* nothing to say */
	control_ring_send(&f->msgd, &status);
	assert_false(control_ring_publish(&f->msgd)); /* the application is awake: no event */
	assert_true(take(&f->app, &got));
	atomic_store(&f->page.end[0].sleeping, 1);
	control_ring_send(&f->msgd, &status);
	control_ring_send(&f->msgd, &status);
	assert_true(control_ring_publish(&f->msgd)); /* one event for both */
	assert_false(control_ring_publish(&f->msgd));
	assert_int_equal(atomic_load(&f->page.end[0].sleeping), 0);
	/* A side that sleeps does not hear that its messages were taken. */
	atomic_store(&f->page.end[0].sleeping, 1);
	control_ring_send(&f->app, &(struct control_message){.type = CONTROL_ANNOUNCE_DONE});
	(void)control_ring_publish(&f->app);
	assert_true(take(&f->msgd, &got));
	assert_false(control_ring_publish(&f->msgd));
	assert_int_equal(atomic_load(&f->page.end[0].sleeping), 1);
	/* One event answers a side that sleeps and wants room: both flags are taken. */
	atomic_store(&f->page.end[0].sleeping, 1);
	atomic_store(&f->page.end[0].want_space, 1);
	control_ring_send(&f->msgd, &status);
	assert_true(control_ring_publish(&f->msgd));
	assert_int_equal(atomic_load(&f->page.end[0].sleeping), 0);
	assert_int_equal(atomic_load(&f->page.end[0].want_space), 0);
	fixture_free(f);
}

static void outbox(struct control_ring *from, struct control_ring *to)
{
	struct control_message message = {.type = CONTROL_SYNC}, got;
	uint32_t n = 0;

	for (message.request = 1; message.request <= 5000; message.request++)
		control_ring_send(from, &message);
	assert_true(from->outbox_bytes > CONTROL_RING_LEN);
	while (n < 5000) {
		uint32_t before = n;

		control_ring_flush(from);
		(void)control_ring_publish(from);
		/* While the sender has more, it asks to be told of room, and is. */
		assert_int_equal(atomic_load(&from->me->want_space), from->outbox_bytes > 0);
		while (take(to, &got))
			assert_int_equal(got.request, ++n);
		assert_true(n > before);
		assert_int_equal(control_ring_publish(to), from->outbox_bytes > 0);
	}
	assert_int_equal(from->outbox_bytes, 0);
	assert_null(from->broken);
	/* The outbox can be dropped; then the ring goes on. */
	for (message.request = 1; message.request <= 5000; message.request++)
		control_ring_send(from, &message);
	control_ring_clear(from);
	assert_int_equal(from->outbox_bytes, 0);
	(void)control_ring_publish(from);
	while (take(to, &got))
		continue;
	(void)control_ring_publish(to);
	control_ring_send(from, &message);
	(void)control_ring_publish(from);
	assert_true(take(to, &got));
	assert_int_equal(got.request, 5001);
}

static void test_outbox(void **state)
{
	struct fixture *f = fixture_new();

	outbox(&f->app, &f->msgd);
	/* An event for messages that came at once, and one for room, count as taken. */
	atomic_store(&f->page.end[0].sleeping, 0);
	outbox(&f->msgd, &f->app);
	fixture_free(f);
}

static void test_lies(void **state)
{
	static const struct {
		struct frame frame;
		const char *reason;
	} frames[] = {
		{{.channel = 1, .type = CONTROL_CANCEL}, "a frame that is no control message"},
		{{.flags = 1, .type = CONTROL_CANCEL}, "a frame that is no control message"},
		{{.len = CONTROL_MESSAGE_MAX + 1, .type = CONTROL_CANCEL},
			"a frame that is no control message"},
		{{.len = 1000, .type = CONTROL_CANCEL}, "a control message cut short"},
	};
	struct control_message got;
	struct fixture *f;
	const char *reason;
	int decoded;

	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
		f = fixture_new();
		put(f, &frames[i].frame, "", 0);
		refuse(&f->msgd, frames[i].reason);
		fixture_free(f);
	}
	/* Counters: beyond the ring, off its grid. */
	for (int i = 0; i < 3; i++) {
		static const uint32_t values[] = {CONTROL_RING_LEN + 16, 8, (uint32_t)-16};

		f = fixture_new();
		atomic_store(&f->page.end[0].produced, values[i]);
		refuse(&f->msgd, "a counter that moved where it cannot");
		fixture_free(f);
	}
	/* The consumer's: past what was sent. */
	f = fixture_new();
	atomic_store(&f->page.end[0].consumed, 0x10000);
	for (unsigned i = 0; i < 200 && !f->msgd.broken; i++)
		control_ring_send(&f->msgd, &(struct control_message){.type = CONTROL_STATUS});
	assert_string_equal(f->msgd.broken, "a counter that moved where it cannot");
	assert_int_equal(f->msgd.error, EBADMSG);
	assert_true(control_ring_try(
		&f->msgd, &(struct control_message){.type = CONTROL_STATUS})); /* none waits */
	fixture_free(f);
	/* A body that does not decode is a message, for the receiver's caller to judge. */
	f = fixture_new();
	put(f, &(struct frame){.len = 3, .type = CONTROL_UNLISTEN, .arg = 9}, "abc", 3);
	assert_int_equal(control_ring_receive(&f->msgd, &got, &decoded, &reason), 1);
	assert_int_equal(decoded, -EBADMSG);
	assert_int_equal(got.type, CONTROL_UNLISTEN);
	assert_int_equal(got.request, 9);
	fixture_free(f);
}

/* Without memory for the outbox nothing is lost unseen: the ring says that it is broken. */
static void test_no_memory(void **state)
{
	struct control_message sync = {.type = CONTROL_SYNC}, got;
	struct fixture *f = fixture_new();
	uint32_t n = 0;

	failing_malloc_set(2);
	for (sync.request = 1; !f->app.broken; sync.request++)
		control_ring_send(&f->app, &sync);
	assert_true(failing_malloc_end());
	assert_string_equal(f->app.broken, "out of memory for a control message");
	assert_int_equal(f->app.error, ENOMEM);
	assert_false(control_ring_is_idle(&f->app));
	control_ring_send(&f->app, &sync);
	control_ring_flush(&f->app);
	(void)control_ring_publish(&f->app);
	while (take(&f->msgd, &got))
		assert_int_equal(got.request, ++n);
	/* The ring was full, one message waited and still does, one found no memory. */
	assert_int_equal(n, CONTROL_RING_LEN / FRAME_HEADER_SIZE);
	assert_int_equal(f->app.outbox_bytes, FRAME_HEADER_SIZE);
	fixture_free(f);
}

/* The padding behind a message is zero: nothing of the sender's stack is shown. */
static void test_padding(void **state)
{
	struct control_message done = {.type = CONTROL_LINK_READY}; /* a body of 8 bytes */
	struct fixture *f = fixture_new();

	memset(f->app.tx.data, 0xa5, CONTROL_RING_LEN);
	control_ring_send(&f->app, &done);
	assert_int_equal(f->app.tx.own, FRAME_HEADER_SIZE + 16);
	for (size_t i = FRAME_HEADER_SIZE; i < f->app.tx.own; i++)
		assert_int_equal(f->app.tx.data[i], 0);
	assert_int_equal(f->app.tx.data[f->app.tx.own], 0xa5);
	fixture_free(f);
}

/* A new msgd goes on where the counters stand, and drops what an earlier one left unread. */
static void test_adopt(void **state)
{
	struct fixture *f = fixture_new();
	struct control_message message = {.type = CONTROL_CANCEL, .request = 3}, got;
	const char *reason;

	control_ring_send(&f->app, &message);
	(void)control_ring_publish(&f->app);
	control_ring_send(
		&f->msgd, &(struct control_message){.type = CONTROL_STATUS, .request = 5});
	(void)control_ring_publish(&f->msgd);
	atomic_store(&f->page.end[1].want_space, 1);
	msgd_adopt(f);
	assert_int_equal(atomic_load(&f->page.end[1].want_space), 0);
	assert_int_equal(atomic_load(&f->page.end[1].sleeping), 1);
	assert_false(take(&f->msgd, &got));
	/* The room of what was dropped is back at once. */
	assert_int_equal(grant_ring_space(&f->app.tx, CONTROL_RING_LEN), CONTROL_RING_LEN);
	control_ring_send(
		&f->msgd, &(struct control_message){.type = CONTROL_STATUS, .request = 6});
	(void)control_ring_publish(&f->msgd);
	assert_true(take(&f->app, &got));
	assert_int_equal(got.request, 5);
	assert_true(take(&f->app, &got));
	assert_int_equal(got.request, 6);
	control_ring_send(&f->app, &message);
	(void)control_ring_publish(&f->app);
	assert_true(take(&f->msgd, &got));
	atomic_store(&f->page.end[1].produced, 12345 * 16);
	assert_int_equal(
		control_ring_adopt(&f->msgd, &f->page, CONTROL_RING_MSGD, f->rings, &reason),
		-EBADMSG);
	assert_string_equal(reason, "the counters of its control page make no sense");
	fixture_free(f);
}

/* Counters that a ring can have, and those next to them. */
static void test_adopted_counters(void **state)
{
	static const struct {
		uint32_t produced, consumed; /* of either direction */
		bool good;
	} cases[] = {
		{0, 0, true},
		{CONTROL_RING_LEN, 0, true},
		{CONTROL_RING_LEN + 16, 0, false},
		{0, 16, false},
		{16, 0xfffffff0U, true},
		{CONTROL_RING_LEN - 16, 0xfffffff0U, true},
		{CONTROL_RING_LEN, 0xfffffff0U, false},
		{8, 0, false},
		{24, 8, false},
		{16, 1, false},
	};

	for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		struct fixture *f = fixture_new();
		unsigned from = i & 1;
		struct control_ring *ring = &f->msgd;
		const char *reason = NULL;

		atomic_store(&f->page.end[from].produced, cases[i / 2].produced);
		atomic_store(&f->page.end[!from].consumed, cases[i / 2].consumed);
		assert_int_equal(
			control_ring_adopt(ring, &f->page, CONTROL_RING_MSGD, f->rings, &reason),
			cases[i / 2].good ? 0 : -EBADMSG);
		assert_int_equal(reason == NULL, cases[i / 2].good);
		if (cases[i / 2].good && from == 1) { /* the room that the application has left */
			assert_int_equal(grant_ring_space(&ring->tx, 0),
				CONTROL_RING_LEN - (cases[i / 2].produced - cases[i / 2].consumed));
		}
		fixture_free(f);
	}
}

/* An owner that keeps what waits itself is told of room, once it has been refused. */
static void test_try(void **state)
{
	struct control_message sync = {.type = CONTROL_SYNC, .request = 1}, got;
	struct fixture *f = fixture_new();
	_Atomic uint32_t *want_space = &f->page.end[0].want_space;
	uint32_t n = 0;

	assert_true(control_ring_is_idle(&f->app));
	while (control_ring_try(&f->app, &sync)) {
		assert_int_equal(atomic_load(want_space), 0);
		n++;
	}
	assert_int_equal(n, CONTROL_RING_LEN / FRAME_HEADER_SIZE);
	assert_false(control_ring_is_idle(&f->app));
	assert_int_equal(atomic_load(want_space), 1);
	assert_null(f->app.broken);
	assert_int_equal(f->app.outbox_bytes, 0);
	(void)control_ring_publish(&f->app);
	assert_true(control_ring_is_idle(&f->app));
	assert_true(take(&f->msgd, &got));
	assert_false(control_ring_is_idle(&f->msgd));
	assert_false(control_ring_try(&f->app, &sync)); /* it is not given back yet */
	assert_true(control_ring_publish(&f->msgd));
	assert_int_equal(atomic_load(want_space), 0);
	/* The wish is withdrawn with the first message that goes. */
	assert_false(f->app.wrote);
	atomic_store(want_space, 1);
	assert_true(control_ring_try(&f->app, &sync));
	assert_int_equal(atomic_load(want_space), 0);
	assert_true(f->app.wrote);
	assert_false(f->app.wants_space);
	/* It was not its own wish: it stays. */
	assert_true(take(&f->msgd, &got));
	(void)control_ring_publish(&f->msgd);
	atomic_store(want_space, 1);
	assert_true(control_ring_try(&f->app, &sync));
	assert_int_equal(atomic_load(want_space), 1);
	fixture_free(f);
}

/* The outbox has gone before the other side has answered the wish: no event is wanted any more. */
static void test_wish_is_withdrawn(void **state)
{
	struct control_message sync = {.type = CONTROL_SYNC, .request = 1}, got;
	struct fixture *f = fixture_new();

	for (unsigned i = 0; i <= CONTROL_RING_LEN / FRAME_HEADER_SIZE; i++)
		control_ring_send(&f->app, &sync);
	control_ring_flush(&f->app);
	(void)control_ring_publish(&f->app);
	assert_int_equal(atomic_load(&f->app.me->want_space), 1);
	assert_false(control_ring_is_idle(&f->app));
	assert_true(take(&f->msgd, &got));
	grant_ring_release(&f->msgd.rx);
	control_ring_flush(&f->app);
	assert_int_equal(f->app.outbox_bytes, 0);
	assert_int_equal(atomic_load(&f->app.me->want_space), 0);
	fixture_free(f);
}

/*
 * A side that waits looks again after it has said so, or it would miss what came in between. Here
 * the word by which it says so is the other side's counter as well, so that the second look sees 1
 * in it, which is no counter.
 */
static void test_looks_again(void **state)
{
	struct control_message sync = {.type = CONTROL_SYNC, .request = 1};
	struct fixture *f = fixture_new();

	f->app.rx.produced = &f->app.me->sleeping;
	atomic_store(&f->app.me->sleeping, 0);
	assert_true(control_ring_sleep(&f->app));
	assert_int_equal(atomic_load(&f->app.me->sleeping), 0);
	f->app.tx.consumed = &f->app.me->want_space;
	for (unsigned i = 0; i < CONTROL_RING_LEN / FRAME_HEADER_SIZE; i++)
		assert_true(control_ring_try(&f->app, &sync));
	assert_null(f->app.broken);
	assert_true(control_ring_try(&f->app, &sync));
	assert_string_equal(f->app.broken, "a counter that moved where it cannot");
	fixture_free(f);
	f = fixture_new();
	f->app.tx.consumed = &f->app.me->want_space;
	for (unsigned i = 0; i <= CONTROL_RING_LEN / FRAME_HEADER_SIZE; i++)
		control_ring_send(&f->app, &sync);
	assert_null(f->app.broken);
	control_ring_flush(&f->app);
	assert_string_equal(f->app.broken, "a counter that moved where it cannot");
	assert_int_equal(f->app.outbox_bytes, FRAME_HEADER_SIZE);
	fixture_free(f);
}

/* Each page has a head of its own, which the rings' bytes never touch. */
static void test_heads(void **state)
{
	struct fixture *f = fixture_new();
	struct doorbell_head head = {
		.magic = CONTROL_PAGE_MAGIC, .nonce = "0123456789abcde", .port = 7};
	uint8_t *page = f->rings;

	assert_false(control_rings_are_proven(f->rings, &head));
	control_rings_prove(f->rings, &head);
	memset(f->app.tx.data, 0xa5, CONTROL_RING_LEN);
	memset(f->app.rx.data, 0xa5, CONTROL_RING_LEN);
	assert_true(control_rings_are_proven(f->rings, &head));
	head.port++;
	assert_false(control_rings_are_proven(f->rings, &head));
	head.port--;
	for (unsigned i = 0; i < CONTROL_PAGES - 1; i++) {
		uint8_t *at = page + 4096 * i + (i % 2 ? 4096 - 64 : 0);
		struct doorbell_head found;

		memcpy(&found, at, sizeof(found));
		assert_int_equal(found.magic, 0x5247534dU);
		assert_int_equal(found.version_min, i + 1); /* the page's number */
		assert_int_equal(found.version_max, 0);
		assert_memory_equal(found.nonce, head.nonce, sizeof(found.nonce));
		assert_int_equal(found.port, head.port);
		for (unsigned byte = 0; byte < sizeof(head); byte++) {
			at[byte] ^= 1;
			assert_false(control_rings_are_proven(f->rings, &head));
			at[byte] ^= 1;
		}
		for (unsigned j = 0; j < i; j++) { /* a page in the place of another */
			uint8_t copy[28];

			memcpy(copy, at, sizeof(copy));
			memcpy(at, page + 4096 * j + (j % 2 ? 4096 - 64 : 0), sizeof(copy));
			assert_false(control_rings_are_proven(f->rings, &head));
			memcpy(at, copy, sizeof(copy));
		}
	}
	assert_true(control_rings_are_proven(f->rings, &head));
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_heads),
		cmocka_unit_test(test_exchange),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_outbox),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_padding),
		cmocka_unit_test(test_adopt),
		cmocka_unit_test(test_adopted_counters),
		cmocka_unit_test(test_try),
		cmocka_unit_test(test_wish_is_withdrawn),
		cmocka_unit_test(test_looks_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
