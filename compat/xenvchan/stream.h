/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A channel with what the original's rings promise: bytes lie ready at this end although the
 * program does not call, and as much as the other queue has room for is sent without waiting. The
 * limits of the two queues are the sizes of the rings. All functions are called with the lock
 * (process.h) held, and none blocks.
 *
 * The descriptor is an eventfd. It is readable from an event on until the program waits, as an
 * event channel is. Events are: bytes came, bytes that had found no room left, the end.
 */
#ifndef COMPAT_XENVCHAN_STREAM_H
#define COMPAT_XENVCHAN_STREAM_H

#include <stdbool.h>

#include "compat/xenvchan/bytes.h"
#include "compat/xenvchan/process.h"

struct stream {
	struct msg_sock *sock; /* owned; NULL: none */
	struct bytes in, out;
	int fd;	     /* owned */
	bool over;   /* the peer is gone */
	bool armed;  /* the thread hears of bytes that come */
	bool unseen; /* bytes were taken in that the program has not looked for */
};

/* 0 or a negative errno. */
int stream_init(struct stream *stream, size_t in_limit, size_t out_limit);
/* Takes the socket, after stream_detach; what waits in `out` goes to the new peer. */
void stream_attach(struct stream *stream, struct msg_sock *sock, struct watcher *watcher);
/* Closes the socket. The queues stay. */
void stream_detach(struct stream *stream);
/* Frees what the stream has. */
void stream_destroy(struct stream *stream);

/* Makes the descriptor readable. */
void stream_signal(const struct stream *stream);

/* The thread's: of the events of the socket. */
void stream_events(struct stream *stream, short revents);
/* The program's look at what came: takes it in, as far as there is room. */
void stream_look(struct stream *stream);

/* Takes up to len bytes; returns how many. */
size_t stream_read(struct stream *stream, void *data, size_t len);
/*
 * Sends up to len bytes, as many as find room; returns how many: bytes_room(&out) at least, unless
 * the stream ends, as it does for lack of memory, too.
 */
size_t stream_write(struct stream *stream, const void *data, size_t len);

#endif
