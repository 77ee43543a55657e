/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting a program. */
#ifndef MSGD_MSGIO_PROGRAM_H
#define MSGD_MSGIO_PROGRAM_H

#include <sys/types.h>

#include "libmsg/libmsg.h"

/* 0: it is there, and may be run. A negative errno. */
int program_check(const char *name);

/*
 * Starts it in a process group of its own, with these descriptors as standard input and output, and
 * with the peer in its environment. A negative errno.
 */
int program_start(
	char **program, int in_fd, int out_fd, const struct msg_peer *peer, pid_t *ret_pid);

#endif
