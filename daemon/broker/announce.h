/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgd's return: what both ends of a link announce alike stands again. Nothing is believed that
 * one end alone says. Only the broker includes this header.
 */
#ifndef MSGD_DAEMON_BROKER_ANNOUNCE_H
#define MSGD_DAEMON_BROKER_ANNOUNCE_H

#include <stdint.h>

struct broker;
struct control_message;
struct process;

int announce_message(struct process *process, const struct control_message *message);
/* Settles what can be: after a process has announced or is gone, and when time is over. */
void announce_settle(struct broker *broker);
/* Judges by the present policy what stands. */
void announce_judge(struct broker *broker);
void recovery_begin(struct broker *broker, uint32_t n);
void recovery_one_less(struct broker *broker);
void recovery_end(struct broker *broker);

#endif
