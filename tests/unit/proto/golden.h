/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads the golden blocks of PROTOCOL.md, so that the document itself is what the codecs are
 * tested against. Path and form of the file are the build's, so that failing means exit.
 */
#ifndef TESTS_UNIT_PROTO_GOLDEN_H
#define TESTS_UNIT_PROTO_GOLDEN_H

#include <stddef.h>
#include <stdint.h>

#define GOLDEN_BYTES_MAX 1200
#define GOLDEN_MAX	 64

struct golden {
	char name[32];
	size_t len;
	uint8_t bytes[GOLDEN_BYTES_MAX];
};

/* Static storage; n blocks in the order of the document. */
const struct golden *golden_load(size_t *ret_n);

/* Exits when there is none of that name. */
const struct golden *golden_find(const char *name);

/* The number in the second column of the limits' table, or exits. */
unsigned long golden_limit(const char *name);

#endif
