/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The log of msgd and of msg-agent: records for the journal where standard error is the journal,
 * else lines on stderr. Only the programs' own parts include this header; libraries and the broker
 * hand their lines to their caller. A log line never fails, never waits, and is one write; lines
 * that find no room are counted, and the next line that does comes behind their number.
 */
#ifndef MSGD_BASE_LOG_H
#define MSGD_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <syslog.h>

/* A field of a record, beside MESSAGE, PRIORITY and SYSLOG_IDENTIFIER. Lines do not show it. */
struct log_field {
	const char *name;  /* as systemd.journal-fields(7) has names */
	const char *value; /* any bytes but NUL */
};

/* A record has no more. */
#define LOG_FIELDS_MAX 16U

/*
 * name: borrowed, static; stands before each line that does not go to the journal. level: the least
 * important priority that is written, LOG_ERR to LOG_DEBUG.
 */
void log_open(const char *name, int level);
/* A character that is not printable is written as '?': texts of guests must not forge lines. */
__attribute__((format(printf, 2, 3))) void log_write(int priority, const char *format, ...);

/*
 * The same with fields. n_fields: up to LOG_FIELDS_MAX. always: whatever the level is. The text is
 * a line; values need not be.
 */
void log_record(int priority, bool always, const struct log_field *fields, size_t n_fields,
	const char *text);

#define log_error(...)	 log_write(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, __VA_ARGS__)
#define log_notice(...)	 log_write(LOG_NOTICE, __VA_ARGS__)

#endif
