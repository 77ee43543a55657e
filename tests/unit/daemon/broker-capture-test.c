/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Captures, as the broker has them: whom it asks for what, whose word it keeps for whom, and what
 * it does about applications that say what they should not. PROTOCOL.md 5.9.
 */
#include <errno.h>
#include <string.h>

#include "base/macro.h"
#include "daemon/broker/capture.h"
#include "daemon/broker/channel.h"
#include "daemon/broker/link.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"
#include "tests/support/failing-malloc.h"
#include "tests/unit/daemon/cmocka-all.h"
#include "tests/unit/daemon/world.h"

#define LISTEN	"allow listen * on any\n"
#define HEADERS LISTEN "allow connect * from any to any\n"
#define PAYLOAD LISTEN "allow connect * from any to any capture=payload\n"
#define NO	LISTEN "allow connect * from any to any capture=no\n"

enum { APP = 3, DB = 2, VAULT = 5 };

#define NOTHING	 0U
#define ASKED	 (CAPTURE_HEADERS | CAPTURE_PAYLOAD)
#define AGREED	 (ASKED | CAPTURE_AGREED)
#define FEATURES (FEATURE_TERMS | FEATURE_COUNTS | FEATURE_CAPTURE)

static struct world *w;
static struct app *apps[2]; /* the caller, the holder */
static uint32_t ends[2];    /* of each */
static struct capture *capture;

/* ---- parts ---------------------------------------------------------------------------------- */

static void start(const char *rules, uint64_t features_of_caller)
{
	w = world_new(rules, NULL);
	broker_set_wall(w->broker, 1000000);
	apps[0] = app_new_with(w, 0, APP, features_of_caller);
	apps[1] = app_new_with(w, 1, DB, FEATURES);
	assert_int_equal(app_listen(apps[1], 1, "db", 200), 0);
}

static void end(void)
{
	if (capture)
		capture_free(capture);
	capture = NULL;
	assert_true(TAILQ_EMPTY(&w->broker->captures.channels));
	assert_true(TAILQ_EMPTY(&w->broker->captures.gone));
	assert_int_equal(w->broker->captures.n_channels, 0);
	world_free(w);
}

/* The next message is of the type. */
static const struct control_message *take(struct app *app, uint8_t type)
{
	const struct control_message *m = app_take(app);

	assert_non_null(m);
	assert_int_equal(m->type, type);
	return m;
}

static void assert_told(unsigned index, uint32_t channel, uint32_t wants, uint32_t snaplen)
{
	const struct control_message *m = take(apps[index], CONTROL_CAPTURE);

	assert_int_equal(m->capture.end, ends[index]);
	assert_int_equal(m->capture.channel, channel);
	assert_int_equal(m->capture.wants, wants);
	assert_int_equal(m->capture.snaplen, snaplen);
}

static void assert_silent(void)
{
	assert_null(app_take(apps[0]));
	assert_null(app_take(apps[1]));
}

/* wants: what both ends are told before they know the channel; NOTHING: they are not. */
static uint32_t connect_one(uint32_t wants)
{
	bool first = !w->broker->links;
	uint32_t channel;

	app_connect(apps[0], 10, "db/db", 0, 0);
	if (first)
		make_link(apps[0], apps[1], false, ends);
	channel = w->broker->links->last_channel;
	if (wants)
		assert_told(1, channel, wants, 0);
	assert_int_equal(take(apps[1], CONTROL_CHANNEL)->channel.channel, channel);
	if (wants && (w->apps[0].process->features & FEATURE_CAPTURE))
		assert_told(0, channel, wants, 0);
	assert_int_equal(take(apps[0], CONTROL_CONNECTED)->connected.channel, channel);
	return channel;
}

static int capture_it(const struct broker_target *target, bool payload)
{
	return capture_new(w->broker, target, payload, 100, &capture);
}

static struct broker_target of_domain(uint16_t domid, const char *name)
{
	return (struct broker_target){.domid = domid, .name = name};
}

static struct broker_target of_link(uint32_t channel)
{
	return (struct broker_target){
		.link = w->broker->links->id.uid, .channel = channel, .name = ""};
}

static struct control_message frame_message(unsigned index, uint32_t channel, uint32_t len)
{
	return (struct control_message){.type = CONTROL_CAPTURED,
		.captured = {.end = ends[index],
			.channel = channel,
			.len = len,
			.arg = len,
			.frame_type = FRAME_DATA,
			.flags = FRAME_FIRST | FRAME_LAST,
			.sent = index == 0}};
}

static int tell_frame(unsigned index, uint32_t channel, uint32_t len, uint32_t n_payload)
{
	struct control_message m = frame_message(index, channel, len);

	m.captured.n_payload = n_payload;
	return app_send(apps[index], &m);
}

static int tell_bytes(unsigned index, uint32_t n, uint8_t value)
{
	struct control_message m = {.type = CONTROL_CAPTURED_BYTES, .captured_bytes = {.n = n}};

	memset(m.captured_bytes.bytes, value, n < CAPTURE_PIECE ? n : CAPTURE_PIECE);
	return app_send(apps[index], &m);
}

static int agrees(unsigned index, uint32_t channel, bool does)
{
	struct control_message m = {.type = CONTROL_CAPTURING,
		.capturing = {.end = ends[index], .channel = channel, .agrees = does}};

	return app_send(apps[index], &m);
}

/* The next item is of the kind. Until the next call. */
static const struct capture_item *next(enum capture_kind kind)
{
	static struct capture_item *last;

	free(last);
	last = capture_take(capture);
	assert_non_null(last);
	assert_int_equal(last->kind, kind);
	return last;
}

static void assert_no_more(void)
{
	assert_false(capture_has(capture));
	assert_null(capture_take(capture));
}

/* ---- headers -------------------------------------------------------------------------------- */

static void test_headers(void **state)
{
	struct broker_target target = of_domain(DB, "");
	const struct capture_item *item;
	uint32_t channel;

	start(HEADERS, FEATURES);
	channel = connect_one(NOTHING);
	assert_int_equal(capture_it(&target, false), 0);
	assert_told(0, channel, CAPTURE_HEADERS, 0);
	assert_told(1, channel, CAPTURE_HEADERS, 0);
	item = next(CAPTURE_CHANNEL);
	assert_int_equal(item->about.channel, channel);
	assert_string_equal(item->about.name, "db");
	assert_true(item->about.parties[0].told && item->about.parties[1].told);
	assert_int_equal(tell_frame(0, channel, 5, 0), 0);
	item = next(CAPTURE_FRAME);
	assert_int_equal(item->end, 0);
	assert_int_equal(item->frame.len, 5);
	assert_int_equal(item->about.parties[0].domid, APP);
	assert_string_equal(item->about.parties[1].domain, "db");
	assert_int_equal(tell_frame(1, channel, 6, 0), 0);
	assert_int_equal(next(CAPTURE_FRAME)->end, 1);
	assert_no_more();
	/* Channels that come are captured from their first frame on. */
	channel = connect_one(CAPTURE_HEADERS);
	assert_int_equal(next(CAPTURE_CHANNEL)->about.channel, channel);
	assert_no_more();
	capture_free(capture);
	capture = NULL;
	for (unsigned i = 0; i < 2; i++) {
		assert_told(i, channel - 1, NOTHING, 0);
		assert_told(i, channel, NOTHING, 0);
	}
	/* It may have crossed the word that nobody wants it. */
	assert_int_equal(tell_frame(0, channel, 5, 0), 0);
	assert_silent();
	end();
}

/* The last frames are told of with the channel's end, or after it. */
static void test_last_frames(void **state)
{
	struct broker_target target = of_domain(APP, "");
	uint32_t channel;

	start(HEADERS, FEATURES);
	assert_int_equal(capture_it(&target, false), 0);
	channel = connect_one(CAPTURE_HEADERS);
	(void)next(CAPTURE_CHANNEL);
	app_closed(apps[0], ends[0], channel);
	app_accepted(apps[1], ends[1], channel);
	app_closed(apps[1], ends[1], channel);
	assert_int_equal(tell_frame(1, channel, 7, 0), 0);
	assert_int_equal(next(CAPTURE_FRAME)->frame.len, 7);
	/* The same of a link that is gone with the other process. */
	channel = connect_one(CAPTURE_HEADERS);
	(void)next(CAPTURE_CHANNEL);
	app_die(apps[0]);
	(void)take(apps[1], CONTROL_LINK_DOWN);
	assert_int_equal(tell_frame(1, channel, 8, 0), 0);
	assert_int_equal(next(CAPTURE_FRAME)->frame.len, 8);
	assert_no_more();
	end();
}

static void test_targets(void **state)
{
	struct broker_target target;
	uint32_t first, second;

	start(HEADERS, FEATURES);
	assert_int_equal(app_listen(apps[1], 2, "other", 200), 0);
	first = connect_one(NOTHING);
	second = connect_one(NOTHING);
	target = of_link(first);
	assert_int_equal(capture_it(&target, false), 0);
	assert_told(0, first, CAPTURE_HEADERS, 0);
	assert_told(1, first, CAPTURE_HEADERS, 0);
	assert_silent();
	(void)next(CAPTURE_CHANNEL);
	assert_int_equal(tell_frame(0, second, 5, 0), 0);
	assert_no_more();
	/* It ends with its channel. */
	app_closed(apps[0], ends[0], first);
	app_accepted(apps[1], ends[1], first);
	app_closed(apps[1], ends[1], first);
	assert_string_equal(next(CAPTURE_ENDED)->text, "the channel has ended");
	capture_free(capture);
	target = of_domain(DB, "other");
	assert_int_equal(capture_it(&target, false), 0);
	assert_silent();
	capture_free(capture);
	target = of_domain(DB, "db");
	assert_int_equal(capture_it(&target, false), 0);
	assert_told(0, second, CAPTURE_HEADERS, 0);
	assert_told(1, second, CAPTURE_HEADERS, 0);
	(void)next(CAPTURE_CHANNEL);
	world_remove_domain(w, DB);
	assert_string_equal(next(CAPTURE_ENDED)->text, "the domain is gone");
	app_forget(apps[0]);
	capture_free(capture);
	capture = NULL;
	target = of_domain(VAULT, "");
	target.domid = 77;
	assert_int_equal(capture_it(&target, false), -ESRCH);
	target = (struct broker_target){.link = 1, .name = ""};
	assert_int_equal(capture_it(&target, false), -ENOLINK);
	end();
}

static void test_how_many(void **state)
{
	struct broker_target target = of_domain(DB, "");
	struct capture *others[CAPTURES_MAX];
	uint32_t channel;

	start(HEADERS, FEATURES);
	channel = connect_one(NOTHING);
	for (unsigned i = 0; i < CAPTURES_MAX; i++)
		assert_int_equal(capture_new(w->broker, &target, false, 1, &others[i]), 0);
	assert_int_equal(capture_it(&target, false), -EUSERS);
	/* Nobody is asked twice. */
	assert_told(0, channel, CAPTURE_HEADERS, 0);
	assert_told(1, channel, CAPTURE_HEADERS, 0);
	assert_silent();
	assert_int_equal(tell_frame(0, channel, 5, 0), 0);
	for (unsigned i = 0; i < CAPTURES_MAX; i++) {
		capture = others[i];
		(void)next(CAPTURE_CHANNEL);
		(void)next(CAPTURE_FRAME);
		assert_no_more();
	}
	for (unsigned i = 0; i < CAPTURES_MAX - 1; i++)
		capture_free(others[i]);
	assert_silent();
	capture = others[CAPTURES_MAX - 1];
	end();
}

/* ---- payload -------------------------------------------------------------------------------- */

static void start_payload(const char *rules, uint32_t *ret_channel)
{
	struct broker_target target = of_domain(DB, "");

	start(rules, FEATURES);
	*ret_channel = connect_one(NOTHING);
	assert_int_equal(capture_it(&target, true), 0);
}

static void test_payload(void **state)
{
	const struct capture_item *item;
	uint32_t channel;

	start_payload(PAYLOAD, &channel);
	assert_told(0, channel, ASKED, 0);
	assert_told(1, channel, ASKED, 0);
	assert_int_equal(agrees(0, channel, true), 0);
	assert_silent();
	assert_no_more(); /* it is not known yet */
	/* One end alone gives nothing, whatever it says. */
	assert_int_equal(tell_frame(0, channel, 5, 5), 0);
	assert_int_equal(tell_bytes(0, 5, 'x'), 0);
	assert_int_equal(next(CAPTURE_FRAME)->n_data, 0);
	assert_int_equal(agrees(1, channel, true), 0);
	assert_told(0, channel, AGREED, 100);
	assert_told(1, channel, AGREED, 100);
	item = next(CAPTURE_CHANNEL);
	assert_true(item->payload);
	/* In pieces, and cut to what was asked for. */
	assert_int_equal(tell_frame(1, channel, 1000, 300), 0);
	assert_no_more();
	assert_int_equal(tell_bytes(1, CAPTURE_PIECE, 'a'), 0);
	assert_int_equal(tell_bytes(1, 300 - CAPTURE_PIECE, 'b'), 0);
	item = next(CAPTURE_FRAME);
	assert_int_equal(item->n_data, 100);
	assert_int_equal(item->data[99], 'a');
	/* An application that changes its mind is heard at once. */
	assert_int_equal(agrees(0, channel, false), 0);
	assert_told(0, channel, ASKED, 0);
	assert_told(1, channel, ASKED, 0);
	assert_false(next(CAPTURE_CHANNEL)->payload);
	assert_int_equal(tell_frame(1, channel, 5, 5), 0);
	assert_int_equal(tell_bytes(1, 5, 'x'), 0);
	assert_int_equal(next(CAPTURE_FRAME)->n_data, 0);
	end();
}

/* Another reader of the same channel who has not asked for it does not get it. */
static void test_payload_is_for_who_asked(void **state)
{
	struct broker_target target = of_domain(DB, "");
	struct capture *other;
	uint32_t channel;

	start_payload(PAYLOAD, &channel);
	assert_int_equal(capture_new(w->broker, &target, false, 100, &other), 0);
	assert_int_equal(agrees(0, channel, true), 0);
	assert_int_equal(agrees(1, channel, true), 0);
	assert_int_equal(tell_frame(0, channel, 5, 5), 0);
	assert_int_equal(tell_bytes(0, 5, 'x'), 0);
	(void)next(CAPTURE_CHANNEL);
	assert_int_equal(next(CAPTURE_FRAME)->n_data, 5);
	capture_free(capture);
	capture = other;
	assert_false(next(CAPTURE_CHANNEL)->payload);
	assert_int_equal(next(CAPTURE_FRAME)->n_data, 0);
	end();
}

static void test_policy(void **state)
{
	struct broker_target target;
	uint32_t channel;

	start_payload(HEADERS, &channel);
	assert_told(0, channel, CAPTURE_HEADERS, 0);
	assert_told(1, channel, CAPTURE_HEADERS, 0);
	assert_int_equal(next(CAPTURE_CHANNEL)->about.permits, POLICY_CAPTURE_HEADERS);
	/* Unasked. */
	assert_int_equal(agrees(0, channel, true), 0);
	assert_int_equal(agrees(1, channel, true), 0);
	assert_int_equal(tell_frame(0, channel, 5, 5), 0);
	assert_int_equal(tell_bytes(0, 5, 'x'), 0);
	assert_int_equal(next(CAPTURE_FRAME)->n_data, 0);
	assert_silent();
	/* The words of the rule that permits it now count, at once. */
	world_policy(w, PAYLOAD);
	assert_told(0, channel, ASKED, 0);
	assert_told(1, channel, ASKED, 0);
	assert_int_equal(agrees(0, channel, true), 0);
	assert_int_equal(agrees(1, channel, true), 0);
	assert_told(0, channel, AGREED, 100);
	assert_told(1, channel, AGREED, 100);
	assert_true(next(CAPTURE_CHANNEL)->payload);
	world_policy(w, NO);
	assert_told(0, channel, NOTHING, 0);
	assert_told(1, channel, NOTHING, 0);
	assert_int_equal(next(CAPTURE_CHANNEL)->about.permits, POLICY_CAPTURE_NO);
	assert_int_equal(tell_frame(0, channel, 5, 0), 0);
	assert_no_more();
	capture_free(capture);
	target = of_link(channel);
	assert_int_equal(capture_it(&target, false), 0);
	(void)next(CAPTURE_CHANNEL);
	assert_non_null(strstr(next(CAPTURE_ENDED)->text, "capture=no (test.policy:2)"));
	assert_silent();
	end();
}

static void test_older_end(void **state)
{
	struct broker_target target = of_domain(DB, "");
	const struct capture_item *item;
	uint32_t channel;

	start(PAYLOAD, FEATURE_TERMS);
	assert_int_equal(capture_it(&target, true), 0);
	channel = connect_one(ASKED);
	assert_int_equal(agrees(1, channel, true), 0);
	item = next(CAPTURE_CHANNEL);
	assert_false(item->about.parties[0].told || item->payload);
	assert_true(item->about.parties[1].told);
	end();
}

/* ---- ends that do not do as they should ----------------------------------------------------- */

static void test_unasked(void **state)
{
	const struct control_message messages[] = {
		frame_message(0, 1, 5),
		{.type = CONTROL_CAPTURED_BYTES, .captured_bytes = {.n = 5}},
		{.type = CONTROL_CAPTURING, .capturing = {.channel = 1}},
		{.type = CONTROL_CAPTURE_LOST, .capture_lost = {.n = 5}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
		start(HEADERS, FEATURES);
		(void)connect_one(NOTHING);
		assert_int_equal(app_send(apps[0], &messages[i]), -ECONNRESET);
		assert_non_null(strstr(apps[0]->reason, "not allowed now"));
		end();
	}
}

static void test_wrong_words(void **state)
{
	for (unsigned i = 0; i < 6; i++) {
		struct broker_target target = of_domain(DB, "");
		uint32_t channel;
		int r = 0;

		start(HEADERS, FEATURES);
		channel = connect_one(NOTHING);
		assert_int_equal(capture_it(&target, false), 0);
		switch (i) {
		case 0: /* bytes of nothing */
			r = tell_bytes(0, 5, 'x');
			break;
		case 1: /* more than were announced */
			(void)tell_frame(0, channel, 5, 5);
			r = tell_bytes(0, 6, 'x');
			break;
		case 2: /* a piece that is not full */
			(void)tell_frame(0, channel, 1000, 500);
			r = tell_bytes(0, CAPTURE_PIECE - 1, 'x');
			break;
		case 3: /* a frame in the middle of another */
			(void)tell_frame(0, channel, 5, 5);
			r = tell_frame(0, channel, 5, 0);
			break;
		case 4: /* an end that it never had */
			ends[0] = 77;
			r = tell_frame(0, channel, 5, 0);
			break;
		case 5:
			ends[0] = 77;
			r = agrees(0, channel, true);
			break;
		}
		assert_int_equal(r, -ECONNRESET);
		/* A channel that never was is nobody's, as one that is gone. */
		assert_int_equal(tell_frame(1, channel + 1, 5, 0), 0);
		end();
	}
}

/* An application that tells too much is not heard, and its reader knows. */
static void test_too_much(void **state)
{
	struct broker_target target = of_domain(DB, "");
	uint64_t n_frames = 0, n_missed = 0;
	struct capture_item *item;
	uint32_t channel;

	start(HEADERS, FEATURES);
	channel = connect_one(NOTHING);
	assert_int_equal(capture_it(&target, false), 0);
	for (unsigned i = 0; i < 10 * CAPTURE_BURST; i++)
		assert_int_equal(tell_frame(0, channel, 5, 0), 0);
	assert_true(capture_has(capture));
	while ((item = capture_take(capture))) {
		n_frames += item->kind == CAPTURE_FRAME;
		n_missed += item->n_missed;
		free(item);
	}
	assert_int_equal(n_frames, 2 * CAPTURE_BURST);
	assert_int_equal(n_missed, 2 * CAPTURE_BURST);
	/* The others have their share, and it itself has one later, with the rest of the count. */
	assert_int_equal(tell_frame(1, channel, 5, 0), 0);
	(void)next(CAPTURE_FRAME);
	world_pass(w, CAPTURE_FRAME_NS);
	assert_int_equal(tell_frame(0, channel, 5, 0), 0);
	n_missed += next(CAPTURE_MISSED)->n_missed;
	assert_int_equal(n_frames + n_missed, 10 * CAPTURE_BURST);
	(void)next(CAPTURE_FRAME);
	end();
}

/* One who changes its mind again and again has not agreed. */
static void test_changes(void **state)
{
	uint32_t channel;

	start_payload(PAYLOAD, &channel);
	assert_int_equal(agrees(0, channel, true), 0);
	for (unsigned i = 0; i < 10 * CAPTURE_CHANGES_MAX; i++)
		assert_int_equal(agrees(1, channel, i % 2 == 0), 0);
	assert_int_equal(agrees(1, channel, true), 0);
	app_forget(apps[0]);
	app_forget(apps[1]);
	assert_int_equal(tell_frame(0, channel, 5, 5), 0);
	assert_int_equal(tell_bytes(0, 5, 'x'), 0);
	for (unsigned i = 0; i < CAPTURE_CHANGES_MAX; i++)
		assert_int_equal(next(CAPTURE_CHANNEL)->payload, i % 2 == 0);
	assert_int_equal(next(CAPTURE_FRAME)->n_data, 0);
	assert_no_more();
	end();
}

/* A reader that does not read costs so much, and learns what it has missed. */
static void test_slow_reader(void **state)
{
	struct broker_target target = of_domain(DB, "");
	uint64_t n_frames = 0, n_missed = 0;
	struct capture_item *item;
	uint32_t channel, n = 0;
	size_t bytes = 0;

	start(HEADERS, FEATURES);
	channel = connect_one(NOTHING);
	assert_int_equal(capture_it(&target, false), 0);
	for (; n < CAPTURE_WAITING_MAX / 256; n++) {
		world_pass(w, CAPTURE_FRAME_NS);
		assert_int_equal(tell_frame(0, channel, 5, 0), 0);
	}
	while ((item = capture_take(capture))) {
		bytes += item->bytes;
		n_frames += item->kind == CAPTURE_FRAME;
		n_missed += item->n_missed;
		free(item);
	}
	assert_in_range(bytes, CAPTURE_WAITING_MAX / 2, CAPTURE_WAITING_MAX + 1024);
	assert_true(n_missed > 0);
	assert_int_equal(n_frames + n_missed, n);
	end();
}

/* Of its own count, too. */
static void test_lost(void **state)
{
	struct broker_target target = of_domain(DB, "");
	struct control_message lost = {
		.type = CONTROL_CAPTURE_LOST, .capture_lost = {.n = UINT32_MAX}};
	uint32_t channel;

	start(HEADERS, FEATURES);
	channel = connect_one(NOTHING);
	assert_int_equal(capture_it(&target, false), 0);
	(void)next(CAPTURE_CHANNEL);
	assert_int_equal(app_send(apps[0], &lost), 0);
	assert_int_equal(app_send(apps[0], &lost), 0);
	assert_int_equal(tell_frame(0, channel, 5, 0), 0);
	assert_int_equal(next(CAPTURE_MISSED)->n_missed, 2 * (uint64_t)UINT32_MAX);
	(void)next(CAPTURE_FRAME);
	end();
}

/* One who loses without end makes no news of each, and no work; the sum comes with a frame. */
static void test_lost_without_end(void **state)
{
	struct broker_target target = of_domain(DB, "");
	struct control_message lost = {.type = CONTROL_CAPTURE_LOST, .capture_lost = {.n = 3}};
	uint64_t n = 20 * CAPTURE_BURST, serial, said, cost;
	uint32_t channel;

	start(HEADERS, FEATURES);
	channel = connect_one(NOTHING);
	for (unsigned i = 0; i < 100; i++)
		(void)connect_one(NOTHING);
	assert_int_equal(capture_it(&target, false), 0);
	for (unsigned i = 0; i < 101; i++)
		(void)next(CAPTURE_CHANNEL);
	serial = broker_captured(w->broker);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(app_send(apps[0], &lost), 0);
	assert_int_equal(broker_captured(w->broker) - serial, 2 * CAPTURE_BURST);
	said = next(CAPTURE_MISSED)->n_missed;
	assert_int_equal(said, 3 * 2 * CAPTURE_BURST);
	cost = broker_cost(w->broker);
	assert_int_equal(app_send(apps[0], &lost), 0);
	assert_int_equal(broker_cost(w->broker) - cost, COST_MESSAGE);
	assert_no_more();
	/* The other application is heard as before. */
	assert_int_equal(app_send(apps[1], &lost), 0);
	assert_int_equal(next(CAPTURE_MISSED)->n_missed, 3);
	assert_int_equal(tell_frame(0, channel, 5, 0), 0);
	assert_int_equal(next(CAPTURE_MISSED)->n_missed, 3 * (n + 1) - said);
	(void)next(CAPTURE_FRAME);
	assert_no_more();
	/* Time pays for the next one. */
	world_pass(w, CAPTURE_FRAME_NS);
	assert_int_equal(app_send(apps[0], &lost), 0);
	assert_int_equal(next(CAPTURE_MISSED)->n_missed, 3);
	assert_no_more();
	end();
}

/* Times are msgd's: whatever the end's clock says, neither before the capture nor to come. */
static void test_times(void **state)
{
	struct broker_target target = of_domain(DB, "");
	struct control_message m;
	uint32_t channel;

	start(HEADERS, FEATURES);
	channel = connect_one(NOTHING);
	assert_int_equal(capture_it(&target, false), 0);
	(void)next(CAPTURE_CHANNEL);
	broker_set_wall(w->broker, 2000000);
	m = frame_message(0, channel, 5);
	m.captured.time_ns = 500;
	m.captured.told_ns = 700;
	assert_int_equal(app_send(apps[0], &m), 0);
	assert_int_equal(next(CAPTURE_FRAME)->time_ns, 2000000000 - 200);
	/* The way was longer this time. */
	broker_set_wall(w->broker, 2000010);
	m.captured.time_ns = m.captured.told_ns = 1000;
	assert_int_equal(app_send(apps[0], &m), 0);
	assert_int_equal(next(CAPTURE_FRAME)->time_ns, 2000000000 + 300);
	m.captured.time_ns = UINT64_MAX / 4;
	assert_int_equal(app_send(apps[0], &m), 0);
	assert_int_equal(next(CAPTURE_FRAME)->time_ns, 2000010000);
	m.captured.time_ns = 0;
	m.captured.told_ns = UINT64_MAX;
	assert_int_equal(app_send(apps[0], &m), 0);
	assert_in_range(next(CAPTURE_FRAME)->time_ns, 1000000000, 2000010000);
	end();
}

/* More channels than are captured at once: the reader knows of it. */
static void test_too_many_channels(void **state)
{
	struct broker_target target = of_domain(DB, "");
	uint64_t n_missed = 0, n_channels = 0;
	struct capture_item *item;

	start(HEADERS, FEATURES);
	assert_int_equal(app_listen(apps[1], 5, "many", BACKLOG_MAX), 0);
	for (unsigned i = 0; i < CAPTURE_CHANNELS_MAX + 3; i++) {
		app_connect(apps[0], 10, "db/many", 0, 0);
		if (i == 0)
			make_link(apps[0], apps[1], false, ends);
		app_forget(apps[0]);
		app_forget(apps[1]);
	}
	assert_int_equal(w->broker->n_channels, CAPTURE_CHANNELS_MAX + 3);
	assert_int_equal(capture_it(&target, false), 0);
	while ((item = capture_take(capture))) {
		n_channels += item->kind == CAPTURE_CHANNEL;
		n_missed += item->n_missed;
		free(item);
	}
	assert_int_equal(n_channels, CAPTURE_CHANNELS_MAX);
	assert_int_equal(n_missed, 3);
	end();
}

/* Whether the end was told of a capture. */
static bool was_told(unsigned index)
{
	const struct control_message *m = app_take(apps[index]);

	return m && m->type == CONTROL_CAPTURE;
}

/*
 * Each allocation fails once: no capture, an end that is not told, or something that is missed. The
 * reader knows of each.
 */
static void test_memory(void **state)
{
	struct broker_target target = of_domain(DB, "");
	bool hit = true;

	for (unsigned n = 1; hit; n++) {
		unsigned n_kinds[CAPTURE_ENDED + 1] = {0};
		struct capture_item *item;
		bool told = true, known = true;
		uint32_t channel;
		int r;

		start(HEADERS, FEATURES);
		channel = connect_one(NOTHING);
		failing_malloc_set(n);
		r = capture_it(&target, false);
		for (unsigned i = 0; i < 2 && r == 0; i++) {
			if (was_told(i))
				assert_int_equal(tell_frame(i, channel, 5, 0), 0);
			else
				told = false;
		}
		hit = failing_malloc_end();
		assert_true(r == 0 || (r == -ENOMEM && !capture));
		while (capture && (item = capture_take(capture))) {
			n_kinds[item->kind]++;
			if (item->kind == CAPTURE_CHANNEL)
				known = item->about.parties[0].told && item->about.parties[1].told;
			free(item);
		}
		assert_int_equal(hit, r < 0 || n_kinds[CAPTURE_MISSED] || !told);
		if (r == 0 && n_kinds[CAPTURE_CHANNEL])
			assert_int_equal(known, told);
		if (!hit)
			assert_int_equal(n_kinds[CAPTURE_FRAME], 2);
		assert_in_range(n, 1, 20);
		end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_last_frames),
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_how_many),
		cmocka_unit_test(test_payload),
		cmocka_unit_test(test_payload_is_for_who_asked),
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_older_end),
		cmocka_unit_test(test_unasked),
		cmocka_unit_test(test_wrong_words),
		cmocka_unit_test(test_too_much),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_lost_without_end),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_too_many_channels),
		cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
