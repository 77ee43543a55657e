/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See pipe.h. */
#include "msgio/relay/pipe.h"

#include <errno.h>

/*
 * A turn: half a MiB of a stream at most. Other connections wait for so long, which is some hundred
 * microseconds.
 */
#define TURN_PIECES 8U

static void piece_free(struct piece *piece)
{
	if (piece->owner)
		piece->release(piece->owner);
	*piece = (struct piece){.owner = NULL};
}

void pipe_fini(struct pipe *pipe)
{
	piece_free(&pipe->piece);
}

/* The one place where the state changes. */
static void pipe_stop(struct pipe *pipe, enum pipe_state state, int error)
{
	pipe->state = state;
	pipe->error = -error;
	pipe->lost = pipe->piece.owner;
	piece_free(&pipe->piece);
}

static void pipe_end(struct pipe *pipe)
{
	int r = pipe->to->ops->finish(pipe->to);

	if (r < 0)
		pipe_stop(pipe, PIPE_BROKEN, r);
	else
		pipe_stop(pipe, PIPE_ENDED, 0);
}

/* `to` has closed. An end that `from` had come to before is one, though its event comes later. */
static void pipe_gone(struct pipe *pipe)
{
	const struct end *from = pipe->from;

	if (from->ops->ended && from->ops->ended(from))
		pipe_stop(pipe, PIPE_ENDED, 0);
	else
		pipe_stop(pipe, PIPE_BROKEN, pipe->to->gone);
}

/* True: there is a piece. */
static bool pipe_take(struct pipe *pipe)
{
	int r = pipe->from->ops->take(pipe->from, &pipe->piece);

	if (r == TAKE_PIECE)
		return true;
	if (r == TAKE_END)
		pipe_end(pipe);
	else if (r != -EAGAIN)
		pipe_stop(pipe, PIPE_CUT, r);
	else if (pipe->to->gone)
		pipe_gone(pipe);
	return false;
}

/* True: the piece is gone. */
static bool pipe_give(struct pipe *pipe)
{
	struct piece *piece = &pipe->piece;
	ssize_t n = pipe->to->ops->give(pipe->to, piece->data, piece->len);

	if (n < 0) {
		if (n != -EAGAIN)
			pipe_stop(pipe, PIPE_BROKEN, (int)n);
		return false;
	}
	piece->data += n;
	piece->len -= (size_t)n;
	if (piece->len)
		return false;
	piece_free(piece);
	return true;
}

void pipe_refuse(struct pipe *pipe, struct pipe *other)
{
	struct piece piece = {.owner = NULL};
	int r;

	if (!pipe_may_refuse(pipe, other))
		return;
	r = pipe->from->ops->take(pipe->from, &piece);
	if (r == TAKE_PIECE) {
		piece_free(&piece);
		pipe_stop(other, PIPE_CUT, -pipe->error);
	} else if (r != -EAGAIN) {
		pipe->mute = true;
	}
}

void pipe_run(struct pipe *pipe)
{
	for (unsigned n = 0; n < TURN_PIECES && pipe->state == PIPE_OPEN; n++) {
		if (!pipe->piece.owner && !pipe_take(pipe))
			return;
		if (!pipe_give(pipe))
			return;
	}
}
