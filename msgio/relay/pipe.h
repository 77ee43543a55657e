/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One direction of a relayed connection: takes pieces at one end and gives them at the other. It
 * holds one piece at most, and takes the next when that is gone: so the reader's pace is the
 * writer's.
 */
#ifndef MSGD_MSGIO_RELAY_PIPE_H
#define MSGD_MSGIO_RELAY_PIPE_H

#include "msgio/relay/end.h"

enum pipe_state {
	PIPE_OPEN,
	PIPE_ENDED,  /* everything was given, and the end of it */
	PIPE_BROKEN, /* `to` takes no more, and `from` has not ended */
	PIPE_CUT,    /* `from` was lost before its end */
};

struct pipe {
	struct end *from, *to; /* borrowed */
	struct piece piece;    /* owned */
	enum pipe_state state;
	int error; /* of BROKEN and CUT: a positive errno */
	bool lost; /* of BROKEN: something was taken that could not be given */
};

/* Moves pieces until there is none, or no room, or a turn is over. */
void pipe_run(struct pipe *pipe);
void pipe_fini(struct pipe *pipe);

/* It is for `from` to go on, or for `to`. */
static inline bool pipe_wants_in(const struct pipe *pipe)
{
	return pipe->state == PIPE_OPEN && !pipe->piece.owner;
}

static inline bool pipe_wants_out(const struct pipe *pipe)
{
	return pipe->state == PIPE_OPEN && pipe->piece.owner;
}

#endif
