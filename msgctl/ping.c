/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See ping.h. */
#include "msgctl/ping.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "msgctl/admin-client.h"
#include "msgctl/command.h"
#include "msgctl/complain.h"
#include "msgctl/show.h"

#define INTERVAL_S 1.0

/* In microseconds. */
struct times {
	long long min, max, sum;
};

struct ping_run {
	const struct command_call *call; /* borrowed */
	json_t *request;		 /* owned */
	json_t *last;			 /* owned: the answer, or NULL: none has come */
	uint32_t timeout_ms;
	long long n_sent, n_answered;
	struct times total, answer;
};

static void times_add(struct times *times, long long us, bool first)
{
	if (first || us < times->min)
		times->min = us;
	if (first || us > times->max)
		times->max = us;
	times->sum += us;
}

/* Another program than msgd may have said the times: none is longer than the whole. */
static void answer_add(
	struct ping_run *run, const json_t *answer, long long total_us, long long *ret_socket_us)
{
	long long queue_us = field_number(answer, "queue_us");
	long long answer_us = field_number(answer, "answer_us");
	long long rest_us = total_us - queue_us - answer_us;

	*ret_socket_us = rest_us > 0 ? rest_us : 0;
	times_add(&run->total, total_us, run->n_answered == 0);
	times_add(&run->answer, answer_us, run->n_answered == 0);
	run->n_answered++;
}

static void answer_print(struct ping_run *run, json_t *answer, long long total_us)
{
	bool answered = field_true(answer, "answered"), json = run->call->json;
	long long socket_us = 0;

	if (answered)
		answer_add(run, answer, total_us, &socket_us);
	if (json) {
		(void)json_object_set_new(answer, "seq", json_integer(run->n_sent));
		(void)json_object_set_new(answer, "socket_us", json_integer(socket_us));
		(void)json_object_set_new(answer, "total_us", json_integer(total_us));
		object_print(answer);
		return;
	}
	(void)printf("%lld: domain %lld pid %lld (", run->n_sent, field_number(answer, "domid"),
		field_number(answer, "pid"));
	text_print(field_text(answer, "comm"));
	if (answered)
		(void)printf("): %lld us: socket %lld, queue %lld, answer %lld\n", total_us,
			socket_us, field_number(answer, "queue_us"),
			field_number(answer, "answer_us"));
	else
		(void)printf("): no answer within %u s\n", run->timeout_ms / 1000);
}

static json_t *times_json(const struct times *times, long long n)
{
	return n ? json_pack("{s:I, s:I, s:I}", "min", (json_int_t)times->min, "avg",
			   (json_int_t)(times->sum / n), "max", (json_int_t)times->max)
		 : json_null();
}

static void summary_print(const struct ping_run *run)
{
	long long n = run->n_answered, lost = run->n_sent - n;

	if (run->call->json) {
		json_t *summary = json_pack("{s:s, s:I, s:I, s:I, s:o, s:o}", "op", "ping-summary",
			"sent", (json_int_t)run->n_sent, "answered", (json_int_t)n, "lost",
			(json_int_t)lost, "total_us", times_json(&run->total, n), "answer_us",
			times_json(&run->answer, n));

		object_print(summary);
		json_decref(summary);
		return;
	}
	(void)printf("%lld sent, %lld answered, %lld lost (%lld%%)\n", run->n_sent, n, lost,
		run->n_sent ? lost * 100 / run->n_sent : 0);
	if (n)
		(void)printf("min/avg/max: total %lld/%lld/%lld us, answer %lld/%lld/%lld us\n",
			run->total.min, run->total.sum / n, run->total.max, run->answer.min,
			run->answer.sum / n, run->answer.max);
}

static bool on_answer(void *arg, const json_t *object)
{
	struct ping_run *run = arg;

	run->last = json_deep_copy(object);
	return false;
}

/* Whatever has ended it, stderr has the reason of a failure; with the exit status. */
static enum admin_end ping_once(struct ping_run *run, uint64_t start_us, int *ret_status)
{
	const struct command_call *call = run->call;
	uint32_t limit_ms = run->timeout_ms + ANSWER_MS;
	enum admin_end end = admin_stream(
		call->socket, call->from, run->request, limit_ms, on_answer, run, ret_status);

	run->n_sent++;
	if (end == ADMIN_END_TIME) {
		complain(EXIT_FAILURE, -ETIMEDOUT, "%s: no answer within %u seconds", call->socket,
			limit_ms / 1000);
		end = ADMIN_END_FAILED;
	}
	if (run->last)
		answer_print(run, run->last, (long long)(monotonic_us() - start_us));
	json_decref(run->last);
	run->last = NULL;
	return end;
}

/* Until it is time for the next one; true: the user ends it. */
static bool pause_until(uint64_t next_us)
{
	uint64_t now_us = monotonic_us();

	return admin_user_ends(next_us > now_us ? next_us - now_us : 0);
}

int ping_run(const struct command_call *call)
{
	const json_t *interval = json_object_get(call->request, "interval");
	long long count = field_number(call->request, "count");
	double interval_s = interval ? json_real_value(interval) : INTERVAL_S;
	struct ping_run run = {.call = call,
		.request = json_deep_copy(call->request),
		.timeout_ms = (uint32_t)field_number(call->request, "timeout_ms")};
	enum admin_end end;
	int status;

	(void)json_object_del(run.request, "interval");
	(void)json_object_del(run.request, "count");
	(void)setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	for (;;) {
		uint64_t start_us = monotonic_us();

		end = ping_once(&run, start_us, &status);
		/* The wrong name, or no msgd; one that is gone meanwhile may return. */
		if (end == ADMIN_END_FAILED && run.n_sent == 1)
			break;
		if (end == ADMIN_END_USER || run.n_sent == count || ferror(stdout))
			break;
		if (pause_until(start_us + (uint64_t)(interval_s * 1e6)))
			break;
	}
	json_decref(run.request);
	if (end == ADMIN_END_FAILED && run.n_sent == 1)
		return status;
	summary_print(&run);
	return run.n_answered ? EXIT_SUCCESS : EXIT_SHORT;
}
