/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Policy alone, with many rules: the time to parse them, to look for rules that never match, to
 * make a domain's memo, and to judge a connect with and without memos. bench/run --case=policy
 * starts it.
 *
 *	msgbench-policy [RULES]
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/report.h"
#include "daemon/policy/policy.h"

#define RULES	 10000U
#define VERDICTS 20000U

/* A rule of each kind, by its number; the caller and target of rule N are webN and dbN. */
static const struct {
	const char *what, *rule;
} kinds[] = {
	{"each rule has names of its own", "allow connect svc%1$u from web%1$u to db%1$u\n"},
	{"one name, each rule has domains of its own",
		"allow connect svc* from web%1$u to db%1$u\n"},
	{"all rules are for patterns", "allow connect *svc%1$u from *web%1$u to *db%1$u\n"},
	{"one name, all rules are for patterns", "allow connect * from *web%1$u to *db%1$u\n"},
	{"all rules have one of 100 conditions",
		"allow connect svc%1$u from web%1$u to db%1$u while w%2$u\n"},
};

static double now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static char *rules_text(const char *rule, unsigned n)
{
	size_t size = (size_t)n * 128, len = 0;
	char *text = malloc(size);

	if (!text)
		err(1, "malloc");
	for (unsigned i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, size - len, rule, i, i % 100);
	return text;
}

/* Connects by the rules' own callers, and by one that no rule names. */
static double verdict_us(const struct policy *policy, unsigned n, struct policy_known *from,
	struct policy_known *to, const char *caller, const char *target, unsigned rule)
{
	static const uint8_t uuid[16] = {1};
	const struct policy_tags none = {.all_known = true};
	const struct policy_subject subjects[2] = {
		{.name = caller, .uuid = uuid, .domid = 1, .known = from, .tags = &none},
		{.name = target, .uuid = uuid, .domid = 2, .known = to, .tags = &none}};
	struct policy_verdict verdict;
	char name[32];
	double start;

	(void)snprintf(name, sizeof(name), "svc%u", rule);
	if (from) {
		(void)policy_known_make(policy, &subjects[0]);
		(void)policy_known_make(policy, &subjects[1]);
	}
	start = now_us();
	for (unsigned i = 0; i < n; i++)
		policy_judge(policy, name, &subjects[0], &subjects[1], POLICY_EXACT, &verdict);
	return (now_us() - start) / n;
}

static double memo_us(const struct policy *policy, struct policy_known *known)
{
	static const uint8_t uuid[16] = {1};
	const struct policy_subject subject = {
		.name = "web1", .uuid = uuid, .domid = 1, .known = known};
	double start = now_us();

	policy_known_forget(known);
	(void)policy_known_make(policy, &subject);
	return now_us() - start;
}

static double condition_us(struct policy *policy)
{
	const struct policy_subject subject = {.name = "w7", .domid = 9};
	double start = now_us();

	policy_conditions_begin(policy);
	(void)policy_conditions_domain(policy, &subject);
	(void)policy_conditions_end(policy);
	return now_us() - start;
}

static void measure(const char *what, const char *rule, unsigned n)
{
	static struct policy_known memos[2];
	struct report report = {.n = 0}, warnings = {.n = 0};
	char *text = rules_text(rule, n), caller[32], target[32];
	struct policy *policy;
	double start, parsed, warned;

	(void)snprintf(caller, sizeof(caller), "web%u", n - 1);
	(void)snprintf(target, sizeof(target), "db%u", n - 1);
	start = now_us();
	if (policy_new(&policy) < 0 ||
		policy_parse(policy, "bench", text, strlen(text), &report) < 0)
		errx(1, "%s", report.n ? report.lines[0] : "out of memory");
	parsed = now_us();
	policy_warn(policy, &warnings);
	warned = now_us();
	(void)printf("%s:\n  parse %.1f ms, never-match %.1f ms, memo %.0f us, condition %.0f us\n",
		what, (parsed - start) / 1e3, (warned - parsed) / 1e3, memo_us(policy, &memos[0]),
		condition_us(policy));
	policy_known_forget(&memos[0]);
	policy_known_forget(&memos[1]);
	(void)printf("  verdict with memos %.2f us, without %.2f us; by no rule %.2f us\n",
		verdict_us(policy, VERDICTS, &memos[0], &memos[1], caller, target, n - 1),
		verdict_us(policy, VERDICTS / 20, NULL, NULL, caller, target, n - 1),
		verdict_us(policy, VERDICTS / 20, NULL, NULL, "x", "y", n));
	policy_free(policy);
	free(text);
}

int main(int argc, char **argv)
{
	unsigned n = argc > 1 ? (unsigned)atoi(argv[1]) : RULES;

	if (n == 0 || n > POLICY_RULES_MAX)
		errx(2, "usage: msgbench-policy [RULES], 1 to %u", POLICY_RULES_MAX);
	(void)printf("%u rules\n", n);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		measure(kinds[i].what, kinds[i].rule, n);
	return 0;
}
