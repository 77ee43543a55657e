/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See series.h. Guests choose the labels: so things are found by order, and not by a hash that they
 * could make collide.
 */
#include "exporter/series.h"

#include <stdlib.h>
#include <string.h>

#include "base/number.h"

static int compare(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int by_labels(const void *a, const void *b)
{
	const struct series_row *x = a, *y = b;

	return strcmp(x->labels, y->labels);
}

static int by_weight(const struct series_row *x, const struct series_row *y)
{
	int by = compare(y->weight, x->weight);

	return by ? by : by_labels(x, y);
}

static int by_domain(const void *a, const void *b)
{
	const struct series_row *x = a, *y = b;
	int by = compare(x->domid, y->domid);

	return by ? by : by_weight(x, y);
}

static int by_rank(const void *a, const void *b)
{
	const struct series_row *x = a, *y = b;
	int by = compare(x->rank, y->rank);

	return by ? by : by_weight(x, y);
}

/* Returns how many are left. */
static size_t rows_unique(struct series_row *rows, size_t n)
{
	size_t n_left = 0;

	qsort(rows, n, sizeof(*rows), by_labels);
	for (size_t i = 0; i < n; i++) {
		if (n_left && by_labels(&rows[n_left - 1], &rows[i]) == 0)
			free(rows[i].labels);
		else
			rows[n_left++] = rows[i];
	}
	return n_left;
}

/* The first of each domain, then the second of each. */
static void rows_sort(struct series_row *rows, size_t n)
{
	qsort(rows, n, sizeof(*rows), by_domain);
	for (size_t i = 1; i < n; i++)
		rows[i].rank = rows[i].domid == rows[i - 1].domid ? rows[i - 1].rank + 1 : 0;
	qsort(rows, n, sizeof(*rows), by_rank);
}

static void rows_free(struct series_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(rows[i].labels);
	free(rows);
}

/* former: the same thing at the last look; NULL: it was not there. */
static void others_add(
	struct series *series, const struct series_row *row, const struct series_row *former)
{
	/* It was there, but not in the list: by how much it grew is not known. */
	if (!former && row->born_us < series->looked_us)
		return;
	for (unsigned i = 0; i < SERIES_VALUES; i++) {
		bool goes_on = former && former->since_us == row->since_us &&
			       former->values[i] <= row->values[i];

		series->others[i] = count_sum(
			series->others[i], row->values[i] - (goes_on ? former->values[i] : 0));
	}
}

void series_look(
	struct series *series, struct series_row *rows, size_t n, size_t max, uint64_t now_us)
{
	size_t n_own;

	n = rows_unique(rows, n);
	n_own = n < max ? n : max;
	rows_sort(rows, n);
	if (series->n_rows)
		qsort(series->rows, series->n_rows, sizeof(*rows), by_labels);
	for (size_t i = n_own; i < n && series->looked_us; i++) {
		const struct series_row *former =
			series->n_rows ? bsearch(&rows[i], series->rows, series->n_rows,
						 sizeof(*rows), by_labels)
				       : NULL;

		others_add(series, &rows[i], former);
	}
	rows_free(series->rows, series->n_rows);
	series->rows = rows;
	series->n_rows = n;
	series->n_own = n_own;
	series->looked_us = now_us;
}

void series_fini(struct series *series)
{
	rows_free(series->rows, series->n_rows);
	series->rows = NULL;
	series->n_rows = 0;
}
