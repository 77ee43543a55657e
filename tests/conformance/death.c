/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The death of a domain as its peers see it: in silence. Ports revert to unbound, rings for it are
 * gone, its references are void, and mappings stay.
 */
#include "tests/conformance/rings.h"

/* A domain that will die, with a process in it. */
static struct actor *mortal(void)
{
	(void)world_create("mortal", 0, true);
	return world_actor_in("mortal");
}

static void destroy(struct actor *x)
{
	world_manage("destroy", "mortal");
	actor_lost(x);
}

/* No event; sends go nowhere; nobody but that domid could bind again. */
static void ports_revert_silently(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B), *x = mortal();
	uint16_t domid = x->domid;
	uint32_t pa, px, unbound, theirs, p;

	actor_connect(a, x, &pa, &px);
	CHECK_OK(actor_alloc_unbound(a, domid, &unbound));
	CHECK_OK(actor_alloc_unbound(x, a->domid, &theirs));
	destroy(x);
	CHECK_PORT_QUIET(a, pa);
	CHECK_OK(actor_send(a, pa));
	CHECK_OK(actor_send(a, unbound));
	CHECK_INT(actor_bind(a, domid, theirs, &p), -ESRCH);
	CHECK_INT(actor_bind(b, a->domid, pa, &p), -EINVAL);
	CHECK_OK(actor_port_close(a, pa));
	CHECK_OK(actor_port_close(a, unbound));
}

/* ... which is why a dead domain's ports are to be closed at once: its successor can bind them. */
static void ports_wait_for_domid(void)
{
	struct actor *a = world_actor(WORLD_A), *x = mortal();
	uint16_t domid = x->domid;
	uint32_t pa, px, unbound, p, q;

	actor_connect(a, x, &pa, &px);
	CHECK_OK(actor_alloc_unbound(a, domid, &unbound));
	destroy(x);
	world_create("other", domid, true);
	x = world_actor_in("other");
	CHECK_OK(actor_bind(x, a->domid, pa, &p));
	CHECK_OK(actor_bind(x, a->domid, unbound, &q));
	CHECK_PORT(x, p);
	CHECK_OK(actor_send(x, p));
	CHECK_PORT(a, pa);
}

/* Rings of the dead: ESRCH. Rings for the dead: nobody can send, unregistering succeeds. */
static void rings_are_gone(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B), *x = mortal();
	uint16_t domid = x->domid;
	uint32_t ra, rx, ring, kept_a, kept_b;

	rings_connect(a, 4096, x, 4096, &ra, &rx);
	rings_connect(a, 4096, b, 4096, &kept_a, &kept_b);
	CHECK_SENT(x, rx, 1, 100);
	CHECK_SENT(a, ra, 1, 100);
	CHECK_OK(actor_ring_watch(a, ra, true));
	CHECK_RING(a, ra); /* of the message that is there */
	CHECK_OK(actor_ring_watch(a, kept_a, true));
	destroy(x);
	CHECK_RING_QUIET(a, ra); /* no VIRQ for the death */
	CHECK_RING_QUIET(a, kept_a);
	CHECK_INT(actor_ring_send(a, ra, 1, 10, 0), -ESRCH);
	CHECK_RECEIVED(a, ra, 1, 100); /* messages that had come can still be read */
	CHECK_INT(actor_ring_register(a, 0, domid, 64, &ring), -ESRCH);
	CHECK_OK(actor_ring_consumed(a));
	CHECK_OK(actor_ring_unregister(a, ra));
	CHECK_SENT(a, kept_a, 3, 10); /* the others live on */
	CHECK_RECEIVED(b, kept_b, 3, 10);
}

/* A successor under the same domid cannot send into the ring that its predecessor had. */
static void rings_not_for_successor(void)
{
	struct actor *a = world_actor(WORLD_A), *x = mortal();
	uint16_t domid = x->domid;
	uint32_t ra, rx, aport, again;

	rings_connect(a, 4096, x, 4096, &ra, &rx);
	aport = ring_aport(a, ra);
	destroy(x);
	world_create("other", domid, true);
	x = world_actor_in("other");
	CHECK_OK(actor_ring_register(x, 4711, a->domid, 4096, &rx));
	CHECK_OK(actor_ring_peer(x, rx, aport));
	CHECK_INT(actor_ring_send(x, rx, 1, 10, 0), -ECONNREFUSED);
	CHECK_INT(actor_ring_send(a, ra, 1, 10, 0), -ECONNREFUSED);
	CHECK_OK(actor_ring_unregister(a, ra));
	CHECK_OK(actor_ring_register(a, aport, domid, 4096, &again));
	CHECK_SENT(x, rx, 2, 10);
	CHECK_RECEIVED(a, again, 2, 10);
}

/* Its count of 128 is the caller's: rings that vanished, once unregistered, make room. */
static void rings_come_back(void)
{
	struct actor *a = world_actor(WORLD_A), *x = mortal();
	uint32_t rings[128], ring;

	for (int i = 0; i < 128; i++)
		CHECK_OK(actor_ring_register(a, 0, x->domid, 64, &rings[i]));
	destroy(x);
	for (int i = 0; i < 128; i++)
		CHECK_OK(actor_ring_unregister(a, rings[i]));
	for (int i = 0; i < 128; i++)
		CHECK_OK(actor_ring_register(a, 0, a->domid, 64, &ring));
}

/* A waiter whose domain died, and one whose receiver did: nothing breaks, nobody is woken. */
static void waiters_die(void)
{
	struct actor *a = world_actor(WORLD_A), *x = mortal();
	uint32_t ra, rx;
	int r;

	rings_connect(a, 256, x, 256, &ra, &rx);
	while ((r = actor_ring_send(x, rx, 1, 40, 1)) >= 0)
		;
	CHECK_INT(r, -EAGAIN);
	while ((r = actor_ring_send(a, ra, 1, 40, 1)) >= 0)
		;
	CHECK_INT(r, -EAGAIN);
	CHECK_OK(actor_ring_watch(a, ra, true));
	CHECK_RING(a, ra); /* it has messages */
	destroy(x);
	CHECK_RECEIVED(a, ra, 1, 40);
	CHECK_OK(actor_ring_consumed(a));
	CHECK_INT(actor_ring_send(a, ra, 1, 40, 1), -ESRCH);
	CHECK_OK(actor_ring_unregister(a, ra));
	CHECK_OK(actor_ring_consumed(a));
}

/* A zombie has no rings any more, but is there: ECONNREFUSED, and ESRCH when it has gone. */
static void zombie_refuses(void)
{
	struct actor *a = world_actor(WORLD_A), *x = mortal();
	uint32_t ra, rx, ref, share, map, p;
	uint16_t domid = x->domid;

	rings_connect(a, 4096, x, 4096, &ra, &rx);
	CHECK_OK(actor_share(x, a->domid, 1, NULL, &ref, &share));
	CHECK_OK(actor_map(a, domid, &ref, 1, true, NULL, &map));
	destroy(x);
	CHECK_INT(actor_ring_send(a, ra, 1, 10, 0), -ECONNREFUSED);
	CHECK(actor_bind(a, domid, 1, &p) < 0);
	actor_unmap(a, map);
	CHECK_SOON(actor_ring_send(a, ra, 1, 10, 0), -ESRCH);
	CHECK_INT(actor_bind(a, domid, 1, &p), -ESRCH);
}

/* Mappings stay readable and writable; references are void; the rest of the pages come back. */
static void grants_of_the_dead(void)
{
	struct actor *a = world_actor(WORLD_A), *x = mortal();
	uint32_t refs[2], share, map, other, mine, share_a;
	uint16_t domid = x->domid;
	uint8_t byte = 9;

	CHECK_OK(actor_share(x, a->domid, 2, NULL, refs, &share));
	CHECK_OK(actor_map(a, domid, refs, 1, true, NULL, &map));
	CHECK_OK(actor_share(a, domid, 1, NULL, &mine, &share_a));
	CHECK_OK(actor_map(x, a->domid, &mine, 1, true, NULL, &other));
	actor_mem_write(x, share, 100, &byte, 1);
	destroy(x);
	actor_mem_read(a, map, 100, &byte, 1);
	CHECK_INT(byte, 9);
	CHECK(actor_mem_writable(a, map));
	CHECK_INT(actor_map(a, domid, &refs[1], 1, true, NULL, &other), -EINVAL);
	actor_unmap(a, map);
	actor_unshare(a, share_a); /* its mapping went with the domain */
	CHECK_INT(actor_map(a, domid, refs, 1, true, NULL, &other), -EINVAL);
}

/*
 * A domain that dies takes its mappings along without a word: unmap-notify is for processes. Its
 * own page's notify is not fired either.
 */
static void no_notify_for_domains(void)
{
	struct actor *a = world_actor(WORLD_A), *x = mortal();
	uint32_t pa, px, ref, share, map, ref_a, share_a, map_x;
	uint8_t byte = 1;

	actor_connect(a, x, &pa, &px);
	CHECK_OK(actor_share(x, a->domid, 1, &(struct hv_unmap_notify){7, px}, &ref, &share));
	CHECK_OK(actor_map(a, x->domid, &ref, 1, true, NULL, &map));
	CHECK_OK(actor_share(a, x->domid, 1, NULL, &ref_a, &share_a));
	CHECK_OK(actor_map(x, a->domid, &ref_a, 1, true, &(struct hv_unmap_notify){7, px}, &map_x));
	actor_mem_write(a, map, 7, &byte, 1);
	actor_mem_write(a, share_a, 7, &byte, 1);
	destroy(x);
	CHECK_PORT_QUIET(a, pa);
	actor_mem_read(a, map, 7, &byte, 1);
	CHECK_INT(byte, 1);
	actor_mem_read(a, share_a, 7, &byte, 1);
	CHECK_INT(byte, 1);
}

/* Pages shared with the dead count until they are unshared, and are free for others at once. */
static void pages_come_back(void)
{
	struct actor *a = world_actor(WORLD_A), *x = mortal();
	uint32_t refs[16], shares[4096], share, map;
	int n = 0, m = 0;

	while (actor_share(a, x->domid, 16, NULL, refs, &shares[n]) == 0)
		CHECK_OK(actor_map(x, a->domid, refs, 16, true, NULL, &map)), n++;
	CHECK(n > 0);
	destroy(x);
	for (int i = 0; i < n; i++)
		actor_unshare(a, shares[i]);
	while (actor_share(a, a->domid, 16, NULL, refs, &share) == 0)
		m++;
	CHECK_INT(m, n);
}

#define D (WORLD_GUESTS | WORLD_LIFE)

static const struct test_case cases[] = {
	{"ports_revert_silently", D, ports_revert_silently},
	{"ports_wait_for_domid", D | WORLD_REUSE, ports_wait_for_domid},
	{"rings_are_gone", D | WORLD_ARGO, rings_are_gone},
	{"rings_not_for_successor", D | WORLD_ARGO | WORLD_REUSE, rings_not_for_successor},
	{"rings_come_back", D | WORLD_ARGO | WORLD_QUIET, rings_come_back},
	{"waiters_die", D | WORLD_ARGO, waiters_die},
	{"zombie_refuses", D | WORLD_ARGO | WORLD_DYING, zombie_refuses},
	{"grants_of_the_dead", D, grants_of_the_dead},
	{"no_notify_for_domains", D, no_notify_for_domains},
	{"pages_come_back", D | WORLD_QUIET, pages_come_back},
};

const struct test_group death_group = {"death", cases, ARRAY_SIZE(cases)};
