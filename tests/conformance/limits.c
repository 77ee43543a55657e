/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Nothing piles up: hundreds of handles, ports, rings, pages made and given back, by every way of
 * letting go, leave descriptors, mappings and the domain's limits as they were.
 */
#include "tests/conformance/rings.h"

/* Counts the process's descriptors and mappings. */
struct census {
	int fds, maps;
};

static struct census census_take(struct actor *a)
{
	return (struct census){actor_count_fds(a), actor_count_mappings(a)};
}

/* A few mappings more are malloc's; a leak in a loop of hundreds is more than a few. */
static void census_check(struct actor *a, struct census before)
{
	CHECK_INT(actor_count_fds(a), before.fds);
	CHECK(actor_count_mappings(a) <= before.maps + 12);
}

static void handles(void)
{
	struct actor *a = world_actor(WORLD_A), *many[60];
	struct census before;

	actor_close(actor_sibling(a)); /* sets up what a process sets up once */
	before = census_take(a);
	for (int i = 0; i < world_rounds(400); i++)
		actor_close(actor_sibling(a));
	census_check(a, before);
	for (int i = 0; i < 60; i++)
		many[i] = actor_sibling(a);
	for (int i = 0; i < 60; i++)
		actor_close(many[(i * 7) % 60]);
	census_check(a, before);
}

/* EUSERS at the last slot, and every one comes back. */
static void handles_run_out(void)
{
	struct actor *a = world_actor(WORLD_A), *more[1000];
	int first = -1, r = 0;

	for (int round = 0; round < 2; round++) {
		int n = 0;

		while (n < 1000 && (r = actor_sibling_try(a, &more[n])) == 0)
			n++;
		CHECK_INT(r, -EUSERS);
		CHECK(first < 0 || n == first);
		first = n;
		for (int i = 0; i < n; i++)
			actor_close(more[i]);
	}
}

static void ports(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t pa, pb, first;
	struct census before = census_take(a);

	CHECK_OK(actor_alloc_unbound(a, b->domid, &first));
	CHECK_OK(actor_port_close(a, first));
	for (int i = 0; i < world_rounds(1500); i++) {
		CHECK_OK(actor_alloc_unbound(a, b->domid, &pa));
		CHECK_OK(actor_bind(b, a->domid, pa, &pb));
		CHECK_OK(actor_port_close(i & 1 ? a : b, i & 1 ? pa : pb));
		CHECK_OK(actor_port_close(i & 1 ? b : a, i & 1 ? pb : pa));
	}
	CHECK_OK(actor_alloc_unbound(a, b->domid, &pa));
	CHECK_INT(pa, first);
	census_check(a, before);
}

/* The events of ports that closed unseen must not be left somewhere. */
static void ports_with_events(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct agent_event e[8];
	uint32_t pa, pb;

	for (int i = 0; i < world_rounds(300); i++) {
		CHECK_OK(actor_alloc_unbound(a, b->domid, &pa));
		CHECK_OK(actor_bind(b, a->domid, pa, &pb));
		CHECK_OK(actor_send(b, pb));
		CHECK_OK(actor_port_close(b, pb));
		CHECK_OK(actor_port_close(a, pa));
	}
	CHECK_INT(actor_poll(a, the_world->settle_ms, 8, e), 0);
	CHECK_INT(actor_poll(b, the_world->settle_ms, 8, e), 0);
	CHECK_INT(actor_readable(a, the_world->settle_ms), 0);
}

static void rings(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct census before;
	uint32_t ra;

	CHECK_OK(actor_ring_register(a, 0, b->domid, 64, &ra));
	CHECK_OK(actor_ring_unregister(a, ra));
	before = census_take(a);
	for (int i = 0; i < 400; i++) {
		CHECK_OK(actor_ring_register(a, 0, b->domid, 64 + 4096U * (i % 20), &ra));
		if (i & 1)
			CHECK_OK(actor_ring_watch(a, ra, true));
		CHECK_OK(actor_ring_unregister(a, ra));
	}
	for (int i = 0; i < 40; i++) { /* 640 MiB in all, if they did not come back */
		CHECK_OK(actor_ring_register(a, 0, b->domid, 0xffffc0, &ra));
		CHECK_OK(actor_ring_unregister(a, ra));
	}
	census_check(a, before);
}

static void shares(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t refs[16], share, map;
	struct census before_a, before_b;

	CHECK_OK(actor_share(a, b->domid, 16, NULL, refs, &share));
	CHECK_OK(actor_map(b, a->domid, refs, 16, true, NULL, &map));
	actor_unmap(b, map);
	actor_unshare(a, share);
	before_a = census_take(a);
	before_b = census_take(b);
	for (int i = 0; i < world_rounds(800); i++) {
		CHECK_OK(actor_share(a, b->domid, 16, NULL, refs, &share));
		CHECK_OK(actor_map(b, a->domid, refs, 16, i & 1, NULL, &map));
		if (i & 2)
			actor_unmap(b, map);
		actor_unshare(a, share);
		if (!(i & 2))
			actor_unmap(b, map);
	}
	census_check(a, before_a);
	census_check(b, before_b);
}

/* Attempts that fail take nothing, either. */
static void failures(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t refs[16], out, pa, pb;
	struct hv_unmap_notify notify;
	struct census before;

	actor_connect(b, a, &pb, &pa);
	if (world_has(WORLD_ARGO)) { /* sets up what a process sets up once */
		CHECK_OK(actor_ring_register(a, 0, b->domid, 64, &out));
		CHECK_OK(actor_ring_unregister(a, out));
	}
	before = census_take(a);
	notify = (struct hv_unmap_notify){0, pa};
	for (int i = 0; i < world_rounds(600); i++) {
		CHECK_INT(actor_share(a, b->domid, 16, &notify, refs, &out), -EINVAL);
		if (world_has(WORLD_ARGO))
			CHECK_INT(actor_ring_register(a, 0, HV_DOMID_SELF, 65536, &out), -ESRCH);
		CHECK_INT(actor_map(a, b->domid, (uint32_t[]){4095}, 1, true, NULL, &out), -EINVAL);
		CHECK_INT(actor_bind(a, b->domid, 900, &out), -EINVAL);
	}
	census_check(a, before);
	for (int i = 0; i < 64; i++) /* all of gntalloc's 1024 pages are there */
		CHECK_OK(actor_share(a, b->domid, 16, NULL, refs, &out));
	for (int i = 0; i < 128 && world_has(WORLD_ARGO); i++)
		CHECK_OK(actor_ring_register(a, 0, b->domid, 64, &out));
}

/* A process gives up, sooner or later, all that it kept for a dead peer. */
static void peers_come_and_go(void)
{
	struct actor *a = world_actor(WORLD_A);
	struct census before = {0};

	for (int i = 0; i < (world_rounds(60) < 20 ? 20 : 60); i++) {
		struct actor *b = world_actor(WORLD_B);
		uint32_t pa, pb;

		if (i == 10)
			before = census_take(a);
		actor_connect(a, b, &pa, &pb);
		CHECK_OK(actor_send(a, pa));
		CHECK_PORT(b, pb);
		if (i & 1)
			actor_kill(b);
		else
			actor_close(b);
		CHECK_OK(actor_port_close(a, pa));
	}
	CHECK(actor_count_fds(a) <= before.fds + 10); /* it may forget them late */
	CHECK(actor_count_mappings(a) <= before.maps + 12);
}

/* One that holds some of everything is closed, or killed, again and again. */
static void holders_end(bool by_kill, int n)
{
	struct actor *a = world_actor(WORLD_A), *x;
	uint32_t refs[64], out, map, pa, px, rings[8];
	uint32_t first, again;

	CHECK_OK(actor_alloc_unbound(a, HV_DOMID_SELF, &first));
	CHECK_OK(actor_port_close(a, first));
	for (int i = 0; i < n; i++) {
		x = by_kill ? world_actor(WORLD_A) : actor_sibling(a);
		CHECK_SOON(actor_share(x, a->domid, 64, NULL, refs, &out), 0);
		CHECK_OK(actor_map(x, a->domid, refs, 64, true, NULL, &map));
		for (int k = 0; k < 8 && world_has(WORLD_ARGO); k++)
			CHECK_OK(actor_ring_register(x, 0, a->domid, 4096, &rings[k]));
		for (int k = 0; k < 20; k++) {
			CHECK_OK(actor_alloc_unbound(x, a->domid, &px));
			CHECK_OK(actor_bind(x, a->domid, px, &pa));
		}
		if (by_kill)
			actor_kill(x);
		else
			actor_close(x);
	}
	for (int i = 0; i < 16; i++)
		CHECK_SOON(actor_share(a, a->domid, 64, NULL, refs, &out), 0);
	CHECK_INT(actor_share(a, a->domid, 64, NULL, refs, &out), -ENOSPC);
	for (int i = 0; i < 128 && world_has(WORLD_ARGO); i++)
		CHECK_SOON(actor_ring_register(a, 0, a->domid, 64, &out), 0);
	CHECK_OK(actor_alloc_unbound(a, HV_DOMID_SELF, &again));
	CHECK_INT(again, first);
}

static void closes_come_back(void)
{
	holders_end(false, world_rounds(120));
}

static void kills_come_back(void)
{
	holders_end(true, world_rounds(40));
}

#define G (WORLD_GUESTS | WORLD_QUIET)

static const struct test_case cases[] = {
	{"handles", G, handles},
	{"handles_run_out", G | WORLD_SLOTS, handles_run_out},
	{"ports", G, ports},
	{"ports_with_events", G, ports_with_events},
	{"rings", G | WORLD_ARGO, rings},
	{"shares", G, shares},
	{"failures", G, failures},
	{"peers_come_and_go", G | WORLD_KILL, peers_come_and_go},
	{"closes_come_back", G, closes_come_back},
	{"kills_come_back", G | WORLD_KILL, kills_come_back},
};

const struct test_group limits_group = {"limits", cases, ARRAY_SIZE(cases)};
