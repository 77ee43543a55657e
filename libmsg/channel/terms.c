/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The terms of policy on which a channel stands (PROTOCOL.md, section 5.7), as its end keeps them:
 * the directions, the window's bound, and credit at a rate. Few channels have any.
 */
#include "libmsg/channel/channel.h"

#include <stdlib.h>

#define NS_PER_S UINT64_C(1000000000)
/* So much of a second's bytes may be on their way at once. */
#define BURSTS_PER_S 8U

static uint32_t terms_burst(const struct terms *terms)
{
	uint64_t burst = terms->said.max_rate / BURSTS_PER_S;

	/* Less than a fragment is of no use to a sender. */
	return (uint32_t)min_u64(max_u64(burst, CREDIT_INITIAL), CREDIT_GRANT_MAX);
}

uint32_t channel_cut_buffer(const struct channel *channel, uint32_t bytes)
{
	const struct terms *terms = channel->terms;

	return terms && terms->said.max_buffer ? min_u32(bytes, terms->said.max_buffer) : bytes;
}

void channel_set_window(struct channel *channel, uint32_t bytes)
{
	const struct terms *terms = channel->terms;

	channel->rx_max = min_u32(channel_cut_buffer(channel, bytes), CREDIT_MAX);
	if (terms && terms->said.max_rate)
		channel->rx_max = min_u32(channel->rx_max, terms_burst(terms));
}

int channel_set_terms(struct channel *channel, const struct control_terms *said)
{
	struct terms *terms = calloc(1, sizeof(*terms));

	if (!terms)
		return -ENOMEM;
	terms->said = *said;
	terms->channel = channel;
	channel->terms = terms;
	channel_charge(channel, sizeof(*terms) + MALLOC_COST);
	channel->tx_shut = channel->tx_shut_sent = said->direction == TERMS_RECEIVES;
	channel->rx_shut = said->direction == TERMS_SENDS;
	channel_set_window(channel, channel->rx_max);
	if (said->max_buffer)
		channel->maxmsg = channel->maxmsg_told = channel->tx_maxmsg =
			min_u32(channel->maxmsg, said->max_buffer);
	/* It says something first, and has no credit to give. */
	if (channel->rx_shut && channel->tx_open)
		channel_set_maxmsg(channel, channel->maxmsg);
	return 0;
}

void channel_free_terms(struct channel *channel)
{
	struct terms *terms = channel->terms;

	if (!terms)
		return;
	if (terms->waits)
		TAILQ_REMOVE(&channel->pool->paced, terms, entry);
	free(terms);
	channel->terms = NULL;
}

bool channel_pace(struct channel *channel)
{
	struct terms *terms = channel->terms;
	struct pool *pool = channel->pool;

	if (!terms->said.max_rate)
		return false;
	if (terms->waits)
		return true;
	terms->waits = true;
	TAILQ_INSERT_TAIL(&pool->paced, terms, entry);
	pool->paced_ns = min_u64(pool->paced_ns, terms->next_ns);
	pool->marked = true;
	return true;
}

void channel_gave(struct channel *channel, uint32_t bytes)
{
	struct terms *terms = channel->terms;

	/* CREDIT_GRANT_MAX is 2^23, and a second 2^30. */
	if (terms->said.max_rate)
		terms->next_ns = terms->since_ns + bytes * NS_PER_S / terms->said.max_rate;
}

void pool_pace(struct pool *pool, uint64_t now_ns)
{
	struct terms *terms, *next;

	if (now_ns < pool->paced_ns)
		return;
	pool->paced_ns = UINT64_MAX;
	/* As many channels of this application as policy put at a rate, and as wait. */
	for (terms = TAILQ_FIRST(&pool->paced); terms; terms = next) {
		next = TAILQ_NEXT(terms, entry);
		if (terms->next_ns > now_ns) {
			pool->paced_ns = min_u64(pool->paced_ns, terms->next_ns);
			continue;
		}
		TAILQ_REMOVE(&pool->paced, terms, entry);
		terms->waits = false;
		terms->since_ns = now_ns;
		channel_give_now(terms->channel);
	}
}
