/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One direction of a relayed connection: takes pieces at one end and gives them at the other. It
 * holds one piece at most, and takes the next when that is gone: so the reader's pace is the
 * writer's.
 */
#ifndef MSGD_MSGIO_RELAY_PIPE_H
#define MSGD_MSGIO_RELAY_PIPE_H

#include <errno.h>

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
	bool mute; /* of BROKEN: `from` has nothing more to say */
};

/* Moves pieces until there is none, or no room, or a turn is over. */
void pipe_run(struct pipe *pipe);
/*
 * `to` was lost, and what it said last waits in the other direction until `from` takes it. If
 * `from` goes on talking meanwhile, nobody listens: it may wait for that before it takes anything,
 * for ever. The other direction is then cut.
 */
void pipe_refuse(struct pipe *pipe, struct pipe *other);
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

/* The input and output of a single end are of others, of which none waits for the other. */
static inline bool pipe_may_refuse(const struct pipe *pipe, const struct pipe *other)
{
	return pipe->state == PIPE_BROKEN && pipe->error == ECONNRESET && !pipe->mute &&
	       !pipe->from->single && pipe_wants_out(other);
}

#endif
