/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Errors of the command line for programs. argp and getopt say on stderr what is wrong, and end:
 * with --json their words are kept, to be said as an object.
 */
#ifndef MSGD_MSGCTL_USAGE_H
#define MSGD_MSGCTL_USAGE_H

/* Before the command line is parsed; and after that, if nothing was wrong. */
void usage_begin(char *const *argv);
void usage_good(void);

#endif
