/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Metrics: which there are, and of which of msgd's answers each is made. Things that guests make
 * have a bounded number of series. Pure.
 */
#ifndef MSGD_EXPORTER_METRICS_H
#define MSGD_EXPORTER_METRICS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "exporter/http.h"
#include "exporter/series.h"

/* Kinds of things that have counters of their own. */
enum metrics_kind {
	METRICS_DOMAINS,
	METRICS_RULES,
	METRICS_NAMES,
	METRICS_LINKS,
	METRICS_CHANNELS,
	METRICS_KINDS,
};

/* The operations of msgd by whose answers they are made. */
enum metrics_op {
	METRICS_OP_STATUS,
	METRICS_OP_COUNTS,
	METRICS_OP_LIMITS,
	METRICS_OP_REFUSALS,
	METRICS_OP_LATENCY,
	METRICS_OP_NAMES,
	METRICS_OP_LINKS,
	METRICS_OP_CHANNELS,
	METRICS_OPS,
};

struct metrics {
	uint32_t max[METRICS_KINDS]; /* so many things have series of their own */
	struct series series[METRICS_KINDS];
	uint64_t since_us;	  /* its own counts begin, in microseconds since 1970 */
	uint64_t scrapes, errors; /* of msgd; those that failed */
};

struct metrics_scrape {
	json_t *answers[METRICS_OPS]; /* borrowed; NULL: not asked. Of the status: msgd is down */
	uint64_t now_us, took_us;
	struct http_counts http;
};

void metrics_init(struct metrics *metrics, uint64_t now_us);
void metrics_fini(struct metrics *metrics);
const char *metrics_op_name(enum metrics_op op);
/* Whether any metric is made by it: msgd need not be asked else. */
bool metrics_wants(const struct metrics *metrics, enum metrics_op op);
/* The caller owns *ret_text. False: out of memory. */
bool metrics_write(struct metrics *metrics, const struct metrics_scrape *scrape, bool openmetrics,
	char **ret_text, size_t *ret_len);

#endif
