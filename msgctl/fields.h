/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rows of a list for scripts: --fields. */
#ifndef MSGD_MSGCTL_FIELDS_H
#define MSGD_MSGCTL_FIELDS_H

#include <jansson.h>

/*
 * fields: "name,holder.pid", by their keys in JSON. Prints them of each row, a tab between two, or
 * returns an exit status after a line on stderr: no row has such a field.
 */
int fields_print(const char *fields, const json_t *rows);

#endif
