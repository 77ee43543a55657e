/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgd's return: links and channels stand again if both ends announce them alike. One end alone is
 * never believed. Only the broker includes this header.
 */
#ifndef MSGD_DAEMON_BROKER_ANNOUNCE_H
#define MSGD_DAEMON_BROKER_ANNOUNCE_H

#include <stdbool.h>

#include <stdint.h>

struct broker;
struct domain;
struct control_message;
struct process;

int announce_message(struct process *process, const struct control_message *message);
/*
 * Decides about one announced link that is due. False: none is. A link is due when one of its ends
 * has said all, when its absent end's domain has, and when the time is over: so it is looked at a
 * few times, however many others there are.
 */
bool announce_work(struct broker *broker);
/* Asks for the timer where the time to be told of has changed. */
void announce_timer(struct broker *broker);
/* The time asked for by ops->timer has come. */
void announce_tick(struct broker *broker);
/* A record found at start will not attach. */
void recovery_one_less(struct broker *broker);
/* An application of the domain that was found at start has announced, or never will. */
void announce_one_less(struct domain *domain);
/* Nobody in it will announce the other end of a link. */
void announce_domain_gone(struct domain *domain);

#endif
