/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The views of msgctl top: which list of msgd's each shows, by what its rows are told apart, and
 * its columns. Pure.
 *
 * Included by: msgctl, tests.
 */
#ifndef MSGD_MSGCTL_TOP_VIEW_H
#define MSGD_MSGCTL_TOP_VIEW_H

#include <jansson.h>
#include <stdbool.h>

#include "msgctl/table.h"

#define TOP_COLUMNS_MAX 14

enum top_kind {
	TOP_TEXT,	/* by its cell, left-aligned */
	TOP_NUMBER,	/* the rest are numbers, right-aligned */
	TOP_AGE,	/* in seconds */
	TOP_BYTES,	/* now */
	TOP_RATE,	/* of a counter, a second */
	TOP_RATE_BYTES, /* the same, of bytes */
};

struct top_column {
	const char *head; /* NULL ends an array of columns */
	enum top_kind kind;
	const char *object; /* of the row, with the key; or NULL: the row itself */
	const char *key;
	void (*cell)(const json_t *row, const char *key, char ret_text[CELL_SIZE]);
};

struct top_view {
	const char *op; /* the list, and the view's name; NULL ends the views */
	char letter;	/* the key that selects it */
	/* Texts or numbers of a row that tell it from others, the last ones NULL. */
	const char *keys[4];
	const struct top_column *columns;
	unsigned sort; /* the column at first */
};

extern const struct top_view top_views[];

/* NULL: there is none. */
const struct top_view *top_view_find(const char *op);
/* By its head, in letters of either case. -1: there is none. */
int top_column_find(const struct top_view *view, const char *head);
unsigned top_columns(const struct top_view *view);
bool top_kind_is_rate(enum top_kind kind);

#endif
