/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The handle's descriptor: level-triggered, readable while poll_events has something, and no
 * wake-up lost; what a fork and an exec get of a handle; clock, CPU and domid.
 */
#include "tests/conformance/rings.h"

#define CHECK_READABLE(actor) CHECK_INT(actor_readable(actor, the_world->wait_ms), 1)
#define CHECK_SILENT(actor)   CHECK_INT(actor_readable(actor, the_world->settle_ms), 0)

static void level_ports(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t pa[2], pb[2];
	struct agent_event e[2];

	CHECK_SILENT(b);
	for (int i = 0; i < 2; i++) {
		CHECK_OK(actor_alloc_unbound(a, b->domid, &pa[i]));
		CHECK_OK(actor_bind(b, a->domid, pa[i], &pb[i]));
	}
	CHECK_READABLE(b);
	CHECK_READABLE(b); /* until it is taken */
	CHECK_INT(actor_poll(b, 0, 1, e), 1);
	CHECK_READABLE(b); /* there is another */
	CHECK_INT(actor_poll(b, 0, 1, e + 1), 1);
	CHECK(e[0].id != e[1].id);
	CHECK_SILENT(b);
	CHECK_OK(actor_send(a, pa[0]));
	CHECK_SILENT(b); /* masked */
	CHECK_OK(actor_unmask(b, pb[0]));
	CHECK_READABLE(b);
	CHECK_PORT(b, pb[0]);
	CHECK_OK(actor_unmask_n(b, pb, 2));
	CHECK_SILENT(b);
	CHECK_OK(actor_send(a, pa[1]));
	CHECK_READABLE(b);
	CHECK_OK(actor_port_close(b, pb[1]));
	CHECK_INT(actor_poll(b, 0, 2, e), 0); /* its event went with it */
	CHECK_SILENT(b);
}

static void level_rings(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct agent_event e[2];
	uint32_t ra, rb;

	rings_connect(a, 64, b, 256, &ra, &rb);
	CHECK_SENT(a, ra, 1, 10);
	CHECK_SILENT(b);
	CHECK_OK(actor_ring_watch(b, rb, true));
	CHECK_READABLE(b);
	CHECK_READABLE(b);
	CHECK_INT(actor_poll(b, 0, 2, e), 1);
	CHECK_SILENT(b); /* though the message is still there: one-shot */
	CHECK_OK(actor_ring_watch(b, rb, true));
	CHECK_READABLE(b);
	CHECK_INT(actor_poll(b, 0, 2, e), 1);
	CHECK_RECEIVED(b, rb, 1, 10);
	CHECK_SILENT(b);
}

static void level_store_and_domains(void)
{
	struct actor *d = world_actor(WORLD_BROKER), *a = world_actor(WORLD_A);
	struct agent_event e[4];
	struct hv_record record;

	CHECK_OK(actor_domain_watch(d));
	CHECK_OK(actor_store_watch(d));
	for (;;) { /* the watches begin with the state as it is */
		while (actor_store_next(d, &record) == 1)
			;
		if (actor_poll(d, the_world->settle_ms, 4, e) == 0)
			break;
	}
	CHECK_SILENT(d);
	CHECK_OK(actor_publish(a, "k", "x", 1));
	CHECK_READABLE(d);
	CHECK_INT(actor_poll(d, 0, 4, e), 1);
	CHECK_INT(e[0].type, HV_EVENT_STORE);
	CHECK_INT(actor_store_next(d, &record), 1);
	CHECK_INT(actor_store_next(d, &record), 0);
	CHECK_SILENT(d);
}

/* As fast as it goes, with nothing but poll(2) to wait by: a lost wake-up ends in a time-out. */
static void ping_pong(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint64_t rounds = (uint64_t)world_rounds(10000), n;
	uint64_t args_a[3] = {0, rounds, 1}, args_b[3] = {0, rounds, 0};
	uint32_t pa, pb;

	actor_connect(a, b, &pa, &pb);
	args_a[0] = pa;
	args_b[0] = pb;
	actor_start(b, AGENT_ROLE_PORT_PING, args_b, 3);
	actor_start(a, AGENT_ROLE_PORT_PING, args_a, 3);
	CHECK_OK(actor_finish(a, &n, 1));
	CHECK_INT(n, rounds);
	CHECK_OK(actor_finish(b, &n, 1));
	CHECK_INT(n, rounds);
}

/* Two pairs between the same two domains, four handles: each wakes its own. */
static void ping_pong_pairs(void)
{
	struct actor *a[2], *b[2];
	uint64_t rounds = (uint64_t)world_rounds(3000), n;

	for (int i = 0; i < 2; i++) {
		uint64_t args_a[3] = {0, rounds, 1}, args_b[3] = {0, rounds, 0};
		uint32_t pa, pb;

		a[i] = world_actor(WORLD_A);
		b[i] = world_actor(WORLD_B);
		actor_connect(a[i], b[i], &pa, &pb);
		args_a[0] = pa;
		args_b[0] = pb;
		actor_start(b[i], AGENT_ROLE_PORT_PING, args_b, 3);
		actor_start(a[i], AGENT_ROLE_PORT_PING, args_a, 3);
	}
	for (int i = 0; i < 2; i++) {
		CHECK_OK(actor_finish(a[i], &n, 1));
		CHECK_OK(actor_finish(b[i], &n, 1));
		CHECK_INT(n, rounds);
	}
}

/* Several peers raise events at one handle, and are each answered: none is lost for good. */
static void many_raisers(void)
{
	struct actor *b = world_actor(WORLD_B), *a[3];
	uint64_t rounds = (uint64_t)world_rounds(4000), all = 3 * rounds, n;
	uint64_t args[3] = {0, rounds, 1};
	uint32_t ports[3], pb;

	for (int i = 0; i < 3; i++) {
		a[i] = world_actor(i == 2 ? WORLD_BROKER : WORLD_A);
		actor_connect(a[i], b, &ports[i], &pb);
	}
	actor_start(b, AGENT_ROLE_PORT_ECHO, &all, 1);
	for (int i = 0; i < 3; i++) {
		args[0] = ports[i];
		actor_start(a[i], AGENT_ROLE_PORT_PING, args, 3);
	}
	for (int i = 0; i < 3; i++) {
		CHECK_OK(actor_finish(a[i], &n, 1));
		CHECK_INT(n, rounds);
	}
	CHECK_OK(actor_finish(b, &n, 1));
	CHECK_INT(n, all);
}

/* An event for one handle does not make another's descriptor readable. */
static void descriptors_are_private(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct actor *b2 = actor_sibling(b), *b3 = world_actor(WORLD_B);
	uint32_t pa, pb, pa2, pb2;

	actor_connect(a, b, &pa, &pb);
	actor_connect(a, b2, &pa2, &pb2);
	CHECK_OK(actor_send(a, pa));
	CHECK_READABLE(b);
	CHECK_SILENT(b2);
	CHECK_SILENT(b3);
	CHECK_OK(actor_send(a, pa2));
	CHECK_PORT(b, pb);
	CHECK_SILENT(b);
	CHECK_READABLE(b2);
	CHECK_PORT(b2, pb2);
}

/* Makes one of everything in a handle. */
struct everything {
	uint32_t port, ring, share, map, ref;
};

static void everything_make(struct actor *a, struct everything *ret)
{
	CHECK_OK(actor_alloc_unbound(a, HV_DOMID_SELF, &ret->port));
	if (world_has(WORLD_ARGO)) {
		CHECK_OK(actor_ring_register(a, 0, a->domid, 4096, &ret->ring));
		CHECK_OK(actor_ring_watch(a, ret->ring, true));
	}
	CHECK_OK(actor_share(a, a->domid, 1, NULL, &ret->ref, &ret->share));
	CHECK_OK(actor_map(a, HV_DOMID_SELF, &ret->ref, 1, true, NULL, &ret->map));
	(void)actor_publish(a, "k", "x", 1);
	(void)actor_remove(a, a->domid, "k");
}

static void close_on_exec(void)
{
	struct actor *a = world_actor(WORLD_A), *d = world_actor(WORLD_BROKER);
	struct everything e;

	everything_make(a, &e);
	everything_make(actor_sibling(a), &e);
	CHECK_INT(actor_count_inherited(a), 0);
	everything_make(d, &e);
	CHECK_OK(actor_store_watch(d));
	CHECK_OK(actor_domain_watch(d));
	CHECK_INT(actor_count_inherited(d), 0);
}

/* MADV_DONTFORK: a child has none of the mappings; its end does its parent's handle no harm. */
static void fork_has_no_mappings(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct everything e;
	uint32_t pa, pb;
	uint8_t byte = 42;

	everything_make(a, &e);
	actor_connect(b, a, &pb, &pa);
	if (world_has(WORLD_ARGO))
		CHECK_INT(actor_fork_touch(a, e.ring), 0);
	CHECK_INT(actor_fork_touch(a, e.share), 0);
	CHECK_INT(actor_fork_touch(a, e.map), 0);
	actor_mem_write(a, e.share, 0, &byte, 1);
	byte = 0;
	actor_mem_read(a, e.map, 0, &byte, 1);
	CHECK_INT(byte, 42);
	if (world_has(WORLD_ARGO)) {
		CHECK_OK(actor_ring_peer(a, e.ring, ring_aport(a, e.ring)));
		CHECK_SENT(a, e.ring, 1, 10);
		CHECK_RECEIVED(a, e.ring, 1, 10);
	}
	CHECK_OK(actor_send(b, pb));
	CHECK_PORT(a, pa);
}

static void clock_cpu_domid(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint64_t t = actor_now(a), u;

	for (int i = 0; i < 100; i++) {
		u = actor_now(i & 1 ? a : b); /* of one machine: comparable within it */
		CHECK(!(i & 1) || u >= t);
		if (i & 1)
			t = u;
	}
	CHECK(actor_cpu(a) >= -1);
	CHECK(actor_cpu(a) < 4096);
	CHECK(a->domid != b->domid);
	CHECK(a->domid != HV_DOMID_SELF && a->domid < HV_DOMID_FIRST_RESERVED);
	CHECK_INT(actor_domid(actor_sibling(a)), a->domid);
}

#define G WORLD_GUESTS

static const struct test_case cases[] = {
	{"level_ports", G, level_ports},
	{"level_rings", G | WORLD_ARGO, level_rings},
	{"level_store_and_domains", G | WORLD_QUIET, level_store_and_domains},
	{"ping_pong", G | WORLD_CONCURRENT, ping_pong},
	{"ping_pong_pairs", G | WORLD_CONCURRENT, ping_pong_pairs},
	{"many_raisers", G | WORLD_CONCURRENT, many_raisers},
	{"descriptors_are_private", G, descriptors_are_private},
	{"close_on_exec", G, close_on_exec},
	{"fork_has_no_mappings", G, fork_has_no_mappings},
	{"clock_cpu_domid", G, clock_cpu_domid},
};

const struct test_group fd_group = {"fd", cases, ARRAY_SIZE(cases)};
