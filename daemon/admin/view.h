/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The views of the broker that answer admin requests. A view must never change an object. Texts
 * that guests chose are made valid for JSON here. Pure.
 */
#ifndef MSGD_DAEMON_ADMIN_VIEW_H
#define MSGD_DAEMON_ADMIN_VIEW_H

#include <jansson.h>

#include "daemon/admin/request.h"
#include "daemon/broker/broker.h"

/*
 * Rows of one answer: as many as a policy has rules, and one for what none of them matches. And of
 * those in one turn of the loop, some 2 ms of work.
 */
#define ADMIN_ROWS_MAX	  (POLICY_RULES_MAX + 1U)
#define ADMIN_ROWS_A_TURN 125U
/* The same of a client that follows what happens, as fast as it can: it must not slow msgd down. */
#define ADMIN_EVENTS_A_TURN 16U
/*
 * One turn looks at no more than this where a filter passes most by: rows, and for an application
 * its links as well. Each takes some 100 ns, a tenth of what the rows take.
 */
#define ADMIN_LOOKS_A_TURN 2000U

/* Objects. NULL: out of memory. */
json_t *admin_view_status(const struct broker *broker);
json_t *admin_view_latency(const struct broker *broker);
/*
 * For the operations with rows: under the operation's name, the next rows of the request's list, of
 * which ADMIN_ROWS_A_TURN fit; as "next", the request's next from; as "all", where the list ends;
 * as "of", the request's next of; and as "end", perhaps, the members of the answer that follow the
 * rows. Or an "error", also after some rows. NULL: out of memory.
 *
 * Of history and monitor, next, from and all are serials. The rows of monitor, which
 * ADMIN_EVENTS_A_TURN bounds, are also {"missed":N}: events that had to make room.
 */
json_t *admin_view(
	const struct broker *broker, const struct admin_request *request, uint64_t now_ns);
/* Whether more of the list is to be asked for after this answer to the request. */
bool admin_view_goes_on(const json_t *answer, const struct admin_request *request);
/*
 * The applications of a quiesced domain: which have confirmed, which have not, and why. NULL: the
 * domain is dead or not quiesced, or no memory.
 */
json_t *admin_view_quiesced(struct broker *broker, uint16_t domid);

/* A policy that is not in force is looked at: finds out which of its conditions hold. */
void admin_trial_begin(struct broker *broker, struct policy *policy);
/* As admin_view: the names and channels that such a policy would not permit. */
json_t *admin_view_trial(
	struct broker *broker, const struct admin_request *request, const struct policy *policy);

#endif
