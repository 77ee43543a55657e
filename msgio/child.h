/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Programs as ends of connections: each has a process group of its own, and its standard input and
 * output are pipes. A program may outlive its connection; it is ended only if that was reset.
 */
#ifndef MSGD_MSGIO_CHILD_H
#define MSGD_MSGIO_CHILD_H

#include "msgio/loop.h"
#include "msgio/options/options.h"
#include "msgio/relay/end.h"

struct children;

/* One has ended, and was freed. */
typedef void children_fn(void *arg);

/* NULL: out of memory. */
struct children *children_new(
	struct loop *loop, const struct io_options *options, children_fn *fn, void *arg);
/* Programs that run, with a connection or without. */
unsigned children_count(const struct children *children);
/* Starts a program for the peer. NULL: it cannot, for a reason, a sentence. */
struct end *children_start(
	struct children *children, const struct msg_peer *peer, const char **ret_reason);
/* Ends all of them, within KILL_AFTER_S. */
void children_stop(struct children *children);
/* Kills those that are left. Accepts NULL. */
void children_free(struct children *children);

/* From the loss of the peer to SIGTERM, and from there to SIGKILL: as msgio(1) says. */
#define TERM_AFTER_S 5
#define KILL_AFTER_S 5

#endif
