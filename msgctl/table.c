/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Aligned columns: as wide as their widest cell, the last one unpadded. */
#include "msgctl/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct table {
	const char *const *heads; /* borrowed */
	size_t n_columns;
	size_t width[TABLE_COLUMNS_MAX];
	char **cells; /* owned, each owned */
	size_t n_cells, allocated;
};

static void *or_exit(void *memory)
{
	if (!memory) {
		(void)fputs("msgctl: out of memory\n", stderr);
		exit(EXIT_FAILURE);
	}
	return memory;
}

struct table *table_new(const char *const *heads)
{
	struct table *table = or_exit(calloc(1, sizeof(*table)));

	table->heads = heads;
	for (; heads[table->n_columns] && table->n_columns < TABLE_COLUMNS_MAX; table->n_columns++)
		table->width[table->n_columns] = strlen(heads[table->n_columns]);
	return table;
}

void table_cell(struct table *table, const char *format, ...)
{
	size_t column = table->n_cells % table->n_columns, len;
	char text[512];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	len = strlen(text);
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			text[i] = '?';
	}
	if (len > table->width[column])
		table->width[column] = len;
	if (table->n_cells == table->allocated) {
		table->allocated = table->allocated ? 2 * table->allocated : 64;
		table->cells = or_exit(
			reallocarray(table->cells, table->allocated, sizeof(*table->cells)));
	}
	table->cells[table->n_cells++] = or_exit(strdup(text));
}

static void print_cell(const struct table *table, size_t column, const char *text)
{
	if (column + 1 == table->n_columns)
		(void)printf("%s\n", text);
	else
		(void)printf("%-*s  ", (int)table->width[column], text);
}

void table_print(const struct table *table)
{
	for (size_t i = 0; i < table->n_columns; i++)
		print_cell(table, i, table->heads[i]);
	for (size_t i = 0; i < table->n_cells; i++)
		print_cell(table, i % table->n_columns, table->cells[i]);
}

void table_free(struct table *table)
{
	if (!table)
		return;
	for (size_t i = 0; i < table->n_cells; i++)
		free(table->cells[i]);
	free(table->cells);
	free(table);
}
