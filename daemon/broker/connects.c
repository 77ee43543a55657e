/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An allowance for each rule by which a domain connects. A guest decides which rules those are: it
 * pays for the memory, which goes back once time has paid for the connects. A rule is known by its
 * text, so that a guest gets no second burst when the policy is loaded again.
 */
#include "daemon/broker/connects.h"

#include <errno.h>
#include <stdlib.h>
#include <syslog.h>

#include "daemon/broker/message-id.h"
#include "daemon/broker/state.h"

static void connects_free(struct domain *domain, struct connects *connects)
{
	HASH_DELETE(hh, domain->connects, connects);
	TAILQ_REMOVE(&domain->connects_by_age, connects, entry);
	domain_repay_bytes(domain, CONNECTS_BYTES);
	free(connects);
}

void connects_forget(struct domain *domain)
{
	while (domain->connects)
		connects_free(domain, domain->connects);
}

/* Looks at the two oldest for each that is made: those that count nothing come to an end. */
static void connects_sweep(struct domain *domain)
{
	for (unsigned i = 0; i < 2 && domain->connects; i++) {
		struct connects *oldest = TAILQ_FIRST(&domain->connects_by_age);

		domain->broker->cost += COST_OBJECT;
		if (allowance_spent(&oldest->spent, domain->broker->now_ns) == 0) {
			connects_free(domain, oldest);
			continue;
		}
		TAILQ_REMOVE(&domain->connects_by_age, oldest, entry);
		TAILQ_INSERT_TAIL(&domain->connects_by_age, oldest, entry);
	}
}

static int connects_get(struct domain *domain, uint64_t rule, struct connects **ret_connects,
	char ret_reason[REASON_SIZE])
{
	struct connects *connects;

	HASH_FIND(hh, domain->connects, &rule, sizeof(rule), connects);
	if (!connects) {
		connects_sweep(domain);
		if (domain->bytes + CONNECTS_BYTES > domain->limits.bytes)
			return domain_out_of_bytes(domain, ret_reason);
		connects = calloc(1, sizeof(*connects));
		if (!connects)
			return -ENOMEM;
		connects->rule = rule;
		HASH_ADD(hh, domain->connects, rule, sizeof(connects->rule), connects);
		if (!hash_added(&connects->hh)) {
			free(connects);
			return -ENOMEM;
		}
		TAILQ_INSERT_TAIL(&domain->connects_by_age, connects, entry);
		domain_pay_bytes(domain, CONNECTS_BYTES);
	}
	*ret_connects = connects;
	return 0;
}

static const char *span_name(uint32_t seconds)
{
	return seconds == 1 ? "s" : seconds == 60 ? "m" : "h";
}

int connects_take(
	struct domain *domain, struct policy_verdict *verdict, char ret_reason[REASON_SIZE])
{
	const struct policy_rate *said = &verdict->max_connects;
	struct connects *connects = NULL;
	struct rate rate;
	char rule[128];
	uint64_t wait_ns;
	int r;

	if (!said->n)
		return 0;
	r = connects_get(domain, verdict->id, &connects, ret_reason);
	if (r < 0)
		return r;
	/* Rounded up: not more than N. */
	rate.each_ns = (said->seconds * UINT64_C(1000000000) + said->n - 1) / said->n;
	rate.burst = said->burst;
	wait_ns = allowance_wait(&connects->spent, &rate, domain->broker->now_ns);
	if (wait_ns == 0) {
		allowance_pay(&connects->spent, rate.each_ns, domain->broker->now_ns);
		return 0;
	}
	policy_verdict_rule(verdict, rule, sizeof(rule));
	domain_log_line(domain, LOG_NOTICE,
		&(struct broker_line){.id = MESSAGE_ID_LIMIT, .rule = rule},
		"%s(%u): max-connects=%u/%s:%u of policy is reached", domain->info.name,
		domain->info.domid, said->n, span_name(said->seconds), said->burst);
	reason_set(ret_reason, "max-connects=%u/%s:%u of policy: the next in %llu.%03llu s",
		said->n, span_name(said->seconds), said->burst,
		(unsigned long long)(wait_ns / 1000000000),
		(unsigned long long)(wait_ns / 1000000 % 1000));
	verdict->allow = false;
	return -EDQUOT;
}
