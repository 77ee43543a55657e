/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tables of msgctl top for pipes and files, or objects for programs: each with rates. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "msgctl/command.h"
#include "msgctl/show.h"
#include "msgctl/top-layout.h"
#include "msgctl/top.h"

/* row: NULL for the heads. The last column is not padded. */
static void line_print(
	const struct top_sample *sample, const struct top_layout *layout, const struct top_row *row)
{
	const struct top_column *columns = sample->view->columns;
	char cell[CELL_SIZE], text[CELL_SIZE];

	for (unsigned i = 0; columns[i].head; i++) {
		bool last = !columns[i + 1].head, right = columns[i].kind != TOP_TEXT;

		if (row)
			top_cell(row, sample->view, i, cell);
		top_fit(row ? cell : columns[i].head,
			last && !right ? top_width(row ? cell : columns[i].head) : layout->width[i],
			right, text, sizeof(text));
		(void)printf("%s%s", text, last ? "\n" : "  ");
	}
}

static void table_put(const struct top_course *course)
{
	const struct top_sample *sample = course->data.sample;
	char lines[2][TOP_HEAD_SIZE];
	struct top_layout layout;

	top_head_lines(&course->data.head, lines);
	(void)printf("%s\n%s\n\n", lines[0], lines[1]);
	top_layout_measure(sample, CELL_SIZE, &layout);
	line_print(sample, &layout, NULL);
	for (size_t i = 0; i < sample->n; i++)
		line_print(sample, &layout, sample->order[i]);
	(void)putchar('\n');
}

/* By key; null: it is not known. */
static json_t *rates_json(const struct top_sample *sample, const struct top_row *row)
{
	const struct top_column *columns = sample->view->columns;
	json_t *rates = json_object();

	for (unsigned i = 0; columns[i].head; i++) {
		if (top_kind_is_rate(columns[i].kind))
			(void)json_object_set_new(rates, columns[i].key,
				row->known[i] ? json_real(row->value[i]) : json_null());
	}
	return rates;
}

static void object_put(const struct top_course *course)
{
	const struct top_sample *sample = course->data.sample;
	json_t *rows = json_array(), *object;

	for (size_t i = 0; i < sample->n; i++) {
		json_t *row = json_deep_copy(sample->order[i]->json);

		if (json_is_object(row))
			(void)json_object_set_new(
				row, "rates", rates_json(sample, sample->order[i]));
		(void)json_array_append_new(rows, row);
	}
	object = json_pack("{s:s, s:s, s:f, s:O, s:o}", "op", "top", "view", sample->view->op,
		"seconds", sample->seconds, "status", course->data.head.status, sample->view->op,
		rows);
	object_print(object);
	json_decref(object);
}

/* False: msgd has not answered, and stderr has the reason. */
static bool batch_next(struct top_course *course)
{
	const struct top_state *state = &course->state;
	int r = top_course_fetch(course);

	if (r < 0)
		return false;
	if (r > 0)
		(void)fprintf(stderr, "msgctl: msgd was started again\n");
	top_sample_sort(course->data.sample, top_state_sort(state), top_state_reverse(state));
	return true;
}

int top_batch(struct top_course *course)
{
	double interval_s = course->state.interval_s;
	struct timespec interval = {.tv_sec = (time_t)interval_s,
		.tv_nsec = (long)((interval_s - (double)(time_t)interval_s) * 1e9)};
	bool answered = false;

	for (long long i = 0; !course->n || i < course->n; i++) {
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &interval, NULL);
		answered = batch_next(course);
		if (!answered)
			continue;
		if (course->call->json)
			object_put(course);
		else
			table_put(course);
		if (fflush(stdout) != 0)
			break;
	}
	return answered ? EXIT_SUCCESS : course->status;
}
