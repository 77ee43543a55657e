/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * `msgctl capture`: frames as msgd tells of them, for people, as JSON, or as pcapng (packet.h).
 *
 * Included by: msgctl/command.c.
 */
#ifndef MSGD_MSGCTL_CAPTURE_H
#define MSGD_MSGCTL_CAPTURE_H

#include "msgctl/command.h"

/* Until it is enough, or the user ends it. As struct command's run. */
int capture_run(const struct command_call *call);

#endif
