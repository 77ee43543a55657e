/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See config-line.h. */
#include "daemon/config-line.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int config_line(struct config *config, const char *section, const char *key,
	const char *value, char ret_error[REPORT_LINE_SIZE])
{
	struct report report = {.n = 0};
	char text[160];
	const char *what;
	int r;

	if (snprintf(text, sizeof(text), "[%s]\n%s = %s\n", section, key, value) >=
		(int)sizeof(text))
		return -EINVAL;
	r = config_parse(config, "request", text, &report);
	/* The place in the text says nothing to whoever sent the request. */
	what = report.n ? strstr(report.lines[0], ": ") : NULL;
	(void)snprintf(ret_error, REPORT_LINE_SIZE, "%s", what ? what + 2 : "");
	return r;
}

int config_line_limit(struct broker_limits *limits, const char *key, uint32_t value,
	char ret_error[REPORT_LINE_SIZE])
{
	struct config config;
	char text[16];
	int r;

	(void)snprintf(text, sizeof(text), "%u", value);
	config_init(&config);
	config.limits = *limits;
	r = config_line(&config, "limits", key, text, ret_error);
	if (r == 0)
		*limits = config.limits;
	config_fini(&config);
	return r;
}

int config_line_log_level(const char *word, int *ret_level, char ret_error[REPORT_LINE_SIZE])
{
	struct config config;
	int r;

	config_init(&config);
	r = config_line(&config, "broker", "log", word, ret_error);
	if (r == 0)
		*ret_level = config.log_level;
	config_fini(&config);
	return r;
}
