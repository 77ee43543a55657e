/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The descriptors of msg_sock_fd, all of one context, and the thread that serves them.
 *
 * Included by: libmsg/api.
 */
#ifndef LIBMSG_API_FDS_H
#define LIBMSG_API_FDS_H

struct fds;

/* Ends the thread; channels that still stand are cut. fds NULL: does nothing. Without the lock. */
void fds_free(struct fds *fds);

#endif
