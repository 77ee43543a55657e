/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The text that Prometheus reads: OpenMetrics 1.0, or its older format 0.0.4, of the same families
 * and samples. Label values may be any UTF-8. Pure.
 */
#ifndef MSGD_EXPORTER_EXPOSITION_H
#define MSGD_EXPORTER_EXPOSITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum family_type {
	FAMILY_GAUGE,
	FAMILY_COUNTER,
	FAMILY_INFO,
	FAMILY_HISTOGRAM,
};

/* All is static. */
struct family {
	enum family_type type;
	const char *name; /* without the suffix of a counter or of an info */
	const char *unit; /* the name's last word, or NULL */
	const char *help;
};

struct exposition {
	FILE *out; /* owned; NULL: out of memory */
	char *text;
	size_t len;
	bool openmetrics;
};

void exposition_begin(struct exposition *exposition, bool openmetrics);
/* *ret_text is the caller's. False: out of memory. */
bool exposition_end(struct exposition *exposition, char **ret_text, size_t *ret_len);

/* Once for a family, before its samples. */
void exposition_family(struct exposition *exposition, const struct family *family);
/* labels: NAME="VALUE",... or "". */
void exposition_sample(struct exposition *exposition, const struct family *family,
	const char *labels, uint64_t value);
void exposition_seconds(struct exposition *exposition, const struct family *family,
	const char *labels, uint64_t us);
/* Since when a counter counts, in microseconds since 1970. OpenMetrics has that alone. */
void exposition_created(struct exposition *exposition, const struct family *family,
	const char *labels, uint64_t us);
#define HISTOGRAM_POWERS 33U
/*
 * below[i]: how many took less than 2^i microseconds, up to the first that has all of them. labels
 * is not empty.
 */
void exposition_histogram(struct exposition *exposition, const struct family *family,
	const char *labels, const uint64_t *below, size_t n_below, uint64_t sum_us);

/* NAME="VALUE" with the value's escapes, after a comma where labels has some. Cut to fit: never. */
#define LABELS_SIZE 1024U
bool labels_add(char labels[LABELS_SIZE], const char *name, const char *value);

#endif
