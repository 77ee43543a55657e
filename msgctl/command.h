/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How msgctl shows msgd's answers to people; main.c does --json for all. An answer is a table where
 * it has rows, or sentences.
 */
#ifndef MSGD_MSGCTL_COMMAND_H
#define MSGD_MSGCTL_COMMAND_H

#include <stddef.h>
#include <stdint.h>

#include "msgctl/table.h"

/* The columns of the rows that an answer has under its command's name. */
extern const struct column domains_columns[];
extern const struct column names_columns[];
extern const struct column links_columns[];
extern const struct column channels_columns[];

void status_print(const json_t *answer);
void reload_print(const json_t *answer);
void quiesce_print(const json_t *answer);
void resume_print(const json_t *answer);

/* Prints the errors and warnings of these policy files and directories; returns an exit status. */
int policy_check(const char *const *paths, size_t n_paths, bool json);

/* Fields of an object, with a stand-in for what is not there: msgd may be newer or older. */
long long field_number(const json_t *object, const char *key);
bool field_true(const json_t *object, const char *key);

/*
 * Asks msgd on the socket; blocks until it answers, or the limit is over. The caller frees the
 * answer, an object. NULL after a line on stderr, with the socket's name. from: by whose word it is
 * that socket.
 */
json_t *admin_ask(
	const char *socket_path, const char *from, const json_t *request, uint32_t limit_ms);

#endif
