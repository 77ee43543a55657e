/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table of commands. Each command prints one answer of msgd for people; main.c does --json for
 * all.
 */
#ifndef MSGD_MSGCTL_COMMAND_H
#define MSGD_MSGCTL_COMMAND_H

#include <jansson.h>
#include <stdbool.h>

struct command {
	const char *name; /* also the admin protocol's op */
	void (*print)(const json_t *answer);
	const char *help;
	const char *argument; /* its argument: "DOMAIN", sent as "domain"; or NULL */
	bool waits;	      /* --timeout is for it */
	/* Why the answer, though it is one, does not do what was asked for; or NULL. */
	bool (*fell_short)(const json_t *answer);
};

void status_print(const json_t *answer);
void domains_print(const json_t *answer);
void names_print(const json_t *answer);
void links_print(const json_t *answer);
void channels_print(const json_t *answer);
void reload_print(const json_t *answer);
void quiesce_print(const json_t *answer);
bool quiesce_fell_short(const json_t *answer);
void resume_print(const json_t *answer);

/* Fields of an object, with a stand-in for what is not there: msgd may be newer or older. */
const char *field_text(const json_t *object, const char *key);
long long field_number(const json_t *object, const char *key);

#endif
