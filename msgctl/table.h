/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Aligned columns for people. Texts come from msgd, and partly from guests: control characters are
 * not printed. */
#ifndef MSGD_MSGCTL_TABLE_H
#define MSGD_MSGCTL_TABLE_H

#include <stddef.h>

#define TABLE_COLUMNS_MAX 10

struct table;

/* heads: NULL-terminated, borrowed. Exits on lack of memory, as all of msgctl: it is a command. */
struct table *table_new(const char *const *heads);
/* Adds one cell; a row is full with as many as there are heads. */
__attribute__((format(printf, 2, 3))) void table_cell(struct table *table, const char *format, ...);
void table_print(const struct table *table);
void table_free(struct table *table);

#endif
