/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgctl quiesce, resume, wait and ping, the end of reload, and the counts that lists begin with.
 * The answer to quiesce waits until every application of the domain has confirmed, or until the
 * time limit that msgctl gave. The broker knows no such limit. Only admin/ and main.c include this
 * header. It never changes a domain but by the server.
 */
#ifndef MSGD_DAEMON_ADMIN_QUIESCE_H
#define MSGD_DAEMON_ADMIN_QUIESCE_H

#include "daemon/admin/socket.h"

struct quiesce;
struct server;

/* Both are borrowed. -ENOMEM. */
int quiesce_new(struct event_base *base, struct server *server, struct quiesce **ret_quiesce);
/* After admin_free: no client waits any more. */
void quiesce_free(struct quiesce *quiesce);

/* The answer; or NULL with *ret_later: it will be given by admin_answer; or NULL: no memory. */
json_t *quiesce_begin(struct quiesce *quiesce, const struct admin_request *request,
	struct admin_client *client, bool *ret_later);

/* The same for a name that is to appear. */
json_t *quiesce_wait_for_name(struct quiesce *quiesce, const struct admin_request *request,
	struct admin_client *client, bool *ret_later);

/* The same for the counts of all applications: ADMIN_REFRESH_MS at most. */
json_t *quiesce_wait_for_counts(struct quiesce *quiesce, const struct admin_request *request,
	struct admin_client *client, bool *ret_later);

/* The same for the answer of one application. */
json_t *quiesce_wait_for_ping(struct quiesce *quiesce, const struct admin_request *request,
	struct admin_client *client, bool *ret_later);

/* The same, after a reload, until all is judged by the new policy, with what that has ended. */
json_t *quiesce_wait_for_judgement(struct quiesce *quiesce, const struct admin_request *request,
	struct admin_client *client, bool *ret_later);

json_t *quiesce_resume(struct quiesce *quiesce, const struct admin_request *request);

/* The client does not wait any more. */
void quiesce_cancel(struct quiesce *quiesce, const struct admin_client *client);

/*
 * Something may have been confirmed or counted, or a name may have appeared. The broker may be the
 * caller, so this only notes it; the loop looks later.
 */
void quiesce_look(struct quiesce *quiesce);

#endif
