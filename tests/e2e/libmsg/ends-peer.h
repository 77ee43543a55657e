/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The other end of a channel, in a process and a domain of its own, which does what it is told.
 * Between orders it is inside libmsg, as a program with an event loop is, and reads nothing unless
 * it was told to.
 */
#ifndef TESTS_E2E_LIBMSG_ENDS_PEER_H
#define TESTS_E2E_LIBMSG_ENDS_PEER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PEER_DOMAIN "peer"
#define PEER_NAME   "end" /* listened on by the end that accepts */

#define SAID_LEN 1000U	    /* of each message, or of so many bytes of a stream */
#define BIG_LEN	 (1U << 20) /* of a message of many fragments */
#define BIG_SEED 99U

/* Each is answered by the value of its call. */
enum order {
	ORDER_ACCEPT,	/* accepts a channel; arg: its type */
	ORDER_CONNECT,	/* connects one to the near end; arg: its type */
	ORDER_SAY,	/* sends SAID_LEN bytes; arg: the number from which they follow */
	ORDER_BEGIN,	/* sends as much of BIG_LEN bytes as finds room, and leaves libmsg then */
	ORDER_LEAVE,	/* leaves libmsg */
	ORDER_GO_ON,	/* is inside libmsg again */
	ORDER_READ,	/* reads all that comes, from now on */
	ORDER_AWAIT,	/* answers when it has read so many bytes; arg: how many */
	ORDER_HEAR,	/* receives once, waiting */
	ORDER_SHUTDOWN, /* arg: how */
	ORDER_CLOSE,
	ORDER_BREAK, /* breaks a rule of the protocol: the link is reset */
};

struct peer {
	pid_t pid;
	int fd; /* owned: orders and answers */
};

void peer_start(struct peer *peer);
/* The process is dead and gone; it was killed, unless it is dead already. */
void peer_end(struct peer *peer);

void peer_tell(struct peer *peer, enum order order, uint32_t arg);
/* Waits for the answer to the last order: a value, or a negative errno. */
ssize_t peer_answer(struct peer *peer);
ssize_t peer_do(struct peer *peer, enum order order, uint32_t arg);

#endif
