/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgctl ping: asks an application over and over whether it answers, and says how long each stage
 * took. msgd bounds how often the application is asked.
 *
 * Included by: msgctl/command.c.
 */
#ifndef MSGD_MSGCTL_PING_H
#define MSGD_MSGCTL_PING_H

struct command_call;

/* Until so many were sent, or the user ends it. Returns the exit status. */
int ping_run(const struct command_call *call);

#endif
