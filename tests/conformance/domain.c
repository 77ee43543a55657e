/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The domain list and its watch: what msgd knows domains by, and when it hears of changes. */
#include <stdlib.h>
#include <string.h>

#include "tests/conformance/case.h"

#define MAX_DOMAINS 96

/* Copies the domain of that domid out of the list; whether it is there. */
static bool domain_get(struct actor *d, uint16_t domid, struct hv_domain *ret_domain)
{
	static struct hv_domain list[MAX_DOMAINS];
	int n = actor_domain_list(d, list, MAX_DOMAINS), found = 0;

	CHECK(n > 0 && n <= MAX_DOMAINS);
	for (int i = 0; i < n; i++) {
		if (list[i].domid != domid)
			continue;
		*ret_domain = list[i];
		found++;
	}
	CHECK(found <= 1);
	return found;
}

static struct hv_domain domain_must(struct actor *d, uint16_t domid)
{
	struct hv_domain domain = {0};

	CHECK(domain_get(d, domid, &domain));
	return domain;
}

/* Waits for an event; whatever else it was about, the list is right by then or at a later one. */
static void domain_wait(struct actor *d, uint16_t domid, enum hv_domain_state state, bool paused)
{
	struct hv_domain domain = {0};

	do {
		if (actor_take(d, HV_EVENT_DOMAINS, 0, the_world->wait_ms) != 1)
			case_fail(__FILE__, __LINE__,
				"domain %u: no event any more in state %d%s, not in %d%s", domid,
				domain.state, domain.paused ? ", paused" : "", state,
				paused ? ", paused" : "");
		if (!domain_get(d, domid, &domain))
			domain = (struct hv_domain){0};
	} while (domain.state != state || domain.paused != paused);
}

static void drain(struct actor *d)
{
	while (actor_take(d, HV_EVENT_DOMAINS, 0, the_world->settle_ms) == 1)
		;
}

static void list_has_all(void)
{
	struct actor *d = world_actor(WORLD_BROKER), *a = world_actor(WORLD_A);
	struct hv_domain me = domain_must(d, d->domid), guest = domain_must(d, a->domid);
	static const uint8_t zero[HV_UUID_LEN];

	CHECK_INT(d->domid, HV_BROKER_DOMID);
	CHECK_INT(me.state, HV_DOMAIN_RUNNING);
	CHECK_INT(guest.state, HV_DOMAIN_RUNNING);
	CHECK(!guest.paused);
	CHECK(strcmp(guest.name, the_world->names[WORLD_A]) == 0);
	CHECK(strcmp(me.name, the_world->names[WORLD_BROKER]) == 0);
	CHECK(memcmp(guest.uuid, zero, HV_UUID_LEN) != 0);
	CHECK(memcmp(guest.uuid, me.uuid, HV_UUID_LEN) != 0);
}

/* Writes up to n, returns how many there are. */
static void list_counts(void)
{
	struct actor *d = world_actor(WORLD_BROKER);
	struct hv_domain list[MAX_DOMAINS], two[3];
	int n = actor_domain_list(d, list, MAX_DOMAINS);
	uint8_t *third = (uint8_t *)&two[2];

	CHECK(n >= 3);
	CHECK_INT(actor_domain_list(d, list, 0), n);
	memset(two, 0, sizeof(two));
	CHECK_INT(actor_domain_list(d, two, 2), n);
	CHECK_INT(third[0], 0);
	CHECK(two[0].domid != two[1].domid && two[0].state && two[1].state);
}

static void who_may(void)
{
	struct actor *a = world_actor(WORLD_A);
	struct hv_domain list[4];

	CHECK_INT(actor_domain_list(a, list, 4), -EACCES);
	CHECK_INT(actor_domain_watch(a), -EACCES);
	CHECK_QUIET(a, HV_EVENT_DOMAINS, 0);
}

static void created_and_gone(void)
{
	struct actor *d = world_actor(WORLD_BROKER);
	struct hv_domain domain;
	uint16_t domid;

	CHECK_OK(actor_domain_watch(d));
	drain(d);
	domid = world_create("extra", 0, true);
	domain_wait(d, domid, HV_DOMAIN_RUNNING, false);
	domain = domain_must(d, domid);
	CHECK(strcmp(domain.name, "extra") == 0);
	drain(d);
	world_manage("destroy", "extra");
	domain_wait(d, domid, 0, false);
	drain(d);
	CHECK_QUIET(d, HV_EVENT_DOMAINS, 0);
}

/* Without a watch there are no events; the list is right all the same. */
static void no_watch_no_event(void)
{
	struct actor *d = world_actor(WORLD_BROKER);
	struct hv_domain domain;
	uint16_t domid = world_create("extra", 0, true);

	CHECK(domain_get(d, domid, &domain));
	world_manage("destroy", "extra");
	CHECK_SOON(domain_get(d, domid, &domain), false);
	CHECK_QUIET(d, HV_EVENT_DOMAINS, 0);
}

/* Paused counts as running. */
static void paused(void)
{
	struct actor *d = world_actor(WORLD_BROKER);
	uint16_t domid = world_create("extra", 0, true);

	CHECK_OK(actor_domain_watch(d));
	world_manage("pause", "extra");
	CHECK_SOON(domain_must(d, domid).paused, true);
	CHECK_INT(domain_must(d, domid).state, HV_DOMAIN_RUNNING);
	world_manage("unpause", "extra");
	CHECK_SOON(domain_must(d, domid).paused, false);
	CHECK_INT(domain_must(d, domid).state, HV_DOMAIN_RUNNING);
}

/* Suspended is not dead, and comes back as the same domain. */
static void suspended(void)
{
	struct actor *d = world_actor(WORLD_BROKER);
	uint16_t domid = world_create("extra", 0, true);
	struct hv_domain before = domain_must(d, domid), after;

	CHECK_OK(actor_domain_watch(d));
	drain(d);
	world_manage("suspend", "extra");
	domain_wait(d, domid, HV_DOMAIN_SUSPENDED, false);
	drain(d);
	world_manage("resume", "extra");
	CHECK_SOON(domain_must(d, domid).state, HV_DOMAIN_RUNNING);
	after = domain_must(d, domid);
	CHECK_INT(after.generation, before.generation);
	CHECK(memcmp(after.uuid, before.uuid, HV_UUID_LEN) == 0);
}

static void crashed(void)
{
	struct actor *d = world_actor(WORLD_BROKER);
	uint16_t domid = world_create("extra", 0, true);

	CHECK_OK(actor_domain_watch(d));
	drain(d);
	world_manage("crash", "extra");
	domain_wait(d, domid, HV_DOMAIN_CRASHED, false);
	drain(d);
	world_manage("destroy", "extra");
	domain_wait(d, domid, 0, false);
}

/* A domid that is used again is another domain: generation and uuid tell. */
static void domid_reused(void)
{
	struct actor *d = world_actor(WORLD_BROKER);
	uint16_t domid = world_create("first", 0, true);
	struct hv_domain first = domain_must(d, domid), second;

	CHECK_OK(actor_domain_watch(d));
	world_manage("destroy", "first");
	world_create("second", domid, true);
	second = domain_must(d, domid);
	CHECK(second.generation != first.generation || first.generation == 0);
	CHECK(memcmp(second.uuid, first.uuid, HV_UUID_LEN) != 0);
	CHECK(strcmp(second.name, "second") == 0);
	CHECK_EVENT(d, HV_EVENT_DOMAINS, 0);
}

/* Many changes, few events, and the list after the last one is right. */
static void changes_coalesce(void)
{
	struct actor *d = world_actor(WORLD_BROKER);
	struct hv_domain domain;
	uint16_t domid = 0;
	int n = 0;

	CHECK_OK(actor_domain_watch(d));
	for (int i = 0; i < 10; i++) {
		domid = world_create("extra", 0, true);
		world_manage("destroy", "extra");
	}
	CHECK_EVENT(d, HV_EVENT_DOMAINS, 0);
	CHECK_SOON(domain_get(d, domid, &domain), false);
	while (actor_take(d, HV_EVENT_DOMAINS, 0, the_world->settle_ms) == 1)
		n++;
	CHECK(n <= 20);
}

/* A domain whose page somebody maps stays as a dying one, until that is unmapped. */
static void zombie(void)
{
	struct actor *d = world_actor(WORLD_BROKER), *x;
	struct hv_domain domain;
	uint16_t domid = world_create("extra", 0, true);
	uint32_t ref, share, map;
	uint8_t byte = 77;

	x = world_actor_in("extra");
	CHECK_OK(actor_domain_watch(d));
	CHECK_OK(actor_share(x, d->domid, 1, NULL, &ref, &share));
	CHECK_OK(actor_map(d, domid, &ref, 1, true, NULL, &map));
	actor_mem_write(x, share, 5, &byte, 1);
	world_manage("pause", "extra");
	drain(d);
	world_manage("destroy", "extra");
	actor_lost(x);
	domain_wait(d, domid, HV_DOMAIN_DYING, false);
	actor_mem_read(d, map, 5, &byte, 1);
	CHECK_INT(byte, 77);
	actor_mem_write(d, map, 6, &byte, 1);
	CHECK_INT(actor_domain_list(d, NULL, 0) > 0, true);
	actor_unmap(d, map);
	CHECK_SOON(domain_get(d, domid, &domain), false);
}

static void check_tags(struct actor *d, uint16_t domid, const char *wanted)
{
	char text[HV_TAGS_MAX];

	CHECK_OK(actor_domain_tags(d, domid, text));
	if (strcmp(text, wanted) != 0)
		case_fail(
			__FILE__, __LINE__, "domain %u: tags '%s', not '%s'", domid, text, wanted);
}

/* That they change is told. */
static void tag_extra(struct actor *d, const char *tags, bool by_guest)
{
	drain(d);
	world_tag("extra", tags, by_guest);
	CHECK_EVENT(d, HV_EVENT_DOMAINS, 0);
}

/* Of a domain, as domain 0 wrote them: the guest may not. */
static void tags(void)
{
	struct actor *d = world_actor(WORLD_BROKER), *a = world_actor(WORLD_A);
	uint16_t domid = world_create("extra", 0, true);
	char text[HV_TAGS_MAX];

	CHECK_INT(actor_domain_tags(a, domid, text), -EACCES);
	CHECK_OK(actor_domain_watch(d));
	check_tags(d, domid, "");
	tag_extra(d, "red green", false);
	check_tags(d, domid, "red green");
	check_tags(d, a->domid, "");
	tag_extra(d, "red", true);
	CHECK_INT(actor_domain_tags(d, domid, text), -EPERM);
	CHECK_INT((uint8_t)text[0], 0xa5);
	world_tag("extra", "blue", false);
	check_tags(d, domid, "blue");
	tag_extra(d, "", false);
	check_tags(d, domid, "");
}

/* Another domain under the same domid has none of them. */
static void tags_go_with_a_domain(void)
{
	struct actor *d = world_actor(WORLD_BROKER);
	uint16_t domid = world_create("extra", 0, true);

	world_tag("extra", "red", false);
	world_manage("destroy", "extra");
	(void)world_create("other", domid, true);
	check_tags(d, domid, "");
}

#define L WORLD_LIFE

static const struct test_case cases[] = {
	{"list_has_all", WORLD_GUESTS, list_has_all},
	{"list_counts", WORLD_GUESTS, list_counts},
	{"who_may", WORLD_GUESTS, who_may},
	{"created_and_gone", L, created_and_gone},
	{"no_watch_no_event", L, no_watch_no_event},
	{"paused", L | WORLD_PAUSE, paused},
	{"suspended", L | WORLD_SUSPEND, suspended},
	{"crashed", L | WORLD_CRASH, crashed},
	{"domid_reused", L | WORLD_REUSE, domid_reused},
	{"changes_coalesce", L, changes_coalesce},
	{"tags", L, tags},
	{"tags_go_with_a_domain", L | WORLD_REUSE, tags_go_with_a_domain},
	{"zombie", L | WORLD_DYING, zombie},
};

const struct test_group domain_group = {"domain", cases, ARRAY_SIZE(cases)};
