/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every allocation of the broker's handlers fails once: the n-th one of a scenario, for every n. A
 * failure is an answer or a reset with its reason, or a line in the log; nothing is leaked (ASan
 * sees it), every quota comes back, and the invariants of world-check.c hold after each event.
 *
 * The applications here answer whatever they get, so a scenario goes on after a failure.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "daemon/broker/link.h"
#include "daemon/broker/state.h"
#include "tests/support/failing-malloc.h"
#include "tests/unit/daemon/cmocka-all.h"
#include "tests/unit/daemon/world.h"

#define ALL "allow listen * on any\nallow connect * from any to any max-channels=100\n"

#define REQUESTS_MAX 256

/* The messages that the scenario has seen. */
struct seen {
	struct world *w;
	unsigned asked[REQUESTS_MAX], answered[REQUESTS_MAX]; /* by request id, all applications */
	unsigned n_no_memory; /* answers, resets and refusals for want of memory */
	uint32_t last_request;
	bool accept; /* applications accept and close what they are offered */
};

static void look_at_reason(struct seen *s, uint32_t error, const char *reason)
{
	if (error == 0)
		return;
	assert_string_not_equal(reason, "");
	if (error == ENOBUFS) {
		assert_string_equal(reason, "msgd is out of memory");
		s->n_no_memory++;
	}
}

static void say(struct seen *s, struct app *app, const struct control_message *message)
{
	if (app->process)
		(void)app_send(app, message);
	world_check(s->w);
}

static void answer_create(struct seen *s, struct app *app, const struct control_link_create *create)
{
	struct control_message offer = {.type = CONTROL_LINK_OFFER};

	offer.link_offer.end = create->end;
	offer.link_offer.port = create->transport == TRANSPORT_ARGO_STRICT ? 0 : 7;
	offer.link_offer.aport = create->transport == TRANSPORT_GRANT ? 0 : 5;
	say(s, app, &offer);
}

static void answer_bind(struct seen *s, struct app *app, const struct control_link_bind *bind)
{
	struct control_message ready = {.type = CONTROL_LINK_READY};

	ready.link_ready.end = bind->end;
	ready.link_ready.aport = bind->transport == TRANSPORT_GRANT ? 0 : 6;
	say(s, app, &ready);
}

static void answer_channel(struct seen *s, struct app *app, uint32_t end, uint32_t channel)
{
	struct control_message message = {.type = CONTROL_ACCEPTED};

	if (!s->accept)
		return;
	message.accepted.end = end;
	message.accepted.channel = channel;
	say(s, app, &message);
	message = (struct control_message){.type = CONTROL_CHANNEL_CLOSED};
	message.channel_closed.end = end;
	message.channel_closed.channel = channel;
	say(s, app, &message);
}

static void answer(struct seen *s, struct app *app, const struct control_message *m)
{
	struct control_message closed = {.type = CONTROL_CHANNEL_CLOSED};

	if ((m->type == CONTROL_STATUS || m->type == CONTROL_CONNECTED) && m->request &&
		m->request < REQUESTS_MAX)
		s->answered[m->request]++;
	switch (m->type) {
	case CONTROL_STATUS:
		look_at_reason(s, m->status.error, m->status.reason);
		break;
	case CONTROL_LINK_DOWN:
		look_at_reason(s, m->link_down.error, m->link_down.reason);
		if (strcmp(m->link_down.reason, "msgd is out of memory") == 0)
			s->n_no_memory++;
		break;
	case CONTROL_LINK_CREATE:
		answer_create(s, app, &m->link_create);
		break;
	case CONTROL_LINK_BIND:
		answer_bind(s, app, &m->link_bind);
		break;
	case CONTROL_CHANNEL:
		answer_channel(s, app, m->channel.end, m->channel.channel);
		break;
	case CONTROL_CONNECTED:
		if (!s->accept)
			break;
		closed.channel_closed.end = m->connected.end;
		closed.channel_closed.channel = m->connected.channel;
		say(s, app, &closed);
		break;
	}
}

/* Until no application has anything to read. */
static void pump(struct seen *s)
{
	const struct control_message *m;
	bool more = true;

	while (more) {
		more = false;
		for (unsigned i = 0; i < WORLD_APPS; i++) {
			while ((m = app_take(&s->w->apps[i]))) {
				struct control_message copy = *m;

				more = true;
				answer(s, &s->w->apps[i], &copy);
			}
		}
	}
}

static uint32_t ask(struct seen *s, struct app *app, struct control_message *message)
{
	if (!app->process)
		return 0;
	message->request = ++s->last_request;
	assert_in_range(message->request, 1, REQUESTS_MAX - 1);
	s->asked[message->request] = 1;
	say(s, app, message);
	return message->request;
}

static void listen_as(struct seen *s, struct app *app, uint32_t handle, const char *name)
{
	struct control_message message = {.type = CONTROL_LISTEN};

	message.listen.listener = handle;
	message.listen.type = CHANNEL_SEQPACKET;
	message.listen.backlog = 8;
	strcpy(message.listen.name, name);
	(void)ask(s, app, &message);
}

static uint32_t connect_to(
	struct seen *s, struct app *app, const char *address, uint32_t flags, uint32_t transport)
{
	struct control_message message = {.type = CONTROL_CONNECT};

	message.connect.type = CHANNEL_SEQPACKET;
	message.connect.flags = flags;
	message.connect.transport = transport;
	strcpy(message.connect.address, address);
	return ask(s, app, &message);
}

static void unlisten(struct seen *s, struct app *app, uint32_t handle)
{
	struct control_message message = {.type = CONTROL_UNLISTEN};

	message.unlisten.listener = handle;
	(void)ask(s, app, &message);
}

static void attach(struct seen *s, unsigned slot, uint16_t domid, bool found, bool reattach)
{
	struct app *app = &s->w->apps[slot];
	int r = app_attach(app, domid, found);

	if (r < 0) {
		/* As the shell does: it tries again later. */
		assert_int_equal(r, -ENOMEM);
		s->n_no_memory++;
		app->process = NULL;
		assert_int_equal(app_attach(app, domid, found), 0);
	}
	assert_int_equal(app_hello(app, true, reattach), 0);
	world_check(s->w);
}

/* Each request that was asked, of an application that was not dropped, had one answer. */
static void check_answers(const struct seen *s)
{
	for (uint32_t id = 1; id <= s->last_request; id++)
		assert_int_equal(s->answered[id], s->asked[id]);
}

/* ---- scenarios: begin() is safe, run() has an allocation that fails ---------------------- */

static void begin_nothing(struct seen *s)
{
}

static void run_life(struct seen *s)
{
	struct app *web = &s->w->apps[0], *db = &s->w->apps[1];
	struct control_message cancel = {.type = CONTROL_CANCEL};
	uint32_t waits;

	attach(s, 0, 1, false, false);
	attach(s, 1, 2, false, false);
	waits = connect_to(s, web, "db/late", CONNECT_WAIT_NAME, TRANSPORT_ANY);
	cancel.request = connect_to(s, web, "db/never", CONNECT_WAIT_NAME, TRANSPORT_ANY);
	say(s, web, &cancel);
	listen_as(s, db, 1, "echo");
	listen_as(s, db, 2, "late");
	pump(s);
	/* If the name found no memory, the caller waits for it still. */
	cancel.request = waits;
	if (!s->answered[waits])
		say(s, web, &cancel);
	s->accept = true;
	(void)connect_to(s, web, "db/echo", 0, TRANSPORT_GRANT);
	pump(s);
	(void)connect_to(s, web, "db/echo", 0, TRANSPORT_ARGO_STRICT);
	(void)connect_to(s, web, "echo", 0, TRANSPORT_ANY);
	pump(s);
	unlisten(s, db, 1);
	(void)connect_to(s, web, "db/echo", 0, TRANSPORT_ANY);
	pump(s);
	check_answers(s);
	app_die(db);
	world_check(s->w);
	pump(s);
}

/* Enough of everything that the hash tables grow. */
static void run_many(struct seen *s)
{
	char name[NAME_SIZE];

	attach(s, 0, 1, false, false);
	for (uint32_t i = 1; i <= 60; i++) {
		snprintf(name, sizeof(name), "name-%u", i);
		listen_as(s, &s->w->apps[0], i, name);
	}
	attach(s, 1, 2, false, false);
	for (uint32_t i = 1; i <= 60; i++) {
		snprintf(name, sizeof(name), "web/name-%u", i);
		(void)connect_to(s, &s->w->apps[1], name, 0, TRANSPORT_ANY);
	}
	pump(s);
	check_answers(s);
}

/* A web that stands, then a msgd that starts anew. */
static void begin_restart(struct seen *s)
{
	attach(s, 0, 1, false, false);
	attach(s, 1, 2, false, false);
	world_restart(s->w, ALL, NULL);
	for (unsigned i = 0; i < 2; i++)
		app_forget(&s->w->apps[i]);
	broker_recover(s->w->broker, 2);
}

static void announce_all(struct seen *s, unsigned slot, uint16_t peer, uint32_t role)
{
	struct app *app = &s->w->apps[slot];

	if (role == 1)
		listen_as(s, app, 9, "echo");
	(void)app_announce_link(app, 3, 77, peer, TRANSPORT_ARGO, role, 1);
	world_check(s->w);
	for (uint32_t channel = 1; channel <= 3; channel++) {
		(void)app_announce_channel(
			app, 3, channel, role == 1 ? 9 : 0, role == 1 && channel == 1, "echo");
		world_check(s->w);
	}
	(void)app_announce_done(app);
	world_check(s->w);
}

static void run_restart(struct seen *s)
{
	attach(s, 0, 1, true, true);
	announce_all(s, 0, 2, 0);
	attach(s, 1, 2, true, true);
	/* Both are held until all have announced. */
	attach(s, 2, 3, false, false);
	listen_as(s, &s->w->apps[2], 1, "held");
	(void)connect_to(s, &s->w->apps[2], "db/echo", 0, TRANSPORT_ANY);
	announce_all(s, 1, 1, 1);
	pump(s);
	check_answers(s);
}

static void begin_quiesce(struct seen *s)
{
	attach(s, 0, 1, false, false);
	attach(s, 1, 2, false, false);
	listen_as(s, &s->w->apps[1], 1, "echo");
	(void)connect_to(s, &s->w->apps[0], "db/echo", 0, TRANSPORT_ANY);
	pump(s);
}

static void run_quiesce(struct seen *s)
{
	struct broker_domain_info *last = &s->w->domains[s->w->n_domains - 1];

	assert_int_equal(broker_quiesce(s->w->broker, 1), 0);
	world_check(s->w);
	app_park(&s->w->apps[0]);
	world_check(s->w);
	assert_int_equal(broker_resume(s->w->broker, 1), 0);
	pump(s);
	/* Domain events: one domain is replaced under its domid, one appears. */
	last->generation++;
	s->w->domains[s->w->n_domains] = *last;
	s->w->domains[s->w->n_domains++].domid = 9;
	world_domains(s->w);
	world_check(s->w);
	world_remove_domain(s->w, 2);
	world_check(s->w);
	s->w->apps[1].process = NULL;
	attach(s, 0, 1, false, false);
	pump(s);
}

/* A listener whose ring is full: the broker keeps what it is to be told. */
static void run_full(struct seen *s)
{
	struct app *web = &s->w->apps[0], *db = &s->w->apps[1];

	(void)connect_to(s, web, "db/echo", 0, TRANSPORT_ANY);
	pump(s);
	db->full = true;
	(void)connect_to(s, web, "db/echo", 0, TRANSPORT_ANY);
	(void)connect_to(s, web, "db/echo", 0, TRANSPORT_GRANT);
	pump(s);
	/* As the shell does, in its next turn. */
	if (db->unsent)
		broker_violation(db->process, "out of memory for a control message");
	world_check(s->w);
	if (db->process)
		app_read(db);
	pump(s);
	check_answers(s);
}

static void begin_full(struct seen *s)
{
	attach(s, 0, 1, false, false);
	attach(s, 1, 2, false, false);
	listen_as(s, &s->w->apps[1], 1, "echo");
	pump(s);
}

static void every_allocation(void (*begin)(struct seen *s), void (*run)(struct seen *s))
{
	bool hit = true;

	for (unsigned n = 1; hit; n++) {
		struct seen *s = calloc(1, sizeof(*s));

		assert_non_null(s);
		s->w = world_new(ALL, NULL);
		begin(s);
		world_check(s->w);
		failing_malloc_set(n);
		run(s);
		hit = failing_malloc_end();
		for (unsigned i = 0; i < WORLD_APPS; i++)
			assert_false(s->w->apps[i].dropped && !s->w->apps[i].reason[0]);
		/* The failure showed, and only a failure did. */
		if (hit)
			assert_true(s->n_no_memory || world_logged(s->w, "out of memory"));
		else
			assert_false(s->n_no_memory || world_logged(s->w, "out of memory"));
		world_domains(s->w);
		world_free(s->w);
		free(s);
		assert_in_range(n, 1, 1000);
	}
}

static void test_life(void **state)
{
	every_allocation(begin_nothing, run_life);
}

static void test_many(void **state)
{
	every_allocation(begin_nothing, run_many);
}

static void test_restart(void **state)
{
	every_allocation(begin_restart, run_restart);
}

static void test_full(void **state)
{
	every_allocation(begin_full, run_full);
}

static void test_quiesce(void **state)
{
	every_allocation(begin_quiesce, run_quiesce);
}

/* ---- the reasons, and who is told ---------------------------------------------------------- */

/* Two that were there before, in domains 1 and 2, and the binder's end of a link. */
static void begin_link(struct seen *s)
{
	broker_recover(s->w->broker, 2);
	attach(s, 0, 1, true, true);
	attach(s, 1, 2, true, true);
	for (unsigned i = 0; i < 2; i++)
		app_forget(&s->w->apps[i]);
	(void)app_announce_link(&s->w->apps[1], 5, 77, 1, TRANSPORT_ARGO, 1, 1);
}

static void take_down(struct app *app, uint32_t error)
{
	const struct control_message *m;

	TAKE(m, app, CONTROL_LINK_DOWN);
	assert_int_equal(m->link_down.error, error);
	assert_string_equal(m->link_down.reason, "msgd is out of memory");
	TAKE_NOTHING(app);
}

/* The creator's announcement fails: its own words are refused, the other end is reset. */
static bool announce_with_failure(unsigned n)
{
	struct seen s = {.w = world_new(ALL, NULL)};
	struct app *web = &s.w->apps[0], *db = &s.w->apps[1];
	bool hit;

	begin_link(&s);
	failing_malloc_set(n);
	(void)app_announce_link(web, 3, 77, 2, TRANSPORT_ARGO, 0, 1);
	hit = failing_malloc_end();
	if (hit) {
		take_down(web, ENOBUFS);
		take_down(db, ECONNRESET);
	}
	TAKE_NOTHING(web);
	TAKE_NOTHING(db);
	assert_false(web->dropped || db->dropped);
	world_check(s.w);
	world_free(s.w);
	return hit;
}

static void test_announce_link(void **state)
{
	unsigned n = 1;

	while (announce_with_failure(n))
		n++;
	assert_in_range(n, 3, 20); /* its ends and the pairs have tables */
}

/* A channel whose announcement fails is gone for its announcer, and the log says why. */
static bool channel_with_failure(unsigned n, bool second)
{
	struct seen s = {.w = world_new(ALL, NULL)};
	struct app *web = &s.w->apps[0], *db = &s.w->apps[1];
	const struct control_message *m;
	bool hit;

	begin_link(&s);
	(void)app_announce_link(web, 3, 77, 2, TRANSPORT_ARGO, 0, 1);
	if (second)
		(void)app_announce_channel(web, 3, 9, 0, 0, "other");
	failing_malloc_set(n);
	(void)app_announce_channel(db, 5, 9, 1, 0, "db");
	hit = failing_malloc_end();
	if (hit && !second) {
		TAKE(m, db, CONTROL_CHANNEL_GONE);
		assert_int_equal(m->channel_gone.end, 5);
		assert_int_equal(m->channel_gone.channel, 9);
		assert_true(world_logged(
			s.w, "channel 9 of link 000000000000004d: msgd is out of memory"));
	}
	(void)app_announce_done(web);
	(void)app_announce_done(db);
	if (hit && second) {
		/* It has not the name that the listener says: it is none. */
		TAKE(m, db, CONTROL_CHANNEL_GONE);
		TAKE(m, web, CONTROL_CHANNEL_GONE);
	} else if (!hit && !second) {
		TAKE(m, db, CONTROL_CHANNEL_GONE); /* which the other end does not know */
	}
	TAKE_NOTHING(web);
	TAKE_NOTHING(db);
	world_check(s.w);
	world_free(s.w);
	return hit;
}

static void test_announce_channel(void **state)
{
	for (int second = 0; second < 2; second++) {
		unsigned n = 1;

		while (channel_with_failure(n, second))
			n++;
		assert_in_range(n, 2, 20);
	}
}

/* A link that cannot be settled ends for both. */
static bool settle_with_failure(unsigned n)
{
	struct seen s = {.w = world_new(ALL, NULL)};
	struct app *web = &s.w->apps[0], *db = &s.w->apps[1];
	bool hit;

	begin_link(&s);
	(void)app_announce_link(web, 3, 77, 2, TRANSPORT_ARGO, 0, 1);
	(void)app_announce_done(web);
	failing_malloc_set(n);
	(void)app_announce_done(db);
	hit = failing_malloc_end();
	if (hit) {
		take_down(web, ENOBUFS);
		take_down(db, ENOBUFS);
	}
	assert_int_equal(HASH_COUNT(s.w->broker->links), !hit);
	TAKE_NOTHING(web);
	TAKE_NOTHING(db);
	world_check(s.w);
	world_free(s.w);
	return hit;
}

static void test_settle(void **state)
{
	unsigned n = 1;

	while (settle_with_failure(n))
		n++;
	assert_in_range(n, 2, 20);
}

/* The lines about what was left undone. */
static void test_lines(void **state)
{
	struct seen s = {.w = world_new(ALL, NULL)};
	struct broker_domain_info *last = &s.w->domains[s.w->n_domains - 1];

	attach(&s, 0, 1, false, false);
	assert_int_equal(broker_quiesce(s.w->broker, 1), 0);
	failing_malloc_set(1);
	app_park(&s.w->apps[0]);
	assert_true(failing_malloc_end());
	assert_true(
		world_logged(s.w, "web(1): out of memory, the report of quiescing lacks pid 1001"));
	s.w->domains[s.w->n_domains] = *last;
	s.w->domains[s.w->n_domains++].domid = 9;
	for (unsigned n = 1; n <= 2; n++) {
		s.w->log[0] = '\0';
		failing_malloc_set(n);
		world_domains(s.w);
		assert_true(failing_malloc_end());
		assert_true(world_logged(s.w, "(9): out of memory"));
		assert_false(broker_has_domain(s.w->broker, 9));
	}
	/* The next list finds it. */
	world_domains(s.w);
	assert_true(broker_has_domain(s.w->broker, 9));
	world_free(s.w);
}

/* A request that finds no memory is answered, and a name is not taken. */
static bool requests_with_failure(unsigned n)
{
	struct control_message listen = {.type = CONTROL_LISTEN, .request = 1};
	struct seen s = {.w = world_new(ALL, NULL)};
	struct app *web = &s.w->apps[0];
	const struct control_message *m;
	bool hit;

	attach(&s, 0, 1, false, false);
	app_forget(web);
	listen.listen.listener = 1;
	listen.listen.type = CHANNEL_SEQPACKET;
	listen.listen.backlog = 1;
	strcpy(listen.listen.name, "db");
	failing_malloc_set(n);
	(void)app_send(web, &listen);
	app_connect(web, 2, "db/none", CONNECT_WAIT_NAME, TRANSPORT_ANY);
	hit = failing_malloc_end();
	TAKE(m, web, CONTROL_STATUS);
	if (hit) {
		if (m->status.error == 0)
			TAKE(m, web, CONTROL_STATUS);
		assert_int_equal(m->status.error, ENOBUFS);
		assert_string_equal(m->status.reason, "msgd is out of memory");
	}
	TAKE_NOTHING(web);
	world_check(s.w);
	assert_int_equal(world_used(s.w, 1), hit ? 2 : 3);
	world_free(s.w);
	return hit;
}

static void test_requests(void **state)
{
	unsigned n = 1;

	while (requests_with_failure(n))
		n++;
	assert_in_range(n, 5, 30);
}

static void test_new(void **state)
{
	struct broker *broker = NULL;
	struct broker_limits limits;

	broker_limits_default(&limits);
	failing_malloc_set(1);
	assert_int_equal(broker_new(NULL, NULL, &limits, NULL, 1, &broker), -ENOMEM);
	assert_true(failing_malloc_end());
	assert_null(broker);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_quiesce),
		cmocka_unit_test(test_announce_link),
		cmocka_unit_test(test_announce_channel),
		cmocka_unit_test(test_settle),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_new),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
