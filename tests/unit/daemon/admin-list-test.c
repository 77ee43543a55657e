/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The lists of the admin protocol: applications, and what filters pass by. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "base/report.h"
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

static json_t *portion(
	const struct world *w, const struct admin_request *request, struct policy *tried)
{
	return tried ? admin_view_trial(w->broker, request, tried)
		     : admin_view(w->broker, request, w->now_ns);
}

/*
 * The whole list, in as many portions as it takes. tried: the policy of a dry run; ret_portions:
 * how many; ret_end: what follows the rows. Each may be NULL.
 */
static json_t *list_of(const struct world *w, const char *line, struct policy *tried,
	unsigned *ret_portions, json_t **ret_end)
{
	struct admin_request request = parsed(line);
	json_t *all = json_array();
	unsigned n = 0;
	bool more = true;

	while (more) {
		json_t *answer = portion(w, &request, tried);
		const json_t *rows = json_object_get(answer, admin_op_name(request.op));
		size_t next = (size_t)json_integer_value(json_object_get(answer, "next"));
		size_t end = (size_t)json_integer_value(json_object_get(answer, "all"));

		assert_true(next >= request.from && next <= end);
		assert_true(json_array_size(rows) <= ADMIN_ROWS_A_TURN);
		more = next < end && request.n_rows + json_array_size(rows) < ADMIN_ROWS_MAX;
		assert_true(!more || next > request.from);
		request.from = next;
		request.n_rows += json_array_size(rows);
		request.of = (uint64_t)json_integer_value(json_object_get(answer, "of"));
		if (ret_end && !more)
			*ret_end = json_incref(json_object_get(answer, "end"));
		assert_int_equal(json_array_extend(all, (json_t *)rows), 0);
		json_decref(answer);
		n++;
	}
	if (ret_portions)
		*ret_portions = n;
	return all;
}

static json_t *list(const struct world *w, const char *line, unsigned *ret_portions)
{
	return list_of(w, line, NULL, ret_portions, NULL);
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

/* ---- policy ---------------------------------------------------------------------------------- */

static const char *text_at(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "-";
}

/* n rules on a name, and what follows them. */
static char *many_rules(unsigned n, const char *rule, const char *rest)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (unsigned i = 0; i < n; i++) {
		(void)fprintf(out, rule, i);
		(void)fputc('\n', out);
	}
	(void)fputs(rest, out);
	assert_int_equal(fclose(out), 0);
	return text;
}

static void expect_error(
	const struct world *w, const struct admin_request *request, const char *want)
{
	json_t *answer = admin_view(w->broker, request, w->now_ns);

	assert_string_equal(text_at(answer, "error"), want);
	json_decref(answer);
}

/* The request that goes on after the first portion of the list. */
static struct admin_request after_first(const struct world *w, const char *line)
{
	struct admin_request request = parsed(line);
	json_t *answer = admin_view(w->broker, &request, w->now_ns);

	request.from = (uint64_t)json_integer_value(json_object_get(answer, "next"));
	request.of = (uint64_t)json_integer_value(json_object_get(answer, "of"));
	request.n_rows = ADMIN_ROWS_A_TURN;
	assert_int_equal(request.from, ADMIN_ROWS_A_TURN);
	json_decref(answer);
	return request;
}

static void test_policy_list(void **state)
{
	char *rules = many_rules(300, "allow  listen n%u on any", "");
	struct world *w = world_new(rules, NULL);
	struct app *app = app_new(w, 0, 3, false);
	struct admin_request request;
	json_t *rows, *end;
	unsigned n;

	assert_int_equal(app_listen(app, 1, "n299", 4), 0);
	rows = list_of(w, "{'op':'policy-list'}", NULL, &n, &end);
	assert_int_equal(json_array_size(rows), 300);
	assert_int_equal(n, 3);
	assert_string_equal(text_at(json_array_get(rows, 299), "text"), "allow listen n299 on any");
	assert_non_null(strstr(text_at(json_array_get(rows, 299), "rule"), ":300"));
	expect_row(json_array_get(rows, 299), "hits", 1);
	expect_row(json_array_get(rows, 298), "hits", 0);
	assert_int_equal(json_array_size(json_object_get(end, "policy_errors")), 0);
	json_decref(rows);
	json_decref(end);
	request = after_first(w, "{'op':'policy-list'}");
	world_policy(w, rules);
	expect_error(w, &request, "the policy has been reloaded meanwhile: ask again");
	free(rules);
	world_free(w);
}

/* The verdict, by the rule of this line (0: by none), on this target. */
static void judges(const struct world *w, const char *line, bool allowed, unsigned rule,
	const char *to, bool there)
{
	json_t *end = NULL, *rows = list_of(w, line, NULL, NULL, &end), *last, *asked;
	const char *place;

	last = json_array_get(rows, json_array_size(rows) - 1);
	place = strrchr(text_at(end, "rule"), ':');
	asked = json_object_get(end, "to");
	assert_true(json_is_true(json_object_get(last, "decides")));
	if (json_is_true(json_object_get(end, "allowed")) != allowed ||
		(place ? strtoul(place + 1, NULL, 10) : 0) != rule ||
		strcmp(text_at(asked, "name"), to) != 0 ||
		json_is_true(json_object_get(asked, "there")) != there)
		fail_msg("%s: %s", line, json_dumps(end, 0));
	json_decref(rows);
	json_decref(end);
}

static void test_policy_test(void **state)
{
	struct world *w = world_new("allow listen db on any\n"
				    "deny connect db from app to vault\n"
				    "allow connect db from app to any\n"
				    "allow connect db from any to domid:9\n"
				    "allow connect x from any to default target=db\n"
				    "allow connect y from any to vault\n"
				    "allow listen z on any\n"
				    "allow connect z from any to db target=vault\n"
				    "allow connect z from any to any\n",
		NULL);
	struct app *db = app_new(w, 0, 2, false), *vault = app_new(w, 1, 5, false);
	struct admin_request request;

	judges(w, "{'op':'policy-test','domain':'app','name':'db','to':'db'}", true, 3, "db", true);
	judges(w, "{'op':'policy-test','domain':'domid:3','name':'db','to':'domid:5'}", false, 2,
		"vault", true);
	judges(w, "{'op':'policy-test','domain':'db','name':'db','to':'app'}", false, 0, "app",
		true);
	/* Of one that is not there, a rule on another fact does not allow, and denies. */
	judges(w, "{'op':'policy-test','domain':'app','name':'db','to':'domid:9'}", false, 2,
		"domid:9", false);
	judges(w, "{'op':'policy-test','domain':'db','name':'db','to':'domid:9'}", true, 4,
		"domid:9", false);
	judges(w, "{'op':'policy-test','domain':'db','name':'db','to':'nobody'}", false, 0,
		"nobody", false);
	judges(w, "{'op':'policy-test','domain':'new','name':'y','to':'vault'}", true, 6, "vault",
		true);
	judges(w, "{'op':'policy-test','domain':'new','name':'db','listen':true}", true, 1, "-",
		false);
	judges(w, "{'op':'policy-test','domain':'new','name':'y','listen':true}", false, 0, "-",
		false);
	/* Without TO: by the rules `to default`, else whichever domain, else the holder. */
	judges(w, "{'op':'policy-test','domain':'db','name':'x'}", true, 5, "-", false);
	judges(w, "{'op':'policy-test','domain':'app','name':'db'}", true, 3, "-", false);
	assert_int_equal(app_listen(db, 1, "db", 4), 0);
	judges(w, "{'op':'policy-test','domain':'app','name':'db'}", true, 3, "db", true);
	judges(w, "{'op':'policy-test','domain':'vault','name':'db'}", false, 0, "db", true);
	/* An address of the one would lead to the other. */
	assert_int_equal(app_listen(db, 2, "z", 4), 0);
	judges(w, "{'op':'policy-test','domain':'app','name':'z'}", true, 8, "db", true);
	assert_int_equal(app_listen(vault, 1, "z", 4), 0);
	judges(w, "{'op':'policy-test','domain':'app','name':'z'}", true, 9, "vault", true);
	request = parsed("{'op':'policy-test','domain':'web','name':'db'}");
	expect_error(w, &request, "several domains have that name: say domid:N or uuid:U");
	request = parsed("{'op':'policy-test','domain':'db','name':'db','to':'web'}");
	expect_error(w, &request, "several domains have that name: say domid:N or uuid:U");
	world_free(w);
}

/* As many rules as a policy may have; a portion of them a turn, all by the same facts. */
static void test_policy_test_portions(void **state)
{
	static const char question[] = "{'op':'policy-test','domain':'app','name':'x','to':'db'}";
	char *rules = many_rules(POLICY_RULES_MAX, "allow connect n%u from any to any", "");
	struct world *w = world_new(rules, NULL);
	struct admin_request request;
	json_t *rows, *end, *last;
	unsigned n;

	rows = list_of(w, question, NULL, &n, &end);
	assert_int_equal(json_array_size(rows), POLICY_RULES_MAX + 1);
	assert_int_equal(n, POLICY_RULES_MAX / ADMIN_ROWS_A_TURN + 1);
	last = json_array_get(rows, POLICY_RULES_MAX);
	assert_string_equal(text_at(last, "rule"), "no rule");
	assert_string_equal(text_at(last, "reason"), "no rule matches");
	assert_string_equal(text_at(json_array_get(rows, 7), "reason"), "name");
	assert_true(json_is_false(json_object_get(end, "allowed")));
	json_decref(rows);
	json_decref(end);
	request = after_first(w, question);
	world_rename(w, 5, "safe");
	expect_error(w, &request, "policy or domains have changed meanwhile: ask again");
	free(rules);
	world_free(w);
}

static struct policy *policy_of(const struct world *w, const char *rules)
{
	struct report report = {.n = 0};
	struct policy *policy;

	assert_int_equal(policy_new(&policy), 0);
	if (policy_parse(policy, "tried", rules, strlen(rules), &report) < 0)
		fail_msg("%s", report.lines[0]);
	admin_trial_begin(w->broker, policy);
	return policy;
}

/* The dry run of these rules lists so many names and channels; the first by the rule. */
static void tries(
	const struct world *w, const char *rules, size_t n, const char *name, const char *rule)
{
	struct policy *policy = policy_of(w, rules);
	json_t *end = NULL;
	json_t *rows = list_of(w, "{'op':'reload-dry-run'}", policy, NULL, &end);

	if (json_array_size(rows) != n)
		fail_msg("%s: %s", rules, json_dumps(rows, 0));
	assert_string_equal(text_at(json_array_get(rows, 0), "name"), name);
	assert_string_equal(text_at(json_array_get(rows, 0), "rule"), rule);
	expect_row(end, "rules", (json_int_t)policy_rules(policy));
	json_decref(rows);
	json_decref(end);
	policy_free(policy);
}

static void test_trial(void **state)
{
	struct world *w = two_links();

	tries(w, ALL, 0, "-", "-");
	tries(w, "", 3, "db", "no rule");
	tries(w, "allow listen * on any\n", 1, "db", "no rule");
	tries(w, "deny connect db from app to any\n" ALL, 1, "db", "tried:1");
	tries(w, "deny listen secret on vault\n" ALL, 1, "secret", "tried:1");
	tries(w, "allow listen * on any\nallow connect db from app to db while vault\n", 0, "-",
		"-");
	tries(w, "allow listen * on any\nallow connect db from app to db while nobody\n", 1, "db",
		"no rule");
	/* A demand that the link does not meet is a refusal as well. */
	tries(w, "allow listen * on any\nallow connect * from any to any transport=argo\n", 1, "db",
		"tried:2");
	lists(w, "{'op':'channels'}", 1, "state", "offered");
	lists(w, "{'op':'names','state':'forbidden'}", 0, NULL, NULL);
	world_policy(w, "allow listen db on any\n");
	/* Names that the policy in force forbids are no news. */
	tries(w, "allow listen db on any\n", 0, "-", "-");
	world_free(w);
}

/* The work of a turn is bounded by what the judgements cost, also where nothing is listed. */
static void test_trial_work(void **state)
{
	char *rules = many_rules(2000, "deny listen * on nobody%u", ALL), name[NAME_SIZE];
	struct world *w = world_new(ALL, NULL);
	struct app *app = app_new(w, 0, 3, false);
	struct policy *policy = policy_of(w, rules);
	json_t *rows;
	unsigned n;

	for (unsigned i = 0; i < 100; i++) {
		(void)snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(app_listen(app, i + 1, name, 4), 0);
	}
	rows = list_of(w, "{'op':'reload-dry-run'}", policy, &n, NULL);
	assert_int_equal(json_array_size(rows), 0);
	assert_in_range(n, 10, 20);
	json_decref(rows);
	policy_free(policy);
	free(rules);
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
		cmocka_unit_test(test_policy_list),
		cmocka_unit_test(test_policy_test),
		cmocka_unit_test(test_policy_test_portions),
		cmocka_unit_test(test_trial),
		cmocka_unit_test(test_trial_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
