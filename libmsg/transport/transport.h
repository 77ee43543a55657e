/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A transport carries the frames of one link in both directions and wakes the two ends. Each kind
 * of it is one table of operations; a further kind is one more file and one more row in table.c. A
 * transport knows frames, and neither channels nor links; it never blocks. The other domain can
 * write some of the memory that a transport reads: the worst that it gets for that is -EBADMSG.
 *
 * Included by: libmsg/transport, libmsg/channel, tests.
 */
#ifndef LIBMSG_TRANSPORT_TRANSPORT_H
#define LIBMSG_TRANSPORT_TRANSPORT_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/probe.h"
#include "hv/hv.h"
#include "libmsg/transport/cursor.h"
#include "libmsg/transport/stock.h"
#include "proto/control.h"
#include "proto/frame.h"

struct transport;

/* peek has dropped a message that is not from the other end: its caller looks again. */
#define TRANSPORT_DROPPED 2

/* Operations that may fail return a negative errno then; "room" is always payload bytes. */
struct transport_ops {
	enum transport_kind kind;
	uint32_t frame_max; /* payload bytes that are worth one frame at most */

	size_t size; /* bytes of one end, which starts with struct transport */

	/* ---- life ---- */

	/*
	 * Makes the creator's end and says in *ret_offer what the binder needs to know. -ENOSPC:
	 * the domain's Argo rings are used up; -ENOBUFS: ports or grants are. After a failure, as
	 * after success, transport_free gives back what was made.
	 */
	int (*make)(struct transport *transport, const struct control_link_create *request,
		struct control_link_offer *ret_offer);
	/*
	 * Makes the binder's end. -ECONNRESET, -EINVAL, -ESRCH: the offer is not true, or not any
	 * more; nothing was written to memory that is not of this link. make and bind may leave a
	 * reason in transport->refusal.
	 */
	int (*bind)(struct transport *transport, const struct control_link_bind *request,
		struct control_link_ready *ret_ready);
	/* The creator learns that the binder is ready. peer_aport: of LINK_UP. */
	int (*up)(struct transport *transport, uint32_t peer_aport);
	/* Gives back all that it holds, in the order that hv.h demands. */
	void (*close)(struct transport *transport);

	/* ---- frames out ---- */

	/*
	 * The room that one more frame would have now. The other end's counter is looked at only if
	 * less than `want` is known to be free. -EAGAIN: none at all. -EBADMSG.
	 */
	int64_t (*room)(struct transport *transport, uint32_t want);
	/*
	 * Appends a frame with as much as there is room for of frame->len bytes of payload, which
	 * it takes from the cursor; frame->len becomes what went in, and a frame that was cut is
	 * not FRAME_LAST. With `more` the frame may be kept back until push. 0: the other end sees
	 * it. 1: it is kept back. -EAGAIN: there is no room for `least` bytes; nothing was
	 * appended, the cursor did not move. -EBADMSG. Else: the other end's ring is gone.
	 */
	int (*put)(struct transport *transport, struct frame *frame, uint32_t least,
		struct iov_cursor *payload, bool more);
	/* Makes what put kept back visible to the other end. Errors as put's. */
	int (*push)(struct transport *transport);

	/* ---- frames in ---- */

	/*
	 * Reads the next frame's header into transport->frame. 1; 0: there is none;
	 * TRANSPORT_DROPPED. -EBADMSG.
	 */
	int (*peek)(struct transport *transport);
	/* Copies out of the payload of the frame last peeked at. */
	void (*read)(struct transport *transport, uint32_t off, void *dst, uint32_t len);
	/* Moves past the frame last peeked at, and adds its size to transport->unreleased. */
	void (*next)(struct transport *transport);
	/* Gives that room back to the other end. */
	void (*release)(struct transport *transport);
	/* Whether there is a frame, or a part of one, that was not moved past. */
	bool (*pending)(struct transport *transport);

	/* ---- sleeping and waking ---- */

	/*
	 * Asks for an event when a frame comes, and for those that tell of room and of the peer's
	 * end. 0. 1: there is a frame already, and nothing was asked for. Negative: this end cannot
	 * be told of anything any more. held: frames that are there are to wait; they are no reason
	 * to return 1.
	 */
	int (*arm)(struct transport *transport, bool held);
	/*
	 * Asks for one event when room appears. The caller looks for room after it has asked. The
	 * wish is never taken back: others may rely on it by then, and an event too many costs one
	 * look.
	 */
	void (*arm_room)(struct transport *transport);
	/* No event tells of room as long as arm was not called: believe in none being there. */
	void (*not_armed)(struct transport *transport);
	/* Wakes the other end if it sleeps: frames were put, or room was given back. */
	void (*wake)(struct transport *transport);
	void (*wake_for_room)(struct transport *transport);

	/* ---- looking without the lock ---- */

	/*
	 * The word that changes when a frame comes, and its value when all had been peeked at; and
	 * the word that changes when room appears, or NULL: no memory tells of that.
	 */
	const _Atomic uint32_t *(*watch)(struct transport *transport, uint32_t *ret_seen);
	const _Atomic uint32_t *(*watch_room)(struct transport *transport, uint32_t *ret_seen);
	/* Whether the process at the other end is there, as far as this transport can tell. */
	bool (*peer_alive)(const struct transport *transport);
	/* Tells the peer this thread's CPU + 1, returns the peer's; 0 stands for unknown. */
	uint32_t (*exchange_cpu)(struct transport *transport, uint32_t cpu);
};

/* The part that all kinds have in common; each kind's struct starts with it. */
struct transport {
	const struct transport_ops *ops;
	struct hv *hv; /* borrowed */
	uint16_t peer_domid;
	uint8_t role;	     /* 0 creator, 1 binder: the index in a doorbell page */
	uint32_t ring_len;   /* bytes of one ring */
	uint32_t ring_fifth; /* a fifth of it; see transport_give_back */
	uint32_t port;	     /* owned: its event channel; 0: none */
	uint64_t event;	     /* the port; over argo-strict its ring's address, which is no port */
	struct frame frame;  /* the frame last peeked at */
	uint32_t unreleased; /* bytes moved past and not given back yet */
	uint32_t untold;     /* bytes given back since the sender was last woken */
	uint64_t retry_ns; /* put or push was refused without an event to come: when to try again */
	uint64_t n_notifications, n_hypercalls; /* events sent; hypercalls beside them */
	bool unpushed;				/* frames were put and kept back */
	bool bell_due;				/* the other end must not sleep over what was put */
	struct stock *stock;	   /* borrowed: where the creator's memory comes from */
	char refusal[REASON_SIZE]; /* why make or bind failed; empty: the errno says it */
};

/* An end that holds nothing yet. NULL: out of memory. */
struct transport *transport_new(const struct transport_ops *ops, struct hv *hv, uint16_t peer_domid,
	uint8_t role, uint32_t ring_len);
void transport_free(struct transport *transport);

/* The table of a kind; NULL: there is no such kind. */
const struct transport_ops *transport_find(uint32_t kind);

extern const struct transport_ops transport_argo, transport_argo_strict, transport_grant;

/* Shows the other end all that was put, and wakes it if it sleeps over something. As ops->push. */
static inline int transport_push(struct transport *transport)
{
	if (transport->unpushed) {
		int r = transport->ops->push(transport);

		if (r < 0)
			return r;
		transport->unpushed = false;
	}
	if (!transport->bell_due)
		return 0;
	transport->bell_due = false;
	transport->ops->wake(transport);
	return 0;
}

/*
 * Puts a frame and notes what is owed to the other end for it. As ops->put, but 0 whether the frame
 * is kept back or not.
 */
static inline int transport_put(struct transport *transport, struct frame *frame, uint32_t least,
	struct iov_cursor *payload, bool more)
{
	int r = transport->ops->put(transport, frame, least, payload, more);

	if (r < 0)
		return r;
	transport->unpushed = r > 0;
	transport->bell_due = true;
	PROBE(libmsg, frame_tx, transport, frame->channel, frame->type, frame->len, frame->arg);
	return 0;
}

/* One frame without payload. As transport_put. */
int transport_put_bare(
	struct transport *transport, uint32_t channel, enum frame_type type, uint32_t arg);

/*
 * Gives room back, if it is a fifth of the ring or `all`; wakes a sender that sleeps for room when
 * two fifths are free, or `all`. (In a default Argo ring, which has room for four messages of 64
 * KiB, the fifths are one and two such messages: a quarter and a half would be two and all of
 * them.)
 */
void transport_give_back(struct transport *transport, bool all);

#endif
