/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See fields.h. No cell is empty, and none has a tab or a newline: a row is a line of so many
 * cells. */
#include "msgctl/fields.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "msgctl/command.h"
#include "msgctl/complain.h"
#include "msgctl/show.h"

#define FIELD_SIZE 64U

/* The next one of "name,holder.pid"; NULL: there is none. */
static const char *field_next(const char *fields, char ret_field[FIELD_SIZE])
{
	size_t len = strcspn(fields, ",");

	(void)snprintf(ret_field, FIELD_SIZE, "%.*s", (int)len, fields);
	return fields[len] ? fields + len + 1 : NULL;
}

static bool is_in_rows(const char *field, const json_t *rows)
{
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		if (field_at(row, field))
			return true;
	}
	return json_array_size(rows) == 0;
}

static void list_print(const json_t *list)
{
	const json_t *value;
	size_t i;

	if (json_array_size(list) == 0)
		(void)putchar('-');
	json_array_foreach(list, i, value)
	{
		(void)fputs(i ? "," : "", stdout);
		text_print(field_word(value));
	}
}

static void value_print(const json_t *value)
{
	if (json_is_array(value))
		list_print(value);
	else if (json_is_object(value))
		(void)json_dumpf(value, stdout, JSON_COMPACT);
	else if (json_is_integer(value))
		(void)printf("%lld", json_integer_value(value));
	else if (json_is_boolean(value))
		(void)fputs(json_is_true(value) ? "true" : "false", stdout);
	else
		text_print(field_word(value));
}

static void row_print(const char *fields, const json_t *row)
{
	char field[FIELD_SIZE];

	while (fields) {
		fields = field_next(fields, field);
		value_print(field_at(row, field));
		(void)putchar(fields ? '\t' : '\n');
	}
}

int fields_print(const char *fields, const json_t *rows)
{
	const char *rest = fields;
	char field[FIELD_SIZE];
	const json_t *row;
	size_t i;

	while (rest) {
		rest = field_next(rest, field);
		if (!is_in_rows(field, rows)) {
			complain(EXIT_USAGE, -EINVAL,
				"--fields: no row has '%s': msgctl --json has their names", field);
			return EXIT_USAGE;
		}
	}
	json_array_foreach(rows, i, row) row_print(fields, row);
	return 0;
}
