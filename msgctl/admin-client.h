/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* msgctl's side of the admin socket: one request, one answer. Prints what went wrong, with the
 * socket's name. */
#ifndef MSGD_MSGCTL_ADMIN_CLIENT_H
#define MSGD_MSGCTL_ADMIN_CLIENT_H

#include <jansson.h>

/*
 * Asks msgd on the socket for op; blocks until it answers. *ret_answer is an object that the caller
 * frees. Negative errno after a line on stderr.
 */
int admin_ask(const char *socket_path, const json_t *request, json_t **ret_answer);

#endif
