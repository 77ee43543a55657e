/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* msgd's answers, for people. */
#include "msgctl/show.h"

#include <stdio.h>
#include <string.h>

const char *field_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "-";
}

const char *field_word(const json_t *value)
{
	const char *text = json_string_value(value);

	return text && *text ? text : "-";
}

const json_t *field_at(const json_t *object, const char *path)
{
	const char *point = strchr(path, '.');
	char key[32];

	if (!point)
		return json_object_get(object, path);
	(void)snprintf(key, sizeof(key), "%.*s", (int)(point - path), path);
	return json_object_get(json_object_get(object, key), point + 1);
}

long long field_number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

bool field_true(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

void cell_text(const json_t *row, const char *key, char ret_text[CELL_SIZE])
{
	(void)snprintf(ret_text, CELL_SIZE, "%s", field_text(row, key));
}

static void cell_number(const json_t *row, const char *key, char ret_text[CELL_SIZE])
{
	(void)snprintf(ret_text, CELL_SIZE, "%lld", field_number(row, key));
}

static void cell_used(const json_t *row, const char *key, char ret_text[CELL_SIZE])
{
	cell_number(json_object_get(row, "used"), key, ret_text);
}

void age_text(long long seconds, char ret_text[CELL_SIZE])
{
	if (seconds < 120)
		(void)snprintf(ret_text, CELL_SIZE, "%llds", seconds);
	else if (seconds < 120 * 60)
		(void)snprintf(ret_text, CELL_SIZE, "%lldm", seconds / 60);
	else if (seconds < 48 * 3600)
		(void)snprintf(ret_text, CELL_SIZE, "%lldh", seconds / 3600);
	else
		(void)snprintf(ret_text, CELL_SIZE, "%lldd", seconds / 86400);
}

static void cell_age(const json_t *row, const char *key, char ret_text[CELL_SIZE])
{
	age_text(field_number(row, key), ret_text);
}

void cell_party(const json_t *row, const char *key, char ret_text[CELL_SIZE])
{
	const json_t *party = json_object_get(row, key);
	/* The holder of a name that policy has come to forbid. */
	const char *note =
		json_is_false(json_object_get(row, "permitted")) ? " (no longer permitted)" : "";

	if (json_is_string(json_object_get(party, "domain")))
		(void)snprintf(ret_text, CELL_SIZE, "%s(%lld) %lld %s%s",
			field_text(party, "domain"), field_number(party, "domid"),
			field_number(party, "pid"), field_text(party, "comm"), note);
	else
		(void)snprintf(ret_text, CELL_SIZE, "(%lld) not back yet%s",
			field_number(party, "domid"), note);
}

static void cell_backlog(const json_t *row, const char *key, char ret_text[CELL_SIZE])
{
	(void)snprintf(ret_text, CELL_SIZE, "%lld/%lld", field_number(row, "offered"),
		field_number(row, key));
}

static void cell_yes_no(const json_t *row, const char *key, char ret_text[CELL_SIZE])
{
	(void)snprintf(ret_text, CELL_SIZE, "%s", field_true(row, key) ? "yes" : "no");
}

static void words_text(const json_t *words, const char *between, char ret_text[CELL_SIZE])
{
	const json_t *word;
	size_t i, len = 0;

	(void)snprintf(ret_text, CELL_SIZE, "%s", json_array_size(words) ? "" : "-");
	json_array_foreach(words, i, word)
	{
		if (len < CELL_SIZE)
			len += (size_t)snprintf(ret_text + len, CELL_SIZE - len, "%s%s",
				i ? between : "", json_string_value(word));
	}
}

static void cell_words(const json_t *row, const char *key, char ret_text[CELL_SIZE])
{
	words_text(json_object_get(row, key), " ", ret_text);
}

static void cell_tags(const json_t *row, const char *key, char ret_text[CELL_SIZE])
{
	words_text(json_object_get(row, key), ",", ret_text);
}

/* "12 KiB" */
static void cell_size(const json_t *row, const char *key, char ret_text[CELL_SIZE])
{
	(void)snprintf(ret_text, CELL_SIZE, "%lld KiB", (field_number(row, key) + 1023) / 1024);
}

void cell_domain_state(const json_t *row, const char *key, char ret_text[CELL_SIZE])
{
	(void)snprintf(ret_text, CELL_SIZE, "%s%s", field_text(row, key),
		field_true(row, "blocked") ? ",blocked" : "");
}

void bytes_text(double bytes, char ret_text[CELL_SIZE])
{
	static const char units[] = "KMGTPE";
	int unit = -1;

	while (bytes >= 1024 && units[unit + 1]) {
		bytes /= 1024;
		unit++;
	}
	if (unit < 0)
		(void)snprintf(ret_text, CELL_SIZE, "%.0f", bytes);
	else
		(void)snprintf(ret_text, CELL_SIZE, "%.1f%c", bytes, units[unit]);
}

/* The key of bytes in an end's traffic, which may not be known. */
static void cell_bytes(
	const json_t *row, const char *traffic, const char *key, char ret_text[CELL_SIZE])
{
	const json_t *object = json_object_get(row, traffic);

	if (json_is_object(object))
		bytes_text((double)field_number(object, key), ret_text);
	else
		(void)snprintf(ret_text, CELL_SIZE, "-");
}

static void cell_sent(const json_t *row, const char *key, char ret_text[CELL_SIZE])
{
	cell_bytes(row, key, "tx_bytes", ret_text);
}

static void cell_received(const json_t *row, const char *key, char ret_text[CELL_SIZE])
{
	cell_bytes(row, key, "rx_bytes", ret_text);
}

/* True, with the word: an end tells of a channel when its counts change, and neither end has. */
static bool is_quiet(const json_t *row, char ret_text[CELL_SIZE])
{
	if (json_is_object(json_object_get(row, "from_traffic")) ||
		json_is_object(json_object_get(row, "to_traffic")))
		return false;
	(void)snprintf(ret_text, CELL_SIZE, "quiet");
	return true;
}

static void cell_channel_sent(const json_t *row, const char *key, char ret_text[CELL_SIZE])
{
	if (!is_quiet(row, ret_text))
		cell_sent(row, key, ret_text);
}

static void cell_channel_received(const json_t *row, const char *key, char ret_text[CELL_SIZE])
{
	if (!is_quiet(row, ret_text))
		cell_received(row, key, ret_text);
}

/* At both ends: "0/1.2K". */
static void cell_unread(const json_t *row, const char *key, char ret_text[CELL_SIZE])
{
	char from[CELL_SIZE], to[CELL_SIZE];

	if (is_quiet(row, ret_text))
		return;
	cell_bytes(row, "from_traffic", key, from);
	cell_bytes(row, "to_traffic", key, to);
	(void)snprintf(ret_text, CELL_SIZE, "%.16s/%.16s", from, to);
}

const struct column domains_columns[] = {
	{"DOMID", cell_number, "domid"},
	{"NAME", cell_text, "name"},
	{"STATE", cell_domain_state, "state"},
	{"APPS", cell_used, "processes"},
	{"NAMES", cell_used, "names"},
	{"LINKS", cell_used, "links"},
	{"CHANNELS", cell_used, "channels"},
	{"WAITING", cell_used, "requests"},
	{"SENT", cell_sent, "traffic"},
	{"RECEIVED", cell_received, "traffic"},
	{"UUID", cell_text, "uuid"},
	{"TAGS", cell_tags, "tags"},
	{NULL},
};

const struct column applications_columns[] = {
	{"DOMAIN", cell_text, "domain"},
	{"DOMID", cell_number, "domid"},
	{"PID", cell_number, "pid"},
	{"COMMAND", cell_text, "comm"},
	{"STATE", cell_text, "state"},
	{"NAMES", cell_number, "names"},
	{"LINKS", cell_number, "links"},
	{"CHANNELS", cell_number, "channels"},
	{"AGE", cell_age, "age_s"},
	{"FEATURES", cell_words, "features"},
	{NULL},
};

const struct column who_columns[] = {
	{"DOMAIN", cell_text, "domain"},
	{"DOMID", cell_number, "domid"},
	{"PID", cell_number, "pid"},
	{"COMMAND", cell_text, "comm"},
	{"PORTS", cell_number, "ports"},
	{"RINGS", cell_number, "rings"},
	{"GRANTED", cell_number, "granted_pages"},
	{"MAPPED", cell_number, "mapped_pages"},
	{"DOMAIN'S MEMORY", cell_size, "domain_memory"},
	{NULL},
};

static void cell_holder_domain(const json_t *row, const char *key, char ret_text[CELL_SIZE])
{
	cell_text(json_object_get(row, "holder"), key, ret_text);
}

const struct column names_columns[] = {
	{"DOMAIN", cell_holder_domain, "domain"},
	{"NAME", cell_text, "name"},
	{"TYPE", cell_text, "type"},
	{"STATE", cell_text, "state"},
	{"BACKLOG", cell_backlog, "backlog"},
	{"SENT", cell_sent, "traffic"},
	{"RECEIVED", cell_received, "traffic"},
	{"AGE", cell_age, "age_s"},
	{"HOLDER", cell_party, "holder"},
	{NULL},
};

const struct column links_columns[] = {
	{"LINK", cell_text, "uid"},
	{"CREATOR", cell_party, "creator"},
	{"BINDER", cell_party, "binder"},
	{"TRANSPORT", cell_text, "transport"},
	{"STATE", cell_text, "state"},
	{"CHANNELS", cell_number, "channels"},
	{"SENT", cell_sent, "creator_traffic"},
	{"RECEIVED", cell_received, "creator_traffic"},
	{"AGE", cell_age, "age_s"},
	{"WHY THIS TRANSPORT", cell_text, "reason"},
	{NULL},
};

const struct column channels_columns[] = {
	{"LINK", cell_text, "link"},
	{"CHANNEL", cell_number, "channel"},
	{"NAME", cell_text, "name"},
	{"TYPE", cell_text, "type"},
	{"FROM", cell_party, "from"},
	{"TO", cell_party, "to"},
	{"TRANSPORT", cell_text, "transport"},
	{"STATE", cell_text, "state"},
	{"SENT", cell_channel_sent, "from_traffic"},
	{"RECEIVED", cell_channel_received, "from_traffic"},
	{"UNREAD", cell_unread, "unread"},
	{"AGE", cell_age, "age_s"},
	{NULL},
};

const struct column counts_columns[] = {
	{"DOMID", cell_number, "domid"},
	{"DOMAIN", cell_text, "domain"},
	{"ATTACHED", cell_number, "attached"},
	{"CONNECTED", cell_number, "connected"},
	{"REFUSED", cell_number, "refused"},
	{"FAILED", cell_number, "failed"},
	{"RESET", cell_number, "reset"},
	{"DROPPED", cell_number, "dropped"},
	{"SENT", cell_sent, "traffic"},
	{"RECEIVED", cell_received, "traffic"},
	{"MEMORY", cell_size, "memory"},
	{NULL},
};

const struct column refusals_columns[] = {
	{"REFUSED", cell_number, "refused"},
	{"BY", cell_text, "rule"},
	{NULL},
};

/* "3/64" */
static void cell_limit(const json_t *row, const char *key, char ret_text[CELL_SIZE])
{
	(void)snprintf(ret_text, CELL_SIZE, "%lld/%lld",
		field_number(json_object_get(row, "used"), key),
		field_number(json_object_get(row, "limits"), key));
}

static void cell_limit_kib(const json_t *row, const char *key, char ret_text[CELL_SIZE])
{
	(void)snprintf(ret_text, CELL_SIZE, "%lld/%lld",
		(field_number(json_object_get(row, "used"), key) + 1023) / 1024,
		field_number(json_object_get(row, "limits"), key) / 1024);
}

const struct column limits_columns[] = {
	{"DOMID", cell_number, "domid"},
	{"DOMAIN", cell_text, "domain"},
	{"APPS", cell_limit, "processes"},
	{"NAMES", cell_limit, "names"},
	{"LINKS", cell_limit, "links"},
	{"CHANNELS", cell_limit, "channels"},
	{"WAITING", cell_limit, "requests"},
	{"WATCHES", cell_limit, "watches"},
	{"MEMORY/KIB", cell_limit_kib, "memory"},
	{"BACKLOG", cell_number, "backlog"},
	{"RING-PAGES", cell_number, "ring_pages"},
	{"ARGO-RING-PAGES", cell_number, "argo_ring_pages"},
	{"ITS OWN", cell_yes_no, "own"},
	{NULL},
};

const struct column blocks_columns[] = {
	{"DOMAIN", cell_text, "domain"},
	{"NAME", cell_text, "name"},
	{"UUID", cell_text, "uuid"},
	{NULL},
};

/* The errors of a broken policy: everything is refused from there on. */
static void policy_errors_print(const json_t *answer)
{
	const json_t *error;
	size_t i;

	json_array_foreach(json_object_get(answer, "policy_errors"), i, error)(void)
		printf("policy is broken: %s\n", json_string_value(error));
}

void status_print(const json_t *answer)
{
	const json_t *counts = json_object_get(answer, "counts");
	char age[CELL_SIZE];

	cell_age(answer, "uptime_s", age);
	(void)printf("msgd %s, pid %lld, up %s, serves %s from domain %lld%s\n",
		field_text(answer, "version"), field_number(answer, "pid"), age,
		field_text(answer, "hv"), field_number(answer, "domid"),
		field_true(answer, "recovering") ? ", waiting for applications to come back" : "");
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
	if (field_number(counts, "lines_left_out"))
		(void)printf("log:   %lld lines left out: domains or clients caused too many\n",
			field_number(counts, "lines_left_out"));
	policy_errors_print(answer);
}

/* "1 name", "2 names" */
static void count_print(long long n, const char *thing)
{
	(void)printf("%lld %s%s", n, thing, n == 1 ? "" : "s");
}

/* A name or a channel that would not be permitted any more. */
static void trial_print(const json_t *row)
{
	bool channel = json_object_get(row, "channel");
	char from[CELL_SIZE] = "", to[CELL_SIZE];

	if (channel)
		cell_party(row, "from", from);
	cell_party(row, channel ? "to" : "holder", to);
	if (channel)
		(void)printf(
			"channel %s:%lld, ", field_text(row, "link"), field_number(row, "channel"));
	else
		(void)printf("name ");
	text_print(from);
	(void)fputs(channel ? " to " : "", stdout);
	text_print(to);
	(void)printf(", %s: by ", field_text(row, "name"));
	text_print(field_text(row, "rule"));
	(void)putchar('\n');
}

/* Beside the answer, as policy check prints them. */
static void warnings_print(const json_t *answer)
{
	long long left_out = field_number(answer, "warnings_left_out");
	const json_t *warning;
	size_t i;

	json_array_foreach(json_object_get(answer, "warnings"), i, warning)(void)
		fprintf(stderr, "%s\n", json_string_value(warning));
	if (left_out)
		(void)fprintf(stderr, "... and %lld more warnings\n", left_out);
}

static void dry_run_print(const json_t *answer, const json_t *rows)
{
	long long n_channels = 0, left_out = field_number(answer, "errors_left_out");
	const json_t *row, *error;
	size_t i, n_errors = json_array_size(json_object_get(answer, "errors"));

	json_array_foreach(json_object_get(answer, "errors"), i, error)(void)
		fprintf(stderr, "%s\n", json_string_value(error));
	if (left_out)
		(void)fprintf(stderr, "... and %lld more errors\n", left_out);
	if (n_errors)
		return;
	json_array_foreach(rows, i, row)
	{
		trial_print(row);
		n_channels += json_object_get(row, "channel") != NULL;
	}
	count_print((long long)json_array_size(rows) - n_channels, "name");
	(void)fputs(" and ", stdout);
	count_print(n_channels, "channel");
	(void)puts(" would not be permitted any more");
}

/* After an error, which admin_ask has printed, the former settings stay in force. */
void reload_print(const json_t *answer)
{
	const json_t *tried = json_object_get(answer, "reload-dry-run");
	long long names = field_number(answer, "names");
	long long channels = field_number(answer, "channels");

	warnings_print(answer);
	if (tried) {
		dry_run_print(answer, tried);
		return;
	}
	(void)fputs("configuration and policy reloaded: ", stdout);
	count_print(field_number(answer, "rules"), "rule");
	(void)puts(" in force");
	if (channels || names) {
		(void)fputs("not permitted any more: ", stdout);
		count_print(channels, "channel");
		(void)fputs(" (msgctl history --kind=channel-reset), ", stdout);
		count_print(names, "name");
		(void)puts(" (msgctl names --state=forbidden)");
	}
	if (!field_true(answer, "judged"))
		(void)puts("not all names and channels are judged by it yet");
}

/* ---- policy ---------------------------------------------------------------------------------- */

static void absent_print(const json_t *answer, const char *key)
{
	const json_t *domain = json_object_get(answer, key);

	if (!domain || json_is_null(domain) || field_true(domain, "there"))
		return;
	text_print(field_text(domain, "name"));
	(void)puts(" is not there: of it is known what this address says");
}

/* The rules that were passed over, and then the one that decides. */
static void test_print_rules(const json_t *answer, bool all)
{
	static const struct column columns[] = {
		{"PASSED OVER", cell_text, "rule"},
		{"WHY", cell_text, "reason"},
		{NULL},
	};
	const json_t *rows = json_object_get(answer, "policy-test");
	json_t *passed = json_array();
	const json_t *row, *text = json_object_get(answer, "text");
	const char *reason = "";
	size_t i, n_other_names = 0;

	json_array_foreach(rows, i, row)
	{
		if (field_true(row, "decides"))
			reason = field_text(row, "reason");
		else if (!all && strcmp(field_text(row, "reason"), "name") == 0)
			n_other_names++;
		else
			(void)json_array_append(passed, (json_t *)row);
	}
	if (json_array_size(passed))
		table_print(columns, passed);
	json_decref(passed);
	if (n_other_names) {
		count_print((long long)n_other_names, "rule");
		(void)puts(" for other names");
	}
	absent_print(answer, "domain");
	absent_print(answer, "to");
	(void)fputs(field_true(answer, "allowed") ? "allowed" : "refused", stdout);
	if (text || strcmp(field_text(answer, "rule"), "no rule") != 0) {
		(void)fputs(" by ", stdout);
		text_print(field_text(answer, "rule"));
	}
	(void)fputs(text || *reason ? ": " : "", stdout);
	text_print(text ? json_string_value(text) : reason);
	if (text && *reason) {
		(void)fputs(" (", stdout);
		text_print(reason);
		(void)putchar(')');
	}
	(void)putchar('\n');
	if (field_true(answer, "allowed") && json_object_get(answer, "blocked")) {
		(void)fputs("but ", stdout);
		text_print(field_text(answer, "blocked"));
		(void)puts(" is blocked");
	}
}

void test_print(const json_t *answer)
{
	test_print_rules(answer, false);
}

void test_print_all(const json_t *answer)
{
	test_print_rules(answer, true);
}

void policy_list_print(const json_t *answer)
{
	static const struct column columns[] = {
		{"HITS", cell_number, "hits"},
		{"PLACE", cell_text, "rule"},
		{"RULE", cell_text, "text"},
		{NULL},
	};

	table_print(columns, json_object_get(answer, "policy-list"));
	policy_errors_print(answer);
}

/* One line for each application, and the next step. */
void quiesce_print(const json_t *answer)
{
	static const struct column columns[] = {
		{"PID", cell_number, "pid"},
		{"COMMAND", cell_text, "comm"},
		{"CONFIRMED", cell_yes_no, "confirmed"},
		{"WHY NOT", cell_text, "reason"},
		{NULL},
	};
	const json_t *applications = json_object_get(answer, "applications");

	if (json_array_size(applications))
		table_print(columns, applications);
	(void)printf("%s(%lld) %s\n", field_text(answer, "domain"), field_number(answer, "domid"),
		field_true(answer, "quiesced")
			? "is quiesced: save or migrate it now"
			: "must not be saved or migrated yet: not all have confirmed");
}

void resume_print(const json_t *answer)
{
	(void)printf("%s(%lld) is %s\n", field_text(answer, "domain"),
		field_number(answer, "domid"),
		json_is_false(json_object_get(answer, "was_quiesced")) ? "not quiesced"
								       : "quiesced no more");
}

void latency_print(const json_t *answer)
{
	const char *stage;
	json_t *times;

	(void)printf("%-8s%12s%10s%10s%10s%10s\n", "STAGE", "CONNECTS", "P50/US", "P90/US",
		"P99/US", "MAX/US");
	json_object_foreach(json_object_get(answer, "us"), stage, times)(void)
		printf("%-8s%12lld%10lld%10lld%10lld%10lld\n", stage, field_number(times, "n"),
			field_number(times, "p50"), field_number(times, "p90"),
			field_number(times, "p99"), field_number(times, "max"));
}

void quota_print(const json_t *answer)
{
	const json_t *limits = json_object_get(answer, "limits");

	if (limits)
		table_print(limits_columns, limits);
	else
		done_print(answer);
}

void wait_print(const json_t *answer)
{
	(void)printf("%s/%s is %sthere\n", field_text(answer, "domain"), field_text(answer, "name"),
		field_true(answer, "found") ? "" : "not ");
}

void done_print(const json_t *answer)
{
	(void)puts("done");
}

void object_print(const json_t *object)
{
	(void)json_dumpf(object, stdout, JSON_COMPACT);
	(void)putchar('\n');
}

void time_print(const char *format, time_t seconds, int digits, long long fraction)
{
	char text[32] = "?";
	struct tm local;

	if (localtime_r(&seconds, &local))
		(void)strftime(text, sizeof(text), format, &local);
	(void)printf("%s.%0*lld ", text, digits, fraction);
}
