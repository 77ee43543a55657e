/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bytes of an answer, which several connections send at once and none of them copies. One
 * thread at a time may have references: it is handed over whole.
 */
#ifndef MSGD_EXPORTER_BODY_H
#define MSGD_EXPORTER_BODY_H

#include <stddef.h>
#include <stdint.h>

struct evbuffer;

/* Bytes of the answers that live: also of those that only connections hold any more. */
struct body_sums {
	size_t lists, metrics;
};

struct body {
	unsigned n_refs;
	int status;	  /* of HTTP */
	uint64_t made_ms; /* CLOCK_MONOTONIC */
	size_t *sum;	  /* borrowed: its length is a part of it; or NULL */
	const char *type; /* static */
	size_t len;
	char *bytes; /* owned */
};

/* Takes bytes over, also where it fails. NULL: out of memory. */
struct body *body_new(int status, const char *type, char *bytes, size_t len);
/* An {"error":"..."}. NULL: out of memory. */
struct body *body_new_error(int status, const char *text);
struct body *body_ref(struct body *body);
/* Accepts NULL. */
void body_unref(struct body *body);
/* Once: its length is a part of *sum for as long as it lives. */
void body_count(struct body *body, size_t *sum);
/* Since it was made. */
uint64_t body_age_ms(const struct body *body);
/* Without a copy. -ENOMEM. */
int body_add_to(struct body *body, struct evbuffer *buffer);

#endif
