/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Queries of URLs: what becomes of each, and which are refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
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
		cmocka_unit_test(test_accept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
