/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See metrics.h. */
#include "exporter/metrics.h"

#include "exporter/exposition.h"
#include "exporter/limits.h"

void metrics_init(struct metrics *metrics)
{
	*metrics = (struct metrics){.series = {
					    [METRICS_DOMAINS] = SERIES_DOMAINS,
					    [METRICS_RULES] = SERIES_RULES,
					    [METRICS_NAMES] = SERIES_NAMES,
				    }};
}

void metrics_fini(struct metrics *metrics)
{
	metrics->scrapes = 0;
}

bool metrics_write(struct metrics *metrics, const struct metrics_answers *answers,
	const struct http_counts *http, bool openmetrics, char **ret_text, size_t *ret_len)
{
	static const struct family up = {
		FAMILY_GAUGE, "msgd_up", NULL, "Whether msgd could be asked."};
	struct exposition exposition;

	exposition_begin(&exposition, openmetrics);
	exposition_family(&exposition, &up);
	exposition_sample(&exposition, &up, "", answers->status != NULL);
	return exposition_end(&exposition, ret_text, ret_len);
}
