/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The sockets of this process that are not connected. A socket is found by its cookie, which the
 * kernel gives no other one, and not by the number of a descriptor: duplicates are the same socket,
 * and a number that was closed and given to something else is none.
 *
 * A socket is one end of a pair of AF_UNIX sockets from the beginning, and never another file:
 * what a program has duplicated, or put into a set of epoll(7), before it connects or listens stays
 * valid. The library has the other end, and does the following with it:
 *
 *   connecting: The program's end is full, so that it is not writable, until the connect is done.
 *   The kernel then tells whoever waits for it, as with any socket.
 *
 *   connected: libmsg serves the other end (msg_sock_serve), the label says the addresses, and the
 *   socket leaves the table.
 *
 *   listening: Descriptors of accepted connections are sent through the pair. So the program's end
 *   is readable when there is one, and any process that has it may accept. A few lie in the pair;
 *   what waits besides is the backlog of msgd's listener.
 *
 * The other end is closed when the program's end is, in whatever process the last duplicate was.
 */
#ifndef COMPAT_VSOCK_TABLE_H
#define COMPAT_VSOCK_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compat/vsock/label.h"
#include "libmsg/libmsg.h"

/* ASKING: a call of listen(2) waits for msgd, without a lock; nobody else ends the socket. */
enum vsock_state { VSOCK_IDLE, VSOCK_CONNECTING, VSOCK_ASKING, VSOCK_LISTENING };

/* SO_VM_SOCKETS_BUFFER_SIZE, _MIN_SIZE and _MAX_SIZE are 0 to 2. */
#define VSOCK_N_SIZES 3
/* By default: as the kernel has them. */
#define VSOCK_SIZES                                                                                \
	{                                                                                          \
		262144, 128, 262144                                                                \
	}

struct vsock {
	uint64_t cookie;
	int type; /* SOCK_STREAM or SOCK_SEQPACKET */
	/* Under the table's lock; set under both. */
	enum vsock_state state;
	bool bound;
	struct vsock_address local, remote;
	int error; /* of a connect, for SO_ERROR */
	uint64_t sizes[VSOCK_N_SIZES];
	bool sized; /* the program has set the first */
	int timeout_ms;
	/* Under the lock of serve.h. */
	int fd;		       /* owned: the library's end; -1: it was the parent's */
	size_t filled;	       /* bytes or messages that fill the program's end */
	struct msg_sock *sock; /* owned: of a connect or a listener; or NULL */
};

/* The lock is held for a short time only, and nothing is called under it. */
void table_lock(void);
void table_unlock(void);

/* Under the lock. NULL: the descriptor is none of the table's. */
struct vsock *table_find(int fd);
/* The same without the lock, which the caller has afterwards, unless it is NULL. */
struct vsock *table_hold(int fd);
/* 0, or -ENOMEM. */
int table_add(struct vsock *vsock);
void table_remove(struct vsock *vsock);
/* The first of which fn says so, or NULL. */
struct vsock *table_search(bool (*fn)(struct vsock *vsock, const void *arg), const void *arg);

/*
 * Without the lock, and without waiting: other programs' calls, and those on other sockets, must
 * not hang in a signal handler, nor in a child that was forked while another thread had the lock.
 */

/* The descriptor is in the table. */
bool table_has(int fd);

/*
 * Before the first socket, and whatever else has this library's locks. Waits for forks that have
 * begun without them.
 */
void table_use(void);
/* True: the locks have to be taken. False: until table_fork_ends nobody has them. */
bool table_fork_begins(void);
/* In either process: what table_fork_begins said. */
bool table_fork_ends(bool child);

#endif
