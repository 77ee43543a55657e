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

struct channel;
struct channel_set;

TAILQ_HEAD(channel_list, channel);
TAILQ_HEAD(channel_set_list, channel_set);

struct pool {
	uint64_t held;		     /* bytes in private buffers of channels whose link stands */
	uint64_t promised;	     /* sum of the channels' rx_limit */
	struct channel_list changed; /* channels that a socket may want to look at; borrowed */
	struct channel_set_list
		due; /* sets in which some channel has something to send; borrowed */
	bool marked; /* there is work for the pass */
	bool wake;   /* threads that wait are to look again */
	bool rearm;  /* some event is not asked for (any more) */
};

/* A driver that sleeps is to wake, for it sleeps on events that it has asked for. */
static inline void pool_rearm(struct pool *pool)
{
	pool->rearm = pool->wake = true;
}

static inline void pool_init(struct pool *pool)
{
	*pool = (struct pool){0};
	TAILQ_INIT(&pool->changed);
	TAILQ_INIT(&pool->due);
}

#endif
