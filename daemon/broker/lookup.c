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

#include "daemon/broker/domain.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"

enum domain_by { BY_NAME, BY_DOMID, BY_UUID };

struct domain_address {
	enum domain_by by;
	const char *name; /* borrowed */
	uint16_t domid;
	uint8_t uuid[16];
};

static int domain_address_parse(const char *text, struct domain_address *ret_address)
{
	struct domain_address address = {.by = BY_NAME, .name = text};

	if (strncmp(text, "domid:", 6) == 0) {
		char *end;
		unsigned long domid;

		address.by = BY_DOMID;
		if (text[6] < '0' || text[6] > '9' || strlen(text) > 6 + 5)
			return -EINVAL;
		domid = strtoul(text + 6, &end, 10);
		if (*end || domid > UINT16_MAX)
			return -EINVAL;
		address.domid = (uint16_t)domid;
	} else if (strncmp(text, "uuid:", 5) == 0) {
		address.by = BY_UUID;
		if (uuid_parse(text + 5, address.uuid) < 0)
			return -EINVAL;
	}
	*ret_address = address;
	return 0;
}

static bool domain_matches(const struct domain *domain, const struct domain_address *address)
{
	switch (address->by) {
	case BY_NAME:
		return strcmp(domain->info.name, address->name) == 0;
	case BY_DOMID:
		return domain->info.domid == address->domid;
	case BY_UUID:
		return memcmp(domain->info.uuid, address->uuid, sizeof(address->uuid)) == 0;
	}
	return false;
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

static void judge(struct broker *broker, const struct process *caller, const char *name,
	const struct domain *target, struct policy_verdict *ret_verdict)
{
	struct policy_subject from = domain_subject(caller->domain);
	struct policy_subject to = domain_subject(target);

	policy_judge_connect(broker->policy, name, &from, &to, POLICY_EXACT, ret_verdict);
}

static int refused(char ret_reason[REASON_SIZE])
{
	reason_set(ret_reason, "denied by policy");
	return -EACCES;
}

/* The domain is not there. Would policy permit the connect, as far as can be told? */
static int lookup_absent(struct broker *broker, const struct process *caller,
	const struct domain_address *address, const char *name, struct policy_verdict *ret_verdict,
	char ret_reason[REASON_SIZE])
{
	struct policy_subject from = domain_subject(caller->domain);
	struct policy_subject to = {.domid = POLICY_DOMID_UNKNOWN};

	if (address->by == BY_NAME)
		to.name = address->name;
	else if (address->by == BY_DOMID)
		to.domid = address->domid;
	else
		to.uuid = address->uuid;
	policy_judge_connect(broker->policy, name, &from, &to, POLICY_ABSENT, ret_verdict);
	if (!ret_verdict->allow)
		return refused(ret_reason);
	reason_set(ret_reason, "no such domain");
	return -EHOSTUNREACH;
}

static int lookup_domain(struct broker *broker, const struct process *caller,
	const char *domain_text, const char *name, struct listener **ret_listener,
	struct policy_verdict *ret_verdict, char ret_reason[REASON_SIZE])
{
	struct domain *domain, *next, *target = NULL;
	struct policy_verdict verdict = {.allow = false}, one;
	struct domain_address address;
	unsigned n = 0, n_permitted = 0;
	int r = domain_address_parse(domain_text, &address);

	if (r < 0) {
		reason_set(ret_reason, "not a valid address");
		return r;
	}
	HASH_ITER (hh, broker->domains, domain, next) {
		if (domain_is_dead(&domain->info) || !domain_matches(domain, &address))
			continue;
		n++;
		judge(broker, caller, name, domain, &one);
		if (!one.allow) {
			if (n_permitted == 0)
				verdict = one;
			continue;
		}
		n_permitted++;
		target = domain;
		verdict = one;
	}
	if (n == 0)
		return lookup_absent(broker, caller, &address, name, ret_verdict, ret_reason);
	*ret_verdict = verdict;
	if (n_permitted == 0)
		return refused(ret_reason);
	if (n > 1) {
		reason_set(ret_reason, "several domains are called %.80s", domain_text);
		return -ENOTUNIQ;
	}
	*ret_listener = listener_find(target, name);
	if (!*ret_listener || !listener_permitted(*ret_listener)) {
		reason_set(ret_reason, "nobody listens as %s in %s", name, target->info.name);
		return -ENOENT;
	}
	return 0;
}

/* Without DOMAIN: the only permitted holder. */
static int lookup_any(struct broker *broker, const struct process *caller, const char *name,
	struct listener **ret_listener, struct policy_verdict *ret_verdict,
	char ret_reason[REASON_SIZE])
{
	struct policy_subject from = domain_subject(caller->domain);
	struct policy_subject nobody = {.domid = POLICY_DOMID_UNKNOWN};
	struct listener *listener, *found = NULL;
	struct domain *domain, *next;
	struct policy_verdict verdict;

	policy_judge_connect(broker->policy, name, &from, &nobody, POLICY_ANY, ret_verdict);
	if (!ret_verdict->allow)
		return refused(ret_reason);
	HASH_ITER (hh, broker->domains, domain, next) {
		listener = listener_find(domain, name);
		if (!listener || !listener_permitted(listener))
			continue;
		judge(broker, caller, name, domain, &verdict);
		if (!verdict.allow)
			continue;
		if (found) {
			reason_set(
				ret_reason, "several domains hold %s: say DOMAIN/%s", name, name);
			return -ENOTUNIQ;
		}
		found = listener;
		*ret_verdict = verdict;
	}
	if (!found) {
		reason_set(ret_reason, "nobody listens as %s", name);
		return -ENOENT;
	}
	*ret_listener = found;
	return 0;
}

int lookup_address(struct broker *broker, const struct process *caller, const char *domain,
	const char *name, struct listener **ret_listener, struct policy_verdict *ret_verdict,
	char ret_reason[REASON_SIZE])
{
	if (domain[0])
		return lookup_domain(
			broker, caller, domain, name, ret_listener, ret_verdict, ret_reason);
	return lookup_any(broker, caller, name, ret_listener, ret_verdict, ret_reason);
}
