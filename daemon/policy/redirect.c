/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether a caller could come to a holder by a redirect: for channels that are judged again, whose
 * address is not known any more. Pure. An address is either that of no domain, or of one that is
 * there, or names one that is not there by one fact; of the last kind one address stands for all
 * that no rule tells apart.
 */
#include <stdio.h>
#include <string.h>

#include "daemon/policy/rule.h"

/* As far as is known. */
static bool target_is(const struct policy_verdict *verdict, const struct policy_subject *holder)
{
	struct who who;

	return verdict->target && who_from_text(verdict->target, KINDS_NAMING, &who) &&
	       who_match(&who, holder, holder) == MATCH_YES;
}

bool policy_has_redirects(const struct policy *policy)
{
	return policy->redirecting;
}

struct search {
	const struct policy *policy;
	const struct policy_redirection *asked;
	struct policy_verdict verdict; /* the last one */
	uint64_t cost;
};

static bool leads_there(
	struct search *search, const struct policy_subject *address, enum policy_mode mode)
{
	const struct policy_redirection *asked = search->asked;

	search->cost += policy_judge_named(
		search->policy, asked->named, asked->caller, address, mode, &search->verdict);
	return search->verdict.allow && target_is(&search->verdict, asked->holder) &&
	       asked->fits(&search->verdict, asked->arg);
}

/* An address by one fact of a domain that is not there. */
static bool absent_leads_there(struct search *search, const struct policy_subject *address)
{
	const struct policy_redirection *asked = search->asked;

	for (size_t i = 0; i < asked->n_domains; i++) {
		const struct policy_subject *domain = &asked->domains[i];

		if ((address->name && domain->name && strcmp(address->name, domain->name) == 0) ||
			(address->uuid && domain->uuid &&
				memcmp(address->uuid, domain->uuid, 16) == 0) ||
			address->domid == domain->domid)
			return false;
	}
	search->cost += asked->n_domains;
	return leads_there(search, address, POLICY_ABSENT);
}

/* No name has this character, so no glob tells names that have it apart. */
#define ANY_CHARACTER '\001'

/* A name that the glob matches: each star is one character, or none. */
static void glob_example(const char *glob, bool empty, char ret_name[DOMAIN_NAME_SIZE])
{
	char *at = ret_name;

	for (; *glob; glob++)
		if (*glob != '*')
			*at++ = *glob == '?' ? ANY_CHARACTER : *glob;
		else if (!empty)
			*at++ = ANY_CHARACTER;
	*at = '\0';
}

static bool glob_leads_there(struct search *search, const char *glob)
{
	char name[DOMAIN_NAME_SIZE];
	const struct policy_subject address = {.name = name, .domid = POLICY_DOMID_UNKNOWN};

	for (int empty = 0; empty < 2; empty++) {
		glob_example(glob, empty, name);
		if (*name && absent_leads_there(search, &address))
			return true;
	}
	return false;
}

/* A domid and a uuid that no rule names. */
static bool number_leads_there(struct search *search)
{
	static const uint8_t uuid[16] = {0x6e, 0x6f, 0x20, 0x72, 0x75, 0x6c, 0x65, 0x20, 0x6e, 0x61,
		0x6d, 0x65, 0x73, 0x20, 0x69, 0x74};
	const struct policy_subject by_domid = {.domid = DOMID_LIMIT};
	const struct policy_subject by_uuid = {.uuid = uuid, .domid = POLICY_DOMID_UNKNOWN};

	return absent_leads_there(search, &by_domid) || absent_leads_there(search, &by_uuid);
}

/* Of a rule that redirects to the holder. Of absent domains no tag is known, and none is `same`. */
static bool rule_leads_there(struct search *search, const struct who *to)
{
	switch (to->kind) {
	case WHO_ANY:
		return glob_leads_there(search, "*") || number_leads_there(search);
	case WHO_NAME:
		return glob_leads_there(search, to->text) ||
		       (glob_is_any(to->text) && number_leads_there(search));
	case WHO_DOMID:
		return absent_leads_there(search, &(struct policy_subject){.domid = to->domid});
	case WHO_UUID:
		return absent_leads_there(search,
			&(struct policy_subject){.uuid = to->uuid, .domid = POLICY_DOMID_UNKNOWN});
	default:
		return false;
	}
}

bool policy_redirects(const struct policy *policy, const struct policy_redirection *redirection,
	uint64_t *cost, struct policy_verdict *ret_verdict)
{
	const struct policy_named *named = redirection->named;
	struct search search = {.policy = policy, .asked = redirection};
	bool found = leads_there(&search, NULL, POLICY_EXACT);

	for (size_t i = 0; i < redirection->n_domains && !found; i++)
		found = leads_there(&search, &redirection->domains[i], POLICY_EXACT);
	for (size_t i = 0; i < POLICY_WORDS_MAX && !found; i++) {
		uint64_t bits = named_word(named, i) & policy->redirects[i];

		for (; bits && !found; bits &= bits - 1) {
			const struct policy_rule *rule =
				&policy->rules[i * 64 + (size_t)__builtin_ctzll(bits)];

			search.cost++;
			found = target_is(&rule->verdict, redirection->holder) &&
				rule_leads_there(&search, &rule->to);
		}
	}
	*cost += search.cost;
	if (found)
		*ret_verdict = search.verdict;
	return found;
}
