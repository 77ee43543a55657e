/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A channel as an end of a connection. */
#ifndef MSGD_MSGIO_CHANNEL_END_H
#define MSGD_MSGIO_CHANNEL_END_H

#include "libmsg/libmsg.h"
#include "msgio/relay/end.h"

/*
 * The socket, which stands and is non-blocking, is the end's from now on. NULL: out of memory, and
 * the socket is closed by a reset.
 */
struct end *channel_end_new(struct msg_sock *sock);

/* Its close blocks until all that was given is on its way: for a program that ends then. */
void channel_end_linger(struct end *end);

/* Datagrams that found no room, either way, as far as this end knows. */
int64_t channel_end_drops(struct end *end);

/* Why the channel was lost. "": it was not. */
const char *channel_end_reason(struct end *end);

#endif
