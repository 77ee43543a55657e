/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See event.h. */
#include "msgctl/event.h"

#include <stdio.h>
#include <string.h>

#include "base/macro.h"
#include "msgctl/colour.h"
#include "msgctl/show.h"

static enum colour kind_colour(const char *kind)
{
	static const char *const bad[] = {"dropped", "refused", "failed", "channel-reset"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (strcmp(kind, bad[i]) == 0)
			return COLOUR_BAD;
	}
	return strcmp(kind, "admin") == 0 || strcmp(kind, "reload") == 0 ? COLOUR_NOTABLE
									 : COLOUR_PLAIN;
}

/* "web(3) 1234 echo", as far as it is known. */
static void party_print(const char *before, const json_t *party)
{
	if (!party)
		return;
	(void)fputs(before, stdout);
	text_print(field_text(party, "domain"));
	if (json_object_get(party, "domid"))
		(void)printf("(%lld)", field_number(party, "domid"));
	if (json_object_get(party, "pid")) {
		(void)printf(" %lld ", field_number(party, "pid"));
		text_print(field_text(party, "comm"));
	}
}

static void stages_print(const json_t *stages)
{
	const char *key;
	json_t *value;

	if (!stages)
		return;
	(void)fputs(", us:", stdout);
	json_object_foreach((json_t *)stages, key, value)(void)
		printf(" %s %lld", key, json_integer_value(value));
}

static void word_print(const char *before, const json_t *event, const char *key)
{
	const char *text = json_string_value(json_object_get(event, key));

	if (!text)
		return;
	(void)fputs(before, stdout);
	text_print(text);
}

void event_print(const json_t *event)
{
	const char *kind = field_text(event, "kind");
	long long time_us = field_number(event, "time_us");

	if (json_object_get(event, "missed")) {
		(void)printf("... %lld events missed\n", field_number(event, "missed"));
		return;
	}
	if (json_object_get(event, "restarted")) {
		(void)puts("... msgd was restarted: events may be missing");
		return;
	}
	time_print("%F %T", time_us / 1000000, 6, time_us % 1000000);
	(void)printf("#%lld %s%s%s", field_number(event, "serial"), colour_begin(kind_colour(kind)),
		kind, colour_end());
	party_print(" ", json_object_get(event, "who"));
	party_print(" to ", json_object_get(event, "peer"));
	word_print(json_object_get(event, "peer") ? "/" : " ", event, "name");
	word_print(" link ", event, "link");
	if (json_object_get(event, "channel"))
		(void)printf(":%lld", field_number(event, "channel"));
	if (json_object_get(event, "uid"))
		(void)printf(" user %lld (pid %lld)", field_number(event, "uid"),
			field_number(event, "pid"));
	word_print(": ", event, "error");
	word_print(": ", event, "reason");
	word_print(": by ", event, "rule");
	stages_print(json_object_get(event, "us"));
	(void)putchar('\n');
}

void history_print(const json_t *answer)
{
	const json_t *event;
	size_t i;

	json_array_foreach(json_object_get(answer, "history"), i, event) event_print(event);
}
