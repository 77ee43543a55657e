/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How the two ends of a link wake each other: by the doorbell page and an event channel
 * (proto/doorbell.h), or, where the two domains share no memory (argo-strict, PROTOCOL.md 3.4), by
 * the hypervisor alone. That there is no page (link->page) is what tells them apart.
 *
 * Why argo-strict loses no wake-up:
 *
 * Frames. Xen raises VIRQ_ARGO in the receiver's domain after each message, asked or not: "notify
 * always". The receiver hears of it while its ring is watched. argo_watch tells at once of what is
 * in the ring already, and of what comes from then on; so a link that is armed has an event coming,
 * and one that is not is looked at by ctx_drive before anybody sleeps, and armed then.
 *
 * Room. sendv's EAGAIN has queued a wake-up with Xen, under the lock under which it found no room;
 * the receiver moves rx_ptr and then has Xen look for waiters (argo_consumed), under the same lock:
 * either sendv saw the room, or Xen sees the waiter. The wake-up shows as the event of the sender's
 * own watched ring, once, and also when it came for frames. `full` is therefore believed only as
 * long as the ring is watched: of a link that is not, or no more, ctx_drive makes it false, and all
 * that is blocked is sent again, which queues another wake-up if it was too early. EBUSY and ENOMEM
 * queue nothing: argo_sendv has a timer for them.
 *
 * The peer's death. msgd tells it (LINK_DOWN). Two things may show it before: a sendv that is
 * refused (link_put_failed), and, of the whole domain's, a ring that cannot be watched any more.
 */
#include <errno.h>

#include "libmsg/private.h"

static void bell_ring(struct link *link, _Atomic uint32_t *flag)
{
	struct hv *hv = link->ctx->hv;

	if (doorbell_take(flag))
		(void)hv->ops->evtchn_send(hv, link->port);
}

void link_bell_frames(struct link *link)
{
	if (link->page)
		bell_ring(link, &link->them->sleeping);
}

void link_bell_room(struct link *link)
{
	struct hv *hv = link->ctx->hv;

	if (link->page)
		bell_ring(link, &link->them->want_space);
	else
		(void)hv->ops->argo_consumed(hv);
}

void link_arm_room(struct link *link)
{
	if (link->page)
		doorbell_arm(&link->me->want_space);
}

int link_arm(struct link *link)
{
	struct hv *hv = link->ctx->hv;

	if (link->page) {
		doorbell_arm(&link->me->sleeping);
		if (link->sync || !link->ops->pending(link))
			return 0;
		doorbell_disarm(&link->me->sleeping);
		return 1;
	}
	/*
	 * What lies in the ring must wait for msgd's answer, and would be told of at once:
	 * link_synced has it armed again. Until then room is not told of either: such a link stands
	 * still for as long as msgd is away.
	 */
	if (link->sync)
		return 0;
	if (link->ops->pending(link))
		return 1;
	return hv->ops->argo_watch(hv, link->argo.ring, true);
}

void link_look_for_room(struct link *link)
{
	if (!link->page)
		link->argo.full = false;
}
