/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Unmap-notify: how the death of a peer process is seen. From either side, by every way of letting
 * go: the byte becomes 0, then the event arrives, and only then the port closes (Linux's gntdev
 * and gntalloc).
 */
#include <string.h>

#include "tests/conformance/case.h"

#define ALIVE 100 /* the byte's offset */

/* The actor that lets go of the page, and the actor that stays and hears of it; their port each. */
struct pair {
	struct actor *goes, *stays;
	uint32_t goes_port, stays_port;
	uint32_t goes_object, stays_object;
};

enum side {
	MAPPER_GOES,
	GRANTER_GOES,
};

enum way {
	BY_CALL,
	BY_CLOSE,
	BY_KILL,
};

/* The page is shared and mapped, the notification armed at the side that will go. */
static void pair_arm(struct pair *p, enum side side, uint32_t offset)
{
	struct hv_unmap_notify notify;
	uint8_t page[HV_PAGE_SIZE];
	uint32_t ref;

	p->goes = world_actor(WORLD_A);
	p->stays = world_actor(WORLD_B);
	actor_connect(p->stays, p->goes, &p->stays_port, &p->goes_port);
	notify = (struct hv_unmap_notify){offset, p->goes_port};
	if (side == MAPPER_GOES) {
		CHECK_OK(actor_share(p->stays, p->goes->domid, 1, NULL, &ref, &p->stays_object));
		CHECK_OK(actor_map(
			p->goes, p->stays->domid, &ref, 1, true, &notify, &p->goes_object));
	} else {
		CHECK_OK(actor_share(p->goes, p->stays->domid, 1, &notify, &ref, &p->goes_object));
		CHECK_OK(
			actor_map(p->stays, p->goes->domid, &ref, 1, true, NULL, &p->stays_object));
	}
	memset(page, 0x55, sizeof(page));
	actor_mem_write(p->stays, p->stays_object, 0, page, sizeof(page));
	CHECK_PORT_QUIET(p->stays, p->stays_port);
}

static void pair_check(struct pair *p, enum side side, enum way way)
{
	if (way == BY_KILL)
		actor_kill(p->goes);
	else if (way == BY_CLOSE)
		actor_close(p->goes);
	else if (side == MAPPER_GOES)
		actor_unmap(p->goes, p->goes_object);
	else
		actor_unshare(p->goes, p->goes_object);
	CHECK_PORT(p->stays, p->stays_port);
	/* cleared before the event, so that who hears the event sees it */
	CHECK_INT(actor_mem_get(p->stays, p->stays_object, ALIVE), 0);
	CHECK_INT(actor_mem_get(p->stays, p->stays_object, ALIVE - 4), 0x55);
	CHECK_INT(actor_mem_get(p->stays, p->stays_object, ALIVE + 4), 0x55);
	CHECK_OK(actor_unmask(p->stays, p->stays_port));
	CHECK_PORT_QUIET(p->stays, p->stays_port); /* once */
}

static void notify_run(enum side side, enum way way)
{
	struct pair p;

	pair_arm(&p, side, ALIVE);
	pair_check(&p, side, way);
}

static void mapper_unmaps(void)
{
	notify_run(MAPPER_GOES, BY_CALL);
}

static void mapper_closes(void)
{
	notify_run(MAPPER_GOES, BY_CLOSE);
}

static void mapper_killed(void)
{
	notify_run(MAPPER_GOES, BY_KILL);
}

static void granter_unshares(void)
{
	notify_run(GRANTER_GOES, BY_CALL);
}

static void granter_closes(void)
{
	notify_run(GRANTER_GOES, BY_CLOSE);
}

static void granter_killed(void)
{
	notify_run(GRANTER_GOES, BY_KILL);
}

/* evtchn_close of a port that is named in an armed notify: it stays open until that has fired. */
static void closed_port_still_notifies(void)
{
	for (enum side side = MAPPER_GOES; side <= GRANTER_GOES; side++) {
		struct pair p;
		struct actor *again;
		uint32_t port;

		pair_arm(&p, side, ALIVE);
		again = actor_sibling(p.goes);
		CHECK_OK(actor_port_close(p.goes, p.goes_port));
		CHECK_INT(actor_send(p.goes, p.goes_port), -ENOTCONN); /* not the handle's now */
		CHECK_INT(actor_port_close(p.goes, p.goes_port), -ENOTCONN);
		CHECK_INT(actor_bind(again, p.stays->domid, p.stays_port, &port), -EINVAL);
		CHECK_PORT_QUIET(p.stays, p.stays_port);
		pair_check(&p, side, BY_CALL);
		CHECK_OK(actor_bind(again, p.stays->domid, p.stays_port, &port)); /* closed now */
		actor_close_all();
	}
}

/* ... and the same when the handle closes or the process dies afterwards. */
static void closed_port_notifies_on_kill(void)
{
	for (enum side side = MAPPER_GOES; side <= GRANTER_GOES; side++) {
		struct pair p;

		pair_arm(&p, side, ALIVE);
		CHECK_OK(actor_port_close(p.goes, p.goes_port));
		pair_check(&p, side, BY_KILL);
		actor_close_all();
	}
}

static void closed_port_notifies_on_close(void)
{
	for (enum side side = MAPPER_GOES; side <= GRANTER_GOES; side++) {
		struct pair p;

		pair_arm(&p, side, ALIVE);
		CHECK_OK(actor_port_close(p.goes, p.goes_port));
		pair_check(&p, side, BY_CLOSE);
		actor_close_all();
	}
}

/* ---- notifications of a share that are armed later, and anew ------------------------------- */

/* A share of a's that b has mapped, and two pairs of ports. */
struct shared {
	struct actor *a, *b;
	uint32_t a_port[2], b_port[2];
	uint32_t ref, share, map;
};

static void shared_make(struct shared *s)
{
	s->a = world_actor(WORLD_A);
	s->b = world_actor(WORLD_B);
	for (int i = 0; i < 2; i++)
		actor_connect(s->a, s->b, &s->a_port[i], &s->b_port[i]);
	CHECK_OK(actor_share(s->a, s->b->domid, 1, NULL, &s->ref, &s->share));
	CHECK_OK(actor_map(s->b, s->a->domid, &s->ref, 1, true, NULL, &s->map));
	actor_mem_set(s->a, s->share, ALIVE, 1);
	actor_mem_set(s->a, s->share, 0, 1);
}

static int shared_arm(struct shared *s, uint32_t offset, uint32_t port)
{
	return actor_notify(s->a, s->share, &(struct hv_unmap_notify){offset, port});
}

/* The last one that was armed fires, and no other. */
static void notify_armed_anew(void)
{
	for (enum way way = BY_CALL; way <= BY_KILL; way++) {
		struct shared s;

		shared_make(&s);
		CHECK_OK(shared_arm(&s, 0, s.a_port[0]));
		CHECK_OK(shared_arm(&s, ALIVE, s.a_port[1]));
		CHECK_PORT_QUIET(s.b, s.b_port[0]);
		CHECK_PORT_QUIET(s.b, s.b_port[1]);
		if (way == BY_KILL)
			actor_kill(s.a);
		else if (way == BY_CLOSE)
			actor_close(s.a);
		else
			actor_unshare(s.a, s.share);
		CHECK_PORT(s.b, s.b_port[1]);
		CHECK_PORT_QUIET(s.b, s.b_port[0]);
		CHECK_INT(actor_mem_get(s.b, s.map, ALIVE), 0);
		CHECK_INT(actor_mem_get(s.b, s.map, 0), 1);
		actor_close_all();
	}
}

/* One that was taken back does not fire, and its port closes as any other. */
static void notify_taken_back(void)
{
	struct actor *again;
	struct shared s;
	uint32_t port;

	shared_make(&s);
	again = actor_sibling(s.a);
	CHECK_OK(shared_arm(&s, ALIVE, s.a_port[0]));
	CHECK_OK(actor_port_close(s.a, s.a_port[0]));
	CHECK_INT(actor_bind(again, s.b->domid, s.b_port[0], &port), -EINVAL);
	CHECK_OK(actor_notify(s.a, s.share, NULL));
	CHECK_OK(actor_bind(again, s.b->domid, s.b_port[0], &port));
	actor_unshare(s.a, s.share);
	CHECK_PORT_QUIET(s.b, s.b_port[1]);
	CHECK_INT(actor_mem_get(s.b, s.map, ALIVE), 1);
}

/* Nonsense is refused, and the former notification stays. */
static void notify_anew_nonsense(void)
{
	uint32_t refs[2], several, armed;
	struct hv_unmap_notify good;
	struct shared s;

	shared_make(&s);
	good = (struct hv_unmap_notify){0, s.a_port[0]};
	CHECK_OK(actor_share(s.a, s.b->domid, 2, NULL, refs, &several));
	CHECK_INT(actor_notify(s.a, several, &good), -EINVAL);
	CHECK_OK(actor_share(s.a, s.b->domid, 1, &good, refs, &armed));
	CHECK_INT(actor_notify(s.a, armed, &good), -EINVAL);
	CHECK_OK(shared_arm(&s, ALIVE, s.a_port[1]));
	CHECK_INT(shared_arm(&s, HV_PAGE_SIZE, s.a_port[0]), -EINVAL);
	CHECK_INT(shared_arm(&s, 0, 900), -EINVAL);
	actor_unshare(s.a, s.share);
	CHECK_PORT(s.b, s.b_port[1]);
	CHECK_INT(actor_mem_get(s.b, s.map, ALIVE), 0);
}

/* The byte, at both ends of the page. */
static void notify_offsets(void)
{
	static const uint32_t offsets[] = {0, 1, 4095};

	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
		struct pair p;

		pair_arm(&p, MAPPER_GOES, offsets[i]);
		actor_mem_set(p.stays, p.stays_object, offsets[i], 0xff);
		actor_unmap(p.goes, p.goes_object);
		CHECK_PORT(p.stays, p.stays_port);
		CHECK_INT(actor_mem_get(p.stays, p.stays_object, offsets[i]), 0);
		actor_close_all();
	}
}

/* HV_NO_NOTIFY: nothing is armed. */
static void notify_none(void)
{
	struct pair p;

	pair_arm(&p, MAPPER_GOES, HV_NO_NOTIFY);
	actor_unmap(p.goes, p.goes_object);
	CHECK_PORT_QUIET(p.stays, p.stays_port);
	CHECK_INT(actor_mem_get(p.stays, p.stays_object, 0), 0x55);
	CHECK_OK(actor_send(p.goes, p.goes_port));
	CHECK_PORT(p.stays, p.stays_port);
}

/* EINVAL with n != 1, on both sides, and nothing is left of the attempt. */
static void notify_one_page_only(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t pa, pb, refs[3], share, map;
	struct hv_unmap_notify na, nb;

	actor_connect(a, b, &pa, &pb);
	na = (struct hv_unmap_notify){0, pa};
	nb = (struct hv_unmap_notify){0, pb};
	CHECK_INT(actor_share(a, b->domid, 2, &na, refs, &share), -EINVAL);
	CHECK_OK(actor_share(a, b->domid, 3, NULL, refs, &share));
	CHECK_INT(actor_map(b, a->domid, refs, 3, true, &nb, &map), -EINVAL);
	CHECK_OK(actor_map(b, a->domid, refs, 1, true, &nb, &map));
	CHECK_PORT_QUIET(a, pa);
	actor_unmap(b, map);
	CHECK_PORT(a, pa);
}

/* Beyond the page, through a port that is not the handle's, or of a page that cannot be written. */
static void notify_nonsense(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct actor *b2 = actor_sibling(b);
	struct hv_unmap_notify beyond, foreign, nowhere;
	uint32_t pa, pb, ref, share, map, ref2, share2;

	actor_connect(a, b, &pa, &pb);
	beyond = (struct hv_unmap_notify){HV_PAGE_SIZE, pb};
	foreign = (struct hv_unmap_notify){0, pb};
	nowhere = (struct hv_unmap_notify){0, 900};
	CHECK_OK(actor_share(a, b->domid, 1, NULL, &ref, &share));
	actor_mem_set(a, share, 0, 1);
	CHECK_INT(actor_map(b, a->domid, &ref, 1, true, &beyond, &map), -EINVAL);
	CHECK_INT(actor_map(b2, a->domid, &ref, 1, true, &foreign, &map), -EINVAL);
	CHECK_INT(actor_map(b, a->domid, &ref, 1, true, &nowhere, &map), -EINVAL);
	CHECK_INT(actor_map(b, a->domid, &ref, 1, false, &foreign, &map), -EINVAL);
	CHECK_INT(actor_share(b, a->domid, 1, &beyond, &ref2, &share2), -EINVAL);
	CHECK_INT(actor_share(b2, a->domid, 1, &foreign, &ref2, &share2), -EINVAL);
	CHECK_INT(actor_share(b, a->domid, 1, &nowhere, &ref2, &share2), -EINVAL);
	CHECK_PORT_QUIET(a, pa);
	CHECK_INT(actor_mem_get(a, share, 0), 1);
}

/* Both sides armed on one page, as two ends of a link do: each hears of the other. */
static void notify_both_sides(void)
{
	for (int first = 0; first < 2; first++) {
		struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
		uint32_t pa, pb, ref, share, map;

		actor_connect(a, b, &pa, &pb);
		CHECK_OK(actor_share(
			a, b->domid, 1, &(struct hv_unmap_notify){0, pa}, &ref, &share));
		CHECK_OK(actor_map(
			b, a->domid, &ref, 1, true, &(struct hv_unmap_notify){64, pb}, &map));
		actor_mem_set(a, share, 0, 1);
		actor_mem_set(a, share, 64, 1);
		if (first == 0) {
			actor_unshare(a, share);
			CHECK_PORT(b, pb);
			CHECK_INT(actor_mem_get(b, map, 0), 0);
			CHECK_INT(actor_mem_get(b, map, 64), 1);
			actor_unmap(b, map);
			CHECK_PORT(a, pa);
		} else {
			actor_unmap(b, map);
			CHECK_PORT(a, pa);
			CHECK_INT(actor_mem_get(a, share, 64), 0);
			CHECK_INT(actor_mem_get(a, share, 0), 1);
			actor_unshare(a, share);
			CHECK_PORT(b, pb);
		}
		actor_close_all();
	}
}

/* Two ports may be named by many pages; each letting go says its own. */
static void notify_many_on_one_port(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t pa, pb, ref[8], share[8], map[8];

	actor_connect(a, b, &pa, &pb);
	for (int i = 0; i < 8; i++) {
		CHECK_OK(actor_share(a, b->domid, 1, NULL, &ref[i], &share[i]));
		CHECK_OK(actor_map(
			b, a->domid, &ref[i], 1, true, &(struct hv_unmap_notify){8, pb}, &map[i]));
		actor_mem_set(a, share[i], 8, 1);
	}
	CHECK_OK(actor_port_close(b, pb));
	for (int i = 0; i < 8; i++) {
		actor_unmap(b, map[i]);
		CHECK_PORT(a, pa);
		CHECK_OK(actor_unmask(a, pa));
		for (int k = 0; k < 8; k++)
			CHECK_INT(actor_mem_get(a, share[k], 8), k > i);
	}
}

/* The peer has gone before: the notification finds nobody, and nothing breaks. */
static void notify_nobody(void)
{
	struct pair p;

	pair_arm(&p, MAPPER_GOES, ALIVE);
	actor_close(p.stays);
	actor_unmap(p.goes, p.goes_object);
	CHECK_OK(actor_port_close(p.goes, p.goes_port));
}

#define G WORLD_GUESTS
#define K (WORLD_GUESTS | WORLD_KILL)

static const struct test_case cases[] = {
	{"mapper_unmaps", G, mapper_unmaps},
	{"mapper_closes", G, mapper_closes},
	{"mapper_killed", K, mapper_killed},
	{"granter_unshares", G, granter_unshares},
	{"granter_closes", G, granter_closes},
	{"granter_killed", K, granter_killed},
	{"closed_port_still_notifies", G, closed_port_still_notifies},
	{"closed_port_notifies_on_close", G, closed_port_notifies_on_close},
	{"closed_port_notifies_on_kill", K, closed_port_notifies_on_kill},
	{"notify_offsets", G, notify_offsets},
	{"notify_none", G, notify_none},
	{"notify_one_page_only", G, notify_one_page_only},
	{"notify_armed_anew", G, notify_armed_anew},
	{"notify_taken_back", G, notify_taken_back},
	{"notify_anew_nonsense", G, notify_anew_nonsense},
	{"notify_nonsense", G | WORLD_QUIET, notify_nonsense},
	{"notify_both_sides", G, notify_both_sides},
	{"notify_many_on_one_port", G, notify_many_on_one_port},
	{"notify_nobody", G, notify_nobody},
};

const struct test_group notify_group = {"notify", cases, ARRAY_SIZE(cases)};
