/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An end that does as a test says, and remembers what was done to it. */
#ifndef TESTS_UNIT_MSGIO_FAKE_END_H
#define TESTS_UNIT_MSGIO_FAKE_END_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "msgio/relay/end.h"

enum closed {
	NOT_CLOSED,
	CLOSED,
	WAS_RESET,
};

struct fake {
	struct end end;
	/* taking: texts one after the other, then this: TAKE_END or -errno; 0: nothing yet */
	const char *const *in;
	int then, gone_then;
	unsigned n_taken;
	/* giving: so many bytes find room; after that this: 0: -EAGAIN */
	size_t room;
	int refusal, refused_then; /* and with it, taking comes to that; 0: as before */
	char got[256];
	size_t got_len;
	unsigned n_given; /* pieces and parts of them */
	int finish_error;
	bool has_ended, finished, wants_in, wants_out, ignored, is_excused, hurried;
	enum closed closed;
	int close_error;
};

static unsigned fake_pieces, fake_pieces_most; /* that are held now; ever */

static void fake_release(void *owner)
{
	fake_pieces--;
	free(owner);
}

static int fake_take(struct end *end, struct piece *ret_piece)
{
	struct fake *fake = container_of(end, struct fake, end);
	char *text;

	if (!fake->in || !*fake->in) {
		if (fake->gone_then)
			fake->end.gone = fake->gone_then;
		return fake->then ? fake->then : -EAGAIN;
	}
	text = strdup(*fake->in++);
	fake->n_taken++;
	fake_pieces++;
	if (fake_pieces > fake_pieces_most)
		fake_pieces_most = fake_pieces;
	*ret_piece = (struct piece){
		.data = text, .len = strlen(text), .owner = text, .release = fake_release};
	return TAKE_PIECE;
}

static bool fake_ended(const struct end *end)
{
	return container_of(end, const struct fake, end)->has_ended;
}

static ssize_t fake_give(struct end *end, const char *data, size_t len)
{
	struct fake *fake = container_of(end, struct fake, end);
	size_t n = len < fake->room ? len : fake->room;

	if (len && !n) {
		if (fake->refused_then)
			fake->then = fake->refused_then;
		return fake->refusal ? fake->refusal : -EAGAIN;
	}
	memcpy(fake->got + fake->got_len, data, n);
	fake->got_len += n;
	fake->room -= n;
	fake->n_given++;
	return (ssize_t)n;
}

static int fake_finish(struct end *end)
{
	struct fake *fake = container_of(end, struct fake, end);

	fake->finished = true;
	return fake->finish_error;
}

static void fake_wait(struct end *end, bool in, bool out)
{
	struct fake *fake = container_of(end, struct fake, end);

	fake->wants_in = in;
	fake->wants_out = out;
}

static void fake_ignore(struct end *end)
{
	container_of(end, struct fake, end)->ignored = true;
}

static void fake_hurry(struct end *end)
{
	container_of(end, struct fake, end)->hurried = true;
}

static bool fake_excused(const struct end *end)
{
	return container_of(end, const struct fake, end)->is_excused;
}

static int fake_close(struct end *end, bool reset)
{
	struct fake *fake = container_of(end, struct fake, end);

	fake->closed = reset ? WAS_RESET : CLOSED;
	return fake->close_error;
}

static const struct end_ops fake_ops = {
	.take = fake_take,
	.ended = fake_ended,
	.give = fake_give,
	.finish = fake_finish,
	.wait = fake_wait,
	.ignore = fake_ignore,
	.hurry = fake_hurry,
	.excused = fake_excused,
	.close = fake_close,
};

#endif
