/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The terms on which policy permits a channel (PROTOCOL.md 5.7): the broker says them, the ends
 * keep them. Only the broker includes this header.
 */
#ifndef MSGD_DAEMON_BROKER_TERMS_H
#define MSGD_DAEMON_BROKER_TERMS_H

#include "daemon/policy/policy.h"
#include "proto/control.h"

struct broker_channel;
struct process;

/* Whether the process can be told of the channel: -EOPNOTSUPP with a reason. */
int terms_check(const struct process *process, const struct policy_verdict *verdict,
	const char *name, char ret_reason[REASON_SIZE]);
/* Tells an end, before it is told of the channel, if there is something to tell. */
void terms_send(
	const struct broker_channel *channel, const struct policy_verdict *verdict, unsigned end);
/* The direction of an end's data that a channel of this direction has. */
enum terms_direction terms_direction(enum policy_direction direction, bool caller);
/* The other way round: by the words of an end. */
enum policy_direction terms_direction_of(enum terms_direction said, bool caller);

#endif
