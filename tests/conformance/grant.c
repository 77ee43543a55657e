/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Grants: sharing, mapping, who may, what outlives what. Unmap-notify has notify.c. */
#include <string.h>

#include "tests/conformance/case.h"

static void page_pattern_write(struct actor *actor, uint32_t object, size_t page, uint64_t seed)
{
	actor_mem_fill(actor, object, page * HV_PAGE_SIZE, HV_PAGE_SIZE, seed);
}

static bool page_is_pattern(struct actor *actor, uint32_t object, size_t page, uint64_t seed)
{
	uint8_t want[HV_PAGE_SIZE];

	pattern_fill(seed, want, sizeof(want));
	return actor_mem_sum(actor, object, page * HV_PAGE_SIZE, HV_PAGE_SIZE) ==
	       pattern_sum(want, sizeof(want));
}

static bool page_is_zero(struct actor *actor, uint32_t object, size_t page)
{
	static const uint8_t want[HV_PAGE_SIZE];

	return actor_mem_sum(actor, object, page * HV_PAGE_SIZE, HV_PAGE_SIZE) ==
	       pattern_sum(want, sizeof(want));
}

/* Whether the reference can be mapped now: 0 or the errno, with nothing left mapped. */
static int map_try(struct actor *actor, uint16_t granter, uint32_t ref)
{
	uint32_t map;
	int r = actor_map(actor, granter, &ref, 1, false, NULL, &map);

	if (r == 0)
		actor_unmap(actor, map);
	return r;
}

/* Zeroed at first; then one memory for both. */
static void share_and_map(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t ref, share, map;

	CHECK_OK(actor_share(a, b->domid, 1, NULL, &ref, &share));
	CHECK(page_is_zero(a, share, 0));
	CHECK_OK(actor_map(b, a->domid, &ref, 1, true, NULL, &map));
	CHECK(page_is_zero(b, map, 0));
	page_pattern_write(a, share, 0, 1);
	CHECK(page_is_pattern(b, map, 0, 1));
	page_pattern_write(b, map, 0, 2);
	CHECK(page_is_pattern(a, share, 0, 2));
	CHECK(actor_mem_writable(b, map));
	actor_unmap(b, map);
	CHECK(page_is_pattern(a, share, 0, 2));
	actor_unshare(a, share);
}

/* Page i is reference i, on both sides, in any order that the mapper likes. */
static void share_many(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t refs[17], back[17], share, map, map2;

	CHECK_OK(actor_share(a, b->domid, 17, NULL, refs, &share));
	for (uint32_t i = 0; i < 17; i++) {
		page_pattern_write(a, share, i, i);
		back[i] = refs[16 - i];
		for (uint32_t k = 0; k < i; k++)
			CHECK(refs[k] != refs[i]);
	}
	CHECK_OK(actor_map(b, a->domid, refs, 17, true, NULL, &map));
	CHECK_OK(actor_map(b, a->domid, back, 17, true, NULL, &map2));
	for (uint32_t i = 0; i < 17; i++) {
		CHECK(page_is_pattern(b, map, i, i));
		CHECK(page_is_pattern(b, map2, 16 - i, i));
	}
	page_pattern_write(b, map2, 0, 99);
	CHECK(page_is_pattern(b, map, 16, 99));
	actor_unmap(b, map);
	CHECK(page_is_pattern(b, map2, 0, 99));
}

static void map_read_only(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t ref, share, map;

	CHECK_OK(actor_share(a, b->domid, 1, NULL, &ref, &share));
	page_pattern_write(a, share, 0, 1);
	CHECK_OK(actor_map(b, a->domid, &ref, 1, false, NULL, &map));
	CHECK(page_is_pattern(b, map, 0, 1));
	CHECK(!actor_mem_writable(b, map));
	page_pattern_write(a, share, 0, 2);
	CHECK(page_is_pattern(b, map, 0, 2));
}

/* EINVAL: a bad reference, somebody else's, no such domain; all or nothing. */
static void map_refused(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct actor *d = world_actor(WORLD_BROKER);
	uint32_t refs[4], share, map, bad[] = {0, 4095, 1U << 20, UINT32_MAX};
	int r;

	CHECK_OK(actor_share(a, b->domid, 4, NULL, refs, &share));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_INT(actor_map(b, a->domid, &bad[i], 1, true, NULL, &map), -EINVAL);
	CHECK_INT(actor_map(d, a->domid, refs, 1, true, NULL, &map), -EINVAL);
	CHECK_INT(actor_map(d, a->domid, refs, 1, false, NULL, &map), -EINVAL);
	CHECK_INT(actor_map(a, a->domid, refs, 1, true, NULL, &map), -EINVAL);
	CHECK_INT(actor_map(b, world_missing_domid(), refs, 1, true, NULL, &map), -EINVAL);
	r = actor_map(b, HV_DOMID_SELF, refs, 1, true, NULL, &map);
	CHECK(r == -EINVAL || r == -EOPNOTSUPP);
	refs[2] = 4095;
	CHECK_INT(actor_map(b, a->domid, refs, 4, true, NULL, &map), -EINVAL);
	refs[2] = refs[3];
	CHECK_OK(actor_map(b, a->domid, refs, 4, true, NULL, &map)); /* nothing stuck */
	actor_unmap(b, map);
	actor_unshare(a, share);
	CHECK_INT(actor_map(b, a->domid, refs, 1, true, NULL, &map), -EINVAL); /* withdrawn */
}

static void map_own_domain(void)
{
	struct actor *a = world_actor(WORLD_A), *a2 = actor_sibling(a);
	uint32_t ref, share, map, map2;

	CHECK_OK(actor_share(a, a->domid, 1, NULL, &ref, &share));
	CHECK_OK(actor_map(a2, HV_DOMID_SELF, &ref, 1, true, NULL, &map));
	CHECK_OK(actor_map(a2, a->domid, &ref, 1, false, NULL, &map2));
	page_pattern_write(a, share, 0, 7);
	CHECK(page_is_pattern(a2, map, 0, 7));
	CHECK(page_is_pattern(a2, map2, 0, 7));
}

/* The remote need not exist. */
static void share_with_nobody(void)
{
	struct actor *a = world_actor(WORLD_A);
	uint32_t refs[2], share;

	CHECK_OK(actor_share(a, world_missing_domid(), 2, NULL, refs, &share));
	page_pattern_write(a, share, 1, 1);
	actor_unshare(a, share);
}

/* Withdrawn pages stay the mapper's until it unmaps them, and are not given to others. */
static void unshare_while_mapped(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t refs[4], more[4], share, map, other;

	CHECK_OK(actor_share(a, b->domid, 4, NULL, refs, &share));
	CHECK_OK(actor_map(b, a->domid, refs, 4, true, NULL, &map));
	for (uint32_t i = 0; i < 4; i++)
		page_pattern_write(a, share, i, i);
	actor_unshare(a, share);
	for (int round = 0; round < 20; round++) {
		CHECK_OK(actor_share(a, b->domid, 4, NULL, more, &share));
		for (uint32_t i = 0; i < 4; i++) {
			CHECK(page_is_zero(a, share, i));
			page_pattern_write(a, share, i, 100);
		}
		actor_unshare(a, share);
	}
	for (uint32_t i = 0; i < 4; i++)
		CHECK(page_is_pattern(b, map, i, i));
	CHECK(actor_mem_writable(b, map));
	actor_unmap(b, map);
	CHECK_OK(actor_share(a, b->domid, 4, NULL, more, &share));
	CHECK_OK(actor_map(b, a->domid, more, 4, true, NULL, &other));
	CHECK(page_is_zero(b, other, 3));
}

/* ENOSPC at the domain's limit, which all its handles share; what is unshared comes back. */
static void pages_run_out(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct actor *a2 = actor_sibling(a);
	uint32_t refs[256], shares[4096], share;
	int n = 0, m = 0, r;

	while ((r = actor_share(n & 1 ? a2 : a, b->domid, 16, NULL, refs, &shares[n])) == 0)
		n++;
	CHECK_INT(r, -ENOSPC);
	CHECK(n >= 16);
	CHECK_INT(actor_share(a, b->domid, 256, NULL, refs, &share), -ENOSPC);
	CHECK_OK(actor_share(b, a->domid, 16, NULL, refs, &share)); /* b's own limit */
	actor_unshare(a, shares[0]);
	CHECK_OK(actor_share(a2, b->domid, 16, NULL, refs, &share));
	CHECK_INT(actor_share(a, b->domid, 16, NULL, refs, &share), -ENOSPC);
	actor_close(a2);
	for (int i = 2; i < n; i += 2)
		actor_unshare(a, shares[i]);
	while (actor_share(a, b->domid, 16, NULL, refs, &share) == 0)
		m++;
	CHECK_INT(m, n);
}

/* hv.h, grant_unshare: what the remote still maps counts no more, and is not used again either. */
static void mapped_pages_uncounted(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint32_t refs[16], first[16], share, map, before;
	int r;

	CHECK_OK(actor_share(a, b->domid, 16, NULL, first, &before));
	CHECK_OK(actor_map(b, a->domid, first, 16, true, NULL, &map));
	page_pattern_write(b, map, 7, 3);
	while ((r = actor_share(a, b->domid, 16, NULL, refs, &share)) == 0)
		;
	CHECK_INT(r, -ENOSPC);
	actor_unshare(a, before);
	CHECK_OK(actor_share(a, b->domid, 16, NULL, refs, &share));
	for (int i = 0; i < 16; i++)
		CHECK(page_is_zero(a, share, (size_t)i));
	CHECK(page_is_pattern(b, map, 7, 3));
	CHECK_INT(actor_share(a, b->domid, 16, NULL, refs, &share), -ENOSPC);
	actor_unmap(b, map); /* gives nothing back a second time */
	CHECK_INT(actor_share(a, b->domid, 16, NULL, refs, &share), -ENOSPC);
}

static void handle_close_gives_back(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct actor *a2 = actor_sibling(a), *b2 = actor_sibling(b);
	uint32_t ref, share, map, map2;

	CHECK_OK(actor_share(a2, b->domid, 1, NULL, &ref, &share));
	CHECK_OK(actor_map(b, a->domid, &ref, 1, true, NULL, &map));
	CHECK_OK(actor_map(b2, a->domid, &ref, 1, true, NULL, &map2));
	page_pattern_write(a2, share, 0, 1);
	actor_close(b2); /* unmaps its own only */
	CHECK(page_is_pattern(b, map, 0, 1));
	actor_close(a2); /* withdraws; the mapping stays */
	CHECK(page_is_pattern(b, map, 0, 1));
	/* an entry in use stays usable for who uses it (Xen's map_grant_ref), no longer */
	actor_unmap(b, map);
	CHECK_SOON(map_try(b, a->domid, ref), -EINVAL);
}

/* A killed granter: its references are void (and may be reused), its pages stay mapped. */
static void granter_killed(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	uint16_t domid = a->domid;
	uint32_t ref, share, map;

	CHECK_OK(actor_share(a, b->domid, 1, NULL, &ref, &share));
	CHECK_OK(actor_map(b, a->domid, &ref, 1, true, NULL, &map));
	page_pattern_write(a, share, 0, 5);
	actor_kill(a);
	CHECK(page_is_pattern(b, map, 0, 5));
	page_pattern_write(b, map, 0, 6);
	CHECK(page_is_pattern(b, map, 0, 6));
	actor_unmap(b, map);
	CHECK_SOON(map_try(b, domid, ref), -EINVAL);
}

/* A killed mapper's mappings go: withdrawn references, which they kept usable, are void. */
static void mapper_killed(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	struct actor *b2 = world_actor(WORLD_B);
	uint32_t refs[16], share, map;

	CHECK_OK(actor_share(a, b->domid, 16, NULL, refs, &share));
	CHECK_OK(actor_map(b, a->domid, refs, 16, true, NULL, &map));
	actor_unshare(a, share);
	CHECK_OK(map_try(b2, a->domid, refs[5])); /* Xen's map_grant_ref */
	actor_kill(b);
	for (int i = 0; i < 16; i++)
		CHECK_SOON(map_try(b2, a->domid, refs[i]), -EINVAL);
}

#define G WORLD_GUESTS

static const struct test_case cases[] = {
	{"share_and_map", G, share_and_map},
	{"share_many", G, share_many},
	{"map_read_only", G, map_read_only},
	{"map_refused", G | WORLD_QUIET, map_refused},
	{"map_own_domain", G, map_own_domain},
	{"share_with_nobody", G, share_with_nobody},
	{"unshare_while_mapped", G, unshare_while_mapped},
	{"pages_run_out", G | WORLD_QUIET, pages_run_out},
	{"mapped_pages_uncounted", G | WORLD_QUIET, mapped_pages_uncounted},
	{"handle_close_gives_back", G | WORLD_QUIET, handle_close_gives_back},
	{"granter_killed", G | WORLD_KILL | WORLD_QUIET, granter_killed},
	{"mapper_killed", G | WORLD_KILL | WORLD_QUIET, mapper_killed},
};

const struct test_group grant_group = {"grant", cases, ARRAY_SIZE(cases)};
