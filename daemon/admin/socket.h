/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The admin socket: one JSON object a line each way. Clients are few, each user has a share of
 * their places, and their input is bounded. A client that asks nothing, or does not read its
 * answer, has a time limit; msgd goes on meanwhile. A client that finds no place is told so.
 */
#ifndef MSGD_DAEMON_ADMIN_SOCKET_H
#define MSGD_DAEMON_ADMIN_SOCKET_H

#include <event2/event.h>
#include <jansson.h>

#include "daemon/broker/broker.h"

/*
 * Places of one user, and of all: eight users that take their whole share leave root's own free.
 * msgctl takes one place for a moment; a waiting `msgctl quiesce` takes one for as long.
 */
#define ADMIN_CLIENTS_PER_UID 16U
#define ADMIN_CLIENTS_MAX     (9U * ADMIN_CLIENTS_PER_UID)
/* A client that sends no request, or reads no answer, for so long is dropped. */
#define ADMIN_IDLE_S   10
#define ADMIN_LINE_MAX 4096U
/* Rows of one answer, for people; and of those in one turn of the loop, some 2 ms of work. */
#define ADMIN_ROWS_MAX	  10000U
#define ADMIN_ROWS_A_TURN 125U
_Static_assert(ADMIN_ROWS_MAX % ADMIN_ROWS_A_TURN == 0, "no portion goes beyond the most");

enum admin_op {
	ADMIN_STATUS,
	ADMIN_DOMAINS,
	ADMIN_NAMES,
	ADMIN_LINKS,
	ADMIN_CHANNELS,
	ADMIN_RELOAD,
	ADMIN_QUIESCE,
	ADMIN_RESUME,
	ADMIN_OP_COUNT,
};

const char *admin_op_name(enum admin_op op);

/* The time limit of quiesce: the default, and the maximum. */
#define ADMIN_TIMEOUT_MS     10000U
#define ADMIN_TIMEOUT_MAX_MS 3600000U

struct admin_request {
	enum admin_op op;
	char domain[DOMAIN_NAME_SIZE]; /* quiesce, resume; else empty */
	uint32_t timeout_ms;	       /* quiesce */
	size_t from;		       /* domains, names, links, channels: the first row */
};

/* One line, without its newline: {"op":"..."}. -EINVAL with a sentence in static storage. Pure. */
int admin_request_parse(
	const char *line, size_t len, struct admin_request *ret_request, const char **ret_error);

/*
 * A view of the broker, for the first five operations. NULL: out of memory. Pure, in view.c. All
 * but status have rows, under the operation's name, of which this has ADMIN_ROWS_A_TURN at most,
 * the first of them being from; and, as "all", how many there are now.
 */
json_t *admin_view(const struct broker *broker, enum admin_op op, uint64_t now_ns, size_t from);
/*
 * The applications of a quiesced domain: which have confirmed, which have not, and why. NULL: the
 * domain is dead or not quiesced, or no memory.
 */
json_t *admin_view_quiesced(struct broker *broker, uint16_t domid);

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
	/* A client is gone that waited for admin_answer. */
	void (*gone)(void *arg, const struct admin_client *client);
	/* One line for the log. Clients cause it: the callee bounds how many are written. */
	void (*log)(void *arg, const char *text);
};

/* Borrowed: for the client's rights. */
int admin_client_fd(const struct admin_client *client);

/* Takes the answer over (NULL: out of memory). Not from within ops->answer. */
void admin_answer(struct admin_client *client, json_t *answer);

/* Takes the listening socket over, on success. */
int admin_new(struct event_base *base, int fd, const struct admin_ops *ops, void *arg,
	struct admin **ret_admin);
void admin_free(struct admin *admin);

#endif
