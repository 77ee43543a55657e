/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A connection between two ends: two directions, of which each ends by itself, and the judgement
 * how each end is to be left. It must never let a connection that broke look as if it had ended.
 */
#ifndef MSGD_MSGIO_RELAY_RELAY_H
#define MSGD_MSGIO_RELAY_RELAY_H

#include "msgio/relay/pipe.h"

struct relay {
	struct end *a, *b;	 /* owned */
	struct pipe there, back; /* from a to b; from b to a */
};

/* The ends are the relay's from now on. */
void relay_init(struct relay *relay, struct end *a, struct end *b);
/* Goes on as far as the ends allow, and has them call again. True: it is over. */
bool relay_run(struct relay *relay);
/* The errno of the error that ended it; 0: none, but that one end took no more. */
int relay_error(const struct relay *relay);
/*
 * Closes both ends; by a reset if the relay was not over. A negative errno: what was given at the
 * end did not arrive.
 */
int relay_fini(struct relay *relay);

#endif
