/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* xen-sim's command line. */
#include "hv/sim/toolstack/tool.h"

#include <stdio.h>
#include <string.h>

#include "base/macro.h"

struct tool_command {
	const char *name;				    /* NULL: serve */
	int (*fn)(const char *path, int argc, char **argv); /* NULL: tool_verb, of that type */
	const char *usage;
	const char *help;
	enum sim_message_type type;
};

static const struct tool_command commands[] = {
	{NULL, tool_serve, "[-d|--daemonize] [--no-argo] [--stopped-limit=MS]",
		"be the emulator; -d: in the background, once it can be reached"},
	{"run", tool_run,
		"[--keep] [--wait=SECONDS] [--no-argo] [--no-argo-driver] [--uuid=U] [--name] NAME "
		"[--] "
		"COMMAND...",
		"run a command as a process of domain NAME, made and destroyed for it"},
	{"create", tool_create, "[--no-argo] [--no-argo-driver] [--uuid=U] [--domid N] NAME",
		"make a domain; prints its domid"},
	{"list", tool_list, "[--json]", "show the domains"},
	{"destroy", NULL, "DOMAIN", "end a domain and its processes", SIM_DESTROY},
	{"pause", NULL, "DOMAIN", "stop a domain's processes", SIM_PAUSE},
	{"unpause", NULL, "DOMAIN", "let them go on", SIM_UNPAUSE},
	{"suspend", NULL, "DOMAIN", "shut a domain down with reason suspend", SIM_SUSPEND},
	{"resume", NULL, "DOMAIN", "let it go on where it was", SIM_RESUME},
	{"restore", NULL, "DOMAIN", "let it go on as after saving and restoring: another domid",
		SIM_RESTORE},
	{"crash", NULL, "DOMAIN", "shut a domain down with reason crash", SIM_CRASH},
	{"tag", tool_tag, "[--by-guest] DOMAIN [TAG...]",
		"give a domain these tags and no others; --by-guest: as if the guest could, too"},
	{"shutdown", tool_shutdown, "", "end the emulator and every guest domain"},
};

static void usage(FILE *out)
{
	(void)fprintf(out, "Usage: xen-sim PATH [COMMAND] [ARGUMENT...]\n"
			   "An emulated Xen for developing and testing; it isolates nobody.\n"
			   "PATH is its Unix socket.\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct tool_command *c = &commands[i];

		(void)fprintf(out, "  xen-sim PATH%s%s %s\n      %s\n", c->name ? " " : "",
			c->name ? c->name : "", c->usage, c->help);
	}
	(void)fprintf(out, "  xen-sim --help | --version\n\n"
			   "DOMAIN is a name, a domid, or uuid:U.\n");
}

int main(int argc, char **argv)
{
	if (argc >= 2 && strcmp(argv[1], "--version") == 0) {
		(void)printf("xen-sim %s\n", XEN_SIM_VERSION);
		return 0;
	}
	if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		usage(stdout);
		return 0;
	}
	if (argc < 2 || argv[1][0] == '-') {
		usage(stderr);
		return 2;
	}
	if (argc == 2 || argv[2][0] == '-')
		return tool_serve(argv[1], argc - 1, argv + 1);
	for (size_t i = 1; i < ARRAY_SIZE(commands); i++) {
		const struct tool_command *c = &commands[i];

		if (strcmp(c->name, argv[2]) == 0)
			return c->fn ? c->fn(argv[1], argc - 2, argv + 2)
				     : tool_verb(argv[1], c->type, argc - 2, argv + 2);
	}
	(void)fprintf(stderr, "xen-sim: no command %s; see xen-sim --help\n", argv[2]);
	return 2;
}
