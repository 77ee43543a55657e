/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting a program. */
#ifndef MSGD_MSGIO_PROGRAM_H
#define MSGD_MSGIO_PROGRAM_H

#include <stdbool.h>
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

/*
 * Starts it in a process group of its own, as systemd starts a program that is socket-activated:
 * listen_fd is its descriptor 3, and sd_listen_fds(3) says so. It has no standard input, and its
 * output goes where errors go. A negative errno. A program that cannot be run ends with status 127.
 */
int program_activate(char **program, int listen_fd, const char *name, pid_t *ret_pid);

/*
 * It exits, or is about to be killed, or has ended: the kernel may have closed what it had open for
 * that reason. False also where that is not to be seen, as of another user's.
 */
bool program_is_ending(pid_t pid);

/* As many descriptors as this process may have; programs have as many as before. */
void descriptors_raise(void);

#endif
