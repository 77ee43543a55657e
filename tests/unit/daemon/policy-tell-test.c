/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Policy, told to people: how a verdict comes about, the rules, and those that never match. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "base/report.h"
#include "daemon/policy/policy.h"
#include "tests/unit/daemon/cmocka-all.h"

static const uint8_t uuid[16] = {0xaa};
static const struct policy_tags red = {.all_known = true, .n = 1, .names = {"red"}};
static const struct policy_subject web = {"web", uuid, 1, .tags = &red};
static const struct policy_subject db = {"db", uuid, 2, .tags = &red};

static struct policy *parse(const char *text)
{
	struct report report = {.n = 0};
	struct policy *policy;

	assert_int_equal(policy_new(&policy), 0);
	if (policy_parse(policy, "p", text, strlen(text), &report) < 0)
		fail_msg("%s", report.lines[0]);
	return policy;
}

/* The explanation, a line for each rule. */
static void explains(const char *rules, const struct policy_question *question, const char *want)
{
	struct policy *policy = parse(rules);
	struct policy_step step;
	char text[1024] = "", line[400];
	size_t pos = 0;

	while (policy_explain(policy, question, &pos, &step)) {
		(void)snprintf(line, sizeof(line), "%s:%u:%u%s %s\n", step.file ? step.file : "-",
			step.line, step.rule,
			step.decides ? (step.allow ? " allows" : " refuses") : "", step.reason);
		strcat(text, line);
	}
	assert_false(policy_explain(policy, question, &pos, &step));
	assert_string_equal(text, want);
	policy_free(policy);
}

static void test_explain(void **state)
{
	static const struct policy_subject nameless = {NULL, uuid, 3},
					   absent = {"x", NULL, UINT32_MAX};
	static const char rules[] = "allow listen * on any\n"
				    "allow connect a from any to any\n"
				    "allow connect svc from tag:blue to any\n"
				    "allow connect svc from web to any while maker\n"
				    "allow connect svc from web to domid:7\n"
				    "deny connect svc from any to same\n"
				    "deny connect svc from any to default\n"
				    "allow connect svc from web to uuid:"
				    "aa000000-0000-0000-0000-000000000000 log=yes\n"
				    "deny connect svc from any to any\n";

	explains(rules, &(struct policy_question){"svc", &web, &db, POLICY_EXACT},
		"p:2:2 name\n"
		"p:3:3 from: web is not tag:blue\n"
		"p:4:4 while: no domain maker runs\n"
		"p:5:5 to: db is not domid:7\n"
		"p:6:6 to: caller and target are two domains\n"
		"p:7:7 to: the caller names a domain\n"
		"p:8:8 allows \n");
	explains(rules, &(struct policy_question){"svc", &web, NULL, POLICY_EXACT},
		"p:2:2 name\n"
		"p:3:3 to: the caller names no domain\n"
		"p:4:4 while: no domain maker runs\n"
		"p:5:5 to: the caller names no domain\n"
		"p:6:6 to: the caller names no domain\n"
		"p:7:7 refuses \n");
	explains(rules, &(struct policy_question){"svc", &nameless, &absent, POLICY_ABSENT},
		"p:2:2 name\n"
		"p:3:3 from: not known whether domid:3 is tag:blue\n"
		"p:4:4 while: no domain maker runs\n"
		"p:5:5 from: not known whether domid:3 is web\n"
		"p:6:6 refuses to: not known whether x is same\n");
	explains(rules, &(struct policy_question){"svc", NULL, &web, POLICY_EXACT},
		"p:1:1 allows \n");
	explains("deny listen a on tag:blue\n",
		&(struct policy_question){"a", NULL, &web, POLICY_EXACT},
		"p:1:1 on: web is not tag:blue\n-:0:0 refuses no rule matches\n");
	explains("", &(struct policy_question){"a", &web, &db, POLICY_EXACT},
		"-:0:0 refuses no rule matches\n");
}

static void test_explain_broken(void **state)
{
	const struct policy_question question = {"a", NULL, &web, POLICY_EXACT};
	struct report report = {.n = 0};
	struct policy *policy = parse("allow listen b on any\n");
	struct policy_step step;
	size_t pos = 0;

	assert_true(policy_parse(policy, "q", "\nno\n", 4, &report) < 0);
	assert_true(policy_explain(policy, &question, &pos, &step));
	assert_string_equal(step.reason, "name");
	assert_true(policy_explain(policy, &question, &pos, &step));
	assert_string_equal(step.file, "q");
	assert_int_equal(step.line, 2);
	assert_true(step.decides && !step.allow);
	assert_string_equal(step.reason, "the policy is broken from here on");
	assert_false(policy_explain(policy, &question, &pos, &step));
	policy_free(policy);
}

/* Every word of the grammar, as it is listed. */
static void test_list(void **state)
{
	static const struct {
		const char *rule, *listed; /* NULL: the same */
	} cases[] = {
		{"deny listen a+?* on w\"\\* log=no", NULL},
		{"allow\tlisten a  on domid:0 # all", "allow listen a on dom0"},
		{"allow listen a on domid:07", "allow listen a on domid:7"},
		{"allow listen a on uuid:AAAAAAAA-bbbb-CCCC-dddd-eeeeeeeeeeee",
			"allow listen a on uuid:aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"},
		{"allow connect a from tag:t to default while domid:3 target=dom0", NULL},
		{"deny connect a from same to any while tag:t", NULL},
		{"allow connect a from any to same transport=argo-strict target=uuid:"
		 "aa000000-0000-0000-0000-000000000000 start=no max-rate=1024 max-connects=5/s:5 "
		 "log=yes direction=in max-buffer=3072K max-channels=7 ask-timeout=10 ask=/x",
			"allow connect a from any to same ask=/x direction=in log=yes "
			"max-buffer=3M "
			"max-channels=7 max-connects=5/s max-rate=1K target=uuid:"
			"aa000000-0000-0000-0000-000000000000 transport=argo-strict"},
		{"allow connect a from any to any ask=/bin/x ask-timeout=11 direction=out "
		 "max-buffer=8193 max-connects=1/m:2 max-rate=1024G start=yes start-timeout=61 "
		 "target=db transport=grant",
			NULL},
		{"allow connect a from any to any max-connects=1/h start-timeout=60 start=yes "
		 "transport=any",
			"allow connect a from any to any max-connects=1/h start=yes"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct policy *policy = parse(cases[i].rule);
		struct policy_listed listed;

		assert_false(policy_list(policy, 0, &listed));
		assert_true(policy_list(policy, 1, &listed));
		assert_string_equal(listed.text, cases[i].listed ? cases[i].listed : cases[i].rule);
		assert_string_equal(listed.file, "p");
		assert_int_equal(listed.line, 1);
		assert_false(policy_list(policy, 2, &listed));
		policy_free(policy);
	}
}

static void test_graph(void **state)
{
	struct policy *policy = parse("allow listen svc on w\"b\n"
				      "deny connect a from any to \\x\n"
				      "allow connect b from same to db while m\n"
				      "allow connect c from web to same target=dom0\n");
	char *text = NULL;
	size_t len;
	FILE *stream = open_memstream(&text, &len);

	assert_non_null(stream);
	policy_graph(policy, stream);
	assert_int_equal(fclose(stream), 0);
	assert_string_equal(text,
		"digraph policy {\n"
		"\trankdir=LR\n"
		"\t\"w\\\"b\" -> \"as svc\" [label=\"1: svc\" color=darkgreen arrowhead=none "
		"tooltip=\"allow listen svc on w\\\"b\"]\n"
		"\t\"any\" -> \"\\\\x\" [label=\"2: a\" color=red style=dashed "
		"tooltip=\"deny connect a from any to \\\\x\"]\n"
		"\t\"db\" -> \"db\" [label=\"3: b\" color=darkgreen style=dashed "
		"tooltip=\"allow connect b from same to db while m\"]\n"
		"\t\"web\" -> \"web\" [label=\"4: c\" color=darkgreen "
		"tooltip=\"allow connect c from web to same target=dom0\"]\n"
		"\t\"web\" -> \"dom0\" [label=\"4: target\" style=dotted]\n"
		"}\n");
	free(text);
	policy_free(policy);
}

/* The rule of line 2 is named, or is not, for what stands in line 1. */
static void test_warn(void **state)
{
	static const struct {
		const char *first, *second;
		bool never;
	} cases[] = {
		{"allow listen a on any", "deny listen a on web", true},
		{"allow listen a on any", "deny listen b on web", false},
		{"allow listen a on any", "deny connect a from any to any", false},
		{"allow listen a* on any", "deny listen a on any", true},
		{"allow listen a* on any", "deny listen a?b* on any", true},
		{"allow listen a?b on any", "deny listen a*b on any", false},
		{"allow listen * on any", "deny listen * on any", true},
		{"allow listen *b on any", "deny listen *ab on any", true},
		{"allow listen a?* on any", "deny listen a* on any", false},
		{"allow listen a on web", "deny listen a on any", false},
		{"allow listen a on w*", "deny listen a on we?", true},
		{"allow listen a on long-prefix-*", "deny listen a on long-prefix-?", true},
		{"allow listen a on long-prefix-*", "deny listen a on long-prefix", false},
		{"allow listen a on *-long-suffix", "deny listen a on x-long-suffix", true},
		{"allow listen a on *-long-suffix", "deny listen a on x-longer-suffix", false},
		{"allow listen a on x?-long-name", "deny listen a on x?-long-name", true},
		{"allow listen a on web", "deny listen a on web", true},
		{"allow listen a on web", "deny listen a on we", false},
		{"allow listen a on uuid:aa000000-0000-0000-0000-000000000000",
			"deny listen a on uuid:AA000000-0000-0000-0000-000000000000", true},
		{"allow listen a on **", "deny listen a on tag:x", true},
		{"allow listen a on tag:x", "deny listen a on tag:x", true},
		{"allow listen a on tag:x", "deny listen a on tag:y", false},
		{"allow listen a on dom0", "deny listen a on domid:0", true},
		{"allow listen a on domid:1", "deny listen a on domid:2", false},
		{"allow listen a on w*", "deny listen a on domid:2", false},
		{"allow listen a on any while x", "deny listen a on any", false},
		{"allow listen a on any", "deny listen a on any while x", true},
		{"allow connect a from any to any ask=/x", "deny connect a from any to any", false},
		{"allow connect a from any to any", "allow connect a from x to y ask=/x", true},
		{"allow connect a from any to any", "deny connect a from any to default", false},
		{"deny connect a from any to default", "deny connect a from web to default", true},
		{"deny connect a from any to default", "deny connect a from web to any", false},
		{"allow connect a from any to any", "deny connect a from any to same", true},
		{"allow connect a from any to same", "deny connect a from any to any", false},
		{"allow connect a from any to same", "deny connect a from same to web", true},
		{"allow connect a from web to same", "deny connect a from web to same", true},
		{"allow connect a from web to web", "deny connect a from web to same", true},
		{"allow connect a from web to db", "deny connect a from web to same", false},
		{"allow connect a from any to same", "deny connect a from domid:3 to domid:3",
			true},
		{"allow connect a from any to same", "deny connect a from domid:3 to domid:4",
			false},
		{"allow connect a from any to same", "deny connect a from web to web", false},
		{"allow connect a from x to any", "deny connect a from any to x", false},
	};
	char text[256];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct report report = {.n = 0};
		struct policy *policy;

		(void)snprintf(text, sizeof(text), "%s\n%s\n", cases[i].first, cases[i].second);
		policy = parse(text);
		policy_warn(policy, &report);
		if (report.n != cases[i].never)
			fail_msg("%s", text);
		if (report.n)
			assert_string_equal(report.lines[0],
				"p:2: warning: this rule never matches: p:1 decides first");
		policy_free(policy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_explain),
		cmocka_unit_test(test_explain_broken),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_graph),
		cmocka_unit_test(test_warn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
