/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* msgd's side of the control rings on plain memory, against an honest and a lying other side. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "proto/control-ring.h"
#include "proto/frame.h"
#include "tests/unit/proto/cmocka-all.h"

#define LEN (CONTROL_RING_PAGES * 4096U)

struct fixture {
	struct doorbell_page page;
	uint8_t to_msgd[LEN], to_app[LEN];
	struct grant_ring out, in; /* the application's side */
	struct control_ring link;
};

static struct fixture *fixture_new(void)
{
	struct fixture *f = aligned_alloc(4096, (sizeof(*f) + 4095) / 4096 * 4096);
	const char *reason;

	memset(f, 0, sizeof(*f));
	f->out = (struct grant_ring){.data = f->to_msgd,
		.len = LEN,
		.produced = &f->page.end[0].produced,
		.consumed = &f->page.end[1].consumed};
	f->in = (struct grant_ring){.data = f->to_app,
		.len = LEN,
		.produced = &f->page.end[1].produced,
		.consumed = &f->page.end[0].consumed};
	assert_int_equal(control_ring_init(&f->link, &f->page, f->to_msgd, f->to_app, &reason), 0);
	return f;
}

static void fixture_free(struct fixture *f)
{
	control_ring_fini(&f->link);
	free(f);
}

static void put(struct fixture *f, const struct frame *frame, const void *body, uint32_t n)
{
	uint8_t header[FRAME_HEADER_SIZE];

	frame_encode(frame, header);
	grant_ring_write(&f->out, 0, header, sizeof(header));
	grant_ring_write(&f->out, FRAME_HEADER_SIZE, body, n);
	f->out.own += FRAME_HEADER_SIZE + round_up16(n);
	grant_ring_publish(&f->out);
}

static void put_message(struct fixture *f, const struct control_message *message)
{
	uint8_t body[CONTROL_MESSAGE_MAX];
	uint32_t n = (uint32_t)control_encode(message, body);

	put(f, &(struct frame){.len = n, .type = message->type, .arg = message->request}, body, n);
}

/* The application takes one message out of its ring. */
static bool take(struct fixture *f, struct control_message *ret_message)
{
	uint8_t header[FRAME_HEADER_SIZE], body[CONTROL_MESSAGE_MAX];
	struct frame frame;

	if (grant_ring_avail(&f->in, 1) == 0)
		return false;
	grant_ring_read(&f->in, 0, header, sizeof(header));
	assert_int_equal(control_frame_decode(header, &frame), 0);
	grant_ring_read(&f->in, FRAME_HEADER_SIZE, body, frame.len);
	assert_int_equal(control_decode(frame.type, frame.arg, body, frame.len, ret_message), 0);
	f->in.own += FRAME_HEADER_SIZE + round_up16(frame.len);
	grant_ring_release(&f->in);
	return true;
}

static void test_receive(void **state)
{
	struct fixture *f = fixture_new();
	struct control_message message = {.type = CONTROL_UNLISTEN, .request = 3}, got;
	const char *reason;
	int decoded;

	assert_int_equal(atomic_load(&f->page.end[1].sleeping), 1);
	message.unlisten.listener = 77;
	/* Often enough to wrap the ring. */
	for (unsigned i = 0; i < 2000; i++) {
		message.request = i + 1;
		/* All room is back with each publish. */
		assert_int_equal(grant_ring_space(&f->out, LEN), LEN);
		put_message(f, &message);
		assert_int_equal(control_ring_receive(&f->link, &got, &decoded, &reason), 1);
		assert_int_equal(decoded, 0);
		assert_int_equal(got.request, i + 1);
		assert_int_equal(got.unlisten.listener, 77);
		assert_int_equal(control_ring_receive(&f->link, &got, &decoded, &reason), 0);
		(void)control_ring_publish(&f->link);
	}
	/* A message that came before msgd fell asleep is seen. */
	atomic_store(&f->page.end[1].sleeping, 0);
	assert_false(control_ring_sleep(&f->link));
	assert_int_equal(atomic_load(&f->page.end[1].sleeping), 1);
	put_message(f, &message);
	assert_true(control_ring_sleep(&f->link));
	fixture_free(f);
}

static void test_events(void **state)
{
	struct fixture *f = fixture_new();
	struct control_message status = {.type = CONTROL_STATUS, .request = 1}, got;

	assert_false(control_ring_publish(&f->link)); /* nothing to say */
	control_ring_send(&f->link, &status);
	assert_int_equal(grant_ring_avail(&f->in, 1), 0); /* not before it is published */
	assert_false(control_ring_publish(&f->link));	  /* it is awake: no event */
	assert_true(take(f, &got));
	atomic_store(&f->page.end[0].sleeping, 1);
	control_ring_send(&f->link, &status);
	control_ring_send(&f->link, &status);
	assert_true(control_ring_publish(&f->link)); /* one event for both */
	assert_false(control_ring_publish(&f->link));
	assert_int_equal(atomic_load(&f->page.end[0].sleeping), 0);
	fixture_free(f);
}

static void test_outbox(void **state)
{
	struct fixture *f = fixture_new();
	struct control_message status = {.type = CONTROL_STATUS}, got;
	uint32_t n = 0;

	for (uint32_t i = 1; i <= 500; i++) {
		status.request = i;
		control_ring_send(&f->link, &status);
	}
	assert_true(f->link.outbox_bytes > CONTROL_READ_STOP);
	while (n < 500) {
		uint32_t before = n;

		control_ring_flush(&f->link);
		(void)control_ring_publish(&f->link);
		/* While it has more, it asks to be told of room. */
		assert_int_equal(atomic_load(&f->page.end[1].want_space), f->link.outbox_bytes > 0);
		while (take(f, &got))
			assert_int_equal(got.request, ++n);
		assert_true(n > before);
	}
	assert_int_equal(f->link.outbox_bytes, 0);
	assert_null(f->link.broken);
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
		assert_int_equal(control_ring_receive(&f->link, &got, &decoded, &reason), -EBADMSG);
		assert_string_equal(reason, frames[i].reason);
		fixture_free(f);
	}
	/* Counters: beyond the ring, off its grid. */
	for (int i = 0; i < 3; i++) {
		static const uint32_t values[] = {LEN + 16, 8, (uint32_t)-16};

		f = fixture_new();
		atomic_store(&f->page.end[0].produced, values[i]);
		assert_int_equal(control_ring_receive(&f->link, &got, &decoded, &reason), -EBADMSG);
		assert_string_equal(reason, "a counter that moved where it cannot");
		fixture_free(f);
	}
	/* The consumer's: past what was sent. */
	f = fixture_new();
	atomic_store(&f->page.end[0].consumed, 0x10000);
	for (unsigned i = 0; i < 200 && !f->link.broken; i++)
		control_ring_send(&f->link, &(struct control_message){.type = CONTROL_STATUS});
	assert_string_equal(f->link.broken, "a counter that moved where it cannot");
	fixture_free(f);
	/* A body that does not decode is a message, for the broker to judge. */
	f = fixture_new();
	put(f, &(struct frame){.len = 3, .type = CONTROL_UNLISTEN, .arg = 9}, "abc", 3);
	assert_int_equal(control_ring_receive(&f->link, &got, &decoded, &reason), 1);
	assert_int_equal(decoded, -EBADMSG);
	assert_int_equal(got.type, CONTROL_UNLISTEN);
	fixture_free(f);
}

/* A new msgd goes on where the counters stand, and drops what an earlier one left unread. */
static void test_takeover(void **state)
{
	struct fixture *f = fixture_new();
	struct control_message message = {.type = CONTROL_CANCEL, .request = 3}, got;
	const char *reason;
	int decoded;

	put_message(f, &message);
	control_ring_send(
		&f->link, &(struct control_message){.type = CONTROL_STATUS, .request = 5});
	(void)control_ring_publish(&f->link);
	assert_int_equal(control_ring_init(&f->link, &f->page, f->to_msgd, f->to_app, &reason), 0);
	assert_int_equal(control_ring_receive(&f->link, &got, &decoded, &reason), 0);
	control_ring_send(
		&f->link, &(struct control_message){.type = CONTROL_STATUS, .request = 6});
	(void)control_ring_publish(&f->link);
	assert_true(take(f, &got));
	assert_int_equal(got.request, 5);
	assert_true(take(f, &got));
	assert_int_equal(got.request, 6);
	put_message(f, &message);
	assert_int_equal(control_ring_receive(&f->link, &got, &decoded, &reason), 1);
	atomic_store(&f->page.end[1].produced, 12345 * 16);
	assert_int_equal(
		control_ring_init(&f->link, &f->page, f->to_msgd, f->to_app, &reason), -EBADMSG);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_receive),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_outbox),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_takeover),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
