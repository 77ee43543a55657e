/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names and channels that stand are judged again when the policy, or a domain's name, has changed:
 * a bounded number at a time, for guests decide how many there are. Only the broker includes this
 * header.
 */
#ifndef MSGD_DAEMON_BROKER_REJUDGE_H
#define MSGD_DAEMON_BROKER_REJUDGE_H

#include <stdbool.h>

struct broker;
struct broker_channel;
struct broker_link;
struct policy;
struct policy_verdict;

/* Which conditions of the policy hold. Whether others do than before. */
bool rejudge_conditions(struct broker *broker, struct policy *policy);
/* Domains have come, gone, or are not what they were. */
void rejudge_domains_changed(struct broker *broker);
/* A fact of policy has changed: all that stands, and all that waits, is judged again. */
void rejudge_all(struct broker *broker);
/* The channels of a link that has come up after a restart were judged by another msgd. */
void rejudge_link(struct broker_link *link);
/* Likewise a channel of a link that is up, which was made by facts that were others. */
void rejudge_channel(struct broker_channel *channel);
/* Makes one domain's memo. False: all have it. It comes first: judging is cheap by the memos. */
bool rejudge_known(struct broker *broker);
/* Judges one name or channel. False: all are judged. */
bool rejudge_work(struct broker *broker);
bool rejudge_work_left(const struct broker *broker);
/* Whether the policy, in force or not, would permit a channel of a link that is up. */
bool rejudge_would_permit(const struct broker_channel *channel, const struct policy *policy,
	struct policy_verdict *ret_verdict);

#endif
