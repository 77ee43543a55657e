/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Documents: the answers to questions, made once for all that ask for the same while it is fresh,
 * one at a time, in the order of asking; metrics before lists, but not twice in a row.
 */
#ifndef MSGD_EXPORTER_STORE_H
#define MSGD_EXPORTER_STORE_H

#include "exporter/asker.h"

struct body_sums;
struct question;
struct store;

/* body: borrowed for the call; NULL: out of memory. */
typedef void store_answer_fn(void *arg, struct body *body);

/* make: see asker.h. sums is borrowed, until the last answer is gone. A negative errno. */
int store_new(struct event_base *base, asker_make_fn *make, void *make_arg, struct body_sums *sums,
	struct store **ret_store);
/*
 * Takes the question over. fn is called once: from here, later, or by store_free. An answer of 503
 * says which limit is reached.
 */
void store_get(struct store *store, struct question *question, store_answer_fn *fn, void *arg);
/* Accepts NULL. */
void store_free(struct store *store);

#endif
