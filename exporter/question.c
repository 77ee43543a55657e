/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See question.h. A query is cut and decoded here, and nowhere else; msgd judges the values. */
#include "exporter/question.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macro.h"
#include "base/number.h"
#include "exporter/limits.h"

enum filter {
	FILTER_DOMAIN,
	FILTER_NAME,
	FILTER_TRANSPORT,
	FILTER_STATE,
	FILTER_LINK,
	FILTER_CHANNEL,
	FILTER_PID,
	FILTER_KIND,
	FILTER_N,
	FILTER_SINCE,
	FILTER_COUNT,
};

static const struct {
	const char *name;
	bool number;
} filters[FILTER_COUNT] = {
	[FILTER_DOMAIN] = {"domain", false},
	[FILTER_NAME] = {"name", false},
	[FILTER_TRANSPORT] = {"transport", false},
	[FILTER_STATE] = {"state", false},
	[FILTER_LINK] = {"link", false},
	[FILTER_CHANNEL] = {"channel", true},
	[FILTER_PID] = {"pid", true},
	[FILTER_KIND] = {"kind", false},
	[FILTER_N] = {"n", true},
	[FILTER_SINCE] = {"since", true},
};

#define BIT ENUM_BIT

/* As daemon/admin/request.c has them: tests/unit/exporter/question-test.c compares. */
static const struct question_list lists[] = {
	{"status", {"status"}},
	{"domains", {"domains"}, BIT(FILTER_DOMAIN) | BIT(FILTER_STATE), true},
	{"applications", {"applications"},
		BIT(FILTER_DOMAIN) | BIT(FILTER_STATE) | BIT(FILTER_PID)},
	{"names", {"names"}, BIT(FILTER_DOMAIN) | BIT(FILTER_NAME) | BIT(FILTER_STATE), true},
	{"links", {"links"},
		BIT(FILTER_DOMAIN) | BIT(FILTER_TRANSPORT) | BIT(FILTER_STATE) | BIT(FILTER_LINK) |
			BIT(FILTER_PID),
		true},
	{"channels", {"channels"},
		BIT(FILTER_DOMAIN) | BIT(FILTER_NAME) | BIT(FILTER_TRANSPORT) | BIT(FILTER_STATE) |
			BIT(FILTER_LINK) | BIT(FILTER_CHANNEL) | BIT(FILTER_PID),
		true},
	{"history", {"history"},
		BIT(FILTER_DOMAIN) | BIT(FILTER_NAME) | BIT(FILTER_LINK) | BIT(FILTER_CHANNEL) |
			BIT(FILTER_PID) | BIT(FILTER_KIND) | BIT(FILTER_N) | BIT(FILTER_SINCE)},
	{"stats", {"counts", "refusals", "latency"}, BIT(FILTER_DOMAIN), true},
	{"counts", {"counts"}, BIT(FILTER_DOMAIN), true},
	{"refusals", {"refusals"}},
	{"latency", {"latency"}},
	{"limits", {"limits"}, BIT(FILTER_DOMAIN)},
	{"blocks", {"blocks"}},
};

/* ---- a query -------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* False: a bad escape, a NUL, or it does not fit. */
static bool decode(const char *text, size_t len, char ret_text[PARAMETER_SIZE])
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		char c = text[i] == '+' ? ' ' : text[i];

		if (c == '%') {
			int high = i + 1 < len ? hex_digit(text[i + 1]) : -1;
			int low = i + 2 < len ? hex_digit(text[i + 2]) : -1;

			if (high < 0 || low < 0)
				return false;
			c = (char)(high << 4 | low);
			i += 2;
		}
		if (!c || n + 1 >= PARAMETER_SIZE)
			return false;
		ret_text[n++] = c;
	}
	ret_text[n] = '\0';
	return true;
}

static enum filter filter_find(const struct question_list *list, const char *name)
{
	enum filter i = 0;

	while (i < FILTER_COUNT &&
		(!(list->filters & BIT(i)) || strcmp(filters[i].name, name) != 0))
		i++;
	return i;
}

/* A longer name is none of a list's, and not repeated in an error. */
#define PARAMETER_SHOWN 40U

/* One NAME=VALUE, decoded. False after a sentence. */
static bool parameter_set(const struct question_list *list, json_t *object, const char *name,
	const char *value, char ret_error[QUESTION_ERROR_SIZE])
{
	enum filter filter = filter_find(list, name);
	uint64_t number;
	json_t *json;

	if (filter == FILTER_COUNT) {
		json = json_string(strlen(name) <= PARAMETER_SHOWN ? name : "");
		(void)snprintf(ret_error, QUESTION_ERROR_SIZE, "%s takes no such parameter: %s",
			list->name, json ? json_string_value(json) : "it is not UTF-8");
		json_decref(json);
		return false;
	}
	if (json_object_get(object, name)) {
		(void)snprintf(ret_error, QUESTION_ERROR_SIZE, "%.40s is there twice", name);
		return false;
	}
	if (!filters[filter].number)
		json = json_string(value);
	else
		json = number64_from_text(value, INT64_MAX, &number)
			       ? json_integer((json_int_t)number)
			       : NULL;
	if (json && json_object_set_new(object, name, json) == 0)
		return true;
	(void)snprintf(ret_error, QUESTION_ERROR_SIZE, "%.40s is %s", name,
		filters[filter].number ? "a number" : "not UTF-8");
	return false;
}

static bool parameter_parse(const struct question_list *list, json_t *object, const char *text,
	size_t len, char ret_error[QUESTION_ERROR_SIZE])
{
	const char *equals = memchr(text, '=', len);
	size_t name_len = equals ? (size_t)(equals - text) : len;
	char name[PARAMETER_SIZE], value[PARAMETER_SIZE] = "";

	if (!decode(text, name_len, name) ||
		(equals && !decode(equals + 1, len - name_len - 1, value))) {
		(void)snprintf(ret_error, QUESTION_ERROR_SIZE,
			"a parameter is too long, or not encoded as one of a URL");
		return false;
	}
	return parameter_set(list, object, name, value, ret_error);
}

static bool query_parse(const struct question_list *list, json_t *object, const char *query,
	char ret_error[QUESTION_ERROR_SIZE])
{
	for (unsigned n = 0; *query; n++) {
		size_t len = strcspn(query, "&");

		if (n == PARAMETERS_MAX) {
			(void)snprintf(ret_error, QUESTION_ERROR_SIZE,
				"a query has %u parameters at most", PARAMETERS_MAX);
			return false;
		}
		if (len && !parameter_parse(list, object, query, len, ret_error))
			return false;
		query += len;
		query += *query == '&';
	}
	return true;
}

/* ---- questions ------------------------------------------------------------------------------ */

int question_of_list(const char *name, const char *query, struct question *ret_question,
	char ret_error[QUESTION_ERROR_SIZE])
{
	struct question question = {0};

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		if (strcmp(lists[i].name, name) == 0)
			question.list = &lists[i];
	}
	if (!question.list) {
		(void)snprintf(ret_error, QUESTION_ERROR_SIZE, "no such list");
		return 404;
	}
	question.filters = json_object();
	if (!query_parse(question.list, question.filters, query ? query : "", ret_error)) {
		question_fini(&question);
		return 400;
	}
	*ret_question = question;
	return 0;
}

struct question question_of_metrics(const char *accept)
{
	return (struct question){
		.openmetrics = accept && strstr(accept, "application/openmetrics-text")};
}

char *question_key(const struct question *question)
{
	_cleanup_free_ char *filters_text = NULL;
	char *key;

	if (!question->list)
		return strdup(question->openmetrics ? "openmetrics" : "metrics");
	filters_text = json_dumps(question->filters, JSON_COMPACT | JSON_SORT_KEYS);
	if (!filters_text || asprintf(&key, "%s %s", question->list->name, filters_text) < 0)
		return NULL;
	return key;
}

void question_fini(struct question *question)
{
	json_decref(question->filters);
	question->filters = NULL;
}
