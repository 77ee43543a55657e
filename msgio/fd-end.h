/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptors as an end of a connection: a socket, or one to read from and one to write to. */
#ifndef MSGD_MSGIO_FD_END_H
#define MSGD_MSGIO_FD_END_H

#include "msgio/loop.h"
#include "msgio/relay/end.h"

/*
 * A connected socket, non-blocking; the end's from now on. packets: it is of SOCK_SEQPACKET. NULL:
 * out of memory, and the socket is closed.
 */
struct end *socket_end_new(struct loop *loop, int fd, bool packets);

/* ---- for ends that have more to them -------------------------------------------------------- */

struct fd_end {
	struct end end;
	int in_fd, out_fd;		    /* owned; -1: closed; the same number: a socket */
	struct event *in_event, *out_event; /* owned */
	size_t size;			    /* of a read */
	bool is_socket, packets;	    /* out_fd is a socket; both are, of SOCK_SEQPACKET */
	bool may_block; /* out_fd is another's as well, and cannot be non-blocking */
	bool readable;	/* in_fd was, in this turn */
};

/* The descriptors are the end's from now on, also if it fails. -ENOMEM. */
int fd_end_init(struct fd_end *fds, struct loop *loop, int in_fd, int out_fd, int type);
/* The same of a socket: as for socket_end_new. */
int socket_end_init(struct fd_end *fds, struct loop *loop, int fd, bool packets);
int fd_end_take(struct end *end, struct piece *ret_piece);
ssize_t fd_end_give(struct end *end, const char *data, size_t len);
int fd_end_finish(struct end *end);
void fd_end_wait(struct end *end, bool in, bool out);
/* More than once does no harm. */
void fd_end_fini(struct fd_end *fds);

#endif
