/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tags and limits that the configuration assigns to domains by what they are ([tags] and
 * [limits WHO] of msgd.conf(5)). Pure data and pure functions: built once, then only read.
 */
#ifndef MSGD_DAEMON_BROKER_ASSIGN_H
#define MSGD_DAEMON_BROKER_ASSIGN_H

#include "daemon/broker/broker.h"
#include "daemon/policy/policy.h"

struct assignments;

int assignments_new(struct assignments **ret_assignments);
void assignments_free(struct assignments *assignments);

/* A domain that `who` (no tag) names has the tag. -EINVAL: not a WHO. -ENOMEM. */
int assignments_add_tag(struct assignments *assignments, const char *tag, const char *who);
/*
 * For a domain that `who` names, the limit at this offset of struct broker_limits is `value`,
 * unless an earlier one says so already. -EINVAL: not a WHO. -EEXIST: said of this WHO before.
 * -ENOMEM.
 */
int assignments_add_limit(
	struct assignments *assignments, const char *who, size_t offset, uint32_t value);

/* The tags of a domain. A fact that is unknown may leave some of them unknown. */
void assignments_tags(const struct assignments *assignments, const struct policy_subject *subject,
	struct policy_tags *ret_tags);
/* The limits of a domain. An assignment that might be the domain's can only lower them. */
void assignments_limits(const struct assignments *assignments, const struct policy_subject *subject,
	const struct broker_limits *general, struct broker_limits *ret_limits);

#endif
