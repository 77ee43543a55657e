/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From an address to a listener: policy before existence, so that a refused caller learns nothing
 * (PROTOCOL.md 5.3). A refused caller must never get a different answer for what is there and what
 * is not.
 */
#include "daemon/broker/lookup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/number.h"
#include "base/uuid.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"

int domain_address_parse(const char *text, struct domain_address *ret_address)
{
	struct policy_subject *fact = &ret_address->fact;

	*fact = (struct policy_subject){.domid = POLICY_DOMID_UNKNOWN};
	if (strncmp(text, "domid:", 6) == 0)
		return strlen(text) <= 6 + 5 && number_from_text(text + 6, UINT16_MAX, &fact->domid)
			       ? 0
			       : -EINVAL;
	if (strncmp(text, "uuid:", 5) == 0) {
		fact->uuid = ret_address->uuid;
		return uuid_parse(text + 5, ret_address->uuid);
	}
	fact->name = text;
	return 0;
}

void lookup_canonical_uuid(const uint8_t uuid[16], char ret_domain[DOMAIN_NAME_SIZE])
{
	char text[37];

	uuid_to_text(uuid, text);
	(void)snprintf(ret_domain, DOMAIN_NAME_SIZE, "uuid:%s", text);
}

void lookup_canonical_domid(uint32_t domid, char ret_domain[DOMAIN_NAME_SIZE])
{
	(void)snprintf(ret_domain, DOMAIN_NAME_SIZE, "domid:%u", domid);
}

int lookup_canonical(const char *domain, char ret_domain[DOMAIN_NAME_SIZE])
{
	struct domain_address address;
	int r = domain_address_parse(domain, &address);

	if (r < 0)
		return r;
	if (address.fact.name)
		(void)snprintf(ret_domain, DOMAIN_NAME_SIZE, "%s", domain);
	else if (address.fact.uuid)
		lookup_canonical_uuid(address.uuid, ret_domain);
	else
		lookup_canonical_domid(address.fact.domid, ret_domain);
	return 0;
}

bool domain_address_is(const struct domain_address *address, const char *name,
	const uint8_t uuid[16], uint32_t domid)
{
	const struct policy_subject *fact = &address->fact;

	if (fact->name)
		return strcmp(name, fact->name) == 0;
	if (fact->uuid)
		return memcmp(uuid, fact->uuid, 16) == 0;
	return domid == fact->domid;
}

static bool domain_matches(const struct domain *domain, const struct domain_address *address)
{
	const struct broker_domain_info *info = &domain->info;

	return domain_address_is(address, info->name, info->uuid, info->domid);
}

int broker_find_domain(struct broker *broker, const char *text, uint16_t *ret_domid)
{
	struct domain *domain, *next, *found = NULL;
	struct domain_address address;
	int r = domain_address_parse(text, &address);

	if (r < 0)
		return r;
	HASH_ITER (hh, broker->domains, domain, next) {
		if (domain_is_dead(&domain->info) || !domain_matches(domain, &address))
			continue;
		if (found)
			return -ENOTUNIQ;
		found = domain;
	}
	if (!found)
		return -ESRCH;
	*ret_domid = found->info.domid;
	return 0;
}

static struct policy_verdict judge(const struct lookup *lookup, const struct policy_named *named,
	const struct policy_subject *target, enum policy_mode mode)
{
	struct broker *broker = lookup->caller->broker;
	struct policy_subject caller = domain_subject(lookup->caller->domain);
	struct policy_verdict verdict;

	broker->cost += policy_judge_named(broker->policy, named, &caller, target, mode, &verdict);
	return verdict;
}

/* The rules that speak of the name: found once for a lookup, when the first verdict needs them. */
struct lookup_rules {
	bool found;
	struct policy_named named;
};

static const struct policy_named *rules_get(const struct lookup *lookup, struct lookup_rules *rules)
{
	struct broker *broker = lookup->caller->broker;

	if (!rules->found)
		broker->cost += policy_find(broker->policy, lookup->name, true, &rules->named);
	rules->found = true;
	return &rules->named;
}

/* In the place of a domain's serial: for any domain; for a caller that names none. */
#define SERIAL_ANY     UINT64_C(0)
#define SERIAL_DEFAULT UINT64_MAX

/* NULL: none is kept. */
static const struct policy_verdict *verdict_kept(const struct lookup *lookup, uint64_t target)
{
	const struct domain *caller = lookup->caller->domain;

	lookup->caller->broker->cost += VERDICTS_KEPT;
	for (unsigned i = 0; i < VERDICTS_KEPT; i++) {
		const struct domain_verdict *kept = &caller->verdicts[i];

		if (kept->generation == caller->broker->generation && kept->target == target &&
			strcmp(kept->name, lookup->name) == 0)
			return &kept->verdict;
	}
	return NULL;
}

static void verdict_keep(
	const struct lookup *lookup, uint64_t target, const struct policy_verdict *verdict)
{
	struct domain *caller = lookup->caller->domain;
	struct domain_verdict *kept = &caller->verdicts[caller->n_verdicts++ % VERDICTS_KEPT];

	kept->generation = caller->broker->generation;
	kept->target = target;
	kept->verdict = *verdict;
	(void)snprintf(kept->name, sizeof(kept->name), "%s", lookup->name);
}

/*
 * By the rules, or as before. To judge may take a look at each rule, and a caller that connects to
 * the same name over and over would be served as seldom as one that causes as much work each time.
 * The loss of a domain's name begins no generation, so nothing is kept of a domain without one.
 */
static struct policy_verdict judge_kept(const struct lookup *lookup, struct lookup_rules *rules,
	uint64_t serial, const struct policy_subject *target, enum policy_mode mode)
{
	bool known = lookup->caller->domain->name_known;
	const struct policy_verdict *kept = known ? verdict_kept(lookup, serial) : NULL;
	struct policy_verdict verdict;

	if (kept)
		return *kept;
	verdict = judge(lookup, rules_get(lookup, rules), target, mode);
	if (known)
		verdict_keep(lookup, serial, &verdict);
	return verdict;
}

static struct policy_verdict judge_domain(
	const struct lookup *lookup, const struct domain *target, struct lookup_rules *rules)
{
	struct policy_subject subject = domain_subject(target);

	if (!target->name_known)
		return judge(lookup, rules_get(lookup, rules), &subject, POLICY_EXACT);
	return judge_kept(lookup, rules, target->serial, &subject, POLICY_EXACT);
}

bool lookup_stays(const struct policy_verdict *verdict, const struct domain *domain)
{
	struct domain_address target;

	return !verdict->target || (domain_address_parse(verdict->target, &target) == 0 &&
					   domain_matches(domain, &target));
}

static int refused(struct lookup *lookup)
{
	reason_set(lookup->reason, "denied by policy");
	return -EACCES;
}

int lookup_blocked(struct lookup *lookup)
{
	reason_set(lookup->reason, "blocked by the administrator");
	return -EACCES;
}

/* The name's listener in the domain to which it goes. */
static int lookup_holder(struct lookup *lookup, struct domain *domain)
{
	lookup->listener = listener_for(domain, lookup->name);
	if (lookup->listener && listener_permitted(lookup->listener))
		return 0;
	reason_set(lookup->reason, "nobody listens as %s in %s", lookup->name, domain->info.name);
	return -ENOENT;
}

static int not_unique(struct lookup *lookup)
{
	reason_set(lookup->reason, "several domains are called %.80s", lookup->goes_to);
	return -ENOTUNIQ;
}

/* By the verdict's target. */
static int lookup_redirected(struct lookup *lookup)
{
	struct broker *broker = lookup->caller->broker;
	uint16_t domid;
	int r;

	lookup->goes_to = lookup->verdict.target;
	broker->cost += HASH_COUNT(broker->domains);
	r = broker_find_domain(broker, lookup->goes_to, &domid);
	if (r == -ENOTUNIQ)
		return not_unique(lookup);
	if (r == 0)
		return lookup_holder(lookup, domain_find(broker, domid));
	reason_set(lookup->reason, "policy says target=%.80s, which is not there", lookup->goes_to);
	return -EHOSTUNREACH;
}

static int lookup_domain(struct lookup *lookup)
{
	struct broker *broker = lookup->caller->broker;
	struct domain *domain, *next, *target = NULL;
	struct domain_address address;
	struct lookup_rules rules;
	const char *redirect = NULL;
	unsigned n = 0;
	int r = domain_address_parse(lookup->domain, &address);

	if (r < 0) {
		reason_set(lookup->reason, "not a valid address");
		return r;
	}
	rules.found = false;
	broker->cost += HASH_COUNT(broker->domains); /* each is looked at */
	HASH_ITER (hh, broker->domains, domain, next) {
		struct policy_verdict verdict;

		if (domain_is_dead(&domain->info) || !domain_matches(domain, &address))
			continue;
		verdict = judge_domain(lookup, domain, &rules);
		/* Several that are called so may all be redirected to one. */
		if (n++ == 0 || redirect == verdict.target)
			redirect = verdict.target;
		else
			redirect = NULL;
		if (verdict.allow)
			target = domain;
		if (verdict.allow || !target)
			lookup->verdict = verdict;
	}
	/* The domain is not there. Would policy permit the connect, as far as can be told? */
	if (n == 0) {
		lookup->verdict =
			judge(lookup, rules_get(lookup, &rules), &address.fact, POLICY_ABSENT);
		redirect = lookup->verdict.target;
	}
	if (!lookup->verdict.allow)
		return refused(lookup);
	if (redirect)
		return lookup_redirected(lookup);
	if (n > 1)
		return not_unique(lookup);
	if (n == 1)
		return lookup_holder(lookup, target);
	reason_set(lookup->reason, "no such domain");
	return -EHOSTUNREACH;
}

/* Without DOMAIN and a rule for that: the only holder that an address of its own would reach. */
static int lookup_any(struct lookup *lookup)
{
	static const struct policy_subject any = {.domid = POLICY_DOMID_UNKNOWN};
	struct domain *domain, *next;
	struct lookup_rules rules;
	struct name_key keys[2];

	rules.found = false;
	lookup->verdict = judge_kept(lookup, &rules, SERIAL_DEFAULT, NULL, POLICY_EXACT);
	if (lookup->verdict.file)
		return lookup->verdict.allow ? lookup_redirected(lookup) : refused(lookup);
	lookup->caller->broker->cost += HASH_COUNT(lookup->caller->broker->domains);
	lookup->verdict = judge_kept(lookup, &rules, SERIAL_ANY, &any, POLICY_ANY);
	if (!lookup->verdict.allow)
		return refused(lookup);
	name_keys(lookup->name, keys);
	HASH_ITER (hh, lookup->caller->broker->domains, domain, next) {
		struct listener *listener = listener_by_keys(domain, keys);
		struct policy_verdict verdict;

		if (!listener || !listener_permitted(listener))
			continue;
		verdict = judge_domain(lookup, domain, &rules);
		if (!verdict.allow || !lookup_stays(&verdict, domain))
			continue;
		if (lookup->listener) {
			reason_set(lookup->reason, "several domains hold %s: say DOMAIN/%s",
				lookup->name, lookup->name);
			return -ENOTUNIQ;
		}
		lookup->listener = listener;
		lookup->verdict = verdict;
	}
	if (!lookup->listener) {
		reason_set(lookup->reason, "nobody listens as %s", lookup->name);
		return -ENOENT;
	}
	return 0;
}

int lookup_address(struct lookup *lookup)
{
	lookup->goes_to = lookup->domain;
	return lookup->domain[0] ? lookup_domain(lookup) : lookup_any(lookup);
}

bool lookup_permits(const struct process *caller, const struct listener *listener)
{
	const struct domain *target = listener->process->domain;
	struct lookup lookup = {.caller = caller, .name = listener->name};
	struct policy_subject subject = domain_subject(target);
	struct policy_verdict verdict;
	struct lookup_rules rules;

	rules.found = false;
	if (domain_is_dead(&target->info) || !listener_permitted(listener))
		return false;
	/* No verdict is kept: many names are looked at, and few of them are connected to. */
	verdict = judge(&lookup, rules_get(&lookup, &rules), &subject, POLICY_EXACT);
	return verdict.allow && !verdict.ask && lookup_stays(&verdict, target);
}
