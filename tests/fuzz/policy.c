/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The policy's parser and matcher: nothing unknown permits, errors name file and line. */
#include "base/report.h"
#include "daemon/policy/policy.h"
#include "tests/fuzz/fuzz.h"

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
