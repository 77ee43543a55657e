/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tells how a verdict comes about, rule by rule. Pure. It must say what judge.c does: so it asks
 * the same questions of each rule, though without the index and the memos.
 */
#include <stdio.h>
#include <string.h>

#include "base/uuid.h"
#include "daemon/policy/rule.h"

static void subject_text(const struct policy_subject *subject, char ret_text[WHO_TEXT_SIZE])
{
	char uuid[37];

	if (subject->name)
		(void)snprintf(ret_text, WHO_TEXT_SIZE, "%s", subject->name);
	else if (subject->domid != POLICY_DOMID_UNKNOWN)
		(void)snprintf(ret_text, WHO_TEXT_SIZE, "domid:%u", subject->domid);
	else if (subject->uuid) {
		uuid_to_text(subject->uuid, uuid);
		(void)snprintf(ret_text, WHO_TEXT_SIZE, "uuid:%s", uuid);
	} else {
		(void)snprintf(ret_text, WHO_TEXT_SIZE, "the domain");
	}
}

/* "from: web is not tag:trusted", or that this is not known. */
static void say_domain(struct policy_step *step, const char *place, enum match match,
	const struct who *who, const struct policy_subject *subject)
{
	char domain[WHO_TEXT_SIZE], wanted[WHO_TEXT_SIZE];

	subject_text(subject, domain);
	who_to_text(who, wanted);
	if (match == MATCH_NO && who->kind == WHO_SAME)
		(void)snprintf(step->reason, sizeof(step->reason),
			"%s: caller and target are two domains", place);
	else if (match == MATCH_NO && who->kind == WHO_DEFAULT)
		(void)snprintf(
			step->reason, sizeof(step->reason), "%s: the caller names a domain", place);
	else
		(void)snprintf(step->reason, sizeof(step->reason),
			match == MATCH_NO ? "%s: %s is not %s" : "%s: not known whether %s is %s",
			place, domain, wanted);
}

static void say_condition(
	const struct policy *policy, const struct policy_rule *rule, struct policy_step *step)
{
	const struct policy_condition *condition = &policy->conditions[rule->condition - 1];
	char who[WHO_TEXT_SIZE];

	who_to_text(&condition->who, who);
	(void)snprintf(step->reason, sizeof(step->reason),
		condition->holds == MATCH_NO ? "while: no domain %s runs"
					     : "while: not known whether a domain %s runs",
		who);
}

/* Whether the rule decides; step->reason says why not, or which unknown fact did not matter. */
static bool rule_explain(const struct policy *policy, const struct policy_rule *rule,
	const struct policy_question *question, struct policy_step *step)
{
	const struct policy_subject *caller = question->caller, *target = question->target;
	bool allow = rule->verdict.allow;
	enum match holds = MATCH_YES, from = MATCH_YES, to = MATCH_YES;

	if (!policy_glob(rule->name, question->name)) {
		(void)snprintf(step->reason, sizeof(step->reason), "name");
		return false;
	}
	if (rule->condition)
		holds = policy->conditions[rule->condition - 1].holds;
	if (holds != MATCH_YES)
		say_condition(policy, rule, step);
	if (!match_counts(holds, allow, POLICY_EXACT))
		return false;
	if (!target && rule->to.kind != WHO_DEFAULT) {
		(void)snprintf(
			step->reason, sizeof(step->reason), "to: the caller names no domain");
		return false;
	}
	if (caller)
		from = who_match(&rule->from, caller, target);
	if (from != MATCH_YES)
		say_domain(step, "from", from, &rule->from, caller);
	if (caller)
		from = from_match(rule, caller, target);
	if (!match_counts(from, allow, question->mode))
		return false;
	if (target)
		to = who_match(&rule->to, target, caller);
	if (to != MATCH_YES)
		say_domain(step, rule->connect ? "to" : "on", to, &rule->to, target);
	return match_counts(to, allow, question->mode);
}

static void say_otherwise(const struct policy *policy, struct policy_step *step)
{
	step->file = policy->otherwise.file;
	step->line = policy->otherwise.line;
	step->decides = true;
	(void)snprintf(step->reason, sizeof(step->reason), "%s",
		step->file ? "the policy is broken from here on" : "no rule matches");
}

bool policy_explain(const struct policy *policy, const struct policy_question *question,
	size_t *pos, struct policy_step *ret_step)
{
	struct policy_step step = {.decides = false};

	while (*pos < policy->n_rules && policy->rules[*pos].connect != (question->caller != NULL))
		(*pos)++;
	if (*pos > policy->n_rules)
		return false;
	if (*pos == policy->n_rules) {
		say_otherwise(policy, &step);
		(*pos)++;
	} else {
		const struct policy_rule *rule = &policy->rules[(*pos)++];

		step.decides = rule_explain(policy, rule, question, &step);
		step.file = rule->verdict.file;
		step.line = rule->verdict.line;
		step.rule = rule->verdict.rule;
		step.allow = step.decides && rule->verdict.allow;
		step.redirects = step.allow && rule->verdict.target;
		if (step.decides)
			*pos = policy->n_rules + 1;
	}
	*ret_step = step;
	return true;
}
