/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The lists of the admin protocol: applications, and what filters pass by. */
#include <stdio.h>
#include <string.h>

#include "base/macro.h"
#include "daemon/admin/view.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/process.h"
#include "tests/unit/daemon/cmocka-all.h"
#include "tests/unit/daemon/world.h"

#define ALL "allow listen * on any\nallow connect * from any to any\n"

static struct admin_request parsed(const char *line)
{
	struct admin_request request;
	const char *error = "";
	char text[256];

	(void)snprintf(text, sizeof(text), "%s", line);
	for (char *at = text; (at = strchr(at, '\'')); at++)
		*at = '"';
	if (admin_request_parse(text, strlen(text), &request, &error) < 0)
		fail_msg("%s: %s", text, error);
	return request;
}

/* The whole list, in as many portions as it takes; ret_portions may be NULL. */
static json_t *list(const struct world *w, const char *line, unsigned *ret_portions)
{
	struct admin_request request = parsed(line);
	json_t *all = json_array();
	unsigned n = 0;
	bool more = true;

	while (more) {
		json_t *answer = admin_view(w->broker, &request, w->now_ns);
		const json_t *rows = json_object_get(answer, admin_op_name(request.op));
		size_t next = (size_t)json_integer_value(json_object_get(answer, "next"));
		size_t end = (size_t)json_integer_value(json_object_get(answer, "all"));

		assert_true(next >= request.from && next <= end);
		assert_true(json_array_size(rows) <= ADMIN_ROWS_A_TURN);
		more = next < end && request.n_rows + json_array_size(rows) < ADMIN_ROWS_MAX;
		assert_true(!more || next > request.from);
		request.from = next;
		request.n_rows += json_array_size(rows);
		assert_int_equal(json_array_extend(all, (json_t *)rows), 0);
		json_decref(answer);
		n++;
	}
	if (ret_portions)
		*ret_portions = n;
	return all;
}

/* The list has so many rows, and the text at this key in the first is so. */
static void lists(
	const struct world *w, const char *line, size_t n, const char *key, const char *want)
{
	json_t *rows = list(w, line, NULL);
	const char *got = json_string_value(json_object_get(json_array_get(rows, 0), key));

	if (json_array_size(rows) != n)
		fail_msg("%s: %zu rows: %s", line, json_array_size(rows), json_dumps(rows, 0));
	if (want)
		assert_string_equal(got, want);
	json_decref(rows);
}

/* Two links, of grant from app to db and of argo from web to vault; a domain that is paused. */
static struct world *two_links(void)
{
	struct world *w = world_new(ALL, NULL);
	struct app *caller = app_new(w, 0, 3, false), *holder = app_new(w, 1, 2, true);
	struct app *other = app_new(w, 2, 1, true), *vault = app_new(w, 3, 5, true);
	const struct control_message *m;

	assert_int_equal(app_listen(holder, 1, "db", 1), 0);
	app_connect(caller, 1, "db", 0, 0);
	TAKE(m, caller, CONTROL_LINK_CREATE);
	app_offer(caller, m->link_create.end, 0);
	TAKE(m, holder, CONTROL_LINK_BIND);
	app_ready(holder, m->link_bind.end, 0);
	assert_int_equal(app_listen(vault, 1, "secret", 4), 0);
	app_connect(other, 1, "secret", 0, 0);
	w->domains[4].paused = true;
	world_domains(w);
	return w;
}

static void test_filters(void **state)
{
	struct world *w = two_links();

	lists(w, "{'op':'domains'}", 6, NULL, NULL);
	lists(w, "{'op':'domains','domain':'web'}", 2, "name", "web");
	lists(w, "{'op':'domains','domain':'domid:2'}", 1, "name", "db");
	lists(w, "{'op':'domains','domain':'uuid:15151515-1515-1515-1515-151515151515'}", 1, "name",
		"vault");
	lists(w, "{'op':'domains','state':'paused'}", 1, "name", "web");
	lists(w, "{'op':'domains','state':'dying'}", 0, NULL, NULL);
	lists(w, "{'op':'applications'}", 4, NULL, NULL);
	lists(w, "{'op':'applications','domain':'vault'}", 1, "domain", "vault");
	lists(w, "{'op':'applications','pid':1003}", 1, "domain", "app");
	lists(w, "{'op':'applications','state':'ready'}", 4, NULL, NULL);
	lists(w, "{'op':'applications','state':'quiescing'}", 0, NULL, NULL);
	lists(w, "{'op':'names','name':'s*'}", 1, "name", "secret");
	lists(w, "{'op':'names','name':'?b'}", 1, "name", "db");
	lists(w, "{'op':'names','state':'full'}", 1, "name", "db");
	lists(w, "{'op':'names','domain':'vault','name':'db'}", 0, NULL, NULL);
	lists(w, "{'op':'links','transport':'grant'}", 1, "state", "up");
	lists(w, "{'op':'links','transport':'argo'}", 1, "state", "creating");
	lists(w, "{'op':'links','transport':'argo-strict'}", 0, NULL, NULL);
	lists(w, "{'op':'links','state':'creating'}", 1, "transport", "argo");
	lists(w, "{'op':'links','domain':'db'}", 1, "transport", "grant");
	lists(w, "{'op':'links','domain':'app'}", 1, "transport", "grant");
	lists(w, "{'op':'links','domain':'db','pid':1003}", 0, NULL, NULL);
	lists(w, "{'op':'links','domain':'app','pid':1003}", 1, "transport", "grant");
	lists(w, "{'op':'links','link':'1122334455667789'}", 1, "transport", "grant");
	lists(w, "{'op':'channels'}", 1, "name", "db");
	lists(w, "{'op':'channels','channel':1}", 1, "name", "db");
	lists(w, "{'op':'channels','channel':2}", 0, NULL, NULL);
	lists(w, "{'op':'channels','name':'x'}", 0, NULL, NULL);
	lists(w, "{'op':'channels','state':'offered'}", 1, "name", "db");
	lists(w, "{'op':'channels','state':'open'}", 0, NULL, NULL);
	lists(w, "{'op':'channels','domain':'vault'}", 0, NULL, NULL);
	world_free(w);
}

/* The end of a link that has not come back is known by its domain. */
static void test_announced_end(void **state)
{
	struct world *w = world_new(ALL, NULL);
	struct app *caller = &w->apps[0];

	broker_recover(w->broker, 2);
	assert_int_equal(app_attach(caller, 3, true), 0);
	assert_int_equal(app_hello(caller, false, true), 0);
	app_announce_link(caller, 1, 2, 5, TRANSPORT_GRANT, 0, 1);
	lists(w, "{'op':'links','domain':'vault'}", 1, "state", "announced");
	lists(w, "{'op':'links','domain':'domid:5'}", 1, "state", "announced");
	lists(w, "{'op':'links','domain':'db'}", 0, NULL, NULL);
	lists(w, "{'op':'links','domain':'vault','pid':1}", 0, NULL, NULL);
	lists(w, "{'op':'applications','state':'announcing'}", 1, "domain", "app");
	world_free(w);
}

static void expect_row(json_t *row, const char *key, json_int_t want)
{
	json_int_t got = json_integer_value(json_object_get(row, key));

	if (got != want)
		fail_msg("%s is %lld, not %lld", key, (long long)got, (long long)want);
}

/* An application holds its control link, and its part of each link. */
static void test_applications(void **state)
{
	struct world *w = two_links();
	json_t *rows = list(w, "{'op':'applications','domain':'app'}", NULL), *row;

	row = json_array_get(rows, 0);
	expect_row(row, "domid", 3);
	expect_row(row, "pid", 1003);
	expect_row(row, "names", 0);
	expect_row(row, "links", 1);
	expect_row(row, "channels", 1);
	expect_row(row, "ports", 2);
	expect_row(row, "rings", 0);
	expect_row(row, "granted_pages", 5 + 2 + 2 * 32);
	expect_row(row, "mapped_pages", 0);
	expect_row(row, "domain_memory", domain_find(w->broker, 3)->bytes);
	json_decref(rows);
	rows = list(w, "{'op':'applications','domain':'db'}", NULL);
	row = json_array_get(rows, 0);
	expect_row(row, "names", 1);
	expect_row(row, "granted_pages", 5);
	expect_row(row, "mapped_pages", 2 + 2 * 32);
	json_decref(rows);
	rows = list(w, "{'op':'applications','domain':'domid:1'}", NULL);
	row = json_array_get(rows, 0);
	expect_row(row, "requests", 1);
	expect_row(row, "rings", 1);
	expect_row(row, "granted_pages", 5 + 1);
	json_decref(rows);
	world_free(w);
}

/* Counters of each domain, and how often each rule has refused. */
static void test_stats(void **state)
{
	struct world *w = world_new("deny connect x from any to any\n" ALL, NULL);
	struct app *app = app_new(w, 0, 3, false);
	json_t *rows, *row;

	for (uint32_t i = 1; i <= 3; i++)
		app_connect(app, i, "x", 0, 0);
	app_connect(app, 4, "db/none", 0, 0);
	rows = list(w, "{'op':'counts','domain':'app'}", NULL);
	row = json_array_get(rows, 0);
	expect_row(row, "domid", 3);
	expect_row(row, "attached", 1);
	expect_row(row, "refused", 3);
	expect_row(row, "failed", 1);
	expect_row(row, "connected", 0);
	json_decref(rows);
	rows = list(w, "{'op':'refusals'}", NULL);
	assert_int_equal(json_array_size(rows), 1);
	expect_row(json_array_get(rows, 0), "refused", 3);
	json_decref(rows);
	world_policy(w, ALL);
	lists(w, "{'op':'refusals'}", 0, NULL, NULL);
	world_free(w);
}

/* Blocks and limits, and the states that they make. */
static void test_steered(void **state)
{
	struct world *w = two_links();
	struct broker_target target = {.domid = 2, .name = "db"};
	struct broker_limits limits;
	json_t *rows;

	assert_int_equal(broker_drain(w->broker, &target), 0);
	lists(w, "{'op':'names','state':'drained'}", 1, "name", "db");
	assert_int_equal(broker_block(w->broker, &target), 0);
	lists(w, "{'op':'names','state':'blocked'}", 1, "name", "db");
	lists(w, "{'op':'blocks'}", 1, "name", "db");
	lists(w, "{'op':'blocks'}", 1, "domain", "db");
	broker_limits_default(&limits);
	limits.quota[QUOTA_NAMES] = 7;
	assert_int_equal(broker_set_domain_limits(w->broker, 2, &limits), 0);
	rows = list(w, "{'op':'limits','domain':'db'}", NULL);
	assert_true(json_is_true(json_object_get(json_array_get(rows, 0), "own")));
	expect_row(json_object_get(json_array_get(rows, 0), "limits"), "names", 7);
	expect_row(json_object_get(json_array_get(rows, 0), "used"), "names", 1);
	json_decref(rows);
	world_free(w);
}

/* A filter that passes much by takes several portions, and finds what is there all the same. */
static void test_work(void **state)
{
	struct world *w = world_new(ALL, NULL);
	char name[NAME_SIZE];
	unsigned n, id = 0;
	json_t *rows;

	for (unsigned slot = 0; slot < 24; slot++) {
		struct app *app = app_new(w, slot, (uint16_t)(slot / 5 + 1), false);

		for (unsigned i = 0; i < 190; i++) {
			(void)snprintf(name, sizeof(name), "n%u", id++);
			assert_int_equal(app_listen(app, i + 1, name, 4), 0);
		}
	}
	rows = list(w, "{'op':'names','name':'n4559'}", &n);
	assert_int_equal(json_array_size(rows), 1);
	assert_int_equal(n, 24 * 190 / ADMIN_LOOKS_A_TURN + 1);
	json_decref(rows);
	rows = list(w, "{'op':'names','name':'n*9'}", &n);
	assert_int_equal(json_array_size(rows), 456);
	assert_true(n > 456 / ADMIN_ROWS_A_TURN);
	json_decref(rows);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_filters),
		cmocka_unit_test(test_announced_end),
		cmocka_unit_test(test_applications),
		cmocka_unit_test(test_stats),
		cmocka_unit_test(test_steered),
		cmocka_unit_test(test_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
