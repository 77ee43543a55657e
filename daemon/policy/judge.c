/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Judges by policy: the first rule that matches, else deny. Pure, and bounded by the number of
 * rules. An unknown fact must never allow, except in the mode that says so.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/policy/rule.h"

/* In this order, the lesser of two is the match of both. */
enum match { MATCH_NO, MATCH_MAYBE, MATCH_YES };

int policy_new(struct policy **ret_policy)
{
	struct policy *policy = calloc(1, sizeof(*policy));

	if (!policy)
		return -ENOMEM;
	STAILQ_INIT(&policy->files);
	*ret_policy = policy;
	return 0;
}

void policy_free(struct policy *policy)
{
	struct policy_file *file;

	if (!policy)
		return;
	while ((file = STAILQ_FIRST(&policy->files))) {
		STAILQ_REMOVE_HEAD(&policy->files, entry);
		free(file);
	}
	free(policy->rules);
	free(policy);
}

size_t policy_rules(const struct policy *policy)
{
	return policy->n_rules;
}

bool policy_glob(const char *glob, const char *text)
{
	const char *star = NULL, *again = NULL;

	while (*text) {
		if (*glob == '*') {
			star = ++glob;
			again = text;
		} else if (*glob == '?' || *glob == *text) {
			glob++;
			text++;
		} else if (star) {
			/* Only the last star needs to give way: an earlier one cannot do better. */
			glob = star;
			text = ++again;
		} else {
			return false;
		}
	}
	while (*glob == '*')
		glob++;
	return !*glob;
}

static enum match who_match(const struct who *who, const struct policy_subject *subject,
	const struct policy_subject *other)
{
	switch (who->kind) {
	case WHO_ANY:
		return MATCH_YES;
	case WHO_SAME: /* in rules of connect only: there is another */
		if (subject->domid == POLICY_DOMID_UNKNOWN || other->domid == POLICY_DOMID_UNKNOWN)
			return MATCH_MAYBE;
		return subject->domid == other->domid ? MATCH_YES : MATCH_NO;
	case WHO_DOMID:
		if (subject->domid == POLICY_DOMID_UNKNOWN)
			return MATCH_MAYBE;
		return subject->domid == who->domid ? MATCH_YES : MATCH_NO;
	case WHO_NAME:
		if (!subject->name)
			return who->glob[strspn(who->glob, "*")] ? MATCH_MAYBE : MATCH_YES;
		return policy_glob(who->glob, subject->name) ? MATCH_YES : MATCH_NO;
	case WHO_UUID:
		if (!subject->uuid)
			return MATCH_MAYBE;
		return memcmp(subject->uuid, who->uuid, sizeof(who->uuid)) == 0 ? MATCH_YES
										: MATCH_NO;
	}
	return MATCH_NO;
}

/* Whether an undecided rule counts: see enum policy_mode. */
static bool match_counts(enum match match, bool allow, enum policy_mode mode)
{
	if (match != MATCH_MAYBE)
		return match == MATCH_YES;
	return mode == POLICY_ANY ? allow : !allow;
}

/*
 * The caller is there: a fact about it that is not known is not the mode's question. A rule that
 * might match it counts if it is a deny, and does not if it is an allow.
 */
static enum match from_match(const struct policy_rule *rule, const struct policy_subject *caller,
	const struct policy_subject *target)
{
	enum match match = who_match(&rule->from, caller, target);

	if (match != MATCH_MAYBE || rule->from.kind == WHO_SAME)
		return match;
	return rule->verdict.allow ? MATCH_NO : MATCH_YES;
}

void policy_verdict_rule(const struct policy_verdict *verdict, char *ret_text, size_t size)
{
	if (verdict->file)
		(void)snprintf(ret_text, size, "%.110s:%u", verdict->file, verdict->line);
	else
		(void)snprintf(ret_text, size, "no rule");
}

void policy_judge(const struct policy *policy, const char *name,
	const struct policy_subject *caller, const struct policy_subject *target,
	enum policy_mode mode, struct policy_verdict *ret_verdict)
{
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct policy_rule *rule = &policy->rules[i];
		enum match from, match;

		if (rule->connect != !!caller || !policy_glob(rule->name, name))
			continue;
		match = who_match(&rule->to, target, caller);
		from = caller ? from_match(rule, caller, target) : MATCH_YES;
		if (from < match)
			match = from;
		if (match_counts(match, rule->verdict.allow, mode)) {
			*ret_verdict = rule->verdict;
			return;
		}
	}
	*ret_verdict = (struct policy_verdict){.allow = false};
}
