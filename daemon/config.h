/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgd.conf(5): INI through inih. An unknown section or key is an error with file and line: a limit
 * that is misspelt would be no limit.
 */
#ifndef MSGD_DAEMON_CONFIG_H
#define MSGD_DAEMON_CONFIG_H

#include <stddef.h>

#include "daemon/broker/assign.h"
#include "daemon/broker/broker.h"

struct report;

#define CONFIG_POLICY_MAX 8U

struct config {
	struct broker_limits limits;
	char *hv;			 /* owned, or NULL: not said */
	char *admin, *attach;		 /* owned, or NULL */
	char *operators;		 /* owned, or NULL: a group */
	char *start_helper;		 /* owned, or NULL: a program's absolute path */
	char *policy[CONFIG_POLICY_MAX]; /* owned */
	size_t n_policy;
	int log_level; /* as in <syslog.h> */
	enum broker_audit audit;
	struct assignments *assignments; /* owned, or NULL: of tags and limits, none */
};

void config_init(struct config *config);
void config_fini(struct config *config);

/*
 * Adds what the text says to *config. -EINVAL: errors, which are added to the report as
 * "FILE:LINE: what"; -ENOMEM. After a failure *config is good for config_fini only. Pure. Called by
 * config_load, and for tests.
 */
int config_parse(struct config *config, const char *file, const char *text, struct report *report);

/* Reads the file. -ENOENT and other errnos of open and read, with a line in the report. */
int config_load(struct config *config, const char *path, struct report *report);

#endif
