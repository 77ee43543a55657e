/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See packet.c. */
#ifndef MSGD_HV_SIM_WIRE_PACKET_H
#define MSGD_HV_SIM_WIRE_PACKET_H

#include <stddef.h>
#include <sys/types.h>

#include "hv/sim/wire/protocol.h"

/* Writes the magic and the version into the message first. flags as of sendmsg(2). */
int packet_send(int fd, struct sim_message *m, size_t len, const int *fds, size_t n_fds, int flags);

/*
 * The packet's length, 0 at the end, or a negative errno. EPROTO: not one of ours. EMFILE: it
 * is there, but this process has no room for its descriptors, which are lost. The descriptors that
 * came with it (others -1) are the caller's.
 */
ssize_t packet_recv(int fd, struct sim_message *ret_message, int ret_fds[SIM_FDS_MAX], int flags);
void packet_close_fds(int fds[SIM_FDS_MAX]);

#endif
