/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The argo-strict transport: frames over Argo rings between two domains that share no memory
 * (PROTOCOL.md 3.4). The hypervisor alone tells of frames and of room.
 *
 * Why argo-strict loses no wake-up:
 *
 * Frames. Xen raises VIRQ_ARGO in the receiver's domain after each message, asked or not: "notify
 * always". The receiver hears of it while its ring is watched. argo_watch tells at once of a
 * message that is in the ring already, and of each that comes from then on. A transport that is
 * armed therefore has an event coming; one that is not armed is looked at by the driver before
 * anybody sleeps, and armed then.
 *
 * Room. sendv's EAGAIN has queued a wake-up with Xen, under the lock under which Xen found no room.
 * The receiver moves rx_ptr and then has Xen look for waiters (argo_consumed), under the same lock:
 * either sendv saw the room, or Xen sees the waiter. The wake-up shows as the event of the sender's
 * own watched ring, once, and also when it came for frames. `full` is therefore believed only as
 * long as the ring is watched. Of a transport that is not watched, or not any more, the driver
 * makes it false (not_armed), and everything that is blocked is sent again, which queues another
 * wake-up if it was too early. EBUSY and ENOMEM queue nothing: argo_sendv notes a time for them.
 *
 * The peer's death. msgd tells it (LINK_DOWN). Two things may show it before: a sendv that is
 * refused, and, of the whole domain's death, a ring that cannot be watched any more.
 */
#include "libmsg/transport/argo.h"

static int strict_register(struct argo_end *end)
{
	int r = argo_register_ring(end);

	if (r == 0)
		end->paged.base.event = (uintptr_t)end->ring;
	return r;
}

static int strict_make(struct transport *transport, const struct control_link_create *request,
	struct control_link_offer *ret_offer)
{
	struct argo_end *end = argo_of(transport);
	int r = strict_register(end);

	if (r == 0)
		ret_offer->aport = end->ring->aport;
	return r;
}

/*
 * Nothing is looked at before it is used: the creator's aport is not given to another ring while
 * somebody may still send to it (hv.h), so an old offer meets no ring.
 */
static int strict_bind(struct transport *transport, const struct control_link_bind *request,
	struct control_link_ready *ret_ready)
{
	struct argo_end *end = argo_of(transport);
	int r = strict_register(end);

	if (r == 0)
		r = argo_set_peer(end, request->aport);
	if (r == 0)
		ret_ready->aport = end->ring->aport;
	return r;
}

/*
 * Frames that are held back must wait for msgd's answer, and would be told of at once: such a ring
 * is not watched. Until it is, room is not told of either: the link stands still while msgd is
 * away.
 */
static int strict_arm(struct transport *transport, bool held)
{
	if (held)
		return 0;
	if (argo_pending(transport))
		return 1;
	transport->n_hypercalls++;
	return transport->hv->ops->argo_watch(transport->hv, argo_of(transport)->ring, true);
}

static void strict_not_armed(struct transport *transport)
{
	argo_of(transport)->full = false;
}

/*
 * For arm_room: the hypervisor queues the wish with the send that finds no room. For wake: it woke
 * the other end with each message.
 */
static void strict_nothing(struct transport *transport)
{
}

static void strict_wake_for_room(struct transport *transport)
{
	transport->n_hypercalls++;
	(void)transport->hv->ops->argo_consumed(transport->hv);
}

static const _Atomic uint32_t *strict_watch_room(struct transport *transport, uint32_t *ret_seen)
{
	return NULL;
}

static bool strict_peer_alive(const struct transport *transport)
{
	return true;
}

static uint32_t strict_exchange_cpu(struct transport *transport, uint32_t cpu)
{
	return 0;
}

const struct transport_ops transport_argo_strict = {
	.kind = TRANSPORT_ARGO_STRICT,
	.make = strict_make,
	.bind = strict_bind,
	.arm = strict_arm,
	.arm_room = strict_nothing,
	.not_armed = strict_not_armed,
	.wake = strict_nothing,
	.wake_for_room = strict_wake_for_room,
	.watch_room = strict_watch_room,
	.peer_alive = strict_peer_alive,
	.exchange_cpu = strict_exchange_cpu,
	ARGO_FRAME_OPS,
};
