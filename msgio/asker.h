/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program at the door of `msgio serve`, in the loop: it says one line (options/ask.h), and is
 * given descriptors. libmsg serves those, in its own thread (msg_sock_serve), so the program may
 * go from the door with its descriptor.
 *
 * Nothing that it does is waited for: a line has a length and a time, and an answer goes out whole
 * or ends it. One channel at a time is offered, and libmsg serves it when the program has read the
 * answer: so it is known which were never taken, and these are reset. Further channels wait in the
 * listener's backlog, and are refused then.
 */
#ifndef MSGD_MSGIO_ASKER_H
#define MSGD_MSGIO_ASKER_H

#include "msgio/loop.h"

struct asker;

/* It has gone: it is freed in the next turn. */
typedef void asker_fn(void *arg, struct asker *asker);

/* The descriptor is the asker's. NULL: out of memory; it is closed. */
struct asker *asker_new(struct loop *loop, int fd, asker_fn *fn, void *arg);
/* As if it had gone by itself, without a call of fn. */
void asker_end(struct asker *asker);

#endif
