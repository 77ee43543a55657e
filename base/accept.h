/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Accepting in an event loop, by a process that may be short of descriptors or memory: a listening
 * socket with a connection that cannot be accepted stays readable, and a loop that only tries again
 * takes the whole processor. Here a descriptor is kept in reserve, by which such a connection is
 * accepted and closed, so that its other end learns it at once. If not even that can be done, the
 * socket is not looked at for a while.
 */
#ifndef MSGD_BASE_ACCEPT_H
#define MSGD_BASE_ACCEPT_H

struct acceptor;
struct event_base;

/*
 * fd: a connection, which is the callee's from now on. Or -errno: connections are refused, for that
 * reason, from now until the next one that is not; told once.
 */
typedef void accept_fn(void *arg, int fd);

/* listen_fd stays the caller's, and is closed after the acceptor was freed. NULL: out of memory. */
struct acceptor *acceptor_new(struct event_base *base, int listen_fd, accept_fn *fn, void *arg);
/* Accepts NULL. */
void acceptor_free(struct acceptor *acceptor);

#endif
