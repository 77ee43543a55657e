/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Parcels: a port and pages for the broker's domain that one handle (an agent's) makes, and another
 * one of the domain adopts.
 */
#include <string.h>

#include "tests/conformance/case.h"

#define ALIVE 200 /* the byte's offset */

/* A parcel that was adopted, and all of it bound and mapped by the broker. */
struct handed {
	struct actor *maker, *adopter, *broker;
	uint32_t port, refs[HV_PARCEL_PAGES];
	uint32_t page, others; /* the adopter's */
	uint32_t broker_port, page_map, others_map;
};

static void handed_make(struct handed *h)
{
	h->broker = world_actor(WORLD_BROKER);
	h->maker = world_actor(WORLD_A);
	h->adopter = actor_sibling(h->maker);
	CHECK_OK(actor_parcel_make(h->maker, &h->port, h->refs));
	CHECK_OK(actor_parcel_adopt(h->adopter, ALIVE, &h->page, &h->others));
}

static void handed_serve(struct handed *h)
{
	uint16_t domid = h->adopter->domid;

	CHECK_OK(actor_bind(h->broker, domid, h->port, &h->broker_port));
	CHECK_PORT(h->broker, h->broker_port); /* Xen's first one */
	CHECK_OK(actor_unmask(h->broker, h->broker_port));
	CHECK_OK(actor_map(h->broker, domid, h->refs, 1, true, NULL, &h->page_map));
	CHECK_OK(actor_map(
		h->broker, domid, h->refs + 1, HV_PARCEL_PAGES - 1, true, NULL, &h->others_map));
}

/* Each page is the one that its reference names, and was zero. */
static void pages_are_shared(void)
{
	static const size_t last = (HV_PARCEL_PAGES - 1) * HV_PAGE_SIZE - 1;
	struct handed h;

	handed_make(&h);
	CHECK_INT(actor_mem_get(h.adopter, h.page, ALIVE), 0);
	CHECK_INT(actor_mem_get(h.adopter, h.others, last), 0);
	actor_mem_set(h.adopter, h.page, 7, 0x11);
	actor_mem_set(h.adopter, h.others, 0, 0x22);
	actor_mem_set(h.adopter, h.others, last, 0x33);
	handed_serve(&h);
	CHECK_INT(actor_mem_get(h.broker, h.page_map, 7), 0x11);
	CHECK_INT(actor_mem_get(h.broker, h.others_map, 0), 0x22);
	CHECK_INT(actor_mem_get(h.broker, h.others_map, last), 0x33);
	actor_mem_set(h.broker, h.page_map, 7, 0x44);
	CHECK_INT(actor_mem_get(h.adopter, h.page, 7), 0x44);
}

/* The port is the adopter's, as one that it has allocated, beside others. */
static void port_is_the_adopters(void)
{
	struct handed h;
	uint32_t own, peer;

	handed_make(&h);
	handed_serve(&h);
	actor_connect(h.adopter, h.broker, &own, &peer);
	CHECK_INT(actor_send(h.maker, h.port), -ENOTCONN);
	for (int i = 0; i < 3; i++) {
		CHECK_OK(actor_send(h.broker, h.broker_port));
		CHECK_OK(actor_send(h.broker, peer));
		CHECK_PORT(h.adopter, h.port);
		CHECK_PORT(h.adopter, own);
		CHECK_OK(actor_send(h.broker, h.broker_port));
		CHECK_PORT_QUIET(h.adopter, h.port); /* it is masked */
		CHECK_OK(actor_unmask(h.adopter, h.port));
		CHECK_OK(actor_unmask(h.adopter, own));
		CHECK_PORT(h.adopter, h.port);
		CHECK_OK(actor_unmask(h.adopter, h.port));
		CHECK_OK(actor_send(h.adopter, h.port));
		CHECK_PORT(h.broker, h.broker_port);
		CHECK_OK(actor_unmask(h.broker, h.broker_port));
	}
	CHECK_OK(actor_port_close(h.adopter, h.port));
	CHECK_INT(actor_port_close(h.adopter, h.port), -ENOTCONN);
	CHECK_INT(actor_send(h.adopter, h.port), -ENOTCONN);
	CHECK_OK(actor_send(h.broker, peer));
	CHECK_PORT(h.adopter, own);
}

/* The maker drops it, and goes: nothing of that reaches the adopter. */
static void maker_goes(void)
{
	struct handed h;

	handed_make(&h);
	handed_serve(&h);
	actor_parcel_drop(h.maker);
	actor_close(h.maker);
	actor_mem_set(h.adopter, h.page, ALIVE, 1);
	CHECK_OK(actor_send(h.broker, h.broker_port));
	CHECK_PORT(h.adopter, h.port);
	CHECK_OK(actor_send(h.adopter, h.port));
	CHECK_PORT(h.broker, h.broker_port);
	CHECK_INT(actor_mem_get(h.broker, h.page_map, ALIVE), 1);
	/* The pages are shared still: they can be mapped anew. */
	actor_unmap(h.broker, h.page_map);
	actor_unmap(h.broker, h.others_map);
	CHECK_OK(actor_map(
		h.broker, h.adopter->domid, h.refs, HV_PARCEL_PAGES, true, NULL, &h.others_map));
}

static void adopter_goes(bool closes)
{
	struct handed h;

	handed_make(&h);
	handed_serve(&h);
	actor_mem_set(h.adopter, h.page, ALIVE, 1);
	actor_mem_set(h.adopter, h.page, ALIVE + 1, 1);
	CHECK_PORT_QUIET(h.broker, h.broker_port);
	if (closes)
		actor_close(h.adopter);
	else
		actor_unshare(h.adopter, h.page);
	CHECK_PORT(h.broker, h.broker_port);
	CHECK_INT(actor_mem_get(h.broker, h.page_map, ALIVE), 0);
	CHECK_INT(actor_mem_get(h.broker, h.page_map, ALIVE + 1), 1);
}

static void adopter_unshares(void)
{
	adopter_goes(false);
}

static void adopter_closes(void)
{
	adopter_goes(true);
}

/* Nobody has adopted it: port and pages go. */
static void dropped(void)
{
	struct actor *broker = world_actor(WORLD_BROKER), *maker = world_actor(WORLD_A);
	uint32_t port, refs[HV_PARCEL_PAGES], bound, map, page, others;

	CHECK_OK(actor_parcel_make(maker, &port, refs));
	actor_parcel_drop(maker);
	CHECK_INT(actor_parcel_adopt(actor_sibling(maker), ALIVE, &page, &others), -EINVAL);
	CHECK_INT(actor_bind(broker, maker->domid, port, &bound), -EINVAL);
	for (size_t i = 0; i < HV_PARCEL_PAGES; i++)
		CHECK_INT(actor_map(broker, maker->domid, refs + i, 1, false, NULL, &map), -EINVAL);
}

/* Once; then another one, when the port of the first is closed. */
static void adopted_again(void)
{
	uint32_t port, refs[HV_PARCEL_PAGES], page, others;
	struct handed h;

	handed_make(&h);
	CHECK_INT(actor_parcel_adopt(h.adopter, ALIVE, &page, &others), -EINVAL);
	actor_unshare(h.adopter, h.others);
	actor_unshare(h.adopter, h.page);
	CHECK_OK(actor_port_close(h.adopter, h.port));
	actor_parcel_drop(h.maker);
	CHECK_OK(actor_parcel_make(h.maker, &port, refs));
	CHECK_INT(actor_parcel_adopt(h.adopter, HV_PAGE_SIZE, &page, &others), -EINVAL);
	actor_parcel_drop(h.maker);
	CHECK_OK(actor_parcel_make(h.maker, &h.port, h.refs));
	CHECK_OK(actor_parcel_adopt(h.adopter, ALIVE, &h.page, &h.others));
	handed_serve(&h);
	CHECK_OK(actor_send(h.broker, h.broker_port));
	CHECK_PORT(h.adopter, h.port);
}

/* The adopter gives the port back: nobody has its number before the maker drops the parcel. */
static void number_is_held(void)
{
	struct handed h;
	uint32_t ports[8], again;

	handed_make(&h);
	actor_unshare(h.adopter, h.page);
	CHECK_OK(actor_port_close(h.adopter, h.port));
	for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
		CHECK_OK(actor_alloc_unbound(h.adopter, h.broker->domid, &ports[i]));
		CHECK(ports[i] != h.port);
	}
	actor_parcel_drop(h.maker);
	CHECK_OK(actor_alloc_unbound(h.adopter, h.broker->domid, &again));
	CHECK_INT(again, h.port); /* Xen gives out the lowest that is free */
}

/* Nothing of it stays in the process, or is passed on. */
static void nothing_is_left(void)
{
	struct actor *maker = world_actor(WORLD_A), *adopter = actor_sibling(maker);
	uint32_t port, refs[HV_PARCEL_PAGES], page, others;
	int fds = actor_count_fds(maker), mappings = actor_count_mappings(maker);

	for (int i = 0; i < 4; i++) {
		CHECK_OK(actor_parcel_make(maker, &port, refs));
		CHECK_INT(actor_count_inherited(maker), 0);
		if (i % 2) {
			CHECK_OK(actor_parcel_adopt(adopter, ALIVE, &page, &others));
			CHECK_INT(actor_count_inherited(maker), 0);
			CHECK_INT(actor_fork_touch(adopter, page), 0);
			CHECK_INT(actor_fork_touch(adopter, others), 0);
			actor_unshare(adopter, others);
			actor_unshare(adopter, page);
			CHECK_OK(actor_port_close(adopter, port));
		}
		actor_parcel_drop(maker);
		CHECK_INT(actor_count_fds(maker), fds);
	}
	CHECK(actor_count_mappings(maker) <= mappings + 1); /* the allocator's own */
}

#define G WORLD_GUESTS

static const struct test_case cases[] = {
	{"pages_are_shared", G, pages_are_shared},
	{"port_is_the_adopters", G, port_is_the_adopters},
	{"maker_goes", G, maker_goes},
	{"adopter_unshares", G, adopter_unshares},
	{"adopter_closes", G, adopter_closes},
	{"dropped", G | WORLD_QUIET, dropped},
	{"adopted_again", G, adopted_again},
	{"number_is_held", G | WORLD_QUIET | WORLD_HOLDS, number_is_held},
	{"nothing_is_left", G, nothing_is_left},
};

const struct test_group parcel_group = {"parcel", cases, ARRAY_SIZE(cases)};
