/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The marks and sums that all channels of one application share. The layers from here up leave
 * marks in it; the pass (libmsg/wait/pass.c) acts on them, outside of every loop. Nothing here acts
 * by itself.
 *
 * Included by: libmsg/channel.
 */
#ifndef LIBMSG_CHANNEL_POOL_H
#define LIBMSG_CHANNEL_POOL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "proto/control.h"

struct capture;
struct channel;
struct channel_set;
struct terms;

TAILQ_HEAD(channel_list, channel);
TAILQ_HEAD(channel_set_list, channel_set);

/*
 * The sums of one peer domain, whatever processes, links and channels it has: a domain that makes
 * this application hold much is charged for it, and nobody else. Channels whose link is gone count
 * until their application has closed them.
 */
struct account {
	TAILQ_ENTRY(account) entry;
	uint32_t n_refs;	  /* links and channels that hold it; freed with the last */
	uint16_t domid;		  /* of the peers */
	uint64_t held;		  /* bytes of its channels and of the messages in private memory */
	uint64_t promised;	  /* sum of the channels' rx_limit, while their link stands */
	uint32_t n_closing;	  /* channels that this end connected and closed, not the other */
	uint64_t unanswered_ns;	  /* when they were seen to be too many; 0: they are not */
	struct channel_list dead; /* without a link, that wait for their application; borrowed */
};

TAILQ_HEAD(account_list, account);
TAILQ_HEAD(terms_list, terms);

struct pool {
	uint64_t held;		      /* sum of the accounts' */
	uint64_t promised;	      /* likewise */
	struct account_list accounts; /* of domains that have a link or channel; owned */
	struct channel_list changed;  /* channels that a socket may want to look at; borrowed */
	struct channel_set_list
		due;		 /* sets in which some channel has something to send; borrowed */
	struct terms_list paced; /* of channels whose credit waits for its time; borrowed */
	uint64_t paced_ns; /* when the first of them may have its own; UINT64_MAX: none does */
	/* Of channels and links that are gone; tokens and reserved bytes are not used. */
	struct control_answer carried;
	struct capture *capture; /* owned: frames that msgd is to be told of; NULL: none are */
	bool marked;		 /* there is work for the pass */
	bool wake;		 /* threads that wait are to look again */
	uint32_t wake_senders;	 /* the senders of these channels are (channel_bit) */
	uint32_t round;		 /* counts the times that the application waited for events */
	bool rearm;		 /* some event is not asked for (any more) */
};

/* A driver that sleeps is to wake, for it sleeps on events that it has asked for. */
static inline void pool_rearm(struct pool *pool)
{
	pool->rearm = pool->wake = true;
}

static inline void pool_init(struct pool *pool)
{
	*pool = (struct pool){.paced_ns = UINT64_MAX};
	TAILQ_INIT(&pool->accounts);
	TAILQ_INIT(&pool->changed);
	TAILQ_INIT(&pool->due);
	TAILQ_INIT(&pool->paced);
}

#endif
