/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Judges by policy: the first rule that matches, else deny. Pure, and bounded by the number of
 * rules; index.c finds the rules that speak of a name. An unknown fact must never allow, except in
 * the mode that says so.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/policy/rule.h"

int policy_new(struct policy **ret_policy)
{
	static uint64_t last_serial;
	struct policy *policy = calloc(1, sizeof(*policy));

	if (!policy)
		return -ENOMEM;
	policy->serial = ++last_serial;
	*ret_policy = policy;
	return 0;
}

void policy_free(struct policy *policy)
{
	struct policy_text *text;

	if (!policy)
		return;
	for (size_t i = 0; i < POLICY_BUCKETS; i++) {
		while ((text = policy->texts[i])) {
			policy->texts[i] = text->next;
			free(text);
		}
	}
	free(policy->rules);
	free(policy->conditions);
	free(policy->globs);
	free(policy->marks);
	free(policy);
}

void policy_break(struct policy *policy, const char *file)
{
	const char *kept = policy_text_keep(policy, file);

	if (!policy->otherwise.file)
		policy->otherwise = (struct policy_verdict){.file = kept ? kept : "policy"};
}

bool policy_is_broken(const struct policy *policy)
{
	return policy->otherwise.file;
}

const struct report *policy_errors(const struct policy *policy)
{
	return &policy->errors;
}

const struct report *policy_warnings(const struct policy *policy)
{
	return &policy->warnings;
}

size_t policy_rules(const struct policy *policy)
{
	return policy->n_rules;
}

uint64_t policy_serial(const struct policy *policy)
{
	return policy->serial;
}

bool match_counts(enum match match, bool allow, enum policy_mode mode)
{
	if (match != MATCH_MAYBE)
		return match == MATCH_YES;
	return mode == POLICY_ANY ? allow : !allow;
}

/*
 * The caller is there: a fact about it that is not known is not the mode's question. A rule that
 * might match it counts if it is a deny, and does not if it is an allow.
 */
enum match from_match(const struct policy_rule *rule, const struct policy_subject *caller,
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
		(void)snprintf(ret_text, size, verdict->line ? "%.110s:%u" : "%.110s",
			verdict->file, verdict->line);
	else
		(void)snprintf(ret_text, size, "no rule");
}

/* ---- the memo of a domain ------------------------------------------------------------------ */

/* `same` counts as a match here: policy->same has the rules in which it must be looked at. */
unsigned policy_known_make(const struct policy *policy, const struct policy_subject *subject)
{
	struct policy_known *known = subject->known;

	if (known->serial == policy->serial || !subject->name || !subject->uuid ||
		(policy->tagged && (!subject->tags || !subject->tags->all_known)))
		return 1;
	known->serial = policy->serial;
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct policy_rule *rule = &policy->rules[i];
		uint64_t bit = UINT64_C(1) << i % 64;

		if (i % 64 == 0)
			known->from[i / 64] = known->to[i / 64] = 0;
		if (rule->connect && who_match(&rule->from, subject, subject) == MATCH_YES)
			known->from[i / 64] |= bit;
		if (who_match(&rule->to, subject, subject) == MATCH_YES)
			known->to[i / 64] |= bit;
	}
	return 2 * (unsigned)policy->n_rules + 1;
}

/* The memo of a domain, or NULL: it has none for this policy. */
static const struct policy_known *subject_known(
	const struct policy *policy, const struct policy_subject *subject)
{
	const struct policy_known *known = subject->known;

	return known && known->serial == policy->serial ? known : NULL;
}

/* ---- judging -------------------------------------------------------------------------------- */

struct judgement {
	const struct policy *policy;
	const struct policy_named *named;
	const struct policy_subject *caller, *target;
	enum policy_mode mode;
	unsigned cost;
};

/* The next word of rules that speak of the name, from *pos on. False: there is none. */
static bool next_word(struct judgement *judgement, size_t *pos, size_t *ret_word)
{
	for (; *pos < POLICY_WORDS_MAX; *pos = (*pos / 64 + 1) * 64) {
		uint64_t left = judgement->named->words[*pos / 64] >> *pos % 64;

		if (!left)
			continue;
		*ret_word = *pos + (size_t)__builtin_ctzll(left);
		*pos = *ret_word + 1;
		judgement->cost++;
		return true;
	}
	return false;
}

/* The word's rules that speak of the name and count: for a target, or for none. */
static uint64_t word_bits(const struct judgement *judgement, size_t i)
{
	const struct policy *policy = judgement->policy;
	uint64_t bits = judgement->named->bits[i] & ~policy->off[i];

	return judgement->target ? bits : bits & policy->defaults[i];
}

/* All is known: the first rule that has all bits. to: NULL without a target. */
static const struct policy_rule *judge_by_bits(
	struct judgement *judgement, const struct policy_known *from, const struct policy_known *to)
{
	const struct policy *policy = judgement->policy;
	const struct policy_subject *caller = judgement->caller, *target = judgement->target;
	bool same = caller && target && caller->domid == target->domid;
	size_t pos = 0, i;

	while (next_word(judgement, &pos, &i)) {
		uint64_t bits = word_bits(judgement, i);

		if (to)
			bits &= to->to[i];
		if (caller)
			bits &= same ? from->from[i] : from->from[i] & ~policy->same[i];
		if (bits)
			return &policy->rules[i * 64 + (size_t)__builtin_ctzll(bits)];
	}
	return NULL;
}

/* Whether the rule, which speaks of the name and counts, decides. */
static bool rule_decides(const struct judgement *judgement, const struct policy_rule *rule)
{
	const struct policy_subject *caller = judgement->caller, *target = judgement->target;
	enum match match = target ? who_match(&rule->to, target, caller) : MATCH_YES;
	enum match from = caller ? from_match(rule, caller, target) : MATCH_YES;

	if (from < match)
		match = from;
	return match_counts(match, rule->verdict.allow, judgement->mode);
}

/* A fact is unknown: looks at each rule that speaks of the name and, where known, of the caller. */
static const struct policy_rule *judge_by_rules(
	struct judgement *judgement, const struct policy_known *from)
{
	const struct policy *policy = judgement->policy;
	size_t pos = 0, i;

	while (next_word(judgement, &pos, &i)) {
		uint64_t bits = word_bits(judgement, i) & (from ? from->from[i] : UINT64_MAX);

		for (; bits; bits &= bits - 1) {
			const struct policy_rule *rule =
				&policy->rules[i * 64 + (size_t)__builtin_ctzll(bits)];

			judgement->cost++;
			if (rule_decides(judgement, rule))
				return rule;
		}
	}
	return NULL;
}

unsigned policy_judge_named(const struct policy *policy, const struct policy_named *named,
	const struct policy_subject *caller, const struct policy_subject *target,
	enum policy_mode mode, struct policy_verdict *ret_verdict)
{
	struct judgement judgement = {
		.policy = policy,
		.named = named,
		.caller = caller,
		.target = target,
		.mode = mode,
		.cost = 1,
	};
	const struct policy_known *from = caller ? subject_known(policy, caller) : NULL;
	const struct policy_known *to = target ? subject_known(policy, target) : NULL;
	const struct policy_rule *rule = (to || !target) && (from || !caller)
						 ? judge_by_bits(&judgement, from, to)
						 : judge_by_rules(&judgement, from);

	*ret_verdict = rule ? rule->verdict : policy->otherwise;
	return judgement.cost;
}

unsigned policy_judge(const struct policy *policy, const char *name,
	const struct policy_subject *caller, const struct policy_subject *target,
	enum policy_mode mode, struct policy_verdict *ret_verdict)
{
	struct policy_named named;
	unsigned cost = policy_find(policy, name, caller, &named);

	return cost + policy_judge_named(policy, &named, caller, target, mode, ret_verdict);
}

void policy_hit(struct policy *policy, const struct policy_verdict *verdict)
{
	if (verdict->rule && verdict->rule <= policy->n_rules)
		policy->rules[verdict->rule - 1].hits++;
}

void policy_take_hits(struct policy *policy, struct policy *former)
{
	uint32_t buckets[POLICY_BUCKETS] = {0}; /* number of the first rule; 0: none */

	for (size_t i = former->n_rules; i > 0; i--) {
		struct policy_rule *rule = &former->rules[i - 1];
		uint32_t *bucket = &buckets[rule->verdict.id % POLICY_BUCKETS];

		rule->successor = 0;
		rule->next_hits = *bucket;
		*bucket = (uint32_t)i;
	}
	for (size_t i = 0; i < policy->n_rules; i++) {
		struct policy_rule *rule = &policy->rules[i];
		uint32_t *at = &buckets[rule->verdict.id % POLICY_BUCKETS];

		while (*at) {
			struct policy_rule *old = &former->rules[*at - 1];

			if (old->verdict.id == rule->verdict.id &&
				strcmp(old->verdict.file, rule->verdict.file) == 0) {
				rule->hits = old->hits;
				old->successor = (uint32_t)i + 1;
				*at = old->next_hits;
				break;
			}
			at = &old->next_hits;
		}
	}
}

uint32_t policy_successor(const struct policy *former, uint32_t number)
{
	return number && number <= former->n_rules ? former->rules[number - 1].successor : 0;
}

void policy_rule_place(
	const struct policy *policy, uint32_t number, const char **ret_file, unsigned *ret_line)
{
	*ret_file = policy->rules[number - 1].verdict.file;
	*ret_line = policy->rules[number - 1].verdict.line;
}

/* ---- conditions ----------------------------------------------------------------------------- */

void policy_conditions_begin(struct policy *policy)
{
	for (unsigned i = 0; i < policy->n_conditions; i++)
		policy->conditions[i].found = MATCH_NO;
}

unsigned policy_conditions_domain(struct policy *policy, const struct policy_subject *subject)
{
	for (unsigned i = 0; i < policy->n_conditions; i++) {
		struct policy_condition *condition = &policy->conditions[i];
		enum match match = who_match(&condition->who, subject, subject);

		if (match > condition->found)
			condition->found = match;
	}
	return policy->n_conditions + 1;
}

/* A deny counts while its condition may hold, an allow while it does. */
static void rule_switch(struct policy *policy, size_t i)
{
	const struct policy_rule *rule = &policy->rules[i];
	enum match holds = policy->conditions[rule->condition - 1].holds;
	uint64_t bit = UINT64_C(1) << i % 64;

	if (match_counts(holds, rule->verdict.allow, POLICY_EXACT))
		policy->off[i / 64] &= ~bit;
	else
		policy->off[i / 64] |= bit;
}

bool policy_conditions_end(struct policy *policy)
{
	bool changed = false;

	for (unsigned i = 0; i < policy->n_conditions; i++) {
		struct policy_condition *condition = &policy->conditions[i];

		changed |= condition->holds != condition->found;
		condition->holds = condition->found;
	}
	for (size_t i = 0; changed && i < policy->n_rules; i++)
		if (policy->rules[i].condition)
			rule_switch(policy, i);
	return changed;
}
