/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Argo with one sender at a time: registration, the checks of sendv in Xen's order, and
 * room to the byte. Watching, waking and unregistering are in argo-watch.c. The rules
 * are those of xen/common/argo.c.
 */
#include "hv/argo-ring.h"
#include "tests/conformance/rings.h"

#define IOV_LEN_MAX 0xffffe0U /* 16 MiB - 32: the most one segment, or all, may have */

/* ---- register_ring ------------------------------------------------------------------------- */

static void register_fills_ring(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct actor_ring_state s;
	uint32_t ring, other;

	CHECK_OK(actor_ring_register(a, 7777, b->domid, 4096, &ring));
	CHECK_OK(actor_ring_state(a, ring, &s));
	CHECK(s.rx == 0 && s.tx == 0 && s.zeroed);
	CHECK_INT(s.ring_len, 4096);
	CHECK_INT(s.aport, 7777);
	CHECK_INT(s.partner, b->domid);
	CHECK_OK(actor_ring_register(a, 0, b->domid, 8192, &ring));
	CHECK_OK(actor_ring_register(a, 0, b->domid, 8192, &other));
	CHECK(ring_aport(a, ring) != 0 && ring_aport(a, ring) != 7777);
	CHECK(ring_aport(a, ring) != ring_aport(a, other));
}

/* 48 bytes to 0xffffc0 in steps of 16: 4096 pages with the header are the most. */
static void register_sizes(void)
{
	static const uint32_t good[] = {48, 64, 4032, 4048, 65536, 0xffffc0};
	static const uint32_t bad[] = {0, 16, 32, 47, 49, 56, 63, 4040, 0xffffc1, 0xffffd0,
		0xfffff0, 0x1000000, 0x1000010, 0x80000000U, 0xfffffff0U, UINT32_MAX};
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct actor_ring_state s;
	uint32_t ring;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		CHECK_OK(actor_ring_register(a, 5, b->domid, good[i], &ring));
		CHECK_OK(actor_ring_state(a, ring, &s));
		CHECK_INT(s.ring_len, good[i]);
		CHECK(s.zeroed);
		CHECK_OK(actor_ring_unregister(a, ring));
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (actor_ring_register(a, 5, b->domid, bad[i], &ring) != -EINVAL)
			case_fail(__FILE__, __LINE__, "ring_len %u is not EINVAL", bad[i]);
}

/* EINVAL for the size, EPERM for ANY, then ESRCH; DOMID_SELF counts as missing. */
static void register_partner(void)
{
	struct actor *a = world_actor(WORLD_A);
	uint32_t ring;

	CHECK_INT(actor_ring_register(a, 5, world_missing_domid(), 4096, &ring), -ESRCH);
	CHECK_INT(actor_ring_register(a, 5, HV_DOMID_SELF, 4096, &ring), -ESRCH);
	CHECK_INT(actor_ring_register(a, 5, 0x7ff4, 4096, &ring), -EPERM);
	CHECK_INT(actor_ring_register(a, 5, world_missing_domid(), 4095, &ring), -EINVAL);
	CHECK_INT(actor_ring_register(a, 5, 0x7ff4, 32, &ring), -EINVAL);
}

static void register_exists(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct actor *a2 = actor_sibling(a);
	uint32_t ra, rb, other;

	rings_connect(a, 4096, b, 4096, &ra, &rb);
	CHECK_INT(actor_ring_register(a, ring_aport(a, ra), b->domid, 4096, &other), -EEXIST);
	CHECK_INT(actor_ring_register(a, ring_aport(a, ra), b->domid, 8192, &other), -EEXIST);
	CHECK_INT(actor_ring_register(a2, ring_aport(a, ra), b->domid, 4096, &other), -EEXIST);
	CHECK_SENT(b, rb, 1, 100); /* the refused ones did it no harm */
	CHECK_RECEIVED(a, ra, 1, 100);
	/* one aport may have a ring for each partner */
	CHECK_OK(actor_ring_register(a, ring_aport(a, ra), HV_BROKER_DOMID, 4096, &other));
	CHECK_OK(actor_ring_unregister(a, ra));
	CHECK_OK(actor_ring_register(a2, 7, b->domid, 4096, &ra));
}

/* 128 rings a domain, whoever holds them; looked at before existence. */
static void register_limit(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct actor *a2 = actor_sibling(a);
	uint32_t rings[128], ring;

	for (uint32_t i = 0; i < 128; i++)
		CHECK_OK(actor_ring_register(i & 1 ? a : a2, 1000 + i, b->domid, 64, &rings[i]));
	CHECK_INT(actor_ring_register(a, 0, b->domid, 64, &ring), -ENOSPC);
	CHECK_INT(actor_ring_register(a2, 5, HV_BROKER_DOMID, 64, &ring), -ENOSPC);
	CHECK_INT(actor_ring_register(a, 1000, b->domid, 64, &ring), -ENOSPC); /* not EEXIST */
	CHECK_OK(actor_ring_register(b, 0, a->domid, 64, &ring)); /* the partner's own count */
	CHECK_OK(actor_ring_unregister(a, rings[1]));
	CHECK_INT(actor_ring_register(a, 1000, b->domid, 64, &ring), -EEXIST);
	CHECK_OK(actor_ring_register(a2, 0, b->domid, 64, &ring));
	CHECK_INT(actor_ring_register(a, 0, b->domid, 64, &ring), -ENOSPC);
	actor_close(a2); /* gives 65 back */
	for (uint32_t i = 0; i < 65; i++)
		CHECK_OK(actor_ring_register(a, 0, b->domid, 64, &ring));
	CHECK_INT(actor_ring_register(a, 0, b->domid, 64, &ring), -ENOSPC);
}

/* ENODEV where Argo is off for the caller, ECONNREFUSED where it is off for the partner. */
static void register_argo_off(void)
{
	uint16_t plain = world_create("plain", 0, false);
	struct actor *p = world_actor_in("plain"), *a = world_actor(WORLD_A);
	uint32_t ring;

	CHECK_INT(actor_ring_register(p, 5, a->domid, 4096, &ring), -ENODEV);
	CHECK_INT(actor_ring_register(a, 5, plain, 4096, &ring), -ECONNREFUSED);
	CHECK_INT(actor_ring_register(p, 5, plain, 4096, &ring), -ENODEV); /* own first */
	CHECK_INT(actor_ring_register(p, 5, a->domid, 32, &ring), -EINVAL);
	CHECK_INT(actor_ring_register(p, 5, world_missing_domid(), 4096, &ring), -ESRCH);
}

/* ---- sendv ---------------------------------------------------------------------------------- */

static void send_is_received(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct actor_message m;
	struct actor_ring_state s;
	uint32_t ra, rb;

	rings_connect(a, 4096, b, 4096, &ra, &rb);
	CHECK_EMPTY(b, rb);
	CHECK_INT(actor_ring_send(a, ra, 3, 100, 0xfedcba98U), 100);
	CHECK_INT(actor_ring_recv(b, rb, &m), 1);
	CHECK_INT(m.len, 100);
	CHECK_INT(m.type, 0xfedcba98U);
	CHECK_INT(m.domid, a->domid); /* Xen stamps both */
	CHECK_INT(m.aport, ring_aport(a, ra));
	CHECK_INT((int64_t)m.sum, (int64_t)message_sum(3, 100));
	CHECK_EMPTY(b, rb);
	CHECK_OK(actor_ring_state(b, rb, &s));
	CHECK_INT(s.tx, 16 + 112);
	CHECK_INT(s.rx, s.tx);
	CHECK_EMPTY(a, ra); /* nothing in the sender's own */
	CHECK_SENT(b, rb, 4, 1);
	CHECK_RECEIVED(a, ra, 4, 1);
}

/* Order is kept, whatever the sizes. */
static void send_in_order(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t ra, rb, sent = 0, got = 0, n = (uint32_t)world_rounds(400);

	rings_connect(a, 64, b, 2048, &ra, &rb);
	while (got < n) {
		uint32_t len = sent * 37 % 600;
		int r = sent < n ? actor_ring_send(a, ra, sent, len, sent) : -EAGAIN;

		if (r >= 0) {
			CHECK_INT(r, len);
			sent++;
			continue;
		}
		CHECK_INT(r, -EAGAIN);
		CHECK(sent > got);
		CHECK_RECEIVED(b, rb, got, got * 37 % 600);
		got++;
	}
	CHECK_EMPTY(b, rb);
}

static void send_segments(void)
{
	static const uint32_t cut[][8] = {
		{1, 2, 3, 4, 5, 6, 7, 8},
		{0, 0, 0, 40, 0, 0, 0, 0},
		{16, 16, 16, 16, 16, 16, 16, 16},
		{0, 1, 0, 15, 0, 17, 0, 3},
		{0, 0, 0, 0, 0, 0, 0, 0},
	};
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t nine[] = {1, 1, 1, 1, 1, 1, 1, 1, 1}, ra, rb;

	rings_connect(a, 64, b, 4096, &ra, &rb);
	for (uint32_t i = 0; i < ARRAY_SIZE(cut); i++) {
		for (size_t n = 1; n <= 8; n++) {
			uint32_t total = 0;

			for (size_t k = 0; k < n; k++)
				total += cut[i][k];
			CHECK_INT(actor_ring_sendv(a, ra, i, cut[i], n, i), total);
			CHECK_RECEIVED(b, rb, i, total); /* 0 bytes are a message too */
			CHECK_EMPTY(b, rb);
		}
	}
	CHECK_INT(actor_ring_sendv(a, ra, 1, nine, 9, 0), -EINVAL);
	CHECK_EMPTY(b, rb);
}

static void send_needs_peer(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t ra, rb;

	CHECK_OK(actor_ring_register(a, 0, b->domid, 4096, &ra));
	CHECK_OK(actor_ring_register(b, 0, a->domid, 4096, &rb));
	CHECK_INT(actor_ring_send(a, ra, 1, 10, 0), -ENOTCONN);
	CHECK_OK(actor_ring_peer(a, ra, ring_aport(b, rb)));
	CHECK_INT(actor_ring_peer(a, ra, ring_aport(b, rb)), -EISCONN);
	CHECK_INT(actor_ring_peer(a, ra, 4711), -EISCONN);
	CHECK_SENT(a, ra, 1, 10); /* and the first one stays */
	CHECK_RECEIVED(b, rb, 1, 10);
}

/* No matching ring: none at all, another aport, another partner, gone again. */
static void send_refused(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct actor *d = world_actor(WORLD_BROKER);
	uint32_t ra, rb, rd;

	CHECK_OK(actor_ring_register(a, 5, b->domid, 4096, &ra));
	CHECK_OK(actor_ring_peer(a, ra, 6));
	CHECK_INT(actor_ring_send(a, ra, 1, 10, 0), -ECONNREFUSED);
	CHECK_OK(actor_ring_register(b, 7, a->domid, 4096, &rb));
	CHECK_INT(actor_ring_send(a, ra, 1, 10, 0), -ECONNREFUSED);
	CHECK_OK(actor_ring_register(b, 6, d->domid, 4096, &rd));
	CHECK_INT(actor_ring_send(a, ra, 1, 10, 0), -ECONNREFUSED);
	CHECK_OK(actor_ring_unregister(b, rb));
	CHECK_OK(actor_ring_register(b, 6, a->domid, 4096, &rb));
	CHECK_SENT(a, ra, 1, 10);
	CHECK_RECEIVED(b, rb, 1, 10);
	CHECK_EMPTY(b, rd);
	CHECK_OK(actor_ring_unregister(b, rb));
	CHECK_INT(actor_ring_send(a, ra, 1, 10, 0), -ECONNREFUSED);
}

/* One aport, two partners: each sender reaches its own ring alone. */
static void send_by_partner(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct actor *d = world_actor(WORLD_BROKER);
	uint32_t to_b, to_d, rb, rd;

	CHECK_OK(actor_ring_register(a, 9, b->domid, 4096, &to_b));
	CHECK_OK(actor_ring_register(a, 9, d->domid, 4096, &to_d));
	CHECK_OK(actor_ring_register(b, 0, a->domid, 64, &rb));
	CHECK_OK(actor_ring_register(d, 0, a->domid, 64, &rd));
	CHECK_OK(actor_ring_peer(b, rb, 9));
	CHECK_OK(actor_ring_peer(d, rd, 9));
	CHECK_SENT(b, rb, 1, 30);
	CHECK_SENT(d, rd, 2, 40);
	CHECK_RECEIVED(a, to_b, 1, 30);
	CHECK_RECEIVED(a, to_d, 2, 40);
	CHECK_EMPTY(a, to_b);
	CHECK_EMPTY(a, to_d);
}

static void send_to_own_domain(void)
{
	struct actor *a = world_actor(WORLD_A), *a2 = actor_sibling(a);
	uint32_t r1, r2, self;

	rings_connect(a, 4096, a2, 4096, &r1, &r2);
	CHECK_SENT(a, r1, 1, 77);
	CHECK_RECEIVED(a2, r2, 1, 77);
	CHECK_OK(actor_ring_register(a, 0, a->domid, 4096, &self));
	CHECK_OK(actor_ring_peer(a, self, ring_aport(a, self)));
	CHECK_SENT(a, self, 2, 78); /* even to itself */
	CHECK_RECEIVED(a, self, 2, 78);
}

/* ring_len <= 16 + round16(len) can never fit; one byte less than that can. */
static void send_too_big_for_ring(void)
{
	static const uint32_t lens[] = {48, 64, 80, 4096, 65552};
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t ra, rb;

	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		uint32_t most = lens[i] - 32;

		rings_connect(a, 48, b, lens[i], &ra, &rb);
		CHECK_INT(actor_ring_send(a, ra, 1, most + 1, 0), -EMSGSIZE);
		CHECK_INT(actor_ring_send(a, ra, 1, most + 16, 0), -EMSGSIZE);
		CHECK_INT(actor_ring_send(a, ra, 1, most + 17, 0), -EMSGSIZE);
		CHECK_EMPTY(b, rb);
		CHECK_SENT(a, ra, 1, most);
		CHECK_INT(actor_ring_send(a, ra, 1, most + 1, 0), -EMSGSIZE); /* not EAGAIN */
		CHECK_RECEIVED(b, rb, 1, most);
		CHECK_OK(actor_ring_unregister(a, ra));
		CHECK_OK(actor_ring_unregister(b, rb));
	}
}

/* One segment over the limit EINVAL, their sum EMSGSIZE; both after the ring was looked up. */
static void send_huge(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t two[] = {IOV_LEN_MAX, 1}, one[] = {IOV_LEN_MAX + 1}, ra, rb, lost;
	uint32_t nine[] = {1, 1, 1, 1, 1, 1, 1, 1, 1};

	rings_connect(a, 48, b, ARGO_RING_LEN_MAX, &ra, &rb);
	CHECK_INT(actor_ring_sendv(a, ra, 1, one, 1, 0), -EINVAL);
	CHECK_INT(actor_ring_sendv(a, ra, 1, two, 2, 0), -EMSGSIZE);
	CHECK_EMPTY(b, rb);
	CHECK_SENT(a, ra, 1, ARGO_RING_LEN_MAX - 32);
	CHECK_INT(actor_ring_send(a, ra, 2, 0, 0), -EAGAIN);
	CHECK_RECEIVED(b, rb, 1, ARGO_RING_LEN_MAX - 32);
	CHECK_SENT(a, ra, 2, ARGO_RING_LEN_MAX - 32); /* this one wraps */
	CHECK_RECEIVED(b, rb, 2, ARGO_RING_LEN_MAX - 32);
	CHECK_OK(actor_ring_register(a, 0, b->domid, 48, &lost));
	CHECK_OK(actor_ring_peer(a, lost, 4711));
	CHECK_INT(actor_ring_sendv(a, lost, 1, one, 1, 0), -ECONNREFUSED);
	CHECK_INT(actor_ring_sendv(a, lost, 1, two, 2, 0), -ECONNREFUSED);
	CHECK_INT(actor_ring_sendv(a, lost, 1, nine, 9, 0), -EINVAL); /* counted first */
}

/* 16 + round16(len) >= free is EAGAIN: one slot stays free always. */
static void send_room_to_the_byte(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t ra, rb;

	rings_connect(a, 48, b, 256, &ra, &rb);
	/* from every slot */
	for (uint32_t start = 0; start < 12U + (uint32_t)world_rounds(28); start++) {
		uint32_t first = start % 12 * 16 + 1, room;

		CHECK_SENT(a, ra, start, first);
		room = 256 - 16 - round_up16(first); /* free now */
		if (room >= 32)
			CHECK_INT(actor_ring_send(a, ra, 9, room - 31, 0), -EAGAIN);
		CHECK_INT(actor_ring_send(a, ra, 9, room - 16, 0), -EAGAIN);
		if (room >= 32) {
			CHECK_SENT(a, ra, 100 + start, room - 32);
			CHECK_INT(actor_ring_send(a, ra, 9, 0, 0), -EAGAIN);
		}
		CHECK_RECEIVED(b, rb, start, first);
		if (room >= 32)
			CHECK_RECEIVED(b, rb, 100 + start, room - 32);
		CHECK_EMPTY(b, rb);
	}
}

/* Every length (where that is not slow) at every position of rings of several sizes. */
static void wrap_everywhere(void)
{
	static const uint32_t sizes[] = {48, 64, 112, 176};
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t ra, rb, seed = 0, step = world_rounds(37) == 37 ? 1 : 37;
	struct actor_ring_state s;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint32_t slots = sizes[i] / 16, at = 0;

		rings_connect(a, 48, b, sizes[i], &ra, &rb);
		for (uint32_t len = 0; len <= sizes[i] - 32; len += step) {
			for (uint32_t k = 0; k < slots; k++) {
				/* a filler brings the message to slot k */
				uint32_t fill = (k * 16 + sizes[i] - at) % sizes[i];

				if (fill >= 16 && fill < sizes[i]) {
					CHECK_SENT(a, ra, ++seed, fill - 16);
					CHECK_RECEIVED(b, rb, seed, fill - 16);
				}
				CHECK_SENT(a, ra, ++seed, len);
				CHECK_RECEIVED(b, rb, seed, len);
				at = (k * 16 + 16 + round_up16(len)) % sizes[i];
			}
		}
		CHECK_OK(actor_ring_state(b, rb, &s));
		CHECK_INT(s.tx, at);
		CHECK_OK(actor_ring_unregister(a, ra));
		CHECK_OK(actor_ring_unregister(b, rb));
	}
}

#define G (WORLD_GUESTS | WORLD_ARGO)

static const struct test_case cases[] = {
	{"register_fills_ring", G, register_fills_ring},
	{"register_sizes", G, register_sizes},
	{"register_partner", G, register_partner},
	{"register_exists", G, register_exists},
	{"register_limit", G | WORLD_QUIET, register_limit},
	{"register_argo_off", G | WORLD_LIFE | WORLD_NO_ARGO, register_argo_off},
	{"send_is_received", G, send_is_received},
	{"send_in_order", G, send_in_order},
	{"send_segments", G, send_segments},
	{"send_needs_peer", G, send_needs_peer},
	{"send_refused", G, send_refused},
	{"send_by_partner", G, send_by_partner},
	{"send_to_own_domain", G, send_to_own_domain},
	{"send_too_big_for_ring", G, send_too_big_for_ring},
	{"send_huge", G, send_huge},
	{"send_room_to_the_byte", G, send_room_to_the_byte},
	{"wrap_everywhere", G, wrap_everywhere},
};

const struct test_group argo_group = {"argo", cases, ARRAY_SIZE(cases)};
