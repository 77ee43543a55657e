/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One end of the two transports over Argo rings, and the operations that both share: argo adds a
 * doorbell page, argo-strict shares no memory at all.
 *
 * Included by: libmsg/transport, tests.
 */
#ifndef LIBMSG_TRANSPORT_ARGO_H
#define LIBMSG_TRANSPORT_ARGO_H

#include "base/macro.h"
#include "libmsg/transport/page.h"

struct argo_end {
	struct paged paged;	/* its page is NULL over argo-strict */
	struct hv_ring *ring;	/* owned: this end's receive ring */
	uint32_t peer_aport;	/* whose messages are taken in */
	uint32_t rx;		/* offset of the message being read, or of the next */
	uint32_t message_len;	/* payload bytes of the message being read; 0: none */
	uint32_t message_off;	/* where its payload starts in the ring */
	uint32_t inner;		/* offset in its payload of the frame being read */
	uint32_t consumed;	/* bytes moved past, of messages from the peer */
	uint32_t produced;	/* bytes sent */
	uint32_t peer_consumed; /* as last read and checked */
	/* argo-strict: the hypervisor found no room, and says when there is; see argo-strict.c. */
	bool full;
	uint8_t *stage;	 /* owned: frames kept back by `more`; see stage_size */
	uint32_t staged; /* bytes in it */
};

static inline struct argo_end *argo_of(struct transport *transport)
{
	return container_of(transport, struct argo_end, paged.base);
}

int argo_register_ring(struct argo_end *end);
/* Names the peer's ring as the one that is sent to and heard. */
int argo_set_peer(struct argo_end *end, uint32_t peer_aport);

/* Operations of struct transport_ops. */
int argo_up(struct transport *transport, uint32_t peer_aport);
void argo_close(struct transport *transport);
int64_t argo_room(struct transport *transport, uint32_t want);
int argo_put(struct transport *transport, struct frame *frame, uint32_t least,
	struct iov_cursor *payload, bool more);
int argo_push(struct transport *transport);
int argo_peek(struct transport *transport);
void argo_read(struct transport *transport, uint32_t off, void *dst, uint32_t len);
void argo_next(struct transport *transport);
void argo_release(struct transport *transport);
bool argo_pending(struct transport *transport);
const _Atomic uint32_t *argo_watch(struct transport *transport, uint32_t *ret_seen);
/* These functions as rows of a transport's table. */
#define ARGO_FRAME_OPS                                                                             \
	.frame_max = FRAME_PAYLOAD_MAX, .size = sizeof(struct argo_end), .up = argo_up,            \
	.close = argo_close, .room = argo_room, .put = argo_put, .push = argo_push,                \
	.peek = argo_peek, .read = argo_read, .next = argo_next, .release = argo_release,          \
	.pending = argo_pending, .watch = argo_watch

#endif
