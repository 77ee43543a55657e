/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The admin socket: one JSON object a line each way. Clients are few and their input is bounded; a
 * client that does not read its answer holds that one answer, and msgd goes on.
 */
#ifndef MSGD_DAEMON_ADMIN_H
#define MSGD_DAEMON_ADMIN_H

#include <event2/event.h>
#include <jansson.h>

#include "daemon/broker.h"

#define ADMIN_CLIENTS_MAX 16U
#define ADMIN_LINE_MAX	  4096U
/* Rows of one answer: more would stop the loop for long. */
#define ADMIN_ROWS_MAX 10000U

enum admin_op {
	ADMIN_STATUS,
	ADMIN_DOMAINS,
	ADMIN_NAMES,
	ADMIN_LINKS,
	ADMIN_CHANNELS,
	ADMIN_RELOAD,
	ADMIN_OP_COUNT,
};

const char *admin_op_name(enum admin_op op);

/* One line, without its newline: {"op":"..."}. -EINVAL with a sentence in static storage. Pure. */
int admin_request_parse(
	const char *line, size_t len, enum admin_op *ret_op, const char **ret_error);

/* What the broker has to show, for all but reload; NULL: out of memory. admin-view.c, pure. */
json_t *admin_view(const struct broker *broker, enum admin_op op, uint64_t now_ns);

struct admin;

struct admin_ops {
	/* The answer: an object, owned by the caller; NULL: out of memory. */
	json_t *(*answer)(void *arg, enum admin_op op);
};

/* Takes the listening socket over, on success. */
int admin_new(struct event_base *base, int fd, const struct admin_ops *ops, void *arg,
	struct admin **ret_admin);
void admin_free(struct admin *admin);

#endif
