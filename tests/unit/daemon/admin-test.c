/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The admin protocol: requests, and what the answers say about a broker with something in it. */
#include <errno.h>
#include <string.h>

#include "base/macro.h"
#include "daemon/admin/socket.h"
#include "tests/unit/daemon/cmocka-all.h"
#include "tests/unit/daemon/world.h"

#define ALL "allow listen * on any\nallow connect * from any to any\n"

static void test_requests(void **state)
{
	static const struct {
		const char *line, *error;
	} bad[] = {
		{"", "not a JSON object"},
		{"status", "not a JSON object"},
		{"[\"op\"]", "not a JSON object"},
		{"{\"op\":\"status\"", "not a JSON object"},
		{"{\"op\":\"status\",\"op\":\"links\"}", "not a JSON object"},
		{"{}", "no op"},
		{"{\"op\":3}", "no op"},
		{"{\"op\":\"stat\"}", "unknown op"},
		{"{\"op\":\"links\",\"domain\":\"web\"}", "unknown key"},
		{"{\"op\":\"quiesce\"}", "no domain"},
		{"{\"op\":\"quiesce\",\"domain\":3}", "no domain"},
		{"{\"op\":\"quiesce\",\"domain\":\"\"}", "no domain"},
		{"{\"op\":\"quiesce\",\"domain\":\"w\",\"x\":1}", "unknown key"},
		{"{\"op\":\"quiesce\",\"domain\":\"w\",\"timeout_ms\":-1}",
			"timeout_ms is out of range"},
		{"{\"op\":\"quiesce\",\"domain\":\"w\",\"timeout_ms\":3600001}",
			"timeout_ms is out of range"},
		{"{\"op\":\"quiesce\",\"domain\":\"w\",\"timeout_ms\":\"1\"}",
			"timeout_ms is out of range"},
		{"{\"op\":\"resume\",\"domain\":\"w\",\"timeout_ms\":1}", "unknown key"},
	};
	struct admin_request request;
	const char *error;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(
			admin_request_parse(bad[i].line, strlen(bad[i].line), &request, &error),
			-EINVAL);
		assert_string_equal(error, bad[i].error);
	}
	for (int i = 0; i < ADMIN_OP_COUNT; i++) {
		json_t *object = json_pack("{s:s}", "op", admin_op_name(i));
		bool domain = i == ADMIN_QUIESCE || i == ADMIN_RESUME;
		char *line;

		if (domain)
			json_object_set_new(object, "domain", json_string("web"));
		line = json_dumps(object, 0);
		assert_int_equal(admin_request_parse(line, strlen(line), &request, &error), 0);
		assert_int_equal(request.op, i);
		assert_string_equal(request.domain, domain ? "web" : "");
		if (i == ADMIN_QUIESCE)
			assert_int_equal(request.timeout_ms, ADMIN_TIMEOUT_MS);
		free(line);
		json_decref(object);
	}
}

static const char *text_at(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static void test_views(void **state)
{
	struct world *w = world_new(ALL, NULL);
	struct app *caller = app_new(w, 0, 3, false), *holder = app_new(w, 1, 2, true);
	const struct control_message *m;
	json_t *answer, *row, *party;

	assert_int_equal(app_listen(holder, 1, "db", 4), 0);
	app_connect(caller, 1, "db", 0, 0);
	TAKE(m, caller, CONTROL_LINK_CREATE);
	app_offer(caller, m->link_create.end, 0);
	TAKE(m, holder, CONTROL_LINK_BIND);
	app_ready(holder, m->link_bind.end, 0);

	answer = admin_view(w->broker, ADMIN_STATUS, w->now_ns);
	assert_int_equal(json_integer_value(json_object_get(answer, "applications")), 2);
	assert_int_equal(json_integer_value(json_object_get(answer, "channels")), 1);
	json_decref(answer);

	answer = admin_view(w->broker, ADMIN_DOMAINS, w->now_ns);
	assert_int_equal(json_array_size(json_object_get(answer, "domains")), 6);
	json_decref(answer);

	answer = admin_view(w->broker, ADMIN_NAMES, w->now_ns + 5000000000);
	row = json_array_get(json_object_get(answer, "names"), 0);
	assert_string_equal(text_at(row, "name"), "db");
	assert_int_equal(json_integer_value(json_object_get(row, "offered")), 1);
	assert_int_equal(json_integer_value(json_object_get(row, "age_s")), 5);
	json_decref(answer);

	answer = admin_view(w->broker, ADMIN_LINKS, w->now_ns);
	row = json_array_get(json_object_get(answer, "links"), 0);
	assert_string_equal(text_at(row, "transport"), "grant");
	assert_string_equal(text_at(row, "reason"), "no Argo in app");
	assert_string_equal(text_at(row, "state"), "up");
	party = json_object_get(row, "creator");
	assert_string_equal(text_at(party, "domain"), "app");
	assert_string_equal(text_at(party, "comm"), "test");
	assert_int_equal(json_integer_value(json_object_get(party, "pid")), 1003);
	json_decref(answer);

	answer = admin_view(w->broker, ADMIN_CHANNELS, w->now_ns);
	row = json_array_get(json_object_get(answer, "channels"), 0);
	assert_string_equal(text_at(row, "name"), "db");
	assert_string_equal(text_at(row, "type"), "seqpacket");
	assert_string_equal(text_at(row, "state"), "offered");
	assert_string_equal(text_at(json_object_get(row, "from"), "domain"), "app");
	assert_string_equal(text_at(json_object_get(row, "to"), "domain"), "db");
	json_decref(answer);
	world_free(w);

	/* A link that only one end has announced: the other end has no process to show. */
	w = world_new(ALL, NULL);
	caller = &w->apps[0];
	broker_recover(w->broker, 2);
	assert_int_equal(app_attach(caller, 3, true), 0);
	assert_int_equal(app_hello(caller, false, true), 0);
	app_announce_link(caller, 1, 2, 5, TRANSPORT_GRANT, 0, 1);
	app_announce_channel(caller, 1, 1, 0, 0, "db");
	answer = admin_view(w->broker, ADMIN_LINKS, w->now_ns);
	row = json_array_get(json_object_get(answer, "links"), 0);
	assert_true(json_is_null(json_object_get(json_object_get(row, "binder"), "pid")));
	json_decref(answer);
	answer = admin_view(w->broker, ADMIN_CHANNELS, w->now_ns);
	assert_int_equal(json_array_size(json_object_get(answer, "channels")), 1);
	json_decref(answer);
	world_free(w);
}

/* The report of quiescing: which applications have confirmed, which have not, and why. */
static void test_quiesced(void **state)
{
	struct world *w = world_new(ALL, NULL);
	struct app *parks = app_new(w, 0, 2, false), *dies = app_new(w, 1, 2, false);
	struct app *stays = app_new(w, 2, 2, false);
	json_t *answer, *rows;

	assert_null(admin_view_quiesced(w->broker, 2));
	assert_int_equal(broker_quiesce(w->broker, 2), 0);
	assert_true(broker_quiesce_pending(w->broker, 2));
	app_park(parks);
	app_die(dies);
	answer = admin_view_quiesced(w->broker, 2);
	assert_string_equal(text_at(answer, "domain"), "db");
	assert_true(json_is_false(json_object_get(answer, "quiesced")));
	rows = json_object_get(answer, "applications");
	assert_int_equal(json_array_size(rows), 3);
	assert_true(json_is_false(json_object_get(json_array_get(rows, 0), "confirmed")));
	assert_non_null(strstr(text_at(json_array_get(rows, 0), "reason"), "has not answered"));
	assert_true(json_is_true(json_object_get(json_array_get(rows, 1), "confirmed")));
	assert_true(json_is_false(json_object_get(json_array_get(rows, 2), "confirmed")));
	assert_string_equal(text_at(json_array_get(rows, 2), "reason"), "it has ended");
	json_decref(answer);
	app_park(stays);
	assert_false(broker_quiesce_pending(w->broker, 2));
	answer = admin_view_quiesced(w->broker, 2);
	assert_true(json_is_true(json_object_get(answer, "quiesced")));
	json_decref(answer);
	answer = admin_view(w->broker, ADMIN_DOMAINS, w->now_ns);
	assert_string_equal(text_at(json_array_get(json_object_get(answer, "domains"), 2), "state"),
		"quiesced");
	json_decref(answer);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_views),
		cmocka_unit_test(test_quiesced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
