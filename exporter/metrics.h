/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Metrics: which there are, and what of msgd's answers each is. Things that guests make have a
 * bounded number of series. Pure.
 */
#ifndef MSGD_EXPORTER_METRICS_H
#define MSGD_EXPORTER_METRICS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "exporter/http.h"

/* Kinds of things that have counters of their own. */
enum metrics_kind {
	METRICS_DOMAINS,
	METRICS_RULES,
	METRICS_NAMES,
	METRICS_LINKS,
	METRICS_CHANNELS,
	METRICS_KINDS,
};

struct metrics {
	uint32_t series[METRICS_KINDS]; /* so many things have series of their own */
	uint64_t scrapes, errors;	/* of msgd */
};

/* What msgd answered to the operations of a scrape; NULL: it was not asked, or could not be. */
struct metrics_answers {
	json_t *status; /* owned */
	uint64_t took_us;
};

void metrics_init(struct metrics *metrics);
void metrics_fini(struct metrics *metrics);
/* The caller owns *ret_text. False: out of memory. */
bool metrics_write(struct metrics *metrics, const struct metrics_answers *answers,
	const struct http_counts *http, bool openmetrics, char **ret_text, size_t *ret_len);

#endif
