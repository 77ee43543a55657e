/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connecting to an address, in the loop. */
#ifndef MSGD_MSGIO_DIAL_H
#define MSGD_MSGIO_DIAL_H

#include "msgio/loop.h"
#include "msgio/options/options.h"
#include "msgio/relay/end.h"

struct dial;

/*
 * end: it stands, and is the callee's. NULL: it does not, for a reason, a sentence. In both cases
 * the dial is over, and frees itself. Not called from within dial_start.
 */
typedef void dial_fn(void *arg, struct end *end, const char *reason);

/* To options->to. NULL: at once, with *ret_reason, valid until the next call. */
struct dial *dial_start(struct loop *loop, const struct io_options *options, dial_fn *fn, void *arg,
	const char **ret_reason);
/* Gives up. Accepts NULL. */
void dial_cancel(struct dial *dial);

#endif
