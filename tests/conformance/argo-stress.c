/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Argo with many processes at once: messages are whole and in order per sender whatever their
 * sizes, nobody waits for ever, and a sender that is killed harms nobody else. The roles in
 * agent-roles.c check every message.
 */
#include "tests/conformance/rings.h"

#define N_SENDERS 5

/* Starts a sender to ring `aport` of the receiver, which may be at work already. */
static void sender_start(struct actor *sender, const struct actor *receiver, uint32_t aport,
	uint32_t count, uint32_t max_len)
{
	static uint32_t n_senders;
	uint64_t args[4] = {0, count, max_len, n_senders++};
	uint32_t ring;

	CHECK_OK(actor_ring_register(sender, 0, receiver->domid, 64, &ring));
	CHECK_OK(actor_ring_peer(sender, ring, aport));
	args[0] = ring;
	actor_start(sender, AGENT_ROLE_ARGO_SEND, args, 4);
}

/* Senders in two domains to two rings of one receiver. */
static void senders_run(uint32_t ring_len, uint32_t count, uint32_t max_len, bool want_refusals)
{
	struct actor *a = world_actor(WORLD_A), *senders[N_SENDERS];
	uint64_t args[3] = {0, 0, N_SENDERS}, got[3], sent[3], refused = 0;
	uint32_t from_b, from_d, aports[2];

	for (int i = 0; i < N_SENDERS; i++)
		senders[i] = world_actor(i < 3 ? WORLD_B : WORLD_BROKER);
	CHECK_OK(actor_ring_register(a, 0, senders[0]->domid, ring_len, &from_b));
	CHECK_OK(actor_ring_register(a, 0, senders[3]->domid, ring_len, &from_d));
	args[0] = from_b;
	args[1] = from_d;
	/* Before anything is sent: it looks at all of the ring. */
	aports[0] = ring_aport(a, from_b);
	aports[1] = ring_aport(a, from_d);
	for (int i = 0; i < N_SENDERS; i++)
		sender_start(senders[i], a, aports[i >= 3], count, max_len);
	actor_start(a, AGENT_ROLE_ARGO_RECV, args, 3);
	CHECK_OK(actor_finish(a, got, 3));
	for (int i = 0; i < N_SENDERS; i++) {
		CHECK_OK(actor_finish(senders[i], sent, 3));
		CHECK_INT(sent[0], count);
		refused += sent[1];
	}
	CHECK_INT(got[0], (uint64_t)count * N_SENDERS);
	if (want_refusals) /* else the case has not tried what it is there for */
		CHECK(refused > 0);
}

static void senders_small(void)
{
	senders_run(1024, (uint32_t)world_rounds(4000), 200, true);
}

static void senders_large(void)
{
	senders_run(300000, 100, 200000, true);
}

static void senders_roomy(void)
{
	senders_run(1 << 20, (uint32_t)world_rounds(2000), 2000, false);
}

/* Two senders that are killed in the middle of it; the others' messages all come. */
static void senders_killed(void)
{
	struct actor *a = world_actor(WORLD_A), *steady = world_actor(WORLD_B), *victim;
	uint64_t args[3] = {0, 0, 1}, got[3], sent[3], storm[2] = {UINT32_MAX, 3};
	uint32_t from_b, aport;

	CHECK_OK(actor_ring_register(a, 0, steady->domid, 4096, &from_b));
	args[0] = from_b;
	aport = ring_aport(a, from_b);
	sender_start(steady, a, aport, 6000, 500);
	actor_start(a, AGENT_ROLE_ARGO_RECV, args, 3);
	for (int i = 0; i < 8; i++) {
		victim = world_actor(WORLD_B);
		if (i % 2)
			actor_start(victim, AGENT_ROLE_STORM, storm, 2);
		else
			sender_start(victim, a, aport, 1000000, 500);
		for (int k = 0; k <= i; k++)
			case_pause(); /* no synchronisation: any moment will do */
		actor_kill(victim);
	}
	CHECK_OK(actor_finish(a, got, 3));
	CHECK_OK(actor_finish(steady, sent, 3));
	CHECK_INT(sent[0], 6000);
	CHECK(got[0] >= 6000);
}

/* Everything in one domain at once, killed at any moment: the domain's limits come back. */
static void storms_killed(void)
{
	struct actor *a = world_actor(WORLD_A), *victims[3];
	uint64_t storm[2] = {UINT32_MAX, 7}, few[2] = {50, 7}, done;
	uint32_t ring;

	for (int round = 0; round < 12; round++) {
		for (int i = 0; i < 3; i++) {
			victims[i] = world_actor(WORLD_A);
			storm[1] = (uint64_t)1 << i;
			actor_start(victims[i], AGENT_ROLE_STORM, storm, 2);
		}
		for (int k = 0; k < round % 4; k++)
			case_pause();
		for (int i = 0; i < 3; i++)
			actor_kill(victims[i]);
		actor_start(a, AGENT_ROLE_STORM, few, 2);
		CHECK_OK(actor_finish(a, &done, 1));
		CHECK_INT(done, 50);
	}
	for (int i = 0; i < 128; i++) /* every ring of the dead is gone, sooner or later */
		CHECK_SOON(actor_ring_register(a, 0, a->domid, 64, &ring), 0);
}

/* A storm in a single process: alone, it checks that nothing piles up. */
static void storm_alone(void)
{
	struct actor *a = world_actor(WORLD_A);
	uint64_t args[2] = {(uint64_t)world_rounds(1500), 7}, done;
	int fds, maps;

	actor_start(a, AGENT_ROLE_STORM, (uint64_t[]){10, 7}, 2);
	CHECK_OK(actor_finish(a, &done, 1));
	fds = actor_count_fds(a);
	maps = actor_count_mappings(a);
	actor_start(a, AGENT_ROLE_STORM, args, 2);
	CHECK_OK(actor_finish(a, &done, 1));
	CHECK_INT(done, args[0]);
	CHECK_INT(actor_count_fds(a), fds);
	CHECK(actor_count_mappings(a) <= maps + 8); /* malloc's own may grow a little */
}

/* Wakes by argo_watch and poll(2) alone, as fast as it goes: a lost one ends in a time-out. */
static void ring_ping_pong(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint64_t rounds = (uint64_t)world_rounds(8000), n;
	uint64_t args_a[3] = {0, rounds, 1}, args_b[3] = {0, rounds, 0};
	uint32_t ra, rb;

	rings_connect(a, 256, b, 256, &ra, &rb);
	args_a[0] = ra;
	args_b[0] = rb;
	actor_start(b, AGENT_ROLE_RING_PING, args_b, 3);
	actor_start(a, AGENT_ROLE_RING_PING, args_a, 3);
	CHECK_OK(actor_finish(a, &n, 1));
	CHECK_INT(n, rounds);
	CHECK_OK(actor_finish(b, &n, 1));
	CHECK_INT(n, rounds);
}

/* A killed receiver's rings go; its sender, who has been refused room, is told so. */
static void receiver_killed(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct actor *b2 = world_actor(WORLD_B);
	uint32_t ra, rb, again, aport;
	int r;

	rings_connect(a, 64, b, 256, &ra, &rb);
	aport = ring_aport(b, rb);
	while ((r = actor_ring_send(a, ra, 1, 40, 0)) >= 0)
		;
	CHECK_INT(r, -EAGAIN);
	CHECK_INT(actor_ring_register(b2, aport, a->domid, 256, &again), -EEXIST);
	actor_kill(b);
	CHECK_SOON(actor_ring_send(a, ra, 1, 40, 0), -ECONNREFUSED);
	CHECK_OK(actor_ring_register(b2, aport, a->domid, 256, &again));
	CHECK_EMPTY(b2, again);
	CHECK_SENT(a, ra, 5, 40);
	CHECK_RECEIVED(b2, again, 5, 40);
}

#define G (WORLD_GUESTS | WORLD_ARGO)
#define P (G | WORLD_CONCURRENT)
#define K (G | WORLD_PROCESSES | WORLD_KILL)

static const struct test_case cases[] = {
	{"senders_small", P, senders_small},
	{"senders_large", P, senders_large},
	{"senders_roomy", P, senders_roomy},
	{"senders_killed", K, senders_killed},
	{"storms_killed", K | WORLD_QUIET, storms_killed},
	{"storm_alone", G, storm_alone},
	{"ring_ping_pong", P, ring_ping_pong},
	{"receiver_killed", G | WORLD_KILL, receiver_killed},
};

const struct test_group argo_stress_group = {"argo-stress", cases, ARRAY_SIZE(cases)};
