/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A vchan, by whatever names an API spells its calls. The calls mean what Xen's libxenvchan makes
 * of them; libxenvchan-msg(7) lists the differences. Errors are -1, or NULL,
 * and errno. As with the original, two threads must not use one vchan at the same time.
 */
#ifndef COMPAT_XENVCHAN_VCHAN_H
#define COMPAT_XENVCHAN_VCHAN_H

#include "compat/xenvchan/abi.h"

struct vchan;

/* Listens on the path's name, for one client of domain domid at a time. */
struct vchan *vchan_serve(int domid, const char *path, size_t read_min, size_t write_min);
/* Blocks until there is a server, as long as the file says. */
struct vchan *vchan_connect(int domid, const char *path);
/* The same for ever, if the domain is there. */
struct vchan *vchan_connect_sometime(int domid, const char *path);
/*
 * Blocks not at all. vchan_finish returns 1 until there is a server, then 0; the descriptor is
 * readable when it has to be called again.
 */
struct vchan *vchan_connect_later(int domid, const char *path);
int vchan_finish(struct vchan *vchan);
/* Why the last call of this thread that makes a vchan failed. */
const char *vchan_reason(void);

/* Accepts NULL. Bytes that are on their way still arrive, if the process lives, or exits soon. */
void vchan_close(struct vchan *vchan);

int vchan_read(struct vchan *vchan, void *data, size_t size);
int vchan_recv(struct vchan *vchan, void *data, size_t size);
int vchan_write(struct vchan *vchan, const void *data, size_t size);
int vchan_send(struct vchan *vchan, const void *data, size_t size);
int vchan_wait(struct vchan *vchan);
int vchan_fd(const struct vchan *vchan);
/* 0: the peer is gone, or never came; 1; 2: nobody has come yet. */
int vchan_is_open(struct vchan *vchan);
int vchan_data_ready(struct vchan *vchan);
int vchan_buffer_space(struct vchan *vchan);

/* To the structure that a program of libxenvchan is given, and back. */
struct libxenvchan *vchan_public(struct vchan *vchan);
struct vchan *vchan_of(struct libxenvchan *ctrl);

#endif
