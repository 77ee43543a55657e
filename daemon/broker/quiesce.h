/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A domain that is to be saved: its processes are told, and confirm. There is no time limit here.
 * Only the broker includes this header.
 */
#ifndef MSGD_DAEMON_BROKER_QUIESCE_H
#define MSGD_DAEMON_BROKER_QUIESCE_H

#include <stdbool.h>

struct broker;
struct domain;
struct process;

/* A client that waits for the report looks again. */
void domain_report_changed(const struct domain *domain);
bool domain_is_quiesced(const struct domain *domain);
/* The domain's state may have moved on. */
void domain_state_changed(struct domain *domain);
void domain_forget_quiesced(struct domain *domain);
/* Strips the process and sends QUIESCE; or leaves the rest to quiesce_work. */
void process_quiesce(struct process *process);
/* Whether the process is about to be told: its messages do not count any more. */
bool quiesce_is_due(const struct process *process);
/* Tells a process of a quiesced domain, or ends some of its links before. */
void quiesce_work(struct broker *broker);
/* The process ended, or was dropped, without having confirmed. */
void quiesce_process_gone(struct process *process);

#endif
