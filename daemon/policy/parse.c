/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Parses the policy's grammar (msgd.policy(5)). Pure: text in, rules out. A text that it does not
 * understand is an error with file and line, never a rule that means less than it says.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "base/uuid.h"
#include "daemon/policy/rule.h"
#include "proto/control.h"

#define WORDS_MAX 16

struct parser {
	struct policy *policy; /* borrowed */
	const char *file;      /* borrowed from policy->files */
	unsigned line;
	char *error; /* borrowed, POLICY_ERROR_SIZE */
};

__attribute__((format(printf, 2, 3))) static int parser_fail(
	const struct parser *parser, const char *format, ...)
{
	char what[160];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	(void)snprintf(parser->error, POLICY_ERROR_SIZE, "%.80s:%u: %.150s", parser->file,
		parser->line, what);
	return -EINVAL;
}

int uuid_parse(const char *text, uint8_t ret_uuid[16])
{
	bool dashes = strlen(text) == 36 && text[8] == '-' && text[13] == '-' && text[18] == '-' &&
		      text[23] == '-';

	/* Of 36 characters four are dashes, so the rest are all digits. */
	return dashes && uuid_from_text(text, ret_uuid) ? 0 : -EINVAL;
}

/* A glob on printable characters without blanks, as a domain's or a channel's name has them. */
static bool glob_valid(const char *glob, size_t size, const char *alphabet)
{
	size_t len = strlen(glob);

	if (len == 0 || len >= size)
		return false;
	for (; *glob; glob++) {
		unsigned char c = (unsigned char)*glob;

		if (c <= ' ' || c >= 0x7f)
			return false;
		if (alphabet && !strchr(alphabet, c))
			return false;
	}
	return true;
}

static int who_parse(
	const struct parser *parser, const char *word, bool same_allowed, struct who *ret_who)
{
	struct who who = {.kind = WHO_NAME};

	if (strcmp(word, "any") == 0) {
		who.kind = WHO_ANY;
	} else if (strcmp(word, "dom0") == 0) {
		who.kind = WHO_DOMID;
	} else if (strcmp(word, "same") == 0) {
		if (!same_allowed)
			return parser_fail(parser, "'same' has no meaning here");
		who.kind = WHO_SAME;
	} else if (strncmp(word, "domid:", 6) == 0) {
		who.kind = WHO_DOMID;
		if (!number_from_text(word + 6, DOMID_LIMIT - 1, &who.domid))
			return parser_fail(parser, "bad domid in '%s'", word);
	} else if (strncmp(word, "uuid:", 5) == 0) {
		who.kind = WHO_UUID;
		if (uuid_parse(word + 5, who.uuid) < 0)
			return parser_fail(parser, "bad uuid in '%s'", word);
	} else if (strncmp(word, "tag:", 4) == 0) {
		return parser_fail(parser, "'%s': tags are not supported yet", word);
	} else {
		if (!glob_valid(word, sizeof(who.glob), NULL) || strpbrk(word, "/:="))
			return parser_fail(parser, "'%s' does not name domains", word);
		strcpy(who.glob, word);
	}
	*ret_who = who;
	return 0;
}

static int transport_parse(const struct parser *parser, const char *value, uint32_t *ret_transport)
{
	for (uint32_t i = 0; i < TRANSPORT_LIMIT; i++) {
		if (strcmp(value, transport_name(i)) != 0)
			continue;
		*ret_transport = i;
		return 0;
	}
	return parser_fail(parser, "unknown transport '%s'", value);
}

/* words: the rule's keys so far; each may be said once. */
static int key_parse(
	const struct parser *parser, char **words, int n, char *word, struct policy_rule *rule)
{
	struct policy_verdict *verdict = &rule->verdict;
	char *value = strchr(word, '=');

	if (!value)
		return parser_fail(parser, "'%s' is not KEY=VALUE", word);
	*value++ = '\0'; /* as it was done to those before */
	for (int i = 0; i < n; i++)
		if (strcmp(words[i], word) == 0)
			return parser_fail(parser, "'%s=' twice", word);
	if (strcmp(word, "log") == 0) {
		if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
			return parser_fail(parser, "log is yes or no, not '%s'", value);
		verdict->log = *value == 'y' ? POLICY_LOG_YES : POLICY_LOG_NO;
		return 0;
	}
	if (strcmp(word, "target") == 0)
		return parser_fail(parser, "'target=' is not supported yet");
	if (strcmp(word, "max-channels") != 0 && strcmp(word, "transport") != 0)
		return parser_fail(parser, "unknown key '%s'", word);
	if (!rule->connect || !verdict->allow)
		return parser_fail(parser, "'%s=' is for 'allow connect' only", word);
	if (strcmp(word, "transport") == 0)
		return transport_parse(parser, value, &verdict->transport);
	if (!number_from_text(value, DOMAIN_CHANNELS_MAX, &verdict->max_channels) ||
		verdict->max_channels == 0)
		return parser_fail(parser, "max-channels is 1 to %u", DOMAIN_CHANNELS_MAX);
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

static int rule_add(struct policy *policy, const struct policy_rule *rule)
{
	if (policy->n_rules == POLICY_RULES_MAX)
		return -E2BIG;
	if (policy->n_rules == policy->allocated) {
		size_t allocated = policy->allocated ? 2 * policy->allocated : 16;

		if (!array_grow(&policy->rules, allocated, sizeof(*policy->rules)) ||
			!array_grow(&policy->globs, allocated, sizeof(*policy->globs)) ||
			!array_grow(&policy->next_rule, allocated, sizeof(*policy->next_rule)))
			return -ENOMEM;
		policy->allocated = allocated;
	}
	policy->rules[policy->n_rules++] = *rule;
	policy_index_add(policy, rule);
	return 0;
}

/* The fixed words of a rule; returns how many were used, or a negative errno. */
static int rule_parse_head(
	const struct parser *parser, char **words, int n, struct policy_rule *rule)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-*?";
	int r;

	if (strcmp(words[0], "allow") != 0 && strcmp(words[0], "deny") != 0)
		return parser_fail(parser, "a rule starts with allow or deny, not '%s'", words[0]);
	rule->verdict.allow = words[0][0] == 'a';
	if (n < 3 || (strcmp(words[1], "listen") != 0 && strcmp(words[1], "connect") != 0))
		return parser_fail(parser, "'%s listen NAME' or '%s connect NAME' expected",
			words[0], words[0]);
	rule->connect = words[1][0] == 'c';
	if (!glob_valid(words[2], sizeof(rule->name), alphabet))
		return parser_fail(parser, "'%s' is not a name or a glob on names", words[2]);
	strcpy(rule->name, words[2]);
	if (!rule->connect) {
		if (n < 5 || strcmp(words[3], "on") != 0)
			return parser_fail(parser, "'on WHO' expected after '%s'", words[2]);
		r = who_parse(parser, words[4], false, &rule->to);
		return r < 0 ? r : 5;
	}
	if (n < 7 || strcmp(words[3], "from") != 0 || strcmp(words[5], "to") != 0)
		return parser_fail(parser, "'from WHO to WHO' expected after '%s'", words[2]);
	r = who_parse(parser, words[4], true, &rule->from);
	if (r < 0)
		return r;
	r = who_parse(parser, words[6], true, &rule->to);
	return r < 0 ? r : 7;
}

static int line_parse(struct parser *parser, char *line)
{
	struct policy_rule rule = {.verdict = {.file = parser->file, .line = parser->line}};
	char *words[WORDS_MAX], *rest = line, *word, *comment = strchr(line, '#');
	int n = 0, used, r;

	if (comment)
		*comment = '\0';
	while ((word = strsep(&rest, " \t\r"))) {
		if (!*word)
			continue;
		if (n == WORDS_MAX)
			return parser_fail(parser, "too many words");
		words[n++] = word;
	}
	if (n == 0)
		return 0;
	used = rule_parse_head(parser, words, n, &rule);
	if (used < 0)
		return used;
	for (int i = used; i < n; i++) {
		r = key_parse(parser, words + used, i - used, words[i], &rule);
		if (r < 0)
			return r;
	}
	r = rule_add(parser->policy, &rule);
	if (r == -E2BIG)
		(void)parser_fail(parser, "more than %u rules", POLICY_RULES_MAX);
	return r;
}

int policy_parse(struct policy *policy, const char *file, const char *text, size_t len,
	char ret_error[POLICY_ERROR_SIZE])
{
	struct policy_file *owned = malloc(sizeof(*owned) + strlen(file) + 1);
	struct parser parser = {.policy = policy, .error = ret_error};
	const char *end = text + len;
	char line[512];
	int r;

	if (!owned)
		return -ENOMEM;
	strcpy(owned->name, file);
	STAILQ_INSERT_TAIL(&policy->files, owned, entry);
	parser.file = owned->name;
	while (text < end) {
		const char *eol = memchr(text, '\n', (size_t)(end - text));
		size_t line_len = (size_t)((eol ? eol : end) - text);

		parser.line++;
		if (line_len >= sizeof(line))
			return parser_fail(&parser, "the line is too long");
		memcpy(line, text, line_len);
		line[line_len] = '\0';
		if (strlen(line) != line_len)
			return parser_fail(&parser, "a NUL byte");
		r = line_parse(&parser, line);
		if (r < 0)
			return r;
		text += line_len + (eol ? 1 : 0);
	}
	return 0;
}
