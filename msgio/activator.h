/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One program that is started on demand, as systemd starts a program that is socket-activated: it
 * is given a listening Unix socket, and takes connections there. It is started for the first
 * connection, and ended when it has had none for a while.
 *
 * A connection is the program's once it has accepted it. Until then nothing was read from the other
 * end, so that a program that ends meanwhile has lost nothing: the connection is the next one's,
 * which has a socket of its own, whatever the former one did with its.
 */
#ifndef MSGD_MSGIO_ACTIVATOR_H
#define MSGD_MSGIO_ACTIVATOR_H

#include "msgio/loop.h"
#include "msgio/options/options.h"
#include "msgio/relay/end.h"

struct activator;
struct demand;

/* The program has ended. */
typedef void activator_fn(void *arg);

/*
 * end: the program has accepted; it is the callee's. NULL: it has not, for a reason, a sentence. In
 * both cases the demand is over. Not called from within activator_demand.
 */
typedef void demand_fn(void *arg, struct end *end, const char *reason);

/* NULL: it cannot, for a reason that is in the log. */
struct activator *activator_new(
	struct loop *loop, const struct io_options *options, activator_fn *fn, void *arg);
/* A connection to the program, which is started if need be. NULL: out of memory. */
struct demand *activator_demand(struct activator *activator, demand_fn *fn, void *arg);
/* Gives up. Accepts NULL. */
void demand_cancel(struct activator *activator, struct demand *demand);
/* The program runs, or is being ended. */
bool activator_runs(const struct activator *activator);
/* Ends it, within KILL_AFTER_S. There are no demands any more. */
void activator_stop(struct activator *activator);
/* Kills it, if it is left. Accepts NULL. */
void activator_free(struct activator *activator);

#endif
