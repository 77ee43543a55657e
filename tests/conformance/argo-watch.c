/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Argo's waiting: argo_watch is one-shot, EAGAIN queues a wake-up that argo_consumed releases, and
 * what unregistering takes along. The rules are those of xen/common/argo.c.
 */
#include "tests/conformance/rings.h"

/* ---- watch and wake-up ----------------------------------------------------------------------- */

static void watch_is_off_at_first(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t ra, rb;

	rings_connect(a, 64, b, 4096, &ra, &rb);
	CHECK_SENT(a, ra, 1, 10);
	CHECK_RING_QUIET(b, rb);
	CHECK_OK(actor_ring_watch(b, rb, true)); /* waiting already: at once */
	CHECK_RING(b, rb);
	CHECK_SENT(a, ra, 2, 10);
	CHECK_RING_QUIET(b, rb); /* one-shot */
	CHECK_OK(actor_ring_watch(b, rb, true));
	CHECK_RING(b, rb);
	CHECK_RECEIVED(b, rb, 1, 10);
	CHECK_RECEIVED(b, rb, 2, 10);
	CHECK_OK(actor_ring_watch(b, rb, true));
	CHECK_RING_QUIET(b, rb); /* nothing there */
	CHECK_SENT(a, ra, 3, 10);
	CHECK_RING(b, rb);
	CHECK_SENT(a, ra, 4, 10);
	CHECK_RING_QUIET(b, rb);
}

static void watch_off_again(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t ra, rb;

	rings_connect(a, 64, b, 4096, &ra, &rb);
	CHECK_OK(actor_ring_watch(b, rb, true));
	CHECK_OK(actor_ring_watch(b, rb, false));
	CHECK_SENT(a, ra, 1, 10);
	CHECK_RING_QUIET(b, rb);
	CHECK_OK(actor_ring_watch(b, rb, true));
	CHECK_OK(actor_ring_watch(b, rb, true)); /* on twice is on once */
	CHECK_RING(b, rb);
	CHECK_RING_QUIET(b, rb);
}

/* Each watched ring with messages is told, and only those. */
static void watch_many_rings(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t ra[20], rb[20];

	for (int i = 0; i < 20; i++) {
		rings_connect(a, 64, b, 256, &ra[i], &rb[i]);
		if (i % 2)
			CHECK_OK(actor_ring_watch(b, rb[i], true));
	}
	for (int i = 0; i < 20; i++)
		if (i % 4 >= 2)
			CHECK_SENT(a, ra[i], 1, 10);
	for (int i = 0; i < 20; i++) {
		if (i % 4 == 3)
			CHECK_RING(b, rb[i]);
		else if (i % 2 == 0)
			CHECK_RING_QUIET(b, rb[i]);
	}
}

/* Fills b's ring with messages of `len` until one does not fit. Returns how many are in it. */
static uint32_t ring_fill(struct actor *a, uint32_t ra, uint32_t len)
{
	uint32_t n = 0;
	int r;

	while ((r = actor_ring_send(a, ra, n, len, n)) >= 0)
		n++;
	CHECK_INT(r, -EAGAIN);
	return n;
}

/* EAGAIN queues a wake-up; advancing rx_ptr alone wakes nobody; argo_consumed does. */
static void wake_after_consumed(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t ra, rb, n;

	rings_connect(a, 64, b, 256, &ra, &rb);
	n = ring_fill(a, ra, 40);
	CHECK_INT(n, 3); /* 64 bytes each */
	CHECK_OK(actor_ring_watch(a, ra, true));
	CHECK_RING_QUIET(a, ra);
	CHECK_RECEIVED(b, rb, 0, 40);
	CHECK_RING_QUIET(a, ra);
	CHECK_OK(actor_ring_consumed(b));
	CHECK_RING(a, ra);
	CHECK_SENT(a, ra, 3, 40);
	CHECK_INT(actor_ring_send(a, ra, 4, 40, 0), -EAGAIN); /* queued again, but not watched */
	CHECK_RECEIVED(b, rb, 1, 40);
	CHECK_OK(actor_ring_consumed(b));
	CHECK_RING_QUIET(a, ra); /* one-shot */
	CHECK_SENT(a, ra, 4, 40);
	for (uint32_t i = 2; i < 5; i++)
		CHECK_RECEIVED(b, rb, i, 40);
	CHECK_EMPTY(b, rb);
}

/* Nobody waits: argo_consumed is legal and wakes nobody. */
static void consumed_without_waiters(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t ra, rb;

	CHECK_OK(actor_ring_consumed(b)); /* not even a ring */
	rings_connect(a, 64, b, 256, &ra, &rb);
	CHECK_OK(actor_ring_watch(a, ra, true));
	CHECK_OK(actor_ring_consumed(b));
	CHECK_SENT(a, ra, 1, 10);
	CHECK_RECEIVED(b, rb, 1, 10);
	CHECK_OK(actor_ring_consumed(b));
	CHECK_RING_QUIET(a, ra);
}

/* The queued length counts: no wake-up until that much has room; the largest is kept. */
static void wake_when_it_fits(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t ra, rb;

	rings_connect(a, 64, b, 256, &ra, &rb);
	CHECK_INT(ring_fill(a, ra, 0), 15);
	CHECK_INT(actor_ring_send(a, ra, 99, 100, 0), -EAGAIN); /* 16 + 112 */
	CHECK_INT(actor_ring_send(a, ra, 99, 10, 0), -EAGAIN);	/* smaller: the larger stays */
	CHECK_OK(actor_ring_watch(a, ra, true));
	for (uint32_t i = 0; i < 4; i++)
		CHECK_RECEIVED(b, rb, i, 0);
	CHECK_OK(actor_ring_consumed(b)); /* 80 bytes free: not enough */
	CHECK_RING_QUIET(a, ra);
	for (uint32_t i = 4; i < 15; i++)
		CHECK_RECEIVED(b, rb, i, 0);
	CHECK_OK(actor_ring_consumed(b));
	CHECK_RING(a, ra);
	CHECK_SENT(a, ra, 99, 100);
	CHECK_RECEIVED(b, rb, 99, 100);
}

/* A wake-up that was not watched is gone; a later EAGAIN queues the next. */
static void wake_twice(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t ra, rb, next = 0, got = 0;

	rings_connect(a, 64, b, 128, &ra, &rb);
	for (int round = 0; round < 5; round++) {
		int r;

		while ((r = actor_ring_send(a, ra, next, 20, next)) >= 0)
			next++;
		CHECK_INT(r, -EAGAIN);
		CHECK_OK(actor_ring_watch(a, ra, true));
		while (got < next) {
			CHECK_RECEIVED(b, rb, got, 20);
			got++;
		}
		CHECK_OK(actor_ring_consumed(b));
		CHECK_RING(a, ra);
	}
}

/* ---- unregister -------------------------------------------------------------------------- */

/* Messages in it are gone, and a new ring under its name starts empty and zeroed. */
static void unregister_and_again(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct actor_ring_state s;
	uint32_t ra, rb;

	CHECK_OK(actor_ring_register(a, 1, b->domid, 64, &ra));
	CHECK_OK(actor_ring_peer(a, ra, 2));
	for (uint32_t i = 0; i < 50; i++) {
		CHECK_OK(actor_ring_register(b, 2, a->domid, i % 2 ? 256 : 4096, &rb));
		CHECK_OK(actor_ring_state(b, rb, &s));
		CHECK(s.rx == 0 && s.tx == 0 && s.zeroed);
		CHECK_EMPTY(b, rb);
		CHECK_SENT(a, ra, i, 100);
		CHECK_SENT(a, ra, i, 50);
		CHECK_RECEIVED(b, rb, i, 100);
		CHECK_OK(actor_ring_unregister(b, rb));
	}
}

/* An armed watch goes with its ring: no event for a ring that is not there. */
static void unregister_takes_watch(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct agent_event e[4];
	uint32_t ra, rb;

	rings_connect(a, 64, b, 256, &ra, &rb);
	CHECK_OK(actor_ring_watch(b, rb, true));
	CHECK_SENT(a, ra, 1, 10); /* its event is not taken */
	CHECK_OK(actor_ring_unregister(b, rb));
	CHECK_INT(actor_poll(b, the_world->settle_ms, 4, e), 0);
}

static void handle_close_unregisters(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct actor *b2 = actor_sibling(b);
	uint32_t ra, rb, again, aport;

	rings_connect(a, 64, b2, 256, &ra, &rb);
	aport = ring_aport(b2, rb);
	CHECK_SENT(a, ra, 1, 10);
	actor_close(b2);
	CHECK_INT(actor_ring_send(a, ra, 1, 10, 0), -ECONNREFUSED);
	CHECK_OK(actor_ring_register(b, aport, a->domid, 256, &again));
	CHECK_SENT(a, ra, 2, 10);
	CHECK_RECEIVED(b, again, 2, 10);
}

#define G (WORLD_GUESTS | WORLD_ARGO)

static const struct test_case cases[] = {
	{"watch_is_off_at_first", G, watch_is_off_at_first},
	{"watch_off_again", G, watch_off_again},
	{"watch_many_rings", G, watch_many_rings},
	{"wake_after_consumed", G, wake_after_consumed},
	{"consumed_without_waiters", G, consumed_without_waiters},
	{"wake_when_it_fits", G, wake_when_it_fits},
	{"wake_twice", G, wake_twice},
	{"unregister_and_again", G, unregister_and_again},
	{"unregister_takes_watch", G, unregister_takes_watch},
	{"handle_close_unregisters", G, handle_close_unregisters},
};

const struct test_group argo_watch_group = {"argo-watch", cases, ARRAY_SIZE(cases)};
