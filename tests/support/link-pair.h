/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two libmsg contexts with a link between them and no msgd: control messages stay in the control
 * ring, to be read. A grant link is in plain memory, without a hypervisor, and its events are
 * counted instead of sent; one of argo-strict is made over the emulator, in this process.
 */
#ifndef TESTS_SUPPORT_LINK_PAIR_H
#define TESTS_SUPPORT_LINK_PAIR_H

#include "libmsg/api/ctx.h"
#include "libmsg/control/request.h"
#include "libmsg/transport/argo.h"
#include "libmsg/transport/grant.h"

#define PAIR_END     7U /* the end number at both sides */
#define PAIR_CHANNEL 3U /* a channel that both know: sides[0] connected */

struct sim;

struct pair_side {
	struct hv hv; /* first: the backend of this side */
	struct msg_ctx *ctx;
	struct link *link;
	struct channel *channel;
	struct msg_sock *sock;
	uint8_t *control_ring;
	struct doorbell_page *control_page;
	struct control_ring msgd; /* the end of the control link that msgd would have */
	unsigned n_events;	  /* sent by this side */
	/* argo-strict: */
	uint16_t domid;
	struct hv *sim_hv; /* owned; NULL: its process is dead */
};

struct pair {
	struct doorbell_page *page;
	uint8_t *rings[2]; /* of sides[0] to sides[1], and back */
	uint32_t ring_len;
	struct sim *sim; /* argo-strict: owned */
	struct pair_side sides[2];
};

/* ring_pages: of each direction. Never fails (exits). */
struct pair *pair_new(uint32_t ring_pages);
/* argo-strict; ring_len: bytes. As msgd would have it made: by LINK_CREATE, LINK_BIND, LINK_UP. */
struct pair *pair_new_strict(uint32_t ring_len);
/* argo-strict: that side's process dies, as by kill -9. Its context is not to be used any more. */
void pair_kill(struct pair *pair, unsigned side);
void pair_free(struct pair *pair);
/* Reads the next control message that a side sent to msgd. False: none. */
/* Does a driver's work: takes in the frames in a side's ring, and acts on the outcome. */
void pair_take(struct pair_side *side);
/* The same, and room may have appeared. */
void pair_drive(struct pair_side *side);
/* Ends the link of a side. */
void pair_end(struct pair_side *side, enum link_cause cause, const char *reason);
bool pair_control(struct pair_side *side, struct control_message *ret_message);
/* msgd says something to a side. */
void pair_say(struct pair_side *side, const struct control_message *message);
/*
 * Writes raw bytes as the other side would, and publishes them. len: a multiple of 16. argo-strict:
 * in one message; false: the hypervisor has refused it, or that process is dead.
 */
bool pair_inject(struct pair *pair, unsigned from, const void *bytes, uint32_t len);

#endif
