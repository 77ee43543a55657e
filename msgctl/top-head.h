/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The head of msgctl top: msgd's totals, and how fast they grow. Pure.
 *
 * Included by: msgctl, tests.
 */
#ifndef MSGD_MSGCTL_TOP_HEAD_H
#define MSGD_MSGCTL_TOP_HEAD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define TOP_HEAD_SIZE 256U

/* Of msgd's answers to status, the one before and the last one; zero: there was none. */
struct top_head {
	json_t *status;				 /* owned, or NULL */
	uint64_t at_us;				 /* monotonic */
	double seconds;				 /* since the one before; 0: there are no rates */
	double connected, refused, failed, busy; /* a second; busy: seconds of a processor */
};

/*
 * Takes the status over. True: it is of another msgd than the one before, whose counters began
 * anew.
 */
bool top_head_take(struct top_head *head, json_t *status, uint64_t at_us);
void top_head_clear(struct top_head *head);
/* Two lines. */
void top_head_lines(const struct top_head *head, char ret_lines[2][TOP_HEAD_SIZE]);

#endif
