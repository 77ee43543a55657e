/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See parts.h. */
#include "msgctl/parts.h"

#include <stdio.h>
#include <string.h>

#include "base/macro.h"
#include "msgctl/event.h"
#include "msgctl/show.h"

/* The last events of a thing: a screen has them beside the rest. */
#define EVENTS_SHOWN 20

static const struct part domain_parts[] = {
	{"domains", "Domain", domains_columns, .keys = {"domain"}},
	{"limits", "Used, of its limits", limits_columns, .keys = {"domain"}},
	{"counts", "Since it is there", counts_columns, .keys = {"domain"}},
	{"applications", "Applications", applications_columns, .keys = {"domain"}},
	{"names", "Names", names_columns, .keys = {"domain"}},
	{"links", "Links", links_columns, .keys = {"domain"}},
	{"channels", "Channels", channels_columns, .keys = {"domain"}},
	{"history", "Last events", .print = history_print, .keys = {"domain"}, .n = EVENTS_SHOWN},
	{NULL},
};

static const struct part name_parts[] = {
	{"names", "Name", names_columns, .keys = {"domain", "name"}},
	{"channels", "Channels", channels_columns, .keys = {"domain", "name"}},
	{"history", "Last events", .print = history_print, .keys = {"domain", "name"},
		.n = EVENTS_SHOWN},
	{NULL},
};

static const struct part link_parts[] = {
	{"links", "Link", links_columns, .keys = {"link"}},
	{"channels", "Channels", channels_columns, .keys = {"link"}},
	{"history", "Last events", .print = history_print, .keys = {"link"}, .n = EVENTS_SHOWN},
	{NULL},
};

static const struct part application_parts[] = {
	{"applications", "Application", applications_columns, .keys = {"domain", "pid"}},
	{"links", "Links", links_columns, .keys = {"domain", "pid"}},
	{"channels", "Channels", channels_columns, .keys = {"domain", "pid"}},
	{"history", "Last events", .print = history_print, .keys = {"domain", "pid"},
		.n = EVENTS_SHOWN},
	{NULL},
};

static const struct part channel_parts[] = {
	{"channels", "Channel", channels_columns, .keys = {"link", "channel"}},
	{"history", "Last events", .print = history_print, .keys = {"link", "channel"},
		.n = EVENTS_SHOWN},
	{NULL},
};

static const struct part stats_parts[] = {
	{"counts", "Of each domain, since it is there", counts_columns, .keys = {"domain"}},
	{"refusals", "Refused, by the rules of the policy in force", refusals_columns},
	{"latency", "Connects, since msgd's start", .print = latency_print},
	{NULL},
};

const struct part *parts_of_show(char *const *args)
{
	static const struct {
		const char *word;
		const struct part *parts;
	} things[] = {
		{"domain", domain_parts},
		{"name", name_parts},
		{"link", link_parts},
		{"application", application_parts},
		{"channel", channel_parts},
	};
	size_t i = 0;

	while (i < ARRAY_SIZE(things) - 1 && strcmp(args[0], things[i].word) != 0)
		i++;
	return things[i].parts;
}

const struct part *parts_of_stats(char *const *args)
{
	return stats_parts;
}

json_t *part_request(const struct part *part, const json_t *request)
{
	json_t *own = json_pack("{s:s}", "op", part->op);

	for (size_t i = 0; i < PART_KEYS_MAX && part->keys[i]; i++) {
		json_t *value = json_object_get(request, part->keys[i]);

		if (value)
			(void)json_object_set(own, part->keys[i], value);
	}
	if (part->n)
		(void)json_object_set_new(own, "n", json_integer(part->n));
	return own;
}

void part_print(const struct part *part, const json_t *answer)
{
	(void)printf("%s:\n", part->head);
	if (part->print)
		part->print(answer);
	else
		table_print(part->columns, json_object_get(answer, part->op));
}
