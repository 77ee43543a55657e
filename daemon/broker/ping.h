/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether an application answers, and how soon (PROTOCOL.md 5.8: an ASK that wants no counts). All
 * that ask at one time share one ASK, so clients of the admin socket cannot have a guest flooded,
 * and an application that never answers has one ASK in its ring. Only the broker and its tests
 * include this header.
 */
#ifndef MSGD_DAEMON_BROKER_PING_H
#define MSGD_DAEMON_BROKER_PING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct broker;
struct process;

/*
 * An application is asked no more often, whoever wants it: ten times a second, each time for one
 * wake-up and one message, are less than a thousandth of a processor, for it and for msgd.
 */
#define PING_NS UINT64_C(100000000)

/* Of one application. ASKs are numbered from 1 on. */
struct ping {
	TAILQ_ENTRY(process) entry; /* broker->pinged, if it is wanted */
	bool wanted;		    /* one more ASK is to be sent */
	bool blocked;		    /* not before its ring has room */
	uint32_t token;		    /* of the one that is not answered; 0: there is none */
	uint64_t n_sent, n_answered;
	uint64_t sent_ns;		/* the last one */
	uint64_t asked_ns, answered_ns; /* the last one that was answered */
};

/* True: the token is that of the ASK, which is answered with this. */
bool ping_answered(struct process *process, uint32_t token);
/* Its ring has room again. */
void ping_unblock(struct process *process);
/* The process ends, and nobody is to wait for it. */
void ping_end(struct process *process);
void pings_tick(struct broker *broker);
/* When pings_tick is to be called; 0: never. */
uint64_t pings_next_ns(const struct broker *broker);

#endif
