/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgd's log: lines on stderr, with <N> priorities where the journal reads them. Only the shell
 * logs; the broker hands its lines out. Must never block for long nor fail.
 */
#ifndef MSGD_BASE_LOG_H
#define MSGD_BASE_LOG_H

#include <stdbool.h>
#include <syslog.h>

/* level: the least important priority that is written, LOG_ERR to LOG_DEBUG. */
void log_open(int level);
/* What is not printable is written as '?': texts of guests must not forge lines. */
__attribute__((format(printf, 2, 3))) void log_write(int priority, const char *format, ...);

#define log_error(...)	 log_write(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, __VA_ARGS__)
#define log_notice(...)	 log_write(LOG_NOTICE, __VA_ARGS__)
#define log_info(...)	 log_write(LOG_INFO, __VA_ARGS__)

#endif
