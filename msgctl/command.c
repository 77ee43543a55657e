/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of commands. */
#include "msgctl/command.h"

#include <string.h>

#include "base/macro.h"
#include "msgctl/arguments.h"
#include "msgctl/capture.h"
#include "msgctl/event.h"
#include "msgctl/parts.h"
#include "msgctl/ping.h"
#include "msgctl/show.h"
#include "msgctl/top.h"

#define BIT	     ENUM_BIT
#define LIST_OPTIONS (BIT(OPTION_DOMAIN) | BIT(OPTION_STATE) | BIT(OPTION_FIELDS))
#define EVENT_OPTIONS                                                                              \
	(BIT(OPTION_DOMAIN) | BIT(OPTION_NAME) | BIT(OPTION_KIND) | BIT(OPTION_N) |                \
		BIT(OPTION_SINCE))

static int quiesce_status(const json_t *answer)
{
	return field_true(answer, "quiesced") ? 0 : EXIT_SHORT;
}

static int wait_status(const json_t *answer)
{
	return field_true(answer, "found") ? 0 : EXIT_SHORT;
}

static int test_status(const json_t *answer)
{
	bool blocked = json_object_get(answer, "blocked");

	return field_true(answer, "allowed") && !blocked ? 0 : EXIT_SHORT;
}

static int reload_status(const json_t *answer)
{
	return json_array_size(json_object_get(answer, "errors")) ? EXIT_FAILURE : 0;
}

static const char files_are_elsewhere[] = "; for policy files it is 'msgctl policy check'";
static const char domains_are_elsewhere[] = "; of domains it is 'msgctl check'";

const struct command commands[] = {
	{"status", "", "what msgd serves, and totals", .print = status_print},
	{"domains", "", "the domains, and what each uses", .columns = domains_columns,
		.counts = true, .options = LIST_OPTIONS},
	{"applications", "", "who is attached", .columns = applications_columns,
		.options = LIST_OPTIONS},
	{"who", "", "who holds ports, grants, rings and memory", .op = "applications",
		.columns = who_columns, .options = LIST_OPTIONS},
	{"names", "", "who listens, and where", .columns = names_columns, .counts = true,
		.options = LIST_OPTIONS | BIT(OPTION_NAME)},
	{"links", "", "which applications are linked, over what, and why", .columns = links_columns,
		.counts = true, .options = LIST_OPTIONS | BIT(OPTION_TRANSPORT)},
	{"channels", "", "who talks to whom", .columns = channels_columns, .counts = true,
		.options = LIST_OPTIONS | BIT(OPTION_NAME) | BIT(OPTION_TRANSPORT)},
	{"top", "[LIST]", "the rows of a list with the most traffic, live", 0, 1, top_arguments,
		.run = top_run,
		.options = BIT(OPTION_DOMAIN) | BIT(OPTION_SORT) | BIT(OPTION_BATCH) |
			   BIT(OPTION_INTERVAL) | BIT(OPTION_N)},
	{"history", "", "what happened", .print = history_print,
		.options = EVENT_OPTIONS | BIT(OPTION_FIELDS)},
	{"monitor", "", "what happens, until it is ended", .follow = event_print,
		.options = EVENT_OPTIONS},
	{"capture", "THING WHICH", "the frames of a thing, until it is ended", 2, 2,
		arguments_captured, .run = capture_run,
		.options = BIT(OPTION_PAYLOAD) | BIT(OPTION_SNAPLEN) | BIT(OPTION_WRITE) |
			   BIT(OPTION_PINGS) | BIT(OPTION_SECONDS)},
	{"stats", "", "counters, refusals by rule, times of connects", .parts = parts_of_stats,
		.counts = true, .options = BIT(OPTION_DOMAIN)},
	{"show", "THING WHICH", "all of a domain, name, link, application or channel", 2, 2,
		arguments_thing, .parts = parts_of_show, .counts = true},
	{"wait", "DOMAIN/NAME", "until somebody listens there", 1, 1, arguments_name,
		.options = BIT(OPTION_TIMEOUT), .print = wait_print, .status = wait_status,
		.waits = true, .stays = true},
	{"ping", "DOMAIN/NAME | application DOMAIN:PID", "whether it answers, and how soon", 1, 2,
		arguments_ping, .run = ping_run,
		.options = BIT(OPTION_TIMEOUT) | BIT(OPTION_PINGS) | BIT(OPTION_INTERVAL)},
	{"quota", "show [DOMAIN] | set DOMAIN KEY=NUMBER", "limits", 1, 3, arguments_quota,
		.print = quota_print, .options = BIT(OPTION_FIELDS)},
	{"close", "LINK:NUMBER", "end a channel", 1, 1, arguments_channel, .print = done_print},
	{"kick", "THING WHICH", "drop applications, or end a link", 2, 2, arguments_kick,
		.print = done_print},
	{"drain", "DOMAIN/NAME", "no new connects to it; those that stand go on", 1, 1,
		arguments_name, .print = done_print},
	{"undrain", "DOMAIN/NAME", "it takes connects again", 1, 1, arguments_name,
		.print = done_print},
	{"block", "DOMAIN[/NAME]", "no attach, listen or connect by it or to it", 1, 1,
		arguments_domain_or_name, .print = done_print},
	{"unblock", "DOMAIN[/NAME]", "the end of that", 1, 1, arguments_domain_or_name,
		.print = done_print},
	{"blocks", "", "what is blocked", .columns = blocks_columns, .options = BIT(OPTION_FIELDS)},
	{"log-level", "LEVEL", "what msgd logs: error, warning, notice, info, debug", 1, 1,
		arguments_level, .print = done_print},
	{"check", "FROM [TO/]NAME", "a connect, by the policy in force; as policy test", 2, 2,
		arguments_question, .options = BIT(OPTION_LISTEN) | BIT(OPTION_ALL),
		.op = "policy-test", .print = test_print, .print_all = test_print_all,
		.status = test_status, .instead = files_are_elsewhere},
	{"policy check", "[FILE|DIR ...]", "policy files, before msgd has them; asks no msgd", 0,
		64, .local = policy_check, .instead = domains_are_elsewhere},
	{"policy test", "FROM [TO/]NAME", "whether policy permits it, by which rule, and why", 2, 2,
		arguments_question, .options = BIT(OPTION_LISTEN) | BIT(OPTION_ALL),
		.op = "policy-test", .print = test_print, .print_all = test_print_all,
		.status = test_status, .instead = files_are_elsewhere},
	{"policy list", "", "the rules in force, and how often each decided", .op = "policy-list",
		.print = policy_list_print, .options = BIT(OPTION_FIELDS)},
	{"policy graph", "", "the rules in force, for Graphviz", .op = "policy-list",
		.print = policy_graph_print},
	{"reload", "", "read configuration and policy again, or only try to",
		.options = BIT(OPTION_DRY_RUN), .print = reload_print, .status = reload_status,
		.waits = true},
	{"quiesce", "DOMAIN", "before DOMAIN is saved or migrated", 1, 1, arguments_domain,
		.options = BIT(OPTION_TIMEOUT), .print = quiesce_print, .status = quiesce_status,
		.waits = true},
	{"resume", "DOMAIN", "DOMAIN goes on: it was not saved, or runs again", 1, 1,
		arguments_domain, .print = resume_print},
	{NULL},
};

const struct command *command_find(const char *name)
{
	const struct command *command = commands;

	while (command->name && strcmp(command->name, name) != 0)
		command++;
	return command->name ? command : NULL;
}

bool command_begins(const char *word)
{
	size_t len = strlen(word);

	for (const struct command *command = commands; command->name; command++) {
		if (strncmp(command->name, word, len) == 0 && command->name[len] == ' ')
			return true;
	}
	return false;
}

const char *command_op(const struct command *command)
{
	return command->op ? command->op : command->name;
}
