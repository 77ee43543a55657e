/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Addresses of a connected socket, as the name of its other end. The program has one end of a pair
 * of AF_UNIX sockets and libmsg the other, which is bound to a name in the abstract namespace that
 * says both addresses. So each process that has a duplicate finds them, however it came by it: a
 * child, a program that was executed, or one that was passed the descriptor. They need no table,
 * and are gone with the socket. Nobody listens on the name, so nobody can connect to it.
 *
 * Any process may take such a name for a socket of its own. It is a label only if the program's end
 * has no name and the cookie that the label says, which hold for a pair, and no secret is needed:
 *
 *   A process that connects to a Unix socket where the program listens cannot forge a label: each
 *   socket that is accepted has the listener's name.
 *
 *   A process that listens on such a name, where the program connects to it, would have to know the
 *   cookie of the program's socket before the kernel has made it.
 *
 *   A process that makes a pair and hands the program an end of it can say any addresses: as it
 *   could relay, over a connection that is a channel's, whatever it wants.
 */
#ifndef COMPAT_VSOCK_LABEL_H
#define COMPAT_VSOCK_LABEL_H

#include <stdbool.h>
#include <stdint.h>

struct vsock_address {
	uint32_t cid, port;
};

/* fd: libmsg's end. cookie: of the program's. 0, or -errno. */
int label_set(int fd, uint64_t cookie, const struct vsock_address *local,
	const struct vsock_address *remote);
/* False: it is no connected socket of this library. fd: the program's end. */
bool label_of(int fd, struct vsock_address *ret_local, struct vsock_address *ret_remote);

#endif
