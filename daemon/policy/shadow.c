/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Finds rules that can never match, because an earlier one decides all that they could: such a rule
 * is mostly a mistake in the order. Pure. No rule is named that could match; a rule that several
 * earlier ones cover only together is not found.
 */
#include <stdlib.h>
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
		       glob_is_any(who->text);
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

/* ---- a first look --------------------------------------------------------------------------- */

/*
 * Of a WHO, enough to see for most others at a glance that it does not cover them: there may be as
 * many pairs of rules as a policy of all its rules has. A glob that covers a text has its first and
 * last bytes, up to the wildcards; any other WHO that covers it is the same text.
 */
struct glance {
	uint64_t start, end; /* of the text */
	uint64_t start_mask, end_mask;
	uint32_t hash, hash_mask;
};

static uint64_t bytes_mask(size_t n)
{
	return n < 8 ? (UINT64_C(1) << 8 * n) - 1 : UINT64_MAX;
}

/* A text's first bytes or, backwards, its last ones. */
static uint64_t bytes_of(const char *text, size_t len, bool backwards)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < 8 && i < len; i++)
		bytes |= (uint64_t)(uint8_t)text[backwards ? len - 1 - i : i] << 8 * i;
	return bytes;
}

static void glance_make(const struct who *who, struct glance *ret_glance)
{
	char text[WHO_TEXT_SIZE];
	size_t len, suffix_len;
	struct glance glance = {.start_mask = 0};

	who_to_text(who, text);
	len = strlen(text);
	suffix_len = glob_suffix_len(text);
	glance.start = bytes_of(text, len, false);
	glance.end = bytes_of(text, len, true);
	glance.hash = text_hash(text, len);
	/* "any" and "same" cover other texts. */
	if (who->kind == WHO_NAME && suffix_len < len) {
		glance.start_mask = bytes_mask(strcspn(text, "*?"));
		glance.end_mask = bytes_mask(suffix_len);
	} else if (who->kind != WHO_ANY && who->kind != WHO_SAME) {
		glance.hash_mask = UINT32_MAX;
	}
	*ret_glance = glance;
}

static bool glance_may_cover(const struct glance *glance, const struct glance *other)
{
	return (((glance->start ^ other->start) & glance->start_mask) |
		       ((glance->end ^ other->end) & glance->end_mask) |
		       ((glance->hash ^ other->hash) & glance->hash_mask)) == 0;
}

/* ---- the search ----------------------------------------------------------------------------- */

struct search {
	const struct policy *policy;
	struct glance (*glances)[2];	    /* owned, or NULL: of each rule's `from` and `to` */
	uint64_t decided[POLICY_WORDS_MAX]; /* rules without a condition and without `ask` */
};

static bool may_cover(const struct search *search, size_t earlier, size_t number)
{
	return !search->glances ||
	       (glance_may_cover(&search->glances[earlier][0], &search->glances[number][0]) &&
		       glance_may_cover(&search->glances[earlier][1], &search->glances[number][1]));
}

/* The first of the rules before this one that decides all that it could; or NULL. */
static const struct policy_rule *rule_shadow(const struct search *search, size_t number)
{
	const struct policy_rule *rule = &search->policy->rules[number];
	bool same = rule_is_same(rule); /* each WHO may then be covered as the other one */
	struct policy_named covering;

	(void)policy_find_globs(search->policy, rule->name, rule->connect, glob_covers, &covering);
	for (size_t i = 0; i <= number / 64; i++) {
		uint64_t bits = named_word(&covering, i) & search->decided[i];

		if (i == number / 64)
			bits &= (UINT64_C(1) << number % 64) - 1;
		for (; bits; bits &= bits - 1) {
			size_t earlier = i * 64 + (size_t)__builtin_ctzll(bits);

			if ((same || may_cover(search, earlier, number)) &&
				domains_are_covered(rule, &search->policy->rules[earlier]))
				return &search->policy->rules[earlier];
		}
	}
	return NULL;
}

static void search_prepare(struct search *search)
{
	const struct policy *policy = search->policy;

	search->glances = calloc(policy->n_rules, sizeof(*search->glances));
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct policy_rule *rule = &policy->rules[i];

		if (!rule->condition && !rule->verdict.ask)
			search->decided[i / 64] |= UINT64_C(1) << i % 64;
		if (!search->glances) /* every pair is looked at closely */
			continue;
		glance_make(&rule->from, &search->glances[i][0]);
		glance_make(&rule->to, &search->glances[i][1]);
	}
}

void policy_warn(const struct policy *policy, struct report *report)
{
	struct search search = {.policy = policy};

	search_prepare(&search);
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct policy_verdict *rule = &policy->rules[i].verdict;
		const struct policy_rule *shadow = rule_shadow(&search, i);

		if (shadow)
			report_add(report,
				"%.110s:%u: warning: this rule never matches: %.110s:%u decides "
				"first",
				rule->file, rule->line, shadow->verdict.file, shadow->verdict.line);
	}
	free(search.glances);
}
