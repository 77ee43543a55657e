/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A question to msgd. It outlives the msgd that it was sent to: it is sent again, under its number,
 * to the next one. The answer changes the socket that asked.
 *
 * Included by: libmsg/control, libmsg/wait, libmsg/api, tests.
 */
#ifndef LIBMSG_CONTROL_REQUEST_H
#define LIBMSG_CONTROL_REQUEST_H

#include "libmsg/control/control.h"

/* HELLO's number; all others are smaller. */
#define REQUEST_HELLO UINT32_MAX

struct request {
	uint32_t id;			/* key in control->requests */
	struct msg_sock *sock;		/* borrowed: who waits; NULL: a SYNC, or a name announced */
	struct control_message message; /* to be sent again */
	uint32_t epoch;			/* of the msgd that it was first sent to; 0: to none yet */
	UT_hash_handle hh;
};

/* Sends it. NULL: out of memory, and nothing was sent. */
struct request *request_new(
	struct control *control, struct msg_sock *sock, const struct control_message *message);
struct request *request_find(const struct control *control, uint32_t id);
/* Its answer, or that there will be none. error 0: a LISTEN or CONNECT is granted. */
void request_done(
	struct control *control, struct request *request, uint32_t error, const char *reason);
/* The socket does not wait for its answer any more: msgd is told, and an answer is ignored. */
void request_abandon(struct control *control, struct request *request);
/*
 * Gives a name back. A msgd that returns learns of names from announcements alone. Returns the
 * request's number: the name is free when it is found no more.
 */
uint32_t request_unlisten(struct control *control, uint32_t handle);
/* When a request of a socket for which no call waits is to be given up. */
void request_set_deadline(struct control *control, struct msg_sock *sock, uint64_t deadline_ns);
/*
 * Time is over: msgd is asked what the request waits for, and the socket fails when it has said so,
 * or soon. A channel that was granted meanwhile stands.
 */
void request_give_up(struct control *control, struct request *request);
/* Gives up those whose time has come. */
void requests_expire(struct control *control);
/* Sends what no msgd has answered; ends that of which this msgd does not know the type. */
void requests_send_again(struct control *control);
void requests_free(struct control *control);

#endif
