/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgd.conf(5): INI through inih. An unknown section or key is an error with file and line: a limit
 * that is misspelt would be no limit.
 */
#ifndef MSGD_DAEMON_CONFIG_H
#define MSGD_DAEMON_CONFIG_H

#include <stddef.h>

#include "daemon/broker/broker.h"

#define CONFIG_POLICY_MAX 8U
#define CONFIG_ERROR_SIZE 256U

struct config {
	struct broker_limits limits;
	char *hv;			 /* owned, or NULL: not said */
	char *admin, *attach;		 /* owned, or NULL */
	char *operators;		 /* owned, or NULL: a group */
	char *policy[CONFIG_POLICY_MAX]; /* owned */
	size_t n_policy;
	int log_level; /* as in <syslog.h> */
};

void config_init(struct config *config);
void config_fini(struct config *config);

/*
 * Adds what the text says to *config. -EINVAL with "FILE:LINE: what" in ret_error, -ENOMEM. After a
 * failure *config is good for config_fini only. Pure. Called by config_load, and for tests.
 */
int config_parse(struct config *config, const char *file, const char *text,
	char ret_error[CONFIG_ERROR_SIZE]);

/* Reads the file. -ENOENT and other errnos of open and read, with a sentence. */
int config_load(struct config *config, const char *path, char ret_error[CONFIG_ERROR_SIZE]);

#endif
