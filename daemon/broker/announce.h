/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgd's return: links and channels stand again if both ends announce them alike. One end alone is
 * never believed. Only the broker includes this header.
 */
#ifndef MSGD_DAEMON_BROKER_ANNOUNCE_H
#define MSGD_DAEMON_BROKER_ANNOUNCE_H

#include <stdint.h>

struct broker;
struct control_message;
struct process;

int announce_message(struct process *process, const struct control_message *message);
/*
 * Decides about each announced link that can be decided now. Called after a process has announced
 * or is gone, and when the time is over.
 */
void announce_settle(struct broker *broker);
/* Judges links, channels and names by the present policy. */
void announce_judge(struct broker *broker);
void recovery_one_less(struct broker *broker);
void recovery_end(struct broker *broker);

#endif
