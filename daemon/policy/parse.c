/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Parses the policy's grammar (msgd.policy(5)), but for keys. Pure: text in, rules out. A text that
 * it does not understand is an error with its place, never a rule that means less than it says.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "daemon/policy/parser.h"

/* ---- errors --------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static int parser_fail(
	struct parser *parser, unsigned column, const char *format, ...)
{
	char what[220];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	report_add(parser->report, "%.140s:%u:%u: %s", parser->file, parser->line, column, what);
	if (!parser->first_error)
		parser->first_error = parser->line;
	return -EINVAL;
}

__attribute__((format(printf, 3, 4))) int parser_expected(
	struct parser *parser, const struct word *found, const char *format, ...)
{
	char what[160], word[48];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	if (!*found->text)
		return parser_fail(
			parser, found->column, "expected %s, found the end of the line", what);
	(void)snprintf(word, sizeof(word), "%s", found->text);
	for (char *c = word; *c; c++)
		if (*c <= ' ' || *c >= 0x7f)
			*c = '?';
	return parser_fail(parser, found->column, "expected %s, found '%s'", what, word);
}

/* ---- words ---------------------------------------------------------------------------------- */

static struct word word_next(struct parser *parser)
{
	static const char blanks[] = " \t\r";
	char *start = parser->rest + strspn(parser->rest, blanks);
	char *end = start + strcspn(start, blanks);

	parser->rest = *end ? end + 1 : end;
	*end = '\0';
	return (struct word){.text = start, .column = (unsigned)(start - parser->text) + 1};
}

static int word_is(struct parser *parser, const char *want)
{
	struct word word = word_next(parser);

	return strcmp(word.text, want) == 0 ? 0 : parser_expected(parser, &word, "'%s'", want);
}

/* A place in a rule where a domain is named. */
struct who_place {
	unsigned kinds;
	const char *expected;
};

static const struct who_place place_on = {KINDS_NAMING | ENUM_BIT(WHO_ANY),
	"any, dom0, a domain's name or pattern, domid:N, uuid:U or tag:T"};
static const struct who_place place_from = {KINDS_NAMING | ENUM_BIT(WHO_ANY) | ENUM_BIT(WHO_SAME),
	"any, dom0, same, a domain's name or pattern, domid:N, uuid:U or tag:T"};
static const struct who_place place_to = {
	KINDS_NAMING | ENUM_BIT(WHO_ANY) | ENUM_BIT(WHO_SAME) | ENUM_BIT(WHO_DEFAULT),
	"any, dom0, same, default, a domain's name or pattern, domid:N, uuid:U or tag:T"};
static const struct who_place place_while = {
	KINDS_NAMING, "dom0, a domain's name or pattern, domid:N, uuid:U or tag:T"};

/* The word that made a WHO fail, told by what it begins with. */
static const char *who_expected(const char *text, const struct who_place *place)
{
	static const struct {
		const char *start, *expected;
		enum who_kind kind;
	} kinds[] = {
		{"domid:", "domid:0 to domid:32751", WHO_DOMID},
		{"uuid:", "uuid: and 8-4-4-4-12 hexadecimal digits", WHO_UUID},
		{"tag:", "tag: and a tag, which is spelt as a name", WHO_TAG},
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (place->kinds & ENUM_BIT(kinds[i].kind) &&
			strncmp(text, kinds[i].start, strlen(kinds[i].start)) == 0)
			return kinds[i].expected;
	return place->expected;
}

static int who_parse(struct parser *parser, const struct who_place *place, struct who *ret_who)
{
	struct word word = word_next(parser);
	struct who who;

	if (!who_from_text(word.text, place->kinds, &who))
		return parser_expected(parser, &word, "%s", who_expected(word.text, place));
	if (who.text) {
		who.text = policy_text_keep(parser->policy, who.text);
		if (!who.text)
			return -ENOMEM;
	}
	*ret_who = who;
	return 0;
}

/* ---- rules ---------------------------------------------------------------------------------- */

static bool who_is(const struct who *a, const struct who *b)
{
	return a->kind == b->kind && a->domid == b->domid && a->text == b->text &&
	       memcmp(a->uuid, b->uuid, sizeof(a->uuid)) == 0;
}

/* The number of the condition; the rules that have the same one share it. */
static int condition_get(
	struct parser *parser, const struct word *word, const struct who *who, unsigned *ret_number)
{
	struct policy *policy = parser->policy;
	struct policy_condition *more;

	for (unsigned i = 0; i < policy->n_conditions; i++) {
		if (!who_is(&policy->conditions[i].who, who))
			continue;
		*ret_number = i + 1;
		return 0;
	}
	if (policy->n_conditions == POLICY_CONDITIONS_MAX)
		return parser_expected(
			parser, word, "at most %u different conditions", POLICY_CONDITIONS_MAX);
	more = reallocarray(policy->conditions, policy->n_conditions + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	policy->conditions = more;
	more[policy->n_conditions++] = (struct policy_condition){.who = *who};
	*ret_number = policy->n_conditions;
	return 0;
}

static int while_parse(struct parser *parser, const struct word *word, struct policy_rule *rule)
{
	struct who who;
	int r = who_parse(parser, &place_while, &who);

	return r < 0 ? r : condition_get(parser, word, &who, &rule->condition);
}

/* The words that every rule has. */
static int head_parse(struct parser *parser, struct policy_rule *rule)
{
	struct word word = word_next(parser);
	int r;

	rule->verdict.allow = strcmp(word.text, "allow") == 0;
	if (!rule->verdict.allow && strcmp(word.text, "deny") != 0)
		return parser_expected(parser, &word, "allow or deny");
	word = word_next(parser);
	rule->connect = strcmp(word.text, "connect") == 0;
	if (!rule->connect && strcmp(word.text, "listen") != 0)
		return parser_expected(parser, &word, "listen or connect");
	word = word_next(parser);
	if (!glob_is_on_names(word.text))
		return parser_expected(
			parser, &word, "a name or a pattern on names, of 63 characters at most");
	rule->name = policy_text_keep(parser->policy, word.text);
	if (!rule->name)
		return -ENOMEM;
	if (!rule->connect) {
		r = word_is(parser, "on");
		return r < 0 ? r : who_parse(parser, &place_on, &rule->to);
	}
	r = word_is(parser, "from");
	if (r == 0)
		r = who_parse(parser, &place_from, &rule->from);
	if (r == 0)
		r = word_is(parser, "to");
	return r < 0 ? r : who_parse(parser, &place_to, &rule->to);
}

static int tail_parse(struct parser *parser, struct policy_rule *rule)
{
	struct word word = word_next(parser);
	unsigned seen = 0;
	int r = 0;

	if (strcmp(word.text, "while") == 0) {
		r = while_parse(parser, &word, rule);
		if (r == 0)
			word = word_next(parser);
	}
	for (; r == 0 && *word.text; word = word_next(parser))
		r = key_parse(parser, &word, rule, &seen);
	return r;
}

/* Errors that one word alone does not show. */
static int rule_check(struct parser *parser, struct policy_rule *rule)
{
	struct policy_verdict *verdict = &rule->verdict;
	struct word end = word_next(parser);

	if (rule->to.kind == WHO_DEFAULT && rule->from.kind == WHO_SAME)
		return parser_expected(parser, &end, "another domain than 'same' before 'default'");
	if (rule->to.kind == WHO_DEFAULT && verdict->allow && !verdict->target)
		return parser_expected(parser, &end, "target= of a rule that allows to 'default'");
	if (verdict->ask_timeout_s && !verdict->ask)
		return parser_expected(parser, &end, "ask= beside ask-timeout=");
	if (verdict->start_timeout_s && !verdict->start)
		return parser_expected(parser, &end, "start=yes beside start-timeout=");
	if (verdict->start && (rule->to.kind == WHO_DOMID || rule->to.kind == WHO_UUID) &&
		!verdict->target)
		return parser_expected(parser, &end, "a domain's name to start");
	if (verdict->start && verdict->target && strchr(verdict->target, ':'))
		return parser_expected(parser, &end, "a target= by name to start");
	if (verdict->ask && !verdict->ask_timeout_s)
		verdict->ask_timeout_s = POLICY_ASK_TIMEOUT_S;
	if (verdict->start && !verdict->start_timeout_s)
		verdict->start_timeout_s = POLICY_START_TIMEOUT_S;
	return 0;
}

/* An array that stays the policy's, grown or not. */
static bool array_grow(void *array, size_t n, size_t size)
{
	void **owned = array, *more = reallocarray(*owned, n, size);

	if (more)
		*owned = more;
	return more;
}

static int rule_add(struct parser *parser, const struct policy_rule *rule)
{
	struct policy *policy = parser->policy;
	size_t n = policy->n_rules + parser->n_new;

	if (n == POLICY_RULES_MAX)
		return parser_fail(
			parser, 1, "expected at most %u rules, found more", POLICY_RULES_MAX);
	if (n == policy->allocated) {
		size_t allocated = policy->allocated ? 2 * policy->allocated : 16;

		if (!array_grow(&policy->rules, allocated, sizeof(*policy->rules)) ||
			!array_grow(&policy->globs, allocated, sizeof(*policy->globs)) ||
			!array_grow(&policy->marks, allocated, sizeof(*policy->marks)))
			return -ENOMEM;
		policy->allocated = allocated;
	}
	policy->rules[n] = *rule;
	policy->rules[n].verdict.rule = (uint32_t)n + 1;
	parser->n_new++;
	return 0;
}

/* Of the line's words, however many blanks are between them. Not 0. */
static uint64_t words_id(const char *text)
{
	uint64_t id = UINT64_C(14695981039346656037); /* FNV-1a */

	for (bool blank = true; *text; text++) {
		bool was_blank = blank;

		blank = strchr(" \t\r", *text);
		if (was_blank && !blank)
			id = (id ^ ' ') * UINT64_C(1099511628211);
		if (!blank)
			id = (id ^ (uint8_t)*text) * UINT64_C(1099511628211);
	}
	return id | 1;
}

static int line_parse(struct parser *parser, const char *line, size_t len)
{
	struct policy_rule rule = {.verdict = {.file = parser->file, .line = parser->line}};
	int r;

	if (len >= sizeof(parser->text))
		return parser_fail(parser, POLICY_LINE_SIZE,
			"expected a line of %u bytes, found more", POLICY_LINE_SIZE - 1);
	if (memchr(line, '\0', len))
		return parser_fail(
			parser, (unsigned)strlen(line) + 1, "expected text, found a NUL byte");
	memcpy(parser->text, line, len);
	parser->text[len] = '\0';
	parser->text[strcspn(parser->text, "#")] = '\0';
	parser->rest = parser->text;
	if (parser->text[strspn(parser->text, " \t\r")] == '\0')
		return 0;
	rule.verdict.id = words_id(parser->text);
	r = head_parse(parser, &rule);
	if (r == 0)
		r = tail_parse(parser, &rule);
	if (r == 0)
		r = rule_check(parser, &rule);
	return r < 0 ? r : rule_add(parser, &rule);
}

/* The rules of the file count now. */
static void rules_commit(struct policy *policy, size_t n_new)
{
	for (; n_new; n_new--) {
		policy->n_rules++;
		policy_index_add(policy, &policy->rules[policy->n_rules - 1]);
	}
}

int policy_parse(struct policy *policy, const char *file, const char *text, size_t len,
	struct report *report)
{
	struct parser parser = {.policy = policy, .report = report};
	const char *end = text + len;
	int r = 0;

	parser.file = policy_text_keep(policy, file);
	if (!parser.file)
		return -ENOMEM;
	while (text < end && r != -ENOMEM) {
		const char *eol = memchr(text, '\n', (size_t)(end - text));
		size_t line_len = (size_t)((eol ? eol : end) - text);

		parser.line++;
		r = line_parse(&parser, text, line_len);
		text += line_len + (eol ? 1 : 0);
	}
	if (r == -ENOMEM)
		return r;
	if (policy->lenient)
		rules_commit(policy, parser.n_new);
	else if (!policy_is_broken(policy) && parser.first_error)
		policy->otherwise =
			(struct policy_verdict){.file = parser.file, .line = parser.first_error};
	else if (!policy_is_broken(policy))
		rules_commit(policy, parser.n_new);
	return parser.first_error ? -EINVAL : 0;
}
