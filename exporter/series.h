/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which things of one kind have series of their own, and the counts of all others together. Guests
 * make the things and say their counts: each domain has a fair part of the series, and the sum of
 * the others never goes back, whichever they are at the time. Pure.
 */
#ifndef MSGD_EXPORTER_SERIES_H
#define MSGD_EXPORTER_SERIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Counts of one thing: those of a domain are most. */
#define SERIES_VALUES 16U

struct series_row {
	char *labels;	   /* owned: no other of its kind has the same */
	uint32_t domid;	   /* of whom it is a part; 0: no matter */
	uint64_t weight;   /* the ones with most come first */
	uint64_t since_us; /* its counts begin; 0: not known */
	uint64_t born_us;  /* the thing itself is no older than that */
	uint64_t values[SERIES_VALUES];
	size_t rank; /* series_look's: among those of its domain */
};

struct series {
	struct series_row *rows; /* owned, with n_rows: of the last look */
	size_t n_rows;
	size_t n_own;			/* the first ones, which have series of their own */
	uint64_t looked_us;		/* 0: never */
	uint64_t others[SERIES_VALUES]; /* by how much they grew, since the first look */
};

/*
 * Takes over all rows that there are now, and chooses as many as max. A row may be there twice, and
 * one that was not may come back: msgd makes long lists in parts. now_us: as since_us.
 */
void series_look(
	struct series *series, struct series_row *rows, size_t n, size_t max, uint64_t now_us);
void series_fini(struct series *series);

#endif
