/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See top-sample.h. */
#include "msgctl/top-sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "msgctl/show.h"

/* A row's identity: some 100 bytes in practice, and bounded where msgd is another program. */
#define KEY_SIZE 512U
/* Rows of one identity: a domain's applications (DOMAIN_PROCESSES_MAX) may all say the same. */
#define TWINS_MAX 64U

/* twin: so many rows before this one have the same identity, as contexts of one process. */
static char *row_key(const struct top_view *view, const json_t *row, unsigned twin)
{
	char key[KEY_SIZE] = "";
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_SIZE(view->keys) && view->keys[i]; i++) {
		const json_t *field = field_at(row, view->keys[i]);

		if (json_is_string(field))
			len += (size_t)snprintf(
				key + len, sizeof(key) - len, "%.100s|", json_string_value(field));
		else
			len += (size_t)snprintf(key + len, sizeof(key) - len, "%lld|",
				(long long)json_integer_value(field));
	}
	(void)snprintf(key + len, sizeof(key) - len, "%u", twin);
	return strdup(key);
}

static void row_numbers(const struct top_view *view, struct top_row *row)
{
	for (unsigned i = 0; view->columns[i].head; i++) {
		const struct top_column *column = &view->columns[i];
		const json_t *object =
			column->object ? json_object_get(row->json, column->object) : row->json;
		const json_t *number = json_object_get(object, column->key);

		if (column->kind == TOP_TEXT || !json_is_integer(number))
			continue;
		if (top_kind_is_rate(column->kind)) {
			row->count[i] = (uint64_t)json_integer_value(number);
			row->counted[i] = true;
		} else {
			row->value[i] = (double)json_integer_value(number);
			row->known[i] = true;
		}
	}
}

static void row_rates(const struct top_view *view, struct top_row *row,
	const struct top_row *before, double seconds)
{
	for (unsigned i = 0; view->columns[i].head; i++) {
		if (!top_kind_is_rate(view->columns[i].kind) || !row->counted[i] ||
			!before->counted[i] || row->count[i] < before->count[i])
			continue;
		row->value[i] = (double)(row->count[i] - before->count[i]) / seconds;
		row->known[i] = true;
	}
}

/* Of the same moment: there is nothing new to be known of the counters. */
static void row_keep(const struct top_view *view, struct top_row *row, const struct top_row *before)
{
	for (unsigned i = 0; view->columns[i].head; i++) {
		if (!top_kind_is_rate(view->columns[i].kind))
			continue;
		row->count[i] = before->count[i];
		row->counted[i] = before->counted[i];
		row->value[i] = before->value[i];
		row->known[i] = before->known[i];
	}
}

/* -1: no memory. */
static int row_init(struct top_sample *sample, struct top_row *row, const json_t *json,
	const struct top_sample *before)
{
	struct top_row *found, *former = NULL;
	unsigned twin = 0;

	row->json = json;
	do {
		free(row->key);
		row->key = row_key(sample->view, json, twin++);
		if (!row->key)
			return -1;
		HASH_FIND_STR(sample->by_key, row->key, found);
	} while (found && twin < TWINS_MAX);
	HASH_ADD_KEYPTR(hh, sample->by_key, row->key, strlen(row->key), row);
	row_numbers(sample->view, row);
	if (before)
		HASH_FIND_STR(before->by_key, row->key, former);
	if (former && before->at_us == sample->at_us)
		row_keep(sample->view, row, former);
	else if (former && sample->seconds > 0)
		row_rates(sample->view, row, former, sample->seconds);
	return 0;
}

static double seconds_since(const struct top_sample *before, uint64_t at_us)
{
	if (!before || at_us < before->at_us)
		return 0;
	if (at_us == before->at_us)
		return before->seconds;
	return (double)(at_us - before->at_us) / 1e6;
}

struct top_sample *top_sample_new(const struct top_view *view, json_t *answer, uint64_t at_us,
	const struct top_sample *before)
{
	struct top_sample *sample = calloc(1, sizeof(*sample));
	const json_t *rows = json_object_get(answer, view->op), *json;
	size_t n = json_array_size(rows), i;

	if (!sample) {
		json_decref(answer);
		return NULL;
	}
	sample->view = view;
	sample->answer = answer;
	sample->at_us = at_us;
	sample->seconds = seconds_since(before, at_us);
	sample->rows = calloc(n ? n : 1, sizeof(*sample->rows));
	sample->order = calloc(n ? n : 1, sizeof(struct top_row *));
	if (!sample->rows || !sample->order) {
		top_sample_free(sample);
		return NULL;
	}
	json_array_foreach(rows, i, json)
	{
		struct top_row *row = &sample->rows[sample->n];

		if (row_init(sample, row, json, before) < 0) {
			top_sample_free(sample);
			return NULL;
		}
		sample->order[sample->n++] = row;
	}
	return sample;
}

void top_sample_free(struct top_sample *sample)
{
	if (!sample)
		return;
	HASH_CLEAR(hh, sample->by_key);
	for (size_t i = 0; i < sample->n; i++)
		free(sample->rows[i].key);
	free(sample->rows);
	free(sample->order);
	json_decref(sample->answer);
	free(sample);
}

/* ---- order ---------------------------------------------------------------------------------- */

struct sorting {
	const struct top_view *view; /* static */
	unsigned column;
	bool reverse;
};

static int compare_numbers(const struct top_row *a, const struct top_row *b, unsigned column)
{
	return (a->value[column] < b->value[column]) - (a->value[column] > b->value[column]);
}

static int compare_texts(
	const struct top_row *a, const struct top_row *b, const struct sorting *sorting)
{
	char text_a[CELL_SIZE], text_b[CELL_SIZE];

	top_cell(a, sorting->view, sorting->column, text_a);
	top_cell(b, sorting->view, sorting->column, text_b);
	return strcmp(text_a, text_b);
}

static int compare(const void *of_a, const void *of_b, void *arg)
{
	const struct top_row *a = *(const struct top_row *const *)of_a;
	const struct top_row *b = *(const struct top_row *const *)of_b;
	const struct sorting *sorting = arg;
	unsigned column = sorting->column;
	int order;

	if (sorting->view->columns[column].kind == TOP_TEXT) {
		order = compare_texts(a, b, sorting);
	} else {
		if (a->known[column] != b->known[column])
			return b->known[column] - a->known[column];
		order = a->known[column] ? compare_numbers(a, b, column) : 0;
	}
	if (order)
		return sorting->reverse ? -order : order;
	return (a > b) - (a < b); /* both are of one array: as msgd has them */
}

void top_sample_sort(struct top_sample *sample, unsigned column, bool reverse)
{
	struct sorting sorting = {.view = sample->view, .column = column, .reverse = reverse};

	qsort_r(sample->order, sample->n, sizeof(struct top_row *), compare, &sorting);
}

/* ---- cells ---------------------------------------------------------------------------------- */

/* "0", "0.4", "17", "12345" */
static void count_text(double number, char ret_text[CELL_SIZE])
{
	(void)snprintf(ret_text, CELL_SIZE, number > 0 && number < 10 ? "%.1f" : "%.0f", number);
}

void top_cell(const struct top_row *row, const struct top_view *view, unsigned column,
	char ret_text[CELL_SIZE])
{
	const struct top_column *c = &view->columns[column];

	if (c->kind == TOP_TEXT)
		c->cell(c->object ? json_object_get(row->json, c->object) : row->json, c->key,
			ret_text);
	else if (!row->known[column])
		(void)snprintf(ret_text, CELL_SIZE, "-");
	else if (c->kind == TOP_AGE)
		age_text((long long)row->value[column], ret_text);
	else if (c->kind == TOP_NUMBER)
		(void)snprintf(ret_text, CELL_SIZE, "%.0f", row->value[column]);
	else if (c->kind == TOP_RATE)
		count_text(row->value[column], ret_text);
	else
		bytes_text(row->value[column], ret_text);
}
