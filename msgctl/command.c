/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of commands. */
#include "msgctl/command.h"

#include <string.h>

#include "base/macro.h"
#include "msgctl/arguments.h"
#include "msgctl/event.h"
#include "msgctl/show.h"

#define BIT ENUM_BIT
#define EVENT_OPTIONS                                                                              \
	(BIT(OPTION_DOMAIN) | BIT(OPTION_NAME) | BIT(OPTION_KIND) | BIT(OPTION_N) |                \
		BIT(OPTION_SINCE))

static int quiesce_status(const json_t *answer)
{
	return field_true(answer, "quiesced") ? 0 : EXIT_SHORT;
}

const struct command commands[] = {
	{"status", "", "what msgd serves, and totals", .print = status_print},
	{"domains", "", "the domains, and what each uses", .columns = domains_columns,
		.options = BIT(OPTION_DOMAIN) | BIT(OPTION_STATE)},
	{"applications", "", "who is attached", .columns = applications_columns,
		.options = BIT(OPTION_DOMAIN) | BIT(OPTION_STATE)},
	{"who", "", "who holds ports, grants, rings and memory", .op = "applications",
		.columns = who_columns, .options = BIT(OPTION_DOMAIN) | BIT(OPTION_STATE)},
	{"names", "", "who listens, and where", .columns = names_columns,
		.options = BIT(OPTION_DOMAIN) | BIT(OPTION_NAME) | BIT(OPTION_STATE)},
	{"links", "", "which applications are linked, over what, and why", .columns = links_columns,
		.options = BIT(OPTION_DOMAIN) | BIT(OPTION_TRANSPORT) | BIT(OPTION_STATE)},
	{"channels", "", "who talks to whom", .columns = channels_columns,
		.options = BIT(OPTION_DOMAIN) | BIT(OPTION_NAME) | BIT(OPTION_TRANSPORT) |
			   BIT(OPTION_STATE)},
	{"history", "", "what happened", .print = history_print, .options = EVENT_OPTIONS},
	{"monitor", "", "what happens, until it is ended", .follow = event_print,
		.options = EVENT_OPTIONS},
	{"reload", "", "read configuration and policy again", .print = reload_print},
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

const char *command_op(const struct command *command)
{
	return command->op ? command->op : command->name;
}
