/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The making of lists, for view*.c: which rows are wanted in this portion. Rows are counted, wanted
 * or not, and a portion begins where the former one ended.
 *
 * Included by: daemon/admin.
 */
#ifndef MSGD_DAEMON_ADMIN_ROWS_H
#define MSGD_DAEMON_ADMIN_ROWS_H

#include <jansson.h>

#include "daemon/admin/request.h"
#include "daemon/broker/lookup.h"

struct broker_link;
struct broker_stats;
struct domain;
struct link_end;
struct process;
struct report;
struct traffic;

struct rows {
	const struct broker *broker;	     /* borrowed */
	const struct admin_request *request; /* borrowed */
	struct domain_address domain;	     /* the request's, where it has one */
	uint64_t now_ns;
	json_t *rows;	 /* owned until it is handed out */
	uint64_t n;	 /* rows passed, wanted or not; serials, of events; answers, of captures */
	size_t n_looked; /* in this portion: see ADMIN_LOOKS_A_TURN */
	bool full;	 /* this portion has come to its end, at next */
	uint64_t next;
	uint64_t of;	   /* see admin_request.of; 0: they need not be of the same */
	json_t *end;	   /* owned until it is handed out, or NULL: what follows the last row */
	const char *error; /* static: instead of rows, also of further ones; or NULL */
};

/* Passes n rows at once, if none of them is wanted now. */
bool rows_skip(struct rows *rows, size_t n);
/* The filter passes n rows by. */
void rows_pass(struct rows *rows, size_t n);
/* Takes row over; NULL: out of memory, and it is left out. */
void rows_add(struct rows *rows, json_t *row);
/* Work of this cost was done beside that on rows (broker_cost). */
void rows_spend(struct rows *rows, uint64_t cost);

/* Whether the filter has the key, and the value is another. */
bool rows_lack_domain(const struct rows *rows, const struct domain *domain);
bool rows_lack_name(const struct rows *rows, const char *name);
bool rows_lack_state(const struct rows *rows, const char *state);
/* The keys of a link's: domain and pid of either end, transport, uid. */
bool rows_lack_link(const struct rows *rows, const struct broker_link *link);

json_int_t rows_age_s(const struct rows *rows, uint64_t since_ns);
/*
 * A guest chose the text. The codec has made comm printable ASCII, but this function does not rely
 * on that.
 */
json_t *text_json(const char *text);
json_t *end_json(const struct link_end *end);
json_t *traffic_json(const struct traffic *traffic);
/* process: NULL: the application of this domain has not come back. */
json_t *process_json(const struct process *process, uint16_t domid, uint32_t end);
/* Of the QUOTA_COUNT quotas and of memory, in bytes: the limits, or what is used of them. */
json_t *quotas_json(const uint32_t quota[], uint32_t bytes);
json_t *counts_json(const struct broker_stats *stats);
json_t *report_json(const struct report *report);
/* policy_verdict_rule: "FILE:LINE", or "no rule". */
json_t *rule_json(const char *file, unsigned line);
/* 16 hexadecimal digits. */
json_t *uid_json(uint64_t uid);

void domains_view(struct rows *rows);
void applications_view(struct rows *rows);
void names_view(struct rows *rows);
void links_view(struct rows *rows);
void channels_view(struct rows *rows);
void events_view(struct rows *rows);
void counts_view(struct rows *rows);
void refusals_view(struct rows *rows);
void limits_view(struct rows *rows);
void blocks_view(struct rows *rows);
void policy_test_view(struct rows *rows);
void policy_list_view(struct rows *rows);
/* The answer; rows->rows may be NULL: out of memory. */
json_t *rows_answer(struct rows *rows);

#endif
