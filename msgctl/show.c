/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* status, domains, names, links, channels: msgd's views, for people. */
#include <stdio.h>
#include <string.h>

#include "msgctl/command.h"
#include "msgctl/table.h"

const char *field_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "-";
}

long long field_number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

#define AGE_SIZE 24

/* "web(3) 1234 echo", an application of a domain, with a note behind it. */
static void party_cell(struct table *table, const json_t *row, const char *key, const char *note)
{
	const json_t *party = json_object_get(row, key);

	if (json_is_string(json_object_get(party, "domain")))
		table_cell(table, "%s(%lld) %lld %s%s", field_text(party, "domain"),
			field_number(party, "domid"), field_number(party, "pid"),
			field_text(party, "comm"), note);
	else
		table_cell(table, "(%lld) not back yet%s", field_number(party, "domid"), note);
}

/* "5s", "3m", "2h", "4d". */
static const char *age_text(long long seconds, char *ret_text, size_t size)
{
	if (seconds < 120)
		(void)snprintf(ret_text, size, "%llds", seconds);
	else if (seconds < 120 * 60)
		(void)snprintf(ret_text, size, "%lldm", seconds / 60);
	else if (seconds < 48 * 3600)
		(void)snprintf(ret_text, size, "%lldh", seconds / 3600);
	else
		(void)snprintf(ret_text, size, "%lldd", seconds / 86400);
	return ret_text;
}

static void rows_end(struct table *table, const json_t *answer)
{
	long long left_out = field_number(answer, "left_out");

	table_print(table);
	table_free(table);
	if (left_out)
		(void)printf("... and %lld more\n", left_out);
}

void status_print(const json_t *answer)
{
	const json_t *counts = json_object_get(answer, "counts");
	char age[AGE_SIZE];

	(void)printf("msgd %s, pid %lld, up %s, serves %s from domain %lld%s\n",
		field_text(answer, "version"), field_number(answer, "pid"),
		age_text(field_number(answer, "uptime_s"), age, sizeof(age)),
		field_text(answer, "hv"), field_number(answer, "domid"),
		json_is_true(json_object_get(answer, "recovering"))
			? ", waiting for applications to come back"
			: "");
	(void)printf("now:   %lld domains, %lld applications, %lld names, %lld links, "
		     "%lld channels, %lld waiting requests, %lld policy rules\n",
		field_number(answer, "domains"), field_number(answer, "applications"),
		field_number(answer, "names"), field_number(answer, "links"),
		field_number(answer, "channels"), field_number(answer, "requests_waiting"),
		field_number(answer, "rules"));
	(void)printf("since start: %lld attached, %lld connected, %lld refused, %lld failed, "
		     "%lld links made, %lld links reset, %lld applications dropped\n",
		field_number(counts, "attached"), field_number(counts, "connected"),
		field_number(counts, "refused"), field_number(counts, "failed"),
		field_number(counts, "links_made"), field_number(counts, "reset"),
		field_number(counts, "dropped"));
}

void domains_print(const json_t *answer)
{
	static const char *const heads[] = {"DOMID", "NAME", "STATE", "APPS", "NAMES", "LINKS",
		"CHANNELS", "WAITING", "UUID", NULL};
	struct table *table = table_new(heads);
	const json_t *row;
	size_t i;

	json_array_foreach(json_object_get(answer, "domains"), i, row)
	{
		const json_t *used = json_object_get(row, "used");

		table_cell(table, "%lld", field_number(row, "domid"));
		table_cell(table, "%s", field_text(row, "name"));
		table_cell(table, "%s", field_text(row, "state"));
		table_cell(table, "%lld", field_number(used, "processes"));
		table_cell(table, "%lld", field_number(used, "names"));
		table_cell(table, "%lld", field_number(used, "links"));
		table_cell(table, "%lld", field_number(used, "channels"));
		table_cell(table, "%lld", field_number(used, "requests"));
		table_cell(table, "%s", field_text(row, "uuid"));
	}
	rows_end(table, answer);
}

void names_print(const json_t *answer)
{
	static const char *const heads[] = {
		"DOMAIN", "NAME", "TYPE", "BACKLOG", "AGE", "HOLDER", NULL};
	struct table *table = table_new(heads);
	const json_t *row;
	size_t i;

	json_array_foreach(json_object_get(answer, "names"), i, row)
	{
		const json_t *holder = json_object_get(row, "holder");
		char age[AGE_SIZE];

		table_cell(table, "%s", field_text(holder, "domain"));
		table_cell(table, "%s", field_text(row, "name"));
		table_cell(table, "%s", field_text(row, "type"));
		table_cell(table, "%lld/%lld", field_number(row, "offered"),
			field_number(row, "backlog"));
		table_cell(table, "%s", age_text(field_number(row, "age_s"), age, sizeof(age)));
		party_cell(table, row, "holder",
			json_is_false(json_object_get(row, "permitted")) ? " (no longer permitted)"
									 : "");
	}
	rows_end(table, answer);
}

void links_print(const json_t *answer)
{
	static const char *const heads[] = {"LINK", "CREATOR", "BINDER", "TRANSPORT", "STATE",
		"CHANNELS", "AGE", "WHY THIS TRANSPORT", NULL};
	struct table *table = table_new(heads);
	const json_t *row;
	size_t i;

	json_array_foreach(json_object_get(answer, "links"), i, row)
	{
		char age[AGE_SIZE];

		table_cell(table, "%s", field_text(row, "uid"));
		party_cell(table, row, "creator", "");
		party_cell(table, row, "binder", "");
		table_cell(table, "%s", field_text(row, "transport"));
		table_cell(table, "%s", field_text(row, "state"));
		table_cell(table, "%lld", field_number(row, "channels"));
		table_cell(table, "%s", age_text(field_number(row, "age_s"), age, sizeof(age)));
		table_cell(table, "%s", field_text(row, "reason"));
	}
	rows_end(table, answer);
}

void channels_print(const json_t *answer)
{
	static const char *const heads[] = {
		"LINK", "CHANNEL", "NAME", "TYPE", "FROM", "TO", "TRANSPORT", "STATE", "AGE", NULL};
	struct table *table = table_new(heads);
	const json_t *row;
	size_t i;

	json_array_foreach(json_object_get(answer, "channels"), i, row)
	{
		char age[AGE_SIZE];

		table_cell(table, "%s", field_text(row, "link"));
		table_cell(table, "%lld", field_number(row, "channel"));
		table_cell(table, "%s", field_text(row, "name"));
		table_cell(table, "%s", field_text(row, "type"));
		party_cell(table, row, "from", "");
		party_cell(table, row, "to", "");
		table_cell(table, "%s", field_text(row, "transport"));
		table_cell(table, "%s", field_text(row, "state"));
		table_cell(table, "%s", age_text(field_number(row, "age_s"), age, sizeof(age)));
	}
	rows_end(table, answer);
}
