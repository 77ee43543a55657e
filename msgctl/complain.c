/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See complain.h. */
#include "msgctl/complain.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "msgctl/admin-exchange.h"

static bool as_json;

void complain_as_json(void)
{
	as_json = true;
}

/* Arguments need not be UTF-8, as JSON is. */
static json_t *text_json(const char *text)
{
	char ascii[ADMIN_TROUBLE_SIZE];
	json_t *json = json_string(text);

	if (json)
		return json;
	(void)snprintf(ascii, sizeof(ascii), "%s", text);
	for (char *c = ascii; *c; c++) {
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	}
	return json_string(ascii);
}

void complain_text(int status, const char *error, const char *before, const char *text)
{
	json_t *json;

	if (!as_json) {
		(void)fprintf(stderr, "%s%s\n", before, text);
		return;
	}
	json = json_pack(
		"{s:o, s:s?, s:i}", "error", text_json(text), "errno", error, "status", status);
	(void)json_dumpf(json, stderr, JSON_COMPACT);
	(void)fputc('\n', stderr);
	json_decref(json);
}

void complain(int status, int r, const char *format, ...)
{
	char text[ADMIN_TROUBLE_SIZE];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	complain_text(status, strerrorname_np(-r), "msgctl: ", text);
}
