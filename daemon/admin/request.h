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

#include "daemon/broker/history.h"
#include "proto/limits.h"

enum admin_op {
	ADMIN_STATUS,
	ADMIN_DOMAINS,
	ADMIN_APPLICATIONS,
	ADMIN_NAMES,
	ADMIN_LINKS,
	ADMIN_CHANNELS,
	ADMIN_HISTORY,
	ADMIN_MONITOR,
	ADMIN_COUNTS,
	ADMIN_REFUSALS,
	ADMIN_LATENCY,
	ADMIN_LIMITS,
	ADMIN_BLOCKS,
	ADMIN_POLICY_TEST,
	ADMIN_POLICY_LIST,
	ADMIN_WAIT,
	ADMIN_REFRESH,
	ADMIN_PING,
	ADMIN_CLOSE,
	ADMIN_KICK_APPLICATION,
	ADMIN_KICK_NAME,
	ADMIN_KICK_DOMAIN,
	ADMIN_KICK_LINK,
	ADMIN_DRAIN,
	ADMIN_UNDRAIN,
	ADMIN_BLOCK,
	ADMIN_UNBLOCK,
	ADMIN_SET_LIMIT,
	ADMIN_LOG_LEVEL,
	ADMIN_RELOAD,
	ADMIN_RELOAD_DRY_RUN,
	ADMIN_CAPTURE,
	ADMIN_QUIESCE,
	ADMIN_RESUME,
	ADMIN_OP_COUNT,
};

const char *admin_op_name(enum admin_op op);
/* Whether the operation changes anything, or shows more than the views do. */
bool admin_op_steers(enum admin_op op);

/* A line, without its newline. */
#define ADMIN_LINE_MAX 4096U

/*
 * Objects and arrays in each other. A request is one object; more is for values of a wrong type,
 * whose key has its own error. jansson recurses for each, by itself up to 2048 deep.
 */
#define ADMIN_DEPTH_MAX 4U

/* The time limit of quiesce, wait and ping: the default, and the maximum. */
#define ADMIN_TIMEOUT_MS     10000U
#define ADMIN_TIMEOUT_MAX_MS 3600000U

/*
 * refresh waits so long for applications that do not answer: they are stopped, or in no call of
 * libmsg, and people wait for the list that follows.
 */
#define ADMIN_REFRESH_MS 250U

/* Bytes of payload, where a capture does not say how many. */
#define ADMIN_SNAPLEN 256U

/* The longest word of a request. */
#define ADMIN_WORD_SIZE 16U

/* The keys of a request, as bits of admin_request.has. */
enum admin_key {
	ADMIN_KEY_DOMAIN,
	ADMIN_KEY_NAME,
	ADMIN_KEY_TO,
	ADMIN_KEY_LISTEN,
	ADMIN_KEY_TRANSPORT,
	ADMIN_KEY_STATE,
	ADMIN_KEY_LINK,
	ADMIN_KEY_CHANNEL,
	ADMIN_KEY_PID,
	ADMIN_KEY_KIND,
	ADMIN_KEY_N,
	ADMIN_KEY_SINCE,
	ADMIN_KEY_LIMIT,
	ADMIN_KEY_VALUE,
	ADMIN_KEY_LEVEL,
	ADMIN_KEY_PAYLOAD,
	ADMIN_KEY_SNAPLEN,
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
	char name[NAME_SIZE];	       /* in lists of what is there, a glob */
	char to[DOMAIN_NAME_SIZE];     /* as domain */
	bool listen;		       /* the name is to be held, and not to be connected to */
	char state[ADMIN_WORD_SIZE];
	uint32_t transport; /* enum transport_kind */
	uint64_t link;	    /* its uid */
	uint32_t channel, pid;
	enum history_kind kind;
	uint32_t n;	/* so many events, the last ones */
	uint64_t since; /* a serial: events after it */
	char limit[ADMIN_WORD_SIZE], level[ADMIN_WORD_SIZE];
	uint32_t value;
	bool payload;	  /* of frames, beside their headers */
	uint32_t snaplen; /* bytes of it */
	uint32_t timeout_ms;
	/* How far a list has come: rows or serials looked at, and rows in the answer. */
	uint64_t from;
	size_t n_rows;
	uint64_t of; /* the facts of which its first rows were, where all must be of the same */
};

/* Whether the answer has rows. */
bool admin_op_lists(enum admin_op op);
/* Whether they come until the client goes. */
bool admin_op_goes_on(enum admin_op op);
/* Whether its answer may come late, or never ends. */
bool admin_op_lasts(enum admin_op op);
/*
 * It is to be served once more, by another msgd: it has waited for so long before, and events are
 * those of the new one, from its start.
 */
void admin_request_again(struct admin_request *request, uint64_t waited_ms);
/* "kick domain=web pid=3", for people. */
void admin_request_describe(const struct admin_request *request, char *ret_text, size_t size);

bool admin_request_has(const struct admin_request *request, enum admin_key key);

/* One line, without its newline: {"op":"..."}. -EINVAL with a sentence in static storage. */
int admin_request_parse(
	const char *line, size_t len, struct admin_request *ret_request, const char **ret_error);

#endif
