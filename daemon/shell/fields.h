/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The fields of a journal record, of what the broker says that a line is about: msgd(8). A fact
 * that is not known has no field. Pure. The shell and tests include this header.
 */
#ifndef MSGD_DAEMON_SHELL_FIELDS_H
#define MSGD_DAEMON_SHELL_FIELDS_H

#include "base/log.h"
#include "daemon/broker/broker.h"

/* "4294967295", or a link's 16 digits. */
#define FIELD_NUMBER_SIZE 17U

struct line_fields {
	struct log_field fields[LOG_FIELDS_MAX];
	size_t n;
	char numbers[LOG_FIELDS_MAX][FIELD_NUMBER_SIZE]; /* field i's value, if it is one */
};

/* Values are the line's, or static, or in *ret_fields, which must not be moved. */
void line_fields(const struct broker_line *line, struct line_fields *ret_fields);

#endif
