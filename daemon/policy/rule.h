/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rules as the parser builds them and the matcher reads them. Only policy/ includes this
 * header.
 */
#ifndef MSGD_DAEMON_POLICY_RULE_H
#define MSGD_DAEMON_POLICY_RULE_H

#include <sys/queue.h>

#include "daemon/policy/policy.h"

enum who_kind {
	WHO_ANY,
	WHO_SAME, /* the two domains of the rule are one */
	WHO_NAME, /* a glob on the domain's name */
	WHO_DOMID,
	WHO_UUID,
};

struct who {
	enum who_kind kind;
	uint32_t domid;
	uint8_t uuid[16];
	char glob[DOMAIN_NAME_SIZE];
};

struct policy_file {
	STAILQ_ENTRY(policy_file) entry;
	char name[]; /* NUL-terminated */
};

struct policy_rule {
	bool connect;
	char name[NAME_SIZE]; /* glob */
	struct who from;      /* connect: the caller */
	struct who to;	      /* connect: the target; listen: the holder */
	struct policy_verdict verdict;
};

struct policy {
	struct policy_rule *rules; /* owned, array */
	size_t n_rules, allocated;
	STAILQ_HEAD(, policy_file) files; /* owned */
};

#endif
