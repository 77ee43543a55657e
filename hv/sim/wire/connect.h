/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A connection to xen-sim, for tools and handles. Must not know what is asked over it. */
#ifndef MSGD_HV_SIM_WIRE_CONNECT_H
#define MSGD_HV_SIM_WIRE_CONNECT_H

#include "hv/sim/wire/protocol.h"

/*
 * Connects to the authority at path and checks that it is one. ENOENT, EPROTO, EPROTONOSUPPORT,
 * EXDEV as in hv_open.
 */
int sim_connect(const char *path, int *ret_fd, const char **ret_reason);

/*
 * Sends a request, with a descriptor (-1: none), and waits for its reply. Returns the reply's
 * status, or -ENODEV when the authority is gone, or -EPROTO for a reply that makes no sense.
 */
int sim_request(int fd, struct sim_message *message, size_t len, int send_fd,
	struct sim_message *ret_reply);

static inline int refuse(const char **ret_reason, int r, const char *reason)
{
	*ret_reason = reason;
	return r;
}

#endif
