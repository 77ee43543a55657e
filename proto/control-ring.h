/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgd's side of one control link: two grant rings and the control page, all of which the
 * application can write at any time. Bytes are copied once and the copy is checked; what makes no
 * sense is returned as -EBADMSG with a reason, and it is the caller who drops the application.
 * Never blocks.
 */
#ifndef MSGD_PROTO_CONTROL_RING_H
#define MSGD_PROTO_CONTROL_RING_H

#include <stdbool.h>
#include <sys/queue.h>

#include "proto/control.h"
#include "proto/doorbell.h"
#include "proto/grant-ring.h"

/* Past this many bytes waiting for the application, its requests are not read. */
#define CONTROL_READ_STOP (64U << 10)
/*
 * Past this many, nobody else may add to it. The largest backlog's CHANNEL messages fit, so a
 * listener that is merely quiet is not taken for one that does not read.
 */
#define CONTROL_CONGESTED (2U << 20)

struct control_out {
	STAILQ_ENTRY(control_out) entry;
	uint32_t len;
	uint8_t bytes[];
};

struct control_ring {
	struct doorbell_page *page; /* borrowed: mapped by the attach */
	struct grant_ring in, out;
	STAILQ_HEAD(, control_out) outbox; /* owned: what did not fit the ring */
	uint32_t outbox_bytes;
	bool event_due;	    /* something was published or consumed */
	const char *broken; /* static: why nothing more can be sent, or NULL */
};

/*
 * Takes over the rings at the application's counters: what an earlier msgd left unread is
 * dropped, for the application sends it again. -EBADMSG: the counters make no sense.
 */
int control_ring_init(struct control_ring *link, struct doorbell_page *page, uint8_t *in,
	uint8_t *out, const char **ret_reason);
void control_ring_fini(struct control_ring *link);

/* Into the ring, or the outbox. A failure shows in link->broken. */
void control_ring_send(struct control_ring *link, const struct control_message *message);

/*
 * 1: a message, with what control_decode said of it. 0: nothing for now. -EBADMSG: no message at
 * all, with a reason.
 */
int control_ring_receive(struct control_ring *link, struct control_message *ret_message,
	int *ret_decoded, const char **ret_reason);

/* Moves the outbox into the ring, as far as there is room; asks for an event when there is more. */
void control_ring_flush(struct control_ring *link);

/* Before waiting for an event: true if there is something to read after all. */
bool control_ring_sleep(struct control_ring *link);

/* Publishes both counters. True: the application sleeps, and is to be sent one event. */
bool control_ring_publish(struct control_ring *link);

#endif
