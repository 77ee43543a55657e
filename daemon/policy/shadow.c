/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Finds rules that can never match, because an earlier one decides all that they could: such a rule
 * is mostly a mistake in the order. Pure. No rule is named that could match; a rule that several
 * earlier ones cover only together is not found.
 */
#include <string.h>

#include "daemon/policy/rule.h"

/* Whether the first WHO is every domain that the second one is. `same` alone is any domain. */
static bool who_covers(const struct who *who, const struct who *other)
{
	if (other->kind == WHO_DEFAULT || who->kind == WHO_DEFAULT)
		return who->kind == other->kind;
	switch (who->kind) {
	case WHO_ANY:
		return true;
	case WHO_NAME:
		return (other->kind == WHO_NAME && glob_covers(who->text, other->text)) ||
		       !who->text[strspn(who->text, "*")];
	case WHO_DOMID:
		return other->kind == WHO_DOMID && who->domid == other->domid;
	case WHO_UUID:
		return other->kind == WHO_UUID && memcmp(who->uuid, other->uuid, 16) == 0;
	case WHO_TAG:
		return other->kind == WHO_TAG && who->text == other->text;
	default:
		return false;
	}
}

/* Caller and target are one domain whenever the rule matches. */
static bool rule_is_same(const struct policy_rule *rule)
{
	if (rule->from.kind == WHO_SAME || rule->to.kind == WHO_SAME)
		return true;
	return (rule->from.kind == WHO_DOMID || rule->from.kind == WHO_UUID) &&
	       who_covers(&rule->from, &rule->to);
}

/* One domain, which is both `from` and `to`. */
static bool who_covers_same(const struct who *who, const struct policy_rule *rule)
{
	return who->kind == WHO_SAME || who_covers(who, &rule->from) || who_covers(who, &rule->to);
}

static bool domains_are_covered(const struct policy_rule *rule, const struct policy_rule *earlier)
{
	if (!rule->connect)
		return who_covers(&earlier->to, &rule->to);
	if (who_covers(&earlier->from, &rule->from) && who_covers(&earlier->to, &rule->to))
		return true;
	return rule_is_same(rule) && earlier->to.kind != WHO_DEFAULT &&
	       who_covers_same(&earlier->from, rule) && who_covers_same(&earlier->to, rule);
}

/* The first of the rules before this one that decides all that it could; or NULL. */
static const struct policy_rule *rule_shadow(const struct policy *policy, size_t number)
{
	const struct policy_rule *rule = &policy->rules[number];
	struct policy_named covering;

	(void)policy_find_globs(policy, rule->name, rule->connect, glob_covers, &covering);
	for (size_t i = 0; i <= number / 64; i++) {
		uint64_t bits = 0;

		if (covering.words[i / 64] >> i % 64 & 1)
			bits = covering.bits[i];
		if (i == number / 64)
			bits &= (UINT64_C(1) << number % 64) - 1;
		for (; bits; bits &= bits - 1) {
			const struct policy_rule *earlier =
				&policy->rules[i * 64 + (size_t)__builtin_ctzll(bits)];

			if (!earlier->condition && !earlier->verdict.ask &&
				domains_are_covered(rule, earlier))
				return earlier;
		}
	}
	return NULL;
}

void policy_warn(const struct policy *policy, struct report *report)
{
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct policy_verdict *rule = &policy->rules[i].verdict;
		const struct policy_rule *shadow = rule_shadow(policy, i);

		if (shadow)
			report_add(report,
				"%.110s:%u: warning: this rule never matches: %.110s:%u decides "
				"first",
				rule->file, rule->line, shadow->verdict.file, shadow->verdict.line);
	}
}
