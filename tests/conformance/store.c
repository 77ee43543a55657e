/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rendezvous store: who may write and watch what, what a watch tells, and the quota. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/conformance/case.h"

/* The last record that was told: it may be told once more (hv.h, store_watch). */
static struct hv_record last_told;

static int record_next(struct actor *d, struct hv_record *ret)
{
	int r = actor_store_next(d, ret);

	if (r == 1)
		last_told = *ret;
	return r;
}

/* Waits until the watch tells of this record; others on the way are dropped. */
static void record_wait(struct actor *d, uint16_t domid, const char *key, struct hv_record *ret)
{
	for (int i = 0; i < 1000; i++) {
		int r = record_next(d, ret);

		CHECK(r >= 0);
		if (r == 0)
			CHECK_EVENT(d, HV_EVENT_STORE, 0);
		else if (ret->domid == domid && strcmp(ret->key, key) == 0)
			return;
	}
	case_fail(__FILE__, __LINE__, "no word of %s", key);
}

static void record_expect(
	struct actor *d, uint16_t domid, const char *key, const void *value, size_t len)
{
	struct hv_record record;

	record_wait(d, domid, key, &record);
	CHECK_INT(record.len, len);
	CHECK(memcmp(record.value, value, len) == 0);
}

/* No news. */
static void record_none(struct actor *d)
{
	struct hv_record record;
	int r;

	do {
		while ((r = actor_store_next(d, &record)) == 1)
			CHECK(record.domid == last_told.domid &&
				strcmp(record.key, last_told.key) == 0 &&
				record.len == last_told.len &&
				memcmp(record.value, last_told.value, last_told.len) == 0);
		CHECK_INT(r, 0);
		/* of a record that was taken before its event was */
	} while (actor_take(d, HV_EVENT_STORE, 0, the_world->settle_ms) == 1);
}

static void publish_replace_remove(void)
{
	struct actor *d = world_actor(WORLD_BROKER), *a = world_actor(WORLD_A);

	CHECK_OK(actor_store_watch(d));
	CHECK_OK(actor_publish(a, "app-1", "one", 3));
	record_expect(d, a->domid, "app-1", "one", 3);
	record_none(d);
	CHECK_OK(actor_publish(a, "app-1", "other", 5));
	record_expect(d, a->domid, "app-1", "other", 5);
	CHECK_OK(actor_remove(a, a->domid, "app-1"));
	record_expect(d, a->domid, "app-1", "", 0);
	record_none(d);
	CHECK_INT(actor_remove(a, a->domid, "app-1"), -ENOENT);
	CHECK_OK(actor_publish(a, "app-1", "new", 3));
	record_expect(d, a->domid, "app-1", "new", 3);
}

/* Records that are there when the watch begins come first. */
static void watch_shows_present(void)
{
	struct actor *d = world_actor(WORLD_BROKER), *a = world_actor(WORLD_A);
	struct actor *b = world_actor(WORLD_B);
	struct hv_record record;
	int seen = 0;

	CHECK_INT(actor_store_next(d, &record), 0); /* before any watch: nothing, no error */
	CHECK_OK(actor_publish(a, "k", "a", 1));
	CHECK_OK(actor_publish(b, "k", "b", 1));
	CHECK_OK(actor_publish(b, "gone", "b", 1));
	CHECK_OK(actor_publish(d, "k", "d", 1)); /* the broker's own domain has records too */
	CHECK_OK(actor_remove(b, b->domid, "gone"));
	CHECK_OK(actor_store_watch(d));
	CHECK_EVENT(d, HV_EVENT_STORE, 0);
	while (actor_store_next(d, &record) == 1) {
		CHECK(strcmp(record.key, "k") == 0 && record.len == 1);
		CHECK(record.value[0] == (record.domid == a->domid	    ? 'a'
						 : record.domid == b->domid ? 'b'
									    : 'd'));
		seen |= 1 << (record.value[0] - 'a');
	}
	CHECK_INT(seen, 1 << 0 | 1 << 1 | 1 << 3);
}

/* A record's changes coalesce; the last one is never lost. */
static void changes_coalesce(void)
{
	struct actor *d = world_actor(WORLD_BROKER), *a = world_actor(WORLD_A);
	struct hv_record record;
	char value[16];
	int n = 0, last = -1;

	CHECK_OK(actor_store_watch(d));
	for (int i = 0; i < 200; i++) {
		snprintf(value, sizeof(value), "%d", i);
		CHECK_OK(actor_publish(a, "k", value, strlen(value) + 1));
	}
	while (last != 199) {
		int r = record_next(d, &record);

		if (r == 0)
			CHECK_EVENT(d, HV_EVENT_STORE, 0);
		if (r != 1)
			continue;
		CHECK(atoi((char *)record.value) >= last); /* never backwards */
		last = atoi((char *)record.value);
		n++;
	}
	CHECK(n <= 201);
	record_none(d);
	CHECK_OK(actor_publish(a, "k", "x", 1)); /* removed before anybody looked */
	CHECK_OK(actor_remove(a, a->domid, "k"));
	do {
		record_wait(d, a->domid, "k", &record);
	} while (record.len != 0);
	record_none(d);
}

static void keys(void)
{
	static const char *const bad[] = {"", "a/b", "a.b", "a_b", " ", "a b", "..", "k\xc3\xa4",
		"0123456789012345678901234567890123456789", "/local/domain/0/name"};
	static const char *const good[] = {
		"a", "-", "Z9", "012345678901234567890123456789012345678"};
	struct actor *d = world_actor(WORLD_BROKER), *a = world_actor(WORLD_A);

	CHECK_OK(actor_store_watch(d));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		CHECK_INT(actor_publish(a, bad[i], "x", 1), -EINVAL);
		CHECK(actor_remove(a, a->domid, bad[i]) < 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		CHECK_OK(actor_publish(a, good[i], good[i], strlen(good[i])));
		record_expect(d, a->domid, good[i], good[i], strlen(good[i]));
	}
	record_none(d);
}

static void values(void)
{
	struct actor *d = world_actor(WORLD_BROKER), *a = world_actor(WORLD_A);
	static uint8_t big[60000];

	pattern_fill(1, big, sizeof(big)); /* NULs and all */
	CHECK_OK(actor_store_watch(d));
	CHECK_INT(actor_publish(a, "k", big, 0), -EINVAL); /* 0 would mean gone */
	CHECK_INT(actor_publish(a, "k", big, HV_STORE_VALUE_MAX + 1), -EINVAL);
	CHECK_INT(actor_publish(a, "k", big, sizeof(big)), -EINVAL);
	record_none(d);
	CHECK_OK(actor_publish(a, "k", big, 1));
	record_expect(d, a->domid, "k", big, 1);
	CHECK_OK(actor_publish(a, "k", big, HV_STORE_VALUE_MAX));
	record_expect(d, a->domid, "k", big, HV_STORE_VALUE_MAX);
	CHECK_OK(actor_publish(a, "k", "\0\0\0", 3));
	record_expect(d, a->domid, "k", "\0\0\0", 3);
	CHECK_INT(
		actor_publish(a, "k", big, HV_STORE_VALUE_MAX + 1), -EINVAL); /* leaves it alone */
	record_none(d);
}

/* EACCES outside the broker's domain; the broker removes anybody's. */
static void who_may(void)
{
	struct actor *d = world_actor(WORLD_BROKER), *a = world_actor(WORLD_A);
	struct actor *b = world_actor(WORLD_B);

	CHECK_INT(actor_store_watch(a), -EACCES);
	CHECK_OK(actor_publish(a, "k", "a", 1));
	CHECK_OK(actor_publish(b, "k", "b", 1)); /* one key, two domains */
	CHECK_INT(actor_remove(b, a->domid, "k"), -EACCES);
	CHECK_INT(actor_remove(b, d->domid, "k"), -EACCES);
	CHECK_OK(actor_store_watch(d));
	record_expect(d, a->domid, "k", "a", 1);
	CHECK_OK(actor_remove(d, a->domid, "k"));
	record_expect(d, a->domid, "k", "", 0);
	CHECK_INT(actor_remove(d, a->domid, "k"), -ENOENT);
	CHECK_INT(actor_remove(d, world_missing_domid(), "k"), -ENOENT);
	CHECK_OK(actor_remove(b, b->domid, "k"));
}

/* Two watching handles are told each. */
static void two_watchers(void)
{
	struct actor *d = world_actor(WORLD_BROKER), *d2 = actor_sibling(d);
	struct actor *a = world_actor(WORLD_A);

	CHECK_OK(actor_store_watch(d));
	CHECK_OK(actor_publish(a, "k", "1", 1));
	record_expect(d, a->domid, "k", "1", 1);
	CHECK_OK(actor_store_watch(d2));
	record_expect(d2, a->domid, "k", "1", 1);
	CHECK_OK(actor_publish(a, "k", "2", 1));
	record_expect(d2, a->domid, "k", "2", 1);
	record_expect(d, a->domid, "k", "2", 1);
	actor_close(d2);
	CHECK_OK(actor_publish(a, "k", "3", 1));
	record_expect(d, a->domid, "k", "3", 1);
}

/*
 * ENOSPC at the domain's own quota; another domain's is its own; removing makes room. Keys are of
 * one length: xenstored counts the bytes of a directory's names.
 */
static void quota(void)
{
	struct actor *a = world_actor(WORLD_A), *b = world_actor(WORLD_B);
	size_t n, m;

	CHECK_INT(actor_publish_n(a, "k", 0, "0123456789abcdef", 16, 5000, &n), -ENOSPC);
	CHECK(n > 20);
	CHECK_OK(actor_publish(a, "k0001", "replaced", 8)); /* takes no more */
	CHECK_OK(actor_publish(b, "k", "b", 1));
	CHECK_OK(actor_remove(a, a->domid, "k0000"));
	CHECK_OK(actor_publish(a, "again", "x", 1));
	CHECK_INT(actor_publish(a, "extra", "x", 1), -ENOSPC);
	CHECK_OK(actor_remove(a, a->domid, "again"));
	CHECK_OK(actor_remove_n(a, a->domid, "k", 1, n - 1, &m));
	CHECK_INT(m, n - 1);
	CHECK_OK(actor_publish_n(a, "k", 0, "x", 1, n, &m));
	CHECK_INT(m, n);
	CHECK_INT(actor_publish(a, "extra", "x", 1), -ENOSPC);
}

/* A record is its domain's: it outlives the process that wrote it. */
static void record_outlives_process(void)
{
	struct actor *d = world_actor(WORLD_BROKER), *a = world_actor(WORLD_A);
	struct actor *a2 = world_actor(WORLD_A);
	uint16_t domid = a->domid;

	CHECK_OK(actor_publish(a, "k", "x", 1));
	actor_kill(a);
	CHECK_OK(actor_store_watch(d));
	record_expect(d, domid, "k", "x", 1);
	record_none(d);
	CHECK_OK(actor_remove(a2, domid, "k"));
	record_expect(d, domid, "k", "", 0);
}

/* The domain is destroyed: its records are gone, and the watch says so. */
static void domain_takes_records(void)
{
	uint16_t domid = world_create("extra", 0, true);
	struct actor *d = world_actor(WORLD_BROKER), *x = world_actor_in("extra");

	CHECK_OK(actor_store_watch(d));
	CHECK_OK(actor_publish(x, "k", "x", 1));
	CHECK_OK(actor_publish(x, "l", "y", 1));
	record_expect(d, domid, "k", "x", 1);
	record_expect(d, domid, "l", "y", 1);
	actor_kill(x);
	world_manage("destroy", "extra");
	record_expect(d, domid, "k", "", 0);
	CHECK_SOON(actor_remove(d, domid, "l"), -ENOENT);
}

/* A guest learns that a record of its own was removed by the broker, and of nothing else. */
static void watch_own(void)
{
	struct actor *d = world_actor(WORLD_BROKER), *a = world_actor(WORLD_A);
	struct actor *a2 = world_actor(WORLD_A), *b = world_actor(WORLD_B);

	CHECK_OK(actor_publish(a, "before", "x", 1));
	CHECK_OK(actor_store_watch_own(a));
	CHECK_OK(actor_publish(a, "after", "x", 1));
	CHECK_OK(actor_publish(a, "mine", "x", 1));
	CHECK_OK(actor_publish(a, "mine", "other", 5));
	CHECK_OK(actor_remove(a, a->domid, "mine"));
	CHECK_OK(actor_publish(a2, "sibling", "x", 1));
	CHECK_OK(actor_publish(b, "after", "x", 1));
	CHECK_OK(actor_remove(d, a2->domid, "sibling"));
	CHECK_OK(actor_remove(d, b->domid, "after"));
	record_none(a);
	CHECK_OK(actor_remove(d, a->domid, "before"));
	record_expect(a, a->domid, "before", "", 0);
	record_none(a);
	CHECK_OK(actor_remove(d, a->domid, "after"));
	record_expect(a, a->domid, "after", "", 0);
	record_none(a);
	CHECK_OK(actor_publish(a, "after", "again", 5)); /* and its next life */
	record_none(a);
	CHECK_OK(actor_remove(d, a->domid, "after"));
	record_expect(a, a->domid, "after", "", 0);
}

#define G WORLD_GUESTS

static const struct test_case cases[] = {
	{"publish_replace_remove", G, publish_replace_remove},
	{"watch_shows_present", G | WORLD_QUIET, watch_shows_present},
	{"changes_coalesce", G, changes_coalesce},
	{"keys", G, keys},
	{"values", G, values},
	{"who_may", G, who_may},
	{"two_watchers", G, two_watchers},
	{"watch_own", G, watch_own},
	{"quota", G, quota},
	{"record_outlives_process", G | WORLD_KILL, record_outlives_process},
	{"domain_takes_records", G | WORLD_LIFE | WORLD_KILL, domain_takes_records},
};

const struct test_group store_group = {"store", cases, ARRAY_SIZE(cases)};
