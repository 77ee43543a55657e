/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Columns are as wide as their widest cell; the last one is not padded. Each cell is made twice, to
 * be measured and to be printed, so that no table is kept in memory.
 */
#include "msgctl/table.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static bool is_control(char c)
{
	return (unsigned char)c < ' ' || c == 0x7f;
}

void text_print(const char *text)
{
	for (; *text; text++)
		(void)putchar(is_control(*text) ? '?' : *text);
}

/* row: NULL for the heads. */
static void cell_make(const struct column *column, const json_t *row, char ret_text[CELL_SIZE])
{
	if (row)
		column->cell(row, column->key, ret_text);
	else
		(void)snprintf(ret_text, CELL_SIZE, "%s", column->head);
	for (char *c = ret_text; *c; c++) {
		if (is_control(*c))
			*c = '?';
	}
}

static void row_print(const struct column *columns, const int *widths, const json_t *row)
{
	char text[CELL_SIZE];

	for (; columns->head; columns++) {
		bool last = !columns[1].head;

		cell_make(columns, row, text);
		(void)printf("%-*s%s", last ? 0 : *widths++, text, last ? "\n" : "  ");
	}
}

void table_print(const struct column *columns, const json_t *rows)
{
	int widths[TABLE_COLUMNS_MAX];
	char text[CELL_SIZE];
	const json_t *row;
	size_t i;

	for (int c = 0; columns[c].head; c++) {
		assert(c < TABLE_COLUMNS_MAX);
		widths[c] = (int)strlen(columns[c].head);
		json_array_foreach(rows, i, row)
		{
			cell_make(&columns[c], row, text);
			if ((int)strlen(text) > widths[c])
				widths[c] = (int)strlen(text);
		}
	}
	row_print(columns, widths, NULL);
	json_array_foreach(rows, i, row) row_print(columns, widths, row);
}
