/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rules of libmsg.h whose breach has a thread use memory that another one has freed. A library
 * with assertions ends the program that breaks one, with a sentence that names the object and the
 * call.
 *
 * Included by: libmsg/api.
 */
#ifndef LIBMSG_API_MISUSE_H
#define LIBMSG_API_MISUSE_H

#include "libmsg/wait/driver.h"

#ifdef NDEBUG
#define MISUSE_IS_CAUGHT false
#else
#define MISUSE_IS_CAUGHT true
#endif

/*
 * A call begins to sleep for a socket, and needs it again afterwards: none may while it is closed.
 * call: static, its name.
 */
void sock_sleeps(struct msg_sock *sock, const char *call);

/* The end of such a sleep. */
static inline void sock_woke(struct msg_sock *sock)
{
	sock->n_asleep--;
}

/* No thread may sleep for a socket that is closed. */
void misuse_check_close(struct msg_sock *sock);
/* No thread may be in a call of a context that is closed. */
void misuse_check_ctx_close(const struct driver *driver);

#endif
