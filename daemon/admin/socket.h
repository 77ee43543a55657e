/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The admin socket: one JSON object a line each way. Clients are few, each user has a share of
 * their places, and their input is bounded. A client that asks nothing, or does not read its
 * answer, has a time limit; msgd goes on meanwhile. A client that finds no place is told so.
 *
 * A client outlives msgd where a service manager keeps its socket (kept.h): all do when msgd ends
 * in order, and those that wait for long, or follow what happens, however it ends. The next msgd
 * serves a request that was not answered once more.
 */
#ifndef MSGD_DAEMON_ADMIN_SOCKET_H
#define MSGD_DAEMON_ADMIN_SOCKET_H

#include <event2/event.h>
#include <jansson.h>

#include "daemon/admin/request.h"

/*
 * Places of one user, and of all: eight users that take their whole share leave root's own free.
 * msgctl takes one place for a moment; a waiting `msgctl quiesce` takes one for as long.
 */
#define ADMIN_CLIENTS_PER_UID 16U
#define ADMIN_CLIENTS_MAX     (9U * ADMIN_CLIENTS_PER_UID)
/* A client that sends no request, or reads no answer, for so long is dropped. */
#define ADMIN_IDLE_S 10
/* At its end msgd waits so long for a service manager that is to have the clients. */
#define ADMIN_KEEP_MS 1000U

struct admin;
struct admin_client;

struct admin_ops {
	/*
	 * Returns the answer, an object that the caller then owns. NULL: out of memory. NULL with
	 * *ret_later set: admin_answer will give the answer, and the client's further requests wait
	 * until then.
	 */
	json_t *(*answer)(void *arg, const struct admin_request *request,
		struct admin_client *client, bool *ret_later);
	/* A client is gone that waited for admin_answer, or for more of a list or a capture. */
	void (*gone)(void *arg, const struct admin_client *client);
	/* One line for the log. Clients cause it: the callee bounds how many are written. */
	void (*log)(void *arg, const char *text);
};

/* Borrowed: for the client's rights. */
int admin_client_fd(const struct admin_client *client);

/* There may be something new for those that follow what happens. */
void admin_look(struct admin *admin);

/* Takes the answer over (NULL: out of memory). Not from within ops->answer. */
void admin_answer(struct admin_client *client, json_t *answer);

/* Takes the listening socket over, on success. */
int admin_new(struct event_base *base, int fd, const struct admin_ops *ops, void *arg,
	struct admin **ret_admin);
void admin_free(struct admin *admin);

/* Before admin_free, with no turn of the loop in between: the next msgd gets the clients. */
void admin_keep(struct admin *admin);
/*
 * A client of a former msgd: what this one handed over by this number (kept.h), its socket and its
 * file, or -1 where the service manager did not have both any more. They are closed where the
 * client cannot be taken. Not before all is there that ops->answer needs.
 */
void admin_take(struct admin *admin, unsigned number, int socket_fd, int kept_fd);

#endif
