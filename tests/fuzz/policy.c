/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The policy's parser and matcher: nothing unknown permits, errors name file and line. */
#include "base/report.h"
#include "daemon/policy/policy.h"
#include "tests/fuzz/fuzz.h"

/* Each rule's canonical text is a rule, which has the same text. */
static void check_texts(const struct policy *policy)
{
	struct policy_listed listed, again;

	for (size_t number = 1; policy_list(policy, number, &listed); number++) {
		struct report report = {.n = 0};
		struct policy *copy;

		FUZZ_CHECK(policy_new(&copy) == 0);
		FUZZ_CHECK(policy_parse(copy, "c", listed.text, strlen(listed.text), &report) == 0);
		FUZZ_CHECK(policy_list(copy, 1, &again) && strcmp(again.text, listed.text) == 0);
		policy_free(copy);
	}
}

/* The explanation ends with the rule that decides. */
static void check_explained(const struct policy *policy, const struct policy_subject *caller,
	const struct policy_subject *target, enum policy_mode mode)
{
	const struct policy_question question = {"name", caller, target, mode};
	struct policy_verdict verdict;
	struct policy_step step = {.decides = false};
	size_t pos = 0;

	while (policy_explain(policy, &question, &pos, &step))
		;
	policy_judge(policy, "name", caller, target, mode, &verdict);
	FUZZ_CHECK(step.decides && step.rule == verdict.rule && step.allow == verdict.allow);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t uuid[16] = {1};
	const struct policy_subject web = {.name = "web", .uuid = uuid, .domid = 1};
	const struct policy_subject db = {.name = "db", .uuid = uuid, .domid = 2};
	const struct policy_subject nobody = {.domid = POLICY_DOMID_UNKNOWN};
	struct report report = {.n = 0};
	struct policy_verdict exact, absent, any;
	struct policy *policy;

	FUZZ_CHECK(policy_new(&policy) == 0);
	if (policy_parse(policy, "f", (const char *)data, size, &report) < 0) {
		FUZZ_CHECK(report.n && strncmp(report.lines[0], "f:", 2) == 0);
		FUZZ_CHECK(policy_is_broken(policy) && policy_rules(policy) == 0);
		policy_free(policy);
		return 0;
	}
	check_texts(policy);
	check_explained(policy, &web, &db, POLICY_EXACT);
	check_explained(policy, &web, &nobody, POLICY_ABSENT);
	check_explained(policy, &web, NULL, POLICY_EXACT);
	check_explained(policy, NULL, &web, POLICY_EXACT);
	policy_warn(policy, &report);
	policy_judge(policy, "name", NULL, &web, POLICY_EXACT, &exact);
	policy_judge(policy, "name", &web, &db, POLICY_EXACT, &exact);
	policy_judge(policy, "name", &web, &nobody, POLICY_ABSENT, &absent);
	policy_judge(policy, "name", &web, &nobody, POLICY_ANY, &any);
	/*
	 * A connect that is permitted to an unknown target is permitted to every one, and could be
	 * to some.
	 */
	FUZZ_CHECK(!absent.allow || exact.allow);
	FUZZ_CHECK(!exact.allow || any.allow);
	policy_free(policy);
	return 0;
}
