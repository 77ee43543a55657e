/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The keys of a rule: each is a line of a table, and a function that reads its value. */
#include <errno.h>
#include <string.h>

#include "base/macro.h"
#include "base/number.h"
#include "daemon/policy/parser.h"
#include "proto/control.h"

struct key {
	const char *name;
	int (*parse)(struct parser *parser, const struct word *value, struct policy_rule *rule);
	bool any_rule; /* not for `allow connect` alone */
};

static int yes_no_parse(struct parser *parser, const struct word *value, bool *ret_yes)
{
	bool yes = strcmp(value->text, "yes") == 0;

	if (!yes && strcmp(value->text, "no") != 0)
		return parser_expected(parser, value, "yes or no");
	*ret_yes = yes;
	return 0;
}

static int number_parse(struct parser *parser, const struct word *value, uint32_t max,
	const char *unit, uint32_t *ret_number)
{
	uint32_t number;

	if (!number_from_text(value->text, max, &number) || number == 0)
		return parser_expected(parser, value, "1 to %u%s", max, unit);
	*ret_number = number;
	return 0;
}

/* A number and perhaps K, M or G. */
static int bytes_parse(struct parser *parser, const struct word *value, uint64_t *ret_bytes)
{
	static const char suffixes[] = "KMG";
	size_t digits = strspn(value->text, "0123456789");
	const char *suffix = value->text + digits, *unit = strchr(suffixes, *suffix);
	uint64_t bytes = 0, scale = 1;

	if (*suffix && unit)
		scale <<= 10 * (unit - suffixes + 1);
	/* Over the limit it is too much, however it goes on. */
	for (size_t i = 0; i < digits && bytes <= POLICY_BYTES_MAX; i++)
		bytes = bytes * 10 + (uint64_t)(value->text[i] - '0');
	if (!unit || (*suffix && suffix[1]) || bytes == 0 || bytes > POLICY_BYTES_MAX / scale)
		return parser_expected(
			parser, value, "1 to 1024G bytes, as a number and perhaps K, M or G");
	*ret_bytes = bytes * scale;
	return 0;
}

static int ask_parse(struct parser *parser, const struct word *value, struct policy_rule *rule)
{
	for (const char *c = value->text; *c; c++)
		if (*c <= ' ' || *c >= 0x7f)
			return parser_expected(parser, value, "a path of printable characters");
	if (value->text[0] != '/' || !value->text[1])
		return parser_expected(parser, value, "a program's absolute path");
	rule->verdict.ask = policy_text_keep(parser->policy, value->text);
	return rule->verdict.ask ? 0 : -ENOMEM;
}

static int ask_timeout_parse(
	struct parser *parser, const struct word *value, struct policy_rule *rule)
{
	return number_parse(
		parser, value, POLICY_ASK_TIMEOUT_MAX_S, " seconds", &rule->verdict.ask_timeout_s);
}

static const char *const capture_words[] = {
	[POLICY_CAPTURE_HEADERS] = "headers",
	[POLICY_CAPTURE_NO] = "no",
	[POLICY_CAPTURE_PAYLOAD] = "payload",
};

const char *policy_capture_word(enum policy_capture capture)
{
	return capture_words[capture];
}

static int capture_parse(struct parser *parser, const struct word *value, struct policy_rule *rule)
{
	for (unsigned i = 0; i < ARRAY_SIZE(capture_words); i++) {
		if (strcmp(value->text, capture_words[i]) != 0)
			continue;
		rule->verdict.capture = i;
		return 0;
	}
	return parser_expected(parser, value, "no, headers or payload");
}

static int direction_parse(
	struct parser *parser, const struct word *value, struct policy_rule *rule)
{
	bool out = strcmp(value->text, "out") == 0;

	if (!out && strcmp(value->text, "in") != 0)
		return parser_expected(parser, value, "out or in");
	rule->verdict.direction = out ? POLICY_OUT : POLICY_IN;
	return 0;
}

static int log_parse(struct parser *parser, const struct word *value, struct policy_rule *rule)
{
	bool yes = false;
	int r = yes_no_parse(parser, value, &yes);

	rule->verdict.log = yes ? POLICY_LOG_YES : POLICY_LOG_NO;
	return r;
}

static int max_buffer_parse(
	struct parser *parser, const struct word *value, struct policy_rule *rule)
{
	int r = bytes_parse(parser, value, &rule->verdict.max_buffer);

	/* A channel begins with the one, and RCVBUF ends with the other. */
	if (r == 0 && (rule->verdict.max_buffer < CREDIT_INITIAL ||
			      rule->verdict.max_buffer > MESSAGE_MAX))
		return parser_expected(parser, value, "8K to 64M bytes");
	return r;
}

static int max_channels_parse(
	struct parser *parser, const struct word *value, struct policy_rule *rule)
{
	return number_parse(parser, value, DOMAIN_CHANNELS_MAX, "", &rule->verdict.max_channels);
}

/* N/s, N/m or N/h, and perhaps :BURST. */
static int max_connects_parse(
	struct parser *parser, const struct word *value, struct policy_rule *rule)
{
	struct policy_rate rate = {.n = 0};
	char text[32] = "", *slash, *colon;

	if (strlen(value->text) < sizeof(text))
		strcpy(text, value->text);
	slash = strchr(text, '/');
	if (slash) {
		*slash++ = '\0';
		rate.seconds = *slash == 's' ? 1 : *slash == 'm' ? 60 : *slash == 'h' ? 3600 : 0;
		colon = rate.seconds ? slash + 1 : slash;
		if (!number_from_text(text, POLICY_CONNECTS_MAX, &rate.n))
			rate.n = 0;
		rate.burst = rate.n;
		if (*colon && (*colon != ':' || !number_from_text(colon + 1, POLICY_CONNECTS_MAX,
							&rate.burst)))
			rate.n = 0;
	}
	if (!rate.n || !rate.burst || !rate.seconds)
		return parser_expected(parser, value,
			"N/s, N/m or N/h, and perhaps :BURST, each 1 to %u", POLICY_CONNECTS_MAX);
	rule->verdict.max_connects = rate;
	return 0;
}

static int max_rate_parse(struct parser *parser, const struct word *value, struct policy_rule *rule)
{
	return bytes_parse(parser, value, &rule->verdict.max_rate);
}

static int start_parse(struct parser *parser, const struct word *value, struct policy_rule *rule)
{
	return yes_no_parse(parser, value, &rule->verdict.start);
}

static int start_timeout_parse(
	struct parser *parser, const struct word *value, struct policy_rule *rule)
{
	return number_parse(parser, value, POLICY_START_TIMEOUT_MAX_S, " seconds",
		&rule->verdict.start_timeout_s);
}

static int target_parse(struct parser *parser, const struct word *value, struct policy_rule *rule)
{
	const char *target = strcmp(value->text, "dom0") == 0 ? "domid:0" : value->text;
	struct who who;

	if (!who_from_text(target, KINDS_NAMING & ~ENUM_BIT(WHO_TAG), &who) ||
		(who.kind == WHO_NAME && strpbrk(target, "*?")))
		return parser_expected(parser, value,
			"a domain's name, which is no pattern, dom0, domid:N or uuid:U");
	rule->verdict.target = policy_text_keep(parser->policy, target);
	return rule->verdict.target ? 0 : -ENOMEM;
}

static int transport_parse(
	struct parser *parser, const struct word *value, struct policy_rule *rule)
{
	for (uint32_t i = 0; i < TRANSPORT_LIMIT; i++) {
		if (strcmp(value->text, transport_name(i)) != 0)
			continue;
		rule->verdict.transport = i;
		return 0;
	}
	return parser_expected(parser, value, "a transport (argo, argo-strict, grant or any)");
}

/* Ordered by name, as an error lists them. */
static const struct key keys[] = {
	{"ask", ask_parse},
	{"ask-timeout", ask_timeout_parse},
	{"capture", capture_parse},
	{"direction", direction_parse},
	{"log", log_parse, .any_rule = true},
	{"max-buffer", max_buffer_parse},
	{"max-channels", max_channels_parse},
	{"max-connects", max_connects_parse},
	{"max-rate", max_rate_parse},
	{"start", start_parse},
	{"start-timeout", start_timeout_parse},
	{"target", target_parse},
	{"transport", transport_parse},
};

static const struct key *key_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strcmp(name, keys[i].name) == 0)
			return &keys[i];
	return NULL;
}

static int key_unknown(struct parser *parser, const struct word *word)
{
	char names[160] = "";

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		(void)strcat(names, i ? ", " : "");
		(void)strcat(names, keys[i].name);
	}
	return parser_expected(parser, word, "a key (%s)", names);
}

int key_parse(struct parser *parser, struct word *word, struct policy_rule *rule, unsigned *seen)
{
	char *equals = strchr(word->text, '=');
	const struct key *key;
	struct word value;

	if (!equals)
		return parser_expected(parser, word, "KEY=VALUE");
	*equals = '\0';
	value = (struct word){
		.text = equals + 1, .column = word->column + (unsigned)(equals + 1 - word->text)};
	key = key_find(word->text);
	if (!key)
		return key_unknown(parser, word);
	if (*seen & ENUM_BIT(key - keys))
		return parser_expected(parser, word, "each key once");
	*seen |= ENUM_BIT(key - keys);
	if (!key->any_rule && (!rule->connect || !rule->verdict.allow))
		return parser_expected(
			parser, word, "log, the only key of a rule that is not 'allow connect'");
	return key->parse(parser, &value, rule);
}
