/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The names that this process listens on, each shared by the servers of one path. A server has a
 * seat, on which one client sits at a time; a client of the right domain is given the first free
 * seat, or waits. All functions are called with the lock (process.h) held.
 *
 * A name is one process's, but with the original the next process may serve a path as soon as the
 * first one has its client. So a process gives the name back when none of its seats waits for a
 * client, and listens again when one does.
 */
#ifndef COMPAT_XENVCHAN_NAMES_H
#define COMPAT_XENVCHAN_NAMES_H

#include <stdbool.h>
#include <sys/queue.h>

#include "compat/xenvchan/process.h"

struct name;

struct seat {
	TAILQ_ENTRY(seat) entry;
	struct name *name; /* ref; NULL: has none */
	int domid;	   /* of the clients */
	bool wants;	   /* a client */
	bool holds;	   /* the name, also while a client is there */
	/* A client, whose socket is the seat's now, for a seat that wanted one. */
	void (*take)(struct seat *seat, struct msg_sock *sock);
	/* The name is lost, for an errno, and with it a client that the seat wanted. */
	void (*lost)(struct seat *seat, int error);
};

/*
 * Gives the seat a name. 0, or a negative errno of msg_listen(3): the seat has none. msgd's answer
 * may come later, with process_changed; then the name is the process's, or was lost.
 */
int name_join(struct msg_ctx *ctx, const char *name, struct seat *seat);
bool name_is_answered(const struct seat *seat);
/* The seat goes; accepts one without a name. */
void name_leave(struct seat *seat);
/* The seat wants a client again, after all others that do. 0, or a negative errno, and it wants
 * none. */
int name_want(struct seat *seat);
/* `wants` or `holds` has become false, or `holds` true. */
void name_update(struct seat *seat);
/* In a forked child: seats have no names, and sockets are left to the parent. */
void names_forget(void);

#endif
