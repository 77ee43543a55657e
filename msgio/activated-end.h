/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A connection that an activated program has accepted, as an end. The kernel closes a connection
 * in the same way for a program that is done with it and for one that is killed: so what looks like
 * an end is none before it is known that the program lives on, or has ended well.
 */
#ifndef MSGD_MSGIO_ACTIVATED_END_H
#define MSGD_MSGIO_ACTIVATED_END_H

#include <sys/queue.h>

#include "msgio/loop.h"
#include "msgio/relay/end.h"

struct activated_end;

/* The connections of one program. */
struct activated {
	LIST_HEAD(, activated_end) list; /* borrowed: of those that stand */
	pid_t pid;			 /* 0: it does not run */
	unsigned count;
	void (*left)(void *arg); /* one of them was closed */
	void *arg;		 /* borrowed */
};

/*
 * A connected socket, non-blocking; the end's from now on. packets: it is of SOCK_SEQPACKET. NULL:
 * out of memory, and the socket is closed.
 */
struct end *activated_end_new(struct loop *loop, int fd, bool packets, struct activated *activated);

/*
 * The program has ended, and is waited for next; the rest of its process group was not killed yet.
 * Its connections that have ended were cut if it has failed, those that have not are from now on.
 */
void activated_settle(struct activated *activated, bool failed);

#endif
