/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Single settings as msgd.conf has them, for the admin socket: the same limits and errors. */
#ifndef MSGD_DAEMON_CONFIG_LINE_H
#define MSGD_DAEMON_CONFIG_LINE_H

#include "base/report.h"
#include "daemon/config.h"

/* Sets the limit of this key. -EINVAL with a sentence; -ENOMEM. */
int config_line_limit(struct broker_limits *limits, const char *key, uint32_t value,
	char ret_error[REPORT_LINE_SIZE]);
/* A level as in <syslog.h>. The same errors. */
int config_line_log_level(const char *word, int *ret_level, char ret_error[REPORT_LINE_SIZE]);

#endif
