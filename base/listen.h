/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A listening Unix socket at a path. The agent and msgd make one where systemd gave them none;
 * xen-sim always does.
 */
#ifndef MSGD_BASE_LISTEN_H
#define MSGD_BASE_LISTEN_H

#include <sys/types.h>

/*
 * type: SOCK_STREAM or SOCK_SEQPACKET. A socket file that nobody serves any more is replaced.
 * -EADDRINUSE: a process answers there; -EEXIST: the path is no socket; -ENAMETOOLONG.
 */
int unix_listen(const char *path, int type, mode_t mode, int backlog, int *ret_fd);

#endif
