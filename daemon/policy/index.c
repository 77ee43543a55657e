/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Finds the rules that speak of a name without looking at all rules: a guest chooses the names that
 * are looked up, and how often. Pure. A rule that policy_glob would match must never be missed.
 * Only the administrator's texts are in the tables, so a guest cannot make their chains long.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/policy/rule.h"

/* FNV-1a, a byte at a time: each beginning of a name has its hash on the way. */
#define HASH_START 2166136261U

static uint32_t hash_byte(uint32_t hash, char c)
{
	return (hash ^ (uint8_t)c) * 16777619U;
}

uint32_t text_hash(const char *text, size_t len)
{
	uint32_t hash = HASH_START;

	for (size_t i = 0; i < len; i++)
		hash = hash_byte(hash, text[i]);
	return hash;
}

/* Of the len bytes before `end`, the last one first. */
static uint32_t hash_backwards(const char *end, size_t len)
{
	uint32_t hash = HASH_START;

	for (size_t i = 1; i <= len; i++)
		hash = hash_byte(hash, end[-(ptrdiff_t)i]);
	return hash;
}

const char *policy_text_keep(struct policy *policy, const char *text)
{
	size_t len = strlen(text);
	struct policy_text **bucket = &policy->texts[text_hash(text, len) % POLICY_BUCKETS];
	struct policy_text *kept;

	for (kept = *bucket; kept; kept = kept->next)
		if (strcmp(kept->text, text) == 0)
			return kept->text;
	kept = malloc(sizeof(*kept) + len + 1);
	if (!kept)
		return NULL;
	memcpy(kept->text, text, len + 1);
	kept->next = *bucket;
	*bucket = kept;
	return kept->text;
}

unsigned glob_suffix_len(const char *glob)
{
	size_t len = strlen(glob), n = 0;

	while (n < len && !strchr("*?", glob[len - n - 1]))
		n++;
	return (unsigned)n;
}

static uint32_t glob_find(
	const struct policy *policy, const struct policy_rule *rule, uint32_t hash)
{
	uint32_t number = policy->by_text[hash % POLICY_BUCKETS];

	while (number) {
		const struct policy_glob *glob = &policy->globs[number - 1];

		if (glob->connect == rule->connect && glob->text == rule->name)
			break;
		number = glob->next_text;
	}
	return number;
}

static uint32_t glob_new(struct policy *policy, const struct policy_rule *rule, uint32_t hash)
{
	struct policy_glob *glob = &policy->globs[policy->n_globs++];
	uint32_t *by_text = &policy->by_text[hash % POLICY_BUCKETS], *by_end;
	uint32_t number = (uint32_t)policy->n_globs;

	*glob = (struct policy_glob){.connect = rule->connect, .text = rule->name};
	glob->fixed_len = (unsigned)strcspn(glob->text, "*?");
	if (glob->fixed_len) {
		hash = text_hash(glob->text, glob->fixed_len);
		by_end = &policy->prefixes.buckets[hash % POLICY_BUCKETS];
		policy->prefixes.lens |= UINT64_C(1) << glob->fixed_len;
	} else {
		glob->fixed_len = glob_suffix_len(glob->text);
		hash = hash_backwards(glob->text + strlen(glob->text), glob->fixed_len);
		by_end = &policy->suffixes.buckets[hash % POLICY_BUCKETS];
		policy->suffixes.lens |= UINT64_C(1) << glob->fixed_len;
	}
	glob->next_text = *by_text;
	glob->next_end = *by_end;
	*by_text = *by_end = number;
	return number;
}

static void glob_add_rule(struct policy *policy, struct policy_glob *glob, uint32_t index)
{
	struct policy_mark *last = glob->last_mark ? &policy->marks[glob->last_mark - 1] : NULL;
	uint32_t number;

	if (!last || last->word != index / 64) {
		policy->marks[policy->n_marks++] = (struct policy_mark){.word = index / 64};
		number = (uint32_t)policy->n_marks;
		*(last ? &last->next : &glob->first_mark) = number;
		glob->last_mark = number;
		last = &policy->marks[number - 1];
	}
	last->bits |= UINT64_C(1) << index % 64;
}

void policy_index_add(struct policy *policy, const struct policy_rule *rule)
{
	uint32_t hash = text_hash(rule->name, strlen(rule->name));
	uint32_t number = glob_find(policy, rule, hash), index = (uint32_t)policy->n_rules - 1;
	uint64_t bit = UINT64_C(1) << index % 64;

	if (!number)
		number = glob_new(policy, rule, hash);
	glob_add_rule(policy, &policy->globs[number - 1], index);
	if (rule->from.kind == WHO_SAME || rule->to.kind == WHO_SAME)
		policy->same[index / 64] |= bit;
	if (rule->to.kind == WHO_DEFAULT)
		policy->defaults[index / 64] |= bit;
	if (rule->verdict.target) {
		policy->redirects[index / 64] |= bit;
		policy->redirecting = true;
	}
	if (rule->condition)
		policy->off[index / 64] |= bit; /* until policy_conditions_end says that it holds */
	if (rule->from.kind == WHO_TAG || rule->to.kind == WHO_TAG)
		policy->tagged = true;
}

/* To try a glob, in units of the broker's cost: measured with globs that begin with a wildcard. */
#define GLOB_COST 3U

static unsigned glob_mark(
	const struct policy *policy, const struct policy_glob *glob, struct policy_named *named)
{
	unsigned n = 0;

	for (uint32_t number = glob->first_mark; number; n++) {
		const struct policy_mark *mark = &policy->marks[number - 1];

		named->bits[mark->word] = mark->bits | named_word(named, mark->word);
		named->words[mark->word / 64] |= UINT64_C(1) << mark->word % 64;
		number = mark->next;
	}
	/* A mark is a small part of what it takes to try a glob. */
	return n / 16;
}

/* The globs of one bucket whose fixed end has len bytes and that match the name. */
static unsigned bucket_find(const struct policy *policy, uint32_t number, const char *name,
	unsigned len, bool (*matches)(const char *glob, const char *text),
	struct policy_named *named)
{
	unsigned cost = 1;

	for (; number; cost += GLOB_COST) {
		const struct policy_glob *glob = &policy->globs[number - 1];

		number = glob->next_end;
		if (glob->connect == named->connect && glob->fixed_len == len &&
			matches(glob->text, name))
			cost += glob_mark(policy, glob, named);
	}
	return cost;
}

unsigned policy_find_globs(const struct policy *policy, const char *name, bool connect,
	bool (*matches)(const char *glob, const char *text), struct policy_named *ret_named)
{
	/* A name has 63 characters at most, as a glob has. */
	unsigned name_len = (unsigned)strnlen(name, NAME_SIZE - 1), cost = 1;
	uint32_t forwards = HASH_START, backwards = HASH_START;

	ret_named->connect = connect;
	memset(ret_named->words, 0, sizeof(ret_named->words));
	for (unsigned len = 0; len <= name_len; len++) {
		if (policy->prefixes.lens >> len & 1)
			cost += bucket_find(policy,
				policy->prefixes.buckets[forwards % POLICY_BUCKETS], name, len,
				matches, ret_named);
		if (policy->suffixes.lens >> len & 1)
			cost += bucket_find(policy,
				policy->suffixes.buckets[backwards % POLICY_BUCKETS], name, len,
				matches, ret_named);
		if (len == name_len)
			break;
		forwards = hash_byte(forwards, name[len]);
		backwards = hash_byte(backwards, name[name_len - 1 - len]);
	}
	return cost;
}

unsigned policy_find(
	const struct policy *policy, const char *name, bool connect, struct policy_named *ret_named)
{
	return policy_find_globs(policy, name, connect, policy_glob, ret_named);
}
