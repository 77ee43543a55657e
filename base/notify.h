/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Telling the service manager, without waiting: nobody may read its socket, and it may be full. */
#ifndef MSGD_BASE_NOTIFY_H
#define MSGD_BASE_NOTIFY_H

/*
 * Sends the text, lines of NAME=VALUE, to $NOTIFY_SOCKET. 0: sent, or there is no such socket;
 * -EAGAIN: the socket is full; or another negative errno.
 */
int notify_send(const char *text);

#define NOTIFY_FDS_MAX 2U

/* The same with descriptors, which stay the caller's. -ENOTCONN: there is no such socket. */
int notify_send_fds(const char *text, const int *fds, unsigned n_fds);

#endif
