/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The program xen-sim: what its files share. Each command is a function, found by a table. */
#ifndef MSGD_HV_SIM_TOOLSTACK_TOOL_H
#define MSGD_HV_SIM_TOOLSTACK_TOOL_H

#include <stdbool.h>

#include "hv/sim/wire/connect.h"

/* path: of the emulator's socket; argv[0] is the command. Returns the exit status. */
int tool_serve(const char *path, int argc, char **argv);
int tool_run(const char *path, int argc, char **argv);
int tool_create(const char *path, int argc, char **argv);
int tool_list(const char *path, int argc, char **argv);
/* type: SIM_DESTROY, SIM_PAUSE or another request that names a domain and no more */
int tool_verb(const char *path, enum sim_message_type type, int argc, char **argv);
int tool_tag(const char *path, int argc, char **argv);
int tool_shutdown(const char *path, int argc, char **argv);

/* Connects; waits up to wait_s seconds for an emulator. -1, having said why on stderr. */
int tool_connect(const char *path, unsigned int wait_s);
/* Says on stderr how the command line is wrong; returns 2, the exit status. */
int tool_usage(const char *what);
/* The same of a domain's name that the emulator has refused with EINVAL. */
int tool_wrong_name(void);
/* Says on stderr what went wrong with `subject`; returns 1. r: a negative errno. */
int tool_fail(const char *subject, int r);

/* The options of all commands. */
struct tool_options {
	struct sim_create create; /* but for its name */
	const char *name; /* of the new domain; shorter than create.name; NULL: none given */
	bool background;
	bool by_guest;
	bool json;
	bool keep;
	uint32_t wait_s;
	uint32_t stopped_limit_ms;
};

/*
 * Reads a command's options, those whose letters of the table in tool.c are in `allowed`, and the
 * name of a domain ('n') by itself as well. Returns the index of what follows in argv, or -1, said
 * on stderr.
 */
int tool_options(int argc, char **argv, const char *allowed, struct tool_options *options);

#endif
