/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Audit and other records of the broker: which decisions are recorded, and the fields of each. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "base/macro.h"
#include "daemon/broker/message-id.h"
#include "daemon/broker/state.h"
#include "daemon/shell/fields.h"
#include "tests/unit/daemon/cmocka-all.h"
#include "tests/unit/daemon/world.h"

#define ALL "allow listen * on any\nallow connect * from any to any\n"

/* ---- records -------------------------------------------------------------------------------- */

/* The last ones, as "NAME=VALUE\n" of each field, in their order. */
#define RECORDS 64U

static struct {
	int priority;
	bool audit;
	char fields[1024];
	char text[512];
} records[RECORDS];
static unsigned n_records;

static void on_line(int priority, const struct broker_line *line, const char *text)
{
	struct line_fields fields;
	size_t len = 0;
	unsigned i = n_records++ % RECORDS;

	line_fields(line, &fields);
	records[i].priority = priority;
	records[i].audit = line->audit;
	records[i].fields[0] = '\0';
	for (size_t f = 0; f < fields.n; f++)
		len += (size_t)snprintf(records[i].fields + len, sizeof(records[i].fields) - len,
			"%s=%s\n", fields.fields[f].name, fields.fields[f].value);
	(void)snprintf(records[i].text, sizeof(records[i].text), "%s", text);
}

static struct world *world_heard(const char *rules, const struct broker_limits *limits)
{
	struct world *w = world_new(rules, limits);

	n_records = 0;
	w->on_line = on_line;
	return w;
}

/* The record of this id, of which there is exactly one: its number. */
static unsigned record_of(const char *id)
{
	char field[64];
	unsigned found = RECORDS;

	(void)snprintf(field, sizeof(field), "MESSAGE_ID=%s\n", id);
	assert_true(n_records <= RECORDS);
	for (unsigned i = 0; i < n_records; i++) {
		if (strncmp(records[i].fields, field, strlen(field)) != 0)
			continue;
		assert_int_equal(found, RECORDS);
		found = i;
	}
	assert_int_not_equal(found, RECORDS);
	return found;
}

/* Its fields behind the id. */
#define RECORD_IS(id, priority_is, audit_is, fields_are)                                           \
	do {                                                                                       \
		unsigned at_ = record_of(id);                                                      \
		assert_int_equal(records[at_].priority, priority_is);                              \
		assert_int_equal(records[at_].audit, audit_is);                                    \
		assert_string_equal(strchr(records[at_].fields, '\n') + 1, fields_are);            \
	} while (0)

static unsigned n_audit(void)
{
	unsigned n = 0;

	assert_true(n_records <= RECORDS);
	for (unsigned i = 0; i < n_records; i++)
		n += records[i].audit;
	return n;
}

/* ---- decisions ------------------------------------------------------------------------------ */

static void connect_through(struct app *caller, struct app *holder, const char *address)
{
	const struct control_message *m;
	uint32_t ends[2];

	app_connect(caller, 1, address, 0, 0);
	make_link(caller, holder, false, ends);
	TAKE(m, caller, CONTROL_CONNECTED);
}

/* Of the event that came last. */
static unsigned long long last_link(const struct world *w)
{
	return TAILQ_LAST(&broker_history(w->broker)->events, history_events)->link;
}

#define WANT 512U

/* Of the first channel of app(3) to db(2)/db over this link. */
static void channel_fields(char ret_fields[WANT], unsigned long long link)
{
	(void)snprintf(ret_fields, WANT,
		"MSG_DOMAIN=app\nMSG_DOMID=3\nMSG_PID=1003\nMSG_PEER_DOMAIN=db\nMSG_PEER_DOMID=2\n"
		"MSG_NAME=db\nMSG_LINK=%016llx\nMSG_CHANNEL=1\nMSG_RULE=test.policy:2\n"
		"MSG_TRANSPORT=grant\n",
		link);
}

static void test_permitted(void **state)
{
	struct world *w = world_heard(ALL, NULL);
	struct app *caller = app_new(w, 0, 3, false), *holder = app_new(w, 1, 2, false);
	char want[WANT];

	broker_set_audit(w->broker, BROKER_AUDIT_ALL);
	assert_int_equal(app_listen(holder, 1, "db", 4), 0);
	connect_through(caller, holder, "domid:2/db");
	RECORD_IS(MESSAGE_ID_LISTEN_PERMITTED, LOG_INFO, true,
		"MSG_DOMAIN=db\nMSG_DOMID=2\nMSG_PID=1002\nMSG_NAME=db\nMSG_RULE=test.policy:1\n");
	channel_fields(want, last_link(w));
	RECORD_IS(MESSAGE_ID_CONNECT_PERMITTED, LOG_INFO, true, want);
	assert_int_equal(n_audit(), 2);
	world_free(w);
}

static void test_refused(void **state)
{
	struct world *w = world_heard("deny connect x from app to any\n", NULL);
	struct app *app = app_new(w, 0, 3, false);
	const struct control_message *m;

	assert_int_equal(app_listen(app, 1, "mine", 1), EACCES);
	RECORD_IS(MESSAGE_ID_LISTEN_REFUSED, LOG_NOTICE, true,
		"MSG_DOMAIN=app\nMSG_DOMID=3\nMSG_PID=1003\nMSG_NAME=mine\nERRNO=13\n"
		"MSG_RULE=no rule\n");
	app_connect(app, 2, "db/x", 0, 0);
	TAKE(m, app, CONTROL_STATUS);
	assert_int_equal(m->status.error, EACCES);
	RECORD_IS(MESSAGE_ID_CONNECT_REFUSED, LOG_NOTICE, true,
		"MSG_DOMAIN=app\nMSG_DOMID=3\nMSG_PID=1003\nMSG_PEER_DOMAIN=db\nMSG_NAME=x\n"
		"ERRNO=13\nMSG_RULE=test.policy:1\n");
	assert_int_equal(n_audit(), 2);
	world_free(w);
}

/* Policy permits it, the administrator does not: the reason stands in the place of a rule. */
static void test_blocked(void **state)
{
	struct world *w = world_heard(ALL, NULL);
	struct app *app = app_new(w, 0, 3, false);
	struct broker_target target = {.domid = 3, .name = "mine", .domain = "app"};

	assert_int_equal(broker_block(w->broker, &target), 0);
	assert_int_equal(app_listen(app, 1, "mine", 1), EACCES);
	RECORD_IS(MESSAGE_ID_LISTEN_REFUSED, LOG_NOTICE, true,
		"MSG_DOMAIN=app\nMSG_DOMID=3\nMSG_PID=1003\nMSG_NAME=mine\nERRNO=13\n"
		"MSG_REASON=blocked by the administrator\n");
	assert_true(world_logged(w, "refused: app(3) pid 1003 (test) listens as mine (blocked by "
				    "the administrator)"));
	target.name = "";
	assert_int_equal(broker_block(w->broker, &target), 0);
	assert_int_equal(app_attach(&w->apps[1], 3, false), 0);
	assert_int_equal(app_hello(&w->apps[1], false, false), 0);
	RECORD_IS(MESSAGE_ID_ATTACH_REFUSED, LOG_NOTICE, true,
		"MSG_DOMAIN=app\nMSG_DOMID=3\nMSG_PID=1003\nERRNO=13\n"
		"MSG_REASON=blocked by the administrator\n");
	world_free(w);
}

/* audit= is for the decisions about which no rule says log=. */
static void test_audit_and_log(void **state)
{
	static const struct {
		enum broker_audit audit;
		unsigned n; /* of: refused, permitted; the same with log=yes; with log=no */
	} cases[] = {
		{BROKER_AUDIT_NONE, 2},
		{BROKER_AUDIT_REFUSED, 3},
		{BROKER_AUDIT_ALL, 4},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct world *w = world_heard("allow listen a on any\n"
					      "deny listen b on any log=yes\n"
					      "allow listen c on any log=yes\n"
					      "deny listen d on any log=no\n"
					      "allow listen e on any log=no\n",
			NULL);
		struct app *app = app_new(w, 0, 1, false);

		broker_set_audit(w->broker, cases[i].audit);
		for (uint32_t name = 0; name < 6; name++) {
			char text[2] = {(char)('a' + name), '\0'};

			assert_int_equal(app_listen(app, 1 + name, text, 1),
				name == 1 || name == 3 || name == 5 ? EACCES : 0);
		}
		assert_int_equal(n_audit(), cases[i].n);
		world_free(w);
	}
}

/* A limit is no decision of policy's: a line of its own, and no audit record. */
static void test_limit(void **state)
{
	struct broker_limits limits;
	struct world *w;
	struct app *app;

	broker_limits_default(&limits);
	limits.quota[QUOTA_NAMES] = 0;
	w = world_heard(ALL, &limits);
	app = app_new(w, 0, 2, false);
	broker_set_audit(w->broker, BROKER_AUDIT_ALL);
	assert_int_equal(app_listen(app, 1, "db", 1), EDQUOT);
	RECORD_IS(MESSAGE_ID_LIMIT, LOG_NOTICE, false, "MSG_DOMAIN=db\nMSG_DOMID=2\n");
	assert_int_equal(n_audit(), 0);
	world_free(w);
}

/* ---- other records -------------------------------------------------------------------------- */

/* The channel of app(3) to db(2)/db. */
static void test_revoked(void **state)
{
	struct world *w = world_heard(ALL, NULL);
	struct app *caller = app_new(w, 0, 3, false), *holder = app_new(w, 1, 2, false);
	char want[WANT];
	unsigned long long link;

	assert_int_equal(app_listen(holder, 1, "db", 4), 0);
	connect_through(caller, holder, "db");
	link = last_link(w);
	world_policy(w, "\ndeny connect db from any to any\n");
	RECORD_IS(MESSAGE_ID_NAME_REVOKED, LOG_NOTICE, false,
		"MSG_DOMAIN=db\nMSG_DOMID=2\nMSG_NAME=db\n");
	channel_fields(want, link);
	RECORD_IS(MESSAGE_ID_CHANNEL_REVOKED, LOG_NOTICE, false, want);
	world_free(w);
}

static void test_link_failed(void **state)
{
	struct world *w = world_heard(ALL, NULL);
	struct app *caller = app_new(w, 0, 3, false), *holder = app_new(w, 1, 2, false);
	const struct control_message *m;
	char want[WANT];
	unsigned long long link;

	assert_int_equal(app_listen(holder, 1, "db", 4), 0);
	connect_through(caller, holder, "db");
	link = last_link(w);
	TAKE(m, holder, CONTROL_CHANNEL);
	app_failed(holder, m->channel.end, EPROTO, "a lie\nMSG_RULE=none");
	(void)snprintf(want, sizeof(want),
		"MSG_DOMAIN=db\nMSG_DOMID=2\nMSG_PID=1002\nMSG_PEER_DOMAIN=app\nMSG_PEER_DOMID=3\n"
		"MSG_LINK=%016llx\nERRNO=71\nMSG_REASON=a lie",
		link);
	assert_memory_equal(strchr(records[record_of(MESSAGE_ID_LINK_FAILED)].fields, '\n') + 1,
		want, strlen(want));
	world_free(w);
}

static void test_ends(void **state)
{
	struct world *w = world_heard(ALL, NULL);
	struct app *app = app_new(w, 0, 1, false);
	struct control_message bad = {.type = CONTROL_LINK_READY, .link_ready = {.end = 99}};

	app_die(app);
	RECORD_IS(MESSAGE_ID_GONE, LOG_INFO, false,
		"MSG_DOMAIN=web\nMSG_DOMID=1\nMSG_PID=1001\nMSG_REASON=its process ended\n");
	app = app_new(w, 1, 2, false);
	(void)app_send(app, &bad);
	assert_true(app->dropped);
	assert_non_null(strstr(records[record_of(MESSAGE_ID_DROPPED)].fields,
		"MSG_DOMAIN=db\nMSG_DOMID=2\nMSG_PID=1002\nMSG_REASON="));
	assert_int_equal(records[record_of(MESSAGE_ID_DROPPED)].priority, LOG_WARNING);
	world_free(w);
}

/* Not by its own doing: by the administrator, one and all of a domain, and with its domain. */
static void test_dropped(void **state)
{
	struct world *w = world_heard(ALL, NULL);
	struct broker_target target = {.domid = 1, .pid = 1001};
	static const char kicked[] =
		"MSG_DOMAIN=web\nMSG_DOMID=1\nMSG_PID=1001\nMSG_REASON=by the administrator\n";

	(void)app_new(w, 0, 1, false);
	assert_int_equal(broker_kick_application(w->broker, &target), 0);
	RECORD_IS(MESSAGE_ID_KICKED, LOG_NOTICE, false, kicked);
	n_records = 0;
	(void)app_new(w, 1, 1, false);
	assert_int_equal(broker_kick_domain(w->broker, &target), 0);
	RECORD_IS(MESSAGE_ID_KICKED, LOG_NOTICE, false, kicked);
	n_records = 0;
	(void)app_new(w, 2, 1, false);
	world_remove_domain(w, 1);
	RECORD_IS(MESSAGE_ID_GONE, LOG_INFO, false,
		"MSG_DOMAIN=web\nMSG_DOMID=1\nMSG_PID=1001\nMSG_REASON=its domain is gone\n");
	world_free(w);
}

static void test_quiesce(void **state)
{
	struct world *w = world_heard(ALL, NULL);

	assert_int_equal(broker_quiesce(w->broker, 1), 0);
	RECORD_IS(MESSAGE_ID_QUIESCED, LOG_NOTICE, false, "MSG_DOMAIN=web\nMSG_DOMID=1\n");
	assert_int_equal(broker_resume(w->broker, 1), 0);
	RECORD_IS(MESSAGE_ID_RESUMED, LOG_NOTICE, false,
		"MSG_DOMAIN=web\nMSG_DOMID=1\nMSG_REASON=msgctl\n");
	world_free(w);
}

static void test_admin(void **state)
{
	struct world *w = world_heard(ALL, NULL);

	broker_note_client(w->broker, HISTORY_ADMIN, 1000, 77, 0, "kick pid 5", NULL);
	RECORD_IS(MESSAGE_ID_ADMIN, LOG_NOTICE, true,
		"MSG_CLIENT_UID=1000\nMSG_CLIENT_PID=77\nMSG_ACTION=kick pid 5\n");
	broker_note_client(w->broker, HISTORY_ADMIN, 1000, 78, EPERM, "reload", NULL);
	RECORD_IS(MESSAGE_ID_ADMIN_REFUSED, LOG_NOTICE, true,
		"MSG_CLIENT_UID=1000\nMSG_CLIENT_PID=78\nERRNO=1\nMSG_ACTION=reload\n");
	assert_true(world_logged(w, "refused: user 1000 (pid 78): reload"));
	n_records = 0;
	broker_note_client(w->broker, HISTORY_ADMIN, 0, 78, EPERM, "quiesce domain=domid:0", "no");
	RECORD_IS(MESSAGE_ID_ADMIN, LOG_NOTICE, true,
		"MSG_CLIENT_UID=0\nMSG_CLIENT_PID=78\nERRNO=1\nMSG_ACTION=quiesce domain=domid:0\n"
		"MSG_REASON=no\n");
	assert_true(world_logged(w, "failed: user 0 (pid 78): quiesce domain=domid:0: no"));
	assert_string_equal(TAILQ_LAST(&broker_history(w->broker)->events, history_events)->text,
		"quiesce domain=domid:0: no");
	/* A client of another PID namespace has no number here. */
	n_records = 0;
	broker_note_client(w->broker, HISTORY_ADMIN, 1000, 0, 0, "reload", NULL);
	RECORD_IS(MESSAGE_ID_ADMIN, LOG_NOTICE, true,
		"MSG_CLIENT_UID=1000\nMSG_CLIENT_PID=0\nMSG_ACTION=reload\n");
	broker_set_audit(w->broker, BROKER_AUDIT_NONE);
	n_records = 0;
	broker_note_client(w->broker, HISTORY_ADMIN, 1000, 79, 0, "reload", NULL);
	assert_int_equal(n_records, 0);
	world_free(w);
}

/* ---- floods --------------------------------------------------------------------------------- */

/*
 * A domain that is refused again and again has its hundred records, and no more: one says that
 * others are left out, and one, later, how many.
 */
static void test_flood(void **state)
{
	struct world *w = world_heard("allow listen a on any\n", NULL);
	struct app *app = app_new(w, 0, 1, false);
	unsigned last;

	broker_set_audit(w->broker, BROKER_AUDIT_ALL);
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(app_listen(app, 1 + i, "b", 1), EACCES);
	assert_int_equal(n_records, 101);
	last = 100 % RECORDS;
	assert_string_equal(
		records[last].text, "web(1): too many lines: further ones are left out");
	assert_string_equal(records[last].fields,
		"MESSAGE_ID=" MESSAGE_ID_LEFT_OUT "\nMSG_DOMAIN=web\nMSG_DOMID=1\n");
	assert_int_equal(records[last].priority, LOG_WARNING);
	assert_true(records[last].audit);
	world_pass(w, UINT64_C(1000000000));
	assert_int_equal(app_listen(app, 2000, "a", 1), 0);
	assert_int_equal(n_records, 103);
	assert_string_equal(
		records[101 % RECORDS].text, "web(1): 900 lines about it were left out");
	assert_non_null(
		strstr(records[102 % RECORDS].fields, "MESSAGE_ID=" MESSAGE_ID_LISTEN_PERMITTED));
	/* Others are heard meanwhile. */
	app = app_new(w, 1, 2, false);
	assert_int_equal(app_listen(app, 1, "b", 1), EACCES);
	assert_int_equal(n_records, 104);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_permitted),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_blocked),
		cmocka_unit_test(test_audit_and_log),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_revoked),
		cmocka_unit_test(test_link_failed),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_dropped),
		cmocka_unit_test(test_quiesce),
		cmocka_unit_test(test_admin),
		cmocka_unit_test(test_flood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
