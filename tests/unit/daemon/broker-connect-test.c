/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* HELLO, names, and every answer that CONNECT can have: PROTOCOL.md 5.1 to 5.3. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "base/macro.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/link.h"
#include "daemon/broker/note.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"
#include "tests/unit/daemon/cmocka-all.h"
#include "tests/unit/daemon/world.h"

#define ALL "allow listen * on any\nallow connect * from any to any\n"

static uint32_t take_channel(struct app *caller, struct app *holder, uint32_t id)
{
	const struct control_message *m;
	uint32_t channel;

	TAKE(m, holder, CONTROL_CHANNEL);
	channel = m->channel.channel;
	assert_int_equal(m->channel.peer.domid, caller->domid);
	TAKE(m, caller, CONTROL_CONNECTED);
	assert_int_equal(m->request, id);
	assert_int_equal(m->connected.channel, channel);
	assert_int_equal(m->connected.peer.domid, holder->domid);
	return channel;
}

static void test_happy(void **state)
{
	struct world *w = world_new(ALL, NULL);
	struct app *caller = app_new(w, 0, 3, true), *holder = app_new(w, 1, 2, true);
	uint32_t ends[2], first, second;
	struct policy_listed rule;

	assert_int_equal(app_listen(holder, 1, "db", 4), 0);
	app_connect(caller, 10, "db", 0, TRANSPORT_ANY);
	make_link(caller, holder, true, ends);
	first = take_channel(caller, holder, 10);
	world_check(w);
	/* A second channel needs no second link. */
	app_connect(caller, 11, "db/db", 0, TRANSPORT_ANY);
	second = take_channel(caller, holder, 11);
	assert_int_not_equal(first, second);
	app_accepted(holder, ends[1], first);
	app_closed(holder, ends[1], first);
	app_closed(caller, ends[0], first);
	world_check(w);
	/* The number is not given again at once, nor while one end may use it. */
	app_closed(caller, ends[0], second);
	app_connect(caller, 12, "db", 0, TRANSPORT_ANY);
	assert_true(take_channel(caller, holder, 12) > second);
	TAKE_NOTHING(caller);
	TAKE_NOTHING(holder);
	/* Each rule has the decisions that it made. */
	assert_true(policy_list(w->policy, 1, &rule) && rule.hits == 1);
	assert_true(policy_list(w->policy, 2, &rule) && rule.hits == 3);
	world_free(w);
}

static void test_fallback(void **state)
{
	struct world *w = world_new(ALL, NULL);
	struct app *caller = app_new(w, 0, 3, true), *holder = app_new(w, 1, 2, true);
	const struct control_message *m;
	uint32_t ends[2], end;

	assert_int_equal(app_listen(holder, 1, "db", 4), 0);
	app_connect(caller, 10, "db", 0, TRANSPORT_ANY);
	TAKE(m, caller, CONTROL_LINK_CREATE);
	assert_int_equal(m->link_create.transport, TRANSPORT_ARGO);
	app_offer(caller, m->link_create.end, 5);
	TAKE(m, holder, CONTROL_LINK_BIND);
	app_failed(holder, m->link_bind.end, ENOSPC, "128 rings in use");
	TAKE(m, caller, CONTROL_LINK_DOWN);
	make_link(caller, holder, false, ends);
	take_channel(caller, holder, 10);
	/* It does not try Argo again for the next. */
	app_connect(caller, 11, "db", 0, TRANSPORT_ANY);
	take_channel(caller, holder, 11);
	/* A demand does, beside the other, and does not fall back. */
	app_connect(caller, 12, "db", 0, TRANSPORT_ARGO);
	TAKE(m, caller, CONTROL_LINK_CREATE);
	end = m->link_create.end;
	app_failed(caller, end, ENOSPC, "no rings");
	TAKE_STATUS(caller, 12, ENOBUFS);
	TAKE_NOTHING(holder);
	/* A message about an end that is gone crossed our LINK_DOWN: ignored. */
	app_offer(caller, end, 5);
	assert_false(caller->dropped);
	world_free(w);
}

/* A connect that has fallen back does not wait for the Argo link that another one tries. */
static void test_fallback_is_final(void **state)
{
	struct world *w = world_new(ALL, NULL);
	struct app *caller = app_new(w, 0, 3, true), *holder = app_new(w, 1, 2, true);
	const struct control_message *m;
	uint32_t argo, end;

	broker_set_work_later(w->broker);
	assert_int_equal(app_listen(holder, 1, "db", 4), 0);
	app_connect(caller, 10, "db", 0, TRANSPORT_ANY);
	TAKE(m, caller, CONTROL_LINK_CREATE);
	app_failed(caller, m->link_create.end, ENODEV, "none");
	app_connect(caller, 11, "db", 0, TRANSPORT_ARGO);
	TAKE(m, caller, CONTROL_LINK_CREATE);
	argo = m->link_create.end;
	assert_false(broker_work(w->broker, UINT32_MAX));
	app_failed(caller, argo, ENODEV, "none");
	TAKE(m, caller, CONTROL_LINK_CREATE);
	assert_int_equal(m->link_create.transport, TRANSPORT_GRANT);
	end = m->link_create.end;
	TAKE_STATUS(caller, 11, EOPNOTSUPP);
	app_offer(caller, end, 0);
	TAKE(m, holder, CONTROL_LINK_BIND);
	app_ready(holder, m->link_bind.end, 0);
	assert_false(broker_work(w->broker, UINT32_MAX));
	TAKE(m, caller, CONTROL_LINK_UP);
	take_channel(caller, holder, 10);
	world_free(w);
}

static void test_transport(void **state)
{
	struct world *w = world_new("allow listen * on any\n"
				    "allow connect g from any to any transport=grant\n"
				    "allow connect * from any to any\n",
		NULL);
	struct app *caller = app_new(w, 0, 3, false), *holder = app_new(w, 1, 2, true);
	const struct control_message *m;
	uint32_t ends[2];

	assert_int_equal(app_listen(holder, 1, "db", 4), 0);
	assert_int_equal(app_listen(holder, 2, "g", 4), 0);
	app_connect(caller, 1, "db", 0, TRANSPORT_ARGO);
	TAKE(m, caller, CONTROL_STATUS);
	assert_int_equal(m->status.error, EOPNOTSUPP);
	assert_string_equal(m->status.reason, "no Argo in app");
	app_connect(caller, 2, "db", 0, TRANSPORT_ARGO_STRICT);
	TAKE(m, caller, CONTROL_STATUS);
	assert_int_equal(m->status.error, EOPNOTSUPP);
	assert_string_equal(m->status.reason, "no Argo in app");
	app_connect(caller, 3, "g", 0, TRANSPORT_ARGO);
	TAKE(m, caller, CONTROL_STATUS);
	assert_int_equal(m->status.error, EOPNOTSUPP);
	assert_string_equal(m->status.reason, "policy says grant");
	app_connect(caller, 4, "g", 0, TRANSPORT_ANY);
	make_link(caller, holder, false, ends);
	take_channel(caller, holder, 4);
	world_free(w);
}

#define HAS	  (FEATURE_ARGO | FEATURE_ARGO_STRICT)
#define OLDER	  FEATURE_ARGO
#define NO_XEN	  FEATURE_NO_HYPERVISOR_ARGO
#define NO_DRIVER FEATURE_NO_ARGO_DRIVER
#define UNKNOWN	  (UINT64_C(1) << 63)

#define TRANSPORTS                                                                                 \
	"allow listen * on any\n"                                                                  \
	"allow connect argo from any to any transport=argo\n"                                      \
	"allow connect strict from any to any transport=argo-strict\n"                             \
	"allow connect grant from any to any transport=grant\n"                                    \
	"allow connect * from any to any\n"

/*
 * The features of both, the rule of the policy, the caller's demand; then the transport, and why.
 */
static const struct choice {
	uint64_t caller, holder;
	const char *name;
	uint32_t demand, transport; /* ANY: EOPNOTSUPP */
	const char *why;
} choices[] = {
	{HAS, HAS, "any", TRANSPORT_ANY, TRANSPORT_ARGO, "both sides have Argo"},
	{OLDER, HAS, "any", TRANSPORT_ANY, TRANSPORT_ARGO, "both sides have Argo"},
	{0, HAS, "any", TRANSPORT_ANY, TRANSPORT_GRANT, "no Argo in app"},
	{HAS, UNKNOWN, "any", TRANSPORT_ANY, TRANSPORT_GRANT, "no Argo in db"},
	{NO_XEN, NO_XEN, "any", TRANSPORT_ANY, TRANSPORT_GRANT, "no Argo in the hypervisor"},
	{HAS, NO_XEN, "any", TRANSPORT_ANY, TRANSPORT_GRANT, "no Argo in the hypervisor"},
	{NO_DRIVER, HAS, "any", TRANSPORT_ANY, TRANSPORT_GRANT, "no driver in app"},
	{HAS, NO_DRIVER, "any", TRANSPORT_ANY, TRANSPORT_GRANT, "no driver in db"},
	{NO_DRIVER, NO_DRIVER, "any", TRANSPORT_ANY, TRANSPORT_GRANT, "no driver in app"},
	{HAS, HAS, "any", TRANSPORT_ARGO, TRANSPORT_ARGO, "the caller says argo"},
	{HAS, HAS, "any", TRANSPORT_ARGO_STRICT, TRANSPORT_ARGO_STRICT,
		"the caller says argo-strict"},
	{HAS, HAS, "any", TRANSPORT_GRANT, TRANSPORT_GRANT, "the caller says grant"},
	{NO_XEN, HAS, "any", TRANSPORT_GRANT, TRANSPORT_GRANT, "the caller says grant"},
	{HAS, NO_XEN, "any", TRANSPORT_ARGO, 0, "no Argo in the hypervisor"},
	{HAS, NO_DRIVER, "any", TRANSPORT_ARGO_STRICT, 0, "no driver in db"},
	{HAS, OLDER, "any", TRANSPORT_ARGO_STRICT, 0,
		"an older libmsg in db: it has no argo-strict"},
	{HAS, HAS, "argo", TRANSPORT_ANY, TRANSPORT_ARGO, "policy says argo"},
	{HAS, HAS, "argo", TRANSPORT_ARGO, TRANSPORT_ARGO, "policy says argo"},
	{HAS, HAS, "argo", TRANSPORT_ARGO_STRICT, 0, "policy says argo"},
	{HAS, HAS, "argo", TRANSPORT_GRANT, 0, "policy says argo"},
	{NO_DRIVER, HAS, "argo", TRANSPORT_ANY, 0, "no driver in app"},
	{HAS, HAS, "strict", TRANSPORT_ANY, TRANSPORT_ARGO_STRICT, "policy says argo-strict"},
	{HAS, HAS, "strict", TRANSPORT_GRANT, 0, "policy says argo-strict"},
	{OLDER, HAS, "strict", TRANSPORT_ANY, 0, "an older libmsg in app: it has no argo-strict"},
	{NO_XEN, NO_XEN, "strict", TRANSPORT_ANY, 0, "no Argo in the hypervisor"},
	{HAS, HAS, "grant", TRANSPORT_ANY, TRANSPORT_GRANT, "policy says grant"},
	{HAS, HAS, "grant", TRANSPORT_ARGO, 0, "policy says grant"},
	{HAS, HAS, "grant", TRANSPORT_ARGO_STRICT, 0, "policy says grant"},
};

static void test_choices(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(choices); i++) {
		const struct choice *c = &choices[i];
		struct world *w = world_new(TRANSPORTS, NULL);
		struct app *caller = app_new_with(w, 0, 3, c->caller);
		struct app *holder = app_new_with(w, 1, 2, c->holder);
		const struct control_message *m;

		assert_int_equal(app_listen(holder, 1, c->name, 4), 0);
		app_connect(caller, 1, c->name, 0, c->demand);
		m = app_take(caller);
		assert_non_null(m);
		if (!c->transport) {
			assert_int_equal(m->type, CONTROL_STATUS);
			assert_int_equal(m->status.error, EOPNOTSUPP);
			assert_string_equal(m->status.reason, c->why);
			assert_null(w->broker->links);
		} else {
			assert_int_equal(m->type, CONTROL_LINK_CREATE);
			assert_int_equal(m->link_create.transport, c->transport);
			assert_int_equal(
				m->link_create.ring_len == 0, c->transport == TRANSPORT_GRANT);
			assert_string_equal(w->broker->links->why, c->why);
		}
		world_free(w);
	}
}

/*
 * Each demand has a link of its own kind. A caller without a demand takes the Argo link, and never
 * a strict one.
 */
static void test_links_by_demand(void **state)
{
	struct world *w = world_new(ALL, NULL);
	struct app *caller = app_new(w, 0, 3, true), *holder = app_new(w, 1, 2, true);
	const struct control_message *m;
	uint32_t ends[2];

	assert_int_equal(app_listen(holder, 1, "db", 40), 0);
	app_connect(caller, 1, "db", 0, TRANSPORT_ARGO_STRICT);
	TAKE(m, caller, CONTROL_LINK_CREATE);
	assert_int_equal(m->link_create.transport, TRANSPORT_ARGO_STRICT);
	assert_int_equal(m->link_create.ring_pages, 0);
	app_offer_strict(caller, m->link_create.end, 5);
	TAKE(m, holder, CONTROL_LINK_BIND);
	assert_int_equal(m->link_bind.port, 0);
	assert_int_equal(m->link_bind.doorbell_ref, 0);
	assert_int_equal(m->link_bind.refs_ref, 0);
	assert_int_equal(m->link_bind.aport, 5);
	app_ready(holder, m->link_bind.end, 6);
	TAKE(m, caller, CONTROL_LINK_UP);
	assert_int_equal(m->link_up.aport, 6);
	take_channel(caller, holder, 1);
	app_connect(caller, 2, "db", 0, TRANSPORT_GRANT);
	make_link(caller, holder, false, ends);
	take_channel(caller, holder, 2);
	app_connect(caller, 3, "db", 0, TRANSPORT_ANY);
	take_channel(caller, holder, 3);
	app_connect(caller, 4, "db", 0, TRANSPORT_ARGO);
	make_link(caller, holder, true, ends);
	take_channel(caller, holder, 4);
	app_connect(caller, 5, "db", 0, TRANSPORT_ARGO_STRICT);
	take_channel(caller, holder, 5);
	world_check(w);
	assert_int_equal(HASH_COUNT(w->broker->links), 3);
	world_free(w);
}

/* Both ends are told the same, whatever msgd.conf says by then. */
static void test_ring_sizes(void **state)
{
	struct broker_limits limits;
	struct world *w = world_new(ALL, NULL);
	struct app *caller = app_new(w, 0, 3, true), *holder = app_new(w, 1, 2, true);
	const struct control_message *m;

	broker_limits_default(&limits);
	limits.argo_ring_pages = 2;
	limits.ring_pages = 4;
	broker_set_limits(w->broker, &limits, NULL);
	assert_int_equal(app_listen(holder, 1, "db", 40), 0);
	app_connect(caller, 1, "db", 0, TRANSPORT_ARGO);
	TAKE(m, caller, CONTROL_LINK_CREATE);
	assert_int_equal(m->link_create.ring_len, 2 * 4096 - 64);
	assert_int_equal(m->link_create.ring_pages, 0);
	limits.argo_ring_pages = 3;
	broker_set_limits(w->broker, &limits, NULL);
	app_offer(caller, m->link_create.end, 5);
	TAKE(m, holder, CONTROL_LINK_BIND);
	assert_int_equal(m->link_bind.ring_len, 2 * 4096 - 64);
	app_connect(caller, 2, "db", 0, TRANSPORT_GRANT);
	TAKE(m, caller, CONTROL_LINK_CREATE);
	assert_int_equal(m->link_create.ring_len, 0);
	assert_int_equal(m->link_create.ring_pages, 4);
	limits.ring_pages = 8;
	broker_set_limits(w->broker, &limits, NULL);
	app_offer(caller, m->link_create.end, 0);
	TAKE(m, holder, CONTROL_LINK_BIND);
	assert_int_equal(m->link_bind.ring_pages, 4);
	world_free(w);
}

/* The rings of one of the two are all in use, or its Argo fails otherwise. */
static void test_making_fails(void **state)
{
	static const struct {
		const char *name;
		uint32_t demand;
		bool binder;
		uint32_t said, error; /* error 0: falls back */
		const char *why;
	} cases[] = {
		{"any", TRANSPORT_ANY, false, ENOSPC, 0, "128 rings in use in app"},
		{"any", TRANSPORT_ANY, true, ENOSPC, 0, "128 rings in use in db"},
		{"any", TRANSPORT_ANY, true, ENOBUFS, 0, "Argo failed in db: no ports"},
		{"any", TRANSPORT_ARGO, false, ENOSPC, ENOBUFS, "128 rings in use in app"},
		/* The creator's own error stays; of the other end's the caller gets a few. */
		{"any", TRANSPORT_ARGO, false, EPERM, EPERM, "Argo failed in app: no ports"},
		{"any", TRANSPORT_ARGO, false, ENODEV, EOPNOTSUPP, "Argo failed in app: no ports"},
		{"any", TRANSPORT_ARGO, true, EPERM, EPROTO, "Argo failed in db: no ports"},
		{"any", TRANSPORT_ARGO, true, EACCES, EPROTO, "Argo failed in db: no ports"},
		{"any", TRANSPORT_ARGO, true, EAGAIN, EPROTO, "Argo failed in db: no ports"},
		{"any", TRANSPORT_ARGO, true, EOPNOTSUPP, EOPNOTSUPP,
			"Argo failed in db: no ports"},
		{"any", TRANSPORT_ARGO, false, EMFILE, EMFILE, "Argo failed in app: no ports"},
		{"any", TRANSPORT_ARGO, true, EMFILE, ENOBUFS, "Argo failed in db: no ports"},
		{"any", TRANSPORT_ANY, false, EMFILE, 0, "Argo failed in app: no ports"},
		{"any", TRANSPORT_ARGO_STRICT, true, ENOSPC, ENOBUFS, "128 rings in use in db"},
		{"argo", TRANSPORT_ANY, false, ENOSPC, ENOBUFS, "128 rings in use in app"},
		{"strict", TRANSPORT_ANY, true, ENOSPC, ENOBUFS, "128 rings in use in db"},
		{"grant", TRANSPORT_ANY, true, ENOSPC, ENOBUFS, "db says: no ports"},
		{"grant", TRANSPORT_ANY, true, ECONNRESET, ECONNRESET, "db says: no ports"},
		{"grant", TRANSPORT_ANY, true, EACCES, EPROTO, "db says: no ports"},
		{"grant", TRANSPORT_ANY, true, EINTR, EPROTO, "db says: no ports"},
		{"grant", TRANSPORT_ANY, false, EACCES, EACCES, "no ports"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct world *w = world_new(TRANSPORTS, NULL);
		struct app *caller = app_new(w, 0, 3, true), *holder = app_new(w, 1, 2, true);
		const struct control_message *m;
		struct app *fails = cases[i].binder ? holder : caller;
		uint32_t end, transport;

		assert_int_equal(app_listen(holder, 1, cases[i].name, 4), 0);
		app_connect(caller, 1, cases[i].name, 0, cases[i].demand);
		TAKE(m, caller, CONTROL_LINK_CREATE);
		end = m->link_create.end;
		transport = m->link_create.transport;
		if (cases[i].binder) {
			if (transport == TRANSPORT_ARGO_STRICT)
				app_offer_strict(caller, end, 5);
			else
				app_offer(caller, end, transport == TRANSPORT_GRANT ? 0 : 5);
			TAKE(m, holder, CONTROL_LINK_BIND);
			end = m->link_bind.end;
		}
		app_failed(fails, end, cases[i].said, "no ports");
		if (cases[i].error) {
			TAKE(m, caller, CONTROL_STATUS);
			assert_int_equal(m->status.error, cases[i].error);
			assert_string_equal(m->status.reason, cases[i].why);
			if (cases[i].binder)
				TAKE(m, caller, CONTROL_LINK_DOWN);
			assert_null(w->broker->links);
		} else {
			if (cases[i].binder)
				TAKE(m, caller, CONTROL_LINK_DOWN);
			TAKE(m, caller, CONTROL_LINK_CREATE);
			assert_int_equal(m->link_create.transport, TRANSPORT_GRANT);
			assert_string_equal(w->broker->links->why, cases[i].why);
		}
		TAKE_NOTHING(caller);
		TAKE_NOTHING(holder);
		world_check(w);
		world_free(w);
	}
}

/* An offer has what its transport has, and nothing else. */
static void test_offer_of_another_kind(void **state)
{
	static const struct {
		uint32_t demand;
		bool strict;
		uint32_t aport;
	} cases[] = {
		{TRANSPORT_ARGO, true, 5},
		{TRANSPORT_ARGO, false, 0},
		{TRANSPORT_ARGO_STRICT, false, 5},
		{TRANSPORT_ARGO_STRICT, true, 0},
		{TRANSPORT_GRANT, true, 5},
		{TRANSPORT_GRANT, false, 5},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct world *w = world_new(ALL, NULL);
		struct app *caller = app_new(w, 0, 3, true), *holder = app_new(w, 1, 2, true);
		const struct control_message *m;

		assert_int_equal(app_listen(holder, 1, "db", 4), 0);
		app_connect(caller, 1, "db", 0, cases[i].demand);
		TAKE(m, caller, CONTROL_LINK_CREATE);
		if (cases[i].strict)
			app_offer_strict(caller, m->link_create.end, cases[i].aport);
		else
			app_offer(caller, m->link_create.end, cases[i].aport);
		assert_true(caller->dropped);
		TAKE_NOTHING(holder);
		world_free(w);
	}
}

static void test_errors(void **state)
{
	struct world *w = world_new("allow listen * on any\n"
				    "deny connect secret from any to vault\n"
				    "allow connect * from app to any\n"
				    "allow connect one from db to web\n",
		NULL);
	struct app *caller = app_new(w, 0, 3, false), *holder = app_new(w, 1, 2, false);
	struct app *web = app_new(w, 2, 1, false), *vault = app_new(w, 3, 5, false);
	struct control_message listen = {.type = CONTROL_LISTEN, .request = 9};
	struct control_message other = {.type = CONTROL_CONNECT, .request = 14};
	static const struct {
		const char *address;
		uint32_t error;
	} cases[] = {
		{"nosuch", ENOENT}, {"db/nosuch", ENOENT}, {"domid:2/nosuch", ENOENT},
		{"uuid:12121212-1212-1212-1212-121212121212/nosuch", ENOENT},
		{"nodomain/db", EHOSTUNREACH}, {"domid:77/db", EHOSTUNREACH},
		{"uuid:77777777-1212-1212-1212-121212121212/db", EHOSTUNREACH},
		{"web/two", ENOTUNIQ}, /* two domains are called web */
		{"vault/secret", EACCES}, {"domid:x/db", EINVAL}, {"domid:/db", EINVAL},
		{"domid:99999/db", EINVAL}, {"uuid:12/db", EINVAL}, {"a/b/c", EINVAL}, {"", EINVAL},
		{"-db", EINVAL}, {"db/", EINVAL}, {"two", ENOTUNIQ},
		{"secret", ENOENT}, /* vault's is not for this caller */
	};

	assert_int_equal(app_listen(holder, 1, "db", 4), 0);
	assert_int_equal(app_listen(holder, 2, "two", 4), 0);
	assert_int_equal(app_listen(web, 2, "two", 4), 0);
	assert_int_equal(app_listen(vault, 2, "secret", 4), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct control_message *m;

		app_connect(caller, 100 + (uint32_t)i, cases[i].address, 0, 0);
		TAKE(m, caller, CONTROL_STATUS);
		if (m->status.error != cases[i].error)
			fail_msg("'%s': %u (%s)", cases[i].address, m->status.error,
				m->status.reason);
	}
	/* No rule at all for web: whatever it asks for, the answer is one and the same. */
	for (size_t i = 0; i < 9; i++) {
		const struct control_message *m;

		app_connect(web, 100 + (uint32_t)i, cases[i].address, 0, 0);
		TAKE(m, web, CONTROL_STATUS);
		assert_int_equal(m->status.error, EACCES);
		assert_string_equal(m->status.reason, "denied by policy");
	}
	assert_true(world_logged(w, "web(1) pid 1001 (test) connects to db/nosuch (no rule)"));
	assert_true(world_logged(w, "connects to vault/secret (test.policy:2)"));
	/* Type (of a later version), name taken, bad name. */
	other.connect.type = CHANNEL_TYPE_LIMIT;
	strcpy(other.connect.address, "db");
	assert_int_equal(app_send(caller, &other), 0);
	TAKE_STATUS(caller, 14, EPROTOTYPE);
	assert_int_equal(app_listen(holder, 7, "db", 4), EADDRINUSE);
	listen.listen.listener = 8;
	listen.listen.type = CHANNEL_SEQPACKET;
	listen.listen.backlog = 1;
	strcpy(listen.listen.name, "b d");
	assert_int_equal(app_send(holder, &listen), 0);
	TAKE_STATUS(holder, 9, EINVAL);
	world_free(w);
}

/* One domain's refusals neither fill the log nor keep others' lines out of it. */
static void test_log_is_bounded(void **state)
{
	struct world *w = world_new("", NULL);
	struct app *web = app_new(w, 0, 1, false), *db = app_new(w, 1, 2, false);
	char name[16];

	for (uint32_t i = 1; i <= DOMAIN_LOG_BURST + 50; i++) {
		(void)snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(app_listen(web, i, name, 1), EACCES);
	}
	assert_true(world_logged(w, "listens as n100 "));
	assert_false(world_logged(w, "listens as n101 "));
	assert_true(world_logged(w, "web(1): too many lines: further ones are left out"));
	assert_int_equal(app_listen(db, 1, "other", 1), EACCES);
	assert_true(world_logged(w, "listens as other "));
	world_pass(w, 2 * DOMAIN_LOG_LINE_NS);
	for (uint32_t i = 1; i <= 3; i++) {
		(void)snprintf(name, sizeof(name), "late%u", i);
		assert_int_equal(app_listen(web, 200 + i, name, 1), EACCES);
	}
	assert_true(world_logged(w, "web(1): 50 lines about it were left out"));
	assert_true(world_logged(w, "listens as late1 "));
	/* The line about lines costs one, too. */
	assert_false(world_logged(w, "listens as late2 "));
	/* Lines from the shell around the broker count to the same account. */
	broker_log_about(w->broker, 1, LOG_INFO, "the shell's line");
	assert_false(world_logged(w, "the shell's line"));
	broker_log_about(w->broker, 99, LOG_INFO, "of nobody");
	assert_true(world_logged(w, "of nobody"));
	world_free(w);
}

/* A deny by name holds for a domain whose name cannot be read, or is found out later. */
static void test_names_of_domains(void **state)
{
	struct world *w = world_new("allow listen * on any\n"
				    "deny connect * from any to vault\n"
				    "deny connect * from evil to any\n"
				    "allow connect * from any to any\n",
		NULL);
	struct app *vault = app_new(w, 0, 5, false), *app = app_new(w, 1, 3, false);
	const struct control_message *m;
	uint32_t end;

	assert_int_equal(app_listen(vault, 1, "keys", 4), 0);
	app_connect(app, 1, "domid:5/keys", 0, 0);
	TAKE_STATUS(app, 1, EACCES);
	world_rename(w, 5, "");
	app_connect(app, 2, "domid:5/keys", 0, 0);
	TAKE_STATUS(app, 2, EACCES);
	app_connect(app, 3, "keys", 0, 0);
	TAKE_STATUS(app, 3, ENOENT);
	/* One that waits is judged again by the new name. */
	app_connect(app, 4, "keys", CONNECT_WAIT_NAME, 0);
	TAKE_NOTHING(app);
	world_rename(w, 5, "shop");
	TAKE(m, app, CONTROL_LINK_CREATE);
	end = m->link_create.end;
	app_offer(app, end, 0);
	TAKE(m, vault, CONTROL_LINK_BIND);
	app_ready(vault, m->link_bind.end, 0);
	TAKE(m, app, CONTROL_LINK_UP);
	TAKE(m, app, CONTROL_CONNECTED);
	TAKE(m, vault, CONTROL_CHANNEL);
	/* A name that is lost, as a dying domain's, ends nothing, and begins nothing. */
	world_rename(w, 3, "");
	TAKE_NOTHING(app);
	app_connect(app, 5, "shop/keys", 0, 0);
	TAKE_STATUS(app, 5, EACCES);
	world_rename(w, 3, "app");
	TAKE_NOTHING(app);
	/* A channel that stands is judged again by a new one. */
	world_rename(w, 3, "evil");
	TAKE(m, app, CONTROL_CHANNEL_GONE);
	TAKE(m, app, CONTROL_LINK_DOWN);
	assert_int_equal(m->link_down.error, EACCES);
	app_connect(app, 6, "shop/keys", 0, 0);
	TAKE_STATUS(app, 6, EACCES);
	world_rename(w, 3, "app");
	app_connect(app, 7, "shop/keys", 0, 0);
	TAKE(m, app, CONTROL_LINK_CREATE);
	world_free(w);
}

/* A domain that is not there and one that is forbidden look the same, however it is named. */
static void test_refused_learns_nothing(void **state)
{
	struct world *w =
		world_new("allow listen * on any\n"
			  "deny connect * from app to vault\n"
			  "deny connect * from app to uuid:99999999-9999-9999-9999-999999999999\n"
			  "allow connect * from app to any\n",
			NULL);
	struct app *caller = app_new(w, 0, 3, false);
	const char *addresses[] = {"vault/x", "domid:5/x", "domid:55/x",
		"uuid:15151515-1515-1515-1515-151515151515/x",
		"uuid:25151515-1515-1515-1515-151515151515/x"};

	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		app_connect(caller, 1, addresses[i], 0, 0);
		TAKE_STATUS(caller, 1, EACCES);
	}
	world_free(w);
}

static void test_listen_policy(void **state)
{
	struct world *w = world_new("allow listen pub-* on web\n"
				    "allow listen * on domid:2\n"
				    "allow connect * from any to any\n",
		NULL);
	struct app *web = app_new(w, 0, 1, false), *db = app_new(w, 1, 2, false);
	struct app *app = app_new(w, 2, 3, false);

	assert_int_equal(app_listen(web, 1, "pub-a", 1), 0);
	assert_int_equal(app_listen(web, 2, "priv", 1), EACCES);
	assert_int_equal(app_listen(db, 1, "priv", 1), 0);
	assert_int_equal(app_listen(app, 1, "pub-a", 1), EACCES);
	/* After a reload a name that is not permitted any more is not found. */
	world_policy(w, "allow connect * from any to any\n");
	assert_true(world_logged(w, "web/pub-a: no longer permitted"));
	app_connect(app, 3, "pub-a", 0, 0);
	TAKE_STATUS(app, 3, ENOENT);
	world_free(w);
}

static void test_wait_name(void **state)
{
	struct world *w = world_new(ALL, NULL);
	struct app *caller = app_new(w, 0, 3, false), *holder = app_new(w, 1, 2, false);
	const struct control_message *m;
	uint32_t ends[2];

	app_connect(caller, 1, "late", CONNECT_WAIT_NAME, 0);
	app_connect(caller, 2, "db/late", CONNECT_WAIT_NAME, 0);
	app_connect(caller, 3, "other", CONNECT_WAIT_NAME, 0);
	app_connect(caller, 4, "notyet/other", CONNECT_WAIT_NAME, 0);
	TAKE_NOTHING(caller);
	app_cancel(caller, 3);
	TAKE_STATUS(caller, 3, ECANCELED);
	app_cancel(caller, 3); /* crossed its answer */
	TAKE_NOTHING(caller);
	assert_int_equal(app_listen(holder, 1, "late", 4), 0);
	make_link(caller, holder, false, ends);
	take_channel(caller, holder, 1);
	take_channel(caller, holder, 2);
	/* A reload that refuses what waits answers it, and takes down what stands. */
	world_policy(w, "allow listen * on any\n");
	TAKE(m, caller, CONTROL_CHANNEL_GONE);
	TAKE(m, caller, CONTROL_CHANNEL_GONE);
	TAKE(m, caller, CONTROL_LINK_DOWN);
	assert_int_equal(m->link_down.error, EACCES);
	TAKE_STATUS(caller, 4, EACCES);
	TAKE(m, holder, CONTROL_CHANNEL_GONE);
	TAKE(m, holder, CONTROL_CHANNEL_GONE);
	TAKE(m, holder, CONTROL_LINK_DOWN);
	world_check(w);
	world_free(w);
}

static void test_backlog(void **state)
{
	struct world *w = world_new(ALL, NULL);
	struct app *caller = app_new(w, 0, 3, false), *holder = app_new(w, 1, 2, false);
	uint32_t ends[2], channel[3];
	struct control_message unlisten = {.type = CONTROL_UNLISTEN, .request = 77};

	assert_int_equal(app_listen(holder, 1, "db", 2), 0);
	app_connect(caller, 1, "db", 0, 0);
	make_link(caller, holder, false, ends);
	channel[0] = take_channel(caller, holder, 1);
	app_connect(caller, 2, "db", 0, 0);
	channel[1] = take_channel(caller, holder, 2);
	app_connect(caller, 3, "db", 0, 0);
	TAKE_STATUS(caller, 3, ECONNREFUSED);
	app_accepted(holder, ends[1], channel[0]);
	app_connect(caller, 4, "db", 0, 0);
	channel[2] = take_channel(caller, holder, 4);
	/* The caller's close does not free the place, the listener's does. */
	app_closed(caller, ends[0], channel[1]);
	app_connect(caller, 5, "db", 0, 0);
	TAKE_STATUS(caller, 5, ECONNREFUSED);
	app_closed(holder, ends[1], channel[1]);
	world_check(w);
	app_connect(caller, 6, "db", 0, 0);
	take_channel(caller, holder, 6);
	/* The listener closes without accepting, before the caller does: the place is free. */
	app_connect(caller, 7, "db", 0, 0);
	TAKE_STATUS(caller, 7, ECONNREFUSED);
	app_closed(holder, ends[1], channel[2]);
	world_check(w);
	app_connect(caller, 8, "db", 0, 0);
	take_channel(caller, holder, 8);
	/* Unlistened with offers outstanding: they stay channels. */
	unlisten.unlisten.listener = 1;
	assert_int_equal(app_send(holder, &unlisten), 0);
	TAKE_STATUS(holder, 77, 0);
	world_check(w);
	assert_int_equal(app_send(holder, &unlisten), 0);
	TAKE_STATUS(holder, 77, ENOENT);
	app_closed(caller, ends[0], channel[2]);
	world_free(w);
}

static void test_self(void **state)
{
	struct world *w = world_new(ALL, NULL);
	struct app *app = app_new(w, 0, 3, true);
	const struct control_message *m;
	uint32_t ends[2], channel;

	assert_int_equal(app_listen(app, 1, "me", 2), 0);
	app_connect(app, 1, "app/me", 0, 0);
	make_link(app, app, true, ends);
	assert_int_not_equal(ends[0], ends[1]);
	TAKE(m, app, CONTROL_CHANNEL);
	assert_int_equal(m->channel.end, ends[1]);
	channel = m->channel.channel;
	TAKE(m, app, CONTROL_CONNECTED);
	assert_int_equal(m->connected.end, ends[0]);
	app_accepted(app, ends[1], channel);
	app_closed(app, ends[0], channel);
	app_closed(app, ends[1], channel);
	app_connect(app, 2, "app/me", 0, 0);
	world_check(w);
	world_free(w);
}

static void test_quota(void **state)
{
	struct broker_limits limits;
	struct world *w;
	struct app *caller, *holder, *more;
	const struct history_event *event;
	uint32_t ends[2];
	char name[NAME_SIZE];

	broker_limits_default(&limits);
	limits.quota[QUOTA_NAMES] = 2;
	limits.quota[QUOTA_CHANNELS] = 3;
	limits.quota[QUOTA_LINKS] = 1;
	limits.quota[QUOTA_REQUESTS] = 4;
	limits.quota[QUOTA_PROCESSES] = 2;
	w = world_new("allow listen * on any\n"
		      "allow connect capped from any to any max-channels=2\n"
		      "allow connect * from any to any\n",
		&limits);
	caller = app_new(w, 0, 3, false);
	holder = app_new(w, 1, 2, false);
	more = app_new(w, 2, 2, false);
	assert_int_equal(app_attach(&w->apps[3], 2, false), 0);
	assert_int_equal(app_hello(&w->apps[3], false, false), 0);
	TAKE_STATUS(&w->apps[3], 0xffff0000, EDQUOT);
	assert_int_equal(app_attach(&w->apps[4], 99, false), -ESRCH);
	assert_int_equal(app_listen(holder, 1, "db", 9), 0);
	assert_int_equal(app_listen(holder, 2, "capped", 9), 0);
	assert_int_equal(app_listen(holder, 3, "c", 9), EDQUOT);
	assert_int_equal(app_listen(more, 3, "c", 9), EDQUOT); /* the domain's, not the process's */
	app_connect(caller, 1, "capped", 0, 0);
	make_link(caller, holder, false, ends);
	take_channel(caller, holder, 1);
	app_connect(caller, 2, "capped", 0, 0);
	take_channel(caller, holder, 2);
	app_connect(caller, 3, "capped", 0, 0);
	TAKE_STATUS(caller, 3, EDQUOT); /* by the rule */
	assert_true(world_logged(w, "app(3): max-channels=2 of policy for capped is reached"));
	event = TAILQ_LAST(&broker_history(w->broker)->events, history_events);
	assert_string_equal(event->text, "max-channels=2 of policy for capped");
	assert_string_equal(event->rule, "test.policy:2");
	assert_int_equal(w->broker->refusals->key.line, 2);
	app_connect(caller, 4, "db", 0, 0);
	take_channel(caller, holder, 4);
	app_connect(caller, 5, "db", 0, 0);
	TAKE_STATUS(caller, 5, EDQUOT); /* channels */
	assert_true(world_logged(w, "app(3): limit channels=3 is reached"));
	event = TAILQ_LAST(&broker_history(w->broker)->events, history_events);
	assert_string_equal(event->rule, ""); /* a limit of the configuration */
	assert_int_equal(HASH_COUNT(w->broker->refusals), 1);
	app_connect(holder, 6, "db", 0, 0); /* with itself: its domain's first link */
	app_forget(holder);
	app_connect(more, 7, "db", 0, 0);
	TAKE_STATUS(more, 7, EDQUOT); /* links */
	for (uint32_t i = 0; i < 5; i++) {
		snprintf(name, sizeof(name), "w%u", i);
		app_connect(caller, 20 + i, name, CONNECT_WAIT_NAME, 0);
	}
	TAKE_STATUS(caller, 24, EDQUOT); /* requests */
	TAKE_NOTHING(caller);
	world_check(w);
	world_free(w);
}

/* A link has numbers for so many channels, and no more, whatever the quotas are. */
static void test_full_link(void **state)
{
	struct broker_limits limits;
	const struct control_message *m;
	struct app *caller, *holder;
	struct world *w;
	uint32_t ends[2];

	broker_limits_default(&limits);
	limits.quota[QUOTA_CHANNELS] = LINK_CHANNELS_MAX + 1;
	limits.bytes = 64U << 20;
	w = world_new(ALL, &limits);
	caller = app_new(w, 0, 3, true);
	holder = app_new(w, 1, 2, true);
	assert_int_equal(app_listen(holder, 1, "db", 1), 0);
	for (uint32_t id = 1; id <= LINK_CHANNELS_MAX; id++) {
		app_connect(caller, id, "db", 0, TRANSPORT_ANY);
		if (id == 1)
			make_link(caller, holder, true, ends);
		app_accepted(holder, ends[1], take_channel(caller, holder, id));
	}
	app_connect(caller, LINK_CHANNELS_MAX + 1, "db", 0, TRANSPORT_ANY);
	TAKE(m, caller, CONTROL_STATUS);
	assert_int_equal(m->status.error, EDQUOT);
	assert_string_equal(m->status.reason, "65536 channels on one link");
	world_free(w);
}

/* The refusals of LISTEN: what is said, and the values at their limits. */
static void test_listen_refusals(void **state)
{
	struct world *w = world_new("allow listen * on db log=yes\n"
				    "allow connect * from any to any\n",
		NULL);
	struct app *holder = app_new(w, 0, 2, false), *web = app_new(w, 1, 1, false);
	static const struct {
		const char *name;
		uint32_t backlog, error;
		const char *reason;
	} cases[] = {
		{"b d", 1, EINVAL, "not a valid name"},
		{"db", BACKLOG_MAX, 0, ""},
		{"db", 1, EADDRINUSE, "db is taken in domain db"},
		{"big", BACKLOG_MAX + 1, EINVAL, "backlog 4097 is over the limit backlog=4096"},
	};
	struct control_message listen = {.type = CONTROL_LISTEN};

	listen.listen.type = CHANNEL_SEQPACKET;
	for (uint32_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct control_message *m;

		listen.request = listen.listen.listener = 1 + i;
		listen.listen.backlog = cases[i].backlog;
		strcpy(listen.listen.name, cases[i].name);
		assert_int_equal(app_send(holder, &listen), 0);
		TAKE(m, holder, CONTROL_STATUS);
		assert_int_equal(m->request, listen.request);
		assert_int_equal(m->status.error, cases[i].error);
		assert_string_equal(m->status.reason, cases[i].reason);
	}
	assert_true(
		world_logged(w, "permitted: db(2) pid 1002 (test) listens as db (test.policy:1)"));
	assert_true(world_logged(w, "db(2): 4097 is over the limit backlog=4096"));
	assert_int_equal(w->broker->stats.refused, 0);
	assert_int_equal(app_listen(web, 1, "mine", 1), EACCES);
	assert_int_equal(w->broker->stats.refused, 1);
	assert_true(world_logged(w, "refused: web(1) pid 1001 (test) listens as mine (no rule)"));
	world_free(w);
}

/* A LISTEN that is sent again has the effect of one; another under its handle is a violation. */
static void test_listen_again(void **state)
{
	static const struct {
		const char *name;
		uint32_t type, backlog, request;
		bool same;
	} cases[] = {
		{"db", CHANNEL_SEQPACKET, 4, 9, true},
		{"db", CHANNEL_SEQPACKET, 5, 9, false},
		{"db", CHANNEL_TYPE_LIMIT, 4, 9, false},
		{"da", CHANNEL_SEQPACKET, 4, 9, false},
		{"db", CHANNEL_SEQPACKET, 4, 0, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct world *w = world_new(ALL, NULL);
		struct app *app = app_new(w, 0, 2, false);
		struct control_message listen = {
			.type = CONTROL_LISTEN, .request = cases[i].request};

		assert_int_equal(app_listen(app, 1, "db", 4), 0);
		listen.listen.listener = 1;
		listen.listen.type = cases[i].type;
		listen.listen.backlog = cases[i].backlog;
		strcpy(listen.listen.name, cases[i].name);
		assert_int_equal(app_send(app, &listen), cases[i].same ? 0 : -ECONNRESET);
		assert_int_equal(app->dropped, !cases[i].same);
		if (cases[i].same)
			TAKE_STATUS(app, 9, 0);
		TAKE_NOTHING(app);
		world_check(w);
		world_free(w);
	}
}

/* A new policy counts at once for what is asked anew, before the names are judged again. */
static void test_listener_judged_at_once(void **state)
{
	struct world *w =
		world_new("allow listen db on db\nallow connect * from any to any\n", NULL);
	struct app *caller = app_new(w, 0, 3, false), *holder = app_new(w, 1, 2, false);
	const struct control_message *m;

	assert_int_equal(app_listen(holder, 1, "db", 4), 0);
	broker_set_work_later(w->broker);
	world_policy(w, "allow connect * from any to any\n");
	app_connect(caller, 1, "db", 0, 0);
	TAKE_STATUS(caller, 1, ENOENT);
	world_policy(w, "allow listen db on db\nallow connect * from any to any\n");
	app_connect(caller, 2, "db", 0, 0);
	TAKE(m, caller, CONTROL_LINK_CREATE);
	while (broker_work(w->broker, TURN_COST))
		;
	/* The name of the domain is lost: the rule that permits the name speaks of it. */
	world_rename(w, 2, "");
	app_connect(caller, 3, "domid:2/db", 0, 0);
	TAKE_STATUS(caller, 3, ENOENT);
	TAKE_NOTHING(caller);
	world_rename(w, 2, "db");
	while (broker_work(w->broker, TURN_COST))
		;
	app_connect(caller, 4, "domid:2/db", 0, 0);
	TAKE_NOTHING(caller); /* it waits for the link */
	world_free(w);
}

/* The reason that each refusal of CONNECT has, and the counts. */
static void test_connect_refusals(void **state)
{
	static const struct {
		const char *address;
		uint32_t error;
		const char *reason;
	} cases[] = {
		{"none", ENOENT, "nobody listens as none"},
		{"db/none", ENOENT, "nobody listens as none in db"},
		{"nodomain/db", EHOSTUNREACH, "no such domain"},
		{"web/two", ENOTUNIQ, "several domains are called web"},
		{"two", ENOTUNIQ, "several domains hold two: say DOMAIN/two"},
		{"a/b/c", EINVAL, "not a valid address"},
		{"domid:65535/x", EHOSTUNREACH, "no such domain"},
		{"domid:000002/x", EINVAL, "not a valid address"},
		{"db/full", ECONNREFUSED, "the backlog of full is full (0)"},
	};
	struct world *w = world_new(ALL, NULL);
	struct app *caller = app_new(w, 0, 3, false), *holder = app_new(w, 1, 2, false);
	struct app *web = app_new(w, 2, 1, false);
	struct control_message stream = {.type = CONTROL_CONNECT, .request = 90};
	const struct control_message *m;

	assert_int_equal(app_listen(holder, 1, "two", 4), 0);
	assert_int_equal(app_listen(holder, 2, "full", 0), 0);
	assert_int_equal(app_listen(web, 1, "two", 4), 0);
	for (uint32_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t failed = w->broker->stats.failed;

		app_connect(caller, 1 + i, cases[i].address, 0, 0);
		TAKE(m, caller, CONTROL_STATUS);
		assert_int_equal(m->request, 1 + i);
		assert_int_equal(m->status.error, cases[i].error);
		assert_string_equal(m->status.reason, cases[i].reason);
		if (strcmp(cases[i].address, "a/b/c") != 0)
			assert_int_equal(w->broker->stats.failed, failed + 1);
	}
	stream.connect.type = CHANNEL_TYPE_LIMIT;
	strcpy(stream.connect.address, "db/full");
	assert_int_equal(app_send(caller, &stream), 0);
	TAKE(m, caller, CONTROL_STATUS);
	assert_int_equal(m->status.error, EPROTOTYPE);
	assert_string_equal(m->status.reason, "full is of another type");
	/* To wait for a name helps against none of these. */
	app_connect(caller, 91, "two", CONNECT_WAIT_NAME, 0);
	TAKE_STATUS(caller, 91, ENOTUNIQ);
	app_connect(caller, 92, "db/full", CONNECT_WAIT_NAME, 0);
	TAKE_STATUS(caller, 92, ECONNREFUSED);
	app_connect(caller, 93, "later", CONNECT_WAIT_NAME, 0);
	app_cancel(caller, 93);
	TAKE(m, caller, CONTROL_STATUS);
	assert_int_equal(m->status.error, ECANCELED);
	assert_string_equal(m->status.reason, "nobody listens as later");
	assert_int_equal(w->broker->stats.refused, 0);
	assert_int_equal(w->broker->stats.connected, 0);
	app_connect(caller, 0, "db/full", 0, 0);
	assert_true(caller->dropped);
	world_free(w);
}

/* Two LISTENs under one handle are held: the first gets the name, the second is answered. */
static void test_held_handle_twice(void **state)
{
	struct world *w = world_new(ALL, NULL);
	struct control_message listen = {.type = CONTROL_LISTEN, .request = 1};
	const struct control_message *m;
	struct app *app;

	broker_recover(w->broker, 1);
	app = app_new(w, 0, 2, false);
	listen.listen.listener = 7;
	listen.listen.type = CHANNEL_SEQPACKET;
	listen.listen.backlog = 1;
	strcpy(listen.listen.name, "one");
	assert_int_equal(app_send(app, &listen), 0);
	listen.request = 2;
	strcpy(listen.listen.name, "two");
	assert_int_equal(app_send(app, &listen), 0);
	TAKE_NOTHING(app);
	assert_int_equal(world_used(w, 2), 3);
	broker_record_lost(w->broker);
	TAKE_STATUS(app, 1, 0);
	TAKE(m, app, CONTROL_STATUS);
	assert_int_equal(m->request, 2);
	assert_int_equal(m->status.error, EINVAL);
	assert_string_equal(m->status.reason, "the listener's handle is in use");
	assert_false(app->dropped);
	assert_int_equal(world_used(w, 2), 2);
	world_check(w);
	world_free(w);

	/* The request's id is in use by a CONNECT that is held as well. */
	w = world_new(ALL, NULL);
	broker_recover(w->broker, 1);
	app = app_new(w, 0, 2, false);
	app_connect(app, 2, "one", 0, 0);
	TAKE_NOTHING(app);
	assert_int_equal(app_send(app, &listen), -ECONNRESET);
	assert_string_equal(app->reason, "LISTEN not allowed now (EPROTO)");
	world_free(w);
}

/* All that a channel's two messages say of it, and of the domain at the other end. */
static void test_channel_messages(void **state)
{
	struct world *w = world_new("allow listen * on any\n"
				    "allow connect * from any to any log=yes\n",
		NULL);
	struct app *caller = app_new(w, 0, 3, true), *holder = app_new(w, 1, 2, true);
	const struct control_message *m;
	uint32_t ends[2];

	assert_int_equal(app_listen(holder, 9, "db", 4), 0);
	app_connect(caller, 1, "domid:2/db", 0, TRANSPORT_ANY);
	make_link(caller, holder, true, ends);
	TAKE(m, holder, CONTROL_CHANNEL);
	assert_int_equal(m->channel.listener, 9);
	assert_int_equal(m->channel.end, ends[1]);
	assert_int_equal(m->channel.type, CHANNEL_SEQPACKET);
	assert_int_equal(m->channel.transport, TRANSPORT_ARGO);
	assert_string_equal(m->channel.peer.domain, "app");
	assert_memory_equal(m->channel.peer.uuid, w->domains[3].uuid, 16);
	assert_string_equal(m->channel.name, "db");
	TAKE(m, caller, CONTROL_CONNECTED);
	assert_int_equal(m->connected.end, ends[0]);
	assert_int_equal(m->connected.transport, TRANSPORT_ARGO);
	assert_string_equal(m->connected.peer.domain, "db");
	assert_memory_equal(m->connected.peer.uuid, w->domains[2].uuid, 16);
	assert_string_equal(m->connected.name, "db");
	assert_int_equal(w->broker->stats.connected, 1);
	assert_int_equal(w->broker->stats.links_made, 1);
	assert_int_equal(w->broker->stats.attached, 2);
	assert_true(world_logged(
		w, "permitted: app(3) pid 1003 (test) connects to domid:2/db (test.policy:2)"));
	world_free(w);
}

/* Numbers of ends and channels begin anew at 1 after the last, and go past those in use. */
static void test_numbers_wrap(void **state)
{
	struct world *w = world_new(ALL, NULL);
	struct app *caller = app_new(w, 0, 3, true), *holder = app_new(w, 1, 2, true);
	const struct control_message *m;
	uint32_t ends[2], first;

	assert_int_equal(app_listen(holder, 1, "db", 40), 0);
	w->broker->next_uid = UINT64_MAX;
	app_connect(caller, 1, "db", 0, TRANSPORT_ARGO);
	make_link(caller, holder, true, ends);
	assert_int_equal(w->broker->links->id.uid, 1);
	first = take_channel(caller, holder, 1);
	assert_int_equal(ends[0], 1);
	assert_int_equal(first, 1);
	caller->process->last_end = UINT32_MAX;
	w->broker->links->last_channel = UINT32_MAX;
	app_connect(caller, 2, "db", 0, TRANSPORT_ARGO);
	assert_int_equal(take_channel(caller, holder, 2), 2);
	app_connect(caller, 3, "db", 0, TRANSPORT_GRANT);
	TAKE(m, caller, CONTROL_LINK_CREATE);
	assert_int_equal(m->link_create.end, 2);
	/* Any number may have been given before now. */
	app_closed(caller, ends[0], 12345);
	app_offer(caller, 12345, 0);
	assert_false(caller->dropped);
	app_closed(caller, ends[0], 0);
	assert_true(caller->dropped);
	world_free(w);
}

/* The features, the epoch and the version are the ones of this application's HELLO. */
static void test_hello(void **state)
{
	struct world *w = world_new(ALL, NULL);
	struct app *app = &w->apps[0];
	struct control_message hello = {.type = CONTROL_HELLO, .request = 77};
	const struct control_message *m;
	char text[PROCESS_TEXT_SIZE];

	assert_int_equal(app_attach(app, 3, false), 0);
	process_describe(app->process, text, sizeof(text));
	assert_string_equal(text, "app(3) pid 0 (?)");
	hello.hello.epoch = app->epoch;
	hello.hello.version_max = 0;
	assert_int_equal(app_send(app, &hello), 0);
	TAKE(m, app, CONTROL_STATUS);
	assert_int_equal(m->request, 77);
	assert_int_equal(m->status.error, EPROTONOSUPPORT);
	assert_string_equal(m->status.reason, "no protocol version in common with msgd");
	hello.hello.version_max = 5;
	memset(hello.hello.comm, 'x', sizeof(hello.hello.comm));
	hello.hello.pid = 5;
	assert_int_equal(app_send(app, &hello), 0);
	TAKE(m, app, CONTROL_WELCOME);
	assert_int_equal(m->request, 77);
	assert_int_equal(m->welcome.epoch, app->epoch);
	assert_int_equal(m->welcome.version, 1);
	assert_int_equal(m->welcome.features,
		FEATURE_ARGO | FEATURE_ARGO_STRICT | FEATURE_TYPES | FEATURE_WATCH | FEATURE_TERMS |
			FEATURE_COUNTS | FEATURE_CAPTURE | FEATURE_AHEAD | FEATURE_EXPIRED);
	process_describe(app->process, text, sizeof(text));
	assert_string_equal(text, "app(3) pid 5 (xxxxxxxxxxxxxxx)");
	app_die(app);
	assert_int_equal(app_attach(app, 3, false), 0);
	hello.hello.epoch = app->epoch;
	hello.request = 0;
	assert_int_equal(app_send(app, &hello), -ECONNRESET);
	assert_int_equal(w->broker->stats.dropped, 1);
	assert_true(world_logged(w, "app(3) pid 0 (?) is dropped: HELLO not allowed now (EPROTO)"));
	world_free(w);
}

/* The words of an application about a failure: numbers that are no errno, and none at all. */
static void test_failure_words(void **state)
{
	static const struct {
		uint32_t said, error;
		const char *words, *why;
	} cases[] = {
		{0, EPROTO, "", "Protocol error"},
		{133, 133, "x", "x"},
		{134, EPROTO, "x", "x"},
		{ENOSPC, ENOBUFS, "x", "x"},
		{ENOMEM, ENOBUFS, "", "No buffer space available"},
		{ENFILE, ENOBUFS, "x", "x"},
		{EMFILE, EMFILE, "x", "x"},
		{ENODEV, EOPNOTSUPP, "x", "x"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct world *w = world_new(ALL, NULL);
		struct app *caller = app_new(w, 0, 3, false), *holder = app_new(w, 1, 2, false);
		const struct control_message *m;

		assert_int_equal(app_listen(holder, 1, "db", 4), 0);
		app_connect(caller, 1, "db", 0, TRANSPORT_GRANT);
		TAKE(m, caller, CONTROL_LINK_CREATE);
		app_failed(caller, m->link_create.end, cases[i].said, cases[i].words);
		TAKE(m, caller, CONTROL_STATUS);
		assert_int_equal(m->status.error, cases[i].error);
		assert_string_equal(m->status.reason, cases[i].why);
		assert_int_equal(w->broker->stats.failed, 1);
		assert_int_equal(w->broker->stats.reset, 0);
		assert_true(world_logged(w, "app(3) pid 1003 (test) says: "));
		world_free(w);
	}
}

static uint32_t used(const struct world *w, uint16_t domid, enum quota quota)
{
	return domain_find(w->broker, domid)->used[quota];
}

/* An application of domain 3 that closes its channels, and one of domain 2 that keeps them. */
struct kept {
	struct world *w;
	struct app *caller, *holder;
	uint32_t ends[2];
	uint32_t n; /* so many were connected */
};

static void kept_start(struct kept *k, uint32_t backlog)
{
	*k = (struct kept){.w = world_new(ALL, NULL)};
	k->caller = app_new(k->w, 0, 3, true);
	k->holder = app_new(k->w, 1, 2, true);
	assert_int_equal(app_listen(k->holder, 1, "db", backlog), 0);
}

/* One more channel, which the caller closes. False: it ended the link. */
static bool kept_one_more(struct kept *k, bool accept)
{
	uint32_t channel;

	app_connect(k->caller, ++k->n, "db/db", 0, 0);
	if (k->n == 1)
		make_link(k->caller, k->holder, true, k->ends);
	channel = take_channel(k->caller, k->holder, k->n);
	if (accept)
		app_accepted(k->holder, k->ends[1], channel);
	app_closed(k->caller, k->ends[0], channel);
	return k->caller->head == k->caller->tail;
}

/*
 * The listener's end accepts each channel, and never confirms a close: its own domain pays, from a
 * half of its bytes, and then the link ends.
 */
static void test_kept_channels(void **state)
{
	const struct control_message *m;
	struct kept k;
	uint32_t paid = 0, half;

	kept_start(&k, 8);
	half = k.w->broker->limits.bytes / 2;
	while (kept_one_more(&k, true)) {
		assert_int_equal(used(k.w, 3, QUOTA_CHANNELS), k.w->broker->links->n_unpaid);
		assert_true(world_bytes(k.w, 2) <= half);
		if (k.n % 256 == 0)
			world_check(k.w);
		if (used(k.w, 3, QUOTA_CHANNELS) == 0)
			paid = k.n;
	}
	assert_true(paid > 1000);
	assert_int_equal(k.n, paid + CLOSES_UNANSWERED + 1);
	TAKE(m, k.caller, CONTROL_LINK_DOWN);
	assert_int_equal(m->link_down.error, ECONNRESET);
	TAKE(m, k.holder, CONTROL_LINK_DOWN);
	assert_int_equal(used(k.w, 3, QUOTA_CHANNELS), 0);
	assert_int_equal(used(k.w, 2, QUOTA_ANNOUNCED), 0);
	world_check(k.w);
	world_free(k.w);
}

/* Or it accepts none: its domain pays as well, and what it cannot pay its backlog bounds. */
static void test_kept_backlog(void **state)
{
	struct control_message unlisten = {.type = CONTROL_UNLISTEN, .request = 77};
	struct kept k;
	uint32_t n_paid;

	kept_start(&k, BACKLOG_MAX);
	while (k.n < BACKLOG_MAX)
		assert_true(kept_one_more(&k, false));
	n_paid = used(k.w, 2, QUOTA_ANNOUNCED);
	assert_true(n_paid > 1000);
	assert_true(world_bytes(k.w, 2) <= k.w->broker->limits.bytes / 2);
	assert_int_equal(used(k.w, 3, QUOTA_CHANNELS), BACKLOG_MAX - n_paid);
	assert_int_equal(k.w->broker->links->n_unpaid, 0);
	world_check(k.w);
	/* One leaves it, and then all. The next close ends the link. */
	app_accepted(k.holder, k.ends[1], BACKLOG_MAX);
	assert_int_equal(k.w->broker->links->n_unpaid, 1);
	unlisten.unlisten.listener = 1;
	assert_int_equal(app_send(k.holder, &unlisten), 0);
	TAKE_STATUS(k.holder, 77, 0);
	assert_int_equal(k.w->broker->links->n_unpaid, BACKLOG_MAX - n_paid);
	world_check(k.w);
	assert_int_equal(app_listen(k.holder, 2, "db", 8), 0);
	assert_false(kept_one_more(&k, false));
	assert_null(k.w->broker->links);
	world_check(k.w);
	world_free(k.w);
}

/* The listener's end confirms late: each charge comes back, and the link stands. */
static void test_confirmed_late(void **state)
{
	struct kept k;

	kept_start(&k, 8);
	while (k.n == 0 || k.w->broker->links->n_unpaid < CLOSES_UNANSWERED)
		assert_true(kept_one_more(&k, true));
	for (uint32_t channel = 1; channel <= k.n; channel++)
		app_closed(k.holder, k.ends[1], channel);
	assert_false(k.holder->dropped);
	assert_int_equal(used(k.w, 3, QUOTA_CHANNELS), 0);
	assert_int_equal(used(k.w, 2, QUOTA_ANNOUNCED), 0);
	assert_int_equal(k.w->broker->links->n_unpaid, 0);
	assert_true(kept_one_more(&k, true));
	world_check(k.w);
	world_free(k.w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_happy),
		cmocka_unit_test(test_fallback),
		cmocka_unit_test(test_fallback_is_final),
		cmocka_unit_test(test_transport),
		cmocka_unit_test(test_choices),
		cmocka_unit_test(test_links_by_demand),
		cmocka_unit_test(test_ring_sizes),
		cmocka_unit_test(test_making_fails),
		cmocka_unit_test(test_offer_of_another_kind),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_refused_learns_nothing),
		cmocka_unit_test(test_log_is_bounded),
		cmocka_unit_test(test_names_of_domains),
		cmocka_unit_test(test_listen_policy),
		cmocka_unit_test(test_wait_name),
		cmocka_unit_test(test_backlog),
		cmocka_unit_test(test_self),
		cmocka_unit_test(test_quota),
		cmocka_unit_test(test_full_link),
		cmocka_unit_test(test_listen_refusals),
		cmocka_unit_test(test_listen_again),
		cmocka_unit_test(test_listener_judged_at_once),
		cmocka_unit_test(test_connect_refusals),
		cmocka_unit_test(test_held_handle_twice),
		cmocka_unit_test(test_channel_messages),
		cmocka_unit_test(test_numbers_wrap),
		cmocka_unit_test(test_hello),
		cmocka_unit_test(test_failure_words),
		cmocka_unit_test(test_kept_channels),
		cmocka_unit_test(test_kept_backlog),
		cmocka_unit_test(test_confirmed_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
