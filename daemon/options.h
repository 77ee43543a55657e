/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgd's options: command line over msgd.conf over defaults. They are read again at each reload;
 * options that cannot change in a running msgd (hypervisor, admin socket) then stay as they were.
 * Only main.c includes this header.
 */
#ifndef MSGD_DAEMON_OPTIONS_H
#define MSGD_DAEMON_OPTIONS_H

#include <sys/types.h>

#include "daemon/config.h"

struct options {
	/* From the command line; borrowed from argv, or NULL. */
	const char *hv, *config, *admin, *attach;
	const char *policy[CONFIG_POLICY_MAX];
	size_t n_policy;
};

/* The settings in force. */
struct settings {
	struct config config;  /* owned */
	struct policy *policy; /* owned, or NULL once it was handed on */
	char hv[512];
	const char *hv_from; /* static: by whose word */
	char admin[512];     /* the socket's path */
	char attach[512];    /* the same, of the one for applications of msgd's own domain */
	char lock[512];
	gid_t operators;     /* config.operators' number, or (gid_t)-1 */
	bool policy_missing; /* nothing says where policy is: everything is refused */
};

#define EXIT_USAGE 2

/* --help, --version and wrong usage end the program. */
void options_parse(int argc, char **argv, struct options *ret_options);

/*
 * Reads config and policy. POLICY_BROKEN: the settings are there, with a policy that refuses
 * everything from its first error on; the report has the errors. A negative errno with a report;
 * *ret_settings is then untouched.
 */
int settings_load(
	const struct options *options, struct settings *ret_settings, struct report *report);
void settings_fini(struct settings *settings);

/* "sim:PATH[#DOMAIN]": copies PATH and returns true. */
bool hv_spec_sim_path(const char *spec, char *ret_path, size_t size);

#endif
