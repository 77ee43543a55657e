/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The answers of show and stats are made of several answers of msgd's: each part has a list of its
 * own, with those keys of the request that narrow it.
 */
#ifndef MSGD_MSGCTL_PARTS_H
#define MSGD_MSGCTL_PARTS_H

#include <jansson.h>

#include "msgctl/table.h"

#define PART_KEYS_MAX 3

struct part {
	const char *op; /* NULL ends an array of parts */
	const char *head;
	const struct column *columns; /* or NULL: */
	void (*print)(const json_t *answer);
	const char *keys[PART_KEYS_MAX];
	int n; /* of events; 0: not said */
};

/* By the command's arguments, which were found good. */
const struct part *parts_of_show(char *const *args);
const struct part *parts_of_stats(char *const *args);

/* The request of one part. The caller frees it; NULL: no memory. */
json_t *part_request(const struct part *part, const json_t *request);
void part_print(const struct part *part, const json_t *answer);

#endif
