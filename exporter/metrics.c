/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See metrics.h. The tables are the metrics; the rest of the file goes through them. */
#include "exporter/metrics.h"

#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "base/number.h"
#include "exporter/exposition.h"
#include "exporter/limits.h"

/* ---- metrics of msgd as a whole ------------------------------------------------------------- */

/* A number of msgd's status: in an object of it, or in itself. */
struct status_metric {
	struct family family;
	const char *object; /* or NULL */
	const char *key;
	bool us; /* microseconds, to be shown in seconds */
};

static const struct status_metric status_metrics[] = {
	{{FAMILY_GAUGE, "msgd_start_time_seconds", "seconds",
		 "When this msgd has started, since 1970."},
		NULL, "since_us", true},
	{{FAMILY_GAUGE, "msgd_recovering", NULL,
		 "Whether msgd has started of late, and waits for applications to come back."},
		NULL, "recovering"},
	{{FAMILY_GAUGE, "msgd_domains", NULL, "Domains that there are."}, NULL, "domains"},
	{{FAMILY_GAUGE, "msgd_applications", NULL, "Applications that are attached."}, NULL,
		"applications"},
	{{FAMILY_GAUGE, "msgd_names", NULL, "Names that are held."}, NULL, "names"},
	{{FAMILY_GAUGE, "msgd_links", NULL, "Links that there are."}, NULL, "links"},
	{{FAMILY_GAUGE, "msgd_channels", NULL, "Channels that there are."}, NULL, "channels"},
	{{FAMILY_GAUGE, "msgd_requests_waiting", NULL, "Requests of applications that wait."}, NULL,
		"requests_waiting"},
	{{FAMILY_GAUGE, "msgd_policy_rules", NULL, "Rules in force."}, NULL, "rules"},
	{{FAMILY_GAUGE, "msgd_policy_errors", NULL,
		 "Errors of the policy: if there are any, rules are missing."},
		NULL, "policy_errors"},
	{{FAMILY_COUNTER, "msgd_attaches", NULL, "Applications that have attached."}, "counts",
		"attached"},
	{{FAMILY_COUNTER, "msgd_connects", NULL, "Channels that were made."}, "counts",
		"connected"},
	{{FAMILY_COUNTER, "msgd_refusals", NULL,
		 "Listens and connects that policy or a limit has refused."},
		"counts", "refused"},
	{{FAMILY_COUNTER, "msgd_failures", NULL,
		 "Listens and connects that failed for another reason."},
		"counts", "failed"},
	{{FAMILY_COUNTER, "msgd_link_resets", NULL, "Links that ended with a channel that stood."},
		"counts", "reset"},
	{{FAMILY_COUNTER, "msgd_application_drops", NULL, "Applications that msgd has let go of."},
		"counts", "dropped"},
	{{FAMILY_COUNTER, "msgd_links_made", NULL, "Links that were made."}, "counts",
		"links_made"},
	{{FAMILY_COUNTER, "msgd_log_lines_left_out", NULL, "Lines of the log that were too many."},
		"counts", "lines_left_out"},
	{{FAMILY_COUNTER, "msgd_turns", NULL, "Turns of msgd's loop."}, "turns", "count"},
	{{FAMILY_COUNTER, "msgd_turn_cpu_seconds", "seconds",
		 "Time of the processor that the turns of msgd's loop took."},
		"turns", "cpu_us", true},
	{{FAMILY_GAUGE, "msgd_turn_longest_cpu_seconds", "seconds",
		 "Time of the processor that the longest turn of msgd's loop took."},
		"turns", "longest_cpu_us", true},
};

/* ---- metrics of each thing of a kind -------------------------------------------------------- */

enum value {
	VALUE_TX_MESSAGES,
	VALUE_TX_BYTES,
	VALUE_RX_MESSAGES,
	VALUE_RX_BYTES,
	VALUE_DROPS,
	VALUE_NO_CREDIT,
	VALUE_NO_ROOM,
	VALUE_NOTIFICATIONS,
	VALUE_HYPERCALLS,
	VALUE_ATTACHED,
	VALUE_CONNECTED,
	VALUE_REFUSED,
	VALUE_FAILED,
	VALUE_RESET,
	VALUE_DROPPED,
	VALUE_LINKS_MADE,
	VALUES,
};

/* In msgd's answers: a row has them, or its object of traffic. */
static const char *const value_keys[VALUES] = {
	[VALUE_TX_MESSAGES] = "tx_messages",
	[VALUE_TX_BYTES] = "tx_bytes",
	[VALUE_RX_MESSAGES] = "rx_messages",
	[VALUE_RX_BYTES] = "rx_bytes",
	[VALUE_DROPS] = "drops",
	[VALUE_NO_CREDIT] = "no_credit",
	[VALUE_NO_ROOM] = "no_room",
	[VALUE_NOTIFICATIONS] = "notifications",
	[VALUE_HYPERCALLS] = "hypercalls",
	[VALUE_ATTACHED] = "attached",
	[VALUE_CONNECTED] = "connected",
	[VALUE_REFUSED] = "refused",
	[VALUE_FAILED] = "failed",
	[VALUE_RESET] = "reset",
	[VALUE_DROPPED] = "dropped",
	[VALUE_LINKS_MADE] = "links_made",
};

_Static_assert((int)VALUES <= (int)SERIES_VALUES, "a row has a place for each");

struct counter {
	struct family family; /* no name: that of the counter before it */
	enum value value;
	const char *labels; /* beside those of the thing, or NULL */
};

#define COUNTER(name, unit, help)                                                                  \
	{                                                                                          \
		FAMILY_COUNTER, name, unit, help                                                   \
	}
/* of: ends a sentence, with its full stop. */
#define TRAFFIC(prefix, of)                                                                        \
	{COUNTER(prefix "_transmit_messages", NULL,                                                \
		 "Messages, of streams frames, that were sent by " of),                            \
		VALUE_TX_MESSAGES},                                                                \
		{COUNTER(prefix "_transmit_bytes", "bytes", "Payload that was sent by " of),       \
			VALUE_TX_BYTES},                                                           \
		{COUNTER(prefix "_receive_messages", NULL,                                         \
			 "Messages, of streams frames, that were received by " of),                \
			VALUE_RX_MESSAGES},                                                        \
		{COUNTER(prefix "_receive_bytes", "bytes", "Payload that was received by " of),    \
			VALUE_RX_BYTES},                                                           \
		{COUNTER(prefix "_dropped_datagrams", NULL,                                        \
			 "Datagrams without a place that were dropped by " of),                    \
			VALUE_DROPS},                                                              \
		{COUNTER(prefix "_stalls", NULL,                                                   \
			 "Sends that found no credit, or no room in the ring, by " of),            \
			VALUE_NO_CREDIT, "reason=\"credit\""},                                     \
	{                                                                                          \
		{0}, VALUE_NO_ROOM, "reason=\"room\""                                              \
	}
#define HYPERVISOR(prefix, of)                                                                     \
	{COUNTER(prefix "_notifications", NULL, "Notifications that were sent by " of),            \
		VALUE_NOTIFICATIONS},                                                              \
	{                                                                                          \
		COUNTER(prefix "_hypercalls", NULL, "Calls of the hypervisor by " of),             \
			VALUE_HYPERCALLS                                                           \
	}

#define OF_DOMAIN  "the domain's applications, as they say, since it is there."
#define OF_NAME	   "the holders of the name, as they say; with the next holder it goes on."
#define OF_LINK	   "this end of the link, as it says; the series ends with the link."
#define OF_CHANNEL "this end of the channel, as it says; the series ends with the channel."

static const struct counter domain_counters[] = {
	TRAFFIC("msgd_domain", OF_DOMAIN),
	HYPERVISOR("msgd_domain", OF_DOMAIN),
	{COUNTER("msgd_domain_attaches", NULL, "Applications of the domain that have attached."),
		VALUE_ATTACHED},
	{COUNTER("msgd_domain_connects", NULL, "Channels that the domain has connected."),
		VALUE_CONNECTED},
	{COUNTER("msgd_domain_refusals", NULL,
		 "Listens and connects of the domain that policy or a limit has refused."),
		VALUE_REFUSED},
	{COUNTER("msgd_domain_failures", NULL,
		 "Listens and connects of the domain that failed for another reason."),
		VALUE_FAILED},
	{COUNTER("msgd_domain_link_resets", NULL,
		 "Links that the domain ended with a channel that stood."),
		VALUE_RESET},
	{COUNTER("msgd_domain_application_drops", NULL,
		 "Applications of the domain that msgd has let go of."),
		VALUE_DROPPED},
	{COUNTER("msgd_domain_links_made", NULL, "Links that the domain has made."),
		VALUE_LINKS_MADE},
	{{0}},
};
static const struct counter rule_counters[] = {
	{COUNTER("msgd_rule_refusals", NULL,
		 "Listens and connects that the rule has refused since msgd started or the rule "
		 "was new."),
		VALUE_REFUSED},
	{{0}},
};
static const struct counter name_counters[] = {TRAFFIC("msgd_name", OF_NAME), {{0}}};
static const struct counter link_counters[] = {
	TRAFFIC("msgd_link", OF_LINK), HYPERVISOR("msgd_link", OF_LINK), {{0}}};
static const struct counter channel_counters[] = {TRAFFIC("msgd_channel", OF_CHANNEL), {{0}}};

/* A thing has a row for each of its two ends, or one alone. */
struct end {
	const char *name;    /* of the end, or NULL */
	const char *party;   /* the object with its domain, or NULL: the row has that itself */
	const char *traffic; /* the object with its counts, or NULL: likewise */
};

static const struct kind {
	enum metrics_op op;
	const struct counter *counters;
	struct {
		const char *label, *key; /* of the row */
	} texts[4];
	bool domains; /* it is of a domain, which is two labels */
	struct end ends[2];
	unsigned n_ends;
	const char *other; /* the labels of all others */
} kinds[METRICS_KINDS] = {
	[METRICS_DOMAINS] = {METRICS_OP_COUNTS, domain_counters, {{NULL}}, true,
		{{NULL, NULL, "traffic"}}, 1, "domain=\"other\",domid=\"other\""},
	[METRICS_RULES] = {METRICS_OP_REFUSALS, rule_counters, {{"rule", "rule"}}, false, {{NULL}},
		1, "rule=\"other\""},
	[METRICS_NAMES] = {METRICS_OP_NAMES, name_counters, {{"name", "name"}}, true,
		{{NULL, "holder", "traffic"}}, 1,
		"name=\"other\",domain=\"other\",domid=\"other\""},
	[METRICS_LINKS] = {METRICS_OP_LINKS, link_counters,
		{{"link", "uid"}, {"transport", "transport"}}, true,
		{{"creator", "creator", "creator_traffic"}, {"binder", "binder", "binder_traffic"}},
		2,
		"link=\"other\",transport=\"other\",end=\"other\",domain=\"other\",domid="
		"\"other\""},
	[METRICS_CHANNELS] = {METRICS_OP_CHANNELS, channel_counters,
		{{"link", "link"}, {"channel", "channel"}, {"name", "name"},
			{"transport", "transport"}},
		true, {{"from", "from", "from_traffic"}, {"to", "to", "to_traffic"}}, 2,
		"link=\"other\",channel=\"other\",name=\"other\",transport=\"other\",end=\"other\","
		"domain=\"other\",domid=\"other\""},
};

static const char *const op_names[METRICS_OPS] = {
	[METRICS_OP_STATUS] = "status",
	[METRICS_OP_COUNTS] = "counts",
	[METRICS_OP_LIMITS] = "limits",
	[METRICS_OP_REFUSALS] = "refusals",
	[METRICS_OP_LATENCY] = "latency",
	[METRICS_OP_NAMES] = "names",
	[METRICS_OP_LINKS] = "links",
	[METRICS_OP_CHANNELS] = "channels",
};

const char *metrics_op_name(enum metrics_op op)
{
	return op_names[op];
}

bool metrics_wants(const struct metrics *metrics, enum metrics_op op)
{
	for (unsigned i = 0; i < METRICS_KINDS; i++) {
		if (kinds[i].op == op)
			return metrics->max[i] > 0;
	}
	return true;
}

void metrics_init(struct metrics *metrics, uint64_t now_us)
{
	*metrics = (struct metrics){.since_us = now_us};
	metrics->max[METRICS_DOMAINS] = SERIES_DOMAINS;
	metrics->max[METRICS_RULES] = SERIES_RULES;
	metrics->max[METRICS_NAMES] = SERIES_NAMES;
}

void metrics_fini(struct metrics *metrics)
{
	for (unsigned i = 0; i < METRICS_KINDS; i++)
		series_fini(&metrics->series[i]);
}

/* ---- rows ----------------------------------------------------------------------------------- */

/* A number, a boolean or the size of an array. */
static uint64_t number_of(const json_t *json)
{
	json_int_t number = json_is_array(json)	 ? (json_int_t)json_array_size(json)
			    : json_is_true(json) ? 1
						 : json_integer_value(json);

	return number > 0 ? (uint64_t)number : 0;
}

/* A text, or a number as one; null: "". */
static bool label_add(char labels[LABELS_SIZE], const char *name, const json_t *json)
{
	const char *text = json_string_value(json);
	char number[24];

	(void)snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(json));
	return labels_add(labels, name, text ? text : json_is_integer(json) ? number : "");
}

static bool labels_make(const struct kind *kind, const struct end *end, const json_t *row,
	char ret_labels[LABELS_SIZE])
{
	const json_t *party = end->party ? json_object_get(row, end->party) : row;
	bool good = true;

	ret_labels[0] = '\0';
	for (unsigned i = 0; i < ARRAY_SIZE(kind->texts) && kind->texts[i].label; i++)
		good = good && label_add(ret_labels, kind->texts[i].label,
				       json_object_get(row, kind->texts[i].key));
	if (end->name)
		good = good && labels_add(ret_labels, "end", end->name);
	if (kind->domains)
		good = good && label_add(ret_labels, "domain", json_object_get(party, "domain")) &&
		       label_add(ret_labels, "domid", json_object_get(party, "domid"));
	return good;
}

/* since_us: msgd's. False: no memory for it. */
static bool row_make(enum metrics_kind which, const struct end *end, const json_t *row,
	uint64_t since_us, uint64_t now_us, struct series_row *ret_row)
{
	const struct kind *kind = &kinds[which];
	const json_t *traffic = end->traffic ? json_object_get(row, end->traffic) : NULL;
	const json_t *party = end->party ? json_object_get(row, end->party) : row;
	const json_t *age_s = json_object_get(row, "age_s");
	uint64_t row_us = number_of(json_object_get(row, "since_us"));
	/* Links and channels outlive msgd, and their counts do not. */
	struct series_row made = {.since_us = row_us ? row_us : since_us};
	char labels[LABELS_SIZE];

	if (!labels_make(kind, end, row, labels) || !(made.labels = strdup(labels)))
		return false;
	made.domid = (uint32_t)number_of(json_object_get(party, "domid"));
	/* In whole seconds: a younger one than that would be taken for a new one. */
	made.born_us = row_us || !age_s ? made.since_us : now_us - (number_of(age_s) + 1) * 1000000;
	if (which == METRICS_RULES)
		made.born_us = now_us; /* it is listed since it has refused first */
	for (unsigned i = 0; i < VALUES; i++) {
		const json_t *value = json_object_get(traffic, value_keys[i]);

		value = value ? value : json_object_get(row, value_keys[i]);
		made.values[i] = number_of(value);
	}
	made.weight = count_sum(made.values[VALUE_TX_BYTES], made.values[VALUE_RX_BYTES]);
	made.weight = count_sum(made.weight, made.values[VALUE_REFUSED]);
	*ret_row = made;
	return true;
}

static void kind_look(
	struct metrics *metrics, enum metrics_kind which, const struct metrics_scrape *scrape)
{
	const struct kind *kind = &kinds[which];
	const json_t *list = json_object_get(scrape->answers[kind->op], metrics_op_name(kind->op));
	const json_t *status = scrape->answers[METRICS_OP_STATUS];
	uint64_t since_us = number_of(json_object_get(status, "since_us"));
	size_t n_rows = json_array_size(list), n = 0;
	struct series_row *rows = calloc(n_rows * kind->n_ends + 1, sizeof(*rows));

	for (size_t i = 0; rows && i < n_rows; i++) {
		for (unsigned e = 0; e < kind->n_ends; e++)
			n += row_make(which, &kind->ends[e], json_array_get(list, i), since_us,
				scrape->now_us, &rows[n]);
	}
	if (rows)
		series_look(&metrics->series[which], rows, n,
			(size_t)metrics->max[which] * kind->n_ends, scrape->now_us);
}

/* ---- the text ------------------------------------------------------------------------------- */

/* All samples of one family for one thing. */
static void samples_write(struct exposition *exposition, const struct counter *first,
	const char *labels, const uint64_t values[], uint64_t since_us)
{
	const struct counter *counter = first;
	char all[LABELS_SIZE + 32];

	do {
		(void)snprintf(all, sizeof(all), "%s%s%s", labels, counter->labels ? "," : "",
			counter->labels ? counter->labels : "");
		exposition_sample(exposition, &first->family, all, values[counter->value]);
		exposition_created(exposition, &first->family, all, since_us);
		counter++;
	} while (!counter->family.name && counter->labels);
}

static void kind_write(
	struct exposition *exposition, const struct metrics *metrics, enum metrics_kind which)
{
	const struct kind *kind = &kinds[which];
	const struct series *series = &metrics->series[which];
	const struct counter *counter = kind->counters;

	for (; counter->family.name || counter->labels; counter++) {
		if (!counter->family.name)
			continue;
		exposition_family(exposition, &counter->family);
		for (size_t i = 0; i < series->n_own; i++)
			samples_write(exposition, counter, series->rows[i].labels,
				series->rows[i].values, series->rows[i].since_us);
		if (metrics->max[which])
			samples_write(exposition, counter, kind->other, series->others,
				metrics->since_us);
	}
}

static void status_write(struct exposition *exposition, const json_t *status)
{
	uint64_t since_us = number_of(json_object_get(status, "since_us"));

	for (size_t i = 0; i < ARRAY_SIZE(status_metrics); i++) {
		const struct status_metric *metric = &status_metrics[i];
		const json_t *object =
			metric->object ? json_object_get(status, metric->object) : status;
		uint64_t number = number_of(json_object_get(object, metric->key));

		exposition_family(exposition, &metric->family);
		if (metric->us)
			exposition_seconds(exposition, &metric->family, "", number);
		else
			exposition_sample(exposition, &metric->family, "", number);
		if (metric->family.type == FAMILY_COUNTER)
			exposition_created(exposition, &metric->family, "", since_us);
	}
}

static void latency_write(struct exposition *exposition, const json_t *latency, uint64_t since_us)
{
	static const struct family family = {FAMILY_HISTOGRAM, "msgd_connect_stage_seconds",
		"seconds", "Time that connects took, by stage, since the start of msgd."};
	uint64_t below[HISTOGRAM_POWERS];
	const char *stage;
	json_t *histogram;

	exposition_family(exposition, &family);
	json_object_foreach(json_object_get(latency, "us"), stage, histogram)
	{
		const json_t *list = json_object_get(histogram, "below");
		size_t n = 0;
		char labels[LABELS_SIZE] = "";

		for (; n < json_array_size(list) && n < HISTOGRAM_POWERS; n++)
			below[n] = number_of(json_array_get(list, n));
		if (!labels_add(labels, "stage", stage))
			continue;
		exposition_histogram(exposition, &family, labels, below, n,
			number_of(json_object_get(histogram, "sum")));
		exposition_created(exposition, &family, labels, since_us);
	}
}

static bool domain_is_own(const struct series *series, const char *labels)
{
	size_t i = 0;

	while (i < series->n_own && strcmp(series->rows[i].labels, labels) != 0)
		i++;
	return i < series->n_own;
}

/* Of each domain with series of its own: its memory, or all else that it has limits of. */
static void limits_write(struct exposition *exposition, const struct metrics *metrics,
	const json_t *limits, const struct family *family, const char *object, bool memory)
{
	const struct kind *kind = &kinds[METRICS_DOMAINS];
	const json_t *row;
	size_t i;

	exposition_family(exposition, family);
	json_array_foreach(json_object_get(limits, "limits"), i, row)
	{
		char labels[LABELS_SIZE], all[LABELS_SIZE];
		const char *key;
		json_t *value;

		if (!labels_make(kind, &kind->ends[0], row, labels) ||
			!domain_is_own(&metrics->series[METRICS_DOMAINS], labels))
			continue;
		json_object_foreach(json_object_get(row, object), key, value)
		{
			strcpy(all, labels);
			if ((strcmp(key, "memory") == 0) == memory &&
				(memory || labels_add(all, "limit", key)))
				exposition_sample(exposition, family, all, number_of(value));
		}
	}
}

static void msgd_write(
	struct exposition *exposition, struct metrics *metrics, const struct metrics_scrape *scrape)
{
	static const struct family build = {
		FAMILY_INFO, "msgd_build", NULL, "The version of msgd."};
	static const struct family memory = {FAMILY_GAUGE, "msgd_domain_memory_bytes", "bytes",
		"Memory that msgd spends on the domain."};
	static const struct family memory_limit = {FAMILY_GAUGE, "msgd_domain_memory_limit_bytes",
		"bytes", "Memory that msgd spends on the domain at most."};
	static const struct family used = {FAMILY_GAUGE, "msgd_domain_used", NULL,
		"How much of each limit other than memory the domain has used."};
	static const struct family limit = {FAMILY_GAUGE, "msgd_domain_limit", NULL,
		"How much of each limit other than memory the domain may use."};
	const json_t *status = scrape->answers[METRICS_OP_STATUS];
	const json_t *limits = scrape->answers[METRICS_OP_LIMITS];
	char labels[LABELS_SIZE] = "";

	exposition_family(exposition, &build);
	if (label_add(labels, "version", json_object_get(status, "version")))
		exposition_sample(exposition, &build, labels, 1);
	status_write(exposition, status);
	for (unsigned i = 0; i < METRICS_KINDS; i++) {
		kind_look(metrics, i, scrape);
		kind_write(exposition, metrics, i);
	}
	limits_write(exposition, metrics, limits, &memory, "used", true);
	limits_write(exposition, metrics, limits, &memory_limit, "limits", true);
	limits_write(exposition, metrics, limits, &used, "used", false);
	limits_write(exposition, metrics, limits, &limit, "limits", false);
	latency_write(exposition, scrape->answers[METRICS_OP_LATENCY],
		number_of(json_object_get(status, "since_us")));
}

static void count_write(struct exposition *exposition, const struct family *family,
	const char *labels, uint64_t value, uint64_t since_us)
{
	exposition_sample(exposition, family, labels, value);
	exposition_created(exposition, family, labels, since_us);
}

/* Of msg-exporter itself. */
static void own_write(struct exposition *exposition, const struct metrics *metrics,
	const struct metrics_scrape *scrape)
{
	static const struct family build = {
		FAMILY_INFO, "msg_exporter_build", NULL, "The version of msg-exporter."};
	static const struct family scrapes = {
		FAMILY_COUNTER, "msg_exporter_scrapes", NULL, "Scrapes of msgd."};
	static const struct family errors = {
		FAMILY_COUNTER, "msg_exporter_scrape_errors", NULL, "Scrapes of msgd that failed."};
	static const struct family took = {FAMILY_GAUGE, "msg_exporter_scrape_duration_seconds",
		"seconds", "Time that this one took."};
	static const struct family requests = {
		FAMILY_COUNTER, "msg_exporter_requests", NULL, "Requests of HTTP."};
	static const struct family refused = {FAMILY_COUNTER, "msg_exporter_refusals", NULL,
		"Requests with a foreign Host; those for which there was no place; connections "
		"that "
		"took too long; and those that took long while no other found a place."};
	static const struct family connections = {
		FAMILY_GAUGE, "msg_exporter_connections", NULL, "Connections of HTTP."};
	const struct http_counts *http = &scrape->http;
	uint64_t since_us = metrics->since_us;

	exposition_family(exposition, &build);
	exposition_sample(exposition, &build, "version=\"" MSGD_VERSION "\"", 1);
	exposition_family(exposition, &scrapes);
	count_write(exposition, &scrapes, "", metrics->scrapes, since_us);
	exposition_family(exposition, &errors);
	count_write(exposition, &errors, "", metrics->errors, since_us);
	exposition_family(exposition, &took);
	exposition_seconds(exposition, &took, "", scrape->took_us);
	exposition_family(exposition, &requests);
	count_write(exposition, &requests, "", http->requests, since_us);
	exposition_family(exposition, &refused);
	count_write(exposition, &refused, "reason=\"host\"", http->refused_host, since_us);
	count_write(exposition, &refused, "reason=\"busy\"", http->busy, since_us);
	count_write(exposition, &refused, "reason=\"late\"", http->late, since_us);
	count_write(exposition, &refused, "reason=\"crowded\"", http->crowded, since_us);
	exposition_family(exposition, &connections);
	exposition_sample(exposition, &connections, "", http->clients);
}

bool metrics_write(struct metrics *metrics, const struct metrics_scrape *scrape, bool openmetrics,
	char **ret_text, size_t *ret_len)
{
	static const struct family up = {
		FAMILY_GAUGE, "msgd_up", NULL, "Whether msgd could be asked."};
	bool is_up = scrape->answers[METRICS_OP_STATUS];
	struct exposition exposition;

	metrics->scrapes++;
	metrics->errors += !is_up;
	exposition_begin(&exposition, openmetrics);
	exposition_family(&exposition, &up);
	exposition_sample(&exposition, &up, "", is_up);
	if (is_up)
		msgd_write(&exposition, metrics, scrape);
	own_write(&exposition, metrics, scrape);
	return exposition_end(&exposition, ret_text, ret_len);
}
