/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See answer.h. */
#include "exporter/answer.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "exporter/body.h"
#include "exporter/limits.h"
#include "exporter/question.h"

#define OPENMETRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"
#define TEXT_TYPE	 "text/plain; version=0.0.4; charset=utf-8"

/* Of one request: the answer, which the caller owns, or NULL with why and the status of HTTP. */
static json_t *ask(const struct answers *answers, const json_t *request, int *ret_status,
	char ret_text[ADMIN_TROUBLE_SIZE])
{
	int r;
	json_t *answer = admin_exchange(answers->socket, request, ASK_MS, &r);

	if (!admin_trouble(answers->socket, answers->from, answer, r, ASK_MS, ret_text))
		return answer;
	*ret_status = r == -EAGAIN ? 504 : json_is_object(answer) ? 400 : 502;
	json_decref(answer);
	return NULL;
}

static json_t *ask_op(const struct answers *answers, const char *op, const json_t *filters,
	int *ret_status, char ret_text[ADMIN_TROUBLE_SIZE])
{
	json_t *request = json_pack("{s:s}", "op", op);
	json_t *answer;

	if (filters)
		(void)json_object_update(request, (json_t *)filters);
	answer = ask(answers, request, ret_status, ret_text);
	json_decref(request);
	return answer;
}

/* False: msgd did not answer. One that is older than the counts refuses, and has lists without. */
static bool refresh(
	const struct answers *answers, int *ret_status, char ret_text[ADMIN_TROUBLE_SIZE])
{
	json_t *answer = ask_op(answers, "refresh", NULL, ret_status, ret_text);
	bool good = answer || *ret_status == 400;

	json_decref(answer);
	return good;
}

/* ---- lists ---------------------------------------------------------------------------------- */

/* Takes both over: what an operation says becomes a part of all. */
static void add_part(json_t *all, const char *op, json_t *answer)
{
	json_t *rows = json_object_get(answer, op);

	(void)json_object_set(all, op, rows ? rows : json_object_get(answer, "us"));
	json_decref(answer);
}

/* Several operations make one answer, as in msgctl. */
static json_t *ask_list(const struct answers *answers, const struct question *question,
	int *ret_status, char ret_text[ADMIN_TROUBLE_SIZE])
{
	const struct question_list *list = question->list;
	json_t *answer = ask_op(answers, list->ops[0], question->filters, ret_status, ret_text);
	json_t *all;

	if (!answer || !list->ops[1])
		return answer;
	all = json_pack("{s:s}", "op", list->name);
	for (unsigned i = 0; answer; i++) {
		add_part(all, list->ops[i], answer);
		if (i + 1 == QUESTION_OPS_MAX || !list->ops[i + 1])
			return all;
		answer = ask_op(answers, list->ops[i + 1], NULL, ret_status, ret_text);
	}
	json_decref(all);
	return NULL;
}

static struct body *make_list(const struct answers *answers, const struct question *question)
{
	char text[ADMIN_TROUBLE_SIZE];
	int status = 0;
	json_t *answer = NULL;
	char *bytes;

	if (!question->list->counts || refresh(answers, &status, text))
		answer = ask_list(answers, question, &status, text);
	if (!answer)
		return body_new_error(status, text);
	bytes = json_dumps(answer, JSON_COMPACT);
	json_decref(answer);
	return body_new(200, "application/json", bytes, bytes ? strlen(bytes) : 0);
}

/* ---- metrics -------------------------------------------------------------------------------- */

static uint64_t clock_us(clockid_t clock)
{
	struct timespec now;

	(void)clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void scrape_free(struct metrics_scrape *scrape)
{
	for (unsigned i = 0; i < METRICS_OPS; i++) {
		json_decref(scrape->answers[i]);
		scrape->answers[i] = NULL;
	}
}

/* All answers must be of one msgd: else it is not known what counts since when. */
static bool scrape_is_of_one(const struct answers *answers, const struct metrics_scrape *scrape)
{
	char text[ADMIN_TROUBLE_SIZE];
	int status;
	json_t *now = ask_op(answers, "status", NULL, &status, text);
	const json_t *then = scrape->answers[METRICS_OP_STATUS];
	bool same =
		json_equal(json_object_get(now, "since_us"), json_object_get(then, "since_us")) &&
		json_equal(json_object_get(now, "pid"), json_object_get(then, "pid"));

	json_decref(now);
	return same;
}

/* All of it, or nothing. */
static void scrape(const struct answers *answers, struct metrics_scrape *scrape)
{
	char text[ADMIN_TROUBLE_SIZE];
	int status;
	bool good = refresh(answers, &status, text);

	for (unsigned i = 0; good && i < METRICS_OPS; i++) {
		if (!metrics_wants(&answers->metrics, i))
			continue;
		scrape->answers[i] = ask_op(answers, metrics_op_name(i), NULL, &status, text);
		good = scrape->answers[i] != NULL;
	}
	if (!good || !scrape_is_of_one(answers, scrape))
		scrape_free(scrape);
}

static struct body *make_metrics(struct answers *answers, const struct question *question)
{
	const char *type = question->openmetrics ? OPENMETRICS_TYPE : TEXT_TYPE;
	struct metrics_scrape said = {.http = question->http, .now_us = clock_us(CLOCK_REALTIME)};
	uint64_t begin_us = clock_us(CLOCK_MONOTONIC);
	char *bytes = NULL;
	size_t len = 0;
	bool made;

	scrape(answers, &said);
	said.took_us = clock_us(CLOCK_MONOTONIC) - begin_us;
	made = metrics_write(&answers->metrics, &said, question->openmetrics, &bytes, &len);
	scrape_free(&said);
	return made ? body_new(200, type, bytes, len) : NULL;
}

void answers_init(struct answers *answers)
{
	answers->from = admin_socket_of_environment(answers->socket);
	metrics_init(&answers->metrics, clock_us(CLOCK_REALTIME));
}

void answers_fini(struct answers *answers)
{
	metrics_fini(&answers->metrics);
}

struct body *answer_make(void *arg, const struct question *question)
{
	struct answers *answers = arg;

	return question->list ? make_list(answers, question) : make_metrics(answers, question);
}
