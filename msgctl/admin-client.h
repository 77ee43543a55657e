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
 * The same as admin_ask for an answer of many lines, each an object, without a time limit:
 * on_object gets each. Returns when msgd closes the connection or refuses the request, after a line
 * on stderr, with the exit status.
 */
int admin_follow(const char *socket_path, const char *from, const json_t *request,
	void (*on_object)(const json_t *object));

/* Beside the stream itself, what ends it. */
enum admin_end {
	ADMIN_END_FAILED, /* after a line on stderr: refused, or msgd has closed the connection */
	ADMIN_END_ENOUGH, /* on_object said so, or the time is over, or the user */
};

/*
 * The same for at most so many seconds (0: no limit), until on_object returns false, or until
 * SIGINT or SIGTERM comes: what was read by then was handed on.
 */
enum admin_end admin_stream(const char *socket_path, const char *from, const json_t *request,
	uint32_t seconds, bool (*on_object)(void *arg, const json_t *object), void *arg);

#endif
