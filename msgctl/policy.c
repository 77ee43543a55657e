/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looks at policy files, and at the rules that msgd lists, by the parser that msgd has. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/report.h"
#include "daemon/policy/policy.h"
#include "msgctl/command.h"
#include "msgctl/complain.h"
#include "msgctl/show.h"

#define DEFAULT_POLICY "/etc/msgd/policy.d"

DEFINE_CLEANUP(struct policy *, policy_free)

static void lines_print(const struct report *report, const char *what)
{
	for (unsigned i = 0; i < report->n; i++)
		(void)fprintf(stderr, "%s\n", report->lines[i]);
	if (report->left_out)
		(void)fprintf(stderr, "... and %u more %s\n", report->left_out, what);
}

/* "policy check web db/echo": the question is another one. */
static bool asks_of_domains(char *const *args, unsigned n_args)
{
	return n_args == 2 && access(args[0], F_OK) < 0 && access(args[1], F_OK) < 0;
}

/* Paths need not be UTF-8, as JSON is. */
static json_t *lines_json(const struct report *report)
{
	json_t *lines = json_array();

	for (unsigned i = 0; i < report->n; i++) {
		json_t *line = json_string(report->lines[i]);

		(void)json_array_append_new(lines, line ? line : json_string("?"));
	}
	return lines;
}

static void check_print_json(
	size_t n_rules, const struct report *errors, const struct report *warnings)
{
	json_t *answer = json_pack("{s:s, s:I, s:o, s:o, s:I}", "op", "policy check", "rules",
		(json_int_t)n_rules, "errors", lines_json(errors), "warnings", lines_json(warnings),
		"left_out", (json_int_t)errors->left_out + (json_int_t)warnings->left_out);

	(void)json_dumpf(answer, stdout, JSON_INDENT(2));
	(void)putchar('\n');
	json_decref(answer);
}

int policy_check(char *const *args, unsigned n_args, bool json)
{
	static const char *const default_paths[] = {DEFAULT_POLICY};
	_cleanup_(policy_free_p) struct policy *policy = NULL;
	static const struct report none = {.n = 0};
	struct report errors = {.n = 0};
	int r = policy_load(n_args ? (const char *const *)args : default_paths, n_args ? n_args : 1,
		&policy, &errors);
	const struct report *warnings = policy ? policy_warnings(policy) : &none;
	size_t n_rules = policy ? policy_rules(policy) : 0;

	if (r < 0 && asks_of_domains(args, n_args))
		report_add(
			&errors, "to ask what the policy in force says of domains: msgctl check");
	if (json) {
		check_print_json(n_rules, &errors, warnings);
	} else {
		lines_print(&errors, "errors");
		lines_print(warnings, "warnings");
		if (r == 0)
			(void)printf("%zu rules\n", n_rules);
	}
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* The rules in force, as they were listed: in the canonical form, which is read as the same. */
void policy_graph_print(const json_t *answer)
{
	_cleanup_(policy_free_p) struct policy *policy = NULL;
	struct report errors = {.n = 0};
	const json_t *row;
	size_t i;

	if (policy_new(&policy) < 0)
		report_add(&errors, "out of memory");
	json_array_foreach(json_object_get(answer, "policy-list"), i, row)
	{
		const char *text = field_text(row, "text");

		if (errors.n || policy_parse(policy, field_text(row, "rule"), text, strlen(text),
					&errors) < 0)
			break;
	}
	if (errors.n) {
		complain(EXIT_FAILURE, -EINVAL, "a rule of msgd's: %s", errors.lines[0]);
		exit(EXIT_FAILURE);
	}
	policy_graph(policy, stdout);
}
