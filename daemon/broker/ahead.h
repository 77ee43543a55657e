/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Channels ahead (PROTOCOL.md 5.10): numbers that both ends of a link have before anybody connects,
 * so that a connect costs the broker a sixtieth of its work. To the broker a number ahead is a
 * channel that the listener may get and of which nobody has spoken yet: it is charged and ended
 * like one, and has a place beside the backlog. Only the broker and its tests include this header.
 */
#ifndef MSGD_DAEMON_BROKER_AHEAD_H
#define MSGD_DAEMON_BROKER_AHEAD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "daemon/policy/policy.h"

struct broker;
struct broker_channel;
struct broker_link;
struct control_message;
struct listener;
struct process;

/* The numbers of one end of a link, as the one that connects. It is part of the link. */
struct ahead {
	TAILQ_ENTRY(ahead) entry; /* broker->aheads, while there */
	struct broker_link *link; /* borrowed: it is part of it */
	bool there;
	bool told;   /* the connecting end is */
	bool ending; /* AHEAD_END was sent */
	uint32_t first, n;
	uint64_t left;	     /* of which the connecting end has not spoken: bit i is first + i */
	uint64_t generation; /* of the facts by which they were given */
	uint32_t rule;	     /* of the policy, which is in force in that generation */
	uint64_t used_ns;    /* the last one, or when they were given */
	/* How often this end connects to a name, whether or not there are any. */
	uint32_t listener; /* its handle */
	uint32_t n_connects;
	uint64_t connect_ns;
};

/*
 * A connect made this channel, of which the listener's end is to be told next. If its caller
 * connects often, makes numbers for the next connects, and tells the listener's end.
 */
void ahead_give(struct broker_channel *channel, struct listener *listener,
	const struct policy_verdict *verdict);
/* The connecting end is to be told of the channel next: tells it of the numbers. */
void ahead_connected(const struct broker_channel *channel);
/* An end speaks of a channel. by_caller: the connecting one. */
void ahead_spoken(struct broker_channel *channel, bool by_caller);
/* A channel is freed. */
void ahead_forget(struct broker_channel *channel);
/* The connecting end is to give the rest back. */
void ahead_end(struct ahead *ahead);
void ahead_end_all(struct broker *broker);
/* AHEAD_REST */
int ahead_message(struct process *process, const struct control_message *message);
/* The link is gone, and its numbers with it. */
void ahead_link_gone(struct broker_link *link);
void ahead_tick(struct broker *broker);
/* When ahead_tick is to be called; 0: never. */
uint64_t ahead_next_ns(const struct broker *broker);

#endif
