/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See top-head.h. */
#include "msgctl/top-head.h"

#include <stdio.h>

#include "msgctl/show.h"

static double rate(const json_t *before, const json_t *now, const char *object, const char *key,
	double seconds)
{
	long long was = field_number(json_object_get(before, object), key);
	long long is = field_number(json_object_get(now, object), key);

	return is > was ? (double)(is - was) / seconds : 0;
}

/* A msgd that was started again has another process, or has run for less. */
static bool is_other(const json_t *before, const json_t *now)
{
	return field_number(before, "pid") != field_number(now, "pid") ||
	       field_number(before, "uptime_s") > field_number(now, "uptime_s");
}

bool top_head_take(struct top_head *head, json_t *status, uint64_t at_us)
{
	struct top_head next = {.status = status, .at_us = at_us};
	bool other = head->status && is_other(head->status, status);

	if (head->status && !other && at_us > head->at_us) {
		next.seconds = (double)(at_us - head->at_us) / 1e6;
		next.connected = rate(head->status, status, "counts", "connected", next.seconds);
		next.refused = rate(head->status, status, "counts", "refused", next.seconds);
		next.failed = rate(head->status, status, "counts", "failed", next.seconds);
		next.busy = rate(head->status, status, "turns", "cpu_us", next.seconds) / 1e6;
	}
	json_decref(head->status);
	*head = next;
	return other;
}

void top_head_clear(struct top_head *head)
{
	json_decref(head->status);
	*head = (struct top_head){.status = NULL};
}

void top_head_lines(const struct top_head *head, char ret_lines[2][TOP_HEAD_SIZE])
{
	const json_t *status = head->status, *counts = json_object_get(status, "counts");
	char age[CELL_SIZE];

	age_text(field_number(status, "uptime_s"), age);
	(void)snprintf(ret_lines[0], TOP_HEAD_SIZE,
		"msgd %.32s pid %lld up %.16s%s: %lld domains, %lld applications, %lld names, "
		"%lld links, %lld channels, %lld waiting",
		field_text(status, "version"), field_number(status, "pid"), age,
		field_true(status, "recovering") ? ", recovering" : "",
		field_number(status, "domains"), field_number(status, "applications"),
		field_number(status, "names"), field_number(status, "links"),
		field_number(status, "channels"), field_number(status, "requests_waiting"));
	(void)snprintf(ret_lines[1], TOP_HEAD_SIZE,
		"%lld connected (%.1f/s), %lld refused (%.1f/s), %lld failed (%.1f/s); msgd takes "
		"%.1f%% of a processor",
		field_number(counts, "connected"), head->connected, field_number(counts, "refused"),
		head->refused, field_number(counts, "failed"), head->failed, 100 * head->busy);
}
