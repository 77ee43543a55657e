/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Aligned columns for people. Texts come from msgd, and partly from guests: control characters are
 * not printed.
 */
#ifndef MSGD_MSGCTL_TABLE_H
#define MSGD_MSGCTL_TABLE_H

#include <jansson.h>
#include <stdbool.h>

#define TABLE_COLUMNS_MAX 16
#define CELL_SIZE	  512

struct column {
	const char *head; /* NULL ends an array of columns */
	void (*cell)(const json_t *row, const char *key, char ret_text[CELL_SIZE]);
	const char *key; /* for cell: which field of the row */
};

/* Control characters become question marks. */
void text_print(const char *text);
/* Prints a line of heads, and a line for each element of the array. */
void table_print(const struct column *columns, const json_t *rows);

#endif
