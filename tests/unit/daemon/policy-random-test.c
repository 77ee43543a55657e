/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Random rules, judged by policy and by a matcher that reads the rules' words each time: without an
 * index, without memos, and without a thought for time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "base/report.h"
#include "daemon/policy/policy.h"
#include "tests/unit/daemon/cmocka-all.h"

#define RULES  200U
#define ROUNDS 24U

/* ---- rules and domains ---------------------------------------------------------------------- */

struct rule {
	bool allow, listen;
	const char *name, *from, *to, *condition, *target; /* static; NULL: none */
	char text[160];
};

static const uint8_t uuids[2][16] = {{0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
					     0x11, 0x11, 0x11, 0x11, 0x11, 0x11},
	{0x22}};
#define UUID "uuid:11111111-1111-1111-1111-111111111111"

static const struct policy_tags red = {.all_known = true, .n = 1, .names = {"red"}};
static const struct policy_tags blue = {.all_known = true, .n = 2, .names = {"x", "blue"}};
static const struct policy_tags some = {.all_known = false, .n = 1, .names = {"blue"}};

static struct policy_known memos[2];
static const struct policy_subject subjects[] = {
	{.name = "web", .uuid = uuids[0], .domid = 1, .tags = &red},
	{.name = "db", .uuid = uuids[1], .domid = 2, .tags = &blue},
	{.name = "web", .uuid = uuids[0], .domid = 1, .tags = &red, .known = &memos[0]},
	{.name = "db", .uuid = uuids[1], .domid = 2, .tags = &blue, .known = &memos[1]},
	{.uuid = uuids[1], .domid = 2, .tags = &some},
	{.name = "db", .uuid = uuids[1], .domid = 2},
	{.domid = POLICY_DOMID_UNKNOWN},
	{.name = "db", .domid = POLICY_DOMID_UNKNOWN},
	{.domid = 2},
	{.uuid = uuids[0], .domid = POLICY_DOMID_UNKNOWN},
};
#define N_CALLERS 6U /* the first ones are there */

static unsigned random_state;

static unsigned random_below(unsigned n)
{
	random_state = random_state * 1103515245U + 12345U;
	return (random_state >> 16) % n;
}

#define ONE_OF(words) ((words)[random_below(ARRAY_SIZE(words))])

static void random_rule(struct rule *rule)
{
	static const char *const names[] = {"a", "ab", "abc", "abd", "b", "ab*", "a*", "*c", "*",
		"a?c", "?", "??", "*b*", "abc*", "*d", "xyz", "a*c", "a+b", "a+*", "*+b", "*+*"};
	static const char *const whos[] = {"any", "web", "db", "w*", "*b", "*", "domid:1", "dom0",
		"domid:2", UUID, "same", "nobody", "tag:red", "tag:blue", "tag:x"};
	static const char *const conditions[] = {
		"web", "tag:red", "tag:blue", "domid:2", UUID, "*", "nobody"};
	static const char *const targets[] = {"web", "db", "dom0", "domid:2", UUID};
	bool to_default = random_below(8) == 0;

	*rule = (struct rule){.allow = random_below(2), .listen = random_below(8) == 0};
	rule->name = ONE_OF(names);
	do
		rule->from = ONE_OF(whos);
	while (to_default && strcmp(rule->from, "same") == 0);
	do
		rule->to = to_default ? "default" : ONE_OF(whos);
	while (rule->listen && strcmp(rule->to, "same") == 0);
	if (to_default && rule->listen)
		rule->to = "any";
	if (random_below(4) == 0)
		rule->condition = ONE_OF(conditions);
	if (rule->allow && !rule->listen && (to_default || random_below(6) == 0))
		rule->target = ONE_OF(targets);
	(void)snprintf(rule->text, sizeof(rule->text), "%s %s %s %s %s%s%s%s%s%s%s%s",
		rule->allow ? "allow" : "deny", rule->listen ? "listen" : "connect", rule->name,
		rule->listen ? "on" : "from", rule->listen ? rule->to : rule->from,
		rule->listen ? "" : " to ", rule->listen ? "" : rule->to,
		rule->condition ? " while " : "", rule->condition ? rule->condition : "",
		rule->target ? " target=" : "", rule->target ? rule->target : "", "\n");
}

/* The file of each rule is its number. */
static struct policy *policy_of(const char *const *texts)
{
	struct report report = {.n = 0};
	struct policy *policy;
	char file[16];

	assert_int_equal(policy_new(&policy), 0);
	for (unsigned i = 0; i < RULES; i++) {
		(void)snprintf(file, sizeof(file), "%u", i + 1);
		if (policy_parse(policy, file, texts[i], strlen(texts[i]), &report) < 0)
			fail_msg("%s: %s", texts[i], report.lines[0]);
	}
	return policy;
}

/* ---- the reference -------------------------------------------------------------------------- */

enum { NO, MAYBE, YES };

static bool glob(const char *pattern, const char *text)
{
	if (*pattern == '*')
		return glob(pattern + 1, text) || (*text && glob(pattern, text + 1));
	if (!*pattern || !*text)
		return !*pattern && !*text;
	return (*pattern == '?' || *pattern == *text) && glob(pattern + 1, text + 1);
}

static int known(bool fact, bool matches)
{
	return fact ? (matches ? YES : NO) : MAYBE;
}

/* target: NULL: the caller named none. */
static int who(
	const char *word, const struct policy_subject *it, const struct policy_subject *other)
{
	uint8_t uuid[16];

	if (!it)
		return strcmp(word, "default") == 0 ? YES : NO;
	if (strcmp(word, "any") == 0 || strcmp(word, "*") == 0)
		return YES;
	if (strcmp(word, "default") == 0)
		return NO;
	if (strcmp(word, "same") == 0)
		return known(
			it->domid != POLICY_DOMID_UNKNOWN && other->domid != POLICY_DOMID_UNKNOWN,
			it->domid == other->domid);
	if (strcmp(word, "dom0") == 0)
		return known(it->domid != POLICY_DOMID_UNKNOWN, it->domid == 0);
	if (strncmp(word, "domid:", 6) == 0)
		return known(it->domid != POLICY_DOMID_UNKNOWN, (int)it->domid == atoi(word + 6));
	if (strncmp(word, "uuid:", 5) == 0) {
		assert_int_equal(uuid_parse(word + 5, uuid), 0);
		return known(it->uuid, it->uuid && memcmp(it->uuid, uuid, 16) == 0);
	}
	if (strncmp(word, "tag:", 4) == 0) {
		for (unsigned i = 0; it->tags && i < it->tags->n; i++)
			if (strcmp(it->tags->names[i], word + 4) == 0)
				return YES;
		return known(it->tags && it->tags->all_known, false);
	}
	return known(it->name, it->name && glob(word, it->name));
}

/* Which domains run, by their index. */
static unsigned running;

static int condition_holds(const char *word)
{
	int holds = NO;

	for (unsigned i = 0; i < N_CALLERS; i++)
		if (running >> i & 1 && who(word, &subjects[i], NULL) > holds)
			holds = who(word, &subjects[i], NULL);
	return holds;
}

/* The number of the rule that decides; 0: none. */
static unsigned reference(const struct rule *rules, const char *name,
	const struct policy_subject *caller, const struct policy_subject *target,
	enum policy_mode mode)
{
	for (unsigned i = 0; i < RULES; i++) {
		const struct rule *rule = &rules[i];
		int from = YES, to, holds;

		if (rule->listen != !caller || !glob(rule->name, name))
			continue;
		to = who(rule->to, target, caller);
		if (caller && !(strcmp(rule->from, "same") == 0 && !target))
			from = who(rule->from, caller, target);
		holds = rule->condition ? condition_holds(rule->condition) : YES;
		/* A fact about the target is the mode's question, and so is `same`. */
		if (to == MAYBE)
			to = (mode == POLICY_ANY) == rule->allow ? YES : NO;
		if (from == MAYBE && strcmp(rule->from, "same") == 0)
			from = (mode == POLICY_ANY) == rule->allow ? YES : NO;
		else if (from == MAYBE)
			from = rule->allow ? NO : YES;
		if (holds == MAYBE)
			holds = rule->allow ? NO : YES;
		if (to == YES && from == YES && holds == YES)
			return i + 1;
	}
	return 0;
}

/* ---- the comparison ------------------------------------------------------------------------- */

static const char *const names[] = {
	"a", "ab", "abc", "abcd", "abd", "b", "c", "xyz", "zc", "a+b", "a+", "x+b", "a+bc"};

struct round {
	struct rule rules[RULES];
	struct policy *policy, *copy; /* the copy: from the canonical texts */
	bool shadowed[RULES];
};

static void round_conditions(struct policy *policy)
{
	policy_conditions_begin(policy);
	for (unsigned i = 0; i < N_CALLERS; i++)
		if (running >> i & 1)
			(void)policy_conditions_domain(policy, &subjects[i]);
	(void)policy_conditions_end(policy);
}

/* Warnings are 20 at a time: the rules after the last of them are a policy's that begins there. */
static void round_shadows(struct round *round)
{
	struct report report = {.n = 0};

	policy_warn(round->policy, &report);
	for (unsigned i = 0; i < report.n; i++) {
		int number = atoi(report.lines[i]);

		assert_in_range(number, 1, RULES);
		round->shadowed[number - 1] = true;
	}
	assert_true(report.n > 5);
}

static void round_begin(struct round *round)
{
	static struct policy_listed listed[RULES];
	const char *texts[RULES];

	memset(round, 0, sizeof(*round));
	for (unsigned i = 0; i < RULES; i++) {
		random_rule(&round->rules[i]);
		texts[i] = round->rules[i].text;
	}
	round->policy = policy_of(texts);
	for (unsigned i = 0; i < RULES; i++) {
		assert_true(policy_list(round->policy, i + 1, &listed[i]));
		assert_int_equal(atoi(listed[i].file), i + 1);
		texts[i] = listed[i].text;
	}
	round->copy = policy_of(texts);
	for (unsigned i = 0; i < RULES; i++) {
		struct policy_listed again;

		assert_true(policy_list(round->copy, i + 1, &again));
		assert_string_equal(again.text, texts[i]);
	}
	running = random_below(1U << N_CALLERS);
	round_conditions(round->policy);
	round_conditions(round->copy);
	(void)policy_known_make(round->policy, &subjects[2]);
	(void)policy_known_make(round->policy, &subjects[3]);
	round_shadows(round);
}

static bool all_known(const struct policy_subject *subject)
{
	return !subject ||
	       (subject->name && subject->uuid && subject->tags && subject->tags->all_known &&
		       subject->domid != POLICY_DOMID_UNKNOWN);
}

/* The rule that the explanation says decides. */
static unsigned explained(const struct policy *policy, const struct policy_question *question)
{
	struct policy_step step = {.decides = false};
	size_t pos = 0;

	while (policy_explain(policy, question, &pos, &step))
		assert_true(step.decides || step.reason[0]);
	assert_true(step.decides);
	return step.file ? (unsigned)atoi(step.file) : 0;
}

static void compare(struct round *round, const char *name, const struct policy_subject *caller,
	const struct policy_subject *target, enum policy_mode mode)
{
	const struct policy_question question = {name, caller, target, mode};
	unsigned want = reference(round->rules, name, caller, target, mode);
	struct policy_verdict verdict;

	(void)policy_judge(round->policy, name, caller, target, mode, &verdict);
	if ((verdict.file ? atoi(verdict.file) : 0) != (int)want)
		fail_msg("%s: rule %u decides, not %s: %s", name, want,
			verdict.file ? verdict.file : "none",
			want ? round->rules[want - 1].text : "");
	assert_int_equal(verdict.rule, want);
	(void)policy_judge(round->copy, name, caller, target, mode, &verdict);
	assert_int_equal(verdict.rule, want);
	assert_int_equal(explained(round->policy, &question), want);
	if (want && all_known(caller) && all_known(target))
		assert_false(round->shadowed[want - 1]);
}

static void test_judge(void **state)
{
	static struct round round;

	for (random_state = 1; random_state <= ROUNDS;) {
		unsigned seed = random_state;

		round_begin(&round);
		for (unsigned n = 0; n < ARRAY_SIZE(names); n++) {
			for (unsigned from = 0; from <= N_CALLERS; from++) {
				const struct policy_subject *caller =
					from < N_CALLERS ? &subjects[from] : NULL;

				for (unsigned to = 0; to < ARRAY_SIZE(subjects); to++)
					for (unsigned mode = 0; mode < 3; mode++)
						compare(&round, names[n], caller, &subjects[to],
							(enum policy_mode)mode);
				if (caller)
					compare(&round, names[n], caller, NULL, POLICY_EXACT);
			}
		}
		policy_free(round.policy);
		policy_free(round.copy);
		random_state = seed + 1;
	}
}

/* ---- redirects ------------------------------------------------------------------------------ */

/* Where the rule redirects to. */
static bool leads_to(const struct rule *rules, unsigned number, const struct policy_subject *holder)
{
	const char *target = number ? rules[number - 1].target : NULL;

	return target && who(target, holder, NULL) == YES;
}

/* Every address that the rules can tell apart: of no domain, of those there, and of absent ones. */
static bool redirects(const struct rule *rules, const char *name,
	const struct policy_subject *caller, const struct policy_subject *holder)
{
	static const uint8_t other[16] = {0x33};
	static const struct policy_subject absent[] = {
		{.name = "w", .domid = POLICY_DOMID_UNKNOWN},
		{.name = "b", .domid = POLICY_DOMID_UNKNOWN},
		{.name = "wb", .domid = POLICY_DOMID_UNKNOWN},
		{.name = "z", .domid = POLICY_DOMID_UNKNOWN},
		{.name = "nobody", .domid = POLICY_DOMID_UNKNOWN},
		{.domid = 0},
		{.domid = 7},
		{.uuid = other, .domid = POLICY_DOMID_UNKNOWN},
	};

	if (leads_to(rules, reference(rules, name, caller, NULL, POLICY_EXACT), holder))
		return true;
	for (unsigned i = 0; i < 2; i++)
		if (leads_to(rules, reference(rules, name, caller, &subjects[i], POLICY_EXACT),
			    holder))
			return true;
	for (unsigned i = 0; i < ARRAY_SIZE(absent); i++)
		if (leads_to(rules, reference(rules, name, caller, &absent[i], POLICY_ABSENT),
			    holder))
			return true;
	return false;
}

static bool any_fits(const struct policy_verdict *verdict, const void *arg)
{
	return true;
}

static void test_redirects(void **state)
{
	static struct round round;
	unsigned n_found = 0, n_not = 0;

	for (random_state = 1; random_state <= ROUNDS;) {
		unsigned seed = random_state;

		round_begin(&round);
		for (unsigned i = 0; i < ARRAY_SIZE(names) * 6 * 6; i++) {
			const char *name = names[i / 36];
			const struct policy_subject *caller = &subjects[i / 6 % 6];
			const struct policy_subject *holder = &subjects[i % 6];
			bool got, want = redirects(round.rules, name, caller, holder);
			struct policy_verdict verdict;
			struct policy_named named;
			uint64_t cost = 0;

			(void)policy_find(round.policy, name, true, &named);
			got = policy_redirects(round.policy,
				&(struct policy_redirection){.named = &named,
					.caller = caller,
					.holder = holder,
					.domains = subjects,
					.n_domains = 2,
					.fits = any_fits},
				&cost, &verdict);
			if (got != want)
				fail_msg("seed %u, %s: caller %u, holder %u: %d", seed, name,
					i / 6 % 6, i % 6, got);
			n_found += got;
			n_not += !got;
		}
		policy_free(round.policy);
		policy_free(round.copy);
		random_state = seed + 1;
	}
	assert_true(n_found > 100 && n_not > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_judge),
		cmocka_unit_test(test_redirects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
