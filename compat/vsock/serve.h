/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Behind the program's sockets: the context of libmsg that all of a process share, and
 * the thread that accepts, finishes connects and hears of sockets that were closed. It blocks all
 * signals, and sleeps while nothing happens. It starts with the first connect or listen. libmsg's
 * own thread moves the bytes.
 */
#ifndef COMPAT_VSOCK_SERVE_H
#define COMPAT_VSOCK_SERVE_H

#include <stdbool.h>
#include <stdint.h>

#include "compat/vsock/table.h"

/* How long a connect may take if the program does not say, in ms. */
#define SERVE_CONNECT_MS 10000

/*
 * All of these: 0, or -errno as libmsg-vsock(7) has it. fd: the program's. EBADF: it is not in the
 * table.
 */

/* Makes a socket; nonblock and cloexec are of *ret_fd. */
int serve_socket(int type, bool nonblock, bool cloexec, int *ret_fd);
int serve_bind(int fd, const struct vsock_address *address);
/* Begins a connect. It is done when fd becomes writable. */
int serve_connect(int fd, const struct vsock_address *address);
int serve_listen(int fd, int backlog);
int serve_own_cid(uint32_t *ret_cid);

/* This thread is in the library, or in libmsg for it: its calls are not for the table. */
bool serve_is_inside(void);

#endif
