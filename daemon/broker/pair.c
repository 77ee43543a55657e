/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The dealings of one domain with another: messages that wait, and how often links are made. An
 * application reads, maps and unmaps for each link that another domain wants, so a domain may ask
 * another one for so many in a time and no more, and for fewer where they fail.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/broker/domain.h"
#include "daemon/broker/state.h"

struct domain_pair *domain_pair_find(struct domain *domain, const struct domain *target)
{
	struct domain_pair *pair;

	if (domain == target)
		return &domain->own;
	HASH_FIND(hh, domain->pairs, &target->serial, sizeof(target->serial), pair);
	return pair;
}

struct domain_pair *domain_pair_get(struct domain *domain, const struct domain *target)
{
	struct domain_pair *pair = domain_pair_find(domain, target);

	if (pair)
		return pair;
	pair = calloc(1, sizeof(*pair));
	if (!pair)
		return NULL;
	pair->domain = domain;
	pair->target = target->serial;
	HASH_ADD(hh, domain->pairs, target, sizeof(pair->target), pair);
	if (hash_added(&pair->hh))
		return pair;
	free(pair);
	return NULL;
}

int domain_pair_may_link(struct domain_pair *pair, char ret_reason[REASON_SIZE])
{
	static const struct rate rate = {.each_ns = LINK_MAKE_NS, .burst = LINK_MAKE_BURST};
	uint64_t now = pair->domain->broker->now_ns;
	uint64_t wait = allowance_wait(&pair->links_made, &rate, now);

	if (wait > 0) {
		reason_set(ret_reason, "links from %.30s to there %s: the next in %llu ms",
			pair->domain->info.name,
			pair->n_failed ? "keep failing" : "are made too often",
			(unsigned long long)(wait / 1000000 + 1));
		return -EDQUOT;
	}
	allowance_pay(&pair->links_made, LINK_MAKE_NS, now);
	return 0;
}

/* Each LINK_MAKE_FAILURES in a row double the price of the next. */
void domain_pair_link_failed(struct domain_pair *pair)
{
	unsigned doubled = pair->n_failed / LINK_MAKE_FAILURES;

	pair->links_made.due_ns += (LINK_MAKE_NS << doubled) - LINK_MAKE_NS;
	if (doubled < LINK_MAKE_DOUBLED_MAX)
		pair->n_failed++;
}

void domain_pair_link_made(struct domain_pair *pair)
{
	pair->n_failed = 0;
}
