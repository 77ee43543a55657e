/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One end of a relayed connection: a channel, a descriptor, a program. The relay knows no more of
 * it than this table; no function of it blocks.
 */
#ifndef MSGD_MSGIO_RELAY_END_H
#define MSGD_MSGIO_RELAY_END_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Bytes on their way, or one message, which may be empty. */
struct piece {
	const char *data; /* borrowed: of owner's memory */
	size_t len;
	void *owner; /* owned: release frees it; NULL: there is no piece */
	void (*release)(void *owner);
};

enum take {
	TAKE_PIECE,
	TAKE_END, /* everything was taken, and the end sends no more */
};

struct end;

struct end_ops {
	/* enum take; -EAGAIN: nothing is there; another negative errno: the rest is lost. */
	int (*take)(struct end *end, struct piece *ret_piece);
	/* Everything was taken and the end sends no more, of which no event has told yet. NULL: it
	 * has. */
	bool (*ended)(const struct end *end);
	/*
	 * How many bytes it took; fewer than len: there is no more room now. -EAGAIN: there is
	 * none; -EPIPE: the end has closed, and takes no more; another negative errno.
	 */
	ssize_t (*give)(struct end *end, const char *data, size_t len);
	/* Everything was given: its end follows. A negative errno: not even that arrived. */
	int (*finish)(struct end *end);
	/* Calls end->ready when there may be something to take; when there may be room. */
	void (*wait)(struct end *end, bool in, bool out);
	/* Drops all that may still come: the other end is done. NULL: a close does that. */
	void (*ignore)(struct end *end);
	/* The other end was lost, and not all that it said was taken yet. NULL: it may wait. */
	void (*hurry)(struct end *end);
	/* It has done its work, though it did not take everything. NULL: that is not known. */
	bool (*excused)(const struct end *end);
	/*
	 * Frees the end. reset: it must not take this for the end of what was sent to it, or for
	 * the proof that what it sent was taken. A negative errno: what was given did not arrive.
	 */
	int (*close)(struct end *end, bool reset);
};

struct end {
	const struct end_ops *ops;
	int gone;    /* 0; a negative errno: it takes no more, as give would say */
	bool single; /* if it takes no more, the other direction has no use either */
	void (*ready)(void *arg);
	void *arg; /* borrowed */
};

#endif
