/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The log of msgd and of msg-agent: lines on stderr, with <N> priorities where the journal reads
 * them. Only the programs' own parts include this header; libraries and the broker hand their lines
 * to their caller. A log line never fails, never waits, and is one write; lines that find no room
 * are counted, and the next line that does comes behind their number.
 */
#ifndef MSGD_BASE_LOG_H
#define MSGD_BASE_LOG_H

#include <syslog.h>

/*
 * name: borrowed, static; stands before each line that does not go to the journal. level: the least
 * important priority that is written, LOG_ERR to LOG_DEBUG.
 */
void log_open(const char *name, int level);
/* A character that is not printable is written as '?': texts of guests must not forge lines. */
__attribute__((format(printf, 2, 3))) void log_write(int priority, const char *format, ...);

#define log_error(...)	 log_write(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, __VA_ARGS__)
#define log_notice(...)	 log_write(LOG_NOTICE, __VA_ARGS__)

#endif
