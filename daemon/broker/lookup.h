/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From an address to a listener, by policy. A refused caller must never get a different answer for
 * what is there and what is not. Only the broker includes this header.
 */
#ifndef MSGD_DAEMON_BROKER_LOOKUP_H
#define MSGD_DAEMON_BROKER_LOOKUP_H

#include "daemon/policy/policy.h"
#include "proto/limits.h"

struct broker;
struct listener;
struct process;

/*
 * Finds the listener of a connect: policy, domain, name, in the order of PROTOCOL.md 5.3. 0 and a
 * listener with its verdict; or -EACCES, -EHOSTUNREACH, -ENOENT, -ENOTUNIQ, with a reason.
 * *ret_verdict is set also with -EACCES, where one rule refused.
 */
int lookup_address(struct broker *broker, const struct process *caller, const char *domain,
	const char *name, struct listener **ret_listener, struct policy_verdict *ret_verdict,
	char ret_reason[REASON_SIZE]);

#endif
