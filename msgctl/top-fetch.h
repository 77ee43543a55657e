/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Each time, msgctl top asks msgd for the applications' counts, one list, and the status: three
 * requests, one after the other, and no more before the last one is answered.
 *
 * Included by: msgctl.
 */
#ifndef MSGD_MSGCTL_TOP_FETCH_H
#define MSGD_MSGCTL_TOP_FETCH_H

#include "msgctl/admin-exchange.h"
#include "msgctl/top-head.h"
#include "msgctl/top-sample.h"

#define ERROR_NAME_SIZE 32U

struct top_fetched {
	const struct top_view *view; /* static */
	json_t *list, *status;	     /* owned; NULL: */
	char error[ADMIN_TROUBLE_SIZE];
	char error_name[ERROR_NAME_SIZE]; /* the errno's, or "" */
	int exit_status;		  /* that the error leads to */
	uint64_t counts_us;		  /* monotonic: when the applications were asked */
	uint64_t at_us;			  /* monotonic */
};

/* domain: "" is all. Blocks until msgd has answered, or has not in time. Of any thread. */
void top_fetch(const char *socket_path, const char *from, const struct top_view *view,
	const char *domain, struct top_fetched *ret_fetched);
void top_fetched_clear(struct top_fetched *fetched);

/* All that is shown, but for how. */
struct top_data {
	struct top_head head;
	struct top_sample *sample; /* owned; NULL: none yet, or none of this view */
};

/*
 * Takes the answers over. Where msgd is another one than before, or the view, the rates begin
 * anew. 1: msgd was started again. 0. -1: there is no list, and what was there stays.
 */
int top_data_take(struct top_data *data, struct top_fetched *fetched);
/* The next list is of other rows. */
void top_data_forget(struct top_data *data);
void top_data_clear(struct top_data *data);

#endif
