/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SIGTERM and SIGINT of a service: the event loop is told, and ends the program in order. A program
 * that is asked to stop and stands in a call, of the hypervisor's or the store's, ends all the
 * same: STOP_LIMIT_S later, by SIGALRM.
 */
#ifndef MSGD_BASE_STOP_H
#define MSGD_BASE_STOP_H

/* To give everything back. More than that only another program's standstill takes. */
#define STOP_LIMIT_S 10

/* Once in a program. *ret_fd becomes readable with the first of the signals. A negative errno. */
int stop_open(int *ret_fd);
/* The signal that came; 0: none. */
int stop_signal(void);
/* Everything is given back: the rest of the end is the program's own. */
void stop_done(void);

#endif
