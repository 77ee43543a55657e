/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* msgctl's questions to msgd, and its complaints: see admin-exchange.h. */
#ifndef MSGD_MSGCTL_ADMIN_CLIENT_H
#define MSGD_MSGCTL_ADMIN_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Asks msgd on the socket; blocks until it answers, or the limit is over. The caller frees the
 * answer, an object. NULL after a line on stderr, with the socket's name, and the exit status:
 * whether the request was wrong in itself. from: by whose word it is that socket.
 */
json_t *admin_ask(const char *socket_path, const char *from, const json_t *request,
	uint32_t limit_ms, int *ret_status);

/*
 * The same for a request that an older msgd need not know: its refusal is an answer too, and is
 * not printed. False after a line on stderr: msgd could not be asked.
 */
bool admin_tell(
	const char *socket_path, const char *from, const json_t *request, uint32_t limit_ms);

/*
 * The same for a question that waits: while msgd is away, it is asked again, for so long.
 * on_away: NULL, or called once, at the first time that it is not there.
 */
json_t *admin_wait(const char *socket_path, const char *from, const json_t *request,
	uint32_t wait_ms, void (*on_away)(const char *socket_path), int *ret_status);

/*
 * The same as admin_ask for an answer of many lines, each an object, without a time limit:
 * on_object gets each. Returns the exit status when msgd closes the connection or refuses the
 * request, after a line on stderr; 0 when on_object returns false.
 */
int admin_follow(const char *socket_path, const char *from, const json_t *request,
	bool (*on_object)(void *arg, const json_t *object), void *arg);

/* Of an answer that is an error, or of none: the exit status, and the errno's name, or NULL. */
int admin_status(const json_t *answer);
const char *admin_error_name(const json_t *answer, int r);

enum admin_end {
	ADMIN_END_NONE,	  /* it goes on: never returned by admin_stream */
	ADMIN_END_FAILED, /* after a line on stderr: refused, or msgd has closed the connection */
	ADMIN_END_ENOUGH, /* on_object said so */
	ADMIN_END_TIME,
	ADMIN_END_USER, /* by SIGINT or SIGTERM */
};

/*
 * The same for so long at most (0: no limit), until on_object returns false, or until SIGINT or
 * SIGTERM comes: what was read by then was handed on. These signals are blocked from then on. The
 * exit status is that of ADMIN_END_FAILED.
 */
enum admin_end admin_stream(const char *socket_path, const char *from, const json_t *request,
	uint64_t limit_ms, bool (*on_object)(void *arg, const json_t *object), void *arg,
	int *ret_status);

/* After admin_stream: whether the user ends it, by one of these signals, within that time. */
bool admin_user_ends(uint64_t limit_us);

#endif
