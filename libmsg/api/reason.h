/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a public call says why it failed.
 *
 * Included by: libmsg/api, tests.
 */
#ifndef LIBMSG_API_REASON_H
#define LIBMSG_API_REASON_H

#include <errno.h>

/* Sets errno and this thread's reason; returns -1. error is positive. */
int failure(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Cleaning up after a failure, or success, may set errno. The value for the caller is kept here.
 * (This model of a thread's variable spares each call two calls of the linker, and the variable is
 * small enough for it.)
 */
extern _Thread_local int kept_errno __attribute__((tls_model("initial-exec")));

#endif
