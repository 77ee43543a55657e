/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How often a domain connects by a rule: policy's max-connects. Only the broker includes this
 * header.
 */
#ifndef MSGD_DAEMON_BROKER_CONNECTS_H
#define MSGD_DAEMON_BROKER_CONNECTS_H

#include "daemon/broker/domain.h"

#define CONNECTS_BYTES ((uint32_t)sizeof(struct connects) + 2 * OBJECT_OVERHEAD)

/* The connects of one domain by one rule, until time has paid for all of them. */
struct connects {
	UT_hash_handle hh;	     /* domain->connects, by rule */
	TAILQ_ENTRY(connects) entry; /* domain->connects_by_age */
	uint64_t rule;		     /* its id: the rule counts on when it is read again */
	struct allowance spent;
};

/*
 * Counts a connect by the rule, if it has a max-connects. -EDQUOT with a reason: too many, and
 * the verdict permits no more; or no memory that the domain may use. -ENOMEM.
 */
int connects_take(
	struct domain *domain, struct policy_verdict *verdict, char ret_reason[REASON_SIZE]);
void connects_forget(struct domain *domain);

#endif
