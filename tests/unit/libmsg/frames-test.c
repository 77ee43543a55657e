/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames over each kind of transport, between two domains of the emulator: all that is put comes
 * out, at each length and place of a ring; the room is what it says; refusals cost nothing.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "hv/argo-ring.h"
#include "hv/sim/testing/sim.h"
#include "libmsg/api/ctx.h"
#include "libmsg/transport/argo.h"
#include "tests/support/cmocka-all.h"
#include "tests/support/failing-malloc.h"
#include "tests/support/pattern.h"

#define RING_PAGES 4U
#define RING_LEN   (RING_PAGES * HV_PAGE_SIZE)
#define END	   50U
#define CHANNEL	   9U

struct side {
	uint16_t domid;
	struct hv *hv;
	struct pool pool;
	struct links links;
	struct transport *transport;
};

static struct world {
	struct sim *sim;
	uint32_t kind;
	uint32_t argo_ring_len;
	struct side a, b; /* the creator's, the binder's */
	const struct hv_ops *real;
	struct hv_ops ops; /* of a, after refuse */
} w;

static void side_init(struct side *side, const char *name)
{
	struct sim_domain_config config = {.name = name};

	assert_int_equal(sim_domain_create(w.sim, &config, &side->domid), 0);
	assert_int_equal(sim_hv_open(w.sim, side->domid, &side->hv), 0);
	pool_init(&side->pool);
	links_init(&side->links, side->hv, &side->pool);
}

/* As msgd: LINK_CREATE, LINK_BIND, LINK_UP. */
static void make_link(void)
{
	bool grant = w.kind == TRANSPORT_GRANT;
	struct control_link_bind bind = {.end = END,
		.uid = 5,
		.transport = w.kind,
		.ring_pages = grant ? RING_PAGES : 0,
		.ring_len = grant ? 0 : w.argo_ring_len};
	struct control_link_create create = {.end = END,
		.uid = 5,
		.peer_domid = w.b.domid,
		.transport = w.kind,
		.ring_pages = bind.ring_pages,
		.ring_len = bind.ring_len};
	struct control_message answer;

	link_create(&w.a.links, 1, &create, &answer);
	assert_int_equal(answer.type, CONTROL_LINK_OFFER);
	assert_int_equal(answer.link_offer.end, END);
	bind.peer_domid = w.a.domid;
	bind.port = answer.link_offer.port;
	bind.aport = answer.link_offer.aport;
	bind.doorbell_ref = answer.link_offer.doorbell_ref;
	bind.refs_ref = answer.link_offer.refs_ref;
	link_bind(&w.b.links, 1, &bind, &answer);
	assert_int_equal(answer.type, CONTROL_LINK_READY);
	assert_int_equal(answer.link_ready.end, END);
	link_up(link_find(&w.a.links, END), answer.link_ready.aport);
	w.a.transport = link_find(&w.a.links, END)->transport;
	w.b.transport = link_find(&w.b.links, END)->transport;
}

static void setup(uint32_t kind, uint32_t argo_ring_len)
{
	memset(&w, 0, sizeof(w));
	w.kind = kind;
	w.argo_ring_len = argo_ring_len;
	assert_int_equal(sim_create(&w.sim), 0);
	sim_clock_virtual(w.sim, 5000000000ULL);
	side_init(&w.a, "a");
	side_init(&w.b, "b");
	make_link();
}

static int setup_grant(void **state)
{
	setup(TRANSPORT_GRANT, RING_LEN);
	return 0;
}

static int setup_argo(void **state)
{
	setup(TRANSPORT_ARGO, RING_LEN);
	return 0;
}

static int setup_strict(void **state)
{
	setup(TRANSPORT_ARGO_STRICT, RING_LEN);
	return 0;
}

/* msgd's default. */
#define LARGE_LEN LINK_ARGO_RING_LEN(LINK_ARGO_RING_PAGES_DEFAULT)

static int setup_large_argo(void **state)
{
	setup(TRANSPORT_ARGO, LARGE_LEN);
	return 0;
}

static int setup_large_strict(void **state)
{
	setup(TRANSPORT_ARGO_STRICT, LARGE_LEN);
	return 0;
}

static void side_fini(struct side *side)
{
	struct link *link = link_find(&side->links, END);

	link_end(link, LINK_LEFT, "the test is over");
	assert_true(link_bury(link));
	links_free_dead(&side->links);
	links_clear(&side->links);
	hv_close(side->hv);
}

static int teardown(void **state)
{
	if (w.real)
		w.a.hv->ops = w.real;
	side_fini(&w.b);
	side_fini(&w.a);
	assert_int_equal(sim_check(w.sim, stderr), 0);
	sim_free(w.sim);
	return 0;
}

/* ---- frames ------------------------------------------------------------------------------ */

#define MAX_PIECES 20U
#define MAX_LEN	   (1U << 18)

/* Puts a whole message of len bytes in so many pieces. As transport_put. */
static int put(struct transport *transport, uint32_t len, size_t n_pieces, bool more)
{
	static uint8_t bytes[MAX_LEN];
	struct frame frame = {.channel = CHANNEL,
		.type = FRAME_DATA,
		.flags = FRAME_FIRST | FRAME_LAST,
		.len = len,
		.arg = len};
	struct iovec iov[MAX_PIECES];
	struct iov_cursor cursor;
	size_t at = 0, each = len / n_pieces;
	int r;

	pattern_fill(bytes, len, len);
	for (size_t i = 0; i < n_pieces; i++, at += each)
		iov[i] = (struct iovec){
			.iov_base = bytes + at, .iov_len = i == n_pieces - 1 ? len - at : each};
	cursor_init(&cursor, iov, n_pieces);
	r = transport_put(transport, &frame, len, &cursor, more);
	if (r < 0) { /* it did not move, and the frame is whole */
		assert_ptr_equal(cursor.iov, iov);
		assert_int_equal(cursor.off, 0);
		return r;
	}
	assert_int_equal(frame.len, len);
	return r;
}

/* As ops->peek, which is the name of a macro of the emulator, too. */
static int look(struct transport *transport)
{
	return (transport->ops->peek)(transport);
}

/* The next frame is that message. Read in two pieces, so that an offset is used. */
static void take(struct transport *transport, uint32_t len)
{
	static uint8_t bytes[MAX_LEN];
	uint32_t half = len / 2;

	assert_true(transport->ops->pending(transport));
	assert_int_equal(look(transport), 1);
	assert_int_equal(transport->frame.channel, CHANNEL);
	assert_int_equal(transport->frame.flags, FRAME_FIRST | FRAME_LAST);
	assert_int_equal(transport->frame.len, len);
	assert_int_equal(transport->frame.arg, len);
	transport->ops->read(transport, 0, bytes, half);
	transport->ops->read(transport, half, bytes + half, len - half);
	assert_true(pattern_is(bytes, len, len));
	transport->ops->next(transport);
}

static void assert_empty(struct transport *transport)
{
	assert_int_equal(look(transport), 0);
	assert_false(transport->ops->pending(transport));
	transport_give_back(transport, true);
}

/* Each length, in one piece and in many, both ways, past the ring's edge at each place. */
static void test_contents(void **state)
{
	for (uint32_t len = 0; len < 4200; len += 13) {
		struct side *from = len & 1 ? &w.a : &w.b, *to = len & 1 ? &w.b : &w.a;
		size_t n = len < MAX_PIECES ? 1 : 1 + len % MAX_PIECES;

		assert_int_equal(put(from->transport, len, n, false), 0);
		assert_false(from->transport->unpushed);
		assert_int_equal(transport_push(from->transport), 0);
		take(to->transport, len);
		assert_empty(to->transport);
	}
}

/* Frames that were kept back come with the push, in order, and each whole. */
static void test_kept_back(void **state)
{
	struct transport *a = w.a.transport, *b = w.b.transport;

	for (uint32_t round = 0; round < 100; round++) {
		for (uint32_t i = 0; i < 10; i++)
			assert_int_equal(put(a, 5 * i + round, 1 + i % 3, true), 0);
		assert_int_equal(look(b), 0);
		assert_true(a->unpushed);
		if (round % 2) {
			assert_int_equal(put(a, 700, 10, false), 0);
			assert_false(a->unpushed);
		}
		assert_int_equal(transport_push(a), 0);
		for (uint32_t i = 0; i < 10; i++)
			take(b, 5 * i + round);
		if (round % 2)
			take(b, 700);
		assert_empty(b);
	}
}

/* Bytes that a ring needs beside the payload of one frame. */
static uint32_t overhead(void)
{
	/* Over Argo a message has a header, and one slot stays free. */
	return w.kind == TRANSPORT_GRANT ? FRAME_HEADER_SIZE
					 : FRAME_HEADER_SIZE + 2 * ARGO_MESSAGE_HEADER_LEN;
}

static void not_full(struct transport *transport)
{
	transport->ops->not_armed(transport);
}

/* A ring takes as much as it says, and then nothing until the room is given back. */
static void test_room(void **state)
{
	struct transport *a = w.a.transport, *b = w.b.transport;
	const uint32_t most = RING_LEN - overhead();

	for (int i = 0; i < 5; i++) {
		assert_int_equal(a->ops->room(a, most), most);
		assert_int_equal(put(a, most + 1, 1, false), -EAGAIN);
		assert_int_equal(put(a, most, 1, false), 0);
		assert_int_equal(put(a, 0, 1, false), -EAGAIN);
		assert_int_equal(a->ops->room(a, 0), -EAGAIN);
		not_full(a);
		take(b, most);
		assert_int_equal(put(a, 0, 1, false), -EAGAIN);
		not_full(a);
		transport_give_back(b, true);
		assert_int_equal(put(a, 16U * (uint32_t)i, 1, false), 0);
		take(b, 16U * (uint32_t)i);
		assert_empty(b);
	}
}

/* Frames that are kept back take room too. */
static void test_room_behind_kept_back(void **state)
{
	struct transport *a = w.a.transport, *b = w.b.transport;
	const uint32_t most = RING_LEN - overhead();

	assert_int_equal(put(a, 50, 1, true), 0);
	assert_int_equal(a->ops->room(a, 0), most - FRAME_HEADER_SIZE - 64);
	/* More than may be gathered: it goes behind what was kept back, which goes first. */
	assert_int_equal(put(a, most - 200, 1, true), 0);
	assert_int_equal(transport_push(a), 0);
	take(b, 50);
	take(b, most - 200);
	assert_empty(b);
}

/* A frame is cut to the room that there is, of which a page tells. */
static void test_cut(void **state)
{
	struct transport *a = w.a.transport;
	static uint8_t bytes[2000];
	struct frame frame = {.channel = CHANNEL,
		.type = FRAME_DATA,
		.flags = FRAME_FIRST | FRAME_LAST,
		.len = sizeof(bytes)};
	struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};
	struct iov_cursor cursor;

	assert_int_equal(put(a, RING_LEN - overhead() - 1000, 1, false), 0);
	cursor_init(&cursor, &iov, 1);
	assert_int_equal(transport_put(a, &frame, 1, &cursor, false), 0);
	assert_int_equal(frame.flags, FRAME_FIRST);
	assert_in_range(frame.len, 900, 1000);
	assert_int_equal(cursor.off, frame.len);
	assert_int_equal(a->ops->room(a, 0), -EAGAIN);
}

/* ---- refusals of the hypervisor -------------------------------------------------------------- */

static struct {
	int error; /* of each send; 0: none is refused */
	unsigned n;
	struct iovec iov[ARGO_MAX_IOV];
	size_t n_iov;
	uint8_t bytes[MAX_LEN]; /* of the last message */
} sendv;

static int refuse_sendv(
	struct hv *hv, struct hv_ring *ring, const struct iovec *iov, size_t n, uint32_t type)
{
	size_t len = 0;

	sendv.n++;
	sendv.n_iov = n;
	for (size_t i = 0; i < n; len += iov[i++].iov_len)
		memcpy(sendv.bytes + len, iov[i].iov_base, iov[i].iov_len);
	return sendv.error ? sendv.error : w.real->argo_sendv(hv, ring, iov, n, type);
}

static void refuse(int error)
{
	if (!w.real) {
		w.real = w.a.hv->ops;
		w.ops = *w.real;
		w.ops.argo_sendv = refuse_sendv;
		w.a.hv->ops = &w.ops;
	}
	memset(&sendv, 0, sizeof(sendv));
	sendv.error = error;
}

/*
 * A send that is refused without an event to come is tried again after a millisecond, and not
 * before. EAGAIN is such a refusal where the page has claimed room; over argo-strict Xen tells.
 */
static void test_refused_for_now(void **state)
{
	static const int errors[] = {-EBUSY, -ENOMEM, -EAGAIN};
	struct transport *a = w.a.transport;

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		bool told = w.kind == TRANSPORT_ARGO_STRICT && errors[i] == -EAGAIN;

		refuse(errors[i]);
		assert_int_equal(put(a, 100, 3, false), -EAGAIN);
		assert_int_equal(sendv.n, 1);
		assert_int_equal(sendv.n_iov, 4);
		assert_int_equal(argo_of(a)->full, told);
		assert_int_equal(a->retry_ns, told ? 0 : w.a.hv->ops->now_ns(w.a.hv) + 1000000);
		assert_int_equal(a->ops->room(a, 0), -EAGAIN);
		assert_int_equal(put(a, 100, 3, false), -EAGAIN);
		assert_int_equal(sendv.n, 1); /* nobody asks again */
		sendv.error = 0;
		not_full(a);
		sim_clock_advance(w.sim, 999999);
		assert_int_equal(put(a, 100, 1, false), told ? 0 : -EAGAIN);
		sim_clock_advance(w.sim, 1);
		assert_int_equal(put(a, 200, 1, false), 0);
		assert_int_equal(a->retry_ns, told ? 0 : 1); /* others may have been refused */
		a->retry_ns = 0;
	}
}

/* Whatever else is refused ends the link: its caller learns the error. */
static void test_refused_for_good(void **state)
{
	struct transport *a = w.a.transport;

	refuse(-ECONNREFUSED);
	assert_int_equal(put(a, 100, 1, false), -ECONNREFUSED);
	assert_int_equal(a->retry_ns, 0);
	assert_false(argo_of(a)->full);
	assert_false(a->bell_due);
}

/* Frames that were kept back stay so until a push that is not refused, and are sent once. */
static void test_refused_push(void **state)
{
	struct transport *a = w.a.transport, *b = w.b.transport;

	refuse(-EBUSY);
	assert_int_equal(put(a, 100, 1, true), 0);
	assert_int_equal(put(a, 200, 1, false), 0);
	assert_true(a->unpushed);
	assert_int_equal(sendv.n, 1);
	assert_int_equal(transport_push(a), -EAGAIN);
	assert_true(a->unpushed && a->bell_due);
	sendv.error = -ECONNREFUSED;
	assert_int_equal(transport_push(a), -ECONNREFUSED);
	sendv.error = 0;
	sim_clock_advance(w.sim, 1000000);
	assert_int_equal(transport_push(a), 0);
	assert_false(a->unpushed);
	sendv.n = 0;
	assert_int_equal(a->ops->push(a), 0);
	assert_int_equal(sendv.n, 0);
	take(b, 100);
	take(b, 200);
	assert_empty(b);
	/* One that is too scattered for a call is gathered, and stays as well. */
	refuse(-EBUSY);
	a->retry_ns = 0;
	assert_int_equal(put(a, 900, ARGO_MAX_IOV, false), 0);
	assert_int_equal(sendv.n_iov, 1);
	assert_true(a->unpushed);
	sendv.error = 0;
	assert_int_equal(transport_push(a), 0);
	take(b, 900);
	/* With one piece fewer it is not. */
	refuse(0);
	a->retry_ns = 0;
	assert_int_equal(put(a, 900, ARGO_MAX_IOV - 1, false), 0);
	assert_int_equal(sendv.n_iov, ARGO_MAX_IOV);
	take(b, 900);
	assert_empty(b);
}

/* Gathered frames are padded with zeros: nothing of an earlier frame is shown. */
static void test_padding(void **state)
{
	struct transport *a = w.a.transport, *b = w.b.transport;

	refuse(0);
	for (uint32_t len = 48; len > 32; len--) {
		assert_int_equal(put(a, len, 1, true), 0);
		assert_int_equal(put(a, 1, 1, false), 0);
		assert_int_equal(transport_push(a), 0);
		for (uint32_t i = len; i < 48; i++)
			assert_int_equal(sendv.bytes[FRAME_HEADER_SIZE + i], 0);
		take(b, len);
		take(b, 1);
		assert_empty(b);
	}
}

/* So much is gathered as half of the ring, and to the last byte of that. */
static void test_gathering(void **state)
{
	struct transport *a = w.a.transport, *b = w.b.transport;

	refuse(0);
	for (uint32_t n = 0; n < LARGE_LEN / 2 / FRAME_HEADER_SIZE; n++)
		assert_int_equal(put(a, 0, 1, true), 0);
	assert_int_equal(sendv.n, 0);
	assert_int_equal(put(a, 0, 1, true), 0);
	assert_int_equal(sendv.n, 1);
	assert_int_equal(argo_of(a)->staged, FRAME_HEADER_SIZE);
	assert_int_equal(transport_push(a), 0);
	assert_int_equal(sendv.n, 2);
	for (uint32_t n = 0; n < LARGE_LEN / 2 / FRAME_HEADER_SIZE + 1; n++)
		take(b, 0);
	assert_empty(b);
	/* A frame that does not fit behind what is gathered begins the next message. */
	for (int i = 0; i < 2; i++)
		assert_int_equal(put(a, FRAME_PAYLOAD_MAX, 1, true), 0);
	assert_int_equal(sendv.n, 2);
	assert_int_equal(put(a, 2000, 1, false), 0);
	assert_int_equal(sendv.n, 4);
	for (int i = 0; i < 2; i++)
		take(b, FRAME_PAYLOAD_MAX);
	take(b, 2000);
	assert_empty(b);
}

/* No memory to gather frames: nothing was put, and it is tried again in time. */
static void test_no_memory_to_gather(void **state)
{
	struct transport *a = w.a.transport, *b = w.b.transport;

	for (size_t n_pieces = 1; n_pieces <= MAX_PIECES; n_pieces += MAX_PIECES - 1) {
		failing_malloc_set(1);
		assert_int_equal(put(a, 100, n_pieces, n_pieces == 1), -EAGAIN);
		assert_true(failing_malloc_end());
		assert_int_equal(a->retry_ns, w.a.hv->ops->now_ns(w.a.hv) + 1000000);
		assert_false(a->unpushed || a->bell_due);
		sim_clock_advance(w.sim, 1000000);
	}
	assert_int_equal(put(a, 100, 1, true), 0);
	assert_int_equal(transport_push(a), 0);
	take(b, 100);
	assert_empty(b);
}

/* ---- messages as no honest end sends them -------------------------------------------------- */

static int raw_send(const void *bytes, size_t len)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};

	return w.a.hv->ops->argo_sendv(
		w.a.hv, argo_of(w.a.transport)->ring, &iov, 1, FRAME_MESSAGE_TYPE);
}

/* A message has whole frames: one that has less makes no sense, and each edge is looked at. */
static void test_cut_messages(void **state)
{
	static const struct {
		uint32_t frame_len, message_len;
		int first, second; /* of two peeks */
	} cases[] = {
		{0, FRAME_HEADER_SIZE - 1, -EBADMSG, 0},
		{0, FRAME_HEADER_SIZE, 1, 0},
		{20, FRAME_HEADER_SIZE + 19, -EBADMSG, 0},
		{20, FRAME_HEADER_SIZE + 20, 1, 0},
		{20, FRAME_HEADER_SIZE + 32, 1, 0},
		{20, FRAME_HEADER_SIZE + 33, 1, -EBADMSG},
		{16, 2 * FRAME_HEADER_SIZE + 15, 1, -EBADMSG},
	};
	struct transport *b = w.b.transport;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t bytes[128] = {0};
		struct frame frame = {.channel = CHANNEL,
			.type = FRAME_DATA,
			.flags = FRAME_FIRST,
			.len = cases[i].frame_len,
			.arg = 1000};

		if (i > 0) {
			(void)teardown(state);
			setup(w.kind, RING_LEN);
			b = w.b.transport;
		}
		frame_encode(&frame, bytes);
		assert_int_equal(raw_send(bytes, cases[i].message_len), cases[i].message_len);
		assert_int_equal(look(b), cases[i].first);
		if (cases[i].first != 1)
			continue;
		b->ops->next(b);
		assert_int_equal(look(b), cases[i].second);
	}
}

/* Another process of the peer's domain sends: its message is dropped, and its room is free. */
static void test_stranger(void **state)
{
	struct transport *b = w.b.transport;
	uint8_t bytes[100] = {0};
	struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};
	struct hv_ring *ring;
	struct hv *hv;

	frame_encode(&(struct frame){.channel = CHANNEL, .type = FRAME_SHUTDOWN}, bytes);
	assert_int_equal(sim_hv_open(w.sim, w.a.domid, &hv), 0);
	assert_int_equal(hv->ops->argo_register(hv, 0, w.b.domid, RING_LEN, &ring), 0);
	assert_int_equal(hv->ops->argo_peer(hv, ring, argo_of(b)->ring->aport), 0);
	for (int i = 1; i < 500; i++) { /* many times what the ring holds */
		assert_int_equal(hv->ops->argo_sendv(hv, ring, &iov, 1, FRAME_MESSAGE_TYPE), 100);
		assert_true(b->ops->pending(b));
		assert_int_equal(look(b), TRANSPORT_DROPPED);
		assert_int_equal(look(b), 0);
		assert_false(b->ops->pending(b));
		/* Over argo-strict others may wait for that room. */
		assert_int_equal(b->untold,
			w.kind == TRANSPORT_ARGO_STRICT ? i * (ARGO_MESSAGE_HEADER_LEN + 112) : 0);
		assert_int_equal(b->unreleased, 0);
	}
	assert_int_equal(argo_of(b)->consumed, 0);
	b->untold = 0;
	hv_close(hv);
	assert_int_equal(put(w.a.transport, 5000, 1, false), 0);
	take(b, 5000);
	assert_int_equal(b->unreleased, ARGO_MESSAGE_HEADER_LEN + FRAME_HEADER_SIZE + 5008);
	assert_int_equal(argo_of(b)->consumed, b->unreleased);
}

/* ---- waking ---------------------------------------------------------------------------------- */

static bool readable(struct side *side)
{
	struct pollfd fd = {.fd = side->hv->ops->fd(side->hv), .events = POLLIN};

	return poll(&fd, 1, 0) == 1;
}

static void read_events(struct side *side)
{
	struct hv_event events[8];
	int n;

	while ((n = side->hv->ops->poll_events(side->hv, events, ARRAY_SIZE(events))) > 0) {
		for (int i = 0; i < n; i++)
			assert_int_equal(side->hv->ops->evtchn_unmask(side->hv, &events[i].port,
						 events[i].type == HV_EVENT_PORT),
				0);
	}
}

/* An end that has armed is woken by the push; of a frame that is there it hears at once. */
static void test_waking(void **state)
{
	struct transport *a = w.a.transport, *b = w.b.transport;

	read_events(&w.b);
	assert_int_equal(b->ops->arm(b, false), 0);
	assert_false(readable(&w.b));
	assert_int_equal(put(a, 10, 1, false), 0);
	assert_int_equal(transport_push(a), 0);
	assert_true(readable(&w.b));
	read_events(&w.b);
	assert_int_equal(b->ops->arm(b, false), 1);
	take(b, 10);
	assert_empty(b);
}

/* Words that a thread may look at without the lock; argo-strict has none for room. */
static void test_watched_words(void **state)
{
	struct transport *a = w.a.transport, *b = w.b.transport;
	const _Atomic uint32_t *frames, *room;
	uint32_t seen, seen_room = 0;

	for (uint32_t i = 0; i < 10; i++) {
		frames = b->ops->watch(b, &seen);
		room = a->ops->watch_room(a, &seen_room);
		assert_int_equal(room == NULL, w.kind == TRANSPORT_ARGO_STRICT);
		assert_int_equal(atomic_load(frames), seen);
		assert_int_equal(put(a, 16 * i, 1, false), 0);
		assert_int_not_equal(atomic_load(frames), seen);
		take(b, 16 * i);
		b->ops->watch(b, &seen);
		assert_int_equal(atomic_load(frames), seen);
		if (room)
			assert_int_equal(atomic_load(room), seen_room);
		assert_empty(b);
		if (room)
			assert_int_not_equal(atomic_load(room), seen_room);
	}
}

static void test_cpu(void **state)
{
	struct transport *a = w.a.transport, *b = w.b.transport;
	bool page = w.kind != TRANSPORT_ARGO_STRICT;

	assert_int_equal(a->ops->exchange_cpu(a, 3), 0);
	assert_int_equal(b->ops->exchange_cpu(b, 5), page ? 3 : 0);
	assert_int_equal(a->ops->exchange_cpu(a, 0), page ? 5 : 0);
	assert_int_equal(b->ops->exchange_cpu(b, 5), 0);
}

/* The page tells of a process's death; argo-strict's msgd does. */
static void test_death(void **state)
{
	struct transport *a = w.a.transport, *b = w.b.transport;
	bool page = w.kind != TRANSPORT_ARGO_STRICT;

	assert_true(a->ops->peer_alive(a));
	assert_true(b->ops->peer_alive(b));
	read_events(&w.b);
	link_end(link_find(&w.a.links, END), LINK_LEFT, "test");
	assert_true(link_bury(link_find(&w.a.links, END)));
	links_free_dead(&w.a.links);
	assert_int_equal(b->ops->peer_alive(b), !page);
	assert_int_equal(readable(&w.b), page);
	link_end(link_find(&w.b.links, END), LINK_LEFT, "test");
	assert_true(link_bury(link_find(&w.b.links, END)));
	links_free_dead(&w.b.links);
	make_link();
	a = w.a.transport;
	read_events(&w.a);
	link_end(link_find(&w.b.links, END), LINK_LEFT, "test");
	assert_true(link_bury(link_find(&w.b.links, END)));
	links_free_dead(&w.b.links);
	assert_int_equal(a->ops->peer_alive(a), !page);
	assert_int_equal(readable(&w.a), page);
	link_end(link_find(&w.a.links, END), LINK_LEFT, "test");
	assert_true(link_bury(link_find(&w.a.links, END)));
	links_free_dead(&w.a.links);
	make_link();
}

#define TEST(name, kind) cmocka_unit_test_setup_teardown(name, setup_##kind, teardown)
#define TEST_ARGO(name)	 TEST(name, argo), TEST(name, strict)
#define TEST_ALL(name)	 TEST(name, grant), TEST_ARGO(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_ALL(test_contents),
		TEST_ALL(test_kept_back),
		TEST_ALL(test_room),
		TEST_ALL(test_room_behind_kept_back),
		TEST(test_cut, grant),
		TEST(test_cut, argo),
		TEST_ARGO(test_refused_for_now),
		TEST_ARGO(test_refused_for_good),
		TEST_ARGO(test_refused_push),
		TEST_ARGO(test_padding),
		TEST_ARGO(test_no_memory_to_gather),
		TEST_ARGO(test_cut_messages),
		TEST_ARGO(test_stranger),
		TEST(test_gathering, large_argo),
		TEST(test_gathering, large_strict),
		TEST_ALL(test_watched_words),
		TEST_ALL(test_cpu),
		TEST_ALL(test_waking),
		TEST_ALL(test_death),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
