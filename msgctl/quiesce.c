/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* quiesce and resume: one line for each application, and the next step. */
#include <stdio.h>

#include "msgctl/command.h"
#include "msgctl/table.h"

bool quiesce_fell_short(const json_t *answer)
{
	return !json_is_true(json_object_get(answer, "quiesced"));
}

void quiesce_print(const json_t *answer)
{
	static const char *const heads[] = {"PID", "COMMAND", "CONFIRMED", "WHY NOT", NULL};
	const json_t *rows = json_object_get(answer, "applications"), *row;
	struct table *table = table_new(heads);
	size_t i;

	json_array_foreach(rows, i, row)
	{
		table_cell(table, "%lld", field_number(row, "pid"));
		table_cell(table, "%s", field_text(row, "comm"));
		table_cell(table, "%s",
			json_is_true(json_object_get(row, "confirmed")) ? "yes" : "no");
		table_cell(table, "%s", field_text(row, "reason"));
	}
	if (json_array_size(rows))
		table_print(table);
	table_free(table);
	if (quiesce_fell_short(answer))
		(void)printf("%s(%lld) must not be saved or migrated yet: not all have confirmed\n",
			field_text(answer, "domain"), field_number(answer, "domid"));
	else
		(void)printf("%s(%lld) is quiesced: save or migrate it now\n",
			field_text(answer, "domain"), field_number(answer, "domid"));
}

void resume_print(const json_t *answer)
{
	(void)printf("%s(%lld) is quiesced no more\n", field_text(answer, "domain"),
		field_number(answer, "domid"));
}
