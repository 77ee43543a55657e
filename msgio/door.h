/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Listening at an address, in the loop. */
#ifndef MSGD_MSGIO_DOOR_H
#define MSGD_MSGIO_DOOR_H

#include "msgio/loop.h"
#include "msgio/options/options.h"
#include "msgio/relay/end.h"

struct door;

/* Somebody has connected: end is the callee's. peer: of a channel, else NULL. */
typedef void door_fn(void *arg, struct end *end, const struct msg_peer *peer);

/*
 * At options->from; says so in the log. It ends the loop when it has lost its name for good. NULL:
 * it cannot, for a reason that is in the log, with an exit status.
 */
struct door *door_new(struct loop *loop, const struct io_options *options, door_fn *fn, void *arg,
	int *ret_status);
/* Whether further connections are accepted; else they wait. */
void door_set_open(struct door *door, bool open);
/* Gives the name back, removes the socket file. Accepts NULL. */
void door_free(struct door *door);

#endif
