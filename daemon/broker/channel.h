/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A channel: a number on a link, which owns it. A number is given again only after both ends have
 * confirmed the close. Only the broker, the views of admin/ and their tests include this header.
 */
#ifndef MSGD_DAEMON_BROKER_CHANNEL_H
#define MSGD_DAEMON_BROKER_CHANNEL_H

#include "daemon/broker/domain.h"

struct broker_link;
struct listener;

enum broker_channel_state {
	BROKER_CHANNEL_ANNOUNCED, /* by one end only */
	BROKER_CHANNEL_OFFERED,	  /* in the listener's backlog */
	BROKER_CHANNEL_OPEN,
	BROKER_CHANNEL_CLOSING, /* one end has confirmed */
	BROKER_CHANNEL_DONE,
};

/* The words of one end about a channel, while the channel is ANNOUNCED. */
struct channel_claim {
	bool made;	   /* this end has announced the channel */
	uint8_t direction; /* enum policy_direction */
	bool accepted;	   /* the channel has left the backlog */
	uint32_t listener; /* the handle of its listener, as the listening end; or 0 */
};

struct broker_channel {
	UT_hash_handle hh;	  /* link->channels, by number */
	struct broker_link *link; /* borrowed: the owner */
	uint32_t number;
	uint8_t type;
	uint8_t caller;	   /* which end of the link asked for it */
	uint8_t direction; /* enum policy_direction, on which it was made */
	bool confirmed[2]; /* this end said CHANNEL_CLOSED */
	bool accepted;	   /* the listener's end said ACCEPTED */
	bool unpaid;	   /* in link->n_unpaid */
	bool ahead;	   /* no end has spoken of it: see ahead.h */
	bool beside;	   /* was ahead: its place is none of the backlog's */
	/*
	 * While ANNOUNCED: each end's words, which are judged by themselves alone; whether the two
	 * disagree.
	 */
	struct channel_claim claims[2];
	bool refused;
	enum broker_channel_state state;
	struct captured *captured;     /* owned; NULL: nobody captures it */
	struct channel_counts *counts; /* owned: of its two ends; NULL: none was told */
	struct charge charge; /* the caller's domain; while only the listener's end knows it, its */
	struct tally *tally;  /* ref; it has the name, but for an argument */
	char *whole_name;     /* owned: with the argument; NULL: it has none */
	struct listener *listener; /* borrowed: while it has a place in the backlog, or NULL */
	LIST_ENTRY(broker_channel) offered;
	TAILQ_ENTRY(broker_channel) judgement_entry; /* link->by_judgement */
	uint64_t generation;			     /* as the link's; 0: not judged */
	uint64_t since_ns;
};

/*
 * Makes a channel: gives it a number, charges it, and puts CHANNEL into the listener's ring. name:
 * the listener's, perhaps with an argument. -EDQUOT with a reason, and where it is the verdict's
 * limit, the verdict permits no more; -ENOMEM. ahead: numbers ahead may be given with it.
 */
int broker_channel_new(struct broker_link *link, unsigned caller, struct listener *listener,
	const char *name, struct policy_verdict *verdict, bool ahead,
	struct broker_channel **ret_channel, char ret_reason[REASON_SIZE]);
/*
 * Makes the object only: no charge, no message. Announcements use it as well. -ENOMEM; -EDQUOT: max
 * channels (0: no limit) of this caller's domain to this name are there.
 */
int broker_channel_add(struct broker_link *link, uint32_t number, unsigned caller, uint32_t type,
	const char *name, uint32_t max, struct broker_channel **ret_channel);
/*
 * Another one of the same kind, which nobody has asked for yet, of this number. Nobody is told.
 * -EDQUOT, -ENOMEM; -EBUSY: the next number is another.
 */
int broker_channel_add_ahead(
	const struct broker_channel *like, struct listener *listener, uint32_t number);
/* The verdict on it is by the facts of now. */
void broker_channel_is_judged(struct broker_channel *channel);
/* Numbers that are ahead do not count as channels that stand, nor are they shown. */
void broker_channel_set_ahead(struct broker_channel *channel, bool ahead);
/* The name that the channel was connected to. */
const char *broker_channel_name(const struct broker_channel *channel);
/* Its argument is charged, if that has not been done. -EDQUOT. */
int broker_channel_pay_argument(struct broker_channel *channel);
/* Another caller or name, by an announcement. -ENOMEM. */
int broker_channel_rename(struct broker_channel *channel, unsigned caller, const char *name);
void broker_channel_set_state(struct broker_channel *channel, enum broker_channel_state state);
void broker_channel_offer(struct broker_channel *channel, struct listener *listener);
/* A place in the backlog of the listener, until broker_channel_unoffer or the channel's end. */
void broker_channel_take_place(struct broker_channel *channel, struct listener *listener);
/* Gives its place in a backlog back, if it has one. */
void broker_channel_unoffer(struct broker_channel *channel);
/*
 * If the caller's end has closed, its domain pays no longer, whatever the listener's end does: the
 * listener's domain pays. If that cannot, the channel is unpaid, and too many of them end the link.
 * One in a backlog may be there for as long as the listener likes, and is bounded by the backlog.
 */
void broker_channel_repay_caller(struct broker_channel *channel);
void broker_channel_free(struct broker_channel *channel);
/*
 * Sends CHANNEL_GONE to the ends in the mask (bit 0: creator), then frees the channel. rule: of the
 * policy, that ends it, or NULL.
 */
void broker_channel_gone(
	struct broker_channel *channel, unsigned ends, const char *reason, const char *rule);
int broker_channel_message(struct process *process, const struct control_message *message);

#endif
