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
#include "base/text.h"

#define CONFIG_TEXT_MAX (64U << 10)

_Static_assert(TEXT_ERROR_SIZE <= CONFIG_ERROR_SIZE, "text_read fills it");

struct context {
	struct config *config; /* borrowed */
	const char *file;      /* borrowed */
	char *error;	       /* borrowed, CONFIG_ERROR_SIZE */
	FILE *text;	       /* borrowed */
	int line;
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
	*config = (struct config){.log_level = LOG_INFO};
	broker_limits_default(&config->limits);
}

void config_fini(struct config *config)
{
	free(config->hv);
	free(config->admin);
	free(config->attach);
	free(config->operators);
	for (size_t i = 0; i < config->n_policy; i++)
		free(config->policy[i]);
	*config = (struct config){0};
}

static int context_fail(struct context *context, const char *what, const char *which)
{
	(void)snprintf(context->error, CONFIG_ERROR_SIZE, "%.120s:%d: %s '%.60s'", context->file,
		context->line, what, which);
	context->result = -EINVAL;
	return 0;
}

static int limit_set(struct context *context, const char *name, const char *value)
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
			return context_fail(context, range, value);
		}
		if (strcmp(name, "ring-pages") == 0 && (number & (number - 1)))
			return context_fail(context, "not a power of two:", value);
		if (strcmp(name, "memory") == 0)
			number <<= 10;
		*(uint32_t *)((char *)&context->config->limits + key->offset) = number;
		return 1;
	}
	return context_fail(context, "unknown key", name);
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

static int log_set(struct context *context, const char *value)
{
	static const struct {
		const char *word;
		int level;
	} words[] = {{"error", LOG_ERR}, {"warning", LOG_WARNING}, {"notice", LOG_NOTICE},
		{"info", LOG_INFO}, {"debug", LOG_DEBUG}};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(value, words[i].word) != 0)
			continue;
		context->config->log_level = words[i].level;
		return 1;
	}
	return context_fail(context, "unknown log level", value);
}

static int broker_set(struct context *context, const char *name, const char *value)
{
	struct config *config = context->config;

	if (strcmp(name, "hv") == 0)
		return string_set(context, &config->hv, value);
	if (strcmp(name, "admin") == 0)
		return string_set(context, &config->admin, value);
	if (strcmp(name, "attach") == 0)
		return string_set(context, &config->attach, value);
	if (strcmp(name, "operators") == 0)
		return string_set(context, &config->operators, value);
	if (strcmp(name, "log") == 0)
		return log_set(context, value);
	if (strcmp(name, "policy") != 0)
		return context_fail(context, "unknown key", name);
	if (config->n_policy == CONFIG_POLICY_MAX)
		return context_fail(context, "too many policies:", value);
	if (!string_set(context, &config->policy[config->n_policy], value))
		return 0;
	config->n_policy++;
	return 1;
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
	return context_fail(context, "unknown section", section);
}

/* Counts the lines: inih does not hand a line's number to its handler. */
static char *on_line(char *buffer, int size, void *arg)
{
	struct context *context = arg;

	/* inih goes on after an error; the first error is the one to tell. */
	if (context->result < 0 || !fgets(buffer, size, context->text))
		return NULL;
	context->line++;
	if (strchr(buffer, '\n') || feof(context->text))
		return buffer;
	(void)context_fail(context, "the line is too long", "");
	return NULL;
}

int config_parse(struct config *config, const char *file, const char *text,
	char ret_error[CONFIG_ERROR_SIZE])
{
	_cleanup_fclose_ FILE *lines = fmemopen((char *)text, strlen(text), "r");
	struct context context = {
		.config = config, .file = file, .error = ret_error, .text = lines};
	int r = lines ? ini_parse_stream(on_line, &context, on_key, &context) : -1;

	if (context.result < 0)
		return context.result;
	context.line = r;
	if (r > 0)
		(void)context_fail(&context, "not KEY = VALUE nor [SECTION]", "");
	return r < 0 ? -ENOMEM : context.result;
}

int config_load(struct config *config, const char *path, char ret_error[CONFIG_ERROR_SIZE])
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = text_read(path, CONFIG_TEXT_MAX, &text, &len, ret_error);

	if (r < 0)
		return r;
	if (memchr(text, '\0', len)) {
		(void)snprintf(ret_error, CONFIG_ERROR_SIZE, "%.180s: has NUL bytes", path);
		return -EIO;
	}
	return config_parse(config, path, text, ret_error);
}
