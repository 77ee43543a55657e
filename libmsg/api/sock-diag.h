/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Asks the kernel about a local socket that another process may have: sock_diag(7).
 *
 * Included by: libmsg/api, tests.
 */
#ifndef LIBMSG_API_SOCK_DIAG_H
#define LIBMSG_API_SOCK_DIAG_H

#include <sys/types.h>

/* Bytes that may lie unread of what this AF_UNIX socket has sent (SO_SNDBUF). -errno: not told. */
int sock_diag_sndbuf(ino_t inode);
/* The other end of this one. 0, or -errno: not told. */
int sock_diag_peer(ino_t inode, ino_t *ret_peer);

#endif
