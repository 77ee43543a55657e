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

/* Ports of a side: the control link's, and the grant link's. */
#define PAIR_PORT_CONTROL 1U
#define PAIR_PORT_LINK	  2U

struct sim;
struct pair;

struct pair_side {
	struct hv hv; /* first: the backend of this side */
	struct pair *pair;
	struct msg_ctx *ctx;
	struct link *link;
	struct channel *channel;
	struct msg_sock *sock;
	uint8_t *control_ring;
	struct doorbell_page *control_page;
	struct control_ring msgd; /* the end of the control link that msgd would have */
	unsigned n_events;	  /* sent by this side */
	/* The grant link's clock moves so far each time it is read. 0: it is the real one. */
	uint64_t clock_step_ns;
	uint64_t clock_ns;
	/* After pair_events: */
	int event_fd;		  /* owned; -1 before */
	_Atomic uint32_t pending; /* events that came: a bit for each port */
	/* Called, with the context's lock, when a thread of this side is about to sleep in poll. */
	void (*on_sleep)(struct pair_side *side);
	unsigned n_sleeps;
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
/*
 * For cmocka: a pair with rings of 4 pages, whose channels have said what they say at first; its
 * end; its sides.
 */
int pair_setup(void **state);
int pair_teardown(void **state);
static inline struct pair_side *pair_side_of(void **state, unsigned side)
{
	return &((struct pair *)*state)->sides[side];
}
/* argo-strict: that side's process dies, as by kill -9. Its context is not to be used any more. */
void pair_kill(struct pair *pair, unsigned side);
void pair_free(struct pair *pair);
/*
 * A grant link's events are delivered from now on, so that calls may block: those of a side to the
 * other side, and those that pair_raise makes.
 */
void pair_events(struct pair *pair);
void pair_raise(struct pair_side *side, uint32_t port);
/* The end of one more channel at a side, with a non-blocking socket. connected: this end did. */
struct msg_sock *pair_channel_of(
	struct pair_side *side, uint32_t number, enum channel_type type, bool connected);
/* The same of SEQPACKET. */
struct msg_sock *pair_channel(struct pair_side *side, uint32_t number, bool connected);
/* Both ends of one: sides[0] has connected, and sides[1] has taken its first frame. */
void pair_channels(struct pair *pair, uint32_t number, enum channel_type type,
	struct msg_sock **ret_near, struct msg_sock **ret_far);
/* Does a driver's work: takes in the frames in a side's ring, and acts on the outcome. */
void pair_take(struct pair_side *side);
/* The same, and room may have appeared. */
void pair_drive(struct pair_side *side);
/* Ends the link of a side. */
void pair_end(struct pair_side *side, enum link_cause cause, const char *reason);
/* Reads the next control message that a side sent to msgd. False: none. */
bool pair_control(struct pair_side *side, struct control_message *ret_message);
/* The same, and there is one. */
struct control_message pair_next(struct pair_side *side);
/* A side is attached to the msgd of epoch 1, which has read all that was said before. */
void pair_attached(struct pair_side *side);
/*
 * A msgd comes in the place of the former one, reads HELLO, and says WELCOME. The side has then
 * sent its announcements, and nothing before.
 */
void pair_next_msgd(struct pair_side *side, uint64_t features);
/* The same; msgd has read the announcements. */
void pair_next_msgd_told(struct pair_side *side, uint64_t features);
/* msgd says something to a side, which acts on it at once. */
void pair_say(struct pair_side *side, const struct control_message *message);
/* msgd writes a message into a side's control ring, and sends its event after pair_events. */
void pair_write(struct pair_side *side, const struct control_message *message);
/*
 * Writes raw bytes as the other side would, and publishes them. len: a multiple of 16. argo-strict:
 * in one message; false: the hypervisor has refused it, or that process is dead.
 */
bool pair_inject(struct pair *pair, unsigned from, const void *bytes, uint32_t len);
/* The same with a frame, and as many zeros as the frame says, up to 64 KiB. */
bool pair_inject_frame(struct pair *pair, unsigned from, const struct frame *frame);
/* A whole message of zeros, in one frame. */
bool pair_inject_message(struct pair *pair, unsigned from, uint32_t len);

#endif
