/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xen-sim's death by SIGKILL. In its orderly end it takes each slot back and kicks it. Killed, it
 * only leaves a closed socket, which a process that sleeps on its eventfd does not see. So the
 * kernel is asked to write that eventfd when the socket hangs up: nothing is polled, and a wake-up
 * costs what it did.
 */
#ifndef MSGD_HV_SIM_PROCESS_HANGUP_H
#define MSGD_HV_SIM_PROCESS_HANGUP_H

#include <stdbool.h>
#include <stdint.h>

/* All zero: nothing is watched. */
struct hangup {
	unsigned long context; /* of the kernel's asynchronous requests: its ring in our memory */
};

/*
 * Best effort: where the kernel refuses asynchronous requests, xen-sim's death is seen by the next
 * request to it.
 */
void hangup_watch(struct hangup *hangup, int socket, int event_fd);
/* Whether the socket has hung up. Reads memory, no more. */
bool hangup_seen(const struct hangup *hangup);
/* Before either descriptor is closed. */
void hangup_unwatch(struct hangup *hangup);

#endif
