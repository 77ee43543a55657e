/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A vchan and its life: a server's clients one after the other, a client's one server.
 * Functions are called with the lock (process.h) held, but for vchan_close.
 *
 * Included by: compat/xenvchan.
 */
#ifndef COMPAT_XENVCHAN_STATE_H
#define COMPAT_XENVCHAN_STATE_H

#include "compat/xenvchan/names.h"
#include "compat/xenvchan/stream.h"
#include "compat/xenvchan/vchan.h"

enum vchan_state {
	VCHAN_CONNECTING, /* a client without a server yet */
	VCHAN_WAITING,	  /* a server that had no client yet */
	VCHAN_OPEN,
	VCHAN_ENDED
};

struct vchan {
	struct libxenvchan pub; /* first: the program has its address */
	LIST_ENTRY(vchan) entry;
	struct watcher watcher;
	struct seat seat;	     /* of a server */
	struct msg_sock *connecting; /* owned; of a client without a server yet */
	int error;		     /* why it has none */
	char why[128];
	struct stream stream;
	enum vchan_state state;
	bool end_seen; /* the program knows, and may wait for the next client */
	bool closing;  /* the program has closed it; its last bytes are on their way */
	struct vchan_interface page; /* last: an array without a length ends it */
};

/* Sets the state, also for programs that look into the page themselves. */
void vchan_state_set(struct vchan *vchan, enum vchan_state state);
/* From here on the vchan is one of the process's. */
void vchan_publish(struct vchan *vchan);

/* At the beginning of a call: the program may have set server_persist. */
void vchan_persist_check(struct vchan *vchan);
/* After anything was done with the stream. */
void vchan_end_check(struct vchan *vchan);
/* The same, and what vchan_is_open returns. */
int vchan_open(struct vchan *vchan);
/* Has a server whose client is gone look for the next one, if the program knows of that. */
void vchan_next_check(struct vchan *vchan);

/* A seat's take and lost, and a socket's watcher. */
void vchan_on_take(struct seat *seat, struct msg_sock *sock);
void vchan_on_lost(struct seat *seat, int error);
void vchan_on_events(struct watcher *watcher, struct msg_sock *sock, short revents);

#endif
