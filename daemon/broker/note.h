/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Makes events of the history out of the broker's objects, and counts them. Of a decision it writes
 * the audit record, too; for other lines of the log the caller gets the event. Only the broker and
 * its views include this header. A reason may be NULL.
 */
#ifndef MSGD_DAEMON_BROKER_NOTE_H
#define MSGD_DAEMON_BROKER_NOTE_H

#include "daemon/broker/hash.h"
#include "daemon/broker/history.h"

struct broker;
struct broker_channel;
struct broker_link;
struct broker_request;
struct domain;
struct link_end;
struct policy;
struct policy_verdict;
struct process;

/* How often a rule of the policy in force has refused: so there are no more than it has rules. */
struct refusals {
	UT_hash_handle hh; /* broker->refusals, by key */
	struct {
		const char *file; /* borrowed from the policy; NULL: no rule matched */
		uint64_t line;
	} key;
	uint32_t rule; /* its number in the policy; 0: it is none of the list */
	uint64_t since_us;
	uint64_t n;
};

void refusals_forget(struct broker *broker);
/*
 * Another policy is to come, which has taken the hits of the one in force: the counts of rules that
 * are gone go, the others stay, at their rules' new places.
 */
void refusals_move(struct broker *broker, const struct policy *policy);

const struct history_event *note_process(
	const struct process *process, enum history_kind kind, const char *reason);
void note_listening(
	const struct process *process, const char *name, const struct policy_verdict *verdict);
void note_unlistened(const struct process *process, const char *name);
/* verdict: that refused, or NULL. The kind is by the error: refused, by policy or a limit. */
void note_listen_failed(const struct process *process, const char *name, int error,
	const struct policy_verdict *verdict, const char *reason);
void note_attach_refused(const struct process *process, int error, const char *reason);
void note_connect_failed(struct broker_request *request, int error,
	const struct policy_verdict *verdict, const char *reason);
void note_connected(struct broker_request *request, const struct broker_channel *channel,
	const struct policy_verdict *verdict);
/* A connect of which the broker had no part. */
void note_used_ahead(const struct broker_channel *channel);
void note_accepted(const struct broker_channel *channel);
/* by: the domain that caused it; NULL: the one that pays for the link. */
void note_link(const struct broker_link *link, enum history_kind kind, struct domain *by, int error,
	const char *reason);
/* rule: of the policy, or NULL. */
void note_channel_reset(const struct broker_channel *channel, const char *reason, const char *rule);
const struct history_event *note_domain(
	struct domain *domain, enum history_kind kind, const char *reason);

/* For lines that no event of the history stands behind: from this end's side. */
void note_of_link(
	struct history_event *event, const struct broker_link *link, const struct link_end *who);
void note_of_channel(struct history_event *event, const struct broker_channel *channel,
	const struct link_end *who);

#endif
