/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The commands that change single objects, limits or the log; quiesce.h has those on whole domains.
 *
 * Included by: daemon/admin.
 */
#ifndef MSGD_DAEMON_ADMIN_STEER_H
#define MSGD_DAEMON_ADMIN_STEER_H

#include <jansson.h>

#include "daemon/admin/request.h"

struct admin_subject;

/* Whether steer_answer answers the operation. */
bool steer_has(enum admin_op op);
/* NULL: out of memory. */
json_t *steer_answer(const struct admin_subject *subject, const struct admin_request *request);
/* The sentence for a negative errno of the broker's. NULL: out of memory. */
json_t *steer_refusal(int error);
/* The errno of an answer's sentence: EINVAL, if it is none of those; 0: it has no error. */
int steer_error(const json_t *answer);

#endif
