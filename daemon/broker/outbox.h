/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The messages to an application for which its control ring has no room. Each is paid for by the
 * domain that caused it, in bytes: the domain of the application that asked for the link or channel
 * which the message is about, else the receiver's own. So an application that does not read costs
 * those that speak to it, each in its own account, and none is cut off for another's messages. Only
 * the broker and its tests include this header.
 */
#ifndef MSGD_DAEMON_BROKER_OUTBOX_H
#define MSGD_DAEMON_BROKER_OUTBOX_H

#include "daemon/broker/domain.h"

struct link_end;
struct process;

struct outbox_message {
	TAILQ_ENTRY(outbox_message) entry; /* process->outbox */
	LIST_ENTRY(outbox_message) paid;   /* pair->domain's */
	struct process *process;	   /* borrowed: the receiver, which owns the message */
	struct domain_pair *pair;	   /* borrowed: who pays, and for whom */
	struct link_end *end;		   /* borrowed: the end of which it tells first, or NULL */
	uint32_t bytes;			   /* paid for it */
	uint32_t size;			   /* of the message that follows, which may be cut */
	struct control_message message;
};

TAILQ_HEAD(outbox, outbox_message);

/*
 * Writes the message into the ring, or keeps it until there is room. payer: NULL is the receiver's
 * own domain. first, or NULL: the end that the application learns of by this message.
 */
void outbox_send(struct process *process, struct domain *payer,
	const struct control_message *message, struct link_end *first);
/*
 * Writes the message into the ring, if nothing waits and there is room; else keeps nothing. False:
 * broker_flush is to come first, and will, for the ring has been found full.
 */
bool outbox_offer(struct process *process, const struct control_message *message);
/* The application's end: nothing will be read any more. */
void outbox_clear(struct process *process);
/* True: the message that tells of the end had not been sent, and will not be. */
bool outbox_unsend(struct link_end *end);
/*
 * The domain is gone, and so are its processes: the receiver pays for a message that the domain
 * left in its outbox. False: there is none.
 */
bool outbox_hand_over(struct domain *domain);
/* Whether so much of this domain's waits for the process that it may not add to that. */
bool outbox_congested(const struct process *process, struct domain *by);

#endif
