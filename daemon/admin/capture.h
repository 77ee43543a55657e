/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The captures of the admin socket's clients: each client has one at most, until it goes. Only
 * answer.c, main.c and the tests of admin/ include this header.
 */
#ifndef MSGD_DAEMON_ADMIN_CAPTURE_H
#define MSGD_DAEMON_ADMIN_CAPTURE_H

#include <jansson.h>

#include "proto/limits.h"

struct admin_client;
struct admin_request;
struct capture;
struct server;

/* The clients that capture: one place for each that there may be. */
struct admin_captures {
	struct capture_place {
		const struct admin_client *client; /* borrowed; NULL: the place is free */
		struct capture *capture;	   /* owned */
	} places[CAPTURES_MAX];
};

/*
 * As admin_view: begins the client's capture, or gives what has come since. The row of the last
 * answer has "ended".
 */
json_t *capture_answer(struct admin_captures *captures, struct server *server,
	const struct admin_request *request, const struct admin_client *client);
void capture_gone(
	struct admin_captures *captures, struct server *server, const struct admin_client *client);

#endif
