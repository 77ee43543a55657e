/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See exposition.h. */
#include "exporter/exposition.h"

#include <stdlib.h>
#include <string.h>

/*
 * The buckets of histograms: from 8 microseconds, which is the shortest message to msgd and back,
 * to 67 seconds, which is longer than programs wait.
 */
#define BUCKET_FIRST 3U
#define BUCKET_LAST  26U

static const char *const type_names[] = {
	[FAMILY_GAUGE] = "gauge",
	[FAMILY_COUNTER] = "counter",
	[FAMILY_INFO] = "info",
	[FAMILY_HISTOGRAM] = "histogram",
};

void exposition_begin(struct exposition *exposition, bool openmetrics)
{
	*exposition = (struct exposition){.openmetrics = openmetrics};
	exposition->out = open_memstream(&exposition->text, &exposition->len);
}

bool exposition_end(struct exposition *exposition, char **ret_text, size_t *ret_len)
{
	bool good = exposition->out;

	if (good && exposition->openmetrics)
		(void)fputs("# EOF\n", exposition->out);
	if (good)
		good = !ferror(exposition->out);
	if (exposition->out && fclose(exposition->out) != 0)
		good = false;
	if (good) {
		*ret_text = exposition->text;
		*ret_len = exposition->len;
	} else {
		free(exposition->text);
	}
	return good;
}

static const char *suffix_of(const struct family *family)
{
	return family->type == FAMILY_COUNTER ? "_total"
	       : family->type == FAMILY_INFO  ? "_info"
					      : "";
}

void exposition_family(struct exposition *exposition, const struct family *family)
{
	bool new = exposition->openmetrics;
	/* The older format has no suffixes, and knows no info. */
	const char *suffix = new ? "" : suffix_of(family);
	const char *type = !new && family->type == FAMILY_INFO ? "gauge" : type_names[family->type];

	if (!exposition->out)
		return;
	(void)fprintf(exposition->out, "# HELP %s%s %s\n", family->name, suffix, family->help);
	(void)fprintf(exposition->out, "# TYPE %s%s %s\n", family->name, suffix, type);
	if (new && family->unit)
		(void)fprintf(exposition->out, "# UNIT %s %s\n", family->name, family->unit);
}

/* NAME{LABELS} and a blank. */
static void sample_begin(const struct exposition *exposition, const struct family *family,
	const char *suffix, const char *labels)
{
	(void)fprintf(exposition->out, "%s%s", family->name, suffix);
	if (*labels)
		(void)fprintf(exposition->out, "{%s}", labels);
	(void)fputc(' ', exposition->out);
}

static void seconds_end(const struct exposition *exposition, uint64_t us)
{
	(void)fprintf(exposition->out, "%llu.%06llu\n", (unsigned long long)(us / 1000000),
		(unsigned long long)(us % 1000000));
}

void exposition_sample(struct exposition *exposition, const struct family *family,
	const char *labels, uint64_t value)
{
	if (!exposition->out)
		return;
	sample_begin(exposition, family, suffix_of(family), labels);
	(void)fprintf(exposition->out, "%llu\n", (unsigned long long)value);
}

void exposition_seconds(
	struct exposition *exposition, const struct family *family, const char *labels, uint64_t us)
{
	if (!exposition->out)
		return;
	sample_begin(exposition, family, suffix_of(family), labels);
	seconds_end(exposition, us);
}

void exposition_created(
	struct exposition *exposition, const struct family *family, const char *labels, uint64_t us)
{
	if (!exposition->out || !exposition->openmetrics || !us)
		return;
	sample_begin(exposition, family, "_created", labels);
	seconds_end(exposition, us);
}

void exposition_histogram(struct exposition *exposition, const struct family *family,
	const char *labels, const uint64_t *below, size_t n_below, uint64_t sum_us)
{
	uint64_t all = n_below ? below[n_below - 1] : 0;

	if (!exposition->out)
		return;
	for (unsigned i = BUCKET_FIRST; i <= BUCKET_LAST; i++) {
		uint64_t us = UINT64_C(1) << i;

		(void)fprintf(exposition->out, "%s_bucket{%s,le=\"%llu.%06llu\"} %llu\n",
			family->name, labels, (unsigned long long)(us / 1000000),
			(unsigned long long)(us % 1000000),
			(unsigned long long)(i < n_below ? below[i] : all));
	}
	(void)fprintf(exposition->out, "%s_bucket{%s,le=\"+Inf\"} %llu\n", family->name, labels,
		(unsigned long long)all);
	sample_begin(exposition, family, "_count", labels);
	(void)fprintf(exposition->out, "%llu\n", (unsigned long long)all);
	sample_begin(exposition, family, "_sum", labels);
	seconds_end(exposition, sum_us);
}

bool labels_add(char labels[LABELS_SIZE], const char *name, const char *value)
{
	size_t had = strlen(labels), len = had;
	int n = snprintf(labels + len, LABELS_SIZE - len, "%s%s=\"", len ? "," : "", name);

	/* With the longest escape, the last quote and a NUL there is room for each character. */
	for (len += (size_t)n; len + 4 <= LABELS_SIZE && *value; value++) {
		if (strchr("\\\"\n", *value))
			labels[len++] = '\\';
		labels[len++] = *value == '\n' ? 'n' : *value;
	}
	if (len + 4 > LABELS_SIZE) {
		labels[had] = '\0';
		return false;
	}
	labels[len++] = '"';
	labels[len] = '\0';
	return true;
}
