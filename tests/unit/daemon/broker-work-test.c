/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The work that a guest can cause in the broker: it is counted, so each bound here is exact on
 * every machine. msgd does what an event leaves in portions (broker_work); here as there.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/broker/link.h"
#include "daemon/broker/state.h"
#include "tests/unit/daemon/cmocka-all.h"
#include "tests/unit/daemon/world.h"

#define N_WAITING 1000U

/* A portion of work may cost so much more than it was given: its last piece. */
#define COST_EVENT 20000U

/* They may listen as they like, and connect to any name but "trap", which vault alone may. */
#define TRAP                                                                                       \
	"allow listen * on any\n"                                                                  \
	"allow connect trap from any to vault\n"                                                   \
	"deny connect trap from any to any\n"                                                      \
	"allow connect * from any to any\n"

static uint64_t cost_since(const struct world *w, uint64_t *before)
{
	uint64_t cost = broker_cost(w->broker) - *before;

	*before = broker_cost(w->broker);
	return cost;
}

/* All that is left, in portions, each of which is bounded. Returns the cost. */
static uint64_t work_all(const struct world *w)
{
	uint64_t start = broker_cost(w->broker), before = start;
	bool more = true;

	while (more) {
		more = broker_work(w->broker, TURN_COST);
		assert_true(cost_since(w, &before) <= TURN_COST + COST_EVENT);
	}
	return broker_cost(w->broker) - start;
}

static struct world *world_of(const char *rules)
{
	struct world *w = world_new(rules, NULL);

	broker_set_work_later(w->broker);
	return w;
}

static void wait_many(struct app *app, uint32_t first, unsigned n, const char *address)
{
	for (uint32_t i = 0; i < n; i++)
		app_connect(app, first + i, address, CONNECT_WAIT_NAME, 0);
	assert_null(app_take(app));
}

static void link_make(struct world *w, struct app *caller, struct app *holder)
{
	const struct control_message *m;

	TAKE(m, caller, CONTROL_LINK_CREATE);
	app_offer(caller, m->link_create.end, 0);
	TAKE(m, holder, CONTROL_LINK_BIND);
	app_ready(holder, m->link_bind.end, 0);
	(void)work_all(w);
	TAKE(m, caller, CONTROL_LINK_UP);
}

/* Requests that wait for another domain's name are not looked at. */
static void test_other_domain(void **state)
{
	struct world *w = world_of("allow listen * on any\nallow connect * from any to any\n");
	struct app *hostile = app_new(w, 0, 3, false), *listens = app_new(w, 1, 3, false);
	uint64_t before;

	wait_many(hostile, 1, N_WAITING, "db/trap");
	before = broker_cost(w->broker);
	for (uint32_t i = 0; i < 16; i++) {
		assert_int_equal(app_listen(listens, 7, "trap", 1), 0);
		assert_int_equal(app_unlisten(listens, 7), 0);
	}
	assert_true(cost_since(w, &before) < 32 * 2000);
	assert_true(work_all(w) < 1000);
	world_free(w);
}

/* Each form of a domain's address finds its name, and its name alone. */
static void test_forms(void **state)
{
	static const char *const forms[] = {"db/late", "domid:2/late", "domid:02/late",
		"uuid:12121212-1212-1212-1212-121212121212/late", "late"};
	struct world *w = world_of("allow listen * on any\nallow connect * from any to any\n");
	struct app *caller = app_new(w, 0, 3, false), *holder = app_new(w, 1, 2, false);
	const struct control_message *m;

	for (uint32_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
		app_connect(caller, 1 + i, forms[i], CONNECT_WAIT_NAME, 0);
	assert_null(app_take(caller));
	assert_int_equal(app_listen(holder, 1, "early", 8), 0);
	(void)work_all(w);
	assert_null(app_take(caller));
	assert_int_equal(app_listen(holder, 2, "late", 8), 0);
	(void)work_all(w);
	link_make(w, caller, holder);
	for (uint32_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		TAKE(m, holder, CONTROL_CHANNEL);
		TAKE(m, caller, CONTROL_CONNECTED);
	}
	world_free(w);
}

/* A name wakes all that wait for it; the event is small, and the domains take turns afterwards. */
static void test_turns(void **state)
{
	struct world *w = world_of(TRAP);
	struct app *hostile = app_new(w, 0, 3, false), *honest = app_new(w, 1, 1, false);
	struct app *vault = app_new(w, 2, 5, false), *listens = app_new(w, 3, 3, false);
	const struct control_message *m;
	uint64_t before;

	wait_many(hostile, 1, N_WAITING, "trap");
	wait_many(honest, 1, 1, "vault/trap");
	before = broker_cost(w->broker);
	/* All are woken in vain. */
	assert_int_equal(app_listen(listens, 7, "trap", 1), 0);
	assert_true(cost_since(w, &before) < 5000);
	/* In the midst of it comes the name that the honest one waits for. */
	(void)broker_work(w->broker, TURN_COST);
	assert_true(broker_work_left(w->broker));
	assert_int_equal(app_listen(vault, 7, "trap", 1), 0);
	(void)broker_work(w->broker, TURN_COST);
	assert_true(broker_work_left(w->broker));
	TAKE(m, honest, CONTROL_LINK_CREATE);
	(void)work_all(w);
	world_free(w);
}

/* A first LISTEN that is held is found by its handle, whatever else its process waits for. */
static void test_held_listens(void **state)
{
	struct world *w = world_new(TRAP, NULL);
	struct control_message message = {.type = CONTROL_LISTEN};
	struct app *app;
	uint64_t before;

	broker_recover(w->broker, 1);
	broker_set_work_later(w->broker);
	app = app_new(w, 0, 3, false);
	for (uint32_t i = 1; i <= N_WAITING; i++) {
		message.request = i;
		message.listen.listener = i;
		message.listen.type = CHANNEL_SEQPACKET;
		message.listen.backlog = 1;
		(void)snprintf(message.listen.name, sizeof(message.listen.name), "name-%u", i);
		(void)app_send(app, &message);
	}
	assert_null(app_take(app));
	before = broker_cost(w->broker);
	message = (struct control_message){.type = CONTROL_UNLISTEN, .request = 5000};
	message.unlisten.listener = 500;
	(void)app_send(app, &message);
	TAKE_STATUS(app, 500, ECANCELED);
	TAKE_STATUS(app, 5000, 0);
	assert_true(cost_since(w, &before) < 1000);
	/* The end of recovery is small, too; the rest is work. */
	broker_set_now(w->broker, w->timer_ns);
	broker_tick(w->broker);
	assert_true(cost_since(w, &before) < 2000);
	assert_null(app_take(app));
	assert_true(work_all(w) > N_WAITING * COST_REQUEST);
	assert_int_equal(world_used(w, 3), 1 + N_WAITING - 1);
	world_free(w);
}

/* A new policy judges all that waits and all names: later, and all. */
static void test_reload(void **state)
{
	struct world *w = world_of(TRAP);
	struct app *hostile = app_new(w, 0, 3, false), *listens = app_new(w, 1, 3, false);
	const struct control_message *m;
	char name[NAME_SIZE];
	uint64_t before;
	unsigned n = 0;

	wait_many(hostile, 1, N_WAITING, "trap");
	for (uint32_t i = 1; i <= 1000; i++) {
		(void)snprintf(name, sizeof(name), "name-%u", i);
		assert_int_equal(app_listen(listens, i, name, 1), 0);
	}
	before = broker_cost(w->broker);
	world_policy(w, "deny listen * on any\n");
	assert_true(cost_since(w, &before) < 1000);
	assert_true(broker_work_left(w->broker));
	(void)work_all(w);
	while ((m = app_take(hostile))) {
		assert_int_equal(m->type, CONTROL_STATUS);
		assert_int_equal(m->status.error, EACCES);
		n++;
	}
	/* The world keeps the last ones. */
	assert_int_equal(n, WORLD_QUEUE);
	assert_true(world_logged(w, "name-1: no longer permitted"));
	assert_int_equal(world_used(w, 3), 2 + 1000);
	world_free(w);
}

/* Many channels: their link's end is small, and they go in portions; so do a domain's processes. */
static void test_ends(void **state)
{
	struct world *w = world_of("allow listen * on any\nallow connect * from any to any\n");
	struct app *caller = app_new(w, 0, 3, false), *holder = app_new(w, 1, 2, false);
	struct app *others[8];
	const struct control_message *m;
	uint64_t before;
	bool more = true;

	for (unsigned i = 0; i < 8; i++)
		others[i] = app_new(w, 2 + i, 3, false);
	assert_int_equal(app_listen(holder, 1, "db", 4096), 0);
	app_connect(caller, 1, "db", 0, 0);
	TAKE(m, caller, CONTROL_LINK_CREATE);
	app_offer(caller, m->link_create.end, 0);
	TAKE(m, holder, CONTROL_LINK_BIND);
	app_ready(holder, m->link_bind.end, 0);
	(void)work_all(w);
	for (uint32_t i = 0; i < 4000; i++)
		app_connect(caller, 2 + i, "db", 0, 0);
	(void)work_all(w);
	assert_true(world_used(w, 3) > 4000);
	before = broker_cost(w->broker);
	app_die(holder);
	assert_true(cost_since(w, &before) < 5000);
	assert_true(work_all(w) >= 4000 * COST_OBJECT);
	assert_true(world_used(w, 3) < 20);
	/* The domain goes, and another one has its number at once. */
	before = broker_cost(w->broker);
	world_rebirth(w, 3);
	assert_true(cost_since(w, &before) < 5000);
	assert_false(caller->dropped);
	holder = app_new(w, 20, 3, false);
	while (more) {
		more = broker_work(w->broker, 1);
		assert_true(cost_since(w, &before) < 2 * COST_PROCESS);
	}
	assert_true(caller->dropped && others[0]->dropped && others[7]->dropped);
	assert_false(holder->dropped);
	world_free(w);
}

/* A domain ends, and pays and is paid for until its work is done, beside the next of its number. */
static void test_ends_with_messages(void **state)
{
	struct world *w = world_of("allow listen * on any\nallow connect * from any to any\n");
	struct app *caller = app_new(w, 0, 3, false), *holder = app_new(w, 1, 2, false);
	const struct control_message *m;

	assert_int_equal(app_listen(holder, 1, "db", 64), 0);
	app_connect(caller, 1, "db", 0, 0);
	link_make(w, caller, holder);
	TAKE(m, caller, CONTROL_CONNECTED);
	TAKE(m, holder, CONTROL_CHANNEL);
	holder->full = true;
	app_connect(caller, 2, "db", 0, 0);
	/* Its applications are still to be dropped when the next domain's are here. */
	world_rebirth(w, 2);
	holder = app_new(w, 2, 2, false);
	assert_int_equal(app_listen(holder, 1, "db", 64), 0);
	app_forget(caller);
	app_connect(caller, 3, "db", 0, 0);
	TAKE(m, caller, CONTROL_LINK_CREATE);
	holder->full = true;
	app_offer(caller, m->link_create.end, 0);
	(void)work_all(w);
	holder->full = false;
	app_read(holder);
	TAKE(m, holder, CONTROL_LINK_BIND);
	app_ready(holder, m->link_bind.end, 0);
	(void)work_all(w);
	TAKE(m, holder, CONTROL_CHANNEL);
	/* The caller's domain ends; the next of its number does not pay for its messages. */
	holder->full = true;
	app_connect(caller, 4, "db", 0, 0);
	world_rebirth(w, 3);
	assert_int_equal(world_bytes(w, 3), 0);
	(void)work_all(w);
	world_check(w);
	assert_int_equal(world_bytes(w, 3), 0);
	assert_true(world_bytes(w, 2) > 0);
	holder->full = false;
	app_read(holder);
	TAKE(m, holder, CONTROL_CHANNEL);
	TAKE(m, holder, CONTROL_LINK_DOWN);
	world_free(w);
}

/* The least cost of each event: its messages, the domains looked at, the objects freed. */
static void test_each_costs(void **state)
{
	struct world *w = world_of("allow listen * on any\nallow connect * from any to any\n");
	struct app *caller = app_new(w, 0, 3, false), *holder = app_new(w, 1, 2, false);
	struct control_message sync = {.type = CONTROL_SYNC, .request = 1};
	uint64_t before = broker_cost(w->broker), domains = w->n_domains;

	assert_int_equal(app_listen(holder, 1, "db", 4), 0);
	assert_true(cost_since(w, &before) > 2 * COST_MESSAGE + 4 * domains);
	app_connect(caller, 1, "db/none", 0, 0);
	assert_true(cost_since(w, &before) > 2 * COST_MESSAGE + COST_OBJECT + domains);
	app_connect(caller, 1, "none", 0, 0);
	assert_true(cost_since(w, &before) > 2 * COST_MESSAGE + COST_OBJECT + domains);
	app_connect(caller, 1, "none", CONNECT_WAIT_NAME, 0);
	assert_true(cost_since(w, &before) > COST_MESSAGE + domains);
	app_cancel(caller, 1);
	assert_true(cost_since(w, &before) >= 2 * COST_MESSAGE + COST_OBJECT);
	assert_int_equal(app_unlisten(holder, 1), 0);
	assert_true(cost_since(w, &before) >= 2 * COST_MESSAGE + COST_OBJECT);
	holder->full = true;
	assert_int_equal(app_send(holder, &sync), 0);
	assert_true(cost_since(w, &before) >= 2 * COST_MESSAGE);
	app_read(holder);
	assert_true(cost_since(w, &before) >= COST_MESSAGE + COST_OBJECT);
	broker_spend(w->broker, 7);
	assert_int_equal(cost_since(w, &before), 7);
	world_free(w);
}

/* Links and channels that were announced cost as much as they are many. */
static void test_settling_costs(void **state)
{
	struct world *w = world_of("allow listen * on any\nallow connect * from any to any\n");
	struct app *apps[] = {&w->apps[0], &w->apps[1]};
	uint64_t before;

	broker_recover(w->broker, 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(app_attach(apps[i], i ? 2 : 3, true), 0);
		assert_int_equal(app_hello(apps[i], true, true), 0);
		for (uint32_t link = 1; link <= 10; link++) {
			app_announce_link(apps[i], link, link, i ? 3 : 2, TRANSPORT_ARGO, i, 1);
			for (uint32_t number = 1; i == 1 && number <= 10; number++)
				app_announce_channel(apps[i], link, number, 1, 0, "db");
		}
	}
	assert_int_equal(app_announce_done(apps[1]), 0);
	before = broker_cost(w->broker);
	/* Each link and its channels are looked at, though the other end has not said all. */
	assert_true(work_all(w) >= 10 * COST_OBJECT + 100 * 2 * COST_OBJECT);
	(void)cost_since(w, &before);
	assert_int_equal(app_announce_done(apps[0]), 0);
	assert_true(cost_since(w, &before) >= COST_MESSAGE + 10);
	/* Then they are settled, and each channel is freed, of which one end is told. */
	assert_true(work_all(w) >= 2 * 10 * COST_OBJECT + 100 * (2 * COST_OBJECT + COST_MESSAGE));
	world_check(w);
	world_free(w);
}

/* Announced links and channels are judged when they stand, in portions. */
static void test_announced(void **state)
{
	static const char policy[] = "allow listen * on any\nallow connect * from any to any\n";
	const struct control_message *m;
	struct world *w = world_new(policy, NULL);
	struct app *apps[] = {&w->apps[0], &w->apps[1]};
	unsigned n_gone = 0;

	broker_recover(w->broker, 2);
	broker_set_work_later(w->broker);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(app_attach(apps[i], i ? 2 : 3, true), 0);
		assert_int_equal(app_hello(apps[i], true, true), 0);
		app_forget(apps[i]);
		app_announce_link(apps[i], 1, 7, i ? 3 : 2, TRANSPORT_ARGO, i, 1);
		for (uint32_t number = 1; number <= 200; number++)
			app_announce_channel(apps[i], 1, number, i, i, number % 2 ? "odd" : "even");
	}
	/* The policy changes while they wait to be settled. */
	world_policy(w, "allow listen * on any\nallow connect even from any to any\n");
	(void)work_all(w);
	assert_int_equal(app_announce_done(apps[0]), 0);
	assert_int_equal(app_announce_done(apps[1]), 0);
	assert_null(app_take(apps[0]));
	(void)work_all(w);
	world_check(w);
	while ((m = app_take(apps[0]))) {
		assert_int_equal(m->type, CONTROL_CHANNEL_GONE);
		assert_int_equal(m->channel_gone.channel % 2, 1);
		n_gone++;
	}
	assert_int_equal(n_gone, 100);
	app_forget(apps[1]);
	/* Then the other domain is renamed, and loses its last channels and the link. */
	world_policy(w, "allow listen * on any\nallow connect even from any to db\n");
	(void)work_all(w);
	assert_null(app_take(apps[0]));
	world_rename(w, 2, "");
	(void)work_all(w);
	assert_null(app_take(apps[0]));
	world_rename(w, 2, "other");
	(void)work_all(w);
	for (n_gone = 0; (m = app_take(apps[0])) && m->type == CONTROL_CHANNEL_GONE;)
		n_gone++;
	assert_int_equal(n_gone, 100);
	assert_int_equal(m->type, CONTROL_LINK_DOWN);
	assert_int_equal(m->link_down.error, EACCES);
	world_free(w);
}

/* Ten thousand rules: a message of any kind costs a small part of them. */
static void test_rules(void **state)
{
	size_t size = 10000 * 64, len = 0;
	char *rules = malloc(size), address[ADDRESS_SIZE];
	struct world *w;
	struct app *app, *holder;
	uint64_t before;

	assert_non_null(rules);
	for (unsigned i = 0; i < 5000; i++) {
		len += (size_t)snprintf(
			rules + len, size - len, "deny connect n%u from any to any\n", i);
		len += (size_t)snprintf(rules + len, size - len,
			"deny connect * from guest-%u to guest-%u\n", i, i);
	}
	(void)snprintf(rules + len, size - len, "%s", TRAP);
	w = world_of(rules);
	app = app_new(w, 0, 3, false);
	holder = app_new(w, 1, 2, false);
	/* The first message of a domain has its WHOs compared. */
	assert_int_equal(app_listen(holder, 1, "x", 1), 0);
	app_connect(app, 1, "db/nothing", 0, 0);
	before = broker_cost(w->broker);
	for (uint32_t i = 2; i < 100; i++) {
		(void)snprintf(address, sizeof(address), i % 2 ? "db/q%u" : "q%u", i);
		app_connect(app, i, address, 0, 0);
		/* All of the rules for any name are looked at where the target is unknown. */
		assert_true(cost_since(w, &before) < (i % 2 ? 1500 : 2000));
	}
	world_free(w);
	free(rules);
}

#define N_CALLERS 29U
#define N_LINKS	  (2U * N_CALLERS)

/* An application of domain 2, with more links than are ended at once. Returns it. */
static struct app *with_links(struct world *w)
{
	static const uint32_t transports[] = {TRANSPORT_ARGO, TRANSPORT_GRANT};
	struct app *holder = app_new(w, 0, 2, true);
	const struct control_message *m;

	assert_int_equal(app_listen(holder, 1, "db", 64), 0);
	for (unsigned i = 0; i < N_LINKS; i++) {
		struct app *caller = &w->apps[1 + i / 2];
		uint32_t transport = transports[i % 2];
		uint32_t aport = transport == TRANSPORT_ARGO ? 5 : 0;

		if (i % 2 == 0)
			(void)app_new(w, 1 + i / 2, 3, true);
		app_connect(caller, 1 + i, "db/db", 0, transport);
		TAKE(m, caller, CONTROL_LINK_CREATE);
		app_offer(caller, m->link_create.end, aport);
		TAKE(m, holder, CONTROL_LINK_BIND);
		app_ready(holder, m->link_bind.end, aport);
		(void)work_all(w);
		app_forget(caller);
		app_forget(holder);
	}
	return holder;
}

/* The LINK_DOWNs that callers have got since, each with the reason. */
static unsigned links_down(struct world *w, const char *reason)
{
	const struct control_message *m;
	unsigned n = 0;

	for (unsigned i = 1; i <= N_CALLERS; i++) {
		while ((m = app_take(&w->apps[i]))) {
			n += m->type == CONTROL_LINK_DOWN;
			assert_non_null(strstr(m->link_down.reason, reason));
		}
	}
	return n;
}

/* Its many links end in portions, also while its domain ends, or both ends do. */
static void test_end_of_many_links(void **state)
{
	for (unsigned round = 0; round < 3; round++) {
		struct world *w =
			world_of("allow listen * on any\nallow connect * from any to any\n");
		uint64_t before;

		app_die(with_links(w));
		assert_in_range(links_down(w, "its process ended"), 1, N_LINKS / 2 + 4);
		if (round == 1)
			world_rebirth(w, 2);
		if (round == 2) {
			for (unsigned i = 1; i <= N_CALLERS; i++)
				app_die(&w->apps[i]);
		}
		before = broker_cost(w->broker);
		(void)broker_work(w->broker, 1);
		assert_true(cost_since(w, &before) < 500);
		(void)work_all(w);
		if (round < 2)
			assert_true(links_down(w, "its process ended") >= N_LINKS / 2 - 4);
		world_check(w);
		assert_int_equal(world_used(w, 2), 0);
		assert_null(w->broker->links);
		world_free(w);
	}
}

/* A domain is quiesced in portions; until an application is told, it is not heard. */
static void test_quiesce(void **state)
{
	for (unsigned round = 0; round < 2; round++) {
		struct world *w =
			world_of("allow listen * on any\nallow connect * from any to any\n");
		struct app *holder = with_links(w), *other = app_new(w, N_CALLERS + 1, 2, true);
		const struct control_message *m;
		uint64_t before = broker_cost(w->broker);

		assert_int_equal(broker_quiesce(w->broker, 2), 0);
		assert_true(cost_since(w, &before) < 1000);
		assert_int_equal(links_down(w, ""), 0);
		app_connect(other, 7, "app/none", 0, 0);
		TAKE_NOTHING(other);
		(void)broker_work(w->broker, 1);
		assert_in_range(links_down(w, "is quiesced"), 1, N_LINKS / 2 + 4);
		TAKE_NOTHING(holder);
		if (round == 1) /* it ends before all have been told: then they are */
			assert_int_equal(broker_resume(w->broker, 2), 0);
		else
			(void)work_all(w);
		assert_true(links_down(w, "is quiesced") >= N_LINKS / 2 - 4);
		TAKE(m, holder, CONTROL_QUIESCE);
		TAKE(m, other, CONTROL_QUIESCE);
		(void)work_all(w);
		assert_null(w->broker->links);
		world_check(w);
		world_free(w);
	}
}

/* Rules that speak of no name here, each of which is looked at, and one more. */
static void world_many_rules(struct world *w, const char *last)
{
	static char text[64 * 1000];
	size_t len = 0;

	for (unsigned i = 0; i < 1000; i++)
		len += (size_t)snprintf(
			text + len, 64, "deny connect *x%u* from nobody to any\n", i);
	strcpy(text + len, last);
	world_policy(w, text);
	(void)work_all(w);
}

static uint32_t connect_cost(
	struct world *w, struct app *app, const char *address, uint32_t *ret_error)
{
	const struct control_message *m;
	uint64_t before = broker_cost(w->broker);
	static uint32_t id = 100;

	app_connect(app, ++id, address, 0, 0);
	(void)work_all(w);
	TAKE(m, app, CONTROL_STATUS);
	*ret_error = m->status.error;
	return (uint32_t)(broker_cost(w->broker) - before);
}

/* A domain that asks for the same again is not judged by all rules again, until a fact changes. */
static void test_verdicts_are_kept(void **state)
{
	struct world *w = world_of("");
	struct app *app = app_new(w, 0, 3, true);
	uint32_t error;

	world_many_rules(w, "allow connect * from app to db\n");
	assert_true(connect_cost(w, app, "db/probe", &error) > 2000);
	assert_int_equal(error, ENOENT);
	assert_true(connect_cost(w, app, "db/probe", &error) < 1000);
	assert_int_equal(error, ENOENT);
	world_many_rules(w, "deny connect * from app to db\n");
	assert_true(connect_cost(w, app, "db/probe", &error) > 2000);
	assert_int_equal(error, EACCES);
	assert_true(connect_cost(w, app, "db/probe", &error) < 1000);
	assert_int_equal(error, EACCES);
	world_many_rules(w, "allow connect * from app to db\n");
	(void)connect_cost(w, app, "db/probe", &error);
	assert_int_equal(error, ENOENT);
	/* Of any domain likewise. */
	assert_true(connect_cost(w, app, "probe", &error) > 2000);
	assert_true(connect_cost(w, app, "probe", &error) < 1000);
	assert_int_equal(error, ENOENT);
	/* By another name it is not the domain that the rule speaks of. */
	world_rename(w, 3, "other");
	(void)connect_cost(w, app, "db/probe", &error);
	assert_int_equal(error, EACCES);
	world_rename(w, 3, "app");
	(void)connect_cost(w, app, "db/probe", &error);
	assert_int_equal(error, ENOENT);
	/* Nor without one. */
	world_rename(w, 3, "");
	(void)connect_cost(w, app, "db/probe", &error);
	assert_int_equal(error, EACCES);
	world_free(w);
}

/* However many domains hold a name, the rules that speak of it are looked for once. */
static void test_rules_are_found_once(void **state)
{
	struct world *w = world_of("");
	struct app *app = app_new(w, 0, 3, true);
	uint32_t error, one;

	world_many_rules(w, "allow listen * on any\nallow connect * from any to any\n");
	one = connect_cost(w, app, "nothing", &error);
	assert_int_equal(error, ENOENT);
	assert_int_equal(app_listen(app_new(w, 1, 1, true), 1, "trap", 1), 0);
	assert_int_equal(app_listen(app_new(w, 2, 2, true), 1, "trap", 1), 0);
	assert_int_equal(app_listen(app_new(w, 3, 5, true), 1, "trap", 1), 0);
	(void)work_all(w);
	assert_true(connect_cost(w, app, "trap", &error) < one + one / 2);
	assert_int_equal(error, ENOTUNIQ);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_other_domain),
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_turns),
		cmocka_unit_test(test_held_listens),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_ends_with_messages),
		cmocka_unit_test(test_each_costs),
		cmocka_unit_test(test_settling_costs),
		cmocka_unit_test(test_end_of_many_links),
		cmocka_unit_test(test_quiesce),
		cmocka_unit_test(test_verdicts_are_kept),
		cmocka_unit_test(test_rules_are_found_once),
		cmocka_unit_test(test_announced),
		cmocka_unit_test(test_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
