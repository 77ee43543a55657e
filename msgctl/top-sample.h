/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A list of msgd's at one moment, with the rates of its counters since the moment before. A guest's
 * words may be anything: a counter that went back, or is not there, has no rate. Pure.
 *
 * Included by: msgctl, tests.
 */
#ifndef MSGD_MSGCTL_TOP_SAMPLE_H
#define MSGD_MSGCTL_TOP_SAMPLE_H

#include <stdint.h>
#include <uthash.h>

#include "msgctl/top-view.h"

struct top_row {
	UT_hash_handle hh;
	char *key;			 /* owned */
	const json_t *json;		 /* borrowed: of the sample's answer */
	bool known[TOP_COLUMNS_MAX];	 /* of columns with numbers */
	double value[TOP_COLUMNS_MAX];	 /* as shown: rates are a second */
	uint64_t count[TOP_COLUMNS_MAX]; /* of columns with rates, the counter itself */
	bool counted[TOP_COLUMNS_MAX];	 /* it was there */
};

struct top_sample {
	const struct top_view *view; /* static */
	json_t *answer;		     /* owned */
	uint64_t at_us;		     /* monotonic: the moment that the counters are of */
	double seconds;		     /* since the sample before; 0: there are no rates */
	size_t n;
	struct top_row *rows;	/* owned, n of them */
	struct top_row *by_key; /* of these */
	struct top_row **order; /* owned: of these, as they are shown */
};

/*
 * Takes answer over, an object with rows under the view's op. before: of the same view and the same
 * msgd, or NULL. If it is of the same moment, its counters and rates are kept. NULL: no memory.
 */
struct top_sample *top_sample_new(const struct top_view *view, json_t *answer, uint64_t at_us,
	const struct top_sample *before);
void top_sample_free(struct top_sample *sample);

/*
 * Numbers begin with the largest, texts with the first; reverse turns that around. Values
 * that are not known come last in either way, and rows that are alike stay in msgd's order.
 */
void top_sample_sort(struct top_sample *sample, unsigned column, bool reverse);

/* The cell as it is shown. */
void top_cell(const struct top_row *row, const struct top_view *view, unsigned column,
	char ret_text[CELL_SIZE]);

#endif
