/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The process' end of the socket to xen-sim, and the tools' (xen-sim list and so on). */
#ifndef MSGD_HV_SIM_PROCESS_CLIENT_H
#define MSGD_HV_SIM_PROCESS_CLIENT_H

#include "hv/hv.h"
#include "hv/sim/wire/protocol.h"

/* spec: "PATH" or "PATH#DOMAIN"; see hv_open. *ret_reason is set on failure. */
int hv_open_sim(const char *spec, struct hv **ret_hv, const char **ret_reason);

/*
 * Connects to the authority at path and checks that it is one. ENOENT, EPROTO, EPROTONOSUPPORT,
 * EXDEV as in hv_open.
 */
int sim_connect(const char *path, int *ret_fd, const char **ret_reason);

/*
 * One request, with a descriptor to send (-1: none), and its reply. Returns the reply's status, or
 * -ENODEV when the authority is gone, or -EPROTO for a reply that makes no sense.
 */
int sim_request(int fd, struct sim_message *message, size_t len, int send_fd,
	struct sim_message *ret_reply);

#endif
