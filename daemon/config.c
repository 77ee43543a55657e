/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading msgd.conf. Every key is one line of a table; nothing is guessed, nothing unknown is
 * skipped.
 */
#include "daemon/config.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/cleanup.h"
#include "base/macro.h"
#include "base/number.h"
#include "base/report.h"
#include "base/text.h"

#define CONFIG_TEXT_MAX (64U << 10)

_Static_assert(TEXT_ERROR_SIZE <= REPORT_LINE_SIZE, "text_read's reason fits");

/* inih cuts a section's name here, and does not say so. */
#define SECTION_SIZE 50U

/* No section has more of them. */
#define KEYS_MAX 16U

struct context {
	struct config *config; /* borrowed */
	const char *file;      /* borrowed */
	struct report *report; /* borrowed */
	FILE *text;	       /* borrowed */
	int line;
	int broker_lines[KEYS_MAX], limit_lines[KEYS_MAX]; /* of each key; 0: not yet */
	int result;
};

struct limit_key {
	const char *name;
	size_t offset; /* in struct broker_limits */
	uint32_t min, max;
};

#define LIMIT(key, field, lo, hi)                                                                  \
	{                                                                                          \
		key, offsetof(struct broker_limits, field), lo, hi                                 \
	}

/* With these maxima the sum of a domain's limits stays far below dom0's memory. */
static const struct limit_key limit_keys[] = {
	LIMIT("processes", quota[QUOTA_PROCESSES], 1, 4096),
	LIMIT("names", quota[QUOTA_NAMES], 0, 65536),
	LIMIT("channels", quota[QUOTA_CHANNELS], 0, 1U << 20),
	LIMIT("links", quota[QUOTA_LINKS], 0, 65536),
	LIMIT("requests", quota[QUOTA_REQUESTS], 1, 65536),
	LIMIT("ends", quota[QUOTA_ENDS], 0, 1U << 20),
	LIMIT("announced", quota[QUOTA_ANNOUNCED], 0, 1U << 22),
	LIMIT("watches", quota[QUOTA_WATCHES], 0, 4096),
	LIMIT("memory", bytes, 64, 1U << 20), /* in KiB */
	LIMIT("backlog", backlog, 1, BACKLOG_MAX),
	LIMIT("ring-pages", ring_pages, LINK_RING_PAGES_MIN, LINK_RING_PAGES_MAX),
	LIMIT("argo-ring-pages", argo_ring_pages, LINK_ARGO_RING_PAGES_MIN,
		LINK_ARGO_RING_PAGES_MAX),
};

void config_init(struct config *config)
{
	*config = (struct config){.log_level = LOG_INFO, .audit = BROKER_AUDIT_REFUSED};
	broker_limits_default(&config->limits);
}

void config_fini(struct config *config)
{
	free(config->hv);
	free(config->admin);
	free(config->attach);
	free(config->operators);
	free(config->start_helper);
	assignments_free(config->assignments);
	for (size_t i = 0; i < config->n_policy; i++)
		free(config->policy[i]);
	*config = (struct config){0};
}

static int context_fail(struct context *context, const char *what, const char *which)
{
	report_add(context->report, "%.120s:%d: %s '%.60s'", context->file, context->line, what,
		which);
	if (context->result == 0)
		context->result = -EINVAL;
	return 0;
}

/* One that stands twice was meant to have one value, and nobody knows which. */
static bool key_is_first(struct context *context, int *line, const char *name)
{
	char before[64];

	if (*line) {
		(void)snprintf(before, sizeof(before), "line %d has set it before:", *line);
		return context_fail(context, before, name);
	}
	*line = context->line;
	return true;
}

/* The key of a limit, and its value in the unit of the limit. NULL: an error. */
static const struct limit_key *limit_parse(
	struct context *context, const char *name, const char *value, uint32_t *ret_number)
{
	for (size_t i = 0; i < ARRAY_SIZE(limit_keys); i++) {
		const struct limit_key *key = &limit_keys[i];
		uint32_t number;
		char range[64];

		if (strcmp(name, key->name) != 0)
			continue;
		if (!number_from_text(value, key->max, &number) || number < key->min) {
			(void)snprintf(range, sizeof(range), "%s is %u to %u, not", name, key->min,
				key->max);
			(void)context_fail(context, range, value);
			return NULL;
		}
		if (strcmp(name, "ring-pages") == 0 && (number & (number - 1))) {
			(void)snprintf(range, sizeof(range), "%s is a power of two, %u to %u, not",
				name, key->min, key->max);
			(void)context_fail(context, range, value);
			return NULL;
		}
		*ret_number = strcmp(name, "memory") == 0 ? number << 10 : number;
		return key;
	}
	(void)context_fail(context, "unknown key", name);
	return NULL;
}

static int limit_set(struct context *context, const char *name, const char *value)
{
	uint32_t number;
	const struct limit_key *key = limit_parse(context, name, value, &number);

	if (!key || !key_is_first(context, &context->limit_lines[key - limit_keys], name))
		return 0;
	*(uint32_t *)((char *)&context->config->limits + key->offset) = number;
	return 1;
}

/* ---- limits and tags of some domains -------------------------------------------------------- */

static bool assignments_get(struct context *context)
{
	struct assignments **assignments = &context->config->assignments;

	if (!*assignments && assignments_new(assignments) < 0)
		context->result = -ENOMEM;
	return *assignments;
}

/* Of the result of an assignment. */
static int assigned(struct context *context, int result, const char *who, const char *kinds)
{
	if (result == -ENOMEM)
		context->result = result;
	else if (result == -EEXIST)
		return context_fail(context, "said before of the domains", who);
	else if (result == -EINVAL)
		return context_fail(context, kinds, who);
	return result == 0;
}

static int domain_limit_set(
	struct context *context, const char *who, const char *name, const char *value)
{
	uint32_t number;
	const struct limit_key *key;

	who += strspn(who, " \t");
	key = limit_parse(context, name, value, &number);
	if (!key || !assignments_get(context))
		return 0;
	return assigned(context,
		assignments_add_limit(context->config->assignments, who, key->offset, number), who,
		"expected [limits dom0], a domain's name or pattern, domid:N, uuid:U or tag:T, "
		"not");
}

static int tag_set(struct context *context, const char *tag, const char *value)
{
	char who[DOMAIN_NAME_SIZE];
	int ok = 1;

	if (!policy_tag_valid(tag))
		return context_fail(context, "a tag is spelt as a name, not", tag);
	if (!*value)
		return context_fail(context, "no value after", "=");
	while (*value && ok) {
		size_t len = strcspn(value, " \t");

		(void)snprintf(who, sizeof(who), "%.*s", (int)len, value);
		if (!assignments_get(context))
			return 0;
		ok = assigned(context,
			len < sizeof(who)
				? assignments_add_tag(context->config->assignments, tag, who)
				: -EINVAL,
			who, "expected dom0, a domain's name or pattern, domid:N or uuid:U, not");
		value += len;
		value += strspn(value, " \t");
	}
	return ok;
}

static int string_set(struct context *context, char **string, const char *value)
{
	if (!*value)
		return context_fail(context, "no value after", "=");
	free(*string);
	*string = strdup(value);
	if (*string)
		return 1;
	context->result = -ENOMEM;
	return 0;
}

struct word {
	const char *text;
	int value;
};

static int word_set(struct context *context, const struct word *words, size_t n, const char *value,
	const char *what, int *ret_value)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(value, words[i].text) != 0)
			continue;
		*ret_value = words[i].value;
		return 1;
	}
	return context_fail(context, what, value);
}

static int log_set(struct context *context, const char *value)
{
	static const struct word words[] = {{"error", LOG_ERR}, {"warning", LOG_WARNING},
		{"notice", LOG_NOTICE}, {"info", LOG_INFO}, {"debug", LOG_DEBUG}};

	return word_set(context, words, ARRAY_SIZE(words), value, "unknown log level",
		&context->config->log_level);
}

static int audit_set(struct context *context, const char *value)
{
	static const struct word words[] = {{"none", BROKER_AUDIT_NONE},
		{"refused", BROKER_AUDIT_REFUSED}, {"all", BROKER_AUDIT_ALL}};
	int audit = context->config->audit;
	int r = word_set(context, words, ARRAY_SIZE(words), value,
		"audit is none, refused or all, not", &audit);

	context->config->audit = audit;
	return r;
}

static int helper_set(struct context *context, const char *value)
{
	if (*value != '/' || strpbrk(value, " \t"))
		return context_fail(
			context, "start-helper is an absolute path without blanks, not", value);
	return string_set(context, &context->config->start_helper, value);
}

static int policy_set(struct context *context, const char *value)
{
	struct config *config = context->config;

	if (config->n_policy == CONFIG_POLICY_MAX)
		return context_fail(context, "too many policies:", value);
	if (!string_set(context, &config->policy[config->n_policy], value))
		return 0;
	config->n_policy++;
	return 1;
}

static const struct broker_key {
	const char *name;
	size_t offset; /* in struct config, of its string; without set */
	int (*set)(struct context *context, const char *value);
	bool repeats;
} broker_keys[] = {
	{"hv", .offset = offsetof(struct config, hv)},
	{"admin", .offset = offsetof(struct config, admin)},
	{"attach", .offset = offsetof(struct config, attach)},
	{"operators", .offset = offsetof(struct config, operators)},
	{"start-helper", .set = helper_set},
	{"audit", .set = audit_set},
	{"log", .set = log_set},
	{"policy", .set = policy_set, .repeats = true},
};

_Static_assert(ARRAY_SIZE(broker_keys) <= KEYS_MAX, "context.broker_lines has room");
_Static_assert(ARRAY_SIZE(limit_keys) <= KEYS_MAX, "context.limit_lines has room");

static int broker_set(struct context *context, const char *name, const char *value)
{
	for (size_t i = 0; i < ARRAY_SIZE(broker_keys); i++) {
		const struct broker_key *key = &broker_keys[i];

		if (strcmp(name, key->name) != 0)
			continue;
		if (!key->repeats && !key_is_first(context, &context->broker_lines[i], name))
			return 0;
		if (key->set)
			return key->set(context, value);
		return string_set(context, (char **)((char *)context->config + key->offset), value);
	}
	return context_fail(context, "unknown key", name);
}

/* 1 is success, as inih has it. */
static int on_key(void *arg, const char *section, const char *name, const char *value)
{
	struct context *context = arg;

	if (!value)
		value = "";
	if (strcmp(section, "limits") == 0)
		return limit_set(context, name, value);
	if (strcmp(section, "broker") == 0)
		return broker_set(context, name, value);
	if (strcmp(section, "tags") == 0)
		return tag_set(context, name, value);
	if (strncmp(section, "limits ", 7) == 0)
		return domain_limit_set(context, section + 7, name, value);
	if (!*section)
		return context_fail(context, "expected a section, as [broker], before", name);
	return context_fail(context, "unknown section", section);
}

/* inih tells of the first line alone that it cannot read, and of none that it cuts. */
static bool line_check(struct context *context, const char *line)
{
	size_t len = strcspn(line, "\r\n"), name = strcspn(line, "]");

	if (len == 0 || *line == '#' || *line == ';')
		return true;
	if (*line == '[' && name < len && name - 1 < SECTION_SIZE)
		return true;
	if (*line == '[' && name < len)
		return context_fail(context, "a section's name is too long:", line + 1);
	if (*line != '[' && strcspn(line, "=:") < len)
		return true;
	return context_fail(context, "not KEY = VALUE nor [SECTION]", "");
}

/*
 * Counts the lines: inih does not hand a line's number to its handler. Blanks at a line's beginning
 * would make it the rest of the former value.
 */
static char *on_line(char *buffer, int size, void *arg)
{
	struct context *context = arg;
	size_t blanks;

	if (context->result == -ENOMEM || !fgets(buffer, size, context->text))
		return NULL;
	context->line++;
	if (!strchr(buffer, '\n') && !feof(context->text)) {
		(void)context_fail(context, "the line is too long", "");
		return NULL;
	}
	blanks = strspn(buffer, " \t");
	memmove(buffer, buffer + blanks, strlen(buffer + blanks) + 1);
	if (!line_check(context, buffer))
		*buffer = '\0';
	return buffer;
}

int config_parse(struct config *config, const char *file, const char *text, struct report *report)
{
	_cleanup_fclose_ FILE *lines = fmemopen((char *)text, strlen(text), "r");
	struct context context = {.config = config, .file = file, .report = report, .text = lines};
	int r = lines ? ini_parse_stream(on_line, &context, on_key, &context) : -1;

	if (context.result < 0)
		return context.result;
	context.line = r;
	if (r > 0)
		(void)context_fail(&context, "not KEY = VALUE nor [SECTION]", "");
	return r < 0 ? -ENOMEM : context.result;
}

int config_load(struct config *config, const char *path, struct report *report)
{
	_cleanup_free_ char *text = NULL;
	char error[TEXT_ERROR_SIZE];
	size_t len;
	int r = text_read(path, CONFIG_TEXT_MAX, &text, &len, error);

	if (r < 0) {
		report_add(report, "%s", error);
		return r;
	}
	if (memchr(text, '\0', len)) {
		report_add(report, "%.180s: has NUL bytes", path);
		return -EIO;
	}
	r = config_parse(config, path, text, report);
	if (r == -ENOMEM)
		report_add(report, "%.180s: %s", path, strerror(-r));
	return r;
}
