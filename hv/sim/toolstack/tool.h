/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The program xen-sim: what its files share. Each command is a function, found by a table. */
#ifndef MSGD_HV_SIM_TOOLSTACK_TOOL_H
#define MSGD_HV_SIM_TOOLSTACK_TOOL_H

#include "hv/sim/wire/connect.h"

/* path: of the emulator's socket; argv[0] is the command. Returns the exit status. */
int tool_serve(const char *path, int argc, char **argv);
int tool_run(const char *path, int argc, char **argv);
int tool_create(const char *path, int argc, char **argv);
int tool_list(const char *path, int argc, char **argv);
int tool_verb(const char *path, int argc, char **argv); /* destroy, pause, ...: by argv[0] */
int tool_shutdown(const char *path, int argc, char **argv);

/* Connects; waits up to wait_s seconds for an emulator. -1, having said why on stderr. */
int tool_connect(const char *path, unsigned int wait_s);
/* A decimal number from `least` to `most`. False: text is something else. */
bool tool_number(const char *text, unsigned long least, unsigned long most, uint32_t *ret);
/* Says on stderr how the command line is wrong; returns 2, the exit status. */
int tool_usage(const char *what);
/* Says on stderr what went wrong with `subject`; returns 1. r: a negative errno. */
int tool_fail(const char *subject, int r);

/* The options that name a new domain; -1: an unknown one, said on stderr. */
struct tool_domain_options {
	struct sim_create create;
	const char *name; /* NULL: none given */
};
int tool_domain_option(const char *arg, const char *next, struct tool_domain_options *options);

#endif
