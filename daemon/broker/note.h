/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Makes events of the history out of the broker's objects, and counts them. Only the broker
 * includes this header. A reason may be NULL.
 */
#ifndef MSGD_DAEMON_BROKER_NOTE_H
#define MSGD_DAEMON_BROKER_NOTE_H

#include "daemon/broker/history.h"

struct broker_channel;
struct broker_link;
struct broker_request;
struct domain;
struct listener;
struct lookup;
struct policy_verdict;
struct process;

void note_process(const struct process *process, enum history_kind kind, const char *reason);
void note_name(const struct process *process, enum history_kind kind, const char *name);
/* verdict: that refused, or NULL. The kind is by the error: refused, by policy or a limit. */
void note_listen_failed(const struct process *process, const char *name, int error,
	const struct policy_verdict *verdict, const char *reason);
void note_attach_refused(const struct process *process, int error, const char *reason);
void note_connect_failed(struct broker_request *request, int error,
	const struct policy_verdict *verdict, const char *reason);
void note_connected(struct broker_request *request, const struct broker_channel *channel);
void note_accepted(const struct broker_channel *channel);
/* by: the domain that caused it; NULL: the one that pays for the link. */
void note_link(const struct broker_link *link, enum history_kind kind, struct domain *by, int error,
	const char *reason);
void note_channel_reset(const struct broker_channel *channel, const char *reason);
void note_domain(struct domain *domain, enum history_kind kind, const char *reason);

#endif
