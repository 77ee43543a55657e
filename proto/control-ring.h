/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One end of a control link (PROTOCOL.md 3, 5): two grant rings, one for each direction, and the
 * control page with their counters. The application, msgd and the tests all use this endpoint.
 * The other side can write all of the shared memory at any time. Bytes are copied once and the copy
 * is checked. Messages that do not fit the ring wait in private memory, the outbox.
 *
 * The endpoint never blocks, never calls the hypervisor, and never ends the link: it tells its
 * caller to send an event, or why the link cannot go on.
 */
#ifndef MSGD_PROTO_CONTROL_RING_H
#define MSGD_PROTO_CONTROL_RING_H

#include <stdbool.h>
#include <sys/queue.h>

#include "proto/control.h"
#include "proto/doorbell.h"
#include "proto/grant-ring.h"

/*
 * Bytes of a ring, each direction: it lies in two pages, behind the head of the first and before
 * that of the second.
 */
#define CONTROL_RING_LEN    4096U
#define CONTROL_RINGS_MAGIC 0x5247534dU /* "MSGR" */

/* Each end's half of the control page is end[role]. */
enum control_ring_role {
	CONTROL_RING_APPLICATION = 0, /* the creator: its pages are shared */
	CONTROL_RING_MSGD = 1,	      /* the binder */
};

struct control_out {
	STAILQ_ENTRY(control_out) entry;
	uint32_t len;
	uint8_t bytes[];
};

struct control_ring {
	struct doorbell_end *me, *them; /* borrowed: the halves of the control page */
	struct grant_ring tx, rx;
	STAILQ_HEAD(, control_out) outbox; /* owned: messages that did not fit the ring */
	uint32_t outbox_bytes;
	bool wrote, took;   /* messages since the last publish */
	bool wants_space;   /* control_ring_try found no room, and the other side was told so */
	const char *broken; /* static: why nothing more can be sent; or NULL */
	int error;	    /* while broken: EBADMSG, the other side's doing; or ENOMEM */
};

/*
 * The heads of the rings' pages, by which msgd knows that it was given the pages of this very
 * application, before it writes to any (PROTOCOL.md 3.2). rings: the CONTROL_PAGES - 1 pages behind
 * the control page, whose head is given.
 */
void control_rings_prove(void *rings, const struct doorbell_head *head);
bool control_rings_are_proven(const void *rings, const struct doorbell_head *head);

/*
 * Starts with fresh counters, on pages that are still zero. The application does so before it
 * publishes its record. page and rings, CONTROL_PAGES - 1 pages, stay the caller's. This side
 * counts as asleep: the other side sends an event for its first message.
 */
void control_ring_init(struct control_ring *ring, struct doorbell_page *page,
	enum control_ring_role role, void *rings);

/*
 * The same at the counters that the page has. msgd does so: an earlier msgd may have used the
 * rings. Messages that the earlier msgd left unread are dropped, for the application sends them
 * again. -EBADMSG: the counters make no sense; ret_reason, in static storage, says so.
 */
int control_ring_adopt(struct control_ring *ring, struct doorbell_page *page,
	enum control_ring_role role, void *rings, const char **ret_reason);

/* Drops the outbox, as at the end of the ring's life. The ring stays usable. */
void control_ring_clear(struct control_ring *ring);

/*
 * Writes a message into the ring, or into the outbox where the ring has no room. A failure, which
 * may be lack of memory, shows in ring->broken; then nothing is sent any more.
 */
void control_ring_send(struct control_ring *ring, const struct control_message *message);

/*
 * The same without the outbox, for an owner that keeps what waits itself. False: the ring has no
 * room; the other side sends an event once it has made some. Of a ring that is broken, true:
 * nothing will ever have to wait for it.
 */
bool control_ring_try(struct control_ring *ring, const struct control_message *message);

/*
 * The same for a message of less weight, which leaves `spare` bytes of the ring to others. False
 * also while the outbox has something: it goes first.
 */
bool control_ring_try_spare(
	struct control_ring *ring, const struct control_message *message, uint32_t spare);

/*
 * Takes one message. 1: there was one, and ret_decoded is control_decode's result for it; if that
 * is negative, only type and request of ret_message are set. 0: the ring is empty. -EBADMSG: the
 * ring has no valid frame next and cannot be read any further; ret_reason, in static storage, says
 * why.
 */
int control_ring_receive(struct control_ring *ring, struct control_message *ret_message,
	int *ret_decoded, const char **ret_reason);

/*
 * Moves the outbox into the ring, as far as there is room. If some of it stays, the other side
 * sends an event once it has made room.
 */
void control_ring_flush(struct control_ring *ring);

/*
 * Says that this side goes to sleep until an event. True: there is something to read after all,
 * and this side does not count as asleep.
 */
bool control_ring_sleep(struct control_ring *ring);

/* Nothing waits to be published, or for room, and the ring is not broken. */
static inline bool control_ring_is_idle(const struct control_ring *ring)
{
	return !ring->wrote && !ring->took && STAILQ_EMPTY(&ring->outbox) && !ring->broken;
}

/*
 * Publishes both counters: the other side sees the messages written and has the room of the
 * messages taken. True: the other side sleeps, and the caller sends it one event.
 */
bool control_ring_publish(struct control_ring *ring);

/* The same for messages that the other side reads in its own time: it is woken for room alone. */
bool control_ring_publish_quietly(struct control_ring *ring);

#endif
