/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Queries of URLs: what becomes of each, and which are refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "daemon/admin/request.h"
#include "exporter/limits.h"
#include "exporter/question.h"
#include "tests/support/cmocka-all.h"

static char error[QUESTION_ERROR_SIZE];

/* Its key: by that two questions are the same. */
static void assert_key(const char *list, const char *query, const char *want)
{
	struct question question;
	char *key;

	assert_int_equal(question_of_list(list, query, &question, error), 0);
	key = question_key(&question);
	assert_string_equal(key, want);
	free(key);
	question_fini(&question);
}

static void assert_refused(const char *list, const char *query, int status, const char *word)
{
	struct question question;

	assert_int_equal(question_of_list(list, query, &question, error), status);
	assert_non_null(strstr(error, word));
}

static void test_good(void **state)
{
	assert_key("names", NULL, "names {}");
	assert_key("names", "", "names {}");
	assert_key("names", "&&", "names {}");
	assert_key(
		"names", "state=open&domain=web", "names {\"domain\":\"web\",\"state\":\"open\"}");
	assert_key(
		"names", "domain=web&state=open", "names {\"domain\":\"web\",\"state\":\"open\"}");
	assert_key("names", "name=a%2Bb+c%3d%2F", "names {\"name\":\"a+b c=/\"}");
	assert_key("names", "na%6de=", "names {\"name\":\"\"}");
	assert_key("names", "name", "names {\"name\":\"\"}");
	assert_key("names", "name=a=b", "names {\"name\":\"a=b\"}");
	assert_key("names", "name=%22%0a", "names {\"name\":\"\\\"\\n\"}");
	assert_key("history", "n=0&since=9223372036854775807",
		"history {\"n\":0,\"since\":9223372036854775807}");
	assert_key("channels", "channel=7&pid=8&link=0123456789abcdef",
		"channels {\"channel\":7,\"link\":\"0123456789abcdef\",\"pid\":8}");
}

static void test_bad(void **state)
{
	char long_query[PARAMETER_SIZE + 10] = "name=";
	struct question question;

	assert_refused("", NULL, 404, "no such list");
	assert_refused("monitor", NULL, 404, "no such list");
	assert_refused("kick-domain", "domain=web", 404, "no such list");
	assert_refused("names/", NULL, 404, "no such list");
	assert_refused("status", "domain=web", 400, "status takes no such parameter: domain");
	assert_refused("names", "op=kick-domain", 400, "no such parameter: op");
	assert_refused("names", "%ff=x", 400, "no such parameter: it is not UTF-8");
	memset(long_query, 'a', 39);
	strcpy(long_query + 39, "%c3%a9=x");
	assert_refused("names", long_query, 400, "names takes no such parameter: ");
	assert_int_equal(strlen(error), strlen("names takes no such parameter: "));
	strcpy(long_query, "name=");
	assert_refused("names", "=x", 400, "no such parameter");
	assert_refused("names", "domain=a&domain=b", 400, "domain is there twice");
	assert_refused("names", "domain=a&d%6fmain=b", 400, "domain is there twice");
	assert_refused("names", "name=%ff", 400, "name is not UTF-8");
	assert_refused("names", "name=%c0%80", 400, "name is not UTF-8");
	assert_refused("names", "name=a%00b", 400, "not encoded");
	assert_refused("names", "name=%", 400, "not encoded");
	assert_refused("names", "name=%4", 400, "not encoded");
	assert_refused("names", "name=%4&domain=x", 400, "not encoded");
	assert_refused("names", "name=%g0", 400, "not encoded");
	assert_refused("history", "n=-1", 400, "n is a number");
	assert_refused("history", "n=1x", 400, "n is a number");
	assert_refused("history", "n=", 400, "n is a number");
	assert_refused("history", "n= 1", 400, "n is a number");
	assert_refused("history", "since=9223372036854775808", 400, "since is a number");
	assert_refused("names", "&&&&&&&&domain=a", 400, "parameters at most");
	memset(long_query + 5, 'x', PARAMETER_SIZE);
	assert_refused("names", long_query, 400, "too long");
	long_query[5 + PARAMETER_SIZE - 1] = '\0';
	assert_int_equal(question_of_list("names", long_query, &question, error), 0);
	question_fini(&question);
}

/* Each text of some bytes that matter is taken or refused, and is in bounds. */
static void test_all_short(void **state)
{
	static const char bytes[] = {'%', '=', '&', '+', '0', 'f', 'n', '\x80'};
	char query[8];

	for (unsigned i = 0; i < 8 * 8 * 8 * 8 * 8; i++) {
		struct question question = {0};
		int status;

		for (unsigned n = i, at = 0; at < 5; at++, n /= 8)
			query[at] = bytes[n % 8];
		query[5] = '\0';
		status = question_of_list("history", query, &question, error);
		assert_true(status == 0 || status == 400);
		question_fini(&question);
	}
}

/* A value of each key of the admin protocol. */
static const struct {
	const char *name, *json;
} keys[] = {
	{"domain", "\"web\""},
	{"name", "\"web\""},
	{"to", "\"web\""},
	{"listen", "true"},
	{"transport", "\"grant\""},
	{"state", "\"open\""},
	{"link", "\"1f\""},
	{"channel", "7"},
	{"pid", "8"},
	{"kind", "\"attached\""},
	{"n", "5"},
	{"since", "6"},
	{"limit", "\"names\""},
	{"value", "1"},
	{"level", "\"info\""},
	{"payload", "true"},
	{"snaplen", "1"},
	{"timeout_ms", "1"},
};

_Static_assert(ARRAY_SIZE(keys) == ADMIN_KEY_COUNT, "each");

static int parse_as_msgd(
	const char *line, struct admin_request *ret_request, const char **ret_error)
{
	return admin_request_parse(line, strlen(line), ret_request, ret_error);
}

/* It is a parameter if msgd takes it, and then of msgd's type. */
static void assert_key_as_msgd(const struct question_list *list, const char *name, const char *json)
{
	int quote = *json == '"';
	char line[80], query[40], want[80];
	struct admin_request request;
	const char *why = "";
	int r;

	(void)snprintf(line, sizeof(line), "{\"op\":\"%s\",\"%s\":%s}", list->ops[0], name, json);
	(void)snprintf(
		query, sizeof(query), "%s=%.*s", name, (int)strlen(json) - 2 * quote, json + quote);
	(void)snprintf(want, sizeof(want), "%s {\"%s\":%s}", list->name, name, json);
	r = parse_as_msgd(line, &request, &why);
	if (r < 0 && strcmp(why, "unknown key") == 0) {
		assert_refused(list->name, query, 400, "no such parameter");
		return;
	}
	/* Each list has states of its own. */
	assert_true(r == 0 || strcmp(name, "state") == 0);
	assert_key(list->name, query, want);
}

/* False: there is no such list. */
static bool list_is_as_msgd(const char *name)
{
	struct question question;
	const struct question_list *list;
	struct admin_request request;
	const char *why;
	char line[80];

	if (question_of_list(name, NULL, &question, error) != 0)
		return false;
	list = question.list;
	question_fini(&question);
	for (unsigned i = 0; i < QUESTION_OPS_MAX && list->ops[i]; i++) {
		(void)snprintf(line, sizeof(line), "{\"op\":\"%s\"}", list->ops[i]);
		assert_int_equal(parse_as_msgd(line, &request, &why), 0);
		assert_false(admin_op_steers(request.op));
		assert_false(admin_op_goes_on(request.op));
		assert_false(admin_op_lasts(request.op));
	}
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		assert_key_as_msgd(list, keys[i].name, keys[i].json);
	return true;
}

/* The lists are operations of msgd, of which none changes anything, with all their filters. */
static void test_as_msgd(void **state)
{
	unsigned n = list_is_as_msgd("stats"); /* several operations, as in msgctl */

	for (int i = 0; i < ADMIN_OP_COUNT; i++)
		n += list_is_as_msgd(admin_op_name(i));
	assert_int_equal(n, 13); /* no list was left out */
}

static void assert_metrics(const char *accept, const char *want)
{
	struct question question = question_of_metrics(accept);
	char *key = question_key(&question);

	assert_string_equal(key, want);
	free(key);
}

static void test_accept(void **state)
{
	assert_metrics(NULL, "metrics");
	assert_metrics("*/*", "metrics");
	assert_metrics("text/plain;version=0.0.4", "metrics");
	assert_metrics(
		"application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "openmetrics");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_all_short),
		cmocka_unit_test(test_as_msgd),
		cmocka_unit_test(test_accept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
