/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See fields.h. */
#include "daemon/shell/fields.h"

#include <assert.h>
#include <stdio.h>

static void add(struct line_fields *fields, const char *name, const char *value)
{
	if (!value || !*value)
		return;
	assert(fields->n < LOG_FIELDS_MAX);
	fields->fields[fields->n++] = (struct log_field){.name = name, .value = value};
}

static void add_number(struct line_fields *fields, const char *name, uint32_t value)
{
	char *text = fields->numbers[fields->n];

	(void)snprintf(text, FIELD_NUMBER_SIZE, "%u", value);
	add(fields, name, text);
}

static void add_link(struct line_fields *fields, uint64_t uid)
{
	char *text = fields->numbers[fields->n];

	(void)snprintf(text, FIELD_NUMBER_SIZE, "%016llx", (unsigned long long)uid);
	add(fields, "MSG_LINK", text);
}

static void add_party(struct line_fields *fields, const struct history_party *party,
	const char *domain, const char *domid)
{
	if (!party->there)
		return;
	add(fields, domain, party->domain);
	if (party->known)
		add_number(fields, domid, party->domid);
}

static void add_event(struct line_fields *fields, const struct history_event *event)
{
	add_party(fields, &event->who, "MSG_DOMAIN", "MSG_DOMID");
	if (event->who.attached)
		add_number(fields, "MSG_PID", event->who.pid);
	add_party(fields, &event->peer, "MSG_PEER_DOMAIN", "MSG_PEER_DOMID");
	add(fields, "MSG_NAME", event->name);
	if (event->link)
		add_link(fields, event->link);
	if (event->channel)
		add_number(fields, "MSG_CHANNEL", event->channel);
	if (event->by_client) {
		add_number(fields, "MSG_CLIENT_UID", event->uid);
		add_number(fields, "MSG_CLIENT_PID", event->client_pid);
	}
	if (event->error)
		add_number(fields, "ERRNO", (uint32_t)event->error);
	if (event->kind == HISTORY_ADMIN)
		add(fields, "MSG_ACTION", event->text);
	else
		add(fields, "MSG_REASON", event->text);
}

void line_fields(const struct broker_line *line, struct line_fields *ret_fields)
{
	ret_fields->n = 0;
	add(ret_fields, "MESSAGE_ID", line->id);
	if (line->event)
		add_event(ret_fields, line->event);
	add(ret_fields, "MSG_RULE", line->rule);
	add(ret_fields, "MSG_TRANSPORT", line->transport);
	add(ret_fields, "MSG_REASON", line->reason);
}
