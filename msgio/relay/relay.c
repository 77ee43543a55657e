/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See relay.h. */
#include "msgio/relay/relay.h"

#include <errno.h>

void relay_init(struct relay *relay, struct end *a, struct end *b)
{
	*relay = (struct relay){
		.a = a,
		.b = b,
		.there = {.from = a, .to = b},
		.back = {.from = b, .to = a},
	};
}

/*
 * Nothing good can come of the other direction any more. An end that takes no more may still have
 * something to say, and an end that was reset says so in its turn, after all that has arrived.
 */
static bool pipe_ends_all(const struct pipe *pipe)
{
	if (pipe->state == PIPE_BROKEN)
		return pipe->to->single || (pipe->error != EPIPE && pipe->error != ECONNRESET);
	return pipe->state == PIPE_CUT;
}

static bool relay_is_over(const struct relay *relay)
{
	return pipe_ends_all(&relay->there) || pipe_ends_all(&relay->back) ||
	       (relay->there.state != PIPE_OPEN && relay->back.state != PIPE_OPEN);
}

/* No event tells again of what a call has told. */
static bool has_heard(const struct relay *relay)
{
	return relay->a->gone || relay->b->gone || relay->back.state == PIPE_BROKEN;
}

/*
 * In saying that it sends no more an end may say that it takes no more; and in refusing to take it
 * may say that it is lost, which a take says after all that has arrived.
 */
static void run_pipes(struct relay *relay)
{
	bool heard;

	do {
		heard = has_heard(relay);
		pipe_run(&relay->there);
		pipe_run(&relay->back);
	} while (!heard && has_heard(relay));
}

static bool wants_in(const struct pipe *pipe, const struct pipe *other)
{
	return pipe_wants_in(pipe) || pipe_may_refuse(pipe, other);
}

/* Of the loss the end hears when it has taken what came before. */
static void pipe_hurry(const struct pipe *pipe)
{
	if (pipe->from->gone == -ECONNRESET && pipe_wants_out(pipe) && pipe->to->ops->hurry)
		pipe->to->ops->hurry(pipe->to);
}

bool relay_run(struct relay *relay)
{
	struct pipe *there = &relay->there, *back = &relay->back;

	run_pipes(relay);
	pipe_refuse(there, back);
	pipe_refuse(back, there);
	if (relay_is_over(relay))
		return true;
	pipe_hurry(there);
	pipe_hurry(back);
	relay->a->ops->wait(relay->a, wants_in(there, back), pipe_wants_out(back));
	relay->b->ops->wait(relay->b, wants_in(back, there), pipe_wants_out(there));
	return false;
}

/* The cause of an end's loss is what reading says. */
int relay_error(const struct relay *relay)
{
	if (relay->there.state == PIPE_CUT)
		return relay->there.error;
	if (relay->back.state == PIPE_CUT)
		return relay->back.error;
	if (relay->there.state == PIPE_BROKEN && relay->there.error != EPIPE)
		return relay->there.error;
	return relay->back.state == PIPE_BROKEN && relay->back.error != EPIPE ? relay->back.error
									      : 0;
}

static bool end_is_excused(const struct end *end)
{
	return end->ops->excused && end->ops->excused(end);
}

/* in: to the end; out: from it. */
static bool needs_reset(const struct pipe *in, const struct pipe *out)
{
	/* It would take the close for the end of what it was to get. */
	if (in->state == PIPE_OPEN || in->state == PIPE_CUT)
		return true;
	/* It would take the close for the proof that what it sent was taken. */
	if (out->state == PIPE_BROKEN)
		return out->error != EPIPE || (out->lost && !end_is_excused(out->to));
	return out->state != PIPE_ENDED;
}

static void end_prepare(struct end *end, const struct pipe *out)
{
	if (out->state == PIPE_BROKEN && end->ops->ignore && end_is_excused(out->to))
		end->ops->ignore(end);
}

int relay_fini(struct relay *relay)
{
	bool reset_a = needs_reset(&relay->back, &relay->there);
	bool reset_b = needs_reset(&relay->there, &relay->back);
	int a, b;

	end_prepare(relay->a, &relay->there);
	end_prepare(relay->b, &relay->back);
	pipe_fini(&relay->there);
	pipe_fini(&relay->back);
	a = relay->a->ops->close(relay->a, reset_a);
	b = relay->b->ops->close(relay->b, reset_b);
	return a < 0 ? a : b;
}
