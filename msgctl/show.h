/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How msgctl shows msgd's answers to people: rows as tables, the rest as sentences. */
#ifndef MSGD_MSGCTL_SHOW_H
#define MSGD_MSGCTL_SHOW_H

#include <time.h>

#include "msgctl/table.h"

/* Of the rows that an answer has under its operation's name. */
extern const struct column domains_columns[];
extern const struct column applications_columns[];
extern const struct column who_columns[];
extern const struct column names_columns[];
extern const struct column links_columns[];
extern const struct column channels_columns[];

extern const struct column counts_columns[];
extern const struct column refusals_columns[];
extern const struct column limits_columns[];
extern const struct column blocks_columns[];

void status_print(const json_t *answer);
void reload_print(const json_t *answer);
void test_print(const json_t *answer);
void test_print_all(const json_t *answer);
void policy_list_print(const json_t *answer);
void quiesce_print(const json_t *answer);
void resume_print(const json_t *answer);
void latency_print(const json_t *answer);
void quota_print(const json_t *answer);
void wait_print(const json_t *answer);
/* A command that has nothing to say but that it is done. */
void done_print(const json_t *answer);

/* As JSON, in a line. */
void object_print(const json_t *object);
/* Local time by strftime's format, so many digits of a fraction of a second, and a blank. */
void time_print(const char *format, time_t seconds, int digits, long long fraction);

/* Cells of these and other tables. */
void cell_text(const json_t *row, const char *key, char ret_text[CELL_SIZE]);
/* "web(3) 1234 echo": an application of a domain. */
void cell_party(const json_t *row, const char *key, char ret_text[CELL_SIZE]);
void cell_domain_state(const json_t *row, const char *key, char ret_text[CELL_SIZE]);
/* "5s", "3m", "2h", "4d" */
void age_text(long long seconds, char ret_text[CELL_SIZE]);
/* "17", "17.2K", "3.1M": powers of 1024. */
void bytes_text(double bytes, char ret_text[CELL_SIZE]);

/* Fields of an object, with a stand-in for what is not there: msgd may be newer or older. */
const char *field_text(const json_t *object, const char *key);
long long field_number(const json_t *object, const char *key);
bool field_true(const json_t *object, const char *key);
/* A string; the stand-in for another thing, and for an empty one. */
const char *field_word(const json_t *value);
/* "holder.domid" is the key domid of the object holder. */
const json_t *field_at(const json_t *object, const char *path);

#endif
