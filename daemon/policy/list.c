/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes rules as text: in the canonical form, which policy_parse reads as the same rule, and as a
 * graph. Pure, but for the stream that the caller gives.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/policy/rule.h"
#include "proto/control.h"

struct text {
	char *at; /* borrowed */
	size_t left;
};

__attribute__((format(printf, 2, 3))) static void text_add(
	struct text *text, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text->at, text->left, format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= text->left)
		n = text->left ? (int)text->left - 1 : 0;
	text->at += n;
	text->left -= (size_t)n;
}

static void text_add_who(struct text *text, const char *word, const struct who *who)
{
	char domain[WHO_TEXT_SIZE];

	who_to_text(who, domain);
	text_add(text, " %s %s", word, domain);
}

/* With the largest unit that leaves a whole number. */
static void text_add_bytes(struct text *text, const char *key, uint64_t bytes)
{
	static const char *const units[] = {"", "K", "M", "G"};
	unsigned unit = 0;

	if (!bytes)
		return;
	while (unit < 3 && bytes % 1024 == 0) {
		bytes /= 1024;
		unit++;
	}
	text_add(text, " %s=%" PRIu64 "%s", key, bytes, units[unit]);
}

static void text_add_rate(struct text *text, const struct policy_rate *rate)
{
	if (!rate->n)
		return;
	text_add(text, " max-connects=%u/%c", rate->n,
		rate->seconds == 1    ? 's'
		: rate->seconds == 60 ? 'm'
				      : 'h');
	if (rate->burst != rate->n)
		text_add(text, ":%u", rate->burst);
}

/* In the order of names; what is as by default is left out. */
static void text_add_keys(struct text *text, const struct policy_verdict *verdict)
{
	if (verdict->ask)
		text_add(text, " ask=%s", verdict->ask);
	if (verdict->ask && verdict->ask_timeout_s != POLICY_ASK_TIMEOUT_S)
		text_add(text, " ask-timeout=%u", verdict->ask_timeout_s);
	if (verdict->capture != POLICY_CAPTURE_HEADERS)
		text_add(text, " capture=%s", policy_capture_word(verdict->capture));
	if (verdict->direction != POLICY_BOTH_WAYS)
		text_add(text, " direction=%s", verdict->direction == POLICY_OUT ? "out" : "in");
	if (verdict->log != POLICY_LOG_DEFAULT)
		text_add(text, " log=%s", verdict->log == POLICY_LOG_YES ? "yes" : "no");
	text_add_bytes(text, "max-buffer", verdict->max_buffer);
	if (verdict->max_channels)
		text_add(text, " max-channels=%u", verdict->max_channels);
	text_add_rate(text, &verdict->max_connects);
	text_add_bytes(text, "max-rate", verdict->max_rate);
	if (verdict->start)
		text_add(text, " start=yes");
	if (verdict->start && verdict->start_timeout_s != POLICY_START_TIMEOUT_S)
		text_add(text, " start-timeout=%u", verdict->start_timeout_s);
	if (verdict->target)
		text_add(text, " target=%s",
			strcmp(verdict->target, "domid:0") == 0 ? "dom0" : verdict->target);
	if (verdict->transport != TRANSPORT_ANY)
		text_add(text, " transport=%s", transport_name(verdict->transport));
}

static void text_add_rule(
	struct text *text, const struct policy *policy, const struct policy_rule *rule)
{
	text_add(text, "%s %s %s", rule->verdict.allow ? "allow" : "deny",
		rule->connect ? "connect" : "listen", rule->name);
	if (rule->connect)
		text_add_who(text, "from", &rule->from);
	text_add_who(text, rule->connect ? "to" : "on", &rule->to);
	if (rule->condition)
		text_add_who(text, "while", &policy->conditions[rule->condition - 1].who);
	text_add_keys(text, &rule->verdict);
}

bool policy_list(const struct policy *policy, size_t number, struct policy_listed *ret_listed)
{
	struct text text = {.at = ret_listed->text, .left = sizeof(ret_listed->text)};
	const struct policy_rule *rule;

	if (number == 0 || number > policy->n_rules)
		return false;
	rule = &policy->rules[number - 1];
	text_add_rule(&text, policy, rule);
	ret_listed->file = rule->verdict.file;
	ret_listed->line = rule->verdict.line;
	ret_listed->hits = rule->hits;
	return true;
}

/* ---- the graph ------------------------------------------------------------------------------ */

/* A pattern on domains' names may have both of these characters. */
static void graph_text(FILE *stream, const char *text)
{
	(void)fputc('"', stream);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			(void)fputc('\\', stream);
		(void)fputc(*text, stream);
	}
	(void)fputc('"', stream);
}

static void graph_edge(FILE *stream, const char *from, const char *to)
{
	(void)fputc('\t', stream);
	graph_text(stream, from);
	(void)fputs(" -> ", stream);
	graph_text(stream, to);
}

/* The other end of `same` is the one domain, as the rule's other word has it. */
static void graph_ends(const struct policy_rule *rule, char *ret_from, char *ret_to)
{
	who_to_text(&rule->to, ret_to);
	if (!rule->connect) {
		(void)snprintf(ret_from, WHO_TEXT_SIZE, "%s", ret_to);
		(void)snprintf(ret_to, WHO_TEXT_SIZE, "as %s", rule->name);
		return;
	}
	who_to_text(&rule->from, ret_from);
	if (rule->to.kind == WHO_SAME)
		(void)snprintf(ret_to, WHO_TEXT_SIZE, "%s", ret_from);
	else if (rule->from.kind == WHO_SAME)
		(void)snprintf(ret_from, WHO_TEXT_SIZE, "%s", ret_to);
}

void policy_graph(const struct policy *policy, FILE *stream)
{
	struct policy_listed listed;
	char from[WHO_TEXT_SIZE], to[WHO_TEXT_SIZE];

	(void)fputs("digraph policy {\n\trankdir=LR\n", stream);
	for (size_t number = 1; policy_list(policy, number, &listed); number++) {
		const struct policy_rule *rule = &policy->rules[number - 1];
		const char *target = rule->verdict.target;

		graph_ends(rule, from, to);
		graph_edge(stream, from, to);
		(void)fprintf(stream, " [label=\"%zu: %s\" color=%s", number, rule->name,
			rule->verdict.allow ? "darkgreen" : "red");
		(void)fprintf(stream, "%s%s tooltip=", rule->connect ? "" : " arrowhead=none",
			rule->condition || !rule->verdict.allow ? " style=dashed" : "");
		graph_text(stream, listed.text);
		(void)fputs("]\n", stream);
		if (!target)
			continue;
		graph_edge(stream, to, strcmp(target, "domid:0") == 0 ? "dom0" : target);
		(void)fprintf(stream, " [label=\"%zu: target\" style=dotted]\n", number);
	}
	(void)fputs("}\n", stream);
}
