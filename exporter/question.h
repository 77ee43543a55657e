/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The questions of clients about msgd: metrics, or one of its lists. Only operations that change
 * nothing are in the table of lists. Pure.
 */
#ifndef MSGD_EXPORTER_QUESTION_H
#define MSGD_EXPORTER_QUESTION_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "exporter/http.h"

#define QUESTION_OPS_MAX 3U

struct question_list {
	const char *name;		   /* as msgctl's command */
	const char *ops[QUESTION_OPS_MAX]; /* that msgd is asked; one as a rule */
	unsigned filters;		   /* that the first of them takes, as bits */
	bool counts;			   /* the applications are asked for their counts before */
};

struct question {
	const struct question_list *list; /* NULL: metrics */
	json_t *filters;		  /* owned: of the list, an object; or NULL */
	bool openmetrics;		  /* metrics: else in Prometheus' text format */
	struct http_counts http;	  /* metrics: when it was asked first */
};

#define QUESTION_ERROR_SIZE 128U

/*
 * name: of the list; query: of the URL, or NULL. 0; 404 or 400 with a sentence. The caller then
 * owns *ret_question.
 */
int question_of_list(const char *name, const char *query, struct question *ret_question,
	char ret_error[QUESTION_ERROR_SIZE]);
/* By the header Accept of HTTP, or NULL. */
struct question question_of_metrics(const char *accept);
/* The same text for the same question; the caller frees it. NULL: out of memory. */
char *question_key(const struct question *question);
void question_fini(struct question *question);

#endif
