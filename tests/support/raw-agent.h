/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A client of msg-agent, or of msgd's attach socket, that can ask for what libmsg never would. Each
 * call ends the program if the agent does not answer; errors are the agent's, as it says them.
 */
#ifndef TESTS_SUPPORT_RAW_AGENT_H
#define TESTS_SUPPORT_RAW_AGENT_H

#include "hv/xen/agent-protocol.h"

/* The socket, connected. */
int raw_agent_connect(const char *path);
/* The parcel's descriptors are the caller's; raw_app_init_parcel takes them. */
uint32_t raw_agent_parcel(int fd, struct hv_parcel *ret_parcel);
uint32_t raw_agent_publish(int fd, const char *key, const void *value, size_t len);

#endif
