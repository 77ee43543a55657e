/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The requests of the admin protocol (msgctl(8)): operations, their keys, and the words that both
 * requests and answers use. Pure.
 */
#ifndef MSGD_DAEMON_ADMIN_REQUEST_H
#define MSGD_DAEMON_ADMIN_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/limits.h"

enum admin_op {
	ADMIN_STATUS,
	ADMIN_DOMAINS,
	ADMIN_APPLICATIONS,
	ADMIN_NAMES,
	ADMIN_LINKS,
	ADMIN_CHANNELS,
	ADMIN_RELOAD,
	ADMIN_QUIESCE,
	ADMIN_RESUME,
	ADMIN_OP_COUNT,
};

const char *admin_op_name(enum admin_op op);
/* Whether the operation changes anything. */
bool admin_op_steers(enum admin_op op);

/* A line, without its newline. */
#define ADMIN_LINE_MAX 4096U

/* The time limit of quiesce: the default, and the maximum. */
#define ADMIN_TIMEOUT_MS     10000U
#define ADMIN_TIMEOUT_MAX_MS 3600000U

/* The longest word for a state. */
#define ADMIN_WORD_SIZE 16U

/* The keys of a request, as bits of admin_request.has. */
enum admin_key {
	ADMIN_KEY_DOMAIN,
	ADMIN_KEY_NAME,
	ADMIN_KEY_TRANSPORT,
	ADMIN_KEY_STATE,
	ADMIN_KEY_LINK,
	ADMIN_KEY_CHANNEL,
	ADMIN_KEY_PID,
	ADMIN_KEY_TIMEOUT,
	ADMIN_KEY_COUNT,
};

/*
 * The keys are the subject of a command, and narrow a list: its rows are those of which all keys
 * are true.
 */
struct admin_request {
	enum admin_op op;
	unsigned has;		       /* the keys that it has, as bits */
	char domain[DOMAIN_NAME_SIZE]; /* a name, domid:N or uuid:U */
	char name[NAME_SIZE];	       /* in lists, a glob */
	char state[ADMIN_WORD_SIZE];
	uint32_t transport; /* enum transport_kind */
	uint64_t link;	    /* its uid */
	uint32_t channel, pid;
	uint32_t timeout_ms;
	/* How far a list has come: rows that were looked at, and those in the answer. */
	size_t from, n_rows;
};

bool admin_request_has(const struct admin_request *request, enum admin_key key);

/* One line, without its newline: {"op":"..."}. -EINVAL with a sentence in static storage. */
int admin_request_parse(
	const char *line, size_t len, struct admin_request *ret_request, const char **ret_error);

#endif
