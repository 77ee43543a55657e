/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See top-view.h. */
#include "msgctl/top-view.h"

#include <strings.h>

#include "msgctl/show.h"

#define TRAFFIC(object)                                                                            \
	{"SENT/s", TOP_RATE_BYTES, object, "tx_bytes"},                                            \
		{"RECEIVED/s", TOP_RATE_BYTES, object, "rx_bytes"},                                \
		{"MSG-OUT/s", TOP_RATE, object, "tx_messages"},                                    \
	{                                                                                          \
		"MSG-IN/s", TOP_RATE, object, "rx_messages"                                        \
	}

static const struct top_column domains[] = {
	{"DOMID", TOP_NUMBER, NULL, "domid"},
	{"DOMAIN", TOP_TEXT, NULL, "name", cell_text},
	TRAFFIC("traffic"),
	{"DROPS/s", TOP_RATE, "traffic", "drops"},
	{"APPS", TOP_NUMBER, "used", "processes"},
	{"NAMES", TOP_NUMBER, "used", "names"},
	{"LINKS", TOP_NUMBER, "used", "links"},
	{"CHANNELS", TOP_NUMBER, "used", "channels"},
	{"WAITING", TOP_NUMBER, "used", "requests"},
	{"MEMORY", TOP_BYTES, "used", "memory"},
	{"STATE", TOP_TEXT, NULL, "state", cell_domain_state},
	{NULL},
};

static const struct top_column applications[] = {
	{"DOMAIN", TOP_TEXT, NULL, "domain", cell_text},
	{"PID", TOP_NUMBER, NULL, "pid"},
	{"COMMAND", TOP_TEXT, NULL, "comm", cell_text},
	TRAFFIC("traffic"),
	{"EVENTS/s", TOP_RATE, "traffic", "notifications"},
	{"CALLS/s", TOP_RATE, "traffic", "hypercalls"},
	{"NAMES", TOP_NUMBER, NULL, "names"},
	{"LINKS", TOP_NUMBER, NULL, "links"},
	{"CHANNELS", TOP_NUMBER, NULL, "channels"},
	{"AGE", TOP_AGE, NULL, "age_s"},
	{"STATE", TOP_TEXT, NULL, "state", cell_text},
	{NULL},
};

static const struct top_column names[] = {
	{"DOMAIN", TOP_TEXT, "holder", "domain", cell_text},
	{"NAME", TOP_TEXT, NULL, "name", cell_text},
	TRAFFIC("traffic"),
	{"BACKLOG", TOP_NUMBER, NULL, "offered"},
	{"AGE", TOP_AGE, NULL, "age_s"},
	{"STATE", TOP_TEXT, NULL, "state", cell_text},
	{"HOLDER", TOP_TEXT, NULL, "holder", cell_party},
	{NULL},
};

static const struct top_column links[] = {
	{"LINK", TOP_TEXT, NULL, "uid", cell_text},
	TRAFFIC("creator_traffic"),
	{"EVENTS/s", TOP_RATE, "creator_traffic", "notifications"},
	{"CALLS/s", TOP_RATE, "creator_traffic", "hypercalls"},
	{"CHANNELS", TOP_NUMBER, NULL, "channels"},
	{"AGE", TOP_AGE, NULL, "age_s"},
	{"TRANSPORT", TOP_TEXT, NULL, "transport", cell_text},
	{"CREATOR", TOP_TEXT, NULL, "creator", cell_party},
	{"BINDER", TOP_TEXT, NULL, "binder", cell_party},
	{NULL},
};

static const struct top_column channels[] = {
	{"LINK", TOP_TEXT, NULL, "link", cell_text},
	{"CHANNEL", TOP_NUMBER, NULL, "channel"},
	{"NAME", TOP_TEXT, NULL, "name", cell_text},
	TRAFFIC("from_traffic"),
	{"UNREAD", TOP_BYTES, "to_traffic", "unread"},
	{"NO-CREDIT/s", TOP_RATE, "from_traffic", "no_credit"},
	{"AGE", TOP_AGE, NULL, "age_s"},
	{"FROM", TOP_TEXT, NULL, "from", cell_party},
	{"TO", TOP_TEXT, NULL, "to", cell_party},
	{NULL},
};

const struct top_view top_views[] = {
	{"domains", 'D', {"domid", "uuid"}, domains, 2},
	{"applications", 'A', {"domid", "pid", "comm"}, applications, 3},
	{"names", 'N', {"holder.domid", "holder.pid", "name"}, names, 2},
	{"links", 'L', {"uid"}, links, 1},
	{"channels", 'C', {"link", "channel"}, channels, 3},
	{NULL},
};

const struct top_view *top_view_find(const char *op)
{
	const struct top_view *view = top_views;

	while (view->op && strcasecmp(view->op, op) != 0)
		view++;
	return view->op ? view : NULL;
}

int top_column_find(const struct top_view *view, const char *head)
{
	for (int i = 0; view->columns[i].head; i++) {
		if (strcasecmp(view->columns[i].head, head) == 0)
			return i;
	}
	return -1;
}

unsigned top_columns(const struct top_view *view)
{
	unsigned n = 0;

	while (view->columns[n].head)
		n++;
	return n;
}

bool top_kind_is_rate(enum top_kind kind)
{
	return kind == TOP_RATE || kind == TOP_RATE_BYTES;
}
