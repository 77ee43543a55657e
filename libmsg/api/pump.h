/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One channel, and the local socket that stands for it. Moves what comes at one to the other, and
 * never blocks. Holds no thread and knows of no other pump.
 *
 * A program that has the other end of the local socket must be able to tell a channel that ended
 * from one that was cut, also if this process is killed. The kernel says ECONNRESET to a socket
 * whose other end is closed while it has something unread. So this end always leaves something
 * unread: the last byte, or message, that was passed on stays in the socket's queue until the next
 * one has been passed on, too. A first one is put there before the program gets its end. It is
 * taken out only where the channel has ended as it should; and where the program has made
 * SO_SNDBUF so small that it would wait for ever for room that this one takes.
 *
 * Included by: libmsg/api, tests.
 */
#ifndef LIBMSG_API_PUMP_H
#define LIBMSG_API_PUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "libmsg/libmsg.h"

/*
 * Bytes that a writer may have in a local socket: what the kernel lets anybody have by default
 * (net.core.wmem_max), which it doubles.
 */
#define PUMP_SNDBUF 212992

/*
 * The longest message. The one that stays unread counts against the writer, whom the kernel wakes
 * only when a quarter of PUMP_SNDBUF or less is in use: with what the kernel needs besides, a
 * message of this length does not take so much. (Of bytes, the kernel makes pieces of 36 KiB.)
 */
#define PUMP_MESSAGE_MAX 65536U

/* A program that makes its SO_SNDBUF small waits for as many seconds, at most, and once. */
#define PUMP_TICKS 64U

/* One read's bytes. */
#define PUMP_SCRATCH 131072U

struct pump {
	struct msg_sock *sock; /* owned; set after pump_open; does not block */
	int fd;		       /* owned: this end of the local socket */
	bool messages;	       /* of LIBMSG_SEQPACKET */
	uint32_t seen;	       /* EPOLLRDHUP, EPOLLHUP, EPOLLERR: the program's end, as told */
	bool hears;	       /* messages of the channel are events */
	bool program_served;   /* the program was told the end, or does not read any more */
	bool peer_served;      /* likewise the peer */
	bool lost;	       /* something came for a program that does not read any more */
	ino_t program;	       /* the other end's inode */
	int sndbuf;	       /* the program's SO_SNDBUF at first */
	bool keeps;	       /* leaves something unread */
	size_t kept;	       /* bytes that were passed on and stay in the queue */
	unsigned quiet;	       /* calls of pump_tick since something came from the program */
	bool empty_waits;      /* an empty message was looked at, and found no room */
	char *rest;	       /* owned: what found no room in the local socket; NULL: nothing */
	size_t rest_len, rest_at;
};

enum pump_outcome {
	PUMP_WAITS = 0, /* for either side */
	PUMP_GOES_ON,	/* its turn is over: another one is due */
	PUMP_ENDED,	/* both sides know */
	PUMP_CUT,	/* both sides are to see ECONNRESET */
};

/* Makes the local socket. *ret_fd is the program's end, which the caller owns. 0, or -errno. */
int pump_open(struct pump *pump, bool messages, int *ret_fd);
/*
 * The same with a local socket that the program has already: fd is the other end, of which the pump
 * has a duplicate. It must have a byte, or a message of one, unread. 0, or -errno: EINVAL: fd is
 * not as above.
 */
int pump_adopt(struct pump *pump, bool messages, int fd);
/* Moves what it can, a turn of it. scratch: PUMP_SCRATCH bytes, of which nothing is kept. */
enum pump_outcome pump_run(struct pump *pump, char *scratch);
/* Bytes, and one for an end, that the peer is to be sent and that are the program's still. */
size_t pump_left(const struct pump *pump);
/*
 * If nothing comes any more, the program may wait for room, since it has made its SO_SNDBUF small:
 * that is looked at ever more seldom. To be called each second until it returns PUMP_TICKS, and
 * then once in so many. Returns 0 if it need not be called any more.
 */
unsigned pump_tick(struct pump *pump);
/*
 * Closes the channel, by what pump_run said, or PUMP_CUT. The caller closes the local socket, which
 * then tells the program. scratch: as of pump_run.
 */
void pump_fini(struct pump *pump, enum pump_outcome outcome, char *scratch);

#endif
